package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Actor is who did something.
type Actor struct {
	Kind    string `json:"kind" enum:"owner,operator,program,anybody" doc:"owner: somebody with a key, or for whom the operator acted. operator: at the machine, by a command. program: the broker itself. anybody: who sent a file to a tag without a key; the detail has his address."`
	Owner   string `json:"owner,omitempty" doc:"The owner's id."`
	Email   string `json:"email,omitempty" doc:"The owner's, where he is still known."`
	Key     string `json:"key,omitempty" doc:"Id of the key that was used."`
	KeyHint string `json:"key_hint,omitempty" doc:"How that key begins." example:"ub_q7x"`
	KeyName string `json:"key_name,omitempty" doc:"What that key is called."`
}

// ImageRef names an image that may be gone.
type ImageRef struct {
	ID   string `json:"id" example:"01KAHQZ0R4M8C3T5V7W9X1Y2Z3"`
	Name string `json:"name,omitempty" doc:"The user's file name; absent when the image is gone." example:"100MEDIA/DJI_0001.JPG"`
}

// AuditLine is one act of a project's audit.
type AuditLine struct {
	ID     string          `json:"id" doc:"Later acts have higher numbers." example:"4711"`
	At     time.Time       `json:"at" doc:"When it was done."`
	Action string          `json:"action" doc:"What was done." example:"image.judge"`
	Who    Actor           `json:"who" doc:"Who did it."`
	Image  *ImageRef       `json:"image,omitempty" doc:"The image that it was about."`
	Detail json.RawMessage `json:"detail" doc:"An object; what it holds depends on the action."`
}

// AuditPage is a part of a project's audit.
type AuditPage struct {
	Audit      []AuditLine `json:"audit" nullable:"false" doc:"Newest first."`
	NextCursor string      `json:"next_cursor" doc:"Empty on the last page."`
}

// Happening is one line of an image's trace.
type Happening struct {
	At        time.Time       `json:"at" doc:"When it happened."`
	What      string          `json:"what" doc:"An action of the audit, such as image.register, image.seen or image.judge; or grant (a right to write was handed out), hint (somebody says that the object changed), check.failed and fetch.failed (it could not be done, that time), check.failing (since then checks of the present object could not run), verdict (what a validation said), attempt.ended (its key is an orphan from then on)." example:"grant"`
	Who       *Actor          `json:"who,omitempty" doc:"Of acts and grants."`
	Attempt   int             `json:"attempt,omitempty" doc:"Which try to bring the bytes it was about."`
	Bucket    string          `json:"bucket,omitempty" doc:"Symbol of the bucket."`
	Kind      string          `json:"kind,omitempty" enum:"request,session,fetch" doc:"Of a grant. request: a presigned request. session: a token for the project's prefix. fetch: the broker itself fetched a URL."`
	ExpiresAt *time.Time      `json:"expires_at,omitempty" doc:"Of a grant: when it ends."`
	Filename  string          `json:"filename,omitempty" doc:"Of an attempt: its key below the project's prefix."`
	ETag      string          `json:"etag,omitempty" doc:"Of the object, as its bucket told."`
	Size      *int64          `json:"size,omitempty" doc:"Bytes: of a verdict those read, of an attempt those that its bucket told."`
	SHA1      string          `json:"sha1,omitempty" doc:"Of a verdict: of the bytes that were read."`
	State     string          `json:"state,omitempty" enum:"Ready,Invalid" doc:"Of a verdict."`
	Reasons   []string        `json:"reasons,omitempty" nullable:"false" doc:"Of a verdict, or of an attempt that ended Invalid."`
	Holder    string          `json:"holder,omitempty" doc:"Of a verdict: the worker, its job and that job's try."`
	Job       int64           `json:"job,omitempty" doc:"The job that could not do its work; operators list jobs by 'uploadbroker jobs list'."`
	Try       int             `json:"try,omitempty" doc:"Which try of the job that was."`
	Failures  int             `json:"failures,omitempty" doc:"Of check.failing: how many checks could not run."`
	Cause     string          `json:"cause,omitempty" doc:"Why, in one line. URLs in it are cut to their hosts."`
	Detail    json.RawMessage `json:"detail,omitempty" doc:"Of an act: an object, what it holds depends on the action."`
}

// Watching is a place where the broker looks for an image.
type Watching struct {
	Bucket   string     `json:"bucket"`
	Looks    int64      `json:"looks" doc:"How often the broker looked there, for all images of the project."`
	LastLook *time.Time `json:"last_look,omitempty" doc:"Absent before the first one."`
	NextLook *time.Time `json:"next_look,omitempty" doc:"Absent while nothing is waited for there."`
	PauseMS  int64      `json:"pause_ms" doc:"Milliseconds from a look to the next one, unless something calls earlier."`
	Fault    string     `json:"fault,omitempty" doc:"Why the last look failed."`
}

// tracedImage is an image, or null once its row is gone.
type tracedImage struct{ *Image }

// Schema says so in the description.
func (tracedImage) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "As it is now; null when it was removed for good and its story is what is left.",
		OneOf:       []*huma.Schema{r.Schema(reflect.TypeFor[Image](), true, "Image"), {Type: "null"}},
	}
}

