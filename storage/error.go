package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// wrap gives a driver's error its code, a message that is safe to show, and for
// the log the operation, the bucket and the key. It is the only place that does.
func (b *Bucket) wrap(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	// Some SDKs replace a context's error with one of their own.
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	out := &broker.Error{Err: fmt.Errorf("%s %s/%s: %w", op, b.info.Symbol, key, err)}
	// The caller's own error can come back through Put's body: its code stays.
	var known *broker.Error
	switch {
	case errors.As(err, &known):
		out.Code, out.Msg, out.RetryAfter = known.Code, known.Msg, known.RetryAfter
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		out.Code = broker.CodeUnavailable
	default:
		out.Code = b.driver.Code(err)
	}
	if out.Msg == "" {
		out.Msg = b.message(out.Code)
	}
	if (out.Code == broker.CodeUnavailable || out.Code == broker.CodeTooManyRequests) && out.RetryAfter == 0 {
		out.RetryAfter = 5 * time.Second
	}
	return out
}

// message says of a code what a stranger may know: the bucket's public symbol,
// never a key, URL or the cloud's own words.
func (b *Bucket) message(code broker.Code) string {
	name := b.info.Symbol
	switch code {
	case broker.CodeNotFound:
		return "there is no such object in bucket " + name
	case broker.CodeChanged:
		return "the object in bucket " + name + " has changed"
	case broker.CodeConflict:
		return "bucket " + name + " already has an object there"
	case broker.CodeDenied:
		return "bucket " + name + " refused the broker's own credentials"
	case broker.CodeUnavailable:
		return "bucket " + name + " does not answer; try again"
	case broker.CodeTooManyRequests:
		return "bucket " + name + " is asked too often at this moment; try again"
	case broker.CodeTooLarge:
		return "the object is too large for bucket " + name
	case broker.CodeNotSupported:
		return "bucket " + name + " can't do that"
	case broker.CodeInvalid:
		return "bucket " + name + " found the request malformed"
	}
	return "an operation on bucket " + name + " failed"
}

func (b *Bucket) notSupported() error {
	return broker.Errorf(broker.CodeNotSupported, "%s", b.message(broker.CodeNotSupported))
}

// body gives errors of reading the same form as errors of opening.
type body struct {
	io.ReadCloser
	ctx context.Context
	b   *Bucket
	key string
}

func (r *body) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = r.b.wrap(r.ctx, "read", r.key, err)
	}
	return n, err
}
