package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
)

// Kinds of projects.
const (
	KindRecon = "recon" // takes images
	KindFiles = "files" // takes anything
)

// ProjectPage is a part of a list of projects.
type ProjectPage struct {
	Projects   []Project `json:"projects"`
	NextCursor string    `json:"next_cursor"` // "": this is the last page
}

// Page asks for a part of a list.
type Page struct {
	Cursor string // "": from the start; else NextCursor of the part before
	Limit  int    // 0: the server's default
}

func (p Page) values() url.Values {
	v := url.Values{}
	if p.Cursor != "" {
		v.Set("cursor", p.Cursor)
	}
	if p.Limit > 0 {
		v.Set("limit", strconv.Itoa(p.Limit))
	}
	return v
}

// CreateProject makes a project; kind "" is the server's default, recon. It is
// the one call that is not safe to repeat, so it is tried again only when the
// server surely did nothing; names need not be unique. See ProjectNamed.
func (c *Client) CreateProject(ctx context.Context, name, kind string) (Project, error) {
	in := struct {
		Name string `json:"name"`
		Kind string `json:"kind,omitempty"`
	}{name, kind}
	var p Project
	err := c.do(ctx, call{method: http.MethodPost, path: "/projects", in: in, out: &p, once: true})
	return p, err
}

// Projects lists the caller's projects. query is an id, a prefix of one, or an
// exact name; "" lists all.
func (c *Client) Projects(ctx context.Context, query string, page Page) (ProjectPage, error) {
	v := page.values()
	if query != "" {
		v.Set("q", query)
	}
	var out ProjectPage
	err := c.do(ctx, call{method: http.MethodGet, path: "/projects", query: v, out: &out})
	return out, err
}

// Project gives one project with its counts.
func (c *Client) Project(ctx context.Context, pid string) (Project, error) {
	var p Project
	err := c.do(ctx, call{method: http.MethodGet, path: projectPath(pid), out: &p})
	return p, err
}

// RemoveProject removes a project; UndoUntil of the answer says until when it can
// be brought back.
func (c *Client) RemoveProject(ctx context.Context, pid string) (Project, error) {
	var p Project
	err := c.do(ctx, call{method: http.MethodDelete, path: projectPath(pid), out: &p})
	return p, err
}

// UndoRemoveProject brings a removed project back.
func (c *Client) UndoRemoveProject(ctx context.Context, pid string) (Project, error) {
	var p Project
	err := c.do(ctx, call{method: http.MethodPost, path: projectPath(pid) + "/undo", out: &p})
	return p, err
}

// FindProject finds the one project that query means: a whole id, else an exact
// name, else the beginning of an id. It returns *NoProjectError or
// *AmbiguousError when there is none or no single one.
func (c *Client) FindProject(ctx context.Context, query string) (Project, error) {
	if query == "" {
		return Project{}, &NoProjectError{}
	}
	page, err := c.Projects(ctx, query, Page{})
	if err != nil {
		return Project{}, err
	}
	var named []Project
	for _, p := range page.Projects {
		if p.ID == query {
			return p, nil
		}
		if p.Name == query {
			named = append(named, p)
		}
	}
	switch {
	case len(page.Projects) == 0:
		return Project{}, &NoProjectError{Query: query}
	case len(page.Projects) == 1:
		return page.Projects[0], nil
	case len(named) == 1:
		return named[0], nil
	case len(named) > 1:
		return Project{}, &AmbiguousError{Query: query, Candidates: named}
	}
	return Project{}, &AmbiguousError{Query: query, Candidates: page.Projects}
}

// LookupProjectNamed finds the caller's project of exactly this name, for
// callers that would make it otherwise; an id never counts here.
func (c *Client) LookupProjectNamed(ctx context.Context, name string) (Project, error) {
	var named []Project
	page := Page{}
	for {
		got, err := c.Projects(ctx, name, page)
		if err != nil {
			return Project{}, err
		}
		for _, p := range got.Projects {
			if p.Name == name && p.RemovedAt == nil {
				named = append(named, p)
			}
		}
		if got.NextCursor == "" || got.NextCursor == page.Cursor {
			break
		}
		page.Cursor = got.NextCursor
	}
	switch len(named) {
	case 0:
		return Project{}, &NoProjectError{Query: name}
	case 1:
		return named[0], nil
	}
	return Project{}, &AmbiguousError{Query: name, Candidates: named}
}

// ProjectNamed takes the caller's project of this name, or makes it. When the
// line fails in a way that leaves open whether it was made, it looks before it
// tries again, so one call makes one project at most.
func (c *Client) ProjectNamed(ctx context.Context, name, kind string) (p Project, created bool, err error) {
	for try := 0; ; try++ {
		p, err = c.LookupProjectNamed(ctx, name)
		var none *NoProjectError
		if !errors.As(err, &none) {
			return p, try > 0, err
		}
		p, err = c.CreateProject(ctx, name, kind)
		if err == nil {
			return p, true, nil
		}
		var refused *Error
		if try >= 3 || ctx.Err() != nil || errors.As(err, &refused) && refused.HTTPStatus < 500 {
			return Project{}, false, err
		}
		if err := sleep(ctx, c.pauses.at(try)); err != nil {
			return Project{}, false, err
		}
	}
}

func projectPath(pid string) string { return "/projects/" + url.PathEscape(pid) }
