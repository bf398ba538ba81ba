package archive

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// How a read that breaks off goes on: it is opened again where it stopped, after a
// pause that doubles while nothing comes.
const (
	maxTries   = 6        // in a row, with less than worthwhile between them
	worthwhile = 64 << 10 // bytes
	firstPause = 100 * time.Millisecond
	maxPause   = 10 * time.Second
	maxSilence = 30 * time.Second // without a byte: the connection is taken for dead
)

// object is the bytes of one file, read from its bucket from some offset on.
type object struct {
	a   *archiveZip
	ctx context.Context // of the zip
	it  item

	off   int64 // of the next byte
	body  *body // nil: to be opened
	whole bool  // it is read from its first byte: its CRC-32 can be told
	crc   uint32

	tries int   // in a row
	got   int64 // bytes since the last try
}

// read reads on. It never gives more than the object's size, and io.EOF only
// behind all of it.
func (o *object) read(p []byte) (int, error) {
	if o.off >= o.it.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), o.it.size-o.off)]
	for {
		n, err := o.readOnce(p)
		if n > 0 {
			o.got += int64(n)
			o.off += int64(n)
			if o.whole {
				o.crc = crc32.Update(o.crc, crc32.IEEETable, p[:n])
			}
			if o.off == o.it.size && o.whole && o.crc != o.it.crc {
				// The last bytes stay here, so that no file ends that is another.
				return 0, broker.Errorf(broker.CodeChanged, "the object %s in %s has the CRC-32 %08x, and not %08x as it was proven",
					o.it.key, o.it.bucket, o.crc, o.it.crc)
			}
			return n, nil // what failed behind these bytes fails again
		}
		if err == nil {
			continue
		}
		if err := o.again(err); err != nil {
			return 0, err
		}
	}
}

func (o *object) readOnce(p []byte) (int, error) {
	if o.body == nil {
		b := o.a.open(o.ctx, &o.it, o.off)
		<-b.opened
		o.body = b
	}
	n, err := o.body.read(p)
	if err != nil {
		o.close()
	}
	if errors.Is(err, io.EOF) { // a bucket should have said so: it is before the end
		err = broker.Errorf(broker.CodeUnavailable, "the object ended before its last byte")
		if n > 0 && o.off+int64(n) == o.it.size {
			err = nil
		}
	}
	return n, err
}

// again waits before another try, or returns why there is none.
func (o *object) again(err error) error {
	if ctxErr := o.ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	pause := firstPause
	var known *broker.Error
	if errors.As(err, &known) {
		switch known.Code {
		case broker.CodeUnavailable, broker.CodeTooManyRequests, broker.CodeInternal:
		default:
			return err
		}
	}
	if o.got >= worthwhile {
		o.tries = 0
	}
	o.got = 0
	if o.tries++; o.tries > maxTries {
		return err
	}
	pause <<= o.tries - 1
	if known != nil {
		pause = max(pause, known.RetryAfter)
	}
	return o.a.sleep(o.ctx, min(pause, maxPause))
}

// close lets the connection go.
func (o *object) close() {
	if o.body != nil {
		o.body.close()
		o.body = nil
	}
}

// body is a read of an object that was begun, or that is being begun.
type body struct {
	cancel context.CancelCauseFunc
	ctx    context.Context
	quiet  *time.Timer // ends it when the bucket says nothing for long
	after  time.Duration
	opened chan struct{} // closed when rc and err are known
	rc     io.ReadCloser
	err    error
}

// errSilent ends a body.
var errSilent = broker.Errorf(broker.CodeUnavailable, "the bucket sent no byte for %d seconds", int(maxSilence.Seconds()))

// open begins to read an object.
func (z *archiveZip) open(ctx context.Context, it *item, off int64) *body {
	b := &body{opened: make(chan struct{}), after: z.silence}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	b.quiet = time.AfterFunc(b.after, func() { b.cancel(errSilent) })
	e := broker.ZipEntry{SizeBytes: it.size, CRC32: it.crc, Bucket: it.bucket, Key: it.key, ETag: it.etag}
	z.reads.Add(1)
	go func() {
		defer z.reads.Done()
		b.rc, b.err = z.opener.Open(b.ctx, e, off)
		b.quiet.Stop()
		close(b.opened)
	}()
	return b
}

// read reads from what is open.
func (b *body) read(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.named(b.err)
	}
	b.quiet.Reset(b.after)
	n, err = b.rc.Read(p)
	b.quiet.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.named(err)
	}
	return n, err
}

// named is an error by its cause, where that was ours.
func (b *body) named(err error) error {
	if context.Cause(b.ctx) == errSilent { //nolint:errorlint // no other
		return errSilent
	}
	return err
}

// close ends the read, also one that is not open yet.
func (b *body) close() {
	b.cancel(nil)
	b.quiet.Stop()
	<-b.opened
	if b.rc != nil {
		_ = b.rc.Close() // it was read, or is not wanted
		b.rc = nil
	}
}
