package postgres_test

import (
	"sync"
	"testing"

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
