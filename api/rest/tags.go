package rest

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Tag as the API tells it.
type Tag struct {
	Name      string         `json:"name" doc:"Unique in the installation." example:"inbox"`
	ProjectID string         `json:"project_id" doc:"The project that it is: its files are that project's images." example:"01KAHQY5C9W3RV7ZB3N4D8M2XE"`
	CreatedAt time.Time      `json:"created_at" doc:"When it was made: by its first file, or at the start of the program."`
	Own       bool           `json:"own" doc:"Whether it is yours."`
	Anonymous bool           `json:"anonymous" doc:"Whether anybody may send files to it."`
	Public    bool           `json:"public" doc:"Whether anybody may read it."`
	Counts    map[string]int `json:"counts" doc:"Numbers of its files by state." example:"{\"Pending\":0,\"Uploading\":0,\"Uploaded\":1,\"Ready\":410,\"Invalid\":2}"`
	Bytes     int64          `json:"bytes" doc:"Of all its files." example:"1648230400"`
	Upload    string         `json:"upload" doc:"Where a file is sent: POST or PUT its bytes to this address, a slash and its name." example:"https://up.example.com/upload/inbox"`
	Zip       string         `json:"zip" doc:"All its files that are Ready as one zip." example:"https://up.example.com/tags/inbox.zip"`
}

// TagPage is a part of the tags.
type TagPage struct {
	Tags       []Tag  `json:"tags" nullable:"false" doc:"Newest first."`
	NextCursor string `json:"next_cursor" doc:"Empty on the last page."`
}

const aboutTags = "Without a key, or by one that may not read it, only what is public is there. "

func (f *face) mountTags() {
	if f.Tags == nil {
		return
	}
	type listTags struct{ Paging }
	type tagList struct{ Body TagPage }
	addKeyless(f, huma.Operation{
		OperationID: "listTags", Method: http.MethodGet, Path: "/v1/tags", Tags: []string{"tags"},
		Summary: "Your tags, and the public ones", Description: aboutTags,
	}, func(ctx context.Context, in *listTags) (*tagList, error) {
		by, err := api.Caller(ctx)
		if err != nil {
			return nil, err
		}
		page, err := in.page()
		if err != nil {
			return nil, err
		}
		list, err := f.Tags.List(ctx, by, page)
		if err != nil {
			return nil, err
		}
		out := &tagList{}
		list, out.Body.NextCursor = cut(in.Paging, list, func(t broker.Tag) string { return t.ID })
		out.Body.Tags = make([]Tag, len(list))
		for i, t := range list {
			out.Body.Tags[i] = tag(ctx, by, t)
		}
		return out, nil
	})

	type tagPath struct {
		Tag string `path:"tag" doc:"The tag's name." example:"inbox"`
	}
	type oneTag struct{ Body Tag }
	addKeyless(f, huma.Operation{
		OperationID: "getTag", Method: http.MethodGet, Path: "/v1/tags/{tag}", Tags: []string{"tags"},
		Summary: "One tag", Description: aboutTags,
	}, func(ctx context.Context, in *tagPath) (*oneTag, error) {
		by, err := api.Caller(ctx)
		if err != nil {
			return nil, err
		}
		name := in.Tag
		if plain, err := url.PathUnescape(name); err == nil { // a name has no % of its own
			name = plain
		}
		t, err := f.Tags.Get(ctx, by, api.TagName(name))
		if err != nil {
			return nil, err
		}
		return &oneTag{tag(ctx, by, t)}, nil
	})
	f.describeTagFiles()
}

func tag(ctx context.Context, by broker.Caller, t broker.Tag) Tag {
	name := url.PathEscape(t.Tag)
	return Tag{
		Name: t.Tag, ProjectID: t.ID, CreatedAt: t.CreatedAt, Own: by.MaySee(t.OwnerID, t.ID), Anonymous: t.Anonymous, Public: t.Public,
		Counts: countsByName(t.Counts), Bytes: t.Bytes,
		Upload: api.Absolute(ctx, "/upload/"+name), Zip: api.Absolute(ctx, "/tags/"+name+".zip"),
	}
}
