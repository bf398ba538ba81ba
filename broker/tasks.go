package broker

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// NewTask is a task that is asked for.
type NewTask struct {
	ID        string
	ProjectID string
	Type      string
	Expected  int
	Engine    EngineKind
	RunID     string
	Token     string // what the engine shows
	Now       time.Time
}

// TaskGround is what decides whether a reconstruction may start.
type TaskGround struct {
	Active *Task // that has not ended; nil: none
	Counts Counts
	Begun  bool // an image was started, was brought otherwise, or expired; or the task had begun before
}

// TaskStore keeps tasks. Every change is a compare-and-set that writes the audit in
// the same transaction.
type TaskStore interface {
	projectFinder
	// TaskGround tells what stands in a project.
	TaskGround(ctx context.Context, projectID string) (TaskGround, error)
	// StartTask begins a task with the Ready images as they are at that moment; one
	// that waits becomes it. Where the ground does not allow it there is no task,
	// nothing has changed, and the ground tells why. CodeNotFound when the project
	// was removed meanwhile.
	StartTask(ctx context.Context, n NewTask, by Caller) (*Task, TaskGround, error)
	// PreStartTask makes a task that waits; where one has not ended, that one is
	// the answer, and made is false.
	PreStartTask(ctx context.Context, n NewTask, by Caller) (t Task, made bool, err error)
	// StopTask stops a task; one that has ended stays as it is.
	StopTask(ctx context.Context, id string, now time.Time, by Caller) (Task, error)
	// Task returns a task with its results. CodeNotFound.
	Task(ctx context.Context, id string) (Task, error)
	// ListTasks returns a project's tasks, newest first, after a page's id.
	ListTasks(ctx context.Context, projectID string, page Page) ([]Task, error)
	// ListTasksOf returns those of all of an owner's projects that are not removed,
	// newest first, whose id begins with prefix.
	ListTasksOf(ctx context.Context, ownerID, onlyProject, prefix string, page Page) ([]Task, error)
	// LatestTasks returns the newest task of each of these projects that has one;
	// with done, the newest that is Done.
	LatestTasks(ctx context.Context, projectIDs []string, done bool) (map[string]Task, error)
	// TaskToken returns what a task's engine shows. CodeNotFound.
	TaskToken(ctx context.Context, id string) (string, error)
	// TaskProgress raises the progress of a task that is Processing.
	TaskProgress(ctx context.Context, id string, percent float64) error
	// ReportTask notes what an engine that reports by itself says at the end: one
	// that failed fails the task, otherwise its results are copied. moved is false
	// when the task was not at its engine.
	ReportTask(ctx context.Context, id string, r Report, now time.Time) (moved bool, err error)
	// HintTask makes a task that is at its engine due to be asked about.
	HintTask(ctx context.Context, id string) error
}

// Tasks holds the rules of reconstructions, as callers and engines meet them. What
// runs them is package worker.
type Tasks struct {
	Store  TaskStore
	Engine Engine  // nil: none, every start ends with a fault
	Places *Places // for the links to results
	Log    *slog.Logger
	Now    func() time.Time
}

// StartOptions go with a start.
type StartOptions struct {
	Type     string // Native or Dense; "": Native
	Expected int    // refuse to start with fewer Ready images; 0: any number
}

// check fills in what is left out.
func (o *StartOptions) check() error {
	switch o.Type {
	case "":
		o.Type = TaskNative
	case TaskNative, TaskDense:
	default:
		return Errorf(CodeInvalid, "there is no reconstruction of type %.100q; it is Native or Dense", o.Type)
	}
	if o.Expected < 0 || o.Expected > math.MaxInt32 {
		return Errorf(CodeInvalid, "expected is %d; give the number of images, or leave it out", o.Expected)
	}
	return nil
}

// Start runs a reconstruction of the Ready images, or says why not: first what no
// image could help, then what the images lack, last what the installation lacks.
// One that waits (PreStart) becomes this one. An error is a call that could not be
// judged at all, such as an unknown project.
func (t *Tasks) Start(ctx context.Context, by Caller, projectID string, o StartOptions) (*Task, *TaskFault, error) {
	fault, err := t.begin(ctx, by, projectID, &o)
	if err != nil || fault != nil {
		return nil, fault, err
	}
	if t.Engine == nil {
		ground, err := t.Store.TaskGround(ctx, projectID)
		if err != nil {
			return nil, nil, err
		}
		if fault := ground.startFault(o.Expected); fault != nil {
			return nil, fault, nil
		}
		return nil, noEngine(), nil
	}
	task, ground, err := t.Store.StartTask(ctx, t.newTask(projectID, o), by)
	switch {
	case CodeOf(err) == CodeNotFound:
		return nil, nil, errNoProject(projectID)
	case err != nil || task != nil:
		return task, nil, err
	}
	if fault = ground.startFault(o.Expected); fault == nil {
		return nil, nil, Errorf(CodeConflict, "the project changed at this moment; start again")
	}
	return nil, fault, nil
}

// PreStart runs a reconstruction as soon as every started image is judged. Asked for
// again with the same options, it is the same task as long as it waits.
func (t *Tasks) PreStart(ctx context.Context, by Caller, projectID string, o StartOptions) (*Task, *TaskFault, error) {
	task, _, fault, err := t.PreStartNew(ctx, by, projectID, o)
	return task, fault, err
}

