package local

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/s3"
)

// clone is a stand-in for a clone of S3: the embedded gateway, which is honest,
// behind a PUT that is not. Each kind is told by what it answers to a PUT; all
// else goes to the gateway, by its real signature.
type clone struct {
	*Bucket
	server *httptest.Server
}

// putKind answers a PUT: honest passes it on to the gateway, store keeps a body
// without asking.
type putKind func(w http.ResponseWriter, r *http.Request, body []byte, honest func() *httptest.ResponseRecorder, store func())

func newClone(t *testing.T, kind putKind) *clone {
	t.Helper()
	c := &clone{Bucket: bucket(t, open(t, options(t)), BucketName)}
	gateway := &httputil.ReverseProxy{
		Transport: c.gateway.transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", internalHost, p.In.Host // which was signed
		},
	}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || kind == nil {
			gateway.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read a body: %v", err)
		}
		honest := func() *httptest.ResponseRecorder {
			again := r.Clone(r.Context())
			again.Body = io.NopCloser(bytes.NewReader(body))
			rec := httptest.NewRecorder()
			gateway.ServeHTTP(rec, again)
			return rec
		}
		store := func() {
			key := strings.TrimPrefix(r.URL.Path, "/"+BucketName+"/")
			// The probe may be gone by now; its bytes came nevertheless.
			if _, err := c.Put(context.WithoutCancel(r.Context()), key, bytes.NewReader(body), storage.PutOptions{SizeBytes: int64(len(body))}); err != nil {
				t.Errorf("store: %v", err)
			}
		}
		kind(w, r, body, honest, store)
	}))
	t.Cleanup(c.server.Close)
	return c
}

