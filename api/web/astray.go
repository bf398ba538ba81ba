package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/broker"
)

// mountAstray helps people who open an address that is none. Programs get problem
// documents, as everywhere.
func (f *face) mountAstray(e *echo.Echo) {
	e.Pre(withoutSlash)
	e.GET("/projects", func(c echo.Context) error { return c.Redirect(http.StatusFound, "/") })
	others := e.HTTPErrorHandler
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		var he *echo.HTTPError
		if c.Response().Committed || !navigates(c.Request()) || !errors.As(err, &he) ||
			he.Code != http.StatusNotFound && he.Code != http.StatusMethodNotAllowed {
			others(err, c)
			return
		}
		if err := f.astray(c, err); err != nil {
			others(err, c)
		}
	}
}

// withoutSlash leads from a page's address that ends in a slash to the page's own. Of
// uploads the slash says something, and other addresses are not the page's.
func withoutSlash(next echo.HandlerFunc) echo.HandlerFunc {
	pages := []string{"tags", "keys", "buckets", "projects", "sign-in"}
	return func(c echo.Context) error {
		u := c.Request().URL
		path := strings.TrimRight(u.EscapedPath(), "/")
		first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if c.Request().Method != http.MethodGet || path == u.EscapedPath() || !slices.Contains(pages, first) {
			return next(c)
		}
		if u.RawQuery != "" {
			path += "?" + u.RawQuery
		}
		return c.Redirect(http.StatusFound, path)
	}
}

// astray shows that there is no such page, or, to who opened the address that files of a
// tag are sent to, the tag.
func (f *face) astray(c echo.Context, err error) error {
	path := c.Request().URL.Path
	if rest, ok := strings.CutPrefix(path+"/", "/upload/"); ok {
		tag, _, _ := strings.Cut(rest, "/")
		if to := "/tags/" + url.PathEscape(tag); tag == "" || broker.CheckTagName(tag) == nil {
			c.Response().Header().Set("Cache-Control", "no-store")
			return c.Redirect(http.StatusSeeOther, strings.TrimSuffix(to, "/"))
		}
	}
	return f.problem(c, f.knownSoon(c), err)
}
