package fetch_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
)

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }

// local is a client that may dial loopback.
func local(o fetch.Options) *fetch.Client {
	o.AllowNetworks = networks("127.0.0.0/8")
	return fetch.New(o)
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestGet(t *testing.T) {
	var seen http.Header
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		seen.Set("path", r.RequestURI)
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = io.WriteString(w, "picture")
	})
	resp, err := local(fetch.Options{UserAgent: "broker/7"}).Get(t.Context(), base+"//a//p.jpg?q=//#x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || string(text) != "picture" || resp.SizeBytes != 7 || resp.ContentType != "image/jpeg" {
		t.Errorf("%q, %v, %+v", text, err, resp)
	}
	if seen.Get("path") != "/a/p.jpg?q=//" || seen.Get("User-Agent") != "broker/7" || seen.Get("Accept-Encoding") != "identity" {
		t.Errorf("it was asked with %v", seen)
	}
	for _, h := range []string{"Referer", "Cookie", "Authorization"} {
		if seen.Get(h) != "" {
			t.Errorf("%s: %s", h, seen.Get(h))
		}
	}
}

// TestGetOnlyPublic: without allowed networks a real server on loopback is not asked.
func TestGetOnlyPublic(t *testing.T) {
	base := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	for _, url := range []string{base, strings.Replace(base, "127.0.0.1", "localhost", 1), strings.Replace(base, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		if _, err := fetch.New(fetch.Options{}).Get(t.Context(), url); broker.CodeOf(err) != broker.CodeNotAllowed {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestStatus(t *testing.T) {
	status := 0
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	for s, want := range map[int]broker.Code{
		200: "", 203: "", 300: broker.CodeInvalid, 304: broker.CodeInvalid, 302: broker.CodeInvalid, // without Location
		400: broker.CodeInvalid, 401: broker.CodeNotAllowed, 403: broker.CodeNotAllowed, 404: broker.CodeNotFound, 410: broker.CodeNotFound,
		408: broker.CodeUnavailable, 425: broker.CodeUnavailable, 429: broker.CodeUnavailable, 500: broker.CodeUnavailable,
		501: broker.CodeInvalid, 502: broker.CodeUnavailable, 503: broker.CodeUnavailable, 505: broker.CodeInvalid, 599: broker.CodeUnavailable,
	} {
		status = s
		_, err := get(t, local(fetch.Options{}), base+"/path?SECRET")
		if broker.CodeOf(err) != want || fetch.Transient(err) != (want == broker.CodeUnavailable) {
			t.Errorf("%d: %v", s, err)
		}
		if err != nil && s != 302 && !strings.Contains(err.Error(), fmt.Sprintf("127.0.0.1 answered %d", s)) || err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%d: %v", s, err)
		}
	}
}

func TestRedirectLoop(t *testing.T) {
	asked := 0
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path == fmt.Sprint("/", asked) && asked == 6 {
			picture(w, r)
			return
		}
		http.Redirect(w, r, fmt.Sprint("/", asked+1), http.StatusSeeOther)
	})
	if text, err := get(t, local(fetch.Options{}), base+"/1"); err != nil || text != "picture" {
		t.Errorf("five redirects: %q, %v", text, err)
	}
	asked = 10
	if _, err := get(t, local(fetch.Options{}), base+"/1"); broker.CodeOf(err) != broker.CodeInvalid || asked != 16 {
		t.Errorf("redirects without end: %v after %d requests", err, asked-10)
	}
}

func TestNoDowngrade(t *testing.T) {
	plain := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	s := httptest.NewTLSServer(http.RedirectHandler(plain, http.StatusFound))
	defer s.Close()
	c := local(fetch.Options{})
	c.Trust(s)
	if _, err := get(t, c, s.URL); broker.CodeOf(err) != broker.CodeNotAllowed || !strings.Contains(err.Error(), "https to http") {
		t.Errorf("%v", err)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(picture))
	s.Config.ErrorLog = quietLog()
	s.StartTLS()
	defer s.Close()
	if _, err := get(t, local(fetch.Options{}), s.URL); broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
	c := local(fetch.Options{})
	c.Trust(s)
	if text, err := get(t, c, s.URL); err != nil || text != "picture" {
		t.Errorf("%q, %v", text, err)
	}
	plain := serve(t, picture)
	if _, err := get(t, c, strings.Replace(plain, "http:", "https:", 1)); broker.CodeOf(err) != broker.CodeInvalid || !strings.Contains(err.Error(), "https") {
		t.Errorf("https to a plain server: %v", err)
	}
}

// TestSize: what is over the limit never comes through whole.
func TestSize(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fits":
			_, _ = io.WriteString(w, strings.Repeat("x", 1000))
		case "/declared":
			w.Header().Set("Content-Length", "1001")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/huge":
			w.Header().Set("Content-Length", "9223372036854775807")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, strings.Repeat("x", 300))
				w.(http.Flusher).Flush()
			}
		}
	})
	c := local(fetch.Options{MaxBytes: 1000})
	if text, err := get(t, c, base+"/fits"); err != nil || len(text) != 1000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	for _, path := range []string{"/declared", "/huge"} {
		if _, err := c.Get(t.Context(), base+path); broker.CodeOf(err) != broker.CodeTooLarge {
			t.Errorf("%s: %v", path, err)
		}
	}
	resp, err := c.Get(t.Context(), base+"/endless")
	if err != nil || resp.SizeBytes != -1 {
		t.Fatalf("%+v, %v", resp, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if broker.CodeOf(err) != broker.CodeTooLarge || len(text) != 1000 || fetch.Transient(err) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if n, again := resp.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(again, err) {
		t.Errorf("read on: %d, %v", n, again)
	}
}

func TestSlow(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	wait := func(r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			wait(r)
		case "/stalls":
			_, _ = io.WriteString(w, "begin")
			w.(http.Flusher).Flush()
			wait(r)
		case "/drips":
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				select {
				case <-tick.C:
				case <-r.Context().Done():
				}
			}
		}
	})
	for path, want := range map[string]string{"/silent": "did not answer within", "/stalls": "sent no byte for", "/drips": "bytes a second"} {
		c := local(fetch.Options{StallAfter: 500 * time.Millisecond, MinRate: 1 << 20})
		text, err := get(t, c, base+path)
		if !fetch.Transient(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d bytes, %v", path, len(text), err)
		}
	}

	// The caller's own end is told as such.
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := local(fetch.Options{}).Get(ctx, base+"/stalls")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) || broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("%v", err)
	}
}

