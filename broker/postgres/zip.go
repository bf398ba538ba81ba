package postgres

import (
	"context"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

var _ broker.ZipStore = (*Store)(nil)

// The two statements below are here and not in queries/ because their rows are
// gone through as they come, and sqlc's functions gather them all first. The time
// when a picture was taken travels as text: a camera may say one that is none to
// Postgres.
const (
	readyEntries = `SELECT name, coalesce(facts->>'type', declared_type, ''), coalesce(facts->>'taken', ''), created_at,
       proven_size, crc32, bucket, project_id || '/' || filename, etag
FROM images WHERE project_id = $1 AND state = 'Ready' ORDER BY id`

	taskEntries = `SELECT i.name, i.type, '', i.at, i.size, i.crc32, i.bucket, t.project_id || '/' || i.filename, i.etag
FROM task_images i JOIN tasks t ON t.id = i.task_id WHERE i.task_id = $1 ORDER BY i.image_id`
)

// ReadyEntries implements broker.ZipStore. It is one statement, and so one moment.
func (s *Store) ReadyEntries(ctx context.Context, projectID string) iter.Seq2[broker.ZipEntry, error] {
	return s.zipEntries(ctx, readyEntries, projectID)
}

// TaskEntries implements broker.ZipStore.
func (s *Store) TaskEntries(ctx context.Context, taskID string) iter.Seq2[broker.ZipEntry, error] {
	return s.zipEntries(ctx, taskEntries, taskID)
}

func (s *Store) zipEntries(ctx context.Context, query, id string) iter.Seq2[broker.ZipEntry, error] {
	return func(yield func(broker.ZipEntry, error) bool) {
		rows, err := s.pool.Query(ctx, query, id)
		if err != nil {
			yield(broker.ZipEntry{}, wrap(err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			e, err := scanZipEntry(rows)
			if err != nil {
				yield(broker.ZipEntry{}, wrap(err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(broker.ZipEntry{}, wrap(err))
		}
	}
}

func scanZipEntry(rows pgx.Rows) (e broker.ZipEntry, err error) {
	var taken string
	var crc int64
	err = rows.Scan(&e.Name, &e.Type, &taken, &e.At, &e.SizeBytes, &crc, &e.Bucket, &e.Key, &e.ETag)
	e.CRC32 = uint32(crc)
	if at, err := time.Parse(time.RFC3339, taken); err == nil {
		e.At = at
	}
	return e, err
}

// CreateLink implements broker.ZipStore.
func (s *Store) CreateLink(ctx context.Context, l broker.ZipLink, hash [32]byte, by broker.Caller) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		if err := q.SweepLinks(ctx, l.CreatedAt); err != nil {
			return err
		}
		if err := q.CreateLink(ctx, sqlc.CreateLinkParams{
			Hash: hash[:], ProjectID: l.ProjectID, KeyID: l.KeyID, CreatedAt: l.CreatedAt, ExpiresAt: l.ExpiresAt,
		}); err != nil {
			return err
		}
		return audit(ctx, q, l.CreatedAt, "project.link", by, l.ProjectID, "", map[string]any{"expires_at": l.ExpiresAt})
	})
}

// LinkByHash implements broker.ZipStore.
func (s *Store) LinkByHash(ctx context.Context, hash [32]byte, now time.Time) (broker.ZipLink, broker.Caller, error) {
	r, err := s.q.LinkByHash(ctx, sqlc.LinkByHashParams{Hash: hash[:], Now: now})
	if err != nil {
		return broker.ZipLink{}, broker.Caller{}, wrap(err)
	}
	l := broker.ZipLink{ProjectID: r.Link.ProjectID, KeyID: r.Link.KeyID, CreatedAt: r.Link.CreatedAt, ExpiresAt: r.Link.ExpiresAt}
	return l, broker.Caller{Owner: toOwner(r.Owner), Key: toKey(r.Key)}, nil
}

// ZipTask implements broker.ZipStore.
func (s *Store) ZipTask(ctx context.Context, taskID string) (broker.ZipTask, error) {
	r, err := s.q.ZipTask(ctx, taskID)
	if err != nil {
		return broker.ZipTask{}, wrap(err)
	}
	return broker.ZipTask{Project: toProject(r.Project), State: broker.TaskState(r.State), Token: r.Token}, nil
}
