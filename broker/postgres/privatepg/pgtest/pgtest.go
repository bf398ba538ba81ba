// Package pgtest gives tests a real Postgres: one private server per test
// process, started by the first test that asks, and a schema of its own for
// every test. It never skips: a machine without Postgres fails the tests and
// says what to install.
//
// A package that uses it calls Main from its TestMain:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// Side effects: a folder /tmp/uploadbroker-pgtest-*, removed by Main. Without
// Main, or after a kill, the server still ends with the process, and the next
// test process removes the folder.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

const folderPrefix = "/tmp/uploadbroker-pgtest-"

// shared is the process's one server: starting one per test would cost more
// than most tests.
var shared struct {
	start  sync.Once
	mu     sync.Mutex
	server *privatepg.Server
	folder string
	err    error
}

// Main runs the tests, stops the server if one was started, and exits.
func Main(m *testing.M) {
	code := m.Run()
	Stop()
	os.Exit(code)
}

// Stop ends the process's server and removes its folder, for a TestMain that
// has more to do than Main. Nothing may use the server afterwards.
func Stop() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := shared.server.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
	}
	_ = os.RemoveAll(shared.folder)
	shared.server = nil
}

// New makes an empty schema and returns a DSN for pgx that sees it alone: it is
// the whole search_path. The schema is dropped when the test ends; close pools
// before that (a t.Cleanup registered after New runs before New's).
func New(t testing.TB) string {
	t.Helper()
	base := server(t).DSN()
	schema := "test_" + strings.ToLower(rand.Text()[:16])
	execute(t, base, "create schema "+schema)
	t.Cleanup(func() { execute(t, base, "drop schema "+schema+" cascade") })

	u, err := url.Parse(base)
	if err != nil {
		t.Fatalf("pgtest: the server's DSN: %v", err)
	}
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

// execute uses a short connection of its own, so that idle tests hold none.
func execute(t testing.TB, dsn, sql string) {
	t.Helper()
	// A test's own context has ended by the time of its clean-up.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("pgtest: connect: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("pgtest: %s: %v", sql, err)
	}
}

func server(t testing.TB) *privatepg.Server {
	t.Helper()
	shared.start.Do(func() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		shared.server, shared.folder, shared.err = start()
	})
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.err != nil {
		t.Fatalf("pgtest: these tests need a Postgres server: %v", shared.err)
	}
	if shared.server == nil {
		t.Fatal("pgtest: New was called after Stop")
	}
	return shared.server
}

func start() (*privatepg.Server, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	sweep(ctx)
	// Right below /tmp, and not TMPDIR, which may be a place that the server's
	// user can't reach when root runs the tests.
	folder, err := os.MkdirTemp("/tmp", filepath.Base(folderPrefix))
	if err != nil {
		return nil, "", err
	}
	if err := os.Chmod(folder, 0o711); err != nil {
		return nil, "", err
	}
	s, err := privatepg.Start(ctx, privatepg.Options{
		DataDir: folder,
		Settings: map[string]string{
			// Nothing here outlives the process.
			"fsync":              "off",
			"full_page_writes":   "off",
			"synchronous_commit": "off",
			"max_connections":    "400", // parallel tests with a pool each
			"shared_buffers":     "64MB",
			"max_wal_size":       "256MB",
		},
	})
	if err != nil {
		_ = os.RemoveAll(folder)
		return nil, "", err
	}
	return s, folder, nil
}

// sweep removes the folders of test processes that were killed: those whose
// lock is free and whose server is gone.
func sweep(ctx context.Context) {
	folders, _ := filepath.Glob(folderPrefix + "*")
	for _, folder := range folders {
		// One without a lock file is about to be used by a process that starts.
		info, err := os.Stat(filepath.Join(folder, "lock"))
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		lock, err := privatepg.Lock(folder)
		if err != nil {
			continue
		}
		if _, running, err := privatepg.Attach(ctx, privatepg.Options{DataDir: folder}); err == nil && !running {
			_ = os.RemoveAll(folder)
		}
		lock.Release()
	}
}
