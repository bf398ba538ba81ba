package client

import (
	"context"
	"sync"
	"time"
)

// queue hands items from one stage of an upload to the next, in order. It has no
// bound: stages that feed each other in a circle (a changed file goes back to be
// registered) could block one another on bounded ones. What must not run ahead
// waits for drained instead.
type queue[T any] struct {
	mu    sync.Mutex
	items []T
	wake  chan struct{} // one token: something may be there
	taken chan struct{} // one token: something was taken
}

func newQueue[T any]() *queue[T] {
	return &queue[T]{wake: make(chan struct{}, 1), taken: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *queue[T]) push(items ...T) {
	if len(items) == 0 {
		return
	}
	q.mu.Lock()
	q.items = append(q.items, items...)
	q.mu.Unlock()
	signal(q.wake)
}

func (q *queue[T]) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// take waits for an item, then for more until there are max or linger has
// passed, and returns them. It fails only with the context.
func (q *queue[T]) take(ctx context.Context, max int, linger time.Duration) ([]T, error) {
	for q.len() == 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-q.wake:
		}
	}
	if linger > 0 {
		t := time.NewTimer(linger)
		defer t.Stop()
	waiting:
		for q.len() < max {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-t.C:
				break waiting
			case <-q.wake:
			}
		}
	}
	q.mu.Lock()
	n := min(max, len(q.items))
	out := append([]T(nil), q.items[:n]...)
	clear(q.items[:n]) // the backing array must not keep them
	q.items = q.items[n:]
	more := len(q.items) > 0
	q.mu.Unlock()
	if more {
		signal(q.wake)
	}
	signal(q.taken)
	if n == 0 { // another taker was faster
		return q.take(ctx, max, linger)
	}
	return out, nil
}

// drained waits until fewer than n items are in the queue.
func (q *queue[T]) drained(ctx context.Context, n int) error {
	for q.len() >= n {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.taken:
		}
	}
	return ctx.Err()
}
