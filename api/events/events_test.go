package events

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestAnswers: each sender is answered as it expects it, and what it told of
// images is passed on. Keys that no image has don't reach the store.
func TestAnswers(t *testing.T) {
	s := newServer(t, Options{}, bodyTimeout)
	for name, b := range bodies {
		if name == "sns-subscribe.json" {
			continue // TestSubscriptions
		}
		resp, body := s.post(t, readBody(t, name), "Content-Type", "text/plain; charset=UTF-8")
		images := slices.DeleteFunc(slices.Clone(b.arrived), func(o broker.Arrived) bool { return strings.HasPrefix(o.Key, "other/") })
		if took := s.store.took("HongKong"); !slices.Equal(took, images) {
			t.Errorf("%s: took %v, want %v", name, took, images)
		}
		status, want := http.StatusOK, fmt.Sprintf("{\"objects\":%d,\"images\":%d}\n", len(b.arrived), len(images))
		switch b.sender {
		case SenderMNS:
			status, want = http.StatusNoContent, ""
		case SenderOSSCallback:
			want = `{"Status":"OK"}`
		}
		if resp.StatusCode != status || body != want || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %q", name, resp.StatusCode, body)
		}
		isJSON := resp.Header.Get("Content-Type") == "application/json" && resp.Header.Get("Content-Length") == strconv.Itoa(len(want))
		if status == http.StatusOK && !isJSON {
			t.Errorf("%s: %v", name, resp.Header)
		}
	}
	if log := s.log.String(); !strings.Contains(log, "sends no more events") || !strings.Contains(log, "route=/events/:bucket/:secret") {
		t.Errorf("the log:\n%s", log)
	}
}

// TestSecrets: only a bucket's own secret opens its address, and all others learn
// the same.
func TestSecrets(t *testing.T) {
	s := newServer(t, Options{}, bodyTimeout)
	event := record("ObjectCreated:Put", keyA, etag)
	bearer := func(secret string) []string { return []string{"Authorization", "Bearer " + secret} }
	for _, c := range []struct {
		path    string
		headers []string
		bucket  string // "": refused
	}{
		{Path("HongKong", secret), nil, "HongKong"},
		{Path("Hangzhou", otherSecret), nil, "Hangzhou"},
		{"/events/HongKong", bearer(secret), "HongKong"},
		{"/events/Hangzhou", bearer(otherSecret), "Hangzhou"},
		{"/events/HongKong/", bearer(secret), "HongKong"},
		{"/events/HongKong", []string{"Authorization", "bearer  " + secret}, "HongKong"},
		{Path("HongKong", secret), bearer("nonsense-nonsense"), "HongKong"}, // a proxy's own
		{Path("HongKong", otherSecret), nil, ""},
		{Path("Hangzhou", secret), nil, ""},
		{"/events/HongKong", bearer(otherSecret), ""},
		{"/events/HongKong", []string{"Authorization", "Basic " + secret}, ""},
		{"/events/HongKong", []string{"Authorization", secret}, ""},
		{"/events/HongKong", nil, ""},
		{"/events/HongKong/", nil, ""},
		{"/events/HongKong?secret=" + secret, nil, ""},
		{Path("HongKong", secret[1:]), nil, ""},
		{Path("HongKong", secret+"1"), nil, ""},
		{Path("HongKong", strings.ToUpper(secret)), nil, ""},
		{Path("Hangzhou", strings.Replace(otherSecret, "%2F", "/", 1)), nil, ""}, // decoded once
		{Path("hongkong", secret), nil, ""},
		{Path("Nowhere", secret), nil, ""},
		{Path("Nowhere", ""), nil, ""},
		{Path("%00", secret), nil, ""},
		{Path(strings.Repeat("B", 65), secret), nil, ""},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			var sent io.Reader
			if method == http.MethodPost {
				sent = strings.NewReader(event)
			}
			resp, body := s.do(t, method, c.path, sent, c.headers...)
			took := len(s.store.took("HongKong")) + 10*len(s.store.took("Hangzhou"))
			want := map[string]int{"HongKong": 1, "Hangzhou": 10}[c.bucket]
			if method != http.MethodPost {
				want = 0
			}
			if took != want {
				t.Errorf("%s %s: took %d, want %d", method, c.path, took, want)
			}
			switch {
			case c.bucket == "" && (resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == ""):
				t.Errorf("%s %s: %d %s", method, c.path, resp.StatusCode, body)
			case c.bucket == "" && method != http.MethodHead:
				p := wantProblem(t, resp, body, http.StatusUnauthorized, broker.CodeUnauthenticated)
				if p.Detail != "no bucket has this name and this secret; `uploadbroker buckets events` tells the URLs" {
					t.Errorf("%s %s tells more: %s", method, c.path, p.Detail)
				}
			case c.bucket != "" && resp.StatusCode != http.StatusOK:
				t.Errorf("%s %s: %d %s", method, c.path, resp.StatusCode, body)
			case c.bucket != "" && method == http.MethodGet && body != "uploadbroker takes the events of the bucket "+c.bucket+" here, by POST\n":
				t.Errorf("GET %s: %q", c.path, body)
			}
		}
	}
}

