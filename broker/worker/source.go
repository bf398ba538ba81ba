package worker

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/uploadbroker/uploadbroker/broker/validate"
)

// watchedSource knows since when a read has waited for its bytes.
type watchedSource struct {
	validate.Source
	now   func() time.Time
	ctx   context.Context // of the check
	slot  *slot
	since atomic.Int64 // unix nanoseconds; 0: no read waits
}

func (s *watchedSource) waitsFor(d time.Duration) bool {
	since := s.readingSince()
	return !since.IsZero() && s.now().Sub(since) > d
}

// came notes that a read is over, and waits for the slot if it was given away.
func (s *watchedSource) came() error {
	s.since.Store(0)
	return s.slot.resume(s.ctx)
}

func (s *watchedSource) readingSince() time.Time {
	if ns := s.since.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

func (s *watchedSource) Open(ctx context.Context, off int64) (io.ReadCloser, error) {
	s.since.Store(s.now().UnixNano())
	rc, err := s.Source.Open(ctx, off)
	if slotErr := s.came(); err == nil && slotErr != nil {
		rc.Close()
		err = slotErr
	}
	if err != nil {
		return nil, err
	}
	return &watchedBody{ReadCloser: rc, s: s}, nil
}

type watchedBody struct {
	io.ReadCloser
	s *watchedSource
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.s.since.Store(b.s.now().UnixNano())
	n, err := b.ReadCloser.Read(p)
	if slotErr := b.s.came(); slotErr != nil && (err == nil || err == io.EOF) {
		err = slotErr
	}
	return n, err
}
