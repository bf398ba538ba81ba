package web_test

import (
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// TestCookieOverHTTPS: behind a trusted proxy that speaks https the cookie is
// bound to this host and to https; a stranger's word changes nothing.
func TestCookieOverHTTPS(t *testing.T) {
	https := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "up.example.com"}
	s := open(t, func(o *api.Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	p := s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {s.secret}}, https...)
	c := p.cookie()
	if c == nil || c.Name != "__Host-uploadbroker" || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
		t.Fatalf("%+v", c)
	}
	if home := s.do(t, http.MethodGet, "/", nil, append(https, "Cookie", c.Name+"="+c.Value)...); !strings.Contains(home.body, "ada@example.com") {
		t.Error("the session does not hold")
	}
	// The name that any http page of the domain could have set is not read.
	if home := s.do(t, http.MethodGet, "/", nil, append(https, "Cookie", "uploadbroker="+c.Value)...); strings.Contains(home.body, "ada@example.com") {
		t.Error("over https a cookie of http is taken")
	}
	out := s.do(t, http.MethodPost, "/sign-out", url.Values{}, append(https, "Cookie", c.Name+"="+c.Value)...)
	if gone := out.cookie(); gone == nil || gone.Name != c.Name || gone.MaxAge >= 0 || gone.Value != "" || !gone.Secure {
		t.Errorf("%+v", out.cookie())
	}

	stranger := open(t)
	p = stranger.do(t, http.MethodPost, "/sign-in", url.Values{"key": {stranger.secret}}, https...)
	if c := p.cookie(); c == nil || c.Name != "uploadbroker" || c.Secure {
		t.Errorf("a stranger's header: %+v", c)
	}
	public := open(t, func(o *api.Options) { o.PublicURL = "https://up.example.com" })
	p = public.do(t, http.MethodPost, "/sign-in", url.Values{"key": {public.secret}})
	if c := p.cookie(); c == nil || c.Name != "__Host-uploadbroker" || !c.Secure {
		t.Errorf("public_url: %+v", c)
	}
}

// TestForeignForms are refused, and change nothing.
func TestForeignForms(t *testing.T) {
	s := open(t, func(o *api.Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	cookie := s.signIn(t, s.secret)
	for _, c := range []struct {
		name    string
		headers []string
		refused bool
	}{
		{"a browser says cross-site", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"a browser says same-site, which another port is", []string{"Sec-Fetch-Site", "same-site"}, true},
		{"another origin, an old browser", []string{"Origin", "https://evil.example"}, true},
		{"a sandboxed page", []string{"Origin", "null"}, true},
		{"an origin that begins as ours", []string{"Host", "up.example.com", "Origin", "http://up.example.com.evil.example"}, true},
		{"both", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, true},
		{"its own page", []string{"Sec-Fetch-Site", "same-origin"}, false},
		{"its own page, an old browser", []string{"Host", "photos.lan:9000", "Origin", "http://photos.lan:9000"}, false},
		{"its own page behind a proxy that changes Host", []string{"Host", "127.0.0.1:8080", "X-Forwarded-Host", "up.example.com", "X-Forwarded-Proto", "https", "Origin", "https://up.example.com"}, false},
		{"another page behind that proxy", []string{"Host", "127.0.0.1:8080", "X-Forwarded-Host", "up.example.com", "X-Forwarded-Proto", "https", "Origin", "https://evil.example"}, true},
		{"no browser", nil, false},
	} {
		for _, path := range []string{"/sign-in", "/sign-out"} {
			p := s.do(t, http.MethodPost, path, url.Values{"key": {s.secret}}, append(c.headers, "Cookie", cookie+"; __Host-"+cookie)...)
			if c.refused && (p.status != http.StatusForbidden || p.cookie() != nil) || !c.refused && p.status != http.StatusSeeOther {
				t.Errorf("%s: %s: %d %s", c.name, path, p.status, p.body)
			}
			if path == "/sign-out" {
				if still := strings.Contains(s.do(t, http.MethodGet, "/", nil, "Cookie", cookie).body, "ada@example.com"); still != c.refused {
					t.Errorf("%s: signed in afterwards: %t", c.name, still)
				}
			}
		}
		if !c.refused {
			cookie = s.signIn(t, s.secret)
		}
	}
}

func TestForms(t *testing.T) {
	s := open(t)
	if p := s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {strings.Repeat("x", 20<<10)}}); p.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a form of 20 kB: %d %s", p.status, p.body)
	}
	for _, body := range []string{"key=%zz", "key=" + s.secret + ";a"} {
		r := formRequest(s.URL+"/sign-in", nil)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%q: %d", body, resp.StatusCode)
		}
	}
}

