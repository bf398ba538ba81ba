package worker

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestOneTries: of many checks that begin at the same moment in a bucket in trouble
// one goes on, whatever ends beside it.
func TestOneTries(t *testing.T) {
	now := time.Now()
	tr := newTrouble(func() time.Time { return now })
	before, ok := tr.begin("A") // while all was well
	if !ok {
		t.Fatal("a bucket that never failed is in trouble")
	}
	for range maxFailures {
		tr.end("A", broker.Errorf(broker.CodeUnavailable, "no"))
	}
	if _, ok := tr.begin("A"); ok {
		t.Error("it is tried again at once")
	}
	now = now.Add(2 * firstTrouble)
	var began atomic.Int64
	var leaves sync.Map
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			if leave, ok := tr.begin("A"); ok {
				began.Add(1)
				leaves.Store(i, leave)
			}
		})
	}
	all.Wait()
	if n := began.Load(); n != 1 {
		t.Errorf("%d try at once", n)
	}
	before() // the end of one that began earlier is not the end of the one that tries
	if _, ok := tr.begin("A"); ok {
		t.Error("a second one tries beside the first")
	}
	leaves.Range(func(_, leave any) bool { leave.(func())(); return true })
	if _, ok := tr.begin("A"); !ok {
		t.Error("nobody may try after the first has ended")
	}
	if _, ok := tr.begin("B"); !ok {
		t.Error("another bucket's checks wait too")
	}
}
