package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

var _ broker.TaskStore = (*Store)(nil)

// indexActiveTask lets a project have one task that has not ended.
const indexActiveTask = "tasks_active"

// errGround takes a transaction back whose ground does not allow what it was to do.
var errGround = errors.New("the ground does not allow it")

func groundOf(r sqlc.TaskGroundRow) broker.TaskGround {
	return broker.TaskGround{Begun: r.Begun, Counts: broker.Counts{
		broker.StatePending: int(r.Pending), broker.StateUploading: int(r.Uploading), broker.StateUploaded: int(r.Uploaded),
		broker.StateReady: int(r.Ready), broker.StateInvalid: int(r.Invalid),
	}}
}

// TaskGround implements broker.TaskStore.
func (s *Store) TaskGround(ctx context.Context, projectID string) (broker.TaskGround, error) {
	r, err := s.q.TaskGround(ctx, projectID)
	if err != nil {
		return broker.TaskGround{}, wrap(err)
	}
	ground := groundOf(r)
	active, err := s.q.ActiveTask(ctx, projectID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ground, nil
	case err != nil:
		return ground, wrap(err)
	}
	t, err := toTask(active)
	ground.Active = &t
	return ground, err
}

// StartTask implements broker.TaskStore.
func (s *Store) StartTask(ctx context.Context, n broker.NewTask, by broker.Caller) (task *broker.Task, ground broker.TaskGround, err error) {
	err = s.inTaskTx(ctx, func(q *sqlc.Queries) error {
		task, ground = nil, broker.TaskGround{}
		if _, err := q.LockProject(ctx, n.ProjectID); err != nil {
			return err
		}
		id := n.ID
		active, err := q.LockActiveTask(ctx, n.ProjectID)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			err = q.InsertTask(ctx, insertTask(n, by))
		case err == nil && active.State == string(broker.TaskPending):
			id = active.ID
		case err == nil:
			t, err := toTask(active)
			ground.Active = &t
			return errors.Join(errGround, err)
		}
		if err != nil {
			return err
		}
		t, taken, err := begin(ctx, q, n, id)
		if ground = taken; err != nil {
			return err
		}
		task = &t
		return audit(ctx, q, n.Now, "task.start", by, n.ProjectID, "", map[string]any{"task": id, "type": n.Type, "images": t.Images})
	})
	if errors.Is(err, errGround) {
		return nil, ground, nil
	}
	return task, ground, err
}

// inTaskTx is inTx, again when two begin a task of one project at the same moment.
func (s *Store) inTaskTx(ctx context.Context, f func(q *sqlc.Queries) error) error {
	for try := 1; ; try++ {
		err := s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error { return f(q) })
		if !isViolation(err, indexActiveTask) || try == retriesOfTx {
			return err
		}
	}
}

func insertTask(n broker.NewTask, by broker.Caller) sqlc.InsertTaskParams {
	return sqlc.InsertTaskParams{
		ID: n.ID, ProjectID: n.ProjectID, Type: n.Type, Expected: int32(n.Expected), Engine: string(n.Engine), RunID: n.RunID, Token: n.Token,
		OwnerID: by.Owner.ID, KeyID: by.Key.ID, Now: n.Now,
	}
}

// begin moves a task that waits, and whose row this transaction has, to its engine.
// errGround where the ground does not allow it; nothing has changed then.
func begin(ctx context.Context, q *sqlc.Queries, n broker.NewTask, id string) (broker.Task, broker.TaskGround, error) {
	taken, err := q.TakeImages(ctx, sqlc.TakeImagesParams{ProjectID: n.ProjectID, TaskID: id, Expected: int32(max(n.Expected, 1))})
	if err != nil {
		return broker.Task{}, broker.TaskGround{}, err
	}
	ground := groundOf(sqlc.TaskGroundRow{
		Pending: taken.Pending, Uploading: taken.Uploading, Uploaded: taken.Uploaded, Ready: taken.Ready, Invalid: taken.Invalid, Begun: taken.Begun,
	})
	if taken.Images == 0 {
		return broker.Task{}, ground, errGround
	}
	row, err := q.BeginTask(ctx, sqlc.BeginTaskParams{
		ID: id, Type: n.Type, Expected: int32(n.Expected), Engine: string(n.Engine), Images: int32(taken.Images), Bytes: taken.Bytes, Now: n.Now,
	})
	if err != nil {
		return broker.Task{}, ground, err
	}
	t, err := toTask(row)
	return t, ground, err
}

// PreStartTask implements broker.TaskStore.
func (s *Store) PreStartTask(ctx context.Context, n broker.NewTask, by broker.Caller) (t broker.Task, made bool, err error) {
	err = s.inTaskTx(ctx, func(q *sqlc.Queries) error {
		if _, err := q.LockProject(ctx, n.ProjectID); err != nil {
			return err
		}
		row, err := q.ActiveTask(ctx, n.ProjectID)
		made = errors.Is(err, pgx.ErrNoRows)
		if made {
			if err := q.InsertTask(ctx, insertTask(n, by)); err != nil {
				return err
			}
			detail := map[string]any{"task": n.ID, "type": n.Type, "expected": n.Expected}
			if err := audit(ctx, q, n.Now, "task.prestart", by, n.ProjectID, "", detail); err != nil {
				return err
			}
			row, err = q.Task(ctx, n.ID)
		}
		if err != nil {
			return err
		}
		t, err = toTask(row)
		return err
	})
	return t, made && err == nil, err
}

