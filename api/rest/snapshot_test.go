package rest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
)

// snapshot is the content of every table, less the moment at which a key was
// last used.
func (f *fixture) snapshot(t *testing.T) map[string]string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), f.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), "select table_name::text from information_schema.tables where table_schema = current_schema()")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || !slices.Contains(tables, "images") || !slices.Contains(tables, "audit") {
		t.Fatal(tables, err)
	}
	content := map[string]string{}
	for _, table := range tables {
		var text string
		if err := conn.QueryRow(t.Context(), fmt.Sprintf(
			"select coalesce(string_agg(r, E'\\n' order by r), '') from (select (to_jsonb(x) - 'last_used_at')::text as r from %q x) s", table)).Scan(&text); err != nil {
			t.Fatal(err)
		}
		content[table] = text
	}
	return content
}

// unchanged fails the test when f changed any row.
func (f *fixture) unchanged(t *testing.T, what string, do func()) {
	t.Helper()
	before := f.snapshot(t)
	do()
	after := f.snapshot(t)
	for _, table := range slices.Sorted(maps.Keys(after)) {
		if before[table] != after[table] {
			t.Errorf("%s changed the table %s\nfrom %s\nto   %s", what, table, before[table], after[table])
		}
	}
}
