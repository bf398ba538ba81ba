package worker

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// An endpoint is that of any process that has it in its configuration: processes may
// have different ones, or none, and begin at different times.
const (
	nameEndpointsEvery = time.Minute
	forgetEndpoint     = 24 * time.Hour // that no process has named for so long
	othersBegin        = time.Hour      // in which those begin that were down with us
)

// nameEndpoints makes the configured endpoints some that are told what happens.
// Events are only written down while somebody wants to hear of them.
func (w *Worker) nameEndpoints(ctx context.Context, begins bool) error {
	all := make([]broker.Endpoint, 0, len(w.endpoints))
	for id, e := range w.endpoints {
		all = append(all, broker.Endpoint{ID: id, Host: fetch.Host(e.URL), Events: e.Events})
	}
	return w.Store.NameEndpoints(ctx, all, begins)
}

// keepEndpoints names the own endpoints once more, and forgets those that nobody names.
// A process without any may be all that is left up: it leaves those of others alone for
// as long as events are kept.
func (w *Worker) keepEndpoints(ctx context.Context) error {
	if err := w.nameEndpoints(ctx, false); err != nil {
		return err
	}
	if w.Now().Sub(w.began) < othersBegin {
		return nil
	}
	unnamed := forgetEndpoint
	if len(w.endpoints) == 0 {
		unnamed = eventRetention
	}
	return w.Store.ForgetEndpoints(ctx, unnamed)
}

// dispatch numbers what happened and queues its deliveries; one process at a time
// does.
func (w *Worker) dispatch(ctx context.Context) error {
	_, err := w.Store.Dispatch(ctx, batch)
	return err
}

// sweepEvents forgets what was told long ago.
func (w *Worker) sweepEvents(ctx context.Context) error {
	_, err := w.Store.SweepEvents(ctx, w.Now().Add(-eventRetention))
	return err
}

// addDeliveries gives each endpoint a queue of its own.
func (w *Worker) addDeliveries(queues map[string]river.QueueConfig, workers *river.Workers) {
	river.AddWorker(workers, &delivering{w: w})
	for id := range w.endpoints {
		queues[postgres.DeliverQueue(id)] = river.QueueConfig{MaxWorkers: deliveriesAtOnce}
	}
}
