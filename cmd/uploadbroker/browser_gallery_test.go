package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// downloads keeps what the page downloads in a folder, and returns how to wait for a
// file there.
func (b *browserPage) downloads() func(name string) []byte {
	b.t.Helper()
	dir := b.t.TempDir()
	b.do(browser.SetDownloadBehavior(browser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(dir))
	return func(name string) []byte {
		b.t.Helper()
		var content []byte
		b.until("the download of "+name, func() bool {
			// It has its name when it is complete.
			var err error
			content, err = os.ReadFile(filepath.Join(dir, name))
			return err == nil
		})
		return content
	}
}

// until waits for something outside of the page.
func (b *browserPage) until(what string, ok func() bool) {
	b.t.Helper()
	found := false
	for n := 0; n < 2000 && !found; n++ {
		if found = ok(); !found {
			b.js("new Promise((done) => setTimeout(done, 30))", nil)
		}
	}
	if !found {
		b.inVain(what)
	}
}

// block keeps the page from reaching addresses; without any, from none.
func (b *browserPage) block(patterns ...string) {
	b.t.Helper()
	b.do(network.SetBlockedURLs(append([]string{}, patterns...)))
}

// press presses keys where the keyboard is.
func (b *browserPage) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// sift presses a filter above the grid.
func (b *browserPage) sift(name string) {
	b.t.Helper()
	b.click(fmt.Sprintf(".sift[data-state=%s]", name))
	b.wait("the filter", fmt.Sprintf("document.querySelector('.sift[data-state=%s]').ariaPressed === 'true'", name))
}

// cells are the names of the images in sight, in order.
func (b *browserPage) cells() (names []string) {
	b.t.Helper()
	b.js("[...document.querySelectorAll('.cell')].map((c) => c.title)", &names)
	return names
}

// imageStates tells a project's images by name, as the API does.
func (s *server) imageStates(pid, state string) map[string]string {
	s.t.Helper()
	var list struct {
		Images []struct {
			Name, State string
			Accepted    bool
		}
	}
	path := "/v1/projects/" + pid + "/images"
	if state != "" {
		path += "?state=" + state
	}
	s.call("GET", path, nil, &list)
	states := map[string]string{}
	for _, i := range list.Images {
		states[i.Name] = i.State
		if i.Accepted {
			states[i.Name] += " accepted"
		}
	}
	return states
}

// TestBrowserGallery looks at a project: filters, sorts, opens one, accepts a damaged
// one, deletes and takes it back, sees others arrive, downloads one and all.
func TestBrowserGallery(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	files := map[string][]byte{"text.jpg": []byte("this is text\n"), "cut.jpg": photo(99, 640, 480)}
	files["cut.jpg"] = files["cut.jpg"][:len(files["cut.jpg"])/2]
	for i := range 7 {
		files[fmt.Sprintf("100MEDIA/DJI_%d.JPG", i+5)] = photo(uint64(i), 320, 240+i)
	}
	s.client("upload", folder(t, files), "--new", "demo")
	pid := s.project("demo")

	b := newBrowser(t)
	got := b.downloads()
	b.signIn(s)
	b.open(s.url + "/projects/" + pid)
	b.wait("all images", "document.querySelectorAll('.cell').length === 9")
	// Numbers in names count as numbers.
	want := []string{"100MEDIA/DJI_5.JPG", "100MEDIA/DJI_6.JPG", "100MEDIA/DJI_7.JPG", "100MEDIA/DJI_8.JPG", "100MEDIA/DJI_9.JPG",
		"100MEDIA/DJI_10.JPG", "100MEDIA/DJI_11.JPG", "cut.jpg", "text.jpg"}
	if names := b.cells(); !slices.Equal(names, want) {
		t.Errorf("by name they are %v", names)
	}
	b.wait("thumbnails", "document.querySelectorAll('.cell img.shown').length === 7")
	b.js("document.querySelector('.gallery-bar').scrollIntoView()", nil)
	b.shots("gallery")
	b.js("window.same = true", nil) // a reload would forget it

	b.do(chromedp.SendKeys(".gallery-tools input", "dji_1", chromedp.ByQuery))
	b.wait("the search", "document.querySelectorAll('.cell').length === 2")
	b.js("(() => { const i = document.querySelector('.gallery-tools input'); i.value = ''; i.dispatchEvent(new Event('input')); })()", nil)
	b.wait("all of them again", "document.querySelectorAll('.cell').length === 9")

	// A damaged one, its reason, and the owner's word.
	b.sift("Invalid")
	b.wait("them alone", "document.querySelectorAll('.cell').length === 2")
	if names := b.cells(); !slices.Equal(names, []string{"cut.jpg", "text.jpg"}) {
		t.Errorf("Invalid are %v", names)
	}
	if text := b.text(".cell"); !strings.Contains(text, "cut short") {
		t.Errorf("the cell of a truncated image reads %q", text)
	}
	b.look("text.jpg")
	if text := b.text(".reasons"); !strings.Contains(text, "no photo: the file is text") {
		t.Errorf("its reasons read %q", text)
	}
	if text := b.text(".large-actions"); strings.Contains(text, "Keep") {
		t.Errorf("of a text it offers %q", text)
	}
	b.press(kb.ArrowLeft)
	b.wait("the one before", "document.querySelector('.large h2').title === 'cut.jpg'")
	// What there is of it is seen before anybody decides, here its upper half.
	b.wait("the damaged picture", "document.querySelector('.large-shot > img')?.naturalWidth === 640 && !document.querySelector('.large-shot .blank')")
	if href := b.attribute(".large-actions a[download]", "href"); !strings.HasSuffix(href, "/file?invalid=true") {
		t.Errorf("a damaged one is downloaded from %q", href)
	}
	b.shots("gallery-large-invalid")
	b.clickText(".large-actions button", "Keep it as it is")
	b.wait("the question", "document.querySelector('dialog.sheet[open]')")
	b.shot("gallery-accept")
	b.clickText(".sheet-actions button", "Keep it as it is")
	b.until("the acceptance", func() bool { return s.imageStates(pid, "")["cut.jpg"] == "Ready accepted" })
	b.wait("the list without it", "document.querySelector('.large h2').title === 'text.jpg'")
	b.press(kb.Escape)
	b.wait("the end of the large view", "!document.querySelector('dialog[open]')")

	// Away and back.
	b.sift("all")
	b.keys()
	b.look("100MEDIA/DJI_6.JPG")
	b.picture("100MEDIA/DJI_6.JPG")
	b.press(kb.Delete)
	b.until("the removal", func() bool { return s.imageStates(pid, "Removed")["100MEDIA/DJI_6.JPG"] == "Removed" })
	b.wait("its neighbour", "document.querySelector('.large h2').title === '100MEDIA/DJI_7.JPG'")
	b.clickText(".toast button", "Undo")
	b.until("it to be back", func() bool { return s.imageStates(pid, "")["100MEDIA/DJI_6.JPG"] == "Ready" })
	b.press(kb.Escape)
	b.wait("all of them", "document.querySelectorAll('.cell').length === 9")
	b.wait("the keyboard in the grid", "document.activeElement.title === '100MEDIA/DJI_7.JPG'")
	b.press(kb.ArrowRight)
	b.wait("the next cell", "document.activeElement.title === '100MEDIA/DJI_8.JPG'")

	// One that is deleted is found again without the message.
	b.press(kb.Enter)
	b.picture("100MEDIA/DJI_8.JPG")
	b.clickText(".large-actions button", "Delete")
	b.press(kb.Escape)
	b.until("the removal", func() bool { return len(s.imageStates(pid, "Removed")) == 1 })
	b.sift("Removed")
	b.wait("the deleted one", "document.querySelectorAll('.cell').length === 1")
	b.look("100MEDIA/DJI_8.JPG")
	b.clickText(".large-actions button", "Restore")
	b.until("it to be back", func() bool { return len(s.imageStates(pid, "Removed")) == 0 })
	b.wait("nothing deleted", "document.querySelector('.gallery-body .empty')")
	b.sift("all")

	// What others bring turns up, from the first word to the verdict.
	late := photo(500, 333, 222)
	s.client("upload", folder(t, map[string][]byte{"late.jpg": late}), "--project", pid)
	b.wait("what came late", "document.querySelector(`.cell[title='late.jpg'][data-state=Ready] img.shown`)")

	// One, and all.
	b.look("late.jpg")
	b.clickText(".large-actions a", "Download")
	if !bytes.Equal(got("late.jpg"), late) {
		t.Error("the downloaded image is another")
	}
	b.press(kb.Escape)
	b.clickText(".zip-links a", "Download all")
	content := got("demo.zip")
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil || len(z.File) != 9 { // text.jpg is Invalid
		t.Fatalf("the zip: %v, %d files", err, len(z.File))
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		if _, err := content.ReadFrom(r); err != nil { // checks the CRC, too
			t.Errorf("%s: %v", f.Name, err)
		}
		original := files[f.Name]
		if f.Name == "late.jpg" {
			original = late
		}
		if !bytes.Equal(content.Bytes(), original) {
			t.Errorf("%s in the zip is another", f.Name)
		}
	}
	var same bool
	if b.js("window.same === true", &same); !same {
		t.Error("the page was loaded anew")
	}

	// A server that does not answer is told, and asked again.
	b.allow("ERR_BLOCKED_BY_CLIENT")
	b.block("*/images?*")
	b.open(s.url + "/projects/" + pid)
	b.wait("the error", "document.querySelector('.empty.bad')")
	b.shots("gallery-error")
	b.block()
	b.clickText(".empty.bad button", "Try again")
	b.wait("all of them", "document.querySelectorAll('.cell').length === 10 && !document.querySelector('.empty.bad')")

	// The other language.
	b.click(".language button")
	b.wait("Chinese words", "document.documentElement?.lang === 'zh' && document.querySelector('.sift')?.innerText.startsWith('全部')")
	b.shots("gallery-zh")

	// Who is signed out elsewhere is led to sign in again, and back here.
	b.allow("401")
	b.js("fetch('/sign-out', {method: 'POST'}).then((r) => r.ok)", nil)
	b.wait("the end of the session to be told", fmt.Sprintf("location.pathname === '/sign-in' && new URLSearchParams(location.search).get('next') === '/projects/%s'", pid))
}

// keys walks through nine images in rows of five: the two last ones and four above
// are there, of whichever size the screen is.
func (b *browserPage) keys() {
	b.t.Helper()
	b.size(desktopWidth, desktopHeight)
	at := func(key, name string) {
		b.t.Helper()
		b.press(key)
		b.wait("the keyboard on "+name, fmt.Sprintf("document.activeElement.title === %q", name))
	}
	b.js("document.querySelector('.cell').focus()", nil)
	at(kb.End, "text.jpg")
	at(kb.Home, "100MEDIA/DJI_5.JPG")
	at(kb.ArrowRight, "100MEDIA/DJI_6.JPG")
	at(kb.ArrowUp, "100MEDIA/DJI_6.JPG") // there is no row above
	at(kb.ArrowDown, "100MEDIA/DJI_11.JPG")
	at(kb.ArrowDown, "100MEDIA/DJI_11.JPG")
	at(kb.PageUp, "100MEDIA/DJI_6.JPG")
	at(kb.PageDown, "100MEDIA/DJI_11.JPG")
	at(kb.ArrowRight, "cut.jpg")
	at(kb.ArrowLeft, "100MEDIA/DJI_11.JPG")
	b.press(kb.Enter)
	b.wait("the large view", "document.querySelector('dialog.large[open] h2')?.title === '100MEDIA/DJI_11.JPG'")
	b.press(kb.ArrowRight)
	b.wait("the next one", "document.querySelector('dialog.large[open] h2')?.title === 'cut.jpg'")
	b.press(kb.Escape)
	b.wait("the keyboard where one was", "!document.querySelector('dialog') && document.activeElement.title === 'cut.jpg'")
	// Deleted in the grid, its neighbour has the keyboard, and it can be taken back.
	at(kb.ArrowLeft, "100MEDIA/DJI_11.JPG")
	at(kb.Delete, "cut.jpg")
	b.wait("one less", "document.activeElement.closest('li')?.ariaPosInSet === '7' && document.activeElement.closest('li').ariaSetSize === '8'")
	b.clickText(".toast button", "Undo")
	b.wait("all of them", "document.querySelectorAll('.cell').length === 9")
	b.wait("the true places", "[...document.querySelectorAll('.grid > li')].every((li, i) => li.ariaPosInSet === String(i + 1) && li.ariaSetSize === '9')")
}

// look opens the large view of an image in sight.
func (b *browserPage) look(name string) {
	b.t.Helper()
	find := fmt.Sprintf("[...document.querySelectorAll('.cell')].find((c) => c.title === %q)", name)
	b.wait(name, find)
	b.js(find+".click()", nil) // a message may lie above it
	b.wait("the large view", "document.querySelector('dialog.large[open]')")
}

// picture waits until the large view shows an image itself, or what there is of it.
func (b *browserPage) picture(name string) {
	b.t.Helper()
	b.wait("the picture of "+name, fmt.Sprintf("document.querySelector('.large-shot > img')?.alt === %q", name))
}

// clickText presses the first element that a selector finds and that has a text in it.
func (b *browserPage) clickText(selector, text string) {
	b.t.Helper()
	find := fmt.Sprintf("[...document.querySelectorAll(%q)].find((e) => e.innerText.includes(%q))", selector, text)
	b.wait(text, find)
	b.js(find+".click()", nil)
}

// seedImages makes n rows of images, as if they had been uploaded and judged: some
// Invalid, the others Ready, all of them with a position. Their objects are nowhere.
const seedImages = `
INSERT INTO images (id, project_id, name, declared_sha1, declared_size, declared_type, state, attempt, filename, grants_end,
	bucket, etag, object_size, proven_sha1, proven_size, crc32, reasons, facts, created_at, started_at, uploaded_at, judged_at)
SELECT '01M8' || lpad(g::text, 22, '0'), $1, format('%sMEDIA/DJI_%s.JPG', 100 + g / 1000, lpad((g % 1000)::text, 4, '0')), d, size, 'image/jpeg', s, 1,
	encode(d, 'hex') || '.jpg', now(), 'Local', '"e"', size, d, size, 7,
	CASE WHEN s = 'Invalid' THEN ARRAY['truncated: the file ends after 848 of 2,250 rows'] ELSE '{}' END,
	jsonb_build_object('type', 'image/jpeg', 'proof', 'full', 'width', 5472, 'height', 3648,
		'taken', to_char(timestamp '2026-11-01 09:00' + g * interval '2 s', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		'gps', jsonb_build_object('lat', 22.3 + (g / 200) * 0.0001, 'lon', 114.17 + (CASE WHEN g / 200 % 2 = 0 THEN g % 200 ELSE 199 - g % 200 END) * 0.0001)),
	now(), now(), now(), now()
FROM generate_series(1, $2::int) g CROSS JOIN LATERAL (
	SELECT decode(md5(g::text) || '00000000', 'hex') AS d, 4000000 + g * 37 % 900000 AS size, CASE WHEN g % 100 = 0 THEN 'Invalid' ELSE 'Ready' END AS s) v`

// TestBrowserTwentyThousand: however many there are, only those in sight are on the
// page, and every one can be reached.
func TestBrowserTwentyThousand(t *testing.T) {
	const n = 20_000
	needBrowser(t)
	dsn, exec := onPostgres(t)
	s := start(t, dataFolder(t), "--database-url", dsn)
	pid := newProject(t, s, "recon")
	exec(seedImages, pid, n)
	b := newBrowser(t)
	b.signIn(s)
	b.open(s.url + "/projects/" + pid)
	b.wait("all of them", "document.querySelector('.gallery-line')?.innerText.startsWith('20,000 files')")
	most := func(what string) {
		t.Helper()
		var cells, elements int
		b.js("document.querySelectorAll('.cell').length", &cells)
		b.js("document.querySelectorAll('*').length", &elements)
		if cells == 0 || cells > 120 || elements > 2500 {
			t.Errorf("%s there are %d cells and %d elements on the page", what, cells, elements)
		}
	}
	most("at first")
	b.js("document.querySelector('.gallery-bar').scrollIntoView()", nil)
	b.shots("twenty-thousand")
	b.js("scrollTo(0, document.documentElement.scrollHeight)", nil)
	b.wait("the last one", "document.querySelector(`.cell[title='120MEDIA/DJI_0000.JPG']`)")
	most("at the end")
	b.allow("409.*/file.invalid=true") // there is no object
	b.look("120MEDIA/DJI_0000.JPG")
	b.wait("the place", "document.querySelector('.large .place').innerText === '20,000 of 20,000'")
	b.press(kb.Escape)
	// The keyboard is where one was; Home goes to the first.
	b.wait("the keyboard in the grid", "document.activeElement.title === '120MEDIA/DJI_0000.JPG'")
	b.press(kb.Home)
	b.wait("the first one", "document.activeElement.title === '100MEDIA/DJI_0001.JPG'")

	for order, first := range map[string]string{"taken": "100MEDIA/DJI_0001.JPG", "size": "100MEDIA/DJI_0001.JPG"} {
		b.js(fmt.Sprintf("(() => { const o = document.querySelector('.gallery-tools select'); o.value = %q; o.dispatchEvent(new Event('change')); })()", order), nil)
		b.wait("the order by "+order, fmt.Sprintf("new URLSearchParams(location.search).get('sort') === %q && document.querySelector('.cell').title === %q", order, first))
	}
	b.click(".gallery-tools > button") // the other way round
	b.wait("the largest first", "!['100MEDIA/DJI_0001.JPG', ''].includes(document.querySelector('.cell').title)")
	b.wait("the places in that order", "document.querySelector('.grid > li').ariaPosInSet === '1' && [...document.querySelectorAll('.grid > li')].every((li, i) => li.ariaPosInSet === String(i + 1))")
	b.sift("Invalid")
	b.wait("the Invalid ones", "document.querySelector('.gallery-line').innerText === '200 of 20,000'")
	b.wait("their number", "[...document.querySelectorAll('.grid > li')].every((li, i) => li.ariaPosInSet === String(i + 1) && li.ariaSetSize === '200')")
	// Whatever had the keyboard once, Tab leads to what is seen.
	b.wait("one stop", "document.querySelectorAll('.cell[tabindex=\"0\"]').length === 1")
	// All that a filter shows, away and back.
	b.click(".gallery-tools button[aria-label='Select several']")
	b.clickText(".pick-bar button", "All 200")
	b.shots("twenty-thousand-picked")
	b.click(".pick-bar [data-act=delete]")
	b.wait("the message", "[...document.querySelectorAll('.toast')].some((e) => e.innerText.includes('200 files are deleted.'))")
	b.wait("nothing that fits", "document.querySelector('.gallery-body .empty') && document.activeElement.dataset.state === 'Invalid'")
	b.clickText(".toast button", "Undo")
	b.wait("them again", "document.querySelector('.gallery-line').innerText === '200 of 20,000'")
	b.open(s.url + "/projects/" + pid + "?view=map")
	b.wait("all of them", "document.querySelector('.gallery-line')?.innerText.startsWith('20,000 files')")
	if label := "Where 20,000 images were taken"; !strings.Contains(b.attribute(".plot canvas", "aria-label"), label) {
		t.Errorf("the plot says %q", b.attribute(".plot canvas", "aria-label"))
	}
	b.js("document.querySelector('.plot').scrollIntoView()", nil)
	b.shots("twenty-thousand-map")
}

func (b *browserPage) attribute(selector, name string) (v string) {
	b.t.Helper()
	b.js(fmt.Sprintf("document.querySelector(%q)?.getAttribute(%q) ?? ''", selector, name), &v)
	return v
}
