package main

import (
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"
)

// workerCmd runs looks, validations and sweeps, without an API.
type workerCmd struct {
	configFlags
	PublicURL string `placeholder:"URL" help:"How a reconstruction engine reaches the API." env:"UPLOADBROKER_PUBLIC_URL"`
}

// Run works until ctx ends.
func (w *workerCmd) Run(ctx context.Context, io stdio) error {
	load := func() (config, error) {
		return w.load(func(c *config) {
			if w.PublicURL != "" {
				c.PublicURL = w.PublicURL
			}
			c.drives = true
		})
	}
	c, err := load()
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	if c.DatabaseURL == "" {
		return &exitError{exitUsage, "a worker of its own needs database_url: the private database has its worker inside 'serve'"}
	}
	log := slog.New(slog.NewTextHandler(io.Err, nil))
	hangup, stop := onHangup()
	defer stop()
	a, err := openApp(ctx, c, log)
	if err != nil {
		return err
	}
	defer a.close()
	fmt.Fprintln(io.Out, "uploadbroker worker is at work. Ctrl-C ends it.")
	a.load = load
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.reloadOnHangup(ctx, hangup) })
	g.Go(func() error { return a.worker.Run(ctx) })
	return g.Wait()
}
