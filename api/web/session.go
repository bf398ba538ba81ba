package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

type signInData struct {
	frame
	Error   string
	Next    string // where to go then; "": the first page
	Instead string // the same page where the browser keeps a session; "": it does here
}

// signInForm shows the form, with what went wrong.
func (f *face) signInForm(c echo.Context, status int, wrong, next string) error {
	data := signInData{frame: f.frame(c, "sign-in", broker.Caller{}), Error: wrong, Next: next}
	data.Title = f.t(c, "sign-in") + " · uploadbroker"
	data.Here = "/sign-in"
	if next != "" {
		data.Here += "?next=" + url.QueryEscape(next)
	}
	if dropsCookie(c) {
		data.Instead = api.Absolute(c.Request().Context(), data.Here)
	}
	return f.render(c, status, "sign-in", data)
}

func (f *face) signInPage(c echo.Context) error {
	return f.signInForm(c, http.StatusOK, "", ownPath(c.QueryParam("next")))
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
	if dropsCookie(c) { // nor is a code spent for nothing
		return f.signInForm(c, http.StatusForbidden, "", next)
	}
	var known *broker.Error
	if err := f.Tries.Allow(api.Client(ctx)); errors.As(err, &known) {
		p := api.NewProblem(err)
		p.SetRetryAfter(c.Response().Header())
		return f.signInForm(c, http.StatusTooManyRequests, fmt.Sprintf(f.t(c, "sign-in.again"), p.RetryAfter), next)
	}
	var secret string
	var ttl time.Duration
	var err error
	wrong := "sign-in.wrong"
	if code := form.Get("code"); code != "" {
		wrong = "sign-in.used"
		secret, ttl, err = f.Keys.TradeCode(ctx, code)
	} else {
		secret, ttl, err = f.Keys.SignIn(ctx, strings.TrimSpace(form.Get("key")))
	}
	if errors.As(err, &known) && known.Code == broker.CodeUnauthenticated {
		return f.signInForm(c, http.StatusUnauthorized, f.t(c, wrong), next)
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

// Session finds who is signed in, for other faces' pages: those that only show.
// CodeUnauthenticated when nobody is.
func Session(keys *broker.Keys) func(echo.Context) (broker.Caller, error) {
	return func(c echo.Context) (broker.Caller, error) { return session(c, keys) }
}

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

// dropsCookie reports whether the browser came over plain http though the public
// address is https: it would drop the session's cookie without a word. A form tells
// whence it is. When a page is only opened, what a proxy of https leaves behind says no:
// the public host, its own header, or those that browsers send to secure places alone
// (Fetch Metadata, section 4).
func dropsCookie(c echo.Context) bool {
	r := c.Request()
	if !secure(c) || r.TLS != nil || r.Header.Get("Sec-Fetch-Site") != "" {
		return false
	}
	if r.Method != http.MethodGet {
		return fromPlain(r)
	}
	public, err := url.Parse(api.Absolute(r.Context(), "/"))
	return err == nil && r.Host != public.Host && !strings.Contains(strings.Join(r.Header.Values("X-Forwarded-Proto"), ","), "https")
}

// fromPlain reports whether a form was sent by a page that came over plain http.
func fromPlain(r *http.Request) bool { return strings.HasPrefix(r.Header.Get("Origin"), "http://") }

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
