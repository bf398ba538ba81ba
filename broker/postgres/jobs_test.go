package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// uploaded registers an image and shows its object.
func (f *fixture) uploaded(t testing.TB, projectID string, number int) broker.Image {
	t.Helper()
	img := f.registerOne(t, projectID, "A", number)
	f.seeOne(t, img, "A", "e1")
	return f.image(t, img.ID)
}

// jobOf finds an image in the list of jobs.
func (f *fixture) jobOf(t testing.TB, imageID string) (found postgres.Job, n int) {
	t.Helper()
	jobs, err := f.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if j.ImageID == imageID {
			found, n = j, n+1
		}
	}
	return found, n
}

// TestJobsTellOfPoisonedObjects: what could not be checked is listed with its cause
// once, as long as it can be retried, whether River remembers the job or not.
func TestJobsTellOfPoisonedObjects(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	img := f.uploaded(t, p.ID, 1)
	if j, n := f.jobOf(t, img.ID); n != 1 || j.State != postgres.JobWaiting || j.Kind != "validate" || j.LastCause != "" || j.DueAt.IsZero() || j.Since.IsZero() {
		t.Errorf("waiting: %d %+v", n, j)
	}
	f.failJob(t, img.ID, "running", "the bucket\n\tdrips")
	if j, n := f.jobOf(t, img.ID); n != 1 || j.State != postgres.JobRunning || j.LastCause != "the bucket drips" {
		t.Errorf("running: %d %+v", n, j)
	}
	f.giveUp(t, img.ID, "it could not be checked 10 times")
	first := f.failJob(t, img.ID, "cancelled", "JobCancelError: denied: https://a.example/k?sig=1 says no")
	j, n := f.jobOf(t, img.ID)
	if n != 1 || j.ID != first || j.State != postgres.JobFailed || j.Try != 10 || j.LastCause != "denied: https://a.example/… says no" || j.Since.IsZero() {
		t.Errorf("failed: %d %+v", n, j)
	}
	if ids, err := f.UncheckedImages(ctx, 10); err != nil || len(ids) != 1 || ids[0] != img.ID {
		t.Errorf("unchecked: %v, %v", ids, err)
	}

	f.exec(t, `DELETE FROM river_job WHERE id = $1`, first)
	j, n = f.jobOf(t, img.ID)
	if n != 1 || j.ID != 0 || j.State != postgres.JobFailed || j.Kind != "validate" || j.LastCause != "it could not be checked 10 times" {
		t.Errorf("forgotten: %d %+v", n, j)
	}

	// Retried, it waits; the failure is history.
	if err := f.RetryImage(ctx, img.ID, time.Now(), broker.Caller{}); err != nil {
		t.Fatal(err)
	}
	if j, n = f.jobOf(t, img.ID); n != 1 || j.State != postgres.JobWaiting || j.Try != 0 || j.LastCause != "" {
		t.Errorf("retried: %d %+v", n, j)
	}
	// Failed again, the last failure tells.
	f.giveUp(t, img.ID, "again")
	second := f.failJob(t, img.ID, "discarded", "again")
	f.exec(t, `INSERT INTO river_job (state, attempt, max_attempts, attempted_at, finalized_at, args, kind, queue, priority)
		SELECT 'cancelled', 10, 10, now(), now(), args, kind, queue, priority FROM river_job WHERE id = $1`, second)
	if j, n = f.jobOf(t, img.ID); n != 1 || j.ID <= second {
		t.Errorf("failed twice: %d %+v", n, j)
	}

	// None of these can be retried, and none is listed.
	for name, sql := range map[string]string{
		"swept":          `UPDATE images SET swept_at = now()`,
		"overwritten":    `UPDATE images SET etag = 'e9', state = 'Ready', reasons = '{}', proven_sha1 = declared_sha1, proven_size = 1, crc32 = 1`,
		"a verdict":      `UPDATE images SET reasons = '{"corrupt: it is"}'`,
		"more than that": `UPDATE images SET reasons = '{"corrupt: it is","unchecked: no"}'`,
		"project gone":   `UPDATE projects SET removed_at = now(), undo_until = now()`,
	} {
		f.exec(t, `CREATE TABLE kept AS SELECT * FROM images`)
		f.exec(t, sql)
		if j, n := f.jobOf(t, img.ID); n != 0 {
			t.Errorf("%s: %d %+v", name, n, j)
		}
		if moved, err := f.Recheck(ctx, img.ID, time.Now(), f.by); moved || err != nil {
			t.Errorf("%s: moved %t, %v", name, moved, err)
		}
		f.exec(t, `UPDATE images i SET swept_at = k.swept_at, etag = k.etag, state = k.state, reasons = k.reasons, proven_sha1 = k.proven_sha1,
			proven_size = k.proven_size, crc32 = k.crc32 FROM kept k WHERE k.id = i.id`)
		f.exec(t, `UPDATE projects SET removed_at = NULL, undo_until = NULL`)
		f.exec(t, `DROP TABLE kept`)
	}
	if j, n := f.jobOf(t, img.ID); n != 1 {
		t.Errorf("as before: %d %+v", n, j)
	}
}