// TestOtherMethods: nothing else is taken.
func TestOtherMethods(t *testing.T) {
	s := newServer(t, Options{}, bodyTimeout)
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch} {
		if resp, body := s.do(t, method, Path("HongKong", secret), nil); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", method, resp.StatusCode, body)
		}
	}
	if resp, _ := s.do(t, http.MethodPost, Path("HongKong", secret)+"/more", strings.NewReader("{}")); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a longer path: %d", resp.StatusCode)
	}
}

// TestUnknownBody: the sender of what is no event reads what is taken.
func TestUnknownBody(t *testing.T) {
	s := newServer(t, Options{}, bodyTimeout)
	for _, sent := range []string{"hello", "{}", "", `{"hello":"<script>"}`} {
		resp, body := s.post(t, []byte(sent))
		p := wantProblem(t, resp, body, http.StatusBadRequest, broker.CodeInvalid)
		if sent != "" && (!strings.Contains(p.Detail, "Records") || !strings.Contains(p.Detail, "EventBridge") || !strings.Contains(p.Detail, "callbacks of OSS")) {
			t.Errorf("%q: %s", sent, p.Detail)
		}
		if resp.Header.Get("Content-Length") == "" { // OSS wants it
			t.Errorf("%q: %v", sent, resp.Header)
		}
	}
}

// TestTooLarge: a body over a MiB is refused, whether it says its length or not; one
// of a MiB is not.
func TestTooLarge(t *testing.T) {
	s := newServer(t, Options{}, bodyTimeout)
	event := record("ObjectCreated:Put", keyA, etag)
	full := event + strings.Repeat(" ", maxBodyBytes-len(event))
	type stream struct{ io.Reader } // hides the length
	for _, sent := range []io.Reader{strings.NewReader(full + " "), stream{strings.NewReader(full + " ")}} {
		resp, body := s.do(t, http.MethodPost, Path("HongKong", secret), sent)
		wantProblem(t, resp, body, http.StatusRequestEntityTooLarge, broker.CodeTooLarge)
	}
	for _, sent := range []io.Reader{strings.NewReader(full), stream{strings.NewReader(full)}} {
		if resp, body := s.do(t, http.MethodPost, Path("HongKong", secret), sent); resp.StatusCode != http.StatusOK {
			t.Errorf("a MiB: %d %s", resp.StatusCode, body)
		}
	}
	var many []string
	for i := range maxObjects + 1 {
		many = append(many, fmt.Sprintf(`{"eventName":"ObjectCreated:Put","s3":{"object":{"key":"%s/%d.jpg"}}}`, pid, i))
	}
	if resp, body := s.post(t, []byte(`{"Records":[`+strings.Join(many, ",")+`]}`)); resp.StatusCode != http.StatusOK || body != "{\"objects\":1000,\"images\":1000,\"left_out\":1}\n" {
		t.Errorf("too many: %d %s", resp.StatusCode, body)
	}
}

