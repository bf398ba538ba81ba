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
