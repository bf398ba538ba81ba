package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// openProject opens a project's page, signed in, until it takes files.
func (b *browserPage) openProject(s *server, pid string) {
	b.t.Helper()
	b.open(s.url + "/projects/" + pid)
	b.wait("the uploader", "document.querySelector('.upload')?.parentNode.uploader")
	b.js("window.uploader = document.querySelector('.upload').parentNode.uploader", nil)
	b.js("window.settled = [], uploader.addEventListener('settled', (e) => settled.push(e.detail)) ?? 1", nil)
}

// TestBrowserUpload is a person's way: sign in, drop a folder, see every photo become
// Ready and the damaged one Invalid with its reason, without a reload. It is in a LAN,
// where the page is no secure context.
func TestBrowserUpload(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t), "--demo-oss")
	b := newBrowser(t)
	seen := s.inLAN()
	b.allow("Cross-Origin-Opener-Policy header has been ignored") // for that reason
	b.signIn(seen)
	pid := newProject(t, s, "recon")
	b.openProject(seen, pid)
	var secure bool
	if b.js("isSecureContext", &secure); secure {
		t.Error("this was to be tried without a secure context")
	}
	b.wait("the sheet", "getComputedStyle(document.querySelector('.upload-zone')).display === 'flex'")
	b.shots("upload-empty")

	b.drop(".upload-zone", mixedPhotos(t))
	b.wait("every verdict", "settled.length > 0")
	if got := b.outcomes(); !slices.Equal(got, mixedOutcome) {
		t.Errorf("the page tells of\n%v, not\n%v", got, mixedOutcome)
	}
	b.wait("the outcome to be told", "document.querySelector('.upload-title').innerText === '4 Ready, 1 not'")
	if got := b.text(".upload-list"); strings.Count(got, "Ready") != 4 || !strings.Contains(got, "the file ends") {
		t.Errorf("the list reads\n%s", got)
	}
	if got := b.text(".upload-left"); !strings.Contains(got, "1 file is left out") {
		t.Errorf("of what is left out it says %q", got)
	}
	b.shots("upload-mixed")
	if got := b.text(".upload-buttons"); strings.Contains(got, "again") {
		t.Errorf("with a damaged file alone it offers %q", got)
	}

	// The other bucket gives a token, with which the page itself signs.
	b.js(`(() => { const s = document.querySelector('.upload-bucket select'); s.value = 'DemoOSS'; s.dispatchEvent(new Event('change')); })()`, nil)
	more := map[string][]byte{}
	for i := range 6 {
		more[fmt.Sprintf("south/DJI_%04d.JPG", i)] = photo(uint64(100+i), 160, 120)
	}
	b.choose("input[data-choose=folder]", filepath.Join(folder(t, more), "south"))
	b.wait("the verdicts of those in the other bucket", "settled.length > 1")
	var list struct {
		Images []struct{ Name, State, Bucket string }
	}
	s.call("GET", "/v1/projects/"+pid+"/images", nil, &list)
	count := map[string]int{}
	for _, i := range list.Images {
		count[i.Bucket+" "+i.State]++
	}
	if count["Local Ready"] != 3 || count["Local Invalid"] != 1 || count[demoSymbol+" Ready"] != 6 {
		t.Errorf("in the end there are %v", count)
	}

	// In the other language, with the photos that came with the task where they are.
	b.do(setCookie(seen.url, "lang", "zh"))
	b.openProject(seen, pid)
	b.wait("Chinese words", "document.querySelector('.upload-call').innerText.includes('文件夹')")
	if real, err := filepath.Glob("../../../shared/photos/DJI_00*.JPG"); err == nil && len(real) > 1 {
		b.drop(".upload-zone", mustAbs(real[0]), mustAbs(real[1]))
		b.wait("the verdicts of real photos", "settled.length > 0")
		b.wait("them to be told in Chinese", "document.querySelector('.upload-title').innerText === '全部 2 个文件已就绪'")
	}
	b.shots("upload-zh")
}

// manyFiles makes a folder of small photos that all differ.
func manyFiles(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "many")
	base := photo(1, 48, 32)
	for i := range n {
		// A comment tells them apart; they stay sound.
		write(t, filepath.Join(dir, fmt.Sprintf("%dMEDIA/DJI_%05d.JPG", 100+i/1000, i)), comment(base, []byte(fmt.Sprintf("number %08d", i))))
	}
	return dir
}

