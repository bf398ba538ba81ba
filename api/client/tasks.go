package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The states of a task. Done, Failed and Stopped are its ends.
const (
	TaskPending    = "Pending"    // it waits for verdicts
	TaskProcessing = "Processing" // it is at the engine
	TaskDone       = "Done"       // its results are there
	TaskFailed     = "Failed"     // Fault and Cause say why
	TaskStopped    = "Stopped"
)

// Fault is a coded error of a reconstruction. Number and Name are stable.
type Fault struct {
	Number int    `json:"number"`
	Name   string `json:"name"` // IMAGES_UNJUDGED, NO_READY_IMAGE and so on
}

// Task is one run of a reconstruction engine.
type Task struct {
	ID        string       `json:"id"`
	ProjectID string       `json:"project_id"`
	RunID     string       `json:"run_id"` // its name at the engine
	Type      string       `json:"type"`   // Native or Dense
	State     string       `json:"state"`
	Stage     string       `json:"stage,omitempty"` // waiting, sending, running, copying; "" when it has ended
	Progress  float64      `json:"progress"`        // percent
	Images    int          `json:"images"`          // that it works with; 0 while it waits
	Bytes     int64        `json:"bytes"`           // of these images
	Expected  int          `json:"expected"`
	Engine    string       `json:"engine"`
	Fault     *Fault       `json:"fault,omitempty"`
	Cause     string       `json:"cause,omitempty"`
	CreatedAt time.Time    `json:"created_at"`
	StartedAt *time.Time   `json:"started_at,omitempty"`
	EndedAt   *time.Time   `json:"ended_at,omitempty"`
	Results   []TaskResult `json:"results"`
}

// TaskResult is a file that a task made.
type TaskResult struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
	URL  string `json:"url"`  // leads to a link that reads it; needs the key
}

// Ended reports whether nothing more is to be expected of the task.
func (t Task) Ended() bool {
	return t.State == TaskDone || t.State == TaskFailed || t.State == TaskStopped
}

// TaskOptions go with a start.
type TaskOptions struct {
	Type     string // Native or Dense; "": Native
	Expected int    // don't start with fewer Ready images; 0: with any number
	Settled  bool   // start when every image that was begun is judged, instead of now
}

// TaskPage is a part of a list of tasks.
type TaskPage struct {
	Tasks      []Task `json:"tasks"`
	NextCursor string `json:"next_cursor"` // "": this is the last page
}

// StartTask starts a reconstruction. What keeps it from starting is an *Error whose
// Fault is set. With Settled it is recorded and safe to repeat: the same options give
// the same task as long as it waits.
func (c *Client) StartTask(ctx context.Context, pid string, o TaskOptions) (Task, error) {
	in := struct {
		Type     string `json:"type,omitempty"`
		Expected int    `json:"expected,omitempty"`
		When     string `json:"when,omitempty"`
	}{Type: o.Type, Expected: o.Expected}
	if o.Settled {
		in.When = "settled"
	}
	var t Task
	err := c.do(ctx, call{method: http.MethodPost, path: projectPath(pid) + "/tasks", in: in, out: &t, once: !o.Settled})
	return t, err
}

// ProjectTasks lists a project's tasks, newest first.
func (c *Client) ProjectTasks(ctx context.Context, pid string, page Page) (TaskPage, error) {
	var out TaskPage
	err := c.do(ctx, call{method: http.MethodGet, path: projectPath(pid) + "/tasks", query: page.values(), out: &out})
	return out, err
}

// Tasks lists the tasks of all of the caller's projects, newest first; with a prefix,
// those whose id begins so.
func (c *Client) Tasks(ctx context.Context, prefix string, page Page) (TaskPage, error) {
	v := page.values()
	if prefix != "" {
		v.Set("id", prefix)
	}
	var out TaskPage
	err := c.do(ctx, call{method: http.MethodGet, path: "/tasks", query: v, out: &out})
	return out, err
}

// Task gives one task.
func (c *Client) Task(ctx context.Context, id string) (Task, error) {
	var t Task
	err := c.do(ctx, call{method: http.MethodGet, path: taskPath(id), out: &t})
	return t, err
}

// StopTask stops a task, or takes back one that waits. One that has ended is answered
// as it is.
func (c *Client) StopTask(ctx context.Context, id string) (Task, error) {
	var t Task
	err := c.do(ctx, call{method: http.MethodPost, path: taskPath(id) + "/stop", out: &t})
	return t, err
}

// FindTask finds the one task whose id is this or begins so, in either case.
func (c *Client) FindTask(ctx context.Context, prefix string) (Task, error) {
	prefix = strings.ToUpper(strings.TrimSpace(prefix))
	if prefix == "" {
		return Task{}, &NoTaskError{}
	}
	page, err := c.Tasks(ctx, prefix, Page{Limit: 10})
	switch {
	case err != nil:
		return Task{}, err
	case len(page.Tasks) == 0:
		return Task{}, &NoTaskError{Query: prefix}
	case len(page.Tasks) > 1:
		return Task{}, &AmbiguousTaskError{Query: prefix, Candidates: page.Tasks}
	}
	return page.Tasks[0], nil
}

// NoTaskError says that no task of the caller's has this id.
type NoTaskError struct{ Query string }

func (e *NoTaskError) Error() string { return fmt.Sprintf("no reconstruction %q", e.Query) }

// AmbiguousTaskError says that a task's short id fits several.
type AmbiguousTaskError struct {
	Query      string
	Candidates []Task // not more than ten
}

func (e *AmbiguousTaskError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q fits several reconstructions:", e.Query)
	for _, t := range e.Candidates {
		fmt.Fprintf(&b, "\n  %s  %s", t.ID, t.State)
	}
	return b.String()
}

func taskPath(id string) string { return "/tasks/" + url.PathEscape(id) }
