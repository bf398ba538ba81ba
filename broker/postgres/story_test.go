package postgres_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// judging is the check of an image's present object.
func judging(img broker.Image) postgres.Judging {
	return postgres.Judging{
		ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: img.Attempt, ETag: img.ETag}, Holder: "worker/7.1",
	}
}

// giveUp has an Uploaded image end as Invalid(unchecked).
func (f *fixture) giveUp(t testing.TB, id, why string) {
	t.Helper()
	moved, err := f.Unchecked(t.Context(), judging(f.image(t, id)), why, time.Now())
	if err != nil || !moved {
		t.Fatalf("gave up: %t, %v", moved, err)
	}
}

// failJob ends the image's last job as River does after a cause that is final.
func (f *fixture) failJob(t testing.TB, imageID, state string, causes ...string) int64 {
	t.Helper()
	id := scan[int64](t, f, `SELECT max(id) FROM river_job WHERE args->>'image_id' = $1`, imageID)
	for i, cause := range causes {
		text, err := json.Marshal(map[string]any{"at": time.Now().UTC(), "attempt": i + 1, "error": cause, "trace": ""})
		if err != nil {
			t.Fatal(err)
		}
		f.exec(t, `UPDATE river_job SET errors = array_append(coalesce(errors, '{}'), $2::jsonb) WHERE id = $1`, id, string(text))
	}
	f.exec(t, `UPDATE river_job SET state = $2::text::river_job_state, attempt = 10, attempted_at = now(),
		finalized_at = CASE WHEN $2 IN ('cancelled', 'discarded', 'completed') THEN now() END WHERE id = $1`, id, state)
	return id
}

// whats are the happenings of a trace by their names.
func whats(t broker.Trace) (names []string) {
	for _, h := range t.Story {
		names = append(names, h.What)
	}
	return names
}

