package fetch_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
)

func TestCheck(t *testing.T) {
	c := fetch.New(fetch.Options{})
	long := "http://a.example/" + strings.Repeat("x", 2048-len("http://a.example/"))
	for _, x := range []struct {
		raw, want string // want "": refused
		code      broker.Code
	}{
		{raw: "http://a.example/p.jpg", want: "http://a.example/p.jpg"},
		{raw: " https://a.example/p.jpg\n", want: "https://a.example/p.jpg"},
		{raw: "HTTP://A.Example:0080/P.jpg", want: "http://a.example:80/P.jpg"},
		{raw: "http://a.example", want: "http://a.example"},
		{raw: "http://a.example:", want: "http://a.example"},
		{raw: "http://a.example?x=1", want: "http://a.example?x=1"},
		{raw: "http://a_b.example./p", want: "http://a_b.example./p"},
		{raw: "http://a.example:8080//p.jpg", want: "http://a.example:8080/p.jpg"},
		{raw: "http://a.example////a//b///?q=//x//&y=http://b", want: "http://a.example/a/b/?q=//x//&y=http://b"},
		{raw: "http://a.example/a%2F%2Fb//c", want: "http://a.example/a%2F%2Fb/c"},
		{raw: "http://a.example//a/../b", want: "http://a.example/a/../b"},
		{raw: "http://a.example/p.jpg#top", want: "http://a.example/p.jpg"},
		{raw: "http://a.example/a b/ü.jpg?q=a b\"ü", want: "http://a.example/a%20b/%C3%BC.jpg?q=a%20b%22%C3%BC"},
		{raw: "http://a.example/?sig=a%2Bb+c%3D", want: "http://a.example/?sig=a%2Bb+c%3D"},
		{raw: "http://8.8.8.8/", want: "http://8.8.8.8/"},
		{raw: "http://[2606:4700:0::1111]:81/", want: "http://[2606:4700::1111]:81/"},
		{raw: "http://127.0.0.1.example/", want: "http://127.0.0.1.example/"},
		{raw: "http://0x7f.1.example/", want: "http://0x7f.1.example/"},
		{raw: "http://localhost/", want: "http://localhost/"}, // refused when it is dialed
		{raw: long, want: long},

		{raw: long + "x", code: broker.CodeInvalid},
		{raw: "http://a.example/" + strings.Repeat("ü", 400), code: broker.CodeInvalid}, // escaped it is too long
		{raw: "", code: broker.CodeInvalid},
		{raw: "a.example/p.jpg", code: broker.CodeInvalid},
		{raw: "//a.example/p.jpg", code: broker.CodeInvalid},
		{raw: "http:a.example", code: broker.CodeInvalid},
		{raw: "http:/a.example", code: broker.CodeInvalid},
		{raw: "http:///p.jpg", code: broker.CodeInvalid},
		{raw: "http://:80/", code: broker.CodeInvalid},
		{raw: "file:///etc/passwd", code: broker.CodeInvalid},
		{raw: "gopher://a.example:70/_x", code: broker.CodeInvalid},
		{raw: "ftp://a.example/", code: broker.CodeInvalid},
		{raw: "javascript:alert(1)", code: broker.CodeInvalid},
		{raw: "http://ada@a.example/", code: broker.CodeInvalid},
		{raw: "http://ada:pw@a.example/", code: broker.CodeInvalid},
		{raw: "http://@a.example/", code: broker.CodeInvalid},
		{raw: "http://a.example\\@b.example/", code: broker.CodeInvalid},
		{raw: "http://a.example:0/", code: broker.CodeInvalid},
		{raw: "http://a.example:65536/", code: broker.CodeInvalid},
		{raw: "http://a.example:x/", code: broker.CodeInvalid},
		{raw: "http://a..example/", code: broker.CodeInvalid},
		{raw: "http://a.example,b.example/", code: broker.CodeInvalid},
		{raw: "http://１２７.0.0.1/", code: broker.CodeInvalid},
		{raw: "http://127。0。0。1/", code: broker.CodeInvalid},
		{raw: "http://bücher.example/", code: broker.CodeInvalid},
		{raw: "http://a.example/\r\nX: y", code: broker.CodeInvalid},
		{raw: "http://a.example/%zz", code: broker.CodeInvalid},

		// Forms in which some resolvers see 127.0.0.1.
		{raw: "http://2130706433/", code: broker.CodeInvalid},
		{raw: "http://0177.0.0.1/", code: broker.CodeInvalid},
		{raw: "http://0x7f.0.0.1/", code: broker.CodeInvalid},
		{raw: "http://0x7f.1/", code: broker.CodeInvalid},
		{raw: "http://0X7F000001/", code: broker.CodeInvalid},
		{raw: "http://127.0x1/", code: broker.CodeInvalid},
		{raw: "http://127.0.0x/", code: broker.CodeInvalid},
		{raw: "http://127.1/", code: broker.CodeInvalid},
		{raw: "http://0/", code: broker.CodeInvalid},
		{raw: "http://127.0.0.1./", code: broker.CodeInvalid},
		{raw: "http://127.0.0.01/", code: broker.CodeInvalid},
		{raw: "http://127.0.0.256/", code: broker.CodeInvalid},
		{raw: "http://1.2.3.4.5/", code: broker.CodeInvalid},
		{raw: "http://a.example.5/", code: broker.CodeInvalid},
		{raw: "http://[127.0.0.1]/", code: broker.CodeInvalid},
		{raw: "http://[::1%25eth0]/", code: broker.CodeInvalid},
		{raw: "http://[fe80::1%25eth0]/", code: broker.CodeInvalid},
		{raw: "http://[2606:4700::1111%25eth0]/", code: broker.CodeInvalid},
		{raw: "http://::1/", code: broker.CodeInvalid},

		{raw: "http://127.0.0.1/", code: broker.CodeNotAllowed},
		{raw: "http://10.0.0.1:8080/", code: broker.CodeNotAllowed},
		{raw: "http://169.254.169.254/latest/meta-data/", code: broker.CodeNotAllowed},
		{raw: "http://168.63.129.16/", code: broker.CodeNotAllowed},
		{raw: "http://100.100.100.200/", code: broker.CodeNotAllowed},
		{raw: "http://0.0.0.0/", code: broker.CodeNotAllowed},
		{raw: "http://[::]/", code: broker.CodeNotAllowed},
		{raw: "http://[::1]/", code: broker.CodeNotAllowed},
		{raw: "http://[::ffff:127.0.0.1]/", code: broker.CodeNotAllowed},
		{raw: "http://[::ffff:7f00:1]/", code: broker.CodeNotAllowed},
		{raw: "http://[::127.0.0.1]/", code: broker.CodeNotAllowed},
		{raw: "http://[64:ff9b::10.0.0.1]/", code: broker.CodeNotAllowed},
		{raw: "http://[2002:7f00:1::]/", code: broker.CodeNotAllowed},
		{raw: "http://[fd00:ec2::254]/", code: broker.CodeNotAllowed},
		{raw: "http://[fe80::1]/", code: broker.CodeNotAllowed},
	} {
		got, err := c.Check(x.raw)
		if got != x.want || broker.CodeOf(err) != x.code {
			t.Errorf("%q: %q, %v; want %q %s", x.raw, got, err, x.want, x.code)
		}
	}
}

