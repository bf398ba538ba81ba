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
	Tag       string         `json:"tag,omitempty" doc:"The name by which a tag is addressed; absent where it is none." example:"inbox"`
	CreatedAt time.Time      `json:"created_at" doc:"When it was made."`
	RemovedAt *time.Time     `json:"removed_at,omitempty" doc:"When it was removed; absent while it is not."`
	UndoUntil *time.Time     `json:"undo_until,omitempty" doc:"Until when a removal can be undone."`
	Counts    map[string]int `json:"counts,omitempty" doc:"Numbers of images by state; where one project is asked for, or a list with counts." example:"{\"Pending\":0,\"Uploading\":3,\"Uploaded\":1,\"Ready\":410,\"Invalid\":2}"`
}

// Image as the API tells it.
type Image struct {
	ID         string     `json:"id" doc:"26 characters." example:"01KAHQZ0R4M8C3T5V7W9X1Y2Z3"`
	ProjectID  string     `json:"project_id" doc:"The project that owns it." example:"01KAHQY5C9W3RV7ZB3N4D8M2XE"`
	Name       string     `json:"name" doc:"The user's file name; may hold sub-folders." example:"100MEDIA/DJI_0001.JPG"`
	Filename   string     `json:"filename" doc:"The key below the project's prefix in the bucket." example:"da39a3ee5e6b4b0d3255bfef95601890afd80709.jpg"`
	State      string     `json:"state" enum:"Pending,Uploading,Uploaded,Ready,Invalid,Removed" doc:"Pending: registered. Uploading: started. Uploaded: the broker saw an object and judges it. Ready and Invalid are verdicts. Removed: can be undone for ten minutes."`
	Attempt    int        `json:"attempt" doc:"Counts the tries to bring the bytes; each has a key of its own." example:"1"`
	SHA1       string     `json:"sha1,omitempty" doc:"Declared, in lower-case hex." example:"da39a3ee5e6b4b0d3255bfef95601890afd80709"`
	Size       *int64     `json:"size,omitempty" doc:"Declared, in bytes; absent when none was declared. What was really read is proven_size." example:"4024770"`
	Type       string     `json:"type,omitempty" doc:"Declared MIME type, or the one that the name's extension stands for." example:"image/jpeg"`
	Bucket     string     `json:"bucket,omitempty" doc:"Symbol of the bucket where the object lies; the first one seen decides." example:"HongKong"`
	ETag       string     `json:"etag,omitempty" doc:"The object's, as its bucket tells; absent until one was seen."`
	Reasons    []string   `json:"reasons,omitempty" nullable:"false" doc:"Why it is Invalid, each as code: sentence. The codes: expired, empty, size_mismatch, checksum_mismatch, truncated, corrupt, unsupported_format, too_many_pixels, too_large, unchecked." example:"[\"truncated: the scan ends after 1,204 of 2,250 rows\"]"`
	Accepted   bool       `json:"accepted,omitempty" doc:"Ready by the owner's word although it is damaged; its reasons tell how."`
	ProvenSHA1 string     `json:"proven_sha1,omitempty" doc:"Of the bytes that were read, in hex."`
	ProvenSize *int64     `json:"proven_size,omitempty" doc:"Bytes that were read."`
	CRC32      string     `json:"crc32,omitempty" doc:"Of the bytes that were read: IEEE, 8 hex digits." example:"00000000"`
	Facts      *Facts     `json:"facts,omitempty" doc:"What was learnt of the file; never a reason by itself."`
	CreatedAt  time.Time  `json:"created_at" doc:"When it was first registered."`
	StartedAt  *time.Time `json:"started_at,omitempty" doc:"When its upload was said to begin."`
	UploadedAt *time.Time `json:"uploaded_at,omitempty" doc:"When the broker saw its object."`
	JudgedAt   *time.Time `json:"judged_at,omitempty" doc:"When it became Ready or Invalid."`
	RemovedAt  *time.Time `json:"removed_at,omitempty" doc:"When it was removed; absent while it is not."`
	UndoUntil  *time.Time `json:"undo_until,omitempty" doc:"Until when a removal can be undone."`
}

