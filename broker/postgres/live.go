package postgres

import (
	"context"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

var _ broker.LiveStore = (*Store)(nil)

// ChangesBefore implements broker.LiveStore.
func (s *Store) ChangesBefore(ctx context.Context, projectID string, before time.Time) (int64, error) {
	id, err := s.q.ChangesBefore(ctx, sqlc.ChangesBeforeParams{ProjectID: projectID, Before: before})
	return id, wrap(err)
}

// Changes implements broker.LiveStore.
func (s *Store) Changes(ctx context.Context, projectID string, after int64, max int) ([]broker.Change, error) {
	rows, err := s.q.Changes(ctx, sqlc.ChangesParams{ProjectID: projectID, After: after, MaxRows: int32(max)})
	if err != nil {
		return nil, wrap(err)
	}
	out := make([]broker.Change, len(rows))
	for i, r := range rows {
		out[i] = broker.Change{ID: r.ID, ImageID: r.ImageID}
	}
	return out, nil
}
