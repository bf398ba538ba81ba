package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/api/client/clienttest"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	if me, err := b.c.Me(ctx); err != nil || me.Owner.Email != "owner@localhost" || len(me.Key.Scopes) != 3 {
		t.Errorf("Me: %+v %v", me, err)
	}
	if got, err := b.c.NearestBuckets(ctx); err != nil || len(got) != 1 || got[0].Symbol != "Local" {
		t.Errorf("NearestBuckets: %+v %v", got, err)
	}
	p, err := b.c.CreateProject(ctx, "tower", client.KindRecon)
	if err != nil || p.Name != "tower" || p.Kind != client.KindRecon {
		t.Fatalf("CreateProject: %+v %v", p, err)
	}
	if p, err := b.c.RemoveProject(ctx, p.ID); err != nil || p.UndoUntil == nil {
		t.Errorf("RemoveProject: %+v %v", p, err)
	}
	if p, err := b.c.UndoRemoveProject(ctx, p.ID); err != nil || p.UndoUntil != nil {
		t.Errorf("UndoRemoveProject: %+v %v", p, err)
	}
	entries := make([]client.Entry, 7)
	for i := range entries {
		entries[i] = client.Entry{Name: fmt.Sprintf("%d.jpg", i), SHA1: fmt.Sprintf("%040x", i+1), Size: 5}
	}
	results, err := b.c.Register(ctx, p.ID, "", entries)
	if err != nil || len(results) != 7 || results[6].Status != client.StatusGranted {
		t.Fatalf("Register: %+v %v", results, err)
	}
	id := results[0].Image.ID
	if r, err := b.c.Start(ctx, p.ID, []string{id, "01NONE"}); err != nil || r[0].Status != client.StatusOK || r[1].Problem.Code != "not_found" {
		t.Errorf("Start: %+v %v", r, err)
	}
	if r, err := b.c.Done(ctx, p.ID, []string{id}); err != nil || r[0].Status != client.StatusOK {
		t.Errorf("Done: %+v %v", r, err)
	}
	if r, err := b.c.Regrant(ctx, p.ID, "", []string{id}); err != nil || r[0].Grant == nil {
		t.Errorf("Regrant: %+v %v", r, err)
	}
	if r, err := b.c.Check(ctx, p.ID, []string{entries[0].SHA1, strings.Repeat("f", 40)}); err != nil || r[0].Status != client.StatusOpen || r[1].Status != client.StatusAbsent {
		t.Errorf("Check: %+v %v", r, err)
	}
	if im, err := b.c.Image(ctx, p.ID, id); err != nil || im.ID != id || len(im.History) != 1 || len(im.History[0].Raw) == 0 {
		t.Errorf("Image: %+v %v", im, err)
	}
	if im, err := b.c.RemoveImage(ctx, p.ID, id); err != nil || im.State != client.StateRemoved {
		t.Errorf("RemoveImage: %+v %v", im, err)
	}
	if im, err := b.c.UndoRemoveImage(ctx, p.ID, id); err != nil || im.State == client.StateRemoved {
		t.Errorf("UndoRemoveImage: %+v %v", im, err)
	}
	var refused *client.Error
	if _, err := b.c.AcceptImage(ctx, p.ID, id); !errors.As(err, &refused) || refused.Code != "conflict" {
		t.Errorf("AcceptImage of one that is Uploading: %v", err)
	}
	page, err := b.c.Images(ctx, p.ID, "", client.Page{Limit: 3})
	if err != nil || len(page.Images) != 3 || page.NextCursor == "" {
		t.Errorf("Images: %+v %v", page, err)
	}
	n := 0
	for _, err := range b.c.AllImages(ctx, p.ID, client.StateUploading) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 7 {
		t.Errorf("AllImages: %d, want 7", n)
	}
	if got, err := b.c.Project(ctx, p.ID); err != nil || got.Counts[client.StateUploading] != 7 {
		t.Errorf("Project: %+v %v", got, err)
	}
	var e *client.Error
	if _, err := b.c.Project(ctx, "01NONE"); !errors.As(err, &e) || e.Code != "not_found" || e.HTTPStatus != 404 {
		t.Errorf("an unknown project: %v", err)
	}
}

