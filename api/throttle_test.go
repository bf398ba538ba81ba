package api

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// handClock is moved by hand.
type handClock struct{ t time.Time }

func (c *handClock) now() time.Time { return c.t }

func TestThrottle(t *testing.T) {
	c := &handClock{time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	th := NewThrottle(12*time.Second, 5, c.now)
	ada, bob := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("203.0.113.8")
	try := func(addr netip.Addr, want bool, wait time.Duration) {
		t.Helper()
		err := th.Allow(addr)
		if want {
			if err != nil {
				t.Errorf("%v: %v", addr, err)
			}
			return
		}
		var e *broker.Error
		if !errors.As(err, &e) || e.Code != broker.CodeTooManyRequests || e.RetryAfter != wait || e.Msg == "" {
			t.Errorf("%v: %+v, want to wait %v", addr, err, wait)
		}
	}
	for range 5 {
		try(ada, true, 0)
	}
	try(ada, false, 12*time.Second)
	try(ada, false, 12*time.Second) // what was refused does not count
	try(netip.MustParseAddr("::ffff:203.0.113.7"), false, 12*time.Second)
	try(bob, true, 0)
	c.t = c.t.Add(11 * time.Second)
	try(ada, false, time.Second)
	c.t = c.t.Add(time.Second)
	try(ada, true, 0)
	try(ada, false, 12*time.Second)
	c.t = c.t.Add(24 * time.Second)
	try(ada, true, 0)
	try(ada, true, 0)
	try(ada, false, 12*time.Second)
	c.t = c.t.Add(time.Hour) // no more than five are won back
	for range 5 {
		try(ada, true, 0)
	}
	try(ada, false, 12*time.Second)
}

// TestThrottleNeverForgetsTooEarly: over any minute, an address that tries all the
// time gets through as often as it may, whenever a generation ends.
func TestThrottleNeverForgetsTooEarly(t *testing.T) {
	c := &handClock{time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	th := NewThrottle(12*time.Second, 5, c.now)
	addr := netip.MustParseAddr("203.0.113.7")
	passed := 0
	for range 600 {
		if th.Allow(addr) == nil {
			passed++
		}
		c.t = c.t.Add(time.Second)
	}
	if passed != 5+49 { // 5 at once, then one each 12 s up to second 588
		t.Errorf("%d of 600 in ten minutes", passed)
	}
}

func TestThrottleAddresses(t *testing.T) {
	c := &handClock{time.Now()}
	same := func(a, b netip.Addr) bool {
		th := NewThrottle(time.Second, 1, c.now)
		if err := th.Allow(a); err != nil {
			t.Fatal(err)
		}
		return th.Allow(b) != nil
	}
	ip := netip.MustParseAddr
	for _, x := range []struct {
		a, b netip.Addr
		want bool
	}{
		{ip("2001:db8::1"), ip("2001:db8::ffff:ffff:ffff:ffff"), true},
		{ip("2001:db8::1"), ip("2001:db8:0:1::1"), false},
		{ip("203.0.113.7"), ip("203.0.113.8"), false},
		{ip("fe80::1%eth0"), ip("fe80::2"), true},
		{netip.Addr{}, netip.Addr{}, true},
		{netip.Addr{}, ip("203.0.113.7"), false},
	} {
		if same(x.a, x.b) != x.want {
			t.Errorf("%v and %v are one: %v", x.a, x.b, !x.want)
		}
	}
}

// TestThrottleMemory: however many addresses call, few are held; the latest are.
func TestThrottleMemory(t *testing.T) {
	c := &handClock{time.Now()}
	th := NewThrottle(time.Hour, 1, c.now)
	th.max = 100
	addr := func(n int) netip.Addr {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(n))
		return netip.AddrFrom4(b)
	}
	for n := range 1050 {
		if err := th.Allow(addr(n)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(th.young) + len(th.old); n > 200 {
		t.Errorf("%d addresses are held", n)
	}
	for n := 950; n < 1050; n++ {
		if th.Allow(addr(n)) == nil {
			t.Errorf("address %d was forgotten", n)
		}
	}
	c.t = c.t.Add(time.Hour)
	_ = th.Allow(addr(0))
	c.t = c.t.Add(time.Hour)
	_ = th.Allow(addr(1))
	if n := len(th.young) + len(th.old); n > 2 {
		t.Errorf("%d addresses are held when all have won back what they used", n)
	}
}

func TestThrottleAtOnce(t *testing.T) {
	th := NewThrottle(time.Hour, 5, time.Now)
	var passed atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if th.Allow(netip.MustParseAddr("203.0.113.7")) == nil {
				passed.Add(1)
			}
		})
	}
	all.Wait()
	if passed.Load() != 5 {
		t.Errorf("%d passed", passed.Load())
	}
}
