package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// spoolMemory is how much of a spool is kept in memory before it becomes a file.
const spoolMemory = 256 << 10

// maxField bounds a text in a spool: a damaged one asks for no memory.
const maxField = 1 << 16

// spool is a sequence of records that is written once and then read from anywhere.
type spool struct {
	dir  string // for the file; "": the system's
	buf  []byte // all of it while file is nil, else what is not written yet
	file *os.File
	size int64
}

// write appends a record.
func (s *spool) write(record []byte) error {
	s.buf = append(s.buf, record...)
	s.size += int64(len(record))
	if s.file == nil && len(s.buf) <= spoolMemory || s.file != nil && len(s.buf) < 64<<10 {
		return nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "uploadbroker-zip-")
		if err != nil {
			return fmt.Errorf("make a temporary file for a zip: %w", err)
		}
		// Without a name it goes with the last who has it open, whatever ends us.
		// Where that can't be, close removes it.
		_ = os.Remove(f.Name())
		s.file = f
	}
	return s.flush()
}

// flush writes what waits. It must be called before the spool is read.
func (s *spool) flush() error {
	if s.file == nil {
		return nil
	}
	if _, err := s.file.Write(s.buf); err != nil {
		return fmt.Errorf("write a temporary file for a zip: %w", err)
	}
	s.buf = s.buf[:0]
	return nil
}

// from reads from an offset to the end.
func (s *spool) from(offset int64) *bufio.Reader {
	if s.file == nil {
		return bufio.NewReaderSize(&memory{s.buf[offset:]}, 4<<10)
	}
	return bufio.NewReaderSize(io.NewSectionReader(s.file, offset, s.size-offset), 16<<10)
}

// memory is a reader of bytes.
type memory struct{ rest []byte }

func (m *memory) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// close lets the file go.
func (s *spool) close() error {
	s.buf = nil
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	_ = os.Remove(s.file.Name()) // it is gone already where files may lose their names
	s.file = nil
	return err
}

// fields reads the parts of a record; err is the first that failed.
type fields struct {
	r   *bufio.Reader
	n   int64 // bytes read
	err error
}

// more reports whether there is another record.
func (f *fields) more() bool {
	if f.err != nil {
		return false
	}
	_, err := f.r.Peek(1)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return err == nil
}

func (f *fields) number() uint64 {
	if f.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(f)
	f.fail(err)
	return v
}

func (f *fields) signed() int64 {
	v := f.number()
	return int64(v>>1) ^ -int64(v&1)
}

func (f *fields) text() string {
	n := f.number()
	if f.err == nil && n > maxField {
		f.err = errors.New("a record of a zip's temporary file is damaged")
	}
	if f.err != nil {
		return ""
	}
	b := make([]byte, n)
	_, err := io.ReadFull(f.r, b)
	f.n += int64(n)
	f.fail(err)
	return string(b)
}

// ReadByte is for binary.ReadUvarint.
func (f *fields) ReadByte() (byte, error) {
	b, err := f.r.ReadByte()
	if err == nil {
		f.n++
	}
	return b, err
}

func (f *fields) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // in the middle of a record
	}
	if f.err == nil {
		f.err = err
	}
}

func appendSigned(b []byte, v int64) []byte {
	return binary.AppendUvarint(b, uint64(v)<<1^uint64(v>>63))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
