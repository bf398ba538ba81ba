package graphql

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
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg/pgtest"
	"github.com/uploadbroker/uploadbroker/broker/validate"
	"github.com/uploadbroker/uploadbroker/broker/worker"
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
		if disk.dir, disk.err = os.MkdirTemp("", "uploadbroker-graphql-"); disk.err != nil {
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

// fixture is the face with everything real below it: a schema of its own and the
// local bucket, which is there under the clouds S3 and MINIO. Its owner has one
// key of every scope.
type fixture struct {
	*httptest.Server
	face   *Face
	worker *worker.Worker
	store  *postgres.Store
	keys   *broker.Keys
	images *broker.Images
	places []broker.Bucket
	log    *logBuffer
	clock  *clock

	owner  broker.Owner
	by     broker.Caller
	secret string
}

// clock stands still but for what a test adds: throttles are asked of it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// apart is a clock whose every time is a millisecond of its own: ids of one
// millisecond have no order.
func apart() func() time.Time {
	var asked atomic.Int64
	return func() time.Time { return time.Now().Add(time.Duration(asked.Add(1)) * time.Millisecond) }
}

// setup is what a test may change before the server starts.
type setup struct {
	server *api.Options
	face   *Options
}

func open(t *testing.T, change ...func(setup)) *fixture {
	t.Helper()
	f := &fixture{log: &logBuffer{}, clock: &clock{now: time.Now()}}
	var err error
	if f.store, err = postgres.Open(t.Context(), pgtest.New(t), 16); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.store.Close)
	if err := f.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	driver := localBucket(t)
	var all []*storage.Bucket
	for _, info := range []storage.Info{
		{Symbol: "Local", Display: "This machine", Cloud: broker.CloudS3},
		{Symbol: "Office", Display: "The office", Cloud: broker.CloudMinIO},
		{Symbol: "Drained", Display: "Drained", Cloud: broker.CloudS3, Drain: true},
	} {
		b, err := storage.New(info, driver)
		if err != nil {
			t.Fatal(err)
		}
		info = b.Info()
		all = append(all, b)
		f.places = append(f.places, broker.Bucket{
			Symbol: info.Symbol, Display: info.Display, Cloud: info.Cloud, GrantTTL: info.GrantTTL, Drain: info.Drain, Signer: b, Linker: b,
		})
	}
	f.keys = &broker.Keys{Store: f.store, Now: time.Now}
	f.images = &broker.Images{
		Store: f.store, Places: broker.NewPlaces(broker.ConfiguredOrder{}, f.places...), Now: apart(),
		Limits: broker.Limits{MaxObject: 1 << 30, MaxBatch: 1000}, Log: log,
	}
	f.worker = worker.New(worker.Config{
		Store: f.store, Buckets: all, Log: log, Concurrency: 2, Budget: validate.NewBudget(1 << 28), MaxObject: 1 << 30, MaxPixels: 1 << 28, Now: time.Now,
	})
	s := setup{
		server: &api.Options{
			Keys: f.keys, Log: log, CORSOrigins: []string{"*"}, LocalPath: "/" + local.BucketName + "/", Ready: f.store.Ping,
			LocalBucket: driver.Handler(local.HandlerOptions{Log: log, OnPut: func(key string) {
				if err := f.worker.LookAt(context.Background(), "Local", key); err != nil {
					log.Error("look", "err", err)
				}
			}}),
		},
		face: &Options{
			Projects: &broker.Projects{Store: f.store, Now: apart()}, Images: f.images, Tasks: &broker.Tasks{Store: f.store},
			Keys: f.keys, Log: log, Version: "1.2.3-test", Now: f.clock.Now,
		},
	}
	for _, c := range change {
		c(s)
	}
	e := api.New(*s.server)
	f.face = Mount(e, *s.face)
	f.Server = httptest.NewUnstartedServer(nil)
	f.Config = api.Server(e, *s.server)
	f.Start()
	t.Cleanup(f.Close)

	f.owner, f.by, f.secret = f.newOwner(t, "ada@example.com", "Ada", broker.NewKey{Scopes: broker.AllScopes()})
	t.Cleanup(func() { f.log.mustKeepSecrets(t) })
	return f
}

// work runs the worker, so that what arrives is judged.
func (f *fixture) work(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.worker.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the worker: %v", err)
		}
	})
}

func (f *fixture) newOwner(t *testing.T, email, name string, k broker.NewKey) (broker.Owner, broker.Caller, string) {
	t.Helper()
	owner, err := f.keys.CreateOwner(t.Context(), email, name)
	if err != nil {
		t.Fatal(err)
	}
	key, secret := f.newKey(t, owner, k)
	return owner, broker.Caller{Owner: owner, Key: key}, secret
}

func (f *fixture) newKey(t *testing.T, owner broker.Owner, k broker.NewKey) (broker.Key, string) {
	t.Helper()
	key, secret, err := f.keys.Create(t.Context(), owner, k)
	if err != nil {
		t.Fatal(err)
	}
	return key, secret
}

// see makes an image Uploaded beside the bucket, as a look would.
func (f *fixture) see(t *testing.T, id string) broker.Image {
	t.Helper()
	img := f.record(t, id)
	n, err := f.store.See(t.Context(), img.ProjectID, "Local", []broker.Seen{{
		Bucket: "Local", ProjectID: img.ProjectID, Filename: img.Filename, ETag: "e1", SizeBytes: 100,
	}}, time.Now())
	if err != nil || n != 1 {
		t.Fatalf("saw %d objects: %v", n, err)
	}
	return f.record(t, id)
}

// judge gives an image its verdict beside the worker.
func (f *fixture) judge(t *testing.T, id string, reasons ...broker.Reason) {
	t.Helper()
	if err := f.verdict(t, f.see(t, id), reasons...); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) verdict(t *testing.T, img broker.Image, reasons ...broker.Reason) error {
	moved, err := f.store.Judge(t.Context(), postgres.Judging{
		ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: img.Attempt, ETag: img.ETag}, Holder: "test",
	}, broker.Verdict{
		Reasons: reasons, SHA1: img.SHA1, CRC32: 7, Size: 100,
		Facts: broker.Facts{Type: "image/jpeg", Proof: broker.ProofFull, Width: 4000, Height: 3000},
	}, time.Now())
	if err == nil && !moved {
		err = fmt.Errorf("the image %s is %s and was not judged", img.ID, img.State)
	}
	return err
}

// record reads an image beside the API.
func (f *fixture) record(t *testing.T, id string) broker.Image {
	t.Helper()
	pid, err := f.store.ProjectOfImage(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	list, err := f.store.ByID(t.Context(), pid, []string{id})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	return list[0]
}

// photo is a JPEG, another for each seed.
func photo(t *testing.T, seed uint8) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 64, 48))
	for i := range 64 * 48 {
		img.Set(i%64, i/64, color.RGBA{uint8(i) ^ seed, uint8(i / 7), seed, 255})
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sha1Of(content []byte) string { return fmt.Sprintf("%x", sha1.Sum(content)) }

// logBuffer keeps the log of a server.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// secretInLog finds what gives a right: signatures and keys.
var secretInLog = regexp.MustCompile(`(?i)X-Amz-Signature|X-Amz-Credential|ub_[a-z2-7]{10,}|Bearer \S+`)

func (l *logBuffer) mustKeepSecrets(t *testing.T) {
	t.Helper()
	if found := secretInLog.FindString(l.String()); found != "" {
		t.Errorf("the log tells a secret: %s", found)
	}
}
