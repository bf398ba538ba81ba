package postgres_test

import (
	"database/sql"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg/pgtest"
)

// TestFourStartersMigrateAtOnce: processes of one installation start together.
func TestFourStartersMigrateAtOnce(t *testing.T) {
	dsn := pgtest.New(t)
	stores := make([]*postgres.Store, 4)
	for i := range stores {
		s, err := postgres.Open(t.Context(), dsn, 3)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		stores[i] = s
	}
	if list, err := stores[0].Migrations(t.Context()); err != nil || len(list) < 2 || list[0].Applied || list[len(list)-1].Applied {
		t.Errorf("before: %+v, %v", list, err)
	}
	for _, when := range []string{"on an empty schema", "again"} {
		var wg sync.WaitGroup
		for _, s := range stores {
			wg.Go(func() {
				if err := s.Migrate(t.Context()); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			})
		}
		wg.Wait()
		list, err := stores[0].Migrations(t.Context())
		if err != nil || len(list) < 2 {
			t.Fatalf("%s: %+v, %v", when, list, err)
		}
		for _, m := range list {
			if !m.Applied {
				t.Errorf("%s: %s is not applied", when, m.Name)
			}
		}
	}
	// No starter keeps the lock or a connection.
	for i, s := range stores {
		if n := s.Pool().Stat().AcquiredConns(); n != 0 {
			t.Errorf("starter %d holds %d connections", i, n)
		}
	}
	var locks int
	if err := stores[0].Pool().QueryRow(t.Context(),
		`SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		 WHERE l.locktype = 'advisory' AND l.objid::bigint = (hashtext(current_schema())::bigint & 4294967295)`).Scan(&locks); err != nil || locks != 0 {
		t.Errorf("%d advisory locks are left, %v", locks, err)
	}
	// One connection is enough: a small pool must not wait for itself.
	small, err := postgres.Open(t.Context(), dsn, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	if err := small.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTagsThatBecomeOne: what an older release told apart by case alone is still there,
// under a name of its own.
func TestTagsThatBecomeOne(t *testing.T) {
	dsn := pgtest.New(t)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	before, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := before.UpTo(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	const ada, bob = "01M80000000000000000000AAA", "01M80000000000000000000BBB"
	for _, owner := range []string{ada, bob} {
		if _, err := db.Exec(`INSERT INTO owners (id, email, created_at) VALUES ($1, $2, now())`, owner, strings.ToLower(owner)+"@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	long := "A23456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789Z" // 100
	for id, p := range map[string]struct{ owner, tag, at string }{
		"01M80000000000000000000P01": {bob, "Inbox", "2026-01-01"},
		"01M80000000000000000000P02": {ada, "inbox", "2026-01-02"},
		"01M80000000000000000000P03": {bob, "INBOX", "2026-01-03"},
		"01M80000000000000000000P04": {bob, "roof", "2026-01-01"},
		"01M80000000000000000000P05": {bob, "Cafe\u0301", "2026-01-01"},
		"01M80000000000000000000P06": {bob, long, "2026-01-01"},
		"01M80000000000000000000P07": {bob, "a" + long[1:], "2026-01-02"},
	} {
		if _, err := db.Exec(`INSERT INTO projects (id, owner_id, name, kind, tag, created_at) VALUES ($1, $2, 'a tag', 'files', $3, $4)`, id, p.owner, p.tag, p.at); err != nil {
			t.Fatal(err)
		}
	}
	s, err := postgres.Open(t.Context(), dsn, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	rows, err := db.Query(`SELECT right(id, 3), tag FROM projects`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, tag string
		if err := rows.Scan(&id, &tag); err != nil {
			t.Fatal(err)
		}
		got[id] = tag
	}
	want := map[string]string{
		"P01": "Inbox-000p01", "P02": "inbox", "P03": "INBOX-000p03", "P04": "roof", "P05": "Caf\u00e9",
		"P06": long, "P07": "a" + long[1:23] + "-000p07",
	}
	if err := rows.Err(); err != nil || !maps.Equal(got, want) {
		t.Errorf("the tags are %q, not %q; %v", got, want, err)
	}
}
