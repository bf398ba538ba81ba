package privatepg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// FolderLock is the right to be the one process that serves from a data folder.
type FolderLock struct {
	once sync.Once
	file *os.File
}

// Lock takes the lock of a data folder, which it makes when missing, or says
// which process holds it. The kernel gives it back when the process ends,
// however it ends. The file stays: removing it would let two processes hold
// locks on two files of one name.
func Lock(dataDir string) (*FolderLock, error) {
	data, err := makeDataFolder(dataDir)
	if err != nil {
		return nil, err
	}
	return lockFile(filepath.Join(data, "lock"), data)
}

func lockFile(path, folder string) (*FolderLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		holder := ""
		if b, err := io.ReadAll(io.LimitReader(f, 32)); err == nil && len(b) > 0 {
			holder = " (pid " + strings.TrimSpace(string(b)) + ")"
		}
		return nil, fmt.Errorf("another uploadbroker%s is using the data folder %s: stop it first, or give this one another folder with --data-dir", holder, folder)
	}
	// The pid only serves the message above, so a full disk is no reason to fail.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return &FolderLock{file: f}, nil
}

// Release gives the lock back. Calling it again does nothing.
func (l *FolderLock) Release() {
	l.once.Do(func() {
		_ = l.file.Truncate(0)
		_ = l.file.Close()
	})
}
