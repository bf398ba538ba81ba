package graphql

import (
	"context"

	"github.com/uploadbroker/uploadbroker/api/graphql/schema"
	"github.com/uploadbroker/uploadbroker/broker"
)

// asProjects gives projects of one answer their form; what is counted, and their
// tasks, are one query each.
func (f *Face) asProjects(by broker.Caller, list []broker.Project) []*schema.Project {
	ids := make([]string, len(list))
	stats := &shared[broker.Stats]{ids: ids, load: func(ctx context.Context, ids []string) (map[string]broker.Stats, error) {
		return f.Projects.StatsOf(ctx, by, ids)
	}}
	latest, done := f.latest(by, ids, false), f.latest(by, ids, true)
	out := make([]*schema.Project, len(list))
	for i, p := range list {
		ids[i] = p.ID
		out[i] = &schema.Project{
			ID: p.ID, Name: p.Name, ProjectType: schema.ProjectTypeFree, Date: p.CreatedAt,
			Stats: stats.of(p.ID), Latest: latest.of(p.ID), Done: done.of(p.ID),
		}
	}
	return out
}

func (f *Face) asProject(by broker.Caller, p broker.Project) *schema.Project {
	return f.asProjects(by, []broker.Project{p})[0]
}

type query struct{ *Face }

// Project answers null for what is not the caller's, as for what is not there.
// It counts no images: clients poll one image of a project every second.
func (q query) Project(ctx context.Context, id string) (*schema.Project, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	if !broker.IsID(id) {
		return nil, by.Need(broker.ScopeRead)
	}
	list, err := q.Projects.ByPrefix(ctx, by, id, 1)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return q.asProject(by, list[0]), nil
}

func (q query) Search(context.Context) (*schema.Search, error) { return &schema.Search{}, nil }

type search struct{ *Face }

// Sizes of a search.
const (
	defaultSearch = 10
	maxSearch     = 100
)

// ProjectID finds the caller's projects by the beginning of their id. Nobody sees
// another's, so myProject changes nothing.
func (s search) ProjectID(ctx context.Context, _ *schema.Search, id *string, limit *int, _ *bool) ([]*schema.Project, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	n := defaultSearch
	if limit != nil {
		n = min(*limit, maxSearch)
	}
	if n < 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "limit is %d; give a number from 0 to %d", n, maxSearch)
	}
	list, err := s.Projects.ByPrefix(ctx, by, text(id), n)
	if err != nil {
		return nil, err
	}
	return s.asProjects(by, list), nil
}

// My is null, without an error, when nobody is logged in: clients crash on an
// error here.
func (q query) My(ctx context.Context) (*schema.My, error) {
	by, err := visitor(ctx)
	if err != nil || !by.Known() {
		return nil, err
	}
	return &schema.My{Self: asUser(by.Owner)}, nil
}

type my struct{ *Face }

func (m my) AllProjects(ctx context.Context, _ *schema.My, first, last *int, before, after, search *string) (*schema.ProjectsConnection, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	w, err := window(first, last, before, after)
	if err != nil {
		return nil, err
	}
	list, total, more, err := m.Projects.Window(ctx, by, text(search), w)
	if err != nil {
		return nil, err
	}
	page := &schema.ProjectsConnection{TotalCount: total, Edges: make([]*schema.ProjectEdge, len(list))}
	ids := make([]string, len(list))
	for i, p := range m.asProjects(by, list) {
		ids[i], page.Edges[i] = p.ID, &schema.ProjectEdge{Node: p}
	}
	page.PageInfo = pageInfo(ids, w, more)
	return page, nil
}

type project struct{ *Face }

// NumImage counts all but the removed ones.
func (project) NumImage(ctx context.Context, p *schema.Project) (int, error) {
	stats, err := p.Stats(ctx)
	return total(stats.Counts, ""), err
}

// GigaPixel sums up the Ready ones.
func (project) GigaPixel(ctx context.Context, p *schema.Project) (float64, error) {
	stats, err := p.Stats(ctx)
	return float64(stats.Pixels) / 1e9, err
}

// total counts images of one state, or ("") of all.
func total(counts broker.Counts, state broker.State) int {
	if state != "" {
		return counts[state]
	}
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// Image is null for what the project does not have.
func (r project) Image(ctx context.Context, p *schema.Project, id string) (*schema.ProjectImage, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	img, err := r.Images.Find(ctx, by, p.ID, id)
	switch {
	case broker.CodeOf(err) == broker.CodeNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return asImage(img), nil
}

// AllImages reads nothing that is not asked for: some clients want totalCount
// alone.
func (r project) AllImages(ctx context.Context, p *schema.Project, first, last *int, before, after *string, filter *schema.ImageFilter) (*schema.ProjectImagesConnection, error) {
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	w, err := window(first, last, before, after)
	if err != nil {
		return nil, err
	}
	var state broker.State
	if filter != nil && *filter != schema.ImageFilterAll {
		state = broker.State(*filter)
	}
	page := &schema.ProjectImagesConnection{Total: func(ctx context.Context) (int, error) {
		stats, err := p.Stats(ctx)
		return total(stats.Counts, state), err
	}}
	if wants := asked(ctx); !wants["edges"] && !wants["pageInfo"] {
		return page, nil
	}
	list, more, err := r.Images.Window(ctx, by, p.ID, state, w)
	if err != nil {
		return nil, err
	}
	page.Edges = make([]*schema.ProjectImageEdge, len(list))
	ids := make([]string, len(list))
	for i, img := range list {
		ids[i], page.Edges[i] = img.ID, &schema.ProjectImageEdge{Node: asImage(img)}
	}
	page.PageInfo = pageInfo(ids, w, more)
	return page, nil
}

type imagesConnection struct{}

func (imagesConnection) TotalCount(ctx context.Context, page *schema.ProjectImagesConnection) (int, error) {
	return page.Total(ctx)
}
