package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestBrowserOwner is an owner's way through his pages: a project made and deleted, a
// key made, seen once and ended, the buckets, a reconstruction on the stand-in of an
// engine, the audit and an image's story, both languages.
func TestBrowserOwner(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	w := newReconWorld(t, "zip")
	b := newBrowser(t)
	b.signIn(w.server)
	b.wait("the empty list", "document.querySelector('main .empty pre')")
	b.shots("home-empty")

	b.click(".place-actions button")
	b.wait("the dialog", "document.querySelector('dialog[open] #project-name')")
	b.shots("home-new")
	b.do(chromedp.SendKeys("#project-name", "<b>Südhang & co</b>", chromedp.ByQuery))
	b.click("dialog button[form=new-project]")
	b.wait("the new project", "/^\\/projects\\/\\w{26}$/.test(location.pathname) && document.querySelector('h1')?.innerText === '<b>Südhang & co</b>'")

	// A reconstruction, waiting first, then running, then done: all without a reload.
	pid, put := w.bring("North face", 3)
	b.open(w.url + "/projects/" + pid)
	b.wait("the reconstruction", "document.querySelector('.task [data-act=settled]')")
	var disabled bool
	if b.js("document.querySelector('.task [data-act=start]').disabled", &disabled); !disabled {
		t.Error("it may be started while images are on their way")
	}
	b.click(".task [data-act=settled]")
	b.wait("the waiting one", "document.querySelector('.task .state')?.dataset.state === 'Pending'")
	b.shots("task-waiting")
	b.js("window.stays = true", nil)
	put()
	b.wait("its end", "document.querySelector('.task .state')?.dataset.state === 'Done' && document.querySelector('.task .results a')")
	b.shots("task-done")
	var result string
	b.js("document.querySelector('.task .results a').href", &result)
	if !strings.HasPrefix(result, w.url+"/page/v1/tasks/") {
		t.Errorf("the result is at %s", result)
	}
	var got string
	b.js("fetch(document.querySelector('.task .results a').href).then(r => r.status + ' ' + r.headers.get('content-length'))", &got)
	if !strings.HasPrefix(got, "200 ") {
		t.Errorf("the result answers %s", got)
	}
	var stays bool
	if b.js("window.stays === true", &stays); !stays {
		t.Error("the page was loaded anew")
	}

	b.open(w.url + "/projects/" + pid + "/audit")
	b.wait("the audit", "document.querySelectorAll('.timeline li').length > 8")
	b.shots("audit")
	// What the server does not answer can be asked again, and no list goes on as another.
	b.js(`(window.fetch = new Proxy(fetch, { apply: (f, self, [path, ...rest]) => window.fails
		? Promise.resolve(new Response("{}", { status: 500, headers: { "Content-Type": "application/problem+json" } }))
		: f.call(self, String(path).replace("limit=100", "limit=3"), ...rest) })) && 0`, nil)
	sift := func(action string) {
		t.Helper()
		b.js(fmt.Sprintf("(() => { const a = document.querySelector('#audit-action'); a.value = %q; a.dispatchEvent(new Event('change')); })()", action), nil)
	}
	sift("")
	b.wait("three of many", "document.querySelectorAll('.timeline li').length === 3 && document.querySelector('.more > button')")
	b.js("window.fails = true", nil)
	b.click(".more > button")
	b.wait("the fault", "document.querySelector('.toast.bad') && !document.querySelector('.more > button').disabled")
	sift("image.judge")
	b.wait("the other fault", "document.querySelector('.more .empty.bad') && !document.querySelector('.more > button')")
	b.shots("audit-fault")
	b.js("window.fails = false", nil)
	b.click(".more .empty button")
	b.wait("the verdicts alone", "document.querySelectorAll('.timeline li').length === 3")
	b.click(".timeline a")
	b.wait("the story", "document.querySelector('.facts .state')?.dataset.state === 'Ready' && document.querySelectorAll('.timeline li').length > 3")
	b.shots("story")

	b.open(w.url + "/buckets")
	b.wait("the buckets", "document.querySelector('.places li strong')?.innerText === 'This machine'")
	b.shots("buckets")

	b.open(w.url + "/keys")
	b.wait("the keys", "document.querySelectorAll('.stack tbody tr').length === 1")
	b.click(".place-actions button")
	b.wait("the dialog", "document.querySelector('dialog[open] #key-name')")
	b.do(chromedp.SendKeys("#key-name", "drone in the van", chromedp.ByQuery))
	b.shots("keys-new")
	b.click("dialog button[form=new-key]")
	b.wait("the secret", "document.querySelector('#key-secret')")
	b.shots("keys-secret")
	secret := b.text("#key-secret")
	if code, out := w.with(secret).client("tasks", "list"); code != 0 {
		t.Errorf("the new key does not work: %d %s", code, out)
	}
	// It is not lost by a slip, nor by a browser that copies nothing.
	b.do(chromedp.MouseClickXY(4, 4))
	b.press(kb.Escape)
	b.press(kb.Escape)
	b.wait("the secret to stay", "document.querySelector('dialog[open] #key-secret')?.checkVisibility()")
	b.js("(() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); document.execCommand = () => false; })()", nil)
	b.click(".secret button")
	b.wait("the secret to be copied by hand", fmt.Sprintf("(() => { const a = document.activeElement; return a.id === 'by-hand' && a.value.slice(a.selectionStart, a.selectionEnd) === %q; })()", secret))
	if text := b.text("body"); strings.Contains(text, "Copied") {
		t.Errorf("it says that it copied: %s", text)
	}
	b.shots("keys-by-hand")
	b.press(kb.Escape)
	b.wait("the secret alone", "!document.querySelector('#by-hand') && document.querySelector('dialog[open] #key-secret')")
	b.js("(document.execCommand = () => true) && 0", nil)
	b.click(".secret button")
	b.wait("the word", "document.querySelector('.toast span')?.innerText === 'Copied'")
	b.click("dialog .sheet-actions button")
	b.wait("two keys", "!document.querySelector('dialog') && document.querySelectorAll('.stack tbody tr').length === 2")
	b.shots("keys")
	b.click(".stack tbody tr:first-child .actions button")
	b.wait("the question", "document.querySelector('dialog[open] .danger')")
	b.click("dialog .danger")
	b.wait("one key", "document.querySelectorAll('.stack tbody tr').length === 1")
	if code, _ := w.with(secret).client("tasks", "list"); code == 0 {
		t.Error("the ended key works")
	}

	b.open(w.url + "/")
	b.wait("the projects", "document.querySelectorAll('.projects li').length === 2")
	b.shots("home")
	b.click(".projects li:first-child .foot button")
	b.wait("the question", "document.querySelector('dialog[open] .danger')")
	b.click("dialog .danger")
	b.wait("one project", "document.querySelectorAll('.projects li').length === 1")
	b.click(".toast .plain")
	b.wait("both again", "document.querySelectorAll('.projects li').length === 2")

	b.click(".language button")
	b.wait("Chinese", "document.documentElement?.lang === 'zh' && document.querySelector('main h1')?.innerText === '项目' && document.querySelectorAll('.projects li').length === 2")
	b.shots("home-zh")
	for _, path := range []string{"keys", "buckets", fmt.Sprintf("projects/%s/audit", pid), "projects/" + pid} {
		b.open(w.url + "/" + path)
		b.wait("the page "+path, "!document.querySelector('main[aria-busy]')")
		b.shots("zh-" + strings.ReplaceAll(path[:4], "/", ""))
	}

	// A session that ended leads to sign in again, and back.
	b.allow("401")
	b.do(setCookie(w.url, "uploadbroker", "nonsense"))
	b.js("import('/static/app/api.js').then(m => { m.api.get('/me').catch(() => {}); return 0; })", new(int))
	b.wait("the way back", "location.pathname === '/sign-in' && location.search === '?next=%2Fprojects%2F"+pid+"'")
	b.open(w.url + "/keys")
	b.wait("the sign-in page", "location.pathname === '/sign-in' && location.search === '?next=%2Fkeys'")
	b.shots("sign-in")
	b.open(w.url + "/projects/nothing")

	// A key of one project makes no other, whatever it may.
	var tied struct{ Secret string }
	if code := w.call("POST", "/v1/keys", map[string]any{"project_id": pid, "scopes": []string{"read", "upload", "manage"}}, &tied); code/100 != 2 {
		t.Fatalf("a tied key: %d", code)
	}
	b.do(setCookie(w.url, "lang", "en"))
	b.signIn(w.with(tied.Secret))
	b.wait("its project alone", "document.querySelectorAll('.projects li').length === 1")
	if text := b.text(".place-head"); strings.Contains(text, "New project") {
		t.Errorf("to a key of one project it offers %q", text)
	}
	b.shots("home-tied")
	if code := w.call("DELETE", "/v1/projects/"+pid, nil, nil); code/100 != 2 {
		t.Fatalf("to delete the project answers %d", code)
	}
	b.open(w.url)
	b.wait("no project", "document.querySelector('.empty')?.checkVisibility()")
	if text := b.text(".empty"); !strings.Contains(text, "for one project alone") || strings.Contains(text, "Make one") {
		t.Errorf("without its project it is told %q", text)
	}
	b.shots("home-tied-empty")
}

