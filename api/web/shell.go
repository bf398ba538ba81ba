package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// frame is what every page has around its view.
type frame struct {
	Lang, Title string
	Page        string        // its view: static/app/views/<page>.js
	Here        string        // its path with its query
	Owner       *broker.Owner // nil: not signed in
	MayManage   bool
	ShowTags    bool     // there are some for him
	Scopes      string   // of the session's key, for views to leave out what it may not
	SignInNext  string   // where to go after signing in
	Modules     []string // that the page surely loads
}

// pageNames are the pages that a view of the browser's fills.
func pageNames() []string {
	return []string{"home", "project", "tags", "tag", "buckets", "keys", "audit"}
}

func (f *face) frame(c echo.Context, page string, by broker.Caller) frame {
	lang := f.lang(c)
	out := frame{
		Lang: lang, Page: page, Here: c.Request().URL.RequestURI(), Title: "uploadbroker", Modules: f.modules[page+" "+lang],
	}
	if title, ok := f.words[lang]["title."+page]; ok {
		out.Title = title + " · uploadbroker"
	}
	if by.Known() {
		out.Owner, out.MayManage = &by.Owner, by.Can(broker.ScopeManage)
		var scopes []string
		for _, s := range by.Key.Scopes {
			scopes = append(scopes, string(s))
		}
		out.Scopes = strings.Join(scopes, " ")
	}
	switch {
	case by.Known():
		out.ShowTags = true
	case page == problemPage:
		out.ShowTags = f.listed.last()
	default:
		out.ShowTags = f.forAnybody(c)
	}
	return out
}

// problemPage tells an error. What is shown around it is asked for in no case: it may be
// the reason.
const problemPage = "problem"

// frameFor is how long a page waits for what it has around its view.
const frameFor = 300 * time.Millisecond

// forAnybody reports whether there is a tag that needs no session, or was when that could
// last be told.
func (f *face) forAnybody(c echo.Context) bool {
	if f.Tags == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), frameFor)
	defer cancel()
	some, _ := f.listed.ask(ctx, f.every(), func(ctx context.Context) (bool, error) {
		list, err := f.Tags.List(ctx, broker.Caller{}, broker.Page{Limit: 1})
		return len(list) > 0, err
	})
	return some
}

type shellData struct {
	frame
	PID string // of the list of projects: the one that the session's key is tied to, if it is
	Tag string
}

// mountShells adds the pages of those who are signed in, and those of tags.
func (f *face) mountShells(e *echo.Echo) {
	plain := func(page string) echo.HandlerFunc {
		return f.signedIn(func(c echo.Context, by broker.Caller) error {
			return f.render(c, http.StatusOK, "shell", shellData{frame: f.frame(c, page, by)})
		})
	}
	ofProject := func(page string) echo.HandlerFunc {
		return f.signedIn(func(c echo.Context, by broker.Caller) error {
			pid := c.Param("pid")
			// The view says what is wrong in other cases, such as a lack of scopes.
			if !broker.IsID(pid) {
				return broker.Errorf(broker.CodeNotFound, "there is no such project")
			}
			return f.render(c, http.StatusOK, "shell", shellData{frame: f.frame(c, page, by), PID: pid})
		})
	}
	e.GET("/buckets", plain("buckets"))
	e.GET("/keys", plain("keys"))
	e.GET("/projects/:pid", ofProject("project"))
	e.GET("/projects/:pid/audit", ofProject("audit"))
	if f.Tags == nil {
		return
	}
	e.GET("/tags", f.shown(f.tags))
	e.GET("/tags/:tag", f.shown(f.tag))
}

// home shows the caller's projects, or what this is to those who are not signed in.
func (f *face) home(c echo.Context) error {
	by, err := f.session(c)
	switch {
	case broker.CodeOf(err) == broker.CodeUnauthenticated:
		data := f.frame(c, "intro", by)
		return f.render(c, http.StatusOK, "intro", data)
	case err != nil:
		return f.problem(c, by, err)
	}
	return f.render(c, http.StatusOK, "shell", shellData{frame: f.frame(c, "home", by), PID: by.Key.ProjectID})
}

// tags lists the tags: to those who are signed in theirs, and to all the public ones.
func (f *face) tags(c echo.Context) error {
	by, err := f.session(c)
	if err != nil && (broker.CodeOf(err) != broker.CodeUnauthenticated || !f.forAnybody(c)) {
		return err
	}
	data := shellData{frame: f.frame(c, "tags", by)}
	if !by.Known() {
		data.SignInNext = data.Here
	}
	return f.render(c, http.StatusOK, "shell", data)
}

// tag shows a tag to whom may read it, be he signed in or not.
func (f *face) tag(c echo.Context) error {
	name, err := url.PathUnescape(c.Param("tag"))
	if err != nil {
		return broker.Errorf(broker.CodeNotFound, "there is no such tag")
	}
	by, err := f.session(c)
	if err != nil && broker.CodeOf(err) != broker.CodeUnauthenticated {
		return err
	}
	p, _, err := f.Tags.Reader(c.Request().Context(), by, api.TagName(name))
	if err != nil {
		return err
	}
	data := shellData{frame: f.frame(c, "tag", by), PID: p.ID, Tag: p.Tag}
	data.Title = p.Tag + " · uploadbroker"
	if !by.Known() {
		data.SignInNext = data.Here
	}
	return f.render(c, http.StatusOK, "shell", data)
}

// signedIn gives a page to those who are signed in, and sends others to sign in
// first.
func (f *face) signedIn(show func(echo.Context, broker.Caller) error) echo.HandlerFunc {
	return f.shown(func(c echo.Context) error {
		by, err := f.session(c)
		if err != nil {
			return err
		}
		return show(c, by)
	})
}

// shown tells errors as a page, and where signing in may help, leads there.
func (f *face) shown(show echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := show(c)
		if broker.CodeOf(err) == broker.CodeUnauthenticated {
			c.Response().Header().Set("Cache-Control", "no-store")
			return c.Redirect(http.StatusSeeOther, "/sign-in?next="+url.QueryEscape(c.Request().URL.RequestURI()))
		}
		if err == nil || !navigates(c.Request()) {
			return err
		}
		return f.problem(c, f.knownSoon(c), err)
	}
}

// knownSoon is who is signed in, for an error's frame; nobody where that takes long.
func (f *face) knownSoon(c echo.Context) broker.Caller {
	r := c.Request()
	ctx, cancel := context.WithTimeout(r.Context(), frameFor)
	defer cancel()
	c.SetRequest(r.WithContext(ctx))
	defer c.SetRequest(r)
	by, _ := f.session(c)
	return by
}

// problem shows an error to a person.
func (f *face) problem(c echo.Context, by broker.Caller, err error) error {
	if c.Response().Committed {
		return err
	}
	p := api.NewProblem(err)
	api.LogProblem(c.Request().Context(), f.Log, p)
	data := struct {
		frame
		Error string
	}{frame: f.frame(c, problemPage, by), Error: p.Detail}
	data.Title = f.t(c, "title.failed")
	switch {
	case p.Status == http.StatusNotFound, p.Status == http.StatusMethodNotAllowed:
		data.Title = f.t(c, "title.absent")
		data.Error = f.t(c, "absent.page")
		if strings.HasPrefix(c.Path(), "/projects/") {
			data.Error = f.t(c, "absent.project")
		}
	case p.Status >= http.StatusInternalServerError:
		data.Error = f.t(c, "failed")
	}
	p.SetRetryAfter(c.Response().Header())
	return f.render(c, p.Status, "problem", data)
}
