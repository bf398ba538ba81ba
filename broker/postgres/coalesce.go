package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Bounds of the registrar.
const (
	smallBatch  = 64               // images; larger batches go by themselves
	mergedBatch = 1000             // images of one transaction
	flushers    = 2                // transactions at once for one destination
	flushTime   = 30 * time.Second // for one transaction; callers wait by their own contexts
)

// registrar puts small registrations that come at the same time into one
// transaction, as Postgres itself does with commits: a transaction carries
// whatever arrived while the ones before it ran. A lone caller waits for nobody.
// Old clients register one image a request, thousands of them, many at once.
type registrar struct {
	register func(context.Context, broker.RegisterBatch) ([]broker.Image, error)

	mu     sync.Mutex
	queues map[destination]*queue
}

// destination is what registrations must share to share a transaction.
type destination struct {
	projectID, bucket, keyID string
	kind                     broker.GrantKind
}

// queue holds the calls that wait for a destination.
type queue struct {
	waiting []*registerCall
	running int
}

// registerCall is one caller's batch and, once done is closed, its answer.
type registerCall struct {
	batch  broker.RegisterBatch
	images []broker.Image
	err    error
	done   chan struct{}
}

// Register registers b, alone or with others' batches.
func (r *registrar) Register(ctx context.Context, b broker.RegisterBatch) ([]broker.Image, error) {
	if len(b.Images) > smallBatch || b.FetchURL != "" {
		return r.register(ctx, b)
	}
	call := &registerCall{batch: b, done: make(chan struct{})}
	dest := destination{b.ProjectID, b.Bucket, b.By.Key.ID, b.Kind}
	r.mu.Lock()
	q := r.queues[dest]
	if q == nil {
		q = &queue{}
		r.queues[dest] = q
	}
	q.waiting = append(q.waiting, call)
	if q.running < flushers {
		q.running++
		// On a goroutine of its own: a caller that goes away must not take
		// others' registrations with it.
		go r.flush(context.WithoutCancel(ctx), dest, q)
	}
	r.mu.Unlock()
	select {
	case <-call.done:
		return call.images, call.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// flush carries out what waits for a destination until nothing does.
func (r *registrar) flush(ctx context.Context, dest destination, q *queue) {
	for {
		calls := r.take(dest, q)
		if len(calls) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, flushTime)
		r.run(ctx, calls)
		cancel()
	}
}

// take removes the calls of one transaction from the queue. A file that two
// callers register at the same moment is left for the next one, so that each of
// them is answered, granted and audited as if he had come alone.
func (r *registrar) take(dest destination, q *queue) (calls []*registerCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := map[fileKey]bool{}
	var left []*registerCall
	for _, c := range q.waiting {
		fits := len(taken)+len(c.batch.Images) <= mergedBatch
		for _, n := range c.batch.Images {
			fits = fits && !taken[keyOf(n.SHA1, n.ID)]
		}
		if !fits {
			left = append(left, c)
			continue
		}
		for _, n := range c.batch.Images {
			taken[keyOf(n.SHA1, n.ID)] = true
		}
		calls = append(calls, c)
	}
	q.waiting = left
	if len(calls) == 0 {
		if q.running--; q.running == 0 {
			delete(r.queues, dest)
		}
	}
	return calls
}

// run registers the calls in one transaction. Should that fail, each goes by
// itself: the fault of one is not the others'.
func (r *registrar) run(ctx context.Context, calls []*registerCall) {
	merged := calls[0].batch
	if len(calls) > 1 {
		merged.Images = nil
		for _, c := range calls {
			merged.Images = append(merged.Images, c.batch.Images...)
			if c.batch.ExpiresAt.After(merged.ExpiresAt) {
				merged.ExpiresAt = c.batch.ExpiresAt
			}
		}
	}
	images, err := r.register(ctx, merged)
	switch {
	case err == nil:
		for _, c := range calls {
			n := len(c.batch.Images)
			c.images, images = images[:n:n], images[n:]
		}
	case len(calls) == 1:
		calls[0].err = err
	default:
		for _, c := range calls {
			c.images, c.err = r.register(ctx, c.batch)
		}
	}
	for _, c := range calls {
		close(c.done)
	}
}
