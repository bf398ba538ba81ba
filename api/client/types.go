package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// The states of an image. Ready and Invalid are verdicts.
const (
	StatePending   = "Pending"
	StateUploading = "Uploading"
	StateUploaded  = "Uploaded"
	StateReady     = "Ready"
	StateInvalid   = "Invalid"
	StateRemoved   = "Removed"
)

// Project owns images and names their prefix in every bucket.
type Project struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Kind      string         `json:"kind"` // recon or files
	CreatedAt time.Time      `json:"created_at"`
	RemovedAt *time.Time     `json:"removed_at,omitempty"`
	UndoUntil *time.Time     `json:"undo_until,omitempty"` // while removed: until when undo is possible
	Counts    map[string]int `json:"counts,omitempty"`     // images by state; only where one project is asked for
}

// Image is one uploaded file's record.
type Image struct {
	ID         string          `json:"id"`
	ProjectID  string          `json:"project_id"`
	Name       string          `json:"name"`     // the user's file name, may hold sub-folders
	Filename   string          `json:"filename"` // key below the project's prefix in the bucket
	State      string          `json:"state"`
	Attempt    int             `json:"attempt"`
	SHA1       string          `json:"sha1,omitempty"` // declared, hex
	Size       *int64          `json:"size,omitempty"` // declared, bytes
	Type       string          `json:"type,omitempty"` // declared MIME type
	Bucket     string          `json:"bucket,omitempty"`
	ETag       string          `json:"etag,omitempty"`
	Reasons    []string        `json:"reasons,omitempty"` // "code: sentence"
	Accepted   bool            `json:"accepted,omitempty"`
	ProvenSHA1 string          `json:"proven_sha1,omitempty"`
	ProvenSize *int64          `json:"proven_size,omitempty"`
	CRC32      string          `json:"crc32,omitempty"` // IEEE, 8 hex digits
	Facts      json.RawMessage `json:"facts,omitempty"`
	CreatedAt  time.Time       `json:"created_at"`
	StartedAt  *time.Time      `json:"started_at,omitempty"`
	UploadedAt *time.Time      `json:"uploaded_at,omitempty"`
	JudgedAt   *time.Time      `json:"judged_at,omitempty"`
	RemovedAt  *time.Time      `json:"removed_at,omitempty"`
	UndoUntil  *time.Time      `json:"undo_until,omitempty"`
}

// Entry asks to register one image.
type Entry struct {
	Name  string `json:"name"`
	SHA1  string `json:"sha1"`            // 40 hex digits of either case
	Size  int64  `json:"size"`            // bytes
	Type  string `json:"type,omitempty"`  // MIME type; by the name's extension when empty
	Start *bool  `json:"start,omitempty"` // default true: the upload begins now
}

// Kinds of grants.
const (
	GrantRequest = "request" // a presigned request, to be sent as it stands
	GrantSession = "session" // an identity to sign requests with, for buckets at Aliyun OSS
)

// Grant is the right to write one object in one bucket until ExpiresAt.
//
// A grant of kind request is sent as it stands: Method, URL and Headers hold the
// signature, and usually the bucket refuses other bytes than were declared. With
// one of kind session, URL is where the object belongs, unsigned: its holder makes
// the request and signs it (Session.Sign) whenever he sends it. Until ExpiresAt the
// same session writes the project's other images in that bucket too, but each
// image is waited for by the server only until its own last grant has ended, so
// ask for a further one (Regrant) for each.
type Grant struct {
	Kind      string            `json:"kind"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"` // to be sent exactly as given
	ExpiresAt time.Time         `json:"expires_at"`
	Bucket    string            `json:"bucket"` // symbol
	// Unbound says that the bucket may take other bytes than were declared: then
	// only the validation finds them.
	Unbound bool     `json:"unbound,omitempty"`
	Session *Session `json:"session,omitempty"` // of kind session
}

// String tells of the grant without what makes it one.
func (g Grant) String() string {
	return fmt.Sprintf("grant of kind %s in %s until %s", cmp.Or(g.Kind, GrantRequest), g.Bucket, g.ExpiresAt.UTC().Format(time.RFC3339))
}

// LogValue is String, for package slog.
func (g Grant) LogValue() slog.Value { return slog.StringValue(g.String()) }

// Result statuses of register and regrant.
const (
	StatusGranted = "granted" // upload with Grant
	StatusExists  = "exists"  // the bytes are there: Uploaded or Ready
	StatusProblem = "problem" // Problem says what to do
)

// Result answers one entry of a batch; results come in the order of the entries.
type Result struct {
	Status  string   `json:"status"` // granted, exists, problem; ok for start and done
	Image   *Image   `json:"image,omitempty"`
	Grant   *Grant   `json:"grant,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

// Problem is an RFC 9457 problem document with a stable code.
type Problem struct {
	Type       string `json:"type,omitempty"`
	Title      string `json:"title,omitempty"`
	Status     int    `json:"status,omitempty"`
	Detail     string `json:"detail,omitempty"`
	Code       string `json:"code"`
	RetryAfter int    `json:"retry_after,omitempty"` // seconds
	Fault      *Fault `json:"fault,omitempty"`       // why a reconstruction does not start
}

// Bucket is a place to upload to.
type Bucket struct {
	Symbol  string `json:"symbol"`
	Display string `json:"display"`
	Cloud   string `json:"cloud"` // S3, OSS, MINIO
}
