package worker

import (
	"context"

	"github.com/riverqueue/river"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// syncEndpoints makes the configured endpoints those that are told what happens.
// Events are only written down while somebody wants to hear of them.
func (w *Worker) syncEndpoints(ctx context.Context) error {
	all := make([]broker.Endpoint, 0, len(w.endpoints))
	for id, e := range w.endpoints {
		all = append(all, broker.Endpoint{ID: id, Host: fetch.Host(e.URL), Events: e.Events})
	}
	return w.Store.SyncEndpoints(ctx, all)
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