func TestFindProject(t *testing.T) {
	t.Parallel()
	b := newBench(t) // has "roof"
	tower, twin := b.Project("tower"), b.Project("tower")
	var many *client.AmbiguousError
	var none *client.NoProjectError
	if p, err := b.c.FindProject(t.Context(), "roof"); err != nil || p.ID != b.pid {
		t.Errorf("by name: %+v %v", p, err)
	}
	if p, err := b.c.FindProject(t.Context(), tower.ID); err != nil || p.ID != tower.ID {
		t.Errorf("by id: %+v %v", p, err)
	}
	if p, err := b.c.FindProject(t.Context(), twin.ID[:14]); err != nil || p.ID != twin.ID {
		t.Errorf("by prefix: %+v %v", p, err)
	}
	if _, err := b.c.FindProject(t.Context(), "tower"); !errors.As(err, &many) || len(many.Candidates) != 2 {
		t.Errorf("two of a name: %v", err)
	}
	if _, err := b.c.FindProject(t.Context(), "01"); !errors.As(err, &many) || len(many.Candidates) != 3 {
		t.Errorf("a short prefix: %v", err)
	}
	named := b.Project("01") // a name that begins every id
	if p, err := b.c.FindProject(t.Context(), "01"); err != nil || p.ID != named.ID {
		t.Errorf("an exact name before prefixes: %+v %v", p, err)
	}
	if _, err := b.c.FindProject(t.Context(), "castle"); !errors.As(err, &none) {
		t.Errorf("none: %v", err)
	}
}

// A project is made once, even if the answer to its making is lost.
func TestProjectNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if p, made, err := b.c.ProjectNamed(t.Context(), "roof", ""); err != nil || made || p.ID != b.pid {
		t.Errorf("one that is there: %+v %v %v", p, made, err)
	}
	var lost atomic.Bool
	b.Change(func(s *clienttest.Server) {
		s.API = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost && lost.CompareAndSwap(false, true) {
				b.Project("tower") // it was made,
				clienttest.Cut(w, r, 0)
				return true // but nobody heard of it
			}
			return false
		}
	})
	if p, _, err := b.c.ProjectNamed(t.Context(), "tower", ""); err != nil || p.Name != "tower" {
		t.Fatalf("%+v %v", p, err)
	}
	if page, err := b.c.Projects(t.Context(), "tower", client.Page{}); err != nil || len(page.Projects) != 1 {
		t.Errorf("%d projects of that name, want 1 (%v)", len(page.Projects), err)
	}
}

func TestCreateIsNotRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.API = func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "bad gateway", http.StatusBadGateway)
		return true
	}
	if _, err := b.c.CreateProject(t.Context(), "x", ""); err == nil || b.Calls("create") != 1 {
		t.Errorf("%d calls, %v", b.Calls("create"), err)
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	c, err := client.New("http://127.0.0.1:1", "key")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := c.Me(t.Context()); !client.IsUnreachable(err) || time.Since(began) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestAnswersOfOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.API = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/me") {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<h1>Welcome to the hotel</h1>")
		} else {
			http.Redirect(w, r, "https://elsewhere.example/login", http.StatusFound)
		}
		return true
	}
	if _, err := b.c.Me(t.Context()); err == nil || !strings.Contains(err.Error(), "instead of JSON") {
		t.Errorf("a page: %v", err)
	}
	if _, err := b.c.NearestBuckets(t.Context()); err == nil || !strings.Contains(err.Error(), "elsewhere.example") {
		t.Errorf("a redirect: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range [][2]string{
		{"", "k"}, {"127.0.0.1:8080", "k"}, {"ftp://x", "k"}, {"http://", "k"}, {"http://u:p@h", "k"}, {"http://h?q=1", "k"},
		{"http://h", ""}, {"http://h", "two words"}, {"http://h", "a\nb"},
	} {
		if _, err := client.New(in[0], in[1]); err == nil {
			t.Errorf("%q is taken", in)
		}
	}
	for _, in := range []string{"http://h", "http://h/", "https://h/up/", "http://h/v1"} {
		c, err := client.New(in, "k")
		if err != nil {
			t.Errorf("%q: %v", in, err)
		} else if strings.HasSuffix(c.Server(), "/") || strings.HasSuffix(c.Server(), "v1") {
			t.Errorf("%q becomes %q", in, c.Server())
		}
	}
}
