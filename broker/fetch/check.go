package fetch

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
)

// maxURLBytes is the most that a URL has, before and after it is put in order.
const maxURLBytes = 2048

var _ broker.URLChecker = (*Client)(nil)

// Check returns the URL as Get will ask for it: without fragment, and with doubled
// slashes of its path made single, since old clients write http://host//name.
//
// CodeInvalid when it is no http or https URL, is over 2,048 bytes, carries a user
// or a password, or writes its host in a form that programs read differently: an
// IPv4 address must be four decimal numbers, a name ASCII, an IPv6 address without
// zone. CodeNotAllowed when its host is an address that must not be dialed. Names
// are judged when they are dialed.
func (c *Client) Check(raw string) (string, error) {
	u, err := c.parse(raw)
	if err != nil {
		return "", err
	}
	if err := singleSlashes(u); err != nil {
		return "", err
	}
	return ordered(u)
}

func invalid(format string, args ...any) *broker.Error {
	return broker.Errorf(broker.CodeInvalid, format, args...)
}

// ordered writes a URL out and makes sure that it is read back as the same one.
func ordered(u *url.URL) (string, error) {
	s := u.String()
	if len(s) > maxURLBytes {
		return "", errLong()
	}
	again, err := url.Parse(s)
	if err != nil || again.Host != u.Host || again.EscapedPath() != u.EscapedPath() || again.RawQuery != u.RawQuery || again.Fragment != "" {
		return "", invalid("the URL can be read in more than one way; write it plainly")
	}
	return s, nil
}

func errLong() *broker.Error { return invalid("the URL is over %d bytes", maxURLBytes) }

// parse reads a URL that may be dialed as far as that can be told without asking
// for its name.
func (c *Client) parse(raw string) (*url.URL, error) {
	raw = strings.TrimSpace(raw)
	if len(raw) > maxURLBytes {
		return nil, errLong()
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The cause would repeat the URL, and its query may be a secret.
		return nil, invalid("this is no URL; write it as http://host/path")
	}
	return u, c.admit(u)
}

// admit refuses what must not be asked for, and puts the rest in order.
func (c *Client) admit(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid("only http and https URLs are fetched")
	case u.Opaque != "" || u.Host == "":
		return invalid("the URL names no host; write it as %s://host/path", u.Scheme)
	case u.User != nil:
		return invalid("a URL with a user or a password in it is not fetched")
	}
	host, err := c.admitHost(u.Hostname(), strings.HasPrefix(u.Host, "["))
	if err != nil {
		return err
	}
	port, err := checkPort(u.Port())
	if err != nil {
		return err
	}
	u.Host = host + port
	u.Fragment, u.RawFragment = "", ""
	u.RawQuery = plainQuery(u.RawQuery)
	return nil
}

// admitHost returns the host as it stands in a URL.
func (c *Client) admitHost(host string, bracketed bool) (string, error) {
	host = strings.ToLower(host)
	if !bracketed && !endsInNumber(host) {
		if !isName(host) {
			return "", invalid("the host of the URL is no name; write it in ASCII, a name in other letters as xn--…")
		}
		return host, nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Is6() != bracketed || addr.Zone() != "" {
		return "", invalid("the host of the URL is no address; write IPv4 as four decimal numbers, IPv6 in brackets and without a zone")
	}
	if !c.guard.Permit(addr) {
		return "", errNotAllowed(addr.String())
	}
	if bracketed {
		return "[" + addr.String() + "]", nil
	}
	return addr.String(), nil
}

func errNotAllowed(host string) *broker.Error {
	return broker.Errorf(broker.CodeNotAllowed,
		"%s is not a public address; the operator can allow its network with fetch.allow_networks", host)
}

// endsInNumber says that resolvers may take a host for an IPv4 address: its last
// label is a number, decimal, octal or hexadecimal (WHATWG URL, "ends in a number").
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// isName accepts what a resolver may be asked for (RFC 1123, section 2.1), and the
// underscore, which some hosts have.
func isName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}

// checkPort returns a port as it stands in a URL.
func checkPort(port string) (string, error) {
	if port == "" {
		return "", nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", invalid("the port of the URL is not between 1 and 65535")
	}
	return ":" + strconv.FormatUint(n, 10), nil
}

// plainQuery escapes what a request line can't carry, as browsers do.
func plainQuery(query string) string {
	var b strings.Builder
	for i := range len(query) {
		switch c := query[i]; {
		case c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '#':
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// singleSlashes makes doubled slashes of the path single. An escaped slash is part
// of a segment and stays.
func singleSlashes(u *url.URL) error {
	escaped := u.EscapedPath()
	var b strings.Builder
	for i := range len(escaped) {
		if escaped[i] != '/' || i == 0 || escaped[i-1] != '/' {
			b.WriteByte(escaped[i])
		}
	}
	path, err := url.PathUnescape(b.String())
	if err != nil {
		return invalid("the path of the URL has a broken escape")
	}
	u.Path, u.RawPath = path, b.String()
	return nil
}
