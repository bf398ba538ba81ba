package storage

import (
	"context"
	"errors"
	"io"

	"github.com/uploadbroker/uploadbroker/broker"
)

var _ broker.ObjectReceiver = (*Bucket)(nil)

// Receive streams a body that passes through the broker into an object; on an error
// nothing is stored. sizeBytes is negative when it is not known. The object outlives a
// loss of power when Receive returns. CodeInsufficientStorage when the bucket has no
// room. Of Seen, the ETag and the size are set.
func (b *Bucket) Receive(ctx context.Context, key, contentType string, sizeBytes int64, body io.Reader) (broker.Seen, error) {
	obj, err := b.Put(ctx, key, body, PutOptions{ContentType: contentType, SizeBytes: sizeBytes})
	if err != nil {
		return broker.Seen{}, noRoom(err)
	}
	if err = b.Sync(ctx, key); err == nil && obj.ETag == "" {
		obj, err = b.Stat(ctx, key)
	}
	if err != nil {
		return broker.Seen{}, errors.Join(err, b.Delete(context.WithoutCancel(ctx), key))
	}
	return broker.Seen{ETag: obj.ETag, SizeBytes: obj.SizeBytes}, nil
}

// Holds reports whether an object is there and has this ETag.
func (b *Bucket) Holds(ctx context.Context, key, etag string) (bool, error) {
	obj, err := b.Stat(ctx, key)
	if broker.CodeOf(err) == broker.CodeNotFound {
		return false, nil
	}
	return err == nil && obj.ETag == etag, err
}

// Discard removes an object; none there is no error.
func (b *Bucket) Discard(ctx context.Context, key string) error { return b.Delete(ctx, key) }

// noRoom tells a bucket that is full from one that does not answer: to whom sends
// files through the broker this makes a difference. SDKs' errors have a method that
// gives the cloud's own name for what happened.
func noRoom(err error) error {
	var named interface{ ErrorCode() string }
	if !errors.As(err, &named) {
		return err
	}
	switch named.ErrorCode() {
	case "InsufficientStorage", "XMinioStorageFull", "QuotaExceeded":
		return &broker.Error{
			Code: broker.CodeInsufficientStorage, Err: err,
			Msg: "the bucket is full and takes no more files; have space freed in it, then send the file again",
		}
	}
	return err
}