// StopTask implements broker.TaskStore.
func (s *Store) StopTask(ctx context.Context, id string, now time.Time, by broker.Caller) (broker.Task, error) {
	return s.stopTask(ctx, id, now, by, "")
}

// stopTask is StopTask, with a cause where no caller asked for it.
func (s *Store) stopTask(ctx context.Context, id string, now time.Time, by broker.Caller, cause string) (broker.Task, error) {
	_, err := s.q.StopTask(ctx, sqlc.StopTaskParams{ID: id, Now: now, Cause: cause, OwnerID: orNull(by.Owner.ID), KeyID: orNull(by.Key.ID)})
	if err != nil {
		return broker.Task{}, wrap(err)
	}
	return s.Task(ctx, id)
}

// Task implements broker.TaskStore.
func (s *Store) Task(ctx context.Context, id string) (broker.Task, error) {
	row, err := s.q.Task(ctx, id)
	if err != nil {
		return broker.Task{}, wrap(err)
	}
	list, err := s.tasks(ctx, []sqlc.Task{row}, nil)
	if err != nil {
		return broker.Task{}, err
	}
	return list[0], nil
}

// TaskToken implements broker.TaskStore.
func (s *Store) TaskToken(ctx context.Context, id string) (string, error) {
	token, err := s.q.TaskToken(ctx, id)
	return token, wrap(err)
}

// ListTasks implements broker.TaskStore.
func (s *Store) ListTasks(ctx context.Context, projectID string, page broker.Page) ([]broker.Task, error) {
	rows, err := s.q.ListTasks(ctx, sqlc.ListTasksParams{ProjectID: projectID, After: page.After, MaxRows: int32(page.Limit)})
	return s.tasks(ctx, rows, err)
}

// ListTasksOf implements broker.TaskStore.
func (s *Store) ListTasksOf(ctx context.Context, ownerID, onlyProject, prefix string, page broker.Page) ([]broker.Task, error) {
	rows, err := s.q.ListTasksOfOwner(ctx, sqlc.ListTasksOfOwnerParams{
		OwnerID: ownerID, OnlyID: onlyProject, Prefix: prefix, After: page.After, MaxRows: int32(page.Limit),
	})
	return s.tasks(ctx, rows, err)
}

// LatestTasks implements broker.TaskStore.
func (s *Store) LatestTasks(ctx context.Context, projectIDs []string, done bool) (map[string]broker.Task, error) {
	rows, err := s.q.LatestTasks(ctx, sqlc.LatestTasksParams{ProjectIds: projectIDs, Done: done})
	list, err := s.tasks(ctx, rows, err)
	latest := make(map[string]broker.Task, len(list))
	for _, t := range list {
		latest[t.ProjectID] = t
	}
	return latest, err
}

// tasks gives rows their form, with the results of those that are Done.
func (s *Store) tasks(ctx context.Context, rows []sqlc.Task, err error) ([]broker.Task, error) {
	if err != nil {
		return nil, wrap(err)
	}
	list := make([]broker.Task, len(rows))
	at := map[string]int{}
	var done []string
	for i, r := range rows {
		if list[i], err = toTask(r); err != nil {
			return nil, err
		}
		if at[r.ID] = i; list[i].State == broker.TaskDone {
			done = append(done, r.ID)
		}
	}
	if len(done) == 0 {
		return list, nil
	}
	results, err := s.q.ResultsOfTasks(ctx, done)
	for _, r := range results {
		t := &list[at[r.TaskID]]
		t.Results = append(t.Results, broker.Result{
			TaskID: r.TaskID, Name: r.Name, Bucket: r.Bucket, ETag: r.Etag, SizeBytes: r.Size, CreatedAt: r.CreatedAt,
		})
	}
	return list, wrap(err)
}

func toTask(r sqlc.Task) (broker.Task, error) {
	t := broker.Task{
		ID: r.ID, ProjectID: r.ProjectID, Type: r.Type, State: broker.TaskState(r.State), Stage: broker.TaskStage(r.Stage),
		RunID: r.RunID, Engine: broker.EngineKind(r.Engine), Expected: int(r.Expected), Images: int(r.Images), Bytes: r.Bytes,
		Progress: float64(r.Progress), Cause: r.Cause, CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, EndedAt: r.EndedAt,
	}
	if r.Fault != nil {
		t.Fault = broker.NewTaskFault(*r.Fault, r.Cause)
	}
	if r.Report != nil {
		t.Report = &broker.Report{}
		if err := json.Unmarshal(r.Report, t.Report); err != nil {
			return t, fmt.Errorf("the report of task %s: %w", r.ID, err)
		}
	}
	return t, nil
}

// TaskProgress implements broker.TaskStore.
func (s *Store) TaskProgress(ctx context.Context, id string, percent float64) error {
	return wrap(s.q.TaskProgress(ctx, sqlc.TaskProgressParams{ID: id, Progress: float32(percent)}))
}

// ReportTask implements broker.TaskStore.
func (s *Store) ReportTask(ctx context.Context, id string, r broker.Report, now time.Time) (moved bool, err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	var n int64
	if r.Failed {
		n, err = s.q.ReportFailure(ctx, sqlc.ReportFailureParams{ID: id, Report: text, Fault: broker.FaultEngineFailed, Cause: r.Message, Now: now})
	} else {
		n, err = s.q.ReportTask(ctx, sqlc.ReportTaskParams{ID: id, Report: text})
	}
	return n > 0, wrap(err)
}

// HintTask implements broker.TaskStore.
func (s *Store) HintTask(ctx context.Context, id string) error { return wrap(s.q.HintTask(ctx, id)) }
