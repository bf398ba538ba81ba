package privatepg_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

// The test binary is also the program under test: some tests need a process to
// kill, or one of another user.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PRIVATEPG_TEST_SERVE"); dir != "" {
		serve(dir)
		return
	}
	os.Exit(m.Run())
}

type report struct {
	DSN    string
	Server int
	Folder string
	Err    string
}

// serve starts a server, reports one line, and lives until its stdin ends.
func serve(dir string) {
	var r report
	s, err := privatepg.Start(context.Background(), options(dir))
	if err != nil {
		r.Err = err.Error()
	} else {
		r.DSN = s.DSN()
		r.Server, r.Folder = whoServes(r.DSN)
	}
	line, _ := json.Marshal(r)
	fmt.Println(string(line))
	_, _ = io.Copy(io.Discard, os.Stdin)
	if s != nil {
		_ = s.Stop(context.Background())
	}
}

// whoServes asks the server itself.
func whoServes(dsn string) (pid int, folder string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err.Error()
	}
	defer conn.Close(ctx)
	var first string
	err = conn.QueryRow(ctx, `select split_part(pg_read_file('postmaster.pid'), e'\n', 1), current_setting('data_directory')`).Scan(&first, &folder)
	if err != nil {
		return 0, err.Error()
	}
	pid, _ = strconv.Atoi(first)
	return pid, folder
}

type child struct {
	report
	cmd   *exec.Cmd
	stdin io.Closer
}

// startChild runs serve in a process of its own, as the given user when there
// is one.
func startChild(t *testing.T, dir string, as *syscall.Credential) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if as != nil {
		self = copyProgram(t, self)
	}
	cmd := exec.Command(self)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PRIVATEPG_TEST_SERVE="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, stdin: stdin}
	t.Cleanup(c.quit)
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the child said nothing: %v", err)
	}
	if err := json.Unmarshal(line, &c.report); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *child) quit() {
	_ = c.stdin.Close()
	_ = c.cmd.Wait()
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// copyProgram puts the test binary where every user can run it: go test builds
// it in a folder of the tester's own.
func copyProgram(t *testing.T, self string) string {
	t.Helper()
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path := filepath.Join(openFolder(t), "program")
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// openFolder is a t.TempDir that every user may enter, with a short name.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "privatepg-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// options spare the disk; only a crash of the whole machine would tell.
func options(dir string) privatepg.Options {
	return privatepg.Options{
		DataDir:  dir,
		Fallback: os.Getenv("PRIVATEPG_TEST_FALLBACK"),
		Settings: map[string]string{"shared_buffers": "16MB", "fsync": "off"},
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func mustStart(t *testing.T, opts privatepg.Options) *privatepg.Server {
	t.Helper()
	s, err := privatepg.Start(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(testContext(t)); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustStop(t *testing.T, s *privatepg.Server) {
	t.Helper()
	if err := s.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

func query[T any](t *testing.T, dsn, sql string, args ...any) (v T) {
	t.Helper()
	ctx := testContext(t)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func run(t *testing.T, dsn, sql string) {
	t.Helper()
	ctx := testContext(t)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// refused wants Start to fail with all of the words in its message.
func refused(t *testing.T, opts privatepg.Options, words ...string) {
	t.Helper()
	s, err := privatepg.Start(testContext(t), opts)
	if err == nil {
		mustStop(t, s)
		t.Fatal("it started")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the message lacks %q: %v", word, err)
		}
	}
}

func mustNot(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		// A zombie, which only its new parent can reap, is gone too.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if _, kind, _ := strings.Cut(string(stat), ") "); syscall.Kill(pid, 0) != nil || err == nil && strings.HasPrefix(kind, "Z") {
			return
		}
	}
	t.Fatalf("the server, pid %d, is still there", pid)
}

func needRoot(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	u, err := user.Lookup("nobody")
	mustNot(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	mustNot(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	mustNot(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