// MarshalJSON writes the image itself.
func (t tracedImage) MarshalJSON() ([]byte, error) { return json.Marshal(t.Image) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *tracedImage) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &t.Image) }

// Trace is all that is known of an image.
type Trace struct {
	Image    tracedImage `json:"image"`
	Story    []Happening `json:"story" nullable:"false" doc:"All that happened to it, in the order of time."`
	Cut      bool        `json:"cut,omitempty" doc:"It is a long story: of some kind of happening only the newest thousand are told."`
	Watching []Watching  `json:"watching" nullable:"false" doc:"Where the broker looks for it."`
}

func (f *face) mountStories() {
	type auditQuery struct {
		ProjectPath
		Cursor string    `query:"cursor" doc:"next_cursor of the page before." maxLength:"64"`
		Limit  int       `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"The most entries of a page."`
		Action string    `query:"action" doc:"Only this action." pattern:"^[a-z]+(\\.[a-z]+)+$" maxLength:"64" example:"image.judge"`
		Image  string    `query:"image" doc:"Only what was done to the image of this id." maxLength:"64"`
		Since  time.Time `query:"since" doc:"Only what was done at that time or later." example:"2026-01-01T00:00:00Z"`
	}
	type auditPage struct{ Body AuditPage }
	add(f, huma.Operation{
		OperationID: "listAudit", Method: http.MethodGet, Path: "/v1/projects/{pid}/audit", Tags: []string{"projects"},
		Summary:     "Who did what in a project, newest first",
		Description: "Lines are only ever added. They stay readable to the project's owner after it was removed.",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *auditQuery) (*auditPage, error) {
		before, err := auditCursor(in.Cursor)
		if err != nil {
			return nil, err
		}
		lines, err := f.Images.Audit(ctx, by, in.PID, broker.AuditQuery{
			Before: before, Action: in.Action, ImageID: in.Image, Since: in.Since, Limit: in.Limit + 1,
		})
		if err != nil {
			return nil, err
		}
		out := &auditPage{}
		lines, out.Body.NextCursor = cut(Paging{Limit: in.Limit}, lines, func(l broker.AuditLine) string { return strconv.FormatInt(l.ID, 10) })
		out.Body.Audit = make([]AuditLine, len(lines))
		for i, l := range lines {
			out.Body.Audit[i] = AuditLine{
				ID: strconv.FormatInt(l.ID, 10), At: l.At, Action: l.Action, Who: *who(&l.Who), Detail: l.Detail,
			}
			if l.ImageID != "" {
				out.Body.Audit[i].Image = &ImageRef{ID: l.ImageID, Name: l.ImageName}
			}
		}
		return out, nil
	})

	type traceQuery struct {
		ID string `path:"id" doc:"The image's id." example:"01KAHQZ0R4M8C3T5V7W9X1Y2Z3"`
	}
	type trace struct{ Body Trace }
	add(f, huma.Operation{
		OperationID: "traceImage", Method: http.MethodGet, Path: "/v1/images/{id}/trace", Tags: []string{"images"},
		Summary: "An upload's whole story: grants, looks, etags, verdicts",
		Description: "For finding out why an image is where it is. It is told for removed images, too, and from the audit alone once the image is gone. " +
			"What it holds of grants gives no right to write.",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *traceQuery) (*trace, error) {
		t, err := f.Images.Trace(ctx, by, in.ID)
		if err != nil {
			return nil, err
		}
		out := &trace{Body: Trace{Cut: t.Cut, Story: make([]Happening, len(t.Story)), Watching: make([]Watching, len(t.Watching))}}
		if t.Image != nil {
			out.Body.Image.Image = image(*t.Image)
		}
		for i, h := range t.Story {
			out.Body.Story[i] = happening(h)
		}
		for i, w := range t.Watching {
			out.Body.Watching[i] = Watching{
				Bucket: w.Bucket, Looks: w.Looks, LastLook: w.LastLook, NextLook: w.NextLook, PauseMS: w.Pause.Milliseconds(), Fault: w.Fault,
			}
		}
		return out, nil
	})
}

// auditCursor reads a cursor of the audit: a line's number.
func auditCursor(cursor string) (int64, error) {
	if cursor == "" {
		return 0, nil
	}
	id, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil || id < 1 || strconv.FormatInt(id, 10) != cursor {
		return 0, broker.Errorf(broker.CodeInvalid, "the cursor is none of ours; begin again without it")
	}
	return id, nil
}

func who(a *broker.Actor) *Actor {
	if a == nil {
		return nil
	}
	return &Actor{Kind: string(a.Kind), Owner: a.OwnerID, Email: a.Email, Key: a.KeyID, KeyHint: a.KeyHint, KeyName: a.KeyName}
}

func happening(h broker.Happening) Happening {
	return Happening{
		At: h.At, What: h.What, Who: who(h.Who), Attempt: h.Attempt, Bucket: h.Bucket, Kind: string(h.Kind), ExpiresAt: h.ExpiresAt,
		Filename: h.Filename, ETag: h.ETag, Size: h.SizeBytes, SHA1: h.SHA1.String(), State: string(h.State), Reasons: h.Reasons,
		Holder: h.Holder, Job: h.JobID, Try: h.Try, Failures: h.Failures, Cause: h.Cause, Detail: h.Detail,
	}
}
