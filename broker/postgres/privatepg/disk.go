package privatepg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	mib = 1 << 20
	// newDatabaseBytes is what a first start takes, with room to begin working.
	newDatabaseBytes = 128 * mib
	// nearlyFullBytes is less than a server can work with.
	nearlyFullBytes = mib
	// On a small disk the local bucket's reserve for the database is small too
	// (5 %, 256 MiB at most), and the write-ahead log must find room in it: it
	// grows by whole segments, and a server that can't have its next one gives up.
	smallDiskBytes    = 20 * 256 * mib
	smallSegmentDisk  = 20 * 64 * mib
	smallSegmentMiB   = 1
	postgresSegmentMB = 16
)

// space is what the disk of a folder has, in bytes, for users other than root.
func space(dir string) (free, total int64, err error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return 0, 0, err
	}
	block := int64(disk.Bsize)
	return int64(disk.Bavail) * block, int64(disk.Blocks) * block, nil
}

// checkSpace refuses to begin a database where it could not be finished.
func checkSpace(pg string) error {
	dir := filepath.Dir(pg)
	free, _, err := space(dir)
	if err != nil || free >= newDatabaseBytes {
		return nil // a disk that can't be asked is tried
	}
	return fmt.Errorf("the disk that holds %s is full: %s are free, and a new database needs %s. "+
		"Free some space on it, or choose a data folder on another disk (--data-dir). Nothing was changed",
		dir, megabytes(free), megabytes(newDatabaseBytes))
}

// fullError puts the cause of a failure before it, and what to do.
type fullError struct {
	dir  string
	free int64 // bytes; negative: unknown
	err  error
}

// fullDisk makes a fullError, at once, before anything is cleared away. Of the
// folders, the one whose disk has the least room is named.
func fullDisk(err error, dirs ...string) error {
	full := &fullError{dir: dirs[0], free: -1, err: err}
	for _, dir := range dirs {
		if free, _, err := space(dir); err == nil && (full.free < 0 || free < full.free) {
			full.dir, full.free = dir, free
		}
	}
	return full
}

func (e *fullError) Unwrap() error { return e.err }

func (e *fullError) Error() string {
	room := ""
	if e.free >= 0 {
		room = " (" + megabytes(e.free) + " are free)" // not always none: a piece of the log is 16 MiB, and there are quotas
	}
	return fmt.Sprintf("the disk that holds %s is full%s: free some space on it, then start uploadbroker again. "+
		"What was acknowledged is kept. The cause: %v", e.dir, room, e.err)
}

func megabytes(bytes int64) string { return strconv.FormatInt(bytes/mib, 10) + " MiB" }

// isFull reports whether want of space is the cause, known or yet to be told.
func isFull(err error) bool {
	return told(err) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func told(err error) bool {
	_, is := errors.AsType[*fullError](err)
	return is
}

// saysFull finds it in a line of a Postgres program, by the C library's words and
// by Postgres's own for a page that went in half: initdb has no codes, and both run
// with LC_ALL=C.
func saysFull(line string) bool {
	return (strings.Contains(line, "No space left on device") || strings.Contains(line, "Disk quota exceeded") ||
		strings.Contains(line, ": wrote only ")) &&
		!strings.Contains(line, "shared memory") // that one is memory, whatever it says
}

// logSettings keep the write-ahead log of a small disk small. Larger disks have
// Postgres's own.
func logSettings(pg string) map[string]string {
	_, total, err := space(pg)
	if err != nil || total >= smallDiskBytes {
		return nil
	}
	limit := max(total/20/2/mib, 2*segmentMiB(pg)) // Postgres takes no less than two
	return map[string]string{
		"max_wal_size": strconv.FormatInt(limit, 10) + "MB",
		"min_wal_size": strconv.FormatInt(2*segmentMiB(pg), 10) + "MB",
	}
}

// segmentMiB is the size of the log's files, which initdb has settled.
func segmentMiB(pg string) int64 {
	entries, err := os.ReadDir(filepath.Join(pg, "pg_wal"))
	if err != nil {
		return postgresSegmentMB
	}
	for _, e := range entries {
		if len(e.Name()) != 24 { // timeline, log and segment in hex
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() >= mib {
			return info.Size() / mib
		}
	}
	return postgresSegmentMB
}

// segmentArgument makes the log's files of a new database small on a small disk.
func segmentArgument(dir string) []string {
	if _, total, err := space(dir); err != nil || total >= smallSegmentDisk {
		return nil
	}
	return []string{"--wal-segsize=" + strconv.Itoa(smallSegmentMiB)}
}
