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

// TestSuccess: success has a null error, and a task by its states. No engine can
// be configured yet, so the form is asked of the function that gives it.
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
