package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Bounds of one Post.
const (
	postTime       = 20 * time.Second
	maxAnswerBytes = 4 << 10
)

// Answer is what a host said to a Post.
type Answer struct {
	Status     int
	RetryAfter time.Duration // as it asked for, in seconds or as a date; 0: it did not
	Body       []byte        // its first 4 KiB
}

// OK reports whether the host took what was sent: any 2xx.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status <= 299 }

// CheckPost returns an error where Post would refuse the URL without a look at the
// network. Other than Check it leaves the URL's slashes as they are.
func (c *Client) CheckPost(rawURL string) error {
	_, err := c.parse(rawURL)
	return err
}

// Post sends a body to a URL, within 20 s. Every answer is one: no redirect is
// followed, since what is sent is signed for this host alone.
//
// Errors are of those from whom no answer came: CodeInvalid and CodeNotAllowed as
// Check says; CodeNotAllowed when the name leads to an address that must not be
// dialed; CodeNotFound for an unknown host; CodeUnavailable for the rest.
func (c *Client) Post(ctx context.Context, rawURL string, header http.Header, body []byte) (Answer, error) {
	u, err := c.parse(rawURL)
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, postTime, unavailable(nil, "%s did not answer within %v", u.Hostname(), postTime))
	defer cancel()
	r, err := c.postRequest(ctx, u, header, body)
	if err != nil {
		return Answer{}, err
	}
	resp, err := c.transport.RoundTrip(r)
	if err != nil {
		return Answer{}, failure(ctx, u.Hostname(), err)
	}
	defer resp.Body.Close()
	a := Answer{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	// The status is the answer. What of the body does not come is not missed.
	a.Body, _ = io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	return a, nil
}

func (c *Client) postRequest(ctx context.Context, u *url.URL, header http.Header, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, invalid("this is no URL; write it as http://host/path")
	}
	for name, values := range header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	r.Header.Set("User-Agent", c.o.UserAgent)
	return r, nil
}

// retryAfter reads the header (RFC 9110, section 10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	const most = 365 * 24 * time.Hour
	seconds := time.Duration(0)
	for _, digit := range value {
		if digit < '0' || digit > '9' {
			return 0
		}
		seconds = min(10*seconds+time.Duration(digit-'0')*time.Second, most)
	}
	return seconds
}

// Refused names an answer that is no 2xx, with a code as Get gives it.
func Refused(rawURL string, a Answer) error {
	host := Host(rawURL)
	if isRedirect(a.Status) {
		return broker.Errorf(broker.CodeInvalid, "%s answered %d %s: it leads elsewhere, and a signed message is sent to the configured URL alone",
			host, a.Status, http.StatusText(a.Status))
	}
	err := badStatus(host, a.Status)
	var known *broker.Error
	if errors.As(err, &known) {
		known.RetryAfter = a.RetryAfter
	}
	return err
}

// Host is the host of a URL, and its port where there is one: what may be shown.
func Host(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Host
}
