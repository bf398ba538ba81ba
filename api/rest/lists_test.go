package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// pages follows cursors through pages of one and gives the ids in their order.
func (f *fixture) pages(t *testing.T, path string) []string {
	t.Helper()
	var ids []string
	for cursor := ""; ; {
		var page struct {
			Images     []Image   `json:"images"`
			Projects   []Project `json:"projects"`
			NextCursor string    `json:"next_cursor"`
		}
		f.ok(t, http.MethodGet, path+"&limit=1&cursor="+cursor, nil, &page)
		for _, i := range page.Images {
			ids = append(ids, i.ID)
		}
		for _, p := range page.Projects {
			ids = append(ids, p.ID)
		}
		if len(page.Images)+len(page.Projects) > 1 {
			t.Fatalf("a page of %d", len(page.Images)+len(page.Projects))
		}
		if page.NextCursor == "" {
			return ids
		}
		cursor = page.NextCursor
		if len(ids) > 100 {
			t.Fatal("the pages do not end")
		}
	}
}

func TestListImages(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	byState := map[string][]string{}
	var all []string
	add := func(state string, img broker.Image) {
		byState[state] = append(byState[state], img.ID)
		if state != "Removed" {
			all = append(all, img.ID)
		}
	}
	for i := range 3 {
		pending := f.register(t, pid, entry(fmt.Sprint("pending", i), "start", false))[0].Image
		add("Pending", broker.Image{ID: pending.ID})
		uploading := f.register(t, pid, entry(fmt.Sprint("uploading", i)))[0].Image
		add("Uploading", broker.Image{ID: uploading.ID})
		img := f.newImage(t, pid, fmt.Sprint("uploaded", i))
		f.see(t, img)
		add("Uploaded", img)
		img = f.newImage(t, pid, fmt.Sprint("ready", i))
		f.judge(t, img)
		add("Ready", img)
		img = f.newImage(t, pid, fmt.Sprint("invalid", i))
		f.judge(t, img, broker.Reasonf(broker.ReasonTruncated, "the scan ends after 1,204 of 2,250 rows"))
		add("Invalid", img)
		img = f.newImage(t, pid, fmt.Sprint("removed", i))
		f.ok(t, http.MethodDelete, "/v1/projects/"+pid+"/images/"+img.ID, nil, nil)
		add("Removed", img)
	}
	path := "/v1/projects/" + pid + "/images?"
	slices.Sort(all)
	if got := f.pages(t, path); !slices.Equal(got, all) {
		t.Errorf("all: %v, want %v", got, all)
	}
	for state, want := range byState {
		slices.Sort(want)
		if got := f.pages(t, path+"state="+state); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", state, got, want)
		}
	}

	// A page exactly as long as the list is the last one.
	var page ImagePage
	f.ok(t, http.MethodGet, path+"limit=15", nil, &page)
	if len(page.Images) != 15 || page.NextCursor != "" {
		t.Errorf("%d images, cursor %q", len(page.Images), page.NextCursor)
	}
	f.ok(t, http.MethodGet, path+"limit=14", nil, &page)
	if len(page.Images) != 14 || page.NextCursor != page.Images[13].ID {
		t.Errorf("%d images, cursor %q", len(page.Images), page.NextCursor)
	}
	f.ok(t, http.MethodGet, path+"state=Invalid", nil, &page)
	if got := page.Images[0].Reasons; len(got) != 1 || got[0] != "truncated: the scan ends after 1,204 of 2,250 rows" {
		t.Errorf("reasons %q", got)
	}

	var p Project
	f.ok(t, http.MethodGet, "/v1/projects/"+pid, nil, &p)
	for _, state := range []string{"Pending", "Uploading", "Uploaded", "Ready", "Invalid"} {
		if n, told := p.Counts[state]; !told || n != 3 {
			t.Errorf("%s is counted %d (told: %t)", state, n, told)
		}
	}
	if _, told := p.Counts["Removed"]; told {
		t.Error("removed ones are counted")
	}
}

