package postgres

import (
	"encoding/json"
	"fmt"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// The functions below turn rows into the words of package broker and back.

func toImage(r sqlc.Image) (broker.Image, error) {
	img := broker.Image{
		ID: r.ID, ProjectID: r.ProjectID, Name: r.Name, SizeBytes: -1, Type: deref(r.DeclaredType),
		State: broker.State(r.State), Attempt: int(r.Attempt), Filename: r.Filename,
		Bucket: deref(r.Bucket), ETag: deref(r.Etag), ObjectBytes: deref(r.ObjectSize),
		ProvenBytes: deref(r.ProvenSize), CRC32: uint32(deref(r.Crc32)), Accepted: r.Accepted,
		CheckFailures: int(r.CheckFailures), CheckFailingSince: r.CheckFailingSince, SweptAt: r.SweptAt,
		CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, UploadedAt: r.UploadedAt, JudgedAt: r.JudgedAt,
		RemovedAt: r.RemovedAt, RemovedFrom: broker.State(deref(r.RemovedFrom)), UndoUntil: r.UndoUntil,
	}
	if r.DeclaredSize != nil {
		img.SizeBytes = *r.DeclaredSize
	}
	copy(img.SHA1[:], r.DeclaredSha1)
	copy(img.ProvenSHA1[:], r.ProvenSha1)
	for _, reason := range r.Reasons {
		img.Reasons = append(img.Reasons, broker.ParseReason(reason))
	}
	if err := json.Unmarshal(r.Facts, &img.Facts); err != nil {
		return img, fmt.Errorf("the facts of image %s: %w", r.ID, err)
	}
	return img, nil
}

func toImages(rows []sqlc.Image) ([]broker.Image, error) {
	images := make([]broker.Image, len(rows))
	for i, r := range rows {
		var err error
		if images[i], err = toImage(r); err != nil {
			return nil, err
		}
	}
	return images, nil
}

func toProject(r sqlc.Project) broker.Project {
	return broker.Project{
		ID: r.ID, OwnerID: r.OwnerID, Name: r.Name, Kind: broker.ProjectKind(r.Kind), Tag: deref(r.Tag),
		CreatedAt: r.CreatedAt, RemovedAt: r.RemovedAt, UndoUntil: r.UndoUntil, FinalAt: r.FinalAt,
	}
}

func toOwner(r sqlc.Owner) broker.Owner {
	return broker.Owner{ID: r.ID, Email: r.Email, Name: r.Name, CreatedAt: r.CreatedAt}
}

func toKey(r sqlc.Key) broker.Key {
	k := broker.Key{
		ID: r.ID, OwnerID: r.OwnerID, Name: r.Name, Hint: r.Hint, ProjectID: deref(r.ProjectID),
		CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, RevokedAt: r.RevokedAt, LastUsed: r.LastUsedAt,
	}
	for _, s := range r.Scopes {
		k.Scopes = append(k.Scopes, broker.Scope(s))
	}
	for _, c := range r.Clouds {
		k.Clouds = append(k.Clouds, broker.Cloud(c))
	}
	return k
}

// strs gives the plain strings of names like State and Scope; never nil, since
// NULL is not the empty array.
func strs[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// orNull is nil for the zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
