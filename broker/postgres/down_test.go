package postgres_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg/pgtest"
)

// calls are one of each kind: a plain read, a transaction, a copy of jobs.
func calls(s *postgres.Store, by broker.Caller, projectID string) map[string]func(context.Context) error {
	now := time.Now()
	return map[string]func(context.Context) error{
		"ping": s.Ping,
		"read": func(ctx context.Context) error { _, err := s.Project(ctx, projectID); return err },
		"move": func(ctx context.Context) error { return s.Start(ctx, projectID, []string{"x"}, now, by) },
		"register": func(ctx context.Context) error {
			_, err := s.Register(ctx, broker.RegisterBatch{
				ProjectID: projectID, Bucket: "A", Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(time.Hour), By: by,
				Images: []broker.NewImage{{ID: broker.NewID(now), Name: "a", SHA1: digest(1), Type: "image/jpeg"}},
			})
			return err
		},
		"see": func(ctx context.Context) error {
			_, err := s.See(ctx, projectID, "A", []broker.Seen{{Filename: "x", ETag: "e"}}, now)
			return err
		},
		"jobs":  func(ctx context.Context) error { _, err := s.Jobs(ctx); return err },
		"lease": func(ctx context.Context) error { _, err := s.ExtendLease(ctx, "x", "h"); return err },
	}
}

func wantUnavailable(t *testing.T, name string, err error) {
	t.Helper()
	var known *broker.Error
	if !errors.As(err, &known) || known.Code != broker.CodeUnavailable || known.RetryAfter <= 0 || known.Msg == "" {
		t.Errorf("%s: %v", name, err)
		return
	}
	if strings.Contains(known.Msg, "/") || strings.Contains(known.Msg, "socket") {
		t.Errorf("%s tells a stranger: %q", name, known.Msg)
	}
}

// TestDatabaseStopsAndComesBack runs a server of its own.
func TestDatabaseStopsAndComesBack(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "uploadbroker-down-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // the server's user passes through
		t.Fatal(err)
	}
	start := func() *privatepg.Server {
		t.Helper()
		s, err := privatepg.Start(t.Context(), privatepg.Options{DataDir: dir, Settings: map[string]string{"fsync": "off"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Stop(context.Background()) })
		return s
	}
	server := start()
	store, err := postgres.Open(t.Context(), server.DSN(), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys := &broker.Keys{Store: store, Now: time.Now}
	owner, err := keys.CreateOwner(t.Context(), "ada@example.com", "Ada")
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := keys.Create(t.Context(), owner, broker.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	by := broker.Caller{Owner: owner, Key: key}
	p := broker.Project{ID: broker.NewID(time.Now()), OwnerID: owner.ID, Name: "test", Kind: broker.KindRecon, CreatedAt: time.Now()}
	if err := store.CreateProject(t.Context(), p, by); err != nil {
		t.Fatal(err)
	}
	all := calls(store, by, p.ID)

	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // first over connections that died, then over none
		for name, call := range all {
			wantUnavailable(t, name, call(t.Context()))
		}
	}
	wantUnavailable(t, "migrate", store.Migrate(t.Context()))

	start()
	for name, call := range all {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s, after the database came back: %v", name, err)
		}
	}
}

// TestBrokenConnections cuts connections in the middle of their work.
func TestBrokenConnections(t *testing.T) {
	dsn := pgtest.New(t)
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	wire := newWire(t, filepath.Join(cfg.Host, ".s.PGSQL.5432"))
	store, err := postgres.Open(t.Context(), strings.Replace(dsn, dsnHost(t, dsn), wire.dir, 1), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	owner := broker.Owner{ID: broker.NewID(now), Email: "ada@example.com", CreatedAt: now}
	p := broker.Project{ID: broker.NewID(now), OwnerID: owner.ID, Name: "test", Kind: broker.KindRecon, CreatedAt: now}
	by := broker.Caller{Owner: owner, Key: broker.Key{ID: broker.NewID(now)}}
	if err := store.CreateOwner(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	if err := store.CreateProject(t.Context(), p, by); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(store, by, p.ID) {
		if err := call(t.Context()); err != nil { // connected, and the statement is known
			t.Fatalf("%s: %v", name, err)
		}
		for _, after := range []int{0, 1, 2, 3} { // messages of the client that still get through
			wire.cutAfter(after)
			err := call(t.Context())
			if !wire.mend() && err == nil {
				continue // it needed no more messages than that
			}
			if err != nil {
				wantUnavailable(t, name, err)
			}
		}
		if err := call(t.Context()); err != nil {
			t.Errorf("%s, mended: %v", name, err)
		}
	}

	// A caller who leaves is no fault of the database.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(store, by, p.ID) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: %v", name, err)
		}
	}
}

// dsnHost is the host as the DSN spells it.
func dsnHost(t *testing.T, dsn string) string {
	t.Helper()
	_, rest, ok := strings.Cut(dsn, "host=")
	if !ok {
		t.Fatalf("no host in the DSN %s", dsn)
	}
	host, _, _ := strings.Cut(rest, "&")
	return host
}

// wire stands between pgx and the server, and can be cut.
type wire struct {
	dir string

	mu    sync.Mutex
	left  int // messages to let through, negative: all
	cut   bool
	conns map[net.Conn]bool
}

func newWire(t *testing.T, server string) *wire {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "uploadbroker-wire-") // short: socket paths end at 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{dir: dir, left: -1, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); w.cutAfter(0) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("unix", server)
			if err != nil {
				c.Close()
				continue
			}
			w.mu.Lock()
			w.conns[c], w.conns[s] = true, true
			w.mu.Unlock()
			go func() { io.Copy(c, s); c.Close() }()
			go func() { w.carry(s, c); s.Close(); c.Close() }()
		}
	}()
	return w
}

// carry passes what the client sends, write by write.
func (w *wire) carry(server, client net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		stop := w.left == 0
		if w.left > 0 {
			w.left--
		}
		w.cut = w.cut || stop
		w.mu.Unlock()
		if stop {
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (w *wire) cutAfter(messages int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.cut = messages, false
}

// mend lets everything through again and tells whether anything was cut.
func (w *wire) mend() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = -1
	return w.cut
}
