package worker_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg/pgtest"
	"github.com/uploadbroker/uploadbroker/broker/validate"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/local"
)

// gateway is the process's one S3 server: only one runs at a time.
var gateway struct {
	*local.Gateway
	buckets atomic.Int64
}

func TestMain(m *testing.M) {
	if spec := os.Getenv(beS3); spec != "" {
		if err := s3Main(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "uploadbroker-worker-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	defer pgtest.Stop()
	gateway.Gateway, err = local.Open(context.Background(), local.Options{
		Dir: filepath.Join(dir, "objects"), KeyFile: filepath.Join(dir, "local-bucket.key"),
	})
	if err != nil {
		panic(err)
	}
	defer gateway.Close()
	return m.Run()
}

const grantFor = time.Hour

// world is a worker over a real, empty database and two real buckets, A and B,
// with a clock that a test moves. Nothing runs by itself unless the test says so.
type world struct {
	*worker.Worker
	store  *postgres.Store
	images *broker.Images
	by     broker.Caller
	a, b   *faultyDriver
	clock  *clock
	server *httptest.Server
}

// clock starts now, since the database's own clock can't be moved.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) pass(d time.Duration) { c.ahead.Add(int64(d)) }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := newStore(t)
	w.a, w.b = newBucket(t), newBucket(t)
	w.Worker = w.newWorker(t, bucketOver(t, "A", w.a), bucketOver(t, "B", w.b))
	w.server = httptest.NewServer(w.a.Handler(local.HandlerOptions{Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(w.server.Close)
	a := bucketOver(t, "A", w.a)
	w.images = &broker.Images{
		Store: w.store, Now: w.clock.now, Limits: broker.Limits{MaxObject: 1 << 30, MaxBatch: 1000},
		Places: broker.NewPlaces(broker.ConfiguredOrder{}, broker.Bucket{Symbol: "A", Cloud: broker.CloudS3, GrantTTL: grantFor, Signer: a}),
	}
	return w
}

func newStore(t *testing.T) *world {
	t.Helper()
	w := &world{clock: &clock{}}
	var err error
	if w.store, err = postgres.Open(t.Context(), pgtest.New(t), 12); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.store.Close)
	if err := w.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys := &broker.Keys{Store: w.store, Now: w.clock.now}
	owner, err := keys.CreateOwner(t.Context(), "ada@example.com", "Ada")
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := keys.Create(t.Context(), owner, broker.NewKey{Scopes: broker.AllScopes()})
	if err != nil {
		t.Fatal(err)
	}
	w.by = broker.Caller{Owner: owner, Key: key}
	return w
}

func newBucket(t *testing.T) *faultyDriver {
	t.Helper()
	d, err := gateway.Bucket(t.Context(), fmt.Sprint("bucket-", gateway.buckets.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return &faultyDriver{Bucket: d, count: map[string]int{}}
}

func bucketOver(t *testing.T, symbol string, d storage.Driver) *storage.Bucket {
	t.Helper()
	b, err := storage.New(storage.Info{Symbol: symbol, Cloud: broker.CloudS3, GrantTTL: grantFor}, d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) newWorker(t *testing.T, buckets ...*storage.Bucket) *worker.Worker {
	return worker.New(worker.Config{
		Store: w.store, Buckets: buckets, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Concurrency: 4, Budget: validate.NewBudget(1 << 28), MaxObject: 1 << 30, MaxPixels: 1 << 28, Now: w.clock.now,
	})
}

func (w *world) project(t *testing.T) broker.Project {
	t.Helper()
	return w.projectOf(t, broker.NewID(w.clock.now()))
}

func (w *world) projectOf(t *testing.T, id string) broker.Project {
	t.Helper()
	p := broker.Project{ID: id, OwnerID: w.by.Owner.ID, Name: "test", Kind: broker.KindRecon, CreatedAt: w.clock.now()}
	if err := w.store.CreateProject(t.Context(), p, w.by); err != nil {
		t.Fatal(err)
	}
	return p
}

// photo is a small JPEG, another for each number.
func photo(number int) []byte {
	m := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range m.Pix {
		m.Pix[i] = byte(i * (number + 3))
	}
	for i := range 16 {
		m.Set(i, 0, color.Gray{255 * byte(number>>i&1)})
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 100}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// register declares these bytes and is granted a bucket.
func (w *world) register(t *testing.T, p broker.Project, bucket string, files ...[]byte) []broker.Image {
	t.Helper()
	now := w.clock.now()
	b := broker.RegisterBatch{ProjectID: p.ID, Bucket: bucket, Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(grantFor), By: w.by}
	for _, f := range files {
		b.Images = append(b.Images, broker.NewImage{
			ID: broker.NewID(now), Name: "a.jpg", SHA1: sha1.Sum(f), SizeBytes: int64(len(f)), Type: "image/jpeg", Ext: "jpg",
		})
	}
	images, err := w.store.Register(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return images
}

// put writes an object as a client with a grant does, and returns its ETag.
func put(t *testing.T, d storage.Driver, key string, data []byte) string {
	t.Helper()
	obj, err := d.Put(context.Background(), key, bytes.NewReader(data), storage.PutOptions{ContentType: "image/jpeg", SizeBytes: int64(len(data))})
	if err != nil {
		t.Fatal(err)
	}
	return obj.ETag
}

func exists(t *testing.T, d *faultyDriver, key string) bool {
	t.Helper()
	_, err := d.Bucket.Stat(context.Background(), key)
	if err != nil && d.Code(err) != broker.CodeNotFound {
		t.Fatal(err)
	}
	return err == nil
}

func (w *world) image(t *testing.T, img broker.Image) broker.Image {
	t.Helper()
	images, err := w.store.ByID(context.Background(), img.ProjectID, []string{img.ID})
	if err != nil || len(images) != 1 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	return images[0]
}

func (w *world) wantState(t *testing.T, img broker.Image, want broker.State, reasons ...broker.ReasonCode) broker.Image {
	t.Helper()
	got := w.image(t, img)
	ok := got.State == want && len(got.Reasons) == len(reasons)
	for i := 0; ok && i < len(reasons); i++ {
		ok = got.Reasons[i].Code == reasons[i]
	}
	if !ok {
		t.Fatalf("the image is %s %v, want %s %v", got.State, got.Reasons, want, reasons)
	}
	return got
}

// look looks at a project's prefix in a bucket.
func (w *world) look(t *testing.T, p broker.Project, bucket string) worker.Looked {
	t.Helper()
	l, err := w.Look(t.Context(), postgres.Watch{ProjectID: p.ID, Bucket: bucket, Pause: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// arrive puts the bytes at the image's key and looks.
func (w *world) arrive(t *testing.T, img broker.Image, data []byte) broker.Image {
	t.Helper()
	put(t, w.a, img.Key(), data)
	if err := w.LookAt(t.Context(), "A", img.Key()); err != nil {
		t.Fatal(err)
	}
	return w.wantState(t, img, broker.StateUploaded)
}

// ready takes the image to Ready.
func (w *world) ready(t *testing.T, img broker.Image, data []byte) broker.Image {
	t.Helper()
	if err := w.Validate(t.Context(), argsOf(w.arrive(t, img, data))); err != nil {
		t.Fatal(err)
	}
	return w.wantState(t, img, broker.StateReady)
}

func argsOf(img broker.Image) broker.ValidateArgs {
	return broker.ValidateArgs{ImageID: img.ID, Attempt: img.Attempt, ETag: img.ETag, SizeBytes: img.ObjectBytes, Bucket: img.Bucket}
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := w.store.Pool().Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) count(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	if err := w.store.Pool().QueryRow(context.Background(), `SELECT count(*) FROM `+sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// start runs a worker until the test ends or stop is called; stop waits for it.
func start(t *testing.T, w *worker.Worker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the worker ended with %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("the worker does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// eventually waits for what running workers do by themselves.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to pass: %s", what)
		}
	}
}
