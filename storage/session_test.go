package storage

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// fakeSTS is a driver whose cloud gives sessions of an hour. Its clock is the
// bubble's.
type fakeSTS struct {
	fake
	calls atomic.Int32
	took  time.Duration
	fail  func(call int) error // nil: none fails
	last  atomic.Pointer[string]
}

func (f *fakeSTS) Session(ctx context.Context, prefix string, ttl time.Duration) (broker.CloudSession, error) {
	n := int(f.calls.Add(1))
	f.last.Store(&prefix)
	time.Sleep(f.took)
	if f.fail != nil {
		if err := f.fail(n); err != nil {
			return broker.CloudSession{}, err
		}
	}
	return broker.CloudSession{ID: fmt.Sprint(prefix, n), ExpiresAt: time.Now().Add(ttl)}, nil
}

func newSTS(t *testing.T, d *fakeSTS) *Bucket {
	return newTest(t, Info{GrantTTL: time.Hour}, d)
}

func mustSession(t *testing.T, b *Bucket, prefix string) broker.CloudSession {
	t.Helper()
	s, err := b.Session(t.Context(), prefix)
	if err != nil {
		t.Fatalf("session for %q: %v", prefix, err)
	}
	return s
}

func TestManyCallersShareOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeSTS{took: 300 * time.Millisecond}
		b := newSTS(t, d)
		var group sync.WaitGroup
		for i := range 10_000 {
			group.Go(func() {
				if got := mustSession(t, b, "p/"); got.ID != "p/1" {
					t.Errorf("caller %d got %s", i, got.ID)
				}
			})
		}
		group.Wait()
		if n := d.calls.Load(); n != 1 {
			t.Errorf("%d calls for 10,000 callers", n)
		}
		// Another project's is another one.
		if got := mustSession(t, b, "q/"); got.ID != "q/2" {
			t.Errorf("another prefix got %s", got.ID)
		}
	})
}

func TestSessionIsRenewedAtHalfItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeSTS{}
		b := newSTS(t, d)
		began := time.Now()
		for minute := range 300 { // one asks every minute for five hours
			s := mustSession(t, b, "p/")
			if left := time.Until(s.ExpiresAt); left < 30*time.Minute {
				t.Errorf("after %v a session is given that lives %v", time.Since(began), left)
			}
			if want := int32(minute/30 + 1); d.calls.Load() != want {
				t.Fatalf("minute %d: %d calls, want %d", minute, d.calls.Load(), want)
			}
			time.Sleep(time.Minute)
		}
		// After a long silence the first caller waits for a new one.
		time.Sleep(7 * time.Hour)
		if s := mustSession(t, b, "p/"); time.Until(s.ExpiresAt) != time.Hour {
			t.Errorf("an old session is given, it ends %v", s.ExpiresAt)
		}
	})
}

