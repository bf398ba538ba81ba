package worker_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// deafDriver is the embedded bucket, which answers nothing while it is deaf.
type deafDriver struct {
	*faultyDriver
	deaf atomic.Bool
}

func (d *deafDriver) listen(ctx context.Context) error {
	for d.deaf.Load() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

func (d *deafDriver) Stat(ctx context.Context, key string) (storage.Object, error) {
	if err := d.listen(ctx); err != nil {
		return storage.Object{}, err
	}
	return d.faultyDriver.Stat(ctx, key)
}

func (d *deafDriver) List(ctx context.Context, prefix, after string, max int) ([]storage.Object, error) {
	if err := d.listen(ctx); err != nil {
		return nil, err
	}
	return d.faultyDriver.List(ctx, prefix, after, max)
}

func (d *deafDriver) Open(ctx context.Context, key string, r storage.Range, ifMatch string) (io.ReadCloser, storage.Object, error) {
	if err := d.listen(ctx); err != nil {
		return nil, storage.Object{}, err
	}
	return d.faultyDriver.Open(ctx, key, r, ifMatch)
}

// TestABucketThatHangs slows its own work alone: a single validation may run at
// once, many objects wait in a bucket that answers nothing, and the other bucket's
// are judged.
func TestABucketThatHangs(t *testing.T) {
	w := newWorld(t)
	deaf := &deafDriver{faultyDriver: w.a}
	both := w.newWorker(t, bucketOver(t, "A", deaf), bucketOver(t, "B", w.b))
	both.SetSlots(1)
	both.WatchReadsEvery(10 * time.Millisecond)
	hanging, fine := w.project(t), w.project(t)
	var silent, loud []broker.Image
	for i := range 30 {
		img := w.register(t, hanging, "A", photo(i))[0]
		silent = append(silent, w.arrive(t, img, photo(i)))
	}
	// Ten projects more that are looked at there, more than a bucket has room for.
	for i := range 10 {
		img := w.register(t, w.project(t), "A", photo(i))[0]
		put(t, w.a, img.Key(), photo(i))
		silent = append(silent, img)
	}
	deaf.deaf.Store(true)
	start(t, both)
	for i := range 5 {
		img := w.register(t, fine, "B", photo(i))[0]
		put(t, w.b, img.Key(), photo(i))
		loud = append(loud, img)
	}
	judged := func(images []broker.Image) (n int) {
		for _, img := range images {
			if w.image(t, img).State == broker.StateReady {
				n++
			}
		}
		return n
	}
	eventually(t, "the other bucket's are Ready", func() bool { return judged(loud) == len(loud) })
	if n := judged(silent); n != 0 {
		t.Errorf("%d are Ready in a bucket that answers nothing", n)
	}
	deaf.deaf.Store(false)
	// Those put off come back by themselves.
	eventually(t, "the hanging bucket's are Ready when it answers", func() bool { return judged(silent) == len(silent) })
	if n := w.count(t, `images WHERE check_failures > 3`); n != 0 {
		t.Errorf("%d images pay for their bucket", n)
	}
}

// TestTroubleIsTriedByOne: when checks have failed in a row, one at a time tries
// whether the bucket is back; the others are put off, and nothing is counted.
func TestTroubleIsTriedByOne(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	var images []broker.Image
	for i := range 6 {
		images = append(images, w.arrive(t, w.register(t, p, "A", photo(i))[0], photo(i)))
	}
	w.a.failing(func(op, _ string) error {
		if op == "open" {
			return errFault
		}
		return nil
	})
	for _, img := range images[:3] {
		if err := w.Validate(t.Context(), argsOf(img)); err == nil || worker.Snoozed(err) {
			t.Fatalf("%v", err)
		}
	}
	w.a.counted("open")
	for _, img := range images[3:] {
		if err := w.Validate(t.Context(), argsOf(img)); !worker.Snoozed(err) {
			t.Errorf("in a bucket in trouble it ends with %v", err)
		}
		if got := w.image(t, img); got.CheckFailures != 0 {
			t.Error("what was put off is counted")
		}
	}
	if n := w.a.counted("open") + w.count(t, `leases`); n != 0 {
		t.Errorf("the bucket was asked, or leases are kept: %d", n)
	}
	// Of another bucket nothing is put off.
	other := w.register(t, p, "B", photo(9))[0]
	put(t, w.b, other.Key(), photo(9))
	if err := w.LookAt(t.Context(), "B", other.Key()); err != nil {
		t.Fatal(err)
	}
	if err := w.Validate(t.Context(), argsOf(w.image(t, other))); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, other, broker.StateReady)

	w.clock.pass(2 * time.Second)
	if err := w.Validate(t.Context(), argsOf(images[3])); err == nil || worker.Snoozed(err) {
		t.Errorf("after a while nobody tries: %v", err)
	}
	if err := w.Validate(t.Context(), argsOf(images[4])); !worker.Snoozed(err) {
		t.Errorf("it was tried in vain, and again at once: %v", err)
	}
	w.a.failing(nil)
	w.clock.pass(4 * time.Second)
	for _, img := range images { // the first success is enough
		if err := w.Validate(t.Context(), argsOf(img)); err != nil {
			t.Fatal(err)
		}
		w.wantState(t, img, broker.StateReady)
	}
}