func TestListProjects(t *testing.T) {
	f := open(t)
	var ids []string
	for i := range 4 {
		p, err := f.projects.Create(t.Context(), f.by, fmt.Sprint("project ", i%2), broker.KindFiles)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.ID)
		time.Sleep(2 * time.Millisecond) // ids of one millisecond have no order
	}
	slices.Reverse(ids)
	if got := f.pages(t, "/v1/projects?"); !slices.Equal(got, ids) {
		t.Errorf("%v, want the newest first: %v", got, ids)
	}
	if got := f.pages(t, "/v1/projects?q=project%201"); !slices.Equal(got, []string{ids[0], ids[2]}) {
		t.Errorf("by name: %v", got)
	}
	if got := f.pages(t, "/v1/projects?q="+ids[1]); !slices.Equal(got, ids[1:2]) {
		t.Errorf("by id: %v", got)
	}
	if got := f.pages(t, "/v1/projects?q="+ids[1][:25]); !slices.Contains(got, ids[1]) {
		t.Errorf("by a prefix: %v", got)
	}
	for _, q := range []string{"project", "%25", "_", "PROJECT%201", "x%27%20or%201%3D1"} {
		if got := f.pages(t, "/v1/projects?q="+q); len(got) != 0 {
			t.Errorf("%s finds %v", q, got)
		}
	}
	var p Project
	f.ok(t, http.MethodGet, "/v1/projects/"+ids[0], nil, &p)
	if p.Kind != "files" || p.Name != "project 1" || p.CreatedAt.IsZero() || p.RemovedAt != nil {
		t.Errorf("%+v", p)
	}
}

