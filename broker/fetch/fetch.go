// Package fetch is the one HTTP client for addresses that a client of ours names.
//
// Such an address may lead back into the operator's own network, so every
// connection is judged by the address that is really dialed, after its name was
// resolved and on every redirect; a name that resolves differently the next time
// gains nothing. No proxy, cookie, user, Referer or kept connection is used, and
// size and time are bounded.
//
// It needs no permission but to reach out. Side effect: it sends GET requests
// without a body, and what Post is given. No error names more of a URL than its host.
package fetch

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Options bound a Client.
type Options struct {
	AllowNetworks []netip.Prefix // private networks that may be dialed; default none

	MaxBytes  int64  // the most of one body; 0: 5 GiB
	UserAgent string // "": uploadbroker

	// StallAfter is how long a host may take until its answer begins, for each
	// redirect anew, and how long its body may pause; 0: 30 s.
	StallAfter time.Duration
	// MinRate is what a body must reach on average, in bytes a second, once it was
	// waited for as long as StallAfter; 0: 10,000.
	MinRate int64

	Resolver *net.Resolver // nil: the system's
}

// What a Client does unless told otherwise.
const (
	defaultMaxBytes   = 5 << 30
	defaultUserAgent  = "uploadbroker"
	defaultStallAfter = 30 * time.Second
	defaultMinRate    = 10_000

	dialTime       = 10 * time.Second
	maxHeaderBytes = 64 << 10
)

// Client fetches. All methods may be called at once.
type Client struct {
	o         Options
	guard     Guard
	transport *http.Transport
}

// New makes a Client. It does not reach out.
func New(o Options) *Client {
	o.MaxBytes = cmp.Or(o.MaxBytes, defaultMaxBytes)
	o.UserAgent = cmp.Or(o.UserAgent, defaultUserAgent)
	o.StallAfter = cmp.Or(o.StallAfter, defaultStallAfter)
	o.MinRate = cmp.Or(o.MinRate, defaultMinRate)
	c := &Client{o: o, guard: Guard{AllowNetworks: o.AllowNetworks}}
	c.transport = c.newTransport(c.guard.Permit)
	return c
}

// Transient reports whether an error of this package's may pass by itself, so that
// trying again later makes sense.
func Transient(err error) bool { return broker.CodeOf(err) == broker.CodeUnavailable }

// newTransport dials only what permit permits. A connection serves one request:
// none outlives the rule under which it was dialed.
func (c *Client) newTransport(permit func(netip.Addr) bool) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return c.dial(ctx, network, address, permit)
		},
		DisableKeepAlives:      true,
		DisableCompression:     true, // the bytes are kept as they are
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// errRefused is a name of which every address is refused.
var errRefused = errors.New("fetch: no address of this host may be dialed")

// dial asks for the addresses of a name once, and connects to one that is
// permitted. The check is made on what the socket is about to connect to.
func (c *Client) dial(ctx context.Context, network, address string, permit func(netip.Addr) bool) (net.Conn, error) {
	var refused, tried atomic.Int32 // addresses may be tried at once
	d := net.Dialer{
		Timeout: dialTime, Resolver: c.o.Resolver,
		ControlContext: func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(resolved)
			if err != nil || !permit(to.Addr()) {
				refused.Add(1)
				return errRefused
			}
			tried.Add(1)
			return nil
		},
	}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil && tried.Load() == 0 && refused.Load() > 0 {
		return nil, errRefused
	}
	if err != nil && errors.Is(err, errRefused) {
		// The first of several; another address is permitted but did not answer.
		return nil, errors.New("fetch: the addresses that may be dialed do not answer")
	}
	return conn, err
}

// request makes the one kind of request that is sent.
func (c *Client) request(ctx context.Context, url string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, invalid("this is no URL; write it as http://host/path")
	}
	r.Header.Set("User-Agent", c.o.UserAgent)
	r.Header.Set("Accept-Encoding", "identity")
	return r, nil
}
