package tags

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// maxWindowed bounds how many addresses a Window remembers in one generation, each with
// as many times as it may have. Who has more addresses than that is held back by none.
const maxWindowed = 1 << 13

// Window bounds how often each client address may do something in any stretch of time of
// one length: all at once, or spread as it likes. (An api.Throttle lets an address do
// nearly twice as much in a stretch that begins with all at once.)
type Window struct {
	most int
	span time.Duration
	now  func() time.Time
	max  int // addresses of a generation

	mu         sync.Mutex
	young, old map[netip.Addr][]time.Time // the times within the last span, oldest first
	since      time.Time                  // when young began
}

// NewWindow makes a Window that lets each address do something at most so often in any
// span.
func NewWindow(most int, span time.Duration, now func() time.Time) *Window {
	return &Window{most: max(most, 1), span: span, now: now, max: maxWindowed, young: map[netip.Addr][]time.Time{}, since: now()}
}

// Allow counts one more time. CodeTooManyRequests, which counts nothing, when the
// address, as api.OneClient has it, must wait.
func (w *Window) Allow(addr netip.Addr) error {
	addr = api.OneClient(addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	w.forget(now)
	times, known := w.young[addr]
	if !known {
		times = w.old[addr]
	}
	for len(times) > 0 && now.Sub(times[0]) >= w.span {
		times = times[1:]
	}
	if len(times) >= w.most {
		wait := w.span - now.Sub(times[0])
		e := broker.Errorf(broker.CodeTooManyRequests, "your address has sent %d files within %d s, which are the most without a key; send the next one in %d s",
			w.most, int(w.span.Seconds()), int(math.Ceil(wait.Seconds())))
		e.RetryAfter = wait
		return e
	}
	w.young[addr] = append(times, now)
	return nil
}

// forget begins a new generation when all times of the old one are over, or earlier when
// the young one is full.
func (w *Window) forget(now time.Time) {
	if now.Sub(w.since) >= w.span || len(w.young) >= w.max {
		w.old, w.young, w.since = w.young, map[netip.Addr][]time.Time{}, now
	}
}
