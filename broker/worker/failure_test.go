package worker_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// TestUnchecked: ten failures over at least an hour end it, with the cause in
// words that may be shown.
func TestUnchecked(t *testing.T) {
	for _, c := range []struct {
		name     string
		failures int
		apart    time.Duration
		ends     bool
	}{
		{"ten over an hour", 10, 400 * time.Second, true},
		{"ten within a minute", 10, 6 * time.Second, false},
		{"nine over three hours", 9, 20 * time.Minute, false},
		{"twenty over an hour, the last ends it", 20, 190 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			data := photo(1)
			img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
			w.a.failing(func(op, _ string) error {
				if op == "open" {
					return errFault
				}
				return nil
			})
			for i := range c.failures {
				if i > 0 {
					w.clock.pass(c.apart)
				}
				w.ForgetTrouble() // or it would be put off
				err := w.Validate(t.Context(), argsOf(img))
				last := c.ends && i == c.failures-1
				if !errors.Is(err, errFault) || worker.Cancelled(err) != last {
					t.Fatalf("failure %d: %v", i+1, err)
				}
				if !last {
					if got := w.wantState(t, img, broker.StateUploaded); got.CheckFailures != i+1 {
						t.Fatalf("failure %d is counted as %d", i+1, got.CheckFailures)
					}
				}
			}
			w.a.failing(nil)
			w.ForgetTrouble()
			if !c.ends {
				if err := w.Validate(t.Context(), argsOf(img)); err != nil {
					t.Fatal(err)
				}
				w.wantState(t, img, broker.StateReady)
				return
			}
			got := w.wantState(t, img, broker.StateInvalid, broker.ReasonUnchecked)
			why := got.Reasons[0].Detail
			if !strings.Contains(why, "bucket A does not answer") || strings.Contains(why, errFault.Error()) || strings.Contains(why, img.Key()) {
				t.Errorf("it says %q", why)
			}
			// The bucket is back: the same object is not judged again by itself,
			if n, err := w.Reconcile(t.Context(), img.ProjectID, "A"); err != nil || n != 0 {
				t.Errorf("%d moved, %v", n, err)
			}
			// registering begins a further attempt.
			if again := w.register(t, broker.Project{ID: img.ProjectID}, "A", data)[0]; again.Attempt != 2 || again.State != broker.StatePending {
				t.Errorf("registered again: %+v", again)
			}
		})
	}
}

func TestFailuresAreForgottenWithOtherBytes(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], photo(2))
	open := func(op, _ string) error {
		if op == "open" {
			return errFault
		}
		return nil
	}
	w.a.failing(open)
	for range 9 {
		if err := w.Validate(t.Context(), argsOf(img)); err == nil {
			t.Fatal("it did not fail")
		}
		w.clock.pass(time.Hour)
	}
	put(t, w.a, img.Key(), data)
	if err := w.LookAt(t.Context(), "A", img.Key()); err != nil {
		t.Fatal(err)
	}
	img = w.image(t, img)
	if err := w.Validate(t.Context(), argsOf(img)); err == nil || worker.Cancelled(err) {
		t.Errorf("the first failure of other bytes: %v", err)
	}
	if got := w.wantState(t, img, broker.StateUploaded); got.CheckFailures != 1 {
		t.Errorf("%d failures are counted", got.CheckFailures)
	}
}

// TestAnObjectThatIsGone is a check that can't run: it may come back.
func TestAnObjectThatIsGone(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	if err := w.a.Bucket.Delete(t.Context(), img.Key()); err != nil {
		t.Fatal(err)
	}
	if err := w.Validate(t.Context(), argsOf(img)); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("%v", err)
	}
	if got := w.wantState(t, img, broker.StateUploaded); got.CheckFailures != 1 {
		t.Errorf("%d failures are counted", got.CheckFailures)
	}
	put(t, w.a, img.Key(), data)
	if err := w.Validate(t.Context(), argsOf(img)); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, img, broker.StateReady)
}

// TestABucketThatContradictsItself gives another ETag with the object than
// without it: no verdict can come of that, so it must count.
func TestABucketThatContradictsItself(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	w.a.failing(func(op, _ string) error {
		if op == "open" {
			return broker.Errorf(broker.CodeChanged, "not that one")
		}
		return nil
	})
	if err := w.Validate(t.Context(), argsOf(img)); broker.CodeOf(err) != broker.CodeChanged {
		t.Errorf("%v", err)
	}
	if got := w.wantState(t, img, broker.StateUploaded); got.CheckFailures != 1 {
		t.Errorf("%d failures are counted", got.CheckFailures)
	}
}

// hungBody gives some bytes and then none until it is closed or its context ends.
type hungBody struct {
	io.ReadCloser
	ctx     context.Context
	reading func()
	some    bool
}

func (b *hungBody) Read(p []byte) (int, error) {
	if !b.some {
		b.some = true
		return b.ReadCloser.Read(p[:min(len(p), 10)])
	}
	b.reading()
	<-b.ctx.Done()
	return 0, context.Cause(b.ctx)
}

