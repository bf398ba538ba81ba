package worker_test

import (
	"context"
	"crypto/sha1"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/archive"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// driveFor drives a task again and again until a time has passed.
func (f *foundry) driveFor(t *testing.T, id string, d time.Duration) {
	t.Helper()
	const pause = 270 * time.Second
	for past := time.Duration(0); past < d; past += pause {
		f.drive(t, id)
		f.clock.pass(pause)
	}
}

// TestDowntimeIsNoPatience: that this program was down says nothing about the engine.
func TestDowntimeIsNoPatience(t *testing.T) {
	f := newFoundry(t, 1)
	task := f.start(t)
	f.drive(t, task.ID)
	f.engine.onStatus = func(context.Context) error { return errAway }
	f.drive(t, task.ID)
	f.clock.pass(2 * time.Hour)
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageRunning)
	f.driveFor(t, task.ID, time.Hour)
	f.want(t, f.drive(t, task.ID), broker.TaskFailed, "")
}

// TestRewaitTellsTheEngine: the old run is not forgotten before its engine gave it up.
func TestRewaitTellsTheEngine(t *testing.T) {
	f := newFoundry(t, 2)
	task := f.start(t)
	put(t, f.a, f.images[0].Key(), photo(77))
	f.engine.onCancel = func(context.Context) error { return errAway }
	got := f.drive(t, task.ID)
	if f.want(t, got, broker.TaskProcessing, broker.StageSending); got.RunID != task.RunID {
		t.Error("the run was forgotten")
	}
	f.engine.onCancel = nil
	got = f.drive(t, task.ID)
	f.want(t, got, broker.TaskPending, broker.StageWaiting)
	if got.RunID == task.RunID || !slices.Equal(f.engine.cancels, []string{task.RunID}) {
		t.Errorf("%+v, canceled %q", got, f.engine.cancels)
	}
	// One that will never hear holds nothing up.
	f = newFoundry(t, 2)
	task = f.start(t)
	put(t, f.a, f.images[0].Key(), photo(77))
	f.engine.onCancel = func(context.Context) error { return broker.Errorf(broker.CodeDenied, "another token") }
	f.want(t, f.drive(t, task.ID), broker.TaskPending, broker.StageWaiting)
}

// TestRewaitWithoutImages: a task that had begun does not wait for images to begin.
func TestRewaitWithoutImages(t *testing.T) {
	f := newFoundry(t, 1)
	task := f.start(t)
	now := f.clock.now()
	if err := f.store.RemoveImage(t.Context(), f.p.ID, f.images[0].ID, now, now.Add(time.Minute), f.by); err != nil {
		t.Fatal(err)
	}
	f.drive(t, task.ID)
	got := f.drive(t, task.ID)
	if f.want(t, got, broker.TaskFailed, ""); got.Fault.Name != broker.FaultNoReadyImage {
		t.Errorf("%+v", got.Fault)
	}
	if n := f.count(t, `audit WHERE action = 'task.wait'`); n != 1 {
		t.Errorf("it waited %d times", n)
	}
}

// readingEngine reads what it is sent.
type readingEngine struct {
	*fakeEngine
	sums map[string][sha1.Size]byte // by the image's name
}

func (e readingEngine) Send(ctx context.Context, run broker.Run) error {
	err := run.Images.Each(ctx, func(img broker.RunImage) error {
		body, err := img.Open(ctx)
		if err != nil {
			return err
		}
		defer body.Close()
		data, err := io.ReadAll(body)
		e.sums[img.Name] = sha1.Sum(data)
		return err
	})
	if err != nil {
		return err
	}
	return e.fakeEngine.Send(ctx, run)
}

