package broker

import (
	"context"
	"io"
	"time"
)

// EngineKind names a kind of reconstruction engine.
type EngineKind string

// The kinds.
const (
	EngineNodeODM EngineKind = "nodeodm"
	EngineWebhook EngineKind = "webhook"
)

// Engine runs reconstructions, outside of this program. Its errors say what to do
// about them: CodeUnavailable (also CodeTooManyRequests) that the engine is away for
// now; CodeNotFound that it has the run no more, which is sent again once; every other
// code that trying again would not help. Their messages are shown to the owner.
type Engine interface {
	Kind() EngineKind
	// Send hands a run over. Sending one that the engine has already is no error: the
	// program may have been killed before it could note that it was sent.
	Send(ctx context.Context, run Run) error
	// Status asks where a run stands. An engine that reports by itself answers
	// RunReports.
	Status(ctx context.Context, runID string) (RunStatus, error)
	// Cancel ends a run; one that has ended or is unknown is no error.
	Cancel(ctx context.Context, runID string) error
	// Results lists what a completed run made.
	Results(ctx context.Context, t Task) ([]RunResult, error)
}

// Run is a task as an engine gets it.
type Run struct {
	Task
	Project Project
	// Where the engine reads and reports; the links end with the task. They carry the
	// task's token and are secret.
	ZipURL      string // the task's images as one zip, without folders
	HookURL     string // a POST of anything to it says: look at the run
	ProgressURL string // with Token as the bearer
	FinishURL   string
	Token       string
	Images      RunImages
}

// RunImages gives the images of a run.
type RunImages interface {
	// Each calls use for each image, until it fails, in the order and by the names of
	// the zip at ZipURL. No two names are equal, in whatever case; they have no folders
	// and are made of letters, digits, points, underscores and hyphens, with the ending
	// of their true type.
	Each(ctx context.Context, use func(RunImage) error) error
}

// RunImage is one image of a run.
type RunImage struct {
	Name      string
	Type      string // MIME
	SizeBytes int64
	// Open reads the object as it was proven; CodeChanged when it is another by now.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Link reads it for ten minutes; "" where its bucket gives no links.
	Link func(ctx context.Context) (string, error)
}

// RunPhase is where a run stands at its engine.
type RunPhase string

// The phases.
const (
	RunQueued    RunPhase = "queued"
	RunRunning   RunPhase = "running"
	RunCompleted RunPhase = "completed"
	RunFailed    RunPhase = "failed"
	RunCanceled  RunPhase = "canceled"
	RunReports   RunPhase = "reports" // the engine tells by itself, see Tasks.Progress and Tasks.Finish
)

// RunStatus is an engine's answer.
type RunStatus struct {
	Phase    RunPhase
	Progress float64 // percent; negative: not told
	Cause    string  // of a failed run, for its owner
}

// RunResult is a file that a run made.
type RunResult struct {
	Name      string // [A-Za-z0-9._-]{1,100}
	Type      string // MIME
	SizeBytes int64  // negative: not known
	Open      func(ctx context.Context) (io.ReadCloser, error)
}

// Report is what an engine that reports by itself says at the end.
type Report struct {
	Failed  bool           `json:"failed,omitempty"`
	Message string         `json:"message,omitempty"` // why, for the owner
	Results []ReportResult `json:"results,omitempty"`
}

// ReportResult is a file that the broker is to copy.
type ReportResult struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// ResultPrefix is the beginning of the keys of a project's results; of "", of all.
// The broker alone writes there.
func ResultPrefix(projectID string) string {
	if projectID == "" {
		return resultPrefix
	}
	return resultPrefix + projectID + "/"
}

const resultPrefix = "results/"

// ResultKey is the key of one result of a task.
func ResultKey(projectID, taskID, name string) string {
	return ResultPrefix(projectID) + taskID + "/" + name
}

// Result is a file that a task made, as it lies in a bucket.
type Result struct {
	TaskID    string
	Name      string
	Bucket    string
	ETag      string
	SizeBytes int64
	CreatedAt time.Time
}
