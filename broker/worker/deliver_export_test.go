package worker

import (
	"context"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// DeliverEvery is the pause between the tries of a delivery.
func (w *Worker) DeliverEvery(pause time.Duration) { w.pauseOfTests = pause }

// KeepEndpoints does once what a running worker does every minute.
func (w *Worker) KeepEndpoints(ctx context.Context) error { return w.keepEndpoints(ctx) }

// NextDelivery is when a delivery is tried again that failed that often, and whose
// endpoint asked for that pause.
func (w *Worker) NextDelivery(attempt int, later time.Duration) time.Time {
	d := &delivering{w: w}
	return d.NextRetry(&river.Job[deliverArgs]{
		JobRow: &rivertype.JobRow{Attempt: attempt, MaxAttempts: postgres.DeliverAttempts}, Args: deliverArgs{later: later},
	})
}
