package storage

import (
	"context"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

var _ broker.ThumbLinker = (*Bucket)(nil)

// LinkOwn gives a URL that reads an object which the broker alone writes, so that
// nothing is asked of the bucket: it also reads what comes later, and nothing where
// there is nothing. ttl is clamped as in SignPut. CodeNotSupported where the bucket
// gives no links.
func (b *Bucket) LinkOwn(ctx context.Context, key string, ttl time.Duration) (string, error) {
	return b.SignGet(ctx, key, GetOptions{}, ttl)
}
