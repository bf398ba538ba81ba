package tags

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/archive"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg/pgtest"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/local"
)

// disk is the process's one local bucket; only one gateway runs in a process.
var disk struct {
	once    sync.Once
	dir     string
	gateway *local.Gateway
	bucket  *local.Bucket
	err     error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if disk.gateway != nil {
		_ = disk.bucket.Close()
		if err := disk.gateway.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "the gateway did not close:", err)
			code = 1
		}
	}
	if disk.dir != "" {
		_ = os.RemoveAll(disk.dir)
	}
	pgtest.Stop()
	os.Exit(code)
}

func localBucket(t *testing.T) *local.Bucket {
	t.Helper()
	disk.once.Do(func() {
		ctx := context.Background()
		if disk.dir, disk.err = os.MkdirTemp("", "uploadbroker-tags-"); disk.err != nil {
			return
		}
		disk.gateway, disk.err = local.Open(ctx, local.Options{
			Dir: filepath.Join(disk.dir, "objects"), KeyFile: filepath.Join(disk.dir, "local-bucket.key"),
		})
		if disk.err == nil {
			disk.bucket, disk.err = disk.gateway.Bucket(ctx, local.BucketName)
		}
	})
	if disk.err != nil {
		t.Fatal(disk.err)
	}
	return disk.bucket
}

// maxObject is the fixture's limit: enough for uploads in parts.
const maxObject = 20 << 20

// fixture is the face with everything real below it. The tags open and wall take files
// of anybody; open and shown may be read by anybody.
type fixture struct {
	*httptest.Server
	store  *postgres.Store
	keys   *broker.Keys
	images *broker.Images
	tags   *broker.Tags
	bucket *storage.Bucket
	ended  chan struct{} // something for each request that was answered, or not

	first, second     broker.Owner
	firstKey, special string // of the first owner with every scope; of the second one
}

func open(t *testing.T, change ...func(*fixture, *Options)) *fixture {
	t.Helper()
	f := &fixture{ended: make(chan struct{}, 1000)}
	var err error
	if f.store, err = postgres.Open(t.Context(), pgtest.New(t), 8); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.store.Close)
	if err := f.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	driver := localBucket(t)
	if f.bucket, err = storage.New(storage.Info{Symbol: "Local", Display: "This machine", Cloud: broker.CloudS3}, driver); err != nil {
		t.Fatal(err)
	}
	f.keys = &broker.Keys{Store: f.store, Now: time.Now}
	places := broker.NewPlaces(broker.ConfiguredOrder{}, broker.Bucket{Symbol: "Signs", Cloud: broker.CloudOSS}, f.place())
	f.images = &broker.Images{Store: f.store, Places: places, Now: time.Now, Limits: broker.Limits{MaxObject: maxObject, MaxBatch: 100}}
	f.tags = &broker.Tags{
		Store: f.store, Images: f.images, Log: log, Now: time.Now,
		Zips:   &broker.Zips{Store: f.store, Archives: &archive.Archives{Opener: places, Log: log}, Now: time.Now},
		Policy: broker.TagPolicy{Anonymous: []string{"open", "wall"}, Public: []string{"open", "shown"}},
	}
	f.first, f.firstKey = f.owner(t, "ada@example.com")
	f.second, f.special = f.owner(t, "grace@example.com")

	o := api.Options{
		Keys: f.keys, Log: log, LocalPath: "/" + local.BucketName + "/", Ready: f.store.Ping,
		LocalBucket: driver.Handler(local.HandlerOptions{Log: log}),
	}
	e := api.New(o)
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			defer func() { f.ended <- struct{}{} }()
			return next(c)
		}
	})
	options := Options{Tags: f.tags, Log: log}
	for _, c := range change {
		c(f, &options)
	}
	Mount(e, options)
	f.Server = httptest.NewUnstartedServer(nil)
	f.Config = api.Server(e, o)
	f.Start()
	t.Cleanup(f.Close)
	return f
}

// place is the local bucket as the rules need it.
func (f *fixture) place() broker.Bucket {
	b := f.bucket
	return broker.Bucket{
		Symbol: "Local", Cloud: broker.CloudS3, GrantTTL: time.Hour, Signer: b, Linker: b, Reader: b, Receiver: b, Free: disk.bucket.Free,
	}
}

func (f *fixture) owner(t *testing.T, email string) (broker.Owner, string) {
	t.Helper()
	owner, err := f.keys.CreateOwner(t.Context(), email, "")
	if err != nil {
		t.Fatal(err)
	}
	return owner, f.key(t, owner, broker.NewKey{Scopes: broker.AllScopes()})
}

func (f *fixture) key(t *testing.T, owner broker.Owner, n broker.NewKey) string {
	t.Helper()
	_, secret, err := f.keys.Create(t.Context(), owner, n)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// answered is what a request got.
type answered struct {
	Status int
	Header http.Header
	Text   string
	Record
	Code  broker.Code
	Files []struct {
		Record
		Problem *api.Problem
	}
}

// do sends a request; headers come in pairs. Redirects are not followed.
func (f *fixture) do(t *testing.T, method, path, key string, body io.Reader, headers ...string) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answered{Status: resp.StatusCode, Header: resp.Header, Text: string(text)}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return a
}

// put sends a file, as curl -T does.
func (f *fixture) put(t *testing.T, path, key, content string) answered {
	t.Helper()
	return f.do(t, http.MethodPut, path, key, strings.NewReader(content))
}

func (a answered) want(t *testing.T, status int) answered {
	t.Helper()
	if a.Status != status {
		t.Fatalf("the answer is %d, want %d: %s", a.Status, status, a.Text)
	}
	return a
}

// image finds the image of a record.
func (f *fixture) image(t *testing.T, tag string, id string) broker.Image {
	t.Helper()
	p, err := f.store.TagByName(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	found, err := f.store.ByID(t.Context(), p.ID, []string{id})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d images, %v", len(found), err)
	}
	return found[0]
}

// content reads an image's object.
func (f *fixture) content(t *testing.T, img broker.Image) string {
	t.Helper()
	body, _, err := f.bucket.Open(t.Context(), img.Key(), storage.Range{}, img.ETag)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// judge gives an Uploaded image its verdict.
func (f *fixture) judge(t *testing.T, img broker.Image, reasons ...broker.Reason) {
	t.Helper()
	content := f.content(t, img)
	moved, err := f.store.Judge(t.Context(), postgres.Judging{
		ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: img.Attempt, ETag: img.ETag}, Holder: "test",
	}, broker.Verdict{
		Reasons: reasons, SHA1: img.SHA1, CRC32: crc32.ChecksumIEEE([]byte(content)), Size: int64(len(content)),
		Facts: broker.Facts{Type: "image/jpeg", Proof: broker.ProofBytes},
	}, time.Now())
	if err != nil || !moved {
		t.Fatalf("judged: %t, %v", moved, err)
	}
}

// objects lists what lies below a tag's prefix, finished or not.
func (f *fixture) objects(t *testing.T, tag string) (keys []string) {
	t.Helper()
	p, err := f.store.TagByName(t.Context(), tag)
	if broker.CodeOf(err) == broker.CodeNotFound {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for o, err := range f.bucket.All(t.Context(), p.ID+"/") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	parts, err := f.bucket.Multiparts(t.Context(), p.ID+"/")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		keys = append(keys, "unfinished "+part.Key)
	}
	return keys
}

func digest(content string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(content))) }

// large is content that goes into the bucket in parts.
func large() string { return string(bytes.Repeat([]byte("0123456789abcdef"), 9<<20/16)) }
