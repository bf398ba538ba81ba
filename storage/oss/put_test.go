package oss

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// TestContentType stores what was said and never what the key looks like.
func TestContentType(t *testing.T) {
	c := startCloud(t, nil, "photos")
	o := c.options("photos")
	o.PartSizeBytes = minPartSize
	b := open(t, o)
	for _, want := range []string{octetStream, "image/jpeg", "text/plain; charset=utf-8"} {
		for _, size := range []int{0, 10, minPartSize + 10} {
			say := want
			if want == octetStream {
				say = ""
			}
			put, err := b.Put(t.Context(), "page.html", bytes.NewReader(make([]byte, size)), storage.PutOptions{SizeBytes: -1, ContentType: say})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Delete(t.Context(), "copy.html"); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Copy(t.Context(), "page.html", put.ETag, "copy.html"); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"page.html", "copy.html"} {
				obj, err := b.Stat(t.Context(), key)
				if err != nil || obj.ContentType != want {
					t.Errorf("%q: %+v, %v", want, obj, err)
				}
			}
		}
	}
}

func TestLongKey(t *testing.T) {
	b := portable(t, open(t, startCloud(t, nil, "photos").options("photos")))
	key := strings.Repeat("k", 1023)
	if _, err := b.Put(t.Context(), key, strings.NewReader("x"), storage.PutOptions{SizeBytes: 1}); err != nil {
		t.Error(err)
	}
	if _, err := b.Put(t.Context(), key+"k", strings.NewReader("x"), storage.PutOptions{SizeBytes: 1}); broker.CodeOf(err) != broker.CodeInvalidName {
		t.Error(err)
	}
	if _, err := b.SignPut(t.Context(), key+"k", broker.Binding{}, time.Minute); broker.CodeOf(err) != broker.CodeInvalidName {
		t.Error(err)
	}
}

// TestLostCompletion loses the answer that an upload in parts became an object.
func TestLostCompletion(t *testing.T) {
	var lose func(r *http.Request) bool
	var after func()
	c := startCloud(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lose(r) {
				next.ServeHTTP(httptest.NewRecorder(), r)
				after()
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	}, "photos")
	o := c.options("photos")
	o.PartSizeBytes = minPartSize
	b := open(t, o)
	lost := 0
	lose = func(r *http.Request) bool {
		if r.Method != "POST" || r.URL.Query().Get("uploadId") == "" || lost > 0 {
			return false
		}
		lost++
		return true
	}
	after = func() {}
	data := bytes.Repeat([]byte("x"), 3*minPartSize)
	put, err := b.Put(t.Context(), "k", bytes.NewReader(data), storage.PutOptions{SizeBytes: -1})
	if err != nil || lost != 1 {
		t.Fatalf("%v, after %d losses", err, lost)
	}
	if obj, err := b.Stat(t.Context(), "k"); err != nil || obj.ETag != put.ETag || obj.SizeBytes != put.SizeBytes {
		t.Errorf("put %+v, there is %+v, %v", put, obj, err)
	}
	// When another object lies there then, of the same size, it is not ours.
	lost = 0
	after = func() {
		if _, err := b.Put(context.Background(), "k", bytes.NewReader(bytes.ToUpper(data)), storage.PutOptions{SizeBytes: -1}); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Put(t.Context(), "k", bytes.NewReader(data), storage.PutOptions{SizeBytes: -1}); err == nil {
		t.Error("another's object was taken for ours")
	}
}
