package web

import (
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
func policy(origins []string) string {
	buckets := ""
	for _, o := range origins {
		buckets += " " + o
	}
	return "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
		"img-src 'self' blob:" + buckets + "; connect-src 'self'" + buckets + "; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// originsAge is for how long the buckets' origins are taken to be the same: the
// operator may change the buckets while the program runs.
const originsAge = 10 * time.Second

// origins are those of the buckets' public addresses.
type origins struct {
	places *broker.Places

	mu   sync.Mutex
	list []string
	at   time.Time
}

// get learns the origins from what the buckets sign: the link is thrown away.
func (o *origins) get(ctx context.Context) []string {
	if o.places == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.at.IsZero() && time.Since(o.at) < originsAge {
		return o.list
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	var list []string
	for _, b := range o.places.Buckets() {
		own, ok := b.Linker.(broker.ThumbLinker)
		if !ok {
			continue
		}
		id := broker.NewID(time.Now())
		// What can't be signed now can't be uploaded to now.
		link, err := own.LinkOwn(ctx, broker.ThumbKey(id, id), time.Minute)
		if err != nil {
			continue
		}
		if origin := originOf(link); origin != "" && !slices.Contains(list, origin) {
			list = append(list, origin)
		}
	}
	o.list, o.at = list, time.Now()
	return list
}

// originOf is the origin of an address, "" when it is this program's own or can't
// stand in a policy.
func originOf(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.ContainsAny(u.Host, " ;,'\"") {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}

func (f *face) headers(c echo.Context) {
	r := c.Request()
	list := f.origins.get(r.Context())
	// The local bucket is where public_url says; a visitor may have come otherwise.
	if own, err := url.Parse(api.Absolute(r.Context(), "/")); err == nil && own.Host != r.Host {
		if origin := originOf(own.String()); origin != "" && !slices.Contains(list, origin) {
			list = append(slices.Clip(list), origin)
		}
	}
	h := c.Response().Header()
	h.Set("Content-Security-Policy", policy(list))
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it browsers send forms with "Origin: null", and over plain
	// http, as in a LAN, nothing else would tell that they are the page's own.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}
