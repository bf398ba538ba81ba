package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// MaxBatch is how many entries a server takes in one call unless it is set up
// to take fewer.
const MaxBatch = 1000

// StatusOK is the status of a result of Start and Done that went well.
const StatusOK = "ok"

// Statuses of Check besides StatusExists and StatusProblem.
const (
	StatusOpen    = "open"    // registered, but its bytes have not arrived
	StatusInvalid = "invalid" // its last attempt was refused
	StatusAbsent  = "absent"  // unknown
)

// CheckResult answers one sha1 of Check.
type CheckResult struct {
	SHA1    string   `json:"sha1"`
	Status  string   `json:"status"` // exists, open, invalid, absent, problem
	Image   *Image   `json:"image,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

// Event is one step in an image's life.
type Event struct {
	At     time.Time       `json:"at"`
	Action string          `json:"action"`
	Raw    json.RawMessage `json:"-"` // the whole event as the server gave it
}

// UnmarshalJSON keeps what this version of the package does not know.
func (e *Event) UnmarshalJSON(b []byte) error {
	type plain Event
	if err := json.Unmarshal(b, (*plain)(e)); err != nil {
		return err
	}
	e.Raw = append(json.RawMessage(nil), b...)
	return nil
}

// ImageDetail is an image with its history, the oldest event first.
type ImageDetail struct {
	Image
	History []Event `json:"history"`
}

// ImagePage is a part of a list of images.
type ImagePage struct {
	Images     []Image `json:"images"`
	NextCursor string  `json:"next_cursor"` // "": this is the last page
}

// Register asks for the right to upload images, at most MaxBatch, to bucket (a
// symbol; "": the nearest). Results come in the order of the entries: granted
// with a Grant, exists when the bytes are there, problem for this entry alone.
func (c *Client) Register(ctx context.Context, pid, bucket string, entries []Entry) ([]Result, error) {
	in := struct {
		Bucket string  `json:"bucket,omitempty"`
		Grant  string  `json:"grant,omitempty"`
		Images []Entry `json:"images"`
	}{bucket, c.grants, entries}
	return c.batch(ctx, pid, "register", in, len(entries))
}

// Start says that the uploads of these images begin.
func (c *Client) Start(ctx context.Context, pid string, ids []string) ([]Result, error) {
	return c.batch(ctx, pid, "start", idList{IDs: ids}, len(ids))
}

// Done says that the uploads of these images have ended, so that the server
// looks for them now.
func (c *Client) Done(ctx context.Context, pid string, ids []string) ([]Result, error) {
	return c.batch(ctx, pid, "done", idList{IDs: ids}, len(ids))
}

// Regrant asks for fresh grants for images that are registered. A session that is
// given lives for at least half the time that the bucket's sessions live.
func (c *Client) Regrant(ctx context.Context, pid, bucket string, ids []string) ([]Result, error) {
	return c.batch(ctx, pid, "regrant", idList{Bucket: bucket, Grant: c.grants, IDs: ids}, len(ids))
}

type idList struct {
	Bucket string   `json:"bucket,omitempty"`
	Grant  string   `json:"grant,omitempty"`
	IDs    []string `json:"ids"`
}

func (c *Client) batch(ctx context.Context, pid, verb string, in any, n int) ([]Result, error) {
	var out struct {
		Results []Result `json:"results"`
	}
	k := call{method: http.MethodPost, path: imagesPath(pid) + "/" + verb, in: in, out: &out}
	if err := c.do(ctx, k); err != nil {
		return nil, err
	}
	if len(out.Results) != n {
		return nil, fmt.Errorf("%s: %d results for %d entries", k, len(out.Results), n)
	}
	return out.Results, nil
}

// Check asks which of these bytes the project has; it changes nothing.
func (c *Client) Check(ctx context.Context, pid string, sha1s []string) ([]CheckResult, error) {
	in := struct {
		SHA1 []string `json:"sha1"`
	}{sha1s}
	var out struct {
		Results []CheckResult `json:"results"`
	}
	k := call{method: http.MethodPost, path: imagesPath(pid) + "/check", in: in, out: &out}
	if err := c.do(ctx, k); err != nil {
		return nil, err
	}
	if len(out.Results) != len(sha1s) {
		return nil, fmt.Errorf("%s: %d results for %d entries", k, len(out.Results), len(sha1s))
	}
	return out.Results, nil
}

// Images lists a part of a project's images, of one state if state is not "".
func (c *Client) Images(ctx context.Context, pid, state string, page Page) (ImagePage, error) {
	v := page.values()
	if state != "" {
		v.Set("state", state)
	}
	var out ImagePage
	err := c.do(ctx, call{method: http.MethodGet, path: imagesPath(pid), query: v, out: &out})
	return out, err
}

// AllImages goes through all images of a project, of one state if state is not
// "", asking for the parts as it goes. An error ends it.
func (c *Client) AllImages(ctx context.Context, pid, state string) iter.Seq2[Image, error] {
	return func(yield func(Image, error) bool) {
		var page Page
		for {
			got, err := c.Images(ctx, pid, state, page)
			if err != nil {
				yield(Image{}, err)
				return
			}
			for _, im := range got.Images {
				if !yield(im, nil) {
					return
				}
			}
			if got.NextCursor == "" || got.NextCursor == page.Cursor {
				return
			}
			page.Cursor = got.NextCursor
		}
	}
}

// Image gives one image with its history.
func (c *Client) Image(ctx context.Context, pid, id string) (ImageDetail, error) {
	var im ImageDetail
	err := c.do(ctx, call{method: http.MethodGet, path: imagePath(pid, id), out: &im})
	return im, err
}

// RemoveImage removes an image; UndoUntil of the answer says until when it can
// be brought back.
func (c *Client) RemoveImage(ctx context.Context, pid, id string) (Image, error) {
	var im Image
	err := c.do(ctx, call{method: http.MethodDelete, path: imagePath(pid, id), out: &im})
	return im, err
}

// UndoRemoveImage brings a removed image back.
func (c *Client) UndoRemoveImage(ctx context.Context, pid, id string) (Image, error) {
	var im Image
	err := c.do(ctx, call{method: http.MethodPost, path: imagePath(pid, id) + "/undo", out: &im})
	return im, err
}

// AcceptImage keeps a damaged image: one that is Invalid, corrupt or truncated,
// becomes Ready. The error of any other has the code conflict.
func (c *Client) AcceptImage(ctx context.Context, pid, id string) (Image, error) {
	var im Image
	err := c.do(ctx, call{method: http.MethodPost, path: imagePath(pid, id) + "/accept", out: &im})
	return im, err
}

func imagesPath(pid string) string    { return projectPath(pid) + "/images" }
func imagePath(pid, id string) string { return imagesPath(pid) + "/" + url.PathEscape(id) }
