package validate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
)

// File is a Source on the local disk. Its size is that of the moment it was
// made: a file that changes while it is read gives an error, not a verdict.
type File struct {
	path      string
	sizeBytes int64
}

var (
	_ Source = (*File)(nil)
	_ Source = Bytes(nil)
)

// FromFile makes a Source of a regular file.
func FromFile(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return &File{path: path, sizeBytes: info.Size()}, nil
}

// Size is in bytes.
func (f *File) Size() int64 { return f.sizeBytes }

// Open reads from byte off on.
func (f *File) Open(_ context.Context, off int64) (io.ReadCloser, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(off, io.SeekStart); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Bytes is a Source in memory.
type Bytes []byte

// FromBytes makes a Source of b, which must not change while it is read.
func FromBytes(b []byte) Bytes { return Bytes(b) }

// Size is in bytes.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Open reads from byte off on.
func (b Bytes) Open(_ context.Context, off int64) (io.ReadCloser, error) {
	if off < 0 || off > int64(len(b)) {
		return nil, fmt.Errorf("offset %d is outside of %d bytes", off, len(b))
	}
	return io.NopCloser(bytes.NewReader(b[off:])), nil
}
