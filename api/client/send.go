package client

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	maxStrikes = 8 // failures of one file, while the line is good, before it is given up
	maxChanges = 2 // times that a file may change under our hands
)

// line is how sending goes over all files, to tell a file that can't be sent from
// a line that is down.
type line struct {
	now func() time.Time

	mu        sync.Mutex
	first     time.Time // when sending began
	last      time.Time // when the bucket last took something
	successes int
}

func (l *line) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first.IsZero() {
		l.first = l.now()
		l.last = l.first
	}
}

func (l *line) moved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = l.now()
}

func (l *line) success() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = l.now()
	l.successes++
}

func (l *line) state() (successes int, silent time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.successes, l.now().Sub(l.last)
}

func (l *line) span() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.Sub(l.first)
}

// held is since when something is put off, and what the bucket had taken by then,
// of all files.
type held struct {
	since time.Time
	taken int
}

// note says that it is put off once more, and tells for how long it has been.
func (h *held) note(taken int) time.Duration {
	if h.since.IsZero() {
		h.since, h.taken = time.Now(), taken
	}
	return time.Since(h.since)
}

func (r *run) sendAll(ctx context.Context) {
	for {
		one, err := r.toSend.take(ctx, 1, 0)
		if err != nil {
			return
		}
		r.prog.change(func(s *Status) { s.Sending++ })
		r.send(ctx, one[0])
		r.prog.change(func(s *Status) { s.Sending-- })
	}
}

// send brings one file into the bucket, whatever it takes, and hands it on.
func (r *run) send(ctx context.Context, it *item) {
	r.line.begin()
	renewals, skews, strikes, try := 0, 0, 0, 0
	tried := false
	var busy held // when the bucket says that it can't now
	for {
		if r.moved(it) && !r.again(ctx, it, false) {
			return
		}
		if it.grant == nil { // it waited for another and only its stamp has changed
			r.toRegister.push(it)
			return
		}
		if r.ending(it) {
			if !tried {
				r.toRenew.push(it)
				return
			}
			if !r.renew(ctx, it) {
				return
			}
		}
		before, _ := r.line.state()
		it.tried, tried = true, true
		f := r.put(ctx, it)
		if ctx.Err() != nil {
			return
		}
		if f == nil {
			r.sent(ctx, it)
			return
		}
		switch v := f.verdict(); v {
		case putRefused:
			r.fail(it, f)
			return
		case putEnded, putDenied:
			limit := maxRenewals
			if v == putDenied {
				limit = 1
			} else {
				r.refused.note(it.grant.Session)
			}
			if renewals >= limit {
				r.fail(it, f)
				return
			}
			renewals++
			if !r.renew(ctx, it) {
				return
			}
			continue
		case putSkewed:
			if skews++; skews > maxSkews || f.date.IsZero() {
				r.fail(it, f)
				return
			}
			r.believe(f.date)
			continue
		case putOtherBytes:
			// The stamp did not show it, or the bytes were changed on the way.
			was := it.sha1
			if !r.again(ctx, it, true) {
				return
			}
			if was == it.sha1 {
				strikes++
			}
		case putBusy:
			r.trouble(f)
			after, _ := r.line.state()
			if busy.note(before) > r.opts.Patience {
				if after == busy.taken { // nor did it take any other file
					r.stop("sending", fmt.Errorf("nothing gets through to the bucket: %w", f))
				} else {
					r.fail(it, f)
				}
				return
			}
		case putFailed:
			if !f.local {
				r.trouble(f)
			}
			after, silent := r.line.state()
			if f.reached || f.local || after > before {
				strikes++
			}
			if !f.local && silent > r.patience(after) {
				r.stop("sending", fmt.Errorf("nothing gets through to the bucket: %w", f))
				return
			}
		}
		if strikes >= maxStrikes {
			r.fail(it, f)
			return
		}
		if sleep(ctx, max(r.c.pauses.at(try), f.retryAfter)) != nil {
			return
		}
		try++
	}
}

// patience is shorter for a bucket that has never taken anything: that is an
// address or a firewall, not an outage.
func (r *run) patience(successes int) time.Duration {
	if successes == 0 {
		return min(r.opts.Patience, time.Minute)
	}
	return r.opts.Patience
}

// moved reports whether the file is no longer as it was when it was hashed.
func (r *run) moved(it *item) bool {
	fi, err := os.Stat(it.Path)
	return err != nil || stampOf(fi) != it.stamp
}

// again reads a file that may have changed. It reports whether the item is still
// to be sent with the grant it has; else it has gone elsewhere.
func (r *run) again(ctx context.Context, it *item, fresh bool) bool {
	got, err := r.hash.file(ctx, it.Path, fresh)
	if err != nil {
		if ctx.Err() == nil {
			r.fail(it, err)
		}
		return false
	}
	if got.hex() == it.sha1 {
		r.learn(it, got)
		return true
	}
	r.release(it) // the others may still have the old bytes
	r.abandon(ctx, it)
	r.learn(it, got)
	if it.changes++; it.changes > maxChanges {
		r.fail(it, errChanging)
		return false
	}
	r.toRegister.push(it)
	return false
}

// abandon removes an image for bytes that no longer exist anywhere, so that it
// does not stand open until its grants end. It is a courtesy: a key may lack the
// right, and then it ends by itself.
func (r *run) abandon(ctx context.Context, it *item) {
	if it.image != nil && it.image.Attempt == 1 && !it.arrived {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_, _ = r.c.patient(0).RemoveImage(ctx, r.pid, it.image.ID)
	}
	it.image, it.grant, it.tried, it.arrived, it.told, it.registers = nil, nil, false, false, false, 0
}

// sent hands on a file that the bucket has taken.
func (r *run) sent(ctx context.Context, it *item) {
	r.line.success()
	r.trouble(nil)
	it.arrived = true
	if fi, err := os.Stat(it.Path); err == nil && stampOf(fi) != it.stamp {
		// It was still being written, so what was sent may be half of it. The bucket
		// has it all the same, and the server is told, lest it waits for it.
		size, id := it.size, it.image.ID
		if !r.again(ctx, it, false) {
			r.count(-size)
			_, _ = r.c.patient(0).Done(ctx, r.pid, []string{id})
			return
		}
	}
	r.prog.change(func(s *Status) { s.Sent++ })
	r.mu.Lock()
	it.rep.BytesSent = it.size
	r.mu.Unlock()
	r.toDone.push(it)
}
