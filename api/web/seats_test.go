package web

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestSeats: no address and no owner takes more than its own, strangers together leave
// most places to those who are signed in.
func TestSeats(t *testing.T) {
	var s seats
	nobody := broker.Caller{}
	owner := func(id string) broker.Caller {
		return broker.Caller{Owner: broker.Owner{ID: id}, Key: broker.Key{ID: "k"}}
	}
	at := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)}) }
	take := func(by broker.Caller, from netip.Addr, want broker.Code) func() {
		t.Helper()
		leave, err := s.take(by, from)
		var e *broker.Error
		if broker.CodeOf(err) != want || want != "" && (!errors.As(err, &e) || e.RetryAfter <= 0) {
			t.Fatalf("%v, want %q", err, want)
		}
		return leave
	}
	var leave func()
	for n := range strangersOf {
		leave = take(nobody, netip.AddrFrom16([16]byte{0: 0x20, 15: byte(n)}), "")
	}
	take(nobody, netip.MustParseAddr("2000::77:0:0:1"), broker.CodeTooManyRequests) // of the same /64
	leave()
	take(nobody, netip.MustParseAddr("2000::77:0:0:1"), "")
	for n := range strangersMax - strangersOf {
		take(nobody, at(n), "")
	}
	take(nobody, at(60000), broker.CodeUnavailable)
	for range viewersOf {
		take(owner("ada"), at(0), "")
	}
	take(owner("ada"), at(1), broker.CodeTooManyRequests)
	for n := range viewersMax - strangersMax - viewersOf {
		leave = take(owner(string(rune('一'+n))), at(0), "")
	}
	take(owner("bob"), at(0), broker.CodeUnavailable)
	leave()
	take(owner("bob"), at(0), "")
	if s.taken != viewersMax || s.strangers != strangersMax {
		t.Errorf("%d, %d of them strangers", s.taken, s.strangers)
	}
}

// TestAnswerIsShared: many who ask at once are told by one question, and are told anew
// after a while.
func TestAnswerIsShared(t *testing.T) {
	var a answer
	var asked atomic.Int64
	question := func(context.Context) (bool, error) { asked.Add(1); return true, nil }
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if yes, err := a.ask(t.Context(), time.Hour, question); !yes || err != nil {
				t.Error(yes, err)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if _, err := a.ask(t.Context(), 0, question); err != nil || asked.Load() != 2 {
		t.Errorf("asked %d times in the end: %v", asked.Load(), err)
	}
	// Who asks may go away meanwhile: the others still want to know.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	said := make(chan bool)
	if yes, err := a.ask(ctx, 0, func(ctx context.Context) (bool, error) { return <-said, ctx.Err() }); !yes || err == nil {
		t.Error("he waits on", yes, err)
	}
	go func() { said <- false }()
	if yes, err := a.ask(t.Context(), 0, question); yes || err != nil || asked.Load() != 2 {
		t.Errorf("%t, %v after %d questions of others", yes, err, asked.Load())
	}
	// A failure says nothing.
	broken := errors.New("broken")
	for _, want := range []bool{false, true} {
		if yes, err := a.ask(t.Context(), 0, func(context.Context) (bool, error) { return !want, broken }); yes != want || err != broken {
			t.Error(yes, err)
		}
		if _, err := a.ask(t.Context(), 0, question); err != nil {
			t.Error(err)
		}
	}
}
