package storage

import (
	"context"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// probePrefix is where Probe writes. No project's id looks like it.
const probePrefix = "uploadbroker-probe/"

// What is known of a bucket's bindings.
const (
	bindingUnknown int32 = iota
	bindingHeld
	bindingIgnored
)

// WithBound says of a bucket that it is known to hold the bindings of its
// grants, as the local one does, whose conformance suite proves it.
func WithBound() Option {
	return func(b *Bucket) { b.binding.Store(bindingHeld) }
}

// Probe finds out whether the bucket refuses what a grant does not allow, and
// remembers it for Bound and SignPut. It needs the rights to put, look at and
// delete objects below "uploadbroker-probe/", and leaves none there. After an
// error nothing new is known. CodeNotSupported where the bucket can't be probed.
func (b *Bucket) Probe(ctx context.Context) error {
	key := probePrefix + broker.NewID(time.Now())
	return b.do(ctx, "probe", key, func() error {
		if b.prober == nil {
			return b.notSupported()
		}
		bound, err := b.prober.ProbeBinding(ctx, key)
		if err != nil {
			return err
		}
		if bound {
			b.binding.Store(bindingHeld)
		} else {
			b.binding.Store(bindingIgnored)
		}
		return nil
	})
}

// Bound reports whether the bucket refuses other bytes than a grant names, and
// whether this is known at all.
func (b *Bucket) Bound() (bound, known bool) {
	now := b.binding.Load()
	return now == bindingHeld, now != bindingUnknown
}

func (b *Bucket) holdsBindings() bool { return b.binding.Load() == bindingHeld }
