package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
)

// lay writes one photo and drops it, as a person who chooses it, also once more.
func (b *browserPage) lay(t *testing.T, name string, data []byte) {
	t.Helper()
	b.drop("p", filepath.Join(folder(t, map[string][]byte{name: data}), name))
}

// imageOf is the server's number of the page's last file.
func (b *browserPage) imageOf() (id string) {
	b.t.Helper()
	b.js("uploader.files.at(-1).image.id", &id)
	return id
}

// tellOf lets the page learn of an image, as its server's events tell it.
func (b *browserPage) tellOf(s *server, pid, id string) {
	b.t.Helper()
	var image json.RawMessage
	if code := s.call("GET", "/v1/projects/"+pid+"/images/"+id, nil, &image); code != http.StatusOK {
		b.t.Fatalf("the image: %d", code)
	}
	b.js(fmt.Sprintf("uploader.observe([%s])", image), nil)
}

// TestUploaderAfterVerdicts: what becomes of images after their verdicts is told too,
// and what was removed is sent again when it is chosen again.
func TestUploaderAfterVerdicts(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := pageElsewhere(t, s, pid, "")
	after := func(times int, want ...outcome) {
		t.Helper()
		b.wait(fmt.Sprintf("%d times that all settled", times), fmt.Sprintf("settled.length === %d", times))
		if got := b.outcomes(); !slices.Equal(got, want) {
			t.Fatalf("the page tells of %v, not %v", got, want)
		}
	}
	remove := func(id string) {
		t.Helper()
		if code := s.call("DELETE", "/v1/projects/"+pid+"/images/"+id, nil, nil); code >= 300 {
			t.Fatalf("removing: %d", code)
		}
	}
	live := func() int {
		var list struct{ Images []struct{ ID string } }
		s.call("GET", "/v1/projects/"+pid+"/images", nil, &list)
		return len(list.Images)
	}

	// Removed without a word to the page, and chosen again.
	b.lay(t, "1.jpg", photo(1, 64, 48))
	one := outcome{"1.jpg", "ready", ""}
	after(1, one)
	remove(b.imageOf())
	b.lay(t, "1.jpg", photo(1, 64, 48))
	after(2, one, one)
	if n := live(); n != 1 {
		t.Fatalf("after it was chosen again there are %d images", n)
	}

	// A damaged one is not worth sending again; its owner takes it all the same.
	whole := photo(2, 320, 240)
	b.lay(t, "2.jpg", whole[:len(whole)*2/3])
	two := outcome{"2.jpg", "invalid", "truncated"}
	after(3, one, one, two)
	var again struct{ Retryable, Sent int }
	if b.js("({Retryable: uploader.totals.retryable, Sent: uploader.retryFailed()})", &again); again.Retryable != 0 || again.Sent != 0 {
		t.Errorf("of a damaged file it tells %+v", again)
	}
	damaged := b.imageOf()
	if code := s.call("POST", "/v1/projects/"+pid+"/images/"+damaged+"/accept", nil, nil); code != http.StatusOK {
		t.Fatalf("accepting: %d", code)
	}
	b.tellOf(s, pid, damaged)
	two = outcome{"2.jpg", "ready", ""}
	after(3, one, one, two)
	remove(damaged)
	b.tellOf(s, pid, damaged)
	two = outcome{"2.jpg", "failed", "removed"}
	after(3, one, one, two)
	if b.js("({Retryable: uploader.totals.retryable, Sent: uploader.retryFailed()})", &again); again.Retryable != 0 || again.Sent != 0 {
		t.Errorf("of a removed file it tells %+v", again)
	}
	s.call("POST", "/v1/projects/"+pid+"/images/"+damaged+"/undo", nil, nil)
	b.tellOf(s, pid, damaged)
	two = outcome{"2.jpg", "ready", ""}
	after(3, one, one, two)

	// What can be mended is sent again, and nothing else. The server has it Ready in
	// truth, so nothing goes over the line.
	for code, want := range map[string]int{
		"checksum_mismatch": 1, "size_mismatch": 1, "expired": 1, "unchecked": 1, "empty": 1,
		"truncated": 0, "corrupt": 0, "unsupported_format": 0, "too_many_pixels": 0, "too_large": 0,
	} {
		b.js(fmt.Sprintf("uploader.observe([{...uploader.files[1].image, state: 'Invalid', reasons: ['%s: so it is']}])", code), nil)
		var got int
		if b.js("uploader.totals.retryable", &got); got != want {
			t.Errorf("of %s it tells %d, not %d", code, got, want)
		}
	}
	b.js("uploader.observe([{...uploader.files[1].image, state: 'Invalid', reasons: ['checksum_mismatch: so it is']}])", nil)
	var n int
	if b.js("uploader.retryFailed()", &n); n != 1 {
		t.Errorf("%d files are sent again", n)
	}
	after(4, one, one, two)
}

// TestUploaderAsksInTurn: there is one question for verdicts at a time, also when files
// come meanwhile; what was removed before its verdict is told.
func TestUploaderAsksInTurn(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	s := start(t, dataFolder(t))
	pid := newProject(t, s, "recon")
	b := pageElsewhere(t, s, pid, "")
	b.js(fakeAnswers, nil)
	b.js("(fakes.done = Array(50).fill(503), held.check = new Promise((go) => { window.goOn = go; }), 1)", nil)
	b.lay(t, "1.jpg", photo(1, 64, 48))
	b.wait("the first question", "asked.check === 1")
	for i := range 3 {
		b.lay(t, fmt.Sprintf("%d.jpg", i+2), photo(uint64(i+2), 64, 48))
		b.wait("its bytes to be there", fmt.Sprintf("uploader.totals.states.uploaded === %d", i+2))
	}
	b.js("new Promise((done) => setTimeout(done, 2500))", nil) // longer than until another chain would ask
	var asked int
	if b.js("asked.check", &asked); asked != 1 {
		t.Errorf("%d questions for verdicts at once", asked)
	}
	if code := s.call("DELETE", "/v1/projects/"+pid+"/images/"+b.imageOf(), nil, nil); code >= 300 {
		t.Fatalf("removing: %d", code)
	}
	b.js("(goOn(), 1)", nil)
	b.wait("every verdict", "settled.length === 1")
	want := []outcome{{"1.jpg", "ready", ""}, {"2.jpg", "ready", ""}, {"3.jpg", "ready", ""}, {"4.jpg", "failed", "removed"}}
	if got := b.outcomes(); !slices.Equal(got, want) {
		t.Errorf("the page tells of %v, not %v", got, want)
	}
}
