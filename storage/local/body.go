package local

import (
	"io"

	"github.com/versity/versitygw/s3err"
)

// wholeBody fails when a body ends before its declared length, where the backend
// itself would cut the object down to what came, and when the disk gets full as
// it comes.
//
// taken is called at the first byte: the backend reads when the file is made, with
// all its space where the file system can do that.
func (a *absBackend) wholeBody(body io.Reader, length int64, taken func()) io.Reader {
	w := wholeReader{r: body, left: length, disk: a.disk, taken: taken}
	// The type says whether a checksum travels behind the body.
	if sum, ok := body.(checksumReader); ok {
		return &wholeChecksumReader{wholeReader: w, checksumReader: sum}
	}
	return &w
}

// checksumReader is what the gateway looks for in a body.
type checksumReader interface {
	io.Reader
	Algorithm() string
	Checksum() string
}

type wholeReader struct {
	r     io.Reader
	left  int64
	disk  *disk
	taken func()

	unchecked int64 // bytes since the last look at the disk
}

func (w *wholeReader) Read(p []byte) (int, error) {
	w.taken()
	n, err := w.r.Read(p)
	w.left -= int64(n)
	if w.unchecked += int64(n); w.unchecked >= recheckBytes && w.left > 0 {
		w.unchecked = 0
		if !w.disk.fits(0) {
			drain(w.r)
			return n, errFull()
		}
	}
	if err == io.EOF && w.left > 0 {
		err = s3err.GetAPIError(s3err.ErrIncompleteBody)
	}
	return n, err
}

type wholeChecksumReader struct {
	wholeReader
	checksumReader
}

func (w *wholeChecksumReader) Read(p []byte) (int, error) { return w.wholeReader.Read(p) }
