package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
)

// loadRows asks the server's database.
func loadRows[T any](l *loadRun, to pgx.RowToFunc[T], sql string, args ...any) []T {
	l.t.Helper()
	found, err := l.store.Pool().Query(context.Background(), sql, args...)
	if err != nil {
		l.t.Fatalf("%v in %s", err, sql)
	}
	all, err := pgx.CollectRows(found, to)
	if err != nil {
		l.t.Fatalf("%v in %s", err, sql)
	}
	return all
}

// loadCount asks for one number.
func loadCount(l *loadRun, sql string, args ...any) int {
	l.t.Helper()
	return loadRows(l, pgx.RowTo[int], sql, args...)[0]
}

// judgedInTime counts the verdicts while the clients were there.
func (l *loadRun) judgedInTime() int {
	l.t.Helper()
	return loadCount(l, `SELECT count(*) FROM verdicts WHERE judged_at <= $1`, l.ended)
}

// settle waits until nothing is left to do and returns how long that took.
func (l *loadRun) settle() time.Duration {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), settleTime)
	defer cancel()
	for {
		var left []string
		for _, u := range unsettled {
			if loadCount(l, u.count) > 0 {
				left = append(left, u.what+", as\n  "+strings.Join(loadRows(l, pgx.RowTo[string], u.show), "\n  "))
			}
		}
		if len(left) == 0 {
			return time.Since(l.ended)
		}
		if !pause(ctx, 200*time.Millisecond) {
			l.t.Errorf("%s after the last client there are %s", settleTime, strings.Join(left, "\nand "))
			return time.Since(l.ended)
		}
	}
}

// loadImage is an image with what the tables say around it.
type loadImage struct {
	ID, Project, Declared, Proven, State     string
	Reasons                                  []string
	Attempt, Size, Verdicts, Agree, Failures int
	UploadedAt, JudgedAt                     *time.Time
}

// judge compares the database with what was put: each file has one image, with one
// verdict, the right one for its bytes. It returns how long files waited for what.
func (l *loadRun) judge() (waits map[string][]time.Duration) {
	l.t.Helper()
	waits = map[string][]time.Duration{}
	images := map[string]loadImage{}
	for _, img := range loadRows(l, pgx.RowToStructByName[loadImage], `
		SELECT i.id, project_id AS project, encode(declared_sha1, 'hex') AS declared, coalesce(encode(proven_sha1, 'hex'), '') AS proven, state, reasons, attempt,
		       coalesce(proven_size, -1) AS size, coalesce(v.verdicts, 0) AS verdicts, coalesce(v.agree, 0) AS agree, check_failures AS failures, uploaded_at, judged_at
		FROM images i LEFT JOIN (
			SELECT v.image_id, count(*) AS verdicts, count(*) FILTER (WHERE v.attempt = i.attempt AND v.etag = i.etag AND v.state = i.state) AS agree
			FROM verdicts v JOIN images i ON i.id = v.image_id GROUP BY v.image_id
		) v ON v.image_id = i.id`) {
		images[img.ID] = img
	}
	files, lost, wrong := 0, 0, 0
	for c, f := range l.put() {
		files++
		img, there := images[f.id]
		delete(images, f.id)
		if !there || img.UploadedAt == nil || img.JudgedAt == nil {
			if lost++; lost <= 5 {
				l.t.Errorf("lost: %s of kind %s: %+v", f.id, f.kind.name, img)
			}
			continue
		}
		var reason broker.ReasonCode
		if len(img.Reasons) > 0 {
			reason = broker.ParseReason(img.Reasons[0]).Code
		}
		if img.Project != c.project || img.Declared != f.declared || img.Proven != f.proven || img.Size != len(f.text) ||
			img.State != string(f.kind.state) || reason != f.kind.reason || len(img.Reasons) > 1 ||
			img.Attempt != 1 || img.Verdicts != 1 || img.Agree != 1 {
			if wrong++; wrong <= 5 {
				l.t.Errorf("%s of kind %s, %d bytes with the sha1 %s, became %+v", f.name, f.kind.name, len(f.text), f.proven, img)
			}
		}
		waits["to be seen"] = append(waits["to be seen"], max(0, img.UploadedAt.Sub(f.put))) // it may be before the client had its answer
		waits["from there to the verdict"] = append(waits["from there to the verdict"], img.JudgedAt.Sub(*img.UploadedAt))
	}
	if lost+wrong > 0 {
		l.t.Errorf("of %d files %d are lost, and %d have another verdict than their one right one", files, lost, wrong)
	}
	for id, img := range images {
		l.t.Errorf("nobody put %s, which is %+v", id, img)
		break
	}
	for _, bad := range []struct{ what, sql string }{
		{"jobs failed for good", `SELECT count(*) FROM river_job WHERE state = 'discarded'`},
		{"jobs were tried again", `SELECT count(*) FROM river_job WHERE attempt > 1`},
		{"checks could not run", `SELECT coalesce(sum(check_failures), 0) FROM images`},
		{"images expired", `SELECT count(*) FROM audit WHERE action = 'image.expire'`},
	} {
		if n := loadCount(l, bad.sql); n > 0 {
			l.t.Errorf("%d %s", n, bad.what)
		}
	}
	for _, times := range waits {
		slices.Sort(times)
	}
	return waits
}
