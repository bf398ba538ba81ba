package fetch_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
)

// doors are servers on 127.0.0.2, which the tests allow, and 127.0.0.1, which they
// don't, at the same port.
type doors struct {
	port             string
	allowed, refused atomic.Int32 // connections
}

func openDoors(t *testing.T, handler http.HandlerFunc) *doors {
	t.Helper()
	d := &doors{}
	allowed, err := net.Listen("tcp4", "127.0.0.2:0")
	if err != nil {
		t.Skip("this machine has no address 127.0.0.2:", err)
	}
	_, d.port, _ = net.SplitHostPort(allowed.Addr().String())
	refused, err := net.Listen("tcp4", "127.0.0.1:"+d.port)
	if err != nil {
		allowed.Close()
		t.Fatal(err)
	}
	for l, count := range map[net.Listener]*atomic.Int32{allowed: &d.allowed, refused: &d.refused} {
		s := httptest.NewUnstartedServer(handler)
		s.Listener.Close()
		s.Listener = l
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				count.Add(1)
			}
		}
		s.Start()
		t.Cleanup(s.Close)
	}
	return d
}

func picture(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "picture") }

func networks(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// get fetches all of a URL.
func get(t *testing.T, c *fetch.Client, url string) (string, error) {
	t.Helper()
	resp, err := c.Get(t.Context(), url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// TestRebinding: a name that led to a public address when it was looked at leads to
// loopback when it is dialed.
func TestRebinding(t *testing.T) {
	d := openDoors(t, picture)
	names := newNameServer(t, map[string][][]string{"rebind.test": {{"8.8.8.8"}, {"127.0.0.1"}}})
	c := fetch.New(fetch.Options{AllowNetworks: networks("127.0.0.2/32"), Resolver: names.resolver()})
	url := "http://rebind.test:" + d.port + "/p.jpg"
	if _, err := c.Check(url); err != nil {
		t.Fatal(err)
	}
	first, err := names.resolver().LookupNetIP(t.Context(), "ip4", "rebind.test")
	if err != nil || len(first) != 1 || !(fetch.Guard{}).Permit(first[0]) {
		t.Fatalf("first it leads to %v, %v", first, err)
	}
	if text, err := get(t, c, url); broker.CodeOf(err) != broker.CodeNotAllowed || fetch.Transient(err) {
		t.Errorf("%q, %v", text, err)
	}
	if n := names.count("rebind.test"); n != 2 {
		t.Errorf("it was asked for %d times", n)
	}
	if n := d.refused.Load(); n != 0 {
		t.Errorf("%d connections to loopback", n)
	}
}

// TestRebindingOnRedirect: a redirect to the same name is dialed anew, not sent over
// the connection that is there.
func TestRebindingOnRedirect(t *testing.T) {
	d := openDoors(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/again") // and no body, which would keep the connection from being used again
		w.WriteHeader(http.StatusFound)
	})
	names := newNameServer(t, map[string][][]string{"rebind.test": {{"127.0.0.2"}, {"127.0.0.1"}}})
	c := fetch.New(fetch.Options{AllowNetworks: networks("127.0.0.2/32"), Resolver: names.resolver()})
	if text, err := get(t, c, "http://rebind.test:"+d.port); broker.CodeOf(err) != broker.CodeNotAllowed {
		t.Errorf("%q, %v", text, err)
	}
	if a, r := d.allowed.Load(), d.refused.Load(); a != 1 || r != 0 {
		t.Errorf("%d connections to the allowed door, %d to the other", a, r)
	}
}

func TestSeveralAddresses(t *testing.T) {
	d := openDoors(t, picture)
	names := newNameServer(t, map[string][][]string{
		"first.test":  {{"127.0.0.2", "127.0.0.1"}},
		"last.test":   {{"127.0.0.1", "127.0.0.2"}},
		"six.test":    {{"::1", "::ffff:127.0.0.1", "fd00:ec2::254", "127.0.0.2"}},
		"silent.test": {{"127.0.0.3", "127.0.0.1"}}, // nobody listens at the permitted one
		"none.test":   {{"127.0.0.1", "10.0.0.1", "::1", "64:ff9b::7f00:1"}},
	})
	c := fetch.New(fetch.Options{AllowNetworks: networks("127.0.0.2/31"), Resolver: names.resolver()})
	for name, want := range map[string]broker.Code{
		"first.test": "", "last.test": "", "six.test": "", "silent.test": broker.CodeUnavailable, "none.test": broker.CodeNotAllowed,
		"unknown.test": broker.CodeNotFound,
	} {
		text, err := get(t, c, "http://"+name+":"+d.port+"/?SECRET")
		if broker.CodeOf(err) != want || want == "" && text != "picture" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		if err != nil && (strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), name) && want != broker.CodeUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := d.refused.Load(); n != 0 {
		t.Errorf("%d connections to 127.0.0.1", n)
	}
}

// TestRedirects: each is judged like the URL itself.
func TestRedirects(t *testing.T) {
	d := openDoors(t, func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.Header().Set("Set-Cookie", "a=b")
			w.WriteHeader(http.StatusFound)
			return
		}
		fmt.Fprintf(w, "%s cookie=%q referer=%q", r.URL.Path, r.Header.Get("Cookie"), r.Header.Get("Referer"))
	})
	c := fetch.New(fetch.Options{AllowNetworks: networks("127.0.0.2/32")})
	base := "http://127.0.0.2:" + d.port
	for to, want := range map[string]broker.Code{
		"/next": "", "next": "", "//127.0.0.2:" + d.port + "/next": "", base + "/next#part": "",
		"http://169.254.169.254/latest/meta-data/": broker.CodeNotAllowed,
		"http://[fd00:ec2::254]/latest/meta-data/": broker.CodeNotAllowed,
		"//127.0.0.1:" + d.port + "/":              broker.CodeNotAllowed,
		"http://[::ffff:127.0.0.1]:" + d.port:      broker.CodeNotAllowed,
		"http://localhost:" + d.port:               broker.CodeNotAllowed,
		"http://2130706433/":                       broker.CodeInvalid,
		"http://0x7f.1/":                           broker.CodeInvalid,
		"file:///etc/passwd":                       broker.CodeInvalid,
		"gopher://127.0.0.2:70/":                   broker.CodeInvalid,
		"http://ada:pw@127.0.0.2:" + d.port + "/":  broker.CodeInvalid,
		"http://a%zz/":                             broker.CodeInvalid,
		"/" + strings.Repeat("x", 3000):            broker.CodeInvalid,
	} {
		text, err := get(t, c, base+"/?SECRET&to="+strings.NewReplacer("#", "%23", "%", "%25", "&", "%26").Replace(to))
		if broker.CodeOf(err) != want || want == "" && text != `/next cookie="" referer=""` {
			t.Errorf("%s: %q, %v", to, text, err)
		}
		if err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "meta-data")) {
			t.Errorf("%s: it tells %v", to, err)
		}
	}
	if n := d.refused.Load(); n != 0 {
		t.Errorf("%d connections to 127.0.0.1", n)
	}
}

// TestMain names a proxy in the environment, which would dial whatever it is asked
// to. No test here works through it: a name would be asked of the proxy.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		if err := os.Setenv(name, "http://127.0.0.1:9"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
