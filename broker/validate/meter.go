package validate

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // the product's identity of an image, not a secret
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/uploadbroker/uploadbroker/broker"
)

// meter is the one sequential pass: whoever reads through it, every byte goes
// through the checksums exactly once, in order.
type meter struct {
	ctx   context.Context
	body  io.Reader
	want  int64 // the source's size in bytes
	count int64
	sha   hash.Hash
	crc   uint32
	err   error // sticky; io.EOF only when exactly want bytes came
}

func newMeter(ctx context.Context, body io.Reader, sizeBytes int64) *meter {
	return &meter{ctx: ctx, body: body, want: sizeBytes, sha: sha1.New()} //nolint:gosec // see above
}

func (m *meter) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	if m.err = m.ctx.Err(); m.err != nil {
		return 0, m.err
	}
	n, err := m.body.Read(p)
	m.count += int64(n)
	m.sha.Write(p[:n])
	m.crc = crc32.Update(m.crc, crc32.IEEETable, p[:n])
	switch {
	case m.count > m.want:
		err = fmt.Errorf("the source gave more than the %d bytes that it announced", m.want)
	case err == io.EOF && m.count < m.want:
		err = fmt.Errorf("the source ended after %d of %d bytes: %w", m.count, m.want, io.ErrUnexpectedEOF)
	}
	m.err = err
	return n, err
}

// failed is the error that keeps the check from a verdict, nil when all is read.
func (m *meter) failed() error {
	if m.err == io.EOF {
		return nil
	}
	return m.err
}

func (m *meter) sum() (d broker.SHA1) {
	m.sha.Sum(d[:0])
	return d
}

// stream is a buffer over the meter that knows its offset, for the checkers.
type stream struct {
	br  *bufio.Reader
	off int64 // bytes handed out
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.br.Read(p)
	s.off += int64(n)
	return n, err
}

func (s *stream) ReadByte() (byte, error) {
	c, err := s.br.ReadByte()
	if err == nil {
		s.off++
	}
	return c, err
}

func (s *stream) peek(n int) []byte {
	p, _ := s.br.Peek(n)
	return p
}

// full reads len(p) bytes; io.ErrUnexpectedEOF or io.EOF when the object ends before.
func (s *stream) full(p []byte) error {
	_, err := io.ReadFull(s, p)
	return err
}

// skip passes n bytes.
func (s *stream) skip(n int64) error {
	for n > 0 {
		k, err := s.br.Discard(int(min(n, 1<<30)))
		s.off += int64(k)
		n -= int64(k)
		if err != nil {
			return err
		}
	}
	return nil
}