// Facts are broker.Facts, with words for the description.
type Facts struct {
	Type      string     `json:"type,omitempty" doc:"The true MIME type, by content." example:"image/jpeg"`
	Declared  string     `json:"declared,omitempty" doc:"The declared type, where it differs from the true one."`
	Proof     string     `json:"proof,omitempty" enum:"full,structure,bytes" doc:"full: every coded byte of the picture was decoded or checksummed. structure: the container and its metadata hold together. bytes: size and checksums only."`
	Width     int        `json:"width,omitempty" doc:"Pixels, as stored." example:"5472"`
	Height    int        `json:"height,omitempty" doc:"Pixels, as stored." example:"3648"`
	Taken     *time.Time `json:"taken,omitempty" doc:"The EXIF time; as UTC where the file names no zone."`
	TakenZone bool       `json:"taken_zone,omitempty" doc:"Whether the file names the zone of taken."`
	GPS       *GPS       `json:"gps,omitempty" doc:"Where it was taken."`
	RelAltM   *float64   `json:"relative_alt_m,omitempty" doc:"Metres above take-off, of drones that write it." example:"60.1"`
	Gimbal    *Gimbal    `json:"gimbal,omitempty" doc:"How the camera was turned, of drones that write it."`
	Make      string     `json:"make,omitempty" doc:"Of the camera."`
	Model     string     `json:"model,omitempty" doc:"Of the camera."`
	Lens      string     `json:"lens,omitempty" doc:"Its model."`
	FocalMM   float64    `json:"focal_mm,omitempty" doc:"Focal length in millimetres." example:"8.8"`
	Orient    int        `json:"orientation,omitempty" doc:"EXIF orientation, 1 to 8." example:"1"`
	TrailingB int64      `json:"trailing_bytes,omitempty" doc:"Bytes after the picture's own end."`
	Thumbnail *Thumbnail `json:"thumbnail,omitempty" doc:"Of the thumbnail that …/images/{id}/thumbnail leads to; absent where there is none."`
	Notes     []string   `json:"notes,omitempty" nullable:"false" doc:"Oddities, and image checks that did not count (projects of kind files)."`
}

// GPS is a position.
type GPS struct {
	Lat float64  `json:"lat" doc:"Degrees (WGS 84), north positive." example:"22.302711"`
	Lon float64  `json:"lon" doc:"Degrees (WGS 84), east positive." example:"114.177216"`
	Alt *float64 `json:"alt,omitempty" doc:"Metres, where it is known."`
}

// Gimbal is an attitude against the horizon and north.
type Gimbal struct {
	Pitch float64 `json:"pitch" doc:"Degrees; -90 looks straight down." example:"-89.9"`
	Roll  float64 `json:"roll" doc:"Degrees." example:"0"`
	Yaw   float64 `json:"yaw" doc:"Degrees from north, clockwise." example:"41.2"`
}

// Thumbnail is a small upright picture, a JPEG.
type Thumbnail struct {
	Width  int `json:"width" doc:"Pixels." example:"640"`
	Height int `json:"height" doc:"Pixels." example:"427"`
}

// ImageWithHistory is an image with its story.
type ImageWithHistory struct {
	*Image
	History []HistoryEntry `json:"history" nullable:"false" doc:"Who did what to it, oldest first."`
}

// HistoryEntry is one line of an image's story.
type HistoryEntry struct {
	At     time.Time       `json:"at" doc:"When it happened."`
	Action string          `json:"action" doc:"What was done." example:"image.register"`
	Owner  string          `json:"owner,omitempty" doc:"Id of the owner who did it; absent for the program itself."`
	Key    string          `json:"key,omitempty" doc:"Id of the key that was used."`
	Detail json.RawMessage `json:"detail" doc:"An object; what it holds depends on the action."`
}

