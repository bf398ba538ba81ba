package validate

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// Budget is the memory, in bytes, that all checks of a process may hold together
// for pictures (worker.memory). Only what grows with a picture counts: what
// WebP's lossless decoder keeps, the partitions of a lossy one that take turns, the
// marks of a progressive JPEG, the tiles beside each other that a
// thumbnail waits for, the window of a TIFF's large pieces of Zstandard, and a large
// index of a HEIF. PNG, other TIFF and baseline JPEG are proven in flat memory, under
// 1 MB a check and 2 MB for the thumbnail.
//
// A check waits until its demand fits, first come first served, so that a large
// one is not passed for ever. It holds one demand at most and never asks for a
// second while it holds the first: no two checks can wait for each other. A
// demand above the whole Budget is refused at once; that picture is proven by its
// structure only (Facts.Proof and a note say so). Memory stays within the Budget,
// whatever arrives, and no sound picture is called Invalid for its size alone.
type Budget struct {
	sem   *semaphore.Weighted
	total int64 // bytes
}

// NewBudget makes a Budget of so many bytes; 0 or less grants nothing.
func NewBudget(bytes int64) *Budget {
	bytes = max(bytes, 0)
	return &Budget{sem: semaphore.NewWeighted(bytes), total: bytes}
}

// take waits for n bytes. False: n is more than the whole. An error is ctx's.
func (b *Budget) take(ctx context.Context, n int64) (bool, error) {
	switch {
	case b == nil:
		return true, nil
	case n > b.total:
		return false, nil
	}
	if err := b.sem.Acquire(ctx, n); err != nil {
		return false, err
	}
	return true, nil
}

func (b *Budget) give(n int64) {
	if b != nil {
		b.sem.Release(n)
	}
}
