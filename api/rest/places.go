package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Bucket as the API tells it.
type Bucket struct {
	Symbol  string `json:"symbol" doc:"Its name in this API." example:"HongKong"`
	Display string `json:"display" doc:"Its name for people." example:"Hong Kong"`
	Cloud   string `json:"cloud" enum:"S3,OSS,MINIO" doc:"Its family."`
}

// Buckets are places to upload to.
type Buckets struct {
	Buckets []Bucket `json:"buckets" nullable:"false" doc:"Nearest first. Register takes the first one by itself."`
}

// Owner is a person who has projects and keys.
type Owner struct {
	ID    string `json:"id" doc:"26 characters."`
	Email string `json:"email" doc:"In lower case; unique in the installation." example:"ada@example.com"`
	Name  string `json:"name" doc:"May be empty."`
}

// Key is a key's record; its secret is told nowhere.
type Key struct {
	ID        string     `json:"id" doc:"26 characters; not the secret."`
	Name      string     `json:"name" doc:"May be empty."`
	Scopes    []string   `json:"scopes" nullable:"false" doc:"What it may do: read, upload, manage, admin. None implies another." example:"[\"read\",\"upload\"]"`
	ProjectID string     `json:"project_id,omitempty" doc:"The only project that this key is for."`
	Clouds    []string   `json:"clouds" nullable:"false" doc:"The only clouds that this key is for; empty: all."`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"When it stops working; absent: never by itself."`
}

// Me is who calls.
type Me struct {
	Owner Owner `json:"owner" doc:"Whose key it is."`
	Key   Key   `json:"key" doc:"The key that was used."`
}

func (f *face) mountPlaces() {
	type nearest struct{ Body Buckets }
	add(f, huma.Operation{
		OperationID: "nearestBuckets", Method: http.MethodGet, Path: "/v1/buckets/nearest", Tags: []string{"places"},
		Summary: "The buckets you may upload to, nearest first",
	}, anyScope, func(ctx context.Context, by broker.Caller, _ *struct{}) (*nearest, error) {
		list := f.Images.Nearest(by, api.Client(ctx))
		out := &nearest{}
		out.Body.Buckets = make([]Bucket, len(list))
		for i, b := range list {
			out.Body.Buckets[i] = Bucket{Symbol: b.Symbol, Display: b.Display, Cloud: string(b.Cloud)}
		}
		return out, nil
	})

	type meBody struct{ Body Me }
	add(f, huma.Operation{
		OperationID: "me", Method: http.MethodGet, Path: "/v1/me", Tags: []string{"places"},
		Summary: "Who you are and what your key may do",
	}, anyScope, func(_ context.Context, by broker.Caller, _ *struct{}) (*meBody, error) {
		out := &meBody{}
		out.Body.Owner.ID, out.Body.Owner.Email, out.Body.Owner.Name = by.Owner.ID, by.Owner.Email, by.Owner.Name
		k := &out.Body.Key
		k.ID, k.Name, k.ProjectID, k.ExpiresAt = by.Key.ID, by.Key.Name, by.Key.ProjectID, by.Key.ExpiresAt
		k.Scopes, k.Clouds = []string{}, []string{}
		for _, s := range by.Key.Scopes {
			k.Scopes = append(k.Scopes, string(s))
		}
		for _, c := range by.Key.Clouds {
			k.Clouds = append(k.Clouds, string(c))
		}
		return out, nil
	})
}
