package rest

import (
	"context"
	"net/http"
	"reflect"
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

// serveZip lets net/http serve the zip, whole or in ranges.
func (f *face) serveZip(ctx huma.Context, z *broker.Zip) {
	c := humaecho.Unwrap(ctx)
	api.ServeZip(c.Response(), c.Request(), z)
}