// TestFailuresComeFirst, however long the queue is.
func TestFailuresComeFirst(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	f.exec(t, `INSERT INTO river_job (state, max_attempts, args, kind, queue, priority)
		SELECT 'available', 10, jsonb_build_object('image_id', 'x' || n, 'attempt', 1, 'etag', 'e'), 'validate', 'validate', 1
		FROM generate_series(1, 1500) n`)
	img := f.uploaded(t, p.ID, 1)
	f.giveUp(t, img.ID, "no")
	f.failJob(t, img.ID, "cancelled", "no")
	running := f.uploaded(t, p.ID, 2)
	f.failJob(t, running.ID, "running")
	jobs, err := f.Jobs(t.Context())
	if err != nil || len(jobs) != postgres.MaxJobs || jobs[0].ImageID != img.ID || jobs[1].ImageID != running.ID || jobs[2].ImageID != "x1" {
		t.Errorf("%d jobs, the first ones %+v, %v", len(jobs), jobs[:min(len(jobs), 3)], err)
	}
}

// TestRecheck sets Uploaded again, with a validation and a line in the audit.
func TestRecheck(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	for i, by := range []broker.Caller{{}, f.by} {
		img := f.uploaded(t, p.ID, i)
		f.exec(t, `DELETE FROM river_job`)
		if _, _, err := f.CheckFailed(ctx, judging(img), time.Now()); err != nil {
			t.Fatal(err)
		}
		f.giveUp(t, img.ID, "no")
		for _, want := range []bool{true, false} {
			if moved, err := f.Recheck(ctx, img.ID, time.Now(), by); err != nil || moved != want {
				t.Fatalf("moved %t, %v", moved, err)
			}
		}
		got := f.image(t, img.ID)
		if got.State != broker.StateUploaded || len(got.Reasons) != 0 || got.JudgedAt != nil || got.CheckFailures != 0 || got.CheckFailingSince != nil || got.ETag != "e1" {
			t.Errorf("%+v", got)
		}
		if n := scan[int](t, f, `SELECT count(*) FROM river_job WHERE kind = 'validate' AND queue = 'validate' AND max_attempts = 10 AND state = 'available'
			AND args = jsonb_build_object('image_id', $1::text, 'attempt', 1, 'etag', 'e1', 'size', 3, 'bucket', 'A')`, img.ID); n != 1 {
			t.Errorf("%d validations", n)
		}
		lines, err := f.Audit(ctx, p.ID, broker.AuditQuery{Action: "image.recheck", ImageID: img.ID, Limit: 10})
		want := broker.ActorOperator
		if by.Known() {
			want = broker.ActorOwner
		}
		if err != nil || len(lines) != 1 || lines[0].Who.Kind != want || lines[0].Who.KeyID != by.Key.ID {
			t.Errorf("%+v, %v", lines, err)
		}
	}
}

