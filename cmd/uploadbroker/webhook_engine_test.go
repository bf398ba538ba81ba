package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// webhookEngine is a stand-in of an engine that is told by webhooks: it verifies
// what it is told, and works on a task once however often it is told of it. What it
// makes of a task tells which bytes came.
type webhookEngine struct {
	*hookReceiver
	results *httptest.Server

	mu     sync.Mutex
	ended  map[string]string // what came of a task
	failed bool              // its runs fail
	hold   chan struct{}     // closed: its runs may end
}

func newWebhookEngine(t testing.TB) *webhookEngine {
	t.Helper()
	e := &webhookEngine{hookReceiver: newHookReceiver(t, testSecret), ended: map[string]string{}, hold: make(chan struct{})}
	e.results = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "made of "+r.URL.Query().Get("of"))
	}))
	t.Cleanup(e.results.Close)
	return e
}

// run does a task as an engine would, and returns what came of it.
func (e *webhookEngine) run(m message) (string, error) {
	d := m.Data
	if m.ID != d.Task.RunID {
		return "", fmt.Errorf("the run %s is told under the id %s", d.Task.RunID, m.ID)
	}
	names, err := zipNames(d.ZipURL)
	if err != nil {
		return "", err
	}
	var listed []string
	for _, img := range d.Images {
		size, err := fetchSize(img.URL)
		if err != nil || size != img.Size {
			return "", fmt.Errorf("%s has %d bytes, %d are told: %w", img.Name, size, img.Size, err)
		}
		listed = append(listed, img.Name)
	}
	slices.Sort(names)
	slices.Sort(listed)
	if !slices.Equal(names, listed) || len(names) != d.Task.Images {
		return "", fmt.Errorf("the zip has %v, listed are %v, %d are told", names, listed, d.Task.Images)
	}
	if status, err := reportTo(d.ProgressURL, "wrong"+d.Token, `{"progress": 1}`); status != http.StatusUnauthorized {
		return "", fmt.Errorf("a wrong token is answered with %d, %w", status, err)
	}
	if status, err := reportTo(d.ProgressURL, d.Token, `{"progress": 42.5}`); status != http.StatusOK {
		return "", fmt.Errorf("progress is answered with %d, %w", status, err)
	}
	<-e.hold
	body := fmt.Sprintf(`{"results": [{"name": "model.txt", "url": "%s/?of=%s"}]}`, e.results.URL, strings.Join(names, ","))
	if e.failed {
		body = `{"failed": true, "message": "too few features\nin the sky"}`
	}
	for range 2 { // to say it again is no error
		if status, err := reportTo(d.FinishURL, d.Token, body); status != http.StatusOK {
			return "", fmt.Errorf("finish is answered with %d, %w", status, err)
		}
	}
	return strings.Join(names, ","), nil
}

// started waits for a task.start that nobody worked on, and runs it.
func (e *webhookEngine) started(t testing.TB, s *server) (task string, ended func() string) {
	t.Helper()
	var m message
	s.waitFor("the engine to be told", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, told := range e.got("task.start") {
			if _, known := e.ended[told.Data.Task.ID]; !known {
				m = told
				e.ended[told.Data.Task.ID] = ""
				return true
			}
		}
		return false
	})
	done := make(chan string, 1)
	go func() {
		what, err := e.run(m)
		if err != nil {
			t.Error(err)
		}
		done <- what
	}()
	return m.Data.Task.ID, func() string { return <-done }
}

func zipNames(url string) (names []string, err error) {
	resp, err := http.Get(url) //nolint:noctx // ends with the server
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the zip: %d %.100s %w", resp.StatusCode, text, err)
	}
	z, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return nil, err
	}
	for _, f := range z.File {
		names = append(names, f.Name)
	}
	return names, nil
}

func fetchSize(url string) (int64, error) {
	resp, err := http.Get(url) //nolint:noctx // ends with the server
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("it is answered with %d", resp.StatusCode)
	}
	return io.Copy(io.Discard, resp.Body)
}

func reportTo(url, token, body string) (int, error) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body)) //nolint:noctx // ends with the server
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, fmt.Errorf("it says %s", text)
}

// toldTask is a task as REST tells it.
type toldTask struct {
	ID, State, Stage, Cause string
	Progress                float64
	Fault                   *struct{ Name string }
	Results                 []struct {
		Name, URL string
		Size      int64
	}
}

func (s *server) task(id string) (t toldTask) {
	s.t.Helper()
	if status := s.call(http.MethodGet, "/v1/tasks/"+id, nil, &t); status != http.StatusOK {
		s.t.Fatalf("the task: %d", status)
	}
	return t
}

