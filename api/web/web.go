// Package web is the page of this program: the frames of its pages, the modules
// that fill them, and the way by which these reach the API and hear what changes.
//
// A session is a row that dies with its key. Its cookie is HttpOnly and SameSite,
// is accepted on this package's routes and operators' pages only (the API takes
// keys), and what changes something is refused from other sites. The page's calls
// are the API's own below /page/v1. Everything is served by the program itself under
// a strict Content-Security-Policy, which lets the page reach the buckets besides.
package web

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
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
	Places   *broker.Places // the buckets that the page may reach; nil: this program's own alone
	Live     *broker.Live   // nil: no states turn live
	Tags     TagReader      // nil: there are no tags
	Log      *slog.Logger
	Tries    *api.Throttle // of signing in; nil: 5 a minute from an address

	// Image and Task tell of an image and a task as the API does.
	Image func(broker.Image) any
	Task  func(context.Context, broker.Task) any

	Poll time.Duration   // between two looks for what is new in a project that is watched; 0: 1 s
	Ping time.Duration   // between two signs of life to those who watch; 0: 15 s
	Done <-chan struct{} // closed when the program ends; nil: never
}

// TagReader says who may read a tag, and as whom: the caller himself, or, where the
// tag is public, a reader of its project alone. CodeUnauthenticated when a key may
// help, CodeNotFound when there is no such tag for him.
type TagReader interface {
	Reader(ctx context.Context, by broker.Caller, tag string) (broker.Project, broker.Caller, error)
	ReaderOf(ctx context.Context, by broker.Caller, projectID string) (broker.Project, broker.Caller, error)
	// List lists the tags that a caller may read; one who is nobody, the public ones.
	List(ctx context.Context, by broker.Caller, page broker.Page) ([]broker.Tag, error)
}

// Who guesses keys is let try so often.
const (
	tryEvery = 12 * time.Second
	triesMax = 5
)

// maxForm is the most bytes that a form of ours has.
const maxForm = 16 << 10

type face struct {
	Options
	words   map[string]map[string]string // by language
	pages   map[string]*template.Template
	modules map[string][]string // by page and language
	origin  *http.CrossOriginProtection
	origins origins
	rooms   rooms
	seats   seats
	listed  answer // whether there is a tag for anybody
}

// Mount adds the page's routes to a server that api.New made.
func Mount(e *echo.Echo, o Options) {
	f := &face{
		Options: o, origin: http.NewCrossOriginProtection(), words: words(), pages: map[string]*template.Template{},
		origins: origins{places: o.Places},
	}
	f.rooms.face = f
	for lang, words := range f.words {
		f.pages[lang] = template.Must(template.New("pages").Funcs(template.FuncMap{
			"t": func(key string) string { return words[key] },
		}).Parse(pages))
	}
	if f.Tries == nil {
		f.Tries = api.NewThrottle(tryEvery, triesMax, time.Now)
	}
	files, err := fs.Sub(static, "static")
	if err == nil {
		err = f.mountStatic(e, files)
	}
	if err != nil {
		panic(err) // the folder is embedded above
	}
	e.GET("/", f.home)
	e.GET("/sign-in", f.signInPage)
	e.POST("/sign-in", f.signIn, f.sameSite)
	e.POST("/sign-out", f.signOut, f.sameSite)
	e.POST("/language", f.chooseLanguage, f.sameSite)
	f.mountShells(e)
	f.mountAstray(e)
	f.mountAPI(e)
	e.GET("/page/events/:pid", f.events)
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
	if err := f.pages[f.lang(c)].ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	f.headers(c)
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.HTML(status, b.String())
}
