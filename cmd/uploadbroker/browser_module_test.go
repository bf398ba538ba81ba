package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// elsewhere is a page of another site that uses uploadbroker.js as the README has it,
// and whose Content-Security-Policy allows no more than that.
const elsewhere = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Elsewhere</title>
<link rel="icon" href="data:,">
<p>Drop here<p><input id="folder" type="file" webkitdirectory multiple>
<script type="module" nonce="own">
import { Uploader, dropped } from '%[1]s/static/uploadbroker.js';
const options = JSON.parse(new URLSearchParams(location.search).get('options'));
const uploader = new Uploader({ server: '%[1]s', ...options });
const settled = [];
uploader.addEventListener('settled', (e) => settled.push(e.detail));
folder.onchange = () => uploader.add(folder.files);
document.ondragover = (e) => e.preventDefault();
document.ondrop = (e) => { e.preventDefault(); uploader.add(dropped(e.dataTransfer)); };
Object.assign(window, { Uploader, uploader, settled });
</script>`

const policyElsewhere = "default-src 'none'; script-src %[1]s 'wasm-unsafe-eval' 'nonce-own'; worker-src blob: %[1]s; connect-src %[1]s %[2]s; img-src data:"

// entries lets a page make entry(name), a file, and entry(name, [entry(…)]), a folder, as
// a drop has them.
const entries = `(() => {
	window.entry = (name, of) => !of ? { isFile: true, name, file: (ok) => ok(new File([name], name)) } : {
		isDirectory: true, name, createReader: () => { let rest = of; return { readEntries: (ok) => { ok(rest); rest = []; } }; },
	};
	return 1;
})()`

// pageElsewhere opens that page, with the rights of a key of its own.
func pageElsewhere(t *testing.T, s *server, pid string, options string) *browserPage {
	t.Helper()
	cmd := command(t, nil, "keys", "create", "--owner", "owner@localhost", "--scopes", "read,upload", "--project", pid, "--expires", "1h", "--data-dir", s.data)
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("keys create: %v", err)
	}
	bucket := ""
	if told := demoLine.FindStringSubmatch(s.out.String()); told != nil {
		bucket = told[1]
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", fmt.Sprintf(policyElsewhere, s.url, bucket))
		fmt.Fprintf(w, elsewhere, s.url)
	}))
	t.Cleanup(site.Close)
	b := newBrowser(t)
	all := fmt.Sprintf(`{"key":%q,"project":%q%s}`, strings.TrimSpace(string(printed)), pid, options)
	b.open(site.URL + "/?options=" + all)
	b.wait("the module", "window.uploader")
	return b
}

func newProject(t *testing.T, s *server, kind string) string {
	t.Helper()
	var p struct{ ID string }
	if code := s.call("POST", "/v1/projects", map[string]string{"name": "from a page", "kind": kind}, &p); code != http.StatusCreated {
		t.Fatalf("a new project: %d", code)
	}
	return p.ID
}

// outcome is what became of a page's files.
type outcome struct{ Name, State, Code string }

func (b *browserPage) outcomes() (all []outcome) {
	b.t.Helper()
	b.js("uploader.files.map((f) => ({Name: f.name, State: f.state, Code: f.problem?.code ?? ''}))", &all)
	slices.SortFunc(all, func(a, b outcome) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// mixedPhotos is a folder with sound photos, one twice, a damaged one, and what is
// no photo.
func mixedPhotos(t *testing.T) string {
	t.Helper()
	twice := photo(2, 320, 240)
	whole := photo(3, 640, 480)
	dir := folder(t, map[string][]byte{
		"north/DJI_0001.JPG":       photo(1, 320, 240),
		"north/sub dir/中 a+b%.jpg": photo(5, 320, 240),
		"north/DJI_0002.JPG":       twice,
		"north/again.JPG":          twice,
		"north/DJI_0003.JPG":       whole[:len(whole)*2/3],
		"north/notes.txt":          []byte("no photo"),
		"north/.DS_Store":          []byte("junk"),
	})
	return filepath.Join(dir, "north")
}

var mixedOutcome = []outcome{
	{"DJI_0001.JPG", "ready", ""},
	{"DJI_0002.JPG", "ready", ""},
	{"DJI_0003.JPG", "invalid", "truncated"},
	{"again.JPG", "ready", ""},
	{"sub dir/中 a+b%.jpg", "ready", ""},
}

// TestUploaderElsewhere uploads from a page of another site, with a key, into a
// bucket of each kind: a presigned one, and OSS with a token.
func TestUploaderElsewhere(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t), "--demo-oss")
	for _, bucket := range []string{"Local", demoSymbol} {
		t.Run(bucket, func(t *testing.T) {
			pid := newProject(t, s, "recon")
			b := pageElsewhere(t, s, pid, `,"bucket":"`+bucket+`"`)
			b.drop("p", mixedPhotos(t))
			b.wait("every verdict", "settled.length > 0")
			if got := b.outcomes(); !slices.Equal(got, mixedOutcome) {
				t.Errorf("the page tells of\n%v, not\n%v", got, mixedOutcome)
			}
			var left int
			if b.js("uploader.totals.left", &left); left != 1 {
				t.Errorf("%d files were left out", left)
			}
			var list struct {
				Images []struct {
					Name, State, Bucket string
					Reasons             []string
				}
			}
			s.call("GET", "/v1/projects/"+pid+"/images", nil, &list)
			if len(list.Images) != 4 {
				t.Errorf("%d images, not the 4 that differ", len(list.Images))
			}
			for _, i := range list.Images {
				if i.Bucket != bucket {
					t.Errorf("%s lies in %s", i.Name, i.Bucket)
				}
			}

			// The same again, as after a reload: nothing is sent.
			b.js("location.reload()", nil)
			b.wait("the module again", "window.uploader?.files.length === 0")
			b.choose("#folder", mixedPhotos(t))
			b.wait("the damaged one to be sent, and nothing else", "settled.length > 0")
			if got := b.outcomes(); !slices.Equal(got, mixedOutcome) {
				t.Errorf("the second time the page tells of\n%v, not\n%v", got, mixedOutcome)
			}
			var sent, damaged int
			b.js("uploader.totals.sent", &sent)
			b.js("uploader.files.find((f) => f.state === 'invalid').size", &damaged)
			if sent != damaged {
				t.Errorf("%d bytes were sent, the damaged photo has %d", sent, damaged)
			}
		})
	}
}

// TestUploaderPauses: what is paused stays, what is resumed goes on, what is taken
// off the list never comes.
func TestUploaderPauses(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := pageElsewhere(t, s, pid, "")
	files := map[string][]byte{}
	for i := range 40 {
		files["p/"+strconv.Itoa(100+i)+".jpg"] = photo(uint64(i), 64, 48)
	}
	b.js("uploader.pause()", nil)
	b.drop("p", filepath.Join(folder(t, files), "p"))
	b.wait("all files on the list", "uploader.files.length === 40")
	// One begins, is taken back, and then goes on with all the others.
	b.js(`new Promise((paused) => {
		uploader.addEventListener('file', function stop({ detail }) {
			if (detail.state !== 'uploading') return;
			uploader.removeEventListener('file', stop);
			uploader.pause();
			paused(1);
		});
		uploader.resume();
	})`, nil)
	b.wait("nothing to be on its way", "uploader.paused && !uploader.files.some((f) => f.state === 'uploading' || f.state === 'hashing')")
	// Its key may not take back what was registered; that is nobody's trouble.
	b.allow("403")
	var removed bool
	b.js("uploader.remove(uploader.files.find((f) => f.state !== 'uploaded' && f.state !== 'ready').id)", &removed)
	if !removed {
		t.Error("no file could be taken off the list")
	}
	b.js("uploader.resume()", nil)
	b.wait("every verdict", "settled.length > 0")
	var totals struct {
		Files  int
		States map[string]int
		Bytes  int64
		Loaded int64
	}
	b.js("uploader.totals", &totals)
	if totals.Files != 39 || totals.States["ready"] != 39 || totals.Bytes != totals.Loaded {
		t.Errorf("in the end %+v", totals)
	}
}

// TestUploaderSendsAgain: a server that is away is waited for, and what was Invalid is
// sent again with better bytes.
func TestUploaderSendsAgain(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := pageElsewhere(t, s, pid, "")
	b.allow("ERR_CONNECTION_REFUSED|ERR_FAILED|503|CORS")

	// Calls that fail for a while, as on a bad line.
	b.js(`(() => {
		const real = fetch;
		let bad = 2;
		window.fetch = (url, init) => String(url).endsWith('/images/register') && bad-- > 0 ? Promise.reject(new TypeError('cut')) : real(url, init);
		window.troubles = [];
		uploader.addEventListener('trouble', ({ detail }) => troubles.push(detail?.code ?? null));
	})()`, nil)
	b.drop("p", mixedPhotos(t))
	b.wait("every verdict", "settled.length > 0")
	var troubles []*string
	if b.js("troubles", &troubles); len(troubles) < 2 || troubles[0] == nil || *troubles[0] != "unreachable" || troubles[len(troubles)-1] != nil {
		t.Errorf("the troubles were %v", troubles)
	}
	b.js(entries, nil)
	// It came with other bytes, as far as the page knows; at once, before an answer says
	// otherwise.
	var n int
	b.js(`(() => {
		const it = uploader.files.find((f) => f.state === 'invalid');
		uploader.observe([{ ...it.image, reasons: ['checksum_mismatch: other bytes'] }]);
		return uploader.retryFailed();
	})()`, &n)
	if n != 1 {
		t.Errorf("%d files are sent again", n)
	}
	b.wait("the second verdict", "settled.length > 1")
	if got := b.outcomes(); !slices.Equal(got, mixedOutcome) {
		t.Errorf("the page tells of\n%v, not\n%v", got, mixedOutcome)
	}
	var attempt int
	if b.js("uploader.files.find((f) => f.state === 'invalid').image.attempt", &attempt); attempt != 2 {
		t.Errorf("the damaged photo is at attempt %d", attempt)
	}

	// Each is told on its own: what is no photo, has no fit name, can't be opened, a folder
	// that can't be listed, before others that can.
	b.js(`uploader.add([
		{ isDirectory: true, name: 'shut', createReader: () => ({ readEntries: (ok, bad) => bad(new Error('NotReadableError')) }) },
		entry('open', [entry('four.jpg'), entry('.hidden.jpg')]),
		{ name: 'more/one.jpg', file: new File(['no photo'], 'one.jpg') },
		{ name: '../two.jpg', file: new File(['neither'], 'two.jpg') },
		{ isFile: true, name: 'three.jpg', file: (ok, bad) => bad(new Error('NotFoundError')) }])`, nil)
	b.wait("the third verdict", "settled.length > 2")
	var last []outcome
	b.js("uploader.files.slice(-5).map((f) => ({Name: f.name, State: f.state, Code: f.problem?.code ?? ''}))", &last)
	want := []outcome{{"shut", "failed", "unreadable"}, {"open/four.jpg", "invalid", "unsupported_format"}, {"more/one.jpg", "invalid", "unsupported_format"}, {"../two.jpg", "failed", "invalid_name"}, {"three.jpg", "failed", "unreadable"}}
	if !slices.Equal(last, want) {
		t.Errorf("the page tells of %v, not %v", last, want)
	}

	// Where any file is taken, what is hidden in a folder is told, and what was chosen by
	// itself is taken.
	var taken struct {
		Names []string
		Left  int
	}
	b.js(`(async () => {
		const all = new Uploader({ project: 'none', accept: null });
		all.pause();
		await all.add([entry('docs', [entry('a.txt'), entry('.env'), entry('.git', [entry('config')])])]);
		await all.add([new File(['b'], '.profile')]);
		return { Names: all.files.map((f) => f.name), Left: all.totals.left };
	})()`, &taken)
	if !slices.Equal(taken.Names, []string{"a.txt", ".profile"}) || taken.Left != 2 {
		t.Errorf("of any files it takes %v and leaves %d", taken.Names, taken.Left)
	}
}
