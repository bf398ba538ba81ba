package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestShells: who is not signed in is sent to sign in and comes back; what is not
// there is a page for a person.
func TestShells(t *testing.T) {
	s := open(t)
	cookie := s.signIn(t, s.secret)
	pid := broker.NewID(time.Now())
	for path, part := range map[string]string{
		"/projects/" + pid: `data-page="project" data-pid="` + pid + `"`, "/projects/" + pid + "/audit?image=x": `data-page="audit" data-pid="` + pid + `"`,
		"/tags": `data-page="tags"`, "/buckets": `data-page="buckets"`, "/keys": `data-page="keys"`,
	} {
		if p := s.do(t, http.MethodGet, path, nil, "Cookie", cookie); p.status != http.StatusOK || !strings.Contains(p.body, part) {
			t.Errorf("%s: %d, want %s:\n%s", path, p.status, part, p.body)
		}
		p := s.do(t, http.MethodGet, path, nil)
		if p.status != http.StatusSeeOther || p.header.Get("Location") != "/sign-in?next="+url.QueryEscape(path) || p.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s without a session: %d %v", path, p.status, p.header)
		}
	}
	for _, path := range []string{"/projects/none", "/projects/" + strings.ToLower(pid), "/projects/%3Cscript%3E", "/tags/none", "/tags/a%2Fb"} {
		p := s.do(t, http.MethodGet, path, nil, "Cookie", cookie, "Sec-Fetch-Mode", "navigate")
		if p.status != http.StatusNotFound || !strings.Contains(p.body, "<h1>This is not here</h1>") || strings.Contains(p.body, "data-page") {
			t.Errorf("%s: %d %s", path, p.status, p.body)
		}
		if p := s.do(t, http.MethodGet, path, nil, "Cookie", cookie); p.status != http.StatusNotFound || !strings.Contains(p.body, `"code":"not_found"`) {
			t.Errorf("%s, of a program: %d %s", path, p.status, p.body)
		}
	}
}

