package postgres

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

var _ broker.ArrivalStore = (*Store)(nil)

// EventSecret implements broker.ArrivalStore.
func (s *Store) EventSecret(ctx context.Context, bucket string, now time.Time) (string, error) {
	secret, err := s.q.EventSecret(ctx, bucket)
	if err = wrap(err); broker.CodeOf(err) != broker.CodeNotFound {
		return secret, err
	}
	// Two processes may make one at the same time; the first one's counts.
	if err := s.q.MakeEventSecret(ctx, sqlc.MakeEventSecretParams{
		Bucket: bucket, Secret: broker.NewEventSecret(), Now: now,
	}); err != nil {
		return "", wrap(err)
	}
	secret, err = s.q.EventSecret(ctx, bucket)
	return secret, wrap(err)
}

// Hint implements broker.ArrivalStore. Hints that come at the same time share a
// transaction, for buckets tell of each object by itself.
func (s *Store) Hint(ctx context.Context, bucket string, arrived []broker.Arrived) (int, error) {
	return s.hinter.Hint(ctx, bucket, arrived)
}

func (s *Store) hint(ctx context.Context, bucket string, arrived []broker.Arrived) (int, error) {
	p := sqlc.HintObjectsParams{Bucket: bucket}
	for _, o := range arrived {
		projectID, filename, _ := strings.Cut(o.Key, "/")
		p.ProjectIds = append(p.ProjectIds, projectID)
		p.Filenames = append(p.Filenames, filename)
		p.Etags = append(p.Etags, strings.Trim(o.ETag, `"`))
	}
	images := 0
	err := s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		images = 0
		places, err := q.HintObjects(ctx, p)
		if err != nil {
			return err
		}
		for _, place := range places { // in the order of their projects
			images += int(place.N)
			if err := q.CallWatch(ctx, sqlc.CallWatchParams{ProjectID: place.ProjectID, Bucket: bucket}); err != nil {
				return err
			}
		}
		return nil
	})
	return images, err
}

// hintedAtOnce is the most objects of one transaction.
const hintedAtOnce = 5000

// hinter puts hints of one bucket that come at the same time into one transaction,
// as registrar does with registrations. A lone caller waits for nobody.
type hinter struct {
	hint func(ctx context.Context, bucket string, arrived []broker.Arrived) (int, error)

	mu      sync.Mutex
	waiting map[string][]*hintCall // by bucket; an entry means that a flush runs
}

// hintCall is one caller's hints and, once done is closed, how it went. images
// counts those of all that shared the transaction.
type hintCall struct {
	arrived []broker.Arrived
	images  int
	err     error
	done    chan struct{}
}

// Hint stores hints, alone or with others'.
func (h *hinter) Hint(ctx context.Context, bucket string, arrived []broker.Arrived) (int, error) {
	call := &hintCall{arrived: arrived, done: make(chan struct{})}
	h.mu.Lock()
	calls, running := h.waiting[bucket]
	h.waiting[bucket] = append(calls, call)
	if !running {
		go h.flush(context.WithoutCancel(ctx), bucket)
	}
	h.mu.Unlock()
	select {
	case <-call.done:
		return call.images, call.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// flush stores what waits for a bucket until nothing does.
func (h *hinter) flush(ctx context.Context, bucket string) {
	for calls, merged := h.take(bucket); len(calls) > 0; calls, merged = h.take(bucket) {
		ctx, cancel := context.WithTimeout(ctx, flushTime)
		images, err := h.hint(ctx, bucket, merged)
		cancel()
		for _, c := range calls {
			c.images, c.err = images, err
			close(c.done)
		}
	}
}

// take removes the calls of one transaction, and merges what they say.
func (h *hinter) take(bucket string) (calls []*hintCall, merged []broker.Arrived) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.waiting[bucket]
	if len(all) == 0 {
		delete(h.waiting, bucket)
		return nil, nil
	}
	seen := map[broker.Arrived]bool{}
	n := 0
	for n < len(all) && (n == 0 || len(merged)+len(all[n].arrived) <= hintedAtOnce) {
		for _, o := range all[n].arrived {
			if !seen[o] {
				seen[o] = true
				merged = append(merged, o)
			}
		}
		n++
	}
	h.waiting[bucket] = all[n:]
	return all[:n:n], merged
}
