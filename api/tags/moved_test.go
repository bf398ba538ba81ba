package tags

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// tag finds a tag's project.
func (f *fixture) tag(t *testing.T, name string) broker.Project {
	t.Helper()
	p, err := f.store.TagByName(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *fixture) remove(t *testing.T, p broker.Project) {
	t.Helper()
	if _, err := f.store.RemoveProject(t.Context(), p.ID, time.Now(), time.Now().Add(time.Minute), mustCaller(t, f)); err != nil {
		t.Fatal(err)
	}
}

// A file on its way goes to the tag that has the name when it has come: to a new one where
// the tag was removed, and to the one that came back where it was not.
func TestFileOfAMovedTag(t *testing.T) {
	f := open(t)
	for _, c := range []struct {
		about, tag, key string
		moves           func(p broker.Project) (finally func())
	}{
		{"removed, anybody's", "open", "", func(p broker.Project) func() {
			return func() { f.remove(t, p) }
		}},
		{"removed, an owner's", "mine", f.firstKey, func(p broker.Project) func() {
			return func() { f.remove(t, p) }
		}},
		{"another was made meanwhile", "wall", "", func(p broker.Project) func() {
			return func() {
				f.remove(t, p)
				f.put(t, "/upload/wall/quick.jpg", "", "quick").want(t, http.StatusCreated)
			}
		}},
		{"came back", "open", "", func(p broker.Project) func() {
			f.remove(t, p)
			if _, err := f.tags.Get(t.Context(), broker.Caller{}, "open"); err != nil { // makes an empty one
				t.Fatal(err)
			}
			return func() {
				if _, err := f.store.UndoRemoveProject(t.Context(), p.ID, time.Now(), mustCaller(t, f)); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(c.about, func(t *testing.T) {
			f.put(t, "/upload/"+c.tag+"/0.jpg", c.key, c.about).want(t, http.StatusCreated)
			old := f.tag(t, c.tag)
			finally := c.moves(old)
			sent := f.tag(t, c.tag)
			name, body := c.about+".jpg", "moved: "+c.about
			send := f.letIn(t, "/upload/"+c.tag+"/?filename="+url.QueryEscape(name), c.key, len(body))
			finally()
			status, _, text := send(body)
			var got Record
			if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusCreated {
				t.Fatalf("%d: %s", status, text)
			}
			if img := f.image(t, c.tag, got.ID); img.Name != name || f.content(t, img) != body || !strings.HasSuffix(got.URL, "/tags/"+c.tag+"/files/"+img.ID) {
				t.Errorf("kept is %+v at %s", img, got.URL)
			}
			if now := f.tag(t, c.tag); (now.ID == old.ID) != (c.about == "came back") {
				t.Errorf("it is in %s, was sent to %s of %s", now.ID, sent.ID, old.ID)
			}
			for key := range f.everything(t) {
				if sent.ID != old.ID && strings.Contains(key, sent.ID) || strings.HasPrefix(key, "unfinished") {
					t.Errorf("%s was left", key)
				}
			}
		})
	}
}

// Where it can't be brought there, programs are told to send it again.
func TestFileThatCanNotBeMoved(t *testing.T) {
	f := open(t, func(f *fixture, _ *Options) { f.tags.Policy.QuotaBytes = 12 })
	f.put(t, "/upload/open/0.jpg", "", "nine byte").want(t, http.StatusCreated)
	old := f.tag(t, "open")
	f.remove(t, old)
	if _, err := f.tags.Get(t.Context(), broker.Caller{}, "open"); err != nil {
		t.Fatal(err)
	}
	fresh := f.tag(t, "open")
	send := f.letIn(t, "/upload/open/a.jpg", "", len("moved"))
	if _, err := f.store.UndoRemoveProject(t.Context(), old.ID, time.Now(), mustCaller(t, f)); err != nil {
		t.Fatal(err)
	}
	if status, _, text := send("moved"); status != http.StatusInsufficientStorage { // it was sent to one that was empty
		t.Errorf("%d: %s", status, text)
	}

	place := f.place()
	place.Reader = nil
	f.images.Places.Replace(broker.ConfiguredOrder{}, place)
	f.put(t, "/upload/wall/0.jpg", "", "x").want(t, http.StatusCreated)
	wall := f.tag(t, "wall")
	send = f.letIn(t, "/upload/wall/a.jpg", "", len("moved"))
	f.remove(t, wall)
	if status, header, text := send("moved"); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("%d %v: %s", status, header, text)
	}
	left := 0
	for key := range f.everything(t) {
		if strings.Contains(key, fresh.ID) || strings.HasPrefix(key, "unfinished") {
			t.Errorf("%s was left", key)
		}
		if strings.Contains(key, wall.ID) {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d objects are left of the tag that was removed", left)
	}
}
