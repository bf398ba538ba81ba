package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// ImagePath names an image.
type ImagePath struct {
	ProjectPath
	ID string `path:"id" doc:"The image's id." example:"01KAHQZ0R4M8C3T5V7W9X1Y2Z3"`
}

type imageBody struct{ Body *Image }

func (f *face) mountImages() {
	type listImages struct {
		ProjectPath
		Paging
		State string `query:"state" enum:"Pending,Uploading,Uploaded,Ready,Invalid,Removed" doc:"Only images of this state; without it all but the removed ones."`
	}
	type images struct{ Body ImagePage }
	add(f, huma.Operation{
		OperationID: "listImages", Method: http.MethodGet, Path: "/v1/projects/{pid}/images", Tags: []string{"images"},
		Summary: "List a project's images, all or of one state",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *listImages) (*images, error) {
		page, err := in.page()
		if err != nil {
			return nil, err
		}
		list, err := f.Images.List(ctx, by, in.PID, broker.State(in.State), page)
		if err != nil {
			return nil, err
		}
		out := &images{}
		list, out.Body.NextCursor = cut(in.Paging, list, func(i broker.Image) string { return i.ID })
		out.Body.Images = make([]*Image, len(list))
		for i, img := range list {
			out.Body.Images[i] = image(img)
		}
		return out, nil
	})

	type oneImage struct{ Body ImageWithHistory }
	add(f, huma.Operation{
		OperationID: "getImage", Method: http.MethodGet, Path: "/v1/projects/{pid}/images/{id}", Tags: []string{"images"},
		Summary: "One image with its facts, reasons and history",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *ImagePath) (*oneImage, error) {
		img, story, err := f.Images.Get(ctx, by, in.PID, in.ID)
		if err != nil {
			return nil, err
		}
		out := &oneImage{}
		out.Body.Image = image(img)
		out.Body.History = make([]HistoryEntry, len(story))
		for i, h := range story {
			out.Body.History[i] = HistoryEntry{At: h.At, Action: h.Action, Owner: h.Owner, Key: h.KeyID, Detail: h.Detail}
		}
		return out, nil
	})

	add(f, huma.Operation{
		OperationID: "removeImage", Method: http.MethodDelete, Path: "/v1/projects/{pid}/images/{id}", Tags: []string{"images"},
		Summary: "Remove an image", Description: "It can be undone for ten minutes; then its object is deleted.",
	}, broker.ScopeManage, func(ctx context.Context, by broker.Caller, in *ImagePath) (*imageBody, error) {
		img, err := f.Images.Remove(ctx, by, in.PID, in.ID)
		return &imageBody{image(img)}, err
	})

	add(f, huma.Operation{
		OperationID: "undoRemoveImage", Method: http.MethodPost, Path: "/v1/projects/{pid}/images/{id}/undo", Tags: []string{"images"},
		Summary: "Take a removal back, within ten minutes",
	}, broker.ScopeManage, func(ctx context.Context, by broker.Caller, in *ImagePath) (*imageBody, error) {
		img, err := f.Images.Undo(ctx, by, in.PID, in.ID)
		return &imageBody{image(img)}, err
	})

	add(f, huma.Operation{
		OperationID: "acceptImage", Method: http.MethodPost, Path: "/v1/projects/{pid}/images/{id}/accept", Tags: []string{"images"},
		Summary: "Keep a damaged image that can't be had again",
		Description: "One that is Invalid, corrupt or truncated, becomes Ready as it is, with `accepted` and its reasons. " +
			"Of any other image, and when its object was deleted, the answer is the code `conflict`. Accepting again answers the same. " +
			"Other bytes that come later are judged anew.",
	}, broker.ScopeManage, func(ctx context.Context, by broker.Caller, in *ImagePath) (*imageBody, error) {
		img, err := f.Images.Accept(ctx, by, in.PID, in.ID)
		return &imageBody{image(img)}, err
	})

	type link struct {
		Location     string `header:"Location" doc:"Reads the thumbnail for ten minutes; whoever knows it can."`
		CacheControl string `header:"Cache-Control" doc:"The answer may be kept for as long as the link surely works."`
	}
	add(f, huma.Operation{
		OperationID: "imageThumbnail", Method: http.MethodGet, Path: "/v1/projects/{pid}/images/{id}/thumbnail", Tags: []string{"images"},
		Summary: "A link to an image's thumbnail", DefaultStatus: http.StatusFound,
		Description: "An upright JPEG of at most 640 pixels on its longer side, of an image that is Ready. " +
			"facts.thumbnail tells of it; where there is none, the answer is 404 with the code `no_thumbnail`.",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *ImagePath) (*link, error) {
		url, err := f.Images.Thumbnail(ctx, by, in.PID, in.ID)
		return &link{Location: api.Absolute(ctx, url), CacheControl: "private, max-age=300"}, err
	})

	type file struct {
		ImagePath
		Invalid bool `query:"invalid" doc:"Of one that is Invalid instead, to look at it before it is accepted or removed. For its owner, as long as the object is there."`
	}
	add(f, huma.Operation{
		OperationID: "imageFile", Method: http.MethodGet, Path: "/v1/projects/{pid}/images/{id}/file", Tags: []string{"images"},
		Summary: "A link to an image itself", DefaultStatus: http.StatusFound,
		Description: "Of one that is Ready, under its user's name. When its object is no longer the proven one, or it is not Ready, the answer is the code `conflict`. " +
			"With `invalid`, of one that is Invalid and nothing else.",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *file) (*link, error) {
		read := f.Images.File
		if in.Invalid {
			read = f.Images.InvalidFile
		}
		url, err := read(ctx, by, in.PID, in.ID)
		return &link{Location: api.Absolute(ctx, url), CacheControl: "private, no-store"}, err
	})
}
