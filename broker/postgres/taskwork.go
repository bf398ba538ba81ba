package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/sqlc"
)

// The calls below are those of the workers that run tasks. Who claims one holds it
// for a minute, by the database's clock; every move is one of its holder's.

// TaskWork is a task with what its driver has to know.
type TaskWork struct {
	broker.Task
	Token        string
	Holder       string     // who claimed it, that time
	Sends        int        // how often the engine took it
	Failures     int        // of the present step, in a row
	FailingSince *time.Time // nil: it does not fail
	FailedAt     *time.Time // the last time
}

func toWork(r sqlc.Task) (TaskWork, error) {
	t, err := toTask(r)
	return TaskWork{
		Task: t, Token: r.Token, Holder: deref(r.Holder), Sends: int(r.Sends),
		Failures: int(r.Failures), FailingSince: r.FailingSince, FailedAt: r.FailedAt,
	}, err
}

// RipeTasks returns the tasks that wait and may have to move, of up to max that are
// due, and how many were due. They are due again in a second.
func (s *Store) RipeTasks(ctx context.Context, max int) (ids []string, due int, err error) {
	rows, err := s.q.RipeTasks(ctx, int32(max))
	for _, r := range rows {
		if r.Ripe {
			ids = append(ids, r.ID)
		}
	}
	return ids, len(rows), wrap(err)
}

// Moved is what became of a task that waits.
type Moved string

// The moves.
const (
	MovedNot     Moved = ""
	MovedFired   Moved = "fired"
	MovedFailed  Moved = "failed"
	MovedStopped Moved = "stopped" // its project was removed
)

// SettleTask moves a task that waits, if it has to, as broker.TaskGround.Settled
// decides: with the Ready images as they are at that moment to the engine of this
// kind, or to its end. However many call it at once, one moves it.
func (s *Store) SettleTask(ctx context.Context, id string, engine broker.EngineKind, now time.Time) (moved Moved, err error) {
	err = s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		moved = MovedNot
		row, err := q.LockWaitingTask(ctx, id)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return err
		case row.Removed:
			moved = MovedStopped
			_, err = q.StopTask(ctx, sqlc.StopTaskParams{ID: id, Now: now, Cause: causeRemoved})
			return err
		}
		t := row.Task
		n := broker.NewTask{ProjectID: t.ProjectID, Type: t.Type, Expected: int(t.Expected), Engine: engine, Now: now}
		task, ground, err := begin(ctx, q, n, id)
		switch {
		case err == nil:
			moved = MovedFired
			return audit(ctx, q, now, "task.fire", broker.Caller{}, t.ProjectID, "", map[string]any{"task": id, "images": task.Images})
		case !errors.Is(err, errGround):
			return err
		}
		ground.Begun = ground.Begun || t.Begun
		if _, fault := ground.Settled(int(t.Expected)); fault != nil {
			moved = MovedFailed
			_, err = q.FailTask(ctx, sqlc.FailTaskParams{ID: id, Fault: fault.Name, Cause: fault.Message, Now: now})
			return err
		}
		return nil
	})
	return moved, err
}

const causeRemoved = "the project was removed"

// StopRemovedTask stops a task whose project was removed.
func (s *Store) StopRemovedTask(ctx context.Context, id string, now time.Time) error {
	_, err := s.stopTask(ctx, id, now, broker.Caller{}, causeRemoved)
	return err
}

// ClaimTasks takes up to max tasks of an engine at these stages that are due and that
// nobody is at; the stage of those that have ended, and whose engine has to be told, is "".
func (s *Store) ClaimTasks(ctx context.Context, holder string, engine broker.EngineKind, stages []broker.TaskStage, max int) ([]TaskWork, error) {
	rows, err := s.q.ClaimTasks(ctx, sqlc.ClaimTasksParams{Holder: holder, Engine: string(engine), Stages: strs(stages), MaxRows: int32(max)})
	if err != nil {
		return nil, wrap(err)
	}
	work := make([]TaskWork, len(rows))
	for i, r := range rows {
		if work[i], err = toWork(r); err != nil {
			return nil, err
		}
	}
	return work, nil
}

// ExtendTask holds a task for a further minute. held is false when it was lost; then,
// and when it has moved by another's hand, its step is to end.
func (s *Store) ExtendTask(ctx context.Context, id, holder string) (held bool, stage broker.TaskStage, projectRemoved bool, err error) {
	r, err := s.q.ExtendTask(ctx, sqlc.ExtendTaskParams{ID: id, Holder: holder})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, "", false, nil
	}
	return err == nil, broker.TaskStage(r.Stage), r.Removed, wrap(err)
}

// ReleaseTask lets a task go.
func (s *Store) ReleaseTask(ctx context.Context, id, holder string) error {
	return wrap(s.q.ReleaseTask(ctx, sqlc.ReleaseTaskParams{ID: id, Holder: holder}))
}

// DropTaskHolders ends all holds: the holders are dead. Only for a process that knows
// itself alone.
func (s *Store) DropTaskHolders(ctx context.Context) error { return wrap(s.q.DropTaskHolders(ctx)) }

// TaskMove is a step that succeeded.
type TaskMove struct {
	From, To broker.TaskStage
	Sent     bool          // the engine took it
	Progress float64       // percent; less than is known already changes nothing
	Pause    time.Duration // until the next step
}

// MoveTask performs a move and lets the task go. moved is false when the task was
// moved by another hand.
func (s *Store) MoveTask(ctx context.Context, id, holder string, m TaskMove) (moved bool, err error) {
	sent := int32(0)
	if m.Sent {
		sent = 1
	}
	n, err := s.q.MoveTask(ctx, sqlc.MoveTaskParams{
		ID: id, Holder: holder, FromStage: string(m.From), ToStage: string(m.To), Sent: sent, Progress: float32(m.Progress), Pause: m.Pause,
	})
	return n > 0, wrap(err)
}