// PreStartNew is PreStart that also tells whether the task is a new one.
func (t *Tasks) PreStartNew(ctx context.Context, by Caller, projectID string, o StartOptions) (_ *Task, made bool, _ *TaskFault, _ error) {
	fault, err := t.begin(ctx, by, projectID, &o)
	if err != nil || fault != nil {
		return nil, false, fault, err
	}
	if t.Engine == nil {
		return nil, false, noEngine(), nil
	}
	task, made, err := t.Store.PreStartTask(ctx, t.newTask(projectID, o), by)
	switch {
	case CodeOf(err) == CodeNotFound:
		return nil, false, nil, errNoProject(projectID)
	case err != nil:
		return nil, false, nil, err
	case made:
		return &task, true, nil, nil
	case task.State == TaskPending && task.Type == o.Type && task.Expected == o.Expected:
		return &task, false, nil, nil
	case task.State == TaskPending:
		return nil, false, NewTaskFault(FaultAlreadyRunning, fmt.Sprintf(
			"the reconstruction %s waits already, of type %s and with %d images expected; stop it first, or start it now", task.ID, task.Type, task.Expected)), nil
	}
	return nil, false, alreadyRunning(task), nil
}

func (t *Tasks) newTask(projectID string, o StartOptions) NewTask {
	now := t.Now()
	return NewTask{
		ID: NewID(now), ProjectID: projectID, Type: o.Type, Expected: o.Expected, Engine: t.Engine.Kind(),
		RunID: NewRunID(), Token: NewTaskToken(), Now: now,
	}
}

// Stop ends the project's running or waiting reconstruction, and answers it; nil
// when there is none.
func (t *Tasks) Stop(ctx context.Context, by Caller, projectID string) (*Task, error) {
	if err := t.mayStart(ctx, by, projectID); err != nil {
		return nil, err
	}
	ground, err := t.Store.TaskGround(ctx, projectID)
	if err != nil || ground.Active == nil {
		return nil, err
	}
	task, err := t.Store.StopTask(ctx, ground.Active.ID, t.Now(), by)
	if err != nil {
		return nil, err
	}
	return &task, nil
}

// StopTask ends one task. One that has ended is answered as it is.
func (t *Tasks) StopTask(ctx context.Context, by Caller, id string) (Task, error) {
	if err := by.Need(ScopeUpload); err != nil {
		return Task{}, err
	}
	if _, err := t.find(ctx, by, id); err != nil {
		return Task{}, err
	}
	return t.Store.StopTask(ctx, id, t.Now(), by)
}

// begin checks a start as far as nothing but the caller, the project and the options
// decide it.
func (t *Tasks) begin(ctx context.Context, by Caller, projectID string, o *StartOptions) (*TaskFault, error) {
	err := t.mayStart(ctx, by, projectID)
	switch {
	case CodeOf(err) == CodeNotAllowed:
		return NewTaskFault(FaultNotAllowed, "this needs a key with the scope upload"), nil
	case err != nil:
		return nil, err
	}
	return nil, o.check()
}

// mayStart finds the project for a caller who may start and stop its reconstruction.
func (t *Tasks) mayStart(ctx context.Context, by Caller, projectID string) error {
	if err := by.Need(""); err != nil {
		return err
	}
	p, err := findProject(ctx, t.Store, by, projectID)
	if err != nil {
		return err
	}
	if err := by.Need(ScopeUpload); err != nil {
		return err
	}
	if p.Kind != KindRecon {
		return Errorf(CodeInvalid, "the project is of kind %s; only one of kind recon has images to reconstruct from", p.Kind)
	}
	return nil
}

// unjudged is how many images are still to be judged.
func (g TaskGround) unjudged() int { return g.Counts[StateUploading] + g.Counts[StateUploaded] }

// startFault says why nothing starts now; nil: something could.
func (g TaskGround) startFault(expected int) *TaskFault {
	switch ready := g.Counts[StateReady]; {
	case g.Active != nil && g.Active.State == TaskProcessing:
		return alreadyRunning(*g.Active)
	case g.unjudged() > 0:
		return NewTaskFault(FaultImagesUnjudged, fmt.Sprintf("%d images are still uploading or being judged; start when they are Ready or Invalid", g.unjudged()))
	case ready == 0:
		return NewTaskFault(FaultNoReadyImage, "no image is Ready; upload some first")
	case ready < expected:
		return NewTaskFault(FaultTooFewReady, fmt.Sprintf("%d images are Ready, %d were expected", ready, expected))
	}
	return nil
}

// Settled decides about a task that waits: it fires, it goes on waiting (neither), or
// it fails with a fault. It fires when every image that was started is judged. Images
// that are registered and were never started hold it up only where, without them,
// it had to fail: they may still come, or expire.
func (g TaskGround) Settled(expected int) (fire bool, fault *TaskFault) {
	if g.unjudged() > 0 || !g.Begun {
		return false, nil
	}
	ground := g
	ground.Active = nil
	fault = ground.startFault(expected)
	if fault != nil && g.Counts[StatePending] > 0 {
		return false, nil
	}
	return fault == nil, fault
}

func alreadyRunning(t Task) *TaskFault {
	return NewTaskFault(FaultAlreadyRunning, fmt.Sprintf("the reconstruction %s is running already; wait for it, or stop it", t.ID))
}

func noEngine() *TaskFault {
	return NewTaskFault(FaultNoEngine, "no reconstruction engine is configured here; ask the operator")
}
