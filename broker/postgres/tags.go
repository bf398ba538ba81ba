package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

var _ broker.TagStore = (*Store)(nil)

// TagByName implements broker.TagStore.
func (s *Store) TagByName(ctx context.Context, name string) (broker.Project, error) {
	r, err := s.q.TagByName(ctx, name)
	return toProject(r), wrap(err)
}

// ListTags implements broker.TagStore.
func (s *Store) ListTags(ctx context.Context, ownerID, onlyID string, public []string, page broker.Page) ([]broker.Project, error) {
	rows, err := s.q.ListTags(ctx, sqlc.ListTagsParams{
		OwnerID: ownerID, OnlyID: onlyID, Public: strs(public), After: page.After, MaxRows: int32(page.Limit),
	})
	return toProjects(rows), wrap(err)
}

// BytesOfTags implements broker.TagStore.
func (s *Store) BytesOfTags(ctx context.Context, projectIDs []string) (map[string]broker.TagBytes, error) {
	rows, err := s.q.BytesOfTags(ctx, projectIDs)
	sums := make(map[string]broker.TagBytes, len(rows))
	for _, r := range rows {
		sums[r.ProjectID] = broker.TagBytes{Shown: r.Shown, Held: r.Held}
	}
	return sums, wrap(err)
}

// FirstOwner implements broker.TagStore.
func (s *Store) FirstOwner(ctx context.Context) (broker.Owner, error) {
	r, err := s.q.FirstOwner(ctx)
	return toOwner(r), wrap(err)
}

// ReserveTag implements broker.TagStore.
func (s *Store) ReserveTag(ctx context.Context, p broker.Project, until time.Time) error {
	return wrap(s.q.ReserveTag(ctx, sqlc.ReserveTagParams{
		ID: p.ID, OwnerID: p.OwnerID, Name: p.Name, Tag: p.Tag, Now: p.CreatedAt, Until: until,
	}))
}

// ReleaseTag implements broker.TagStore.
func (s *Store) ReleaseTag(ctx context.Context, id string) error {
	return wrap(s.q.ReleaseTag(ctx, id))
}

// makeTag makes the tag that was reserved for its first file.
func makeTag(ctx context.Context, q *sqlc.Queries, f broker.ReceivedFile) error {
	if err := q.LockTagName(ctx, f.ProjectID); err != nil {
		return err
	}
	rival, err := q.TagRival(ctx, sqlc.TagRivalParams{ID: f.ProjectID, Now: f.Now})
	if err != nil {
		return err
	}
	var p sqlc.Project
	if !rival.Taken {
		p, err = q.MakeReservedTag(ctx, f.ProjectID)
	}
	if rival.Taken || isViolation(err, indexTag) {
		return broker.Errorf(broker.CodeConflict, "another file has made the tag meanwhile; send this one again")
	}
	if err != nil {
		return err
	}
	return audit(ctx, q, f.Now, "project.create", f.By, p.ID, "", senderOf(f, map[string]any{"name": p.Name, "kind": p.Kind}))
}

// senderOf adds who sent a file without a key: nothing else tells where a tag that takes
// files of anybody was filled from.
func senderOf(f broker.ReceivedFile, detail map[string]any) map[string]any {
	if f.Anonymous {
		detail["anonymous"], detail["address"] = true, f.Client.String()
	}
	return detail
}

// giveTagBack has a tag that is to come back find its name free, unless files were sent
// to a new one: one that is empty, as the program makes them, goes.
func giveTagBack(ctx context.Context, q *sqlc.Queries, id string, now time.Time, by broker.Caller) error {
	if err := q.LockTagName(ctx, id); err != nil {
		return err
	}
	if err := q.LockTagRival(ctx, id); err != nil {
		return err
	}
	dropped, err := q.DropEmptyRival(ctx, sqlc.DropEmptyRivalParams{ID: id, Now: now})
	if err != nil {
		return err
	}
	for _, empty := range dropped {
		if err := audit(ctx, q, now, "project.remove", by, empty, "", nil); err != nil {
			return err
		}
	}
	rival, err := q.TagRival(ctx, sqlc.TagRivalParams{ID: id, Now: now})
	if err == nil && rival.Taken && rival.Undoable {
		return errNewTag()
	}
	return err
}

func errNewTag() error {
	return broker.Errorf(broker.CodeConflict, "files were sent to a new tag of this name since; remove that one first")
}

// errTwin says that another upload made an image of the same bytes at this moment.
var errTwin = errors.New("the same bytes came twice at the same moment")

// ReceiveFile implements broker.TagStore.
func (s *Store) ReceiveFile(ctx context.Context, f broker.ReceivedFile) (img broker.Image, kept bool, err error) {
	for range retriesOfTx {
		err = s.inTx(ctx, func(tx pgx.Tx, q *sqlc.Queries) error {
			if f.First {
				if err := makeTag(ctx, q, f); err != nil {
					return err
				}
			}
			row, isNew, err := receive(ctx, q, f)
			if err != nil {
				return err
			}
			kept = isNew
			if img, err = toImage(row); err != nil || !kept {
				return err
			}
			// Etags are compared where a watch is, and only there.
			if err := q.AddWatch(ctx, sqlc.AddWatchParams{ProjectID: f.ProjectID, Bucket: f.Seen.Bucket}); err != nil {
				return err
			}
			if err := audit(ctx, q, f.Now, "image.receive", f.By, f.ProjectID, img.ID, senderOf(f, map[string]any{
				"attempt": img.Attempt, "bucket": img.Bucket, "etag": img.ETag, "size": f.Seen.SizeBytes, "name": img.Name,
			})); err != nil {
				return err
			}
			return s.insertJobs(ctx, tx, []broker.ValidateArgs{{
				ImageID: img.ID, Attempt: img.Attempt, ETag: img.ETag, SizeBytes: f.Seen.SizeBytes, Bucket: img.Bucket,
			}})
		})
		if !errors.Is(err, errTwin) {
			return img, kept, err
		}
	}
	return broker.Image{}, false, unavailable(err, "this file is changing quickly; send it again")
}

