package privatepg

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// isPostmaster tells whether the process is a Postgres server on the folder pg.
// known is false when the system does not let us see.
func isPostmaster(pid int, pg string) (yes, known bool) {
	proc := "/proc/" + strconv.Itoa(pid)
	raw, err := os.ReadFile(proc + "/cmdline")
	if err != nil {
		return false, errors.Is(err, fs.ErrNotExist)
	}
	// Empty: a zombie or a thread of the kernel.
	args := strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
	if base := filepath.Base(args[0]); base != "postgres" && base != "postmaster" {
		return false, true
	}
	for i, arg := range args {
		if arg == "-D" && i+1 < len(args) && args[i+1] == pg || arg == "-D"+pg {
			return true, true
		}
	}
	// Started by hand, with a relative path or with PGDATA. A server's current
	// folder is its data; seeing it may take more rights than root has in a
	// container.
	cwd, err := os.Readlink(proc + "/cwd")
	return err == nil && cwd == pg, err == nil
}

// inUse tells whether processes still hold the shared memory of a server: those
// of a killed one that have not noticed yet that it is gone. They may still
// write, so no new server may start beside them; Postgres would refuse to.
// The list of segments is open to all, unlike other processes' folders.
func inUse(memory string) bool {
	key, id, ok := strings.Cut(memory, " ")
	if !ok {
		return false
	}
	raw, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(raw)) {
		// key, shmid, perms, size, cpid, lpid, nattch, …; key as a signed number
		f := strings.Fields(line)
		if len(f) > 6 && f[1] == strings.TrimSpace(id) && sameKey(f[0], key) {
			return f[6] != "0"
		}
	}
	return false
}

// sameKey compares 32-bit numbers that one side prints signed.
func sameKey(a, b string) bool {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	return errX == nil && errY == nil && uint32(x) == uint32(y)
}