// TestBrowserManyFiles: the page stays quick with 10,000 files, and the first of them
// is sent long before the last is read.
func TestBrowserManyFiles(t *testing.T) {
	const n = 10_000
	needBrowser(t)
	s := start(t, dataFolder(t))
	b := newBrowser(t)
	b.signIn(s)
	pid := newProject(t, s, "recon")
	b.openProject(s, pid)
	// The longest that the page did nothing else, the first byte, and how many were
	// read by then.
	b.js(`(() => {
		const m = window.measured = { longest: 0, first: 0, hashed: 0, rows: 0 };
		let last = performance.now();
		const frame = (now) => {
			m.longest = Math.max(m.longest, now - last);
			last = now;
			m.rows = Math.max(m.rows, document.querySelectorAll('.upload-row').length);
			requestAnimationFrame(frame);
		};
		requestAnimationFrame(frame);
		addEventListener('drop', () => { m.dropped = performance.now(); }, true);
		const send = XMLHttpRequest.prototype.send;
		XMLHttpRequest.prototype.send = function (...body) {
			if (!m.first) { m.first = performance.now() - m.dropped; m.hashed = uploader.files.filter((f) => f.sha1).length; }
			return send.apply(this, body);
		};
		return 1;
	})()`, nil)
	b.drop(".upload-zone", manyFiles(t, n))
	b.wait("the files on the list", fmt.Sprintf("uploader.files.length === %d", n))
	b.wait("some to be Ready", "uploader.totals.states.ready >= 200")
	b.js("document.querySelector('.upload-list').scrollTop = 200000", nil)
	b.wait("the rows there", "[...document.querySelectorAll('.upload-row')].some((r) => r.ariaPosInSet > 4000)")
	b.shots("upload-10000")
	var m struct {
		Longest, First float64
		Hashed, Rows   int
	}
	b.js("measured", &m)
	t.Logf("10,000 files: first byte %.0f ms after the drop, %d hashed by then; the longest frame took %.0f ms; %d rows at most", m.First, m.Hashed, m.Longest, m.Rows)
	if m.Rows == 0 || m.Rows > 60 {
		t.Errorf("%d rows were elements at once", m.Rows)
	}
	if m.Hashed == 0 || m.Hashed > 100 {
		t.Errorf("%d files were hashed before the first was sent", m.Hashed)
	}
	b.js("uploader.pause()", nil)
	b.wait("it to pause", "document.querySelector('.upload-buttons button:last-child').innerText.includes('Resume')")

	// After a reload the same folder goes on where it was: what is there is not sent.
	var ready int
	b.js("uploader.totals.states.ready", &ready)
	b.allow("beforeunload|Dialog|dialog") // the page asks whether to leave
	b.openProject(s, pid)
	small := filepath.Join(manyFiles(t, 200))
	b.drop(".upload-zone", small)
	b.wait("the verdicts", "settled.length > 0")
	var totals struct {
		Sent   int64
		States map[string]int
	}
	if b.js("uploader.totals", &totals); totals.States["ready"] != 200 {
		t.Errorf("after the reload %+v", totals)
	}
	if ready >= 1000 && totals.Sent != 0 {
		t.Errorf("%d bytes were sent again", totals.Sent)
	}
	if code := s.call("GET", "/v1/projects/"+pid, nil, nil); code != http.StatusOK {
		t.Errorf("the project answers %d", code)
	}
}

// TestBrowserUploadRefused: why a file or all of them can't be uploaded is told in the
// person's language, and how to go on.
func TestBrowserUploadRefused(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := newBrowser(t)
	printed, err := command(t, nil, "keys", "create", "--owner", "owner@localhost", "--scopes", "read", "--data-dir", s.data).Output()
	if err != nil {
		t.Fatalf("keys create: %v", err)
	}
	b.signIn(s.with(strings.TrimSpace(string(printed))))
	b.open(s.url + "/projects/" + pid)
	for lang, want := range map[string]string{"en": "may look at this, and not upload to it", "zh": "只能查看，不能上传"} {
		b.do(setCookie(s.url, "lang", lang))
		b.open(s.url + "/projects/" + pid)
		b.wait("the page", "document.querySelector('.upload-not')")
		if got := b.text(".upload-not"); !strings.Contains(got, want) {
			t.Errorf("without the right to upload it says %q", got)
		}
		var zones int
		if b.js("document.querySelectorAll('.upload-zone').length", &zones); zones > 0 {
			t.Error("there is a place for files although none may be uploaded")
		}
	}

	b.allow("beforeunload|Dialog|dialog")
	b.open(s.url + "/sign-in")
	b.signIn(s)
	for lang, want := range map[string][]string{
		"en": {"too_large: Too large: 7 bytes", "insufficient_storage: There is no room", "invalid_name: This name can't be kept", "no_bucket: No bucket takes files", "AccessDenied: The bucket refuses it: 7 bytes"},
		"zh": {"too_large: 文件过大", "insufficient_storage: 存储空间不足", "invalid_name: 文件名不可用", "no_bucket: 没有可用的存储桶", "AccessDenied: 存储桶拒绝了该文件"},
	} {
		b.do(setCookie(s.url, "lang", lang))
		b.openProject(s, pid)
		b.js(fakeAnswers, nil)
		b.js(`(() => {
			const real = fetch;
			window.fetch = async (url, init) => {
				if (!String(url).endsWith('/images/register') || fakes.register?.length) return real(url, init);
				const results = JSON.parse(init.body).images.map((i) => ({ status: 'problem', problem: { code: i.name.split('.')[0], detail: '7 bytes' } }));
				return new Response(JSON.stringify({ results }));
			};
			fakes.register = [401];
			uploader.add(['too_large', 'insufficient_storage', 'invalid_name', 'no_bucket', 'AccessDenied']
				.map((name) => ({ name: name + '.jpg', file: new File([name], name + '.jpg') })));
			return 1;
		})()`, nil)
		b.wait("to be told to sign in", "document.querySelector('.upload-trouble a')?.checkVisibility()")
		b.shots("upload-signed-out-" + lang)
		b.click(".upload-buttons button:last-child")
		b.wait("every file to fail", "settled.length === 1 && document.querySelectorAll('.upload-row[data-state=failed]').length === 5")
		b.wait("the trouble to be over", "!document.querySelector('.upload-trouble').checkVisibility()")
		var notes []string
		b.js("[...document.querySelectorAll('.upload-row')].map((r) => r.querySelector('.upload-name').title.split('.')[0] + ': ' + r.querySelector('.upload-note').textContent)", &notes)
		slices.Sort(notes)
		slices.Sort(want)
		for i := range want {
			if i >= len(notes) || !strings.HasPrefix(notes[i], want[i]) {
				t.Errorf("in %s it says %q", lang, notes)
				break
			}
		}
		b.shots("upload-refused-" + lang)
	}
}
