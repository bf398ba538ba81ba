package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// entry is what a client sends for one file of that content.
func entry(content string, more ...any) map[string]any {
	e := map[string]any{"name": "100MEDIA/DJI_0001.JPG", "sha1": digest(content), "size": len(content)}
	for i := 0; i < len(more); i += 2 {
		e[more[i].(string)] = more[i+1]
	}
	return e
}

// register registers entries and gives one result for each.
func (f *fixture) register(t *testing.T, pid string, entries ...map[string]any) []Result {
	t.Helper()
	var rs Results
	f.ok(t, http.MethodPost, "/v1/projects/"+pid+"/images/register", map[string]any{"images": entries}, &rs)
	if len(rs.Results) != len(entries) {
		t.Fatalf("%d results for %d entries", len(rs.Results), len(entries))
	}
	return rs.Results
}

func (f *fixture) batch(t *testing.T, pid, action string, ids ...string) []Result {
	t.Helper()
	var rs Results
	f.ok(t, http.MethodPost, "/v1/projects/"+pid+"/images/"+action, map[string]any{"ids": ids}, &rs)
	if len(rs.Results) != len(ids) {
		t.Fatalf("%d results for %d ids", len(rs.Results), len(ids))
	}
	return rs.Results
}

// rows counts what a query finds.
func (f *fixture) rows(t *testing.T, query string, args ...any) int {
	t.Helper()
	var n int
	if err := f.store.Pool().QueryRow(t.Context(), "select count(*) from "+query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRegisterAnswersEachEntry: one batch with every answer, in the order of the
// entries.
func TestRegisterAnswersEachEntry(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	ready := f.newImage(t, pid, "ready")
	f.judge(t, ready)
	uploaded := f.newImage(t, pid, "uploaded")
	f.see(t, uploaded)
	invalid := f.newImage(t, pid, "invalid")
	f.judge(t, invalid, broker.Reasonf(broker.ReasonCorrupt, "so it is"))

	rs := f.register(t, pid,
		entry("new"),
		entry("ready"),
		entry("bad", "size", -1),
		entry("uploaded"),
		entry("waits", "start", false),
		entry("invalid", "name", "again.PNG"),
		entry("new", "name", "twin.jpg"),
		entry("ready", "sha1", strings.ToUpper(digest("ready"))),
		entry("twins", "start", false),
		entry("twins", "start", true),
	)
	want := []struct {
		status, state string
		attempt       int
	}{
		{"granted", "Uploading", 1}, {"exists", "Ready", 1}, {"problem", "", 0}, {"exists", "Uploaded", 1},
		{"granted", "Pending", 1}, {"granted", "Uploading", 2}, {"granted", "Uploading", 1}, {"exists", "Ready", 1},
		{"granted", "Uploading", 1}, {"granted", "Uploading", 1}, // one of the twins begins
	}
	for i, w := range want {
		r := rs[i]
		if r.Status != w.status || (r.Grant != nil) != (w.status == "granted") || (r.Problem != nil) != (w.status == "problem") {
			t.Errorf("entry %d: %+v, want %+v", i, r, w)
			continue
		}
		if w.state == "" {
			if r.Image != nil {
				t.Errorf("entry %d has an image", i)
			}
			continue
		}
		if r.Image == nil || r.Image.State != w.state || r.Image.Attempt != w.attempt {
			t.Errorf("entry %d: %+v, want %+v", i, r.Image, w)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	if rs[1].Image.ID != ready.ID || rs[3].Image.ID != uploaded.ID || rs[7].Image.ID != ready.ID {
		t.Error("exists tells another image")
	}
	if rs[6].Image.ID != rs[0].Image.ID || rs[6].Image.Name != "100MEDIA/DJI_0001.JPG" {
		t.Error("one sha1 twice in a batch is not one image, named as the first entry says")
	}
	if n := f.rows(t, "images where project_id = $1", pid); n != 6 {
		t.Errorf("%d images, want 6", n)
	}
	if again := rs[5].Image; again.ID != invalid.ID || again.Filename != digest("invalid")+"-2.png" || len(again.Reasons) != 0 {
		t.Errorf("a further attempt: %+v", again)
	}
	if first := rs[0].Image; first.Filename != digest("new")+".jpg" || *first.Size != 3 || first.Type != "image/jpeg" || first.SHA1 != digest("new") {
		t.Errorf("a new image: %+v", first)
	}
	if rs[1].Image.Facts == nil || rs[1].Image.ProvenSHA1 != digest("ready") || rs[1].Image.CRC32 != "00000007" {
		t.Errorf("a Ready image: %+v", rs[1].Image)
	}
}

// TestRegisterAgain: an open image keeps its row, attempt and place.
func TestRegisterAgain(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	first := f.register(t, pid, entry("a", "start", false))[0]
	again := f.register(t, pid, entry("a", "start", false))[0]
	if first.Image.ID != again.Image.ID || again.Image.State != "Pending" || again.Image.Attempt != 1 || again.Grant == nil {
		t.Errorf("%+v", again)
	}
	started := f.register(t, pid, entry("a"))[0]
	if started.Image.State != "Uploading" || started.Image.ID != first.Image.ID {
		t.Errorf("%+v", started.Image)
	}
	pendingAgain := f.register(t, pid, entry("a", "start", false))[0]
	if pendingAgain.Image.State != "Uploading" {
		t.Errorf("start=false took an Uploading image back: %+v", pendingAgain.Image)
	}
	// The same bytes in another project are another image.
	if other := f.register(t, f.newProject(t), entry("a"))[0]; other.Image.ID == first.Image.ID || other.Status != "granted" {
		t.Errorf("%+v", other)
	}
}

func TestBatchOfThousand(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	entries := make([]map[string]any, maxBatch)
	for i := range entries {
		entries[i] = entry(fmt.Sprint(i), "name", fmt.Sprintf("%d.jpg", i))
	}
	rs := f.register(t, pid, entries...)
	ids, digests := make([]string, len(rs)), make([]string, len(rs))
	for i, r := range rs {
		if r.Status != "granted" || r.Image.Name != fmt.Sprintf("%d.jpg", i) || !strings.Contains(r.Grant.URL, digest(fmt.Sprint(i))) {
			t.Fatalf("result %d: %+v", i, r)
		}
		ids[i], digests[i] = r.Image.ID, strings.ToUpper(r.Image.SHA1)
	}
	for i, r := range f.batch(t, pid, "done", ids...) {
		if r.Status != "ok" || r.Image.ID != ids[i] {
			t.Fatalf("done %d: %+v", i, r)
		}
	}
	var checked CheckResults
	f.ok(t, http.MethodPost, "/v1/projects/"+pid+"/images/check", map[string]any{"sha1": digests}, &checked)
	for i, r := range checked.Results {
		if r.Status != "open" || r.SHA1 != digests[i] || r.Image.ID != ids[i] {
			t.Fatalf("check %d: %+v", i, r)
		}
	}
}

// TestStartDoneRegrant: the life of an image that was registered without start.
func TestStartDoneRegrant(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := *f.register(t, pid, entry("a", "start", false))[0].Image
	if img.State != "Pending" || img.StartedAt != nil {
		t.Fatalf("%+v", img)
	}
	// Done is no start, and makes the broker look: its watch is due at once.
	if _, err := f.store.Pool().Exec(t.Context(), "update watches set next_look_at = now() + interval '1 h' where project_id = $1", pid); err != nil {
		t.Fatal(err)
	}
	if r := f.batch(t, pid, "done", img.ID)[0]; r.Status != "ok" || r.Image.State != "Pending" {
		t.Errorf("done before start: %+v", r)
	}
	if n := f.rows(t, "watches where project_id = $1 and next_look_at < now() + interval '5 s'", pid); n != 1 {
		t.Error("done made nothing due")
	}
	absent := "01KAHQZ0R4M8C3T5V7W9X1Y2Z3"
	odd := []string{absent, "", "\x00", "no id", strings.Repeat("7", 5000)}

	rs := f.batch(t, pid, "start", append([]string{img.ID}, odd...)...)
	if rs[0].Status != "ok" || rs[0].Image.State != "Uploading" || rs[0].Image.StartedAt == nil {
		t.Errorf("start: %+v", rs[0])
	}
	for i, r := range rs[1:] {
		if r.Status != "problem" || r.Problem.Code != broker.CodeNotFound || r.Image != nil {
			t.Errorf("start of %.20q: %+v", odd[i], r)
		}
	}
	began := *rs[0].Image.StartedAt
	if again := f.batch(t, pid, "start", img.ID)[0]; again.Image.State != "Uploading" || !again.Image.StartedAt.Equal(began) {
		t.Errorf("starting twice: %+v", again.Image)
	}

	// Done is no proof: the image stays where it is, however often it is told.
	for range 2 {
		if r := f.batch(t, pid, "done", img.ID, img.ID)[1]; r.Status != "ok" || r.Image.State != "Uploading" {
			t.Errorf("done: %+v", r)
		}
	}
	for _, r := range f.batch(t, pid, "done", odd...) {
		if r.Status != "problem" || r.Problem.Code != broker.CodeNotFound {
			t.Errorf("done: %+v", r)
		}
	}

	granted := f.rows(t, "grants where image_id = $1", img.ID)
	r := f.batch(t, pid, "regrant", img.ID)[0]
	if r.Status != "granted" || r.Grant == nil || r.Image.Attempt != 1 || !strings.Contains(r.Grant.URL, img.Filename) {
		t.Errorf("regrant: %+v", r)
	}
	if n := f.rows(t, "grants where image_id = $1", img.ID); n != granted+1 {
		t.Errorf("%d grants, want %d", n, granted+1)
	}
	for _, r := range f.batch(t, pid, "regrant", odd...) {
		if r.Status != "problem" || r.Problem.Code != broker.CodeNotFound {
			t.Errorf("regrant: %+v", r)
		}
	}

	stored, err := f.store.ByID(t.Context(), pid, []string{img.ID})
	if err != nil {
		t.Fatal(err)
	}
	f.judge(t, stored[0])
	for action, status := range map[string]string{"start": "ok", "done": "ok", "regrant": "exists"} {
		if r := f.batch(t, pid, action, img.ID)[0]; r.Status != status || r.Image.State != "Ready" || r.Grant != nil {
			t.Errorf("%s of a Ready image: %+v", action, r)
		}
	}
	bad := f.newImage(t, pid, "bad")
	f.judge(t, bad, broker.Reasonf(broker.ReasonTruncated, "so it is"))
	if r := f.batch(t, pid, "regrant", bad.ID)[0]; r.Status != "problem" || r.Problem.Code != broker.CodeConflict || r.Image.State != "Invalid" || r.Grant != nil {
		t.Errorf("regrant of an Invalid image: %+v", r)
	}
}

func TestCheck(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	f.judge(t, f.newImage(t, pid, "ready"))
	f.see(t, f.newImage(t, pid, "uploaded"))
	f.judge(t, f.newImage(t, pid, "invalid"), broker.Reasonf(broker.ReasonCorrupt, "so it is"))
	f.newImage(t, pid, "open")
	removed := f.newImage(t, pid, "removed")
	f.ok(t, http.MethodDelete, "/v1/projects/"+pid+"/images/"+removed.ID, nil, nil)
	f.newImage(t, f.newProject(t), "elsewhere")

	asked := []string{digest("ready"), digest("nowhere"), digest("uploaded"), "nonsense", digest("invalid"), digest("open"), digest("removed"), digest("elsewhere"), strings.ToUpper(digest("ready")), ""}
	want := []string{"exists", "absent", "exists", "problem", "invalid", "open", "absent", "absent", "exists", "problem"}
	var got CheckResults
	f.unchanged(t, "a check", func() {
		f.ok(t, http.MethodPost, "/v1/projects/"+pid+"/images/check", map[string]any{"sha1": asked}, &got)
	})
	for i, r := range got.Results {
		if r.SHA1 != asked[i] || r.Status != want[i] || (r.Problem != nil) != (want[i] == "problem") ||
			(r.Image != nil) != (want[i] == "exists" || want[i] == "invalid" || want[i] == "open") {
			t.Errorf("check %d: %+v, want %s", i, r, want[i])
		}
	}
	if len(got.Results) != len(want) {
		t.Errorf("%d results", len(got.Results))
	}
}

// TestEmptyBatches answer with nothing, and not with null.
func TestEmptyBatches(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	for action, body := range map[string]string{"register": "images", "start": "ids", "done": "ids", "regrant": "ids", "check": "sha1"} {
		a := f.call(t, f.secret, http.MethodPost, "/v1/projects/"+pid+"/images/"+action, map[string]any{body: []string{}})
		if strings.TrimSpace(string(a.body)) != `{"results":[]}` {
			t.Errorf("%s: %d %s", action, a.status, a.body)
		}
	}
	for path, want := range map[string]string{"/v1/projects?q=nothing": `{"projects":[],"next_cursor":""}`, "/v1/projects/" + pid + "/images": `{"images":[],"next_cursor":""}`} {
		if a := f.call(t, f.secret, http.MethodGet, path, nil); strings.TrimSpace(string(a.body)) != want {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

// TestTwoClientsAtOnce register the same file at the same moment: it is one image,
// and each gets a grant for its one place.
func TestTwoClientsAtOnce(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	for round := range 20 {
		const clients = 4
		var answers [clients]Results
		var start, wait sync.WaitGroup
		start.Add(1)
		for i := range clients {
			wait.Go(func() {
				start.Wait()
				// Shared files in opposite orders: locks must not cross.
				one, two := entry(fmt.Sprint(round, "one")), entry(fmt.Sprint(round, "two"))
				if i%2 == 1 {
					one, two = two, one
				}
				a := f.call(t, f.secret, http.MethodPost, "/v1/projects/"+pid+"/images/register", map[string]any{"images": []any{one, two}})
				if err := json.Unmarshal(a.body, &answers[i]); err != nil || a.status != http.StatusOK {
					t.Errorf("%d %s", a.status, a.body)
				}
				if i%2 == 1 && len(answers[i].Results) == 2 {
					answers[i].Results[0], answers[i].Results[1] = answers[i].Results[1], answers[i].Results[0]
				}
			})
		}
		start.Done()
		wait.Wait()
		if t.Failed() {
			t.FailNow()
		}
		for _, a := range answers[1:] {
			for k, r := range a.Results {
				if want := answers[0].Results[k]; r.Image == nil || r.Image.ID != want.Image.ID || r.Image.Filename != want.Image.Filename || r.Grant == nil {
					t.Fatalf("round %d: %+v and %+v", round, r, want)
				}
			}
		}
	}
	if n := f.rows(t, "images where project_id = $1", pid); n != 40 {
		t.Errorf("%d images, want 40", n)
	}
}

// TestPinnedKey: a key for other clouds sees and gets none of this one's buckets.
func TestPinnedKey(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	_, oss := f.newKey(t, f.owner, broker.NewKey{Scopes: broker.AllScopes(), Clouds: []broker.Cloud{broker.CloudOSS}})
	a := f.call(t, oss, http.MethodGet, "/v1/buckets/nearest", nil)
	var got Buckets
	a.into(t, &got)
	if len(got.Buckets) != 1 || got.Buckets[0].Symbol != sessions || got.Buckets[0].Cloud != "OSS" {
		t.Errorf("%s", a.body)
	}
	f.ok(t, http.MethodGet, "/v1/buckets/nearest", nil, &got)
	if len(got.Buckets) != 3 || got.Buckets[0].Symbol != nearest {
		t.Errorf("a free key gets %+v; a drained bucket is left out, the configured order holds", got.Buckets)
	}
	f.unchanged(t, "a key of another cloud", func() {
		body := map[string]any{"images": []any{entry("a")}}
		p := f.call(t, oss, http.MethodPost, "/v1/projects/"+pid+"/images/register", body)
		if p.status != http.StatusConflict || p.problem(t).Code != broker.CodeNoBucket {
			t.Errorf("%d %s", p.status, p.body)
		}
		body["bucket"] = nearest
		p = f.call(t, oss, http.MethodPost, "/v1/projects/"+pid+"/images/register", body)
		if p.status != http.StatusForbidden || p.problem(t).Code != broker.CodeNotAllowed {
			t.Errorf("%d %s", p.status, p.body)
		}
	})
}
