// Package rest is the native API under /v1, with its OpenAPI 3.1 description at
// /openapi.json and a page to read it at /docs.
//
// It turns JSON into calls of package broker and back, and holds no rule. Each
// operation names the scope that its key needs; the description, the check and
// the tests read it from there.
package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Options are what the face needs.
type Options struct {
	Projects *broker.Projects
	Images   *broker.Images
	Zips     *broker.Zips
	Tasks    *broker.Tasks
	Keys     *broker.Keys
	Tags     *broker.Tags                                          // nil: there are none
	Webhooks func(context.Context) ([]broker.EndpointState, error) // nil: there are none
	Log      *slog.Logger
	Version  string
}

// maxBody is the most that one request's body may have: a full batch of entries
// with the longest names is far below.
const (
	maxBody     = 8 << 20
	bodyTimeout = time.Minute
)

// face holds what the handlers share.
type face struct {
	Options
	api huma.API
}

// Mount adds the routes to a server that api.New made, and returns the
// description.
func Mount(e *echo.Echo, o Options) *huma.OpenAPI { return mount(e, o) }

// mount is Mount with middlewares that see every operation before it is
// authorized; tests learn from one which operation answered.
func mount(e *echo.Echo, o Options, first ...func(huma.Context, func(huma.Context))) *huma.OpenAPI {
	config := huma.DefaultConfig("uploadbroker", o.Version)
	config.Info.Description = description
	config.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	config.DocsPath = "" // huma's page loads from elsewhere; ours is below
	config.SchemasPath = ""
	config.CreateHooks = nil // no $schema links in bodies
	// A misspelt ?state= would otherwise answer with every image.
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key": {Type: "http", Scheme: "bearer", Description: "A key, as `uploadbroker keys create` prints it. Its scopes are read, upload, manage and admin; each operation names the one it needs."},
	}
	config.Tags = []*huma.Tag{
		{Name: "projects", Description: "A project owns images and names their prefix in every bucket."},
		{Name: "images", Description: "Ask whether an image is there, get the right to upload it, follow it to its verdict."},
		{Name: "tasks", Description: "Reconstructions: start one now or when the images are judged, follow it, fetch what came out."},
		{Name: "webhooks", Description: "What this program tells others, signed as Standard Webhooks describes it."},
		{Name: "tags", Description: "A tag is a project that takes any files by a plain POST or PUT of their bytes to /upload/{tag}/{filename}, and gives them back as one zip."},
		{Name: keysTag, Description: "Your keys: make one for each program and person, end those that are not needed."},
		{Name: "places", Description: "Buckets, nearest first, and who you are."},
	}
	readable := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: readJSON}
	config.Formats = map[string]huma.Format{"application/json": readable, "json": readable}
	config.Transformers = append(config.Transformers, asProblem)
	f := &face{Options: o}
	f.api = humaecho.NewWithGroup(e, e.Group(""), config)
	e.Use(plainCurl)
	f.api.UseMiddleware(append(first, f.authorize)...)
	f.mountProjects()
	f.mountImages()
	f.mountBatches()
	f.mountPlaces()
	f.mountKeys()
	f.mountStories()
	f.mountZips()
	f.mountTags()
	f.mountTasks()
	f.mountWebhooks()
	mountDocs(e)
	tidy(f.api.OpenAPI())
	return f.api.OpenAPI()
}

const description = `Photos go straight into a bucket; no call of this API carries their bytes.

1. Make a project: ` + "`POST /v1/projects`" + `.
2. Register up to 1,000 files at once with their sha1 and size: ` + "`POST /v1/projects/{pid}/images/register`" + `. Each is answered on its own: it *exists*, or here is a *grant* (method, URL, headers), or a *problem*.
3. Send each file with its grant, headers exactly as given. The bucket itself refuses other bytes.
4. Tell ` + "`…/images/done`" + ` if you like (the broker looks by itself), and read the verdicts: ` + "`GET /v1/projects/{pid}/images`" + `. Ready and Invalid are the verdicts.

Errors are problem documents (RFC 9457) with a stable ` + "`code`" + `. Repeating any call is safe, but for making a project.`

// scopeKey is where an operation's metadata names its scope.
const scopeKey = "scope"

// anyScope asks for a good key of whatever scope.
const anyScope broker.Scope = ""

