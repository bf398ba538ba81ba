// Package web is the page of this program: signing in, and a first look at one's
// projects.
//
// A session is a row that dies with its key. Its cookie is HttpOnly and SameSite,
// is accepted on this package's routes and operators' pages only (the API takes
// keys), and forms are refused from other sites. Everything is served by the program itself under a
// strict Content-Security-Policy.
package web

import (
	"cmp"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

//go:embed static
var static embed.FS

//go:embed pages.html
var pages string

// Options are what the page needs.
type Options struct {
	Keys     *broker.Keys
	Projects *broker.Projects
	Log      *slog.Logger
	Tries    *api.Throttle // of signing in; nil: 5 a minute from an address
}

// Who guesses keys is let try so often.
const (
	tryEvery = 12 * time.Second
	triesMax = 5
)

const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxForm is the most bytes that a form of ours has.
const maxForm = 16 << 10

// maxProjects is how many projects the first page shows.
const maxProjects = 200

type face struct {
	Options
	page   *template.Template
	origin *http.CrossOriginProtection
}

// Mount adds the page's routes to a server that api.New made.
func Mount(e *echo.Echo, o Options) {
	f := &face{
		Options: o, origin: http.NewCrossOriginProtection(),
		page: template.Must(template.New("pages").Funcs(template.FuncMap{
			"date": func(t time.Time) string { return t.Local().Format("2 January 2006, 15:04") },
		}).Parse(pages)),
	}
	if f.Tries == nil {
		f.Tries = api.NewThrottle(tryEvery, triesMax, time.Now)
	}
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	serve := http.StripPrefix("/static/", http.FileServerFS(files))
	e.GET("/static/*", func(c echo.Context) error {
		if info, err := fs.Stat(files, c.Param("*")); err != nil || info.IsDir() {
			return echo.ErrNotFound
		}
		headers(c)
		c.Response().Header().Set("Cache-Control", "public, max-age=300")
		serve.ServeHTTP(c.Response(), c.Request())
		return nil
	})
	e.GET("/", f.home)
	e.GET("/sign-in", f.signInPage)
	e.POST("/sign-in", f.signIn, f.sameSite)
	e.POST("/sign-out", f.signOut, f.sameSite)
}

func headers(c echo.Context) {
	h := c.Response().Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// sameSite refuses forms that another site sent.
func (f *face) sameSite(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if !fromOwnPage(f.origin, r) {
			return broker.Errorf(broker.CodeNotAllowed, "this form must be sent from its own page")
		}
		r.Body = http.MaxBytesReader(c.Response(), r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				return broker.Errorf(broker.CodeTooLarge, "the form is over %d bytes", large.Limit)
			}
			return broker.Errorf(broker.CodeInvalid, "this is no form")
		}
		return next(c)
	}
}

// fromOwnPage reports whether a request changes nothing, or was not sent by
// another site. A proxy may have changed Host: the page's own address is the one
// by which the browser reached us.
func fromOwnPage(protection *http.CrossOriginProtection, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	own := origin != "" && strings.HasPrefix(api.Absolute(r.Context(), "/"), origin+"/")
	return own || protection.Check(r) == nil
}

func (f *face) render(c echo.Context, status int, name string, data any) error {
	var b strings.Builder
	if err := f.page.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	headers(c)
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.HTML(status, b.String())
}

// home shows the caller's projects, or what this is to those who are not signed in.
func (f *face) home(c echo.Context) error {
	ctx := c.Request().Context()
	type row struct {
		broker.Project
		Ready, Invalid, Open int
	}
	data := struct {
		Owner    *broker.Owner
		MayRead  bool
		More     bool // there are more than these
		Projects []row
	}{}
	caller, err := f.session(c)
	switch {
	case broker.CodeOf(err) == broker.CodeUnauthenticated:
	case err != nil:
		return err
	default:
		data.Owner = &caller.Owner
		if data.MayRead = caller.Can(broker.ScopeRead); !data.MayRead {
			break
		}
		list, counts, err := f.Projects.ListWithCounts(ctx, caller, "", broker.Page{Limit: maxProjects + 1})
		if err != nil {
			return err
		}
		if data.More = len(list) > maxProjects; data.More {
			list = list[:maxProjects]
		}
		for i, p := range list {
			n := counts[i]
			data.Projects = append(data.Projects, row{
				Project: p, Ready: n[broker.StateReady], Invalid: n[broker.StateInvalid],
				Open: n[broker.StatePending] + n[broker.StateUploading] + n[broker.StateUploaded],
			})
		}
	}
	return f.render(c, http.StatusOK, "home", data)
}

