package ossemu

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestNonces(t *testing.T) {
	var n nonces
	now := time.Date(2026, 11, 21, 1, 0, 0, 0, time.UTC)
	use := func(what, keyID, nonce string, at time.Duration, want bool) {
		t.Helper()
		if got := n.use(keyID, nonce, now.Add(at)); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	use("first", "k", "a", 0, true)
	use("again", "k", "a", 0, false)
	use("another key's", "k2", "a", 0, true)
	use("late in the first half", "k", "b", nonceLife-time.Second, true)
	use("another, in the next half", "k", "c", nonceLife, true)
	use("the late one is known as long as its request is good", "k", "b", 2*nonceLife-2*time.Second, false)
	use("the first one after all that is forgotten", "k", "a", 2*nonceLife, true)
	use("after a long pause", "k", "c", 10*nonceLife, true)
}

func TestNoncesAreBounded(t *testing.T) {
	var n nonces
	now := time.Date(2026, 11, 21, 1, 0, 0, 0, time.UTC)
	for i := range 2*maxNonces + 10 {
		n.use("k", fmt.Sprint(i), now)
	}
	if got := len(n.young) + len(n.older); got > 2*maxNonces {
		t.Errorf("%d are kept", got)
	}
	if n.use("k", fmt.Sprint(2*maxNonces+9), now) {
		t.Error("the last one is forgotten")
	}
}

// TestNoncesAtOnce: of many who use one nonce at the same time, one may.
func TestNoncesAtOnce(t *testing.T) {
	var n nonces
	now := time.Date(2026, 11, 21, 1, 0, 0, 0, time.UTC)
	var wg sync.WaitGroup
	var used atomic.Int32
	for range 50 {
		wg.Go(func() {
			if n.use("k", "a", now) {
				used.Add(1)
			}
		})
	}
	wg.Wait()
	if used.Load() != 1 {
		t.Errorf("%d may", used.Load())
	}
}

func TestPerSecond(t *testing.T) {
	p := perSecond{limit: 2}
	now := time.Date(2026, 11, 21, 1, 0, 0, 0, time.UTC)
	for i, want := range []bool{true, true, false, false} {
		if got := p.take(now.Add(time.Duration(i) * 100 * time.Millisecond)); got != want {
			t.Errorf("call %d: %v", i, got)
		}
	}
	if !p.take(now.Add(time.Second)) {
		t.Error("the next second")
	}
}
