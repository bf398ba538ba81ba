package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

// database is an open store, with the private Postgres under it where one is.
type database struct {
	*postgres.Store
	private *privatepg.Server // nil: database_url, or another process's
}

// maxConns is the pool of one process; pool_max_conns in database_url says
// otherwise. The private Postgres allows more.
const maxConns = 24

// openDatabase opens the configured database, or starts the private one.
func openDatabase(ctx context.Context, c config, log *slog.Logger) (*database, error) {
	if c.DatabaseURL != "" {
		conns := int32(maxConns)
		if strings.Contains(c.DatabaseURL, "pool_max_conns") {
			conns = 0 // as it says
		}
		store, err := postgres.Open(ctx, c.DatabaseURL, conns)
		if err != nil {
			return nil, err
		}
		return &database{Store: store}, nil
	}
	pg, err := privatepg.Start(ctx, privatepg.Options{DataDir: c.DataDir, Binaries: c.PostgresBin, Log: log})
	if err != nil {
		return nil, err
	}
	store, err := postgres.Open(ctx, pg.DSN(), maxConns)
	if err != nil {
		_ = pg.Stop(ctx)
		return nil, err
	}
	return &database{Store: store, private: pg}, nil
}

// Waiting for a database that is away when the program starts.
const (
	databaseWait  = time.Minute
	databasePause = 500 * time.Millisecond
)

// patiently runs f again while the database does not answer: after a power cut all
// machines start at the same time. What will not pass is an error at once; so is
// all that the private one says, which runs already.
func (d *database) patiently(ctx context.Context, log *slog.Logger, f func() error) error {
	if d.private != nil {
		return d.private.Explain(f())
	}
	began, told := time.Now(), false
	for {
		err := f()
		if broker.CodeOf(err) != broker.CodeUnavailable || time.Since(began) > databaseWait {
			return err
		}
		if !told {
			told = true
			log.Warn("the database does not answer; waiting for it", "at_most", databaseWait, "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(databasePause):
		}
	}
}

// joinDatabase opens the database for an operator's command: beside a running
// server where there is one, else by starting the private one for the moment.
func joinDatabase(ctx context.Context, c config, log *slog.Logger) (*database, error) {
	if c.DatabaseURL == "" {
		dsn, running, err := privatepg.Attach(ctx, privatepg.Options{DataDir: c.DataDir, Binaries: c.PostgresBin})
		if err != nil {
			return nil, fmt.Errorf("reach the database of %s: %w", c.DataDir, err)
		}
		if running {
			store, err := postgres.Open(ctx, dsn, 4)
			if err != nil {
				return nil, err
			}
			return &database{Store: store}, nil
		}
		if !hasDatabase(c.DataDir) {
			return nil, fmt.Errorf("there is no database in %s: run `uploadbroker serve` first, or name its folder with --data-dir (or its --config)", c.DataDir)
		}
	}
	return openDatabase(ctx, c, log)
}

// hasDatabase reports whether a server ever ran on this data folder. A command
// in the wrong folder must not make a new, empty database there.
func hasDatabase(dataDir string) bool {
	for _, name := range []string{"pg", "pg-location"} {
		if _, err := os.Stat(filepath.Join(dataDir, name)); err == nil {
			return true
		}
	}
	return false
}

// Close ends the connections and stops the private Postgres.
func (d *database) Close() error {
	d.Store.Close()
	if d.private == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return d.private.Stop(ctx)
}

// gone is closed when the private Postgres ends; nil where there is none.
func (d *database) gone() <-chan struct{} {
	if d.private == nil {
		return nil
	}
	return d.private.Done()
}
