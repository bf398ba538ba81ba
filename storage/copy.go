package storage

import (
	"context"
	"path"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

var (
	_ broker.PutSigner = (*Bucket)(nil)
	_ broker.Linker    = (*Bucket)(nil)
	_ broker.Copier    = (*Bucket)(nil)
)

// Copy copies the object from, if its ETag is still etag, over whatever is at
// to; the bytes don't pass here. CodeChanged when it has another ETag,
// CodeNotFound when there is none, CodeNotSupported where the bucket can't. The
// copy outlives a loss of power when Copy returns. Of Seen, the bucket, the ETag
// and the size are set: whose file it is, the caller knows.
func (b *Bucket) Copy(ctx context.Context, from, etag, to string) (seen broker.Seen, err error) {
	err = b.do(ctx, "copy", from, func() error {
		if b.copier == nil {
			return b.notSupported()
		}
		if err := CheckKey(from); err != nil {
			return err
		}
		if err := CheckKey(to); err != nil {
			return err
		}
		if from == to { // S3 refuses it, others rewrite the object
			return broker.Errorf(broker.CodeInvalid, "an object can't be copied onto itself")
		}
		if etag == "" { // to S3, no condition
			return broker.Errorf(broker.CodeInvalid, "a copy needs the ETag of what is copied")
		}
		obj, err := b.copier.Copy(ctx, from, etag, to)
		if err != nil {
			return err
		}
		// Not every server heeds the condition. Equal ETags settle it; others may
		// come of encryption or of parts, so look at the source.
		if obj.ETag != etag {
			src, err := b.driver.Stat(ctx, from)
			if err != nil {
				return err
			}
			if src.ETag != etag {
				return broker.Errorf(broker.CodeChanged, "%s", b.message(broker.CodeChanged))
			}
		}
		if b.syncer != nil {
			if err := b.syncer.Sync(ctx, to); err != nil {
				return err
			}
		}
		seen = broker.Seen{Bucket: b.info.Symbol, ETag: obj.ETag, SizeBytes: obj.SizeBytes}
		return nil
	})
	return seen, err
}

// Link gives a URL that reads the object, which is looked at first: CodeChanged
// when its ETag is not etag, CodeNotFound when there is none. Where the bucket
// has versions, the URL reads the one that was seen, also after it was
// overwritten. Of filename, what a browser saves it as, the last segment counts;
// "" leaves that to the browser. ttl is clamped as in SignPut. CodeNotSupported
// where the bucket gives no links.
func (b *Bucket) Link(ctx context.Context, key, etag, filename string, ttl time.Duration) (string, error) {
	if b.get == nil {
		return "", b.wrap(ctx, "link", key, b.notSupported())
	}
	obj, err := b.Stat(ctx, key)
	if err != nil {
		return "", err
	}
	if obj.ETag != etag {
		changed := broker.Errorf(broker.CodeChanged, "%s", b.message(broker.CodeChanged))
		return "", b.wrap(ctx, "link", key, changed)
	}
	opts := GetOptions{Version: obj.Version}
	if filename != "" {
		opts.Filename = path.Base(filename)
	}
	return b.SignGet(ctx, key, opts, ttl)
}
