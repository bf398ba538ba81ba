package web_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// TestPageAPI: the API's own calls by the session, and by nothing else.
func TestPageAPI(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	p := s.do(t, http.MethodGet, "/page/v1/me", nil, "Cookie", cookie)
	if p.status != http.StatusOK || !strings.Contains(p.body, "ada@example.com") || p.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%d %s", p.status, p.body)
	}
	_, value, _ := strings.Cut(cookie, "=")
	for name, headers := range map[string][]string{
		"nobody": nil, "a key": {"Authorization", "Bearer " + s.secret}, "a session as a key": {"Authorization", "Bearer " + value}, "a wrong cookie": {"Cookie", "uploadbroker=nonsense"},
		"a key as a cookie": {"Cookie", "uploadbroker=" + s.secret}, "the cookie of https": {"Cookie", "__Host-" + cookie},
	} {
		if p := s.do(t, http.MethodGet, "/page/v1/me", nil, headers...); p.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, p.status, p.body)
		}
	}
	// The session decides, not a key beside it.
	_, few := s.newKey(t, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload}})
	if p := s.do(t, http.MethodGet, "/page/v1/projects", nil, "Cookie", s.signIn(t, few), "Authorization", "Bearer "+s.secret); p.status != http.StatusForbidden {
		t.Errorf("a key beside a session: %d %s", p.status, p.body)
	}
	// Nothing else lies below, whatever the path pretends.
	for _, path := range []string{"/page/v1", "/page/", "/page/graphql", "/page/v1/../../metrics", "/page/v1/%2e%2e/healthz", "/page//v1/me", "/page/page/v1/me", "/page/v1//me"} {
		if p := s.do(t, http.MethodGet, path, nil, "Cookie", cookie); p.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, p.status, p.body)
		}
	}
	for _, path := range []string{"/v1/me", "/V1/me"} {
		if p := s.do(t, http.MethodGet, path, nil, "Cookie", cookie); p.status == http.StatusOK {
			t.Errorf("%s takes the cookie", path)
		}
	}
	if p := s.do(t, http.MethodHead, "/page/v1/me", nil, "Cookie", cookie); p.status != http.StatusOK || p.body != "" {
		t.Errorf("HEAD: %d %s", p.status, p.body)
	}
}

// TestPageAPIFromElsewhere is refused, reading as well, and no other site is told that
// it may ask.
func TestPageAPIFromElsewhere(t *testing.T) {
	s := open(t, func(o *api.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	cookie := s.signIn(t, s.secret)
	for _, c := range []struct {
		name    string
		headers []string
		get     bool
		post    bool
	}{
		{"no browser", nil, true, true},
		{"its own page", []string{"Sec-Fetch-Site", "same-origin"}, true, true},
		{"typed by a person", []string{"Sec-Fetch-Site", "none"}, true, true},
		{"another site", []string{"Sec-Fetch-Site", "cross-site"}, false, false},
		{"another port", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:9"}, false, false},
		{"another origin, an old browser", []string{"Origin", "https://evil.example"}, true, false},
		{"a sandboxed page", []string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, false, false},
		{"its own page behind a proxy", []string{"Host", "127.0.0.1:8080", "X-Forwarded-Host", "up.example.com", "Origin", "http://up.example.com"}, true, true},
	} {
		headers := append(c.headers, "Cookie", cookie)
		for method, allowed := range map[string]bool{http.MethodGet: c.get, http.MethodPost: c.post} {
			path := "/page/v1/me"
			if method == http.MethodPost {
				path = "/page/v1/projects"
			}
			p := s.send(t, method, path, `{"name":"x"}`, headers...)
			if refused := p.status == http.StatusForbidden; refused == allowed {
				t.Errorf("%s: %s: %d %s", c.name, method, p.status, p.body)
			}
			if p.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: %s: %v", c.name, method, p.header)
			}
		}
	}
	p := s.do(t, http.MethodOptions, "/page/v1/me", nil, "Origin", "https://evil.example", "Access-Control-Request-Method", "GET")
	if p.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a preflight: %d %v", p.status, p.header)
	}
	// A form of another site is no JSON either.
	if p := s.do(t, http.MethodPost, "/page/v1/projects", url.Values{"name": {"x"}}, "Cookie", cookie, "Sec-Fetch-Site", "cross-site"); p.status != http.StatusForbidden {
		t.Errorf("a form: %d", p.status)
	}
}

// TestPageLinks lead to where the session counts.
func TestPageLinks(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	p, err := s.projects.Create(t.Context(), s.caller(), "one", broker.KindRecon)
	if err != nil {
		t.Fatal(err)
	}
	task, _, err := s.tasks.PreStart(t.Context(), s.caller(), p.ID, broker.StartOptions{})
	if err != nil || task == nil {
		t.Fatal(task, err)
	}
	s.finish(t, task.ID)
	for path, want := range map[string]string{"/page/v1/tasks/": "/page/v1/tasks/", "/v1/tasks/": "/v1/tasks/"} {
		headers := []string{"Cookie", cookie}
		if path == "/v1/tasks/" {
			headers = []string{"Authorization", "Bearer " + s.secret}
		}
		var got struct {
			Results []struct {
				URL string `json:"url"`
			} `json:"results"`
		}
		s.read(t, path+task.ID, &got, headers...)
		if len(got.Results) != 1 || got.Results[0].URL != s.URL+want+task.ID+"/results/all.zip" {
			t.Fatalf("%s: %+v", path, got)
		}
		link := s.do(t, http.MethodGet, strings.TrimPrefix(got.Results[0].URL, s.URL), nil, headers...)
		if link.status != http.StatusFound || !strings.HasPrefix(link.header.Get("Location"), "https://photos.bucket.example/") {
			t.Errorf("%s: %d %v %s", path, link.status, link.header, link.body)
		}
	}
}