// TestWebhookEngine: an engine that is told by webhooks gets the images, reports with
// its token, and what it made is copied; the broker may be killed meanwhile. Others
// are told of each change.
func TestWebhookEngine(t *testing.T) {
	t.Parallel()
	e := newWebhookEngine(t)
	listener := newHookReceiver(t, otherSecret)
	address := freeAddress(t)
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, fmt.Appendf(nil, `listen: %[1]s
public_url: http://%[1]s
fetch: {allow_networks: [127.0.0.0/8]}
reconstruction: {engine: webhook, url: "%[2]s/engine", secrets: [%[3]s]}
webhooks: [{url: "%[4]s", secrets: [%[5]s], events: [task.changed]}]
`, address, e.URL, testSecret, listener.URL, otherSecret))
	data := dataFolder(t)
	s := begin(t, data, nil, nil, "--config", path)
	s.waitReady()
	if code, out := s.client("upload", photos(t, 3), "--new", "towers"); code != 0 {
		t.Fatalf("upload ended with %d:\n%s", code, out)
	}
	pid := s.project("towers")
	start := func() toldTask {
		t.Helper()
		var task toldTask
		if status := s.call(http.MethodPost, "/v1/projects/"+pid+"/tasks", map[string]any{"type": "Native"}, &task); status != http.StatusCreated {
			t.Fatalf("it is started with %d: %+v", status, task)
		}
		return task
	}
	first := start()
	id, ended := e.started(t, s)
	if id != first.ID {
		t.Errorf("the engine is told of %s, started is %s", id, first.ID)
	}
	s.waitFor("the progress", func() bool { return s.task(id).Progress == 42.5 })
	key := s.key
	s.kill()
	s = begin(t, data, nil, nil, "--config", path)
	s.waitReady()
	s.key = key
	close(e.hold)
	what := ended()
	if strings.Count(what, ",") != 2 {
		t.Errorf("it was made of %s", what)
	}
	s.waitFor("the task to be Done", func() bool { return s.task(id).State == "Done" })
	done := s.task(id)
	if len(done.Results) != 1 || done.Results[0].Name != "model.txt" || done.Progress != 100 {
		t.Fatalf("%+v", done)
	}
	if text := s.download("/v1/tasks/" + id + "/results/model.txt"); text != "made of "+what {
		t.Errorf("the result is %q", text)
	}

	// One that fails says why; one that is stopped is told so.
	e.failed = true
	second := start()
	if _, ended := e.started(t, s); ended() == "" {
		t.Error("the second did not run")
	}
	s.waitFor("the second to fail", func() bool { return s.task(second.ID).State == "Failed" })
	if told := s.task(second.ID); told.Fault == nil || told.Fault.Name != "ENGINE_FAILED" || told.Cause != "too few features in the sky" {
		t.Errorf("%+v", told)
	}
	e.hold = make(chan struct{})
	third := start()
	s.waitFor("the engine to be told of the third", func() bool { return len(e.got("task.start")) == 3 })
	if status := s.call(http.MethodPost, "/v1/tasks/"+third.ID+"/stop", nil, nil); status != http.StatusOK {
		t.Errorf("it is stopped with %d", status)
	}
	s.waitFor("the engine to be told to stop", func() bool { return len(e.got("task.stop")) == 1 })
	if stop, start := e.got("task.stop")[0], e.lastStart(); stop.Data.RunID == "" || stop.Data.RunID != start.Data.Task.RunID {
		t.Errorf("it is to stop %q, started was %q", stop.Data.RunID, start.Data.Task.RunID)
	}
	if status, _ := reportTo(e.lastStart().Data.FinishURL, e.lastStart().Data.Token, `{"results": []}`); status != http.StatusConflict {
		t.Errorf("what was stopped is finished with %d", status)
	}
	s.waitFor("all changes to be told", func() bool {
		told := listener.got("task.changed")
		return len(told) == 9 && told[len(told)-1].Data.Task.State == "Stopped" && told[len(told)-1].Data.Sequence == int64(len(told))
	})
	var states []string
	for _, m := range listener.got("task.changed") {
		states = append(states, m.Data.Task.State)
	}
	if want := []string{"Pending", "Processing", "Done", "Pending", "Processing", "Failed", "Pending", "Processing", "Stopped"}; !slices.Equal(states, want) {
		t.Errorf("told is %v, want %v", states, want)
	}
	if text := s.out.String(); strings.Contains(text, e.lastStart().Data.Token) || strings.Contains(text, "whsec_") {
		t.Errorf("the log tells a secret:\n%s", text)
	}
}

// lastStart is the task.start that came last.
func (e *webhookEngine) lastStart() (last message) {
	for _, m := range e.got("task.start") {
		if m.Data.Task.ID > last.Data.Task.ID {
			last = m
		}
	}
	return last
}

// download follows a link to what lies in a bucket.
func (s *server) download(path string) string {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.url+path, nil) //nolint:noctx // ends with the server
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		var problem map[string]any
		_ = json.Unmarshal(text, &problem)
		s.t.Fatalf("%s: %d %v %v", path, resp.StatusCode, problem, err)
	}
	return string(text)
}
