package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// ReadyElsewhere implements broker.ImageStore.
func (s *Store) ReadyElsewhere(ctx context.Context, p broker.Project, bucket string, digests []broker.SHA1) ([]broker.Image, error) {
	rows, err := s.q.ReadyElsewhere(ctx, sqlc.ReadyElsewhereParams{
		Digests: digestBytes(digests), Bucket: bucket, OwnerID: p.OwnerID, Kind: string(p.Kind), ProjectID: p.ID,
	})
	if err != nil {
		return nil, wrap(err)
	}
	return toImages(rows)
}

// Copied implements broker.ImageStore. Should the image have moved meanwhile (a
// client had a grant, too, and was faster), it stays as it is, unless what it holds
// is this copy.
func (s *Store) Copied(ctx context.Context, copied broker.Seen, from broker.Image, proven bool, now time.Time, by broker.Caller) (broker.Image, error) {
	facts, err := json.Marshal(from.Facts)
	if err != nil {
		return broker.Image{}, err
	}
	type copyOf struct {
		id      string
		attempt int32
	}
	var img broker.Image
	err = s.inTx(ctx, func(tx pgx.Tx, q *sqlc.Queries) error {
		var copies []copyOf // one, or none
		seen, err := q.SeeObjects(ctx, sqlc.SeeObjectsParams{
			ProjectID: copied.ProjectID, Bucket: copied.Bucket, Now: now, FromStates: strs(broker.FromStates(broker.EventSeen)),
			Filenames: []string{copied.Filename}, Etags: []string{copied.ETag}, Sizes: []int64{copied.SizeBytes},
		})
		if err != nil {
			return err
		}
		for _, r := range seen {
			copies = append(copies, copyOf{r.ID, r.Attempt})
		}
		if len(seen) == 0 {
			// A look may have been quicker, and the image waits for a verdict that is known.
			row, err := q.ImageOfFile(ctx, sqlc.ImageOfFileParams{ProjectID: copied.ProjectID, Filename: copied.Filename})
			if err != nil {
				return err
			}
			if proven && broker.State(row.State) == broker.StateUploaded && deref(row.Etag) == copied.ETag && deref(row.Bucket) == copied.Bucket {
				copies = append(copies, copyOf{row.ID, row.Attempt})
			}
		}
		for _, r := range copies {
			if err := audit(ctx, q, now, "image.copy", by, copied.ProjectID, r.id, map[string]any{
				"from_project": from.ProjectID, "from_image": from.ID, "proven": proven,
			}); err != nil {
				return err
			}
			if !proven {
				err = s.insertJobs(ctx, tx, []broker.ValidateArgs{{
					ImageID: r.id, Attempt: int(r.attempt), ETag: copied.ETag, SizeBytes: copied.SizeBytes, Bucket: copied.Bucket,
				}})
			} else {
				crc := int64(from.CRC32)
				_, err = q.JudgeImage(ctx, sqlc.JudgeImageParams{
					ID: r.id, Attempt: r.attempt, Etag: copied.ETag, FromStates: strs(broker.FromStates(broker.EventReady)),
					ToState: string(broker.StateReady), Reasons: []string{}, Facts: facts, Holder: "copy of " + from.ID, Now: now,
					Sha1: from.ProvenSHA1[:], Size: &from.ProvenBytes, Crc32: &crc,
				})
			}
			if err != nil {
				return err
			}
		}
		row, err := q.ImageOfFile(ctx, sqlc.ImageOfFileParams{ProjectID: copied.ProjectID, Filename: copied.Filename})
		if err != nil {
			return err
		}
		img, err = toImage(row)
		return err
	})
	return img, err
}
