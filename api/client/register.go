package client

import (
	"context"
	"time"
)

const (
	registerLinger = 200 * time.Millisecond // how long the first file of a batch waits for others
	grantsAhead    = MaxBatch               // grants that may wait for their turn; more would only grow old
	maxRegisters   = 5                      // times one file is registered before it is given up
)

// registerAll asks for grants for what was hashed, in batches.
func (r *run) registerAll(ctx context.Context) {
	for {
		if r.toSend.drained(ctx, grantsAhead) != nil {
			return
		}
		items, err := r.toRegister.take(ctx, MaxBatch, registerLinger)
		if err != nil {
			return
		}
		err = r.inBatches(r.firsts(items), func(part []*item) error { return r.register(ctx, part) })
		if err != nil {
			r.stop("registering", err)
			return
		}
	}
}

// firsts keeps one item of each content; the others wait for it, or share its
// verdict if it has one.
func (r *run) firsts(items []*item) []*item {
	var out, dups []*item
	r.mu.Lock()
	for _, it := range items {
		first := r.bySHA1[it.sha1]
		switch {
		case first == nil || first == it:
			r.bySHA1[it.sha1] = it
			out = append(out, it)
			continue
		case first.settled:
			rep := first.rep
			r.settleOne(it, func(own *FileReport) {
				own.Image, own.State, own.Reasons, own.Existed, own.SameAs = rep.Image, rep.State, rep.Reasons, rep.Existed, first.Name
			})
			if r.left == 0 {
				r.cancel(errFinished)
			}
		default:
			first.dups = append(first.dups, it)
			it.isDup = true
		}
		dups = append(dups, it)
	}
	r.mu.Unlock()
	for _, d := range dups {
		r.spare(d, true)
	}
	return out
}

func (r *run) register(ctx context.Context, items []*item) error {
	entries := make([]Entry, len(items))
	for i, it := range items {
		it.registers++
		entries[i] = Entry{Name: it.Name, SHA1: it.sha1, Size: it.size}
	}
	results, err := r.c.Register(ctx, r.pid, r.opts.Bucket, entries)
	if err != nil {
		return err
	}
	var wait time.Duration
	var again []*item
	for i, res := range results {
		it := items[i]
		p := res.Problem
		if res.Status != StatusProblem || p == nil || p.RetryAfter <= 0 {
			r.granted(it, res)
			continue
		}
		// Not this time: a cloud that throttles, a part of the server that is down.
		taken, _ := r.line.state()
		if it.denied.note(taken) <= r.opts.Patience {
			it.registers--
			wait = max(wait, time.Duration(p.RetryAfter)*time.Second)
			again = append(again, it)
			r.trouble(entryError(p, "register"))
			continue
		}
		if taken == it.denied.taken {
			return entryError(p, "register")
		}
		r.fail(it, entryError(p, "register"))
	}
	if len(again) > 0 {
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		r.toRegister.push(again...)
	}
	return nil
}

// granted acts on the answer to register for one item: to be sent, to
// be judged, or settled.
func (r *run) granted(it *item, res Result) {
	if res.Image != nil {
		it.image = res.Image
	}
	switch {
	case res.Status == StatusGranted && res.Grant != nil && it.image != nil:
		if err := r.accept(it, res.Grant); err != nil {
			r.fail(it, err)
			return
		}
		r.toSend.push(it)
	case res.Status == StatusExists && it.image != nil:
		r.exists(it)
	default:
		r.fail(it, entryError(res.Problem, "register"))
	}
}

// exists goes on with an item whose bytes are there.
func (r *run) exists(it *item) {
	if !it.arrived { // else it is our own sending that is seen here
		r.spare(it, true)
		r.mu.Lock()
		it.rep.Existed = true
		r.mu.Unlock()
	}
	it.told = true
	r.judged(it, it.image)
}

// judged settles an item whose image has a verdict, and lets others wait for one.
func (r *run) judged(it *item, im *Image) {
	it.image = im
	switch im.State {
	case StateReady, StateInvalid, StateRemoved:
		r.settle(it, func(rep *FileReport) {
			rep.Image, rep.State, rep.Reasons = im, im.State, im.Reasons
			if im.State == StateRemoved {
				rep.Err = errRemoved
			}
		})
	default:
		r.mu.Lock()
		if !it.waiting {
			it.waiting = true
			r.verdict = time.Now()
		}
		r.mu.Unlock()
		r.toJudge.push(it)
	}
}