// TestEqualNames: an image has one name, whichever way it comes to the engine.
func TestEqualNames(t *testing.T) {
	f := newFoundry(t, 3)
	task := f.start(t)
	for i, name := range []string{"z/a.jpg", "y/a.jpg", "b/A.JPG"} { // not in the order in which they came
		f.exec(t, `UPDATE task_images SET name = $2 WHERE image_id = $1`, f.images[i].ID, name)
	}
	engine := readingEngine{f.engine, map[string][sha1.Size]byte{}}
	f.Engine = engine
	f.want(t, f.drive(t, task.ID), broker.TaskProcessing, broker.StageRunning)
	names := archive.NewFlatNames() // as the task's zip has them
	n := 0
	for e, err := range f.store.TaskEntries(t.Context(), task.ID) {
		if err != nil {
			t.Fatal(err)
		}
		body, _, err := f.bucket(t, e.Bucket).Open(t.Context(), e.Key, storage.Range{}, e.ETag)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if body.Close(); err != nil {
			t.Fatal(err)
		}
		name := names.Name(e.Name, e.Type)
		if engine.sums[name] != sha1.Sum(data) {
			t.Errorf("%s is %s in the zip alone", e.Name, name)
		}
		n++
	}
	if n != 3 || len(engine.sums) != 3 {
		t.Errorf("%d in the zip, %d sent", n, len(engine.sums))
	}
}

type otherEngine struct{ broker.Engine }

func (otherEngine) Kind() broker.EngineKind { return broker.EngineWebhook }

// TestTasksOfNoWorker: a worker without a task's engine lets it be, until no worker has
// had it for long.
func TestTasksOfNoWorker(t *testing.T) {
	for name, engine := range map[string]broker.Engine{"no engine": nil, "another": otherEngine{newEngine()}} {
		t.Run(name, func(t *testing.T) {
			f := newFoundry(t, 1)
			f.Engine = engine
			sent := f.start(t)
			p := f.project(t)
			waits, fault, err := f.tasks.PreStart(t.Context(), f.by, p.ID, broker.StartOptions{})
			if err != nil || fault != nil {
				t.Fatal(fault, err)
			}
			f.want(t, f.drive(t, sent.ID), broker.TaskProcessing, broker.StageSending)
			if n := f.count(t, `tasks WHERE failures > 0`); n != 0 {
				t.Errorf("a failure is counted against %d tasks", n)
			}
			overdue := func(rounds int) {
				t.Helper()
				for range rounds {
					f.exec(t, `UPDATE tasks SET next_at = now() - interval '3 h' WHERE next_at IS NOT NULL AND next_at < now()`)
					if err := f.WatchEngines(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			other := newFoundryWorker(f)
			if err := other.WatchEngines(t.Context()); err != nil { // one that has it
				t.Fatal(err)
			}
			overdue(80)
			f.want(t, f.task(t, sent.ID), broker.TaskProcessing, broker.StageSending)
			f.exec(t, `UPDATE task_engines SET seen_at = seen_at - interval '3 h' WHERE engine = 'nodeodm'`) // or nothing ran
			overdue(65)
			f.want(t, f.task(t, sent.ID), broker.TaskProcessing, broker.StageSending)
			overdue(1)
			failed := []broker.Task{f.task(t, sent.ID)}
			if engine == nil { // the other takes it
				failed = append(failed, f.task(t, waits.ID))
			}
			for _, got := range failed {
				if f.want(t, got, broker.TaskFailed, ""); got.Fault.Name != broker.FaultEngineFailed || !strings.Contains(got.Cause, "engine nodeodm") {
					t.Errorf("%+v", got)
				}
			}
			if n := f.count(t, `tasks WHERE id = $1 AND cancel`, sent.ID); n != 1 {
				t.Error("the engine would not be told")
			}
			f.exec(t, `UPDATE tasks SET next_at = now() - interval '3 h' WHERE cancel`)
			overdue(1)
			if n := f.count(t, `tasks WHERE cancel`); n != 0 {
				t.Error("an engine that is gone is still to be told")
			}
		})
	}
}

// newFoundryWorker is another process, with the engine.
func newFoundryWorker(f *foundry) *worker.Worker {
	c := f.Config
	c.Engine = f.engine
	return worker.New(c)
}
