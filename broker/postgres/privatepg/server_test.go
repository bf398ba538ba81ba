package privatepg_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

func TestStartStopStart(t *testing.T) {
	dir := filepath.Join(openFolder(t), "data")
	opts := options(dir)
	opts.Settings = nil // the program's own
	s := mustStart(t, opts)
	run(t, s.DSN(), `create table kept as select 42 as answer`)
	for setting, want := range map[string]string{
		"server_encoding": "UTF8", "listen_addresses": "", "fsync": "on", "synchronous_commit": "on",
		"full_page_writes": "on", "data_checksums": "on", "jit": "off",
	} {
		if got := query[string](t, s.DSN(), `select current_setting($1)`, setting); got != want {
			t.Errorf("%s is %q, not %q", setting, got, want)
		}
	}
	select {
	case <-s.Done():
		t.Fatal("Done is closed while the server runs")
	default:
	}
	mustStop(t, s)
	mustStop(t, s) // again: the same
	<-s.Done()
	if err := s.Err(); err != nil {
		t.Errorf("an end that was asked for is no error: %v", err)
	}

	again := mustStart(t, options(dir))
	if got := query[int](t, again.DSN(), `select answer from kept`); got != 42 {
		t.Errorf("kept %d", got)
	}
	socketDir := query[string](t, again.DSN(), `select current_setting('unix_socket_directories')`)
	info, err := os.Stat(socketDir)
	mustNot(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's folder has mode %o", info.Mode().Perm())
	}
	mustStop(t, again)
	if _, err := os.Stat(socketDir); !os.IsNotExist(err) {
		t.Errorf("the socket's folder is left behind: %v", err)
	}
}

func TestFolderNames(t *testing.T) {
	for name, dir := range map[string]string{
		"deep":   strings.Repeat("a-long-folder-name-of-forty-characters--/", 12) + "data",
		"quotes": `it's "quoted", $HOME \ and; %s -D`,
		"words":  "Фото 写真 café",
	} {
		t.Run(name, func(t *testing.T) {
			dir = filepath.Join(openFolder(t), dir)
			s := mustStart(t, options(dir))
			if got := query[string](t, s.DSN(), `select current_setting('data_directory')`); got != filepath.Join(dir, "pg") {
				t.Errorf("the data are in %s", got)
			}
			dsn, running, err := privatepg.Attach(testContext(t), options(dir))
			if err != nil || !running || dsn != s.DSN() {
				t.Errorf("Attach: %q, %v, %v", dsn, running, err)
			}
		})
	}
	t.Run("line break", func(t *testing.T) {
		refused(t, options(filepath.Join(openFolder(t), "a\nb")), "line break")
	})
	t.Run("too long", func(t *testing.T) {
		refused(t, options(filepath.Join(openFolder(t), strings.Repeat("0123456789/", 90))), "shorter data folder")
	})
}

func TestAttach(t *testing.T) {
	dir := filepath.Join(openFolder(t), "data")
	attach := func(want bool) string {
		t.Helper()
		dsn, running, err := privatepg.Attach(testContext(t), options(dir))
		if err != nil || running != want {
			t.Fatalf("running %v, %v", running, err)
		}
		return dsn
	}
	attach(false)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Fatal("Attach made the folder")
	}
	mustNot(t, os.Mkdir(dir, 0o755))
	attach(false)

	c := startChild(t, dir, nil)
	if dsn := attach(true); dsn != c.DSN {
		t.Errorf("%s is not %s", dsn, c.DSN)
	}
	t.Setenv("XDG_RUNTIME_DIR", openFolder(t)) // another session than the server's
	if got := query[int](t, attach(true), `select 1`); got != 1 {
		t.Error(got)
	}
	c.quit()
	attach(false)
}

func TestEnvironmentIsIgnored(t *testing.T) {
	for name, value := range map[string]string{
		"PGHOST": "db.invalid", "PGPORT": "1", "PGUSER": "somebody", "PGDATABASE": "other", "PGSSLMODE": "verify-full",
		"PGDATA": "/nowhere", "PGTARGETSESSIONATTRS": "standby", "LC_ALL": "xx_XX",
	} {
		t.Setenv(name, value)
	}
	s := mustStart(t, options(openFolder(t)))
	if got := query[string](t, s.DSN(), `select current_database()`); got != "uploadbroker" {
		t.Error(got)
	}
}

func TestServerEndsByItself(t *testing.T) {
	dir := openFolder(t)
	s := mustStart(t, options(dir))
	pid, _ := whoServes(s.DSN())
	mustNot(t, syscall.Kill(pid, syscall.SIGKILL))
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("nobody noticed")
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("Err: %v", err)
	}
	mustStop(t, s)
	// Recovery, past the socket's stale lock and processes that linger.
	mustStart(t, options(dir))
}

// A session that does not notice at once that its server was killed keeps the
// next one waiting, and does not make it fail.
func TestProcessesOfKilledServer(t *testing.T) {
	dir := openFolder(t)
	s := mustStart(t, options(dir))
	ctx := testContext(t)
	conn, err := pgx.Connect(ctx, s.DSN())
	mustNot(t, err)
	defer conn.Close(ctx)
	session := int(conn.PgConn().PID())
	mustNot(t, syscall.Kill(session, syscall.SIGSTOP))
	server, _ := whoServes(s.DSN())
	mustNot(t, syscall.Kill(server, syscall.SIGKILL))
	mustStop(t, s)

	started := make(chan error, 1)
	go func() {
		s, err := privatepg.Start(ctx, options(dir))
		if err == nil {
			err = s.Stop(ctx)
		}
		started <- err
	}()
	var early error
	select {
	case early = <-started:
		started <- early
	case <-time.After(700 * time.Millisecond):
	}
	mustNot(t, syscall.Kill(session, syscall.SIGCONT))
	mustNot(t, <-started)
}

func TestStopWhenTimeIsUp(t *testing.T) {
	dir := openFolder(t)
	s := mustStart(t, options(dir))
	run(t, s.DSN(), `create table kept as select 42 as answer`)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	mustNot(t, s.Stop(ctx))
	s = mustStart(t, options(dir))
	if got := query[int](t, s.DSN(), `select answer from kept`); got != 42 {
		t.Errorf("kept %d", got)
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	dir := openFolder(t)
	if s, err := privatepg.Start(ctx, options(dir)); err == nil {
		mustStop(t, s)
		t.Fatal("a new database in 50 ms?")
	}
	mustStart(t, options(dir)) // nothing is in the way
}
