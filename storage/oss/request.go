package oss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// Bounds of one operation. The SDK itself never tries again; a caller's job is
// retried at large by the worker, so an operation must not sit here for minutes.
const (
	maxAttempts  = 3
	firstBackoff = 100 * time.Millisecond // doubles
	shortTime    = 20 * time.Second       // one try of a request that moves few bytes
	longTime     = 2 * time.Minute        // one try of what the cloud itself may be long at
	noLimit      = time.Duration(0)       // a body is sent, as fast as the line is
)

// maxErrorBytes is what is read of an answer that is an error.
const maxErrorBytes = 64 << 10

// errSlow says that a try was given up. Code knows it.
var errSlow = errors.New("oss: no answer in time")

// lineError is an exchange that failed before there was an answer. Unlike the
// *url.Error that it was, it holds no URL, whose query may be secret.
type lineError struct {
	op  string
	err error
}

func (e *lineError) Error() string { return "oss: " + e.op + ": " + e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

// do tries an operation, a few times where that may help. Whatever f does must
// repeat safely, and end with its context, which ends with the try.
func (b *Bucket) do(ctx context.Context, limit time.Duration, f func(ctx context.Context, withContext sdk.Option) error) error {
	for try := 1; ; try++ {
		// The SDK asks for credentials without a context.
		if _, err := b.creds.get(ctx); err != nil {
			return err
		}
		err := b.attempt(ctx, limit, f)
		if err == nil || ctx.Err() != nil || try == maxAttempts || !transient(err) {
			return err
		}
		select {
		case <-time.After(firstBackoff << (try - 1)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *Bucket) attempt(ctx context.Context, limit time.Duration, f func(ctx context.Context, withContext sdk.Option) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	try, cancel := ctx, context.CancelFunc(func() {})
	if limit > 0 {
		try, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	err := f(try, sdk.WithContext(try))
	if err != nil && try.Err() != nil && ctx.Err() == nil {
		return errSlow
	}
	return clean(err)
}

// clean takes away what an error must not hold: URLs, the SDK's raw answers.
func clean(err error) error {
	var answer *answerError
	var exchange *url.Error
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &exchange):
		return &lineError{exchange.Op, exchange.Err}
	}
	return err
}

// transient tells whether another try may help.
func transient(err error) bool {
	var answer *answerError
	if errors.As(err, &answer) {
		return answer.status >= 500 && answer.status != http.StatusNotImplemented ||
			answer.status == http.StatusRequestTimeout || answer.status == http.StatusTooManyRequests
	}
	var line *lineError
	var crc sdk.CRCCheckError
	return errors.As(err, &line) || errors.As(err, &crc) || errors.Is(err, errSlow)
}

// guard stands below the SDKs. Answers that are no success come out of it as
// errors, so that all of them are read here, within bounds: the OSS SDK leaves
// bodies of redirects open and gives some answers no type, STS's panics at some.
type guard struct {
	base http.RoundTripper
	read func(resp *http.Response, body []byte) *answerError
}

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.base.RoundTrip(r)
	if err != nil || resp.StatusCode/100 == 2 {
		return resp, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	if err != nil {
		return nil, fmt.Errorf("read an answer %d: %w", resp.StatusCode, err)
	}
	return nil, g.read(resp, body)
}
