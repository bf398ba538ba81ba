package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browserPage is a page in a browser of its own, which a person without a session
// has just opened. What goes wrong in it fails the test: exceptions, what the
// Content-Security-Policy refuses, files that are not there.
type browserPage struct {
	t   testing.TB
	ctx context.Context

	mu      sync.Mutex
	faults  []string
	allowed []*regexp.Regexp
}

// Sizes of screens.
const (
	desktopWidth, desktopHeight = 1280, 900
	phoneWidth, phoneHeight     = 360, 740
)

// lanName is this machine as browsers see one in the LAN: over plain http it is no
// secure context, and much is missing there (WebCrypto, Sec-Fetch-Site).
const lanName = "uploadbroker.lan"

// inLAN is the server as a browser reaches it by that name.
func (s *server) inLAN() *server {
	return &server{t: s.t, key: s.key, url: strings.Replace(s.url, "127.0.0.1", lanName, 1)}
}

// needBrowser finds Debian's chromium. Without one the test is left out.
func needBrowser(t testing.TB) (path string) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if requires("chromium") {
			t.Fatal(err)
		}
		t.Skipf("no browser, `make setup` installs it, set REQUIRE=chromium to make this a failure: %v", err)
	}
	return path
}

// newBrowser starts a browser. Start the servers before: it ends before they do,
// or its page would say that they are away.
func newBrowser(t testing.TB) *browserPage {
	t.Helper()
	browser := needBrowser(t)
	// Its last processes may still write when the first is gone.
	home, err := os.MkdirTemp("", "uploadbroker-browser-")
	if err != nil {
		t.Fatal(err)
	}
	var first *exec.Cmd
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(browser), chromedp.UserDataDir(filepath.Join(home, "profile")),
		chromedp.Flag("headless", "new"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.WindowSize(desktopWidth, desktopHeight), chromedp.WSURLReadTimeout(patience),
		chromedp.Env("HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home),
		chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has many processes
			first = cmd
		}),
	}
	for flag, value := range map[string]any{
		"disable-quic": true, "disable-background-networking": true, "disable-component-update": true, "disable-sync": true,
		"host-resolver-rules": "MAP " + lanName + " 127.0.0.1", "disable-dev-shm-usage": true, "disable-extensions": true, "hide-scrollbars": true, "lang": "en-US", "accept-lang": "en-US",
		"disable-background-timer-throttling": true, "disable-renderer-backgrounding": true, "disable-backgrounding-occluded-windows": true,
	} {
		options = append(options, chromedp.Flag(flag, value))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	// A browser that is newer than chromedp says things that it does not know.
	quiet := func(string, ...any) {}
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(quiet), chromedp.WithLogf(quiet))
	b := &browserPage{t: t, ctx: ctx}
	t.Cleanup(func() {
		b.told()
		cancel()
		stop()
		if first != nil && first.Process != nil {
			_ = syscall.Kill(-first.Process.Pid, syscall.SIGKILL)
		}
		_ = os.RemoveAll(home)
	})
	chromedp.ListenTarget(ctx, b.listen)
	b.do(log.Enable(), runtime.Enable(), page.SetBypassCSP(false))
	b.size(desktopWidth, desktopHeight)
	return b
}

// listen notes what a person would see in the browser's console.
func (b *browserPage) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		b.fault("exception: " + text)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError {
			b.fault(fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *page.EventJavascriptDialogOpening:
		b.fault("dialog: " + e.Message)
		go func() { _ = chromedp.Run(b.ctx, page.HandleJavaScriptDialog(true)) }() // not in the listener, which would wait for itself
	}
}

func (b *browserPage) fault(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.allowed {
		if a.MatchString(text) {
			return
		}
	}
	b.faults = append(b.faults, text)
}

// allow lets the page have faults of a kind, which the test provokes.
func (b *browserPage) allow(pattern string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = append(b.allowed, regexp.MustCompile(pattern))
}