// TestWhatKillsWorkers: an object whose check ends every worker is given up like one
// that can't be read, and meanwhile tried ever more rarely.
func TestWhatKillsWorkers(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	for i := range 8 {
		w.died(t, img)
		w.exec(t, `UPDATE river_job SET attempt = $1`, i+1)
		w.exec(t, `UPDATE leases SET expires_at = clock_timestamp() - interval '1 s'`)
		w.clock.pass(10 * time.Minute)
		w.sweep(t)
		if n := w.count(t, `river_job WHERE state = 'available' AND scheduled_at BETWEEN now() + ($1 - 3) * interval '1 s' AND now() + ($1 - 2) * interval '1 s'`, 1<<(i+1)); n != 1 {
			t.Fatalf("after death %d it is not tried again when it should", i+1)
		}
		w.a.failing(func(op, _ string) error { return errFault })
		if err := w.Validate(t.Context(), argsOf(img)); worker.Cancelled(err) {
			t.Fatalf("after death %d: %v", i+1, err)
		}
		w.exec(t, `UPDATE images SET check_failures = $1`, i+1) // of the deaths alone
	}
	w.a.failing(nil)
	w.exec(t, `UPDATE images SET check_failures = 9`)
	w.clock.pass(2 * time.Minute) // the bucket's trouble is over
	w.died(t, img)
	w.exec(t, `UPDATE leases SET expires_at = clock_timestamp() - interval '1 s'`)
	if err := w.Validate(t.Context(), argsOf(img)); !worker.Cancelled(err) {
		t.Fatalf("after the tenth: %v", err)
	}
	got := w.wantState(t, img, broker.StateInvalid, broker.ReasonUnchecked)
	if !strings.Contains(got.Reasons[0].Detail, "ended without a word") {
		t.Errorf("it says %q", got.Reasons[0].Detail)
	}
}

// TestAPanicIsAFailedCheck, and the worker lives on.
func TestAPanicIsAFailedCheck(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	w.a.body = func(string, io.ReadCloser) io.ReadCloser { panic("a fault that the test made") }
	if err := w.Validate(t.Context(), argsOf(img)); err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("%v", err)
	}
	if got := w.wantState(t, img, broker.StateUploaded); got.CheckFailures != 1 {
		t.Errorf("%d failures are counted", got.CheckFailures)
	}
	if n := w.count(t, `leases`); n != 0 {
		t.Error("the lease is kept")
	}
	w.a.body = nil
	if err := w.Validate(t.Context(), argsOf(img)); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, img, broker.StateReady)
}
