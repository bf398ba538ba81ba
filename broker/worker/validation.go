package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
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
	stalledAfter     = time.Minute     // a read that gives no byte for so long is broken
	acquireTimeout   = 5 * time.Second // within that of a stop
	heldPause        = 3 * time.Second
	putOffFor        = 5 * time.Second // until a bucket in trouble is tried again
)

// errLeaseLost ends a check whose image someone else validates by now.
var errLeaseLost = broker.Errorf(broker.CodeConflict, "the lease was lost")

// validation is the River worker of broker.ValidateArgs.
type validation struct {
	river.WorkerDefaults[broker.ValidateArgs]
	w *Worker
}

// NextRetry doubles, and is spread.
func (v *validation) NextRetry(job *river.Job[broker.ValidateArgs]) time.Time {
	return v.w.Now().Add(spread(firstRetry << min(max(job.Attempt-1, 0), 10)))
}

// Work judges one object, as soon as one of the worker's slots is free. The time
// that it may take grows with the object.
func (v *validation) Work(ctx context.Context, job *river.Job[broker.ValidateArgs]) error {
	j := postgres.Judging{ValidateArgs: job.Args, Holder: fmt.Sprintf("%s/%d.%d", v.w.id, job.ID, job.Attempt)}
	if v.w.trouble.putOff(j.Bucket) {
		return river.JobSnooze(spread(putOffFor))
	}
	slot, err := v.w.waitForSlot(ctx, j)
	if err != nil {
		return err
	}
	defer slot.release()
	leave, ok := v.w.trouble.begin(j.Bucket)
	if !ok {
		v.w.release(ctx, j) // of the wait
		return river.JobSnooze(spread(putOffFor))
	}
	defer leave()
	stopping := ctx
	ctx, cancel := context.WithTimeout(ctx, v.w.timeout(job.Args.SizeBytes))
	defer cancel()
	err = v.w.validate(ctx, j, slot)
	if err != nil && errors.Is(stopping.Err(), context.Canceled) {
		return river.JobSnooze(0) // the program stops; that was no attempt
	}
	return err
}

// waitForSlot takes a slot. A job that waits long holds the image's lease: one
// that runs without is taken for a dead worker's and queued again.
func (w *Worker) waitForSlot(ctx context.Context, j postgres.Judging) (*slot, error) {
	s := &slot{slots: w.slots, trouble: w.trouble, bucket: j.Bucket}
	tick := time.NewTicker(w.leaseEvery)
	defer tick.Stop()
	for {
		select {
		case w.slots <- struct{}{}:
			s.held = true
			return s, nil
		case <-ctx.Done():
			w.release(ctx, j)
			return nil, river.JobSnooze(0)
		case <-tick.C:
		}
		// A database that is away is met again by the validation.
		switch got, died, err := w.acquire(ctx, j); {
		case err == nil && !got:
			return nil, river.JobSnooze(heldPause)
		case died != "":
			if _, _, err := w.Store.CheckFailed(ctx, j, w.Now()); err != nil && broker.CodeOf(err) != broker.CodeNotFound {
				return nil, err
			}
		}
	}
}

// acquire takes the lease on an image, as Store.AcquireLease does. A stop of the program
// does not break it off: one that is taken in the same moment would be held by nobody,
// and keep the image from the next worker for a lease's length.
func (w *Worker) acquire(ctx context.Context, j postgres.Judging) (got bool, died string, err error) {
	if err := ctx.Err(); err != nil {
		return false, "", err
	}
	held, cancel := context.WithTimeout(context.WithoutCancel(ctx), acquireTimeout)
	defer cancel()
	if got, died, err = w.Store.AcquireLease(held, j.ImageID, j.Holder); err != nil {
		w.release(ctx, j) // it may have been taken all the same
	}
	return got, died, err
}

// release gives a lease back, if it is held.
func (w *Worker) release(ctx context.Context, j postgres.Judging) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := w.Store.ReleaseLease(ctx, j.ImageID, j.Holder); err != nil {
		w.Log.Debug("could not give a lease back; it ends by itself", "image", j.ImageID, "err", err)
	}
}

