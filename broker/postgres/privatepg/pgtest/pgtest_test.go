package pgtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestSchemasAreSeparate(t *testing.T) {
	ctx := context.Background()
	connect := func(dsn string) *pgx.Conn {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(ctx) })
		return conn
	}
	one, two := connect(pgtest.New(t)), connect(pgtest.New(t))
	if _, err := one.Exec(ctx, `create table images (id int)`); err != nil {
		t.Fatal(err)
	}
	var there bool
	if err := two.QueryRow(ctx, `select to_regclass('images') is not null`).Scan(&there); err != nil || there {
		t.Errorf("a table of one test is seen by another: %v, %v", there, err)
	}
	if _, err := two.Exec(ctx, `create table images (id int)`); err != nil {
		t.Error(err)
	}
}

func TestSchemaIsDropped(t *testing.T) {
	ctx := context.Background()
	var schema string
	t.Run("inner", func(t *testing.T) {
		conn, err := pgx.Connect(ctx, pgtest.New(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, `create table x ()`); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(ctx, `select current_schema()`).Scan(&schema); err != nil {
			t.Fatal(err)
		}
	})
	conn, err := pgx.Connect(ctx, pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var there bool
	if err := conn.QueryRow(ctx, `select exists (select from pg_namespace where nspname = $1)`, schema).Scan(&there); err != nil {
		t.Fatal(err)
	}
	if schema == "" || there {
		t.Errorf("schema %q is still there: %v", schema, there)
	}
}