// TestTraceTellsAll follows one image through two attempts, a check that can't run,
// a hint, and its removal for good.
func TestTraceTellsAll(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	if err := f.Start(ctx, p.ID, []string{img.ID}, time.Now(), f.by); err != nil {
		t.Fatal(err)
	}
	f.seeOne(t, img, "A", "e1")
	bad := broker.Verdict{SHA1: digest(9), Size: 3, CRC32: 7, Reasons: []broker.Reason{broker.Reasonf(broker.ReasonChecksumMismatch, "others")}}
	if _, err := f.Judge(ctx, judging(f.image(t, img.ID)), bad, time.Now()); err != nil {
		t.Fatal(err)
	}
	const secret = "https://ada:pw@photos.example/x.jpg?X-Amz-Signature=deadbeef"
	b := f.batchOf(p.ID, "B", 1)
	b.Kind, b.FetchURL = broker.GrantFetch, secret
	if _, err := f.Register(ctx, b); err != nil {
		t.Fatal(err)
	}
	f.failJob(t, img.ID, "retryable", `Get "`+secret+`": no route`)
	second := f.image(t, img.ID)
	f.seeOne(t, second, "B", "e2")
	if _, _, err := f.CheckFailed(ctx, judging(f.image(t, img.ID)), time.Now()); err != nil {
		t.Fatal(err)
	}
	f.failJob(t, img.ID, "retryable", "denied: the bucket refuses us: "+secret)
	f.exec(t, `INSERT INTO hints (image_id, bucket, project_id, hinted_at) VALUES ($1, 'B', $2, clock_timestamp())`, img.ID, p.ID)
	f.exec(t, `UPDATE watches SET fault = 'the bucket refuses us', looks = 4, looked_at = now() WHERE bucket = 'B'`)

	got, err := f.Trace(ctx, img.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"image.register", "grant", "image.start", "image.seen", "image.judge", "verdict", "attempt.ended",
		"image.register", "grant", "fetch.failed", "image.seen", "check.failing", "check.failed", "hint",
	}
	if !slices.Equal(whats(got), want) {
		t.Errorf("the story is\n%v, want\n%v", whats(got), want)
	}
	if !slices.IsSortedFunc(got.Story, func(a, b broker.Happening) int { return a.At.Compare(b.At) }) {
		t.Error("it is out of order")
	}
	if text, err := json.Marshal(got); err != nil || strings.Contains(string(text), "deadbeef") || strings.Contains(string(text), "x.jpg?") || strings.Contains(string(text), "pw@") {
		t.Errorf("it tells a URL: %s, %v", text, err)
	}
	byWhat := map[string]broker.Happening{}
	for _, h := range got.Story {
		byWhat[h.What] = h
	}
	if h := byWhat["grant"]; h.Kind != broker.GrantFetch || h.Bucket != "B" || h.Attempt != 2 || h.ExpiresAt == nil || h.Who.KeyID != f.by.Key.ID || h.Who.Email != f.owner.Email {
		t.Errorf("the grant: %+v", h)
	}
	if h := byWhat["verdict"]; h.State != broker.StateInvalid || h.SHA1 != digest(9) || *h.SizeBytes != 3 || h.ETag != "e1" || h.Holder != "worker/7.1" || len(h.Reasons) != 1 {
		t.Errorf("the verdict: %+v", h)
	}
	if h := byWhat["attempt.ended"]; h.Attempt != 1 || h.ETag != "e1" || h.Filename != img.Filename || h.Bucket != "A" || len(h.Reasons) != 1 {
		t.Errorf("the end of the attempt: %+v", h)
	}
	if h := byWhat["check.failing"]; h.Failures != 1 || h.Cause != "denied: the bucket refuses us: https://photos.example/…" {
		t.Errorf("the failing checks: %+v", h)
	}
	if h := byWhat["check.failed"]; h.Try != 1 || h.JobID == 0 || h.Cause == "" {
		t.Errorf("the failed check: %+v", h)
	}
	if h := byWhat["image.judge"]; h.Who.Kind != broker.ActorProgram || !strings.Contains(string(h.Detail), "worker/7.1") {
		t.Errorf("who judged: %+v %s", h.Who, h.Detail)
	}
	if h := byWhat["image.start"]; h.Who.Kind != broker.ActorOwner || h.Who.KeyHint != f.by.Key.Hint || h.Who.OwnerID != f.owner.ID {
		t.Errorf("who started: %+v", h.Who)
	}
	if len(got.Watching) != 1 || got.Watching[0].Bucket != "B" || got.Watching[0].Looks != 4 || got.Watching[0].LastLook == nil || got.Watching[0].Fault == "" {
		t.Errorf("watching %+v", got.Watching)
	}
	if got.Image == nil || got.Image.ETag != "e2" || got.Cut {
		t.Errorf("%+v", got.Image)
	}

	// Removed, it is told as before, and when the row is gone the audit is left.
	if err := f.RemoveImage(ctx, p.ID, img.ID, time.Now(), time.Now(), f.by); err != nil {
		t.Fatal(err)
	}
	if got, err = f.Trace(ctx, img.ID); err != nil || got.Image == nil || got.Image.State != broker.StateRemoved || len(got.Story) != len(want)+1 {
		t.Errorf("removed: %+v, %v", whats(got), err)
	}
	if err := f.ForgetImage(ctx, img.ID); err != nil {
		t.Fatal(err)
	}
	got, err = f.Trace(ctx, img.ID)
	left := slices.DeleteFunc(whats(got), func(s string) bool { return s == "fetch.failed" || s == "check.failed" }) // River's own rows
	gone := []string{"image.register", "image.start", "image.seen", "image.judge", "image.register", "image.seen", "image.remove", "image.final"}
	if err != nil || got.Image != nil || len(got.Watching) != 0 || !slices.Equal(left, gone) {
		t.Errorf("gone: %v, %v, %v", got.Image, left, err)
	}
	if id, err := f.ProjectOfStory(ctx, img.ID); err != nil || id != p.ID {
		t.Errorf("its project is %q, %v", id, err)
	}
	_, err = f.ProjectOfStory(ctx, broker.NewID(time.Now()))
	wantCode(t, err, broker.CodeNotFound)
}

// TestALongStoryIsCut keeps the newest.
func TestALongStoryIsCut(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	f.exec(t, `INSERT INTO audit (at, action, project_id, image_id, detail)
		SELECT now() + n * interval '1 s', 'image.done', $1, $2, jsonb_build_object('n', n) FROM generate_series(1, 1500) n`, p.ID, img.ID)
	got, err := f.Trace(t.Context(), img.ID)
	if err != nil || !got.Cut || len(got.Story) != 1001 { // and the grant
		t.Fatalf("%d happenings, cut %t: %v", len(got.Story), got.Cut, err)
	}
	if last := got.Story[1000]; !strings.Contains(string(last.Detail), "1500") {
		t.Errorf("the newest is %s", last.Detail)
	}
}

