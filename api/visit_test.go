package api

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
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
		{"with a port", "10.0.0.1:5000", []string{"203.0.113.7:1234"}, "203.0.113.7"},
		{"in quotes", "10.0.0.1:5000", []string{`"203.0.113.7"`}, "203.0.113.7"},
		{"with a port, in quotes", "10.0.0.1:5000", []string{` "203.0.113.7:1234" `}, "203.0.113.7"},
		{"a proxy with a port", "10.0.0.1:5000", []string{"203.0.113.7:1, 10.0.0.2:443"}, "203.0.113.7"},
		{"a port that is none", "10.0.0.1:5000", []string{"203.0.113.7:99999"}, "10.0.0.1"},
		{"an empty port", "10.0.0.1:5000", []string{"203.0.113.7:"}, "10.0.0.1"},
		{"half a quote", "10.0.0.1:5000", []string{`"203.0.113.7`}, "10.0.0.1"},
		{"the other half", "10.0.0.1:5000", []string{`203.0.113.7"`}, "10.0.0.1"},
		{"a comma in quotes", "10.0.0.1:5000", []string{`"198.51.100.1,203.0.113.7"`}, "10.0.0.1"},
		{"unknown", "10.0.0.1:5000", []string{"unknown"}, "10.0.0.1"},
		{"hidden by its proxy", "10.0.0.1:5000", []string{"203.0.113.7, _hidden"}, "10.0.0.1"},
		{"octal is garbage", "10.0.0.1:5000", []string{"0313.0.113.7"}, "10.0.0.1"},
		{"IPv6", "[2001:db8::7]:5000", nil, "2001:db8::7"},
		{"IPv6 behind IPv6", "[fd00::1]:5000", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 behind IPv4", "10.0.0.1:5000", []string{"2001:DB8:0::7"}, "2001:db8::7"},
		{"IPv6 in brackets", "10.0.0.1:5000", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv6 in brackets and quotes", "10.0.0.1:5000", []string{`"[2001:db8::7]"`}, "2001:db8::7"},
		{"IPv6 with a port", "10.0.0.1:5000", []string{"[2001:db8::7]:443"}, "2001:db8::7"},
		{"IPv6 with a port, in quotes", "10.0.0.1:5000", []string{`"[2001:db8::7]:443"`}, "2001:db8::7"},
		{"mapped in brackets", "10.0.0.1:5000", []string{"203.0.113.7, [::ffff:10.0.0.2]:80"}, "203.0.113.7"},
		{"IPv4 in brackets is garbage", "10.0.0.1:5000", []string{"[203.0.113.7]"}, "10.0.0.1"},
		{"an open bracket", "10.0.0.1:5000", []string{"[2001:db8::7"}, "10.0.0.1"},
		{"text behind the bracket", "10.0.0.1:5000", []string{"[2001:db8::7]x"}, "10.0.0.1"},
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
		if got, _ := clientAddr(r, proxies); got != want {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		// With no proxy trusted, a header says nothing.
		got, own := clientAddr(r, nil)
		if direct := remoteAddr(r); got != direct {
			t.Errorf("%s, no proxies: %v, want %v", c.name, got, direct)
		}
		if own != (len(c.forwarded) == 0 && got.IsValid()) {
			t.Errorf("%s, no proxies: own is %v", c.name, own)
		}
	}
}

func TestOwn(t *testing.T) {
	proxies := prefixes("10.0.0.0/8")
	const far, near = "203.0.113.7:5000", "10.0.0.1:5000"
	for _, c := range []struct {
		name, remote string
		headers      []string // names and values
		want         bool
	}{
		{"direct", far, nil, true},
		{"another header", far, []string{"X-Forwarded-Proto", "https"}, true},
		{"direct, X-Forwarded-For", far, []string{"X-Forwarded-For", "198.51.100.1"}, false},
		{"direct, his own address in it", far, []string{"X-Forwarded-For", "203.0.113.7"}, false},
		{"direct, an empty one", far, []string{"X-Forwarded-For", ""}, false},
		{"direct, Forwarded", far, []string{"Forwarded", "for=198.51.100.1"}, false},
		{"direct, X-Real-IP", far, []string{"X-Real-Ip", "203.0.113.7"}, false},
		{"direct, Via", far, []string{"Via", "1.1 squid"}, false},
		{"not known", "@", nil, false},
		{"one proxy", near, []string{"X-Forwarded-For", "203.0.113.7"}, true},
		{"one with a port", near, []string{"X-Forwarded-For", "203.0.113.7:80"}, true},
		{"two", near, []string{"X-Forwarded-For", "203.0.113.7, 10.0.0.2"}, true},
		{"a stranger before it", near, []string{"X-Forwarded-For", "198.51.100.1, 203.0.113.7"}, false},
		{"even a nameless one", near, []string{"X-Forwarded-For", "unknown, 203.0.113.7"}, false},
		{"an empty part before it", near, []string{"X-Forwarded-For", ", 203.0.113.7"}, false},
		{"a stranger's line before it", near, []string{"X-Forwarded-For", "10.0.0.9", "X-Forwarded-For", "203.0.113.7"}, false},
		{"unknown", near, []string{"X-Forwarded-For", "unknown"}, false},
		{"a silent proxy", near, nil, false},
		{"only proxies", near, []string{"X-Forwarded-For", "10.0.0.2"}, false},
		{"X-Real-IP agrees", near, []string{"X-Forwarded-For", "203.0.113.7", "X-Real-Ip", "203.0.113.7"}, true},
		{"X-Real-IP is a proxy", near, []string{"X-Forwarded-For", "203.0.113.7, 10.0.0.2", "X-Real-Ip", "10.0.0.2"}, true},
		{"X-Real-IP differs", near, []string{"X-Forwarded-For", "203.0.113.7", "X-Real-Ip", "198.51.100.1"}, false},
		{"X-Real-IP is garbage", near, []string{"X-Forwarded-For", "203.0.113.7", "X-Real-Ip", "x"}, false},
		{"one proxy in Via", near, []string{"X-Forwarded-For", "203.0.113.7", "Via", "1.1 nginx"}, true},
		{"one too many in Via", near, []string{"X-Forwarded-For", "203.0.113.7", "Via", "1.1 squid, 1.1 nginx"}, false},
		{"on two lines", near, []string{"X-Forwarded-For", "203.0.113.7", "Via", "1.1 squid", "Via", "1.1 nginx"}, false},
		{"as many as proxies", near, []string{"X-Forwarded-For", "203.0.113.7, 10.0.0.2", "Via", "1.1 a, 1.1 b"}, true},
		{"one proxy in Forwarded", near, []string{"X-Forwarded-For", "203.0.113.7", "Forwarded", "for=203.0.113.7"}, true},
		{"one too many in Forwarded", near, []string{"X-Forwarded-For", "203.0.113.7", "Forwarded", "for=198.51.100.1, for=203.0.113.7"}, false},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		for i := 0; i < len(c.headers); i += 2 {
			r.Header.Add(c.headers[i], c.headers[i+1])
		}
		if addr, got := clientAddr(r, proxies); got != c.want || got && addr != netip.MustParseAddr("203.0.113.7") {
			t.Errorf("%s: %v %v", c.name, addr, got)
		}
	}
}

// FuzzClientAddr: whatever a client writes left of what the proxy adds, it is not
// believed, and makes the address nobody's own; and what comes out is an address in
// its plain form.
func FuzzClientAddr(f *testing.F) {
	for _, seed := range []string{
		"", "10.0.0.9", "1.2.3.4, 10.0.0.9", ",,", "::ffff:10.0.0.9", "fe80::1%eth0", "[::1]:80", "unknown", "10.0.0.9\t,", "é", "\x00",
		`"[2001:db8::1]:443"`, `"`, "[::ffff:1.2.3.4%x]:1", "1.2.3.4:80", "[1.2.3.4]:80", "[]", "]",
	} {
		f.Add(seed)
	}
	proxies := prefixes("10.0.0.0/8", "::1/128")
	const peer = "203.0.113.7"
	f.Fuzz(func(t *testing.T, written string) {
		for _, header := range [][]string{
			{written + ", " + peer}, {written, peer}, {written + "," + peer + ", 10.0.0.2"}, {written, peer + ",::ffff:10.0.0.3", "10.0.0.2"},
			{written, `"` + peer + `:80",[::1]:443`},
		} {
			r := &http.Request{RemoteAddr: "10.0.0.1:5000", Header: http.Header{"X-Forwarded-For": header}}
			if got, own := clientAddr(r, proxies); got != netip.MustParseAddr(peer) || own {
				t.Fatalf("%q gives %v %v", header, got, own)
			}
		}
		for _, header := range []string{"X-Forwarded-For", "X-Real-Ip", "Via", "Forwarded"} {
			r := &http.Request{RemoteAddr: "10.0.0.1:5000", Header: http.Header{header: {written}}}
			got, own := clientAddr(r, proxies)
			if !got.IsValid() || got.Is4In6() || got.Zone() != "" || own && trusted(got, proxies) {
				t.Fatalf("%s: %q gives %v %v", header, written, got, own)
			}
			r.RemoteAddr = peer + ":5000"
			if got, own := clientAddr(r, proxies); got != netip.MustParseAddr(peer) || own {
				t.Fatalf("%s: %q of a stranger gives %v %v", header, written, got, own)
			}
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

// HTTP/1.0 names no host: the address that was called is known all the same.
func TestBaseURLWithoutHost(t *testing.T) {
	for at, want := range map[string]string{
		"192.168.1.20:8080": "http://192.168.1.20:8080", "[2001:db8::1]:80": "http://[2001:db8::1]:80", "[fe80::1%eth0]:80": "http://[fe80::1]:80",
	} {
		r := (&http.Request{RemoteAddr: "10.0.0.1:5000"}).WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(at))))
		if got := baseURL(r, Options{}); got != want {
			t.Errorf("at %s: %s, want %s", at, got, want)
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

// TestForwardedAddr: the forms in which proxies write an address, and what is none.
func TestForwardedAddr(t *testing.T) {
	for entry, want := range map[string]string{
		"203.0.113.7": "203.0.113.7", " 203.0.113.7 ": "203.0.113.7", "203.0.113.7:1234": "203.0.113.7",
		"2001:db8::1": "2001:db8::1", "[2001:db8::1]": "2001:db8::1", "[2001:db8::1]:443": "2001:db8::1",
		`"[2001:db8::1]:443"`: "2001:db8::1", "::ffff:203.0.113.7": "203.0.113.7", "[fe80::1%eth0]:1": "fe80::1",
		"unknown": "", "": "", "[203.0.113.7]": "", "203.0.113": "", "_hidden": "", `"`: "", "[": "", "203.0.113.7:port": "",
	} {
		got, ok := forwardedAddr(entry)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q is read as %v (%t), want %q", entry, got, ok, want)
		}
	}
}

// TestDirect: an address is the caller's own only when no proxy that nobody trusts
// may stand between.
func TestDirect(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		peer, header, value string
		addr                string
		direct              bool
	}{
		{"192.0.2.1:5", "", "", "192.0.2.1", true},
		{"192.0.2.1:5", "X-Forwarded-For", "198.51.100.1", "192.0.2.1", false},
		{"192.0.2.1:5", "Via", "1.1 somebody", "192.0.2.1", false},
		{"10.0.0.1:5", "X-Forwarded-For", "198.51.100.1:99", "198.51.100.1", true},
		{"10.0.0.1:5", "X-Forwarded-For", "garbage", "10.0.0.1", false},
		{"10.0.0.1:5", "", "", "10.0.0.1", false},
		{"10.0.0.1:5", "X-Forwarded-For", "10.0.0.2", "10.0.0.2", false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		if addr, direct := clientAddr(r, proxies); addr.String() != c.addr || direct != c.direct {
			t.Errorf("%+v gives %v, %t", c, addr, direct)
		}
	}
}
