package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestBrowserPlane: distances in the plot are those on the globe, wherever it is.
func TestBrowserPlane(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	b := newBrowser(t)
	b.open(s.url + "/sign-in")
	type place [2]float64 // latitude, longitude
	for name, c := range map[string]struct {
		places []place
		metres float64 // between the first and the last
	}{
		"one":                      {[]place{{22.3, 114.2}}, 0},
		"the same":                 {[]place{{22.3, 114.2}, {22.3, 114.2}, {22.3, 114.2}}, 0},
		"a metre, east":            {[]place{{60, 10}, {60, 10 + 1/(111_195.08*0.5)}}, 1},
		"over the antimeridian":    {[]place{{0, 179.999}, {0, -179.999}}, 222.39},
		"around the north pole":    {[]place{{89.999, 0}, {89.999, 90}, {89.999, 180}, {89.999, -90}}, 157.26},
		"over the south pole":      {[]place{{-89.999, 20}, {-89.999, -160}}, 222.39},
		"a quarter of the equator": {[]place{{0, 0}, {0, 90}}, 10_007_557},
		"opposite":                 {[]place{{0, 0}, {0, 180}}, 20_015_115},
	} {
		text, err := json.Marshal(c.places)
		if err != nil {
			t.Fatal(err)
		}
		var points []struct{ X, Y float64 }
		b.js(fmt.Sprintf(`import("/static/app/gallery/plane.js").then(({middle, planeAround}) => {
			const places = %s.map(([lat, lon]) => ({lat, lon}));
			return places.map(planeAround(middle(places)));
		})`, text), &points)
		first, last := points[0], points[len(points)-1]
		if got := math.Hypot(last.X-first.X, last.Y-first.Y); math.Abs(got-c.metres) > 0.01+c.metres*1e-4 {
			t.Errorf("%s: %f m, and not %f", name, got, c.metres)
		}
	}
	// North is up, east is on the right.
	var p struct{ X, Y float64 }
	b.js(`import("/static/app/gallery/plane.js").then(({planeAround}) => planeAround({lat: -33, lon: 151})({lat: -32.99, lon: 151.01}))`, &p)
	if p.X < 900 || p.Y > -1100 {
		t.Errorf("north east is at %v", p)
	}
}

// TestBrowserPlot: what is at one spot can be opened, by the pointer and by the
// keyboard, and words tell what the eye sees.
func TestBrowserPlot(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	b := newBrowser(t)
	b.open(s.url + "/sign-in")
	show := func(list string) {
		t.Helper()
		b.js(`import("/static/app/gallery/plot.js").then(({Plot}) => {
			window.opened = "";
			window.plot?.el.remove();
			window.plot = new Plot({ onOpen: (img) => { window.opened = img.name; } });
			document.querySelector("main").replaceChildren(plot.el);
			plot.show((`+list+`).map(([lat, lon, state], i) => ({ id: String(i), name: "i" + i, state: state ?? "Ready", facts: lat === null ? {} : { gps: { lat, lon } } })));
			return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
		})`, nil)
	}
	press := func(x, y float64) string {
		t.Helper()
		var at [2]float64
		b.js("(() => { const r = document.querySelector('.plot').getBoundingClientRect(); return [r.x, r.y]; })()", &at)
		b.do(chromedp.MouseEvent(input.MouseMoved, at[0]+x, at[1]+y), chromedp.MouseClickXY(at[0]+x, at[1]+y))
		var opened string
		b.js("window.opened", &opened)
		return opened
	}
	var wide, high float64
	middle := func() (float64, float64) {
		b.js("document.querySelector('.plot').clientWidth", &wide)
		b.js("document.querySelector('.plot').clientHeight", &high)
		return wide / 2, high / 2
	}

	show(`[[22.3, 114.2]]`)
	if got := press(middle()); got != "i0" {
		t.Errorf("a single place opens %q", got)
	}
	show(`[[22.3, 114.2, "Invalid"], [22.3, 114.2], [22.3, 114.2], [null]]`)
	if got := press(middle()); got != "i0" {
		t.Errorf("of those at one place %q is opened; the Invalid one lies above", got)
	}
	if tip := b.text(".plot-tip"); tip != "i0 and 2 more here" {
		t.Errorf("the tip reads %q", tip)
	}
	if head := b.text(".plot-head"); strings.Join(strings.Fields(head), " ") != "N Ready Invalid" {
		t.Errorf("the head reads %q", head)
	}
	if note := b.text(".plot-note"); note != "1 has no position" {
		t.Errorf("the note reads %q", note)
	}
	b.js("document.querySelector('main').classList.remove('narrow')", nil)
	show(`Array.from({length: 60}, (_, i) => [22 + (i % 10) * 1e-4, 114 + Math.floor(i / 10) * 1e-4, ["Ready", "Uploaded", "Invalid"][i % 7] ?? "Ready"]).concat([[null]])`)
	b.shots("plot")
	// Far apart over the antimeridian, and yet beside each other.
	show(`[[-17, 179.99], [-17, -179.99]]`)
	if about := b.text(".plot > .visually-hidden"); !strings.Contains(about, "within 2.13 km from west to east and 0 m from south to north, around -17, ") || !strings.Contains(about, "Arrow keys") {
		t.Errorf("about it: %q", about)
	}
	b.js("document.querySelector('.plot canvas').focus()", nil)
	for range 12 {
		b.press(kb.ArrowRight)
	}
	b.wait("the eastern one", "document.querySelector('.plot-tip').innerText === 'i1'")
	b.press(kb.Enter)
	b.wait("it to be opened", "window.opened === 'i1'")

	// Twenty thousand: the time of a frame is told, not judged.
	show(`Array.from({length: 20000}, (_, i) => [22 + (i % 200) * 1e-4, 114 + Math.floor(i / 200) * 1e-4])`)
	var frame float64
	b.js(`(async () => {
		const turn = () => new Promise((done) => requestAnimationFrame(done));
		const began = performance.now();
		for (let i = 0; i < 20; i++) { document.querySelector(".plot canvas").dispatchEvent(new KeyboardEvent("keydown", { key: i % 2 ? "ArrowLeft" : "ArrowRight" })); await turn(); }
		return (performance.now() - began) / 20;
	})()`, &frame)
	t.Logf("a frame of 20,000 takes %.0f ms", frame)
	show(`[[null], [null]]`)
	if text := b.text(".plot .empty"); !strings.Contains(text, "No positions") {
		t.Errorf("without positions it says %q", text)
	}
}

// TestBrowserStale: a page of which a module does not come says so.
func TestBrowserStale(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	b := newBrowser(t)
	b.signIn(s)
	b.allow("ERR_BLOCKED_BY_CLIENT")
	for _, lost := range []string{"app/views/home.js", "app/ui.js", "app/lang/en/home.js"} {
		b.block("*/static/" + lost)
		b.open(s.url)
		b.wait("what to do without "+lost, "document.querySelector('#stale.now')?.checkVisibility({visibilityProperty: true}) && document.querySelector('#stale a').innerText === 'Load it again'")
	}
	b.shots("stale")
	b.block()
	b.click("#stale a")
	b.wait("the page", "document.querySelector('main:not([aria-busy]) h1')?.innerText === 'Projects'")
	// Without the first module nobody can tell but the page's style, after a while.
	b.block("*/static/app/main.js")
	b.open(s.url)
	b.js("document.getAnimations().forEach((a) => a.finish())", nil)
	b.wait("what to do", "document.querySelector('#stale').checkVisibility({visibilityProperty: true})")
}
