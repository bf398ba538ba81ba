package ossemu

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"hash/crc64"
	"io"
	"os"
	"strings"
)

// spooled is a whole temporary file.
type spooled struct {
	path      string
	sizeBytes int64
	md5       []byte
	crc64     uint64
}

// sourceError is one of reading what was to be written: the client's, not the disk's.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

type source struct{ io.Reader }

func (s source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = sourceError{err}
	}
	return n, err
}

// spool writes what it reads to a temporary file, and leaves none on an error.
func (d *disk) spool(r io.Reader) (spooled, error) {
	f, err := os.OpenFile(d.own("tmp", "put-"+rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return spooled{}, err
	}
	sum, crc := md5.New(), crc64.New(crcTable())
	n, err := io.CopyBuffer(io.MultiWriter(f, sum, crc), source{r}, make([]byte, 128<<10))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(f.Name())
		return spooled{}, err
	}
	return spooled{path: f.Name(), sizeBytes: n, md5: sum.Sum(nil), crc64: crc.Sum64()}, nil
}

// join writes files one after the other to a temporary file. Where the file
// system can, it shares their blocks instead.
func (d *disk) join(paths []string) (string, error) {
	f, err := os.OpenFile(d.own("tmp", "join-"+rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	for _, p := range paths {
		if err = appendFile(f, p); err != nil {
			break
		}
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func appendFile(to *os.File, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, f)
	return err
}

func upperHex(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }
