package worker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// fakeEngine is an engine in this process: no protocol, only what the interface
// promises. Tests set what goes wrong.
type fakeEngine struct {
	mu      sync.Mutex
	runs    map[string][]string // the names of its images, by run
	sends   int
	cancels []string
	status  broker.RunStatus
	results map[string][]byte
	unsized bool // it does not tell the sizes of results

	// Called with the mutex free; an error comes back as the engine's.
	beforeSend, afterSend, onStatus, onCancel, onResults func(ctx context.Context) error
	body                                                 func(io.Reader) io.Reader
}

func newEngine() *fakeEngine {
	return &fakeEngine{
		runs: map[string][]string{}, status: broker.RunStatus{Phase: broker.RunQueued, Progress: -1},
		results: map[string][]byte{"all.zip": bytes.Repeat([]byte("result "), 3000)},
	}
}

func (e *fakeEngine) Kind() broker.EngineKind { return broker.EngineNodeODM }

func call(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}

func (e *fakeEngine) Send(ctx context.Context, run broker.Run) error {
	e.mu.Lock()
	e.sends++
	e.mu.Unlock()
	if err := call(ctx, e.beforeSend); err != nil {
		return err
	}
	var names []string
	err := run.Images.Each(ctx, func(img broker.RunImage) error {
		body, err := img.Open(ctx)
		if err != nil {
			return err
		}
		defer body.Close()
		n, err := io.Copy(io.Discard, body)
		if err == nil && n != img.SizeBytes {
			err = errors.New("an image has another size")
		}
		names = append(names, img.Name)
		return err
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.runs[run.RunID] = names
	e.mu.Unlock()
	return call(ctx, e.afterSend)
}

func (e *fakeEngine) Status(ctx context.Context, runID string) (broker.RunStatus, error) {
	if err := call(ctx, e.onStatus); err != nil {
		return broker.RunStatus{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.runs[runID]; !ok {
		return broker.RunStatus{}, broker.Errorf(broker.CodeNotFound, "no such run")
	}
	return e.status, nil
}

func (e *fakeEngine) Cancel(ctx context.Context, runID string) error {
	if err := call(ctx, e.onCancel); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancels = append(e.cancels, runID)
	delete(e.runs, runID)
	return nil
}

func (e *fakeEngine) Results(ctx context.Context, _ broker.Task) ([]broker.RunResult, error) {
	if err := call(ctx, e.onResults); err != nil {
		return nil, err
	}
	var list []broker.RunResult
	for name, data := range e.results {
		r := broker.RunResult{Name: name, Type: "application/zip", SizeBytes: int64(len(data)), Open: func(context.Context) (io.ReadCloser, error) {
			var body io.Reader = bytes.NewReader(data)
			if e.body != nil {
				body = e.body(body)
			}
			return io.NopCloser(body), nil
		}}
		if e.unsized {
			r.SizeBytes = -1
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b broker.RunResult) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (e *fakeEngine) says(s broker.RunStatus) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status = s
}

// foundry is a world with an engine and a project of some Ready images.
type foundry struct {
	*world
	engine *fakeEngine
	tasks  *broker.Tasks
	p      broker.Project
	images []broker.Image
}

func newFoundry(t *testing.T, photos int) *foundry {
	t.Helper()
	f := &foundry{world: newWorld(t), engine: newEngine()}
	f.Engine, f.PublicURL = f.engine, "http://broker.example"
	f.tasks = &broker.Tasks{Store: f.store, Engine: f.engine, Places: f.world.images.Places, Now: f.clock.now}
	f.p = f.project(t)
	for i := range photos {
		f.images = append(f.images, f.world.ready(t, f.register(t, f.p, "A", photo(i))[0], photo(i)))
	}
	return f
}

func (f *foundry) start(t *testing.T) broker.Task {
	t.Helper()
	task, fault, err := f.tasks.Start(t.Context(), f.by, f.p.ID, broker.StartOptions{})
	if err != nil || fault != nil {
		t.Fatal(fault, err)
	}
	return *task
}

// drive does what is to be done now, without waiting for its time, and returns the
// task as it is then.
func (f *foundry) drive(t *testing.T, id string) broker.Task {
	t.Helper()
	f.exec(t, `UPDATE tasks SET next_at = now() WHERE next_at IS NOT NULL`)
	for range 2 { // what follows at once is begun by the next round
		if err := f.DriveTasks(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return f.task(t, id)
}

func (f *foundry) task(t *testing.T, id string) broker.Task {
	t.Helper()
	task, err := f.store.Task(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	if n := f.count(t, `tasks WHERE id = $1 AND holder IS NOT NULL`, id); n != 0 {
		t.Errorf("a task that nobody is at is held")
	}
	return task
}

func (f *foundry) want(t *testing.T, task broker.Task, state broker.TaskState, stage broker.TaskStage) {
	t.Helper()
	if task.State != state || task.Stage != stage {
		t.Fatalf("the task is %s, %q (%s), want %s, %q", task.State, task.Stage, task.Cause, state, stage)
	}
}

// TestTaskToItsEnd goes the whole way.
func TestTaskToItsEnd(t *testing.T) {
	f := newFoundry(t, 0)
	pre, fault, err := f.tasks.PreStart(t.Context(), f.by, f.p.ID, broker.StartOptions{})
	if err != nil || fault != nil {
		t.Fatal(fault, err)
	}
	f.want(t, f.drive(t, pre.ID), broker.TaskPending, broker.StageWaiting)
	for i := range 3 {
		f.world.ready(t, f.register(t, f.p, "A", photo(i))[0], photo(i))
	}
	f.want(t, f.drive(t, pre.ID), broker.TaskProcessing, broker.StageRunning) // fired and sent
	if got := f.engine.runs[pre.RunID]; !slices.Equal(got, []string{"a.jpg", "a_2.jpg", "a_3.jpg"}) && len(got) != 3 {
		t.Errorf("the engine got %q", got)
	}
	f.engine.says(broker.RunStatus{Phase: broker.RunRunning, Progress: 50})
	if got := f.drive(t, pre.ID); got.Progress != 50 {
		t.Errorf("%v %%", got.Progress)
	}
	f.engine.says(broker.RunStatus{Phase: broker.RunRunning, Progress: 30})
	if got := f.drive(t, pre.ID); got.Progress != 50 {
		t.Errorf("it fell to %v %%", got.Progress)
	}
	f.engine.says(broker.RunStatus{Phase: broker.RunCompleted, Progress: 100})
	f.want(t, f.drive(t, pre.ID), broker.TaskDone, "")
	got := f.task(t, pre.ID)
	key := broker.ResultKey(f.p.ID, pre.ID, "all.zip")
	if len(got.Results) != 1 || got.Results[0].Bucket != "A" || got.Results[0].SizeBytes != 21000 || got.EndedAt == nil || got.Progress != 100 {
		t.Errorf("%+v", got)
	}
	body, _, err := f.bucket(t, "A").Open(t.Context(), key, storage.Range{}, got.Results[0].ETag)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, err := io.ReadAll(body); err != nil || !bytes.Equal(data, f.engine.results["all.zip"]) {
		t.Errorf("%d bytes of the result, %v", len(data), err)
	}
	if f.engine.sends != 1 || len(f.engine.cancels) != 0 || f.count(t, `tasks WHERE next_at IS NOT NULL`) != 0 {
		t.Errorf("%d sends, canceled %q", f.engine.sends, f.engine.cancels)
	}
	for _, action := range []string{"task.prestart", "task.fire", "task.done"} {
		if n := f.count(t, `audit WHERE action = $1 AND detail->>'task' = $2`, action, pre.ID); n != 1 {
			t.Errorf("%d lines of %s", n, action)
		}
	}
}

var errAway = &broker.Error{Code: broker.CodeUnavailable, Msg: "the engine does not answer"}

// TestEngineFailsAfterDoing: what was done is not done twice.
func TestEngineFailsAfterDoing(t *testing.T) {
	f := newFoundry(t, 2)
	task := f.start(t)
	f.engine.afterSend = func(context.Context) error { return errAway }
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageSending)
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageSending)
	f.engine.afterSend = nil
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageRunning)
	if len(f.engine.runs) != 1 || f.engine.sends != 3 {
		t.Errorf("%d runs of %d sends", len(f.engine.runs), f.engine.sends)
	}
	f.engine.says(broker.RunStatus{Phase: broker.RunCompleted})
	f.want(t, f.drive(t, task.ID), broker.TaskDone, "")
}

// TestKilledDriver: another goes on when the hold of a dead one ends, and at once when
// it is alone.
func TestKilledDriver(t *testing.T) {
	f := newFoundry(t, 1)
	task := f.start(t)
	stages := []broker.TaskStage{broker.StageSending, broker.StageRunning, broker.StageCopying, ""}
	claim := func() {
		t.Helper()
		f.exec(t, `UPDATE tasks SET next_at = now() WHERE next_at IS NOT NULL`)
		if got, err := f.store.ClaimTasks(t.Context(), "dead", broker.EngineNodeODM, stages, 9); err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
	}
	claim()
	if err := f.DriveTasks(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.engine.sends != 0 {
		t.Error("two are at one task")
	}
	f.exec(t, `UPDATE tasks SET held_until = clock_timestamp()`)
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageRunning)
	// The dead one, who only hung, comes back: nothing of his counts.
	if moved, err := f.store.MoveTask(t.Context(), task.ID, "dead", moveBack); moved || err != nil {
		t.Errorf("he moves what is another's: %v", err)
	}
	claim()
	f.Alone = true
	f.engine.says(broker.RunStatus{Phase: broker.RunCompleted})
	start(t, f.Worker)
	eventually(t, "it is done", func() bool {
		got, err := f.store.Task(context.Background(), task.ID)
		return err == nil && got.State == broker.TaskDone
	})
}

// TestLostEngine: it is waited for, and then the task fails and says why.
func TestLostEngine(t *testing.T) {
	for name, prepare := range map[string]func(*foundry, *testing.T, string){
		"while it is sent": func(f *foundry, _ *testing.T, _ string) {
			f.engine.beforeSend = func(context.Context) error { return errAway }
		},
		"while it runs": func(f *foundry, t *testing.T, id string) {
			f.want(t, f.drive(t, id), broker.TaskProcessing, broker.StageRunning)
			f.engine.onStatus = func(context.Context) error { return errAway }
		},
		"while it is copied": func(f *foundry, t *testing.T, id string) {
			f.drive(t, id)
			f.engine.says(broker.RunStatus{Phase: broker.RunCompleted})
			f.engine.onResults = func(context.Context) error { return errAway }
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFoundry(t, 1)
			task := f.start(t)
			prepare(f, t, task.ID)
			f.driveFor(t, task.ID, time.Hour)
			if got := f.task(t, task.ID); got.State != broker.TaskProcessing {
				t.Fatalf("before its time: %+v", got)
			}
			got := f.drive(t, task.ID)
			if got.State != broker.TaskFailed || got.Fault == nil || got.Fault.Name != broker.FaultEngineFailed ||
				!strings.Contains(got.Cause, errAway.Msg) || got.EndedAt == nil {
				t.Errorf("%+v %+v", got, got.Fault)
			}
			f.drive(t, task.ID)
			if told := len(f.engine.cancels) == 1; told == (name == "while it is copied") {
				t.Errorf("the engine is told: %v", told)
			}
		})
	}
}

// TestEngineComesBack: a failure that passed does not count any more.
func TestEngineComesBack(t *testing.T) {
	f := newFoundry(t, 1)
	task := f.start(t)
	f.drive(t, task.ID)
	for range 3 {
		f.engine.onStatus = func(context.Context) error { return errAway }
		f.drive(t, task.ID)
		f.clock.pass(50 * time.Minute)
		f.engine.onStatus = nil
		f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageRunning)
	}
}

// TestRunsThatFail: each by what the engine says of it.
func TestRunsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*foundry)
		cause   string
	}{
		"not enough overlap": {func(f *foundry) {
			f.engine.says(broker.RunStatus{Phase: broker.RunFailed, Cause: "too few of the images overlap"})
		}, "too few of the images overlap"},
		"failed in silence":  {func(f *foundry) { f.engine.says(broker.RunStatus{Phase: broker.RunFailed}) }, "without saying why"},
		"canceled by others": {func(f *foundry) { f.engine.says(broker.RunStatus{Phase: broker.RunCanceled}) }, "canceled at the engine"},
		"an option is not known": {func(f *foundry) {
			f.engine.beforeSend = func(context.Context) error { return broker.Errorf(broker.CodeInvalid, "no option dsmm") }
		}, "no option dsmm"},
		"a token is wrong": {func(f *foundry) {
			f.engine.onStatus = func(context.Context) error { return broker.Errorf(broker.CodeDenied, "the engine refuses the token") }
		}, "refuses the token"},
		"a result is refused": {func(f *foundry) {
			f.engine.says(broker.RunStatus{Phase: broker.RunCompleted})
			f.engine.body = func(io.Reader) io.Reader {
				return &failingReader{broker.Errorf(broker.CodeDenied, "the engine keeps it for itself")}
			}
		}, "keeps it for itself"},
		"a name that can't be": {func(f *foundry) {
			f.engine.says(broker.RunStatus{Phase: broker.RunCompleted})
			f.engine.results = map[string][]byte{"../../x": {1}}
		}, "a name that can't be"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFoundry(t, 1)
			task := f.start(t)
			c.prepare(f)
			f.drive(t, task.ID)
			got := f.drive(t, task.ID)
			if got.State != broker.TaskFailed || got.Fault.Name != broker.FaultEngineFailed || !strings.Contains(got.Cause, c.cause) {
				t.Errorf("%+v", got)
			}
			if next, fault, err := f.tasks.PreStart(t.Context(), f.by, f.p.ID, broker.StartOptions{}); err != nil || fault != nil || next.ID == task.ID {
				t.Errorf("none can follow: %+v %v", fault, err)
			}
		})
	}
}

// TestLostRun: what the engine took and lost is sent again, once.
func TestLostRun(t *testing.T) {
	f := newFoundry(t, 1)
	task := f.start(t)
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageRunning)
	clear(f.engine.runs)
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageRunning) // noticed, and sent again
	if f.engine.sends != 2 || len(f.engine.runs[task.RunID]) != 1 {
		t.Errorf("%d sends, %v", f.engine.sends, f.engine.runs)
	}
	clear(f.engine.runs)
	if got := f.drive(t, task.ID); got.State != broker.TaskFailed || !strings.Contains(got.Cause, "2 times") || !strings.Contains(got.Cause, "no such run") {
		t.Errorf("%+v", got)
	}
}

// TestChangedBeforeSending: an image that was overwritten since the task began is
// judged again, and the task waits for that.
func TestChangedBeforeSending(t *testing.T) {
	f := newFoundry(t, 2)
	task := f.start(t)
	put(t, f.a, f.images[0].Key(), photo(77))
	f.engine.beforeSend = func(context.Context) error { t.Error("it was sent"); return nil }
	got := f.drive(t, task.ID)
	f.want(t, got, broker.TaskPending, broker.StageWaiting)
	if got.Images != 0 || got.StartedAt != nil || got.RunID == task.RunID || !slices.Equal(f.engine.cancels, []string{task.RunID}) {
		t.Errorf("%+v, canceled %q", got, f.engine.cancels)
	}
	changed := f.wantState(t, f.images[0], broker.StateUploaded)
	f.want(t, f.drive(t, task.ID), broker.TaskPending, broker.StageWaiting)
	if err := f.Validate(t.Context(), argsOf(changed)); err != nil {
		t.Fatal(err)
	}
	f.wantState(t, f.images[0], broker.StateInvalid, broker.ReasonSizeMismatch, broker.ReasonChecksumMismatch)
	f.engine.beforeSend = nil
	got = f.drive(t, task.ID)
	f.want(t, got, broker.TaskProcessing, broker.StageRunning)
	if got.Images != 1 || len(f.engine.runs[got.RunID]) != 1 {
		t.Errorf("%+v: %v", got, f.engine.runs)
	}
	if n := f.count(t, `audit WHERE action = 'task.wait' AND detail->>'task' = $1`, task.ID); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestChangedWhileSending is noticed by the read itself.
func TestChangedWhileSending(t *testing.T) {
	f := newFoundry(t, 2)
	task := f.start(t)
	f.engine.beforeSend = func(context.Context) error { put(t, f.a, f.images[1].Key(), photo(78)); return nil }
	f.want(t, f.drive(t, task.ID), broker.TaskPending, broker.StageWaiting)
}

// TestImageIsGone fails the task, in words that name it; one that its owner removed
// does not.
func TestImageIsGone(t *testing.T) {
	f := newFoundry(t, 2)
	task := f.start(t)
	if err := f.bucket(t, "A").Delete(t.Context(), f.images[0].Key()); err != nil {
		t.Fatal(err)
	}
	got := f.drive(t, task.ID)
	if got.State != broker.TaskFailed || !strings.Contains(got.Cause, `1 images are not in the bucket A any more, such as "a.jpg"`) {
		t.Errorf("%+v", got)
	}
	now := f.clock.now()
	again := f.start(t)
	if err := f.store.RemoveImage(t.Context(), f.p.ID, f.images[0].ID, now, now.Add(time.Minute), f.by); err != nil {
		t.Fatal(err)
	}
	if got = f.drive(t, again.ID); got.State != broker.TaskProcessing || got.Images != 1 {
		t.Errorf("%+v", got)
	}
	if n := f.count(t, `audit WHERE action = 'task.wait'`); n != 1 {
		t.Errorf("it waited %d times", n)
	}
}

// TestBucketAwayWhileSending is no fault of the engine's, and waited for.
func TestBucketAwayWhileSending(t *testing.T) {
	f := newFoundry(t, 2)
	task := f.start(t)
	f.a.failing(func(op, _ string) error {
		if op == "open" {
			return errFault
		}
		return nil
	})
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageSending)
	f.a.failing(func(op, _ string) error {
		if op == "list" {
			return errFault
		}
		return nil
	})
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageSending)
	f.a.failing(nil)
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageRunning)
}

