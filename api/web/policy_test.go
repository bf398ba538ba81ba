package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestPolicies: every page and file is held to what this program serves itself.
func TestPolicies(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	pages := []page{
		s.do(t, http.MethodGet, "/", nil), s.do(t, http.MethodGet, "/", nil, "Cookie", cookie), s.do(t, http.MethodGet, "/sign-in", nil),
		s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {"wrong"}}),
	}
	for i, p := range pages {
		if p.header.Get("Cache-Control") != "no-store" {
			t.Errorf("page %d may be cached: %q", i, p.header.Get("Cache-Control"))
		}
	}
	for _, path := range []string{"/projects/" + broker.NewID(time.Now()), "/projects/" + broker.NewID(time.Now()) + "/audit", "/tags", "/buckets", "/keys", "/projects/none"} {
		pages = append(pages, s.do(t, http.MethodGet, path, nil, "Cookie", cookie, "Sec-Fetch-Mode", "navigate"))
	}
	for _, file := range []string{"page.css", "sign-in.js", "icon.svg", "app/main.js"} {
		p := s.do(t, http.MethodGet, "/static/"+file, nil)
		if p.status != http.StatusOK {
			t.Errorf("%s: %d", file, p.status)
		}
		pages = append(pages, p)
	}
	for i, p := range pages {
		csp := p.header.Get("Content-Security-Policy")
		for _, rule := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, rule) {
				t.Errorf("page %d lacks %s: %q", i, rule, csp)
			}
		}
		if loose := strings.ReplaceAll(csp, "'wasm-unsafe-eval'", ""); strings.Contains(loose, "unsafe") || strings.Contains(csp, "*") || p.header.Get("X-Content-Type-Options") != "nosniff" || p.header.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("page %d: %v", i, p.header)
		}
		for _, loose := range []string{"<style", " style=", " onclick", " onload", "javascript:"} {
			if strings.Contains(p.body, loose) {
				t.Errorf("page %d has %s, which its policy refuses", i, loose)
			}
		}
		for part := range strings.SplitSeq(p.body, "<script") {
			if strings.HasPrefix(part, ">") {
				t.Errorf("page %d has an inline script", i)
			}
		}
	}
	for _, rule := range []string{"script-src 'self' 'wasm-unsafe-eval';", "img-src 'self' blob: https://photos.bucket.example;", "connect-src 'self' https://photos.bucket.example;"} {
		if csp := pages[0].header.Get("Content-Security-Policy"); !strings.Contains(csp, rule) {
			t.Errorf("the policy lacks %s: %s", rule, csp)
		}
	}
	docs := s.do(t, http.MethodGet, "/docs/", nil)
	if csp := docs.header.Get("Content-Security-Policy"); docs.status != http.StatusOK || !strings.Contains(csp, "default-src 'none'; script-src 'self';") ||
		!strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "http") {
		t.Errorf("/docs/: %d %q", docs.status, csp)
	}
	for _, line := range strings.Split(docs.body, "\n") {
		if strings.Contains(line, "src=\"http") || strings.Contains(line, "href=\"http") || strings.Contains(line, "src=\"//") {
			t.Errorf("/docs/ asks elsewhere: %s", line)
		}
	}
	if p := s.do(t, http.MethodGet, "/docs", nil); p.status != http.StatusMovedPermanently || p.header.Get("Location") != "/docs/" {
		t.Errorf("/docs: %d %v", p.status, p.header)
	}
	for _, path := range []string{"/static/", "/static/../web.go", "/static/%2e%2e/web.go", "/static/none.css"} {
		if p := s.do(t, http.MethodGet, path, nil); p.status == http.StatusOK {
			t.Errorf("%s: %d %s", path, p.status, p.body)
		}
	}
}
