package worker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/riverqueue/river"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/hook"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// Endpoint is an address that is told what happens, by signed webhooks.
type Endpoint struct {
	URL     string
	Secrets []hook.Secret // each message is signed with all of them
	Events  []string      // of broker.AllNotices; what it is told
}

// ID names the endpoint as long as it has its URL, of which it tells nothing.
func (e Endpoint) ID() string {
	sum := sha256.Sum256([]byte("uploadbroker webhook " + e.URL))
	return hex.EncodeToString(sum[:8])
}

// The results of tries to deliver, for metrics.
const (
	DeliveryDone   = "delivered"
	DeliveryFailed = "failed" // it is tried again
	DeliveryDead   = "dead"   // it is given up
)

const (
	deliveriesAtOnce = 4                // to one endpoint
	deliverTimeout   = 30 * time.Second // above that of a Post
	mostRetryAfter   = 24 * time.Hour   // that an endpoint may ask for
	foreignPause     = time.Minute      // before one is tried again that is another process's
	eventRetention   = 30 * 24 * time.Hour
)

// deliverPauses are those between the tries, which together take three days and a
// few hours. To each comes up to a tenth of it by chance, so that an endpoint that
// was away is not asked for everything at once.
var deliverPauses = [postgres.DeliverAttempts - 1]time.Duration{
	5 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute,
	2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// deliverArgs are a job's, with what its last try learnt.
type deliverArgs struct {
	broker.DeliverArgs
	later time.Duration // the endpoint asked not to be asked before
}

// delivering is the River worker of broker.DeliverArgs. What it logs and answers
// names an endpoint's host at most.
type delivering struct {
	river.WorkerDefaults[deliverArgs]
	w *Worker
}

// Timeout is above that of one request.
func (d *delivering) Timeout(*river.Job[deliverArgs]) time.Duration { return deliverTimeout }

// NextRetry follows deliverPauses, or what the endpoint asked for if that is later.
func (d *delivering) NextRetry(job *river.Job[deliverArgs]) time.Time {
	pause := d.w.deliverPause(job.Attempt)
	pause += time.Duration(rand.Int64N(int64(pause)/10 + 1))
	return d.w.Now().Add(max(pause, min(job.Args.later, mostRetryAfter)))
}

// Work tells one endpoint of one event. Whatever fails is tried again, but for an
// endpoint that says it is gone, and at the last try.
func (d *delivering) Work(ctx context.Context, job *river.Job[deliverArgs]) error {
	endpoint, ok := d.w.endpoints[job.Args.Endpoint]
	if !ok {
		return river.JobSnooze(foreignPause) // another process may know it
	}
	told, ok, err := d.w.Store.EventToTell(ctx, job.Args.EventID)
	if err != nil {
		return d.failed(ctx, err)
	}
	if !ok {
		return river.JobCancel(errors.New("the event was swept"))
	}
	body, err := told.Body()
	if err != nil {
		return river.JobCancel(err)
	}
	header := hook.Sign(told.WebhookID(), d.w.Now(), body, endpoint.Secrets)
	header.Set("Content-Type", "application/json")
	answer, err := d.w.Fetch.Post(ctx, endpoint.URL, header, body)
	host := fetch.Host(endpoint.URL)
	switch {
	case err == nil && answer.OK():
		d.w.delivered(host, DeliveryDone)
		return nil
	case err == nil:
		job.Args.later = answer.RetryAfter
		err = fetch.Refused(endpoint.URL, answer)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return river.JobSnooze(0) // the program stops; that was no attempt
	}
	dead := answer.Status == http.StatusGone
	if dead || job.Attempt >= job.MaxAttempts {
		d.w.delivered(host, DeliveryDead)
		d.w.Log.Warn("a webhook was given up; `uploadbroker jobs retry` replays it", "job", job.ID, "host", host, "event", told.Type, "tries", job.Attempt, "err", err)
	} else {
		d.w.delivered(host, DeliveryFailed)
	}
	if dead {
		return river.JobCancel(err)
	}
	return err
}

// failed tells a stop of the program from a failure.
func (d *delivering) failed(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return river.JobSnooze(0)
	}
	return err
}

func (w *Worker) delivered(host, result string) {
	if w.Delivered != nil {
		w.Delivered(host, result)
	}
}

// deliverPause is the pause after a try of this number, from 1.
func (w *Worker) deliverPause(attempt int) time.Duration {
	return cmp.Or(w.pauseOfTests, deliverPauses[min(max(attempt-1, 0), len(deliverPauses)-1)])
}
