package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/validate"
	"github.com/uploadbroker/uploadbroker/storage"
)

// When an object can't be checked this often and for this long, its image ends
// as Invalid(unchecked).
const (
	maxCheckFailures = 10
	minFailingFor    = time.Hour
	firstRetry       = 8 * time.Second // doubles each time: ten tries take more than an hour
	leaseExtendEvery = 20 * time.Second
	stalledAfter     = time.Minute // a read that gives no byte for so long is broken
	heldPause        = 3 * time.Second
)

// errLeaseLost ends a check whose image someone else validates by now.
var errLeaseLost = broker.Errorf(broker.CodeConflict, "the lease was lost")

// validation is the River worker of broker.ValidateArgs.
type validation struct {
	river.WorkerDefaults[broker.ValidateArgs]
	w *Worker
}

// NextRetry doubles, spread by a fifth so that a bucket that comes back is not
// met by everything at once.
func (v *validation) NextRetry(job *river.Job[broker.ValidateArgs]) time.Time {
	pause := firstRetry << min(max(job.Attempt-1, 0), 10)
	spread := time.Duration(rand.Int64N(int64(pause)/5 + 1))
	return v.w.Now().Add(pause + spread)
}

// Work judges one object, as soon as one of the worker's slots is free. The time
// that it may take grows with the object.
func (v *validation) Work(ctx context.Context, job *river.Job[broker.ValidateArgs]) error {
	j := postgres.Judging{ValidateArgs: job.Args, Holder: fmt.Sprintf("%s/%d.%d", v.w.id, job.ID, job.Attempt)}
	if err := v.w.waitForSlot(ctx, j); err != nil {
		return err
	}
	defer func() { <-v.w.slots }()
	stopping := ctx
	ctx, cancel := context.WithTimeout(ctx, v.w.timeout(job.Args.SizeBytes))
	defer cancel()
	err := v.w.validate(ctx, j)
	if err != nil && errors.Is(stopping.Err(), context.Canceled) {
		return river.JobSnooze(0) // the program stops; that was no attempt
	}
	return err
}

// waitForSlot takes a slot. A job that waits long holds the image's lease: one
// that runs without is taken for a dead worker's and queued again.
func (w *Worker) waitForSlot(ctx context.Context, j postgres.Judging) error {
	tick := time.NewTicker(w.leaseEvery)
	defer tick.Stop()
	for {
		select {
		case w.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			w.release(ctx, j)
			return river.JobSnooze(0)
		case <-tick.C:
		}
		// A database that is away is met again by the validation.
		if got, err := w.Store.AcquireLease(ctx, j.ImageID, j.Holder); err == nil && !got {
			return river.JobSnooze(heldPause)
		}
	}
}

// release gives a lease back, if it is held.
func (w *Worker) release(ctx context.Context, j postgres.Judging) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := w.Store.ReleaseLease(ctx, j.ImageID, j.Holder); err != nil {
		w.Log.Warn("could not give a lease back; it ends by itself", "image", j.ImageID, "err", err)
	}
}

func (w *Worker) validate(ctx context.Context, j postgres.Judging) error {
	img, kind, ok, err := w.Store.ToValidate(ctx, j.ValidateArgs)
	if err != nil || !ok {
		w.release(ctx, j) // of the wait
		return err
	}
	got, err := w.Store.AcquireLease(ctx, j.ImageID, j.Holder)
	if err != nil {
		return err
	}
	if !got {
		// The holder may be at bytes that were overwritten meanwhile, or dead: to
		// go away would leave these to the sweep.
		return river.JobSnooze(heldPause)
	}
	defer w.release(ctx, j)

	verdict, err := w.judge(ctx, img, kind, j)
	switch {
	case err == nil:
		_, err = w.Store.Judge(ctx, j, verdict, w.Now())
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return err
	case errors.Is(err, errLeaseLost):
		return river.JobSnooze(heldPause)
	case broker.CodeOf(err) == broker.CodeChanged:
		// Overwritten since it was seen: the look finds the new one.
		if lookErr := w.LookAt(ctx, img.Bucket, img.Key()); lookErr != nil {
			return lookErr
		}
		if _, _, still, lookErr := w.Store.ToValidate(ctx, j.ValidateArgs); lookErr != nil || !still {
			return lookErr
		}
		// Or the bucket contradicts itself: its HEAD says what its GET denies.
	}
	return w.failed(ctx, j, err)
}

