package storagetest

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func testGrantRight(t *testing.T, f *fixture) {
	for _, size := range []int{1, 1000, 3 << 20} {
		key, data := f.key("granted"), randomBytes(size)
		req := f.grant(t, key, binding(data), time.Hour)
		if req.Method != http.MethodPut {
			t.Errorf("method %q", req.Method)
		}
		if left := time.Until(req.ExpiresAt); left < 59*time.Minute || left > time.Hour {
			t.Errorf("it ends in %v", left)
		}
		for range 2 { // a client that heard no answer tries again
			a := f.upload(t, req, data)
			if a.status != http.StatusOK {
				t.Fatalf("%d: %s", a.status, a.body)
			}
			obj, err := f.b.Stat(t.Context(), key)
			if err != nil || obj.SizeBytes != int64(size) || obj.ContentType != "image/jpeg" {
				t.Errorf("stat %+v, %v", obj, err)
			}
			if got := strings.Trim(a.header.Get("ETag"), `"`); got != obj.ETag {
				t.Errorf("the client got etag %s, stat %s", got, obj.ETag)
			}
		}
		if got := f.get(t, key); !bytes.Equal(got, data) {
			t.Errorf("%d other bytes came back", len(got))
		}
	}
	// A longer life than allowed is cut.
	if req := f.grant(t, f.key("cut"), broker.Binding{SizeBytes: -1}, 1000*time.Hour); time.Until(req.ExpiresAt) > f.b.Info().GrantTTL {
		t.Errorf("a grant lives until %v", req.ExpiresAt)
	}
}

func testGrantUnbound(t *testing.T, f *fixture) {
	req := f.grant(t, f.key("plain"), broker.Binding{SizeBytes: -1}, time.Hour)
	if len(req.Headers) != 0 {
		t.Errorf("it asks for headers %v", req.Headers)
	}
	for _, data := range []string{"anything", "something else", ""} {
		if a := f.upload(t, req, []byte(data)); a.status != http.StatusOK {
			t.Fatalf("%d: %s", a.status, a.body)
		}
		if got := f.get(t, f.key("plain")); string(got) != data {
			t.Errorf("read %q", got)
		}
	}
}

