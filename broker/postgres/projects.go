package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

var _ broker.ProjectStore = (*Store)(nil)

// sweepMargin is how long after undo has ended objects are deleted: clocks of
// machines differ a little.
const sweepMargin = time.Minute

// CreateProject implements broker.ProjectStore.
func (s *Store) CreateProject(ctx context.Context, p broker.Project, by broker.Caller) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		n, err := q.CreateProject(ctx, sqlc.CreateProjectParams{
			ID: p.ID, OwnerID: p.OwnerID, Name: p.Name, Kind: string(p.Kind), Tag: orNull(p.Tag), CreatedAt: p.CreatedAt,
		})
		switch {
		case err != nil:
			return err
		case n == 0:
			return broker.Errorf(broker.CodeConflict, "there is a tag of this name")
		}
		return audit(ctx, q, p.CreatedAt, "project.create", by, p.ID, "", map[string]any{"name": p.Name, "kind": p.Kind})
	})
}

// Project implements broker.ProjectStore.
func (s *Store) Project(ctx context.Context, id string) (broker.Project, error) {
	r, err := s.q.Project(ctx, id)
	return toProject(r), wrap(err)
}

// ListProjects implements broker.ProjectStore.
func (s *Store) ListProjects(ctx context.Context, ownerID, onlyID, query string, page broker.Page) ([]broker.Project, error) {
	rows, err := s.q.ListProjects(ctx, sqlc.ListProjectsParams{
		OwnerID: ownerID, OnlyID: onlyID, Query: query, After: page.After, MaxRows: int32(page.Limit),
	})
	return toProjects(rows), wrap(err)
}

// CountImages implements broker.ProjectStore.
func (s *Store) CountImages(ctx context.Context, projectID string) (broker.Counts, error) {
	rows, err := s.q.CountImages(ctx, projectID)
	counts := broker.Counts{}
	for _, r := range rows {
		counts[broker.State(r.State)] = int(r.N)
	}
	return counts, wrap(err)
}

// CountImagesOf implements broker.ProjectStore.
func (s *Store) CountImagesOf(ctx context.Context, projectIDs []string) (map[string]broker.Counts, error) {
	rows, err := s.q.CountImagesOfProjects(ctx, projectIDs)
	all := make(map[string]broker.Counts, len(projectIDs))
	for _, r := range rows {
		if all[r.ProjectID] == nil {
			all[r.ProjectID] = broker.Counts{}
		}
		all[r.ProjectID][broker.State(r.State)] = int(r.N)
	}
	return all, wrap(err)
}

// RemoveProject implements broker.ProjectStore.
func (s *Store) RemoveProject(ctx context.Context, id string, now, undoUntil time.Time, by broker.Caller) (broker.Project, error) {
	err := s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		n, err := q.RemoveProject(ctx, sqlc.RemoveProjectParams{
			Now: now, UndoUntil: undoUntil, SweepAt: undoUntil.Add(sweepMargin), ID: id,
		})
		if err != nil || n == 0 {
			return err
		}
		return audit(ctx, q, now, "project.remove", by, id, "", nil)
	})
	if err != nil {
		return broker.Project{}, err
	}
	return s.Project(ctx, id)
}

// UndoRemoveProject implements broker.ProjectStore.
func (s *Store) UndoRemoveProject(ctx context.Context, id string, now time.Time, by broker.Caller) (broker.Project, error) {
	err := s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		if err := giveTagBack(ctx, q, id, now, by); err != nil {
			return err
		}
		n, err := q.UndoRemoveProject(ctx, sqlc.UndoRemoveProjectParams{ID: id, Now: now})
		if isViolation(err, indexTag) {
			return errNewTag()
		}
		if err != nil || n == 0 {
			return err
		}
		// Hints that came while it was removed were dropped: look everywhere.
		if err := q.WakeAllWatches(ctx, id); err != nil {
			return err
		}
		return audit(ctx, q, now, "project.undo", by, id, "", nil)
	})
	if err != nil {
		return broker.Project{}, err
	}
	p, err := s.Project(ctx, id)
	if err == nil && p.Removed() {
		return broker.Project{}, broker.Errorf(broker.CodeUndoEnded, "the project was removed more than %d minutes ago; its images are being deleted",
			int(broker.UndoWindow.Minutes()))
	}
	return p, err
}

// audit adds one line. by without an owner is the program itself.
func audit(ctx context.Context, q *sqlc.Queries, at time.Time, action string, by broker.Caller, projectID, imageID string, detail map[string]any) error {
	if detail == nil {
		detail = map[string]any{}
	}
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	return q.Audit(ctx, sqlc.AuditParams{
		At: at, Action: action, OwnerID: orNull(by.Owner.ID), KeyID: orNull(by.Key.ID),
		ProjectID: orNull(projectID), ImageID: orNull(imageID), Detail: text,
	})
}
