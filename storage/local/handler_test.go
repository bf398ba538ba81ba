package local

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// site is a bucket with its handler behind a server.
type site struct {
	*Bucket
	server *httptest.Server

	mu   sync.Mutex
	puts []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{Bucket: bucket(t, open(t, options(t)), BucketName)}
	s.server = serve(t, s.Bucket, HandlerOptions{OnPut: func(key string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.puts = append(s.puts, key)
	}})
	return s
}

func (s *site) request(t *testing.T, method, url string, body string, header ...string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+url, r)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func (s *site) do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(data)
}

func (s *site) grant(t *testing.T, key, body string) broker.Request {
	t.Helper()
	req, err := s.SignPut(t.Context(), key, broker.Binding{SizeBytes: int64(len(body)), SHA1: sha1.Sum([]byte(body))}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func (s *site) upload(t *testing.T, key, body, contentType string) {
	t.Helper()
	g := s.grant(t, key, body)
	req := s.request(t, g.Method, g.URL, body, "Content-Type", contentType)
	for name, value := range g.Headers {
		req.Header.Set(name, value)
	}
	if resp, data := s.do(t, req); resp.StatusCode != http.StatusOK {
		t.Fatalf("upload %q: %d: %s", key, resp.StatusCode, data)
	}
}

func (s *site) link(t *testing.T, key string, o storage.GetOptions) string {
	t.Helper()
	url, err := s.SignGet(t.Context(), key, o, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// wantSafe fails the test unless an answer can do nothing on the site.
func wantSafe(t *testing.T, what string, h http.Header) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy":     "sandbox; default-src 'none'",
		"X-Content-Type-Options":      "nosniff",
		"Access-Control-Allow-Origin": "*",
	} {
		if got := h.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s is %q", what, name, got)
		}
	}
	if !strings.Contains(h.Get("Access-Control-Expose-Headers"), "ETag") {
		t.Errorf("%s: ETag is not exposed", what)
	}
	for _, name := range []string{"Set-Cookie", "Server", "Access-Control-Allow-Credentials"} {
		if h.Get(name) != "" {
			t.Errorf("%s: %s is %q", what, name, h.Get(name))
		}
	}
}

func TestHandlerDisposition(t *testing.T) {
	s := newSite(t)
	for i, c := range []struct{ contentType, given, want string }{
		{"image/jpeg", "", ""},
		{"image/png", "", ""},
		{"image/webp; x=y", "", ""},
		{"image/jpeg", `inline; filename="a.jpg"`, `inline; filename="a.jpg"`},
		{"image/svg+xml", "", "attachment"},
		{"text/html", "", "attachment"},
		{"text/html", "inline", "attachment"},
		{"text/html", `inline; filename="x.html"`, "attachment; filename=x.html"},
		{"text/html", "nonsense;;;", "attachment"},
		{"IMAGE/JPEG, text/html", "", "attachment"},
		{"image/jpegx", "", "attachment"},
		{"", "", "attachment"},
	} {
		key := fmt.Sprint("p/object-", i)
		g := s.grant(t, key, "<script>")
		req := s.request(t, g.Method, g.URL, "<script>", "Origin", "https://elsewhere.example")
		for name, value := range g.Headers {
			req.Header.Set(name, value)
		}
		if c.contentType != "" {
			req.Header.Set("Content-Type", c.contentType)
		}
		if c.given != "" {
			req.Header.Set("Content-Disposition", c.given)
		}
		resp, data := s.do(t, req)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%+v: %d: %s", c, resp.StatusCode, data)
		}
		wantSafe(t, "put", resp.Header)
		resp, data = s.do(t, s.request(t, http.MethodGet, s.link(t, key, storage.GetOptions{}), "", "Origin", "https://elsewhere.example"))
		if resp.StatusCode != http.StatusOK || data != "<script>" {
			t.Errorf("%+v: %d: %s", c, resp.StatusCode, data)
		}
		wantSafe(t, "get", resp.Header)
		if got := resp.Header.Get("Content-Disposition"); got != c.want {
			t.Errorf("%+v: disposition %q", c, got)
		}
	}
	// A link that overrides the type does not make a page of it.
	resp, _ := s.do(t, s.request(t, http.MethodGet, s.link(t, "p/object-0", storage.GetOptions{ContentType: "text/html"}), ""))
	if resp.Header.Get("Content-Disposition") != "attachment" || resp.Header.Get("Content-Type") != "text/html" {
		t.Errorf("an overridden type: %v", resp.Header)
	}
	wantSafe(t, "an overridden type", resp.Header)
}

