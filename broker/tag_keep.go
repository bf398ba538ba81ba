package broker

import (
	"context"
	"errors"
	"time"
)

// keepTime bounds each thing that is done after the last byte came: the client may have
// left.
const keepTime = 30 * time.Second

// errUnsure says that an object may have become a file, or may not: it is left where it
// is. If it serves nobody, it goes as an orphan.
var errUnsure = errors.New("what became of the file is not known")

// keep makes an image of what was put. Whoever has these bytes already by an object that
// nobody has looked at yet is asked for it: one that is gone has them no more.
func (t *TagIntake) keep(ctx context.Context, r incoming) (Image, bool, error) {
	img, kept, err := t.record(ctx, r)
	if err == nil && !kept && img.State == StateUploaded && !t.holds(ctx, img) {
		r.Gone = img.Filename
		return t.record(ctx, r)
	}
	return img, kept, err
}

// record writes down what was put.
func (t *TagIntake) record(ctx context.Context, r incoming) (Image, bool, error) {
	// All is there: whether the client still waits for the answer decides nothing.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	img, kept, err := t.tags.Store.ReceiveFile(within, r.ReceivedFile)
	switch CodeOf(err) {
	case "":
		return img, kept, nil
	case CodeNotFound, CodeConflict:
		return Image{}, false, err
	}
	return t.recorded(ctx, r, err)
}

// recorded finds out whether an image was made of what was put: the answer may have been
// lost on its way.
func (t *TagIntake) recorded(ctx context.Context, r incoming, cause error) (Image, bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	img, err := t.tags.Store.ReceivedAs(ctx, r.ProjectID, r.filename)
	switch {
	case err == nil:
		return img, true, nil
	case CodeOf(err) == CodeNotFound:
		return Image{}, false, cause
	}
	return Image{}, false, &Error{
		Code: CodeUnavailable, Msg: "the database does not tell whether the file was kept; send it again", RetryAfter: 5 * time.Second,
		Err: errors.Join(errUnsure, cause, err),
	}
}

// holds reports whether an image's object is seen to be there.
func (t *TagIntake) holds(ctx context.Context, img Image) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	b, ok := t.tags.Images.Places.now.Load().find(img.Bucket)
	if !ok || b.Receiver == nil {
		return false
	}
	there, err := b.Receiver.Holds(ctx, img.Key(), img.ETag)
	return there && err == nil
}

// discard removes an object that serves no file. It reports whether it is gone.
func (t *TagIntake) discard(ctx context.Context, place Bucket, key string) bool {
	// What came before may have failed for want of time: a fresh one for this.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	err := place.Receiver.Discard(ctx, key)
	if err != nil && t.tags.Log != nil {
		t.tags.Log.Warn("could not delete an object that serves no file; `buckets orphans --sweep` will", "bucket", place.Symbol, "key", key, "err", err)
	}
	return err == nil
}