// TestBrowserTaskStates: a reconstruction under way and one that failed, as an engine
// brings them about too quickly or never.
func TestBrowserTaskStates(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	b := newBrowser(t)
	b.open(s.url + "/sign-in")
	show := func(task string) {
		t.Helper()
		b.js(`import("/static/app/views/task.js").then(({mountTask}) => {
			const panels = document.createElement("div");
			panels.className = "panels";
			document.querySelector("main").replaceChildren(panels);
			document.querySelector("main").className = "";
			const task = Object.assign({ id: "1", type: "Native", images: 1234, bytes: 5e9, results: [], created_at: "2026-11-01T09:00:00Z", started_at: "2026-11-01T09:01:00Z" }, `+task+`);
			return mountTask(panels, { api: { get: async () => ({ tasks: [task] }) }, pid: "p", project: { counts: { Ready: 1234 } } });
		})`, nil)
	}
	show(`{ state: "Processing", stage: "running", progress: 41.7 }`)
	if text := b.text(".task"); !strings.Contains(text, "41 %") || !strings.Contains(text, "the engine is at work · 1,234 images · 5 GB") {
		t.Errorf("one under way reads %q", text)
	}
	b.shots("task-running")
	show(`{ state: "Failed", progress: 12, ended_at: "2026-11-01T10:01:00Z", cause: "the engine failed: not enough memory for 1,234 images", fault: { number: 7, name: "ENGINE_FAILED" } }`)
	if text := b.text(".task .error"); !strings.Contains(text, "not enough memory") {
		t.Errorf("one that failed reads %q", text)
	}
	b.shots("task-failed")
}

