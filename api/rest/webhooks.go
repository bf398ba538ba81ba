package rest

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Webhook is an endpoint as the API tells it.
type Webhook struct {
	ID        string   `json:"id" doc:"The same as long as its URL is." example:"5f8a3c0d92b1e647"`
	Host      string   `json:"host" doc:"Of its URL, which may be a secret." example:"example.com"`
	Events    []string `json:"events" nullable:"false" doc:"What it is told." example:"[\"project.settled\"]"`
	Waiting   int      `json:"waiting" doc:"Deliveries that wait for their first or a further try." example:"0"`
	Dead      int      `json:"dead" doc:"Deliveries that were given up. 'uploadbroker jobs list' shows them, 'uploadbroker jobs retry ID' replays one." example:"0"`
	LastCause string   `json:"last_cause,omitempty" doc:"Why a try failed last, of the deliveries that wait or are dead."`
}

// Webhooks are the endpoints of the configurations.
type Webhooks struct {
	Webhooks []Webhook `json:"webhooks" nullable:"false" doc:"By their hosts."`
}

func (f *face) mountWebhooks() {
	type webhooks struct{ Body Webhooks }
	add(f, huma.Operation{
		OperationID: "listWebhooks", Method: http.MethodGet, Path: "/v1/webhooks", Tags: []string{"webhooks"},
		Summary: "Who is told what happens, and how the deliveries go",
		Description: "The endpoints are those of the configuration files of all running processes; one that none of them has any more stays for a day, or, where none has any, for 30. A delivery is tried up to 11 times over three days, then it is dead; " +
			"an endpoint that answers 410 Gone gets no further try. What was delivered is not counted.",
	}, broker.ScopeAdmin, func(ctx context.Context, _ broker.Caller, _ *struct{}) (*webhooks, error) {
		out := &webhooks{Body: Webhooks{Webhooks: []Webhook{}}}
		if f.Webhooks == nil {
			return out, nil
		}
		all, err := f.Webhooks(ctx)
		for _, e := range all {
			out.Body.Webhooks = append(out.Body.Webhooks, Webhook{
				ID: e.ID, Host: e.Host, Events: e.Events, Waiting: e.Waiting, Dead: e.Dead, LastCause: e.LastCause,
			})
		}
		return out, err
	})
	f.describeWebhooks()
}

// describeWebhooks puts what this program sends into the description.
func (f *face) describeWebhooks() {
	d := f.api.OpenAPI()
	d.Webhooks = map[string]*huma.PathItem{}
	const after = " Answer any 2xx within 20 s to have had it; redirects are not followed. Other answers, and none, are tried again over three days, " +
		"or as Retry-After says; 410 ends it. What is tried again has the same webhook-id."
	told := func(name, id, summary, description string, data reflect.Type) {
		d.Webhooks[name] = &huma.PathItem{Post: &huma.Operation{
			OperationID: id, Summary: summary, Description: description, Tags: []string{"webhooks"},
			Security:   []map[string][]string{}, // it is signed instead
			Parameters: signedHeaders(),
			RequestBody: &huma.RequestBody{
				Required: true,
				Content:  map[string]*huma.MediaType{"application/json": {Schema: d.Components.Schemas.Schema(data, true, name)}},
			},
			Responses: map[string]*huma.Response{"2XX": {Description: "It was taken."}},
		}}
	}
	told(broker.NoticeImageReady, "onImageReady", "An image is Ready", "Its verdict is Ready, or its owner accepted it."+after,
		reflect.TypeFor[broker.Notice[broker.ImageNotice]]())
	told(broker.NoticeImageInvalid, "onImageInvalid", "An image is Invalid", "Its verdict is Invalid, or it never came."+after,
		reflect.TypeFor[broker.Notice[broker.ImageNotice]]())
	told(broker.NoticeProjectSettled, "onProjectSettled", "The last open image of a project got its verdict",
		"No image of the project is Pending, Uploading or Uploaded any more. Once images are registered again, it is told again after the last of these. "+
			"What was open again within a second may be told with these."+after,
		reflect.TypeFor[broker.Notice[broker.SettledNotice]]())
	told(broker.NoticeTaskChanged, "onTaskChanged", "A reconstruction's state changed", "Also when it was made."+after,
		reflect.TypeFor[broker.Notice[broker.TaskNotice]]())
	const engine = " It is sent to the webhook engine of the configuration alone."
	told(broker.NoticeTaskStart, "onTaskStart", "Run a reconstruction",
		"Read the images, POST the progress, and at the end POST what came out of it. Answer any 2xx to have taken it; the webhook-id is the run_id, so that a "+
			"repeat is the same run; a task that had to wait again begins as another run. The timestamp is when the run began. 408, 425, 429, most 5xx and no answer are tried again, every other answer fails the task."+engine,
		reflect.TypeFor[broker.Notice[broker.StartNotice]]())
	told(broker.NoticeTaskStop, "onTaskStop", "Give a reconstruction up",
		"Its owner stopped it. 2xx, 404, 409 and 410 are good answers. The webhook-id is stop_ and the run_id; the timestamp is that of the try."+engine, reflect.TypeFor[broker.Notice[broker.StopNotice]]())
}

// signedHeaders are those of Standard Webhooks.
func signedHeaders() []*huma.Param {
	header := func(name, description, example string) *huma.Param {
		return &huma.Param{
			Name: name, In: "header", Required: true, Description: description, Example: example, Schema: &huma.Schema{Type: huma.TypeString},
		}
	}
	return []*huma.Param{
		header("webhook-id", "The same at every try: have seen it, and it is a repeat.", "evt_8d6f2b1e-5c0a-4f57-9f0e-3b1f6a0c2d94"),
		header("webhook-timestamp", "When it was sent, in seconds of Unix time. Refuse what is more than five minutes off.", "1795000000"),
		header("webhook-signature", "For each secret of the endpoint `v1,` and a base64, with a space between two: that of the HMAC-SHA256 of webhook-id, webhook-timestamp and the body, "+
			"joined by points; its key is what follows whsec_, decoded from base64 (Standard Webhooks).",
			"v1,LwSjUO2b3Yw07GTKnQ2/cYpEskNmrelhFw9GRe+SGnQ="),
	}
}
