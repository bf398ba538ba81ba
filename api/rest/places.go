package rest

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Bucket as the API tells it.
type Bucket struct {
	Symbol  string   `json:"symbol" doc:"Its name in this API." example:"HongKong"`
	Display string   `json:"display" doc:"Its name for people." example:"Hong Kong"`
	Cloud   string   `json:"cloud" enum:"S3,OSS,MINIO" doc:"Its family."`
	At      *Point   `json:"location,omitempty" doc:"Where it is; absent where that is not known."`
	Grants  []string `json:"grants" nullable:"false" enum:"request,session" doc:"The kinds of grant that it gives, the usual one first."`
}

// Point is a place on the earth.
type Point struct {
	Lat float64 `json:"lat" doc:"Degrees (WGS 84), north positive." example:"22.3"`
	Lon float64 `json:"lon" doc:"Degrees (WGS 84), east positive." example:"114.2"`
}

// Place is where a caller is.
type Place struct {
	Address string `json:"address,omitempty" doc:"By which he is seen here." example:"203.0.113.7"`
	Country string `json:"country,omitempty" doc:"ISO 3166-1 alpha-2; absent where it is not known, as of private addresses." example:"HK"`
	At      *Point `json:"location,omitempty" doc:"Absent where it is not known; may be the middle of the country."`
	Source  string `json:"source,omitempty" doc:"What told so: override, mmdb or embedded."`
}

// Buckets are places to upload to.
type Buckets struct {
	Buckets []Bucket `json:"buckets" nullable:"false" doc:"Nearest first. Register takes the first one by itself."`
	From    Place    `json:"from" doc:"Where you are, as far as this program knows. Where it does not, the order is the operator's."`
}

// BucketState is a bucket as its operator sees it.
type BucketState struct {
	Bucket
	Rank      int         `json:"rank,omitempty" doc:"Its place in the order that you are offered, from 1 on; absent when you are not offered it."`
	Not       []string    `json:"not_offered" nullable:"false" enum:"drained,pinned,abroad" doc:"Why you are not: it takes no new uploads, your key is pinned to other clouds, its rules do not admit your country."`
	Countries BucketRules `json:"countries" doc:"To whom it is offered."`
	LastLook  *time.Time  `json:"last_look,omitempty" doc:"When the broker last looked for uploads there; absent when it never did."`
	Fault     string      `json:"fault,omitempty" doc:"Why that look failed; absent when it did not."`
}

// BucketRules are a bucket's rules of countries, by ISO 3166-1 alpha-2.
type BucketRules struct {
	Only    []string `json:"only" nullable:"false" doc:"Clients of these alone; empty: of all."`
	Except  []string `json:"except" nullable:"false" doc:"Clients of these not."`
	Enforce bool     `json:"enforce" doc:"Others are refused, too, not merely not offered it."`
}

// BucketStates are all buckets.
type BucketStates struct {
	Buckets []BucketState `json:"buckets" nullable:"false" doc:"Those that you are offered in their order, then the others as they are configured."`
	From    Place         `json:"from" doc:"Where you are, as far as this program knows."`
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
		client := api.Client(ctx)
		list := f.Images.Nearest(by, client)
		out := &nearest{}
		out.Body.Buckets = make([]Bucket, len(list))
		for i, b := range list {
			out.Body.Buckets[i] = bucket(b)
		}
		out.Body.From = f.placeOf(client)
		return out, nil
	})

	type all struct{ Body BucketStates }
	add(f, huma.Operation{
		OperationID: "listBuckets", Method: http.MethodGet, Path: "/v1/buckets", Tags: []string{"places"},
		Summary: "All buckets and how they do, for operators", Description: "Those too that take no new uploads, or that you are not offered.",
	}, broker.ScopeAdmin, func(ctx context.Context, by broker.Caller, _ *struct{}) (*all, error) {
		client := api.Client(ctx)
		list, err := f.Images.Buckets(ctx, by, client)
		if err != nil {
			return nil, err
		}
		out := &all{Body: BucketStates{Buckets: make([]BucketState, len(list)), From: f.placeOf(client)}}
		for i, b := range list {
			out.Body.Buckets[i] = bucketState(b)
		}
		return out, nil
	})

	type meBody struct{ Body Me }
	add(f, huma.Operation{
		OperationID: "me", Method: http.MethodGet, Path: "/v1/me", Tags: []string{"places"},
		Summary: "Who you are and what your key may do",
	}, anyScope, func(_ context.Context, by broker.Caller, _ *struct{}) (*meBody, error) {
		out := &meBody{Body: Me{Key: key(by.Key)}}
		out.Body.Owner.ID, out.Body.Owner.Email, out.Body.Owner.Name = by.Owner.ID, by.Owner.Email, by.Owner.Name
		return out, nil
	})
}

func (f *face) placeOf(client netip.Addr) Place {
	at := f.Images.Places.Place(client)
	out := Place{Country: at.Country, Source: at.Source, At: (*Point)(at.At)}
	if client.IsValid() {
		out.Address = client.String()
	}
	return out
}

func bucketState(b broker.BucketState) BucketState {
	out := BucketState{Bucket: bucket(b.Bucket), Rank: b.Rank, Not: []string{}, Countries: BucketRules{
		Only: append([]string{}, b.Countries.Only...), Except: append([]string{}, b.Countries.Except...), Enforce: b.Countries.Enforce,
	}}
	for _, why := range []struct {
		so   bool
		name string
	}{{b.Drained, "drained"}, {b.Pinned, "pinned"}, {b.Abroad, "abroad"}} {
		if why.so {
			out.Not = append(out.Not, why.name)
		}
	}
	if b.Look != nil {
		out.LastLook, out.Fault = &b.Look.At, b.Look.Fault
	}
	return out
}

func bucket(b broker.Bucket) Bucket {
	out := Bucket{Symbol: b.Symbol, Display: b.Display, Cloud: string(b.Cloud), At: (*Point)(b.Location), Grants: []string{}}
	for _, kind := range []broker.GrantKind{broker.GrantSession, broker.GrantRequest} {
		if b.Gives(kind) {
			out.Grants = append(out.Grants, string(kind))
		}
	}
	return out
}
