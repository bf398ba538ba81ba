package events

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// The secrets of two buckets; one must be written encoded in an address.
const (
	secret      = "hush-hush-hush-hush-1"
	otherSecret = "a/b+c%2Fd e?f#g=1;2~"
)

// memoryStore is a stand-in for the database, which the rules over it are tested
// with elsewhere: every object told is an image.
type memoryStore struct {
	mu     sync.Mutex
	err    error
	hinted map[string][]broker.Arrived // by bucket
	calls  int
	takes  time.Duration // of a hint
}

func (s *memoryStore) EventSecret(_ context.Context, bucket string, _ time.Time) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]string{"HongKong": secret, "Hangzhou": otherSecret}[bucket], s.err
}

func (s *memoryStore) Hint(ctx context.Context, bucket string, arrived []broker.Arrived) (int, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(s.takes):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err != nil {
		return 0, s.err
	}
	s.hinted[bucket] = append(s.hinted[bucket], arrived...)
	return len(arrived), nil
}

// took returns what the bucket told since it was last asked.
func (s *memoryStore) took(bucket string) []broker.Arrived {
	s.mu.Lock()
	defer s.mu.Unlock()
	arrived := s.hinted[bucket]
	delete(s.hinted, bucket)
	return arrived
}

func (s *memoryStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// noKeys is a stand-in for a database without keys.
type noKeys struct{ broker.KeyStore }

func (noKeys) KeyByHash(context.Context, [32]byte) (broker.Caller, error) {
	return broker.Caller{}, broker.Errorf(broker.CodeNotFound, "not found")
}

type server struct {
	*httptest.Server
	store *memoryStore
	log   *safeBuffer
}

// newServer runs the face within the real server; without Arrivals over a store in
// memory.
func newServer(t *testing.T, o Options, bodyTimeout time.Duration) *server {
	t.Helper()
	s := &server{store: &memoryStore{hinted: map[string][]broker.Arrived{}}, log: &safeBuffer{}}
	o.Log = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Arrivals == nil {
		o.Arrivals = &broker.Arrivals{
			Store: s.store, Now: time.Now,
			Places: broker.NewPlaces(broker.ConfiguredOrder{}, broker.Bucket{Symbol: "HongKong"}, broker.Bucket{Symbol: "Hangzhou"}),
		}
	}
	keys := &broker.Keys{Store: noKeys{}, Now: time.Now}
	shared := api.Options{Keys: keys, Log: o.Log, CORSOrigins: []string{"*"}, Ready: func(context.Context) error { return nil }}
	e := api.New(shared)
	mount(e, o, bodyTimeout)
	s.Server = httptest.NewUnstartedServer(nil)
	s.Config = api.Server(e, shared)
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(func() {
		for _, hidden := range []string{secret, otherSecret, "a%2Fb+c"} {
			if strings.Contains(s.log.String(), hidden) {
				t.Errorf("a secret is in the log:\n%s", s.log)
			}
		}
	})
	return s
}

type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// do sends a request. headers are names and values in turn.
func (s *server) do(t *testing.T, method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// post sends an event of HongKong.
func (s *server) post(t *testing.T, body []byte, headers ...string) (*http.Response, string) {
	t.Helper()
	return s.do(t, http.MethodPost, Path("HongKong", secret), bytes.NewReader(body), headers...)
}

// wantProblem fails unless the answer is a problem document of this status and code.
func wantProblem(t *testing.T, resp *http.Response, body string, status int, code broker.Code) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != status || p.Status != status || p.Code != code ||
		resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("want %d %s, got %d %s %s: %v", status, code, resp.StatusCode, resp.Header.Get("Content-Type"), body, err)
	}
	return p
}
