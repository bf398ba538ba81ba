package main

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// holdSends keeps what a page sends from leaving it: while held(bytes) says so of a
// file's size, and until it is given up.
const holdSends = `(() => {
	const { send, abort } = XMLHttpRequest.prototype;
	const waiting = new Set();
	window.held = () => true;
	window.release = () => { held = () => false; for (const go of waiting) go(); waiting.clear(); };
	XMLHttpRequest.prototype.send = function (body) {
		if (!held(body.size)) return send.call(this, body);
		this.resume = () => send.call(this, body);
		waiting.add(this.resume);
	};
	XMLHttpRequest.prototype.abort = function () {
		if (waiting.delete(this.resume)) { this.onabort(); return; }
		abort.call(this);
	};
	return 1;
})()`

// signInElsewhere is another tab's sign-in: the cookie that it gets.
func (b *browserPage) signInElsewhere(s *server) {
	b.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := client.PostForm(s.url+"/sign-in", url.Values{"key": {s.key}})
	if err != nil {
		b.t.Fatal(err)
	}
	_ = r.Body.Close()
	for _, c := range r.Cookies() {
		if c.Name == "uploadbroker" {
			b.do(setCookie(s.url, c.Name, c.Value))
			return
		}
	}
	b.t.Fatalf("the sign-in answers %s and gives no cookie", r.Status)
}

// TestBrowserUploadSignedOut: a session that ends in the middle of an upload takes no
// file from it. The page says so and leads to the sign-in in a tab of its own; when it is
// seen again, it goes on.
func TestBrowserUploadSignedOut(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := newBrowser(t)
	printed, err := command(t, nil, "keys", "create", "--owner", "owner@localhost", "--data-dir", s.data).Output()
	if err != nil {
		t.Fatalf("keys create: %v", err)
	}
	other := s.with(strings.TrimSpace(string(printed)))
	var me struct{ Key struct{ ID string } }
	if code := other.call("GET", "/v1/me", nil, &me); code != http.StatusOK || me.Key.ID == "" {
		t.Fatalf("the other key answers %d", code)
	}
	b.signIn(other)
	b.openProject(s, pid)
	b.js(holdSends, nil)
	files := map[string][]byte{}
	for i := range 6 {
		files[fmt.Sprintf("p/%d.jpg", i)] = photo(uint64(i), 160, 120)
	}
	b.drop(".upload-zone", filepath.Join(folder(t, files), "p"))
	b.wait("some to be sent", "uploader.totals.states.uploading === 4")

	b.allow(`401`)
	b.js("window.here = true", nil)
	if code := s.call("DELETE", "/v1/keys/"+me.Key.ID, nil, nil); code/100 != 2 {
		t.Fatalf("to end the key answers %d", code)
	}
	b.wait("to be told to sign in", "document.querySelector('.upload-trouble a')?.checkVisibility()")
	if text := b.text(".upload-trouble"); !strings.Contains(text, "not signed in any more") {
		t.Errorf("it says %q", text)
	}
	if target := b.attribute(".upload-trouble a", "target"); target != "_blank" {
		t.Errorf("the sign-in opens in %q", target)
	}
	b.shots("upload-session-over")
	b.js("release() ?? 0", nil) // what a bucket takes needs no session
	b.wait("four to arrive, and the rest to wait", "uploader.trouble?.code === 'unauthenticated'")

	b.signInElsewhere(s)
	b.js("dispatchEvent(new Event('focus'))", nil)
	b.wait("every verdict", "settled.length > 0 && uploader.totals.states.ready === 6")
	b.wait("the images below", "document.querySelectorAll('.cell[data-state=Ready]').length === 6")
	b.wait("the trouble to be over", "!document.querySelector('.upload-trouble').checkVisibility()")
	var here bool
	if b.js("window.here === true", &here); !here {
		t.Error("the page was left on the way")
	}
}