// add registers an operation that needs a scope.
func add[In, Out any](f *face, op huma.Operation, scope broker.Scope, h func(context.Context, broker.Caller, *In) (*Out, error)) {
	op.Security = []map[string][]string{{"key": {}}}
	if scope != anyScope {
		op.Security = []map[string][]string{{"key": {string(scope)}}}
	}
	// Readers of the page don't see the scopes of a bearer's security.
	need := "Needs a key of any scope."
	if scope != anyScope {
		need = fmt.Sprintf("Needs a key with the scope `%s`.", scope)
	}
	op.Description = strings.TrimSpace(op.Description + "\n\n" + need)
	if op.Metadata == nil {
		op.Metadata = map[string]any{}
	}
	op.Metadata[scopeKey] = scope
	op.MaxBodyBytes = maxBody
	op.BodyReadTimeout = bodyTimeout
	op.Errors = nil
	problem := f.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Problem](), true, "Problem")
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{
		Description: "A problem document; its code says which. With retry_after comes the header Retry-After.",
		Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: problem}},
	}
	huma.Register(f.api, op, func(ctx context.Context, in *In) (*Out, error) {
		caller, err := api.Caller(ctx)
		if err != nil {
			return nil, f.problem(ctx, err)
		}
		out, err := h(ctx, caller, in)
		if err != nil {
			return nil, f.problem(ctx, err)
		}
		return out, nil
	})
}

// problem logs what is ours and gives what may be shown.
func (f *face) problem(ctx context.Context, err error) error {
	p := api.NewProblem(err)
	api.LogProblem(ctx, f.Log, p)
	if p.RetryAfter > 0 {
		h := http.Header{}
		p.SetRetryAfter(h)
		return huma.ErrorWithHeaders(p, h)
	}
	return p
}

// authorize refuses those without the operation's scope before their body is
// read: what they send is not worth an answer.
func (f *face) authorize(ctx huma.Context, next func(huma.Context)) {
	scope, ok := ctx.Operation().Metadata[scopeKey].(broker.Scope)
	if !ok {
		next(ctx)
		return
	}
	caller, err := api.Caller(ctx.Context())
	if err == nil {
		err = caller.Need(scope)
	}
	if err == nil {
		next(ctx)
		return
	}
	p := api.NewProblem(err)
	api.LogProblem(ctx.Context(), f.Log, p)
	if coded, _ := ctx.Operation().Metadata[faultKey].(bool); coded && p.Code == broker.CodeNotAllowed {
		fault := broker.NewTaskFault(broker.FaultNotAllowed, p.Detail)
		p.Fault = &api.Fault{Number: fault.Number, Name: fault.Name}
	}
	if p.Status == http.StatusUnauthorized {
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="uploadbroker"`)
	}
	h := http.Header{}
	p.SetRetryAfter(h)
	for name := range h {
		ctx.SetHeader(name, h.Get(name))
	}
	ctx.SetHeader("Content-Type", p.ContentType(""))
	ctx.SetStatus(p.Status)
	if err := huma.DefaultJSONFormat.Marshal(ctx.BodyWriter(), p); err != nil {
		f.Log.Debug("could not write an error", "err", err)
	}
}

// asProblem turns huma's own errors (a malformed body, a missing field) into
// problem documents of ours.
func asProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := api.StatusProblem(m.Status, m.Detail, nil)
	switch {
	case m.Status >= http.StatusInternalServerError: // such as a body that broke off
		return p, nil
	case m.Status == http.StatusRequestEntityTooLarge:
		p.Detail = fmt.Sprintf("the body has %d bytes or more; send several smaller ones", maxBody)
		return p, nil
	}
	for _, d := range m.Errors {
		p.Errors = append(p.Errors, api.FieldError{Location: d.Location, Message: d.Message})
	}
	if len(p.Errors) > 0 {
		var said []string
		for _, e := range p.Errors[:min(len(p.Errors), 3)] {
			said = append(said, strings.TrimPrefix(e.Location+": "+e.Message, ": "))
		}
		p.Detail = "the request does not fit: " + strings.Join(said, "; ")
	}
	return p, nil
}

// readJSON says in words of this API what does not fit a field.
func readJSON(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	var misfit *json.UnmarshalTypeError
	if errors.As(err, &misfit) {
		return fmt.Errorf("%s can't be %s", misfit.Field, misfit.Value)
	}
	return err
}

// plainCurl reads what `curl -d` sends as the JSON that it is: this face takes no
// forms, and a key in a header is nothing that another site's form could send.
func plainCurl(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if strings.HasPrefix(r.URL.Path, "/v1/") && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			r.Header.Set("Content-Type", "application/json")
		}
		return next(c)
	}
}
