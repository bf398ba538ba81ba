package storage

import (
	"errors"
	"fmt"
	"io"
)

// ErrSize says that a body had not its declared size.
var ErrSize = errors.New("the body differs from its declared size")

// ReadPart fills buf up to size bytes; last says that the body ended. It grows
// the buffer as bytes come, so that a small body of unknown length stays small.
func ReadPart(r io.Reader, buf []byte, size int64) (part []byte, last bool, err error) {
	for int64(len(buf)) < size {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(size, int64(max(2*cap(buf), 64<<10))))
			copy(grown, buf)
			buf = grown
		}
		free := buf[len(buf):min(int64(cap(buf)), size)]
		n, err := r.Read(free)
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, true, nil
		}
		if err != nil {
			return nil, false, err
		}
	}
	return buf, false, nil
}

// Exactly reads r and fails with ErrSize unless it ends at sizeBytes.
func Exactly(r io.Reader, sizeBytes int64) io.Reader {
	return &exactReader{r: r, left: sizeBytes}
}

type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.left -= int64(n)
	switch {
	case e.left < 0:
		return n, fmt.Errorf("%w: it is longer", ErrSize)
	case err == io.EOF && e.left > 0:
		return n, fmt.Errorf("%w: %d bytes are missing", ErrSize, e.left)
	}
	return n, err
}