// TestASlowReader is not the host's fault: the time that it takes itself does not
// count.
func TestASlowReader(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "picture") })
	const stall = 100 * time.Millisecond
	resp, err := local(fetch.Options{StallAfter: stall, MinRate: 1 << 20}).Get(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, part := range []string{"pic", "ture"} {
		<-time.After(3 * stall) // the passing of time is what is tested
		got := make([]byte, len(part))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != part {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// raw serves one answer as it stands to each connection, and closes it.
func raw(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, answer)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestShortBody(t *testing.T) {
	for name, answer := range map[string]string{
		"with a length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
		"in chunks":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
		"within one":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this",
	} {
		text, err := get(t, local(fetch.Options{}), raw(t, answer))
		if text != "only this" || !fetch.Transient(err) || !strings.Contains(err.Error(), "after 9 bytes") {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if text, err := get(t, local(fetch.Options{}), raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nonly this")); err != nil || text != "only" {
		t.Errorf("longer than declared: %q, %v", text, err)
	}
	for name, answer := range map[string]string{
		"nothing": "", "no HTTP": "SSH-2.0-OpenSSH_9.6\r\n", "huge headers": "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nonly this",
	} {
		if text, err := get(t, local(fetch.Options{}), raw(t, answer)); !fetch.Transient(err) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

func TestNothingListens(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := get(t, local(fetch.Options{}), "http://"+l.Addr().String()+"/?SECRET"); !fetch.Transient(err) || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("%v", err)
	}
}

// TestBytesAsTheyAre: a host that packs though it was asked not to is not unpacked,
// or a small file could become a huge one.
func TestBytesAsTheyAre(t *testing.T) {
	var packed strings.Builder
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("picture"))
	z.Close()
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, packed.String())
	})
	if text, err := get(t, local(fetch.Options{}), base); err != nil || text != packed.String() {
		t.Errorf("%q, %v", text, err)
	}
}
