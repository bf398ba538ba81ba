package fetch

import (
	"context"
	"net/netip"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// reachTime is all the time that Reach takes.
const reachTime = 5 * time.Second

// Reach tries whether a caller's own server can be reached from here: whether Get
// could fetch from it. Any HTTP answer will do; its body is not read and no redirect
// is followed. Only own (the caller's own address; the zero Addr when it is not
// known) and the allowed networks are dialed, so that nobody can have others'
// doors tried; and own only where Get may go too.
//
// CodeNotAllowed when the URL leads elsewhere, CodeUnavailable and others as Get.
func (c *Client) Reach(ctx context.Context, rawURL string, own netip.Addr) error {
	checked, err := c.Check(rawURL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reachTime, unavailable(nil, "there was no answer within %v", reachTime))
	defer cancel()
	r, err := c.request(ctx, checked)
	if err != nil {
		return err
	}
	resp, err := c.newTransport(c.reachable(own)).RoundTrip(r)
	if err != nil {
		err = failure(ctx, r.URL.Hostname(), err)
		if broker.CodeOf(err) == broker.CodeNotAllowed {
			return broker.Errorf(broker.CodeNotAllowed, "%s is not your own public address; only that is tried", r.URL.Hostname())
		}
		return err
	}
	return resp.Body.Close()
}

// reachable permits what Reach dials for a caller.
func (c *Client) reachable(own netip.Addr) func(netip.Addr) bool {
	own = own.Unmap().WithZone("")
	return func(addr netip.Addr) bool {
		plain := addr.Unmap().WithZone("")
		return c.guard.allows(plain) || plain == own && c.guard.Permit(addr)
	}
}
