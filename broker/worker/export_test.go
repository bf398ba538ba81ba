package worker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate"
)

// jobs numbers the jobs: each is a holder of its own.
var jobs atomic.Int64

// Validate does what a job of these arguments does, without River's clock.
func (w *Worker) Validate(ctx context.Context, args broker.ValidateArgs) error {
	v := &validation{w: w}
	return v.Work(ctx, &river.Job[broker.ValidateArgs]{JobRow: &rivertype.JobRow{ID: jobs.Add(1), Attempt: 1}, Args: args})
}

// Snoozed reports whether Validate asked to be called again soon.
func Snoozed(err error) bool {
	var snooze *river.JobSnoozeError
	return errors.As(err, &snooze)
}

// Cancelled reports whether Validate gave up for good.
func Cancelled(err error) bool {
	var cancel *river.JobCancelError
	return errors.As(err, &cancel)
}

// ExtendLeasesEvery shortens the rhythm in which leases are extended and stalled
// reads are noticed.
func (w *Worker) ExtendLeasesEvery(d time.Duration) { w.leaseEvery = d }

// WatchReadsEvery shortens the rhythm in which reads that wait are noticed.
func (w *Worker) WatchReadsEvery(d time.Duration) { w.watchEvery = d }

// NextRetry is when River tries a job again that failed that often.
func (w *Worker) NextRetry(attempt int) time.Time {
	v := &validation{w: w}
	return v.NextRetry(&river.Job[broker.ValidateArgs]{JobRow: &rivertype.JobRow{Attempt: attempt}})
}

// Timeout is how long a validation of so many bytes may take.
func (w *Worker) Timeout(sizeBytes int64) time.Duration { return w.timeout(sizeBytes) }

// ReconcileDue compares the etags of every place that is due.
func (w *Worker) ReconcileDue(ctx context.Context) error {
	err := w.reconcileDue(ctx)
	w.compares.wait(ctx)
	return err
}

// SetSlots sets how many validations may run at once.
func (w *Worker) SetSlots(n int) { w.slots = make(chan struct{}, n) }

// LookAtDue looks at every place that is due.
func (w *Worker) LookAtDue(ctx context.Context) error {
	err := w.lookAtDue(ctx)
	w.looks.wait(ctx)
	return err
}

// ForgetTrouble takes every bucket for a good one again.
func (w *Worker) ForgetTrouble() { w.trouble = newTrouble(w.Now) }

// ResumeAfter shortens the pause before a read that broke off goes on.
func (w *Worker) ResumeAfter(d time.Duration) { w.firstPause = d }

// ResumeTries is how often in a row a read may go on without progress.
const ResumeTries = resumeTries

// JudgeBy changes what the validator says.
func (w *Worker) JudgeBy(change func(context.Context, *broker.Verdict)) {
	w.image = func(ctx context.Context, src validate.Source, want validate.Want) (broker.Verdict, error) {
		v, err := validate.Image(ctx, src, want)
		if err == nil {
			change(ctx, &v)
		}
		return v, err
	}
}
