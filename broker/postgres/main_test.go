package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// fixture is a migrated schema with one owner, who has one key of every scope.
type fixture struct {
	*postgres.Store
	dsn   string
	owner broker.Owner
	by    broker.Caller
}

func open(t testing.TB) *fixture {
	t.Helper()
	dsn := pgtest.New(t)
	store, err := postgres.Open(t.Context(), dsn, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys := &broker.Keys{Store: store, Now: time.Now}
	owner, err := keys.CreateOwner(t.Context(), "ada@example.com", "Ada")
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := keys.Create(t.Context(), owner, broker.NewKey{Scopes: broker.AllScopes()})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Store: store, dsn: dsn, owner: owner, by: broker.Caller{Owner: owner, Key: key}}
}

// newProject makes a project of the fixture's owner.
func (f *fixture) newProject(t interface {
	Fatalf(string, ...any)
	Helper()
}) broker.Project {
	t.Helper()
	p := broker.Project{ID: broker.NewID(time.Now()), OwnerID: f.owner.ID, Name: "test", Kind: broker.KindRecon, CreatedAt: time.Now()}
	if err := f.CreateProject(context.Background(), p, f.by); err != nil {
		t.Fatalf("create a project: %v", err)
	}
	return p
}

// exec changes rows behind the store's back, as the passing of time would.
func (f *fixture) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := f.Pool().Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// scan reads one value.
func scan[T any](t testing.TB, f *fixture, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := f.Pool().QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// batchOf asks to register images of these numbers, whose bytes digest tells.
func (f *fixture) batchOf(projectID, bucket string, numbers ...int) broker.RegisterBatch {
	now := time.Now()
	b := broker.RegisterBatch{
		ProjectID: projectID, Bucket: bucket, Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(grantFor), By: f.by,
	}
	for _, n := range numbers {
		b.Images = append(b.Images, broker.NewImage{
			ID: broker.NewID(now), Name: "a.jpg", SHA1: digest(n), SizeBytes: 3, Type: "image/jpeg", Ext: "jpg",
		})
	}
	return b
}

func (f *fixture) registerOne(t testing.TB, projectID, bucket string, number int) broker.Image {
	t.Helper()
	images, err := f.Register(context.Background(), f.batchOf(projectID, bucket, number))
	if err != nil {
		t.Fatal(err)
	}
	return images[0]
}

// seeOne shows the store an object at the image's key; it tells whether it moved.
func (f *fixture) seeOne(t testing.TB, img broker.Image, bucket, etag string) bool {
	t.Helper()
	n, err := f.See(context.Background(), img.ProjectID, bucket, []broker.Seen{{
		Bucket: bucket, ProjectID: img.ProjectID, Filename: img.Filename, ETag: etag, SizeBytes: 3,
	}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return n == 1
}

func (f *fixture) image(t testing.TB, id string) broker.Image {
	t.Helper()
	images, err := f.ByID(context.Background(), scan[string](t, f, `SELECT project_id FROM images WHERE id = $1`, id), []string{id})
	if err != nil || len(images) != 1 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	return images[0]
}

func wantCode(t testing.TB, err error, want broker.Code) {
	t.Helper()
	if got := broker.CodeOf(err); got != want {
		t.Errorf("the code is %q, want %q: %v", got, want, err)
	}
}
