package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lay writes one photo and drops it, as a person who chooses it, also once more.
func (b *browserPage) lay(t *testing.T, name string, data []byte) {
	t.Helper()
	b.drop("p", filepath.Join(folder(t, map[string][]byte{name: data}), name))
}

// imageOf is the server's number of the page's last file.
func (b *browserPage) imageOf() (id string) {
	b.t.Helper()
	b.js("uploader.files.at(-1).image.id", &id)
	return id
}

// tellOf lets the page learn of an image, as its server's events tell it.
func (b *browserPage) tellOf(s *server, pid, id string) {
	b.t.Helper()
	var image json.RawMessage
	if code := s.call("GET", "/v1/projects/"+pid+"/images/"+id, nil, &image); code != http.StatusOK {
		b.t.Fatalf("the image: %d", code)
	}
	b.js(fmt.Sprintf("uploader.observe([%s])", image), nil)
}

// TestUploaderAfterVerdicts: what becomes of images after their verdicts is told too,
// and what was removed is sent again when it is chosen again.
func TestUploaderAfterVerdicts(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := pageElsewhere(t, s, pid, fmt.Sprintf(`,"key":%q`, s.key))
	after := func(times int, want ...outcome) {
		t.Helper()
		b.wait(fmt.Sprintf("%d times that all settled", times), fmt.Sprintf("settled.length === %d", times))
		if got := b.outcomes(); !slices.Equal(got, want) {
			t.Fatalf("the page tells of %v, not %v", got, want)
		}
	}
	remove := func(id string) {
		t.Helper()
		if code := s.call("DELETE", "/v1/projects/"+pid+"/images/"+id, nil, nil); code >= 300 {
			t.Fatalf("removing: %d", code)
		}
	}
	live := func() int {
		var list struct{ Images []struct{ ID string } }
		s.call("GET", "/v1/projects/"+pid+"/images", nil, &list)
		return len(list.Images)
	}

	// Removed without a word to the page, and chosen again.
	b.lay(t, "1.jpg", photo(1, 64, 48))
	one := outcome{"1.jpg", "ready", ""}
	after(1, one)
	remove(b.imageOf())
	b.lay(t, "1.jpg", photo(1, 64, 48))
	after(2, one, one)
	if n := live(); n != 1 {
		t.Fatalf("after it was chosen again there are %d images", n)
	}

	// A damaged one is not worth sending again; its owner takes it all the same.
	whole := photo(2, 320, 240)
	b.lay(t, "2.jpg", whole[:len(whole)*2/3])
	two := outcome{"2.jpg", "invalid", "truncated"}
	after(3, one, one, two)
	var again struct{ Retryable, Sent int }
	if b.js("({Retryable: uploader.totals.retryable, Sent: uploader.retryFailed()})", &again); again.Retryable != 0 || again.Sent != 0 {
		t.Errorf("of a damaged file it tells %+v", again)
	}
	damaged := b.imageOf()
	if code := s.call("POST", "/v1/projects/"+pid+"/images/"+damaged+"/accept", nil, nil); code != http.StatusOK {
		t.Fatalf("accepting: %d", code)
	}
	b.tellOf(s, pid, damaged)
	two = outcome{"2.jpg", "ready", ""}
	after(3, one, one, two)
	remove(damaged)
	b.tellOf(s, pid, damaged)
	two = outcome{"2.jpg", "removed", ""}
	after(3, one, one, two)
	var sums struct{ Files, Bytes, Loaded, Of int }
	b.js("({Files: uploader.totals.files, Bytes: uploader.totals.bytes, Loaded: uploader.totals.loaded, Of: 2 * uploader.files[0].size})", &sums)
	if sums.Files != 2 || sums.Bytes != sums.Of || sums.Loaded != sums.Of {
		t.Errorf("without the removed file the sums are %+v", sums)
	}
	if b.js("({Retryable: uploader.totals.retryable, Sent: uploader.retryFailed()})", &again); again.Retryable != 0 || again.Sent != 0 {
		t.Errorf("of a removed file it tells %+v", again)
	}
	s.call("POST", "/v1/projects/"+pid+"/images/"+damaged+"/undo", nil, nil)
	b.tellOf(s, pid, damaged)
	two = outcome{"2.jpg", "ready", ""}
	after(3, one, one, two)
	b.js("({Files: uploader.totals.files, Bytes: uploader.totals.bytes, Loaded: uploader.totals.loaded, Of: uploader.files.reduce((n, f) => n + f.size, 0)})", &sums)
	if sums.Files != 3 || sums.Bytes != sums.Of || sums.Loaded != sums.Of {
		t.Errorf("with the file that is back the sums are %+v", sums)
	}

	// What can be mended is sent again, and nothing else. The server has it Ready in
	// truth, so nothing goes over the line.
	for code, want := range map[string]int{
		"checksum_mismatch": 1, "size_mismatch": 1, "expired": 1, "unchecked": 1, "empty": 1,
		"truncated": 0, "corrupt": 0, "unsupported_format": 0, "too_many_pixels": 0, "too_large": 0,
	} {
		b.js(fmt.Sprintf("uploader.observe([{...uploader.files[1].image, state: 'Invalid', reasons: ['%s: so it is']}])", code), nil)
		var got int
		if b.js("uploader.totals.retryable", &got); got != want {
			t.Errorf("of %s it tells %d, not %d", code, got, want)
		}
	}
	b.js("uploader.observe([{...uploader.files[1].image, state: 'Invalid', reasons: ['checksum_mismatch: so it is']}])", nil)
	var n int
	if b.js("uploader.retryFailed()", &n); n != 1 {
		t.Errorf("%d files are sent again", n)
	}
	after(4, one, one, two)

	other := newProject(t, s, "recon")
	b.open(strings.Replace(b.address(), pid, other, 1))
	b.wait("the module again", "window.uploader?.files.length === 0")
	b.takesBack(t, s, other)
}

