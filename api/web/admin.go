package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Admin lets operators to a page of theirs: those whose key has the scope admin,
// shown as a key or by this package's session. A browser that is not signed in is
// sent to sign in, and comes back. What changes something by a session must come
// from the page itself.
func Admin(keys *broker.Keys) echo.MiddlewareFunc {
	origin := http.NewCrossOriginProtection()
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			caller, err := api.Caller(r.Context())
			if err == nil && !caller.Known() {
				caller, err = session(c, keys)
				if broker.CodeOf(err) == broker.CodeUnauthenticated && navigates(r) {
					c.Response().Header().Set("Cache-Control", "no-store")
					return c.Redirect(http.StatusSeeOther, "/sign-in?next="+url.QueryEscape(r.URL.RequestURI()))
				}
				if err == nil && !fromOwnPage(origin, r) {
					return broker.Errorf(broker.CodeNotAllowed, "this must be sent from its own page")
				}
			}
			if err == nil {
				err = caller.Need(broker.ScopeAdmin)
			}
			if err != nil {
				return err
			}
			c.Set(adminKey, caller)
			return next(c)
		}
	}
}

// adminKey is where Admin leaves the caller.
const adminKey = "uploadbroker.admin"

// AdminCaller returns whom Admin let through.
func AdminCaller(c echo.Context) broker.Caller {
	caller, _ := c.Get(adminKey).(broker.Caller)
	return caller
}

// navigates reports whether a person goes to a page, as opposed to a page or a
// program that asks for data.
func navigates(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}
