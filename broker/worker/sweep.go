package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// Bounds of one batch of deletions. While it goes on, the project's registrations
// wait: a bucket that hangs is given up.
const (
	sweepBatch  = 50
	sweepTime   = 15 * time.Second
	sweepAtOnce = 8
)

// SweepOrphans deletes those that are due, of any class but Foreign, and returns
// what was deleted. What Orphans told of them is not relied on: each is asked for
// again, in the database while nobody can register it, and in the bucket right
// before it is deleted. It stops at the first bucket or database that fails.
//
// In a bucket with versions the last version stays, until its lifecycle rules
// end it.
func (w *Worker) SweepOrphans(ctx context.Context, b *storage.Bucket, orphans []Orphan) (swept []Orphan, err error) {
	now := w.Now()
	due := slices.DeleteFunc(slices.Clone(orphans), func(o Orphan) bool {
		return o.Class == OrphanNone || o.Class == OrphanForeign || !o.Due(now)
	})
	slices.SortStableFunc(due, func(x, y Orphan) int {
		if by := cmp.Compare(x.projectID, y.projectID); by != 0 || x.thumb == y.thumb {
			return by
		} else if x.thumb { // apart: their images are locked all together
			return 1
		}
		return -1
	})
	for len(due) > 0 {
		n := 1
		for n < min(len(due), sweepBatch) && due[n].projectID == due[0].projectID && due[n].thumb == due[0].thumb {
			n++
		}
		done, err := w.sweepBatch(ctx, b, due[:n])
		swept = append(swept, done...)
		if err != nil {
			return swept, err
		}
		due = due[n:]
	}
	return swept, nil
}

// batchItem is one orphan on its way out.
type batchItem struct {
	orphan  Orphan
	plan    postgres.Swept
	deleted bool
	unsure  bool   // asked for, not answered
	gone    bool   // it was not there any more
	kept    string // why it was let be; "": it was not
}

// sweepBatch deletes orphans of one project.
func (w *Worker) sweepBatch(ctx context.Context, b *storage.Bucket, batch []Orphan) (swept []Orphan, err error) {
	now := w.Now()
	items := make([]*batchItem, len(batch))
	for i, o := range batch {
		items[i] = &batchItem{orphan: o, plan: postgres.Swept{
			Bucket: o.Bucket, Key: o.Key, Class: string(o.Class), ProjectID: o.projectID, ImageID: o.ImageID, Attempt: o.Attempt,
		}}
		if o.Class == OrphanInvalid {
			items[i].plan.ETag = o.etag
		}
	}
	slices.SortStableFunc(items, func(x, y *batchItem) int { return cmp.Compare(x.plan.ImageID, y.plan.ImageID) })
	planned := make([]postgres.Swept, len(items))
	for i, it := range items {
		planned[i] = it.plan
	}
	goOn, err := w.Store.PlanSweep(ctx, planned, now)
	if err != nil {
		return nil, err
	}
	i := -1
	items = slices.DeleteFunc(items, func(*batchItem) bool { i++; return !goOn[i] })
	if len(items) == 0 {
		return nil, nil
	}

	// What was deleted stays so, whatever becomes of the transaction, and when it
	// runs again.
	var failed error
	projectID := batch[0].projectID
	err = w.Store.HoldGrants(ctx, projectID, b.Info().Symbol, namesOf(batch), now, func(ctx context.Context, h postgres.Held) error {
		if err := w.recheck(ctx, h, projectID, items, now); err != nil {
			return err
		}
		failed = w.deleteAll(ctx, b, items)
		for _, it := range items {
			if it.kept == "" || it.deleted || it.unsure {
				continue
			}
			it.plan.Kept = it.kept
			if err := h.Keep(ctx, it.plan, it.gone); err != nil {
				return err
			}
		}
		return nil
	})
	for _, it := range items {
		if it.deleted {
			swept = append(swept, it.orphan)
		}
	}
	return swept, errors.Join(err, failed)
}

// recheck asks the database again, now that nobody can be granted anything.
func (w *Worker) recheck(ctx context.Context, h postgres.Held, projectID string, items []*batchItem, now time.Time) error {
	for _, it := range items {
		it.kept = ""
		if projectID == "" {
			continue // the program's own, which is registered nowhere
		}
		fresh := w.Retention.classify(it.orphan.unclassified(), h.Files)
		if fresh.Class != it.orphan.Class || fresh.ImageID != it.orphan.ImageID || fresh.Attempt != it.orphan.Attempt || !fresh.Due(now) {
			it.kept = "it is needed again"
			continue
		}
		ok, err := h.Mark(ctx, it.plan)
		if err != nil {
			return err
		}
		if !ok {
			it.kept = "its image moved"
		}
	}
	return nil
}

// unclassified is the orphan as the bucket told of it.
func (o Orphan) unclassified() Orphan {
	return Orphan{
		Bucket: o.Bucket, Key: o.Key, Objects: o.Objects, SizeBytes: o.SizeBytes, Modified: o.Modified,
		projectID: o.projectID, filename: o.filename, etag: o.etag, uploadID: o.uploadID,
		thumb: o.thumb, thumbOf: o.thumbOf, result: o.result, resultOf: o.resultOf,
	}
}

// deleteAll deletes what is not kept, and returns the first failure.
func (w *Worker) deleteAll(ctx context.Context, b *storage.Bucket, items []*batchItem) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	var (
		g     errgroup.Group
		mu    sync.Mutex
		first error
	)
	g.SetLimit(sweepAtOnce)
	for _, it := range items {
		if it.kept != "" || it.deleted {
			continue
		}
		g.Go(func() error {
			err := w.deleteOne(ctx, b, it)
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
			}
			return nil
		})
	}
	_ = g.Wait() // tells nothing: one that fails must not end the others
	return first
}

// deleteOne deletes one object, if it is still the one that was listed.
func (w *Worker) deleteOne(ctx context.Context, b *storage.Bucket, it *batchItem) error {
	key := it.orphan.Key
	if it.orphan.uploadID != "" {
		return it.done(b.AbortMultipart(ctx, key, it.orphan.uploadID))
	}
	obj, err := b.Stat(ctx, key)
	switch {
	case broker.CodeOf(err) == broker.CodeNotFound:
		it.kept, it.gone = "it was gone already", true
		return nil
	case err != nil:
		it.kept = fmt.Sprintf("the bucket could not be asked (%s)", broker.CodeOf(err))
		return err
	// A HEAD tells seconds, a LIST milliseconds.
	case obj.ETag != it.orphan.etag || !obj.Modified.Truncate(time.Second).Equal(it.orphan.Modified.Truncate(time.Second)):
		it.kept = "it was written again"
		return nil
	}
	return it.done(b.Delete(ctx, key))
}

// done takes the answer to a deletion.
func (it *batchItem) done(err error) error {
	it.deleted, it.unsure = err == nil, err != nil
	return err
}
