package reconstruct

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/hook"
)

// WebhookOptions say who is told to run a reconstruction.
type WebhookOptions struct {
	URL     string // http or https
	Secrets []hook.Secret
	Client  *fetch.Client // for the URL, and for those of results
	Now     func() time.Time
}

// Webhook is an engine that is told by signed webhooks what to do, and that reports
// by itself, with the token of the task. It may be used by many at once.
type Webhook struct{ o WebhookOptions }

var _ broker.Engine = (*Webhook)(nil)

// NewWebhook makes an engine of an address. CodeInvalid and CodeNotAllowed when it
// can't be one.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	if len(o.Secrets) == 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "a webhook engine needs a secret")
	}
	if err := o.Client.CheckPost(o.URL); err != nil {
		return nil, err
	}
	return &Webhook{o}, nil
}

// Kind is EngineWebhook.
func (*Webhook) Kind() broker.EngineKind { return broker.EngineWebhook }

// Send tells of a run. Its webhook-id is the run's, so that an engine recognises one
// that it has had already; a task that had to wait again is another run, with another
// token, and must not pass for the former.
func (w *Webhook) Send(ctx context.Context, run broker.Run) error {
	images, err := startImages(ctx, run)
	if err != nil {
		return err
	}
	at := run.CreatedAt
	if run.StartedAt != nil {
		at = *run.StartedAt
	}
	return w.post(ctx, run.RunID, broker.NoticeTaskStart, at, broker.StartNotice{
		Task: broker.NoticeRun{
			ID: run.ID, RunID: run.RunID, Type: run.Type, Images: run.Task.Images, Bytes: run.Bytes, CreatedAt: run.CreatedAt.UTC(),
		},
		Project: broker.NoticeProject{ID: run.Project.ID, Name: run.Project.Name},
		ZipURL:  run.ZipURL, Images: images, ProgressURL: run.ProgressURL, FinishURL: run.FinishURL, Token: run.Token,
	})
}

// startImages lists a run's images, each with a link; nil where there are many, or
// where a bucket gives no links.
func startImages(ctx context.Context, run broker.Run) ([]broker.NoticeRunImage, error) {
	if run.Task.Images > broker.MaxStartImages {
		return nil, nil
	}
	images := make([]broker.NoticeRunImage, 0, run.Task.Images)
	linked := true
	err := run.Images.Each(ctx, func(img broker.RunImage) error {
		if !linked || len(images) == broker.MaxStartImages {
			linked = false
			return nil
		}
		link, err := img.Link(ctx)
		linked = link != ""
		images = append(images, broker.NoticeRunImage{Name: img.Name, Type: img.Type, Size: img.SizeBytes, URL: link})
		return err
	})
	if err != nil || !linked {
		return nil, err
	}
	return images, nil
}

// Status is always that the engine reports by itself.
func (*Webhook) Status(context.Context, string) (broker.RunStatus, error) {
	return broker.RunStatus{Phase: broker.RunReports, Progress: -1}, nil
}

// Cancel tells the engine to give a run up. An engine that says that it has none, or
// none any more, has none to give up.
func (w *Webhook) Cancel(ctx context.Context, runID string) error {
	err := w.post(ctx, "stop_"+runID, broker.NoticeTaskStop, w.o.Now(), broker.StopNotice{RunID: runID})
	var refused *refusal
	if errors.As(err, &refused) && (refused.status == 404 || refused.status == 410 || refused.status == 409) {
		return nil
	}
	return err
}

// Results are those that the engine reported, read from the URLs that it named.
func (w *Webhook) Results(_ context.Context, t broker.Task) ([]broker.RunResult, error) {
	if t.Report == nil {
		return nil, broker.Errorf(broker.CodeInvalid, "the engine has reported no results")
	}
	results := make([]broker.RunResult, len(t.Report.Results))
	for i, r := range t.Report.Results {
		results[i] = broker.RunResult{
			Name: r.Name, SizeBytes: -1,
			Open: func(ctx context.Context) (io.ReadCloser, error) {
				resp, err := w.o.Client.Get(ctx, r.URL)
				if err != nil {
					return nil, awayUnlessRefused(err)
				}
				return resp.Body, nil
			},
		}
	}
	return results, nil
}

// refusal keeps the status of an answer beside its error.
type refusal struct {
	error
	status int
}

func (r *refusal) Unwrap() error { return r.error }

// post sends one signed message of what happened at that time.
func (w *Webhook) post(ctx context.Context, id, kind string, at time.Time, data any) error {
	body, err := json.Marshal(broker.Notice[any]{Type: kind, Timestamp: at.UTC(), Data: data})
	if err != nil {
		return err
	}
	header := hook.Sign(id, w.o.Now(), body, w.o.Secrets)
	header.Set("Content-Type", "application/json")
	answer, err := w.o.Client.Post(ctx, w.o.URL, header, body)
	switch {
	case err != nil:
		return awayUnlessRefused(err)
	case answer.OK():
		return nil
	}
	err = fetch.Refused(w.o.URL, answer)
	if broker.CodeOf(err) == broker.CodeNotFound { // it is no word about a run
		err = broker.Errorf(broker.CodeInvalid, "%s answered %d to a task", fetch.Host(w.o.URL), answer.Status)
	}
	return &refusal{err, answer.Status}
}

// awayUnlessRefused makes of a host that is not found, or whose certificate is no good,
// one that is away: an operator can put that right while the task waits. What must
// not be dialed never may.
func awayUnlessRefused(err error) error {
	var known *broker.Error
	if errors.As(err, &known) && (known.Code == broker.CodeNotFound || known.Code == broker.CodeInvalid) {
		return &broker.Error{Code: broker.CodeUnavailable, Msg: known.Msg, Err: err}
	}
	return err
}