// TestCheckTellsNoSecret: a refusal may be shown and logged.
func TestCheckTellsNoSecret(t *testing.T) {
	c := fetch.New(fetch.Options{})
	for _, raw := range []string{
		"ftp://a.example/SECRET?SECRET", "http://SECRET:SECRET@a.example/", "http://10.0.0.1/SECRET?SECRET", "http://a.example/%zz?SECRET",
		"http://a.example:0/SECRET", "http://a..b/SECRET", "http://0x7f.1/SECRET", strings.Repeat("SECRET", 999),
	} {
		if _, err := c.Check(raw); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestCheckAllowedNetworks(t *testing.T) {
	c := fetch.New(fetch.Options{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for raw, code := range map[string]broker.Code{
		"http://127.0.0.1:8080//a.jpg": "", "http://[::ffff:127.0.0.1]/": "", "http://[::1]/": broker.CodeNotAllowed,
		"http://10.0.0.1/": broker.CodeNotAllowed, "http://127.1/": broker.CodeInvalid,
	} {
		if _, err := c.Check(raw); broker.CodeOf(err) != code {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// FuzzCheck: what is accepted is a plain URL, and is accepted again as it is.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		"http://a.example//b//c?d//e#f", "https://[2606:4700::1111]:443/%2f/", "http://8.8.8.8", "http://a b/", "http://a.example/ü?ü", "http://0x7f.1/",
		"http://a.example/%2F/%2f//", "http://a.example/;x=//y", "http:\\\\a.example", "http://a.example?", "http://a.example//?#", "http://[::ffff:8.8.8.8%25x]:1/",
	} {
		f.Add(seed)
	}
	c := fetch.New(fetch.Options{})
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := c.Check(raw)
		if err != nil {
			if code := broker.CodeOf(err); code != broker.CodeInvalid && code != broker.CodeNotAllowed {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		u, err := url.Parse(got)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || strings.Contains(got, "#") {
			t.Fatalf("%q gives %q: %v", raw, got, err)
		}
		if len(got) > 2048 || strings.Contains(u.EscapedPath(), "//") || strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Fatalf("%q gives %q", raw, got)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil && !(fetch.Guard{}).Permit(addr) {
			t.Fatalf("%q gives %q", raw, got)
		}
		if again, err := c.Check(got); again != got || err != nil {
			t.Fatalf("%q gives %q, and that %q: %v", raw, got, again, err)
		}
	})
}