// bucket is the portable type over the driver that production uses.
func (c *clone) bucket(t *testing.T) *storage.Bucket {
	t.Helper()
	d, err := s3.Open(t.Context(), s3.Options{
		Bucket: BucketName, Endpoint: c.server.URL, PathStyle: true,
		PublicEndpoint: "http://clients.invalid", // must not be what the probe uses
		AccessKeyID:    c.gateway.key.ID, AccessKeySecret: c.gateway.key.Secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := storage.New(storage.Info{Symbol: "Clone", Cloud: broker.CloudS3}, d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantEmpty fails the test unless the probe took away what it wrote.
func (c *clone) wantEmpty(t *testing.T) {
	t.Helper()
	if objs, err := c.List(t.Context(), "", "", 100); err != nil || len(objs) != 0 {
		t.Errorf("the probe left %+v, %v", objs, err)
	}
}

func badSum(r *http.Request, body []byte) bool {
	sum := sha1.Sum(body)
	sent := r.Header.Get("X-Amz-Checksum-Sha1")
	return sent != "" && sent != base64.StdEncoding.EncodeToString(sum[:])
}

// answerAs copies what was recorded.
func answerAs(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes())
}

func TestProbeFindsClones(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  putKind
		bound bool
	}{
		{"honest", nil, true},
		{"verifies nothing", func(w http.ResponseWriter, _ *http.Request, _ []byte, _ func() *httptest.ResponseRecorder, store func()) {
			store()
		}, false},
		{"ignores checksums", func(w http.ResponseWriter, _ *http.Request, _ []byte, honest func() *httptest.ResponseRecorder, store func()) {
			rec := honest()
			if rec.Code == http.StatusBadRequest && strings.Contains(rec.Body.String(), "BadDigest") {
				store()
				return
			}
			answerAs(w, rec)
		}, false},
		{"ignores signatures", func(w http.ResponseWriter, r *http.Request, body []byte, _ func() *httptest.ResponseRecorder, store func()) {
			if badSum(r, body) {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			store()
		}, false},
		{"ignores signatures and wants a checksum", func(w http.ResponseWriter, r *http.Request, body []byte, _ func() *httptest.ResponseRecorder, store func()) {
			if r.Header.Get("X-Amz-Checksum-Sha1") == "" || badSum(r, body) || len(body)%2 == 1 {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			store()
		}, false},
		{"takes any length", func(w http.ResponseWriter, r *http.Request, body []byte, honest func() *httptest.ResponseRecorder, store func()) {
			if len(body)%2 == 1 { // the probe's right bodies are even
				store()
				return
			}
			answerAs(w, honest())
		}, false},
		{"copies by unsigned headers", func(w http.ResponseWriter, r *http.Request, _ []byte, honest func() *httptest.ResponseRecorder, store func()) {
			if r.Header.Get("X-Amz-Copy-Source") != "" {
				store()
				return
			}
			answerAs(w, honest())
		}, false},
		{"refuses and stores", func(w http.ResponseWriter, r *http.Request, body []byte, _ func() *httptest.ResponseRecorder, store func()) {
			store()
			if badSum(r, body) {
				w.WriteHeader(http.StatusBadRequest)
			}
		}, false},
		{"takes and drops", func(w http.ResponseWriter, r *http.Request, body []byte, honest func() *httptest.ResponseRecorder, _ func()) {
			honest() // what is refused is answered with success
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := newClone(t, c.kind)
			b := site.bucket(t)
			if err := b.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			if bound, known := b.Bound(); bound != c.bound || !known {
				t.Errorf("bound %v, known %v", bound, known)
			}
			req, err := b.SignPut(t.Context(), "p/x", broker.Binding{SizeBytes: 5}, time.Minute)
			if err != nil || req.Unbound == c.bound || !strings.HasPrefix(req.URL, "http://clients.invalid/") {
				t.Errorf("%+v, %v", req, err)
			}
			site.wantEmpty(t)
		})
	}
}

// TestProbeProvesNothing: a bucket that refuses everything, or answers nothing of
// use, stays unknown.
func TestProbeProvesNothing(t *testing.T) {
	status := func(status int) putKind {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte, _ func() *httptest.ResponseRecorder, _ func()) {
			w.WriteHeader(status)
		}
	}
	// busy is honest until it is asked for something wrong.
	busy := func(status int) putKind {
		return func(w http.ResponseWriter, r *http.Request, body []byte, honest func() *httptest.ResponseRecorder, store func()) {
			if rec := honest(); rec.Code == http.StatusOK {
				return
			}
			store()
			w.WriteHeader(status)
		}
	}
	for _, c := range []struct {
		name string
		kind putKind
		code broker.Code
	}{
		{"refuses all", status(http.StatusForbidden), broker.CodeDenied},
		{"fails all", status(http.StatusServiceUnavailable), broker.CodeUnavailable},
		{"drops all", status(http.StatusOK), broker.CodeNotFound},
		{"fails what is wrong", busy(http.StatusServiceUnavailable), broker.CodeUnavailable},
		{"is too busy for what is wrong", busy(http.StatusTooManyRequests), broker.CodeUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := newClone(t, c.kind)
			b := site.bucket(t)
			err := b.Probe(t.Context())
			if broker.CodeOf(err) != c.code {
				t.Errorf("code %s: %v", broker.CodeOf(err), err)
			}
			if err != nil && (strings.Contains(err.Error(), "Signature") || strings.Contains(err.Error(), site.gateway.key.ID)) {
				t.Errorf("the error holds a signed URL: %v", err)
			}
			if bound, known := b.Bound(); bound || known {
				t.Errorf("bound %v, known %v", bound, known)
			}
			site.wantEmpty(t)
		})
	}
}

// TestProbeCleansUpAfterItsContext ends the context in the middle, when a clone
// has taken what it should not.
func TestProbeCleansUpAfterItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	puts := 0
	site := newClone(t, func(w http.ResponseWriter, _ *http.Request, _ []byte, _ func() *httptest.ResponseRecorder, store func()) {
		store()
		if puts++; puts == 3 {
			cancel()
		}
	})
	b := site.bucket(t)
	if err := b.Probe(ctx); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "Signature") {
		t.Errorf("%v", err)
	}
	if _, known := b.Bound(); known {
		t.Error("half a probe is remembered")
	}
	site.wantEmpty(t)
}

// TestGatewayCopiesNothingByGrant goes past the handler, as one who reaches the
// socket could.
func TestGatewayCopiesNothingByGrant(t *testing.T) {
	site := newClone(t, nil)
	put(t, site.Bucket, "theirs/secret", "a stranger's bytes")
	d, err := s3.Open(t.Context(), s3.Options{
		Bucket: BucketName, Endpoint: site.server.URL, PathStyle: true,
		AccessKeyID: site.gateway.key.ID, AccessKeySecret: site.gateway.key.Secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	grant, err := d.SignPut(t.Context(), "mine/x", broker.Binding{SizeBytes: -1}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, grant.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-amz-copy-source", "/"+BucketName+"/theirs/secret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("answered %s", resp.Status)
	}
	if obj, err := site.Stat(t.Context(), "mine/x"); site.Code(err) != broker.CodeNotFound {
		t.Errorf("copied: %+v, %v", obj, err)
	}
	// The broker's own do.
	src, err := d.Stat(t.Context(), "theirs/secret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Copy(t.Context(), "theirs/secret", src.ETag, "mine/x"); err != nil || get(t, site.Bucket, "mine/x") != "a stranger's bytes" {
		t.Errorf("%v", err)
	}
}
