package api

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// maxThrottled bounds how many addresses a Throttle remembers in one generation.
// Who has more than that tries less often than once per address anyway.
const maxThrottled = 1 << 15

// Throttle bounds how often each client address may do something that guesses or
// costs. Addresses are held in two generations, of which the older is forgotten as
// a whole: its memory is bounded, and a call costs the same however many call.
type Throttle struct {
	every time.Duration
	burst int
	now   func() time.Time
	max   int // addresses of a generation

	mu         sync.Mutex
	young, old map[netip.Addr]time.Time // when all that an address has used is won back
	since      time.Time                // when young began
}

// NewThrottle makes a Throttle that lets each address do something burst times at
// once, and once more for each time that every passes.
func NewThrottle(every time.Duration, burst int, now func() time.Time) *Throttle {
	return &Throttle{
		every: every, burst: max(burst, 1), now: now, max: maxThrottled, young: map[netip.Addr]time.Time{}, since: now(),
	}
}

// OneClient gives the same for all addresses that count as one client's: IPv6 addresses
// of one /64, for a client has at least as many, and those that are not known.
func OneClient(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}

// Allow counts one more time. CodeTooManyRequests, which counts nothing, when the
// address, as OneClient has it, must wait.
func (t *Throttle) Allow(addr netip.Addr) error {
	addr = OneClient(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.forget(now)
	free, known := t.young[addr]
	if !known {
		free = t.old[addr]
	}
	if free.Before(now) {
		free = now
	}
	if wait := free.Sub(now) - time.Duration(t.burst-1)*t.every; wait > 0 {
		e := broker.Errorf(broker.CodeTooManyRequests, "too many tries from your address; try again in %d s", int(math.Ceil(wait.Seconds())))
		e.RetryAfter = wait
		return e
	}
	t.young[addr] = free.Add(t.every)
	return nil
}

// forget begins a new generation when all of the old one has won back what it used,
// or earlier when the young one is full.
func (t *Throttle) forget(now time.Time) {
	if now.Sub(t.since) >= time.Duration(t.burst)*t.every || len(t.young) >= t.max {
		t.old, t.young, t.since = t.young, map[netip.Addr]time.Time{}, now
	}
}
