package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// press with a pointer, with a modifier key held, on an image's cell.
func (b *browserPage) pointAt(name string, held input.Modifier) {
	b.t.Helper()
	x, y := b.middle(name)
	b.do(chromedp.MouseClickXY(x, y, chromedp.ButtonModifiers(held)))
}

func (b *browserPage) middle(name string) (x, y float64) {
	b.t.Helper()
	return b.spot(fmt.Sprintf(".cell[title='%s']", name))
}

// finger lays a finger on an image, until it is picked or for a moment.
func (b *browserPage) finger(name string, until string) {
	b.t.Helper()
	x, y := b.middle(name)
	b.do(input.DispatchTouchEvent(input.TouchStart, []*input.TouchPoint{{X: x, Y: y}}))
	if until != "" {
		b.wait("a long press", until)
	}
	b.do(input.DispatchTouchEvent(input.TouchEnd, []*input.TouchPoint{}))
}

// picked waits until these images are picked and no others.
func (b *browserPage) picked(names ...string) {
	b.t.Helper()
	slices.Sort(names)
	b.wait(fmt.Sprintf("%v to be picked", names), fmt.Sprintf(
		"[...document.querySelectorAll('.picked .cell')].map((c) => c.title).sort().join() === %q && document.querySelector('.pick-bar').hidden === %t && document.querySelectorAll('.pick input:checked').length === %d",
		strings.Join(names, ","), len(names) == 0, len(names)))
}

// TestBrowserPicks: several images are picked by mouse, keyboard and finger, and
// deleted, taken back and kept together.
func TestBrowserPicks(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	files := map[string][]byte{}
	for i := range 6 {
		files[fmt.Sprintf("p%d.jpg", i)] = photo(uint64(i), 320, 240+i)
	}
	for i := range 2 {
		p := photo(uint64(90+i), 640, 480)
		files[fmt.Sprintf("cut%d.jpg", i)] = p[:len(p)/2]
	}
	s.client("upload", folder(t, files), "--new", "demo")
	pid := s.project("demo")
	b := newBrowser(t)
	b.signIn(s)
	whole := func() { // what comes late moves what is below
		t.Helper()
		b.open(s.url + "/projects/" + pid)
		b.wait("the page", "document.querySelector('.gallery-line')?.innerText.startsWith('8 files') && document.querySelector('.upload-zone') && document.querySelector('.task')")
	}
	whole()

	b.pointAt("p1.jpg", input.ModifierCtrl)
	b.picked("p1.jpg")
	b.pointAt("p3.jpg", input.ModifierShift)
	b.picked("p1.jpg", "p2.jpg", "p3.jpg")
	b.pointAt("p2.jpg", 0) // once one is picked, a press picks
	b.picked("p1.jpg", "p3.jpg")
	b.shots("picks")
	b.press(kb.Escape)
	b.picked()
	b.click(".pick input") // it can be seen and hit where the pointer is
	b.picked("cut0.jpg")
	b.click(".pick-bar .icon-button")
	b.picked()

	// By the keyboard: four, deleted, and one word takes all of them back.
	b.js("document.querySelector(`.cell[title='p1.jpg']`).focus()", nil)
	for range 3 {
		b.do(chromedp.KeyEvent(kb.ArrowRight, chromedp.KeyModifiers(input.ModifierShift)))
	}
	b.picked("p1.jpg", "p2.jpg", "p3.jpg", "p4.jpg")
	b.press(kb.Delete)
	b.until("four removals", func() bool { return len(s.imageStates(pid, "Removed")) == 4 })
	b.picked()
	b.wait("the keyboard on the next", "document.querySelectorAll('.cell').length === 4 && document.activeElement.title === 'p5.jpg'")
	b.wait("the message", "document.querySelector('.toast span')?.innerText === '4 files are deleted.'")
	b.clickText(".toast button", "Undo")
	b.until("all to be back", func() bool { return len(s.imageStates(pid, "Removed")) == 0 })
	b.wait("all images", "document.querySelectorAll('.cell').length === 8")

	// What the server refuses stays, and why is told.
	b.allow("ERR_BLOCKED_BY_CLIENT")
	b.pointAt("p0.jpg", input.ModifierCtrl)
	b.do(chromedp.KeyEvent("a", chromedp.KeyModifiers(input.ModifierCtrl)))
	b.wait("all picked", "document.querySelectorAll('.picked').length === 8")
	b.js("(() => { const real = window.fetch; window.fetch = (u, o) => o?.method === 'DELETE' && ++window.asked > 3 ? Promise.reject(new TypeError()) : real(u, o); window.asked = 0; })()", nil)
	b.click(".pick-bar [data-act=delete]")
	b.wait("why", "[...document.querySelectorAll('.toast.bad')].some((e) => e.innerText.includes('5 files stayed as they were: The server does not answer'))")
	b.wait("the others", "document.querySelectorAll('.cell').length === 5")
	if removed := s.imageStates(pid, "Removed"); len(removed) != 3 {
		t.Errorf("the server has removed %v", removed)
	}
	b.clickText(".toast button", "Undo")
	b.wait("all images", "document.querySelectorAll('.cell').length === 8")

	// The damaged ones of them can be kept together, after a question.
	b.click(".gallery-tools button[aria-label='Select several']")
	b.wait("to be asked", "document.querySelector('.pick-bar:not([hidden])')")
	b.clickText(".pick-bar button", "All 8")
	b.clickText(".pick-bar button", "Keep 2 as they are")
	b.wait("the question", "document.querySelector('dialog.sheet[open] h2')?.innerText === 'Keep 2 damaged images?'")
	b.clickText(".sheet-actions button", "Keep it as it is")
	b.until("both to be kept", func() bool {
		states := s.imageStates(pid, "")
		return states["cut0.jpg"] == "Ready accepted" && states["cut1.jpg"] == "Ready accepted"
	})

	// On a phone a long press begins it, and then each press picks.
	b.size(phoneWidth, phoneHeight)
	b.do(emulation.SetTouchEmulationEnabled(true))
	whole()
	b.finger("cut1.jpg", "document.querySelectorAll('.picked').length === 1")
	b.finger("cut0.jpg", "")
	b.picked("cut0.jpg", "cut1.jpg")
	b.shot("picks-finger")
	b.clickText(".pick-bar button", "Delete 2")
	b.until("two removals", func() bool { return len(s.imageStates(pid, "Removed")) == 2 })
	b.wait("the others", "document.querySelector('.gallery-line').innerText.startsWith('6 files')")
	b.finger("p0.jpg", "")
	b.wait("the large view", "document.querySelector('dialog.large[open] h2')?.title === 'p0.jpg'")
}

