package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// fakeAnswers lets a page's calls whose address ends in a word be answered otherwise
// than by the server: each by the next of fakes[word], a status or a pair of it and the
// seconds of Retry-After, as long as there are some. Others wait for held[word] first.
const fakeAnswers = `(() => {
	const real = fetch;
	window.fakes = {};
	window.held = {};
	window.asked = {};
	window.troubles = [];
	uploader.addEventListener('trouble', ({ detail }) => troubles.push(detail && detail.code + (detail.passing ? ' passing' : '')));
	window.fetch = async (url, init) => {
		const word = String(url).split('/').at(-1);
		asked[word] = (asked[word] ?? 0) + 1;
		await held[word];
		const [status, after] = [fakes[word]?.shift()].flat();
		if (!status) return real(url, init);
		const code = { 401: 'unauthenticated', 404: 'not_found', 429: 'too_many_requests', 503: 'unavailable' }[status];
		return new Response(JSON.stringify({ status, code, detail: 'a fake answer' }), { status, headers: after && { 'retry-after': after } });
	};
	return 1;
})()`

// fakePuts lets a page's PUTs end otherwise than by a bucket: each by the next of puts,
// as long as there are some. A number is a status, with a code of S3's where there is
// a pair; 0 is a line that is cut; a function does it all. sleep lets the page's clock
// go on by so many seconds.
const fakePuts = `(() => {
	const send = XMLHttpRequest.prototype.send;
	const clock = performance.now.bind(performance);
	let slept = 0;
	performance.now = () => clock() + slept;
	window.sleep = (seconds) => { slept += seconds * 1000; };
	window.puts = [];
	XMLHttpRequest.prototype.send = function (body) {
		if (!puts.length) return send.call(this, body);
		const next = puts.shift();
		if (typeof next === 'function') return next(this, body);
		const [status, code = ''] = [next].flat();
		Object.defineProperties(this, { status: { value: status }, responseText: { value: '<Error><Code>' + code + '</Code></Error>' } });
		setTimeout(() => this.dispatchEvent(new ProgressEvent(status ? 'load' : 'error')));
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

// TestUploaderOnBadLines: what passes is waited for, no longer than it has to be, and
// it is given up only when it lasts.
func TestUploaderOnBadLines(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	b := pageElsewhere(t, s, newProject(t, s, "recon"), "")
	b.js(fakeAnswers, nil)
	b.js(fakePuts, nil)
	done := 0
	ready := func(what string) {
		t.Helper()
		b.wait(what, fmt.Sprintf("settled.length === %d", done))
		b.js("troubles.splice(0)", nil)
		if o := b.outcomes()[done-1]; o.State != "ready" {
			t.Fatalf("%s: %v", what, o)
		}
	}
	begin := func() {
		t.Helper()
		done++
		name := fmt.Sprintf("%03d.jpg", done)
		b.drop("p", filepath.Join(folder(t, map[string][]byte{name: photo(uint64(done), 64, 48)}), name))
	}

	// Bytes that the bucket does not take for those of the digest are read anew, also
	// after a grant that it refused.
	b.js("puts.push(403, [400, 'BadDigest'], 403)", nil)
	begin()
	ready("refused grants, and bytes to be read anew")

	// The machine sleeps: before the first failure, and between two.
	b.js("puts.push(...Array(2).fill((xhr) => { sleep(8 * 3600); xhr.dispatchEvent(new ProgressEvent('error')); }))", nil)
	begin()
	b.wait("to be sent after a sleep, or to be given up", "uploader.paused || uploader.totals.states.ready === 2")
	var gaveUp bool
	if b.js("uploader.paused", &gaveUp); gaveUp {
		t.Fatal("it gave up although only the machine slept")
	}
	ready("a line after a sleep")

	// Nothing gets through for minutes; then the browser has a line again.
	b.js("puts.push(...Array(4).fill((xhr) => { sleep(80); xhr.dispatchEvent(new ProgressEvent('error')); }))", nil)
	begin()
	b.wait("to be given up", "uploader.paused && uploader.trouble?.code === 'gave_up'")
	b.js("dispatchEvent(new Event('online'))", nil)
	ready("a line that comes back")

	// Who goes on, or has a line again, need not wait, unless the server wants it.
	for _, wake := range []string{"uploader.resume() ?? 1", "dispatchEvent(new Event('online'))"} {
		b.js("(fakes.register = [[503, 600]], 1)", nil)
		begin()
		b.wait("it to wait", "uploader.trouble")
		b.js(wake, nil)
		ready("a wait that is cut short by " + wake)
	}
	b.js("(fakes.register = [[429, 4]], asked = {}, 1)", nil)
	begin()
	b.wait("it to wait for the server", "uploader.trouble")
	b.js("uploader.resume()", nil)
	b.js("new Promise((done) => setTimeout(done, 1000))", nil)
	var asked int
	if b.js("asked.register", &asked); asked != 1 {
		t.Errorf("asked to wait four seconds, it asked %d times in one", asked)
	}
	ready("what the server had put off")

	// A PUT stalls: the speed falls, and that is told.
	b.js(`(() => {
		window.speeds = [];
		uploader.addEventListener('progress', ({ detail }) => speeds.push(detail.bytesPerSecond));
		puts.push((xhr, body) => {
			xhr.abort = () => xhr.dispatchEvent(new ProgressEvent('abort'));
			const move = (share) => xhr.upload.dispatchEvent(new ProgressEvent('progress', { loaded: Math.floor(body.size * share) }));
			move(0.2);
			setTimeout(move, 300, 0.4);
			setTimeout(move, 600, 0.6);
		});
		return 1;
	})()`, nil)
	begin()
	b.wait("a speed that falls", "speeds.at(-1) > 0 && speeds.at(-1) < 0.8 * Math.max(...speeds)")
	b.js("(uploader.pause(), uploader.resume(), 1)", nil)
	ready("what had stalled")
}

// TestUploaderOnSilence: an answer that does not come, or not whole, is asked for again,
// whatever was asked.
func TestUploaderOnSilence(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := pageElsewhere(t, s, pid, "")
	// A minute, and what a slow line needs for the question, are over sooner.
	b.js(`(() => {
		const later = setTimeout, real = fetch;
		window.setTimeout = (act, ms, ...more) => later(act, ms > 60_000 ? 2000 : ms, ...more);
		window.troubles = [];
		uploader.addEventListener('trouble', ({ detail }) => troubles.push(detail && detail.code + (detail.passing ? ' passing' : '')));
		window.silent = { register: 1, check: 1, done: 1 };
		window.cut = { register: 1, check: 1, done: 1 };
		window.fetch = async (url, init) => {
			const word = String(url).split('/').at(-1);
			if (silent[word]-- > 0) return new Promise((_, bad) => init.signal.addEventListener('abort', () => bad(init.signal.reason)));
			const answer = await real(url, init);
			return cut[word]-- > 0 ? new Response((await answer.text()).slice(0, 20)) : answer;
		};
		return 1;
	})()`, nil)
	b.lay(t, "1.jpg", photo(1, 64, 48))
	b.wait("the verdict", "settled.length === 1")
	if got, want := b.outcomes(), []outcome{{"1.jpg", "ready", ""}}; !slices.Equal(got, want) {
		t.Errorf("the page tells of %v, not %v", got, want)
	}
	if got, want := slices.Compact(b.troubles()), []string{"unreachable passing", ""}; !slices.Equal(got, want) {
		t.Errorf("the troubles were %q, not %q", got, want)
	}
	var left []int
	if b.js("[silent.register, cut.register, silent.check, cut.check]", &left); slices.Max(left) > 0 {
		t.Errorf("not each was tried: %v", left)
	}

	// To be closed is no fault of the line.
	b.js("(silent.register = 1, troubles.splice(0), settled.splice(0), 1)", nil)
	b.lay(t, "2.jpg", photo(2, 64, 48))
	b.wait("it to ask", "silent.register === 0")
	b.js("(uploader.close(), new Promise((done) => setTimeout(done, 1000)))", nil)
	var told int
	if b.js("troubles.length + settled.length", &told); told != 0 {
		t.Error("after it was closed it tells of something")
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