// TaskStepFailed counts a failure of a step that fails since a time, has it tried again
// after a pause, and lets the task go.
func (s *Store) TaskStepFailed(ctx context.Context, t TaskWork, since, now time.Time, pause time.Duration) error {
	return wrap(s.q.TaskStepFailed(ctx, sqlc.TaskStepFailedParams{
		ID: t.ID, Holder: t.Holder, Stage: string(t.Stage), Since: since, Now: now, Pause: pause,
	}))
}

// FailTask ends a task that failed. With cancel, its engine is told.
func (s *Store) FailTask(ctx context.Context, id, holder, cause string, cancel bool, now time.Time) error {
	_, err := s.q.FailTask(ctx, sqlc.FailTaskParams{
		ID: id, Holder: holder, Fault: broker.FaultEngineFailed, Cause: broker.CleanCause(cause), Cancel: cancel, Now: now,
	})
	return wrap(err)
}

// RewaitTask makes a task wait again that was not sent yet, with a name and a token of
// its own: a run that the engine may have of it is another's.
func (s *Store) RewaitTask(ctx context.Context, id, holder, why string, now time.Time) error {
	return s.inTx(ctx, func(_ pgx.Tx, q *sqlc.Queries) error {
		_, err := q.RewaitTask(ctx, sqlc.RewaitTaskParams{
			ID: id, Holder: holder, Why: why, RunID: broker.NewRunID(), Token: broker.NewTaskToken(), Now: now,
		})
		return err
	})
}

// ChangedTaskImages counts a task's images that are not Ready as they were.
func (s *Store) ChangedTaskImages(ctx context.Context, id string) (int, error) {
	n, err := s.q.ChangedTaskImages(ctx, id)
	return int(n), wrap(err)
}

// TaskImage is an image that a task works with, as it was when the task began.
type TaskImage struct {
	ImageID   string
	Name      string
	Type      string
	Bucket    string
	Filename  string
	ETag      string
	SizeBytes int64
	CRC32     uint32
	At        time.Time
}

// TaskImages returns a task's images in the order in which TaskEntries gives them.
func (s *Store) TaskImages(ctx context.Context, id string) ([]TaskImage, error) {
	rows, err := s.q.TaskImages(ctx, id)
	images := make([]TaskImage, len(rows))
	for i, r := range rows {
		images[i] = TaskImage{
			ImageID: r.ImageID, Name: r.Name, Type: r.Type, Bucket: r.Bucket, Filename: r.Filename, ETag: r.Etag, SizeBytes: r.Size,
			CRC32: uint32(r.Crc32), At: r.At,
		}
	}
	return images, wrap(err)
}

// BucketsOfTask returns the buckets where a task's images lie, most of them first.
func (s *Store) BucketsOfTask(ctx context.Context, id string) ([]string, error) {
	rows, err := s.q.BucketsOfTask(ctx, id)
	symbols := make([]string, len(rows))
	for i, r := range rows {
		symbols[i] = r.Bucket
	}
	return symbols, wrap(err)
}

// FinishTask makes a task Done, with what lies in the buckets by then. moved is false
// when it was moved by another hand.
func (s *Store) FinishTask(ctx context.Context, id, holder string, results []broker.Result, now time.Time) (moved bool, err error) {
	p := sqlc.FinishTaskParams{ID: id, Holder: holder, Now: now, Names: []string{}, Buckets: []string{}, Etags: []string{}, Sizes: []int64{}}
	for _, r := range results {
		p.Names = append(p.Names, r.Name)
		p.Buckets = append(p.Buckets, r.Bucket)
		p.Etags = append(p.Etags, r.ETag)
		p.Sizes = append(p.Sizes, r.SizeBytes)
	}
	n, err := s.q.FinishTask(ctx, p)
	return n > 0, wrap(err)
}

// TaskTold notes that a task's engine knows that it was stopped, or is no longer to
// be told.
func (s *Store) TaskTold(ctx context.Context, id, holder string) error {
	return wrap(s.q.CancelTold(ctx, sqlc.CancelToldParams{ID: id, Holder: holder}))
}

// SeeEngine notes that a running worker has an engine.
func (s *Store) SeeEngine(ctx context.Context, engine broker.EngineKind) error {
	return wrap(s.q.SeeEngine(ctx, string(engine)))
}

// UnseenEngines returns the engines that have something to do and that no worker was
// seen with for that long.
func (s *Store) UnseenEngines(ctx context.Context, within time.Duration) ([]broker.EngineKind, error) {
	names, err := s.q.UnseenEngines(ctx, within)
	engines := make([]broker.EngineKind, len(names))
	for i, name := range names {
		engines[i] = broker.EngineKind(name)
	}
	return engines, wrap(err)
}

// FailUnworked fails the tasks of an engine that no worker has, where something was to
// be done for that long, and returns their ids.
func (s *Store) FailUnworked(ctx context.Context, engine broker.EngineKind, dueFor time.Duration, cause string, now time.Time) ([]string, error) {
	if err := s.q.ForgetCancels(ctx, sqlc.ForgetCancelsParams{Engine: string(engine), DueFor: dueFor}); err != nil {
		return nil, wrap(err)
	}
	ids, err := s.q.FailUnworked(ctx, sqlc.FailUnworkedParams{
		Engine: string(engine), DueFor: dueFor, Fault: broker.FaultEngineFailed, Cause: cause, Now: now,
	})
	return ids, wrap(err)
}
