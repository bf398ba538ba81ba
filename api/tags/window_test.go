package tags

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// handClock is moved by hand.
type handClock struct{ t time.Time }

func (c *handClock) now() time.Time { return c.t }

// TestWindow tries at some seconds, several times each.
func TestWindow(t *testing.T) {
	ada, bob := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("203.0.113.8")
	type try struct {
		at    float64 // seconds
		who   netip.Addr
		times int
		pass  int
		wait  time.Duration // of those that must
	}
	for about, tries := range map[string][]try{
		"all at once": {{0, ada, 61, 60, 60 * time.Second}, {59.5, ada, 2, 0, 500 * time.Millisecond}, {60, ada, 61, 60, 60 * time.Second}},
		"half and half": {
			{0, ada, 30, 30, 0}, {45, ada, 40, 30, 15 * time.Second}, {60, ada, 40, 30, 45 * time.Second}, {105, ada, 40, 30, 15 * time.Second},
		},
		"others":         {{0, ada, 60, 60, 0}, {1, bob, 61, 60, 60 * time.Second}, {1, netip.MustParseAddr("2001:db8::ffff"), 1, 0, 59 * time.Second}},
		"long afterward": {{0, ada, 60, 60, 0}, {1000, ada, 61, 60, 60 * time.Second}},
	} {
		t.Run(about, func(t *testing.T) {
			c := &handClock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
			began := c.t
			w := NewWindow(60, time.Minute, c.now)
			for _, x := range tries {
				c.t = began.Add(time.Duration(x.at * float64(time.Second)))
				passed := 0
				for range x.times {
					err := w.Allow(x.who)
					var e *broker.Error
					switch {
					case err == nil:
						passed++
					case !errors.As(err, &e) || e.Code != broker.CodeTooManyRequests || e.RetryAfter != x.wait:
						t.Fatalf("at %v s: %v, %+v, want to wait %v", x.at, err, e, x.wait)
					}
				}
				if passed != x.pass {
					t.Errorf("at %v s %d pass, want %d", x.at, passed, x.pass)
				}
			}
		})
	}
}

// TestWindowHoldsInEachMinute: however it is tried, and whenever a generation ends, no
// minute has more than sixty, and who waits as long as he is told goes on.
func TestWindowHoldsInEachMinute(t *testing.T) {
	c := &handClock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	w := NewWindow(60, time.Minute, c.now)
	addr := netip.MustParseAddr("203.0.113.7")
	var passed []time.Time
	for i := range 5000 {
		err := w.Allow(addr)
		var e *broker.Error
		switch {
		case err == nil:
			passed = append(passed, c.t)
		case errors.As(err, &e) && i%3 == 0:
			c.t = c.t.Add(e.RetryAfter)
			if err := w.Allow(addr); err != nil {
				t.Fatalf("after the time that was told: %v", err)
			}
			passed = append(passed, c.t)
		}
		c.t = c.t.Add(time.Duration(i%7) * 100 * time.Millisecond)
	}
	for i := 60; i < len(passed); i++ {
		if passed[i].Sub(passed[i-60]) < time.Minute {
			t.Fatalf("61 within %v", passed[i].Sub(passed[i-60]))
		}
	}
	if len(passed) < 1000 {
		t.Errorf("only %d passed", len(passed))
	}
}

// TestWindowMemory: however many addresses send, few are held.
func TestWindowMemory(t *testing.T) {
	c := &handClock{time.Now()}
	w := NewWindow(1, time.Hour, c.now)
	w.max = 100
	for n := range uint32(1050) {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], n)
		if err := w.Allow(netip.AddrFrom4(b)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.young) + len(w.old); n > 200 {
		t.Errorf("%d addresses are held", n)
	}
}
