package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// JobState is where a job stands, in an operator's words.
type JobState string

// The states of jobs.
const (
	JobWaiting JobState = "waiting" // for its time or for a worker
	JobRunning JobState = "running"
	JobFailed  JobState = "failed" // given up; an operator may retry it
)

// Job is background work as an operator sees it.
type Job struct {
	ID        int64 // 0: River has forgotten it, the image tells of it
	Kind      string
	State     JobState
	ImageID   string // "": it is about no image
	Try       int
	MaxTries  int
	CreatedAt time.Time
	Since     time.Time // when it began to wait, to run, or failed
	DueAt     time.Time // zero: it does not wait
	LastCause string    // one line; "" when it never failed
}

// MaxJobs is the most of River's jobs that Jobs lists.
const MaxJobs = 1000

// Jobs lists the jobs that failed, run, or wait, the oldest of each first, and the
// images that could not be checked. A failure that its image has moved on from is
// left out.
func (s *Store) Jobs(ctx context.Context) ([]Job, error) {
	rows, err := s.q.OpenJobs(ctx, MaxJobs)
	if err != nil {
		return nil, wrap(err)
	}
	unchecked, err := s.q.UncheckedImages(ctx, MaxJobs)
	if err != nil {
		return nil, wrap(err)
	}
	reasons := make(map[string]string, len(unchecked))
	for _, u := range unchecked {
		reasons[u.ID] = broker.ParseReason(u.Reason).Detail
	}
	jobs := make([]Job, 0, len(rows)+len(unchecked))
	for _, r := range rows {
		j := Job{
			ID: r.ID, Kind: r.Kind, ImageID: r.ImageID, Try: int(r.Attempt), MaxTries: int(r.MaxAttempts),
			CreatedAt: r.CreatedAt, Since: r.Since, LastCause: cause(r.Cause),
		}
		switch rivertype.JobState(r.State) {
		case rivertype.JobStateRunning:
			j.State = JobRunning
		case rivertype.JobStateCancelled, rivertype.JobStateDiscarded:
			j.State = JobFailed
			if j.LastCause == "" {
				j.LastCause = cause(reasons[j.ImageID])
			}
			delete(reasons, j.ImageID)
		default:
			j.State, j.DueAt = JobWaiting, r.ScheduledAt
		}
		jobs = append(jobs, j)
	}
	var forgottenJobs []Job
	for _, u := range unchecked {
		if why, forgotten := reasons[u.ID]; forgotten {
			forgottenJobs = append(forgottenJobs, Job{
				Kind: broker.ValidateArgs{}.Kind(), State: JobFailed, ImageID: u.ID, Try: int(u.CheckFailures), MaxTries: JobAttempts,
				CreatedAt: u.JudgedAt, Since: u.JudgedAt, LastCause: cause(why),
			})
		}
	}
	return append(forgottenJobs, jobs...), nil
}

// cause is the text of a job's error in one line, without River's word for an
// error that ends a job.
func cause(text string) string {
	return broker.PlainCause(strings.TrimPrefix(text, "JobCancelError: "))
}

// UncheckedImages lists the images that are Invalid since they could not be checked, and
// that can be tried again; those that wait longest come first.
func (s *Store) UncheckedImages(ctx context.Context, max int) ([]string, error) {
	rows, err := s.q.UncheckedImages(ctx, int32(max))
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids, wrap(err)
}

// Recheck performs broker.EventRecheck and inserts the validation; the job that
// gave up takes its place where River still has it. moved is false
// when the image is anything but Invalid(unchecked) with its object in place. by
// without a key is an operator at the machine.
func (s *Store) Recheck(ctx context.Context, imageID string, now time.Time, by broker.Caller) (moved bool, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx, q *sqlc.Queries) error {
		moved = false
		r, err := q.RecheckImage(ctx, sqlc.RecheckImageParams{
			ID: imageID, Now: now, FromStates: strs(broker.FromStates(broker.EventRecheck)), OwnerID: by.Owner.ID, KeyID: by.Key.ID,
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		moved = true
		revived, err := q.ReviveJob(ctx, sqlc.ReviveJobParams{
			Kind: broker.ValidateArgs{}.Kind(), ImageID: r.ID, Attempt: r.Attempt, Etag: r.Etag, MaxAttempts: JobAttempts,
		})
		if err != nil || revived > 0 {
			return err
		}
		return s.insertJobs(ctx, tx, []broker.ValidateArgs{{
			ImageID: r.ID, Attempt: int(r.Attempt), ETag: r.Etag, SizeBytes: r.ObjectSize, Bucket: r.Bucket,
		}})
	})
	return moved && err == nil, err
}

