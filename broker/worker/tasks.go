package worker

import (
	"context"
	"errors"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// The rhythm of reconstructions.
const (
	tasksEvery      = time.Second
	pollsAtOnce     = 8
	streamsAtOnce   = 4
	pollTime        = 2 * time.Minute // bounds a call that moves no images
	extendTaskEvery = 5 * time.Second // how soon a step learns that its task was stopped
	taskHold        = time.Minute     // as ClaimTasks gives it
	ripeAtOnce      = 200
	firstTaskPause  = time.Second // before a step that failed is tried again; it doubles
	maxTaskPause    = time.Minute
	untriedFor      = 5 * maxTaskPause // then it was us who were away
	defaultPoll     = 5 * time.Second
	defaultPatience = time.Hour
)

// driveTasks moves the tasks that wait, and begins the steps that are due of the
// others, as far as there is room. Each step is claimed, and does over what a killed
// process may have done: the engine knows the run by its name, results are written
// over.
func (w *Worker) driveTasks(ctx context.Context) error {
	if w.Engine == nil {
		return nil // see watchEngines
	}
	if err := w.settleTasks(ctx); err != nil {
		return err
	}
	for _, of := range []struct {
		rooms  *rooms
		stages []broker.TaskStage
	}{
		{w.polls, []broker.TaskStage{broker.StageRunning, ""}}, // "": the engine has to be told of its end
		{w.streams, []broker.TaskStage{broker.StageSending, broker.StageCopying}},
	} {
		room := of.rooms.free([]string{""})[""]
		if room == 0 {
			continue
		}
		due, err := w.Store.ClaimTasks(ctx, broker.NewID(w.Now()), w.Engine.Kind(), of.stages, room)
		if err != nil {
			return err
		}
		for _, t := range due {
			of.rooms.begin("", func() { w.runTask(ctx, t) })
		}
	}
	return nil
}

// settleTasks moves the tasks whose images are judged.
func (w *Worker) settleTasks(ctx context.Context) error {
	for {
		ripe, due, err := w.Store.RipeTasks(ctx, ripeAtOnce)
		if err != nil {
			return err
		}
		for _, id := range ripe {
			moved, err := w.Store.SettleTask(ctx, id, w.Engine.Kind(), w.Now())
			if err != nil {
				return err
			}
			if moved != postgres.MovedNot {
				w.Log.Info("a reconstruction waits no more", "task", id, "move", moved)
			}
		}
		if due < ripeAtOnce {
			return nil
		}
	}
}

// The ends of a step that are no error of its own.
var (
	errTaskLost  = errors.New("the task is another's, or has moved by another's hand")
	errTaskMoved = errors.New("the project was removed")
)

// runTask does one step of a task that was claimed, and lets it go.
func (w *Worker) runTask(ctx context.Context, t postgres.TaskWork) {
	began := w.Now()
	step, end := context.WithCancelCause(ctx)
	held := make(chan struct{})
	go func() {
		defer close(held)
		w.holdTask(step, end, t)
	}()
	err := w.lookAtTask(step, t)
	if err == nil {
		err = w.stepTask(step, t)
	}
	lost := context.Cause(step)
	end(nil)
	<-held

	// What is left to say is said also when the program ends.
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	switch {
	case lost != nil || ctx.Err() != nil || err == nil:
	default:
		err = w.taskFailed(rest, t, began, err)
		if err != nil {
			w.Log.Error("could not note what became of a reconstruction; it is tried again", "task", t.ID, "err", err)
		}
	}
	// Should this fail, the hold ends by itself.
	if err := w.Store.ReleaseTask(rest, t.ID, t.Holder); err != nil {
		w.Log.Debug("could not let a task go", "task", t.ID, "err", err)
	}
}

// lookAtTask makes sure that the task is still to be worked on.
func (w *Worker) lookAtTask(ctx context.Context, t postgres.TaskWork) error {
	held, stage, removed, err := w.Store.ExtendTask(ctx, t.ID, t.Holder)
	switch {
	case err != nil:
		return err
	case !held || stage != t.Stage:
		return errTaskLost
	case removed && t.Stage != "":
		if err := w.Store.StopRemovedTask(ctx, t.ID, w.Now()); err != nil {
			return err
		}
		return errTaskMoved
	}
	return nil
}

// holdTask keeps a task for as long as its step runs, and ends the step when the task
// was stopped, or can't be held any more.
func (w *Worker) holdTask(ctx context.Context, end context.CancelCauseFunc, t postgres.TaskWork) {
	good := time.Now()
	tick := time.NewTicker(w.taskEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		switch err := w.lookAtTask(ctx, t); {
		case err == nil:
			good = began
		case errors.Is(err, errTaskLost), errors.Is(err, errTaskMoved), time.Since(good) > taskHold-2*extendTaskEvery:
			end(err)
			return
		}
	}
}

// stepTask does what comes next for a task.
func (w *Worker) stepTask(ctx context.Context, t postgres.TaskWork) error {
	switch t.Stage {
	case broker.StageSending:
		return w.sendTask(ctx, t)
	case broker.StageRunning:
		return w.askForTask(ctx, t)
	case broker.StageCopying:
		return w.copyTask(ctx, t)
	}
	return w.cancelTask(ctx, t)
}

// engineFault is an error of the engine, bucketFault one of a bucket; any other is
// ours, and says nothing about the task.
type (
	engineFault struct{ error }
	bucketFault struct{ error }
)

func (e engineFault) Unwrap() error { return e.error }
func (e bucketFault) Unwrap() error { return e.error }

// isLasting says that an error is one that trying again would not help. What has no
// code broke off somewhere on its way.
func isLasting(err error) bool {
	var known *broker.Error
	code := broker.CodeOf(err)
	return errors.As(err, &known) && code != broker.CodeUnavailable && code != broker.CodeTooManyRequests
}

// failingSince is when a step that began now and failed did so first. Tries count
// together while they follow one another: where none was made for long, the program
// was down, and says nothing about the engine.
func failingSince(t postgres.TaskWork, began, now time.Time) time.Time {
	if t.FailingSince == nil || t.FailedAt == nil || began.Sub(*t.FailedAt) > untriedFor {
		return now
	}
	return *t.FailingSince
}

// taskFailed decides about a step that failed: it is tried again for as long as that
// may help, then the task has failed. One that is to be ended at its engine is let be.
func (w *Worker) taskFailed(ctx context.Context, t postgres.TaskWork, began time.Time, err error) error {
	var engine engineFault
	var bucket bucketFault
	now := w.Now()
	lasting := false
	switch {
	case errors.Is(err, errTaskLost), errors.Is(err, errTaskMoved):
		return nil
	case errors.As(err, &engine):
		lasting = isLasting(err)
	case errors.As(err, &bucket): // what an operator can mend
	default:
		return err
	}
	since := failingSince(t, began, now)
	away := now.Sub(since)
	switch {
	case !lasting && away < w.Patience:
		if t.Failures == 0 {
			w.Log.Warn("a reconstruction does not get on; it is tried again at growing intervals", "task", t.ID, "stage", t.Stage, "err", err)
		}
		return w.Store.TaskStepFailed(ctx, t, since, now, taskPause(t.Failures, err))
	case t.Stage == "":
		w.Log.Warn("the engine could not be told that a reconstruction was stopped", "task", t.ID, "run", t.RunID, "err", err)
		return w.Store.TaskTold(ctx, t.ID, t.Holder)
	}
	cause := faultWords(err)
	if !lasting {
		cause = "for " + away.Round(time.Second).String() + " it could not get on: " + cause
	}
	w.Log.Error("a reconstruction failed", "task", t.ID, "stage", t.Stage, "err", err)
	// What could not be copied stays at the engine, for an operator to fetch.
	return w.Store.FailTask(ctx, t.ID, t.Holder, cause, t.Stage != broker.StageCopying, now)
}

// taskPause grows with the failures in a row; an engine may ask for more.
func taskPause(failures int, err error) time.Duration {
	pause := min(firstTaskPause<<min(failures, 10), maxTaskPause)
	var known *broker.Error
	if errors.As(err, &known) {
		pause = min(max(pause, known.RetryAfter), maxTaskPause)
	}
	return spread(pause)
}

// faultWords is what the owner may know of an error.
func faultWords(err error) string {
	var known *broker.Error
	if errors.As(err, &known) && known.Msg != "" {
		return known.Msg
	}
	return "something went wrong here; the log of the server tells what"
}
