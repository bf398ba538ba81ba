package rest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Task as the API tells it.
type Task struct {
	ID        string       `json:"id" doc:"26 characters." example:"01KAHS0A7J5W2D4E6F8G9H1K3M"`
	ProjectID string       `json:"project_id" doc:"The project whose images it works with." example:"01KAHQY5C9W3RV7ZB3N4D8M2XE"`
	RunID     string       `json:"run_id" doc:"Its name at the engine, a UUID. It changes should the task go back to waiting." example:"6f1c9a52-6f0e-4d3b-9d0e-6a4b1f0c2a77"`
	Type      string       `json:"type" enum:"Native,Dense" doc:"As it was asked for."`
	State     string       `json:"state" enum:"Pending,Processing,Done,Failed,Stopped" doc:"Pending: it waits for verdicts. Processing: it is at the engine. Done: its results are copied. Failed: fault and cause say why."`
	Stage     string       `json:"stage,omitempty" enum:"waiting,sending,running,copying" doc:"What is under way; absent when it has ended."`
	Progress  float64      `json:"progress" doc:"Percent; it never falls." example:"42.5"`
	Images    int          `json:"images" doc:"How many images it works with: those that were Ready when it began; 0 while it waits." example:"410"`
	Bytes     int64        `json:"bytes" doc:"Of these images." example:"3298534883"`
	Expected  int          `json:"expected" doc:"With fewer Ready images it does not start; 0: with any number." example:"400"`
	Engine    string       `json:"engine" enum:"nodeodm,webhook" doc:"The kind of engine that runs it."`
	Fault     *api.Fault   `json:"fault,omitempty" doc:"The coded error of one that Failed."`
	Cause     string       `json:"cause,omitempty" doc:"Why it failed, or was stopped without being asked to, for a person."`
	CreatedAt time.Time    `json:"created_at" doc:"When it was asked for."`
	StartedAt *time.Time   `json:"started_at,omitempty" doc:"When it began with its images."`
	EndedAt   *time.Time   `json:"ended_at,omitempty" doc:"When it was Done, Failed or Stopped."`
	Results   []TaskResult `json:"results" nullable:"false" doc:"What came out of it, of one that is Done."`
}

// TaskResult is a file that a task made.
type TaskResult struct {
	Name string `json:"name" example:"all.zip"`
	Size int64  `json:"size" doc:"In bytes." example:"104857600"`
	URL  string `json:"url" doc:"Leads to a link that reads it for ten minutes. Needs a key with the scope read."`
}

// TaskPage is a part of the tasks of a project or an owner.
type TaskPage struct {
	Tasks      []*Task `json:"tasks" nullable:"false" doc:"Newest first."`
	NextCursor string  `json:"next_cursor" doc:"Empty on the last page."`
}

// TaskPath names a task.
type TaskPath struct {
	ID string `path:"id" doc:"The task's id." example:"01KAHS0A7J5W2D4E6F8G9H1K3M"`
}

// TaskReport is what an engine says when a run has ended.
type TaskReport struct {
	Failed  bool               `json:"failed,omitempty" doc:"The run came to nothing; message says why."`
	Message string             `json:"message,omitempty" maxLength:"20000" doc:"For the task's owner." example:"too few of the images overlap"`
	Results []TaskReportResult `json:"results,omitempty" nullable:"false" maxItems:"100" doc:"Files that the broker copies beside the images; when they are, the task is Done."`
}

// TaskReportResult is a file that the broker copies.
type TaskReportResult struct {
	Name string `json:"name" doc:"1 to 100 letters, digits, points, underscores and hyphens; no two are equal." example:"model.glb"`
	URL  string `json:"url" doc:"Answers a GET with the file, for as long as the copy takes." example:"https://engine.example.com/out/model.glb?signature=…"`
}

// EngineCall is a call of an engine, who shows the task's token.
type EngineCall struct {
	TaskPath
	Authorization string `header:"Authorization" doc:"Bearer and the task's token, as the engine got it."`
}

