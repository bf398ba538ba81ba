package api

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
)

type (
	visitKey     struct{}
	requestIDKey struct{}
	headKey      struct{}
	pageKey      struct{}
)

// IsHead reports whether only the headers of the answer are wanted: faces see a GET
// in the place of each HEAD.
func IsHead(ctx context.Context) bool {
	head, _ := ctx.Value(headKey{}).(bool)
	return head
}

// visit is what the server knows of a request before a face sees it.
type visit struct {
	caller broker.Caller
	err    error // why the key that was shown is not good
	client netip.Addr
	own    bool // client is the caller's own address, nobody's proxy
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

// Own returns the caller's address when it is known to be his own: what came through
// a proxy that is not trusted has that proxy's address, and nobody may have it dialed.
func Own(ctx context.Context) (netip.Addr, bool) {
	v, _ := ctx.Value(visitKey{}).(visit)
	if !v.own {
		return netip.Addr{}, false
	}
	return v.client, true
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

// PagePath is where the program's own page reaches the API: there a session is
// shown, and no key.
const PagePath = "/page"

// AsPage marks a request that came by PagePath. Whoever routes it sees to it that
// its path is the API's own.
func AsPage(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), pageKey{}, true))
}

// IsPage reports whether the request came by PagePath.
func IsPage(ctx context.Context) bool {
	page, _ := ctx.Value(pageKey{}).(bool)
	return page
}

// WithCaller says who calls, or why that is not known, of a request that came by
// PagePath.
func WithCaller(ctx context.Context, by broker.Caller, err error) context.Context {
	v, _ := ctx.Value(visitKey{}).(visit)
	v.caller, v.err = by, err
	return context.WithValue(ctx, visitKey{}, v)
}

// Link is Absolute for what of the API asks for the caller's right: the page is led
// to where its session counts.
func Link(ctx context.Context, url string) string {
	if IsPage(ctx) && strings.HasPrefix(url, "/v1/") {
		url = PagePath + url
	}
	return Absolute(ctx, url)
}

// RequestID returns the request's id.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// clientAddr reads X-Forwarded-For from the right and stops at the first address
// that is no trusted proxy: what stands left of it, the client could have written
// himself.
//
// own says that the address is the client's: every proxy that the request tells of
// is trusted. Proxies tell of themselves in X-Forwarded-For, Forwarded (RFC 7239),
// X-Real-IP and Via (RFC 9110, section 7.6.3).
func clientAddr(r *http.Request, proxies []netip.Prefix) (addr netip.Addr, own bool) {
	addr = remoteAddr(r)
	hops := listed(r, "X-Forwarded-For")
	passed := 0 // trusted proxies
	for trusted(addr, proxies) {
		passed++
		if len(hops) == 0 {
			return addr, false // a proxy's own request, or of one who is silent
		}
		hop, ok := forwardedAddr(hops[len(hops)-1])
		if !ok {
			return addr, false
		}
		addr, hops = hop, hops[:len(hops)-1]
	}
	own = addr.IsValid() && len(hops) == 0 && len(listed(r, "Via")) <= passed && len(listed(r, "Forwarded")) <= passed
	for _, real := range listed(r, "X-Real-IP") {
		// Each proxy writes its own peer here: the client, or another proxy.
		hop, ok := forwardedAddr(real)
		own = own && passed > 0 && ok && (hop == addr || trusted(hop, proxies))
	}
	return addr, own
}

// listed returns the parts of a header that is a list, on one line or on several.
func listed(r *http.Request, header string) []string {
	lines := r.Header.Values(header)
	if len(lines) == 0 {
		return nil
	}
	return strings.Split(strings.Join(lines, ","), ",")
}

// forwardedAddr reads an address as proxies write it: plain, with a port, an IPv6 one in
// brackets, each also in quotes.
func forwardedAddr(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(s, `"`); ok {
		if s, ok = strings.CutSuffix(inner, `"`); !ok {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		var withPort netip.AddrPort
		if strings.HasSuffix(s, "]") {
			s += ":0"
		}
		withPort, err = netip.ParseAddrPort(s)
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), err == nil
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
	if host == "" { // HTTP/1.0 needs none
		if here, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			if ap, err := netip.ParseAddrPort(here.String()); err == nil {
				host = netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port()).String()
			}
		}
	}
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
