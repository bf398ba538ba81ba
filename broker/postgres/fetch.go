package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// FetchQueue is the River queue of broker.FetchArgs, FetchAttempts how often one
// is tried.
const (
	FetchQueue    = "fetch"
	FetchAttempts = 5
)

// insertFetches inserts the job that brings each registered image's bytes.
func (s *Store) insertFetches(ctx context.Context, tx pgx.Tx, b broker.RegisterBatch, rows []sqlc.RegisterImagesRow) error {
	params := make([]river.InsertManyParams, len(rows))
	for i, r := range rows {
		params[i] = river.InsertManyParams{
			Args:       broker.FetchArgs{ImageID: r.ID, Attempt: int(r.Attempt), Bucket: b.Bucket},
			InsertOpts: &river.InsertOpts{Queue: FetchQueue, MaxAttempts: FetchAttempts},
		}
	}
	if len(params) == 0 {
		return nil
	}
	_, err := s.river.InsertManyFastTx(ctx, tx, params)
	return err
}

// ToFetch returns the image of a job and the URL to fetch. ok is false when there
// is nothing to do any more: it has its bytes, was removed, or is at another
// attempt.
func (s *Store) ToFetch(ctx context.Context, args broker.FetchArgs) (img broker.Image, url string, ok bool, err error) {
	r, err := s.q.ImageWithProject(ctx, args.ImageID)
	if err = wrap(err); broker.CodeOf(err) == broker.CodeNotFound {
		return img, "", false, nil
	}
	if err != nil {
		return img, "", false, err
	}
	if img, err = toImage(r.Image); err != nil || !img.State.Open() || img.Attempt != args.Attempt {
		return img, "", false, err
	}
	if args.URL != "" { // a job of the version before this one
		return img, args.URL, true, nil
	}
	url, err = s.q.FetchSource(ctx, sqlc.FetchSourceParams{ImageID: args.ImageID, Attempt: int32(args.Attempt)})
	return img, url, err == nil, wrap(err)
}

// FetchFailed performs broker.EventExpire for an image whose bytes could not be
// fetched: the grant was the broker's own, and it gives up. moved is false when
// the image is no longer open or a client has a grant of his own for it.
func (s *Store) FetchFailed(ctx context.Context, args broker.FetchArgs, why string, now time.Time) (moved bool, err error) {
	n, err := s.q.FetchFailed(ctx, sqlc.FetchFailedParams{
		ID: args.ImageID, Attempt: int32(args.Attempt), Now: now, GrantsBefore: now.Add(-broker.GraceAfterGrant),
		FromStates: strs(broker.FromStates(broker.EventExpire)), Reason: broker.Reasonf(broker.ReasonExpired, "%s", why).String(),
	})
	return n > 0, wrap(err)
}
