package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Project as the API tells it.
type Project struct {
	ID        string         `json:"id" doc:"26 characters; also the project's prefix in every bucket." example:"01KAHQY5C9W3RV7ZB3N4D8M2XE"`
	Name      string         `json:"name" example:"North face, November"`
	Kind      string         `json:"kind" enum:"recon,files" doc:"recon takes images, files takes anything."`
	CreatedAt time.Time      `json:"created_at"`
	RemovedAt *time.Time     `json:"removed_at,omitempty"`
	UndoUntil *time.Time     `json:"undo_until,omitempty" doc:"Until when a removal can be undone."`
	Counts    map[string]int `json:"counts,omitempty" doc:"Numbers of images by state; only where one project is asked for."`
}

// Image as the API tells it.
type Image struct {
	ID         string        `json:"id"`
	ProjectID  string        `json:"project_id"`
	Name       string        `json:"name" doc:"The user's file name; may hold sub-folders." example:"100MEDIA/DJI_0001.JPG"`
	Filename   string        `json:"filename" doc:"The key below the project's prefix in the bucket."`
	State      string        `json:"state" enum:"Pending,Uploading,Uploaded,Ready,Invalid,Removed"`
	Attempt    int           `json:"attempt" doc:"Counts the tries to bring the bytes; each has a key of its own."`
	SHA1       string        `json:"sha1,omitempty" doc:"Declared, in hex."`
	Size       *int64        `json:"size,omitempty" doc:"Declared, in bytes."`
	Type       string        `json:"type,omitempty" doc:"Declared MIME type."`
	Bucket     string        `json:"bucket,omitempty" doc:"Where the object lies; the first one seen decides."`
	ETag       string        `json:"etag,omitempty"`
	Reasons    []string      `json:"reasons,omitempty" doc:"Why it is Invalid, each as code: sentence." example:"[\"truncated: the scan ends after 1,204 of 2,250 rows\"]"`
	Accepted   bool          `json:"accepted,omitempty" doc:"Ready by the owner's word although it is damaged."`
	ProvenSHA1 string        `json:"proven_sha1,omitempty" doc:"Of the bytes that were read, in hex."`
	ProvenSize *int64        `json:"proven_size,omitempty" doc:"Bytes that were read."`
	CRC32      string        `json:"crc32,omitempty" doc:"IEEE, 8 hex digits."`
	Facts      *broker.Facts `json:"facts,omitempty" doc:"What was learnt of the file; never a reason by itself."`
	CreatedAt  time.Time     `json:"created_at"`
	StartedAt  *time.Time    `json:"started_at,omitempty"`
	UploadedAt *time.Time    `json:"uploaded_at,omitempty"`
	JudgedAt   *time.Time    `json:"judged_at,omitempty"`
	RemovedAt  *time.Time    `json:"removed_at,omitempty"`
	UndoUntil  *time.Time    `json:"undo_until,omitempty"`
}

// HistoryEntry is one line of an image's story.
type HistoryEntry struct {
	At     time.Time       `json:"at"`
	Action string          `json:"action" example:"image.judge"`
	Owner  string          `json:"owner,omitempty" doc:"Who did it; empty for the program itself."`
	Key    string          `json:"key,omitempty" doc:"The id of the key that was used."`
	Detail json.RawMessage `json:"detail"`
}

// Grant is the right to write one object in one bucket until a time.
type Grant struct {
	Kind      string            `json:"kind" enum:"request" doc:"request: a presigned request."`
	Method    string            `json:"method" example:"PUT"`
	URL       string            `json:"url" doc:"A secret until it expires."`
	Headers   map[string]string `json:"headers" doc:"To be sent exactly as given; they bind the upload to its size, type and sha1."`
	ExpiresAt time.Time         `json:"expires_at"`
	Bucket    string            `json:"bucket"`
}

// Result answers one entry of a batch.
type Result struct {
	Status  string       `json:"status" enum:"granted,exists,problem,ok"`
	Image   *Image       `json:"image,omitempty"`
	Grant   *Grant       `json:"grant,omitempty"`
	Problem *api.Problem `json:"problem,omitempty"`
}

// Checked answers one sha1 of a check.
type Checked struct {
	SHA1    string       `json:"sha1" doc:"As asked."`
	Status  string       `json:"status" enum:"exists,open,invalid,absent,problem"`
	Image   *Image       `json:"image,omitempty"`
	Problem *api.Problem `json:"problem,omitempty"`
}

// Results answer a batch in the order of its entries.
type Results struct {
	Body struct {
		Results []Result `json:"results" doc:"In the order of the entries."`
	}
}

func project(p broker.Project, counts broker.Counts) Project {
	out := Project{
		ID: p.ID, Name: p.Name, Kind: string(p.Kind), CreatedAt: p.CreatedAt, RemovedAt: p.RemovedAt, UndoUntil: p.UndoUntil,
	}
	if counts != nil {
		out.Counts = map[string]int{}
		for _, s := range []broker.State{broker.StatePending, broker.StateUploading, broker.StateUploaded, broker.StateReady, broker.StateInvalid} {
			out.Counts[string(s)] = counts[s]
		}
	}
	return out
}

func image(i broker.Image) *Image {
	out := &Image{
		ID: i.ID, ProjectID: i.ProjectID, Name: i.Name, Filename: i.Filename, State: string(i.State), Attempt: i.Attempt,
		SHA1: i.SHA1.String(), Type: i.Type, Bucket: i.Bucket, ETag: i.ETag, Accepted: i.Accepted,
		ProvenSHA1: i.ProvenSHA1.String(), CreatedAt: i.CreatedAt, StartedAt: i.StartedAt, UploadedAt: i.UploadedAt,
		JudgedAt: i.JudgedAt, RemovedAt: i.RemovedAt, UndoUntil: i.UndoUntil,
	}
	if i.SizeBytes >= 0 {
		out.Size = &i.SizeBytes
	}
	for _, r := range i.Reasons {
		out.Reasons = append(out.Reasons, r.String())
	}
	if !i.ProvenSHA1.IsZero() {
		out.ProvenSize = &i.ProvenBytes
		out.CRC32 = fmt.Sprintf("%08x", i.CRC32)
	}
	if i.Facts.Type != "" || i.Facts.Proof != "" {
		out.Facts = &i.Facts
	}
	return out
}

// result tells one answer of a batch; a grant at the local bucket gets the
// address by which the caller reached us.
func (f *face) result(ctx context.Context, r broker.Registered) Result {
	out := Result{Status: string(r.Status)}
	if r.Err != nil {
		out.Problem = api.NewProblem(r.Err)
		api.LogProblem(ctx, f.Log, out.Problem)
	}
	if r.Image.ID != "" {
		out.Image = image(r.Image)
	}
	if r.Grant != nil {
		req := r.Grant.Request
		out.Grant = &Grant{
			Kind: string(r.Grant.Kind), Method: req.Method, URL: api.Absolute(ctx, req.URL), Headers: req.Headers,
			ExpiresAt: req.ExpiresAt, Bucket: r.Grant.Bucket,
		}
	}
	return out
}

func (f *face) results(ctx context.Context, rs []broker.Registered) *Results {
	out := &Results{}
	out.Body.Results = make([]Result, len(rs))
	for i, r := range rs {
		out.Body.Results[i] = f.result(ctx, r)
	}
	return out
}
