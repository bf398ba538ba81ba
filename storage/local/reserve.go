package local

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"syscall"

	"github.com/versity/versitygw/s3err"
	"golang.org/x/sys/unix"
)

// The local bucket is often on the same disk as the private database, which must
// be able to write when uploads can't. So it leaves a part of the disk free: one
// part in reserveShare, 256 MiB at most.
const (
	maxReserveBytes = 256 << 20
	reserveShare    = 20
	// recheckBytes is how much of a body is taken between two looks at the disk.
	// Mostly the whole object's space is taken at its beginning; where the file
	// system can't, several uploads together could eat up the reserve.
	recheckBytes = 4 << 20
	// maxDrainBytes is how much of a refused body is still read. Many clients see
	// an answer only when their body is sent; a huge one is not worth the wait.
	maxDrainBytes = 32 << 20
)

// space is what a disk has, in bytes.
type space struct {
	free  int64 // for users other than root
	total int64
}

// reserve is what uploads leave free.
func (s space) reserve() int64 { return min(maxReserveBytes, s.total/reserveShare) }

func statfs(dir string) (space, error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return space{}, err
	}
	block := int64(disk.Bsize)
	return space{free: int64(disk.Bavail) * block, total: int64(disk.Blocks) * block}, nil
}

// disk is the one that holds the objects.
type disk struct {
	dir    string
	statfs func(dir string) (space, error) // a test's seam. nil: the system's

	mu      sync.Mutex
	claimed int64 // by uploads that were let in and have not taken their space
}

// claim lets an upload in that leaves the reserve free, and keeps its space from
// others until release, which is called when the upload has taken it; calling it
// again does nothing. A disk that can't be asked is taken to be large: the write
// itself will tell.
func (d *disk) claim(bytes int64) (release func(), ok bool) {
	ask := d.statfs
	if ask == nil {
		ask = statfs
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, err := ask(d.dir); err == nil && s.free-d.claimed-bytes < s.reserve() {
		return nil, false
	}
	d.claimed += bytes
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.claimed -= bytes
	}), true
}

// free is what is left, without what uploads under way have claimed.
func (d *disk) free() (int64, error) {
	ask := d.statfs
	if ask == nil {
		ask = statfs
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := ask(d.dir)
	return s.free - d.claimed, err
}

// Free is how many bytes the disk that holds the objects has left, for users other
// than root.
func (b *Bucket) Free() (int64, error) { return b.gateway.disk.free() }

// fits is claim for those who only ask.
func (d *disk) fits(bytes int64) bool {
	release, ok := d.claim(bytes)
	if ok {
		release()
	}
	return ok
}

// fullText is for the uploader, who is seldom the one who can mend it.
const fullText = "The disk of this server is full: what is left of it is kept free for the database. " +
	"Have space freed on it, then upload again; nothing of this upload was stored."

// errFull is S3's way of saying so; code and status are versitygw's and MinIO's.
func errFull() error {
	return s3err.APIError{Code: "InsufficientStorage", Description: fullText, HTTPStatusCode: http.StatusInsufficientStorage}
}

// named gives the backend's ways of saying that the disk is full the one text.
func named(err error) error {
	var s3e s3err.S3Error
	if errors.As(err, &s3e) && s3e.BaseError().Code == s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice).Code ||
		errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errFull()
	}
	return err
}

// drain reads a refused body, so that the client gets to reading the answer.
func drain(body io.Reader) {
	if body != nil {
		_, _ = io.CopyN(io.Discard, body, maxDrainBytes)
	}
}