// TestBrowserLate: a page of the list that was asked for before an image was deleted, and
// comes after it, does not bring the image back; the grid follows what moves it; nor does
// the plot offer an order.
func TestBrowserLate(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	b := newBrowser(t)
	b.open(s.url + "/sign-in")
	b.js(`import("/static/app/gallery/gallery.js").then(({mountGallery}) => {
		window.names = ["a", "b", "c"];
		const image = (id, state = "Ready") => ({ id, name: id + ".txt", state, size: 1, created_at: "2026-11-01T09:00:00Z", facts: {} });
		const source = {
			async *pages() { // read at once, told when it is let
				const list = names.map((id) => image(id));
				await window.held;
				yield list;
			},
			removed: null, thumb: () => null, file: () => null,
			remove: async (img) => { window.removed = img.id; return image(img.id, "Removed"); },
		};
		const main = document.querySelector("main");
		main.classList.remove("narrow");
		window.gallery = mountGallery(main, source);
	})`, nil)
	b.wait("three images", "document.querySelector('.gallery-line').innerText.startsWith('3 files')")
	b.js("(() => { window.held = new Promise((done) => { window.let = done; }); gallery.reload(); })()", nil)
	b.js("document.querySelector(`.cell[title='a.txt']`).focus()", nil)
	b.press(kb.Delete)
	b.wait("the removal", "window.removed === 'a' && gallery.images.get('a').state === 'Removed'")
	b.js("window.let()", nil)
	b.wait("the list", "!document.querySelector('.gallery-line').innerText.startsWith('Loading')")
	if names := b.cells(); !slices.Equal(names, []string{"b.txt", "c.txt"}) {
		t.Errorf("after the late page there are %v", names)
	}

	// Who is told while it loads that he missed something loads once more.
	b.js("(() => { window.held = new Promise((done) => { window.let = done; }); gallery.reload(); names = ['b', 'c', 'd']; gallery.reload(); window.let(); })()", nil)
	b.wait("what was missed", "gallery.images.get('d') && !document.querySelector('.gallery-line').innerText.startsWith('Loading')")
	b.js("(() => { names = ['b', 'c']; gallery.reload(); })()", nil)
	b.wait("both alone", "document.querySelectorAll('.cell').length === 2")

	// What is above the grid comes and goes: who is near is there, without a scroll.
	b.js("(() => { const tall = document.createElement('div'); tall.id = 'tall'; tall.style.height = '5000px'; document.querySelector('main').before(tall); })()", nil)
	b.wait("the one with the keyboard alone", "document.querySelectorAll('.cell').length === 1")
	b.js("document.querySelector('#tall').remove()", nil)
	b.wait("both again", "document.querySelectorAll('.cell').length === 2")

	sorted := "document.querySelector('.gallery-tools select').checkVisibility()"
	b.wait("the order to be chosen in the grid", sorted)
	b.click("button[aria-label='Where they were taken']")
	b.wait("no order in the plot", "!"+sorted)
}
