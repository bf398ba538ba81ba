package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

var _ broker.ImageStore = (*Store)(nil)

// maxHistory is the most lines of an image's story that are told.
const maxHistory = 1000

// BySHA1 implements broker.ImageStore.
func (s *Store) BySHA1(ctx context.Context, projectID string, digests []broker.SHA1) ([]broker.Image, error) {
	rows, err := s.q.ImagesBySHA1(ctx, sqlc.ImagesBySHA1Params{ProjectID: projectID, Digests: digestBytes(digests)})
	if err != nil {
		return nil, wrap(err)
	}
	return toImages(rows)
}

func digestBytes(digests []broker.SHA1) [][]byte {
	out := make([][]byte, len(digests))
	for i := range digests {
		out[i] = digests[i][:]
	}
	return out
}

// ByID implements broker.ImageStore.
func (s *Store) ByID(ctx context.Context, projectID string, ids []string) ([]broker.Image, error) {
	rows, err := s.q.ImagesByID(ctx, sqlc.ImagesByIDParams{ProjectID: projectID, Ids: ids})
	if err != nil {
		return nil, wrap(err)
	}
	return toImages(rows)
}

// ListImages implements broker.ImageStore.
func (s *Store) ListImages(ctx context.Context, projectID string, state broker.State, page broker.Page) ([]broker.Image, error) {
	var rows []sqlc.Image
	var err error
	if state == broker.StateNone {
		rows, err = s.q.ListImages(ctx, sqlc.ListImagesParams{ProjectID: projectID, After: page.After, MaxRows: int32(page.Limit)})
	} else {
		rows, err = s.q.ListImagesInState(ctx, sqlc.ListImagesInStateParams{
			ProjectID: projectID, State: string(state), After: page.After, MaxRows: int32(page.Limit),
		})
	}
	if err != nil {
		return nil, wrap(err)
	}
	return toImages(rows)
}

// History implements broker.ImageStore.
func (s *Store) History(ctx context.Context, imageID string) ([]broker.HistoryEntry, error) {
	rows, err := s.q.AuditOfImage(ctx, sqlc.AuditOfImageParams{ImageID: imageID, MaxRows: maxHistory})
	if err != nil {
		return nil, wrap(err)
	}
	story := make([]broker.HistoryEntry, len(rows))
	for i, r := range rows {
		story[i] = broker.HistoryEntry{
			At: r.At, Action: r.Action, Owner: deref(r.OwnerID), KeyID: deref(r.KeyID), ImageID: imageID, Detail: r.Detail,
		}
	}
	return story, nil
}

// Start implements broker.ImageStore.
func (s *Store) Start(ctx context.Context, projectID string, ids []string, now time.Time, by broker.Caller) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		if err := q.StartImages(ctx, sqlc.StartImagesParams{
			ProjectID: projectID, Ids: ids, Now: now, FromStates: strs(broker.FromStates(broker.EventStart)),
			OwnerID: by.Owner.ID, KeyID: by.Key.ID,
		}); err != nil {
			return err
		}
		return q.WakeWatchesOf(ctx, sqlc.WakeWatchesOfParams{ProjectID: projectID, Ids: ids})
	})
}

// Done implements broker.ImageStore.
func (s *Store) Done(ctx context.Context, projectID string, ids []string, now time.Time, by broker.Caller) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		if err := q.AuditDone(ctx, sqlc.AuditDoneParams{
			ProjectID: projectID, Ids: ids, Now: now, OwnerID: by.Owner.ID, KeyID: by.Key.ID,
		}); err != nil {
			return err
		}
		hinted, err := q.HintImages(ctx, sqlc.HintImagesParams{ProjectID: projectID, Ids: ids})
		if err != nil {
			return err
		}
		if hinted > 0 {
			return q.CallWatchesOf(ctx, sqlc.CallWatchesOfParams{ProjectID: projectID, Ids: ids})
		}
		return q.WakeWatchesOf(ctx, sqlc.WakeWatchesOfParams{ProjectID: projectID, Ids: ids})
	})
}

// Touch implements broker.ImageStore.
func (s *Store) Touch(ctx context.Context, projectID string) error {
	_, err := s.q.TouchWatches(ctx, projectID)
	return wrap(err)
}

// RemoveImage implements broker.ImageStore.
func (s *Store) RemoveImage(ctx context.Context, projectID, id string, now, undoUntil time.Time, by broker.Caller) error {
	return wrap(s.q.RemoveImage(ctx, sqlc.RemoveImageParams{
		ProjectID: projectID, ID: id, Now: now, UndoUntil: undoUntil, SweepAt: undoUntil.Add(sweepMargin),
		FromStates: strs(broker.FromStates(broker.EventRemove)), OwnerID: by.Owner.ID, KeyID: by.Key.ID,
	}))
}

// UndoRemoveImage implements broker.ImageStore.
func (s *Store) UndoRemoveImage(ctx context.Context, projectID, id string, now time.Time, by broker.Caller) error {
	return s.inTx(ctx, func(tx pgx.Tx, q *sqlc.Queries) error {
		// The index would refuse it as well, and have Postgres log it as an error.
		taken, err := q.HasSuccessor(ctx, sqlc.HasSuccessorParams{ProjectID: projectID, ID: id, Now: now})
		switch {
		case err != nil:
			return err
		case taken:
			return errSuccessor()
		}
		state, err := q.UndoRemoveImage(ctx, sqlc.UndoRemoveImageParams{
			ProjectID: projectID, ID: id, Now: now, FromStates: strs(broker.FromStates(broker.EventUndo)),
			OwnerID: by.Owner.ID, KeyID: by.Key.ID,
		})
		switch {
		case isViolation(err, indexSHA1):
			return errSuccessor()
		case errors.Is(err, pgx.ErrNoRows):
			return s.whyNoUndo(ctx, q, projectID, id)
		case err != nil:
			return err
		}
		switch broker.State(state) {
		case broker.StatePending, broker.StateUploading:
			// All of them, due or not: a look that does not see this image yet
			// then waits for the row before it lets the watch sleep.
			return q.WakeAllWatches(ctx, projectID)
		case broker.StateUploaded: // its job may have found it removed
			return s.insertValidation(ctx, tx, q, projectID, id)
		}
		return nil
	})
}

func errSuccessor() error {
	return broker.Errorf(broker.CodeConflict, "the same file was registered again since; remove that image first")
}

// whyNoUndo tells an image that is not removed (no error: there is nothing to
// take back) from one whose undo has ended.
func (s *Store) whyNoUndo(ctx context.Context, q *sqlc.Queries, projectID, id string) error {
	rows, err := q.ImagesByID(ctx, sqlc.ImagesByIDParams{ProjectID: projectID, Ids: []string{id}})
	if err == nil && len(rows) == 1 && broker.State(rows[0].State) == broker.StateRemoved {
		return broker.Errorf(broker.CodeUndoEnded, "the image was removed more than %d minutes ago; its object is being deleted",
			int(broker.UndoWindow.Minutes()))
	}
	return err
}

// Accept implements broker.ImageStore.
func (s *Store) Accept(ctx context.Context, img broker.Image, now time.Time, by broker.Caller) (bool, error) {
	n, err := s.q.AcceptImage(ctx, sqlc.AcceptImageParams{
		ProjectID: img.ProjectID, ID: img.ID, Attempt: int32(img.Attempt), Etag: img.ETag, Now: now,
		FromStates: strs(broker.FromStates(broker.EventAccept)), OwnerID: by.Owner.ID, KeyID: by.Key.ID,
	})
	return n > 0, wrap(err)
}
