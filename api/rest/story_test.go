package rest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// audit follows cursors through pages of two.
func (f *fixture) audit(t *testing.T, pid, query string) (lines []AuditLine) {
	t.Helper()
	for cursor := ""; ; {
		var page AuditPage
		f.ok(t, http.MethodGet, "/v1/projects/"+pid+"/audit?limit=2&cursor="+cursor+query, nil, &page)
		if len(page.Audit) > 2 || len(lines) > 100 {
			t.Fatalf("a page of %d after %d", len(page.Audit), len(lines))
		}
		lines = append(lines, page.Audit...)
		if cursor = page.NextCursor; cursor == "" {
			return lines
		}
	}
}

func actions(lines []AuditLine) (names []string) {
	for _, l := range lines {
		names = append(names, l.Action)
	}
	return names
}

func TestAudit(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := f.newImage(t, pid, "one")
	f.judge(t, img)
	other := f.newImage(t, pid, "two")
	f.ok(t, http.MethodDelete, "/v1/projects/"+pid+"/images/"+other.ID, nil, nil)
	all := f.audit(t, pid, "")
	want := []string{"image.remove", "image.register", "image.judge", "image.seen", "image.register", "project.create"}
	if !slices.Equal(actions(all), want) {
		t.Fatalf("the audit tells %v, want %v", actions(all), want)
	}
	for i, l := range all {
		if l.At.IsZero() || l.ID == "" || len(l.Detail) == 0 || l.Detail[0] != '{' {
			t.Errorf("line %d: %+v", i, l)
		}
		byProgram := l.Action == "image.judge" || l.Action == "image.seen"
		if byProgram != (l.Who == Actor{Kind: "program"}) {
			t.Errorf("%s by %+v", l.Action, l.Who)
		}
		if !byProgram && (l.Who.Kind != "owner" || l.Who.Owner != f.owner.ID || l.Who.Email != "ada@example.com" || l.Who.Key != f.by.Key.ID || !strings.HasPrefix(f.secret, l.Who.KeyHint) || l.Who.KeyHint == "") {
			t.Errorf("%s by %+v", l.Action, l.Who)
		}
		if (l.Image == nil) != (l.Action == "project.create") || l.Image != nil && l.Image.Name != "a.jpg" {
			t.Errorf("%s of %+v", l.Action, l.Image)
		}
	}
	if !strings.Contains(string(all[2].Detail), `"by":"test"`) && !strings.Contains(string(all[2].Detail), `"by": "test"`) {
		t.Errorf("the verdict does not tell which worker said it: %s", all[2].Detail)
	}
	for query, want := range map[string][]AuditLine{
		"&action=image.judge":         all[2:3],
		"&action=image.nothing":       nil,
		"&image=" + other.ID:          all[:2],
		"&since=2020-01-01T00:00:00Z": all,
		"&since=2999-01-01T00:00:00Z": nil,
		"&since=" + url.QueryEscape(all[3].At.Format(time.RFC3339Nano)): all[:4],
	} {
		got := f.audit(t, pid, query)
		if !slices.EqualFunc(got, want, func(a, b AuditLine) bool { return a.ID == b.ID }) {
			t.Errorf("%s finds %v", query, actions(got))
		}
	}
	for _, bad := range []string{"cursor=x", "cursor=-1", "cursor=0", "cursor=01", "cursor=9999999999999999999999", "cursor=" + img.ID,
		"action=Image", "action=image", "action=%27", "image=x", "since=yesterday", "limit=0", "limit=1001", "acton=image.judge"} {
		a := f.call(t, f.secret, http.MethodGet, "/v1/projects/"+pid+"/audit?"+bad, nil)
		if a.status/100 != 4 {
			t.Errorf("%s: %d %s", bad, a.status, a.body)
		}
		a.problem(t)
	}
}

// TestAuditOfTheRemoved: a removed project's audit stays its owner's.
func TestAuditOfTheRemoved(t *testing.T) {
	f := open(t)
	_, _, stranger := f.newOwner(t, "bob@example.com", broker.NewKey{Scopes: broker.AllScopes()})
	pid := f.newProject(t)
	img := f.newImage(t, pid, "one")
	path := "/v1/projects/" + pid + "/audit"
	read := func(when string) {
		t.Helper()
		if lines := f.audit(t, pid, ""); len(lines) < 3 || lines[len(lines)-1].Action != "project.create" {
			t.Errorf("%s: %v", when, actions(lines))
		}
		var tr Trace
		f.ok(t, http.MethodGet, "/v1/images/"+img.ID+"/trace", nil, &tr)
		if len(tr.Story) == 0 || tr.Story[0].What != "image.register" {
			t.Errorf("%s: %+v", when, tr.Story)
		}
		for _, path := range []string{path, "/v1/images/" + img.ID + "/trace"} {
			if a := f.call(t, stranger, http.MethodGet, path, nil); a.status != http.StatusNotFound {
				t.Errorf("%s: another's %s: %d", when, path, a.status)
			}
		}
	}
	f.ok(t, http.MethodDelete, "/v1/projects/"+pid, nil, nil)
	read("removed")
	if err := f.store.FinishProject(t.Context(), pid, time.Now()); err != nil {
		t.Fatal(err)
	}
	read("final")
	if lines := f.audit(t, pid, ""); lines[0].Action != "project.final" || lines[1].Action != "project.remove" {
		t.Errorf("%v", actions(lines))
	}
}