// told fails the test for what went wrong in the page until now.
func (b *browserPage) told() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		b.t.Errorf("in the page: %s", f)
	}
	b.faults = nil
}

func (b *browserPage) do(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if first := chromedp.FromContext(b.ctx); first.Browser == nil {
		ctx = b.ctx // the first run starts the browser, which ends with its context
	}
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.t.Fatalf("the browser: %v", err)
	}
}

// open goes to an address and waits until the page is loaded.
func (b *browserPage) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// js evaluates an expression, waits for it where it is a promise, and decodes its
// value into out, which may be nil.
func (b *browserPage) js(expression string, out any) {
	b.t.Helper()
	if err := b.evaluate(expression, out); err != nil {
		b.t.Fatalf("the browser: %v", err)
	}
}

func (b *browserPage) evaluate(expression string, out any) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var text string
	err := chromedp.Run(ctx, chromedp.Evaluate("(async () => JSON.stringify(await ("+expression+")) ?? 'null')()", &text,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		return fmt.Errorf("%s is %s: %w", expression, text, err)
	}
	return nil
}

// leaving matches what the browser answers when the page that was asked is just making
// room for the next one.
var leaving = regexp.MustCompile(`Inspected target navigated or closed|Execution context was destroyed|Cannot find context`)

// text is what a person reads in an element.
func (b *browserPage) text(selector string) (s string) {
	b.t.Helper()
	b.js(fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector), &s)
	return s
}

// wait waits until an expression is true.
func (b *browserPage) wait(what, condition string) {
	b.t.Helper()
	for began := time.Now(); ; time.Sleep(30 * time.Millisecond) {
		var ok bool
		if err := b.evaluate("Boolean("+condition+")", &ok); err != nil && !leaving.MatchString(err.Error()) {
			b.t.Fatalf("the browser: %v", err)
		}
		if ok {
			return
		}
		if time.Since(began) > patience {
			b.inVain(what)
		}
	}
}

// click presses the first element that a selector finds, with the mouse.
func (b *browserPage) click(selector string) {
	b.t.Helper()
	x, y := b.spot(selector)
	b.do(chromedp.MouseClickXY(x, y))
}

// spot is the middle of the first element that a selector finds, where a pointer meets
// it: brought into sight, when it stands still, for what comes late moves what is below,
// and nothing lies above it.
func (b *browserPage) spot(selector string) (x, y float64) {
	b.t.Helper()
	var at []float64
	ask := fmt.Sprintf(`(async () => {
		let block = "nearest";
		let before = "";
		for (let still = 0; still < 3;) {
			await new Promise((drawn) => requestAnimationFrame(drawn));
			const e = document.querySelector(%q);
			if (!e?.checkVisibility()) return null;
			e.scrollIntoView({ block, behavior: "instant" });
			const r = e.getBoundingClientRect();
			const at = [r.x + r.width / 2, r.y + r.height / 2];
			const top = document.elementFromPoint(...at);
			if (!e.contains(top)) { // a bar that stays where it is may lie above it
				if (block === "center") return null;
				block = "center";
				continue;
			}
			still = before === at.join() ? still + 1 : 0;
			before = at.join();
			if (still === 3) return at;
		}
	})()`, selector)
	for began := time.Now(); ; time.Sleep(30 * time.Millisecond) {
		if err := b.evaluate(ask, &at); err != nil && !leaving.MatchString(err.Error()) {
			b.t.Fatalf("the browser: %v", err)
		}
		if len(at) == 2 {
			return at[0], at[1]
		}
		if time.Since(began) > patience {
			b.inVain(selector + " to be pressed")
		}
	}
}

// size is the screen's; below 600 pixels it is a phone's.
func (b *browserPage) size(width, height int64) {
	b.t.Helper()
	b.do(emulation.SetDeviceMetricsOverride(width, height, 1, width < 600))
}

