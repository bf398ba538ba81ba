package client_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/api/client/clienttest"
)

// The session of a long upload ends twice, and with it every grant of the queue.
func TestSessionsThatEndInTheQueue(t *testing.T) {
	t.Parallel()
	b, c := newCloudBench(t, func(c *cloud) { c.ttl = 15 * time.Minute })
	b.Now = c.clock.now
	b.use(t, client.WithClock(c.clock.now))
	b.opts.Concurrency = 2
	b.photos(t, 40)
	c.line = func(http.ResponseWriter, *http.Request) bool {
		c.clock.forward(time.Minute) // as long as a photo takes on a slow line
		return false
	}
	r := b.upload(t)
	wantReady(t, r, 40)
	b.wantBytes(t, c, r)
	if _, no := c.count(); len(no) != 0 {
		t.Errorf("refused: %v, want each session renewed before its end", no)
	}
	if n := len(c.given()); n < 3 {
		t.Errorf("%d sessions in 40 minutes, want three or more", n)
	}
	if n := b.Calls("regrant"); n < 2 || n > 12 {
		t.Errorf("%d regrants in 40 minutes: want few, each for all that wait", n)
	}
	if b.Expired() != 0 || b.Calls("register") != 1 {
		t.Errorf("the server gave %d images up, and %d register calls were made", b.Expired(), b.Calls("register"))
	}
}

// A laptop that sleeps in the middle of an upload wakes up with every session ended
// and every image given up: they begin again.
func TestLaptopThatSleepsOverItsSessions(t *testing.T) {
	t.Parallel()
	b, c := newCloudBench(t)
	b.Now = c.clock.now
	b.use(t, client.WithClock(c.clock.now))
	b.opts.Concurrency = 2
	b.photos(t, 10)
	var n atomic.Int64
	c.line = func(http.ResponseWriter, *http.Request) bool {
		if n.Add(1) == 4 {
			c.clock.forward(9 * time.Hour)
		}
		return false
	}
	r := b.upload(t)
	wantReady(t, r, 10)
	b.wantBytes(t, c, r)
	if b.Expired() == 0 {
		t.Error("the server gave no image up: the test proves nothing")
	}
}

// A bucket may end a session before its time. The files that wait with the same
// one are not sent in vain each for itself.
func TestSessionThatIsRevoked(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"SecurityTokenExpired", "InvalidAccessKeyId", "InvalidSecurityToken"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			b, c := newCloudBench(t)
			b.opts.Concurrency = 3
			b.photos(t, 30)
			var puts atomic.Int64
			c.line = func(w http.ResponseWriter, r *http.Request) bool {
				if first := c.given()[0]; puts.Add(1) > 10 && strings.Contains(r.Header.Get("Authorization"), first.ID) {
					c.mu.Lock()
					c.ends = time.Time{} // the next session is another
					c.mu.Unlock()
					clienttest.Refuse(w, 403, code, "The security token "+first.Token+" of "+first.ID+" has ended.")
					return true
				}
				return false
			}
			r := b.upload(t)
			wantReady(t, r, 30)
			b.wantBytes(t, c, r)
			// Those that were under way learn it each for itself.
			if _, no := c.count(); no["403"] == 0 || no["403"] > 3 {
				t.Errorf("%d PUTs were refused, want no more than were under way", no["403"])
			}
			if n := b.Calls("regrant"); n == 0 || n > 8 {
				t.Errorf("%d regrants", n)
			}
		})
	}
}

// What the emulator itself says to a session that has ended is understood, also
// when the server's word for its end was wrong.
func TestSessionThatEndsEarlierThanSaid(t *testing.T) {
	t.Parallel()
	b, c := newCloudBench(t, func(c *cloud) { c.ttl = 15 * time.Minute })
	b.Session = func(pid string) (client.Session, time.Time) {
		s, ends := c.session(pid)
		return s, ends.Add(24 * time.Hour)
	}
	b.Now = c.clock.now
	b.use(t, client.WithClock(c.clock.now))
	b.opts.Concurrency = 1
	b.photos(t, 6)
	c.line = func(http.ResponseWriter, *http.Request) bool { c.clock.forward(4 * time.Minute); return false }
	r := b.upload(t)
	wantReady(t, r, 6)
	b.wantBytes(t, c, r)
	if _, no := c.count(); no["403"] == 0 {
		t.Error("no session has ended: the test proves nothing")
	}
}

// Requests are signed by the server's clock, and by the bucket's where that is
// another.
func TestClocksThatDisagree(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]struct{ laptop, server, bucket time.Duration }{
		"laptop ahead":               {laptop: 72 * time.Hour},
		"laptop behind":              {laptop: -20 * time.Minute},
		"bucket an hour ahead":       {bucket: time.Hour},
		"each has a time of its own": {laptop: 400 * 24 * time.Hour, server: -3 * time.Hour, bucket: 5 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, c := newCloudBench(t, func(c *cloud) { c.ttl = 12 * time.Hour })
			c.clock.forward(skew.bucket)
			b.Now = func() time.Time { return time.Now().Add(skew.server) }
			b.use(t, client.WithClock(func() time.Time { return time.Now().Add(skew.laptop) }))
			b.photos(t, 5)
			b.opts.Concurrency = 1
			r := b.upload(t)
			wantReady(t, r, 5)
			b.wantBytes(t, c, r)
			want := 0
			if skew.bucket != 0 {
				want = 1
			}
			if _, no := c.count(); no["403"] != want {
				t.Errorf("%d PUTs were refused for their time, want %d: the clock is learnt once", no["403"], want)
			}
		})
	}
}

// Files go on when the run was stopped in the middle of a session.
func TestStoppedRunWithSessions(t *testing.T) {
	t.Parallel()
	b, c := newCloudBench(t)
	b.photos(t, 8)
	b.opts.Concurrency = 1
	n := 0
	stop := errors.New("stop")
	ctx, cancel := cancellable(t)
	c.line = func(http.ResponseWriter, *http.Request) bool {
		if n++; n == 4 {
			cancel(stop)
		}
		return false
	}
	r, err := b.c.Upload(ctx, b.pid, b.files(t), b.opts)
	if !errors.Is(err, stop) || slices.ContainsFunc(r.Files, func(f client.FileReport) bool { return f.Err != nil && !errors.Is(f.Err, client.ErrStopped) }) {
		t.Fatalf("%v", err)
	}
	r = b.upload(t)
	wantReady(t, r, 8)
	b.wantBytes(t, c, r)
	if puts, _ := c.count(); r.Existed() < 3 || puts > 9 {
		t.Errorf("%d were there, %d PUTs in all", r.Existed(), puts)
	}
}
