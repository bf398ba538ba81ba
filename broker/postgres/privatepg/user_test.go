package privatepg_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Lstat(path)
	mustNot(t, err)
	return info.Sys().(*syscall.Stat_t).Uid
}

func TestOrdinaryUser(t *testing.T) {
	nobody := needRoot(t)
	dir := filepath.Join(openFolder(t), "data")
	mustNot(t, os.Mkdir(dir, 0o700))
	mustNot(t, os.Chown(dir, int(nobody.Uid), int(nobody.Gid)))
	runtime := openFolder(t)
	mustNot(t, os.Chown(runtime, int(nobody.Uid), int(nobody.Gid)))
	t.Setenv("XDG_RUNTIME_DIR", runtime)

	c := startChild(t, dir, nobody)
	if c.Err != "" {
		t.Fatal(c.Err)
	}
	if c.Folder != filepath.Join(dir, "pg") || owner(t, c.Folder) != nobody.Uid {
		t.Errorf("the data are in %s", c.Folder)
	}
	// root's commands beside it, then root in its stead: as the folder's owner.
	if dsn, running, err := privatepg.Attach(testContext(t), options(dir)); err != nil || !running || !strings.Contains(dsn, filepath.Base(runtime)) {
		t.Errorf("Attach: %q, %v, %v", dsn, running, err)
	}
	run(t, c.DSN, `create table kept as select 42 as answer`)
	c.kill()
	waitGone(t, c.Server)
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	s := mustStart(t, options(dir))
	pid, _ := whoServes(s.DSN())
	if uid := owner(t, "/proc/"+strconv.Itoa(pid)); uid != nobody.Uid {
		t.Errorf("the server runs as %d", uid)
	}
	if got := query[int](t, s.DSN(), `select answer from kept`); got != 42 {
		t.Errorf("kept %d", got)
	}
}

func TestOrdinaryUserMeetsOthersData(t *testing.T) {
	nobody := needRoot(t)
	dir := openFolder(t)
	mustNot(t, os.Chmod(dir, 0o777))
	mustStop(t, mustStart(t, options(dir)))
	if owner(t, filepath.Join(dir, "pg")) == nobody.Uid {
		t.Skip("this machine has no user postgres")
	}
	mustNot(t, os.Remove(filepath.Join(dir, "lock")))
	c := startChild(t, dir, nobody)
	if !strings.Contains(c.Err, "belongs to the user") {
		t.Errorf("%+v", c.report)
	}
}

