package rest

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/web"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/archive"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg/pgtest"
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
		if disk.dir, disk.err = os.MkdirTemp("", "uploadbroker-rest-"); disk.err != nil {
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

// The symbols of the fixture's places. All but the last are the local bucket.
const (
	nearest  = "Local"
	brief    = "Brief"    // its grants live for one second
	drained  = "Drained"  // takes no new grants
	sessions = "Sessions" // cloud OSS, gives no presigned requests
)

// Limits of the fixture.
const (
	maxObject = 1 << 30
	maxBatch  = 1000
)

// fixture is the API with everything real below it: a schema of its own and the
// local bucket. Its owner has one key of every scope.
type fixture struct {
	*httptest.Server
	echo     *echo.Echo
	dsn      string
	store    *postgres.Store
	keys     *broker.Keys
	projects *broker.Projects
	images   *broker.Images
	zips     *broker.Zips
	tasks    *broker.Tasks
	tags     *broker.Tags
	bucket   *storage.Bucket
	log      *logBuffer

	owner  broker.Owner
	by     broker.Caller
	secret string
}

func open(t *testing.T, change ...func(*api.Options)) *fixture {
	t.Helper()
	f := &fixture{dsn: pgtest.New(t), log: &logBuffer{}}
	var err error
	if f.store, err = postgres.Open(t.Context(), f.dsn, 16); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.store.Close)
	if err := f.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	driver := localBucket(t)
	var all []*storage.Bucket
	var places []broker.Bucket
	for _, info := range []storage.Info{
		{Symbol: nearest, Display: "This machine", Cloud: broker.CloudS3},
		{Symbol: brief, Display: "For a second", Cloud: broker.CloudS3, GrantTTL: time.Second},
		{Symbol: drained, Display: "Drained", Cloud: broker.CloudS3, Drain: true},
	} {
		b, err := storage.New(info, driver)
		if err != nil {
			t.Fatal(err)
		}
		info = b.Info()
		all = append(all, b)
		places = append(places, broker.Bucket{
			Symbol: info.Symbol, Display: info.Display, Cloud: info.Cloud, GrantTTL: info.GrantTTL, Drain: info.Drain, Signer: b, Linker: b, Reader: b,
		})
	}
	places = append(places, broker.Bucket{Symbol: sessions, Display: "Sessions", Cloud: broker.CloudOSS, GrantTTL: time.Hour})

	f.keys = &broker.Keys{Store: f.store, Now: time.Now}
	f.projects = &broker.Projects{Store: f.store, Now: time.Now}
	at := broker.NewPlaces(broker.ConfiguredOrder{}, places...)
	f.bucket = all[0]
	f.zips = &broker.Zips{Store: f.store, Archives: &archive.Archives{Opener: at, Log: log}, Now: time.Now}
	f.tasks = &broker.Tasks{Store: f.store, Engine: someEngine{}, Places: at, Log: log, Now: time.Now}
	f.images = &broker.Images{
		Store: f.store, Places: at, Now: time.Now,
		Limits: broker.Limits{MaxObject: maxObject, MaxBatch: maxBatch},
	}
	f.tags = &broker.Tags{Store: f.store, Images: f.images, Zips: f.zips, Log: log, Now: time.Now}
	w := worker.New(worker.Config{Store: f.store, Buckets: all, Log: log, Concurrency: 1, MaxObject: maxObject, Now: time.Now})

	o := api.Options{
		Keys: f.keys, Log: log, CORSOrigins: []string{"*"}, LocalPath: "/" + local.BucketName + "/", Ready: f.store.Ping,
		LocalBucket: driver.Handler(local.HandlerOptions{Log: log, OnPut: func(key string) {
			if err := w.LookAt(context.Background(), nearest, key); err != nil {
				log.Error("look", "err", err)
			}
		}}),
	}
	for _, c := range change {
		c(&o)
	}
	f.echo = api.New(o)
	mount(f.echo, Options{Projects: f.projects, Images: f.images, Zips: f.zips, Tasks: f.tasks, Keys: f.keys, Tags: f.tags, Log: log, Version: "test"}, tellOperation)
	web.Mount(f.echo, web.Options{Keys: f.keys, Projects: f.projects, Log: log})
	f.Server = httptest.NewUnstartedServer(nil)
	f.Config = api.Server(f.echo, o)
	f.Start()
	t.Cleanup(f.Close)

	f.owner, f.by, f.secret = f.newOwner(t, "ada@example.com", broker.NewKey{Scopes: broker.AllScopes()})
	t.Cleanup(func() { f.log.mustKeepSecrets(t) })
	return f
}

