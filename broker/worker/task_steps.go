package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// sendTask hands a task over to the engine. First the buckets are asked for the etags
// of what it works with: an image that has changed since is judged again, and the
// task waits for that as one that was started beforehand does.
func (w *Worker) sendTask(ctx context.Context, t postgres.TaskWork) error {
	images, err := w.Store.TaskImages(ctx, t.ID)
	if err != nil {
		return err
	}
	if err := w.compareTask(ctx, t, images); err != nil {
		return err
	}
	changed, err := w.Store.ChangedTaskImages(ctx, t.ID)
	if err != nil {
		return err
	}
	if changed > 0 {
		return w.rewaitTask(ctx, t, fmt.Sprintf("%d images changed or were removed since it began", changed))
	}
	project, err := w.Store.Project(ctx, t.ProjectID)
	if err != nil {
		return err
	}
	run := w.runOf(t, project, images)
	if err := w.Engine.Send(ctx, run); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// Engines read images through us; what a bucket said may come back as theirs.
		switch fault := run.Images.(*runImages).fault(); {
		case broker.CodeOf(fault) == broker.CodeChanged, broker.CodeOf(err) == broker.CodeChanged:
			return w.rewaitTask(ctx, t, "an image changed while it was sent")
		case broker.CodeOf(fault) == broker.CodeNotFound:
			return engineFault{fault}
		case fault != nil:
			return bucketFault{fault}
		}
		return engineFault{err}
	}
	_, err = w.Store.MoveTask(ctx, t.ID, t.Holder, postgres.TaskMove{
		From: broker.StageSending, To: broker.StageRunning, Sent: true, Pause: w.Poll,
	})
	if err == nil {
		w.Log.Info("the engine has a reconstruction", "task", t.ID, "run", t.RunID, "images", t.Images)
	}
	return err
}

// rewaitTask makes a task wait again. A former try may have handed it over already.
// Its new run is another by name, and the old one would be forgotten: an engine that
// can't be told for now is told before.
func (w *Worker) rewaitTask(ctx context.Context, t postgres.TaskWork, why string) error {
	asking, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	switch err := w.Engine.Cancel(asking, t.RunID); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !isLasting(err):
		return engineFault{err}
	case err != nil:
		w.Log.Warn("the engine could not be told to give up a run", "task", t.ID, "run", t.RunID, "err", err)
	}
	w.Log.Info("a reconstruction waits again: "+why, "task", t.ID)
	return w.Store.RewaitTask(ctx, t.ID, t.Holder, why, w.Now())
}

// compareTask compares the etags of the prefixes where a task's images lie; those that
// changed are Uploaded then. An image that is not there any more fails the task: no
// engine could work with the rest as if nothing was.
func (w *Worker) compareTask(ctx context.Context, t postgres.TaskWork, images []postgres.TaskImage) error {
	missing := map[string]map[string]string{} // by bucket and key, the user's name
	for _, img := range images {
		if missing[img.Bucket] == nil {
			missing[img.Bucket] = map[string]string{}
		}
		missing[img.Bucket][t.ProjectID+"/"+img.Filename] = img.Name
	}
	for symbol, keys := range missing {
		_, err := w.compareEach(ctx, t.ProjectID, symbol, false, func(objects []storage.Object) {
			for _, obj := range objects {
				delete(keys, obj.Key)
			}
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return bucketFault{err}
		}
		for _, name := range keys {
			return w.gone(ctx, t, symbol, name, len(keys))
		}
	}
	return nil
}

// gone is about images of a task that are not in their bucket. One that was removed
// is missed by nobody.
func (w *Worker) gone(ctx context.Context, t postgres.TaskWork, symbol, name string, n int) error {
	changed, err := w.Store.ChangedTaskImages(ctx, t.ID)
	switch {
	case err != nil:
		return err
	case changed > 0:
		return nil // it waits again, for those that are left
	}
	return engineFault{broker.Errorf(broker.CodeNotFound,
		"%d images are not in the bucket %s any more, such as %q; remove them, or upload them again", n, symbol, name)}
}

// askForTask asks the engine where a run stands.
func (w *Worker) askForTask(ctx context.Context, t postgres.TaskWork) error {
	asking, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	status, err := w.Engine.Status(asking, t.RunID)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case asking.Err() != nil:
		return engineFault{broker.Errorf(broker.CodeUnavailable, "the engine does not answer")}
	case broker.CodeOf(err) == broker.CodeNotFound:
		return w.lostRun(ctx, t, err)
	case err != nil:
		return engineFault{err}
	}
	move := postgres.TaskMove{From: broker.StageRunning, To: broker.StageRunning, Progress: min(max(status.Progress, 0), 100), Pause: w.Poll}
	switch status.Phase {
	case broker.RunQueued, broker.RunRunning:
	case broker.RunReports:
		move.Progress = 0
	case broker.RunCompleted:
		move.To, move.Pause = broker.StageCopying, 0
	case broker.RunFailed:
		cause := status.Cause
		if cause == "" {
			cause = "the engine failed without saying why"
		}
		return w.endTask(ctx, t, cause)
	case broker.RunCanceled:
		return w.endTask(ctx, t, "it was canceled at the engine")
	default:
		return engineFault{broker.Errorf(broker.CodeUnavailable, "the engine tells a phase that is not known here, %q", status.Phase)}
	}
	_, err = w.Store.MoveTask(ctx, t.ID, t.Holder, move)
	return err
}

