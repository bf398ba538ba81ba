package fetch_test

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
)

func loopback() *fetch.Client {
	return fetch.New(fetch.Options{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, UserAgent: "broker/7"})
}

func TestPost(t *testing.T) {
	var got atomic.Pointer[http.Request]
	var sent atomic.Pointer[string]
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text := string(body)
		got.Store(r)
		sent.Store(&text)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	})
	a, err := loopback().Post(t.Context(), base+"//a//b?q=1", http.Header{"webhook-id": {"evt_1"}, "Content-Type": {"application/json"}}, []byte("{}"))
	if err != nil || !a.OK() || a.Status != http.StatusAccepted || len(a.Body) != 4<<10 {
		t.Fatalf("%d, %d bytes, %v", a.Status, len(a.Body), err)
	}
	r := got.Load()
	if r.Method != http.MethodPost || r.RequestURI != "//a//b?q=1" || *sent.Load() != "{}" || r.ContentLength != 2 ||
		r.Header.Get("Webhook-Id") != "evt_1" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("User-Agent") != "broker/7" {
		t.Errorf("%s %s %v %q", r.Method, r.RequestURI, r.Header, *sent.Load())
	}
}

// TestPostFollowsNoRedirect: each is an answer, and nobody else hears of the body.
func TestPostFollowsNoRedirect(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			t.Error("it was followed")
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(int(r.ContentLength))
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		a, err := loopback().Post(t.Context(), base+"/", nil, make([]byte, status))
		if err != nil || a.OK() || a.Status != status {
			t.Fatalf("%d, %v", a.Status, err)
		}
		if err := fetch.Refused(base, a); broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), "leads elsewhere") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestPostRetryAfter(t *testing.T) {
	var value atomic.Value
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", value.Load().(string))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	for given, want := range map[string][2]time.Duration{
		"": {0, 0}, "7": {7 * time.Second, 7 * time.Second}, "-7": {0, 0}, "soon": {0, 0}, "1.5": {0, 0},
		"99999999999999999999999": {time.Hour, 365 * 24 * time.Hour}, "Mon, 02 Jan 2006 15:04:05 GMT": {0, 0},
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): {50 * time.Minute, time.Hour},
	} {
		value.Store(given)
		a, err := loopback().Post(t.Context(), base, nil, nil)
		if err != nil || a.RetryAfter < want[0] || a.RetryAfter > want[1] {
			t.Errorf("%q: %v, %v", given, a.RetryAfter, err)
		}
		if err := fetch.Refused(base, a); broker.CodeOf(err) != broker.CodeUnavailable {
			t.Errorf("%v", err)
		}
	}
}

// TestPostIsGuarded: a URL of the configuration is judged as a client's is, also
// where its name leads, and is told nowhere.
func TestPostIsGuarded(t *testing.T) {
	base := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	c := fetch.New(fetch.Options{})
	for url, want := range map[string]broker.Code{
		base + "/SECRET": broker.CodeNotAllowed,
		strings.Replace(base, "127.0.0.1", "localhost", 1) + "/SECRET": broker.CodeNotAllowed,
		"ftp://a.example/SECRET":             broker.CodeInvalid,
		"http://SECRET:SECRET@a.example/":    broker.CodeInvalid,
		"http://169.254.169.254/SECRET":      broker.CodeNotAllowed,
		"http://no-such-host.invalid/SECRET": broker.CodeNotFound,
	} {
		_, err := c.Post(t.Context(), url, nil, []byte("SECRET"))
		if code := broker.CodeOf(err); code != want && (want != broker.CodeNotFound || code != broker.CodeUnavailable) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := c.CheckPost("http://10.0.0.1//x"); broker.CodeOf(err) != broker.CodeNotAllowed {
		t.Errorf("%v", err)
	}
	if err := c.CheckPost("https://a.example//x?y=z"); err != nil {
		t.Errorf("%v", err)
	}
}

// TestPostEndsWithItsCaller, also while a host keeps silent.
func TestPostEndsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	base := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client has gone
		cancel()
		<-r.Context().Done()
	})
	if _, err := loopback().Post(ctx, base, nil, nil); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("%v", err)
	}
}
