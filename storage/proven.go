package storage

import (
	"context"
	"io"

	"github.com/uploadbroker/uploadbroker/broker"
)

var _ broker.ObjectReader = (*Bucket)(nil)

// OpenProven reads an object from an offset to its end, if it still has the ETag
// and the size by which it was proven; the caller closes it. CodeChanged when it
// has not. At or behind the end there is nothing to read, which asks nobody.
func (b *Bucket) OpenProven(ctx context.Context, key, etag string, sizeBytes, offset int64) (io.ReadCloser, error) {
	return NewSource(b, Object{Key: key, ETag: etag, SizeBytes: sizeBytes}).Open(ctx, offset)
}
