package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/broker"
)

// oneKey is a store that knows one key.
type oneKey struct {
	broker.KeyStore
	secret string
	err    error
}

func (s oneKey) KeyByHash(_ context.Context, hash [32]byte) (broker.Caller, error) {
	if s.err != nil {
		return broker.Caller{}, s.err
	}
	if hash != sha256.Sum256([]byte(s.secret)) {
		return broker.Caller{}, broker.Errorf(broker.CodeNotFound, "not found")
	}
	now := time.Now()
	return broker.Caller{Owner: broker.Owner{ID: "o", Email: "ada@example.com"}, Key: broker.Key{ID: "k", LastUsed: &now}}, nil
}

type server struct {
	*httptest.Server
	log *safeBuffer
}

func newServer(t *testing.T, o Options, routes func(*echo.Echo)) *server {
	t.Helper()
	log := &safeBuffer{}
	o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Keys == nil {
		o.Keys = &broker.Keys{Store: oneKey{secret: secret}, Now: time.Now}
	}
	if o.Ready == nil {
		o.Ready = func(context.Context) error { return nil }
	}
	e := New(o)
	if routes != nil {
		routes(e)
	}
	s := httptest.NewUnstartedServer(nil)
	s.Config = Server(e, o)
	s.Start()
	t.Cleanup(s.Close)
	return &server{s, log}
}

type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (s *server) do(t *testing.T, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func problemOf(t *testing.T, resp *http.Response, body string) Problem {
	t.Helper()
	var p Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" || p.Status != resp.StatusCode {
		t.Fatalf("no problem document: %d %s %q: %v", resp.StatusCode, resp.Header.Get("Content-Type"), body, err)
	}
	return p
}

// TestPanic: a panic is told as a fault of ours under the request's id, and the
// log has the cause under the same.
func TestPanic(t *testing.T) {
	s := newServer(t, Options{}, func(e *echo.Echo) {
		e.GET("/panic", func(echo.Context) error { panic("the secret cause") })
		e.GET("/nil", func(c echo.Context) error {
			var counts map[string]int
			if c.QueryParam("counts") != "" {
				counts = map[string]int{}
			}
			counts["a"] = 1
			return nil
		})
		e.GET("/error", func(echo.Context) error { panic(errCause) })
		e.GET("/late", func(c echo.Context) error {
			_ = c.String(http.StatusOK, "half an answer")
			panic("after the answer began")
		})
	})
	for path, cause := range map[string]string{"/panic": "the secret cause", "/nil": "nil map", "/error": "10.1.2.3"} {
		resp, body := s.do(t, http.MethodGet, path)
		p := problemOf(t, resp, body)
		id := resp.Header.Get("X-Request-Id")
		if p.Status != http.StatusInternalServerError || p.Code != broker.CodeInternal || id == "" || strings.Contains(body, cause) || strings.Contains(body, "goroutine") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
		found := false
		for line := range strings.SplitSeq(s.log.String(), "\n") {
			found = found || strings.Contains(line, "level=ERROR") && strings.Contains(line, id) && strings.Contains(line, cause) && strings.Contains(line, "server_test.go")
		}
		if !found {
			t.Errorf("%s: the log has no line with its id, cause and place:\n%s", path, s.log)
		}
	}
	if resp, body := s.do(t, http.MethodGet, "/late"); resp.StatusCode != http.StatusOK || body != "half an answer" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := s.do(t, http.MethodGet, "/healthz"); resp.StatusCode != http.StatusOK {
		t.Error("the server does not live on")
	}
}

