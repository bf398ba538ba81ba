package worker_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/worker"
)

// died leaves what a worker that was killed in the middle of a validation
// leaves: a lease, and a job that is running for ever.
func (w *world) died(t *testing.T, img broker.Image) {
	t.Helper()
	if got, _, err := w.store.AcquireLease(t.Context(), img.ID, "dead/1.1"); err != nil || !got {
		t.Fatal(got, err)
	}
	w.exec(t, `UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(), attempted_by = '{dead}'`)
}

func TestKilledWorker(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	w.died(t, img)
	w.clock.pass(2 * time.Minute)
	w.sweep(t)
	if n := w.count(t, `river_job`); n != 1 {
		t.Fatalf("%d jobs while the dead one's lease lasts", n)
	}
	w.exec(t, `UPDATE leases SET expires_at = clock_timestamp() - interval '1 ms'`)
	w.sweep(t)
	w.sweep(t)
	if n := w.count(t, `river_job WHERE state = 'available'`); n != 1 {
		t.Fatalf("%d jobs after the lease ended", n)
	}
	start(t, w.Worker)
	eventually(t, "the image is Ready", func() bool { return w.image(t, img).State == broker.StateReady })
}

// TestKilledWorkerThatWasAlone: who owns the private Postgres need not wait.
func TestKilledWorkerThatWasAlone(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	w.died(t, img)
	w.Alone = true
	start(t, w.Worker)
	eventually(t, "the image is Ready", func() bool { return w.image(t, img).State == broker.StateReady })
}

// TestAJobWaitsForALease: it is not thrown away while somebody holds the image.
func TestAJobWaitsForALease(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	if _, _, err := w.store.AcquireLease(t.Context(), img.ID, "other"); err != nil {
		t.Fatal(err)
	}
	start(t, w.Worker)
	eventually(t, "the job was tried", func() bool { return w.count(t, `river_job WHERE metadata ? 'snoozes'`) == 1 })
	w.wantState(t, img, broker.StateUploaded)
	w.exec(t, `DELETE FROM leases`)
	eventually(t, "the image is Ready", func() bool { return w.image(t, img).State == broker.StateReady })
}

// TestRunEnds: it lets go of what it holds, and leaves no goroutine behind.
func TestRunEnds(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data := photo(1)
	images := w.register(t, p, "A", data, photo(2), photo(3))
	w.ready(t, images[0], data)
	put(t, w.a, images[1].Key(), photo(2))

	// The end comes while an object is being read.
	reading := make(chan struct{}, 1)
	hang := &hangingDriver{faultyDriver: w.a, reading: func() {
		select {
		case reading <- struct{}{}:
		default:
		}
	}}
	running := w.newWorker(t, bucketOver(t, "A", hang))
	before := goroutines()
	stop := start(t, running)
	<-reading
	stop()
	eventually(t, "all goroutines ended", func() bool { return len(goroutines()) <= len(before) })
	if t.Failed() {
		t.Log(strings.Join(goroutines(), "\n\n"))
	}
	if n := w.count(t, `leases`); n != 0 {
		t.Errorf("%d leases are kept", n)
	}
	if n := w.count(t, `river_job WHERE state = 'available' AND args->>'image_id' = $1`, images[1].ID); n != 1 {
		t.Errorf("%d jobs of it wait for the next worker", n)
	}
	if got := w.wantState(t, images[1], broker.StateUploaded); got.CheckFailures != 0 {
		t.Errorf("stopping is counted as %d failures", got.CheckFailures)
	}
	// The next one takes over at once.
	start(t, w.Worker)
	eventually(t, "the next worker judges it", func() bool { return w.image(t, images[1]).State == broker.StateReady })
}

// goroutines lists the stacks of those that a worker starts.
func goroutines() (list []string) {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "riverqueue/river") || strings.Contains(stack, "worker.(*Worker)") || strings.Contains(stack, "validate.Image") {
			list = append(list, stack)
		}
	}
	return list
}

// TestRunOverASilentBucket: one bucket's silence is no other's.
func TestRunOverASilentBucket(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	a, b := photo(1), photo(2)
	inA, inB := w.register(t, p, "A", a)[0], w.register(t, p, "B", b)[0]
	put(t, w.a, inA.Key(), a)
	put(t, w.b, inB.Key(), b)
	w.a.failing(func(string, string) error { return errFault })
	start(t, w.Worker)
	eventually(t, "what is in B is Ready", func() bool { return w.image(t, inB).State == broker.StateReady })
	w.wantState(t, inA, broker.StatePending)
	w.a.failing(nil)
	eventually(t, "what is in A is Ready", func() bool { return w.image(t, inA).State == broker.StateReady })
}

// TestOnlyConfiguredBucketsAreLookedAt: another process may know the others.
func TestOnlyConfiguredBucketsAreLookedAt(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	img := w.register(t, p, "A", photo(1))[0]
	onlyB := w.newWorker(t, bucketOver(t, "B", w.b))
	if _, err := onlyB.Look(t.Context(), postgres.Watch{ProjectID: p.ID, Bucket: "A", Pause: time.Second}); broker.CodeOf(err) != broker.CodeUnknownBucket {
		t.Errorf("%v", err)
	}
	w.arrive(t, img, photo(1))
	if err := onlyB.Validate(t.Context(), argsOf(w.image(t, img))); broker.CodeOf(err) != broker.CodeUnknownBucket {
		t.Errorf("%v", err)
	}
	if err := w.Validate(t.Context(), argsOf(w.image(t, img))); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, img, broker.StateReady)
}

// TestAJobThatWaitsForASlot holds its image, and lets go of it when told to stop.
func TestAJobThatWaitsForASlot(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	files := [][]byte{photo(1), photo(2)}
	rows := w.register(t, p, "A", files...)
	first, second := w.arrive(t, rows[0], files[0]), w.arrive(t, rows[1], files[1])
	hang := &hangingDriver{faultyDriver: w.a, reading: func() {}}
	one := w.newWorker(t, bucketOver(t, "A", hang))
	one.SetSlots(1)
	one.ExtendLeasesEvery(5 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- one.Validate(ctx, argsOf(first)) }()
	eventually(t, "the first has its lease", func() bool { return w.count(t, `leases WHERE image_id = $1`, first.ID) == 1 })
	go func() { ended <- one.Validate(ctx, argsOf(second)) }()
	eventually(t, "the second has its lease, too", func() bool { return w.count(t, `leases WHERE image_id = $1`, second.ID) == 1 })
	w.exec(t, `UPDATE river_job SET state = 'running', attempted_at = now() - interval '1 hour'`)
	w.clock.pass(30 * time.Second)
	w.exec(t, `UPDATE images SET uploaded_at = now() - interval '1 hour'`)
	w.sweep(t)
	if n := w.count(t, `river_job`); n != 2 {
		t.Errorf("%d jobs for two images that are held", n)
	}
	cancel()
	for range 2 {
		if err := <-ended; !worker.Snoozed(err) {
			t.Errorf("it ended with %v", err)
		}
	}
	if n := w.count(t, `leases`); n != 0 {
		t.Errorf("%d leases are kept", n)
	}
}