// TestAStalledReadIsCancelled: a minute without a byte, by the worker's clock.
func TestAStalledReadIsCancelled(t *testing.T) {
	w := newWorld(t)
	w.ExtendLeasesEvery(5 * time.Millisecond)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	var reads atomic.Int64
	hang := &hangingDriver{faultyDriver: w.a, reading: func() {
		if reads.Add(1) == 1 {
			w.clock.pass(59 * time.Second)
			time.AfterFunc(50*time.Millisecond, func() { w.clock.pass(2 * time.Second) })
		}
	}}
	hung := w.newWorker(t, bucketOver(t, "A", hang))
	hung.ExtendLeasesEvery(5 * time.Millisecond)
	begin := w.clock.now()
	err := hung.Validate(t.Context(), argsOf(img))
	if broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "no byte for 60 seconds") {
		t.Fatalf("a read that hangs ended with %v", err)
	}
	if waited := w.clock.now().Sub(begin); waited < time.Minute {
		t.Errorf("it was given up after %v", waited)
	}
	if got := w.wantState(t, img, broker.StateUploaded); got.CheckFailures != 1 {
		t.Errorf("%d failures are counted", got.CheckFailures)
	}
	if n := w.count(t, `leases`); n != 0 {
		t.Error("the lease is kept")
	}
	if err := w.Validate(t.Context(), argsOf(img)); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, img, broker.StateReady)
}

// TestAJobWhoseTimeIsOverIsCounted: a bucket that drips is no better than one
// that is silent.
func TestAJobWhoseTimeIsOverIsCounted(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	hang := &hangingDriver{faultyDriver: w.a}
	over := &overContext{Context: t.Context(), done: make(chan struct{})}
	hang.reading = func() { over.end() }
	if err := w.newWorker(t, bucketOver(t, "A", hang)).Validate(over, argsOf(img)); err == nil || worker.Snoozed(err) {
		t.Errorf("it ended with %v", err)
	}
	if got := w.wantState(t, img, broker.StateUploaded); got.CheckFailures != 1 {
		t.Errorf("%d failures are counted", got.CheckFailures)
	}

	// A worker that is told to stop has not failed.
	stop, cancel := context.WithCancel(t.Context())
	hang.reading = cancel
	if err := w.newWorker(t, bucketOver(t, "A", hang)).Validate(stop, argsOf(img)); !worker.Snoozed(err) {
		t.Errorf("a worker that stops ends with %v", err)
	}
	if got := w.wantState(t, img, broker.StateUploaded); got.CheckFailures != 1 {
		t.Errorf("%d failures are counted", got.CheckFailures)
	}
	if n := w.count(t, `leases`); n != 0 {
		t.Error("the lease is kept")
	}
}

// TestALostLeaseEndsTheCheck, which is no failure of the object's.
func TestALostLeaseEndsTheCheck(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	hang := &hangingDriver{faultyDriver: w.a, reading: func() {
		w.exec(t, `UPDATE leases SET holder = 'another'`)
	}}
	loser := w.newWorker(t, bucketOver(t, "A", hang))
	loser.ExtendLeasesEvery(5 * time.Millisecond)
	if err := loser.Validate(t.Context(), argsOf(img)); !worker.Snoozed(err) {
		t.Errorf("it ended with %v", err)
	}
	if got := w.wantState(t, img, broker.StateUploaded); got.CheckFailures != 0 {
		t.Errorf("%d failures are counted", got.CheckFailures)
	}
	if n := w.count(t, `leases WHERE holder = 'another'`); n != 1 {
		t.Error("the loser released the other's lease")
	}
}

// TestRetries spread ten tries over more than an hour.
func TestRetries(t *testing.T) {
	w := newWorld(t)
	var least, most time.Duration
	for attempt := 1; attempt < 10; attempt++ {
		least += 8 * time.Second << (attempt - 1)
		now := w.clock.now()
		pause := w.NextRetry(attempt).Sub(now)
		base := 8 * time.Second << (attempt - 1)
		if pause < base || pause > base+base/5+time.Second {
			t.Errorf("after try %d it waits %v, want %v and up to a fifth more", attempt, pause, base)
		}
		most += pause
	}
	if least < time.Hour {
		t.Errorf("ten tries may be over after %v", least)
	}
	if got := w.Timeout(5_000_000_000); got != 15*time.Minute+5000*time.Second {
		t.Errorf("5 GB may take %v", got)
	}
}

// hangingDriver is the embedded bucket, whose objects give a few bytes and then
// no more.
type hangingDriver struct {
	*faultyDriver
	reading func()
}

func (d *hangingDriver) Open(ctx context.Context, key string, r storage.Range, ifMatch string) (io.ReadCloser, storage.Object, error) {
	rc, obj, err := d.faultyDriver.Open(ctx, key, r, ifMatch)
	if err == nil {
		rc = &hungBody{ReadCloser: rc, ctx: ctx, reading: d.reading}
	}
	return rc, obj, err
}

// overContext is a context whose deadline a test brings about.
type overContext struct {
	context.Context
	done chan struct{}
	over atomic.Bool
}

func (c *overContext) end() {
	if c.over.CompareAndSwap(false, true) {
		close(c.done)
	}
}

func (c *overContext) Done() <-chan struct{} { return c.done }

func (c *overContext) Err() error {
	if c.over.Load() {
		return context.DeadlineExceeded
	}
	return nil
}
