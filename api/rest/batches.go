package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Entry asks to register one image. What is wrong with it is told in its own
// answer, so the description demands nothing here that would refuse the batch.
type Entry struct {
	Name  text   `json:"name,omitempty" doc:"Needed. The file's name; / between folders. At most 255 bytes a segment, 1,024 in all. Left out or unfit, this entry alone is answered invalid_name." example:"100MEDIA/DJI_0001.JPG"`
	SHA1  string `json:"sha1,omitempty" doc:"Needed. Of the file's bytes: 40 hex digits of either case. Left out or unfit, this entry alone is answered invalid_sha1." example:"da39a3ee5e6b4b0d3255bfef95601890afd80709"`
	Size  *int64 `json:"size,omitempty" doc:"Needed. Bytes of the file, exactly: the bucket takes no other number. Left out or negative, this entry alone is answered invalid_size; over the installation's limit, too_large." example:"4024770"`
	Type  string `json:"type,omitempty" doc:"MIME type; by the name's extension when it is left out. Unfit, this entry alone is answered invalid_type." example:"image/jpeg"`
	Start *bool  `json:"start,omitempty" default:"true" doc:"The upload begins now. With false, tell it later by images/start."`
}

// batchOfIDs names images.
type batchOfIDs struct {
	ProjectPath
	Body struct {
		IDs []string `json:"ids" nullable:"false" doc:"Ids of images, at most 1,000. An id without an image is answered not_found in its own place." example:"[\"01KAHQZ0R4M8C3T5V7W9X1Y2Z3\"]"`
	}
}

func (f *face) mountBatches() {
	type register struct {
		ProjectPath
		Body struct {
			Bucket string  `json:"bucket,omitempty" doc:"A bucket's symbol; the nearest when it is left out." example:"Local"`
			Grant  string  `json:"grant,omitempty" doc:"The kind of the grants: request or session. Left out, what the bucket gives by itself: buckets of OSS sessions, others presigned requests." example:"request"`
			Copy   *bool   `json:"copy,omitempty" default:"true" doc:"Bytes that you have Ready in another project of the same bucket are copied there by the bucket itself and answered exists. With false they are uploaded again."`
			Images []Entry `json:"images" nullable:"false" doc:"At most 1,000. No field of an entry is required here, for each entry is answered on its own: what one lacks does not refuse the others."`
		}
	}
	add(f, huma.Operation{
		OperationID: "registerImages", Method: http.MethodPost, Path: "/v1/projects/{pid}/images/register", Tags: []string{"images"},
		Summary:     "Ask to upload up to 1,000 files",
		Description: "Each entry is answered on its own: it *exists*, or a *grant* to upload it, or a *problem*. Registering again is safe: an open image keeps its place, an Invalid one begins a further attempt.",
	}, broker.ScopeUpload, func(ctx context.Context, by broker.Caller, in *register) (*resultsBody, error) {
		entries := make([]broker.Entry, len(in.Body.Images))
		for i, e := range in.Body.Images {
			entries[i] = broker.Entry{Name: string(e.Name), SHA1: e.SHA1, SizeBytes: -1, Type: e.Type, Start: e.Start == nil || *e.Start}
			entries[i].NoCopy = in.Body.Copy != nil && !*in.Body.Copy
			if e.Size != nil {
				entries[i].SizeBytes = *e.Size
			}
		}
		to := broker.Target{Bucket: in.Body.Bucket, Grant: broker.GrantKind(in.Body.Grant), Client: api.Client(ctx)}
		rs, err := f.Images.Register(ctx, by, in.PID, to, entries)
		return f.results(ctx, rs), err
	})

	add(f, huma.Operation{
		OperationID: "startImages", Method: http.MethodPost, Path: "/v1/projects/{pid}/images/start", Tags: []string{"images"},
		Summary: "Tell that uploads begin",
	}, broker.ScopeUpload, func(ctx context.Context, by broker.Caller, in *batchOfIDs) (*resultsBody, error) {
		rs, err := f.Images.Start(ctx, by, in.PID, in.Body.IDs)
		return f.results(ctx, rs), err
	})

	add(f, huma.Operation{
		OperationID: "doneImages", Method: http.MethodPost, Path: "/v1/projects/{pid}/images/done", Tags: []string{"images"},
		Summary:     "Tell that uploads ended",
		Description: "A hint: the broker looks at once and believes what it sees. Any time, any number of times.",
	}, broker.ScopeUpload, func(ctx context.Context, by broker.Caller, in *batchOfIDs) (*resultsBody, error) {
		rs, err := f.Images.Done(ctx, by, in.PID, in.Body.IDs)
		return f.results(ctx, rs), err
	})

	type regrant struct {
		ProjectPath
		Body struct {
			Bucket string   `json:"bucket,omitempty" doc:"A bucket's symbol; the nearest when it is left out." example:"Local"`
			Grant  string   `json:"grant,omitempty" doc:"The kind of the grants, as in register." example:"request"`
			IDs    []string `json:"ids" nullable:"false" doc:"Ids of images, at most 1,000." example:"[\"01KAHQZ0R4M8C3T5V7W9X1Y2Z3\"]"`
		}
	}
	add(f, huma.Operation{
		OperationID: "regrantImages", Method: http.MethodPost, Path: "/v1/projects/{pid}/images/regrant", Tags: []string{"images"},
		Summary:     "Get fresh grants for images that are still open",
		Description: "For when a grant ended before its turn came in a long queue.",
	}, broker.ScopeUpload, func(ctx context.Context, by broker.Caller, in *regrant) (*resultsBody, error) {
		to := broker.Target{Bucket: in.Body.Bucket, Grant: broker.GrantKind(in.Body.Grant), Client: api.Client(ctx)}
		rs, err := f.Images.Regrant(ctx, by, in.PID, to, in.Body.IDs)
		return f.results(ctx, rs), err
	})

	type check struct {
		ProjectPath
		Body struct {
			SHA1 []string `json:"sha1" nullable:"false" doc:"Digests in hex of either case, at most 1,000." example:"[\"da39a3ee5e6b4b0d3255bfef95601890afd80709\"]"`
		}
	}
	type checked struct{ Body CheckResults }
	add(f, huma.Operation{
		OperationID: "checkImages", Method: http.MethodPost, Path: "/v1/projects/{pid}/images/check", Tags: []string{"images"},
		Summary: "Ask whether files are there, by sha1; changes nothing",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *check) (*checked, error) {
		rs, err := f.Images.Check(ctx, by, in.PID, in.Body.SHA1)
		if err != nil {
			return nil, err
		}
		out := &checked{}
		out.Body.Results = make([]Checked, len(rs))
		for i, r := range rs {
			out.Body.Results[i] = Checked{SHA1: r.SHA1, Status: string(r.Status)}
			if r.Image != nil {
				out.Body.Results[i].Image = image(*r.Image)
			}
			if r.Err != nil {
				out.Body.Results[i].Problem = api.NewProblem(r.Err)
			}
		}
		return out, nil
	})
}
