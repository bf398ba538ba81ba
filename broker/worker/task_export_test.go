package worker

import (
	"context"
	"time"
)

// DriveTasks moves the tasks that are due, and waits for their steps.
func (w *Worker) DriveTasks(ctx context.Context) error {
	err := w.driveTasks(ctx)
	w.polls.wait(ctx)
	w.streams.wait(ctx)
	return err
}

// WatchEngines is one round of it.
func (w *Worker) WatchEngines(ctx context.Context) error { return w.watchEngines(ctx) }

// ExtendTasksEvery shortens the rhythm in which tasks are held further.
func (w *Worker) ExtendTasksEvery(d time.Duration) { w.taskEvery = d }
