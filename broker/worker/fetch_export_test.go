package worker

import (
	"context"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/uploadbroker/uploadbroker/broker"
)

// FetchOnce does what a job of these arguments does at its n-th try, without
// River's clock.
func (w *Worker) FetchOnce(ctx context.Context, args broker.FetchArgs, n int) error {
	return (&fetching{w: w}).Work(ctx, fetchJob(args, n))
}

// FetchTimes are how long the job may take, and when it is tried again after its
// n-th try failed.
func (w *Worker) FetchTimes(n int) (timeout time.Duration, retry time.Time) {
	f, job := &fetching{w: w}, fetchJob(broker.FetchArgs{}, n)
	return f.Timeout(job), f.NextRetry(job)
}

func fetchJob(args broker.FetchArgs, n int) *river.Job[broker.FetchArgs] {
	return &river.Job[broker.FetchArgs]{JobRow: &rivertype.JobRow{ID: jobs.Add(1), Attempt: n}, Args: args}
}
