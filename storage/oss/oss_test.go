package oss

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/ossemu"
	"github.com/uploadbroker/uploadbroker/storage/storagetest"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	testID     = "LTAIbroker"
	testSecret = "the+broker's/secret="
	testRole   = "acs:ram::123456789012:role/uploader"
	testPrefix = "01ARZ3NDEKTSV4RRFFQ69G5FAV/"
)

// cloud is an emulator of its own, behind a real listener.
type cloud struct {
	*httptest.Server
	shift atomic.Int64 // of its clock
	asked atomic.Int64 // requests so far
}

func (c *cloud) now() time.Time { return time.Now().Add(time.Duration(c.shift.Load())) }

// startCloud runs one over an empty folder, with the buckets. Its wrap, when not
// nil, stands before it.
func startCloud(t testing.TB, wrap func(http.Handler) http.Handler, buckets ...string) *cloud {
	t.Helper()
	c := &cloud{}
	emulator, err := ossemu.New(ossemu.Options{
		Dir: t.TempDir(), Buckets: buckets, AccessKeyID: testID, AccessKeySecret: testSecret, RoleARN: testRole,
		STSLimit: 10_000, Now: c.now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	var handler http.Handler = emulator
	if wrap != nil {
		handler = wrap(handler)
	}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.asked.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) options(bucket string) Options {
	return Options{
		Bucket: bucket, Region: "oss-cn-hangzhou", Endpoint: c.URL, AccessKeyID: testID, AccessKeySecret: testSecret,
		RoleARN: testRole, STSEndpoint: c.URL + "/sts/", HTTPClient: c.client(),
	}
}

// client dials the cloud whatever the name.
func (c *cloud) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, c.Listener.Addr().String())
		},
		MaxIdleConnsPerHost: 64,
	}}
}

