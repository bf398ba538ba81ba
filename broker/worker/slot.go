package worker

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
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

// A bucket that failed so often in a row, or lets so many checks wait at once, is
// in trouble.
const (
	maxFailures  = 3
	maxWaiting   = 2
	firstTrouble = time.Second // doubles with each further failure
	longestPause = time.Minute
)

// trouble knows which buckets answer no reads. In one of those a single validation
// at a time tries whether that is over; the others are put off, which is no failed
// check of theirs.
type trouble struct {
	now func() time.Time

	mu sync.Mutex
	in map[string]*bucketTrouble
}

type bucketTrouble struct {
	failures int       // in a row
	until    time.Time // nobody tries before
	trying   bool      // somebody does
	waiting  int       // checks whose read waits
}

func newTrouble(now func() time.Time) *trouble {
	return &trouble{now: now, in: map[string]*bucketTrouble{}}
}

func (t *trouble) of(bucket string) *bucketTrouble {
	b := t.in[bucket]
	if b == nil {
		b = &bucketTrouble{}
		t.in[bucket] = b
	}
	return b
}

// putOff reports whether a check in this bucket should come again later.
func (t *trouble) putOff(bucket string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.of(bucket)
	return b.waiting >= maxWaiting || b.failures >= maxFailures && (b.trying || t.now().Before(b.until))
}

// begin notes that a check begins, and reports false when it should come again
// later.
func (t *trouble) begin(bucket string) bool {
	if t.putOff(bucket) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.of(bucket); b.failures >= maxFailures {
		b.trying = true
	}
	return true
}

// leave ends what begin began.
func (t *trouble) leave(bucket string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(bucket).trying = false
}

// end notes how a check ended.
func (t *trouble) end(bucket string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.of(bucket)
	switch broker.CodeOf(err) {
	case broker.CodeUnavailable, broker.CodeDenied, broker.CodeTooManyRequests:
		b.failures++
		if n := b.failures - maxFailures; n >= 0 {
			b.until = t.now().Add(spread(min(firstTrouble<<min(n, 10), longestPause)))
		}
	default: // it answers, whatever it says
		b.failures, b.until = 0, time.Time{}
	}
}

func (t *trouble) waits(bucket string, more int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(bucket).waiting += more
}

// spread is a pause up to a fifth longer, so that a bucket that comes back is not
// met by everything at once.
func spread(pause time.Duration) time.Duration {
	return pause + time.Duration(rand.Int64N(int64(pause)/5+1))
}
