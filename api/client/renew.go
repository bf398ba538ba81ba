package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	maxRenewals = 3 // grants in a row that the bucket refuses
	maxSkews    = 2 // times in a row that the bucket's clock is another

	// A grant that ends within its margin is renewed before it is used. Clouds look
	// at a request when it begins. But the server gives an image up five minutes
	// after its last grant has ended, so a PUT that begins with as much left has ten
	// minutes to arrive. Presigned requests live for hours and are renewed late.
	// No margin is more than a third of what a grant had to live when it was given.
	requestMargin = time.Minute
	sessionMargin = 5 * time.Minute

	// renewLinger is how long the first of a batch waits for others. The senders go
	// on with the queue meanwhile, and since grants that were given together end
	// together, they bring nearly all that wait.
	renewLinger = 50 * time.Millisecond
)

// accept takes a grant that was given for an item.
func (r *run) accept(it *item, g *Grant) error {
	if err := fits(g, it.size); err != nil {
		return err
	}
	it.denied = held{}
	it.grant, it.given, it.life = g, time.Now(), g.ExpiresAt.Sub(r.c.serverNow())
	return nil
}

// ending reports whether an item's grant is to be renewed before it is used: it
// ends soon, or the bucket has refused its session meanwhile. One that was just
// given is used, however short its life is.
func (r *run) ending(it *item) bool {
	if it.grant == nil {
		return false
	}
	margin := requestMargin
	if it.grant.Session != nil {
		margin = sessionMargin
	}
	if it.life > 0 && r.c.serverNow().Add(min(margin, it.life/3)).After(it.grant.ExpiresAt) {
		return true
	}
	return r.refused.since(it.grant.Session, it.given)
}

// renewAll renews, in batches, the grants that are about to end before their turn
// comes.
func (r *run) renewAll(ctx context.Context) {
	for {
		items, err := r.toRenew.take(ctx, MaxBatch, renewLinger)
		if err != nil {
			return
		}
		err = r.inBatches(items, func(part []*item) error {
			return r.regrant(ctx, part, func(it *item) { r.toSend.push(it) })
		})
		if err != nil {
			r.stop("renewing grants", err)
			return
		}
	}
}

// renew gets a fresh grant for one item. It reports whether the item is to be sent
// with it; else it has gone elsewhere.
func (r *run) renew(ctx context.Context, it *item) (send bool) {
	err := r.regrant(ctx, []*item{it}, func(*item) { send = true })
	if err != nil && ctx.Err() == nil {
		r.stop("renewing a grant", err)
	}
	return send
}

// regrant asks for fresh grants, and hands on items that got one; the others have
// gone elsewhere.
func (r *run) regrant(ctx context.Context, items []*item, send func(*item)) error {
	results, err := r.c.Regrant(ctx, r.pid, r.opts.Bucket, imageIDs(items))
	if err != nil {
		return err
	}
	for i, res := range results {
		it := items[i]
		if res.Image != nil {
			it.image = res.Image
		}
		switch {
		case res.Status == StatusGranted && res.Grant != nil:
			if err := r.accept(it, res.Grant); err != nil {
				r.fail(it, err)
				continue
			}
			send(it)
		case res.Status == StatusExists:
			r.exists(it)
		case it.registers < maxRegisters: // its attempt may have ended: begin another
			r.toRegister.push(it)
		default:
			r.fail(it, entryError(res.Problem, "regrant"))
		}
	}
	return nil
}

// fits refuses what this package can't or must not do with a grant.
func fits(g *Grant, size int64) error {
	u, err := url.Parse(g.URL)
	if err != nil || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("the server gives a grant with an address that can't be used")
	}
	switch g.Kind {
	case "", GrantRequest:
		g.Session = nil // it is presigned
	case GrantSession:
		if err := g.Session.usable(g); err != nil {
			return err
		}
	default:
		return fmt.Errorf("the server gives a grant of kind %q, which this version does not know", g.Kind)
	}
	for k, v := range g.Headers {
		if strings.EqualFold(k, "Content-Length") && v != fmt.Sprint(size) {
			return fmt.Errorf("the server gives a grant for %s bytes, the file has %d", v, size)
		}
	}
	return nil
}