// RetryImage has an image checked now: one that could not be checked is Uploaded
// again, one that waits for its check waits no longer. CodeNotFound when there is
// no such image, CodeConflict when there is nothing to check.
func (s *Store) RetryImage(ctx context.Context, imageID string, now time.Time, by broker.Caller) error {
	moved, err := s.Recheck(ctx, imageID, now, by)
	if err != nil || moved {
		return err
	}
	img, err := s.q.ImageOfJob(ctx, imageID)
	if errors.Is(err, pgx.ErrNoRows) {
		return broker.Errorf(broker.CodeNotFound, "there is no image %s", imageID)
	}
	if err != nil {
		return wrap(err)
	}
	if broker.State(img.State) != broker.StateUploaded && !broker.State(img.State).Open() {
		return nothingToRetry(imageID, img)
	}
	jobs, err := s.q.WaitingJobsOfImage(ctx, imageID)
	if err != nil {
		return wrap(err)
	}
	for _, j := range jobs {
		if rivertype.JobState(j.State) == rivertype.JobStateRunning {
			return broker.Errorf(broker.CodeConflict, "the image %s is being worked on right now, by job %d", imageID, j.ID)
		}
	}
	for _, j := range jobs {
		if _, err := s.river.JobRetry(ctx, j.ID); err != nil && !errors.Is(err, rivertype.ErrNotFound) {
			return wrap(err)
		}
	}
	switch {
	case len(jobs) > 0:
		return nil
	case broker.State(img.State) == broker.StateUploaded && !img.ProjectRemoved:
		return s.inTx(ctx, func(tx pgx.Tx, q *sqlc.Queries) error {
			projectID, err := q.ProjectOfImage(ctx, imageID)
			if err != nil {
				return err
			}
			return s.insertValidation(ctx, tx, q, projectID, imageID)
		})
	}
	return nothingToRetry(imageID, img)
}

// nothingToRetry says why an operator can do nothing for an image.
func nothingToRetry(imageID string, img sqlc.ImageOfJobRow) error {
	state := broker.State(img.State)
	switch {
	case img.ProjectRemoved:
		return broker.Errorf(broker.CodeConflict, "the project of the image %s was removed; there is nothing to retry", imageID)
	case state.Open():
		return broker.Errorf(broker.CodeConflict, "the image %s is %s: its bytes have not arrived, and the broker looks for them by itself", imageID, state)
	case state != broker.StateInvalid:
		return broker.Errorf(broker.CodeConflict, "the image %s is %s; there is nothing to retry", imageID, state)
	case img.SweptAt != nil:
		return broker.Errorf(broker.CodeConflict, "the object of the image %s was deleted, since its retention was over; it has to be uploaded again", imageID)
	}
	var codes []string
	for _, r := range img.Reasons {
		codes = append(codes, string(broker.ParseReason(r).Code))
	}
	return broker.Errorf(broker.CodeConflict, "the image %s is Invalid (%s): that is a verdict, and no failure; it has to be uploaded again",
		imageID, strings.Join(codes, ", "))
}

// RetryJob makes a job due now; one that gave up on an image has the image checked
// again. CodeNotFound when there is no such job, CodeConflict when it has nothing
// to do any more.
func (s *Store) RetryJob(ctx context.Context, id int64, now time.Time, by broker.Caller) error {
	unknown := broker.Errorf(broker.CodeNotFound, "there is no job %d; `uploadbroker jobs list` shows the ids", id)
	job, err := s.river.JobGet(ctx, id)
	if errors.Is(err, rivertype.ErrNotFound) {
		return unknown
	}
	if err != nil {
		return wrap(err)
	}
	switch job.State {
	case rivertype.JobStateRunning:
		return broker.Errorf(broker.CodeConflict, "job %d runs right now", id)
	case rivertype.JobStateCompleted:
		return broker.Errorf(broker.CodeConflict, "job %d is done; there is nothing to retry", id)
	case rivertype.JobStateCancelled, rivertype.JobStateDiscarded:
		switch job.Kind {
		case broker.ValidateArgs{}.Kind():
			return s.retryValidation(ctx, job, now, by)
		case broker.FetchArgs{}.Kind():
			return broker.Errorf(broker.CodeConflict, "job %d gave up fetching a URL, and its image is over; the client has to ask for the URL again", id)
		case broker.DeliverArgs{}.Kind():
			return s.retryDelivery(ctx, job)
		}
	}
	_, err = s.river.JobRetry(ctx, id)
	if errors.Is(err, rivertype.ErrNotFound) {
		return unknown
	}
	return wrap(err)
}

// retryValidation has the image of a validation that gave up checked again.
func (s *Store) retryValidation(ctx context.Context, job *rivertype.JobRow, now time.Time, by broker.Caller) error {
	var args broker.ValidateArgs
	if err := unmarshalArgs(job, &args); err != nil {
		return err
	}
	img, err := s.q.ImageOfJob(ctx, args.ImageID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return broker.Errorf(broker.CodeConflict, "the image %s of job %d is gone", args.ImageID, job.ID)
	case err != nil:
		return wrap(err)
	case int(img.Attempt) != args.Attempt || img.Etag != args.ETag:
		return broker.Errorf(broker.CodeConflict, "job %d was about an object that the image %s no longer holds; it is %s now",
			job.ID, args.ImageID, img.State)
	}
	return s.RetryImage(ctx, args.ImageID, now, by)
}

func unmarshalArgs(job *rivertype.JobRow, args any) error {
	if err := json.Unmarshal(job.EncodedArgs, args); err != nil {
		return fmt.Errorf("the arguments of job %d: %w", job.ID, err)
	}
	return nil
}