// TestBrowserUploadList: what can be done with the list of files: cancel, take one off,
// clear; and what it says while it looks for files, of damaged ones, and at the end.
func TestBrowserUploadList(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := newBrowser(t)
	b.signIn(s)
	b.openProject(s, pid)
	visible := func(selector string) (yes bool) {
		t.Helper()
		b.js(fmt.Sprintf("Boolean(document.querySelector(%q)?.checkVisibility())", selector), &yes)
		return yes
	}
	again := func() {
		t.Helper()
		b.js("settled.length = 0", nil)
	}
	const title = "document.querySelector('.upload-title').innerText"
	button := func(text string) string {
		return fmt.Sprintf("[...document.querySelectorAll('.upload-buttons button')].find((b) => b.checkVisibility() && b.innerText.includes(%q))", text)
	}

	// To send a damaged file again is of no use.
	b.drop(".upload-zone", mixedPhotos(t))
	b.wait("every verdict", "settled.length > 0 && "+title+" === '4 Ready, 1 not'")
	if text := b.text(".upload-buttons"); strings.Contains(text, "again") {
		t.Errorf("with a damaged file alone it offers %q", text)
	}
	if text := b.text(".upload-damaged"); !strings.Contains(text, "1 file is itself damaged") {
		t.Errorf("of a damaged file it says %q", text)
	}
	if !visible(".upload-list") {
		t.Error("the list is folded although a file failed")
	}
	b.wait("the gallery", "document.querySelectorAll('.cell').length === 4")
	b.shots("upload-damaged")
	b.click(".upload-damaged .link")
	b.wait("the damaged one alone", "document.querySelectorAll('.cell').length === 1 && document.querySelector('.cell[data-state=Invalid]')")
	b.sift("all")

	// A cleared list counts anew.
	b.js("scrollTo(0, 0) ?? 0", nil)
	b.js(button("Clear")+".click() ?? 0", nil)
	b.wait("an empty list", "!document.querySelector('.upload.some') && !document.querySelector('.upload-work').checkVisibility()")
	again()

	// What is still looked for is no outcome.
	b.js(`(() => {
		const asEntry = DataTransferItem.prototype.webkitGetAsEntry;
		const go = new Promise((done) => { window.lookOn = done; });
		DataTransferItem.prototype.webkitGetAsEntry = function () {
			const entry = asEntry.call(this);
			const reader = entry.createReader();
			entry.createReader = () => ({ readEntries: (...to) => go.then(() => reader.readEntries(...to)) });
			return entry;
		};
		return 1;
	})()`, nil)
	three := map[string][]byte{}
	for i := range 3 {
		three[fmt.Sprintf("p/DJI_%d.JPG", i)] = photo(uint64(20+i), 160, 120)
	}
	b.drop(".upload-zone", filepath.Join(folder(t, three), "p"))
	b.wait("to be told that it looks", title+" === 'Looking through the folder…'")
	b.js("lookOn() ?? 0", nil)
	b.wait("the outcome", "settled.length > 0 && "+title+" === 'All 3 files are Ready'")
	b.wait("the list to fold by itself", "!document.querySelector('.upload-list').checkVisibility()")
	b.shots("upload-all-ready")

	// Who deletes a photo then means it: nothing failed.
	b.allow("404.*/thumbnail") // it may be just about to be shown
	deleted := "/v1/projects/" + pid + "/images/" + b.imageOf()
	if code := s.call("DELETE", deleted, nil, nil); code != http.StatusOK {
		t.Fatalf("removing: %d", code)
	}
	b.wait("it to be told, and no more", title+" === 'All 2 files are Ready'")
	if visible(".upload-list") {
		t.Error("the list opens for what was deleted")
	}
	b.click(".upload-tools button")
	b.wait("the list", "document.querySelectorAll('.upload-list .upload-row').length === 3")
	b.wait("its row", "document.querySelector('.upload-row[data-state=removed]')?.innerText.includes('Deleted')")
	if code := s.call("POST", deleted+"/undo", nil, nil); code != http.StatusOK {
		t.Fatalf("undoing: %d", code)
	}
	b.wait("it to be back", title+" === 'All 3 files are Ready'")
	b.js(button("Clear")+".click() ?? 0", nil)
	again()

	// The bar has one unit: of two files the large one is nearly all there is.
	b.js(holdSends, nil)
	small, large := photo(30, 64, 48), comment(photo(31, 64, 48), make([]byte, 60_000))
	b.js(fmt.Sprintf("(held = (size) => size === %d) && 1", len(small)), nil)
	b.choose("input[data-choose=folder]", filepath.Join(folder(t, map[string][]byte{"q/small.jpg": small, "q/large.jpg": large}), "q"))
	b.wait("the large one to be Ready", "uploader.totals.states.ready === 1 && uploader.totals.states.uploading === 1")
	b.wait("the bar", "parseFloat(document.querySelector('.upload-bar .good').style.inlineSize) > 90")
	b.js("(held = () => true) && 1", nil)
	six := map[string][]byte{}
	for i := range 6 {
		six[fmt.Sprintf("r/DJI_%d.JPG", i)] = photo(uint64(40+i), 160, 120)
	}
	more := filepath.Join(folder(t, six), "r")
	b.drop(".upload-zone", more)
	b.wait("them on their way", "uploader.files.length === 8 && uploader.totals.states.uploading === 4 && uploader.totals.states.queued === 3")
	b.wait("their rows", "document.querySelectorAll('.upload-row').length === 8")
	b.shots("upload-list")

	// One is taken off, the rest is cancelled, and nothing falls through a question.
	b.click(".upload-row[data-state=queued] .upload-off")
	b.wait("one less", "uploader.files.length === 7 && document.querySelectorAll('.upload-row').length === 7")
	b.js(button("Cancel the rest")+".click() ?? 0", nil)
	b.wait("to be asked", "document.querySelector('dialog[open]')")
	b.drop("dialog[open]", more)
	b.shot("upload-cancel")
	b.clickText("dialog button", "Stop here")
	b.wait("the one that is Ready to stay", title+" === 'All 1 files are Ready' || "+title+" === '1 file is Ready'")
	var n int
	if b.js("uploader.files.length", &n); n != 1 {
		t.Errorf("after the rest was cancelled there are %d", n)
	}
	b.js(button("Clear")+".click() ?? 0", nil)
	again()
	b.drop(".upload-zone", more)
	b.wait("them on their way", "uploader.totals.states.uploading === 4")
	b.js(button("Cancel the rest")+".click() ?? 0", nil)
	b.clickText("dialog button", "Stop here")
	b.wait("an empty list", "!document.querySelector('.upload.some')")
	again()

	// What is told of files under way, which were chosen again at once.
	b.drop(".upload-zone", more)
	b.wait("them on their way", "uploader.totals.states.uploading === 4")
	var paused bool
	b.js(`(() => {
		const b = document.querySelector('.upload-buttons button:last-child');
		uploader.pause();
		b.dispatchEvent(new PointerEvent('pointerdown'));
		uploader.resume();
		b.dispatchEvent(new MouseEvent('click', { detail: 1 }));
		return uploader.paused;
	})()`, &paused)
	if paused {
		t.Error("who pressed Resume as it went on has paused it")
	}
	b.wait("them on their way again", "uploader.totals.states.uploading === 4")
	var list struct {
		Images []struct{ Name, State string }
	}
	s.call("GET", "/v1/projects/"+pid+"/images", nil, &list)
	if open := len(slices.DeleteFunc(list.Images, func(i struct{ Name, State string }) bool { return i.State == "Ready" || i.State == "Invalid" })); open != 6 {
		t.Errorf("%d images wait for bytes, and six files are to come", open)
	}
	b.js(`(() => {
		const { totals } = uploader;
		const fake = { ...totals, loaded: totals.bytes - 10, bytesPerSecond: 1000, secondsLeft: 0.2, retryable: 2, states: { ...totals.states, queued: 0, failed: 2 } };
		Object.defineProperty(uploader, "totals", { value: fake });
		uploader.dispatchEvent(new CustomEvent("progress", { detail: fake }));
		return 1;
	})()`, nil)
	b.wait("the time left", "document.querySelector('.upload-facts').innerText.includes('a few seconds left')")
	b.wait("what failed to be offered, quietly", button("Send the 2 failed ones again")+"?.classList.contains('quiet')")
	b.js("release() ?? 0", nil)
	b.wait("those that were chosen again to be Ready", "uploader.files.length === 6 && uploader.files.every((f) => f.state === 'ready')")

	// Where any file is taken, no sentence speaks of photos.
	b.openProject(s, newProject(t, s, "files"))
	b.js(entries, nil)
	b.js("uploader.add([entry('docs', [entry('.env')]), new File([], 'empty.txt')])", nil)
	b.wait("to be told why", "settled.length > 0 && document.querySelector('.upload-damaged').checkVisibility()")
	if text := b.text(".upload-work"); !strings.Contains(text, "empty or too large") || !strings.Contains(text, "1 is left out: it is hidden") || strings.Contains(text, "photo") {
		t.Errorf("of files that are no photos it says %q", text)
	}
}
