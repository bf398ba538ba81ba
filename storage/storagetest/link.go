package storagetest

import (
	"bytes"
	"mime"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

func (f *fixture) link(t *testing.T, key string, opts storage.GetOptions, ttl time.Duration) string {
	t.Helper()
	url, err := f.b.SignGet(t.Context(), key, opts, ttl)
	if err != nil {
		t.Fatalf("sign a get of %q: %v", key, err)
	}
	return url
}

func (f *fixture) follow(t *testing.T, method, url string, headers map[string]string) answer {
	t.Helper()
	a, err := f.send(t, method, url, headers, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func testLinkRight(t *testing.T, f *fixture) {
	for i, name := range oddNames() {
		key, data := f.key(name), randomBytes(1000+i)
		put := f.put(t, key, data)
		url := f.link(t, key, storage.GetOptions{Version: put.Version}, time.Hour)
		a := f.follow(t, http.MethodGet, url, nil)
		if a.status != http.StatusOK || !bytes.Equal(a.body, data) {
			t.Errorf("%q: %d, %d bytes: %.200s", key, a.status, len(a.body), a.body)
			continue
		}
		if got := strings.Trim(a.header.Get("ETag"), `"`); got != put.ETag || a.header.Get("Content-Type") != "image/jpeg" {
			t.Errorf("%q: headers %v", key, a.header)
		}
		if i > 3 {
			continue
		}
		a = f.follow(t, http.MethodGet, url, map[string]string{"Range": "bytes=10-19"})
		if a.status != http.StatusPartialContent || !bytes.Equal(a.body, data[10:20]) {
			t.Errorf("a range of %q: %d, %d bytes", key, a.status, len(a.body))
		}
	}
}

func testLinkRefused(t *testing.T, f *fixture) {
	key := f.key("linked.jpg")
	f.put(t, key, []byte("the bytes"))
	f.put(t, f.key("secret.jpg"), []byte("other bytes"))
	url := f.link(t, key, storage.GetOptions{}, time.Hour)
	path, query, _ := strings.Cut(url, "?")
	params := strings.Split(query, "&")
	tries := map[string]string{
		"another key":      strings.Replace(url, "linked.jpg", "secret.jpg", 1),
		"no query":         path,
		"the folder":       strings.Replace(url, "linked.jpg", "", 1),
		"a parameter more": url + "&response-content-type=text%2Fhtml",
	}
	for i, param := range params {
		name, value, _ := strings.Cut(param, "=")
		rest := append([]string{}, params...)
		rest[i] = name + "=" + value + "1"
		tries["another "+name] = path + "?" + strings.Join(rest, "&")
		tries["without "+name] = path + "?" + strings.Join(append(append([]string{}, params[:i]...), params[i+1:]...), "&")
	}
	for name, url := range tries {
		if a := f.follow(t, http.MethodGet, url, nil); a.status/100 != 4 || bytes.Contains(a.body, []byte("bytes")) {
			t.Errorf("%s: %d: %s", name, a.status, a.body)
		}
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPost} {
		if a, err := f.send(t, method, url, nil, strings.NewReader("new"), 3); err == nil && a.status/100 != 4 {
			t.Errorf("method %s: %d: %s", method, a.status, a.body)
		}
	}
	if got := f.get(t, key); string(got) != "the bytes" {
		t.Errorf("the object became %q", got)
	}
	missing := f.link(t, f.key("missing"), storage.GetOptions{}, time.Hour)
	if a := f.follow(t, http.MethodGet, missing, nil); a.status != http.StatusNotFound {
		t.Errorf("a link to nothing: %d: %s", a.status, a.body)
	}
}

func testLinkExpired(t *testing.T, f *fixture) {
	key := f.key("expired")
	f.put(t, key, []byte("the bytes"))
	end := time.Now().Add(time.Second)
	url := f.link(t, key, storage.GetOptions{}, time.Nanosecond) // clamped to a second
	waitPast(end)
	if a := f.follow(t, http.MethodGet, url, nil); a.status/100 != 4 || bytes.Contains(a.body, []byte("the bytes")) {
		t.Errorf("%d: %s", a.status, a.body)
	}
}

func testLinkAttachment(t *testing.T, f *fixture) {
	key := f.key("named")
	f.put(t, key, []byte("the bytes"))
	for _, name := range []string{"plain.jpg", "a b.jpg", "été 中文 😀.jpg", `quote".jpg`, "percent%20.jpg", "semi;colon.jpg"} {
		url := f.link(t, key, storage.GetOptions{Filename: name, ContentType: "text/plain"}, time.Hour)
		a := f.follow(t, http.MethodGet, url, nil)
		kind, params, err := mime.ParseMediaType(a.header.Get("Content-Disposition"))
		if a.status != http.StatusOK || err != nil || kind != "attachment" || params["filename"] != name {
			t.Errorf("%q: %d, %q: %s", name, a.status, a.header.Get("Content-Disposition"), a.body)
		}
		if got := a.header.Get("Content-Type"); got != "text/plain" {
			t.Errorf("%q: type %q", name, got)
		}
	}
}

// testLinkLooks asks for links by way of the portable type, which looks first.
func testLinkLooks(t *testing.T, f *fixture) {
	key := f.key("folder/seen é+%.jpg")
	first := f.put(t, key, []byte("the first"))
	url, err := f.b.Link(t.Context(), key, first.ETag, "100MEDIA/été 1.jpg", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a := f.follow(t, http.MethodGet, url, nil)
	_, params, err := mime.ParseMediaType(a.header.Get("Content-Disposition"))
	if a.status != http.StatusOK || string(a.body) != "the first" || err != nil || params["filename"] != "été 1.jpg" {
		t.Errorf("%d, %q: %s", a.status, a.header.Get("Content-Disposition"), a.body)
	}
	second := f.put(t, key, []byte("the second"))
	_, err = f.b.Link(t.Context(), key, first.ETag, "x", time.Hour)
	wantCode(t, "a link to what was overwritten", err, broker.CodeChanged)
	_, err = f.b.Link(t.Context(), key, "", "x", time.Hour)
	wantCode(t, "a link to no ETag", err, broker.CodeChanged)
	_, err = f.b.Link(t.Context(), f.key("none"), second.ETag, "x", time.Hour)
	wantCode(t, "a link to none", err, broker.CodeNotFound)
	_, err = f.b.Link(t.Context(), "../x", second.ETag, "x", time.Hour)
	wantCode(t, "a link to a bad key", err, broker.CodeInvalidName)
	if url, err = f.b.Link(t.Context(), key, second.ETag, "", time.Hour); err != nil {
		t.Fatal(err)
	}
	if a := f.follow(t, http.MethodGet, url, nil); a.status != http.StatusOK || string(a.body) != "the second" {
		t.Errorf("%d: %s", a.status, a.body)
	}
}
