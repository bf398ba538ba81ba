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

// ClaimWatches returns due watches, up to so many of each bucket, and moves them on
// by their pause, so that no other worker looks there now.
func (s *Store) ClaimWatches(ctx context.Context, room map[string]int) ([]Watch, error) {
	var p sqlc.ClaimWatchesParams
	for bucket, n := range room {
		p.Buckets = append(p.Buckets, bucket)
		p.Rooms = append(p.Rooms, int32(n))
	}
	rows, err := s.q.ClaimWatches(ctx, p)
	watches := make([]Watch, len(rows))
	for i, r := range rows {
		watches[i] = Watch{ProjectID: r.ProjectID, Bucket: r.Bucket, Pause: r.Pause, Pages: int(r.Pages)}
	}
	return watches, wrap(err)
}

// OpenUploads lists the images that a look asks for: those that wait for their
// bytes and have a grant in the bucket, and others that somebody hinted at.
func (s *Store) OpenUploads(ctx context.Context, projectID, bucket string, now time.Time) ([]broker.OpenUpload, error) {
	hinted, err := s.q.HintedImages(ctx, sqlc.HintedImagesParams{ProjectID: projectID, Bucket: bucket})
	if err != nil {
		return nil, wrap(err)
	}
	rows, err := s.q.OpenUploads(ctx, sqlc.OpenUploadsParams{ProjectID: projectID, Bucket: bucket})
	uploads := make([]broker.OpenUpload, len(rows))
	for i, r := range rows {
		uploads[i] = broker.OpenUpload{
			ImageID: r.ID, Attempt: int(r.Attempt), Filename: r.Filename, Buckets: r.Buckets,
			GrantsEnded: !r.GrantsEnd.After(now.Add(-broker.GraceAfterGrant)),
		}
	}
	for _, r := range hinted {
		uploads = append(uploads, broker.OpenUpload{ImageID: r.ID, Attempt: int(r.Attempt), Filename: r.Filename, HintedAt: r.HintedAt})
	}
	return uploads, wrap(err)
}

// TakeHints forgets the hints that a look was about.
func (s *Store) TakeHints(ctx context.Context, bucket string, looked []broker.OpenUpload) error {
	p := sqlc.TakeHintsParams{Bucket: bucket}
	for _, u := range looked {
		if !u.HintedAt.IsZero() {
			p.ImageIds = append(p.ImageIds, u.ImageID)
			p.Times = append(p.Times, u.HintedAt)
		}
	}
	if len(p.ImageIds) == 0 {
		return nil
	}
	return wrap(s.q.TakeHints(ctx, p))
}

// CountObjects tells how many images of the project have their object in the
// bucket: a guess at how long a LIST of its prefix is.
func (s *Store) CountObjects(ctx context.Context, projectID, bucket string) (int, error) {
	n, err := s.q.CountObjects(ctx, sqlc.CountObjectsParams{ProjectID: projectID, Bucket: bucket})
	return int(n), wrap(err)
}

// LookFailed lets a place that can't be looked at wait, for at least so long, and
// notes why in words for an operator.
func (s *Store) LookFailed(ctx context.Context, w Watch, wait time.Duration, fault string) error {
	return wrap(s.q.FaultyLook(ctx, sqlc.FaultyLookParams{
		ProjectID: w.ProjectID, Bucket: w.Bucket, Pause: w.Pause, Wait: wait, Fault: fault,
	}))
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

// Comparison is a place whose etags are to be compared.
type Comparison struct {
	ProjectID string
	Bucket    string
	Granted   bool // a grant may still overwrite something, so another one follows
	Sweep     bool // what serves no image any more is to be deleted, too
}

// ClaimReconciles returns places whose etags are to be compared: once a day, and
// more often while a grant may still overwrite something.
func (s *Store) ClaimReconciles(ctx context.Context, buckets []string, max int) ([]Comparison, error) {
	rows, err := s.q.ClaimReconciles(ctx, sqlc.ClaimReconcilesParams{Buckets: buckets, MaxRows: int32(max)})
	due := make([]Comparison, len(rows))
	for i, r := range rows {
		due[i] = Comparison{ProjectID: r.ProjectID, Bucket: r.Bucket, Granted: r.Granted, Sweep: r.Sweep}
	}
	return due, wrap(err)
}

// FinishReconcile ends a comparison that came to its end and after which nobody
// could write; the next one is due in a day.
func (s *Store) FinishReconcile(ctx context.Context, c Comparison) error {
	return wrap(s.q.FinishReconcile(ctx, sqlc.FinishReconcileParams{ProjectID: c.ProjectID, Bucket: c.Bucket}))
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
