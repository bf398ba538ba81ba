package rest

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/api"
)

// SentFile answers a file that was sent to a tag.
type SentFile struct {
	ID   string `json:"id" example:"01KAHQY5C9W3RV7ZB3N4D8M2XE"`
	Name string `json:"name" doc:"As it was sent, made safe, with a number where the tag has another file of that name." example:"IMG_0001.JPG"`
	Size int64  `json:"size" doc:"Bytes." example:"4017223"`
	SHA1 string `json:"sha1" doc:"Of the bytes that came." example:"a9993e364706816aba3e25717850c26c9cd0d89d"`
	URL  string `json:"url" doc:"Where it is read once it is Ready." example:"https://up.example.com/tags/inbox/files/01KAHQY5C9W3RV7ZB3N4D8M2XE"`
}

// SentFiles answers a form with several files.
type SentFiles struct {
	Files []SentFileOrProblem `json:"files" nullable:"false" doc:"In the form's order."`
}

// SentFileOrProblem is one of them.
type SentFileOrProblem struct {
	ID      string       `json:"id,omitempty"`
	Name    string       `json:"name"`
	Size    int64        `json:"size,omitempty" doc:"Bytes."`
	SHA1    string       `json:"sha1,omitempty" doc:"Of the bytes that came."`
	URL     string       `json:"url,omitempty" doc:"Where it is read once it is Ready."`
	Problem *api.Problem `json:"problem,omitempty" doc:"Why it was not kept; then it has a name alone."`
}

const aboutSending = "The body is the file: of any type, with a `Content-Length` or in chunks, and without `Content-Encoding` or `Content-Range`. " +
	"Needs a key with the scope `upload`, but for tags that take files of anybody; a tag of yours comes to be with its first file. " +
	"However a tag's name is written, in capitals or not, it is one tag. The file is judged like any other. "

// describeTagFiles describes what package tags serves: it reads bodies that huma would
// hold whole.
func (f *face) describeTagFiles() {
	d := f.api.OpenAPI()
	schema := func(t reflect.Type) *huma.Schema { return d.Components.Schemas.Schema(t, true, t.Name()) }
	bytes := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	param := func(in, name, about, example string) *huma.Param {
		return &huma.Param{
			Name: name, In: in, Description: about, Required: in == "path", Example: example, Schema: &huma.Schema{Type: huma.TypeString},
		}
	}
	tag := param("path", "tag", "The tag's name.", "inbox")
	id := param("path", "id", "The file's id.", "01KAHQY5C9W3RV7ZB3N4D8M2XE")
	filename := param("path", "filename", "The file's name, folders and all: whatever follows the tag.", "IMG_0001.JPG")
	queryName := param("query", "filename", "The file's name, where the body is the file.", "IMG_0001.JPG")
	etag := param("query", "etag", "The ETag, without quotes, of the zip that is meant; 412 when it is another one by now.", "")
	etag.Example = nil

	one := map[string]*huma.MediaType{"application/json": {Schema: schema(reflect.TypeFor[SentFile]())}}
	several := map[string]*huma.MediaType{"application/json": {Schema: schema(reflect.TypeFor[SentFiles]())}}
	either := map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
		AnyOf: []*huma.Schema{one["application/json"].Schema, several["application/json"].Schema},
	}}}
	send := func(method, id, path, summary, about string, form bool, params ...*huma.Param) {
		op := &huma.Operation{
			OperationID: id, Method: method, Path: path, Tags: []string{"tags"}, Summary: summary, Description: strings.TrimSpace(aboutSending + about), Parameters: params,
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: bytes}}},
			Responses: map[string]*huma.Response{
				"201":     {Description: "It is kept.", Content: one},
				"200":     {Description: "The tag has these bytes already: the record of the file that has them.", Content: one},
				"default": f.problemResponse(),
			},
		}
		if form {
			op.RequestBody.Content[formType] = &huma.MediaType{Schema: &huma.Schema{
				Type: huma.TypeObject, AdditionalProperties: bytes, Description: "Each part that has a file name is a file.",
			}}
			op.Responses["201"].Content, op.Responses["200"].Content = either, either
			op.Responses["207"] = &huma.Response{Description: "Of several files of a form some were not kept.", Content: several}
		}
		d.AddOperation(op)
	}
	named, asForm := "/upload/{tag}/{filename}", "As a form it may be several files, each answered in a list."
	send(http.MethodPut, "putTagFile", named, "Send a file to a tag", "", false, tag, filename)
	send(http.MethodPost, "postTagFile", named, "Send a file to a tag", "", false, tag, filename)
	send(http.MethodPost, "postTagFiles", "/upload/{tag}", "Send a file to a tag, or a form of files", asForm, true, tag, queryName)
	send(http.MethodPut, "putTagFiles", "/upload/{tag}", "Send a file to a tag, or a form of files", asForm, true, tag, queryName)

	d.AddOperation(&huma.Operation{
		OperationID: "getTagFile", Method: http.MethodGet, Path: "/tags/{tag}/files/{id}", Tags: []string{"tags"}, Summary: "Read a file of a tag",
		Description: "Once it is Ready; 409 before. " + aboutReadingTags, Parameters: []*huma.Param{tag, id},
		Responses: map[string]*huma.Response{
			"302":     {Description: "A link to its bytes that works for ten minutes."},
			"200":     {Description: "The bytes, where its bucket gives no links.", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: bytes}}},
			"default": f.problemResponse(),
		},
	})
	zipped := zipResponses()
	zipped["200"].Headers["Content-Location"] = &huma.Param{
		Description: "The address of this zip alone, by its etag.", Schema: &huma.Schema{Type: huma.TypeString},
	}
	zipped["default"] = f.problemResponse()
	d.AddOperation(&huma.Operation{
		OperationID: "tagZip", Method: http.MethodGet, Path: "/tags/{tag}.zip", Tags: []string{"tags"}, Summary: "All files of a tag as one zip",
		Description: "Those that are Ready. " + aboutZips + "Who asks for a range without If-Range (curl, wget) shows by `?etag=` which zip he has a part of. " + aboutReadingTags,
		Parameters:  []*huma.Param{tag, etag}, Responses: zipped,
	})
}

const (
	formType         = "multipart/form-data"
	aboutReadingTags = "Needs a key with the scope `read`, but for tags that anybody may read."
)
