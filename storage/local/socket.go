package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The socket's folder holds two files. The lock is held while its process
// lives, which the kernel ends with the process however it dies.
const (
	socketDirPrefix = "uploadbroker-s3-"
	socketFile      = "s"
	lockFile        = "lock"

	// maxSocketPath is sun_path less its NUL on the strictest system that we
	// run on (104 bytes on macOS and the BSDs, 108 on Linux).
	maxSocketPath = 103

	// staleAfter protects folders whose lock is not taken yet.
	staleAfter = time.Minute
)

// socketDir is a fresh folder of mode 0700 for one gateway's socket.
type socketDir struct {
	dir  string
	lock *os.File
}

func (s *socketDir) path() string { return filepath.Join(s.dir, socketFile) }

func (s *socketDir) close() error {
	return errors.Join(os.RemoveAll(s.dir), s.lock.Close())
}

// newSocketDir makes the folder in the first place whose path is short enough,
// and clears away what killed processes left there.
func newSocketDir() (*socketDir, error) {
	var errs []error
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		parent, err := filepath.Abs(parent)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// MkdirTemp adds up to ten digits.
		if n := len(parent) + len("/"+socketDirPrefix+"0123456789/"+socketFile); n > maxSocketPath {
			errs = append(errs, fmt.Errorf("%s is too long for a unix socket", parent))
			continue
		}
		removeStale(parent, time.Now().Add(-staleAfter))
		dir, err := os.MkdirTemp(parent, socketDirPrefix)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		}
		if err != nil {
			os.RemoveAll(dir)
			errs = append(errs, err)
			continue
		}
		return &socketDir{dir: dir, lock: lock}, nil
	}
	return nil, fmt.Errorf("local: no folder for the socket: %w", errors.Join(errs...))
}

// removeStale removes folders of ours whose process is dead: ours by name, mode,
// owner and content; dead by a lock that nobody holds.
func removeStale(parent string, before time.Time) {
	dirs, err := filepath.Glob(filepath.Join(globEscape(parent), socketDirPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 || info.ModTime().After(before) {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
			continue
		}
		if !onlyOurs(dir) {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			// One by one, never RemoveAll: a mistake here must stay small.
			_ = os.Remove(filepath.Join(dir, socketFile))
			_ = os.Remove(filepath.Join(dir, lockFile))
			_ = os.Remove(dir)
		}
		lock.Close()
	}
}

func onlyOurs(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return false
	}
	for _, e := range entries {
		if e.Name() != socketFile && e.Name() != lockFile {
			return false
		}
	}
	return true
}

func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}
