package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// maxRedirects is how many redirects one Get follows.
const maxRedirects = 5

// Response is what a host gave.
type Response struct {
	Body        io.ReadCloser // its errors have codes too
	SizeBytes   int64         // as declared; -1: unknown
	ContentType string        // the host's word, as it came
}

// Get fetches a URL; the caller closes the body. Redirects are followed, each
// judged like the URL itself, but not from https to http.
//
// Errors: CodeUnavailable may pass by itself (Transient); no other does.
// CodeInvalid and CodeNotAllowed as Check says; CodeNotAllowed when the name leads
// to an address that must not be dialed; CodeNotFound for an unknown host or page;
// CodeTooLarge for a body over the limit, told before it is read where its length
// is declared. A body that ends before its declared length, stalls or drips gives
// CodeUnavailable.
func (c *Client) Get(ctx context.Context, rawURL string) (*Response, error) {
	checked, err := c.Check(rawURL)
	if err != nil {
		return nil, err
	}
	u, err := c.parse(checked)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := c.follow(ctx, cancel, u)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return resp, nil
}

// follow asks until an answer is no redirect. cancel ends ctx.
func (c *Client) follow(ctx context.Context, cancel context.CancelCauseFunc, u *url.URL) (*Response, error) {
	for redirects := 0; ; redirects++ {
		resp, err := c.ask(ctx, cancel, u)
		if err != nil {
			return nil, err
		}
		if !isRedirect(resp.StatusCode) {
			return c.accept(ctx, cancel, u, resp)
		}
		resp.Body.Close()
		if redirects == maxRedirects {
			return nil, invalid("%s redirects more than %d times", u.Hostname(), maxRedirects)
		}
		if u, err = c.next(u, resp.Header.Get("Location")); err != nil {
			return nil, err
		}
	}
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// next is where a redirect leads. Its slashes stay as they are: a host knows its
// own paths.
func (c *Client) next(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" {
		return nil, invalid("%s redirects to what is no URL", from.Hostname())
	}
	if from.Scheme == "https" && to.Scheme == "http" {
		return nil, broker.Errorf(broker.CodeNotAllowed, "%s redirects from https to http", from.Hostname())
	}
	s, err := to.String(), c.admit(to)
	if err == nil && len(s) > maxURLBytes {
		err = errLong()
	}
	if err != nil {
		var known *broker.Error
		errors.As(err, &known)
		return nil, broker.Errorf(known.Code, "%s redirects to another address: %s", from.Hostname(), known.Msg)
	}
	return to, nil
}

// ask sends one request and waits for its answer to begin.
func (c *Client) ask(ctx context.Context, cancel context.CancelCauseFunc, u *url.URL) (*http.Response, error) {
	r, err := c.request(ctx, u.String())
	if err != nil {
		return nil, err
	}
	slow := time.AfterFunc(c.o.StallAfter, func() {
		cancel(unavailable(nil, "%s did not answer within %v", u.Hostname(), c.o.StallAfter))
	})
	defer slow.Stop()
	resp, err := c.transport.RoundTrip(r)
	if err != nil {
		return nil, failure(ctx, u.Hostname(), err)
	}
	return resp, nil
}

// accept takes the body of a good answer.
func (c *Client) accept(ctx context.Context, cancel context.CancelCauseFunc, u *url.URL, resp *http.Response) (*Response, error) {
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		resp.Body.Close()
		return nil, badStatus(u.Hostname(), resp.StatusCode)
	}
	if resp.ContentLength > c.o.MaxBytes {
		resp.Body.Close()
		return nil, broker.Errorf(broker.CodeTooLarge, "the file at %s has %d bytes; %d are the most", u.Hostname(), resp.ContentLength, c.o.MaxBytes)
	}
	b := &body{rc: resp.Body, ctx: ctx, cancel: cancel, host: u.Hostname(), o: c.o}
	return &Response{Body: b, SizeBytes: resp.ContentLength, ContentType: resp.Header.Get("Content-Type")}, nil
}

// body bounds what a host sends, in size and in time. Only the time in which it is
// waited for counts: its reader may be slow.
type body struct {
	rc     io.ReadCloser
	ctx    context.Context // the request's
	cancel context.CancelCauseFunc
	host   string
	o      Options

	got    int64
	waited time.Duration
	err    error // the first; it stays
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	began := time.Now()
	stalled := time.AfterFunc(b.o.StallAfter, func() {
		b.cancel(unavailable(nil, "%s sent no byte for %v", b.host, b.o.StallAfter))
	})
	n, err := b.rc.Read(p)
	stalled.Stop()
	b.waited += time.Since(began)
	b.got += int64(n)
	switch {
	case b.got > b.o.MaxBytes:
		n -= int(b.got - b.o.MaxBytes)
		b.err = broker.Errorf(broker.CodeTooLarge, "the file at %s is over %d bytes", b.host, b.o.MaxBytes)
	case err == io.EOF:
		b.err = io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		b.err = unavailable(err, "%s ended the file early, after %d bytes", b.host, b.got)
	case err != nil:
		b.err = failure(b.ctx, b.host, err)
	case b.waited >= b.o.StallAfter && float64(b.got) < b.waited.Seconds()*float64(b.o.MinRate):
		b.err = unavailable(nil, "%s sends fewer than %d bytes a second", b.host, b.o.MinRate)
	}
	return n, b.err
}

func (b *body) Close() error {
	err := b.rc.Close()
	b.cancel(nil)
	return err
}
