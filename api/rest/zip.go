package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// ZipLink is a link that reads a project's zip.
type ZipLink struct {
	URL       string    `json:"url" doc:"Reads the zip without a key; whoever knows it can." example:"https://up.example.com/v1/zips/ZGmPq0…"`
	ExpiresAt time.Time `json:"expires_at" doc:"Until when; it also ends with the key that made it, and with the project."`
}

// zipBody is an answer that streams.
type zipBody struct{ Body func(huma.Context) }

const aboutZips = "Every range of it can be asked for (`Range`, `If-Range`), so that a download that broke off goes on. " +
	"Its length and its ETag are those of all its bytes; it is another zip when another image is Ready. " +
	"When an image's object is no longer the one that was proven, the connection ends before the last byte. "

func (f *face) mountZips() {
	add(f, huma.Operation{
		OperationID: "projectZip", Method: http.MethodGet, Path: "/v1/projects/{pid}/zip", Tags: []string{"projects"},
		Summary: "All images that are Ready as one zip",
		Description: "Under their users' names, made safe for every file system; equal ones get a number. " + aboutZips +
			"With nothing Ready the answer is 409 with the code `no_ready_image`.",
		Responses: zipResponses(),
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *ProjectPath) (*zipBody, error) {
		return f.zip(f.Zips.OfProject(ctx, by, in.PID))
	})

	type newLink struct {
		ProjectPath
		Body *struct {
			ExpiresIn int `json:"expires_in,omitempty" minimum:"60" maximum:"604800" default:"3600" doc:"Seconds for which the link works."`
		} `required:"false"`
	}
	type linkBody struct{ Body ZipLink }
	add(f, huma.Operation{
		OperationID: "linkProjectZip", Method: http.MethodPost, Path: "/v1/projects/{pid}/zip/link", Tags: []string{"projects"},
		Summary: "A link to the zip for those without a key", Description: "For an engine, or a browser's download.",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *newLink) (*linkBody, error) {
		ttl := broker.DefaultZipLinkTTL
		if in.Body != nil && in.Body.ExpiresIn != 0 {
			ttl = time.Duration(in.Body.ExpiresIn) * time.Second
		}
		l, token, err := f.Zips.Link(ctx, by, in.PID, ttl)
		if err != nil {
			return nil, err
		}
		return &linkBody{ZipLink{URL: api.Absolute(ctx, "/v1/zips/"+token), ExpiresAt: l.ExpiresAt.UTC()}}, nil
	})

	type tokenPath struct {
		Token string `path:"token" doc:"As the link has it."`
	}
	addKeyless(f, huma.Operation{
		OperationID: "linkedZip", Method: http.MethodGet, Path: "/v1/zips/{token}", Tags: []string{"projects"},
		Summary: "The zip of a link", Description: "Of the images that are Ready now, as projectZip gives it. " + aboutZips + "Needs no key.",
		Responses: zipResponses(),
	}, func(ctx context.Context, in *tokenPath) (*zipBody, error) {
		return f.zip(f.Zips.OfLink(ctx, in.Token))
	})

	type taskZip struct {
		ID    string `path:"id" doc:"The task's id."`
		Token string `query:"token" doc:"The task's token, as its engine got it."`
	}
	addKeyless(f, huma.Operation{
		OperationID: "taskZip", Method: http.MethodGet, Path: "/v1/tasks/{id}/zip", Tags: []string{"tasks"},
		Summary: "A task's images as one zip, for its engine",
		Description: "Without folders, under names of `[A-Za-z0-9._-]` with the endings of their true types, while the task is Processing. " +
			aboutZips + "Needs the task's token and no key.",
		Responses: zipResponses(),
	}, func(ctx context.Context, in *taskZip) (*zipBody, error) {
		return f.zip(f.Zips.OfTask(ctx, in.ID, in.Token))
	})
}