// TestErrorsOfEcho: what Echo refuses by itself is a problem document too.
func TestErrorsOfEcho(t *testing.T) {
	s := newServer(t, Options{}, func(e *echo.Echo) {
		e.GET("/away", func(echo.Context) error {
			return &broker.Error{Code: broker.CodeUnavailable, Msg: "later", RetryAfter: 3 * time.Second, Err: errCause}
		})
		e.GET("/canceled", func(echo.Context) error { return context.Canceled })
		e.GET("/unsupported", func(echo.Context) error { return broker.Errorf(broker.CodeNotSupported, "not here") })
	})
	resp, body := s.do(t, http.MethodGet, "/nothing")
	if p := problemOf(t, resp, body); p.Status != 404 || p.Code != broker.CodeNotFound {
		t.Errorf("%s", body)
	}
	resp, body = s.do(t, http.MethodDelete, "/healthz")
	if p := problemOf(t, resp, body); p.Status != 405 || resp.Header.Get("Allow") == "" {
		t.Errorf("%s, Allow %q", body, resp.Header.Get("Allow"))
	}
	resp, body = s.do(t, http.MethodGet, "/away")
	if p := problemOf(t, resp, body); p.Status != 503 || p.RetryAfter != 3 || resp.Header.Get("Retry-After") != "3" || p.Detail != "later" {
		t.Errorf("%s, Retry-After %q", body, resp.Header.Get("Retry-After"))
	}
	if !strings.Contains(s.log.String(), "10.1.2.3") {
		t.Error("the cause is not in the log")
	}
	before := strings.Count(s.log.String(), "level=ERROR")
	s.do(t, http.MethodGet, "/canceled")
	s.do(t, http.MethodGet, "/unsupported")
	if after := strings.Count(s.log.String(), "level=ERROR"); after != before {
		t.Errorf("what is no fault of ours is logged as one:\n%s", s.log)
	}
	if resp, body := s.do(t, http.MethodHead, "/nothing"); resp.StatusCode != 404 || body != "" {
		t.Errorf("HEAD: %d %q", resp.StatusCode, body)
	}
}

// TestRequestID: every answer has one; a caller's own is kept when it is plain.
func TestRequestID(t *testing.T) {
	s := newServer(t, Options{}, nil)
	seen := map[string]bool{}
	for _, c := range []struct {
		sent string
		kept bool
	}{
		{"", false}, {"abc-DEF_123", true}, {strings.Repeat("a", 64), true}, {strings.Repeat("a", 65), false},
		{"a b", false}, {"a\"b", false}, {"é", false}, {"a=b", false}, {"../x", false},
	} {
		var headers []string
		if c.sent != "" {
			headers = []string{"X-Request-Id", c.sent}
		}
		resp, _ := s.do(t, http.MethodGet, "/healthz", headers...)
		got := resp.Header.Get("X-Request-Id")
		if (got == c.sent) != c.kept || got == "" || seen[got] {
			t.Errorf("%q gives %q", c.sent, got)
		}
		seen[got] = true
		if !strings.Contains(s.log.String(), got) {
			t.Errorf("%s is not in the log", got)
		}
	}
}

// TestLogKeepsSecrets: neither query nor headers of a request get there.
func TestLogKeepsSecrets(t *testing.T) {
	s := newServer(t, Options{LocalPath: "/local-bucket/", LocalBucket: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	})}, nil)
	for _, path := range []string{"/local-bucket/p/k?X-Amz-Signature=0123456789abcdef", "/nothing?key=" + secret, "/healthz?key=" + secret} {
		s.do(t, http.MethodGet, path, "Authorization", "Bearer "+secret, "Cookie", "uploadbroker="+secret, "key", secret)
	}
	text := s.log.String()
	if !strings.Contains(text, "request") {
		t.Fatal("nothing is logged")
	}
	for _, hidden := range []string{secret, "0123456789abcdef", "X-Amz"} {
		if strings.Contains(text, hidden) {
			t.Errorf("the log has %s", hidden)
		}
	}
}

func TestIdentify(t *testing.T) {
	s := newServer(t, Options{}, func(e *echo.Echo) {
		e.GET("/who", func(c echo.Context) error {
			caller, err := Caller(c.Request().Context())
			if err != nil {
				return err
			}
			return c.String(http.StatusOK, caller.Owner.Email)
		})
	})
	for _, c := range []struct {
		header string
		status int
		says   string
	}{
		{"", 200, ""}, {"Bearer " + secret, 200, "ada@example.com"}, {"bearer " + secret, 200, "ada@example.com"},
		{"Bearer   " + secret + " ", 200, "ada@example.com"},
		{"Basic " + secret, 200, ""}, {secret, 200, ""}, // no key of ours was shown
		{"Bearer wrong", 401, "unknown, revoked or expired"}, {"Bearer ", 401, "unknown, revoked or expired"}, {"Bearer " + strings.Repeat("x", 513), 401, "unknown"},
		{"Bearer " + strings.ToUpper(secret), 401, "unknown"}, {"Bearer " + secret + "x", 401, "unknown"},
	} {
		resp, body := s.do(t, http.MethodGet, "/who", "Authorization", c.header)
		if c.header == "Bearer " { // net/http trims it to "Bearer", which shows nothing
			c.status, c.says = 200, ""
		}
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) || c.says == "" && body != "" {
			t.Errorf("%q: %d %s", c.header, resp.StatusCode, body)
		}
		if (resp.StatusCode == 401) != (resp.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%q: WWW-Authenticate %q", c.header, resp.Header.Get("WWW-Authenticate"))
		}
		// Public pages work with a bad key.
		if resp, _ := s.do(t, http.MethodGet, "/healthz", "Authorization", c.header); resp.StatusCode != http.StatusOK {
			t.Errorf("%q: /healthz %d", c.header, resp.StatusCode)
		}
	}
}