// with is the server for another key's holder.
func (s *server) with(key string) *server {
	other := *s
	other.key = key
	return &other
}

// TestBrowserFrame: what all pages have in common stands still from one to the next, a
// tag is among the tags alone, and built-in names and the audit speak the page's language.
func TestBrowserFrame(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	write(t, config, []byte("tags: {anonymous: [inbox], public: [inbox], min_free: 1MiB}\n"))
	s := start(t, dataFolder(t), "--config", config, "--demo-oss")
	whole := photo(3, 320, 240)
	s.client("upload", folder(t, map[string][]byte{"a.jpg": whole, "cut.jpg": whole[:len(whole)/2]}), "--new", "demo")
	pid := s.project("demo")
	b := newBrowser(t)
	b.signIn(s)
	at := map[string]float64{}
	for _, path := range []string{"/", "/tags", "/tags/inbox", "/buckets", "/keys", "/projects/" + pid, "/projects/" + pid + "/audit"} {
		b.open(s.url + path)
		b.wait(path, "document.querySelector('main:not([aria-busy]) h1')")
		var x float64
		b.js("document.querySelector('.brand').getBoundingClientRect().x", &x)
		at[path] = x
	}
	for path, x := range at {
		if x != at["/"] {
			t.Errorf("on %s the header begins at %v, on the first page at %v", path, x, at["/"])
		}
	}

	b.open(s.url + "/")
	b.wait("the project", "document.querySelector('.projects li')")
	if text := b.text(".projects"); !strings.Contains(text, "demo") || strings.Contains(text, "inbox") {
		t.Errorf("the projects are %q", text)
	}
	b.open(s.url + "/tags")
	b.wait("the tag", "document.querySelector('.projects li')?.innerText.includes('inbox')")
	b.click(".projects .foot button")
	b.wait("the question", "document.querySelector('dialog[open] .danger')")
	b.click("dialog .danger")
	b.wait("no tag", "document.querySelectorAll('.projects li').length === 0 && document.querySelector('.empty')?.checkVisibility()")
	b.click(".toast .plain")
	b.wait("it again", "document.querySelectorAll('.projects li').length === 1 && !document.querySelector('.empty').checkVisibility()")
	b.shots("frame-tags")

	b.open(s.url + "/tags/inbox")
	b.wait("the empty tag", "document.querySelector('.upload-zone') && document.querySelector('.gallery-body .empty')")
	var gap float64
	b.js("document.querySelector('.gallery-body .empty').getBoundingClientRect().top - document.querySelector('.upload-zone').getBoundingClientRect().bottom", &gap)
	if gap < 12 {
		t.Errorf("the notice is %v pixels below where files are dropped", gap)
	}
	b.shots("frame-tag")

	b.open(s.url + "/keys")
	b.wait("the keys", "document.querySelector('.stack .badge')")
	b.wait("a word for every column", "[...document.querySelectorAll('.stack thead th')].every((th) => th.textContent.trim())")
	// A badge that does not fit beside the name stands below it.
	b.js("(() => { document.querySelector('.stack th bdi').textContent = 'a name that leaves no room beside it'; document.querySelector('.stack th .named').style.width = '16rem'; })()", nil)
	b.wait("the badge below the name", "(() => { const [n, g] = ['bdi', '.badge'].map((s) => document.querySelector('.stack th ' + s).getBoundingClientRect()); return g.top >= n.bottom - 4 && Math.abs(g.left - n.left) < 1; })()")

	b.click(".language button")
	b.wait("Chinese", "document.documentElement?.lang === 'zh' && document.querySelector('.stack .badge')")
	b.shots("frame-keys-zh")
	b.open(s.url + "/buckets")
	b.wait("both buckets", "document.querySelectorAll('.places li').length === 2")
	var names []string
	b.js("[...document.querySelectorAll('.places strong')].map((e) => e.innerText).sort()", &names)
	if !slices.Equal(names, []string{"OSS 模拟器", "本机"}) {
		t.Errorf("in Chinese the buckets are %q", names)
	}
	b.shots("frame-buckets-zh")
	b.open(s.url + "/projects/" + pid)
	b.wait("the choice", "document.querySelector('.upload-bucket')")
	if text := b.text(".upload-bucket"); !strings.Contains(text, "本机") {
		t.Errorf("in Chinese one chooses among %q", text)
	}

	b.open(s.url + "/projects/" + pid + "/audit?action=image.judge")
	b.wait("the verdicts", "document.querySelectorAll('.timeline li').length === 2")
	text := b.text(".timeline")
	for _, word := range []string{"状态 就绪", "状态 无效", "原因 不完整: ", "更多"} {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in the audit: %s", word, text)
		}
	}
	b.wait("what few ask for to be folded away", "[...document.querySelectorAll('.timeline li')].every((li) => li.querySelector('details:not([open])')?.textContent.includes('ETag'))")
	b.open(s.url + "/projects/" + pid + "/audit")
	b.wait("the audit", "document.querySelectorAll('.timeline li').length > 5")
	b.shots("frame-audit-zh")
	b.click(".timeline details summary")
	b.shot("frame-audit-more")
	b.click(".timeline a")
	b.wait("the story", "document.querySelector('.facts .state')")
	b.shots("frame-story-zh")
}
