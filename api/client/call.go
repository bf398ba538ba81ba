package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer  = 64 << 20 // bytes of an answer that are read
	maxProblem = 64 << 10 // bytes of a refusal
	callLimit  = 2 * time.Minute
)

// call is one call of the API.
type call struct {
	method, path string // path below /v1, escaped
	query        url.Values
	in, out      any
	once         bool // must not be made twice: retry only what surely was not done
}

func (k call) String() string { return k.method + " /v1" + k.path }

// do makes a call, again if need be, and reads its answer into k.out.
func (c *Client) do(ctx context.Context, k call) error {
	var body []byte
	if k.in != nil {
		var err error
		if body, err = json.Marshal(k.in); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	began := time.Now()
	for try := 0; ; try++ {
		err := c.attempt(ctx, k, body)
		if err == nil {
			if try > 0 && c.trouble != nil {
				c.trouble(nil)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait, again := c.retry(k, err, try)
		if !again || time.Since(began)+wait > c.retryFor {
			return err
		}
		if c.trouble != nil {
			c.trouble(err)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// attempt makes the call once.
func (c *Client) attempt(ctx context.Context, k call, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	u := c.base.String() + "/v1" + k.path
	if len(k.query) > 0 {
		u += "?" + k.query.Encode()
	}
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u, r)
	if err != nil {
		return fmt.Errorf("%s: %w", k, bare(err))
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", c.userAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.api.Do(req)
	if err != nil {
		return &connError{server: c.base.Host, call: k.String(), err: bare(err)}
	}
	defer res.Body.Close()
	c.state.answered.Store(true)
	if d, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		// Date has whole seconds; half of one is its best guess.
		c.state.skew.Store(int64(d.Add(500 * time.Millisecond).Sub(c.now())))
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return c.refusal(k, res)
	}
	if k.out == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxProblem)) // so that the connection can be kept
		return nil
	}
	if t, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); t != "application/json" {
		return fmt.Errorf("%s answers %q instead of JSON: is this an uploadbroker server?", c.base.Host, t)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return &connError{server: c.base.Host, call: k.String(), err: bare(err)}
	}
	if err := json.Unmarshal(answer, k.out); err != nil {
		return fmt.Errorf("%s: the answer can't be read: %w", k, err)
	}
	return nil
}

// refusal reads a problem document; anything else becomes one.
func (c *Client) refusal(k call, res *http.Response) error {
	e := &Error{HTTPStatus: res.StatusCode, Call: k.String()}
	b, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	t, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if strings.HasSuffix(t, "json") {
		_ = json.Unmarshal(b, &e.Problem) // a broken document leaves the status to speak
	}
	if e.Code == "" && e.Detail == "" && e.Title == "" {
		e.Title = fmt.Sprintf("%s answers %d %s", c.base.Host, res.StatusCode, http.StatusText(res.StatusCode))
	}
	if d := retryAfter(res.Header, c.now()); d > 0 {
		e.RetryAfter = int((d + time.Second - 1) / time.Second)
	}
	return e
}

// retry says whether a failed call is worth another try, and when.
func (c *Client) retry(k call, err error, try int) (time.Duration, bool) {
	var e *Error
	if errors.As(err, &e) {
		wait := max(c.pauses.at(try), time.Duration(e.RetryAfter)*time.Second)
		switch e.HTTPStatus {
		case http.StatusTooManyRequests:
			return wait, true
		case http.StatusServiceUnavailable:
			return wait, !k.once || e.RetryAfter > 0 // with Retry-After it was refused, not begun
		case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
			return wait, !k.once
		}
		return 0, false
	}
	var ce *connError
	if !errors.As(err, &ce) || hopeless(err) {
		return 0, false
	}
	// A server that was never there is a wrong address more often than a restart.
	if notReached(err) {
		return c.pauses.at(try), c.state.answered.Load()
	}
	return c.pauses.at(try), !k.once
}

// connError is a failure of the line rather than of the server.
type connError struct {
	server, call string
	err          error
}

func (e *connError) Error() string {
	return fmt.Sprintf("can't reach the server %s: %v", e.server, e.err)
}

func (e *connError) Unwrap() error { return e.err }

// IsUnreachable reports whether err means that the server did not answer, rather
// than that it refused.
func IsUnreachable(err error) bool {
	var ce *connError
	return errors.As(err, &ce)
}

// notReached reports whether no connection came about, so that nothing was sent.
func notReached(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// hopeless reports failures that another try meets again: a wrong certificate, a
// server that speaks no TLS, a redirect that is not followed.
func hopeless(err error) bool {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var redirect *redirectError
	return errors.As(err, &cert) || errors.As(err, &record) || errors.As(err, &redirect)
}

// bare takes the URL out of an error of net/http: a presigned one is a secret,
// and the caller knows where it called.
func bare(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// retryAfter reads the header: seconds, or a date (RFC 9110, 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if s, err := strconv.Atoi(v); err == nil {
		return time.Duration(max(s, 0)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

// pauses are waits that double up to a limit, each spread over its upper half so
// that many clients don't come back in step.
type pauses struct{ first, max time.Duration }

func (p pauses) at(try int) time.Duration {
	d := p.max
	if try < 20 {
		d = min(p.first<<try, p.max)
	}
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d/2+1)
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
