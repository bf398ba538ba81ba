package rest

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

func acceptPath(img broker.Image) string {
	return "/v1/projects/" + img.ProjectID + "/images/" + img.ID + "/accept"
}

// TestAccept: who keeps a damaged image has it Ready, flagged and audited, once.
func TestAccept(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := f.newImage(t, pid, "a treasure")
	f.judge(t, img, broker.Reasonf(broker.ReasonTruncated, "the scan ends after 1,204 of 2,250 rows"), broker.Reasonf(broker.ReasonCorrupt, "so it is"))
	var got Image
	for range 2 { // again answers the same
		f.ok(t, http.MethodPost, acceptPath(img), nil, &got)
		if got.State != "Ready" || !got.Accepted || len(got.Reasons) != 2 || got.ProvenSHA1 != img.SHA1.String() || got.ETag != "e1" {
			t.Fatalf("accepted: %+v", got)
		}
	}
	told := 0
	for _, l := range f.audit(t, pid, "") {
		if l.Action != "image.accept" {
			continue
		}
		told++
		detail := string(l.Detail)
		if l.Who.Key != f.by.Key.ID || l.Image == nil || l.Image.ID != img.ID || !strings.Contains(detail, "truncated: the scan ends") ||
			!strings.Contains(detail, `"attempt":1`) || !strings.Contains(detail, `"etag":"e1"`) {
			t.Errorf("%s by %+v, %s", l.Action, l.Who, detail)
		}
	}
	if told != 1 {
		t.Errorf("%d lines of the audit tell of it", told)
	}
	trace := f.call(t, f.secret, http.MethodGet, "/v1/images/"+img.ID+"/trace", nil)
	if trace.status != http.StatusOK || !strings.Contains(string(trace.body), "image.accept") {
		t.Errorf("the trace: %d %s", trace.status, trace.body)
	}
	if a := f.call(t, f.secret, http.MethodGet, acceptPath(img)+"ed", nil); a.status != http.StatusNotFound {
		t.Errorf("%d", a.status)
	}
}

// TestNotAccepted: everything else is a conflict, in words that say why.
func TestNotAccepted(t *testing.T) {
	corrupt := broker.Reasonf(broker.ReasonCorrupt, "so it is")
	for name, c := range map[string]struct {
		prepare func(t *testing.T, f *fixture, img broker.Image)
		says    string
	}{
		"nothing came": {func(*testing.T, *fixture, broker.Image) {}, "is Pending"},
		"not judged":   {func(t *testing.T, f *fixture, img broker.Image) { f.see(t, img) }, "is Uploaded"},
		"sound":        {func(t *testing.T, f *fixture, img broker.Image) { f.judge(t, img) }, "is Ready and sound"},
		"other bytes": {func(t *testing.T, f *fixture, img broker.Image) {
			f.judge(t, img, broker.Reasonf(broker.ReasonChecksumMismatch, "x"), corrupt)
		}, "Invalid for checksum_mismatch, corrupt"},
		"another format": {func(t *testing.T, f *fixture, img broker.Image) {
			f.judge(t, img, broker.Reasonf(broker.ReasonUnsupportedFormat, "x"))
		}, "unsupported_format"},
		"removed": {func(t *testing.T, f *fixture, img broker.Image) { f.judge(t, img, corrupt); f.remove(t, img) }, "is Removed"},
		"its object swept": {func(t *testing.T, f *fixture, img broker.Image) {
			f.judge(t, img, corrupt)
			f.exec(t, `UPDATE images SET swept_at = '2026-03-04 12:00Z' WHERE id = $1`, img.ID)
		}, "deleted on 2026-03-04"},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			img := f.newImage(t, f.newProject(t), "one")
			c.prepare(t, f, img)
			f.unchanged(t, "what is refused", func() {
				a := f.call(t, f.secret, http.MethodPost, acceptPath(img), nil)
				if p := a.problem(t); a.status != http.StatusConflict || p.Code != broker.CodeConflict || !strings.Contains(p.Detail, c.says) {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		})
	}
}

// TestAcceptIsOfTheJudgedBytes: while many accept, other bytes come. Whatever was
// first, these are not taken for accepted.
func TestAcceptIsOfTheJudgedBytes(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	for i := range 8 {
		img := f.newImage(t, pid, strings.Repeat("x", i+1))
		f.judge(t, img, broker.Reasonf(broker.ReasonCorrupt, "so it is"))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if got, err := f.images.Accept(t.Context(), f.by, pid, img.ID); err == nil && got.ETag != "e1" || err != nil && broker.CodeOf(err) != broker.CodeConflict {
					t.Errorf("accepted %s with etag %q: %v", got.State, got.ETag, err)
				}
			})
		}
		all.Go(func() {
			if _, err := f.store.See(t.Context(), pid, nearest, []broker.Seen{{
				Bucket: nearest, ProjectID: pid, Filename: img.Filename, ETag: "e2", SizeBytes: 1,
			}}, time.Now()); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		a := f.call(t, f.secret, http.MethodPost, acceptPath(img), nil)
		if a.status != http.StatusConflict || !strings.Contains(string(a.body), "is Uploaded") {
			t.Errorf("the new bytes: %d %s", a.status, a.body)
		}
	}

	// Who has read a verdict accepts that one, and no later one.
	img := f.newImage(t, pid, "late")
	f.judge(t, img, broker.Reasonf(broker.ReasonCorrupt, "so it is"))
	read := f.image(t, img)
	f.exec(t, `UPDATE images SET etag = 'e2' WHERE id = $1`, img.ID)
	if moved, err := f.store.Accept(t.Context(), read, time.Now(), f.by); moved || err != nil {
		t.Errorf("other bytes than those that were judged: %t, %v", moved, err)
	}
	f.exec(t, `UPDATE images SET etag = 'e1', attempt = 2 WHERE id = $1`, img.ID)
	if moved, err := f.store.Accept(t.Context(), read, time.Now(), f.by); moved || err != nil {
		t.Errorf("another attempt: %t, %v", moved, err)
	}
}