// scheme makes the system dark or light.
func (b *browserPage) scheme(name string) {
	b.t.Helper()
	b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}))
}

// artefacts is the folder for pictures of pages, UPLOADBROKER_ARTEFACTS, or empty:
// then none are taken.
func artefacts() string { return os.Getenv("UPLOADBROKER_ARTEFACTS") }

// shot keeps a picture of what is seen.
func (b *browserPage) shot(name string) {
	b.t.Helper()
	if artefacts() == "" {
		return
	}
	var png []byte
	b.do(chromedp.CaptureScreenshot(&png))
	write(b.t, filepath.Join(artefacts(), name+".png"), png)
}

// inVain is the end of a test that waited for something: what is seen is kept and told.
func (b *browserPage) inVain(what string) {
	b.t.Helper()
	b.shot(strings.ReplaceAll(b.t.Name(), "/", "-") + "-waited-in-vain")
	b.told()
	b.t.Fatalf("waited in vain for %s; the page says:\n%s", what, b.text("body"))
}

// shots keeps a picture of the page on a desktop and on a phone, where nothing may
// stand out at the side, in light and dark.
func (b *browserPage) shots(name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		if scheme == "dark" && artefacts() == "" {
			break // boxes have the same sizes
		}
		b.scheme(scheme)
		b.size(phoneWidth, phoneHeight)
		b.fits(name)
		b.shot(name + "-phone-" + scheme)
		b.size(desktopWidth, desktopHeight)
		b.fits(name)
		b.shot(name + "-desktop-" + scheme)
	}
	b.scheme("light")
}

// fits fails the test when the page is wider than the screen.
func (b *browserPage) fits(name string) {
	b.t.Helper()
	var width struct{ Page, Screen int }
	b.js("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(() => "+
		"r({Page: document.documentElement.scrollWidth, Screen: document.documentElement.clientWidth}))))", &width)
	if width.Page > width.Screen {
		var who []string
		b.js("[...document.body.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)"+
			".slice(0, 8).map((e) => e.tagName + '.' + e.className)", &who)
		b.t.Errorf("%s: the page is %d pixels wide on a screen of %d: %s", name, width.Page, width.Screen, strings.Join(who, " "))
	}
}

// choose gives an input the files that a person would choose; of an input for
// folders, a folder.
func (b *browserPage) choose(selector string, paths ...string) {
	b.t.Helper()
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		object, _, err := runtime.Evaluate(fmt.Sprintf("document.querySelector(%q)", selector)).Do(ctx)
		if err != nil {
			return err
		}
		return dom.SetFileInputFiles(paths).WithObjectID(object.ObjectID).Do(ctx)
	}))
}

// drop lets files and folders fall onto the middle of an element.
func (b *browserPage) drop(selector string, paths ...string) {
	b.t.Helper()
	var at struct{ X, Y float64 }
	b.js(fmt.Sprintf("(() => { const r = document.querySelector(%q).getBoundingClientRect(); "+
		"return {X: r.x + r.width / 2, Y: r.y + r.height / 2}; })()", selector), &at)
	data := &input.DragData{Items: []*input.DragDataItem{}, Files: paths, DragOperationsMask: 1}
	for _, kind := range []input.DispatchDragEventType{input.DragEnter, input.DragOver, input.Drop} {
		b.do(input.DispatchDragEvent(kind, at.X, at.Y, data))
	}
}

// signIn shows the server's key on its page.
func (b *browserPage) signIn(s *server) {
	b.t.Helper()
	b.open(s.url + "/sign-in")
	b.do(chromedp.SendKeys("#key", s.key, chromedp.ByQuery))
	b.click("#sign-in button")
	b.wait("the first page", "location.pathname === '/' && document.readyState === 'complete'")
}

// setCookie gives the browser a cookie, as a person's earlier choice.
func setCookie(url, name, value string) chromedp.Action {
	return network.SetCookie(name, value).WithURL(url)
}