// The signature does not depend on the name by which a client came.
func TestHandlerAnyHost(t *testing.T) {
	s := newSite(t)
	for i, host := range []string{"", "up.example.com", "192.168.1.7:8080", "[::1]:80", "LOCALHOST", internalHost, "evil.example:99999"} {
		body := fmt.Sprint("body ", i)
		g := s.grant(t, "p/x", body)
		req := s.request(t, g.Method, g.URL, body, "X-Forwarded-Host", "other.example", "X-Forwarded-Proto", "https", "Forwarded", "host=z")
		req.Host = host
		for name, value := range g.Headers {
			req.Header.Set(name, value)
		}
		if resp, data := s.do(t, req); resp.StatusCode != http.StatusOK {
			t.Errorf("host %q: %d: %s", host, resp.StatusCode, data)
		}
	}
}

// capture is a gateway's place taken by a server that remembers requests.
func capture(t *testing.T) (*Bucket, *[]*http.Request) {
	t.Helper()
	var got []*http.Request
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got = append(got, r)
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Content-Type", "text/html")
	}))
	t.Cleanup(upstream.Close)
	address := upstream.Listener.Addr().String()
	g := &Gateway{transport: &http.Transport{Dial: func(string, string) (net.Conn, error) { return net.Dial("tcp", address) }}}
	t.Cleanup(g.transport.CloseIdleConnections)
	return &Bucket{gateway: g, name: BucketName}, &got
}

func signedQueryString(headers string) string {
	return "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=c&X-Amz-Date=d&X-Amz-Expires=1&X-Amz-SignedHeaders=" + headers + "&x-id=PutObject&X-Amz-Signature=s"
}

func TestHandlerWhatReachesTheGateway(t *testing.T) {
	b, got := capture(t)
	s := &site{Bucket: b, server: serve(t, b, HandlerOptions{})}
	req := s.request(t, http.MethodPut, "/local-bucket/p/a%7Eb%20c%2Bd+e"+signedQueryString("content-type%3Bhost%3Bx-amz-checksum-sha1"), "bytes",
		"Cookie", "session=secret", "Authorization", "Bearer secret", "X-Forwarded-For", "10.0.0.1", "X-Forwarded-Prefix", "/x",
		"Forwarded", "for=x", "X-Real-Ip", "10.0.0.1", "Origin", "https://elsewhere", "Expect", "100-continue",
		"Content-Type", "image/jpeg", "X-Amz-Checksum-Sha1", "sum", "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
		"X-Amz-User-Agent", "x", "Connection", "Upgrade", "Upgrade", "websocket")
	resp, data := s.do(t, req)
	if resp.StatusCode != http.StatusOK || len(*got) != 1 {
		t.Fatalf("%d: %s, %d requests", resp.StatusCode, data, len(*got))
	}
	wantSafe(t, "answer", resp.Header)
	r := (*got)[0]
	if r.Host != internalHost || r.URL.EscapedPath() != "/local-bucket/p/a~b%20c%2Bd%2Be" || r.ContentLength != 5 {
		t.Errorf("the gateway got %s %s for host %s, %d bytes", r.Method, r.URL, r.Host, r.ContentLength)
	}
	allowed := []string{"Content-Type", "X-Amz-Checksum-Sha1", "Content-Length", "User-Agent", "Accept-Encoding"}
	for name := range r.Header {
		if !slices.Contains(allowed, name) {
			t.Errorf("header %s: %q reached the gateway", name, r.Header[name])
		}
	}
	if r.Header.Get("Content-Type") != "image/jpeg" || r.Header.Get("X-Amz-Checksum-Sha1") != "sum" {
		t.Errorf("signed headers became %v", r.Header)
	}
}

