package privatepg_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

func TestTwiceAtOnce(t *testing.T) {
	dir := openFolder(t)
	c := startChild(t, dir, nil)
	if c.Err != "" {
		t.Fatal(c.Err)
	}
	refused(t, options(dir), "another uploadbroker", fmt.Sprintf("pid %d", c.cmd.Process.Pid), dir)
	// By another name it is the same folder.
	link := filepath.Join(openFolder(t), "link")
	mustNot(t, os.Symlink(dir, link))
	refused(t, options(link), "another uploadbroker")
	if got := query[int](t, c.DSN, `select 1`); got != 1 {
		t.Error("the first one suffered")
	}
}

func TestLock(t *testing.T) {
	dir := filepath.Join(openFolder(t), "data")
	lock, err := privatepg.Lock(dir)
	mustNot(t, err)
	if _, err := privatepg.Lock(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("locked twice: %v", err)
	}
	refused(t, options(dir), "another uploadbroker")
	opts := options(dir)
	opts.Lock = lock
	mustStop(t, mustStart(t, opts))
	if _, err := privatepg.Lock(dir); err == nil {
		t.Error("Stop gave back a lock that is not its own")
	}
	lock.Release()
	lock.Release()
	lock, err = privatepg.Lock(dir)
	mustNot(t, err)
	lock.Release()
}

func TestParentKilled(t *testing.T) {
	dir := openFolder(t)
	c := startChild(t, dir, nil)
	if c.Err != "" || c.Server == 0 {
		t.Fatalf("%+v", c.report)
	}
	run(t, c.DSN, `create table kept as select 42 as answer`)
	c.kill()
	// At once, while the old server may still be going down.
	s := mustStart(t, options(dir))
	if got := query[int](t, s.DSN(), `select answer from kept`); got != 42 {
		t.Errorf("kept %d", got)
	}
	waitGone(t, c.Server)
	mustStop(t, s)

	// And with nobody who looks after it.
	c = startChild(t, dir, nil)
	c.kill()
	waitGone(t, c.Server)
	if _, err := os.Stat(filepath.Join(dir, "pg", "postmaster.pid")); !os.IsNotExist(err) {
		t.Errorf("it did not end in order: %v", err)
	}
	mustStop(t, mustStart(t, options(dir))) // takes the socket's folder along
}

// TestServerLeftBehind is the case of systems without a death signal, and of a
// server that somebody started by hand.
func TestServerLeftBehind(t *testing.T) {
	dir := openFolder(t)
	c := startChild(t, dir, nil)
	run(t, c.DSN, `create table kept as select 42 as answer`)
	// The file goes away under its holder, so that a second lock can be had.
	mustNot(t, os.Remove(filepath.Join(dir, "lock")))
	s := mustStart(t, options(dir))
	waitGone(t, c.Server)
	if got := query[int](t, s.DSN(), `select answer from kept`); got != 42 {
		t.Errorf("kept %d", got)
	}
}

// A pid file may name a process that has nothing to do with Postgres.
func TestRecycledPid(t *testing.T) {
	dir := openFolder(t)
	s := mustStart(t, options(dir))
	file := filepath.Join(dir, "pg", "postmaster.pid")
	raw, err := os.ReadFile(file)
	mustNot(t, err)
	info, err := os.Stat(file)
	mustNot(t, err)
	mustStop(t, s)

	stranger := startStranger(t, info)
	_, rest, _ := strings.Cut(string(raw), "\n")
	mustNot(t, os.WriteFile(file, []byte(fmt.Sprintf("%d\n%s", stranger.Pid, rest)), 0o600))
	chownLike(t, file, info)
	if _, running, err := privatepg.Attach(testContext(t), options(dir)); err != nil || running {
		t.Errorf("Attach took a stranger for a server: %v, %v", running, err)
	}
	mustStart(t, options(dir))
	if err := signalZero(stranger); err != nil {
		t.Errorf("the stranger was harmed: %v", err)
	}
}

func TestOtherMajor(t *testing.T) {
	dir := openFolder(t)
	mustStop(t, mustStart(t, options(dir)))
	version := filepath.Join(dir, "pg", "PG_VERSION")
	for _, major := range []string{"9.6", "99"} {
		mustNot(t, os.WriteFile(version, []byte(major+"\n"), 0o600))
		before := listing(t, dir)
		refused(t, options(dir), "PostgreSQL "+major, "this machine has", "postgresql-"+major, "Nothing was changed")
		if after := listing(t, dir); after != before {
			t.Errorf("the folder was touched:\n%s\n%s", before, after)
		}
	}
}

func TestNoBinaries(t *testing.T) {
	opts := options(openFolder(t))
	opts.Binaries = filepath.Join(opts.DataDir, "nothing")
	refused(t, opts, "configured Postgres binaries", opts.Binaries)
}

func TestHalfDoneInit(t *testing.T) {
	dir := openFolder(t)
	half := filepath.Join(dir, "pg.new", "base")
	mustNot(t, os.MkdirAll(half, 0o700))
	mustNot(t, os.WriteFile(filepath.Join(dir, "pg.new", "PG_VERSION"), []byte("15\n"), 0o600))
	mustStart(t, options(dir))
	if _, err := os.Stat(filepath.Join(dir, "pg.new")); !os.IsNotExist(err) {
		t.Errorf("the half-done one is still there: %v", err)
	}
}

