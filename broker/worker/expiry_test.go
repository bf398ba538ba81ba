package worker_test

import (
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// TestExpiry: only after every grant has ended five minutes ago, and a look saw
// nothing.
func TestExpiry(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	img := w.register(t, p, "A", photo(1))[0]
	w.register(t, p, "B", photo(1))
	w.clock.pass(grantFor + broker.GraceAfterGrant - time.Minute)
	if l := w.look(t, p, "A"); l.Open != 1 || l.Expired != 0 {
		t.Errorf("within the five minutes: %+v", l)
	}
	if n := w.b.counted("stat") + w.b.counted("list"); n != 0 {
		t.Errorf("a look at A asked B %d times before anything could expire", n)
	}
	w.wantState(t, img, broker.StatePending)
	w.clock.pass(time.Minute)
	if l := w.look(t, p, "A"); l.Expired != 1 {
		t.Errorf("after them: %+v", l)
	}
	w.wantState(t, img, broker.StateInvalid, broker.ReasonExpired)
	if l := w.look(t, p, "A"); l.Open != 0 {
		t.Errorf("it is still waited for: %+v", l)
	}
}

func TestAFurtherGrantPutsExpiryOff(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	img := w.register(t, p, "A", photo(1))[0]
	w.clock.pass(grantFor / 2)
	w.register(t, p, "B", photo(1))
	w.clock.pass(grantFor/2 + broker.GraceAfterGrant + time.Second)
	if l := w.look(t, p, "A"); l.Expired != 0 {
		t.Errorf("%+v", l)
	}
	w.wantState(t, img, broker.StatePending)
	w.clock.pass(grantFor / 2)
	if l := w.look(t, p, "A"); l.Expired != 1 {
		t.Errorf("%+v", l)
	}
}

// TestWhatLiesThereDoesNotExpire, however late it was looked for.
func TestWhatLiesThereDoesNotExpire(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	images := w.register(t, p, "A", photo(1), photo(2))
	w.register(t, p, "B", photo(2))
	put(t, w.a, images[0].Key(), photo(1))
	put(t, w.b, images[1].Key(), photo(2)) // in the bucket that is not looked at
	w.clock.pass(100 * grantFor)
	l := w.look(t, p, "A")
	if l.Expired != 0 {
		t.Errorf("%+v", l)
	}
	if got := w.wantState(t, images[0], broker.StateUploaded); got.Bucket != "A" {
		t.Errorf("%+v", got)
	}
	if got := w.wantState(t, images[1], broker.StateUploaded); got.Bucket != "B" {
		t.Errorf("%+v", got)
	}
}

// TestNotKnowingIsNoReasonToExpire: while any granted bucket is silent, nothing
// expires.
func TestNotKnowingIsNoReasonToExpire(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	files := [][]byte{photo(1), photo(2), photo(3)}
	images := w.register(t, p, "A", files...)
	w.register(t, p, "B", files...)
	w.clock.pass(grantFor + time.Hour)
	silent := func(string, string) error { return errFault }
	for _, d := range []*faultyDriver{w.a, w.b} {
		d.failing(silent)
		for _, pages := range []int{1, 100} { // by LIST and by HEAD
			_, err := w.Look(t.Context(), postgres.Watch{ProjectID: p.ID, Bucket: "A", Pause: time.Second, Pages: pages})
			if broker.CodeOf(err) != broker.CodeUnavailable {
				t.Errorf("a look at a silent bucket: %v", err)
			}
		}
		d.failing(nil)
		for _, img := range images {
			w.wantState(t, img, broker.StatePending)
		}
	}
	if l := w.look(t, p, "A"); l.Expired != len(images) {
		t.Errorf("when both answer: %+v", l)
	}
}

// TestLateObjectOfAnExpiredImage is taken in: nobody can take back a PUT that
// had begun.
func TestLateObjectOfAnExpiredImage(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	files := [][]byte{photo(1), photo(2)}
	images := w.register(t, p, "A", files...)
	w.clock.pass(grantFor + time.Hour)
	if l := w.look(t, p, "A"); l.Expired != 2 {
		t.Fatalf("%+v", l)
	}
	for i, img := range images {
		put(t, w.a, img.Key(), files[i])
	}
	if err := w.LookAt(t.Context(), "A", images[0].Key()); err != nil { // by the bucket's event
		t.Fatal(err)
	}
	w.wantState(t, images[0], broker.StateUploaded)
	if n, err := w.Reconcile(t.Context(), p.ID, "A"); err != nil || n != 1 { // or the daily sweep
		t.Errorf("%d moved, %v", n, err)
	}
	for i, img := range images {
		if err := w.Validate(t.Context(), argsOf(w.image(t, img))); err != nil {
			t.Fatal(err)
		}
		if got := w.wantState(t, img, broker.StateReady); got.ProvenSHA1 != got.SHA1 {
			t.Errorf("%d: %+v", i, got)
		}
	}
}
