package graphql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestReconstruction: error.code is a number, a non-empty message means failure.
func TestReconstruction(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	start := func(call, options string) (code, message string) {
		r := f.ok(t, `mutation{`+call+`(id:"`+pid+`"`+options+`){error{code message} task{id taskType state startDate endDate queueing}}}`)
		if r.at(t, "data."+call+".task") != nil {
			t.Errorf("%s answers a task: %s", call, r.body)
		}
		return r.json(t, "data."+call+".error.code"), r.text(t, "data."+call+".error.message")
	}
	id, _ := f.newImage(t, pid, "a.jpg", sha1Of([]byte("a")))
	steps := []struct {
		what, call, options string
		fault               string
	}{
		{"nothing begun", "startReconstructionWithError", "", broker.FaultNoReadyImage},
		{"Uploading", "startReconstructionWithError", ",options:null", broker.FaultImagesUnjudged},
		{"Uploading", "preStartReconstruction", ",options:{taskType:Native}", broker.FaultNoEngine},
		{"Ready", "startReconstructionWithError", ",options:{expected:2,taskType:Dense}", broker.FaultTooFewReady},
		{"Ready", "startReconstructionWithError", ",options:{expected:1}", broker.FaultNoEngine},
	}
	for _, s := range steps {
		switch {
		case s.what == "Uploading":
			f.ok(t, `mutation{startImageUpload(id:"`+id+`"){id}}`)
		case s.what == "Ready" && f.state(t, pid, id) != "Ready":
			f.judge(t, id)
		}
		code, message := start(s.call, s.options)
		want := 0
		for i, name := range broker.AllTaskFaults() {
			if name == s.fault {
				want = i + 1
			}
		}
		if code != fmt.Sprint(want) || message == "" {
			t.Errorf("%s, %s: %s %q, want %d", s.what, s.call, code, message, want)
		}
	}
	if r := f.ok(t, `mutation{stopReconstruction(id:"`+pid+`"){id state}}`); r.at(t, "data.stopReconstruction") != nil {
		t.Errorf("nothing ran and was stopped: %s", r.body)
	}
	unknown := broker.NewID(time.Now())
	for _, call := range []string{"startReconstructionWithError(id:%q){error{code}}", "preStartReconstruction(id:%q){error{code}}", "stopReconstruction(id:%q){id}"} {
		f.refused(t, broker.CodeNotFound, `mutation{`+fmt.Sprintf(call, unknown)+`}`)
	}
	f.refused(t, broker.CodeInvalid, `mutation{startReconstructionWithError(id:"`+pid+`",options:{expected:-1}){error{code}}}`)
	_, read := f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}})
	r := f.ask(t, read, `mutation{startReconstructionWithError(id:"`+pid+`"){error{code message}}}`)
	if r.json(t, "data.startReconstructionWithError.error.code") != "6" {
		t.Errorf("a key that may not: %s", r.body)
	}
}

// TestSuccess: success has a null error, and a task by its states.
func TestSuccess(t *testing.T) {
	began := time.Date(2026, 3, 4, 5, 6, 7, 890, time.FixedZone("", 3600))
	task := asTask(&broker.Task{ID: "T", Type: "Native", State: broker.TaskProcessing, StartedAt: &began})
	if task.ID != "T" || !task.TaskType.IsValid() || !task.State.IsValid() || task.StartDate != &began || task.EndDate != nil {
		t.Errorf("%+v", task)
	}
	for _, s := range []broker.TaskState{broker.TaskPending, broker.TaskProcessing, broker.TaskDone, broker.TaskFailed, broker.TaskStopped} {
		if got := asTask(&broker.Task{Type: "Dense", State: s}); !got.State.IsValid() {
			t.Errorf("clients know no state %s", s)
		}
	}
	if asTask(nil) != nil {
		t.Error("no task is one")
	}
}

// someEngine is an engine that nobody calls.
type someEngine struct{ broker.Engine }

func (someEngine) Kind() broker.EngineKind { return broker.EngineNodeODM }