func TestTrace(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := f.newImage(t, pid, "one")
	path := "/v1/images/" + img.ID + "/trace"
	var tr Trace
	trace := func() []string {
		t.Helper()
		tr = Trace{}
		a := f.call(t, f.secret, http.MethodGet, path, nil)
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if secret := secretInLog.Find(a.body); secret != nil || strings.Contains(string(a.body), "://") {
			t.Errorf("the trace tells a URL or a secret %q: %s", secret, a.body)
		}
		a.into(t, &tr)
		var names []string
		for _, h := range tr.Story {
			names = append(names, h.What)
		}
		return names
	}
	if got := trace(); !slices.Equal(got, []string{"image.register", "grant"}) || tr.Image.ID != img.ID || tr.Image.State != "Pending" {
		t.Errorf("%v %+v", got, tr.Image.Image)
	}
	if g := tr.Story[1]; g.Kind != "request" || g.Bucket != nearest || g.Attempt != 1 || g.ExpiresAt == nil || g.Who.Key != f.by.Key.ID || g.Who.Kind != "owner" {
		t.Errorf("%+v", g)
	}
	if len(tr.Watching) != 1 || tr.Watching[0].Bucket != nearest || tr.Watching[0].PauseMS != 1000 || tr.Watching[0].NextLook == nil || tr.Watching[0].LastLook != nil {
		t.Errorf("%+v", tr.Watching)
	}
	f.judge(t, img, broker.Reasonf(broker.ReasonTruncated, "half of it"))
	want := []string{"image.register", "grant", "image.seen", "image.judge", "verdict"}
	if got := trace(); !slices.Equal(got, want) || tr.Image.State != "Invalid" {
		t.Errorf("%v %+v", got, tr.Image.Image)
	}
	if v := tr.Story[4]; v.State != "Invalid" || v.SHA1 != img.SHA1.String() || *v.Size != 3 || v.ETag != "e1" || v.Holder != "test" || !slices.Equal(v.Reasons, []string{"truncated: half of it"}) {
		t.Errorf("%+v", v)
	}
	f.ok(t, http.MethodDelete, "/v1/projects/"+pid+"/images/"+img.ID, nil, nil)
	if got := trace(); len(got) != len(want)+1 || tr.Image.State != "Removed" {
		t.Errorf("removed: %v %+v", got, tr.Image.Image)
	}
	if err := f.store.ForgetImage(t.Context(), img.ID); err != nil {
		t.Fatal(err)
	}
	a := f.call(t, f.secret, http.MethodGet, path, nil)
	if !strings.Contains(string(a.body), `"image":null`) || !strings.Contains(string(a.body), `"watching":[]`) {
		t.Errorf("gone: %s", a.body)
	}
	if got := trace(); !slices.Equal(got, []string{"image.register", "image.seen", "image.judge", "image.remove", "image.final"}) {
		t.Errorf("gone: %v", got)
	}
}

// TestTraceTellsNobodyElse: another's image is answered as one that never was.
func TestTraceTellsNobodyElse(t *testing.T) {
	f := open(t)
	o := f.others(t)
	img := f.newImage(t, f.newProject(t), "one")
	absent := broker.NewID(time.Now())
	for name, secret := range map[string]string{"another owner": o.all, "a key tied elsewhere": o.elsewhere} {
		a := f.call(t, secret, http.MethodGet, "/v1/images/"+img.ID+"/trace", nil)
		b := f.call(t, secret, http.MethodGet, "/v1/images/"+absent+"/trace", nil)
		if a.status != http.StatusNotFound || strings.ReplaceAll(string(b.body), absent, img.ID) != string(a.body) {
			t.Errorf("%s: %d %s, and for one that is not %d %s", name, a.status, a.body, b.status, b.body)
		}
	}
	for _, id := range []string{"x", "%00", strings.ToLower(img.ID), img.ID + "0"} {
		if a := f.call(t, f.secret, http.MethodGet, "/v1/images/"+id+"/trace", nil); a.status != http.StatusNotFound {
			t.Errorf("%q: %d %s", id, a.status, a.body)
		}
	}
}