// Result answers one entry of a batch.
type Result struct {
	Status  string       `json:"status" enum:"granted,exists,problem,ok" doc:"granted: upload with the grant. exists: the bytes are there, Uploaded or Ready. problem: see there. ok (start and done only): the image as it is now."`
	Image   *Image       `json:"image,omitempty" doc:"Absent where there is none."`
	Grant   *Grant       `json:"grant,omitempty" doc:"With status granted."`
	Problem *api.Problem `json:"problem,omitempty" doc:"With status problem: of this entry alone."`
}

// Checked answers one sha1 of a check.
type Checked struct {
	SHA1    string       `json:"sha1" doc:"As asked."`
	Status  string       `json:"status" enum:"exists,open,invalid,absent,problem" doc:"exists: Uploaded or Ready. open: registered, its bytes are not there. invalid: judged Invalid; registering begins a further attempt. absent: not registered. problem: not a sha1."`
	Image   *Image       `json:"image,omitempty" doc:"Absent where there is none."`
	Problem *api.Problem `json:"problem,omitempty" doc:"With status problem."`
}

// Results answer a batch in the order of its entries.
type Results struct {
	Results []Result `json:"results" nullable:"false" doc:"One for each entry, in the same order."`
}

type resultsBody struct{ Body Results }

// CheckResults answer a check in the order of its digests.
type CheckResults struct {
	Results []Checked `json:"results" nullable:"false" doc:"One for each digest, in the same order."`
}

// ImagePage is a part of a project's images.
type ImagePage struct {
	Images     []*Image `json:"images" nullable:"false" doc:"In the order of their registration."`
	NextCursor string   `json:"next_cursor" doc:"Empty on the last page."`
}

// ProjectPage is a part of an owner's projects.
type ProjectPage struct {
	Projects   []Project `json:"projects" nullable:"false" doc:"Newest first."`
	NextCursor string    `json:"next_cursor" doc:"Empty on the last page."`
}

func project(p broker.Project, counts broker.Counts) Project {
	out := Project{
		ID: p.ID, Name: p.Name, Kind: string(p.Kind), Tag: p.Tag, CreatedAt: p.CreatedAt, RemovedAt: p.RemovedAt, UndoUntil: p.UndoUntil,
	}
	if counts != nil {
		out.Counts = countsByName(counts)
	}
	return out
}

// countsByName tells every state that is counted, also those with none.
func countsByName(counts broker.Counts) map[string]int {
	out := map[string]int{}
	for _, s := range []broker.State{broker.StatePending, broker.StateUploading, broker.StateUploaded, broker.StateReady, broker.StateInvalid} {
		out[string(s)] = counts[s]
	}
	return out
}

// ImageOf is an image as this API tells it, for others who tell of images.
func ImageOf(i broker.Image) *Image { return image(i) }

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
		out.Facts = facts(i.Facts)
	}
	return out
}

func facts(b broker.Facts) *Facts {
	var thumb *Thumbnail
	if b.Thumb != nil {
		thumb = &Thumbnail{Width: b.Thumb.Width, Height: b.Thumb.Height}
	}
	return &Facts{
		Type: b.Type, Declared: b.Declared, Proof: string(b.Proof), Width: b.Width, Height: b.Height, Taken: b.Taken,
		TakenZone: b.TakenZone, GPS: (*GPS)(b.GPS), RelAltM: b.RelAltM, Gimbal: (*Gimbal)(b.Gimbal), Make: b.Make, Model: b.Model, Lens: b.Lens, FocalMM: b.FocalMM,
		Orient: b.Orient, TrailingB: b.TrailingB, Thumbnail: thumb, Notes: b.Notes,
	}
}

// result tells one answer of a batch.
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
		out.Grant = grant(ctx, r.Grant)
	}
	return out
}

func (f *face) results(ctx context.Context, rs []broker.Registered) *resultsBody {
	out := &resultsBody{}
	out.Body.Results = make([]Result, len(rs))
	for i, r := range rs {
		out.Body.Results[i] = f.result(ctx, r)
	}
	return out
}
