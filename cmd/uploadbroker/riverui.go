package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"riverqueue.com/riverui"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/web"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// jobsPath is where River's own page of jobs is.
const jobsPath = "/admin/jobs"

// jobsPolicy lets that page work with what this program serves. It writes its
// notices' styles into the page and draws some of its symbols from data: URLs;
// scripts and requests are those of this program alone.
const jobsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"font-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// maxJobsBody is the most bytes that a request of that page has.
const maxJobsBody = 1 << 20

// jobsPage is River's page of jobs.
type jobsPage struct {
	river *riverui.Handler
	store *postgres.Store
	log   *slog.Logger
	start func() error
}

// mountJobsPage adds River's page of jobs to a server that api.New made, for keys
// with the scope admin. From when it is first opened until ctx ends, it counts
// jobs every ten seconds.
func mountJobsPage(ctx context.Context, e *echo.Echo, store *postgres.Store, keys *broker.Keys, log *slog.Logger) error {
	logs := slog.New(warnings{log.Handler()})
	client, err := river.NewClient(riverpgxv5.New(store.Pool()), &river.Config{Logger: logs})
	if err != nil {
		return fmt.Errorf("make the page of jobs: %w", err)
	}
	handler, err := riverui.NewHandler(&riverui.HandlerOpts{
		Endpoints: riverui.NewEndpoints(client, nil), Logger: logs, Prefix: jobsPath,
	})
	if err != nil {
		return fmt.Errorf("make the page of jobs: %w", err)
	}
	p := &jobsPage{river: handler, store: store, log: log, start: sync.OnceValue(func() error { return handler.Start(ctx) })}
	admin := web.Admin(keys)
	e.Any(jobsPath, p.serve, admin)
	e.Any(jobsPath+"/*", p.serve, admin)
	return nil
}

func (p *jobsPage) serve(c echo.Context) error {
	if err := p.start(); err != nil {
		return fmt.Errorf("start the page of jobs: %w", err)
	}
	h := c.Response().Header()
	h.Set("Content-Security-Policy", jobsPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	r := c.Request()
	if strings.HasPrefix(r.URL.Path, jobsPath+"/assets/") { // named after their content
		h.Set("Cache-Control", "private, max-age=86400")
	}
	r.Body = http.MaxBytesReader(c.Response(), r.Body, maxJobsBody)
	if r.Method == http.MethodPost && r.URL.Path == jobsPath+"/api/jobs/retry" {
		return p.retry(c)
	}
	p.river.ServeHTTP(c.Response(), r)
	return nil
}

// retry takes the place of River's own: to run the job alone would do nothing for
// an image that was given up. It answers as River does.
func (p *jobsPage) retry(c echo.Context) error {
	type said struct {
		Message string `json:"message"`
	}
	var asked struct {
		IDs []json.Number `json:"ids"` // as strings, since JavaScript's numbers end before int64's
	}
	r := c.Request()
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || len(asked.IDs) == 0 || len(asked.IDs) > 1000 {
		return c.JSON(http.StatusBadRequest, said{"name 1 to 1,000 jobs by their ids"})
	}
	ids := make([]int64, len(asked.IDs))
	for i, n := range asked.IDs {
		var err error
		if ids[i], err = strconv.ParseInt(n.String(), 10, 64); err != nil {
			return c.JSON(http.StatusBadRequest, said{fmt.Sprintf("%.40q is no job's id", n.String())})
		}
	}
	for _, id := range ids {
		err := p.store.RetryJob(r.Context(), id, time.Now(), web.AdminCaller(c))
		if err == nil {
			continue
		}
		problem := api.NewProblem(err)
		api.LogProblem(r.Context(), p.log, problem)
		var known *broker.Error
		if !errors.As(err, &known) || known.Msg == "" {
			known = &broker.Error{Msg: http.StatusText(problem.Status)}
		}
		return c.JSON(problem.Status, said{known.Msg})
	}
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}

// warnings lets through what an operator has to know, and nothing else.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}
