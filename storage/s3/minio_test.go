package s3

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/storagetest"
)

// TestMinIO holds the driver to the whole contract on a real server that is not
// ours.
func TestMinIO(t *testing.T) {
	m := startMinIO(t)
	t.Run("path", func(t *testing.T) {
		minioConformance(t, m, "path", m.options)
	})
	t.Run("virtual-host", func(t *testing.T) {
		minioConformance(t, m, "host", func(bucket string) Options {
			o := m.options(bucket)
			o.Endpoint, o.PathStyle, o.HTTPClient = "http://"+minioDomain+":"+m.port(), false, m.client()
			return o
		})
	})
	t.Run("public-endpoint", func(t *testing.T) { testMinIOPublicEndpoint(t, m) })
	t.Run("plain-s3", func(t *testing.T) { testMinIOAsPlainS3(t, m) })
	t.Run("versions", func(t *testing.T) { testMinIOVersions(t, m) })
	t.Run("two-buckets", func(t *testing.T) { testMinIOTwoBuckets(t, m) })
	t.Run("instance-role", func(t *testing.T) { testMinIOInstanceRole(t, m) })
}

// minioConformance runs the suite with a bucket for each subtest.
func minioConformance(t *testing.T, m *minioServer, name string, options func(bucket string) Options) {
	var n atomic.Int64
	storagetest.Run(t, storagetest.Harness{
		PutSigner: true, GetSigner: true, Copier: true, Prober: true, MultipartAborter: true,
		New: func(t *testing.T) storagetest.Fixture {
			b := m.open(t, options(fmt.Sprintf("%s-%d", name, n.Add(1))))
			return storagetest.Fixture{
				Driver: b,
				Prefix: "01ARZ3NDEKTSV4RRFFQ69G5FAV/",
				Client: m.client(),
				BeginMultipart: func(t *testing.T, key string) {
					t.Helper()
					if _, err := b.client.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: &b.name, Key: &key}); err != nil {
						t.Fatal(err)
					}
				},
			}
		},
		Denied: func(t *testing.T) storage.Driver {
			o := options(m.open(t, options(name+"-denied")).name)
			o.AccessKeySecret = "not the secret"
			return openOnly(t, o)
		},
		Unreachable: func(t *testing.T) storage.Driver {
			o := options("any")
			o.Endpoint, o.HTTPClient = "http://"+freeAddress(t), nil
			o.PathStyle = true
			return openOnly(t, o)
		},
	})
}

