package api

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func TestClientAddr(t *testing.T) {
	proxies := prefixes("10.0.0.0/8", "fd00::/8", "127.0.0.1/32")
	for _, c := range []struct {
		name, remote string
		forwarded    []string
		want         string // "": not known
	}{
		{"direct", "203.0.113.7:5000", nil, "203.0.113.7"},
		{"direct, with a header of his own", "203.0.113.7:5000", []string{"198.51.100.1"}, "203.0.113.7"},
		{"direct, claims to come through a proxy", "203.0.113.7:5000", []string{"198.51.100.1, 10.0.0.1"}, "203.0.113.7"},
		{"one proxy", "10.0.0.1:5000", []string{"203.0.113.7"}, "203.0.113.7"},
		{"two proxies", "10.0.0.1:5000", []string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		{"the left part is the client's word", "10.0.0.1:5000", []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		{"even if it is a proxy's address", "10.0.0.1:5000", []string{"10.0.0.9, 203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		{"on several lines", "10.0.0.1:5000", []string{"198.51.100.1", "203.0.113.7", "10.0.0.2"}, "203.0.113.7"},
		{"a stranger between proxies", "10.0.0.1:5000", []string{"203.0.113.7, 198.51.100.9, 10.0.0.2"}, "198.51.100.9"},
		{"all are proxies", "10.0.0.1:5000", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a proxy without a word", "10.0.0.1:5000", nil, "10.0.0.1"},
		{"an empty header", "10.0.0.1:5000", []string{""}, "10.0.0.1"},
		{"an empty part", "10.0.0.1:5000", []string{"203.0.113.7,"}, "10.0.0.1"},
		{"garbage", "10.0.0.1:5000", []string{"garbage"}, "10.0.0.1"},
		{"garbage left of the client", "10.0.0.1:5000", []string{"' or 1=1, 203.0.113.7"}, "203.0.113.7"},
		{"garbage right of the client", "10.0.0.1:5000", []string{"203.0.113.7, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"an address with a port is garbage", "10.0.0.1:5000", []string{"203.0.113.7:80"}, "10.0.0.1"},
		{"octal is garbage", "10.0.0.1:5000", []string{"0313.0.113.7"}, "10.0.0.1"},
		{"IPv6", "[2001:db8::7]:5000", nil, "2001:db8::7"},
		{"IPv6 behind IPv6", "[fd00::1]:5000", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 behind IPv4", "10.0.0.1:5000", []string{"2001:DB8:0::7"}, "2001:db8::7"},
		{"IPv6 in brackets is garbage", "10.0.0.1:5000", []string{"[2001:db8::7]"}, "10.0.0.1"},
		{"mapped, direct", "[::ffff:203.0.113.7]:5000", nil, "203.0.113.7"},
		{"mapped proxy", "[::ffff:10.0.0.1]:5000", []string{"203.0.113.7"}, "203.0.113.7"},
		{"mapped hop", "10.0.0.1:5000", []string{"203.0.113.7, ::ffff:10.0.0.2"}, "203.0.113.7"},
		{"mapped client", "10.0.0.1:5000", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		{"a zone, direct", "[fe80::1%eth0]:5000", nil, "fe80::1"},
		{"a zone of a proxy", "[fd00::1%eth0]:5000", []string{"203.0.113.7"}, "203.0.113.7"},
		{"a zone of a hop", "10.0.0.1:5000", []string{"203.0.113.7, fd00::2%eth0"}, "203.0.113.7"},
		{"a unix socket", "@", []string{"203.0.113.7"}, ""},
		{"no address", "", []string{"203.0.113.7"}, ""},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		for _, line := range c.forwarded {
			r.Header.Add("X-Forwarded-For", line)
		}
		var want netip.Addr
		if c.want != "" {
			want = netip.MustParseAddr(c.want)
		}
		if got := clientAddr(r, proxies); got != want {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		// With no proxy trusted, a header says nothing.
		if got, direct := clientAddr(r, nil), remoteAddr(r); got != direct {
			t.Errorf("%s, no proxies: %v, want %v", c.name, got, direct)
		}
	}
}

// FuzzClientAddr: whatever a client writes left of what the proxy adds, it is not
// believed; and what comes out is an address in its plain form.
func FuzzClientAddr(f *testing.F) {
	for _, seed := range []string{"", "10.0.0.9", "1.2.3.4, 10.0.0.9", ",,", "::ffff:10.0.0.9", "fe80::1%eth0", "[::1]:80", "unknown", "10.0.0.9\t,", "é", "\x00"} {
		f.Add(seed)
	}
	proxies := prefixes("10.0.0.0/8", "::1/128")
	const peer = "203.0.113.7"
	f.Fuzz(func(t *testing.T, written string) {
		for _, header := range [][]string{{written + ", " + peer}, {written, peer}, {written + "," + peer + ", 10.0.0.2"}, {written, peer + ",::ffff:10.0.0.3", "10.0.0.2"}} {
			r := &http.Request{RemoteAddr: "10.0.0.1:5000", Header: http.Header{"X-Forwarded-For": header}}
			if got := clientAddr(r, proxies); got != netip.MustParseAddr(peer) {
				t.Fatalf("%q gives %v", header, got)
			}
		}
		r := &http.Request{RemoteAddr: "10.0.0.1:5000", Header: http.Header{"X-Forwarded-For": {written}}}
		got := clientAddr(r, proxies)
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%q gives %v", written, got)
		}
	})
}

func TestBaseURL(t *testing.T) {
	// The rest is tested over HTTP, by the URLs of grants in package rest.
	for _, c := range []struct {
		hosts, protos []string
		want          string
	}{
		{nil, nil, "http://here:80"},
		{[]string{"a.example"}, []string{"https"}, "https://a.example"},
		{[]string{"a.example", "b.example, c.example"}, []string{"https", "http"}, "http://c.example"},
		{[]string{"a.example", ""}, []string{"https,"}, "http://here:80"},
		{[]string{"[2001:db8::1]:443"}, nil, "http://[2001:db8::1]:443"},
		{[]string{"a.example\x00"}, nil, "http://here:80"},
		{[]string{"a.example:80/x"}, nil, "http://here:80"},
		{[]string{"a.example&x=y"}, nil, "http://here:80"},
	} {
		r := &http.Request{RemoteAddr: "10.0.0.1:5000", Host: "here:80", Header: http.Header{"X-Forwarded-Host": c.hosts, "X-Forwarded-Proto": c.protos}}
		if got := baseURL(r, Options{TrustedProxies: prefixes("10.0.0.0/8")}); got != c.want {
			t.Errorf("%q %q: %s, want %s", c.hosts, c.protos, got, c.want)
		}
		if got := baseURL(r, Options{TrustedProxies: prefixes("10.0.0.2/32")}); got != "http://here:80" {
			t.Errorf("from a stranger: %s", got)
		}
		if got := baseURL(r, Options{PublicURL: "https://p.example", TrustedProxies: prefixes("10.0.0.0/8")}); got != "https://p.example" {
			t.Errorf("public_url: %s", got)
		}
	}
}

// FuzzIsHost: what is taken for a host can't end the host of a URL.
func FuzzIsHost(f *testing.F) {
	f.Add("a.example:80")
	f.Add("a@b")
	f.Fuzz(func(t *testing.T, s string) {
		if isHost(s) && (s == "" || strings.ContainsAny(s, "/\\?#@&%=;, \t\r\n\"'<>()\x00")) {
			t.Fatalf("%q", s)
		}
	})
}
