package worker_test

import (
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestAPlaceThatRefuses: a bucket that answers no look is asked less and less
// often, and is no error of the others; when it answers again, all is found.
func TestAPlaceThatRefuses(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.register(t, w.project(t), "A", data)[0]
	put(t, w.a, img.Key(), data)
	w.a.failing(func(op, _ string) error { return broker.Errorf(broker.CodeDenied, "no %s for you", op) })
	due := func() { w.exec(t, "UPDATE watches SET next_look_at = now() - interval '1 s'") }
	for range 4 {
		due()
		if err := w.LookAtDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count(t, "watches WHERE pause >= interval '3 s'"); n != 1 {
		t.Error("the pause does not grow while the bucket refuses")
	}
	w.wantState(t, img, broker.StatePending)
	w.a.failing(nil)
	due()
	if err := w.LookAtDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, img, broker.StateUploaded)
}
