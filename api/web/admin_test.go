package web_test

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestSignInComesBack goes on to where somebody wanted to go, within this program.
func TestSignInComesBack(t *testing.T) {
	s := open(t)
	for next, to := range map[string]string{
		"":                                    "/",
		"/admin/jobs/":                        "/admin/jobs/",
		"/admin/jobs/jobs?state=failed&x=%2F": "/admin/jobs/jobs?state=failed&x=%2F",
		"//evil.example":                      "/",
		"///evil.example":                     "/",
		`/\evil.example`:                      "/",
		`\\evil.example`:                      "/",
		"/\t/evil.example":                    "/",
		"/\n/evil.example":                    "/",
		"https://evil.example/":               "/",
		"javascript:alert(1)":                 "/",
		"evil":                                "/",
		"/ü":                                  "/",
		"/a#b":                                "/",
		"/" + strings.Repeat("a", 2000):       "/",
	} {
		p := s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {s.secret}, "next": {next}})
		if got := p.header.Get("Location"); p.status != http.StatusSeeOther || got != to {
			t.Errorf("%q: %d to %q, want %q", next, p.status, got, to)
		}
		page := s.do(t, http.MethodGet, "/sign-in?next="+url.QueryEscape(next), nil)
		kept := `name="next" value="` + html.EscapeString(to) + `"`
		if page.status != http.StatusOK || strings.Contains(html.UnescapeString(page.body), html.UnescapeString(kept)) != (to != "/") {
			t.Errorf("%q: the form: %d %s", next, page.status, page.body)
		}
		if to != "/" {
			// A wrong key does not lose it.
			wrong := s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {"nonsense"}, "next": {next}})
			if wrong.status != http.StatusUnauthorized || !strings.Contains(wrong.body, `name="next"`) {
				t.Errorf("%q after a wrong key: %d %s", next, wrong.status, wrong.body)
			}
		}
	}
}
