package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// Register implements broker.ImageStore. Small batches that come at the same time
// share a transaction.
func (s *Store) Register(ctx context.Context, b broker.RegisterBatch) ([]broker.Image, error) {
	return s.registrar.Register(ctx, b)
}

// register registers one batch. What is already there is answered from a plain
// read, so that sending a folder again writes nothing.
func (s *Store) register(ctx context.Context, b broker.RegisterBatch) ([]broker.Image, error) {
	digests := make([]broker.SHA1, len(b.Images))
	for i, n := range b.Images {
		digests[i] = n.SHA1
	}
	present, err := s.BySHA1(ctx, b.ProjectID, digests)
	if err != nil {
		return nil, err
	}
	byDigest := make(map[broker.SHA1]broker.Image, len(b.Images))
	for _, img := range present {
		if img.State == broker.StateUploaded || img.State == broker.StateReady {
			byDigest[img.SHA1] = img
		}
	}

	// An image that becomes Uploaded between the two reads gives no row: read again.
	for range retriesOfTx {
		var missing []broker.NewImage
		for _, n := range b.Images {
			if _, ok := byDigest[n.SHA1]; !ok {
				missing = append(missing, n)
			}
		}
		if len(missing) == 0 {
			break
		}
		registered, err := s.registerMissing(ctx, b, missing)
		if err != nil {
			return nil, err
		}
		for _, img := range registered {
			byDigest[img.SHA1] = img
		}
		if len(registered) == len(missing) {
			break
		}
		if present, err = s.BySHA1(ctx, b.ProjectID, digests); err != nil {
			return nil, err
		}
		for _, img := range present {
			if _, ok := byDigest[img.SHA1]; !ok && (img.State == broker.StateUploaded || img.State == broker.StateReady) {
				byDigest[img.SHA1] = img
			}
		}
	}

	images := make([]broker.Image, len(b.Images))
	for i, n := range b.Images {
		img, ok := byDigest[n.SHA1]
		if !ok {
			return nil, unavailable(errors.New("an image moved faster than its registration"), "this image is changing quickly; try again")
		}
		images[i] = img
	}
	return images, nil
}

// registerMissing registers in one transaction with the grants, the audit, and
// the watch that will look for them.
func (s *Store) registerMissing(ctx context.Context, b broker.RegisterBatch, missing []broker.NewImage) ([]broker.Image, error) {
	p := sqlc.RegisterImagesParams{
		ProjectID: b.ProjectID, Bucket: b.Bucket, Kind: string(b.Kind), ExpiresAt: b.ExpiresAt, Now: b.Now,
		OwnerID: b.By.Owner.ID, KeyID: b.By.Key.ID, FromStates: strs(broker.FromStates(broker.EventRegister)),
	}
	for _, n := range missing {
		state := broker.StatePending
		if n.Start {
			state = broker.StateUploading
		}
		ext := n.Ext
		if ext != "" {
			ext = "." + ext
		}
		p.Ids = append(p.Ids, n.ID)
		p.Names = append(p.Names, n.Name)
		p.Digests = append(p.Digests, n.SHA1[:])
		p.Sizes = append(p.Sizes, n.SizeBytes)
		p.Types = append(p.Types, n.Type)
		p.Exts = append(p.Exts, ext)
		p.States = append(p.States, string(state))
	}
	var rows []sqlc.RegisterImagesRow
	err := s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		return granting(ctx, q, b, func() (err error) {
			rows, err = q.RegisterImages(ctx, p)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	images := make([]broker.Image, len(rows))
	for i, r := range rows {
		if images[i], err = toImage(sqlc.Image(r)); err != nil {
			return nil, err
		}
	}
	return images, nil
}

// Regrant implements broker.ImageStore.
func (s *Store) Regrant(ctx context.Context, b broker.RegisterBatch) ([]string, error) {
	ids := make([]string, len(b.Images))
	for i, n := range b.Images {
		ids[i] = n.ID
	}
	var open []string
	err := s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		return granting(ctx, q, b, func() (err error) {
			open, err = q.RegrantImages(ctx, sqlc.RegrantImagesParams{
				ProjectID: b.ProjectID, Ids: ids, Bucket: b.Bucket, Kind: string(b.Kind), ExpiresAt: b.ExpiresAt,
				Now: b.Now, OwnerID: b.By.Owner.ID, KeyID: b.By.Key.ID,
			})
			return err
		})
	})
	return open, err
}

// granting runs f, which adds grants, while the project can't be removed and its
// watch can't fall asleep; then it sees to it that somebody will look.
func granting(ctx context.Context, q *sqlc.Queries, b broker.RegisterBatch, f func() error) error {
	lock := sqlc.LockForGrantParams{ProjectID: b.ProjectID, Bucket: b.Bucket}
	late, err := q.LockForGrant(ctx, lock)
	if errors.Is(err, pgx.ErrNoRows) {
		if err := q.AddWatch(ctx, sqlc.AddWatchParams{ProjectID: b.ProjectID, Bucket: b.Bucket}); err != nil {
			return err
		}
		late, err = q.LockForGrant(ctx, lock)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return broker.Errorf(broker.CodeNotFound, "the project was removed meanwhile")
	}
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	if late {
		return q.WakeWatch(ctx, sqlc.WakeWatchParams{ProjectID: b.ProjectID, Bucket: b.Bucket})
	}
	return nil
}