// TestRetry is answered with what to do, or does it.
func TestRetry(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	number := 0
	poisoned := func() (broker.Image, int64) {
		number++
		img := f.uploaded(t, p.ID, number)
		f.giveUp(t, img.ID, "no")
		return img, f.failJob(t, img.ID, "cancelled", "no")
	}
	uploaded := func() broker.Image {
		number++
		return f.uploaded(t, p.ID, number)
	}
	img := func(img broker.Image, _ int64) string { return img.ID }
	job := func(_ broker.Image, id int64) string { return fmt.Sprint(id) }
	retry := func(what string) error {
		var id int64
		if _, err := fmt.Sscan(what, &id); err == nil && len(what) < 20 {
			return f.RetryJob(ctx, id, time.Now(), broker.Caller{})
		}
		return f.RetryImage(ctx, what, time.Now(), broker.Caller{})
	}
	for _, c := range []struct {
		name string
		what func() string
		code broker.Code // "": it is Uploaded with a job that is due
		says string
	}{
		{"a poisoned image", func() string { return img(poisoned()) }, "", ""},
		{"its job", func() string { return job(poisoned()) }, "", ""},
		{"a waiting image", func() string {
			i := uploaded()
			f.failJob(t, i.ID, "retryable", "no")
			f.exec(t, `UPDATE river_job SET scheduled_at = now() + interval '1 h' WHERE args->>'image_id' = $1`, i.ID)
			return i.ID
		}, "", ""},
		{"a waiting job", func() string {
			i := uploaded()
			id := f.failJob(t, i.ID, "scheduled", "no")
			f.exec(t, `UPDATE river_job SET scheduled_at = now() + interval '1 h' WHERE id = $1`, id)
			return fmt.Sprint(id)
		}, "", ""},
		{"an image whose job is lost", func() string {
			i := uploaded()
			f.exec(t, `DELETE FROM river_job WHERE args->>'image_id' = $1`, i.ID)
			return i.ID
		}, "", ""},
		{"a discarded job of an Uploaded image", func() string { return fmt.Sprint(f.failJob(t, uploaded().ID, "discarded", "no")) }, "", ""},
		{"a running image", func() string { i := uploaded(); f.failJob(t, i.ID, "running"); return i.ID }, broker.CodeConflict, "right now"},
		{"a running job", func() string { return fmt.Sprint(f.failJob(t, uploaded().ID, "running")) }, broker.CodeConflict, "right now"},
		{"a job that is done", func() string { return fmt.Sprint(f.failJob(t, uploaded().ID, "completed")) }, broker.CodeConflict, "done"},
		{"an open image", func() string { number++; return f.registerOne(t, p.ID, "A", number).ID }, broker.CodeConflict, "have not arrived"},
		{"a swept image", func() string {
			i, _ := poisoned()
			f.exec(t, `UPDATE images SET swept_at = now() WHERE id = $1`, i.ID)
			return i.ID
		}, broker.CodeConflict, "uploaded again"},
		{"the job of a swept image", func() string {
			i, id := poisoned()
			f.exec(t, `UPDATE images SET swept_at = now() WHERE id = $1`, i.ID)
			return fmt.Sprint(id)
		}, broker.CodeConflict, "uploaded again"},
		{"a job whose object was overwritten", func() string {
			i, id := poisoned()
			f.seeOne(t, i, "A", "e2")
			return fmt.Sprint(id)
		}, broker.CodeConflict, "no longer holds"},
		{"a verdict", func() string {
			i := uploaded()
			v := broker.Verdict{SHA1: i.SHA1, Size: 3, Reasons: []broker.Reason{broker.Reasonf(broker.ReasonCorrupt, "so")}}
			if _, err := f.Judge(ctx, judging(i), v, time.Now()); err != nil {
				t.Fatal(err)
			}
			return i.ID
		}, broker.CodeConflict, "corrupt"},
		{"a fetch that gave up", func() string {
			number++
			b := f.batchOf(p.ID, "A", number)
			b.Kind, b.FetchURL = broker.GrantFetch, "https://a.example/x"
			made, err := f.Register(ctx, b)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(f.failJob(t, made[0].ID, "cancelled", "no"))
		}, broker.CodeConflict, "fetching"},
		{"no image", func() string { return broker.NewID(time.Now()) }, broker.CodeNotFound, "no image"},
		{"no job", func() string { return "987654321" }, broker.CodeNotFound, "jobs list"},
		{"a forgotten image's job", func() string {
			i, id := poisoned()
			f.exec(t, `DELETE FROM images WHERE id = $1`, i.ID)
			return fmt.Sprint(id)
		}, broker.CodeConflict, "is gone"},
		{"an image of a removed project", func() string {
			q := f.newProject(t)
			number++
			i := f.uploaded(t, q.ID, number)
			f.giveUp(t, i.ID, "no")
			if _, err := f.RemoveProject(ctx, q.ID, time.Now(), time.Now().Add(time.Minute), f.by); err != nil {
				t.Fatal(err)
			}
			return i.ID
		}, broker.CodeConflict, "removed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			what := c.what()
			before := scan[int](t, f, `SELECT count(*) FROM audit`)
			err := retry(what)
			wantCode(t, err, c.code)
			if c.code != "" {
				if !strings.Contains(err.Error(), c.says) {
					t.Errorf("it says %v", err)
				}
				if after := scan[int](t, f, `SELECT count(*) FROM audit`); after != before {
					t.Error("it did something all the same")
				}
				return
			}
			id := what
			if len(what) < 20 {
				id = scan[string](t, f, `SELECT args->>'image_id' FROM river_job WHERE id = $1::text::bigint`, what)
			}
			if got := f.image(t, id).State; got != broker.StateUploaded {
				t.Errorf("it is %s", got)
			}
			if n := scan[int](t, f, `SELECT count(*) FROM river_job WHERE args->>'image_id' = $1 AND state = 'available' AND scheduled_at <= clock_timestamp()`, id); n != 1 {
				t.Errorf("%d jobs are due", n)
			}
			if c.name == "a poisoned image" || c.name == "its job" { // that job itself, from its first try, with what failed before
				var tries, errors int
				if err := f.Pool().QueryRow(ctx, `SELECT attempt, cardinality(errors) FROM river_job WHERE args->>'image_id' = $1`, id).Scan(&tries, &errors); err != nil || tries != 0 || errors != 1 {
					t.Errorf("its try is %d with %d errors, %v", tries, errors, err)
				}
			}
		})
	}
}
