package main

import (
	"context"
	"fmt"

	"github.com/uploadbroker/uploadbroker/broker"
)

// jobsCmd looks at validations.
type jobsCmd struct {
	List  jobsListCmd  `cmd:"" help:"List validations that wait, run, or failed, with the last cause."`
	Retry jobsRetryCmd `cmd:"" help:"Run a failed validation again now."`
}

type jobsListCmd struct{ operator }

// Run lists them.
func (c *jobsListCmd) Run(ctx context.Context, io stdio) error {
	return c.with(ctx, io, func(db *database, _ *broker.Keys) error {
		jobs, err := db.Jobs(ctx)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, j := range jobs {
			rows = append(rows, []string{fmt.Sprint(j.ID), j.State, fmt.Sprintf("%d of %d", j.Attempt, j.MaxAttempts), j.ImageID,
				stamp(&j.ScheduledAt, ""), j.LastError})
		}
		return table(io, "ID\tSTATE\tATTEMPT\tIMAGE\tDUE\tLAST CAUSE", rows)
	})
}

type jobsRetryCmd struct {
	operator
	ID int64 `arg:"" help:"The job's id; see 'jobs list'."`
}

// Run makes the job due.
func (c *jobsRetryCmd) Run(ctx context.Context, io stdio) error {
	return c.with(ctx, io, func(db *database, _ *broker.Keys) error {
		if err := db.RetryJob(ctx, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(io.Err, "Job %d is due now.\n", c.ID)
		return nil
	})
}
