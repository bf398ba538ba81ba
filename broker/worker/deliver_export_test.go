package worker

import (
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// DeliverEvery is the pause between the tries of a delivery.
func (w *Worker) DeliverEvery(pause time.Duration) { w.pauseOfTests = pause }

// NextDelivery is when a delivery is tried again that failed that often, and whose
// endpoint asked for that pause.
func (w *Worker) NextDelivery(attempt int, later time.Duration) time.Time {
	d := &delivering{w: w}
	return d.NextRetry(&river.Job[deliverArgs]{
		JobRow: &rivertype.JobRow{Attempt: attempt, MaxAttempts: postgres.DeliverAttempts}, Args: deliverArgs{later: later},
	})
}