func TestHandlerRefuses(t *testing.T) {
	b, got := capture(t)
	s := &site{Bucket: b, server: serve(t, b, HandlerOptions{})}
	signed := signedQueryString("host")
	type try struct {
		method, url string
		header      []string
	}
	tries := []try{
		{"GET", "/local-bucket/k", nil},
		{"GET", "/local-bucket/k?X-Amz-Signature=s", nil},
		{"GET", "/local-bucket/k", []string{"Authorization", "AWS4-HMAC-SHA256 Credential=x"}},
		{"GET", "/local-bucket" + signed, nil},
		{"GET", "/local-bucket/" + signed, nil},
		{"GET", "/local-bucket/" + signed + "&list-type=2", nil},
		{"GET", "/local-bucket/k" + signed + "&uploadId=1", nil},
		{"PUT", "/local-bucket/k" + signed + "&partNumber=1&uploadId=1", nil},
		{"PUT", "/local-bucket/k" + signed + "&acl", nil},
		{"PUT", "/local-bucket/k" + signed + "&tagging=", nil},
		{"GET", "/local-bucket/k" + signed + "&X-Amz-Signature=two", nil},
		{"GET", "/local-bucket/k" + signed + ";x", nil},
		{"GET", "/local-bucket/k" + signed + "&versionId=1", nil},
		{"GET", "/local-bucket/k" + signed + "&X-Amz-Security-Token=1", nil},
		{"DELETE", "/local-bucket/k" + signed, nil},
		{"POST", "/local-bucket/k" + signed, nil},
		{"POST", "/local-bucket/k" + signed + "&uploads", nil},
		{"PATCH", "/local-bucket/create" + signed, nil},
		{"PATCH", "/list-buckets", nil},
		{"PATCH", "/create-user" + signed, nil},
		{"COPY", "/local-bucket/k" + signed, nil},
		{"GET", "/" + signed, nil},
		{"GET", "/other-bucket/k" + signed, nil},
		{"GET", "/local-bucketx/k" + signed, nil},
		{"PUT", "/local-bucket/k" + signed, []string{"X-Amz-Copy-Source", "/local-bucket/other"}},
		{"PUT", "/local-bucket/k" + signed, []string{"X-Amz-Acl", "public-read"}},
		{"PUT", "/local-bucket/k" + signed, []string{"X-Amz-Meta-A", "b"}},
		{"PUT", "/local-bucket/k" + signed, []string{"X-Amz-Decoded-Content-Length", "1"}},
		{"PUT", "/local-bucket/k" + signed, []string{"X-Amz-Checksum-Sha1", "x"}},
		// Tricks with paths.
		{"GET", "/local-bucket//k" + signed, nil},
		{"GET", "//local-bucket/k" + signed, nil},
		{"GET", "/local-bucket/a//b" + signed, nil},
		{"GET", "/local-bucket/a/" + signed, nil},
		{"GET", "/local-bucket/../other-bucket/k" + signed, nil},
		{"GET", "/local-bucket/a/../../other-bucket/k" + signed, nil},
		{"GET", "/local-bucket/%2e%2e/other-bucket/k" + signed, nil},
		{"GET", "/local-bucket/a/%2E./k" + signed, nil},
		{"GET", "/local-bucket/./k" + signed, nil},
		{"GET", "/local-bucket/%2e/k" + signed, nil},
		{"GET", "/local-bucket/a%2fb" + signed, nil},
		{"GET", "/local-bucket/a%2F..%2F..%2Fx" + signed, nil},
		{"GET", "/local-bucket%2fk" + signed, nil},
		{"GET", "/%6cocal-bucket/k" + signed, nil},
		{"GET", "/local-bucket/a%5cb" + signed, nil},
		{"GET", "/local-bucket/a%00b" + signed, nil},
		{"GET", "/local-bucket/a%0ab" + signed, nil},
		{"GET", "/local-bucket/a%ffb" + signed, nil},
		{"GET", "/local-bucket/" + strings.Repeat("k", 1025) + signed, nil},
		{"GET", "/local-bucket/.sgwtmp/multipart/x" + signed, nil},
		{"GET", "/local-bucket/a/.sgwtmp/x" + signed, nil},
		{"GET", "/local-bucket/a/.x.sgwtmp.1" + signed, nil},
	}
	for _, tr := range tries {
		// By hand, since clients tidy paths.
		conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n", tr.method, tr.url)
		for i := 0; i < len(tr.header); i += 2 {
			fmt.Fprintf(conn, "%s: %s\r\n", tr.header[i], tr.header[i+1])
		}
		io.WriteString(conn, "\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(resp.Body)
		conn.Close()
		var fault struct{ Code, Message string }
		if resp.StatusCode/100 != 4 || xml.Unmarshal(data, &fault) != nil || fault.Code == "" || fault.Message == "" {
			t.Errorf("%s %s %v: %d: %s", tr.method, tr.url, tr.header, resp.StatusCode, data)
		}
		wantSafe(t, tr.method+" "+tr.url, resp.Header)
		if resp.Header.Get("Content-Disposition") != "attachment" {
			t.Errorf("%s %s: an error that is shown", tr.method, tr.url)
		}
	}
	for _, r := range *got {
		t.Errorf("%s %s reached the gateway", r.Method, r.URL)
	}
}

// A grant for one key must not read another one by a header that was not signed.
func TestHandlerCopySource(t *testing.T) {
	s := newSite(t)
	s.upload(t, "theirs/secret", "a stranger's bytes", "image/jpeg")
	req, err := s.SignPut(t.Context(), "mine/x", broker.Binding{SizeBytes: -1}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x-amz-copy-source", "X-AMZ-COPY-SOURCE"} {
		resp, data := s.do(t, s.request(t, req.Method, req.URL, "", name, "/"+BucketName+"/theirs/secret"))
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%d: %s", resp.StatusCode, data)
		}
	}
	if obj, err := s.Stat(t.Context(), "mine/x"); s.Code(err) != broker.CodeNotFound {
		t.Errorf("copied: %+v, %v", obj, err)
	}
}