// TestSessionDiesWithItsKey, and with its own end.
func TestSessionDiesWithItsKey(t *testing.T) {
	s := open(t)
	signedIn := func(cookie string) bool {
		return strings.Contains(s.do(t, http.MethodGet, "/", nil, "Cookie", cookie).body, "ada@example.com")
	}
	revoked, secret := s.newKey(t, broker.NewKey{Scopes: broker.AllScopes()})
	cookie := s.signIn(t, secret)
	if !signedIn(cookie) {
		t.Fatal("not signed in")
	}
	if _, err := s.store.RevokeKey(t.Context(), revoked.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	if signedIn(cookie) {
		t.Error("the session outlives its revoked key")
	}
	if p := s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {secret}}); p.status != http.StatusUnauthorized {
		t.Errorf("signing in by a revoked key: %d", p.status)
	}

	_, secret = s.newKey(t, broker.NewKey{Scopes: broker.AllScopes(), TTL: time.Hour})
	cookie, long := s.signIn(t, secret), s.signIn(t, s.secret)
	if !signedIn(cookie) || !signedIn(long) {
		t.Fatal("not signed in")
	}
	s.keys.Now = func() time.Time { return time.Now().Add(61 * time.Minute) }
	if signedIn(cookie) {
		t.Error("the session outlives its expired key")
	}
	if !signedIn(long) {
		t.Error("another key's session ended")
	}
	s.keys.Now = func() time.Time { return time.Now().Add(31 * 24 * time.Hour) }
	if signedIn(long) {
		t.Error("the session does not end")
	}
	s.keys.Now = time.Now

	out := s.do(t, http.MethodPost, "/sign-out", url.Values{}, "Cookie", long)
	if out.status != http.StatusSeeOther || signedIn(long) {
		t.Errorf("after signing out: %d", out.status)
	}
	if p := s.do(t, http.MethodPost, "/sign-out", url.Values{}); p.status != http.StatusSeeOther {
		t.Errorf("signing out twice: %d", p.status)
	}
}

// TestCookieIsNoKey: the API takes keys alone, whatever the session may do.
func TestCookieIsNoKey(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	_, value, _ := strings.Cut(cookie, "=")
	for _, headers := range [][]string{{"Cookie", cookie}, {"Cookie", "__Host-" + cookie}, {"Authorization", "Bearer " + value}, {"Authorization", "Cookie " + value}} {
		for _, path := range []string{"/v1/me", "/v1/projects", "/v1/buckets/nearest"} {
			if p := s.do(t, http.MethodGet, path, nil, headers...); p.status != http.StatusUnauthorized {
				t.Errorf("%s with %v: %d", path, headers, p.status)
			}
		}
	}
	// And no key is taken for a session.
	if p := s.do(t, http.MethodGet, "/", nil, "Authorization", "Bearer "+s.secret); strings.Contains(p.body, "ada@example.com") {
		t.Error("the page takes a key")
	}
	if p := s.do(t, http.MethodGet, "/", nil, "Cookie", "uploadbroker="+s.secret); strings.Contains(p.body, "ada@example.com") {
		t.Error("the page takes a key as a cookie")
	}
}
