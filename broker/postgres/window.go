package postgres

import (
	"context"
	"slices"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// WindowImages implements broker.ImageStore.
func (s *Store) WindowImages(ctx context.Context, projectID string, state broker.State, w broker.Window) ([]broker.Image, error) {
	all := sqlc.WindowImagesParams{ProjectID: projectID, After: w.After, Before: w.Before, MaxRows: int32(w.Limit) + 1}
	one := sqlc.WindowImagesInStateParams{
		ProjectID: projectID, State: string(state), After: all.After, Before: all.Before, MaxRows: all.MaxRows,
	}
	var rows []sqlc.Image
	var err error
	switch {
	case state == broker.StateNone && w.FromEnd:
		rows, err = s.q.WindowImagesBack(ctx, sqlc.WindowImagesBackParams(all))
	case state == broker.StateNone:
		rows, err = s.q.WindowImages(ctx, all)
	case w.FromEnd:
		rows, err = s.q.WindowImagesInStateBack(ctx, sqlc.WindowImagesInStateBackParams(one))
	default:
		rows, err = s.q.WindowImagesInState(ctx, one)
	}
	if err != nil {
		return nil, wrap(err)
	}
	if w.FromEnd {
		slices.Reverse(rows)
	}
	return toImages(rows)
}

// WindowProjects implements broker.ProjectStore.
func (s *Store) WindowProjects(ctx context.Context, ownerID, onlyID, search string, w broker.Window) ([]broker.Project, int, error) {
	total, err := s.q.CountProjects(ctx, sqlc.CountProjectsParams{OwnerID: ownerID, OnlyID: onlyID, Search: search})
	if err != nil {
		return nil, 0, wrap(err)
	}
	p := sqlc.WindowProjectsParams{
		OwnerID: ownerID, OnlyID: onlyID, Search: search, After: w.After, Before: w.Before, MaxRows: int32(w.Limit) + 1,
	}
	var rows []sqlc.Project
	if w.FromEnd {
		rows, err = s.q.WindowProjectsBack(ctx, sqlc.WindowProjectsBackParams(p))
		slices.Reverse(rows)
	} else {
		rows, err = s.q.WindowProjects(ctx, p)
	}
	return toProjects(rows), int(total), wrap(err)
}

// ProjectsByPrefix implements broker.ProjectStore.
func (s *Store) ProjectsByPrefix(ctx context.Context, ownerID, onlyID, prefix string, max int) ([]broker.Project, error) {
	rows, err := s.q.ProjectsByPrefix(ctx, sqlc.ProjectsByPrefixParams{
		OwnerID: ownerID, OnlyID: onlyID, Prefix: prefix, MaxRows: int32(max),
	})
	return toProjects(rows), wrap(err)
}

func toProjects(rows []sqlc.Project) []broker.Project {
	projects := make([]broker.Project, len(rows))
	for i, r := range rows {
		projects[i] = toProject(r)
	}
	return projects
}

// StatsOf implements broker.ProjectStore.
func (s *Store) StatsOf(ctx context.Context, projectIDs []string) (map[string]broker.Stats, error) {
	rows, err := s.q.StatsOfProjects(ctx, projectIDs)
	all := make(map[string]broker.Stats, len(projectIDs))
	for _, r := range rows {
		stats := all[r.ProjectID]
		if stats.Counts == nil {
			stats.Counts = broker.Counts{}
		}
		stats.Counts[broker.State(r.State)] = int(r.N)
		if broker.State(r.State) == broker.StateReady {
			stats.Pixels = r.Pixels
		}
		all[r.ProjectID] = stats
	}
	return all, wrap(err)
}

// ProjectOfImage implements broker.ImageStore.
func (s *Store) ProjectOfImage(ctx context.Context, id string) (string, error) {
	projectID, err := s.q.ProjectOfImage(ctx, id)
	return projectID, wrap(err)
}