// sendsOfRun is how often a run is handed over that its engine has lost.
const sendsOfRun = 2

// lostRun sends a run again that its engine took and has no more: it may have lost its
// disk, or did not get the images whole. Its last words are why, in the end.
func (w *Worker) lostRun(ctx context.Context, t postgres.TaskWork, last error) error {
	if t.Sends >= sendsOfRun {
		return w.endTask(ctx, t, fmt.Sprintf("the engine took the reconstruction %d times, in vain: %s", t.Sends, faultWords(last)))
	}
	w.Log.Warn("the engine lost a reconstruction; it is sent again", "task", t.ID, "run", t.RunID, "err", last)
	_, err := w.Store.MoveTask(ctx, t.ID, t.Holder, postgres.TaskMove{From: broker.StageRunning, To: broker.StageSending})
	return err
}

// endTask fails a task that its engine knows to be over.
func (w *Worker) endTask(ctx context.Context, t postgres.TaskWork, cause string) error {
	w.Log.Warn("a reconstruction failed at its engine", "task", t.ID, "run", t.RunID, "cause", cause)
	return w.Store.FailTask(ctx, t.ID, t.Holder, cause, false, w.Now())
}

// cancelTask tells the engine that a task is over, and deletes what was copied of it.
func (w *Worker) cancelTask(ctx context.Context, t postgres.TaskWork) error {
	asking, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	if err := w.Engine.Cancel(asking, t.RunID); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return engineFault{err}
	}
	for _, b := range w.buckets.Load().all {
		if _, err := w.empty(asking, b, broker.ResultKey(t.ProjectID, t.ID, "")); err != nil && !errors.Is(err, context.Canceled) {
			w.Log.Warn("results of a reconstruction that ended are left; the sweep of orphans takes them", "task", t.ID, "err", err)
		}
	}
	return w.Store.TaskTold(ctx, t.ID, t.Holder)
}

// runOf is a task as its engine gets it.
func (w *Worker) runOf(t postgres.TaskWork, project broker.Project, images []postgres.TaskImage) broker.Run {
	base := strings.TrimSuffix(w.PublicURL, "/")
	run := broker.Run{Task: t.Task, Project: project, Token: t.Token, Images: &runImages{w: w, projectID: t.ProjectID, images: images}}
	if base != "" {
		task := base + "/v1/tasks/" + t.ID
		run.ZipURL = task + "/zip?token=" + t.Token
		run.HookURL = task + "/hook/" + t.Token
		run.ProgressURL, run.FinishURL = task+"/progress", task+"/finish"
	}
	return run
}