func TestHandlerPreflight(t *testing.T) {
	s := newSite(t)
	g := s.grant(t, "p/x", "body")
	resp, data := s.do(t, s.request(t, http.MethodOptions, g.URL, "", "Origin", "https://app.example",
		"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "content-type,x-amz-checksum-sha1"))
	h := resp.Header
	if resp.StatusCode != http.StatusNoContent || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "PUT") ||
		h.Get("Access-Control-Allow-Headers") != "content-type,x-amz-checksum-sha1" || h.Get("Access-Control-Max-Age") == "" {
		t.Errorf("%d %v: %s", resp.StatusCode, h, data)
	}
	wantSafe(t, "preflight", h)
}

func TestHandlerOnPut(t *testing.T) {
	s := newSite(t)
	s.upload(t, "p/é +%.jpg", "one", "image/jpeg")
	// What is refused, read or missing is not told.
	g := s.grant(t, "p/refused", "right")
	req := s.request(t, g.Method, g.URL, "wrong", "x-amz-checksum-sha1", g.Headers["x-amz-checksum-sha1"])
	if resp, _ := s.do(t, req); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("other bytes: %d", resp.StatusCode)
	}
	s.do(t, s.request(t, http.MethodGet, s.link(t, "p/é +%.jpg", storage.GetOptions{}), ""))
	s.do(t, s.request(t, http.MethodGet, s.link(t, "p/none", storage.GetOptions{}), ""))
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.puts, []string{"p/é +%.jpg"}) {
		t.Errorf("told of %q", s.puts)
	}
}