// ReceivedAs implements broker.TagStore.
func (s *Store) ReceivedAs(ctx context.Context, projectID, filename string) (broker.Image, error) {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return broker.Image{}, wrap(err)
	}
	// Never committed: where commits wait for another server, this must not.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	q := s.q.WithTx(tx)
	// A transaction of ReceiveFile holds the project until it has ended.
	if err := q.AwaitProject(ctx, projectID); err != nil {
		return broker.Image{}, wrap(err)
	}
	row, err := q.ReceivedAs(ctx, sqlc.ReceivedAsParams{ProjectID: projectID, Filename: filename})
	if err != nil {
		return broker.Image{}, wrap(err)
	}
	return toImage(row)
}

// receive makes the row, or finds the one that has these bytes.
func receive(ctx context.Context, q *sqlc.Queries, f broker.ReceivedFile) (row sqlc.Image, kept bool, err error) {
	if _, err := q.LockProject(ctx, f.ProjectID); err != nil {
		return row, false, err // no row: it was removed
	}
	row, err = q.LockImageBySHA1(ctx, sqlc.LockImageBySHA1Params{ProjectID: f.ProjectID, Sha1: f.SHA1[:]})
	switch {
	case err == nil && hasBytes(row, f):
		return row, false, nil
	case err == nil:
		row, err = q.ReceiveAttempt(ctx, sqlc.ReceiveAttemptParams{
			ID: row.ID, Filename: f.Seen.Filename, Size: f.Seen.SizeBytes, Type: f.Type, Bucket: f.Seen.Bucket, Etag: f.Seen.ETag,
			Now: f.Now, FromStates: strs(broker.FromStates(broker.EventSeen)),
		})
		return row, err == nil, err
	case !errors.Is(err, pgx.ErrNoRows):
		return row, false, err
	}
	name, err := takeName(ctx, q, f.ProjectID, f.Name)
	if err != nil {
		return row, false, err
	}
	rows, err := q.ReceiveFile(ctx, sqlc.ReceiveFileParams{
		ID: f.ID, ProjectID: f.ProjectID, Name: name, Sha1: f.SHA1[:], Size: f.Seen.SizeBytes, Type: f.Type,
		Filename: f.Seen.Filename, Now: f.Now, Bucket: f.Seen.Bucket, Etag: f.Seen.ETag,
	})
	if err == nil && len(rows) == 0 {
		err = errTwin // undoes the name, too
	}
	if err != nil {
		return row, false, err
	}
	return rows[0], true, nil
}

// hasBytes reports whether an image has the bytes of a file, be they good or not. Of
// those that nobody has looked at yet the broker knows where it has put them itself:
// what others put may be anything until it is judged.
func hasBytes(r sqlc.Image, f broker.ReceivedFile) bool {
	switch broker.State(r.State) {
	case broker.StateUploaded:
		return receivedHere(r.Filename) && r.Filename != f.Gone
	case broker.StateReady:
		return true
	case broker.StateInvalid:
		return r.SweptAt == nil && string(r.ProvenSha1) == string(f.SHA1[:])
	}
	return false
}

// receivedHere reports whether an object of an image with a sha1 passed through the
// broker: that is named by an id, and others by their sha1.
func receivedHere(filename string) bool {
	stem, _, _ := strings.Cut(filename, ".")
	return broker.IsID(stem)
}

// takeName gives the name to nobody else: the first file has it as it is, the others
// with their numbers. A name that has a number by itself counts like any other.
func takeName(ctx context.Context, q *sqlc.Queries, projectID, name string) (string, error) {
	for {
		n, err := q.TakeTagName(ctx, sqlc.TakeTagNameParams{ProjectID: projectID, Name: name})
		if err != nil || n == 1 {
			return name, err
		}
		numbered := broker.NumberedName(name, int(n))
		again, err := q.TakeTagName(ctx, sqlc.TakeTagNameParams{ProjectID: projectID, Name: numbered})
		if err != nil || again == 1 {
			return numbered, err
		}
	}
}

// tellApart names images that were registered into a tag as if they had been sent to it.
// ids are those of new ones, in the order of their registration; the others have their
// names.
func tellApart(ctx context.Context, q *sqlc.Queries, rows []sqlc.RegisterImagesRow, ids []string) error {
	at := make(map[string]int, len(ids))
	for i, id := range ids {
		at[id] = i
	}
	var fresh []*sqlc.RegisterImagesRow
	for i := range rows {
		if _, ok := at[rows[i].ID]; ok {
			fresh = append(fresh, &rows[i])
		}
	}
	// By name first, so that two batches can't wait for each other's.
	slices.SortFunc(fresh, func(a, b *sqlc.RegisterImagesRow) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), at[a.ID]-at[b.ID])
	})
	for _, r := range fresh {
		name, err := takeName(ctx, q, r.ProjectID, r.Name)
		if err == nil && name != r.Name {
			err = q.NameImage(ctx, sqlc.NameImageParams{ID: r.ID, Name: name})
		}
		if err != nil {
			return err
		}
		r.Name = name
	}
	return nil
}
