package client

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// errChanging says that a file did not hold still while it was read.
var errChanging = errors.New("the file keeps changing; upload it when it is finished")

// reading is what was learnt of a file by reading it, or from the cache.
type reading struct {
	sha1  [20]byte
	stamp stamp
}

func (r reading) hex() string { return hex.EncodeToString(r.sha1[:]) }

// hasher reads files for their SHA-1.
type hasher struct {
	cache *HashCache
	moved func(bytes int64) // told of each step; negative when a reading is begun again
	now   func() time.Time
}

// file gives the SHA-1 of a file; fresh reads it whatever the cache says.
func (h hasher) file(ctx context.Context, path string, fresh bool) (reading, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return reading{}, err
	}
	for range 3 {
		r, steady, err := h.once(ctx, abs, fresh)
		if err != nil {
			return reading{}, brief(err)
		}
		if steady {
			return r, nil
		}
		h.moved(-r.stamp.size)
		if err := sleep(ctx, time.Second); err != nil { // somebody is writing: let them
			return reading{}, err
		}
	}
	return reading{}, errChanging
}

// once reads the file; steady is false when it changed meanwhile.
func (h hasher) once(ctx context.Context, abs string, fresh bool) (r reading, steady bool, err error) {
	fi, err := os.Stat(abs) // before Open, which would wait for the writer of a pipe
	if err != nil {
		return r, false, err
	}
	if !fi.Mode().IsRegular() {
		return r, false, errors.New("not a regular file")
	}
	if r.stamp = stampOf(fi); !fresh {
		if sum, ok := h.cache.lookup(abs, r.stamp); ok {
			// The right to read is part of the answer: the bytes will be needed.
			f, err := os.Open(abs)
			if err != nil {
				return r, false, err
			}
			f.Close()
			h.moved(r.stamp.size)
			r.sha1 = sum
			return r, true, nil
		}
	}
	began := h.now()
	f, err := os.Open(abs)
	if err != nil {
		return r, false, err
	}
	defer f.Close()
	if fi, err = f.Stat(); err != nil {
		return r, false, err
	}
	r.stamp = stampOf(fi)
	sum := sha1.New()
	buf := make([]byte, 256<<10)
	var read int64
	for {
		if err := ctx.Err(); err != nil {
			return r, false, err
		}
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		read += int64(n)
		h.moved(int64(n))
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			h.moved(-read)
			return r, false, err
		}
	}
	sum.Sum(r.sha1[:0])
	if fi, err = f.Stat(); err != nil {
		return r, false, err
	}
	if after := stampOf(fi); after != r.stamp || after.size != read {
		h.moved(r.stamp.size - read) // so that the caller can take back the size
		return r, false, nil
	}
	h.cache.put(abs, r.stamp, r.sha1, began)
	return r, true, nil
}
