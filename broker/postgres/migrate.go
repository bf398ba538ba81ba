package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migration is one numbered file, or all of River's.
type Migration struct {
	Name    string
	Applied bool
	At      time.Time // zero for River's
}

// Migrate brings the schema up to date: ours, then River's. Any number of
// starters may call it at once: an advisory lock lets one do the work.
func (s *Store) Migrate(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return wrap(err)
	}
	defer conn.Release()
	const key = `hashtext('uploadbroker migrations'), hashtext(current_schema())`
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(`+key+`)`); err != nil {
		return wrap(err)
	}
	// A session lock: should unlocking fail, closing the connection frees it.
	defer func() {
		if _, err := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(`+key+`)`); err != nil {
			conn.Conn().Close(context.WithoutCancel(ctx))
		}
	}()

	provider, closeDB, err := s.gooseProvider()
	if err != nil {
		return err
	}
	defer closeDB()
	if _, err := provider.Up(ctx); err != nil {
		return lineOr(fmt.Errorf("migrate the database: %w", err))
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(s.pool), nil)
	if err != nil {
		return fmt.Errorf("migrate the job queue: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return lineOr(fmt.Errorf("migrate the job queue: %w", err))
	}
	return nil
}

// lineOr names a failed migration that Postgres has nothing to say about: the line
// to it broke off, whatever a library made of that.
func lineOr(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) || errors.Is(err, context.Canceled) {
		return wrap(err)
	}
	return unavailable(err, "the database does not answer; try again soon")
}

// Migrations tells what is applied and what is not.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	provider, closeDB, err := s.gooseProvider()
	if err != nil {
		return nil, err
	}
	defer closeDB()
	status, err := provider.Status(ctx)
	if err != nil {
		return nil, wrap(err)
	}
	var out []Migration
	for _, m := range status {
		out = append(out, Migration{Name: m.Source.Path, Applied: m.State == goose.StateApplied, At: m.AppliedAt})
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(s.pool), nil)
	if err != nil {
		return nil, err
	}
	done, err := migrator.ExistingVersions(ctx)
	if err != nil {
		return nil, wrap(err)
	}
	return append(out, Migration{Name: "job queue", Applied: len(done) == len(migrator.AllVersions())}), nil
}

func (s *Store) gooseProvider() (*goose.Provider, func() error, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, nil, err
	}
	db := stdlib.OpenDBFromPool(s.pool)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return nil, nil, fmt.Errorf("read the migrations: %w", err)
	}
	return provider, db.Close, nil
}