func TestRootStepsDown(t *testing.T) {
	needRoot(t)
	s := mustStart(t, options(openFolder(t)))
	pid, folder := whoServes(s.DSN())
	uid := owner(t, "/proc/"+strconv.Itoa(pid))
	if uid == 0 || owner(t, folder) != uid {
		t.Errorf("runs as %d in a folder of %d", uid, owner(t, folder))
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	mustNot(t, err)
	for line := range strings.Lines(string(status)) {
		if groups, ok := strings.CutPrefix(line, "Groups:"); ok && strings.TrimSpace(groups) != "" {
			t.Errorf("the server keeps root's groups: %s", groups)
		}
	}
}

func TestUnreachableFolderFallsBack(t *testing.T) {
	needRoot(t)
	private := t.TempDir() // below TMPDIR, made private here whatever it was
	mustNot(t, os.Chmod(private, 0o700))
	dir := filepath.Join(private, "data")
	fallback := filepath.Join(openFolder(t), "var", "lib")
	opts := options(dir)
	opts.Fallback = fallback

	old := syscall.Umask(0o077) // as on a hardened machine
	s := mustStart(t, opts)
	syscall.Umask(old)
	_, folder := whoServes(s.DSN())
	if filepath.Dir(folder) != fallback {
		t.Fatalf("the data are in %s", folder)
	}
	run(t, s.DSN(), `create table kept as select 42 as answer`)
	if dsn, running, err := privatepg.Attach(testContext(t), opts); err != nil || !running || dsn != s.DSN() {
		t.Errorf("Attach: %q, %v, %v", dsn, running, err)
	}

	// A copy of the folder, note and all, must not get at the same files.
	twin := filepath.Join(private, "twin")
	mustNot(t, os.Mkdir(twin, 0o700))
	note, err := os.ReadFile(filepath.Join(dir, "pg-location"))
	mustNot(t, err)
	mustNot(t, os.WriteFile(filepath.Join(twin, "pg-location"), note, 0o600))
	twinOpts := opts
	twinOpts.DataDir = twin
	refused(t, twinOpts, "another uploadbroker", folder)
	mustStop(t, s)

	// Once chosen, the place stays.
	mustNot(t, os.Chmod(private, 0o755))
	s = mustStart(t, opts)
	if got := query[int](t, s.DSN(), `select answer from kept`); got != 42 {
		t.Errorf("kept %d", got)
	}
	mustStop(t, s)

	// A folder made anew gets a database made anew, and the old one stays.
	mustNot(t, os.Chmod(private, 0o700))
	mustNot(t, os.RemoveAll(dir))
	s = mustStart(t, opts)
	if query[bool](t, s.DSN(), `select to_regclass('kept') is not null`) {
		t.Error("the new folder woke the old database")
	}
	_, second := whoServes(s.DSN())
	mustStop(t, s)
	if _, err := os.Stat(filepath.Join(folder, "PG_VERSION")); err != nil || second == folder {
		t.Errorf("the old database: %v", err)
	}

	// A database that was lost is not replaced by an empty one in silence.
	mustNot(t, os.RemoveAll(second))
	refused(t, opts, "it is gone", "pg-location")
}

func TestFolderThatBecameUnreachable(t *testing.T) {
	needRoot(t)
	outer := openFolder(t)
	opts := options(filepath.Join(outer, "data"))
	mustStop(t, mustStart(t, opts))
	mustNot(t, os.Chmod(outer, 0o700))
	refused(t, opts, "can't reach its folder", "chmod o+x")
}

func TestSocketFolderAttacks(t *testing.T) {
	dir := openFolder(t)
	sum := sha256.Sum256([]byte(dir))
	socketDir := "/tmp/uploadbroker-" + hex.EncodeToString(sum[:6])
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Cleanup(func() { os.Remove(socketDir) })

	target := openFolder(t)
	mustNot(t, os.Symlink(target, socketDir))
	before := owner(t, target)
	refused(t, options(dir), socketDir, "not a folder")
	if owner(t, target) != before {
		t.Error("the link's target was given away")
	}
	mustNot(t, os.Remove(socketDir))

	mustNot(t, os.Mkdir(socketDir, 0o700))
	mustNot(t, os.Chmod(socketDir, 0o777))
	refused(t, options(dir), "open to other users")
	mustNot(t, os.Chmod(socketDir, 0o700))
	mustStop(t, mustStart(t, options(dir))) // one of our own is taken

	if os.Geteuid() == 0 {
		mustNot(t, os.Mkdir(socketDir, 0o700))
		mustNot(t, os.Chown(socketDir, 12345, 12345))
		refused(t, options(dir), "folder of the user 12345")
	}
}

// Ctrl-C in a terminal reaches the process group in front.
func TestOwnProcessGroup(t *testing.T) {
	s := mustStart(t, options(openFolder(t)))
	pid, _ := whoServes(s.DSN())
	group, err := syscall.Getpgid(pid)
	mustNot(t, err)
	if group == syscall.Getpgrp() {
		t.Error("the server is in the program's process group")
	}
}

// startStranger runs a process that is no Postgres, as the owner of the file:
// Postgres takes a pid of another user for a dead one.
func startStranger(t *testing.T, like os.FileInfo) *os.Process {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if os.Geteuid() == 0 {
		st := like.Sys().(*syscall.Stat_t)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: st.Uid, Gid: st.Gid}}
	}
	mustNot(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process
}

func signalZero(p *os.Process) error { return p.Signal(syscall.Signal(0)) }

func chownLike(t *testing.T, path string, info os.FileInfo) {
	t.Helper()
	st := info.Sys().(*syscall.Stat_t)
	mustNot(t, os.Chown(path, int(st.Uid), int(st.Gid)))
}

func chownToNobody(t *testing.T, path string) {
	t.Helper()
	nobody := needRoot(t)
	mustNot(t, os.Chown(path, int(nobody.Uid), int(nobody.Gid)))
}

// startQuietly is startChild without waiting for its report.
func startQuietly(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	mustNot(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "PRIVATEPG_TEST_SERVE="+dir)
	stdin, err := cmd.StdinPipe()
	mustNot(t, err)
	t.Cleanup(func() { stdin.Close() })
	mustNot(t, cmd.Start())
	return cmd
}