// TestAltitoken: clients of GraphQL show their key in a header of their own, and
// nowhere else does that header mean anything.
func TestAltitoken(t *testing.T) {
	who := func(c echo.Context) error {
		caller, err := Caller(c.Request().Context())
		if err != nil {
			return err
		}
		return c.String(http.StatusOK, caller.Owner.Email)
	}
	s := newServer(t, Options{}, func(e *echo.Echo) {
		for _, path := range []string{"/graphql", "/graphql/", "/graphql/x", "/graphqlx", "/v1/me", "/GraphQL"} {
			e.GET(path, who)
		}
	})
	const known, nobody = "ada@example.com", ""
	for _, c := range []struct {
		path    string
		headers []string
		status  int
		says    string
	}{
		{"/graphql", []string{"altitoken", secret}, 200, known},
		{"/graphql/", []string{"altitoken", " " + secret + " "}, 200, known},
		{"/graphql?query=x", []string{"AltiToken", secret, "key", "app"}, 200, known},
		{"/graphql", []string{"altitoken", "wrong"}, 401, "unknown, revoked or expired"},
		{"/graphql", []string{"altitoken", ""}, 200, nobody},
		{"/graphql", []string{"key", secret}, 200, nobody},
		{"/graphql", []string{"altitoken", "wrong", "Authorization", "Bearer " + secret}, 200, known},
		{"/graphql", []string{"altitoken", secret, "Authorization", "Bearer wrong"}, 401, "unknown, revoked or expired"},
		{"/graphql", []string{"altitoken", secret, "Authorization", "Basic x"}, 200, known},
		{"/graphql/x", []string{"altitoken", secret}, 200, nobody},
		{"/graphqlx", []string{"altitoken", secret}, 200, nobody},
		{"/GraphQL", []string{"altitoken", secret}, 200, nobody},
		{"/v1/me", []string{"altitoken", secret}, 200, nobody},
	} {
		resp, body := s.do(t, http.MethodGet, c.path, c.headers...)
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) || c.says == nobody && body != "" {
			t.Errorf("%s %q: %d %s", c.path, c.headers, resp.StatusCode, body)
		}
	}
	if strings.Contains(s.log.String(), secret) {
		t.Error("the log has the key")
	}
}

// TestOwnAddress: faces learn whose address it is.
func TestOwnAddress(t *testing.T) {
	for _, proxies := range [][]string{nil, {"127.0.0.0/8"}} {
		s := newServer(t, Options{TrustedProxies: prefixes(proxies...)}, func(e *echo.Echo) {
			e.GET("/own", func(c echo.Context) error {
				addr, ok := Own(c.Request().Context())
				return c.String(http.StatusOK, fmt.Sprint(addr, ok))
			})
		})
		direct, forwarded := "127.0.0.1 true", "invalid IP false"
		if proxies != nil {
			direct, forwarded = "invalid IP false", "203.0.113.7 true"
		}
		if _, body := s.do(t, http.MethodGet, "/own"); body != direct {
			t.Errorf("behind %v, without a header: %s", proxies, body)
		}
		if _, body := s.do(t, http.MethodGet, "/own", "X-Forwarded-For", "203.0.113.7:1234"); body != forwarded {
			t.Errorf("behind %v, with one: %s", proxies, body)
		}
	}
	if addr, ok := Own(context.Background()); ok || addr.IsValid() {
		t.Errorf("outside of a request: %v %v", addr, ok)
	}
}

