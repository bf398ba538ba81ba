package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestBrowserHidden: a page that nobody sees gives its line to the server back, for a
// browser has few; seen again it is told what it missed, without loading anything anew.
// One whose session has ended meanwhile leads to sign in, and back.
func TestBrowserHidden(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	b := newBrowser(t)
	b.signIn(s)
	pid := newProject(t, s, "recon")
	b.openProject(s, pid)
	b.wait("the counts", "document.querySelector('.gallery .empty, section .empty')")
	// A file that has ended, however, keeps no line.
	var busy string
	b.js(`Promise.all([import("/static/app/live.js"), import("/static/uploadbroker.js")]).then(([{ underWay }, { ended }]) =>
		["uploading", ...ended].filter((state) => underWay({ totals: { states: { waiting: 0, [state]: 1 } } })).join())`, &busy)
	if busy != "uploading" {
		t.Errorf("under way is what is %s", busy)
	}
	b.js(`(() => {
		const Real = EventSource, close = Real.prototype.close;
		window.given = 0, window.asked = [], window.lines = [];
		Real.prototype.close = function () { window.given++; return close.call(this); };
		window.EventSource = class extends Real { constructor(url) { super(url); window.asked.push(url); window.lines.push(this); } };
		window.seen = (yes) => {
			Object.defineProperty(document, "hidden", { configurable: true, get: () => !yes });
			document.dispatchEvent(new Event("visibilitychange"));
		};
		window.seen(false);
	})()`, nil)
	b.wait("the line to be given back", "given === 1")
	file := photo(1, 320, 240)
	r := s.register(pid, "", nil, file)[0]
	if got := r.put(t, file); got != 200 {
		t.Fatalf("the put answers %d", got)
	}
	s.waitState(pid, r.Image.ID, "Ready")
	b.js("(window.fetch = new Proxy(fetch, { apply(f, self, args) { if (String(args[0]).includes('/images')) asked.push(args[0]); return f.apply(self, args); } })) && 0", nil)
	b.js("seen(true) ?? 0", nil)
	b.wait("what was missed", "document.querySelector('.zip-links:not([hidden])')")
	var asked []string
	if b.js("asked", &asked); len(asked) != 1 || !strings.HasPrefix(asked[0], "/page/events/"+pid+"?last=") || strings.HasSuffix(asked[0], "=") {
		t.Errorf("it asked for %q", asked)
	}
	b.js("asked.length = 0, lines.at(-1).dispatchEvent(new Event('reload')) && 0", nil)
	b.wait("the lists to be read anew", "asked.some((a) => String(a).includes('/images'))")

	b.allow("401")
	b.js("seen(false) ?? 0", nil)
	b.wait("the line to be given back", "given === 2")
	b.do(setCookie(s.url, "uploadbroker", "nonsense"))
	b.js("setTimeout(() => seen(true)) && 0", nil)
	b.wait("the way back", "location.pathname === '/sign-in' && location.search === '?next=%2Fprojects%2F"+pid+"'")
}

// TestBrowserBuckets: an operator sees which buckets he is offered in which order, which
// not and why, and which the broker can't reach.
func TestBrowserBuckets(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	cloud := startS3(t, "near", "old", "far")
	path := filepath.Join(t.TempDir(), "config.yaml")
	place := func(at string) string { return ", location: " + at }
	write(t, path, []byte("local_bucket: {enabled: true}\ngeoip: {overrides: {127.0.0.0/8: {country: HK, lat: 22.3, lon: 114.2}}}\nbuckets:\n"+
		cloud.config("Singapore", "far", place("{lat: 1.35, lon: 103.8}"))+cloud.config("Shenzhen", "near", place("{lat: 22.5, lon: 114.1}"))+
		cloud.config("Frankfurt", "old", place("{lat: 50.1, lon: 8.7}")+", drain: true")+
		cloud.config("Shanghai", "near", place("{lat: 31.2, lon: 121.5}")+", countries: {only: [CN], enforce: true}")+
		"  - {symbol: Away, display: A cupboard, cloud: MINIO, bucket: b, endpoint: 'http://127.0.0.1:1', access_key_id: a, access_key_secret: s}\n"))
	s := start(t, dataFolder(t), "--config", path)
	pid := s.newProject("spread")
	s.register(pid, "Away", nil, photo(1, 320, 240))
	s.register(pid, "Shenzhen", nil, photo(2, 320, 240))
	b := newBrowser(t)
	b.signIn(s)
	b.open(s.url + "/buckets")
	for told := false; !told; {
		b.wait("the buckets", "document.querySelectorAll('.places li').length === 6")
		b.js("/failed/.test(document.querySelector('.places').innerText) && /all well/.test(document.querySelector('.places').innerText)", &told)
		if !told {
			b.open(s.url + "/buckets")
		}
	}
	var order []string
	b.js("[...document.querySelectorAll('.places li')].map((li) => li.querySelector('.rank').innerText + ' ' + li.querySelector('div .id').innerText)", &order)
	if got := strings.Join(order, ", "); got != "1 Shenzhen, 2 Singapore, 3 Local, 4 Away, – Frankfurt, – Shanghai" {
		t.Errorf("the page has %s", got)
	}
	for li, want := range map[string]string{
		"ol.places li:nth-child(1)": "all well", "ol.places li:nth-child(4)": "failed", "ul.places li:nth-child(1)": "drained", "ul.places li:nth-child(2)": "China alone (others are refused)",
	} {
		if got := b.text(li); !strings.Contains(got, want) {
			t.Errorf("%s lacks %q:\n%s", li, want, got)
		}
	}
	b.shots("buckets-operator")
	b.js("scrollTo(0, document.body.scrollHeight) ?? 0", nil)
	b.shot("buckets-operator-end")
	b.click(".language button")
	b.wait("Chinese", "document.documentElement?.lang === 'zh' && document.querySelectorAll('.places li').length === 6")
	b.shots("buckets-operator-zh")
}
