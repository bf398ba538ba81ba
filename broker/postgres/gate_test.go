package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A gate holds transactions that wrote a table just before their commit, so that
// a test can take a race apart: a deferred trigger waits for a lock there.
type gate struct {
	f    *fixture
	held pgx.Tx
}

func (f *fixture) newGate(t *testing.T, table string) *gate {
	t.Helper()
	f.exec(t, `CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM pg_advisory_xact_lock(hashtext(current_schema()), 7); RETURN NULL; END $$`)
	f.exec(t, `CREATE CONSTRAINT TRIGGER gate AFTER INSERT OR UPDATE ON `+table+`
		DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_gate()`)
	tx, err := f.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback(context.Background()) })
	if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock(hashtext(current_schema()), 7)`); err != nil {
		t.Fatal(err)
	}
	return &gate{f: f, held: tx}
}

// hold runs change and returns when it stands at its commit.
func (g *gate) hold(t *testing.T, change func() error) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- change() }()
	for {
		if scan[int](t, g.f, `SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = 7
			AND classid::bigint = (hashtext(current_schema())::bigint & 4294967295)`) > 0 {
			return done
		}
		select {
		case err := <-done:
			t.Fatalf("it went through the gate: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
}

// open lets all through.
func (g *gate) open(t *testing.T) {
	t.Helper()
	if err := g.held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// blocked is closed when a statement of this schema's connections with that text
// waits for a lock.
func (f *fixture) blocked(text string) <-chan struct{} {
	found := make(chan struct{})
	go func() {
		defer close(found)
		for range 5000 {
			var n int
			err := f.Pool().QueryRow(context.Background(), `SELECT count(*) FROM pg_stat_activity
				WHERE wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%' AND pid <> pg_backend_pid()`, text).Scan(&n)
			if err != nil || n > 0 {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	return found
}
