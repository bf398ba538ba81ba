package validate

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const (
	blockBytes = 64 << 10
	blockCount = 8
	// A gap up to this is read over rather than jumped: a new request costs more.
	gapBytes = 512 << 10
	// A hostile file could name its pieces in an order that makes each a request.
	maxOpens = 2000
)

// errScattered is the error of a ranged whose limit of requests is used up: the
// file can't be checked piece by piece at a bearable price.
var errScattered = errors.New("the pieces of the file lie too scattered")

// ranged reads a Source at any offset, through a few blocks kept. Reads that go
// forward stay in one stream: in the pass that computes the checksums, while what
// is asked for lies close before it, else in a request of their own.
type ranged struct {
	ctx    context.Context
	src    Source
	size   int64         // bytes
	main   *stream       // the check's own pass over the object, which may serve what comes in order; nil: not here
	body   io.ReadCloser // another request
	pos    int64         // of body
	blocks [blockCount]struct {
		start int64
		data  []byte
		used  int64
	}
	clock int64
	opens int
	err   error // of the source; sticky. The check could not run
}

func (r *ranged) close() {
	if r.body != nil {
		r.body.Close()
		r.body = nil
	}
}

var _ io.ReaderAt = (*ranged)(nil)

// ReadAt is io.ReaderAt's.
func (r *ranged) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		if off < 0 || off >= r.size {
			return done, io.EOF
		}
		data, err := r.block(off - off%blockBytes)
		if err != nil {
			return done, err
		}
		n := copy(p[done:], data[off%blockBytes:])
		done += n
		off += int64(n)
	}
	return done, nil
}

// block gives the block that starts at start, from the kept ones or the source.
func (r *ranged) block(start int64) ([]byte, error) {
	r.clock++
	oldest := 0
	for i := range r.blocks {
		b := &r.blocks[i]
		if b.data != nil && b.start == start {
			b.used = r.clock
			return b.data, nil
		}
		if b.used < r.blocks[oldest].used {
			oldest = i
		}
	}
	b := &r.blocks[oldest]
	from, err := r.seek(start)
	if err != nil {
		return nil, err
	}
	n := min(blockBytes, r.size-start)
	if int64(cap(b.data)) < n {
		b.data = make([]byte, blockBytes)
	}
	b.data, b.start, b.used = b.data[:n], start, r.clock
	k, err := io.ReadFull(from, b.data)
	if from != io.Reader(r.main) {
		r.pos += int64(k)
	}
	if err != nil {
		b.data, b.used = nil, 0
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("the source ended after %d of %d bytes: %w", start+int64(k), r.size, io.ErrUnexpectedEOF)
		}
		r.err = err
		return nil, err
	}
	return b.data, nil
}

// seek gives a stream that stands at an offset.
func (r *ranged) seek(to int64) (io.Reader, error) {
	if r.err == nil {
		r.err = r.ctx.Err()
	}
	if r.err != nil {
		return nil, r.err
	}
	if r.main != nil && to >= r.main.off && to-r.main.off <= gapBytes {
		r.err = r.main.skip(to - r.main.off)
		return r.main, r.err
	}
	if r.body != nil && to >= r.pos && to-r.pos <= gapBytes {
		n, err := io.CopyN(io.Discard, r.body, to-r.pos)
		r.pos += n
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		r.err = err
		return r.body, err
	}
	r.close()
	if r.opens++; r.opens > maxOpens {
		return nil, errScattered
	}
	r.body, r.err = r.src.Open(r.ctx, to)
	if r.err != nil {
		r.body = nil
	}
	r.pos = to
	return r.body, r.err
}

// window is a bounded io.ReadSeeker over a ranged, for a library that is not
// trusted to read little. Past its allowance the file seems to end.
type window struct {
	r    io.ReaderAt
	size int64
	off  int64
	left int64  // bytes that may still be read
	head []byte // stands for the file's own first bytes
}

func (w *window) Read(p []byte) (int, error) {
	if w.off < 0 || w.off >= w.size || w.left <= 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), w.left, w.size-w.off)]
	n, err := w.r.ReadAt(p, w.off)
	if w.off < int64(len(w.head)) {
		copy(p[:n], w.head[w.off:])
	}
	w.off += int64(n)
	w.left -= int64(n)
	return n, err
}

func (w *window) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += w.off
	case io.SeekEnd:
		off += w.size
	}
	if off < 0 {
		return w.off, errors.New("a seek before the file's start")
	}
	w.off = off
	return off, nil
}