// TestAuditOutlivesAll: lines stay as they are while everything that they speak of
// is deleted, by cascades too.
func TestAuditOutlivesAll(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	keys := &broker.Keys{Store: f.Store, Now: time.Now}
	tied, secret, err := keys.Create(ctx, f.owner, broker.NewKey{Name: "drone", ProjectID: p.ID})
	if err != nil {
		t.Fatal(err)
	}
	byTied := broker.Caller{Owner: f.owner, Key: tied}
	b := f.batchOf(p.ID, "A", 1, 2)
	b.By = byTied
	images, err := f.Register(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	f.seeOne(t, images[0], "A", "e1")
	if err := f.RemoveImage(ctx, p.ID, images[1].ID, time.Now(), time.Now(), byTied); err != nil {
		t.Fatal(err)
	}
	const lines = `SELECT string_agg(a::text, E'\n' ORDER BY id) FROM audit a`
	before := scan[string](t, f, lines)
	if err := f.ForgetImage(ctx, images[1].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RemoveProject(ctx, p.ID, time.Now(), time.Now(), f.by); err != nil {
		t.Fatal(err)
	}
	if err := f.FinishProject(ctx, p.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	f.exec(t, `DELETE FROM sessions`)
	if n := scan[int](t, f, `SELECT count(*) FROM images`); n != 0 {
		t.Fatalf("%d images are left", n)
	}
	if after := scan[string](t, f, lines); !strings.HasPrefix(after, before+"\n") {
		t.Errorf("lines changed, from\n%s\nto\n%s", before, after)
	}

	// And they can be read, with who it was.
	got, err := f.Audit(ctx, p.ID, broker.AuditQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var acts []string
	for _, l := range slices.Backward(got) {
		acts = append(acts, fmt.Sprintf("%s by %s %s", l.Action, l.Who.Kind, l.Who.KeyHint))
		if l.ImageName != "" {
			t.Errorf("a name of an image that is gone: %+v", l)
		}
		if !strings.HasPrefix(l.Action, "key.") {
			continue
		}
		var which struct{ Key, Name, Hint string }
		if err := json.Unmarshal(l.Detail, &which); err != nil || which.Key != tied.ID || which.Name != "drone" || which.Hint != tied.Hint || strings.Contains(string(l.Detail), secret) {
			t.Errorf("%s does not tell which key: %s", l.Action, l.Detail)
		}
	}
	owner, program := " by owner "+f.by.Key.Hint, " by program "
	want := []string{
		"project.create" + owner, "key.create by owner ", "image.register by owner " + tied.Hint, "image.register by owner " + tied.Hint,
		"image.seen" + program, "image.remove by owner " + tied.Hint, "image.final" + program, "project.remove" + owner,
		"key.revoke" + program, "project.final" + program,
	}
	if !slices.Equal(acts, want) {
		t.Errorf("the audit tells\n%s, want\n%s", strings.Join(acts, "\n"), strings.Join(want, "\n"))
	}
	if q, err := f.AnyProject(ctx, p.ID); err != nil || q.FinalAt == nil || q.OwnerID != f.owner.ID {
		t.Errorf("%+v, %v", q, err)
	}
}

// TestAuditNarrowed asks for parts of it.
func TestAuditNarrowed(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p, other := f.newProject(t), f.newProject(t)
	one, two := f.registerOne(t, p.ID, "A", 1), f.registerOne(t, p.ID, "A", 2)
	f.registerOne(t, other.ID, "A", 1)
	f.seeOne(t, one, "A", "e")
	f.exec(t, `INSERT INTO audit (at, action, project_id) VALUES ('2020-01-01Z', 'project.undo', $1)`, p.ID)
	all, err := f.Audit(ctx, p.ID, broker.AuditQuery{Limit: 100})
	if err != nil || len(all) != 5 {
		t.Fatalf("%d lines, %v", len(all), err)
	}
	for _, c := range []struct {
		name string
		q    broker.AuditQuery
		want []broker.AuditLine
	}{
		{"two", broker.AuditQuery{Limit: 2}, all[:2]},
		{"the rest", broker.AuditQuery{Before: all[1].ID, Limit: 100}, all[2:]},
		{"an action", broker.AuditQuery{Action: "image.seen", Limit: 100}, all[1:2]},
		{"an image", broker.AuditQuery{ImageID: two.ID, Limit: 100}, all[2:3]},
		{"an image and an action", broker.AuditQuery{ImageID: two.ID, Action: "image.seen", Limit: 100}, nil},
		{"since", broker.AuditQuery{Since: time.Now().Add(-time.Hour), Limit: 100}, all[1:]},
		{"another's image", broker.AuditQuery{ImageID: broker.NewID(time.Now()), Limit: 100}, nil},
	} {
		got, err := f.Audit(ctx, p.ID, c.q)
		if err != nil || !slices.EqualFunc(got, c.want, func(a, b broker.AuditLine) bool { return a.ID == b.ID }) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	if all[1].ImageName != "a.jpg" || all[1].ImageID != one.ID {
		t.Errorf("the image of a line: %+v", all[1])
	}
}
