package web

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// policy is the Content-Security-Policy of every page and file: nothing but this
// program's own, and the buckets where bytes go to and come from. hash-wasm needs
// wasm-unsafe-eval, which allows WebAssembly and no eval.
func policy(read, write []string) string {
	list := func(origins []string) string { return strings.Join(append([]string{""}, origins...), " ") }
	return "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
		"img-src 'self' blob:" + list(read) + "; connect-src 'self'" + list(write) + "; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

const (
	// originsAge is for how long the buckets' origins are taken to be the same: the
	// operator may change the buckets while the program runs.
	originsAge = 10 * time.Second
	// A bucket that has to ask its cloud before it signs gets so long for that.
	originsFor = 10 * time.Second
	// A page waits so long for the origins, the first one and those after it.
	originsFirst, originsNext = 2 * time.Second, 200 * time.Millisecond
)

// origins are those of the buckets' public addresses.
type origins struct {
	places *broker.Places

	mu    sync.Mutex
	known map[string]bucketOrigins // by symbol, as each bucket last told
	at    time.Time                // when all were asked; zero: never
	busy  chan struct{}            // closed when all have been asked anew; nil: nobody asks
}

// bucketOrigins are where a bucket is read and written; "" for what is not known, or
// is this program's own address.
type bucketOrigins struct{ read, write string }

// get tells where pages may read from, and where they may write to besides. No page
// waits for long: who is slow to sign, or can't at this moment, is where it was.
func (o *origins) get(ctx context.Context) (read, write []string) {
	if o.places == nil {
		return nil, nil
	}
	wait := time.Duration(0)
	o.mu.Lock()
	if o.busy == nil && (o.at.IsZero() || time.Since(o.at) >= originsAge) {
		o.busy, wait = make(chan struct{}), originsNext
		go o.learn(context.WithoutCancel(ctx), o.busy)
	}
	if o.at.IsZero() {
		wait = originsFirst
	}
	busy := o.busy
	o.mu.Unlock()
	if wait > 0 {
		enough := time.NewTimer(wait)
		defer enough.Stop()
		select {
		case <-busy:
		case <-enough.C:
		case <-ctx.Done():
		}
	}
	add := func(list []string, origin string) []string {
		if origin == "" || slices.Contains(list, origin) {
			return list
		}
		return append(list, origin)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.places.Buckets() {
		at := o.known[b.Symbol]
		read = add(read, at.read)
		write = add(add(write, at.read), at.write)
	}
	return read, write
}

// learn asks every bucket, each for itself.
func (o *origins) learn(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, originsFor)
	defer cancel()
	var all sync.WaitGroup
	for _, b := range o.places.Buckets() {
		all.Go(func() { o.ask(ctx, b) })
	}
	all.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at, o.busy = time.Now(), nil
	close(done)
}

// ask learns a bucket's origins from what it signs, which is thrown away.
func (o *origins) ask(ctx context.Context, b broker.Bucket) {
	id := broker.NewID(time.Now())
	note := func(set func(at *bucketOrigins)) {
		o.mu.Lock()
		defer o.mu.Unlock()
		at := o.known[b.Symbol]
		set(&at)
		if o.known == nil {
			o.known = map[string]bucketOrigins{}
		}
		o.known[b.Symbol] = at
	}
	// Tokens are for the same address as presigned requests.
	if b.Signer != nil {
		if req, err := b.Signer.SignPut(ctx, id+"/"+id, broker.Binding{SizeBytes: -1}, time.Minute); err == nil {
			note(func(at *bucketOrigins) { at.write = originOf(req.URL) })
		}
	}
	if own, ok := b.Linker.(broker.ThumbLinker); ok {
		if link, err := own.LinkOwn(ctx, broker.ThumbKey(id, id), time.Minute); err == nil {
			note(func(at *bucketOrigins) { at.read = originOf(link) })
		}
	}
}

// originOf is the origin of an address as a policy names it, "" when it is this
// program's own or can't stand in a policy. An IPv6 address can't (CSP Level 3, section
// 2.3.1; chromium ignores it): there every host of that scheme and port is allowed.
func originOf(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.ContainsAny(u.Host, " ;,'\"*") {
		return ""
	}
	if strings.Contains(u.Hostname(), ":") {
		port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		return u.Scheme + "://*:" + port
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}

func (f *face) headers(c echo.Context) {
	r := c.Request()
	read, write := f.origins.get(r.Context())
	// The local bucket is where public_url says; a visitor may have come otherwise.
	if own, err := url.Parse(api.Absolute(r.Context(), "/")); err == nil && own.Host != r.Host {
		if origin := originOf(own.String()); origin != "" {
			read, write = append(read, origin), append(write, origin)
		}
	}
	h := c.Response().Header()
	h.Set("Content-Security-Policy", policy(read, write))
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it browsers send forms with "Origin: null", and over plain
	// http, as in a LAN, nothing else would tell that they are the page's own.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}