// TestStopWhileSending ends the call, and the engine is told until it hears.
func TestStopWhileSending(t *testing.T) {
	f := newFoundry(t, 1)
	f.ExtendTasksEvery(10 * time.Millisecond)
	task := f.start(t)
	begun := make(chan struct{})
	f.engine.beforeSend = func(ctx context.Context) error { close(begun); <-ctx.Done(); return ctx.Err() }
	f.engine.onCancel = func(context.Context) error { return errAway }
	ended := make(chan error, 1)
	go func() { ended <- f.DriveTasks(context.Background()) }()
	<-begun
	stopped, err := f.tasks.StopTask(t.Context(), f.by, task.ID)
	if err != nil || stopped.State != broker.TaskStopped {
		t.Fatal(stopped, err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	f.want(t, f.drive(t, task.ID), broker.TaskStopped, "")
	if f.count(t, `tasks WHERE cancel`) != 1 {
		t.Error("the engine is not told again")
	}
	put(t, f.a, broker.ResultKey(f.p.ID, task.ID, "half.zip"), []byte("x"))
	f.engine.onCancel = nil
	f.want(t, f.drive(t, task.ID), broker.TaskStopped, "")
	if !slices.Equal(f.engine.cancels, []string{task.RunID}) || f.count(t, `tasks WHERE cancel OR next_at IS NOT NULL`) != 0 {
		t.Errorf("canceled %q", f.engine.cancels)
	}
	if exists(t, f.a, broker.ResultKey(f.p.ID, task.ID, "half.zip")) {
		t.Error("what was copied of it stays")
	}
}

// TestCopyThatBreaksOff begins again, whoever broke it.
func TestCopyThatBreaksOff(t *testing.T) {
	for _, unsized := range []bool{false, true} {
		f := newFoundry(t, 1)
		f.engine.unsized = unsized
		task := f.start(t)
		f.drive(t, task.ID)
		f.engine.says(broker.RunStatus{Phase: broker.RunCompleted})
		f.engine.body = func(r io.Reader) io.Reader {
			return io.MultiReader(io.LimitReader(r, 5000), &failingReader{errors.New("the line broke")})
		}
		f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageCopying)
		if exists(t, f.a, broker.ResultKey(f.p.ID, task.ID, "all.zip")) {
			t.Error("half a result lies there")
		}
		f.engine.body = nil
		f.a.failing(func(op, key string) error {
			if op == "put" {
				return errFault
			}
			return nil
		})
		f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageCopying)
		f.a.failing(nil)
		got := f.drive(t, task.ID)
		if f.want(t, got, broker.TaskDone, ""); len(got.Results) != 1 || got.Results[0].SizeBytes != 21000 {
			t.Errorf("%+v", got)
		}
	}
}