// TestProbes: /readyz tells when the database is away, /healthz does not care.
func TestProbes(t *testing.T) {
	away := &broker.Error{Code: broker.CodeUnavailable, Msg: "the database does not answer", RetryAfter: 2 * time.Second, Err: errCause}
	s := newServer(t, Options{
		Ready: func(context.Context) error { return away },
		Keys:  &broker.Keys{Store: oneKey{err: away}, Now: time.Now},
	}, nil)
	resp, body := s.do(t, http.MethodGet, "/readyz", "Authorization", "Bearer "+secret)
	if p := problemOf(t, resp, body); p.Status != 503 || p.Code != broker.CodeUnavailable || strings.Contains(body, "10.1.2.3") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := s.do(t, http.MethodGet, "/healthz", "Authorization", "Bearer "+secret); resp.StatusCode != 200 || body != "ok\n" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	// One that hangs is given up.
	slow := newServer(t, Options{Ready: func(ctx context.Context) error {
		<-ctx.Done()
		return &broker.Error{Code: broker.CodeUnavailable, Msg: "too slow", Err: ctx.Err()}
	}}, nil)
	began := time.Now()
	if resp, _ := slow.do(t, http.MethodGet, "/readyz"); resp.StatusCode != 503 || time.Since(began) > 10*time.Second {
		t.Errorf("%d after %v", resp.StatusCode, time.Since(began))
	}
}

// TestCORSOrigins: only the configured origins are allowed, and none without any.
func TestCORSOrigins(t *testing.T) {
	for _, c := range []struct {
		origins []string
		want    map[string]string // by Origin
	}{
		{nil, map[string]string{"https://a.example": ""}},
		{[]string{"*"}, map[string]string{"https://a.example": "*"}},
		{[]string{"https://a.example"}, map[string]string{"https://a.example": "https://a.example", "https://b.example": "", "http://a.example": "", "https://a.example.evil": ""}},
	} {
		s := newServer(t, Options{CORSOrigins: c.origins}, nil)
		for origin, want := range c.want {
			resp, _ := s.do(t, http.MethodGet, "/healthz", "Origin", origin)
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != want {
				t.Errorf("%v: %s gets %q", c.origins, origin, got)
			}
		}
	}
}

// TestCORSOfUploads: an upload widget of a foreign page may send what it adds by itself,
// and its page may read what came of it.
func TestCORSOfUploads(t *testing.T) {
	s := newServer(t, Options{CORSOrigins: []string{"*"}}, nil)
	resp, _ := s.do(t, http.MethodOptions, "/upload/inbox", "Origin", "https://a.example", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "cache-control,content-disposition,x-requested-with")
	allowed := "," + strings.ToLower(resp.Header.Get("Access-Control-Allow-Headers")) + ","
	for _, header := range []string{"accept", "cache-control", "content-disposition", "x-requested-with"} {
		if !strings.Contains(allowed, ","+header+",") {
			t.Errorf("%s is not allowed: %s", header, allowed)
		}
	}
	resp, _ = s.do(t, http.MethodGet, "/healthz", "Origin", "https://a.example")
	if exposed := resp.Header.Get("Access-Control-Expose-Headers"); !strings.Contains(exposed, "Location") || !strings.Contains(exposed, "Retry-After") {
		t.Errorf("exposed are %s", exposed)
	}
}

// TestLocalPath: what only looks like the local bucket's path is not.
func TestLocalPath(t *testing.T) {
	s := newServer(t, Options{LocalPath: "/local-bucket/", LocalBucket: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "bucket "+r.Method)
	})}, nil)
	for path, want := range map[string]string{
		"/local-bucket/a": "bucket GET", "/local-bucket/": "bucket GET", "/local-bucket/a/../b": "bucket GET",
		"/local-bucketed/a": "", "/local-bucket": "", "//local-bucket/a": "", "/LOCAL-BUCKET/a": "",
	} {
		resp, body := s.do(t, http.MethodGet, path)
		if want != "" && body != want || want == "" && resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	for _, method := range []string{"PUT", "DELETE", "OPTIONS"} {
		if _, body := s.do(t, method, "/local-bucket/a"); body != "bucket "+method {
			t.Errorf("%s: %s", method, body)
		}
	}
}
