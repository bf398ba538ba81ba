package client

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// HashCache remembers the SHA-1 of files between runs, so that a second upload of
// a folder reads nothing that has not changed.
//
// It is a text file with a line for each file, keyed by absolute path, size,
// mtime in nanoseconds, and where the system tells them inode and ctime. Lines
// are only appended, each with a checksum of its own: a process may be killed at
// any moment and several may write at once; a line that is torn or damaged is
// passed over and costs one reading. When the file has grown past its bound it is
// rewritten and renamed into place. A file that changed within the last two
// seconds is neither remembered nor looked up.
//
// All methods may be called by many goroutines, and on a nil HashCache, which
// remembers nothing.
type HashCache struct {
	path string
	max  int64 // bytes

	mu      sync.Mutex
	entries map[string]cached
	pending bytes.Buffer
	flushed time.Time
	now     func() time.Time
}

type cached struct {
	stamp stamp
	sha1  [20]byte
	day   int64 // days since 1970 when it was last of use
}

const (
	cacheBound   = 32 << 20 // bytes; some 200,000 files
	cacheDays    = 180      // entries of no use for so long are dropped when the file is rewritten
	cacheRefresh = 30       // days after which a use is written down again
	cacheBatch   = 32 << 10 // bytes that are written at once
)

// DefaultHashCachePath is uploadbroker/sha1-v1 in the user's cache folder.
func DefaultHashCachePath() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "uploadbroker", "sha1-v1"), nil
}

// OpenHashCache reads the cache at path, which need not exist; its folder is made.
// Close it to keep what was learnt.
func OpenHashCache(path string) (*HashCache, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	h := &HashCache{path: path, max: cacheBound, now: time.Now}
	h.flushed = h.now()
	var err error
	h.entries, err = readCache(path)
	return h, err
}

// readCache reads every line that is whole. Of several for one path the last
// counts.
func readCache(path string) (map[string]cached, error) {
	entries := map[string]cached{}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return entries, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) { // no line of ours is that long: skip to its end
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			line = nil
		}
		if p, e, ok := parseCached(line); ok {
			entries[p] = e
		}
		if err != nil {
			return entries, nil // a cache that can't be read to its end is still of use
		}
	}
}

// line writes: checksum sha1 size mtime inode ctime day path.
func (e cached) line(path string) string {
	s := fmt.Sprintf("%x %d %d %d %d %d %s", e.sha1, e.stamp.size, e.stamp.mtime, e.stamp.inode, e.stamp.ctime, e.day, strconv.Quote(path))
	return fmt.Sprintf("%08x %s\n", crc32.ChecksumIEEE([]byte(s)), s)
}

func parseCached(line []byte) (path string, e cached, ok bool) {
	sum, rest, found := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
	if want, err := strconv.ParseUint(sum, 16, 32); !found || len(sum) != 8 || err != nil || uint32(want) != crc32.ChecksumIEEE([]byte(rest)) {
		return "", e, false
	}
	f := strings.SplitN(rest, " ", 7)
	if len(f) != 7 || len(f[0]) != 40 {
		return "", e, false
	}
	if _, err := hex.Decode(e.sha1[:], []byte(f[0])); err != nil {
		return "", e, false
	}
	var errs [6]error
	e.stamp.size, errs[0] = strconv.ParseInt(f[1], 10, 64)
	e.stamp.mtime, errs[1] = strconv.ParseInt(f[2], 10, 64)
	e.stamp.inode, errs[2] = strconv.ParseUint(f[3], 10, 64)
	e.stamp.ctime, errs[3] = strconv.ParseInt(f[4], 10, 64)
	e.day, errs[4] = strconv.ParseInt(f[5], 10, 64)
	path, errs[5] = strconv.Unquote(f[6])
	return path, e, errors.Join(errs[:]...) == nil
}

func (h *HashCache) today() int64 { return h.now().Unix() / 86400 }

// lookup gives the SHA-1 of the file at the absolute path, if the file is as it
// was when it was read.
func (h *HashCache) lookup(path string, s stamp) (sum [20]byte, ok bool) {
	if h == nil || !s.settled(h.now()) {
		return sum, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.entries[path]
	if !ok || e.stamp != s {
		return sum, false
	}
	if e.day < h.today()-cacheRefresh {
		h.add(path, e)
	}
	return e.sha1, true
}

// put remembers a reading that began at the given time.
func (h *HashCache) put(path string, s stamp, sum [20]byte, began time.Time) {
	if h == nil || !s.settled(began) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add(path, cached{stamp: s, sha1: sum})
}

func (h *HashCache) add(path string, e cached) {
	e.day = h.today()
	h.entries[path] = e
	h.pending.WriteString(e.line(path))
	if now := h.now(); h.pending.Len() > cacheBatch || now.Sub(h.flushed) > time.Second {
		_ = h.flush(now) // a disk that is full costs the cache, not the upload
	}
}

// Flush writes down what was learnt so far.
func (h *HashCache) Flush() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.flush(h.now())
}

// flush appends with a single write, after an empty line that ends whatever a
// killed process may have left torn. The file is opened anew each time, so that
// after another process's rewrite the lines land in the file that counts.
func (h *HashCache) flush(now time.Time) error {
	h.flushed = now
	if h.pending.Len() == 0 {
		return nil
	}
	defer h.pending.Reset()
	f, err := os.OpenFile(h.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append([]byte("\n"), h.pending.Bytes()...))
	return errors.Join(err, f.Close())
}

// Close writes down what was learnt and keeps the file within its bound.
func (h *HashCache) Close() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.flush(h.now()); err != nil {
		return err
	}
	fi, err := os.Stat(h.path)
	if err != nil || fi.Size() <= h.max {
		return nil
	}
	return h.rewrite()
}

// rewrite keeps the most recently used half of the bound. It reads the file again,
// since other processes may have added to it; what one adds between this reading
// and the rename is lost, which costs a reading of those files.
func (h *HashCache) rewrite() error {
	entries, err := readCache(h.path)
	if err != nil {
		return err
	}
	type row struct {
		day  int64
		line string
	}
	rows := make([]row, 0, len(entries))
	for p, e := range entries {
		if e.day >= h.today()-cacheDays {
			rows = append(rows, row{e.day, e.line(p)})
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(b.day, a.day) })
	dir, base := filepath.Split(h.path)
	h.sweep(dir, base)
	tmp, err := os.CreateTemp(dir, base+".tmp-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing of this name
	w := bufio.NewWriter(tmp)
	var size int64
	for _, r := range rows {
		if size += int64(len(r.line)); size > h.max/2 {
			break
		}
		_, _ = w.WriteString(r.line) // Flush tells
	}
	if err := errors.Join(w.Flush(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), h.path)
}

// sweep removes what processes left that were killed while they rewrote.
func (h *HashCache) sweep(dir, base string) {
	old, _ := filepath.Glob(filepath.Join(dir, base+".tmp-*"))
	for _, p := range old {
		if fi, err := os.Stat(p); err == nil && h.now().Sub(fi.ModTime()) > time.Hour {
			_ = os.Remove(p)
		}
	}
}
