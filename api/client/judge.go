package client

import (
	"context"
	"errors"
	"time"
)

const (
	doneLinger  = 200 * time.Millisecond
	judgeFirst  = 300 * time.Millisecond // pause after a verdict came
	judgeMax    = 2 * time.Second        // pause when none comes
	remindAfter = 5 * time.Second        // an image that the server has not seen is mentioned again
)

var errRemoved = errors.New("the image was removed meanwhile")

// tellDone tells the server in batches what has arrived.
func (r *run) tellDone(ctx context.Context) {
	for {
		items, err := r.toDone.take(ctx, MaxBatch, doneLinger)
		if err != nil {
			return
		}
		if err := r.inBatches(items, func(part []*item) error { return r.done(ctx, part) }); err != nil {
			r.stop("telling what has arrived", err)
			return
		}
	}
}

func (r *run) done(ctx context.Context, items []*item) error {
	results, err := r.c.Done(ctx, r.pid, imageIDs(items))
	if err != nil {
		return err
	}
	now := time.Now()
	for i, res := range results {
		it := items[i]
		it.looked, it.told = now, true
		switch {
		case res.Image != nil:
			r.judged(it, res.Image)
		case res.Problem != nil && res.Problem.Code == "not_found":
			r.fail(it, errRemoved)
		default: // the verdict may come all the same
			r.judged(it, it.image)
		}
	}
	return nil
}

// partingDone tells of what arrived before the run was ended, so that it counts;
// also of PUTs that were cut off, whose last answer may have been lost.
func (r *run) partingDone(ctx context.Context) {
	var items []*item
	for _, it := range r.items {
		if it.tried && !it.told && it.image != nil {
			items = append(items, it)
		}
	}
	if len(items) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	c := r.c.patient(0)
	_ = r.inBatches(items, func(part []*item) error {
		results, err := c.Done(ctx, r.pid, imageIDs(part))
		for i, res := range results {
			if res.Image != nil {
				part[i].image = res.Image
			}
		}
		return err
	})
}

// judgeAll asks for verdicts until every file has one. Each time it asks for the
// ones it has not asked for the longest, one full batch at most, so ten thousand
// images cost no more calls than a thousand at a time.
func (r *run) judgeAll(ctx context.Context) {
	pause := judgeFirst
	for {
		if sleep(ctx, pause) != nil {
			return
		}
		items, err := r.toJudge.take(ctx, int(r.batch.Load()), 0)
		if err != nil {
			return
		}
		var settled int
		err = r.inBatches(items, func(part []*item) error {
			n, err := r.ask(ctx, part)
			settled += n
			return err
		})
		if err != nil {
			r.stop("asking for verdicts", err)
			return
		}
		if pause = min(pause*3/2, judgeMax); settled > 0 {
			pause = judgeFirst
		}
		r.remind(ctx, items)
		r.giveUp()
	}
}

// ask asks for the verdicts of items and queues those again that have none.
func (r *run) ask(ctx context.Context, items []*item) (settled int, err error) {
	sums := make([]string, len(items))
	for i, it := range items {
		sums[i] = it.sha1
	}
	results, err := r.c.Check(ctx, r.pid, sums)
	if err != nil {
		return 0, err
	}
	for i, res := range results {
		it := items[i]
		switch {
		case res.Image != nil:
			if it.looked.IsZero() || res.Image.State == StateUploaded {
				it.looked = time.Now()
			}
			r.judged(it, res.Image)
		case res.Status == StatusAbsent:
			r.fail(it, errRemoved)
		default: // a problem of the moment
			r.toJudge.push(it)
		}
		if it.settledNow(r) {
			settled++
		}
	}
	return settled, nil
}

func (it *item) settledNow(r *run) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return it.settled
}

// remind tells the server again of images that it has not seen in the bucket
// some time after they arrived there.
func (r *run) remind(ctx context.Context, items []*item) {
	var late []*item
	for _, it := range items {
		if im := it.image; it.arrived && im != nil && !it.settledNow(r) && time.Since(it.looked) > remindAfter &&
			(im.State == StatePending || im.State == StateUploading) {
			it.looked = time.Now()
			late = append(late, it)
		}
	}
	if len(late) == 0 {
		return
	}
	// A reminder that fails is repeated by the next.
	_ = r.inBatches(late, func(part []*item) error {
		_, err := r.c.patient(0).Done(ctx, r.pid, imageIDs(part))
		return err
	})
}

// giveUp settles what waits for a verdict when none has come for VerdictWait and
// there is nothing else left to do.
func (r *run) giveUp() {
	r.mu.Lock()
	late := time.Since(r.verdict) > r.opts.VerdictWait
	var waiting []*item
	for _, it := range r.items {
		if !late || !it.settled && !it.waiting && !it.isDup {
			r.mu.Unlock()
			return
		}
		if !it.settled && it.waiting {
			waiting = append(waiting, it)
		}
	}
	r.mu.Unlock()
	for _, it := range waiting {
		r.settle(it, func(rep *FileReport) { rep.Image, rep.State, rep.Err = it.image, it.image.State, ErrUnjudged })
	}
}

func imageIDs(items []*item) []string {
	ids := make([]string, len(items))
	for i, it := range items {
		ids[i] = it.image.ID
	}
	return ids
}