type signInData struct {
	Error string
	Next  string // where to go then; "": the first page
}

func (f *face) signInPage(c echo.Context) error {
	return f.render(c, http.StatusOK, "sign-in", signInData{Next: ownPath(c.QueryParam("next"))})
}

// ownPath is a path of this program with its query, or "" for what could lead
// anywhere else: a browser reads "//host" and "/\host" as another host's address,
// and drops tabs and line ends before it reads.
func ownPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Fragment != "" || len(s) > 1000 ||
		!strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }) {
		return ""
	}
	return s
}

// signIn trades a sign-in code or a key for a session.
func (f *face) signIn(c echo.Context) error {
	ctx := c.Request().Context()
	form := c.Request().PostForm // of the body only: a secret in a query ends up in logs
	next := ownPath(form.Get("next"))
	var known *broker.Error
	if err := f.Tries.Allow(api.Client(ctx)); errors.As(err, &known) {
		api.NewProblem(err).SetRetryAfter(c.Response().Header())
		return f.render(c, http.StatusTooManyRequests, "sign-in", signInData{Error: known.Msg, Next: next})
	}
	var secret string
	var ttl time.Duration
	var err error
	if code := form.Get("code"); code != "" {
		secret, ttl, err = f.Keys.TradeCode(ctx, code)
	} else {
		secret, ttl, err = f.Keys.SignIn(ctx, strings.TrimSpace(form.Get("key")))
	}
	if errors.As(err, &known) && known.Code == broker.CodeUnauthenticated {
		return f.render(c, http.StatusUnauthorized, "sign-in", signInData{Error: known.Msg, Next: next})
	}
	if err != nil {
		return err
	}
	f.setCookie(c, secret, ttl)
	return c.Redirect(http.StatusSeeOther, cmp.Or(next, "/"))
}

// signOut ends the session.
func (f *face) signOut(c echo.Context) error {
	if cookie, err := c.Cookie(cookieName(c)); err == nil {
		if err := f.Keys.SignOut(c.Request().Context(), cookie.Value); err != nil {
			return err
		}
	}
	f.setCookie(c, "", -time.Second)
	return c.Redirect(http.StatusSeeOther, "/")
}

// session finds who is signed in.
func (f *face) session(c echo.Context) (broker.Caller, error) { return session(c, f.Keys) }

func session(c echo.Context, keys *broker.Keys) (broker.Caller, error) {
	cookie, err := c.Cookie(cookieName(c))
	if err != nil {
		return broker.Caller{}, broker.Errorf(broker.CodeUnauthenticated, "not signed in")
	}
	return keys.BySession(c.Request().Context(), cookie.Value)
}

// secure reports whether the browser came over https. Then the cookie's name
// makes the browser hold it to this host and to https (RFC 6265bis, section
// 4.1.3.2).
func secure(c echo.Context) bool {
	return strings.HasPrefix(api.Absolute(c.Request().Context(), "/"), "https://")
}

func cookieName(c echo.Context) string {
	if secure(c) {
		return "__Host-uploadbroker"
	}
	return "uploadbroker"
}

func (f *face) setCookie(c echo.Context, secret string, ttl time.Duration) {
	c.SetCookie(&http.Cookie{
		Name: cookieName(c), Value: secret, Path: "/", MaxAge: int(ttl.Seconds()),
		HttpOnly: true, Secure: secure(c), SameSite: http.SameSiteLaxMode,
	})
}
