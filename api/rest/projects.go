package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/broker"
)

// ProjectPath names a project.
type ProjectPath struct {
	PID string `path:"pid" doc:"The project's id." example:"01KAHQY5C9W3RV7ZB3N4D8M2XE"`
}

// Paging asks for part of a list.
type Paging struct {
	Cursor string `query:"cursor" doc:"next_cursor of the page before." maxLength:"64"`
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"The most entries of a page."`
}

// page asks for one more than the caller wants, to know whether more follows.
func (p Paging) page() (broker.Page, error) {
	if p.Cursor != "" && !broker.IsID(p.Cursor) {
		return broker.Page{}, broker.Errorf(broker.CodeInvalid, "the cursor is none of ours; begin again without it")
	}
	return broker.Page{After: p.Cursor, Limit: p.Limit + 1}, nil
}

// cut takes the extra entry off again and gives the cursor of the next page.
func cut[T any](p Paging, list []T, id func(T) string) ([]T, string) {
	if len(list) <= p.Limit {
		return list, ""
	}
	return list[:p.Limit], id(list[p.Limit-1])
}

type projectBody struct{ Body Project }

func (f *face) mountProjects() {
	type newProject struct {
		Body struct {
			Name text   `json:"name" doc:"For people; need not be unique. 1 to 255 bytes, without control characters." example:"North face, November"`
			Kind string `json:"kind,omitempty" enum:"recon,files" default:"recon" doc:"recon takes images, files takes anything."`
		}
	}
	add(f, huma.Operation{
		OperationID: "createProject", Method: http.MethodPost, Path: "/v1/projects", Tags: []string{"projects"},
		Summary: "Make a project", DefaultStatus: http.StatusCreated,
	}, broker.ScopeUpload, func(ctx context.Context, by broker.Caller, in *newProject) (*projectBody, error) {
		p, err := f.Projects.Create(ctx, by, string(in.Body.Name), broker.ProjectKind(in.Body.Kind))
		return &projectBody{project(p, nil)}, err
	})

	type listProjects struct {
		Paging
		Query  string `query:"q" doc:"An id, a prefix of one, or an exact name." maxLength:"255"`
		Counts bool   `query:"counts" doc:"With each project's images counted by state."`
	}
	type projects struct{ Body ProjectPage }
	add(f, huma.Operation{
		OperationID: "listProjects", Method: http.MethodGet, Path: "/v1/projects", Tags: []string{"projects"},
		Summary: "List your projects",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *listProjects) (*projects, error) {
		page, err := in.page()
		if err != nil {
			return nil, err
		}
		var list []broker.Project
		var counts []broker.Counts
		if in.Counts {
			list, counts, err = f.Projects.ListWithCounts(ctx, by, in.Query, page)
		} else {
			list, err = f.Projects.List(ctx, by, in.Query, page)
		}
		if err != nil {
			return nil, err
		}
		out := &projects{}
		list, out.Body.NextCursor = cut(in.Paging, list, func(p broker.Project) string { return p.ID })
		out.Body.Projects = make([]Project, len(list))
		for i, p := range list {
			var n broker.Counts
			if in.Counts {
				if n = counts[i]; n == nil {
					n = broker.Counts{}
				}
			}
			out.Body.Projects[i] = project(p, n)
		}
		return out, nil
	})

	add(f, huma.Operation{
		OperationID: "getProject", Method: http.MethodGet, Path: "/v1/projects/{pid}", Tags: []string{"projects"},
		Summary: "One project, with its images counted by state",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *ProjectPath) (*projectBody, error) {
		p, counts, err := f.Projects.Get(ctx, by, in.PID)
		return &projectBody{project(p, counts)}, err
	})

	add(f, huma.Operation{
		OperationID: "removeProject", Method: http.MethodDelete, Path: "/v1/projects/{pid}", Tags: []string{"projects"},
		Summary:     "Remove a project and all its images",
		Description: "It can be undone for ten minutes; then its objects are deleted. The removal is final when nothing is found in any bucket after the last grant has ended.",
	}, broker.ScopeManage, func(ctx context.Context, by broker.Caller, in *ProjectPath) (*projectBody, error) {
		p, err := f.Projects.Remove(ctx, by, in.PID)
		return &projectBody{project(p, nil)}, err
	})

	add(f, huma.Operation{
		OperationID: "undoRemoveProject", Method: http.MethodPost, Path: "/v1/projects/{pid}/undo", Tags: []string{"projects"},
		Summary: "Take a removal back, within ten minutes",
	}, broker.ScopeManage, func(ctx context.Context, by broker.Caller, in *ProjectPath) (*projectBody, error) {
		p, err := f.Projects.Undo(ctx, by, in.PID)
		return &projectBody{project(p, nil)}, err
	})
}
