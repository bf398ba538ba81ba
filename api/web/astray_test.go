package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// TestAstray: who goes to an address that is none gets a page in his language, and a
// program a problem document.
func TestAstray(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	browsers := map[string][]string{
		"a browser": {"Sec-Fetch-Mode", "navigate"}, "an old browser": {"Accept", "text/html,application/xhtml+xml,*/*;q=0.8"},
	}
	for path, status := range map[string]int{
		"/nope": 404, "/nope/": 404, "/tags/a/b": 404, "/v1/nope": 404, "/upload/..": 404, "//evil.example/": 404, "/%5cevil.example/": 404, "/sign-out": 405,
	} {
		for name, headers := range browsers {
			p := s.do(t, http.MethodGet, path, nil, append(headers, "Accept-Language", "zh")...)
			if p.status != status || !strings.Contains(p.body, "没有这个页面。") || !strings.Contains(p.body, `href="/sign-in"`) || p.header.Get("Content-Security-Policy") == "" {
				t.Errorf("%s for %s: %d %s", path, name, p.status, p.body)
			}
		}
		for name, headers := range map[string][]string{
			"a program": {"Accept", "*/*"}, "nothing said": nil, "a script of a page": {"Sec-Fetch-Mode", "cors", "Accept", "text/html"},
		} {
			p := s.do(t, http.MethodGet, path, nil, headers...)
			if p.status != status || !strings.HasPrefix(p.header.Get("Content-Type"), "application/problem+json") {
				t.Errorf("%s for %s: %d %v", path, name, p.status, p.header)
			}
		}
	}
	if p := s.do(t, http.MethodPost, "/nope", url.Values{}, "Sec-Fetch-Mode", "navigate"); p.status != http.StatusNotFound || !strings.Contains(p.header.Get("Content-Type"), "json") {
		t.Errorf("POST: %d %v", p.status, p.header)
	}
	if p := s.do(t, http.MethodGet, "/nope", nil, "Cookie", cookie, "Sec-Fetch-Mode", "navigate"); !strings.Contains(p.body, "There is no such page.") || !strings.Contains(p.body, "ada@example.com") {
		t.Errorf("signed in: %s", p.body)
	}
}

// TestSlashes: a slash at the end of a page's address leads to the page, one of an
// upload's never elsewhere; a person who opens that is led to the tag.
func TestSlashes(t *testing.T) {
	s := open(t)
	s.newTag(t, "open")
	for path, to := range map[string]string{
		"/tags/": "/tags", "/tags/open/": "/tags/open", "/tags/open//?a=b": "/tags/open?a=b", "/keys/": "/keys", "/projects/": "/projects", "/projects": "/",
		"/sign-in/?next=%2Fkeys": "/sign-in?next=%2Fkeys", "/tags/%E7%85%A7%E7%89%87/": "/tags/%E7%85%A7%E7%89%87", "/buckets/": "/buckets",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if p := s.do(t, method, path, nil); p.status/100 != 3 || p.header.Get("Location") != to {
				t.Errorf("%s %s: %d %v", method, path, p.status, p.header)
			}
		}
	}
	if p := s.do(t, http.MethodPost, "/sign-in/", url.Values{"key": {s.secret}}); p.status/100 == 3 || p.cookie() != nil {
		t.Errorf("POST: %d %v", p.status, p.header)
	}
	for path, to := range map[string]string{
		"/upload/open": "/tags/open", "/upload/open/": "/tags/open", "/upload/open/a/b.jpg": "/tags/open", "/upload/open%2fa.jpg": "/tags/open",
		"/upload/%E7%85%A7%E7%89%87/x": "/tags/%E7%85%A7%E7%89%87", "/upload": "/tags", "/upload/": "/tags",
	} {
		p := s.do(t, http.MethodGet, path, nil, "Sec-Fetch-Mode", "navigate")
		if p.status != http.StatusSeeOther || p.header.Get("Location") != to || p.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", path, p.status, p.header)
		}
		if p := s.do(t, http.MethodGet, path, nil); p.status/100 != 4 || !strings.Contains(p.header.Get("Content-Type"), "problem+json") {
			t.Errorf("%s of a program: %d %v", path, p.status, p.header)
		}
	}
}

