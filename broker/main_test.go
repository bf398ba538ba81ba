package broker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// world is the rules over a real, empty database, with a clock that stands until
// a test moves it.
type world struct {
	store    *postgres.Store
	keys     *broker.Keys
	projects *broker.Projects
	images   *broker.Images
	signer   *fakeSigner

	ada broker.Owner
	by  broker.Caller // ada with every scope

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := postgres.Open(t.Context(), pgtest.New(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &world{store: store, signer: &fakeSigner{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.keys = &broker.Keys{Store: store, Now: w.time}
	w.projects = &broker.Projects{Store: store, Now: w.time}
	w.images = &broker.Images{
		Store: store, Now: w.time, Limits: broker.Limits{MaxObject: 1000, MaxBatch: 5},
		Places: broker.NewPlaces(broker.ConfiguredOrder{}, []broker.Bucket{
			{Symbol: "Full", Cloud: broker.CloudS3, GrantTTL: time.Hour, Drain: true, Signer: w.signer},
			{Symbol: "Tokens", Cloud: broker.CloudOSS, GrantTTL: time.Hour}, // presigns nothing
			{Symbol: "Near", Cloud: broker.CloudS3, GrantTTL: time.Hour, Signer: w.signer},
			{Symbol: "Far", Cloud: broker.CloudMinIO, GrantTTL: 2 * time.Hour, Signer: w.signer},
		}...),
	}
	if w.ada, err = w.keys.CreateOwner(t.Context(), "ada@example.com", "Ada"); err != nil {
		t.Fatal(err)
	}
	w.by = w.caller(t, w.ada, broker.NewKey{Scopes: broker.AllScopes()})
	return w
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// caller makes a key and signs in with it.
func (w *world) caller(t *testing.T, owner broker.Owner, n broker.NewKey) broker.Caller {
	t.Helper()
	_, secret, err := w.keys.Create(t.Context(), owner, n)
	if err != nil {
		t.Fatal(err)
	}
	by, err := w.keys.Authenticate(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	return by
}

func (w *world) project(t *testing.T) broker.Project {
	t.Helper()
	p, err := w.projects.Create(t.Context(), w.by, "test", broker.KindRecon)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fakeSigner signs nothing: it tells what it was asked.
type fakeSigner struct {
	mu   sync.Mutex
	fail error

	last  broker.Binding
	count int
}

func (s *fakeSigner) SignPut(_ context.Context, key string, bind broker.Binding, ttl time.Duration) (broker.Request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = bind
	s.count++
	return broker.Request{Method: "PUT", URL: fmt.Sprintf("https://bucket.example/%s?for=%s", key, ttl)}, s.fail
}

// wantCode fails unless err has the code.
func wantCode(t *testing.T, err error, want broker.Code) {
	t.Helper()
	if got := broker.CodeOf(err); got != want {
		t.Errorf("the code is %q, want %q: %v", got, want, err)
	}
}

// judge gives an Uploaded image (of etag "e") its verdict.
func (w *world) judge(t *testing.T, img broker.Image, reasons ...broker.Reason) {
	t.Helper()
	j := postgres.Judging{ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: img.Attempt, ETag: "e"}, Holder: "test"}
	moved, err := w.store.Judge(t.Context(), j, broker.Verdict{SHA1: img.SHA1, Size: 1, CRC32: 7, Reasons: reasons}, w.time())
	if err != nil || !moved {
		t.Fatalf("judged: %t, %v", moved, err)
	}
}