func (w *Worker) validate(ctx context.Context, j postgres.Judging, slot *slot) error {
	img, kind, ok, err := w.Store.ToValidate(ctx, j.ValidateArgs)
	if err != nil || !ok {
		w.release(ctx, j) // of the wait
		return err
	}
	got, died, err := w.acquire(ctx, j)
	if err != nil {
		return err
	}
	if !got {
		// The holder may be at bytes that were overwritten meanwhile, or dead: to
		// go away would leave these to the sweep.
		return river.JobSnooze(heldPause)
	}
	defer w.release(ctx, j)
	if died != "" { // who dies at it can't count that himself
		n, since, err := w.Store.CheckFailed(ctx, j, w.Now())
		if broker.CodeOf(err) == broker.CodeNotFound {
			return nil // it moved on meanwhile
		}
		if err != nil {
			return err
		}
		if w.hopeless(n, since) {
			return w.giveUp(ctx, j, n, since, broker.Errorf(broker.CodeInternal, "workers that checked it ended without a word"))
		}
	}

	verdict, err := w.judge(ctx, img, kind, j, slot)
	w.trouble.end(img.Bucket, err)
	switch {
	case err == nil:
		w.storeThumb(ctx, img, j, &verdict, slot)
		moved, err := w.Store.Judge(ctx, j, verdict, w.Now())
		if err == nil && !moved {
			w.dropThumb(ctx, img, verdict)
		}
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
	if !w.hopeless(n, since) {
		return cause
	}
	return w.giveUp(ctx, j, n, since, cause)
}

// hopeless reports whether so many failures since that time are enough.
func (w *Worker) hopeless(failures int, since time.Time) bool {
	return failures >= maxCheckFailures && w.Now().Sub(since) >= minFailingFor
}

// giveUp ends an image as Invalid(unchecked).
func (w *Worker) giveUp(ctx context.Context, j postgres.Judging, n int, since time.Time, cause error) error {
	msg := "the bucket does not give the object back"
	var known *broker.Error
	if errors.As(cause, &known) && known.Msg != "" {
		msg = known.Msg
	}
	why := fmt.Sprintf("it could not be checked %d times since %s: %s", n, since.UTC().Format(time.DateTime), msg)
	if _, err := w.Store.Unchecked(ctx, j, why, w.Now()); err != nil {
		return errors.Join(cause, err)
	}
	w.Log.Error("an image can't be checked", "image", j.ImageID, "err", cause)
	return river.JobCancel(cause)
}

// judge runs the validator under the lease.
func (w *Worker) judge(ctx context.Context, img broker.Image, kind broker.ProjectKind, j postgres.Judging, slot *slot) (broker.Verdict, error) {
	bucket, ok := w.Bucket(img.Bucket)
	if !ok {
		return broker.Verdict{}, broker.Errorf(broker.CodeUnknownBucket, "the bucket %s is not configured any more", img.Bucket)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	src := &checkedSource{
		Source: storage.NewSource(bucket, storage.Object{Key: img.Key(), SizeBytes: img.ObjectBytes, ETag: img.ETag}),
		now:    w.Now, ctx: ctx, slot: slot, first: w.firstPause,
	}
	extending := make(chan struct{})
	go func() {
		defer close(extending)
		w.keepLease(ctx, cancel, j, src, slot)
	}()
	verdict, err := w.check(ctx, src, validate.Want{
		Kind: kind, Name: img.Name, Type: img.Type, SHA1: img.SHA1, Size: img.SizeBytes,
		MaxObject: w.MaxObject, MaxPixels: w.MaxPixels, Budget: w.Budget, Thumb: true,
	})
	if err != nil && context.Cause(ctx) != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	cancel(nil)
	<-extending
	return verdict, err
}

// check is the validator, whose panic is a check that could not run.
func (w *Worker) check(ctx context.Context, src validate.Source, want validate.Want) (v broker.Verdict, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			w.Log.Error("the validator panicked", "panic", fault, "stack", string(debug.Stack()))
			err = broker.Errorf(broker.CodeInternal, "the validator panicked: %.200s", fmt.Sprint(fault))
		}
	}()
	return w.image(ctx, src, want)
}

// keepLease extends the lease until ctx ends, and cancels when a read has
// stalled or the lease was lost. While a read waits, the slot, if there is one, is
// for others.
func (w *Worker) keepLease(ctx context.Context, cancel context.CancelCauseFunc, j postgres.Judging, src *checkedSource, slot *slot) {
	tick := time.NewTicker(w.leaseEvery)
	defer tick.Stop()
	watch := time.NewTicker(w.watchEvery)
	defer watch.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-watch.C:
			if slot != nil && src.waitsFor(yieldAfter) {
				slot.yield(func() bool { return src.waitsFor(yieldAfter) })
			}
			src.dropSilent()
			continue
		case <-tick.C:
		}
		if since := src.waitingSince(); !since.IsZero() && w.Now().Sub(since) > stalledAfter {
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