// newTag makes a tag as an upload does.
func (s *site) newTag(t *testing.T, name string) broker.Project {
	t.Helper()
	now := time.Now()
	p := broker.Project{ID: broker.NewID(now), OwnerID: s.owner.ID, Name: name, Kind: broker.KindFiles, Tag: name, CreatedAt: now}
	if err := s.store.CreateProject(t.Context(), p, s.caller()); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestTagPages: a public one is for everybody, the others for those who may read it.
func TestTagPages(t *testing.T) {
	s := open(t)
	open, hidden := s.newTag(t, "open"), s.newTag(t, "hidden")
	bob, err := s.keys.CreateOwner(t.Context(), "bob@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	_, bobs, err := s.keys.Create(t.Context(), bob, broker.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	mine, his := s.signIn(t, s.secret), s.signIn(t, bobs)
	for _, c := range []struct {
		name, path, cookie string
		status             int
	}{
		{"anybody", "/tags/open", "", 200}, {"another owner", "/tags/open", his, 200}, {"its owner", "/tags/open", mine, 200},
		{"anybody", "/tags/hidden", "", 303}, {"another owner", "/tags/hidden", his, 404}, {"its owner", "/tags/hidden", mine, 200},
		{"anybody", "/tags/none", "", 303},
	} {
		p := s.do(t, http.MethodGet, c.path, nil, "Cookie", c.cookie, "Sec-Fetch-Mode", "navigate")
		if p.status != c.status {
			t.Errorf("%s for %s: %d, want %d", c.path, c.name, p.status, c.status)
		}
		if c.status == 200 && !strings.Contains(p.body, `data-page="tag"`) {
			t.Errorf("%s for %s: %s", c.path, c.name, p.body)
		}
	}
	if p := s.do(t, http.MethodGet, "/tags/open", nil); strings.Contains(p.body, "ada@example.com") || strings.Contains(p.body, "data-scopes") || !strings.Contains(p.body, "/sign-in?next=%2ftags%2fopen") {
		t.Errorf("%s", p.body)
	}

	s.newTag(t, "café")
	if p := s.do(t, http.MethodGet, "/tags/cafe%CC%81", nil, "Cookie", mine); p.status != http.StatusOK || !strings.Contains(p.body, `data-tag="café"`) {
		t.Errorf("written with a mark of its own: %d %s", p.status, p.body)
	}

	// What the page then asks, and what tells of people.
	for _, c := range []struct {
		name, method, path, cookie string
		status                     int
	}{
		{"anybody", "GET", "/projects/" + open.ID, "", 200}, {"anybody", "GET", "/projects/" + open.ID + "/images", "", 200},
		{"anybody", "GET", "/tags", "", 200}, {"anybody", "GET", "/tags/open", "", 200},
		{"anybody", "GET", "/projects/" + open.ID + "/images?state=Removed", "", 403}, {"its owner", "GET", "/projects/" + open.ID + "/images?state=Removed", mine, 200},
		{"another owner", "GET", "/projects/" + open.ID + "/images", his, 200},
		{"anybody", "GET", "/projects/" + open.ID + "/audit", "", 401}, {"another owner", "GET", "/projects/" + open.ID + "/audit", his, 404},
		{"anybody", "GET", "/projects/" + open.ID + "/tasks", "", 401}, {"anybody", "DELETE", "/projects/" + open.ID, "", 401},
		{"another owner, who may not manage", "DELETE", "/projects/" + open.ID, his, 403},
		{"anybody", "POST", "/projects/" + open.ID + "/zip/link", "", 401},
		{"anybody", "GET", "/projects/" + open.ID + "/zip", "", 401}, {"another owner", "GET", "/projects/" + open.ID + "/zip", his, 404},
		{"anybody", "GET", "/projects/" + hidden.ID + "/images", "", 401}, {"another owner", "GET", "/projects/" + hidden.ID + "/images", his, 404},
		{"its owner", "GET", "/projects/" + hidden.ID + "/images", mine, 200}, {"anybody", "GET", "/tags/hidden", "", 401},
		{"anybody", "GET", "/projects", "", 401}, {"anybody", "GET", "/me", "", 401}, {"anybody", "GET", "/keys", "", 401},
	} {
		if p := s.do(t, c.method, "/page/v1"+c.path, nil, "Cookie", c.cookie); p.status != c.status {
			t.Errorf("%s %s for %s: %d, want %d: %s", c.method, c.path, c.name, p.status, c.status, p.body)
		}
	}
	// By the API's own addresses a public tag's project is no more open than before.
	if p := s.do(t, http.MethodGet, "/v1/projects/"+open.ID+"/images", nil); p.status != http.StatusUnauthorized {
		t.Errorf("without a key: %d %s", p.status, p.body)
	}
}

// TestLanguages: by the browser's, and as it was chosen.
func TestLanguages(t *testing.T) {
	s := open(t)
	for accepted, lang := range map[string]string{
		"": "en", "zh": "zh", "zh-CN,zh;q=0.9,en;q=0.8": "zh", "zh-Hant-TW": "zh", "en-GB,zh;q=0.9": "en", "de,fr;q=0.9,zh;q=0.1": "zh",
		"en;q=0.1,zh;q=0.2": "zh", "de": "en", "*": "en", "\x00;q=7": "en",
	} {
		p := s.do(t, http.MethodGet, "/", nil, "Accept-Language", strings.Trim(accepted, "\x00"))
		if !strings.Contains(p.body, `<html lang="`+lang+`">`) {
			t.Errorf("%q: not %s", accepted, lang)
		}
	}
	p := s.do(t, http.MethodPost, "/language", url.Values{"lang": {"zh"}, "next": {"/buckets?a=b"}})
	if p.status != http.StatusSeeOther || p.header.Get("Location") != "/buckets?a=b" || len(p.cookies) != 1 || p.cookies[0].Name != "lang" || !p.cookies[0].HttpOnly {
		t.Fatalf("%d %v", p.status, p.header)
	}
	chosen := []string{"Cookie", "lang=zh", "Accept-Language", "en"}
	if p := s.do(t, http.MethodGet, "/sign-in", nil, chosen...); !strings.Contains(p.body, `<html lang="zh">`) || !strings.Contains(p.body, "您的密钥") || !strings.Contains(p.body, "English") {
		t.Errorf("%s", p.body)
	}
	p = s.do(t, http.MethodPost, "/sign-in", url.Values{"key": {"wrong"}}, chosen...)
	if p.status != http.StatusUnauthorized || !strings.Contains(p.body, "密钥不存在") {
		t.Errorf("%d %s", p.status, p.body)
	}
	if p := s.do(t, http.MethodGet, "/sign-in", nil, "Cookie", "lang=de"); !strings.Contains(p.body, `<html lang="en">`) {
		t.Errorf("a language that there is not: %s", p.body)
	}
	for _, form := range []url.Values{{"lang": {"de"}, "next": {"//evil.example"}}, {"lang": {"<"}}} {
		if p := s.do(t, http.MethodPost, "/language", form); p.header.Get("Location") != "/" || len(p.cookies) != 0 {
			t.Errorf("%v: %v", form, p.header)
		}
	}
	if p := s.do(t, http.MethodPost, "/language", url.Values{"lang": {"zh"}}, "Sec-Fetch-Site", "cross-site"); p.status != http.StatusForbidden || len(p.cookies) != 0 {
		t.Errorf("from another site: %d %v", p.status, p.header)
	}
}