// takesBack: what is taken off the list before its bytes came leaves nothing in
// the project, wherever it was, and goes through when it is chosen again.
func (b *browserPage) takesBack(t *testing.T, s *server, pid string) {
	t.Helper()
	b.js(fakeAnswers, nil)
	b.js(fakePuts, nil)
	b.js(`(() => {
		const real = fetch;
		window.removals = 0;
		window.fetch = async (url, init) => {
			const answer = await real(url, init);
			if (init.method === 'DELETE') removals++;
			return answer;
		};
		window.hold = (word) => { held[word] = new Promise((go) => { window.goOn = go; }); return 1; };
		return 1;
	})()`, nil)
	hang := "puts.push((xhr) => { xhr.abort = () => xhr.dispatchEvent(new ProgressEvent('abort')); })"
	only := func(what string, want ...outcome) {
		t.Helper()
		b.wait(what, fmt.Sprintf("uploader.files.length === %d && uploader.totals.states.ready === %d", len(want), len(want)))
		var list struct{ Images []struct{ State string } }
		s.call("GET", "/v1/projects/"+pid+"/images", nil, &list)
		if got := b.outcomes(); !slices.Equal(got, want) || len(list.Images) != len(want) {
			t.Fatalf("%s: the page tells of %v, the server of %v", what, got, list.Images)
		}
	}
	one, two, three := outcome{"1.jpg", "ready", ""}, outcome{"2.jpg", "ready", ""}, outcome{"3.jpg", "ready", ""}

	// Registered, but nobody knows it yet; chosen again before it is taken back.
	b.js("hold('register')", nil)
	b.lay(t, "1.jpg", photo(11, 64, 48))
	b.wait("it to be registered", "asked.register === 1")
	b.js("(uploader.remove(uploader.files[0].id), goOn(), 1)", nil)
	b.wait("it to be taken back", "removals === 1")
	b.lay(t, "1.jpg", photo(11, 64, 48))
	only("what was registered", one)

	// On its way, and equal to another that is: that one goes on. Then both go, and one
	// comes again while the image is being taken back.
	b.js(hang, nil)
	b.lay(t, "2.jpg", photo(12, 64, 48))
	b.wait("it to be sent", "uploader.files.at(-1).state === 'uploading'")
	b.lay(t, "2 too.jpg", photo(12, 64, 48))
	b.wait("another like it", "uploader.files.length === 3 && uploader.files.at(-1).state === 'uploading'")
	var asked int
	b.js("(uploader.pause(), window.id = uploader.files[1].image.id, uploader.remove(uploader.files[1].id), asked[id] ?? 0)", &asked)
	if asked != 0 {
		t.Error("an image was taken back that another file is for")
	}
	b.js("(uploader.resume(), "+hang+", 1)", nil)
	b.wait("the other to be sent", "uploader.files.at(-1).state === 'uploading'")
	b.js("(hold(id), asked = {}, uploader.remove(uploader.files.at(-1).id))", nil)
	b.lay(t, "2.jpg", photo(12, 64, 48))
	b.wait("it to wait", "uploader.files.at(-1).state === 'queued'")
	if b.js("asked.register ?? 0", &asked); asked != 0 {
		t.Error("it is registered while the same is being taken back")
	}
	b.js("(goOn(), 1)", nil)
	only("what was chosen again", one, two)

	// While its grant is renewed, for an image whose time is over.
	b.js(`(() => {
		const real = fetch;
		window.fetch = async (url, init) => {
			if (!String(url).endsWith('/regrant')) return real(url, init);
			asked.regrant = 1;
			await held.regrant;
			return new Response(JSON.stringify({ results: [{ status: 'problem', image: { ...gone.image, state: 'Invalid' }, problem: { code: 'conflict', detail: '' } }] }));
		};
		puts.push(403);
		return hold('regrant');
	})()`, nil)
	b.lay(t, "3.jpg", photo(13, 64, 48))
	b.wait("its grant to be renewed", "asked.regrant")
	b.js("(window.gone = uploader.files.at(-1), uploader.remove(gone.id), goOn(), 1)", nil)
	b.wait("it to be taken back", "removals === 3")
	b.lay(t, "3.jpg", photo(13, 64, 48))
	only("what was chosen again after its grant ended", one, two, three)
}

