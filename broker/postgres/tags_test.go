package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/uploadbroker/uploadbroker/broker"
)

func (f *fixture) newTag(name string) broker.Project {
	now := time.Now()
	return broker.Project{ID: broker.NewID(now), OwnerID: f.owner.ID, Name: name, Kind: broker.KindFiles, Tag: name, CreatedAt: now}
}

// fileOf is a file whose object was put into a tag.
func (f *fixture) fileOf(p broker.Project, number int) broker.ReceivedFile {
	now := time.Now()
	id := broker.NewID(now)
	return broker.ReceivedFile{
		ID: id, ProjectID: p.ID, Name: "a.jpg", SHA1: digest(number), Now: now, By: f.by,
		Seen: broker.Seen{Bucket: "A", ProjectID: p.ID, Filename: id + ".jpg", ETag: "e", SizeBytes: 3},
	}
}

// What a transaction has written is told when it has ended, and not before.
func TestReceivedAsWaits(t *testing.T) {
	for about, commits := range map[string]bool{"commits": true, "rolls back": false} {
		t.Run(about, func(t *testing.T) {
			f := open(t)
			p := f.newTag("inbox")
			if err := f.CreateProject(t.Context(), p, f.by); err != nil {
				t.Fatal(err)
			}
			file := f.fileOf(p, 1)
			_, err := f.ReceivedAs(t.Context(), p.ID, file.Seen.Filename)
			wantCode(t, err, broker.CodeNotFound)

			tx, err := f.Pool().Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.Background()) }()
			if _, err := tx.Exec(t.Context(), `SELECT id FROM projects WHERE id = $1 FOR SHARE`, p.ID); err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), `INSERT INTO images (id, project_id, name, declared_sha1, declared_size, state, attempt, filename, grants_end,
				created_at, started_at, bucket, etag, object_size, uploaded_at)
				VALUES ($1, $2, 'a.jpg', $3, 3, 'Uploaded', 1, $4, now(), now(), now(), 'A', 'e', 3, now())`,
				file.ID, p.ID, file.SHA1[:], file.Seen.Filename); err != nil {
				t.Fatal(err)
			}
			type told struct {
				img broker.Image
				err error
			}
			done := make(chan told, 1)
			go func() {
				img, err := f.ReceivedAs(context.WithoutCancel(t.Context()), p.ID, file.Seen.Filename)
				done <- told{img, err}
			}()
			<-f.blocked("name: AwaitProject")
			end, want := tx.Rollback, broker.CodeNotFound
			if commits {
				end, want = tx.Commit, ""
			}
			if err := end(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := <-done
			wantCode(t, got.err, want)
			if commits && got.img.ID != file.ID {
				t.Errorf("the image is %s, want %s", got.img.ID, file.ID)
			}
		})
	}
}

// Whoever comes second is refused before he runs into an index, which Postgres would
// write into its log as an error. Without the indexes he is refused all the same.
func TestSecondOfATagIsExpected(t *testing.T) {
	f := open(t)
	first := f.newTag("inbox")
	reserved := f.newTag("inbox")
	if err := f.ReserveTag(t.Context(), reserved, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := f.CreateProject(t.Context(), first, f.by); err != nil {
		t.Fatal(err)
	}
	err := f.CreateProject(t.Context(), f.newTag("inbox"), f.by)
	wantCode(t, err, broker.CodeConflict)
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		t.Errorf("a second one of the tag is refused by Postgres: %v", pe)
	}

	img, kept, err := f.ReceiveFile(t.Context(), f.fileOf(first, 1))
	if err != nil || !kept {
		t.Fatal(kept, err)
	}
	now := time.Now()
	if err := f.RemoveImage(t.Context(), first.ID, img.ID, now, now.Add(time.Minute), f.by); err != nil {
		t.Fatal(err)
	}
	if _, kept, err := f.ReceiveFile(t.Context(), f.fileOf(first, 1)); err != nil || !kept {
		t.Fatal(kept, err)
	}
	f.exec(t, `DROP INDEX projects_tag`)
	f.exec(t, `DROP INDEX images_sha1`)
	file := f.fileOf(reserved, 2)
	file.First = true
	_, _, err = f.ReceiveFile(t.Context(), file)
	wantCode(t, err, broker.CodeConflict)
	wantCode(t, f.UndoRemoveImage(t.Context(), first.ID, img.ID, time.Now(), f.by), broker.CodeConflict)
}
