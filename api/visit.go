package api

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
)

type (
	visitKey     struct{}
	requestIDKey struct{}
)

// visit is what the server knows of a request before a face sees it.
type visit struct {
	caller broker.Caller
	err    error // why the key that was shown is not good
	client netip.Addr
	base   string
}

// Caller returns who calls: the zero Caller when no key was shown, an error when
// a bad one was, or when the database could not be asked.
func Caller(ctx context.Context) (broker.Caller, error) {
	v, _ := ctx.Value(visitKey{}).(visit)
	return v.caller, v.err
}

// Client returns the caller's address; the zero Addr when it is not known.
func Client(ctx context.Context) netip.Addr {
	v, _ := ctx.Value(visitKey{}).(visit)
	return v.client
}

// Absolute completes a URL that begins with "/" by the address by which the
// caller reached us.
func Absolute(ctx context.Context, url string) string {
	if !strings.HasPrefix(url, "/") {
		return url
	}
	v, _ := ctx.Value(visitKey{}).(visit)
	return v.base + url
}

// RequestID returns the request's id.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// clientAddr reads X-Forwarded-For from the right and stops at the first address
// that is no trusted proxy: what stands left of it, the client could have written
// himself.
func clientAddr(r *http.Request, proxies []netip.Prefix) netip.Addr {
	addr := remoteAddr(r)
	if !trusted(addr, proxies) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr
		}
		addr = hop.Unmap().WithZone("")
		if !trusted(addr, proxies) {
			return addr
		}
	}
	return addr
}

func remoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// baseURL is the scheme and host that a link for this caller begins with.
func baseURL(r *http.Request, o Options) string {
	if o.PublicURL != "" {
		return o.PublicURL
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if trusted(remoteAddr(r), o.TrustedProxies) {
		if h := lastOf(r.Header.Values("X-Forwarded-Host")); isHost(h) {
			host = h
		}
		if p := lastOf(r.Header.Values("X-Forwarded-Proto")); p == "http" || p == "https" {
			scheme = p
		}
	}
	return scheme + "://" + host
}

// lastOf is the nearest proxy's word: the last of a list, be it on one line or on
// several. What stands before it, the client could have written himself.
func lastOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	list := lines[len(lines)-1]
	return strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])
}

// isHost accepts a host name or address with an optional port: enough to build a
// URL from.
func isHost(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._:[]", r)
	})
}
