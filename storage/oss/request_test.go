package oss

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// stand is a stand-in for OSS that answers as a test tells it.
func stand(t *testing.T, handler http.HandlerFunc) *Bucket {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return open(t, Options{
		Bucket: "photos", Region: "cn-hangzhou", Endpoint: server.URL, STSEndpoint: server.URL + "/sts", RoleARN: testRole,
		AccessKeyID: testID, AccessKeySecret: testSecret, PartSizeBytes: minPartSize,
	})
}

// TestRetries holds an operation to a few tries. A server that answers 503 at
// first is asked again, with the whole body, and a line that breaks counts as one.
func TestRetries(t *testing.T) {
	var mu sync.Mutex
	var asked int
	var answers []int
	b := stand(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		status := answers[min(asked, len(answers)-1)]
		asked++
		body, _ := io.ReadAll(r.Body)
		sum := md5.Sum([]byte("body"))
		if r.Header.Get("Content-Type") != octetStream || r.Method == "PUT" && (string(body) != "body" || r.Header.Get("Content-Md5") != base64.StdEncoding.EncodeToString(sum[:])) {
			t.Errorf("try %d has the body %q, headers %v", asked, body, r.Header)
		}
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		if status == 201 { // stored, it says, but something else
			w.Header().Set("X-Oss-Hash-Crc64ecma", "1")
			status = 200
		}
		w.Header().Set("ETag", `"ABC"`)
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(status)
	})
	for _, c := range []struct {
		answers []int
		tries   int
		code    broker.Code
	}{
		{[]int{200}, 1, ""}, {[]int{503, 200}, 2, ""}, {[]int{0, 500, 200}, 3, ""}, {[]int{201, 200}, 2, ""},
		{[]int{503}, maxAttempts, broker.CodeUnavailable}, {[]int{0}, maxAttempts, broker.CodeUnavailable},
		{[]int{201}, maxAttempts, broker.CodeUnavailable},
		{[]int{403}, 1, broker.CodeDenied}, {[]int{301}, 1, broker.CodeUnavailable}, {[]int{501}, 1, broker.CodeNotSupported},
	} {
		mu.Lock()
		asked, answers = 0, c.answers
		mu.Unlock()
		obj, err := b.Put(t.Context(), "k", strings.NewReader("body"), storage.PutOptions{SizeBytes: 4})
		mu.Lock()
		tries := asked
		mu.Unlock()
		if b.Code(err) != c.code || tries != c.tries || err == nil && obj.ETag != "ABC" {
			t.Errorf("answers %v: %+v, %v after %d tries", c.answers, obj, err, tries)
		}
	}
}

// TestErrorsAreClean: what an error tells is the service's words and nothing that
// signs.
func TestErrorsAreClean(t *testing.T) {
	page := ""
	b := stand(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Oss-Request-Id", "REQ1")
		if r.Method == "HEAD" {
			w.Header().Set("X-Oss-Err", base64.StdEncoding.EncodeToString([]byte(page)))
		}
		w.WriteHeader(403)
		io.WriteString(w, page)
	})
	for doc, want := range map[string]string{
		"<html>a proxy's</html>": "OSS answered 403 (request REQ1)",
		"<Error><Code>AccessDenied</Code><Message>No right.</Message><StringToSign>x-oss-security-token:T</StringToSign></Error>": "OSS answered 403 AccessDenied No right. (request REQ1)",
		"<Error><Code>SignatureDoesNotMatch</Code><Message>x-oss-security-token:T</Message></Error>":                              "OSS answered 403 SignatureDoesNotMatch (request REQ1)",
		"": "OSS answered 403 (request REQ1)",
	} {
		page = doc
		if _, err := b.Stat(t.Context(), "k"); err == nil || err.Error() != want || b.Code(err) != broker.CodeDenied {
			t.Errorf("HEAD: %v", err)
		}
		if _, err := b.List(t.Context(), "", "", 10); err == nil || err.Error() != want {
			t.Errorf("GET: %v", err)
		}
	}
	// A line that breaks tells no URL.
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	broken := open(t, Options{Bucket: "photos", Region: "cn-hangzhou", Endpoint: server.URL, AccessKeyID: testID, AccessKeySecret: testSecret})
	if _, err := broken.List(t.Context(), "pid/", "", 10); err == nil || strings.Contains(err.Error(), "list-type") {
		t.Errorf("%v", err)
	}
	// A missing bucket is none of an object, also to a HEAD.
	page = "<Error><Code>NoSuchBucket</Code></Error>"
	if _, err := b.Stat(t.Context(), "k"); b.Code(err) != broker.CodeUnavailable {
		t.Errorf("%v", err)
	}
}

// TestContextEnds: a server that never answers holds nobody longer than he wants.
func TestContextEnds(t *testing.T) {
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	t.Cleanup(func() { close(release) })
	b := stand(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	d := b.Driver()
	for name, op := range map[string]func(ctx context.Context) error{
		"stat":   func(ctx context.Context) error { _, err := d.Stat(ctx, "k"); return err },
		"open":   func(ctx context.Context) error { _, _, err := d.Open(ctx, "k", storage.Range{}, ""); return err },
		"list":   func(ctx context.Context) error { _, err := d.List(ctx, "", "", 1); return err },
		"delete": func(ctx context.Context) error { return d.Delete(ctx, "k") },
		"put": func(ctx context.Context) error {
			_, err := d.Put(ctx, "k", strings.NewReader("x"), storage.PutOptions{SizeBytes: 1})
			return err
		},
		"session": func(ctx context.Context) error {
			_, err := d.(storage.Sessioner).Session(ctx, testPrefix, time.Hour)
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- op(ctx) }()
		<-arrived
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(stsTime / 2): // before any limit of ours
			t.Fatalf("%s goes on after the end of its context", name)
		}
	}
}
