package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// Place is a key in a bucket.
type Place struct {
	Bucket string
	Key    string
}

// RemovedImage is an image whose objects are to be deleted.
type RemovedImage struct {
	ID        string
	Places    []Place   // every key that a grant of it ever named, and its thumbnail's in each of these buckets
	GrantsEnd time.Time // until when somebody may still write there
}

// ClaimRemovedImages returns removed images whose undo is over, and keeps other
// workers off them for ten minutes.
func (s *Store) ClaimRemovedImages(ctx context.Context, now time.Time, max int) ([]RemovedImage, error) {
	rows, err := s.q.ClaimRemovedImages(ctx, sqlc.ClaimRemovedImagesParams{Now: now, MaxRows: int32(max)})
	if err != nil {
		return nil, wrap(err)
	}
	removed := make([]RemovedImage, len(rows))
	for i, r := range rows {
		removed[i] = RemovedImage{ID: r.ID, GrantsEnd: r.GrantsEnd}
		places, err := s.q.PlacesOfImage(ctx, r.ID)
		if err != nil {
			return nil, wrap(err)
		}
		for _, p := range places {
			thumb := Place{Bucket: p.Bucket, Key: broker.ThumbKey(r.ProjectID, r.ID)}
			if !slices.Contains(removed[i].Places, thumb) {
				removed[i].Places = append(removed[i].Places, thumb)
			}
			removed[i].Places = append(removed[i].Places, Place{Bucket: p.Bucket, Key: r.ProjectID + "/" + p.Filename})
		}
	}
	return removed, nil
}

// SweepImageAgain sets when a removed image's objects are deleted next.
func (s *Store) SweepImageAgain(ctx context.Context, id string, at time.Time) error {
	return wrap(s.q.SweepImageAgain(ctx, sqlc.SweepImageAgainParams{ID: id, SweepAt: at}))
}

// ForgetImage deletes a removed image's row; the audit keeps its story.
func (s *Store) ForgetImage(ctx context.Context, id string) error {
	return wrap(s.q.ForgetImage(ctx, id))
}

// RemovedProject is a project whose prefixes are to be emptied.
type RemovedProject struct {
	ID        string
	GrantsEnd time.Time // until when somebody may still write there
}

// ClaimRemovedProjects returns removed projects whose undo is over, and keeps
// other workers off them for ten minutes.
func (s *Store) ClaimRemovedProjects(ctx context.Context, now time.Time, max int) ([]RemovedProject, error) {
	rows, err := s.q.ClaimRemovedProjects(ctx, sqlc.ClaimRemovedProjectsParams{Now: now, MaxRows: int32(max)})
	if err != nil {
		return nil, wrap(err)
	}
	removed := make([]RemovedProject, len(rows))
	for i, r := range rows {
		ends, err := s.q.LastGrantOfProject(ctx, r.ID)
		if err != nil {
			return nil, wrap(err)
		}
		removed[i] = RemovedProject{ID: r.ID, GrantsEnd: ends}
	}
	return removed, nil
}

// SweepProjectAgain sets when a removed project's prefixes are emptied next.
func (s *Store) SweepProjectAgain(ctx context.Context, id string, at time.Time) error {
	return wrap(s.q.SweepProjectAgain(ctx, sqlc.SweepProjectAgainParams{ID: id, SweepAt: at}))
}

// FinishProject makes a removal final: its images, watches, tasks and tied keys
// are gone, its row stays so that its id is never used again.
func (s *Store) FinishProject(ctx context.Context, id string, now time.Time) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		n, err := q.FinishProject(ctx, sqlc.FinishProjectParams{ID: id, Now: now})
		if err != nil || n == 0 {
			return err
		}
		if err := q.DeleteImagesOfProject(ctx, id); err != nil {
			return err
		}
		if err := q.DeleteWatchesOfProject(ctx, id); err != nil {
			return err
		}
		if err := q.DeleteTasksOfProject(ctx, id); err != nil {
			return err
		}
		if err := q.RevokeTiedKeys(ctx, sqlc.RevokeTiedKeysParams{ProjectID: id, Now: now}); err != nil {
			return err
		}
		return audit(ctx, q, now, "project.final", broker.Caller{}, id, "", nil)
	})
}

// SweepSessions forgets sessions and sign-in codes that have ended.
func (s *Store) SweepSessions(ctx context.Context, now time.Time) error {
	return wrap(s.q.SweepSessions(ctx, now))
}