// zipResponses describe what a zip's address answers.
func zipResponses() map[string]*huma.Response {
	headers := map[string]*huma.Param{}
	for name, about := range map[string]string{
		"ETag":                "Of all bytes of the zip; strong.",
		"Accept-Ranges":       "Says bytes.",
		"Content-Disposition": "Names the file after the project.",
	} {
		headers[name] = &huma.Param{Description: about, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	content := map[string]*huma.MediaType{"application/zip": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	return map[string]*huma.Response{
		"200": {Description: "The whole zip.", Content: content, Headers: headers},
		"206": {Description: "The ranges that were asked for.", Content: content, Headers: headers},
		"304": {Description: "It is the one of If-None-Match."},
	}
}

// addKeyless registers an operation for those who show something else than a key,
// of which its handler knows.
func addKeyless[In, Out any](f *face, op huma.Operation, h func(context.Context, *In) (*Out, error)) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.MaxBodyBytes = maxBody
	op.BodyReadTimeout = bodyTimeout
	op.Responses["default"] = f.problemResponse()
	huma.Register(f.api, op, func(ctx context.Context, in *In) (*Out, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, f.problem(ctx, err)
		}
		return out, nil
	})
}

// problemResponse describes the answer of a call that failed.
func (f *face) problemResponse() *huma.Response {
	problem := f.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Problem](), true, "Problem")
	return &huma.Response{
		Description: "A problem document; its code says which. With retry_after comes the header Retry-After.",
		Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: problem}},
	}
}

// zip serves what was opened, or passes the error on.
func (f *face) zip(z *broker.Zip, err error) (*zipBody, error) {
	if err != nil {
		return nil, err
	}
	return &zipBody{func(ctx huma.Context) { f.serveZip(ctx, z) }}, nil
}

// stall is how long a client may take nothing before its download ends.
const stall = 5 * time.Minute

// serveZip lets net/http serve the zip, whole or in ranges.
func (f *face) serveZip(ctx huma.Context, z *broker.Zip) {
	defer z.Close()
	c := humaecho.Unwrap(ctx)
	r := c.Request()
	asked := *r
	asked.Header = r.Header.Clone()
	if api.IsHead(r.Context()) {
		asked.Method = http.MethodHead
	}
	// A range is of a GET, and a unit that nobody knows is no range (RFC 9110, section
	// 14.2); net/http sees to neither.
	if asked.Method == http.MethodHead || !strings.HasPrefix(r.Header.Get("Range"), "bytes=") {
		asked.Header.Del("Range")
	}
	r = &asked
	h := c.Response().Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", attachment(z.Project.Name, ".zip"))
	h.Set("ETag", `"`+z.ETag()+`"`)
	h.Set("Cache-Control", "private, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	paced := &pacedZip{Zip: z, control: http.NewResponseController(c.Response())}
	defer paced.done()
	http.ServeContent(&zipWriter{ResponseWriter: c.Response(), size: z.SizeBytes()}, r, "", time.Time{}, paced)
	_ = z.Close() // ends a read that goes on
	if z.Err() != nil {
		// The log tells why. A part of the bytes must not look like all of them.
		panic(http.ErrAbortHandler)
	}
}

// pacedZip ends a download whose client takes nothing for long: it holds a
// connection to a bucket, and a place of its caller.
type pacedZip struct {
	*broker.Zip
	control *http.ResponseController
	set     time.Time
}

func (p *pacedZip) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.set) > stall/10 {
		p.set = now
		_ = p.control.SetWriteDeadline(now.Add(stall)) // a writer without deadlines waits
	}
	return p.Zip.Read(b)
}

func (p *pacedZip) done() { _ = p.control.SetWriteDeadline(time.Time{}) }

// zipWriter turns net/http's plain refusals into problem documents.
type zipWriter struct {
	http.ResponseWriter
	size    int64
	refused bool
}

func (w *zipWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *zipWriter) WriteHeader(status int) {
	var why string
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		why = "the zip has no such range; Content-Range tells its length"
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", w.size)) // net/http does not always
	case http.StatusPreconditionFailed:
		why = "the zip is another one than the request asks for; its ETag is in the header"
	default:
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	p := api.StatusProblem(status, why, nil)
	w.Header().Set("Content-Type", p.ContentType(""))
	w.Header().Del("Content-Length")
	w.Header().Del("Content-Disposition")
	w.ResponseWriter.WriteHeader(status)
	_ = json.NewEncoder(w.ResponseWriter).Encode(p) // the client left
}

func (w *zipWriter) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// zipBuffer is what is read and written at once: with io.Copy's 32 KiB the system is
// called much more often.
const zipBuffer = 256 << 10

// ReadFrom is how io.Copy passes the bytes on.
func (w *zipWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, zipBuffer))
}

// attachment names the file that a browser stores (RFC 6266): in ASCII for old
// ones, and as it is.
func attachment(name, ext string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name) + ext
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '%' {
			return '_'
		}
		return r
	}, name)
	return `attachment; filename="` + plain + `"; filename*=UTF-8''` + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}