func open(t testing.TB, o Options) *Bucket {
	t.Helper()
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func portable(t testing.TB, d storage.Driver) *storage.Bucket {
	t.Helper()
	b, err := storage.New(storage.Info{Symbol: "Hangzhou", Cloud: broker.CloudOSS}, d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ambient is what lies around in the environment and must not matter.
func ambient(t *testing.T) {
	for name, value := range map[string]string{
		"ALIBABA_CLOUD_ACCESS_KEY_ID": "ambient", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "ambient", "ALIBABA_CLOUD_SECURITY_TOKEN": "ambient",
		"OSS_ACCESS_KEY_ID": "ambient", "OSS_ACCESS_KEY_SECRET": "ambient", "OSS_SESSION_TOKEN": "ambient",
		"ALIBABA_CLOUD_PROFILE": "none", "ALIBABA_CLOUD_CREDENTIALS_FILE": "/nonexistent", "ALIBABA_CLOUD_CREDENTIALS_URI": "http://127.0.0.1:1",
		"HTTP_PROXY": "127.0.0.1:1", "HTTPS_PROXY": "127.0.0.1:1", "NO_PROXY": "(",
	} {
		t.Setenv(name, value)
	}
}

// TestConformance holds the driver to the whole contract on the emulator, reached
// by its address.
func TestConformance(t *testing.T) {
	ambient(t)
	conformance(t, sdk.AuthV4, func(c *cloud, bucket string) Options { return c.options(bucket) })
}

// TestConformanceHost is the same with the bucket in the host's name, and clients
// that sign in the old way.
func TestConformanceHost(t *testing.T) {
	conformance(t, sdk.AuthV1, func(c *cloud, bucket string) Options {
		o := c.options(bucket)
		o.Endpoint, o.PartSizeBytes = "http://oss-cn-hangzhou.aliyuncs.com", minPartSize*10
		return o
	})
}

// conformance runs the suite with a cloud for each subtest.
func conformance(t *testing.T, version sdk.AuthVersionType, options func(c *cloud, bucket string) Options) {
	storagetest.Run(t, storagetest.Harness{
		PutSigner: true, GetSigner: true, Sessioner: true, Copier: true, MultipartAborter: true,
		SHA1Unbound: true, CopySource: "x-oss-copy-source",
		New: func(t *testing.T) storagetest.Fixture {
			c := startCloud(t, nil, "photos", "others")
			b := open(t, options(c, "photos"))
			return storagetest.Fixture{
				Driver: b.Driver(),
				Prefix: testPrefix,
				Client: c.client(),
				BeginMultipart: func(t *testing.T, key string) {
					t.Helper()
					if _, err := b.sdk.InitiateMultipartUpload(key); err != nil {
						t.Fatal(err)
					}
				},
				WithSession: func(t *testing.T, s broker.CloudSession) storagetest.SessionClient {
					return newSessionClient(t, c, s, version)
				},
				Shift: func(d time.Duration) { c.shift.Add(int64(d)) },
			}
		},
		Denied: func(t *testing.T) storage.Driver {
			o := options(startCloud(t, nil, "photos"), "photos")
			o.AccessKeySecret = "not the secret"
			return open(t, o).Driver()
		},
		Unreachable: func(t *testing.T) storage.Driver {
			o := options(startCloud(t, nil), "photos")
			o.Endpoint, o.STSEndpoint, o.HTTPClient = "http://"+freeAddress(t), "http://"+freeAddress(t)+"/sts", nil
			return open(t, o).Driver()
		},
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// sessionClient is Aliyun's Go SDK in a client's hands.
type sessionClient struct {
	cloud   *cloud
	version sdk.AuthVersionType
	b       *sdk.Bucket
	others  *sdk.Bucket // of the same account
}

func newSessionClient(t *testing.T, c *cloud, s broker.CloudSession, version sdk.AuthVersionType) *sessionClient {
	t.Helper()
	client, err := sdk.New(s.Endpoint, s.ID, s.Secret, sdk.SecurityToken(s.Token), sdk.AuthVersion(version), sdk.Region(s.Region),
		sdk.ForcePathStyle(s.PathStyle), sdk.HTTPClient(c.client()))
	if err != nil {
		t.Fatal(err)
	}
	out := &sessionClient{cloud: c, version: version}
	if out.b, err = client.Bucket(s.Bucket); err != nil {
		t.Fatal(err)
	}
	if out.others, err = client.Bucket("others"); err != nil {
		t.Fatal(err)
	}
	return out
}

// with gives the options of every request: the context, and the cloud's clock.
func (c *sessionClient) with(ctx context.Context, more ...sdk.Option) []sdk.Option {
	now := c.cloud.now().UTC()
	more = append(more, sdk.WithContext(ctx), sdk.SetHeader("Date", now.Format(http.TimeFormat)))
	if c.version == sdk.AuthV4 {
		more = append(more, sdk.SetHeader("X-Oss-Date", now.Format("20060102T150405Z")))
	}
	return more
}

// coded names a refusal as the suite wants it.
func coded(err error) error {
	if e, ok := err.(sdk.ServiceError); ok && e.StatusCode == http.StatusForbidden {
		return broker.Wrap(err, broker.CodeDenied, e.Code)
	}
	return err
}

func (c *sessionClient) Put(ctx context.Context, key string, data []byte) error {
	return coded(c.b.PutObject(key, bytes.NewReader(data), c.with(ctx)...))
}

func (c *sessionClient) Get(ctx context.Context, key string) ([]byte, error) {
	rc, err := c.b.GetObject(key, c.with(ctx)...)
	if err != nil {
		return nil, coded(err)
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

func (c *sessionClient) Head(ctx context.Context, key string) error {
	_, err := c.b.GetObjectDetailedMeta(key, c.with(ctx)...)
	if _, brief := c.b.GetObjectMeta(key, c.with(ctx)...); (brief == nil) != (err == nil) {
		return fmt.Errorf("HEAD says %v, HEAD with objectMeta %v", err, brief)
	}
	return coded(err)
}

func (c *sessionClient) List(ctx context.Context, prefix string) error {
	_, err := c.b.ListObjectsV2(c.with(ctx, sdk.Prefix(prefix))...)
	if _, old := c.b.ListObjects(c.with(ctx, sdk.Prefix(prefix))...); (old == nil) != (err == nil) {
		return fmt.Errorf("version 2 says %v, version 1 %v", err, old)
	}
	return coded(err)
}

func (c *sessionClient) Delete(ctx context.Context, key string) error {
	return coded(c.b.DeleteObject(key, c.with(ctx)...))
}

func (c *sessionClient) Copy(ctx context.Context, from, to string) error {
	_, err := c.b.CopyObject(from, to, c.with(ctx)...)
	return coded(err)
}

func (c *sessionClient) Begin(ctx context.Context, key string) (string, error) {
	up, err := c.b.InitiateMultipartUpload(key, c.with(ctx)...)
	return up.UploadID, coded(err)
}

func (c *sessionClient) up(key, id string) sdk.InitiateMultipartUploadResult {
	return upload(c.b.BucketName, key, id)
}

func (c *sessionClient) PutPart(ctx context.Context, key, id string, number int, data []byte) (string, error) {
	part, err := c.b.UploadPart(c.up(key, id), bytes.NewReader(data), int64(len(data)), number, c.with(ctx)...)
	return part.ETag, coded(err)
}

func (c *sessionClient) CopyPart(ctx context.Context, key, id string, number int, from string) error {
	_, err := c.b.UploadPartCopy(c.up(key, id), c.b.BucketName, from, 0, 1, number, c.with(ctx)...)
	return coded(err)
}

func (c *sessionClient) ListParts(ctx context.Context, key, id string) (numbers []int, err error) {
	out, err := c.b.ListUploadedParts(c.up(key, id), c.with(ctx)...)
	for _, part := range out.UploadedParts {
		numbers = append(numbers, part.PartNumber)
	}
	return numbers, coded(err)
}

func (c *sessionClient) Complete(ctx context.Context, key, id string, etags []string) error {
	var parts []sdk.UploadPart
	for i, etag := range etags {
		parts = append(parts, sdk.UploadPart{PartNumber: i + 1, ETag: etag})
	}
	_, err := c.b.CompleteMultipartUpload(c.up(key, id), parts, c.with(ctx)...)
	return coded(err)
}

func (c *sessionClient) Abort(ctx context.Context, key, id string) error {
	return coded(c.b.AbortMultipartUpload(c.up(key, id), c.with(ctx)...))
}

func (c *sessionClient) Others(ctx context.Context, key string) map[string]error {
	with := c.with(ctx)
	out := map[string]error{}
	_, out["list uploads"] = c.b.ListMultipartUploads(with...)
	_, out["delete many"] = c.b.DeleteObjects([]string{key}, with...)
	_, out["bucket info"] = c.b.Client.GetBucketInfo(c.b.BucketName, with...)
	_, out["bucket location"] = c.b.Client.GetBucketLocation(c.b.BucketName, with...)
	_, out["bucket ACL"] = c.b.Client.GetBucketACL(c.b.BucketName, with...)
	_, out["read CORS"] = c.b.Client.GetBucketCORS(c.b.BucketName, with...)
	out["write CORS"] = c.b.Client.SetBucketCORS(c.b.BucketName, []sdk.CORSRule{{AllowedOrigin: []string{"*"}, AllowedMethod: []string{"GET"}}}, with...)
	out["object ACL"] = c.b.SetObjectACL(key, sdk.ACLPublicRead, with...)
	out["change metadata"] = c.b.SetObjectMeta(key, append(with, sdk.Meta("a", "b"))...)
	out["put in another bucket"] = c.others.PutObject(testPrefix+"x", strings.NewReader("x"), with...)
	_, out["copy to another bucket"] = c.b.CopyObjectTo("others", testPrefix+"x", key, with...)
	_, out["copy from another bucket"] = c.others.CopyObjectTo(c.b.BucketName, testPrefix+"x", testPrefix+"y", with...)
	signed, err := c.b.SignURL(key, sdk.HTTPGet, 60)
	if err == nil {
		var rc io.ReadCloser
		if rc, err = c.b.GetObjectWithURL(signed, sdk.WithContext(ctx)); err == nil {
			rc.Close()
		}
	}
	out["a link of its own"] = err
	for name, err := range out {
		out[name] = coded(err)
	}
	return out
}

// golden compares with a file below testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
}
