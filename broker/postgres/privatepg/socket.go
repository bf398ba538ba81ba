package privatepg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// longestSocket is the longest path of a Unix socket that every system takes:
// Linux has room for 107 bytes, macOS and the BSDs for 103.
const longestSocket = 103

const socketFile = ".s.PGSQL." + port

// makeSocketDir makes the folder of the server's socket, or makes sure that
// the one there is a folder of the server's user which nobody else can enter.
func makeSocketDir(data string, a account) (string, error) {
	dir := socketDirFor(data, os.Getenv("XDG_RUNTIME_DIR"), a)
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make the folder of the database's socket: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("look at the folder of the database's socket: %w", err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.IsDir():
		return "", fmt.Errorf("%s, where the database's socket belongs, is not a folder: somebody put it there; look at it and remove it", dir)
	case owner != a.uid && owner != uint32(os.Geteuid()):
		return "", fmt.Errorf("%s, where the database's socket belongs, is a folder of the user %s: look at it and remove it", dir, userName(owner))
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s, where the database's socket belongs, is open to other users (mode %04o): look at it and remove it", dir, info.Mode().Perm())
	}
	if owner != a.uid {
		if err := os.Lchown(dir, int(a.uid), int(a.gid)); err != nil {
			return "", fmt.Errorf("give the socket's folder to the user %s: %w", a.name, err)
		}
	}
	// What a killed server left. Its pid file was settled, so nobody listens;
	// a lock with a pid that lives again would keep the new server from starting.
	for _, name := range []string{socketFile, socketFile + ".lock"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("remove a dead server's socket: %w", err)
		}
	}
	return dir, nil
}

// socketDirFor names the folder. The user's own runtime folder is the better
// one, where there is one that the server's user can enter and whose name
// Postgres can take: a comma or a quote would be read as a list.
func socketDirFor(data, runtimeDir string, a account) string {
	name := "uploadbroker-" + shortHash(data)
	plain := regexp.MustCompile(`^/[A-Za-z0-9/._-]+$`)
	if runtimeDir != "" && !a.switched && plain.MatchString(runtimeDir) {
		dir := filepath.Join(runtimeDir, name)
		info, err := os.Stat(runtimeDir)
		if err == nil && info.IsDir() && info.Sys().(*syscall.Stat_t).Uid == a.uid &&
			len(filepath.Join(dir, socketFile)) <= longestSocket {
			return dir
		}
	}
	return filepath.Join("/tmp", name)
}
