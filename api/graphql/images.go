package graphql

import (
	"context"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/graphql/schema"
	"github.com/uploadbroker/uploadbroker/broker"
)

// asImage gives an image its form.
func asImage(img broker.Image) *schema.ProjectImage {
	grounded := false
	out := &schema.ProjectImage{
		ID: img.ID, State: schema.ImageState(img.State), Name: img.Name, Filename: img.Filename,
		Grounded: &grounded, Record: img,
	}
	digest := img.SHA1
	if digest.IsZero() {
		digest = img.ProvenSHA1
	}
	if !digest.IsZero() {
		hex := digest.String()
		out.Checksum = &hex
	}
	for _, reason := range img.Reasons {
		out.Error = append(out.Error, reason.String())
	}
	return out
}

type projectImage struct{ *Face }

// URL links to a Ready image; only a few buckets are asked at once.
func (r projectImage) URL(ctx context.Context, img *schema.ProjectImage) (*string, error) {
	if img.Record.State != broker.StateReady {
		return nil, nil
	}
	by, err := member(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case r.linking <- struct{}{}:
		defer func() { <-r.linking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	url, err := r.Images.Link(ctx, by, img.Record)
	if err != nil || url == "" {
		return nil, err
	}
	url = api.Absolute(ctx, url)
	return &url, nil
}
