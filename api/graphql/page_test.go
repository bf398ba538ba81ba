package graphql

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPage: GET /graphql is a page of this program's own files, under a policy
// that lets nothing else in; every file that it names is served, and every
// embedded file is used.
func TestPage(t *testing.T) {
	f := open(t)
	r := f.send(t, http.MethodGet, "/graphql", "")
	if r.status != http.StatusOK || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") || r.header.Get("Content-Security-Policy") != pagePolicy {
		t.Fatalf("%d %v", r.status, r.header)
	}
	if strings.Contains(pagePolicy, "unsafe") || regexp.MustCompile(`(?i)<style|style=|\son\w+=|<script>|https?://`).MatchString(r.body) {
		t.Errorf("the policy forbids something in %s", r.body)
	}
	types := map[string]string{".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
	used := map[string]bool{"index.html": true}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(r.body, -1) {
		got := f.send(t, http.MethodGet, "/"+m[1], "")
		if got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), types[filepath.Ext(m[1])]) ||
			got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Content-Security-Policy") != pagePolicy {
			t.Errorf("%s: %d %v", m[1], got.status, got.header)
		}
		used[filepath.Base(m[1])] = true
	}
	files, err := fs.ReadDir(page, "page")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !used[file.Name()] {
			t.Errorf("%s is embedded and not used", file.Name())
		}
	}
	// With a slash it is the same page, which names its files relative to none.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(f.URL + "/graphql/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if at, err := resp.Location(); err != nil || at.Path != "/graphql" {
		t.Errorf("with a slash it leads to %v, %v", at, err)
	}
	if r := f.send(t, http.MethodGet, "/graphql/index.html", ""); r.status != http.StatusNotFound {
		t.Errorf("another file: %d", r.status)
	}
}

// TestWordsOfPage: every word of the page is there in every language, and none is
// left over.
func TestWordsOfPage(t *testing.T) {
	read := func(name string) string {
		text, err := page.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	asked := map[string]bool{}
	for _, m := range regexp.MustCompile(`data-(?:word|placeholder|title|label)="(\w+)"|word\("(\w+)"`).FindAllStringSubmatch(read("index.html")+read("page.js")+read("docs.js"), -1) {
		asked[m[1]+m[2]] = true
	}
	languages := regexp.MustCompile(`(?s)\t(en|zh): \{(.*?)\n\t\},`).FindAllStringSubmatch(read("words.js"), -1)
	if len(languages) != 2 || len(asked) < 10 {
		t.Fatalf("%d languages, %d words", len(languages), len(asked))
	}
	for _, l := range languages {
		given := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?:\t|, )(\w+): "`).FindAllStringSubmatch(l[2], -1) {
			given[m[1]] = true
			if !asked[m[1]] {
				t.Errorf("%s has %s, which nothing asks for", l[1], m[1])
			}
		}
		for name := range asked {
			if !given[name] {
				t.Errorf("%s lacks %s", l[1], name)
			}
		}
	}
}
