package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// operator is what the operator's commands share: they work on the database,
// beside a running server or without one.
type operator struct {
	configFlags
}

// with opens the database for f, its schema up to date.
func (o operator) with(ctx context.Context, io stdio, f func(*database, *broker.Keys) error) error {
	return o.open(ctx, io, func(db *database) error {
		if err := db.Migrate(ctx); err != nil {
			return err
		}
		return f(db, &broker.Keys{Store: db.Store, Now: time.Now})
	})
}

// open opens the database for f as it is.
func (o operator) open(ctx context.Context, io stdio, f func(*database) error) error {
	c, err := o.load(nil)
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	log := slog.New(slog.NewTextHandler(io.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := joinDatabase(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := db.Close(); err != nil {
			log.Warn("the private database did not stop", "err", err)
		}
	}()
	return f(db)
}

// table prints aligned columns.
func table(io stdio, header string, rows [][]string) error {
	w := tabwriter.NewWriter(io.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, header)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// stamp writes a time for a table.
func stamp(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return t.Local().Format("2006-01-02 15:04")
}

// names joins a list, or says what an empty one means.
func names[S ~string](list []S, none string) string {
	if len(list) == 0 {
		return none
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, ",")
}

// mustAbs is the absolute path, or the path itself where there is no working
// directory to ask.
func mustAbs(p string) string {
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}
