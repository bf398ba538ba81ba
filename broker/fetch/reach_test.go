package fetch_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
)

func TestReach(t *testing.T) {
	d := openDoors(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 1<<10))
			}
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	})
	names := newNameServer(t, map[string][][]string{
		"own.test": {{"127.0.0.2"}}, "other.test": {{"127.0.0.1"}}, "public.test": {{"8.8.8.8"}},
		"both.test": {{"8.8.8.8", "127.0.0.1"}},
	})
	c := fetch.New(fetch.Options{AllowNetworks: networks("127.0.0.2/32"), Resolver: names.resolver()})
	var nobody netip.Addr
	for _, x := range []struct {
		name, url string
		own       netip.Addr
		want      broker.Code
	}{
		{"an allowed network", "http://own.test:" + d.port, nobody, ""},
		{"any answer", "http://127.0.0.2:" + d.port + "/nothing?here", nobody, ""},
		{"a redirect is an answer", "http://127.0.0.2:" + d.port + "/redirect", nobody, ""},
		{"the body is not read", "http://127.0.0.2:" + d.port + "/endless", nobody, ""},
		{"a public address that is not the caller's", "http://8.8.8.8/", nobody, broker.CodeNotAllowed},
		{"of another caller", "http://8.8.8.8/", netip.MustParseAddr("8.8.4.4"), broker.CodeNotAllowed},
		{"by a name", "http://public.test/", netip.MustParseAddr("8.8.4.4"), broker.CodeNotAllowed},
		{"by one of several", "http://both.test/", netip.MustParseAddr("8.8.4.4"), broker.CodeNotAllowed},
		{"the caller's own, where nothing may be fetched from", "http://127.0.0.1:" + d.port, netip.MustParseAddr("127.0.0.1"), broker.CodeNotAllowed},
		{"the same by a name", "http://other.test:" + d.port, netip.MustParseAddr("127.0.0.1"), broker.CodeNotAllowed},
		{"the same, mapped", "http://other.test:" + d.port, netip.MustParseAddr("::ffff:127.0.0.1"), broker.CodeNotAllowed},
		{"no URL", "ftp://own.test/", nobody, broker.CodeInvalid},
		{"nobody there", "http://127.0.0.2:1/", nobody, broker.CodeUnavailable},
	} {
		if err := c.Reach(t.Context(), x.url, x.own); broker.CodeOf(err) != x.want {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
	}
	if a, r := d.allowed.Load(), d.refused.Load(); a != 4 || r != 0 {
		t.Errorf("%d connections to the allowed door, %d to the other", a, r)
	}
}

// TestReachable: no test can dial a public address, so the rule is asked itself.
func TestReachable(t *testing.T) {
	c := fetch.New(fetch.Options{AllowNetworks: networks("10.0.0.0/8")})
	for _, x := range []struct {
		own, addr string
		want      bool
	}{
		{"8.8.8.8", "8.8.8.8", true}, {"8.8.8.8", "::ffff:8.8.8.8", true}, {"::ffff:8.8.8.8", "8.8.8.8", true},
		{"8.8.8.8", "8.8.8.9", false}, {"8.8.8.8", "64:ff9b::8.8.8.8", false},
		{"2606:4700::1", "2606:4700::1", true}, {"2606:4700::1", "2606:4700::2", false}, {"2606:4700::1", "2606:4700::1%eth0", false},
		{"8.8.8.8", "10.1.2.3", true}, {"10.9.9.9", "10.1.2.3", true}, {"127.0.0.1", "127.0.0.1", false}, {"192.168.0.7", "192.168.0.7", false},
	} {
		if got := c.MayReach(netip.MustParseAddr(x.own), netip.MustParseAddr(x.addr)); got != x.want {
			t.Errorf("%s dials %s: %v", x.own, x.addr, got)
		}
	}
	if c.MayReach(netip.Addr{}, netip.MustParseAddr("8.8.8.8")) || c.MayReach(netip.Addr{}, netip.Addr{}) {
		t.Error("nobody's address is somebody's")
	}
}
