package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Client makes calls to one server with one key. It is safe for use by many
// goroutines. Make one with New.
type Client struct {
	base      *url.URL // without a slash at its end
	key       string
	userAgent string
	api       *http.Client
	bucket    *http.Client  // bare: never carries the key
	grants    string        // kind of grants to ask for; "": what the bucket gives by itself
	retryFor  time.Duration // how long a call that fails is tried again; 0: not at all
	pauses    pauses
	trouble   func(error) // told of a failure that is tried again, and with nil when a call gets through; may be nil

	now   func() time.Time
	state *shared
}

// shared is what copies of a Client have in common.
type shared struct {
	answered atomic.Bool  // the server has answered at least once
	skew     atomic.Int64 // nanoseconds that the server's clock is ahead of ours
}

// Option changes a Client as New makes it.
type Option func(*Client)

// WithHTTPClient sets the client for calls to the server and the one for PUTs to
// buckets. Either may be nil, to keep the default. The defaults use the proxy
// of the environment. One for buckets must not put a deadline on whole requests.
func WithHTTPClient(api, bucket *http.Client) Option {
	return func(c *Client) {
		if api != nil {
			c.api = api
		}
		if bucket != nil {
			c.bucket = bucket
		}
	}
}

// WithUserAgent names the program in the User-Agent header.
func WithUserAgent(s string) Option { return func(c *Client) { c.userAgent = s } }

// WithRetry sets how long a call that fails in a way that may pass is tried
// again (default two minutes; zero: never). A server that has never answered is
// not waited for.
func WithRetry(d time.Duration) Option { return func(c *Client) { c.retryFor = d } }

// WithGrants asks for grants of one kind, GrantRequest or GrantSession, where the
// default is what the bucket gives by itself. Buckets that don't give that kind
// refuse.
func WithGrants(kind string) Option { return func(c *Client) { c.grants = kind } }

// WithClock replaces the clock that grants' ends are compared with, for tests.
func WithClock(now func() time.Time) Option { return func(c *Client) { c.now = now } }

// New makes a Client of the server's address (https://up.example.com, may have a
// path) and a key. It makes no call.
func New(server, key string, opts ...Option) (*Client, error) {
	if server != "" && !strings.Contains(server, "://") {
		return nil, fmt.Errorf("server address %q must begin with http:// or https://", server)
	}
	u, err := url.Parse(server)
	switch {
	case err != nil:
		return nil, errors.New("the server address is not a URL")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("server address %q must be like https://up.example.com", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, errors.New("the server address must have no user, query or fragment")
	}
	if key == "" {
		return nil, errors.New("no key given")
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the key has blanks or characters that no key has; was it copied whole?")
	}
	u.Path = strings.TrimRight(strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/v1"), "/")
	u.RawPath = ""
	c := &Client{
		base:      u,
		key:       key,
		userAgent: "uploadbroker-client",
		api:       &http.Client{Transport: transport(16, true), CheckRedirect: sameHost},
		bucket:    &http.Client{Transport: transport(64, false), CheckRedirect: putAgain},
		retryFor:  2 * time.Minute,
		pauses:    pauses{first: 250 * time.Millisecond, max: 10 * time.Second},
		now:       time.Now,
		state:     &shared{},
	}
	for _, o := range opts {
		o(c)
	}
	return c, nil
}

// Server is the address that the client calls.
func (c *Client) Server() string { return c.base.String() }

// CloseIdleConnections closes connections that are kept for the next call.
func (c *Client) CloseIdleConnections() {
	c.api.CloseIdleConnections()
	c.bucket.CloseIdleConnections()
}

// transport is http.DefaultTransport's likeness with enough idle connections
// for parallel uploads. Buckets get HTTP/1 only: parallel PUTs over one HTTP/2
// connection share one window and are slower on long lines.
func transport(perHost int, http2 bool) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns = 2 * perHost
	t.MaxIdleConnsPerHost = perHost
	t.WriteBufferSize = 64 << 10
	d := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: shallow}
	t.DialContext = d.DialContext
	if !http2 {
		p := new(http.Protocols)
		p.SetHTTP1(true)
		t.Protocols = p
		t.ForceAttemptHTTP2 = false
	}
	return t
}

// notsent is how many bytes may wait in the kernel before they are sent.
const notsent = 256 << 10

// shallow keeps the kernel from taking in megabytes ahead of a slow line, so that
// what an upload counts as sent is sent, and a line that is stuck is seen. Unlike
// a small send buffer it does not slow down a long line.
func shallow(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { setNotsent(fd, notsent) })
}

// sameHost refuses redirects of API calls to other hosts: they would carry the
// body, and a POST that turns into a GET is not the call that was made.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 || req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme || req.Method != via[0].Method {
		return &redirectError{to: req.URL.Scheme + "://" + req.URL.Host}
	}
	return nil
}

type redirectError struct{ to string }

func (e *redirectError) Error() string {
	return "the server redirects to " + e.to + "; use that address if it is yours"
}

// putAgain follows a bucket's temporary redirect (S3 sends 307 while a new
// bucket's name spreads) as long as it stays the same PUT.
func putAgain(req *http.Request, via []*http.Request) error {
	if len(via) >= 3 || req.Method != via[0].Method {
		return http.ErrUseLastResponse
	}
	return nil
}

// serverNow is the present by the server's clock, as far as its Date headers
// tell: grants end by that clock, and a laptop's may be hours off.
func (c *Client) serverNow() time.Time {
	return c.now().Add(time.Duration(c.state.skew.Load()))
}

// patient is the same client with another retry time.
func (c *Client) patient(d time.Duration) *Client {
	cc := *c
	cc.retryFor = d
	return &cc
}
