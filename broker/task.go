package broker

import (
	"strings"
	"time"
)

// TaskState is where a run of a reconstruction stands.
type TaskState string

// The states of a task.
const (
	TaskPending    TaskState = "Pending"
	TaskProcessing TaskState = "Processing"
	TaskDone       TaskState = "Done"
	TaskFailed     TaskState = "Failed"
	TaskStopped    TaskState = "Stopped"
)

// Ended reports whether the task is over.
func (s TaskState) Ended() bool { return s == TaskDone || s == TaskFailed || s == TaskStopped }

// TaskStage is what is under way for a task that has not ended.
type TaskStage string

// The stages. A task that is Pending is waiting, one that is Processing goes
// through the others; "" when it has ended.
const (
	StageWaiting TaskStage = "waiting" // for verdicts
	StageSending TaskStage = "sending" // to the engine
	StageRunning TaskStage = "running" // there
	StageCopying TaskStage = "copying" // its results into a bucket
)

// The types of a task.
const (
	TaskNative = "Native"
	TaskDense  = "Dense"
)

// Task is one run of a reconstruction engine.
type Task struct {
	ID        string
	ProjectID string
	Type      string // Native or Dense, as the client asked
	State     TaskState
	Stage     TaskStage
	RunID     string // its name at the engine: a UUID
	Engine    EngineKind
	Expected  int     // fewer Ready images than this are refused; 0: any number
	Images    int     // that it works with; 0 while it waits
	Bytes     int64   // of these images
	Progress  float64 // percent; it never falls
	Fault     *TaskFault
	Cause     string   // why it failed, in words for its owner
	Report    *Report  // what an engine said that reports by itself; nil: nothing yet
	Results   []Result // of one that is Done, in the order of their names
	CreatedAt time.Time
	StartedAt *time.Time
	EndedAt   *time.Time
}

// TaskFault is why a reconstruction does not start, or failed. Number and name are
// stable.
type TaskFault struct {
	Number  int
	Name    string
	Message string // a sentence for a person
}

// The faults.
const (
	FaultImagesUnjudged = "IMAGES_UNJUDGED" // an image is Uploading or Uploaded
	FaultNoReadyImage   = "NO_READY_IMAGE"
	FaultTooFewReady    = "TOO_FEW_READY" // fewer than expected
	FaultAlreadyRunning = "ALREADY_RUNNING"
	FaultNoEngine       = "NO_ENGINE"
	FaultNotAllowed     = "NOT_ALLOWED"
	FaultEngineFailed   = "ENGINE_FAILED"
)

// AllTaskFaults lists the names by their numbers, which begin at 1.
func AllTaskFaults() []string {
	return []string{
		FaultImagesUnjudged, FaultNoReadyImage, FaultTooFewReady, FaultAlreadyRunning, FaultNoEngine, FaultNotAllowed, FaultEngineFailed,
	}
}

// NewTaskFault gives a fault its number.
func NewTaskFault(name, message string) *TaskFault {
	for i, n := range AllTaskFaults() {
		if n == name {
			return &TaskFault{Number: i + 1, Name: name, Message: message}
		}
	}
	return &TaskFault{Name: name, Message: message}
}

// Code is the fault's name among the codes of errors.
func (f TaskFault) Code() Code { return Code(strings.ToLower(f.Name)) }
