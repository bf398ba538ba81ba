package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// axe is the program that finds what keeps people from using a page. Without it the
// test is left out.
func axe(t *testing.T) string {
	t.Helper()
	var source []byte
	packages, err := nodePackages("axe")
	if err == nil {
		source, err = os.ReadFile(filepath.Join(packages, "node_modules", "axe-core", "axe.min.js"))
	}
	if err != nil {
		if requires("axe") {
			t.Fatal(err)
		}
		t.Skipf("no axe, `make setup` installs it, set REQUIRE=axe to make this a failure: %v", err)
	}
	return string(source)
}

// axeFault is something that axe finds.
type axeFault struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string `json:"html"`
		FailureSummary string `json:"failureSummary"`
	}
}

// judge lets axe look at what is seen, in light and dark: nothing serious may be
// wrong. Its rules count colours of text with a contrast below WCAG's AA as serious.
func (b *browserPage) judge(source, name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		b.js("(() => { "+source+" ; return true; })()", nil)
		var faults []axeFault
		// What fades in has its colours only at the end.
		b.js("Promise.all(document.getAnimations().map((a) => a.finished)).then(() => axe.run(document, {resultTypes: ['violations']})).then((r) => r.violations)", &faults)
		for _, f := range faults {
			if f.Impact != "serious" && f.Impact != "critical" {
				b.t.Logf("%s, %s: %s (%s)", name, scheme, f.Help, f.Impact)
				continue
			}
			var where []string
			for _, n := range f.Nodes[:min(3, len(f.Nodes))] {
				where = append(where, n.HTML+"\n\t"+strings.ReplaceAll(n.FailureSummary, "\n", "\n\t"))
			}
			b.t.Errorf("%s, %s: %s (%s, %s)\n\t%s", name, scheme, f.Help, f.ID, f.Impact, strings.Join(where, "\n\t"))
		}
	}
	b.scheme("light")
}

// TestBrowserAccessible: axe finds nothing serious on any page.
func TestBrowserAccessible(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	source := axe(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	write(t, config, []byte("tags: {anonymous: [inbox], public: [inbox], min_free: 1MiB}\n"))
	s := start(t, dataFolder(t), "--config", config)
	b := newBrowser(t)
	b.open(s.url)
	b.judge(source, "the first page of nobody")
	b.open(s.url + "/sign-in")
	b.judge(source, "signing in")
	b.open(s.url + "/tags/inbox")
	b.wait("the tag", "document.querySelector('.gallery-body .empty')")
	b.judge(source, "a public tag")

	whole := photo(3, 320, 240)
	s.client("upload", folder(t, map[string][]byte{"a.jpg": whole, "cut.jpg": whole[:len(whole)/2], "empty.jpg": nil}), "--new", "demo")
	pid := s.project("demo")
	b.signIn(s)
	for _, p := range []struct{ name, path, until string }{
		{"projects", "/", ".projects a"},
		{"buckets", "/buckets", "main:not([aria-busy]) h1"},
		{"keys", "/keys", "main:not([aria-busy]) h1"},
		{"tags", "/tags", ".projects a"},
		{"the audit", "/projects/" + pid + "/audit", "main:not([aria-busy]) h1"},
		{"what is not there", "/projects/00000000000000000000000000", ".empty.bad"},
		{"an empty project", "/projects/" + newProject(t, s, "recon"), ".upload-zone"},
		{"the plot", "/projects/" + pid + "?view=map", ".plot"},
		{"a project", "/projects/" + pid, ".cell img.shown"},
	} {
		if p.name == "what is not there" {
			b.allow("404")
		}
		b.open(s.url + p.path)
		b.wait(p.name, fmt.Sprintf("document.querySelector(%q)", p.until))
		b.judge(source, p.name)
	}
	b.size(phoneWidth, phoneHeight)
	b.judge(source, "a project on a phone")
	b.size(desktopWidth, desktopHeight)
	b.look("a.jpg")
	b.judge(source, "the large view")
	b.press(kb.Escape)
	b.wait("the end of it", "!document.querySelector('dialog[open]')")
	b.look("cut.jpg")
	b.clickText(".large-actions button", "Keep it as it is")
	b.wait("the question", "document.querySelector('dialog.sheet[open]')")
	b.judge(source, "a question")
}

// TestBrowserWords: both languages say the same things, and every word that a view
// asks for is there.
func TestBrowserWords(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	b := newBrowser(t)
	b.open(s.url + "/sign-in")
	const app = "../../api/web/static/app"
	words := func(lang string) map[string]string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(app, "lang", lang, "*.js"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%v: no words for %s", err, lang)
		}
		all := map[string]string{}
		for _, f := range files {
			var part map[string]json.RawMessage
			b.js(fmt.Sprintf("import('/static/app/lang/%s/%s').then((m) => m.default)", lang, filepath.Base(f)), &part)
			for key, text := range part {
				if _, twice := all[key]; twice {
					t.Errorf("%s: %s is there twice", lang, key)
				}
				all[key] = string(text)
			}
		}
		return all
	}
	en, zh := words("en"), words("zh")
	place := regexp.MustCompile(`\{\w+\}`)
	places := func(text string) []string {
		found := place.FindAllString(text, -1)
		slices.Sort(found)
		return slices.Compact(found)
	}
	for key, text := range en {
		other, ok := zh[key]
		if !ok {
			t.Errorf("%s is not there in Chinese", key)
		} else if a, b := places(text), places(other); !slices.Equal(a, b) && !strings.HasPrefix(key, "problem.") { // whose {detail} is English
			t.Errorf("%s has the places %v in English, and %v in Chinese", key, a, b)
		}
	}
	for key := range zh {
		// The server says problems in English; of some there are Chinese words.
		if _, ok := en[key]; !ok && !strings.HasPrefix(key, "problem.") {
			t.Errorf("%s is not there in English", key)
		}
	}

	asked := regexp.MustCompile(`\bt\(\s*"([a-z]+\.[A-Za-z0-9_.]+)"\s*[,)]`)
	err := filepath.WalkDir(app, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".js" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range asked.FindAllStringSubmatch(string(text), -1) {
			if _, ok := en[m[1]]; !ok {
				t.Errorf("%s asks for %s, which has no words", path, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBrowserWeight: a project's page is under 150 KB on the wire before images.
func TestBrowserWeight(t *testing.T) {
	t.Parallel()
	const most = 150_000
	needBrowser(t)
	s := start(t, dataFolder(t))
	b := newBrowser(t)
	b.signIn(s)
	b.open(s.url + "/projects/" + newProject(t, s, "recon"))
	b.wait("the page", "document.querySelector('.upload-zone') && document.querySelector('.task') && document.querySelector('.gallery-body .empty')")
	var sum int
	var parts map[string]int
	// What came with the pages before is in the browser already: their own sizes tell.
	b.js("Object.fromEntries(performance.getEntries().filter((e) => e.encodedBodySize).map((e) => [new URL(e.name).pathname, e.encodedBodySize + 300]))", &parts)
	for _, n := range parts {
		sum += n
	}
	t.Logf("%d bytes in %d files", sum, len(parts))
	if sum < 10_000 || sum > most || len(parts) < 10 {
		t.Errorf("the page has %d bytes, more than %d: %v", sum, most, parts)
	}
}
