package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/broker"
)

// OwnKey is a key as its owner sees it in the list of his keys.
type OwnKey struct {
	Key
	Hint      string     `json:"hint" doc:"How its secret begins, to tell keys apart." example:"ub_q7x"`
	Current   bool       `json:"current" doc:"It is the key that makes this call, or that the session is of."`
	CreatedAt time.Time  `json:"created_at" doc:"When it was made."`
	LastUsed  *time.Time `json:"last_used_at,omitempty" doc:"To the minute; absent when it never was."`
	RevokedAt *time.Time `json:"revoked_at,omitempty" doc:"When it was ended; absent while it was not."`
	Live      bool       `json:"live" doc:"It works: neither ended nor expired."`
}

// OwnKeys are an owner's keys.
type OwnKeys struct {
	Keys []OwnKey `json:"keys" nullable:"false" doc:"Newest first; ended ones, too."`
}

// MadeKey is a key that was just made.
type MadeKey struct {
	OwnKey
	Secret string `json:"secret" doc:"Shown this once; only its hash is kept." example:"ub_q7x…"`
}

const keysTag = "keys"

func (f *face) mountKeys() {
	type list struct{ Body OwnKeys }
	add(f, huma.Operation{
		OperationID: "listKeys", Method: http.MethodGet, Path: "/v1/keys", Tags: []string{keysTag},
		Summary: "Your keys", Description: "A key that is tied to a project lists those that are tied to it.",
	}, broker.ScopeManage, func(ctx context.Context, by broker.Caller, _ *struct{}) (*list, error) {
		keys, err := f.Keys.Own(ctx, by)
		if err != nil {
			return nil, err
		}
		out := &list{Body: OwnKeys{Keys: make([]OwnKey, len(keys))}}
		for i, k := range keys {
			out.Body.Keys[i] = f.ownKey(k, by)
		}
		return out, nil
	})

	type newKey struct {
		Body struct {
			Name      text     `json:"name,omitempty" doc:"For people, up to 255 bytes." example:"drone in the van"`
			Scopes    []string `json:"scopes,omitempty" nullable:"false" enum:"read,upload,manage,admin" maxItems:"4" doc:"What it may do, of what your own key may; left out: read and upload."`
			ProjectID string   `json:"project_id,omitempty" doc:"The only project that it is for; left out: as your own key." example:"01KAHQY5C9W3RV7ZB3N4D8M2XE"`
			Clouds    []string `json:"clouds,omitempty" nullable:"false" enum:"S3,OSS,MINIO" maxItems:"3" doc:"The only clouds that it is for; left out: as your own key."`
			ExpiresIn int64    `json:"expires_in,omitempty" minimum:"60" maximum:"3153600000" doc:"Seconds for which it works; left out: as long as your own key." example:"2592000"`
		}
	}
	type made struct {
		CacheControl string `header:"Cache-Control"`
		Body         MadeKey
	}
	add(f, huma.Operation{
		OperationID: "createKey", Method: http.MethodPost, Path: "/v1/keys", Tags: []string{keysTag},
		Summary: "Make a key", DefaultStatus: http.StatusCreated,
		Description: "Its secret is in this answer and nowhere else. A key can't give what it has not: scopes, projects, clouds, time.",
	}, broker.ScopeManage, func(ctx context.Context, by broker.Caller, in *newKey) (*made, error) {
		n := broker.NewKey{
			Name: string(in.Body.Name), ProjectID: in.Body.ProjectID, TTL: time.Duration(in.Body.ExpiresIn) * time.Second,
		}
		for _, s := range in.Body.Scopes {
			n.Scopes = append(n.Scopes, broker.Scope(s))
		}
		for _, c := range in.Body.Clouds {
			n.Clouds = append(n.Clouds, broker.Cloud(c))
		}
		k, secret, err := f.Keys.CreateOwn(ctx, by, f.Projects, n)
		if err != nil {
			return nil, err
		}
		return &made{CacheControl: "no-store", Body: MadeKey{OwnKey: f.ownKey(k, by), Secret: secret}}, nil
	})

	type keyPath struct {
		ID string `path:"id" doc:"The key's id." example:"01KAHQY5C9W3RV7ZB3N4D8M2XE"`
	}
	type one struct{ Body OwnKey }
	add(f, huma.Operation{
		OperationID: "revokeKey", Method: http.MethodDelete, Path: "/v1/keys/{id}", Tags: []string{keysTag},
		Summary:     "End a key",
		Description: "At once, with its sessions and links; what it was granted before lives on until its end. It can't be taken back. To end it again changes nothing. A key ends none that has scopes which it lacks, but itself always.",
	}, broker.ScopeManage, func(ctx context.Context, by broker.Caller, in *keyPath) (*one, error) {
		k, err := f.Keys.RevokeOwn(ctx, by, in.ID)
		if err != nil {
			return nil, err
		}
		return &one{f.ownKey(k, by)}, nil
	})
}

func (f *face) ownKey(k broker.Key, by broker.Caller) OwnKey {
	return OwnKey{
		Key: key(k), Hint: k.Hint, Current: k.ID == by.Key.ID, CreatedAt: k.CreatedAt, LastUsed: k.LastUsed,
		RevokedAt: k.RevokedAt, Live: k.Live(f.Keys.Now()),
	}
}

func key(k broker.Key) Key {
	out := Key{ID: k.ID, Name: k.Name, ProjectID: k.ProjectID, ExpiresAt: k.ExpiresAt, Scopes: []string{}, Clouds: []string{}}
	for _, s := range k.Scopes {
		out.Scopes = append(out.Scopes, string(s))
	}
	for _, c := range k.Clouds {
		out.Clouds = append(out.Clouds, string(c))
	}
	return out
}