func TestHandlerOnPutMisbehaves(t *testing.T) {
	g := open(t, options(t))
	s := &site{Bucket: bucket(t, g, BucketName)}
	var log bytes.Buffer
	release := make(chan struct{})
	stored := make(chan bool, 2)
	s.server = serve(t, s.Bucket, HandlerOptions{
		Log: slog.New(slog.NewTextHandler(&log, nil)),
		OnPut: func(key string) {
			_, err := s.Stat(t.Context(), key)
			stored <- err == nil
			if key == "panics" {
				panic("oh")
			}
			<-release
		},
	})
	s.upload(t, "panics", "x", "image/jpeg")
	start := time.Now()
	s.upload(t, "hangs", "x", "image/jpeg")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a callback that hangs held the answer for %v", took)
	}
	for range 2 {
		if !<-stored {
			t.Error("the callback came before the object")
		}
	}
	close(release)
	if err := g.Close(); err != nil { // waits for the callbacks
		t.Error(err)
	}
	if !strings.Contains(log.String(), "panicked") {
		t.Errorf("the panic is not in the log: %s", &log)
	}
}

// Bytes pass through as they come: the first half is at the client before the
// second exists, and memory does not hold a whole object.
func TestHandlerStreams(t *testing.T) {
	s := newSite(t)
	const size = 64 << 20
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	g, err := s.SignPut(t.Context(), "long", broker.Binding{SizeBytes: size, SHA1: sha1.Sum(body)}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), g.Method, s.server.URL+g.URL, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	for name, value := range g.Headers {
		req.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s", resp.Status)
	}
	resp, err = http.Get(s.server.URL + s.link(t, "long", storage.GetOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	sum := sha1.New()
	if n, err := io.Copy(sum, resp.Body); n != size || err != nil || [20]byte(sum.Sum(nil)) != sha1.Sum(body) {
		t.Errorf("%d bytes came back, %v", n, err)
	}
}

// A gateway that has ended is an error that says to try again, with no secret.
func TestHandlerWithoutGateway(t *testing.T) {
	g := open(t, options(t))
	s := &site{Bucket: bucket(t, g, BucketName)}
	var log bytes.Buffer
	s.server = serve(t, s.Bucket, HandlerOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
	url := s.link(t, "k", storage.GetOptions{})
	g.Close()
	resp, data := s.do(t, s.request(t, http.MethodGet, url, ""))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(data, "<Code>ServiceUnavailable</Code>") {
		t.Errorf("%d: %s", resp.StatusCode, data)
	}
	wantSafe(t, "without a gateway", resp.Header)
	if strings.Contains(log.String(), "X-Amz-Signature") || !strings.Contains(log.String(), "does not answer") {
		t.Errorf("log: %s", &log)
	}
	if _, err := s.Stat(t.Context(), "k"); s.Code(err) != broker.CodeUnavailable {
		t.Errorf("stat without a gateway: %s, %v", s.Code(err), err)
	}
}

// FuzzHandlerPath lets no path through but the plain one of an object below the
// bucket.
func FuzzHandlerPath(f *testing.F) {
	for _, path := range []string{"/local-bucket/a", "/local-bucket/../x", "/local-bucket/%2e%2e/x", "/local-bucket/a%252fb", "//", "/local-bucket/a%5c..%5cb"} {
		f.Add(path)
	}
	h := &handler{bucket: &Bucket{name: BucketName}}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		key, fault := h.keyOf(&http.Request{URL: u})
		if fault != nil {
			return
		}
		if storage.CheckKey(key) != nil {
			t.Errorf("%q gave the key %q", path, key)
		}
		again, err := url.PathUnescape(escapeKey(key))
		if err != nil || again != key {
			t.Errorf("the key %q of %q does not come back: %q, %v", key, path, again, err)
		}
	})
}
