package reconstruct_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/hook"
	"github.com/uploadbroker/uploadbroker/broker/reconstruct"
)

// hookEngine is a stand-in of an engine that is told by webhooks: it verifies what
// comes and answers with a status.
type hookEngine struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	ids    []string
	last   map[string]any
}

func newHookEngine(t *testing.T) (*hookEngine, *reconstruct.Webhook) {
	t.Helper()
	e := &hookEngine{status: http.StatusAccepted}
	secret, err := hook.ParseSecret("whsec_YSBzZWNyZXQgZm9yIHRoZSB0ZXN0cyBvZiBlbmdpbmVz")
	if err != nil {
		t.Fatal(err)
	}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprint(w, "a cloud of points")
			return
		}
		body, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		defer e.mu.Unlock()
		id, err := hook.Verify(r.Header, body, time.Now(), secret)
		e.last = map[string]any{}
		if err != nil || json.Unmarshal(body, &e.last) != nil {
			t.Errorf("%s: %v", body, err)
		}
		e.ids = append(e.ids, id)
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(e.status)
	}))
	t.Cleanup(e.Close)
	engine, err := reconstruct.NewWebhook(reconstruct.WebhookOptions{
		URL: e.URL + "/tasks?SECRET", Secrets: []hook.Secret{secret}, Now: time.Now,
		Client: fetch.New(fetch.Options{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, engine
}

func (e *hookEngine) answer(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status = status
}

// hookImages are a run's images, with links or without.
type hookImages struct {
	n     int
	links bool
}

func (h hookImages) Each(_ context.Context, use func(broker.RunImage) error) error {
	for i := range h.n {
		img := broker.RunImage{Name: fmt.Sprintf("%d.jpg", i), Type: "image/jpeg", SizeBytes: 7}
		img.Link = func(context.Context) (string, error) {
			if !h.links {
				return "", nil
			}
			return "https://bucket.example/" + img.Name, nil
		}
		if err := use(img); err != nil {
			return err
		}
	}
	return nil
}

func hookRun(images hookImages) broker.Run {
	began := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	return broker.Run{
		Task:    broker.Task{ID: "01KAHR2M7D0V9X8K5T3Q6W1YBN", RunID: "6a4ff9a3-2f43-4a5e-a2cf-c7c1b5a6f3d0", Type: "Dense", Images: images.n, Bytes: int64(7 * images.n), StartedAt: &began},
		Project: broker.Project{ID: "01KAHQY5C9W3RV7ZB3N4D8M2XE", Name: "North"},
		ZipURL:  "https://up.example/zip", ProgressURL: "https://up.example/progress", FinishURL: "https://up.example/finish", Token: "bearer", Images: images,
	}
}

// TestWebhookSend: the engine is told all that it needs, and can tell repeats.
func TestWebhookSend(t *testing.T) {
	e, engine := newHookEngine(t)
	for name, c := range map[string]struct {
		images hookImages
		listed int
	}{
		"a few":         {hookImages{2, true}, 2},
		"as many as go": {hookImages{1000, true}, 1000},
		"too many":      {hookImages{1001, true}, 0},
		"without links": {hookImages{2, false}, 0},
	} {
		run := hookRun(c.images)
		for range 2 {
			if err := engine.Send(t.Context(), run); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		data, _ := e.last["data"].(map[string]any)
		task, _ := data["task"].(map[string]any)
		images, _ := data["images"].([]any)
		if e.last["type"] != "task.start" || e.last["timestamp"] != "2026-11-21T10:00:00Z" || data["zip_url"] != run.ZipURL || data["progress_url"] != run.ProgressURL || data["finish_url"] != run.FinishURL ||
			data["token"] != "bearer" || task["id"] != run.ID || task["run_id"] != run.RunID || task["type"] != "Dense" || task["images"] != float64(c.images.n) ||
			len(images) != c.listed {
			t.Errorf("%s: %d images, %.500s", name, len(images), fmt.Sprint(e.last))
		}
		if c.listed > 0 && fmt.Sprint(images[1]) != "map[name:1.jpg size:7 type:image/jpeg url:https://bucket.example/1.jpg]" {
			t.Errorf("%v", images[1])
		}
	}
	for _, id := range e.ids {
		if id != "6a4ff9a3-2f43-4a5e-a2cf-c7c1b5a6f3d0" {
			t.Errorf("a webhook-id %s", id)
		}
	}
	if s, err := engine.Status(t.Context(), "x"); s.Phase != broker.RunReports || err != nil || engine.Kind() != broker.EngineWebhook {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestWebhookAnswers: what may pass is told from what never will.
func TestWebhookAnswers(t *testing.T) {
	e, engine := newHookEngine(t)
	for status, want := range map[int]struct{ send, cancel broker.Code }{
		200: {"", ""}, 204: {"", ""},
		302: {broker.CodeInvalid, broker.CodeInvalid}, 308: {broker.CodeInvalid, broker.CodeInvalid},
		400: {broker.CodeInvalid, broker.CodeInvalid}, 401: {broker.CodeNotAllowed, broker.CodeNotAllowed},
		404: {broker.CodeInvalid, ""}, 409: {broker.CodeInvalid, ""}, 410: {broker.CodeInvalid, ""},
		408: {broker.CodeUnavailable, broker.CodeUnavailable}, 429: {broker.CodeUnavailable, broker.CodeUnavailable},
		500: {broker.CodeUnavailable, broker.CodeUnavailable}, 503: {broker.CodeUnavailable, broker.CodeUnavailable},
		501: {broker.CodeInvalid, broker.CodeInvalid},
	} {
		e.answer(status)
		sent := engine.Send(t.Context(), hookRun(hookImages{1, true}))
		canceled := engine.Cancel(t.Context(), "6a4ff9a3")
		if broker.CodeOf(sent) != want.send || broker.CodeOf(canceled) != want.cancel {
			t.Errorf("%d: sent %v, canceled %v", status, sent, canceled)
		}
		if sent != nil && (strings.Contains(sent.Error(), "SECRET") || !strings.Contains(sent.Error(), fmt.Sprint(status))) {
			t.Errorf("%d: it tells %v", status, sent)
		}
	}
	data, _ := e.last["data"].(map[string]any)
	if e.last["type"] != "task.stop" || data["run_id"] != "6a4ff9a3" || e.ids[len(e.ids)-1] != "stop_6a4ff9a3" {
		t.Errorf("%v %v", e.last, e.ids[len(e.ids)-1])
	}
	e.Close()
	if err := engine.Send(t.Context(), hookRun(hookImages{1, true})); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("an engine that is away: %v", err)
	}
}

func TestWebhookResults(t *testing.T) {
	e, engine := newHookEngine(t)
	if _, err := engine.Results(t.Context(), broker.Task{}); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("%v", err)
	}
	task := broker.Task{Report: &broker.Report{Results: []broker.ReportResult{
		{Name: "all.zip", URL: e.URL + "/all.zip"}, {Name: "metadata", URL: "http://169.254.169.254/SECRET"},
	}}}
	results, err := engine.Results(t.Context(), task)
	if err != nil || len(results) != 2 || results[0].Name != "all.zip" || results[0].SizeBytes >= 0 {
		t.Fatalf("%+v, %v", results, err)
	}
	body, err := results[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); string(text) != "a cloud of points" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := results[1].Open(t.Context()); broker.CodeOf(err) != broker.CodeNotAllowed || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("%v", err)
	}
}

func TestNewWebhookIsGuarded(t *testing.T) {
	secret, _ := hook.ParseSecret("whsec_YSBzZWNyZXQgZm9yIHRoZSB0ZXN0cyBvZiBlbmdpbmVz")
	o := reconstruct.WebhookOptions{URL: "http://127.0.0.1/x", Secrets: []hook.Secret{secret}, Client: fetch.New(fetch.Options{}), Now: time.Now}
	if _, err := reconstruct.NewWebhook(o); broker.CodeOf(err) != broker.CodeNotAllowed {
		t.Errorf("%v", err)
	}
	o.URL, o.Secrets = "https://a.example/x", nil
	if _, err := reconstruct.NewWebhook(o); broker.CodeOf(err) != broker.CodeInvalid {
		t.Errorf("%v", err)
	}
}
