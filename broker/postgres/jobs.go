package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Job is a validation as an operator sees it.
type Job struct {
	ID          int64
	State       string // River's: available, running, retryable, discarded, cancelled
	ImageID     string
	Attempt     int
	MaxAttempts int
	ScheduledAt time.Time
	LastError   string
}

// maxJobs is the most that Jobs lists.
const maxJobs = 1000

// Jobs lists the validations that are not completed, the oldest first.
func (s *Store) Jobs(ctx context.Context) ([]Job, error) {
	res, err := s.river.JobList(ctx, river.NewJobListParams().Kinds(broker.ValidateArgs{}.Kind()).First(maxJobs).States(
		rivertype.JobStateAvailable, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled,
		rivertype.JobStateDiscarded, rivertype.JobStateCancelled))
	if err != nil {
		return nil, wrap(err)
	}
	jobs := make([]Job, len(res.Jobs))
	for i, j := range res.Jobs {
		var args broker.ValidateArgs
		if err := json.Unmarshal(j.EncodedArgs, &args); err != nil {
			return nil, err
		}
		jobs[i] = Job{
			ID: j.ID, State: string(j.State), ImageID: args.ImageID, Attempt: j.Attempt, MaxAttempts: j.MaxAttempts, ScheduledAt: j.ScheduledAt,
		}
		if n := len(j.Errors); n > 0 {
			jobs[i].LastError = j.Errors[n-1].Error
		}
	}
	return jobs, nil
}

// RetryJob makes a job due now. CodeNotFound when there is none.
func (s *Store) RetryJob(ctx context.Context, id int64) error {
	_, err := s.river.JobRetry(ctx, id)
	if errors.Is(err, rivertype.ErrNotFound) {
		return broker.Errorf(broker.CodeNotFound, "there is no job %d; `uploadbroker jobs list` shows the ids", id)
	}
	return wrap(err)
}
