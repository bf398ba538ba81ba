package tags

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// from dials from an address of this machine's own network.
func (f *fixture) from(t *testing.T, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	conn, err := d.DialContext(t.Context(), "tcp", f.Listener.Addr().String())
	if err != nil {
		t.Skip("no second address on the loopback: ", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// statusOf reads the status of an answer.
func statusOf(t *testing.T, conn net.Conn) (int, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// One address that sends slowly keeps no other waiting, and its own further uploads
// have their turn.
func TestSlowAddressHoldsFewPlaces(t *testing.T) {
	f := open(t, func(_ *fixture, o *Options) { o.AtOnce, o.AtOnceOf = 4, 3 })
	var slow []net.Conn
	for i := range 5 {
		conn := f.from(t, "127.0.0.1")
		if _, err := fmt.Fprintf(conn, "PUT /upload/open/slow%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx", i); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	other := f.from(t, "127.0.0.2")
	if _, err := io.WriteString(other, "PUT /upload/open/other HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\no"); err != nil {
		t.Fatal(err)
	}
	_ = other.SetReadDeadline(time.Now().Add(30 * time.Second)) // before those who wait are told to go
	if status, _ := statusOf(t, other); status != http.StatusCreated {
		t.Errorf("another address gets %d", status)
	}
	for _, conn := range slow { // any of them may be those who wait
		if _, err := io.WriteString(conn, "y"); err != nil {
			t.Fatal(err)
		}
	}
	for i, conn := range slow {
		if status, text := statusOf(t, conn); status/100 != 2 {
			t.Errorf("slow file %d gets %d: %s", i, status, text)
		}
	}
}

func TestPlaces(t *testing.T) {
	ada, bob := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("203.0.113.8")
	p := newPlaces(3, 2, 4)
	p.wait = time.Millisecond
	enter := func(addr netip.Addr) *place {
		t.Helper()
		got, err := p.enter(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	refused := func(addr netip.Addr, about string) {
		t.Helper()
		_, err := p.enter(t.Context(), addr)
		var e *broker.Error
		if !errors.As(err, &e) || e.Code != broker.CodeTooManyRequests || e.RetryAfter == 0 {
			t.Errorf("%s: %v", about, err)
		}
	}
	first, second := enter(ada), enter(netip.MustParseAddr("2001:db8::2"))
	refused(ada, "the third of an address, in vain")
	third := enter(bob)
	refused(bob, "the fourth of all, in vain")
	// Those who wait are bounded, too.
	p.wait = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := p.enter(ctx, ada)
			waiting <- err
		}()
	}
	for joined := false; !joined; {
		p.mu.Lock()
		joined = p.lines[api.OneClient(ada)].here == 4
		p.mu.Unlock()
	}
	refused(ada, "the fifth of an address, at once")
	cancel()
	for range 2 {
		if err := <-waiting; err == nil {
			t.Error("one got a place that there is not")
		}
	}
	first.leave()
	enter(ada).leave()
	second.leave()
	third.leave()
	if len(p.lines) > 0 || len(p.all) > 0 {
		t.Errorf("%d lines and %d places are held", len(p.lines), len(p.all))
	}
}

// trickle gives so many bytes at each read, which takes so long.
type trickle struct {
	clock *handClock
	bytes int
	takes time.Duration
}

func (s *trickle) Read(p []byte) (int, error) {
	s.clock.t = s.clock.t.Add(s.takes)
	return min(s.bytes, len(p)), nil
}

func (s *trickle) Close() error { return nil }

func TestMinimumRate(t *testing.T) {
	for _, c := range []struct {
		about   string
		bytes   int
		takes   time.Duration
		between time.Duration // that the bucket takes
		others  int64         // that the address's other uploads bring meanwhile
		keyed   bool
		slow    bool
	}{
		{about: "a byte now and then", bytes: 1, takes: 50 * time.Second, slow: true},
		{about: "just too slow", bytes: 1000, takes: time.Second, slow: true},
		{about: "just quick enough", bytes: 1 << 10, takes: time.Second},
		{about: "GPRS", bytes: 1400, takes: 700 * time.Millisecond},
		{about: "in bursts", bytes: 64 << 10, takes: 59 * time.Second},
		{about: "the bucket is slow", bytes: 1 << 10, takes: time.Millisecond, between: 30 * time.Second},
		{about: "one of several", bytes: 200, takes: time.Second, others: 900},
		{about: "with a key", bytes: 1, takes: 50 * time.Second, keyed: true},
	} {
		t.Run(c.about, func(t *testing.T) {
			clock := &handClock{time.Now()}
			var together atomic.Int64
			b := &pacedBody{
				ReadCloser: &trickle{clock, c.bytes, c.takes}, deadline: func(time.Time) error { return nil },
				now: clock.now, stall: time.Minute, left: -1, together: &together,
			}
			if c.keyed {
				b.together = nil
			}
			began := clock.t
			p := make([]byte, 64<<10)
			for clock.t.Sub(began) < 10*time.Minute {
				_, err := b.Read(p)
				together.Add(c.others)
				clock.t = clock.t.Add(c.between)
				if err == nil {
					continue
				}
				var problem *api.Problem
				if !errors.As(err, &problem) || problem.Status != http.StatusRequestTimeout {
					t.Fatal(err)
				}
				if took := clock.t.Sub(began); !c.slow || took > 2*time.Minute {
					t.Errorf("it is refused after %v", took)
				}
				return
			}
			if c.slow {
				t.Error("it goes on for ever")
			}
		})
	}
}

// Who is too slow is told so, may try again, and leaves nothing behind.
func TestTooSlow(t *testing.T) {
	f := open(t, func(_ *fixture, o *Options) { o.Stall = 200 * time.Millisecond })
	multi := "--B\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\n"
	for about, request := range map[string]string{
		"silent":         "Content-Length: 100\r\n\r\nx",
		"slow":           "Transfer-Encoding: chunked\r\n\r\n",
		"silent in form": "Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 1000\r\n\r\n" + multi + "x",
		"in parts":       "Content-Length: 20000000\r\n\r\n" + strings.Repeat("x", 9<<20),
	} {
		t.Run(about, func(t *testing.T) {
			conn := f.from(t, "127.0.0.1")
			if _, err := io.WriteString(conn, "PUT /upload/open/slow HTTP/1.1\r\nHost: x\r\n"+request); err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			defer close(stop)
			if about == "slow" {
				go func() {
					for tick := time.NewTicker(10 * time.Millisecond); ; {
						select {
						case <-stop:
							tick.Stop()
							return
						case <-tick.C:
							_, _ = io.WriteString(conn, "1\r\nx\r\n")
						}
					}
				}()
			}
			if status, text := statusOf(t, conn); status != http.StatusRequestTimeout {
				t.Errorf("the answer is %d: %s", status, text)
			}
			<-f.ended
			if all := f.objects(t, "open"); len(all) > 0 {
				t.Errorf("there are %q", all)
			}
		})
	}
}

// letIn begins an upload, of which nothing is sent before it was let in; the returned
// function sends what it is given.
func (f *fixture) letIn(t *testing.T, path, key string, size int) func(body string) (int, http.Header, string) {
	t.Helper()
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	head := fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n", path, size)
	if key != "" {
		head += "Authorization: Bearer " + key + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
		if line, err := answers.ReadString('\n'); err != nil || line != want {
			t.Fatal(line, err)
		}
	}
	return func(body string) (int, http.Header, string) {
		t.Helper()
		if _, err := io.WriteString(conn, body); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, string(text)
	}
}

// Who says that much will come, and sends little of it, keeps nobody out of what a tag may
// hold.
func TestSlowFileHoldsNoRoom(t *testing.T) {
	f := open(t, func(f *fixture, _ *Options) { f.tags.Policy.QuotaBytes = 12 })
	send := f.letIn(t, "/upload/open/slow", "", 11)
	f.put(t, "/upload/open/quick", "", "nine byte").want(t, http.StatusCreated)
	if status, _, text := send("x"); status != http.StatusInsufficientStorage || !strings.Contains(text, "too much") {
		t.Errorf("%d: %s", status, text)
	}
}