// TestAcceptedStays: nothing but other bytes takes it back.
func TestAcceptedStays(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := f.newImage(t, pid, "one")
	f.judge(t, img, broker.Reasonf(broker.ReasonCorrupt, "so it is"))
	f.ok(t, http.MethodPost, acceptPath(img), nil, nil)
	see := func(etag string) int {
		n, err := f.store.See(t.Context(), pid, nearest, []broker.Seen{{Bucket: nearest, ProjectID: pid, Filename: img.Filename, ETag: etag, SizeBytes: 1}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	held, err := f.store.HeldETags(t.Context(), pid, nearest, []string{img.Filename})
	if err != nil || held[img.Filename] != "e1" || see("e1") != 0 {
		t.Errorf("a comparison finds it changed: %v, %v", held, err)
	}
	late := postgres.Judging{ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: 1, ETag: "e1"}, Holder: "late"}
	if moved, err := f.store.Judge(t.Context(), late, broker.Verdict{Reasons: []broker.Reason{broker.Reasonf(broker.ReasonCorrupt, "x")}}, time.Now()); moved || err != nil {
		t.Errorf("a doubled job judged it: %t, %v", moved, err)
	}
	if got := f.image(t, img); got.State != broker.StateReady || !got.Accepted {
		t.Errorf("it is %s", got.State)
	}
	if see("e2") != 1 {
		t.Error("other bytes are not judged")
	}
	if got := f.image(t, img); got.State != broker.StateUploaded || got.Accepted {
		t.Errorf("other bytes are %s, accepted: %t", got.State, got.Accepted)
	}
}

func (f *fixture) image(t *testing.T, img broker.Image) broker.Image {
	t.Helper()
	got, err := f.store.ByID(t.Context(), img.ProjectID, []string{img.ID})
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	return got[0]
}

func (f *fixture) remove(t *testing.T, img broker.Image) {
	t.Helper()
	f.ok(t, http.MethodDelete, "/v1/projects/"+img.ProjectID+"/images/"+img.ID, nil, nil)
}

func (f *fixture) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := f.store.Pool().Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}
