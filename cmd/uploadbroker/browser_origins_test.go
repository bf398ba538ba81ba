package main

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// TestBrowserShowsOtherOrigins: thumbnails and photos that lie with an S3 server and
// with OSS are seen, though their links lead to other origins than the page's.
func TestBrowserShowsOtherOrigins(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	cloud := startS3(t, "east")
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, []byte("buckets:\n"+cloud.config("East", "east", "")))
	s := start(t, dataFolder(t), "--config", path, "--demo-oss")
	told := demoLine.FindStringSubmatch(s.out.String())
	if told == nil {
		t.Fatalf("the emulator is not told of:\n%s", s.out)
	}
	origins := map[string]string{"East": cloud.endpoint, demoSymbol: told[1]}
	seed := uint64(0)
	for bucket := range origins {
		files := map[string][]byte{}
		for i := range 3 {
			seed++
			files[fmt.Sprintf("%s-%d.jpg", bucket, i)] = photo(seed, 640, 480)
		}
		if code, out := s.client("upload", folder(t, files), "--new", "demo", "--bucket", bucket); code != 0 {
			t.Fatalf("upload ended with %d:\n%s", code, out)
		}
	}

	b := newBrowser(t)
	var mu sync.Mutex
	came := map[string]int{} // pictures, by the origin that they came from
	chromedp.ListenTarget(b.ctx, func(event any) {
		e, ok := event.(*network.EventResponseReceived)
		if !ok || !strings.HasPrefix(e.Response.MimeType, "image/") || e.Response.Status != 200 {
			return
		}
		if u, err := url.Parse(e.Response.URL); err == nil {
			mu.Lock()
			came[u.Scheme+"://"+u.Host]++
			mu.Unlock()
		}
	})
	b.do(network.Enable())
	b.signIn(s)
	b.open(s.url + "/projects/" + s.project("demo"))
	b.wait("all thumbnails", "document.querySelectorAll('.cell img.shown').length === 6")
	var widths []int
	b.js("[...document.querySelectorAll('.cell img.shown')].map((i) => i.complete ? i.naturalWidth : 0)", &widths)
	for _, w := range widths {
		if w == 0 {
			t.Errorf("the thumbnails are %v pixels wide", widths)
			break
		}
	}
	mu.Lock()
	for bucket, origin := range origins {
		if came[origin] != 3 {
			t.Errorf("of the bucket %s at %s came %d thumbnails: %v", bucket, origin, came[origin], came)
		}
	}
	mu.Unlock()
	for bucket := range origins {
		b.look(bucket + "-1.jpg")
		b.wait("the photo of "+bucket, "[...document.querySelectorAll('dialog.large[open] img')].some((i) => i.complete && i.naturalWidth === 640)")
		b.js("document.querySelector('dialog.large[open]').close()", nil)
	}
}