// TestUploaderAsksInTurn: there is one question for verdicts at a time, also when files
// come meanwhile; what was removed before its verdict is told.
func TestUploaderAsksInTurn(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := pageElsewhere(t, s, pid, "")
	b.js(fakeAnswers, nil)
	b.js("(fakes.done = Array(50).fill(503), held.check = new Promise((go) => { window.goOn = go; }), 1)", nil)
	b.lay(t, "1.jpg", photo(1, 64, 48))
	b.wait("the first question", "asked.check === 1")
	for i := range 3 {
		b.lay(t, fmt.Sprintf("%d.jpg", i+2), photo(uint64(i+2), 64, 48))
		b.wait("its bytes to be there", fmt.Sprintf("uploader.totals.states.uploaded === %d", i+2))
	}
	b.js("new Promise((done) => setTimeout(done, 2500))", nil) // longer than until another chain would ask
	var asked int
	if b.js("asked.check", &asked); asked != 1 {
		t.Errorf("%d questions for verdicts at once", asked)
	}
	if code := s.call("DELETE", "/v1/projects/"+pid+"/images/"+b.imageOf(), nil, nil); code >= 300 {
		t.Fatalf("removing: %d", code)
	}
	b.js("(goOn(), 1)", nil)
	b.wait("every verdict", "settled.length === 1")
	want := []outcome{{"1.jpg", "ready", ""}, {"2.jpg", "ready", ""}, {"3.jpg", "ready", ""}, {"4.jpg", "failed", "removed"}}
	if got := b.outcomes(); !slices.Equal(got, want) {
		t.Errorf("the page tells of %v, not %v", got, want)
	}
}
