package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// fetchesAtOnce bounds how many URLs are read at once. They have a queue of their
// own, so that slow hosts don't hold validations up.
const fetchesAtOnce = 4

// fetching is the River worker of broker.FetchArgs. What it logs and answers
// names a URL's host at most, for the rest may be a secret.
type fetching struct {
	river.WorkerDefaults[broker.FetchArgs]
	w *Worker
}

// Timeout is that of a validation of the largest object, whose size nobody knows
// before.
func (f *fetching) Timeout(*river.Job[broker.FetchArgs]) time.Duration {
	return f.w.timeout(f.w.MaxObject)
}

// NextRetry grows from 10 s to 5 min.
func (f *fetching) NextRetry(job *river.Job[broker.FetchArgs]) time.Time {
	pauses := []time.Duration{10 * time.Second, 30 * time.Second, 90 * time.Second, 5 * time.Minute}
	return f.w.Now().Add(pauses[min(max(job.Attempt-1, 0), len(pauses)-1)])
}

// Work brings one image's bytes. What may pass by itself is tried again; another
// failure, or the last of these, ends the image.
func (f *fetching) Work(ctx context.Context, job *river.Job[broker.FetchArgs]) error {
	j := postgres.Judging{
		ValidateArgs: broker.ValidateArgs{ImageID: job.Args.ImageID}, Holder: fmt.Sprintf("%s/%d.%d", f.w.id, job.ID, job.Attempt),
	}
	permanent, err := f.w.fetch(ctx, job.Args, j)
	var snooze *river.JobSnoozeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &snooze):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return river.JobSnooze(0) // the program stops; that was no attempt
	case !permanent && job.Attempt < postgres.FetchAttempts:
		return err
	}
	why := "it could not be fetched"
	var known *broker.Error
	if errors.As(err, &known) && known.Msg != "" {
		why += ": " + known.Msg
	}
	// The job's own time may be what ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, failed := f.w.Store.FetchFailed(ctx, job.Args, why, f.w.Now()); failed != nil {
		return errors.Join(err, failed)
	}
	return river.JobCancel(err)
}

// fetch streams a URL into the image's key, under the image's lease: a fetch that
// runs without one is a dead worker's, and is queued again. permanent says that a
// further try would end no better.
func (w *Worker) fetch(ctx context.Context, args broker.FetchArgs, j postgres.Judging) (permanent bool, err error) {
	img, url, ok, err := w.Store.ToFetch(ctx, args)
	if err != nil || !ok {
		return false, err
	}
	if w.Fetch == nil {
		return true, broker.Errorf(broker.CodeNotSupported, "this installation fetches no URLs; upload the file instead")
	}
	bucket, ok := w.Bucket(args.Bucket)
	if !ok {
		return false, broker.Errorf(broker.CodeUnknownBucket, "the bucket %s is not configured any more", args.Bucket)
	}
	got, _, err := w.acquire(ctx, j)
	if err != nil {
		return false, err
	}
	if !got {
		return false, river.JobSnooze(heldPause)
	}
	permanent, err = w.fetchHeld(ctx, img, url, bucket, j)
	w.release(ctx, j) // before the look, whose validation wants it
	if err != nil && broker.CodeOf(err) != broker.CodeConflict {
		return permanent, err
	}
	// It came, or the client's own upload did meanwhile: that one counts.
	if err := w.LookAt(ctx, args.Bucket, img.Key()); err != nil {
		return false, err
	}
	if err != nil {
		_, _, still, lookErr := w.Store.ToFetch(ctx, args)
		if lookErr != nil || !still {
			return false, lookErr
		}
	}
	return false, err // a bucket that says there is an object, and then that there is none
}

// fetchHeld streams a URL into the bucket, where nothing is stored unless all came.
func (w *Worker) fetchHeld(ctx context.Context, img broker.Image, url string, bucket *storage.Bucket, j postgres.Judging) (permanent bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	holding := make(chan struct{})
	go func() {
		defer close(holding)
		w.keepLease(ctx, cancel, j, &checkedSource{}, nil)
	}()
	defer func() {
		cancel(nil)
		<-holding
	}()
	defer func() {
		if errors.Is(context.Cause(ctx), errLeaseLost) {
			permanent, err = false, river.JobSnooze(heldPause)
		}
	}()
	resp, err := w.Fetch.Get(ctx, url)
	if err != nil {
		return !fetch.Transient(err), err
	}
	defer resp.Body.Close()
	_, err = bucket.Put(ctx, img.Key(), resp.Body, storage.PutOptions{
		ContentType: contentType(img, resp.ContentType), SizeBytes: resp.SizeBytes, IfAbsent: true,
	})
	// A body's own error keeps its code. What it or a bucket says may pass, but for
	// one thing.
	return broker.CodeOf(err) == broker.CodeTooLarge, err
}

// contentType is what the object is served as: what the image's name says, and the
// far host's word only where that says nothing and the host names a picture.
// A picture that can hold scripts is none.
func contentType(img broker.Image, told string) string {
	const unknown = "application/octet-stream"
	if img.Type != "" && img.Type != unknown {
		return img.Type
	}
	told, _, _ = strings.Cut(told, ";")
	switch told = strings.ToLower(strings.TrimSpace(told)); told {
	case "image/jpeg", "image/png", "image/webp", "image/tiff", "image/heic", "image/heif", "image/avif", "image/x-adobe-dng":
		return told
	}
	return unknown
}
