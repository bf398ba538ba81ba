package worker

import (
	"context"
	"sync"
	"time"
)

// yieldAfter is how long a read may keep a validation waiting before its slot is
// given to another.
const yieldAfter = 2 * time.Second

// slot is the right to validate, which a validation holds while it has bytes to
// work on. While a bucket lets it wait, another one works.
type slot struct {
	slots   chan struct{}
	trouble *trouble
	bucket  string

	mu   sync.Mutex
	held bool
}

// take waits for a slot. An error is that of ctx.
func (s *slot) take(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		s.held = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// yield gives the slot to others while still says that the read waits on.
func (s *slot) yield(still func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held && still() {
		s.held = false
		<-s.slots
		s.trouble.waits(s.bucket, 1)
	}
}

// resume takes the slot again that was given away.
func (s *slot) resume(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return nil
	}
	s.trouble.waits(s.bucket, -1)
	if err := s.take(ctx); err != nil {
		s.trouble.waits(s.bucket, 1) // until release
		return err
	}
	return nil
}

// release ends the use of the slot.
func (s *slot) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		s.held = false
		<-s.slots
	} else {
		s.trouble.waits(s.bucket, -1)
	}
}