// TestTasks goes through all that clients see of reconstructions, to the letter.
func TestTasks(t *testing.T) {
	f := open(t, func(s setup) {
		s.face.Tasks.Engine, s.face.Tasks.Places, s.face.Tasks.Now = someEngine{}, s.face.Images.Places, s.face.Images.Now
	})
	pid := f.newProject(t, "North face")
	const about = `taskState cloudPath{key} downloads{totalCount edges{node{state name size mtime link}}}`
	look := func() string { return f.ok(t, `{project(id:"`+pid+`"){`+about+`}}`).json(t, "data.project") }
	if got := look(); got != `{"cloudPath":null,"downloads":null,"taskState":null}` {
		t.Errorf("without a task: %s", got)
	}
	const told = `{error{code message} task{id taskType state startDate endDate queueing}}`
	pre := f.ok(t, `mutation{preStartReconstruction(id:"`+pid+`",options:{taskType:Dense}) `+told+`}`)
	id := pre.text(t, "data.preStartReconstruction.task.id")
	want := `{"error":null,"task":{"endDate":null,"id":"` + id + `","queueing":null,"startDate":null,"state":"Pending","taskType":"Dense"}}`
	if got := pre.json(t, "data.preStartReconstruction"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if again := f.ok(t, `mutation{preStartReconstruction(id:"`+pid+`",options:{taskType:Dense}) `+told+`}`).json(t, "data.preStartReconstruction"); again != want {
		t.Errorf("again: %s", again)
	}
	if got := look(); !strings.Contains(got, `"taskState":"Pending"`) {
		t.Errorf("%s", got)
	}
	image, _ := f.newImage(t, pid, "a.jpg", sha1Of([]byte("a")))
	f.judge(t, image)
	started := f.ok(t, `mutation{startReconstructionWithError(id:"`+pid+`",options:null) `+told+`}`)
	task := "data.startReconstructionWithError.task"
	if started.at(t, "data.startReconstructionWithError.error") != nil || started.text(t, task+".id") != id || started.text(t, task+".state") != "Processing" ||
		started.text(t, task+".taskType") != "Native" || started.at(t, task+".endDate") != nil {
		t.Errorf("%s", started.body)
	}
	if _, err := time.Parse(time.RFC3339, started.text(t, task+".startDate")); err != nil {
		t.Error(err)
	}
	for _, call := range []string{"startReconstructionWithError", "preStartReconstruction"} {
		r := f.ok(t, `mutation{`+call+`(id:"`+pid+`") `+told+`}`)
		if r.json(t, "data."+call+".error.code") != "4" || r.text(t, "data."+call+".error.message") == "" || r.at(t, "data."+call+".task") != nil {
			t.Errorf("%s", r.body)
		}
	}
	stopped := f.ok(t, `mutation{stopReconstruction(id:"`+pid+`"){id state endDate queueing}}`)
	if stopped.text(t, "data.stopReconstruction.id") != id || stopped.text(t, "data.stopReconstruction.state") != "Stopped" || stopped.text(t, "data.stopReconstruction.endDate") == "" {
		t.Errorf("%s", stopped.body)
	}
	if r := f.ok(t, `mutation{stopReconstruction(id:"`+pid+`"){id}}`); r.at(t, "data.stopReconstruction") != nil {
		t.Errorf("nothing ran and was stopped: %s", r.body)
	}

	// The newest results stay to be seen while another task runs.
	done := f.ok(t, `mutation{startReconstructionWithError(id:"`+pid+`"){task{id}}}`).text(t, task+".id")
	for _, sql := range []string{
		`UPDATE tasks SET state = 'Done', stage = '', ended_at = now(), next_at = NULL WHERE id = $1`,
		`INSERT INTO task_results VALUES ($1, 'all.zip', 'Local', 'e', 5000000000, '2026-03-04T05:06:07Z')`,
		`INSERT INTO task_results VALUES ($1, 'log.txt', 'Forgotten', 'e', 7, '2026-03-04T05:06:07Z')`,
	} {
		if _, err := f.store.Pool().Exec(t.Context(), sql, done); err != nil {
			t.Fatal(err)
		}
	}
	f.ok(t, `mutation{startReconstructionWithError(id:"`+pid+`"){task{id}}}`)
	for _, r := range []reply{
		f.ok(t, `{project(id:"`+pid+`"){`+about+`}}`), f.ok(t, `{search{projectID(id:"`+pid[:20]+`",limit:1){`+about+`}}}`),
	} {
		body := string(r.body)
		for _, part := range []string{
			`"taskState":"Processing"`, `"cloudPath":[{"key":"results/` + pid + `/` + done + `/"}]`, `"totalCount":2`,
			`{"state":"Ready","name":"all.zip","size":5000000000,"mtime":"2026-03-04T05:06:07Z","link":"` + f.URL + `/local-bucket/`,
			`"name":"log.txt","size":7,"mtime":"2026-03-04T05:06:07Z","link":null`,
		} {
			if !strings.Contains(body, part) {
				t.Errorf("%s lacks %s", body, part)
			}
		}
	}
	// A key that only uploads may ask for the state of what it made, and is told nothing.
	_, upload := f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload}})
	r := f.ask(t, upload, `mutation{createProject(name:"x"){id `+about+`}}`)
	if r.at(t, "data.createProject.taskState") != nil || strings.Contains(string(r.body), "errors") {
		t.Errorf("%s", r.body)
	}
	files, err := (&broker.Projects{Store: f.store, Now: time.Now}).Create(t.Context(), f.by, "f", broker.KindFiles)
	if err != nil {
		t.Fatal(err)
	}
	f.refused(t, broker.CodeInvalid, `mutation{startReconstructionWithError(id:"`+files.ID+`"){error{code}}}`)
}

// TestErrorCodeInfo: every code has its own words in every language.
func TestErrorCodeInfo(t *testing.T) {
	f := open(t)
	seen := map[string]string{}
	for _, code := range broker.AllTaskFaults() {
		for _, lang := range []string{"en", "zh_cn", "zh_tw"} {
			r := f.ask(t, "", `{support{errorCodeInfo(code:`+code+`,lang:`+lang+`){code description solution}}}`)
			if r.text(t, "data.support.errorCodeInfo.code") != code {
				t.Errorf("%s is told as %s", code, r.body)
			}
			for _, field := range []string{"description", "solution"} {
				words := r.text(t, "data.support.errorCodeInfo."+field)
				if was, twice := seen[words]; twice || words == "" {
					t.Errorf("%s %s %s has the words of %s: %q", code, lang, field, was, words)
				}
				seen[words] = code + " " + lang
				if isChinese := strings.ContainsFunc(words, func(r rune) bool { return r > 0x3000 }); isChinese == (lang == "en") {
					t.Errorf("%s in %s: %s", code, lang, words)
				}
			}
		}
	}
	for args, want := range map[string]string{"": "null", "(code:null)": "null", "(code:NO_ENGINE,lang:null)": `{"code":"NO_ENGINE"}`, "(code:NO_ENGINE)": `{"code":"NO_ENGINE"}`} {
		if got := f.ask(t, "", `{support{errorCodeInfo`+args+`{code}}}`).json(t, "data.support.errorCodeInfo"); got != want {
			t.Errorf("errorCodeInfo%s: %s", args, got)
		}
	}
}