func TestInitKilled(t *testing.T) {
	dir := openFolder(t)
	cmd := startQuietly(t, dir)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if found, err := filepath.Glob(filepath.Join(dir, "pg.new*", "base")); err == nil && len(found) > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("initdb never began")
		}
	}
	mustNot(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if _, err := os.Stat(filepath.Join(dir, "pg")); !os.IsNotExist(err) {
		t.Fatalf("it was faster than the kill: %v", err)
	}
	s := mustStart(t, options(dir))
	if got := query[int](t, s.DSN(), `select 1`); got != 1 {
		t.Error(got)
	}
}

func TestForeignFolder(t *testing.T) {
	dir := openFolder(t)
	mustNot(t, os.Mkdir(filepath.Join(dir, "pg"), 0o755))
	mustNot(t, os.WriteFile(filepath.Join(dir, "pg", "thesis.txt"), []byte("years of work"), 0o600))
	before := listing(t, dir)
	if os.Geteuid() == 0 {
		refused(t, options(dir), "belongs to root")
		chownToNobody(t, filepath.Join(dir, "pg"))
	}
	refused(t, options(dir), "no PG_VERSION", "nothing was changed")
	if after := listing(t, dir); after != before {
		t.Errorf("the folder was touched:\n%s\n%s", before, after)
	}
}

func TestEmptyFolderIsNew(t *testing.T) {
	dir := openFolder(t)
	mustNot(t, os.Mkdir(filepath.Join(dir, "pg"), 0o755))
	mustStart(t, options(dir))
}

func TestUnwritableFolder(t *testing.T) {
	file := filepath.Join(openFolder(t), "file")
	mustNot(t, os.WriteFile(file, nil, 0o600))
	refused(t, options(filepath.Join(file, "data")), "make the data folder", "not a directory")
}

func TestInitFailureSaysWhy(t *testing.T) {
	opts := options(openFolder(t))
	opts.Binaries = filepath.Join(opts.DataDir, "bin")
	mustNot(t, os.Mkdir(opts.Binaries, 0o755))
	program := func(name, script string) {
		mustNot(t, os.WriteFile(filepath.Join(opts.Binaries, name), []byte("#!/bin/sh\n"+script), 0o755))
	}
	program("postgres", "echo 'postgres (PostgreSQL) 17.2'")
	program("initdb", "echo 'could not write: No space left on device' >&2; exit 1")
	refused(t, opts, "the disk that holds "+opts.DataDir+" is full", "free some space", "make a private Postgres database", "No space left on device")
	if left, _ := filepath.Glob(filepath.Join(opts.DataDir, "pg*")); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
	program("initdb", "echo 'the moon is full' >&2; exit 1")
	refusedWithout(t, opts, "the disk that holds", "make a private Postgres database", "the moon is full")
	program("initdb", "mkdir -p \"$2\"; echo 17 >\"$2/PG_VERSION\"")
	program("postgres", `[ "$1" = --version ] && echo 'postgres (PostgreSQL) 17.2' || { echo 'FATAL:  the moon is full' >&2; exit 1; }`)
	refused(t, opts, "ended by itself", "the moon is full")

	// Which of its words tell why a server ended.
	says := func(lines ...string) {
		program("postgres", `[ "$1" = --version ] && echo 'postgres (PostgreSQL) 17.2' || { cat >&2 <<'.'`+"\n"+strings.Join(lines, "\n")+"\n.\nexit 1; }")
	}
	const full = "could not write to file \"pg_wal/xlogtemp.7\": No space left on device"
	chatter := slices.Repeat([]string{"FATAL:  the database system is starting up"}, 40)
	says(append([]string{"PANIC:  " + full}, chatter...)...)
	refused(t, opts, "is full", "free some space", "start uploadbroker again")
	says("PANIC:  "+full, "LOG:  database system is ready to accept connections", "FATAL:  the moon is full")
	refusedWithout(t, opts, "the disk that holds", "the moon is full")
	says("ERROR:  "+full, "FATAL:  the moon is full")
	refusedWithout(t, opts, "the disk that holds", "the moon is full")
	says("FATAL:  could not resize shared memory segment \"/PostgreSQL.1\": No space left on device")
	refusedWithout(t, opts, "the disk that holds", "shared memory")
}

// refusedWithout is refused, with a message in which these words are not.
func refusedWithout(t *testing.T, opts privatepg.Options, without string, words ...string) {
	t.Helper()
	s, err := privatepg.Start(testContext(t), opts)
	if err == nil {
		mustStop(t, s)
		t.Fatal("it started")
	}
	if strings.Contains(err.Error(), without) {
		t.Errorf("the message has %q: %v", without, err)
	}
	refused(t, opts, words...)
}

func TestStartFailureSaysWhy(t *testing.T) {
	opts := options(openFolder(t))
	opts.Settings = map[string]string{"max_connections": "many"}
	refused(t, opts, "max_connections")
	mustStart(t, options(opts.DataDir))
}

// listing tells the whole of a folder: names, sizes and times, but not of the
// lock, which every Start writes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && path != dir && info.Name() != "lock" {
			fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	mustNot(t, err)
	return b.String()
}
