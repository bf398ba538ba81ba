package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// evil would tell by the page's own API who is signed in, if it could.
const evil = `fetch('/page/v1/me').then((r) => r.json()).then((me) => { document.title = 'ran as ' + me.owner.email; }); document.title = 'ran';`

// TestBrowserTag: somebody without a key sends files to an open tag and sees them;
// its owner looks at it; nothing that was sent runs beside his session.
func TestBrowserTag(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	write(t, config, []byte("tags: {anonymous: [inbox], public: [inbox], min_free: 1MiB}\n"))
	s := start(t, dataFolder(t), "--config", config)
	b := newBrowser(t)
	got := b.downloads()

	// Nobody is signed in.
	b.open(s.url + "/tags/inbox")
	b.wait("an empty tag", "document.querySelector('.gallery-body .empty')")
	b.shots("tag-empty")
	dir := folder(t, map[string][]byte{
		"photo.jpg": photo(1, 320, 240), "notes.txt": []byte("some notes\n"), "track.csv": []byte("a,b\n1,2\n"),
		"page.html": []byte("<!doctype html><title>mine</title><script>" + evil + "</script>"),
		"draw.svg":  []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>` + evil + `</script></svg>`),
	})
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	b.choose(".send input", paths...)
	b.wait("every file to be Ready", "document.querySelectorAll('.cell[data-state=Ready]').length === 5")
	b.wait("a thumbnail", "document.querySelectorAll('.cell img.shown').length === 1")
	if text := b.text(".send-work"); !strings.Contains(text, "5 files sent") {
		t.Errorf("what was sent reads %q", text)
	}
	b.shots("tag-public")
	b.look("notes.txt")
	if text := b.text(".large-actions"); strings.Contains(text, "Delete") || !strings.Contains(text, "Download") {
		t.Errorf("to somebody without a key it offers %q", text)
	}
	b.clickText(".large-actions a", "Download")
	if string(got("notes.txt")) != "some notes\n" {
		t.Error("the downloaded file is another")
	}

	// Its owner.
	b.signIn(s)
	b.open(s.url + "/tags")
	b.wait("the list of tags", "document.querySelector('.projects a')")
	b.shots("tags")
	b.click(".projects a")
	b.wait("every file", "document.querySelectorAll('.cell').length === 5")
	b.shots("tag-own")
	for _, name := range []string{"page.html", "draw.svg"} {
		b.look(name)
		if href := b.attribute(".large-actions a[download]", "href"); href == "" {
			t.Errorf("%s can't be downloaded", name)
		} else {
			// As if somebody had sent the address: it is stored, and not opened.
			b.js(fmt.Sprintf("(window.open(%q, '_self'), true)", href), nil)
			got(name)
		}
		var title, path string
		b.js("document.title", &title)
		b.js("location.pathname", &path)
		if title != "inbox · uploadbroker" || path != "/tags/inbox" {
			t.Errorf("after %s the page is %q at %s", name, title, path)
		}
		// In a frame or as a picture it has no rights, either.
		var id string
		b.js(fmt.Sprintf("document.querySelector(`.cell[title='%s']`).dataset.id", name), &id)
		h := s.finally("/tags/inbox/files/" + id)
		if !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || h.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.HasPrefix(h.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s is served with %v", name, h)
		}
		b.press(kb.Escape)
		b.wait("the end of the large view", "!document.querySelector('dialog[open]')")
	}

	// His session ends at a tag of his alone, while a file is under way; signed in again,
	// in another tab, he is told what he missed, and what happens from then on.
	send := func(name string) {
		t.Helper()
		if code := s.call("POST", "/upload/own/"+name, name, nil); code/100 != 2 {
			t.Fatalf("to send %s answers %d", name, code)
		}
	}
	send("first.txt")
	b.open(s.url + "/tags/own")
	b.wait("the tag", "document.querySelector('.upload-zone') && document.querySelector(`.cell[title='first.txt']`)")
	b.allow("401")
	b.js(holdSends, nil)
	b.drop(".upload-zone", folder(t, map[string][]byte{"his.txt": []byte("his own")}))
	b.wait("it to be under way", "document.querySelector('.upload').parentNode.uploader.totals.states.uploading === 1")
	b.js("fetch('/sign-out', {method: 'POST'}).then((r) => r.ok)", nil)
	ended := "[...document.querySelectorAll('main > .sub')].some((e) => e.checkVisibility() && e.innerText.includes('not told any more'))"
	b.wait("the end to be told", ended+" && document.querySelector('.upload-trouble a')?.checkVisibility()")
	send("missed.txt")
	b.signInElsewhere(s)
	b.js("dispatchEvent(new Event('focus'))", nil)
	b.wait("what was missed", "document.querySelector(`.cell[title='missed.txt'][data-state=Ready]`) && !("+ended+")")
	send("later.txt")
	b.wait("what came later", "document.querySelector(`.cell[title='later.txt'][data-state=Ready]`)")
	b.js("release() ?? 0", nil)
	b.wait("his own", "document.querySelector(`.cell[title$='his.txt'][data-state=Ready]`)")
}

// finally is the header of the answer at the end of redirects, asked without a key.
func (s *server) finally(path string) http.Header {
	s.t.Helper()
	u, err := url.Parse(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.Get(u.String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Errorf("%s: %s", path, resp.Status)
	}
	return resp.Header
}
