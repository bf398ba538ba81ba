package worker

import (
	"bytes"
	"context"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// thumbTime bounds the storing of one thumbnail. It is less than half of a lease,
// which is extended right before: whoever validates the image next finds this one
// done.
const thumbTime = 20 * time.Second

// storeThumb stores the thumbnail of a sound image, before its verdict is: who
// reads of it finds it. Without it the verdict stands all the same, and tells of
// none. What an Invalid image had before goes.
func (w *Worker) storeThumb(ctx context.Context, img broker.Image, j postgres.Judging, v *broker.Verdict, slot *slot) {
	facts := v.Facts.Thumb
	v.Facts.Thumb = nil
	bucket, ok := w.Bucket(img.Bucket)
	if !ok || v.Sound() && (facts == nil || len(v.Thumb) == 0) {
		return // one of a former verdict is swept
	}
	if held, err := w.Store.ExtendLease(ctx, j.ImageID, j.Holder); err != nil || !held {
		return // another worker may be at it: that one's counts
	}
	stopping := ctx
	ctx, cancel := context.WithTimeout(ctx, thumbTime)
	defer cancel()
	// While the bucket lets it wait, the slot is for others.
	waits := time.AfterFunc(yieldAfter, func() { slot.yield(func() bool { return ctx.Err() == nil }) })
	defer waits.Stop()

	key := broker.ThumbKey(img.ProjectID, img.ID)
	if !v.Sound() {
		if err := bucket.Delete(ctx, key); err != nil {
			w.Log.Warn("could not delete the thumbnail of an Invalid image; it is swept", "image", img.ID, "err", err)
		}
		return
	}
	obj, err := bucket.Put(ctx, key, bytes.NewReader(v.Thumb), storage.PutOptions{
		ContentType: broker.ThumbType, SizeBytes: int64(len(v.Thumb)),
	})
	if err == nil {
		err = bucket.Sync(ctx, key)
	}
	if err != nil && stopping.Err() != nil {
		return // nor will the verdict be
	}
	if err != nil {
		w.Log.Warn("could not store a thumbnail; the image has none", "image", img.ID, "err", err)
		if w.ThumbFailed != nil {
			w.ThumbFailed(img.Bucket, broker.CodeOf(err))
		}
		return
	}
	stored := *facts
	stored.ETag = obj.ETag
	v.Facts.Thumb = &stored
}

// dropThumb deletes the thumbnail of a verdict that came too late, as far as that
// works; the lease is still held.
func (w *Worker) dropThumb(ctx context.Context, img broker.Image, v broker.Verdict) {
	bucket, ok := w.Bucket(img.Bucket)
	if !ok || v.Facts.Thumb == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, thumbTime)
	defer cancel()
	if err := bucket.Delete(ctx, broker.ThumbKey(img.ProjectID, img.ID)); err != nil {
		w.Log.Warn("could not delete the thumbnail of a verdict that came too late; it is swept", "image", img.ID, "err", err)
	}
}
