package web

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// pageAPI is where the page calls the API.
const pageAPI = api.PagePath + "/v1/"

// mountAPI leads the page's calls to the API: the path loses its beginning before it
// is routed, and the session says who calls. A key that is shown there is not read.
func (f *face) mountAPI(e *echo.Echo) {
	e.Pre(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if !strings.HasPrefix(r.URL.Path, pageAPI) {
				return next(c)
			}
			// In place: Echo finds the route by the request that it got.
			u := r.URL
			u.Path = strings.TrimPrefix(u.Path, api.PagePath)
			// Where the two don't begin alike, the path itself is escaped anew.
			u.RawPath, _ = strings.CutPrefix(u.RawPath, api.PagePath)
			c.SetRequest(api.AsPage(r))
			return next(c)
		}
	})
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if !api.IsPage(r.Context()) {
				return next(c)
			}
			if !f.fromPage(r) {
				return broker.Errorf(broker.CodeNotAllowed, "this must be asked by the page itself; programs ask %s with a key", r.URL.Path)
			}
			by, err := f.session(c)
			by, err = f.reader(c, by, err)
			c.Response().Header().Set("X-Content-Type-Options", "nosniff")
			c.SetRequest(r.WithContext(api.WithCaller(r.Context(), by, err)))
			return next(c)
		}
	})
}

// fromPage reports whether a request comes from a page of this program. Reading,
// too, is for it alone; but a person may open a download's address himself.
func (f *face) fromPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return false
	}
	return fromOwnPage(f.origin, r)
}

// reader lets those read a public tag's files who could not otherwise. What tells of
// people (the audit, histories, tasks) is not theirs.
func (f *face) reader(c echo.Context, by broker.Caller, err error) (broker.Caller, error) {
	if f.Tags == nil || err != nil && broker.CodeOf(err) != broker.CodeUnauthenticated {
		return by, err
	}
	switch c.Path() {
	case "/v1/tags", "/v1/tags/:tag": // where the tags themselves say who may
		return by, nil
	case "/v1/projects/:pid", "/v1/projects/:pid/images", "/v1/projects/:pid/images/:id/thumbnail", "/v1/projects/:pid/images/:id/file":
		// Not the zip: as one reader they would share his places. They have /tags/TAG.zip.
	default:
		return by, err
	}
	if c.Request().Method != http.MethodGet {
		return by, err
	}
	_, reader, readErr := f.Tags.ReaderOf(c.Request().Context(), by, c.Param("pid"))
	if readErr != nil {
		return by, err // the rule of projects decides
	}
	return reader, nil
}