func TestThrottledSessions(t *testing.T) {
	busy := broker.Errorf(broker.CodeTooManyRequests, "busy")
	t.Run("a short while", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &fakeSTS{fail: func(n int) error {
				if n <= 4 {
					return busy
				}
				return nil
			}}
			if s := mustSession(t, newSTS(t, d), "p/"); s.ID != "p/5" {
				t.Errorf("got %s", s.ID)
			}
		})
	})
	t.Run("for long, with none at hand", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &fakeSTS{fail: func(int) error { return busy }}
			b := newSTS(t, d)
			began := time.Now()
			_, err := b.Session(t.Context(), "p/")
			wantCode(t, err, broker.CodeTooManyRequests)
			if took := time.Since(began); took < 5*time.Second || took > sessionTime {
				t.Errorf("it gave up after %v", took)
			}
			calls := d.calls.Load()
			if calls > 10 {
				t.Errorf("it asked %d times", calls)
			}
			// The next ones are told at once, and nobody asks for a while.
			for range 100 {
				_, err := b.Session(t.Context(), "p/")
				wantCode(t, err, broker.CodeTooManyRequests)
			}
			if d.calls.Load() != calls {
				t.Errorf("it asked %d times more", d.calls.Load()-calls)
			}
			d.fail = nil
			time.Sleep(sessionHoldOff)
			mustSession(t, b, "p/")
		})
	})
	t.Run("with one at hand", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &fakeSTS{}
			b := newSTS(t, d)
			first := mustSession(t, b, "p/")
			d.fail = func(int) error { return busy }
			time.Sleep(31 * time.Minute)
			for time.Until(first.ExpiresAt) > sessionTime { // who comes later may wait until it has ended
				began := time.Now()
				if s := mustSession(t, b, "p/"); s != first {
					t.Fatalf("got %s", s.ID)
				}
				// While it lives for a while yet, nobody waits for all the tries.
				if left := time.Until(first.ExpiresAt); left > sessionLeft && time.Since(began) > sessionWait {
					t.Errorf("%v before its end a caller waited %v", left, time.Since(began))
				}
				time.Sleep(17 * time.Second)
			}
			if n := d.calls.Load(); n > 400 {
				t.Errorf("it asked %d times in half an hour", n)
			}
			time.Sleep(5 * time.Minute)
			_, err := b.Session(t.Context(), "p/")
			wantCode(t, err, broker.CodeTooManyRequests)
			d.fail = nil
			time.Sleep(sessionHoldMax)
			if s := mustSession(t, b, "p/"); time.Until(s.ExpiresAt) != time.Hour {
				t.Errorf("it ends %v", s.ExpiresAt)
			}
		})
	})
	t.Run("many prefixes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int32
			d := &fakeSTS{took: 100 * time.Millisecond}
			d.fail = func(int) error {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(time.Millisecond)
				now.Add(-1)
				return nil
			}
			b := newSTS(t, d)
			var group sync.WaitGroup
			for i := range 100 {
				group.Go(func() { mustSession(t, b, fmt.Sprint(i, "/")) })
			}
			group.Wait()
			if most.Load() > sessionCalls || d.calls.Load() != 100 {
				t.Errorf("%d calls, %d at once", d.calls.Load(), most.Load())
			}
		})
	})
}

func TestRefusedSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeSTS{fail: func(int) error { return broker.Errorf(broker.CodeDenied, "no") }}
		b := newSTS(t, d)
		_, err := b.Session(t.Context(), "p/")
		wantCode(t, err, broker.CodeDenied)
		if d.calls.Load() != 1 {
			t.Errorf("a refusal was tried %d times", d.calls.Load())
		}
		for _, prefix := range []string{"", "/", "p", "../", "a//", "a/../b/", "\\/"} {
			_, err := b.Session(t.Context(), prefix)
			wantCode(t, err, broker.CodeInvalidName)
		}
		if d.calls.Load() != 1 {
			t.Error("a bad prefix reached the cloud")
		}
	})
	_, err := newTest(t, Info{}, &fake{}).Session(t.Context(), "p/")
	wantCode(t, err, broker.CodeNotSupported)
}

// One caller who goes away takes nothing from the others.
func TestSessionOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeSTS{took: time.Second}
		b := newSTS(t, d)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := b.Session(ctx, "p/")
			gone <- err
		}()
		synctest.Wait()
		var got broker.CloudSession
		done := make(chan struct{})
		go func() { got = mustSession(t, b, "p/"); close(done) }()
		synctest.Wait()
		cancel()
		wantCode(t, <-gone, broker.CodeUnavailable)
		<-done
		if got.ID != "p/1" || d.calls.Load() != 1 {
			t.Errorf("got %q after %d calls", got.ID, d.calls.Load())
		}
	})
}

// A cloud whose sessions have ended by our clock must not be asked for each call.
func TestSessionsOfAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeSTS{}
		b := newTest(t, Info{GrantTTL: time.Second}, &pastSTS{d})
		_, err := b.Session(t.Context(), "p/")
		wantCode(t, err, broker.CodeUnavailable)
		if n := d.calls.Load(); n > 10 {
			t.Errorf("%d calls", n)
		}
	})
}

// pastSTS gives what has ended.
type pastSTS struct{ *fakeSTS }

func (f *pastSTS) Session(ctx context.Context, prefix string, ttl time.Duration) (broker.CloudSession, error) {
	s, err := f.fakeSTS.Session(ctx, prefix, ttl)
	s.ExpiresAt = time.Now().Add(-time.Second)
	return s, err
}

// What nobody asks for any more is forgotten.
func TestSessionsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSTS(t, &fakeSTS{})
		for i := range 50 {
			mustSession(t, b, fmt.Sprint(i, "/"))
		}
		time.Sleep(2 * time.Hour)
		mustSession(t, b, "new/")
		if n := len(b.sessions.slots); n != 1 {
			t.Errorf("%d prefixes are kept", n)
		}
	})
}