// TestStoreAway: a sender is told to try again when its hint could not be kept, or
// its secret not be checked.
func TestStoreAway(t *testing.T) {
	s := newServer(t, Options{}, bodyTimeout)
	s.store.fail(&broker.Error{Code: broker.CodeUnavailable, Msg: "the database does not answer; try again soon", RetryAfter: 2 * time.Second, Err: errors.New("10.1.2.3 refused")})
	for _, name := range []string{"s3.json", "sns.json", "mns.json", "callback.form"} {
		resp, body := s.post(t, readBody(t, name))
		wantProblem(t, resp, body, http.StatusServiceUnavailable, broker.CodeUnavailable)
		if resp.Header.Get("Retry-After") != "2" || strings.Contains(body, "10.1.2.3") {
			t.Errorf("%s: %v %s", name, resp.Header, body)
		}
	}
	if s.store.calls != 0 {
		t.Errorf("%d hints by senders that nobody knew", s.store.calls)
	}
	s.store.fail(nil)
	if resp, body := s.post(t, readBody(t, "s3.json")); resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestHintFails: also when the secret is known, from the configuration.
func TestHintFails(t *testing.T) {
	s := &memoryStore{err: &broker.Error{Code: broker.CodeUnavailable, RetryAfter: time.Second}}
	bucket := broker.Bucket{Symbol: "HongKong"}
	bucket.Events.Secret = secret
	a := &broker.Arrivals{Store: s, Now: time.Now, Places: broker.NewPlaces(broker.ConfiguredOrder{}, bucket)}
	srv := newServer(t, Options{Arrivals: a}, bodyTimeout)
	resp, body := srv.post(t, readBody(t, "callback.form"))
	wantProblem(t, resp, body, http.StatusServiceUnavailable, broker.CodeUnavailable)
	if resp.Header.Get("Retry-After") != "1" || resp.Header.Get("Content-Length") == "" || s.calls != 1 {
		t.Errorf("%v, %d calls", resp.Header, s.calls)
	}
	// What tells of nothing written needs no database.
	if resp, body := srv.post(t, readBody(t, "s3-test.json")); resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestBodyNotRead: who is refused is answered though his body never comes.
func TestBodyNotRead(t *testing.T) {
	s := newServer(t, Options{}, time.Hour)
	for _, c := range []struct {
		path, length string
		status       int
	}{
		{Path("HongKong", otherSecret), "Content-Length: 1000", http.StatusUnauthorized},
		{Path("HongKong", otherSecret), "Content-Length: 100000000", http.StatusUnauthorized},
		{Path("HongKong", otherSecret), "Transfer-Encoding: chunked", http.StatusUnauthorized},
		{"/events/HongKong", "Content-Length: 1000", http.StatusUnauthorized},
		{Path("Nowhere", secret), "Content-Length: 1000", http.StatusUnauthorized},
		{Path("HongKong", secret), "Content-Length: 1048577", http.StatusRequestEntityTooLarge},
	} {
		conn := s.dial(t)
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", c.path, c.length)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != c.status || !resp.Close {
			t.Errorf("%s, %s: %v", c.path, c.length, resp)
		}
		resp.Body.Close()
		conn.Close()
	}
}

// TestSlowBody: a body that stops coming is given up.
func TestSlowBody(t *testing.T) {
	s := newServer(t, Options{}, 50*time.Millisecond)
	conn := s.dial(t)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{", Path("HongKong", secret))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, resp, string(body), http.StatusRequestTimeout, broker.CodeInvalid)
	if !resp.Close {
		t.Error("the connection stays open")
	}
}

// TestTimeoutEnds: the time for a body does not count once it is there. A store that
// takes longer is waited for, and the connection serves on.
func TestTimeoutEnds(t *testing.T) {
	s := newServer(t, Options{}, 50*time.Millisecond)
	s.store.takes = 200 * time.Millisecond
	conn := s.dial(t)
	in := bufio.NewReader(conn)
	event := record("ObjectCreated:Put", keyA, etag)
	for range 2 {
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", Path("HongKong", secret), len(event), event)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK || resp.Close {
			t.Errorf("%v, %v", resp, err)
		}
		resp.Body.Close()
	}
}

func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
