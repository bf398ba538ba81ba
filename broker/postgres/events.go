package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// DeliverAttempts is how often a delivery is tried before it is given up.
const DeliverAttempts = 11

// DeliverQueue is the River queue of the deliveries to one endpoint. Each has its
// own, so that a slow one holds up no other.
func DeliverQueue(endpointID string) string { return "webhook-" + endpointID }

// NameEndpoints notes that a process tells these endpoints what happens; those of
// other processes stay. begins says that it does so from now on: which events they
// want is then as it says.
func (s *Store) NameEndpoints(ctx context.Context, all []broker.Endpoint, begins bool) error {
	if len(all) == 0 {
		return nil
	}
	p := sqlc.NameEndpointsParams{Begins: begins}
	for _, e := range all {
		p.Ids, p.Hosts, p.Events = append(p.Ids, e.ID), append(p.Hosts, e.Host), append(p.Events, strings.Join(e.Events, " "))
	}
	return wrap(s.q.NameEndpoints(ctx, p))
}

// ForgetEndpoints forgets the endpoints that no process has named for so long, and
// gives up the deliveries to them.
func (s *Store) ForgetEndpoints(ctx context.Context, unnamed time.Duration) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		if err := q.ForgetEndpoints(ctx, unnamed); err != nil {
			return err
		}
		_, err := q.CancelLostDeliveries(ctx, broker.DeliverArgs{}.Kind())
		return err
	})
}

// sweepAtOnce is how many events one sweep forgets.
const sweepAtOnce = 1000

// Dispatch numbers what has happened, adds what follows from it, and inserts a job
// for each endpoint that wants to hear of it. It returns how many events are told;
// none when another process is at it. One transaction dispatches atOnce of them.
func (s *Store) Dispatch(ctx context.Context, atOnce int) (told int, err error) {
	for {
		waiting, err := s.q.EventsWait(ctx)
		if err != nil || !waiting {
			return told, wrap(err)
		}
		n, locked, err := s.dispatch(ctx, atOnce)
		if told += n; err != nil || !locked {
			return told, err
		}
	}
}

func (s *Store) dispatch(ctx context.Context, atOnce int) (n int, locked bool, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx, q *sqlc.Queries) error {
		n = 0
		if locked, err = q.LockDispatch(ctx); err != nil || !locked {
			return err
		}
		endpoints, err := q.Endpoints(ctx)
		if err != nil {
			return err
		}
		wants := map[string][]string{} // endpoints by the types that they want
		told := []string{}
		for _, e := range endpoints {
			for _, t := range e.Events {
				if wants[t] = append(wants[t], e.ID); len(wants[t]) == 1 {
					told = append(told, t)
				}
			}
		}
		events, err := q.Dispatch(ctx, sqlc.DispatchParams{MaxRows: int32(atOnce), Told: told})
		if err != nil {
			return err
		}
		n = len(events)
		var jobs []river.InsertManyParams
		for _, e := range events {
			for _, id := range wants[e.Type] {
				jobs = append(jobs, river.InsertManyParams{
					Args:       broker.DeliverArgs{EventID: e.ID, Endpoint: id},
					InsertOpts: &river.InsertOpts{Queue: DeliverQueue(id), MaxAttempts: DeliverAttempts},
				})
			}
		}
		if len(jobs) == 0 {
			return nil
		}
		_, err = s.river.InsertManyFastTx(ctx, tx, jobs)
		return err
	})
	return n, locked, err
}

// EventToTell returns the event of a delivery; ok is false when it is gone.
func (s *Store) EventToTell(ctx context.Context, id int64) (t broker.Told, ok bool, err error) {
	r, err := s.q.EventToTell(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return broker.Told{}, false, nil
	}
	if err != nil {
		return broker.Told{}, false, wrap(err)
	}
	return broker.Told{
		ID: r.ID, UID: r.Uid, Type: r.Type, At: r.At, Sequence: r.Sequence, Data: r.Data,
		Project: broker.NoticeProject{ID: r.ProjectID, Name: r.ProjectName},
	}, true, nil
}

// EndpointConfigured reports whether a process delivers to it, or did so of late.
func (s *Store) EndpointConfigured(ctx context.Context, id string) (bool, error) {
	ok, err := s.q.EndpointConfigured(ctx, id)
	return ok, wrap(err)
}

// RescueDeliveries makes deliveries available again that run since before a time,
// which is longer than any may take. It returns how many were rescued.
func (s *Store) RescueDeliveries(ctx context.Context, before time.Time) (int, error) {
	n, err := s.q.RescueDeliveries(ctx, sqlc.RescueDeliveriesParams{Kind: broker.DeliverArgs{}.Kind(), Before: before})
	return int(n), wrap(err)
}

// SweepEvents forgets some of the events of before a time whose deliveries are all
// done, and returns how many.
func (s *Store) SweepEvents(ctx context.Context, before time.Time) (int, error) {
	n, err := s.q.SweepEvents(ctx, sqlc.SweepEventsParams{Before: before, Kind: broker.DeliverArgs{}.Kind(), MaxRows: sweepAtOnce})
	return int(n), wrap(err)
}

// Endpoints tells how the deliveries to each endpoint go.
func (s *Store) Endpoints(ctx context.Context) ([]broker.EndpointState, error) {
	rows, err := s.q.DeliveryCounts(ctx, broker.DeliverArgs{}.Kind())
	if err != nil {
		return nil, wrap(err)
	}
	out := make([]broker.EndpointState, len(rows))
	for i, r := range rows {
		out[i] = broker.EndpointState{
			Endpoint: broker.Endpoint{ID: r.ID, Host: r.Host, Events: r.Events},
			Waiting:  int(r.Waiting), Dead: int(r.Dead), LastCause: cause(r.Cause),
		}
	}
	return out, nil
}

// retryDelivery has a delivery that was given up begin again from its first try.
func (s *Store) retryDelivery(ctx context.Context, job *rivertype.JobRow) error {
	var args broker.DeliverArgs
	if err := unmarshalArgs(job, &args); err != nil {
		return err
	}
	configured, err := s.EndpointConfigured(ctx, args.Endpoint)
	if err != nil {
		return err
	}
	if !configured {
		return broker.Errorf(broker.CodeConflict, "job %d was for an endpoint that is not in the configuration any more", job.ID)
	}
	if _, ok, err := s.EventToTell(ctx, args.EventID); err != nil {
		return err
	} else if !ok {
		return broker.Errorf(broker.CodeConflict, "the event of job %d was swept: it is too old", job.ID)
	}
	n, err := s.q.ReviveDelivery(ctx, sqlc.ReviveDeliveryParams{ID: job.ID, Kind: job.Kind, MaxAttempts: DeliverAttempts})
	if err == nil && n == 0 {
		return broker.Errorf(broker.CodeConflict, "job %d moved at this moment; ask again", job.ID)
	}
	return wrap(err)
}
