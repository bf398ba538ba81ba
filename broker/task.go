package broker

import (
	"context"
	"fmt"
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

// Task is one run of a reconstruction engine.
type Task struct {
	ID        string
	ProjectID string
	Type      string // Native or Dense, as the client asked
	State     TaskState
	CreatedAt time.Time
	StartedAt *time.Time
	EndedAt   *time.Time
}

// TaskFault is why a reconstruction does not start. Number and name are stable.
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

func taskFault(name, message string) *TaskFault {
	for i, n := range AllTaskFaults() {
		if n == name {
			return &TaskFault{Number: i + 1, Name: name, Message: message}
		}
	}
	return &TaskFault{Name: name, Message: message}
}

// TaskStore is what Tasks needs of a store.
type TaskStore interface {
	projectFinder
	CountImages(ctx context.Context, projectID string) (Counts, error)
}

// Tasks holds the rules of reconstructions. No engine can be configured yet, so
// that every start ends with a fault.
type Tasks struct {
	Store TaskStore
}

// StartOptions go with a start.
type StartOptions struct {
	Type     string // Native or Dense; "": Native
	Expected int    // refuse to start with fewer Ready images; 0: any number
}

// Start runs a reconstruction of the Ready images, or says why not. An error is a
// call that could not be judged at all, such as an unknown project.
func (t *Tasks) Start(ctx context.Context, by Caller, projectID string, o StartOptions) (*Task, *TaskFault, error) {
	counts, fault, err := t.begin(ctx, by, projectID)
	if err != nil || fault != nil {
		return nil, fault, err
	}
	unjudged, ready := counts[StateUploading]+counts[StateUploaded], counts[StateReady]
	switch {
	case unjudged > 0:
		fault = taskFault(FaultImagesUnjudged, fmt.Sprintf("%d images are still uploading or being judged; start when they are Ready or Invalid", unjudged))
	case ready == 0:
		fault = taskFault(FaultNoReadyImage, "no image is Ready; upload some first")
	case ready < o.Expected:
		fault = taskFault(FaultTooFewReady, fmt.Sprintf("%d images are Ready, %d were expected", ready, o.Expected))
	default:
		fault = noEngine()
	}
	return nil, fault, nil
}

// PreStart runs a reconstruction as soon as every started image is judged.
func (t *Tasks) PreStart(ctx context.Context, by Caller, projectID string, _ StartOptions) (*Task, *TaskFault, error) {
	_, fault, err := t.begin(ctx, by, projectID)
	if err == nil && fault == nil {
		fault = noEngine()
	}
	return nil, fault, err
}

// Stop ends the project's running or waiting reconstruction; nil when there is none.
func (t *Tasks) Stop(ctx context.Context, by Caller, projectID string) (*Task, error) {
	_, fault, err := t.begin(ctx, by, projectID)
	if err == nil && fault != nil {
		err = Errorf(CodeNotAllowed, "%s", fault.Message)
	}
	return nil, err
}

func noEngine() *TaskFault {
	return taskFault(FaultNoEngine, "no reconstruction engine is configured here; ask the operator")
}

// begin finds the project for a caller who may start its reconstruction.
func (t *Tasks) begin(ctx context.Context, by Caller, projectID string) (Counts, *TaskFault, error) {
	if err := by.Need(""); err != nil {
		return nil, nil, err
	}
	if _, err := findProject(ctx, t.Store, by, projectID); err != nil {
		return nil, nil, err
	}
	if err := by.Need(ScopeUpload); err != nil {
		return nil, taskFault(FaultNotAllowed, "this needs a key with the scope upload"), nil
	}
	counts, err := t.Store.CountImages(ctx, projectID)
	return counts, nil, err
}
