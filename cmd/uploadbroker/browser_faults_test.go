package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// fakeAnswers lets a page's calls whose address ends in a word be answered otherwise
// than by the server: each by the next of fakes[word], as long as there are some.
const fakeAnswers = `(() => {
	const real = fetch;
	window.fakes = {};
	window.asked = {};
	window.troubles = [];
	uploader.addEventListener('trouble', ({ detail }) => troubles.push(detail && detail.code + (detail.passing ? ' passing' : '')));
	window.fetch = async (url, init) => {
		const word = String(url).split('/').at(-1);
		asked[word] = (asked[word] ?? 0) + 1;
		const status = fakes[word]?.shift();
		if (!status) return real(url, init);
		const code = { 401: 'unauthenticated', 404: 'not_found', 429: 'too_many_requests', 503: 'unavailable' }[status];
		return new Response(JSON.stringify({ status, code, detail: 'a fake answer' }), { status });
	};
	return 1;
})()`

// troubles are those that the page was told of, "" for their end.
func (b *browserPage) troubles() (all []string) {
	b.t.Helper()
	b.js("troubles.splice(0).map((t) => t ?? '')", &all)
	return all
}

// TestUploaderTellsOfTroubles: what passes is told, and told to be over; what does not
// pass pauses everything until somebody goes on.
func TestUploaderTellsOfTroubles(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := pageElsewhere(t, s, pid, "")
	b.js(fakeAnswers, nil)
	add := func(from, to int) {
		files := map[string][]byte{}
		for i := from; i < to; i++ {
			files["p/"+strconv.Itoa(i)+".jpg"] = photo(uint64(i), 64, 48)
		}
		b.drop("p", filepath.Join(folder(t, files), "p"))
	}
	add(0, 5)
	b.wait("their verdicts", "settled.length === 1")

	// The server is busy for a while, and has all of them: no byte goes to a bucket.
	for _, status := range []int{503, 429} {
		b.open(b.address())
		b.wait("the module again", "window.uploader?.files.length === 0")
		b.js(fakeAnswers, nil)
		b.js(fmt.Sprintf("(fakes.register = [%d])", status), nil)
		add(0, 5)
		b.wait("the same again", "settled.length === 1")
		if got, want := b.troubles(), []string{map[int]string{503: "unavailable passing", 429: "too_many_requests passing"}[status], ""}; !slices.Equal(got, want) {
			t.Errorf("after %d the troubles were %q, not %q", status, got, want)
		}
	}

	// The session ends, or the project is gone: while files are registered, and while
	// only verdicts are waited for.
	at := 5
	for _, c := range []struct {
		word   string
		status int
		want   string
	}{
		{"register", 401, "unauthenticated"}, {"register", 404, "not_found"}, {"check", 401, "unauthenticated"}, {"check", 404, "not_found"},
	} {
		// The first question for verdicts comes a second after the bytes: until then
		// the server does not tell of them either.
		b.js(fmt.Sprintf("(fakes = {%s: [%d], done: Array(50).fill(503)}, settled.length = 0)", c.word, c.status), nil)
		add(at, at+3)
		at += 3
		b.wait(fmt.Sprintf("a %d of %s to be told", c.status, c.word), "uploader.trouble && uploader.paused")
		b.js("asked = {}", nil)
		b.js("new Promise((done) => setTimeout(done, 2500))", nil) // longer than until the next question
		var asked map[string]int
		if b.js("asked", &asked); asked[c.word] > 0 {
			t.Errorf("after a %d it asks on: %v", c.status, asked)
		}
		b.js("uploader.resume()", nil)
		b.wait("the verdicts in the end", "settled.length === 1")
		if got, want := b.troubles(), []string{c.want, ""}; !slices.Equal(got, want) {
			t.Errorf("after a %d of %s the troubles were %q, not %q", c.status, c.word, got, want)
		}
	}
	for _, o := range b.outcomes() {
		if o.State != "ready" {
			t.Errorf("in the end %v", o)
		}
	}
}

// TestUploaderWorkers: a worker that does not load is replaced once; then its files
// fail and say so, and may be sent again.
func TestUploaderWorkers(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	for kind, bad := range map[string]string{
		"gone":      "return new W(URL.createObjectURL(new Blob([`import '" + s.url + "/static/not-there.js'`], {type: 'text/javascript'})), options)",
		"forbidden": "throw new DOMException('the policy of this page', 'SecurityError')",
	} {
		t.Run(kind, func(t *testing.T) {
			b := pageElsewhere(t, s, newProject(t, s, "recon"), "")
			b.allow("not-there|404")
			b.js(`(() => {
				const W = Worker;
				window.bad = Math.max(1, Math.min(4, (navigator.hardwareConcurrency ?? 2) - 1)); // one for each worker
				window.Worker = function (url, options) { if (bad-- > 0) { `+bad+`; } return new W(url, options); };
				return 1;
			})()`, nil)
			files := map[string][]byte{}
			for i := range 20 {
				files["p/"+strconv.Itoa(100+i)+".jpg"] = photo(uint64(i), 64, 48)
			}
			dir := filepath.Join(folder(t, files), "p")
			b.drop("p", dir)
			b.wait("every verdict of workers in the second place", "settled.length === 1 && uploader.totals.states.ready === 20")

			// None starts at all.
			b.open(b.address())
			b.wait("the module again", "window.uploader")
			b.js(`(() => {
				const W = Worker;
				window.bad = Infinity;
				window.Worker = function (url, options) { if (bad-- > 0) { `+bad+`; } return new W(url, options); };
				return 1;
			})()`, nil)
			b.drop("p", dir)
			b.wait("every file to fail", "settled.length === 1")
			for _, o := range b.outcomes() {
				if o.State != "failed" || o.Code != "not_hashed" {
					t.Fatalf("without workers %v", o)
				}
			}
			b.js("bad = 0", nil)
			var n int
			if b.js("uploader.retryFailed()", &n); n != 20 {
				t.Errorf("%d files are sent again", n)
			}
			b.wait("every file to be Ready", "uploader.totals.states.ready === 20")
		})
	}
}

// address is where the page is.
func (b *browserPage) address() (url string) {
	b.t.Helper()
	b.js("location.href", &url)
	return url
}
