package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// claimRemoved is how many removals are worked on at once, removalTime how long a
// sweep stays at one of them in one bucket.
const (
	claimRemoved = 20
	removalTime  = time.Minute
)

// sweepRemovedImages deletes the objects of removed images. A removal is final,
// and the row goes, only when nothing is found after the last grant has ended:
// until then somebody may write there again.
func (w *Worker) sweepRemovedImages(ctx context.Context) error {
	now := w.Now()
	removed, err := w.Store.ClaimRemovedImages(ctx, now, claimRemoved)
	if err != nil {
		return err
	}
	var errs []error
	var mu sync.Mutex
	var g errgroup.Group
	for _, img := range removed {
		g.Go(func() error {
			err := w.sweepRemovedImage(ctx, img, now)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			return nil
		})
	}
	_ = g.Wait()
	return errors.Join(errs...)
}

// sweepRemovedImage deletes the objects of one image, in bounded time.
func (w *Worker) sweepRemovedImage(ctx context.Context, img postgres.RemovedImage, now time.Time) error {
	bounded, cancel := context.WithTimeout(ctx, removalTime)
	defer cancel()
	found := 0
	var errs []error
	for _, place := range img.Places {
		n, err := w.deleteAt(bounded, place.Bucket, place.Key)
		found += n
		if err != nil {
			errs = append(errs, err)
			found++ // not known to be empty
		}
	}
	return errors.Join(append(errs, w.again(found, img.GrantsEnd, now,
		func() error { return w.Store.ForgetImage(ctx, img.ID) },
		func(at time.Time) error { return w.Store.SweepImageAgain(ctx, img.ID, at) }))...)
}

// sweepRemovedProjects empties the prefixes of removed projects in every bucket.
func (w *Worker) sweepRemovedProjects(ctx context.Context) error {
	now := w.Now()
	removed, err := w.Store.ClaimRemovedProjects(ctx, now, claimRemoved)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range removed {
		found := 0
		for _, b := range w.buckets.Load().all {
			// What a slow bucket does not get done is done at the next sweep.
			bounded, cancel := context.WithTimeout(ctx, removalTime)
			var n int
			var err error
			for _, prefix := range []string{p.ID + "/", broker.ThumbPrefix(p.ID), broker.ResultPrefix(p.ID)} {
				if n, err = w.empty(bounded, b, prefix); err != nil {
					break
				}
				found += n
			}
			cancel()
			if err != nil {
				errs = append(errs, err)
				found++ // not known to be empty
			}
		}
		errs = append(errs, w.again(found, p.GrantsEnd, now,
			func() error { return w.Store.FinishProject(ctx, p.ID, now) },
			func(at time.Time) error { return w.Store.SweepProjectAgain(ctx, p.ID, at) }))
	}
	return errors.Join(errs...)
}

// again finishes a removal whose places were found empty after its grants, and
// sets the time of the next sweep otherwise.
func (w *Worker) again(found int, grantsEnd, now time.Time, finish func() error, later func(time.Time) error) error {
	last := grantsEnd.Add(broker.GraceAfterGrant)
	switch {
	case found == 0 && !now.Before(last):
		return finish()
	case now.Before(last):
		return later(last)
	}
	return later(now.Add(sweepEvery))
}

// deleteAt deletes an object and returns how many there were.
func (w *Worker) deleteAt(ctx context.Context, symbol, key string) (int, error) {
	b, ok := w.Bucket(symbol)
	if !ok {
		return 0, broker.Errorf(broker.CodeUnknownBucket, "the bucket %s is not configured any more", symbol)
	}
	if _, err := b.Stat(ctx, key); broker.CodeOf(err) == broker.CodeNotFound {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	return 1, b.Delete(ctx, key)
}

// empty deletes every object below a prefix and returns how many there were.
func (w *Worker) empty(ctx context.Context, b *storage.Bucket, prefix string) (int, error) {
	found := 0
	if b.CanSweepMultiparts() {
		n, err := b.SweepMultiparts(ctx, prefix, w.Now())
		found += n
		if err != nil {
			return found, err
		}
	}
	last := ""
	for {
		objects, err := b.List(ctx, prefix, "", listPage)
		if err != nil || len(objects) == 0 {
			return found, err
		}
		if objects[0].Key == last {
			return found, broker.Errorf(broker.CodeUnavailable, "the bucket %s still lists what was deleted", b.Info().Symbol)
		}
		last = objects[0].Key
		for _, obj := range objects {
			if err := b.Delete(ctx, obj.Key); err != nil {
				return found, err
			}
			found++
		}
	}
}
