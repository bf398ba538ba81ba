package rest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// someEngine is an engine that nobody calls: the worker is not part of these tests.
type someEngine struct{ broker.Engine }

func (someEngine) Kind() broker.EngineKind { return broker.EngineWebhook }

// newTask starts a task beside the API; done brings it to its end, with a result.
func (f *fixture) newTask(t *testing.T, pid string, done bool) broker.Task {
	t.Helper()
	task, fault, err := f.tasks.Start(t.Context(), f.by, pid, broker.StartOptions{})
	if err != nil || fault != nil {
		t.Fatal(fault, err)
	}
	if !done {
		return *task
	}
	data := []byte("a result")
	obj, err := f.bucket.Put(t.Context(), broker.ResultKey(pid, task.ID, "all.zip"), bytes.NewReader(data), storage.PutOptions{SizeBytes: int64(len(data))})
	if err != nil {
		t.Fatal(err)
	}
	f.exec(t, `UPDATE tasks SET state = 'Done', stage = '', ended_at = now(), next_at = NULL, progress = 100 WHERE id = $1`, task.ID)
	f.exec(t, `INSERT INTO task_results VALUES ($1, 'all.zip', $2, $3, $4, now())`, task.ID, nearest, obj.ETag, len(data))
	return *task
}

// token is what a task's engine shows.
func (f *fixture) token(t *testing.T, id string) string {
	t.Helper()
	token, err := f.store.TaskToken(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestFaultsOfStart: each fault has its status, its code, its number and its name.
func TestFaultsOfStart(t *testing.T) {
	f := open(t)
	_, read := f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}})
	for name, c := range map[string]struct {
		prepare func(pid string)
		body    any
		key     string
		status  int
		code    broker.Code
		number  int
		fault   string
	}{
		"unjudged":       {func(pid string) { f.see(t, f.newImage(t, pid, "a")) }, nil, f.secret, 409, "images_unjudged", 1, broker.FaultImagesUnjudged},
		"none":           {func(string) {}, map[string]any{"when": "now"}, f.secret, 409, "no_ready_image", 2, broker.FaultNoReadyImage},
		"too few":        {func(pid string) { f.judge(t, f.newImage(t, pid, "a")) }, map[string]any{"expected": 2}, f.secret, 409, "too_few_ready", 3, broker.FaultTooFewReady},
		"running":        {func(pid string) { f.judge(t, f.newImage(t, pid, "a")); f.newTask(t, pid, false) }, nil, f.secret, 409, "already_running", 4, broker.FaultAlreadyRunning},
		"running, later": {func(pid string) { f.judge(t, f.newImage(t, pid, "a")); f.newTask(t, pid, false) }, map[string]any{"when": "settled"}, f.secret, 409, "already_running", 4, broker.FaultAlreadyRunning},
		"not allowed":    {func(string) {}, nil, read, 403, "not_allowed", 6, broker.FaultNotAllowed},
	} {
		pid := f.newProject(t)
		c.prepare(pid)
		a := f.call(t, c.key, http.MethodPost, "/v1/projects/"+pid+"/tasks", c.body)
		p := a.problem(t)
		if a.status != c.status || p.Code != c.code || p.Detail == "" || p.Fault == nil || *p.Fault != (api.Fault{Number: c.number, Name: c.fault}) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	engine := f.tasks.Engine
	f.tasks.Engine = nil
	pid := f.newProject(t)
	a := f.call(t, f.secret, http.MethodPost, "/v1/projects/"+pid+"/tasks", map[string]any{"when": "settled"})
	if p := a.problem(t); a.status != 409 || p.Code != "no_engine" || p.Fault.Number != 5 {
		t.Errorf("no engine: %d %s", a.status, a.body)
	}
	f.tasks.Engine = engine
	for name, body := range map[string]any{
		"another type": map[string]any{"type": "Sparse"}, "less than none": map[string]any{"expected": -1},
		"another time": map[string]any{"when": "later"}, "an unknown field": map[string]any{"typ": "Native"},
	} {
		if a := f.call(t, f.secret, http.MethodPost, "/v1/projects/"+pid+"/tasks", body); a.status != 422 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// TestTaskStory: recorded once, started, listed, stopped.
func TestTaskStory(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	path := "/v1/projects/" + pid + "/tasks"
	settled := map[string]any{"when": "settled", "type": "Dense", "expected": 1}
	var first, again Task
	a := f.call(t, f.secret, http.MethodPost, path, settled)
	a.into(t, &first)
	if a.status != 201 || first.State != "Pending" || first.Stage != "waiting" || first.Type != "Dense" || first.Expected != 1 || first.Engine != "webhook" ||
		first.ProjectID != pid || first.RunID == "" || first.Results == nil || first.StartedAt != nil {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a = f.call(t, f.secret, http.MethodPost, path, settled); a.status != 200 {
		t.Errorf("again: %d", a.status)
	}
	if a.into(t, &again); again.ID != first.ID {
		t.Errorf("again it is %s, not %s", again.ID, first.ID)
	}
	f.judge(t, f.newImage(t, pid, "a"))
	var started Task
	f.ok(t, http.MethodPost, path, nil, &started)
	if started.ID != first.ID || started.State != "Processing" || started.Images != 1 || started.StartedAt == nil {
		t.Errorf("%+v", started)
	}
	var stopped Task
	f.ok(t, http.MethodPost, "/v1/tasks/"+first.ID+"/stop", nil, &stopped)
	f.ok(t, http.MethodPost, "/v1/tasks/"+first.ID+"/stop", nil, &stopped)
	if stopped.State != "Stopped" || stopped.EndedAt == nil || stopped.Stage != "" {
		t.Errorf("%+v", stopped)
	}
	second := f.newTask(t, pid, true)
	var page TaskPage
	f.ok(t, http.MethodGet, path+"?limit=1", nil, &page)
	if len(page.Tasks) != 1 || page.Tasks[0].ID != second.ID || page.NextCursor != second.ID {
		t.Errorf("%+v", page)
	}
	f.ok(t, http.MethodGet, path+"?limit=1&cursor="+page.NextCursor, nil, &page)
	if len(page.Tasks) != 1 || page.Tasks[0].ID != first.ID || page.NextCursor != "" {
		t.Errorf("%+v", page)
	}
	f.ok(t, http.MethodGet, "/v1/tasks?id="+strings.ToLower(first.ID), nil, &page)
	if len(page.Tasks) != 1 || page.Tasks[0].ID != first.ID {
		t.Errorf("by the beginning of its id: %+v", page)
	}
	other := f.newProject(t)
	_, tied := f.newKey(t, f.owner, broker.NewKey{Scopes: broker.AllScopes(), ProjectID: other})
	_, _, bob := f.newOwner(t, "bob@example.com", broker.NewKey{Scopes: broker.AllScopes()})
	for name, key := range map[string]string{"a tied key": tied, "another owner": bob} {
		if a := f.call(t, key, http.MethodGet, "/v1/tasks", nil); a.status != 200 || strings.Contains(string(a.body), first.ID) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// TestTaskResult: the link reads the result, and only it.
func TestTaskResult(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	f.judge(t, f.newImage(t, pid, "a"))
	done := f.newTask(t, pid, true)
	var task Task
	f.ok(t, http.MethodGet, "/v1/tasks/"+done.ID, nil, &task)
	if len(task.Results) != 1 || task.Results[0].Name != "all.zip" || task.Results[0].Size != 8 || task.Results[0].URL != f.URL+"/v1/tasks/"+done.ID+"/results/all.zip" {
		t.Fatalf("%+v", task)
	}
	u, err := url.Parse(task.Results[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	a := f.call(t, f.secret, http.MethodGet, u.Path, nil)
	if a.status != http.StatusFound || a.header.Get("Location") == "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	resp, err := http.Get(a.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if data, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(data) != "a result" {
		t.Errorf("%d %q %v", resp.StatusCode, data, err)
	}
	for _, name := range []string{"other.zip", "..", "%2e%2e%2fall.zip", "all.zip%00"} {
		if a := f.call(t, f.secret, http.MethodGet, "/v1/tasks/"+done.ID+"/results/"+name, nil); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// TestEngineCalls: progress and finish take the task's token and nothing else, and
// repeat safely.
func TestEngineCalls(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	f.judge(t, f.newImage(t, pid, "a"))
	started := f.newTask(t, pid, false)
	token := f.token(t, started.ID)
	path := "/v1/tasks/" + started.ID
	finish := map[string]any{"results": []any{map[string]any{"name": "model.glb", "url": "https://engine.example/model.glb"}}}
	for name, key := range map[string]string{"an owner's key": f.secret, "nothing": "", "another token": strings.Repeat("x", 43)} {
		for call, body := range map[string]any{"/progress": map[string]any{"progress": 1}, "/finish": finish} {
			if a := f.call(t, key, http.MethodPost, path+call, body); a.status != http.StatusUnauthorized || a.problem(t).Code != broker.CodeUnauthenticated {
				t.Errorf("%s with %s: %d %s", call, name, a.status, a.body)
			}
		}
		if a := f.call(t, f.secret, http.MethodPost, path+"/hook/"+url.PathEscape("x"+key), nil); a.status != http.StatusUnauthorized {
			t.Errorf("the hook with %s: %d", name, a.status)
		}
	}
	if a := f.call(t, token, http.MethodGet, path, nil); a.status != http.StatusUnauthorized {
		t.Errorf("the token is a key: %d", a.status)
	}
	progress := func(percent any) (Task, int) {
		var out Task
		a := f.call(t, token, http.MethodPost, path+"/progress", map[string]any{"progress": percent})
		if a.status == 200 {
			a.into(t, &out)
		}
		return out, a.status
	}
	if got, _ := progress(42.5); got.Progress != 42.5 {
		t.Errorf("%+v", got)
	}
	if got, _ := progress(10); got.Progress != 42.5 {
		t.Errorf("it fell to %v", got.Progress)
	}
	for _, bad := range []any{-1, 101, "50", nil} {
		if _, status := progress(bad); status != 422 {
			t.Errorf("%v: %d", bad, status)
		}
	}
	for _, body := range []string{"", "{", `{"uuid":"x"}`, "a=b"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.URL+path+"/hook/"+token, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if a := f.send(t, r); a.status != 200 {
			t.Errorf("the hook with %q: %d %s", body, a.status, a.body)
		}
	}
	for name, body := range map[string]any{
		"a path":       map[string]any{"results": []any{map[string]any{"name": "../x", "url": "https://x/y"}}},
		"dots":         map[string]any{"results": []any{map[string]any{"name": "..", "url": "https://x/y"}}},
		"no URL":       map[string]any{"results": []any{map[string]any{"name": "x", "url": "file:///etc/passwd"}}},
		"equal names":  map[string]any{"results": []any{map[string]any{"name": "x", "url": "https://x/y"}, map[string]any{"name": "x", "url": "https://x/z"}}},
		"a long name":  map[string]any{"results": []any{map[string]any{"name": strings.Repeat("x", 101), "url": "https://x/y"}}},
		"another body": map[string]any{"result": 1},
	} {
		if a := f.call(t, token, http.MethodPost, path+"/finish", body); a.status != 422 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for range 2 {
		var got Task
		a := f.call(t, token, http.MethodPost, path+"/finish", finish)
		if a.into(t, &got); a.status != 200 || got.State != "Processing" || got.Stage != "copying" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	f.ok(t, http.MethodPost, path+"/stop", nil, nil)
	if _, status := progress(50); status != 409 {
		t.Errorf("progress of a stopped one: %d", status)
	}
	if a := f.call(t, token, http.MethodPost, path+"/finish", finish); a.status != 409 || a.problem(t).Code != broker.CodeConflict {
		t.Errorf("%d %s", a.status, a.body)
	}

	failed := f.newTask(t, pid, false)
	for i := range 2 {
		var got Task
		a := f.call(t, f.token(t, failed.ID), http.MethodPost, "/v1/tasks/"+failed.ID+"/finish", map[string]any{"failed": true, "message": fmt.Sprintf("too\x00 few %d\n", i)})
		if a.into(t, &got); a.status != 200 || got.State != "Failed" || got.Cause != "too  few 0" || got.Fault == nil || got.Fault.Number != 7 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	// One whose engine is asked can't be finished by its token, but its hook is heard.
	asked := f.newTask(t, pid, false)
	f.exec(t, `UPDATE tasks SET engine = 'nodeodm' WHERE id = $1`, asked.ID)
	token = f.token(t, asked.ID)
	if a := f.call(t, token, http.MethodPost, "/v1/tasks/"+asked.ID+"/finish", finish); a.status != 403 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := f.call(t, "", http.MethodPost, "/v1/tasks/"+asked.ID+"/hook/"+token, nil); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
