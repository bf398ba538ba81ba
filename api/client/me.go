package client

import (
	"context"
	"net/http"
	"time"
)

// Me is who a key belongs to and what it may do.
type Me struct {
	Owner Owner `json:"owner"`
	Key   Key   `json:"key"`
}

// Owner is a person who has projects and keys.
type Owner struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	Name  string `json:"name"`
}

// Key describes a key; the secret itself is never told.
type Key struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Scopes    []string   `json:"scopes"`               // read, upload, manage, admin
	ProjectID string     `json:"project_id,omitempty"` // "": not tied to a project
	Clouds    []string   `json:"clouds"`               // empty: any
	ExpiresAt *time.Time `json:"expires_at,omitempty"` // nil: never
}

// Me tells who the client's key belongs to.
func (c *Client) Me(ctx context.Context) (Me, error) {
	var m Me
	err := c.do(ctx, call{method: http.MethodGet, path: "/me", out: &m})
	return m, err
}

// NearestBuckets lists the buckets that the caller may upload to, the nearest
// first.
func (c *Client) NearestBuckets(ctx context.Context) ([]Bucket, error) {
	var out struct {
		Buckets []Bucket `json:"buckets"`
	}
	err := c.do(ctx, call{method: http.MethodGet, path: "/buckets/nearest", out: &out})
	return out.Buckets, err
}
