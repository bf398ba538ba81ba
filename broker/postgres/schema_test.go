package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestAuditIsAppendOnly(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	before := scan[int](t, f, `SELECT count(*) FROM audit`)
	if before == 0 {
		t.Fatal("nothing was audited")
	}
	for _, sql := range []string{
		`UPDATE audit SET action = 'a.b'`,
		`UPDATE audit SET detail = '{}' WHERE false`,
		`DELETE FROM audit`,
		`DELETE FROM audit WHERE project_id = '` + p.ID + `'`,
		`TRUNCATE audit`,
		`INSERT INTO audit (id, at, action) OVERRIDING SYSTEM VALUE SELECT id, at, 'a.b' FROM audit ON CONFLICT (id) DO UPDATE SET action = 'a.b'`,
		`MERGE INTO audit a USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE`,
	} {
		_, err := f.Pool().Exec(t.Context(), sql)
		if err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if after := scan[int](t, f, `SELECT count(*) FROM audit WHERE action <> 'a.b'`); after != before {
		t.Errorf("%d lines, there were %d", after, before)
	}
}

// refused is a statement that a CHECK or unique index must refuse. The SQL runs
// with an owner, a project, a key, and an image in each state.
type refused struct {
	why        string
	constraint string // "": any of the table
	sql        string
}

func TestChecksRefuse(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	ids := f.oneOfEach(t, p.ID)
	const id = `'01ARZ3NDEKTSV4RRFFQ69G5FAV'`
	image := func(set string) string { // a further image, with these columns
		cols := map[string]string{
			"id": id, "project_id": "'" + p.ID + "'", "name": "'x'", "state": "'Pending'", "attempt": "1", "filename": "'x.jpg'",
			"grants_end": "now()", "created_at": "now()", "declared_sha1": `'\x` + strings.Repeat("ab", 20) + `'`,
		}
		for pair := range strings.SplitSeq(set, ";") {
			if k, v, ok := strings.Cut(pair, "="); ok {
				cols[strings.TrimSpace(k)] = v
			}
		}
		var names, values []string
		for k, v := range cols {
			names, values = append(names, k), append(values, v)
		}
		return fmt.Sprintf("INSERT INTO images (%s) VALUES (%s)", strings.Join(names, ", "), strings.Join(values, ", "))
	}
	on := func(state broker.State, set string) string {
		return fmt.Sprintf("UPDATE images SET %s WHERE id = '%s'", set, ids[state])
	}

	// The template itself is fine, or every refusal below would mean nothing.
	tx, err := f.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		image(""),
		image(`id='01ARZ3NDEKTSV4RRFFQ69G5FAW';declared_sha1=NULL;filename='y';name='100MEDIA/山 é.jpg'`),
		image(`id='01ARZ3NDEKTSV4RRFFQ69G5FAX';declared_sha1=NULL;filename='z';name='` + strings.Repeat("x", 1024) + `'`),
	} {
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}

	for _, c := range []refused{
		{"an id that is none", "ulid_check", image(`id='x'`)},
		{"an id in small letters", "ulid_check", image(`id='01arz3ndektsv4rrffq69g5fav'`)},
		{"an id over 128 bits", "ulid_check", image(`id='81ARZ3NDEKTSV4RRFFQ69G5FAV'`)},
		{"an id with an I", "ulid_check", image(`id='01ARZ3NDEKTSV4RRFFQ69G5FAI'`)},
		{"an id with a line end", "ulid_check", image(`id=E'01ARZ3NDEKTSV4RRFFQ69G5FAV\n'`)},
		{"no name", "images_name_check", image(`name=''`)},
		{"a long name", "images_name_check", image(`name='` + strings.Repeat("x", 1025) + `'`)},
		{"a backslash", "images_name_check", image(`name='a\b'`)},
		{"a tab", "images_name_check", image(`name=E'a\tb'`)},
		{"the first control character", "images_name_check", image(`name=E'a\x01b'`)},
		{"the last of C0", "images_name_check", image(`name=E'a\x1fb'`)},
		{"DEL", "images_name_check", image(`name=E'a\x7fb'`)},
		{"a short sha1", "images_declared_sha1_check", image(`declared_sha1='\xab'`)},
		{"a negative size", "images_declared_size_check", image(`declared_size=-1`)},
		{"an unknown state", "images_state_check", image(`state='Done'`)},
		{"attempt 0", "images_attempt_check", image(`attempt=0`)},
		{"a slash in a key", "images_filename_check", image(`filename='a/b'`)},
		{"no key", "images_filename_check", image(`filename=''`)},
		{"a long key", "images_filename_check", image(`filename='` + strings.Repeat("x", 101) + `'`)},
		{"the same key twice", "images_filename", image(`filename='` + filename(1, 1) + `'`)},
		{"the same sha1 twice", "images_sha1", image(`declared_sha1='\x` + digest(1).String() + `'`)},
		{"a project that is none", "images_project_id_fkey", image(`project_id=` + id)},

		{"Pending with an etag", "images_open_knows_nothing", on("Pending", `etag = 'e'`)},
		{"Pending with a bucket", "images_open_knows_nothing", on("Pending", `bucket = 'A'`)},
		{"Pending with reasons", "images_open_knows_nothing", on("Pending", `reasons = '{empty}'`)},
		{"Pending and proven", "images_open_knows_nothing", on("Pending", `proven_sha1 = declared_sha1`)},
		{"Uploading, never started", "images_uploading_started", on("Uploading", `started_at = NULL`)},
		{"Uploading with an etag", "images_open_knows_nothing", on("Uploading", `etag = 'e'`)},
		{"Uploaded without an etag", "images_uploaded_was_seen", on("Uploaded", `etag = NULL`)},
		{"Uploaded with no etag", "images_etag_check", on("Uploaded", `etag = ''`)},
		{"Uploaded nowhere", "images_uploaded_was_seen", on("Uploaded", `bucket = NULL`)},
		{"Uploaded without a size", "images_uploaded_was_seen", on("Uploaded", `object_size = NULL`)},
		{"Uploaded with a negative size", "images_object_size_check", on("Uploaded", `object_size = -1`)},
		{"Uploaded with a verdict", "images_uploaded_was_seen", on("Uploaded", `reasons = '{empty}'`)},
		{"Uploaded and proven", "images_uploaded_was_seen", on("Uploaded", `proven_sha1 = declared_sha1`)},
		{"Uploaded at no time", "images_uploaded_was_seen", on("Uploaded", `uploaded_at = NULL`)},
		{"Ready without a sha1", "images_ready_is_proven", on("Ready", `proven_sha1 = NULL`)},
		{"Ready without a CRC-32", "images_ready_is_proven", on("Ready", `crc32 = NULL`)},
		{"Ready without a size", "images_ready_is_proven", on("Ready", `proven_size = NULL`)},
		{"Ready without an etag", "images_ready_is_proven", on("Ready", `etag = NULL`)},
		{"Ready nowhere", "images_ready_is_proven", on("Ready", `bucket = NULL`)},
		{"Ready at no time", "images_ready_is_proven", on("Ready", `judged_at = NULL`)},
		{"Ready with reasons that nobody accepted", "images_ready_is_proven", on("Ready", `reasons = '{corrupt}'`)},
		{"a short proof", "images_proven_sha1_check", on("Ready", `proven_sha1 = '\x00'`)},
		{"a negative proof", "images_proven_size_check", on("Ready", `proven_size = -1`)},
		{"a CRC-32 of 33 bits", "images_crc32_check", on("Ready", `crc32 = 4294967296`)},
		{"a negative CRC-32", "images_crc32_check", on("Ready", `crc32 = -1`)},
		{"Invalid without a reason", "images_invalid_says_why", on("Invalid", `reasons = '{}'`)},
		{"Invalid at no time", "images_invalid_says_why", on("Invalid", `judged_at = NULL`)},
		{"accepted and Invalid", "images_accepted_is_ready", on("Invalid", `accepted = true`)},
		{"Removed at no time", "images_removed", on("Removed", `removed_at = NULL`)},
		{"Removed from nothing", "images_removed", on("Removed", `removed_from = NULL`)},
		{"Removed from Removed", "images_removed_from_check", on("Removed", `removed_from = 'Removed'`)},
		{"Removed without undo's end", "images_removed", on("Removed", `undo_until = NULL`)},
		{"removed_at and yet Ready", "images_removed", on("Ready", `removed_at = now()`)},
		{"swept and yet Ready", "images_sweep", on("Ready", `sweep_at = now()`)},
		{"fewer than no failures", "images_check_failures_check", on("Uploaded", `check_failures = -1`)},

		{"an email in capitals", "owners_email_check", `INSERT INTO owners (id, email, created_at) VALUES (` + id + `, 'A@b', now())`},
		{"no email", "owners_email_check", `INSERT INTO owners (id, email, created_at) VALUES (` + id + `, 'b', now())`},
		{"an email twice", "owners_email", `INSERT INTO owners (id, email, created_at) VALUES (` + id + `, 'ada@example.com', now())`},
		{"a project without a name", "projects_name_check", `UPDATE projects SET name = ''`},
		{"a long name of a project", "projects_name_check", `UPDATE projects SET name = repeat('x', 256)`},
		{"an unknown kind", "projects_kind_check", `UPDATE projects SET kind = 'other'`},
		{"a tag of kind recon", "projects_check", `UPDATE projects SET tag = 't'`},
		{"removed without undo", "projects_check1", `UPDATE projects SET removed_at = now()`},
		{"swept while it lives", "projects_check2", `UPDATE projects SET sweep_at = now()`},
		{"final while it lives", "projects_check3", `UPDATE projects SET final_at = now()`},
		{"final and swept", "projects_check3", `UPDATE projects SET removed_at = now(), undo_until = now(), sweep_at = now(), final_at = now()`},
		{"an unknown scope", "keys_scopes_check", `UPDATE keys SET scopes = '{read,all}'`},
		{"no scope", "keys_scopes_check", `UPDATE keys SET scopes = '{}'`},
		{"an unknown cloud", "keys_clouds_check", `UPDATE keys SET clouds = '{AWS}'`},
		{"a hash of MD5", "keys_hash_check", `UPDATE keys SET hash = '\x00112233445566778899aabbccddeeff'`},
		{"a hint that tells too much", "keys_hint_check", `UPDATE keys SET hint = '123456789'`},
		{"a grant that ended before it began", "grants_check", `UPDATE grants SET expires_at = issued_at`},
		{"an unknown kind of grant", "grants_kind_check", `UPDATE grants SET kind = 'cookie'`},
		{"a watch that never pauses", "watches_pause_check", `UPDATE watches SET pause = '0 s'`},
		{"a watch of fewer than no pages", "watches_pages_check", `UPDATE watches SET pages = -1`},
		{"an unknown session", "sessions_kind_check", `INSERT INTO sessions SELECT hash, id, 'token', now(), now() FROM keys`},
		{"a verdict of no state", "verdicts_state_check", `UPDATE verdicts SET state = 'Uploaded'`},
		{"an action without an object", "audit_action_check", `INSERT INTO audit (at, action) VALUES (now(), 'register')`},
	} {
		tx, err := f.Pool().Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = tx.Exec(t.Context(), c.sql)
		var pe *pgconn.PgError
		switch {
		case !errors.As(err, &pe):
			t.Errorf("%s: %v\n%s", c.why, err, c.sql)
		case pe.ConstraintName != c.constraint:
			t.Errorf("%s was refused by %q (%s), want %q", c.why, pe.ConstraintName, pe.Message, c.constraint)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// oneOfEach makes images 1 to 6, one in each state, and returns their ids.
func (f *fixture) oneOfEach(t *testing.T, projectID string) map[broker.State]string {
	t.Helper()
	ids := map[broker.State]string{}
	for i, c := range []struct {
		state broker.State
		deeds []broker.Event
	}{
		{broker.StatePending, nil},
		{broker.StateUploading, []broker.Event{broker.EventStart}},
		{broker.StateUploaded, []broker.Event{broker.EventSeen}},
		{broker.StateReady, []broker.Event{broker.EventSeen, broker.EventReady}},
		{broker.StateInvalid, []broker.Event{broker.EventSeen, broker.EventInvalid}},
		{broker.StateRemoved, []broker.Event{broker.EventSeen, broker.EventReady, broker.EventRemove}},
	} {
		img := f.registerOne(t, projectID, "A", i+1)
		for _, e := range c.deeds {
			d := deed{event: e, digest: i + 1, attempt: 1, etag: "e", bucket: "A", reason: broker.ReasonCorrupt}
			if err := f.do(context.Background(), projectID, d); err != nil {
				t.Fatalf("%s: %v", d, err)
			}
		}
		if got := f.image(t, img.ID).State; got != c.state {
			t.Fatalf("the image is %s, want %s", got, c.state)
		}
		ids[c.state] = img.ID
	}
	return ids
}

// TestFormerAttemptsAreFiled: no path can forget to.
func TestFormerAttemptsAreFiled(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	id := f.oneOfEach(t, p.ID)[broker.StateInvalid]
	was := f.image(t, id)
	f.registerOne(t, p.ID, "B", 5)
	now := f.image(t, id)
	if now.Attempt != 2 || now.Filename != filename(5, 2) || now.ETag != "" {
		t.Fatalf("%+v", now)
	}
	filed := scan[[]byte](t, f, `SELECT to_jsonb(a) FROM attempts a WHERE image_id = $1`, id)
	var a struct {
		Attempt  int
		Filename string
		Bucket   string
		ETag     string
		Size     int64 `json:"object_size"`
		Reasons  []string
	}
	if err := json.Unmarshal(filed, &a); err != nil {
		t.Fatal(err)
	}
	if a.Attempt != 1 || a.Filename != was.Filename || a.Bucket != "A" || a.ETag != "e" || a.Size != 3 || len(a.Reasons) != 1 {
		t.Errorf("filed is %s", filed)
	}
}