// TestTagsForAnybody: where a tag is public, strangers find it.
func TestTagsForAnybody(t *testing.T) {
	s := open(t)
	s.newTag(t, "hidden")
	p := s.do(t, http.MethodGet, "/tags", nil)
	if p.status != http.StatusSeeOther || p.header.Get("Location") != "/sign-in?next=%2Ftags" {
		t.Errorf("no tag is public: %d %v", p.status, p.header)
	}
	if p := s.do(t, http.MethodGet, "/", nil); strings.Contains(p.body, `"/tags"`) {
		t.Errorf("%s", p.body)
	}

	s = open(t)
	s.newTag(t, "open")
	p = s.do(t, http.MethodGet, "/tags", nil)
	if p.status != http.StatusOK || !strings.Contains(p.body, `data-page="tags"`) || strings.Contains(p.body, "ada@example.com") || !strings.Contains(p.body, "/sign-in?next=%2ftags") {
		t.Errorf("%d %s", p.status, p.body)
	}
	if p := s.do(t, http.MethodGet, "/", nil); strings.Count(p.body, `"/tags"`) != 2 {
		t.Errorf("the first page leads to no tags, or not by its header and itself:\n%s", p.body)
	}
	if p := s.do(t, http.MethodGet, "/tags/open", nil); strings.Count(p.body, `"/tags"`) != 1 {
		t.Errorf("the header leads to no tags:\n%s", p.body)
	}
	_, blind := s.newKey(t, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload}})
	if p := s.do(t, http.MethodGet, "/tags", nil, "Cookie", s.signIn(t, blind)); p.status != http.StatusOK || !strings.Contains(p.body, `data-scopes="upload"`) {
		t.Errorf("signed in: %d %s", p.status, p.body)
	}
}

// TestSignInOverPlainHTTP: where the browser would drop the session's cookie, since the
// public address is https and it came otherwise, the form says so, and no code is spent.
func TestSignInOverPlainHTTP(t *testing.T) {
	s := open(t, func(o *api.Options) { o.PublicURL = "https://up.example.com" })
	lan := []string{"Host", "192.168.1.5:8080"}
	link := `href="https://up.example.com/sign-in?next=%2Fkeys"`
	for lang, words := range map[string]string{"en": "plain http", "zh": "未加密的 http"} {
		p := s.do(t, http.MethodGet, "/sign-in?next=%2Fkeys", nil, append(lan, "Accept-Language", lang)...)
		if p.status != http.StatusOK || !strings.Contains(p.body, words) || !strings.Contains(p.body, link) {
			t.Errorf("%s: %d %s", lang, p.status, p.body)
		}
	}
	code, err := s.keys.NewSignInCode(t.Context(), s.key.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{"http://192.168.1.5:8080", "http://up.example.com"} {
		_, host, _ := strings.Cut(origin, "://")
		for _, form := range []url.Values{{"key": {s.secret}, "next": {"/keys"}}, {"code": {code}, "next": {"/keys"}}} {
			p := s.do(t, http.MethodPost, "/sign-in", form, "Host", host, "Origin", origin)
			if p.status != http.StatusForbidden || p.cookie() != nil || !strings.Contains(p.body, "plain http") || !strings.Contains(p.body, link) {
				t.Errorf("%s: %d %v %s", origin, p.status, p.header, p.body)
			}
		}
		p := s.do(t, http.MethodPost, "/language", url.Values{"lang": {"zh"}}, "Host", host, "Origin", origin)
		if len(p.cookies) != 1 || p.cookies[0].Secure {
			t.Errorf("%s: the language: %v", origin, p.cookies)
		}
	}
	for name, headers := range map[string][]string{
		"by the public address": {"Host", "up.example.com"}, "behind a proxy that changes Host": {"Host", "127.0.0.1:8080", "Sec-Fetch-Site", "none"},
		"behind one that tells": {"Host", "127.0.0.1:8080", "X-Forwarded-Proto", "https"},
	} {
		if p := s.do(t, http.MethodGet, "/sign-in", nil, headers...); p.status != http.StatusOK || strings.Contains(p.body, "plain http") {
			t.Errorf("%s: %d %s", name, p.status, p.body)
		}
	}
	p := s.do(t, http.MethodPost, "/sign-in", url.Values{"code": {code}}, "Host", "up.example.com", "Origin", "https://up.example.com")
	if c := p.cookie(); p.status != http.StatusSeeOther || c == nil || !c.Secure {
		t.Errorf("%d %v %s", p.status, p.header, p.body)
	}
	plain := open(t)
	if p := plain.do(t, http.MethodGet, "/sign-in", nil, lan...); strings.Contains(p.body, "plain http") {
		t.Errorf("without a public address: %s", p.body)
	}
}