func (c EngineCall) token() string {
	scheme, token, _ := strings.Cut(c.Authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

type taskBody struct{ Body *Task }

const aboutFaults = "What keeps it from starting is told by a code and by `fault`, its number and name: " +
	"`images_unjudged` (1), `no_ready_image` (2), `too_few_ready` (3), `already_running` (4), `no_engine` (5), `not_allowed` (6)."

func (f *face) mountTasks() {
	type newTask struct {
		ProjectPath
		Body *struct {
			Type     string `json:"type,omitempty" enum:"Native,Dense" default:"Native" doc:"What is to be made."`
			Expected int    `json:"expected,omitempty" minimum:"0" maximum:"2147483647" doc:"Don't start with fewer Ready images than this." example:"400"`
			When     string `json:"when,omitempty" enum:"now,settled" default:"now" doc:"now: with the images that are Ready now. settled: as soon as every image that was started is judged, with those that are Ready then."`
		} `required:"false"`
	}
	type startedTask struct {
		Status int
		Body   *Task
	}
	add(f, huma.Operation{
		OperationID: "startTask", Method: http.MethodPost, Path: "/v1/projects/{pid}/tasks", Tags: []string{"tasks"},
		Summary: "Start a reconstruction", DefaultStatus: http.StatusCreated,
		Description: "Now, or as soon as the images are judged: then it is recorded, survives restarts and begins once. " +
			"To ask for the same again answers the same task, with 200. Starting now makes one that waits begin. " + aboutFaults,
		Metadata: map[string]any{faultKey: true},
	}, broker.ScopeUpload, func(ctx context.Context, by broker.Caller, in *newTask) (*startedTask, error) {
		var o broker.StartOptions
		settled := false
		if in.Body != nil {
			o = broker.StartOptions{Type: in.Body.Type, Expected: in.Body.Expected}
			settled = in.Body.When == "settled"
		}
		out := &startedTask{Status: http.StatusCreated}
		var t *broker.Task
		var fault *broker.TaskFault
		var err error
		if settled {
			var made bool
			if t, made, fault, err = f.Tasks.PreStartNew(ctx, by, in.PID, o); !made {
				out.Status = http.StatusOK
			}
		} else {
			t, fault, err = f.Tasks.Start(ctx, by, in.PID, o)
		}
		switch {
		case err != nil:
			return nil, err
		case fault != nil:
			return nil, faultProblem(fault)
		}
		out.Body = task(ctx, *t)
		return out, nil
	})

	type tasksBody struct{ Body TaskPage }
	pageOf := func(ctx context.Context, paging Paging, list []broker.Task) *tasksBody {
		out := &tasksBody{}
		list, out.Body.NextCursor = cut(paging, list, func(t broker.Task) string { return t.ID })
		out.Body.Tasks = make([]*Task, len(list))
		for i, t := range list {
			out.Body.Tasks[i] = task(ctx, t)
		}
		return out
	}
	type listTasks struct {
		ProjectPath
		Paging
	}
	add(f, huma.Operation{
		OperationID: "listTasks", Method: http.MethodGet, Path: "/v1/projects/{pid}/tasks", Tags: []string{"tasks"},
		Summary: "List a project's reconstructions",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *listTasks) (*tasksBody, error) {
		page, err := in.page()
		if err != nil {
			return nil, err
		}
		list, err := f.Tasks.List(ctx, by, in.PID, page)
		if err != nil {
			return nil, err
		}
		return pageOf(ctx, in.Paging, list), nil
	})

	type allTasks struct {
		Paging
		Prefix string `query:"id" doc:"Only those whose id begins so." maxLength:"26"`
	}
	add(f, huma.Operation{
		OperationID: "listAllTasks", Method: http.MethodGet, Path: "/v1/tasks", Tags: []string{"tasks"},
		Summary: "List the reconstructions of all your projects",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *allTasks) (*tasksBody, error) {
		page, err := in.page()
		if err != nil {
			return nil, err
		}
		list, err := f.Tasks.ListAll(ctx, by, in.Prefix, page)
		if err != nil {
			return nil, err
		}
		return pageOf(ctx, in.Paging, list), nil
	})

	add(f, huma.Operation{
		OperationID: "getTask", Method: http.MethodGet, Path: "/v1/tasks/{id}", Tags: []string{"tasks"},
		Summary: "One reconstruction, with its progress and its results",
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *TaskPath) (*taskBody, error) {
		t, err := f.Tasks.Get(ctx, by, in.ID)
		if err != nil {
			return nil, err
		}
		return &taskBody{task(ctx, t)}, nil
	})

	add(f, huma.Operation{
		OperationID: "stopTask", Method: http.MethodPost, Path: "/v1/tasks/{id}/stop", Tags: []string{"tasks"},
		Summary:     "Stop a reconstruction, or take back one that waits",
		Description: "The engine is told by and by. One that has ended is answered as it is.",
	}, broker.ScopeUpload, func(ctx context.Context, by broker.Caller, in *TaskPath) (*taskBody, error) {
		t, err := f.Tasks.StopTask(ctx, by, in.ID)
		if err != nil {
			return nil, err
		}
		return &taskBody{task(ctx, t)}, nil
	})

	type resultPath struct {
		TaskPath
		Name string `path:"name" doc:"The result's name." example:"all.zip" maxLength:"255"`
	}
	type link struct {
		Location     string `header:"Location" doc:"Reads the result for ten minutes; whoever knows it can."`
		CacheControl string `header:"Cache-Control"`
	}
	add(f, huma.Operation{
		OperationID: "taskResult", Method: http.MethodGet, Path: "/v1/tasks/{id}/results/{name}", Tags: []string{"tasks"},
		Summary: "A link to a result of a reconstruction", DefaultStatus: http.StatusFound,
	}, broker.ScopeRead, func(ctx context.Context, by broker.Caller, in *resultPath) (*link, error) {
		url, err := f.Tasks.Result(ctx, by, in.ID, in.Name)
		if err != nil {
			return nil, err
		}
		return &link{Location: api.Absolute(ctx, url), CacheControl: "private, no-store"}, nil
	})
	f.mountEngineCalls()
}

// mountEngineCalls adds what engines call, who show a task's token.
func (f *face) mountEngineCalls() {
	type progress struct {
		EngineCall
		Body struct {
			Progress float64 `json:"progress" minimum:"0" maximum:"100" doc:"Percent." example:"42.5"`
		}
	}
	addKeyless(f, huma.Operation{
		OperationID: "taskProgress", Method: http.MethodPost, Path: "/v1/tasks/{id}/progress", Tags: []string{"tasks"},
		Summary: "An engine tells how far a run is",
		Description: "For engines that were called by a webhook. What is less than was told before changes nothing. " +
			"When the task has ended, the answer is 409 with the code `conflict`: the run may be given up. Needs the task's token and no key.",
	}, func(ctx context.Context, in *progress) (*taskBody, error) {
		t, err := f.Tasks.Progress(ctx, in.ID, in.token(), in.Body.Progress)
		if err != nil {
			return nil, err
		}
		return &taskBody{task(ctx, t)}, nil
	})

	type finish struct {
		EngineCall
		Body TaskReport
	}
	addKeyless(f, huma.Operation{
		OperationID: "finishTask", Method: http.MethodPost, Path: "/v1/tasks/{id}/finish", Tags: []string{"tasks"},
		Summary: "An engine tells that a run has ended",
		Description: "For engines that were called by a webhook. To say it again changes nothing. " +
			"When the task was stopped, the answer is 409 with the code `conflict`. Needs the task's token and no key.",
	}, func(ctx context.Context, in *finish) (*taskBody, error) {
		report := broker.Report{Failed: in.Body.Failed, Message: in.Body.Message}
		for _, r := range in.Body.Results {
			report.Results = append(report.Results, broker.ReportResult(r))
		}
		t, err := f.Tasks.Finish(ctx, in.ID, in.token(), report)
		if err != nil {
			return nil, err
		}
		return &taskBody{task(ctx, t)}, nil
	})

	type hook struct {
		TaskPath
		Token string `path:"token" doc:"The task's token, as the engine got it."`
	}
	type heard struct {
		Body struct {
			OK bool `json:"ok" doc:"Always true."`
		}
	}
	addKeyless(f, huma.Operation{
		OperationID: "taskHook", Method: http.MethodPost, Path: "/v1/tasks/{id}/hook/{token}", Tags: []string{"tasks"},
		Summary:     "An engine tells that something happened to a run",
		Description: "Whatever the body says, the engine is asked. The answer is exactly 200. Needs the task's token and no key.",
	}, func(ctx context.Context, in *hook) (*heard, error) {
		if err := f.Tasks.Hook(ctx, in.ID, in.Token); err != nil {
			return nil, err
		}
		out := &heard{}
		out.Body.OK = true
		return out, nil
	})
}

// faultKey is where an operation's metadata says that a key without its scope is
// told a coded error.
const faultKey = "fault"

// faultProblem is a coded error as a problem document.
func faultProblem(fault *broker.TaskFault) error {
	p := api.NewProblem(broker.Errorf(fault.Code(), "%s", fault.Message))
	p.Fault = &api.Fault{Number: fault.Number, Name: fault.Name}
	return p
}

// TaskOf is a task as this API tells it, for others who tell of tasks.
func TaskOf(ctx context.Context, t broker.Task) *Task { return task(ctx, t) }

func task(ctx context.Context, t broker.Task) *Task {
	out := &Task{
		ID: t.ID, ProjectID: t.ProjectID, RunID: t.RunID, Type: t.Type, State: string(t.State), Stage: string(t.Stage), Progress: t.Progress,
		Images: t.Images, Bytes: t.Bytes, Expected: t.Expected, Engine: string(t.Engine), Cause: t.Cause,
		CreatedAt: t.CreatedAt, StartedAt: t.StartedAt, EndedAt: t.EndedAt, Results: make([]TaskResult, len(t.Results)),
	}
	if t.Fault != nil {
		out.Fault = &api.Fault{Number: t.Fault.Number, Name: t.Fault.Name}
	}
	for i, r := range t.Results {
		out.Results[i] = TaskResult{Name: r.Name, Size: r.SizeBytes, URL: api.Link(ctx, "/v1/tasks/"+t.ID+"/results/"+r.Name)}
	}
	return out
}
