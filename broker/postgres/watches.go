package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// Watch is a place to look at: a project's prefix in a bucket.
type Watch struct {
	ProjectID string
	Bucket    string
	Pause     time.Duration // until the next look, unless something calls earlier
	Pages     int           // requests that the last LIST took; 0: none yet
}

// ClaimWatches returns due watches of these buckets and moves them on by their
// pause, so that no other worker looks there now.
func (s *Store) ClaimWatches(ctx context.Context, buckets []string, max int) ([]Watch, error) {
	rows, err := s.q.ClaimWatches(ctx, sqlc.ClaimWatchesParams{Buckets: buckets, MaxRows: int32(max)})
	watches := make([]Watch, len(rows))
	for i, r := range rows {
		watches[i] = Watch{ProjectID: r.ProjectID, Bucket: r.Bucket, Pause: r.Pause, Pages: int(r.Pages)}
	}
	return watches, wrap(err)
}

// OpenUploads lists the images that wait for their bytes and have a grant in the
// bucket.
func (s *Store) OpenUploads(ctx context.Context, projectID, bucket string, now time.Time) ([]broker.OpenUpload, error) {
	rows, err := s.q.OpenUploads(ctx, sqlc.OpenUploadsParams{ProjectID: projectID, Bucket: bucket})
	uploads := make([]broker.OpenUpload, len(rows))
	for i, r := range rows {
		uploads[i] = broker.OpenUpload{
			ImageID: r.ID, Attempt: int(r.Attempt), Filename: r.Filename, Buckets: r.Buckets,
			GrantsEnded: !r.GrantsEnd.After(now.Add(-broker.GraceAfterGrant)),
		}
	}
	return uploads, wrap(err)
}

// CountObjects tells how many images of the project have their object in the
// bucket: a guess at how long a LIST of its prefix is.
func (s *Store) CountObjects(ctx context.Context, projectID, bucket string) (int, error) {
	n, err := s.q.CountObjects(ctx, sqlc.CountObjectsParams{ProjectID: projectID, Bucket: bucket})
	return int(n), wrap(err)
}

// FinishLook stores the watch's new pause and pages.
func (s *Store) FinishLook(ctx context.Context, w Watch) error {
	return wrap(s.q.FinishLook(ctx, sqlc.FinishLookParams{
		ProjectID: w.ProjectID, Bucket: w.Bucket, Pause: w.Pause, Pages: int32(w.Pages),
	}))
}

// Sleep puts a watch to sleep when nothing is open there any more. Registrations
// share a lock on the row; the lock here waits for them, and the statement after
// it sees what they did.
func (s *Store) Sleep(ctx context.Context, w Watch) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		_, err := q.LockWatch(ctx, sqlc.LockWatchParams{ProjectID: w.ProjectID, Bucket: w.Bucket})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // the project's removal became final
		}
		if err != nil {
			return err
		}
		_, err = q.SleepWatch(ctx, sqlc.SleepWatchParams{ProjectID: w.ProjectID, Bucket: w.Bucket})
		return err
	})
}

// ClaimReconciles returns places whose etags were last compared a day ago.
func (s *Store) ClaimReconciles(ctx context.Context, buckets []string, max int) ([]Watch, error) {
	rows, err := s.q.ClaimReconciles(ctx, sqlc.ClaimReconcilesParams{Buckets: buckets, MaxRows: int32(max)})
	watches := make([]Watch, len(rows))
	for i, r := range rows {
		watches[i] = Watch{ProjectID: r.ProjectID, Bucket: r.Bucket}
	}
	return watches, wrap(err)
}

// HeldETags returns, of these file names, the etags that images hold in the
// bucket.
func (s *Store) HeldETags(ctx context.Context, projectID, bucket string, filenames []string) (map[string]string, error) {
	rows, err := s.q.HeldETags(ctx, sqlc.HeldETagsParams{ProjectID: projectID, Bucket: bucket, Filenames: filenames})
	held := make(map[string]string, len(rows))
	for _, r := range rows {
		held[r.Filename] = r.Etag
	}
	return held, wrap(err)
}
