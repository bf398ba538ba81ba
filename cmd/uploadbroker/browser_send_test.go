package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// slowTag stands before a server and takes fewer files at a time than it does: so many,
// then none until a second has passed. The first of all is refused longer than any
// other fault would be borne.
type slowTag struct {
	http.Handler
	most int

	mu        sync.Mutex
	taken     int
	until     time.Time
	stubborn  string
	refusals  int // of stubborn
	turnedOff int
}

func (s *slowTag) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/upload/") && !s.take(r.URL.Path) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": 429, "code": "too_many_requests", "detail": "a fake answer", "retry_after": 1})
		return
	}
	s.Handler.ServeHTTP(w, r)
}

func (s *slowTag) take(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stubborn == "" {
		s.stubborn = path
	}
	switch now := time.Now(); {
	case path == s.stubborn && s.refusals < 5:
		s.refusals++
	case s.taken < s.most:
		s.taken++
		return true
	case s.until.IsZero():
		s.until = now.Add(time.Second)
	case now.After(s.until):
		s.taken, s.until = 1, time.Time{}
		return true
	}
	s.turnedOff++
	return false
}

// TestBrowserSendsMany: a folder that falls onto an open tag gets through by itself,
// with its folders, however often the server asks for patience; and the page says why
// it waits.
func TestBrowserSendsMany(t *testing.T) {
	needBrowser(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	write(t, config, []byte("tags: {anonymous: [inbox], public: [inbox], min_free: 1MiB}\n"))
	s := start(t, dataFolder(t), "--config", config)
	target, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowTag{most: 12, Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}}
	front := httptest.NewServer(slow)
	t.Cleanup(front.Close)
	b := newBrowser(t)
	b.allow("429")

	b.open(front.URL + "/tags/inbox")
	b.wait("the tag", "document.querySelector('.gallery-body .empty')")
	b.js(`(() => {
		window.lines = new Set();
		new MutationObserver(() => lines.add(document.querySelector('.send-work .gallery-line').textContent))
			.observe(document.querySelector('.send-work'), { subtree: true, childList: true, characterData: true });
		return 1;
	})()`, nil)
	const n = 40
	files := map[string][]byte{}
	want := map[string]bool{}
	for i := range n {
		name := fmt.Sprintf("%d MEDIA/notes #%02d 中%%.txt", 100+i%2, i)
		files["roll/"+name] = []byte(name)
		want[name] = true
	}
	b.drop(".send", filepath.Join(folder(t, files), "roll"))
	b.wait("all to be sent", fmt.Sprintf("document.querySelector('.send-work .gallery-line').textContent === '%d files sent'", n))
	var lines []string
	b.js("[...lines]", &lines)
	if all := strings.Join(lines, "\n"); !strings.Contains(all, "takes only so many files a minute from one address. It goes on in 1 s") {
		t.Errorf("while it waited it said\n%s", all)
	}
	slow.mu.Lock()
	refused := slow.turnedOff
	slow.mu.Unlock()
	if refused < 8 {
		t.Errorf("only %d were refused, which proves little", refused)
	}
	if text := b.text(".send-work"); strings.Contains(text, "not taken") {
		t.Errorf("in the end it says\n%s", text)
	}
	var tag struct {
		ProjectID string `json:"project_id"`
	}
	s.call("GET", "/v1/tags/inbox", nil, &tag)
	got := s.imageStates(tag.ProjectID, "")
	for name := range want {
		if got[name] == "" {
			t.Errorf("%q is not there", name)
		}
	}
	if len(got) != n {
		t.Errorf("there are %d files", len(got))
	}

	// The server itself takes 60 a minute. Of very many more it says so, and the page
	// stays quick.
	b.open(s.url + "/tags/inbox")
	b.wait("the tag", "document.querySelectorAll('.cell').length > 0")
	b.js(`(() => {
		let last = performance.now();
		window.longest = 0;
		(function frame() { const now = performance.now(); longest = Math.max(longest, now - last); last = now; requestAnimationFrame(frame); })();
		return 1;
	})()`, nil)
	b.allow("beforeunload|Dialog|dialog") // the page asks whether to leave
	b.drop(".send", manyFiles(t, 10_000))
	b.wait("it to wait", "/of 10,000 sent….*goes on in \\d+ s/.test(document.querySelector('.send-work .gallery-line')?.textContent)")
	var longest float64
	b.js("longest", &longest)
	t.Logf("10,000 files for a tag: the longest frame took %.0f ms", longest)
	b.shots("tag-held")
	b.open("about:blank")
}

// TestBrowserSendStalls: a line that hangs is broken off and tried again; and what is
// under way can be cancelled.
func TestBrowserSendStalls(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	write(t, config, []byte("tags: {anonymous: [inbox], public: [inbox], min_free: 1MiB}\n"))
	s := start(t, dataFolder(t), "--config", config)
	target, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	var hang atomic.Int32 // so many more are never answered
	var hung atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && hang.Add(-1) >= 0 {
			hung.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	b := newBrowser(t)
	b.open(front.URL + "/tags/inbox")
	b.wait("the tag", "document.querySelector('.gallery-body .empty')")
	// A minute without a byte is over sooner.
	b.js("(() => { const real = setTimeout; window.setTimeout = (act, ms, ...more) => real(act, ms === 60000 && window.hurry !== false ? 500 : ms, ...more); return 1; })()", nil)
	hang.Store(2)
	files := map[string][]byte{}
	for i := range 4 {
		files[fmt.Sprintf("p/%d.txt", i)] = fmt.Appendf(nil, "number %d", i)
	}
	dir := filepath.Join(folder(t, files), "p")
	b.drop(".send", dir)
	b.wait("all to be sent", "document.querySelector('.send-work .gallery-line').textContent === '4 files sent'")
	if n := hung.Load(); n != 2 {
		t.Errorf("%d lines hung", n)
	}

	b.js("(window.hurry = false, 1)", nil)
	hang.Store(1000)
	b.drop(".send", dir)
	b.wait("to begin", "/^0 of 4 sent/.test(document.querySelector('.send-work .gallery-line').textContent)")
	b.shots("tag-sending")
	b.click(".send-work .send-line button")
	b.wait("to be asked", "document.querySelector('dialog[open]')")
	b.drop("dialog[open]", dir) // is not for what lies below
	b.clickText("dialog button", "Stop here")
	b.wait("it to be over", "!document.querySelector('.send-work').checkVisibility()")
	hang.Store(0)
	b.drop(".send", dir)
	b.wait("the same again", "document.querySelector('.send-work .gallery-line').textContent === '4 files sent'")
}
