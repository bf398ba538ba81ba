package main

import (
	"context"
	"fmt"
	"log/slog"
)

// workerCmd runs looks, validations and sweeps, without an API.
type workerCmd struct {
	configFlags
}

// Run works until ctx ends.
func (w *workerCmd) Run(ctx context.Context, io stdio) error {
	c, err := w.load(nil)
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	if c.DatabaseURL == "" {
		return &exitError{exitUsage, "a worker of its own needs database_url: the private database has its worker inside 'serve'"}
	}
	log := slog.New(slog.NewTextHandler(io.Err, nil))
	a, err := openApp(ctx, c, log)
	if err != nil {
		return err
	}
	defer a.close()
	fmt.Fprintln(io.Out, "uploadbroker worker is at work. Ctrl-C ends it.")
	return a.worker.Run(ctx)
}