// TestOneImage: the record with its story, and the removal of it with its undo.
func TestOneImage(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := f.newImage(t, pid, "story")
	path := "/v1/projects/" + pid + "/images/" + img.ID
	f.judge(t, img)
	var got ImageWithHistory
	story := func() (actions []string) {
		f.ok(t, http.MethodGet, path, nil, &got)
		for _, h := range got.History {
			if h.At.IsZero() || h.Action == "" || len(h.Detail) == 0 || h.Detail[0] != '{' {
				t.Errorf("a line of the story: %+v", h)
			}
			if byOwner := h.Action == "image.register" || h.Action == "image.remove" || h.Action == "image.undo"; byOwner != (h.Owner == f.owner.ID) || byOwner != (h.Key == f.by.Key.ID) {
				t.Errorf("%s by %q with %q", h.Action, h.Owner, h.Key)
			}
			actions = append(actions, h.Action)
		}
		return actions
	}
	before := story()
	if len(before) < 3 || before[0] != "image.register" {
		t.Errorf("the story: %v", before)
	}
	if got.State != "Ready" || got.Facts.Width != 30 || *got.ProvenSize != 5 || got.JudgedAt == nil {
		t.Errorf("%+v", got.Image)
	}

	var removed Image
	for range 2 { // removing it again is no error
		f.ok(t, http.MethodDelete, path, nil, &removed)
		if removed.State != "Removed" || removed.RemovedAt == nil || removed.UndoUntil == nil || removed.UndoUntil.Sub(*removed.RemovedAt) != broker.UndoWindow {
			t.Errorf("%+v", removed)
		}
	}
	f.ok(t, http.MethodGet, path, nil, &got)
	if got.State != "Removed" {
		t.Errorf("%+v", got.Image)
	}
	for _, action := range []string{"start", "done", "regrant"} {
		if r := f.batch(t, pid, action, img.ID)[0]; r.Status != "problem" || r.Problem.Code != broker.CodeNotFound {
			t.Errorf("%s of a removed image: %+v", action, r)
		}
	}
	var undone Image
	for range 2 { // as is taking it back again
		f.ok(t, http.MethodPost, path+"/undo", nil, &undone)
		if undone.State != "Ready" || undone.RemovedAt != nil || undone.UndoUntil != nil || undone.SHA1 != img.SHA1.String() {
			t.Errorf("%+v", undone)
		}
	}
	after := story()
	if want := append(before, "image.remove", "image.undo"); !slices.Equal(after, want) {
		t.Errorf("the story: %v, want %v", after, want)
	}

	// The same file registered while it is removed takes its place: no undo then.
	f.ok(t, http.MethodDelete, path, nil, nil)
	twin := f.register(t, pid, entry("story"))[0]
	if twin.Status != "granted" || twin.Image.ID == img.ID || twin.Image.Filename == got.Filename {
		t.Errorf("%+v", twin)
	}
	a := f.call(t, f.secret, http.MethodPost, path+"/undo", nil)
	if a.status != http.StatusConflict || a.problem(t).Code != broker.CodeConflict {
		t.Errorf("%d %s", a.status, a.body)
	}

	// After ten minutes it can't be taken back.
	late := f.newImage(t, pid, "late")
	f.ok(t, http.MethodDelete, "/v1/projects/"+pid+"/images/"+late.ID, nil, nil)
	f.images.Now = func() time.Time { return time.Now().Add(broker.UndoWindow + time.Second) }
	a = f.call(t, f.secret, http.MethodPost, "/v1/projects/"+pid+"/images/"+late.ID+"/undo", nil)
	if a.status != http.StatusConflict || a.problem(t).Code != broker.CodeUndoEnded {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestRemoveProject(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := f.newImage(t, pid, "one")
	path := "/v1/projects/" + pid
	var p Project
	for range 2 {
		f.ok(t, http.MethodDelete, path, nil, &p)
		if p.RemovedAt == nil || p.UndoUntil == nil || p.UndoUntil.Sub(*p.RemovedAt) != broker.UndoWindow {
			t.Errorf("%+v", p)
		}
	}
	if got := f.pages(t, "/v1/projects?"); len(got) != 0 {
		t.Errorf("a removed project is listed: %v", got)
	}
	// All but its removal, its undo and its audit find nothing there.
	f.unchanged(t, "a call for a removed project", func() {
		for _, op := range f.operations(t) {
			if !strings.Contains(op.path, "{pid}") || op.ID == "removeProject" || op.ID == "undoRemoveProject" || op.ID == "listAudit" {
				continue
			}
			a := f.call(t, f.secret, op.method, op.at(pid, img.ID), sampleBody(t, op, img.ID))
			if a.status != http.StatusNotFound || a.problem(t).Code != broker.CodeNotFound {
				t.Errorf("%s: %d %s", op.ID, a.status, a.body)
			}
		}
	})
	for range 2 {
		var back Project
		f.ok(t, http.MethodPost, path+"/undo", nil, &back)
		if back.ID != pid || back.RemovedAt != nil || back.UndoUntil != nil {
			t.Errorf("%+v", back)
		}
	}
	var got ImageWithHistory
	f.ok(t, http.MethodGet, path+"/images/"+img.ID, nil, &got)
	if got.State != "Uploading" && got.State != "Pending" {
		t.Errorf("%+v", got.Image)
	}

	f.ok(t, http.MethodDelete, path, nil, nil)
	f.projects.Now = func() time.Time { return time.Now().Add(broker.UndoWindow + time.Second) }
	a := f.call(t, f.secret, http.MethodPost, path+"/undo", nil)
	if a.status != http.StatusConflict || a.problem(t).Code != broker.CodeUndoEnded {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestHEAD is answered wherever GET is, with GET's headers and no body.
func TestHEAD(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	paths := []string{"/healthz", "/readyz", "/openapi.json", "/docs/", "/", "/sign-in", "/static/page.css"}
	for _, op := range f.operations(t) {
		if op.method == http.MethodGet && op.success(t) == http.StatusOK { // for a link see TestThumbnail
			own := f.newProject(t)
			paths = append(paths, op.at(own, f.sampleImage(t, op, own).ID))
		}
	}
	for _, path := range paths {
		get, head := f.call(t, f.secret, http.MethodGet, path, nil), f.call(t, f.secret, http.MethodHead, path, nil)
		if head.status != http.StatusOK || get.status != http.StatusOK || len(head.body) != 0 || len(get.body) == 0 ||
			head.header.Get("Content-Type") != get.header.Get("Content-Type") || head.op != get.op {
			t.Errorf("%s: HEAD %d %v, GET %d", path, head.status, head.header, get.status)
		}
	}
	for path, status := range map[string]int{"/v1/nothing": 404, "/v1/projects/" + pid + "/undo": 405} {
		if a := f.call(t, f.secret, http.MethodHead, path, nil); a.status != status || len(a.body) != 0 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := f.call(t, "", http.MethodHead, "/v1/me", nil); a.status != http.StatusUnauthorized {
		t.Errorf("without a key: %d", a.status)
	}
}

// TestCORS: pages of other origins may use the API with a key, and read what they
// need of its answers.
func TestCORS(t *testing.T) {
	f := open(t)
	for _, op := range f.operations(t) {
		for _, header := range []string{"content-type", "authorization", "key", "altitoken", "authorization,content-type"} {
			a := f.call(t, "", http.MethodOptions, op.at("x", "y"), nil,
				"Origin", "https://app.example.com", "Access-Control-Request-Method", op.method, "Access-Control-Request-Headers", header)
			allowed := strings.ToLower(a.header.Get("Access-Control-Allow-Headers"))
			for name := range strings.SplitSeq(header, ",") {
				if !strings.Contains(allowed, name) {
					t.Errorf("%s: %s is not allowed: %v", op.ID, name, a.header)
				}
			}
			if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != "*" ||
				!strings.Contains(a.header.Get("Access-Control-Allow-Methods"), op.method) || a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: %d %v", op.ID, a.status, a.header)
			}
		}
	}
	a := f.call(t, f.secret, http.MethodGet, "/v1/me", nil, "Origin", "https://app.example.com")
	if a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Retry-After") {
		t.Errorf("%v", a.header)
	}
	// A refusal must be readable too, or a page can't tell why.
	a = f.call(t, "", http.MethodGet, "/v1/me", nil, "Origin", "https://app.example.com")
	if a.status != http.StatusUnauthorized || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v", a.status, a.header)
	}
}