func testGrantEmpty(t *testing.T, f *fixture) {
	key := f.key("empty")
	for name, bind := range map[string]broker.Binding{
		"size and sha1": binding(nil),
		"size":          {SizeBytes: 0},
		"sha1":          {SizeBytes: -1, SHA1: sha1.Sum(nil)},
	} {
		if f.h.SHA1Unbound && bind.SizeBytes < 0 {
			continue
		}
		req := f.grant(t, key, bind, time.Hour)
		if a := f.upload(t, req, []byte("x")); a.status/100 == 2 {
			t.Errorf("%s: a byte was taken for none", name)
		}
		f.absent(t, key)
		if a := f.upload(t, req, nil); a.status != http.StatusOK {
			t.Errorf("%s: %d: %s", name, a.status, a.body)
		}
		if obj, err := f.b.Stat(t.Context(), key); err != nil || obj.SizeBytes != 0 {
			t.Errorf("%s: stat %+v, %v", name, obj, err)
		}
		if err := f.b.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// testGrantRefused uses a content-bound grant for everything but what it is for.
func testGrantRefused(t *testing.T, f *fixture) {
	key, data := f.key("bound.jpg"), randomBytes(50_000)
	req := f.grant(t, key, binding(data), time.Hour)
	other := bytes.Clone(data)
	other[49_000] ^= 1
	otherHeaders := f.grant(t, f.key("other.jpg"), binding(other), time.Hour).Headers

	type try struct {
		name    string
		method  string
		url     string
		headers map[string]string
		body    []byte
		chunked bool
	}
	right := func(name string) try {
		return try{name: name, method: req.Method, url: req.URL, headers: req.Headers, body: data}
	}
	var tries []try
	add := func(name string, change func(*try)) {
		tr := right(name)
		change(&tr)
		tries = append(tries, tr)
	}
	if !f.h.SHA1Unbound {
		add("other bytes", func(tr *try) { tr.body = other })
		add("other bytes and their headers", func(tr *try) { tr.body, tr.headers = other, otherHeaders })
	}
	add("shorter", func(tr *try) { tr.body = data[:49_999] })
	add("longer", func(tr *try) { tr.body = append(bytes.Clone(data), 0) })
	add("empty", func(tr *try) { tr.body = nil })
	add("chunked", func(tr *try) { tr.chunked = true })
	add("another key", func(tr *try) { tr.url = strings.Replace(tr.url, "bound.jpg", "other.jpg", 1) })
	add("a key below", func(tr *try) { tr.url = strings.Replace(tr.url, "bound.jpg", "bound.jpg/x", 1) })
	add("no headers", func(tr *try) { tr.headers = nil })
	for name := range req.Headers {
		add("without "+name, func(tr *try) {
			tr.headers = map[string]string{}
			for n, v := range req.Headers {
				if n != name {
					tr.headers[n] = v
				}
			}
		})
		add("another "+name, func(tr *try) {
			tr.headers = map[string]string{}
			for n, v := range req.Headers {
				tr.headers[n] = v
			}
			tr.headers[name] = "text/html"
		})
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodPost, http.MethodPatch, "COPY"} {
		add("method "+method, func(tr *try) { tr.method = method })
	}
	add("method HEAD", func(tr *try) { tr.method, tr.body = http.MethodHead, nil })
	path, query, _ := strings.Cut(req.URL, "?")
	add("no query", func(tr *try) { tr.url = path })
	add("another query parameter", func(tr *try) { tr.url += "&acl" })
	params := strings.Split(query, "&")
	for i, param := range params {
		name, value, _ := strings.Cut(param, "=")
		add("without "+name, func(tr *try) {
			rest := append(append([]string{}, params[:i]...), params[i+1:]...)
			tr.url = path + "?" + strings.Join(rest, "&")
		})
		add("another "+name, func(tr *try) {
			rest := append([]string{}, params...)
			changed := "1"
			if strings.HasSuffix(value, "1") {
				changed = "2"
			}
			rest[i] = name + "=" + value[:max(len(value)-1, 0)] + changed
			tr.url = path + "?" + strings.Join(rest, "&")
		})
	}
	// The fuller signature can't be shortened to a looser one.
	add("fewer signed headers", func(tr *try) {
		at := strings.Index(tr.url, "X-Amz-SignedHeaders=")
		if at >= 0 {
			end := at + strings.IndexByte(tr.url[at:], '&')
			tr.url = tr.url[:at] + "X-Amz-SignedHeaders=host" + tr.url[end:]
		} else {
			tr.url = path
		}
	})
	for _, tr := range tries {
		var body io.Reader = bytes.NewReader(tr.body)
		length := int64(len(tr.body))
		if tr.chunked {
			length = -1
		}
		a, err := f.send(t, tr.method, tr.url, tr.headers, body, length)
		// A server that refuses early may close before the body is through.
		if err == nil && (a.status < 400 || a.status >= 500) && a.status != http.StatusNotImplemented {
			t.Errorf("%s: answered %d: %s", tr.name, a.status, a.body)
		}
		f.absent(t, key)
		if t.Failed() {
			t.Fatalf("stopped at: %s", tr.name)
		}
	}
	// And after all that it still is good for what it is for.
	if a := f.upload(t, req, data); a.status != http.StatusOK {
		t.Errorf("the right one: %d: %s", a.status, a.body)
	}
}

func testGrantExpired(t *testing.T, f *fixture) {
	key, data := f.key("expired"), []byte("late")
	req := f.grant(t, key, binding(data), time.Nanosecond) // clamped to a second
	waitPast(req.ExpiresAt)
	if a := f.upload(t, req, data); a.status/100 != 4 {
		t.Errorf("%d: %s", a.status, a.body)
	}
	f.absent(t, key)
}

// waitPast waits until a bucket that counts in whole seconds agrees.
func waitPast(end time.Time) { time.Sleep(time.Until(end) + 1100*time.Millisecond) }

// testGrantBrokenOff loses the connection in the middle.
func testGrantBrokenOff(t *testing.T, f *fixture) {
	data := randomBytes(3 << 20)
	lost := errors.New("the line is dead")
	for name, bind := range map[string]broker.Binding{"bound": binding(data), "unbound": {SizeBytes: -1}} {
		key := f.key(name)
		req := f.grant(t, key, bind, time.Hour)
		body := &slowReader{r: bytes.NewReader(data), after: func(read int) error {
			if read > 2<<20 {
				return lost
			}
			return nil
		}}
		if a, err := f.send(t, req.Method, req.URL, req.Headers, body, int64(len(data))); err == nil && a.status/100 == 2 {
			t.Errorf("%s: half a body was answered %d", name, a.status)
		}
		time.Sleep(300 * time.Millisecond) // the server learns of it later than the client
		f.absent(t, key)
	}
}

func testGrantNames(t *testing.T, f *fixture) {
	for i, name := range oddNames() {
		key, data := f.key(name), []byte(strings.Repeat("x", i+1))
		req := f.grant(t, key, binding(data), time.Hour)
		if a := f.upload(t, req, data); a.status != http.StatusOK {
			t.Errorf("%q: %d: %s", key, a.status, a.body)
			continue
		}
		if obj, err := f.b.Stat(t.Context(), key); err != nil || obj.SizeBytes != int64(i+1) {
			t.Errorf("%q: stat %+v, %v", key, obj, err)
		}
	}
}

// testGrantHeaders sends headers beside a grant that was not signed for them.
// With some, S3 would do another thing than store the body: a grant for one key
// must not read another one's bytes.
func testGrantHeaders(t *testing.T, f *fixture) {
	secret, key := f.key("secret.jpg"), f.key("mine.jpg")
	f.put(t, secret, []byte("a stranger's bytes"))
	plain := f.grant(t, key, broker.Binding{SizeBytes: -1}, time.Hour)
	empty := f.grant(t, key, broker.Binding{SizeBytes: 0, SHA1: sha1.Sum(nil)}, time.Hour)
	header := f.h.CopySource
	if header == "" {
		header = "x-amz-copy-source"
	}
	// Where the bucket is in the path, a copy's source is "bucket/key", and
	// where it is in the host's name that name begins with it.
	var sources []string
	if u, err := url.Parse(f.url(plain.URL)); err == nil {
		host, _, _ := strings.Cut(u.Host, ".")
		sources = []string{strings.Replace(u.Path, key, secret, 1), "/" + host + "/" + secret}
	}
	for _, source := range sources {
		for name, req := range map[string]broker.Request{"plain": plain, "bound": empty} {
			headers := map[string]string{header: source}
			for name, value := range req.Headers {
				headers[name] = value
			}
			a, err := f.send(t, req.Method, req.URL, headers, nil, 0)
			if err == nil && a.status/100 == 2 {
				t.Errorf("%s grant, %s %s: answered %d: %s", name, header, source, a.status, a.body)
			}
			if obj, err := f.b.Stat(t.Context(), key); broker.CodeOf(err) != broker.CodeNotFound {
				t.Errorf("%s grant, %s %s: stored %+v, %v", name, header, source, obj, err)
			}
		}
	}
}
