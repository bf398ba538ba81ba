package worker

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

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
	return t.of(bucket).putOff(t.now())
}

func (b *bucketTrouble) putOff(now time.Time) bool {
	return b.waiting >= maxWaiting || b.failures >= maxFailures && (b.trying || now.Before(b.until))
}

// begin notes that a check begins; leave is called when it is over. ok is false
// when it should come again later.
func (t *trouble) begin(bucket string) (leave func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.of(bucket)
	if b.putOff(t.now()) {
		return nil, false
	}
	if b.failures < maxFailures {
		return func() {}, true
	}
	b.trying = true
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		b.trying = false
	}, true
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