type failingReader struct{ err error }

func (r *failingReader) Read([]byte) (int, error) { return 0, r.err }

// TestResultsGoWhereTheImagesAre: into the bucket with most of them.
func TestResultsGoWhereTheImagesAre(t *testing.T) {
	f := newFoundry(t, 1)
	for i := range 2 {
		img := f.register(t, f.p, "B", photo(10+i))[0]
		put(t, f.b, img.Key(), photo(10+i))
		if err := f.LookAt(t.Context(), "B", img.Key()); err != nil {
			t.Fatal(err)
		}
		if err := f.Validate(t.Context(), argsOf(f.wantState(t, img, broker.StateUploaded))); err != nil {
			t.Fatal(err)
		}
	}
	task := f.start(t)
	f.drive(t, task.ID)
	f.engine.says(broker.RunStatus{Phase: broker.RunCompleted})
	got := f.drive(t, task.ID)
	if f.want(t, got, broker.TaskDone, ""); got.Results[0].Bucket != "B" || !exists(t, f.b, broker.ResultKey(f.p.ID, task.ID, "all.zip")) {
		t.Errorf("%+v", got)
	}
}

// TestRemovalEndsTasks: a project's removal stops its task, and takes its results.
func TestRemovalEndsTasks(t *testing.T) {
	f := newFoundry(t, 1)
	f.engine.says(broker.RunStatus{Phase: broker.RunCompleted})
	done := f.start(t)
	f.drive(t, done.ID)
	f.want(t, f.drive(t, done.ID), broker.TaskDone, "")
	f.engine.says(broker.RunStatus{Phase: broker.RunRunning})
	running := f.start(t)
	f.want(t, f.drive(t, running.ID), broker.TaskProcessing, broker.StageRunning)
	now := f.clock.now()
	if _, err := f.store.RemoveProject(t.Context(), f.p.ID, now, now.Add(broker.UndoWindow), f.by); err != nil {
		t.Fatal(err)
	}
	if got := f.drive(t, running.ID); got.State != broker.TaskStopped || got.Cause == "" {
		t.Errorf("%+v", got)
	}
	f.drive(t, running.ID)
	if !slices.Equal(f.engine.cancels, []string{running.RunID}) {
		t.Errorf("canceled %q", f.engine.cancels)
	}
	key := broker.ResultKey(f.p.ID, done.ID, "all.zip")
	if !exists(t, f.a, key) {
		t.Fatal("the result went before its time")
	}
	for range 3 {
		f.clock.pass(2 * time.Hour)
		f.sweep(t)
	}
	if exists(t, f.a, key) || f.count(t, `tasks`) != 0 {
		t.Error("the result, or the task's row, stays")
	}
}

