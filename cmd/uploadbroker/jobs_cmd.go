package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// jobsCmd looks at background work.
type jobsCmd struct {
	List  jobsListCmd  `cmd:"" help:"List validations, fetches and webhooks that wait, run, or failed, with the last cause."`
	Retry jobsRetryCmd `cmd:"" help:"Run failed validations and webhooks again now."`
}

type jobsListCmd struct{ operator }

// Run lists them.
func (c *jobsListCmd) Run(ctx context.Context, io stdio) error {
	return c.with(ctx, io, func(db *database, _ *broker.Keys) error {
		jobs, err := db.Jobs(ctx)
		if err != nil {
			return err
		}
		if len(jobs) >= postgres.MaxJobs {
			defer fmt.Fprintf(io.Err, "There are more jobs than these %d; /admin/jobs/ shows them all.\n", len(jobs))
		}
		return table(io, "JOB\tKIND\tSTATE\tTRY\tIMAGE\tSINCE\tDUE\tLAST CAUSE", jobRows(jobs, time.Now()))
	})
}

// jobRows are the lines of 'jobs list'.
func jobRows(jobs []postgres.Job, now time.Time) [][]string {
	rows := make([][]string, len(jobs))
	for i, j := range jobs {
		id, due := "-", "-"
		if j.ID > 0 {
			id = strconv.FormatInt(j.ID, 10)
		}
		switch {
		case j.DueAt.After(now):
			due = "in " + age(j.DueAt.Sub(now))
		case !j.DueAt.IsZero():
			due = "now"
		}
		rows[i] = []string{
			id, j.Kind, string(j.State), fmt.Sprintf("%d of %d", j.Try, j.MaxTries), orDash(j.ImageID), age(now.Sub(j.Since)), due, orDash(j.LastCause),
		}
	}
	return rows
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// age writes a duration for a table: its two largest units.
func age(d time.Duration) string {
	switch d = max(d, 0).Truncate(time.Second); {
	case d < time.Minute:
		return d.String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

type jobsRetryCmd struct {
	operator
	IDs       []string `arg:"" optional:"" name:"job-or-image" help:"A job's or an image's id; see 'jobs list'. Several may be given."`
	Unchecked bool     `help:"All images that are Invalid since they could not be checked."`
}

// uncheckedAtOnce is how many images --unchecked reads at a time.
const uncheckedAtOnce = 1000

// Run has them checked again.
func (c *jobsRetryCmd) Run(ctx context.Context, io stdio) error {
	targets, err := retryTargets(c.IDs)
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	if len(targets) == 0 && !c.Unchecked {
		return &exitError{exitUsage, "name jobs or images, as `uploadbroker jobs list` shows them, or use --unchecked"}
	}
	return c.with(ctx, io, func(db *database, _ *broker.Keys) error {
		failed := 0
		for _, t := range targets {
			// The operator is nobody's key.
			err := t.retry(ctx, db.Store, time.Now(), broker.Caller{})
			switch code := broker.CodeOf(err); code {
			case "":
				fmt.Fprintf(io.Out, "%s is due now.\n", t)
			case broker.CodeNotFound, broker.CodeConflict:
				failed++
				fmt.Fprintln(io.Err, "uploadbroker:", strings.TrimPrefix(err.Error(), string(code)+": "))
			default:
				return err
			}
		}
		if c.Unchecked {
			n, err := retryUnchecked(ctx, db.Store)
			fmt.Fprintf(io.Out, "%d images that could not be checked are due now.\n", n)
			if err != nil {
				return err
			}
		}
		if failed > 0 {
			return &exitError{exitNotReady, fmt.Sprintf("%d of %d could not be retried", failed, len(targets))}
		}
		return nil
	})
}

// retryUnchecked has all images checked again that could not be checked when it
// began: one that fails meanwhile is not tried twice.
func retryUnchecked(ctx context.Context, store *postgres.Store) (n int, err error) {
	tried := map[string]bool{}
	for {
		ids, err := store.UncheckedImages(ctx, uncheckedAtOnce)
		if err != nil {
			return n, err
		}
		ids = slices.DeleteFunc(ids, func(id string) bool { return tried[id] })
		if len(ids) == 0 {
			return n, nil
		}
		for _, id := range ids {
			tried[id] = true
			moved, err := store.Recheck(ctx, id, time.Now(), broker.Caller{})
			if err != nil {
				return n, err
			}
			if moved {
				n++
			}
		}
	}
}

// retryTarget is a job or an image.
type retryTarget struct {
	job   int64 // 0: an image
	image string
}

func (t retryTarget) String() string {
	if t.job > 0 {
		return fmt.Sprintf("Job %d", t.job)
	}
	return "The check of image " + t.image
}

func (t retryTarget) retry(ctx context.Context, store *postgres.Store, now time.Time, by broker.Caller) error {
	if t.job > 0 {
		return store.RetryJob(ctx, t.job, now, by)
	}
	return store.RetryImage(ctx, t.image, now, by)
}

// retryTargets reads ids, all before anything is done. A job's is a number, which
// is never as long as an image's.
func retryTargets(ids []string) ([]retryTarget, error) {
	var targets []retryTarget
	for _, id := range ids {
		var t retryTarget
		if n, err := strconv.ParseInt(id, 10, 64); err == nil && n > 0 {
			t.job = n
		} else if image := strings.ToUpper(id); broker.IsID(image) {
			t.image = image
		} else {
			return nil, fmt.Errorf("%.60q is neither a job's id nor an image's; `uploadbroker jobs list` shows both", id)
		}
		if !slices.Contains(targets, t) {
			targets = append(targets, t)
		}
	}
	return targets, nil
}
