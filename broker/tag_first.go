package broker

import (
	"context"
	"crypto/sha1"
	"errors"
	"time"
)

// reserveTime is how long a tag's first file may be on its way. Uploads in parts are
// given up after as long.
const reserveTime = 24 * time.Hour

// receiveFirst makes the tag with its first file. The object's key has the project's id
// in it, so that this is kept before the first byte comes: as one that is removed,
// which nobody sees, and whose prefix is emptied should this process be killed. A file
// that does not come whole takes it along.
func (t *TagIntake) receiveFirst(ctx context.Context, place Bucket, f NewTagFile, m *meter) (Image, bool, error) {
	s := t.tags
	t.project = s.newTag(t.project.Tag, t.project.OwnerID) // of this file alone
	if err := s.Store.ReserveTag(ctx, t.project, s.Now().Add(reserveTime)); err != nil {
		return Image{}, false, err
	}
	reserved := t.project.ID
	r, err := t.put(ctx, place, f, m)
	if err != nil {
		if m.broke || refused(err) {
			t.release(ctx, reserved)
		}
		return Image{}, false, err
	}
	img, kept, err := t.keep(ctx, r)
	switch {
	case kept:
		t.first = false
		return img, true, nil
	case errors.Is(err, errUnsure):
		return Image{}, false, err
	}
	if code := CodeOf(err); code == CodeConflict || code == CodeNotFound {
		img, kept, err = t.follow(ctx, place, f, r)
	}
	if t.discard(ctx, place, r.key()) {
		t.release(ctx, reserved)
	}
	return img, kept, err
}

// refused reports whether a bucket that took no file has said so. Any other failure may
// have come after the file was stored: then what was reserved stays, and its own sweep
// finds what lies there.
func refused(err error) bool {
	switch CodeOf(err) {
	case CodeDenied, CodeInsufficientStorage, CodeTooLarge, CodeTooManyRequests, CodeNotSupported, CodeInvalid, CodeConflict:
		return true
	}
	return false
}

// followMost is how often a file is brought elsewhere.
const followMost = 3

// follow brings a file that was put to the tag which has its name by now: another file
// made it meanwhile, or this one was removed, or what was removed came back. It is read
// back from its bucket: this happens seldom in the life of a tag.
func (t *TagIntake) follow(ctx context.Context, place Bucket, f NewTagFile, r incoming) (Image, bool, error) {
	next, err := t.tags.Intake(ctx, t.shown, t.client, t.project.Tag)
	if err != nil {
		return Image{}, false, err
	}
	if next.followed = t.followed + 1; next.followed > followMost || place.Reader == nil {
		return Image{}, false, errMoving(t.project.Tag, nil)
	}
	if next.anonymous && t.tags.Policy.QuotaBytes > 0 {
		if err := t.tags.fits(ctx, next.project, r.Seen.SizeBytes); err != nil {
			return Image{}, false, err
		}
	}
	body, err := place.Reader.OpenProven(ctx, r.key(), r.Seen.ETag, r.Seen.SizeBytes, 0)
	if err != nil {
		return Image{}, false, errMoving(t.project.Tag, err) // the sweep of what was removed may have had it
	}
	defer body.Close()
	f.Body, f.SizeBytes = body, r.Seen.SizeBytes
	none := func() error { return nil } // it has its room already
	m := &meter{body: body, sum: sha1.New(), most: f.SizeBytes, grow: func(int64) error { return nil }, recheck: none}
	take := next.receive
	if next.first {
		take = next.receiveFirst
	}
	img, kept, err := take(ctx, place, f, m)
	switch {
	case err == nil:
		t.project, t.first = next.project, false
	case m.broke:
		err = errMoving(t.project.Tag, err) // no fault of the sender's
	}
	return img, kept, err
}

// errMoving has the sender try again: the bytes are good, and another time they are kept.
func errMoving(tag string, cause error) error {
	e := Errorf(CodeUnavailable, "the tag %s was made or removed at this moment; send the file again", tag)
	e.RetryAfter, e.Err = 5*time.Second, cause
	return e
}

// release forgets what was reserved. Should that fail, it goes by itself.
func (t *TagIntake) release(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	if err := t.tags.Store.ReleaseTag(ctx, id); err != nil && t.tags.Log != nil {
		t.tags.Log.Warn("could not forget a tag that was not made; it goes by itself within a day", "project", id, "err", err)
	}
}