// operationHeader tells the tests which operation answered.
const operationHeader = "X-Test-Operation"

func tellOperation(ctx huma.Context, next func(huma.Context)) {
	ctx.SetHeader(operationHeader, ctx.Operation().OperationID)
	next(ctx)
}

func (f *fixture) newOwner(t *testing.T, email string, k broker.NewKey) (broker.Owner, broker.Caller, string) {
	t.Helper()
	owner, err := f.keys.CreateOwner(t.Context(), email, "")
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

func (f *fixture) newProject(t *testing.T) string {
	t.Helper()
	p, err := f.projects.Create(t.Context(), f.by, "North face", broker.KindRecon)
	if err != nil {
		t.Fatal(err)
	}
	return p.ID
}

// newImage registers an image beside the API.
func (f *fixture) newImage(t *testing.T, pid, content string) broker.Image {
	t.Helper()
	rs, err := f.images.Register(t.Context(), f.by, pid, broker.Target{}, []broker.Entry{{
		Name: "a.jpg", SHA1: digest(content), SizeBytes: int64(len(content)),
	}})
	if err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	return rs[0].Image
}

// sampleImage is one that the operation can do something with.
func (f *fixture) sampleImage(t *testing.T, op operation, pid string) broker.Image {
	t.Helper()
	img := f.newImage(t, pid, "sample image")
	switch op.ID {
	case "acceptImage":
		f.judge(t, img, broker.Reasonf(broker.ReasonTruncated, "so it is"))
	case "imageThumbnail":
		f.judge(t, img)
	case "revokeKey": // whose id is a key's
		// Who ends a key must have what it has.
		key, _ := f.newKey(t, f.owner, broker.NewKey{ProjectID: pid, Scopes: []broker.Scope{broker.ScopeManage}})
		img.ID = key.ID
	case "projectZip", "imageFile":
		f.bring(t, img, "sample image")
	case "startTask":
		f.judge(t, img)
	case "getTask", "stopTask", "taskResult": // whose id is a task's
		f.judge(t, img)
		img.ID = f.newTask(t, pid, op.ID == "taskResult").ID
	}
	return img
}

// see makes an image Uploaded, as a look would.
func (f *fixture) see(t *testing.T, img broker.Image) {
	t.Helper()
	n, err := f.store.See(t.Context(), img.ProjectID, nearest, []broker.Seen{{
		Bucket: nearest, ProjectID: img.ProjectID, Filename: img.Filename, ETag: "e1", SizeBytes: img.SizeBytes,
	}}, time.Now())
	if err != nil || n != 1 {
		t.Fatalf("saw %d objects: %v", n, err)
	}
}

// judge gives a seen image its verdict.
func (f *fixture) judge(t *testing.T, img broker.Image, reasons ...broker.Reason) {
	t.Helper()
	f.see(t, img)
	var thumb *broker.ThumbFacts
	if len(reasons) == 0 {
		thumb = &broker.ThumbFacts{Width: 3, Height: 2, ETag: "t1"}
	}
	moved, err := f.store.Judge(t.Context(), postgres.Judging{
		ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: img.Attempt, ETag: "e1"}, Holder: "test",
	}, broker.Verdict{
		Reasons: reasons, SHA1: img.SHA1, CRC32: 7, Size: img.SizeBytes,
		Facts: broker.Facts{Type: "image/jpeg", Proof: broker.ProofFull, Width: 30, Height: 20, Thumb: thumb},
	}, time.Now())
	if err != nil || !moved {
		t.Fatalf("judged: %t, %v", moved, err)
	}
}

func digest(content string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(content))) }

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
