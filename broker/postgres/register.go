package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// Register implements broker.ImageStore. Small batches that come at the same time
// share a transaction.
func (s *Store) Register(ctx context.Context, b broker.RegisterBatch) ([]broker.Image, error) {
	return s.registrar.Register(ctx, b)
}

// fileKey is what two registrations of one file in a project have in common: its
// sha1, or for a file without one the id that it would get.
type fileKey struct {
	digest broker.SHA1
	id     string
}

func keyOf(digest broker.SHA1, id string) fileKey {
	if digest.IsZero() {
		return fileKey{id: id}
	}
	return fileKey{digest: digest}
}

// register registers one batch. What is already there is answered from a plain
// read, so that sending a folder again writes nothing.
func (s *Store) register(ctx context.Context, b broker.RegisterBatch) ([]broker.Image, error) {
	found := make(map[fileKey]broker.Image, len(b.Images))
	// An image that becomes Uploaded between the two reads gives no row: read again.
	for range retriesOfTx {
		if err := s.findPresent(ctx, b, found); err != nil {
			return nil, err
		}
		var missing []broker.NewImage
		for _, n := range b.Images {
			if _, ok := found[keyOf(n.SHA1, n.ID)]; !ok {
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
			found[keyOf(img.SHA1, img.ID)] = img
		}
		if len(registered) == len(missing) {
			break
		}
	}

	images := make([]broker.Image, len(b.Images))
	for i, n := range b.Images {
		img, ok := found[keyOf(n.SHA1, n.ID)]
		if !ok {
			return nil, unavailable(errors.New("an image moved faster than its registration"), "this image is changing quickly; try again")
		}
		images[i] = img
	}
	return images, nil
}

// findPresent adds the images of a batch that have their bytes.
func (s *Store) findPresent(ctx context.Context, b broker.RegisterBatch, found map[fileKey]broker.Image) error {
	digests := make([]broker.SHA1, 0, len(b.Images))
	for _, n := range b.Images {
		if _, ok := found[keyOf(n.SHA1, n.ID)]; !ok && !n.SHA1.IsZero() {
			digests = append(digests, n.SHA1)
		}
	}
	if len(digests) == 0 {
		return nil
	}
	present, err := s.BySHA1(ctx, b.ProjectID, digests)
	for _, img := range present {
		if img.State == broker.StateUploaded || img.State == broker.StateReady {
			found[keyOf(img.SHA1, img.ID)] = img
		}
	}
	return err
}

// registerMissing registers in one transaction with the grants, the audit, and
// the watch that will look for them.
func (s *Store) registerMissing(ctx context.Context, b broker.RegisterBatch, missing []broker.NewImage) ([]broker.Image, error) {
	p := sqlc.RegisterImagesParams{
		ProjectID: b.ProjectID, Bucket: b.Bucket, Kind: string(b.Kind), ExpiresAt: b.ExpiresAt, Now: b.Now,
		OwnerID: b.By.Owner.ID, KeyID: b.By.Key.ID, FromStates: strs(broker.FromStates(broker.EventRegister)),
		Source: b.FetchURL,
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
		p.Digests = append(p.Digests, digestOrNull(n.SHA1))
		p.Sizes = append(p.Sizes, n.SizeBytes)
		p.Types = append(p.Types, n.Type)
		p.Exts = append(p.Exts, ext)
		p.States = append(p.States, string(state))
	}
	var rows []sqlc.RegisterImagesRow
	err := s.inTx(ctx, func(tx pgx.Tx, q *sqlc.Queries) error {
		return granting(ctx, q, b, func() (err error) {
			if p.Tagged, err = q.IsTag(ctx, b.ProjectID); err != nil {
				return err
			}
			if rows, err = q.RegisterImages(ctx, p); err != nil {
				return err
			}
			if p.Tagged {
				if err := tellApart(ctx, q, rows, p.Ids); err != nil {
					return err
				}
			}
			if b.FetchURL == "" {
				return nil
			}
			return s.insertFetches(ctx, tx, b, rows)
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

// digestOrNull is a digest as a row has it.
func digestOrNull(d broker.SHA1) []byte {
	if d.IsZero() {
		return nil
	}
	return d[:]
}

// Spare implements broker.ImageStore.
func (s *Store) Spare(ctx context.Context, b broker.RegisterBatch) (filename string, ok bool, err error) {
	err = s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		if _, err := q.LockProject(ctx, b.ProjectID); err != nil {
			return err
		}
		filename, err = q.SpareGrant(ctx, sqlc.SpareGrantParams{
			ProjectID: b.ProjectID, ID: b.Images[0].ID, Bucket: b.Bucket, Kind: string(b.Kind), ExpiresAt: b.ExpiresAt,
			Now: b.Now, OwnerID: b.By.Owner.ID, KeyID: b.By.Key.ID,
		})
		return err
	})
	if broker.CodeOf(err) == broker.CodeNotFound {
		return "", false, nil
	}
	return filename, err == nil, err
}

// SessionGiven implements broker.ImageStore.
func (s *Store) SessionGiven(ctx context.Context, projectID, bucket string, until time.Time) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		_, err := q.LockProject(ctx, projectID)
		if errors.Is(err, pgx.ErrNoRows) {
			return broker.Errorf(broker.CodeNotFound, "the project was removed meanwhile")
		}
		if err != nil {
			return err
		}
		return q.SessionGiven(ctx, sqlc.SessionGivenParams{ProjectID: projectID, Bucket: bucket, Until: until})
	})
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