// TestOrphansOfResults: what a task tells of stays, and what is being written.
func TestOrphansOfResults(t *testing.T) {
	f := newFoundry(t, 1)
	f.Retention = worker.Retention{Invalid: keepInvalid, Orphans: keepOrphans}
	f.engine.says(broker.RunStatus{Phase: broker.RunCompleted})
	done := f.start(t)
	f.drive(t, done.ID)
	f.want(t, f.drive(t, done.ID), broker.TaskDone, "")
	f.engine.says(broker.RunStatus{Phase: broker.RunFailed})
	failed := f.start(t)
	f.drive(t, failed.ID)
	f.want(t, f.drive(t, failed.ID), broker.TaskFailed, "")
	f.engine.says(broker.RunStatus{Phase: broker.RunRunning})
	running := f.start(t)
	other, unknown := broker.NewID(f.clock.now()), broker.NewID(f.clock.now())
	want := map[string]worker.OrphanClass{
		broker.ResultKey(f.p.ID, done.ID, "all.zip"):    worker.OrphanNone,
		broker.ResultKey(f.p.ID, done.ID, "old.zip"):    worker.OrphanResult,
		broker.ResultKey(f.p.ID, failed.ID, "all.zip"):  worker.OrphanResult,
		broker.ResultKey(f.p.ID, running.ID, "all.zip"): worker.OrphanNone,
		broker.ResultKey(f.p.ID, other, "all.zip"):      worker.OrphanStray,
		broker.ResultPrefix(f.p.ID) + "notes":           worker.OrphanStray,
		broker.ResultPrefix(unknown):                    worker.OrphanForeign,
	}
	for key := range want {
		switch {
		case key == broker.ResultPrefix(unknown):
			put(t, f.a, broker.ResultKey(unknown, other, "all.zip"), []byte("x"))
		case !exists(t, f.a, key):
			put(t, f.a, key, []byte("x"))
		}
	}
	_, found := f.orphans(t, "A")
	for key, class := range want {
		if found[key].Class != class {
			t.Errorf("%s is %q, want %q", key, found[key].Class, class)
		}
		delete(found, key)
	}
	if len(found) != 0 {
		t.Errorf("and %+v", found)
	}
	f.clock.pass(keepOrphans + time.Hour)
	if _, err := f.Reconcile(t.Context(), f.p.ID, "A"); err != nil {
		t.Fatal(err)
	}
	for key, class := range want {
		if strings.HasSuffix(key, "/") {
			continue
		}
		if exists(t, f.a, key) != (class != worker.OrphanResult) {
			t.Errorf("%s, of class %q, is there: %v", key, class, exists(t, f.a, key))
		}
	}
}

var moveBack = postgres.TaskMove{From: broker.StageRunning, To: broker.StageSending}