// openOnly makes the driver and no bucket.
func openOnly(t *testing.T, o Options) *Bucket {
	t.Helper()
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// portable is the portable type over a driver.
func portable(t *testing.T, d storage.Driver) *storage.Bucket {
	t.Helper()
	b, err := storage.New(storage.Info{Symbol: "HongKong", Cloud: broker.CloudMinIO}, d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// clientPut uses a grant as its client should.
func clientPut(t *testing.T, client *http.Client, req broker.Request, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), req.Method, req.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range req.Headers {
		r.Header.Set(name, value)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func clientGet(t *testing.T, client *http.Client, url string) (status int, body string) {
	t.Helper()
	return clientPut(t, client, broker.Request{Method: http.MethodGet, URL: url}, "")
}

// testMinIOPublicEndpoint gives clients another name than the broker uses, by
// path and as a virtual host. The broker's own requests, the probe's too, go to
// the endpoint.
func testMinIOPublicEndpoint(t *testing.T, m *minioServer) {
	for name, c := range map[string]struct {
		endpoint, public, prefix string
		pathStyle                bool
	}{
		"path": {"http://" + m.address, "http://localhost:" + m.port(), "http://localhost:" + m.port() + "/public/", true},
		"host": {"http://" + minioDomain + ":" + m.port(), "http://eu." + minioDomain + ":" + m.port(),
			"http://public.eu." + minioDomain + ":" + m.port() + "/", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := m.options("public")
			o.Endpoint, o.PublicEndpoint, o.PathStyle, o.HTTPClient = c.endpoint, c.public, c.pathStyle, m.client()
			b := portable(t, m.open(t, o))
			req, err := b.SignPut(t.Context(), "p/a b", broker.Binding{SizeBytes: 4}, time.Minute)
			if err != nil || !strings.HasPrefix(req.URL, c.prefix) {
				t.Fatalf("%s, %v", req.URL, err)
			}
			if name == "host" {
				// MinIO knows one domain here; that the name is signed is enough.
				return
			}
			if status, answer := clientPut(t, m.client(), req, "body"); status != http.StatusOK {
				t.Fatalf("%d: %s", status, answer)
			}
			obj, err := b.Stat(t.Context(), "p/a b")
			if err != nil {
				t.Fatal(err)
			}
			url, err := b.Link(t.Context(), "p/a b", obj.ETag, "a b", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if status, body := clientGet(t, m.client(), url); status != http.StatusOK || body != "body" || !strings.HasPrefix(url, c.prefix) {
				t.Errorf("%s: %d: %s", url, status, body)
			}
			// Signed for another name it is no right.
			req.URL = strings.Replace(req.URL, c.public, c.endpoint, 1)
			if status, answer := clientPut(t, m.client(), req, "body"); status != http.StatusForbidden {
				t.Errorf("under the other name: %d: %s", status, answer)
			}
			if err := b.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			if bound, known := b.Bound(); !bound || !known {
				t.Errorf("bound %v, known %v", bound, known)
			}
		})
	}
}

// testMinIOVersions links to what was seen, also after it was overwritten.
func testMinIOVersions(t *testing.T, m *minioServer) {
	d := m.open(t, m.options("versions"))
	_, err := d.client.PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{
		Bucket: &d.name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := portable(t, d)
	put := func(key, body string) storage.Object {
		t.Helper()
		obj, err := b.Put(t.Context(), key, strings.NewReader(body), storage.PutOptions{SizeBytes: int64(len(body))})
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	first := put("p/x", "first")
	if first.Version == "" {
		t.Fatalf("no version: %+v", first)
	}
	url, err := b.Link(t.Context(), "p/x", first.ETag, "x", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	second := put("p/x", "second")
	if status, body := clientGet(t, m.client(), url); status != http.StatusOK || body != "first" {
		t.Errorf("the link reads %d: %s", status, body)
	}
	if _, err := b.Link(t.Context(), "p/x", first.ETag, "x", time.Minute); broker.CodeOf(err) != broker.CodeChanged {
		t.Errorf("a link to the old one: %v", err)
	}
	if _, err := b.Copy(t.Context(), "p/x", second.ETag, "p/y"); err != nil {
		t.Error(err)
	}
	if err := b.Delete(t.Context(), "p/x"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Copy(t.Context(), "p/x", second.ETag, "p/z"); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("a copy of what was deleted: %v", err)
	}
	if _, err := b.Link(t.Context(), "p/x", second.ETag, "x", time.Minute); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("a link to what was deleted: %v", err)
	}
	if err := b.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

// testMinIOTwoBuckets uses two buckets of one server at once, the same keys in
// both: a grant for one writes nothing into the other.
func testMinIOTwoBuckets(t *testing.T, m *minioServer) {
	var wg sync.WaitGroup
	buckets := map[string]*storage.Bucket{}
	for _, name := range []string{"two-a", "two-b"} {
		buckets[name] = portable(t, m.open(t, m.options(name)))
	}
	for name, b := range buckets {
		for i := range 20 {
			wg.Go(func() {
				key := fmt.Sprint("p/", i)
				body := name + strings.Repeat("x", i)
				req, err := b.SignPut(t.Context(), key, broker.Binding{SizeBytes: int64(len(body))}, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if status, answer := clientPut(t, m.client(), req, body); status != http.StatusOK {
					t.Errorf("%d: %s", status, answer)
				}
				other := strings.NewReplacer("/two-a/", "/two-b/", "/two-b/", "/two-a/").Replace(req.URL)
				if status, answer := clientPut(t, m.client(), broker.Request{Method: req.Method, URL: other}, body); status != http.StatusForbidden {
					t.Errorf("in the other bucket: %d: %s", status, answer)
				}
			})
		}
	}
	wg.Wait()
	for name, b := range buckets {
		n := 0
		for obj, err := range b.All(t.Context(), "p/") {
			if err != nil {
				t.Fatal(err)
			}
			rc, _, err := b.Open(t.Context(), obj.Key, storage.Range{}, obj.ETag)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(rc)
			rc.Close()
			if err != nil || !bytes.HasPrefix(data, []byte(name)) {
				t.Errorf("%s/%s holds %q, %v", name, obj.Key, data, err)
			}
			n++
		}
		if n != 20 {
			t.Errorf("%s holds %d objects", name, n)
		}
	}
}

// testMinIOAsPlainS3: without its option MinIO does not hold what a grant binds,
// and the probe finds that out.
func testMinIOAsPlainS3(t *testing.T, m *minioServer) {
	o := m.options("plain")
	o.MinIO = false
	b := portable(t, m.open(t, o))
	if err := b.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if bound, known := b.Bound(); bound || !known {
		t.Errorf("bound %v, known %v", bound, known)
	}
	if objs, err := b.List(t.Context(), "", "", 0); err != nil || len(objs) != 0 {
		t.Errorf("the probe left %+v, %v", objs, err)
	}
}