// failed counts a check that could not run, and gives up where it must.
func (w *Worker) failed(ctx context.Context, j postgres.Judging, cause error) error {
	// A bucket that drips until the job's time is over could not be checked
	// either; that must still be counted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	now := w.Now()
	n, since, err := w.Store.CheckFailed(ctx, j, now)
	if broker.CodeOf(err) == broker.CodeNotFound {
		return nil // it moved on meanwhile
	}
	if err != nil {
		return errors.Join(cause, err)
	}
	if n < maxCheckFailures || now.Sub(since) < minFailingFor {
		return cause
	}
	msg := "the bucket does not give the object back"
	var known *broker.Error
	if errors.As(cause, &known) && known.Msg != "" {
		msg = known.Msg
	}
	why := fmt.Sprintf("it could not be checked %d times since %s: %s", n, since.UTC().Format(time.DateTime), msg)
	if _, err := w.Store.Unchecked(ctx, j, why, now); err != nil {
		return errors.Join(cause, err)
	}
	w.Log.Error("an image can't be checked", "image", j.ImageID, "err", cause)
	return river.JobCancel(cause)
}

// judge runs the validator under the lease.
func (w *Worker) judge(ctx context.Context, img broker.Image, kind broker.ProjectKind, j postgres.Judging) (broker.Verdict, error) {
	bucket, ok := w.Bucket(img.Bucket)
	if !ok {
		return broker.Verdict{}, broker.Errorf(broker.CodeUnknownBucket, "the bucket %s is not configured any more", img.Bucket)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	src := &watchedSource{
		Source: storage.NewSource(bucket, storage.Object{Key: img.Key(), SizeBytes: img.ObjectBytes, ETag: img.ETag}),
		now:    w.Now,
	}
	extending := make(chan struct{})
	go func() {
		defer close(extending)
		w.keepLease(ctx, cancel, j, src)
	}()
	verdict, err := validate.Image(ctx, src, validate.Want{
		Kind: kind, Name: img.Name, Type: img.Type, SHA1: img.SHA1, Size: img.SizeBytes,
		MaxObject: w.MaxObject, MaxPixels: w.MaxPixels, Budget: w.Budget,
	})
	if err != nil && context.Cause(ctx) != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	cancel(nil)
	<-extending
	return verdict, err
}

// keepLease extends the lease until ctx ends, and cancels when a read has
// stalled or the lease was lost.
func (w *Worker) keepLease(ctx context.Context, cancel context.CancelCauseFunc, j postgres.Judging, src *watchedSource) {
	tick := time.NewTicker(w.leaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if since := src.readingSince(); !since.IsZero() && w.Now().Sub(since) > stalledAfter {
			cancel(broker.Errorf(broker.CodeUnavailable, "the bucket sent no byte for %d seconds", int(stalledAfter.Seconds())))
			return
		}
		held, err := w.Store.ExtendLease(ctx, j.ImageID, j.Holder)
		if err == nil && !held {
			cancel(errLeaseLost)
			return
		}
		// A database that is away does not stop the check: the verdict is a
		// compare-and-set, so two checks at once do no harm.
	}
}

// watchedSource knows since when a read has waited for its bytes.
type watchedSource struct {
	validate.Source
	now   func() time.Time
	since atomic.Int64 // unix nanoseconds; 0: no read waits
}

func (s *watchedSource) readingSince() time.Time {
	if ns := s.since.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

func (s *watchedSource) Open(ctx context.Context, off int64) (io.ReadCloser, error) {
	s.since.Store(s.now().UnixNano())
	defer s.since.Store(0)
	rc, err := s.Source.Open(ctx, off)
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
	defer b.s.since.Store(0)
	return b.ReadCloser.Read(p)
}
