// Package tags is the small data-collection server: files are sent to a tag by a plain
// POST or PUT, read one by one, and downloaded as one zip.
//
//	curl -T photo.jpg http://server/upload/inbox/
//
// The bytes pass through the broker on their way into the nearest bucket, and lie whole
// neither in its memory nor on its disk. Who may send and read, package broker decides:
// an owner by a key, by the page's session (for reading only), and anybody where the
// operator allows it. Uploads without a key are throttled by address.
package tags

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Options are what the face needs.
type Options struct {
	Tags *broker.Tags
	Log  *slog.Logger
	// Session finds who is signed in on the page, for reading; CodeUnauthenticated when
	// nobody is. nil: there is no page.
	Session   func(echo.Context) (broker.Caller, error)
	Files     *Window       // of files without a key; nil: 60 in any minute from an address
	AtOnce    int           // uploads under way with a key, and as many without; 0: 32
	AtOnceOf  int           // those without a key from one address; 0: 8
	Stall     time.Duration // how long a client may send nothing, or next to nothing; 0: a minute
	FormFiles int           // files that one form may have; 0: 1000
}

// What one without a key may send, from one address.
const (
	filesMax  = 60
	filesSpan = time.Minute
	// atOnceOf is more than browsers and phones send at once, and leaves places to others.
	atOnceOf = 8
)

// defaultAtOnce bounds memory: an upload in parts holds 8 MiB of it at a time.
const defaultAtOnce = 32

type face struct {
	Options
	keyed, keyless *places
}

// Mount adds the routes to a server that api.New made. The pages at /tags and
// /tags/{tag} are package web's.
func Mount(e *echo.Echo, o Options) {
	if o.Files == nil {
		o.Files = NewWindow(filesMax, filesSpan, time.Now)
	}
	o.AtOnce = cmp.Or(o.AtOnce, defaultAtOnce)
	o.AtOnceOf = cmp.Or(o.AtOnceOf, atOnceOf)
	o.Stall = cmp.Or(o.Stall, defaultStall)
	o.FormFiles = cmp.Or(o.FormFiles, defaultFormFiles)
	// All that an address may send in a minute may come at once, as phones do it.
	f := &face{Options: o, keyed: newPlaces(o.AtOnce, 0, 0), keyless: newPlaces(o.AtOnce, o.AtOnceOf, filesMax)}
	for _, path := range []string{"/upload/:tag", "/upload/:tag/*"} {
		e.POST(path, f.upload)
		e.PUT(path, f.upload)
	}
	e.GET("/tags/:tag/files/:id", f.file)
	// /tags/{tag}.zip and /tags/{tag} are one route to Echo, and the latter is the page's.
	e.Use(f.zip)
}

// pathAfter gives the segments of the path behind a prefix: the tag, and all that follows
// its slash. It is cut when it is unescaped, for old programs and proxies escape slashes,
// too.
func pathAfter(r *http.Request, prefix string) (tag, rest string, err error) {
	path, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), prefix))
	if err != nil {
		return "", "", broker.Errorf(broker.CodeInvalid, "the address has a %% that no two hexadecimal digits follow")
	}
	tag, rest, _ = strings.Cut(path, "/")
	return api.TagName(tag), rest, nil
}

// reader finds who reads: by a key, else by the page's session, else nobody.
func (f *face) reader(c echo.Context) (broker.Caller, error) {
	by, err := api.Caller(c.Request().Context())
	if err != nil || by.Known() || f.Session == nil {
		return by, err
	}
	by, err = f.Session(c)
	if broker.CodeOf(err) == broker.CodeUnauthenticated {
		return broker.Caller{}, nil
	}
	return by, err
}

// zip serves /tags/{tag}.zip and passes everything else on. With ?etag= the address is
// of that zip alone: curl and wget go on with what broke off without a word of which zip
// they have a part of.
func (f *face) zip(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		const prefix, suffix = "/tags/", ".zip"
		path := r.URL.EscapedPath()
		if r.Method != http.MethodGet || !strings.HasPrefix(path, prefix) || !strings.HasSuffix(path, suffix) ||
			strings.Contains(path[len(prefix):], "/") {
			return next(c)
		}
		tag, rest, err := pathAfter(r, prefix)
		if err != nil {
			return err
		}
		if rest != "" {
			return next(c)
		}
		if etag := r.URL.Query().Get("etag"); etag != "" {
			r.Header.Set("If-Match", `"`+etag+`"`)
		}
		by, err := f.reader(c)
		if err != nil {
			return err
		}
		z, err := f.Tags.Zip(r.Context(), by, api.OneClient(api.Client(r.Context())), strings.TrimSuffix(tag, suffix))
		if err != nil {
			return err
		}
		c.Response().Header().Set("Content-Location", r.URL.EscapedPath()+"?etag="+z.ETag())
		api.ServeZip(c.Response(), r, z)
		return nil
	}
}

// fileURL is where a file is read.
func fileURL(ctx context.Context, tag, id string) string {
	return api.Absolute(ctx, "/tags/"+url.PathEscape(tag)+"/files/"+id)
}
