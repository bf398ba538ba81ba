package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// someEngine is an engine that nobody calls: that there is one is all that counts.
type someEngine struct{ broker.Engine }

func (someEngine) Kind() broker.EngineKind { return broker.EngineNodeODM }

func (f *fixture) tasks() *broker.Tasks {
	return &broker.Tasks{Store: f.Store, Engine: someEngine{}, Now: time.Now}
}

// bring registers an image and brings it into a state.
func (f *fixture) bring(t testing.TB, pid string, number int, state broker.State) broker.Image {
	t.Helper()
	ctx := context.Background()
	img := f.registerOne(t, pid, "A", number)
	if state != broker.StatePending {
		if err := f.Start(ctx, pid, []string{img.ID}, time.Now(), f.by); err != nil {
			t.Fatal(err)
		}
	}
	if state != broker.StatePending && state != broker.StateUploading {
		f.seeOne(t, img, "A", "e")
	}
	if state == broker.StateReady || state == broker.StateInvalid {
		if err := f.judge(ctx, f.image(t, img.ID), state == broker.StateReady); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.image(t, img.ID); got.State != state {
		t.Fatalf("the image is %s, not %s", got.State, state)
	}
	return f.image(t, img.ID)
}

// TestFaults: each fault by what it is for, and which of several is told.
func TestFaults(t *testing.T) {
	f := open(t)
	const pending, uploading, uploaded, ready, invalid = broker.StatePending, broker.StateUploading, broker.StateUploaded, broker.StateReady, broker.StateInvalid
	for name, c := range map[string]struct {
		images   []broker.State
		running  bool
		noEngine bool
		readOnly bool
		expected int
		want     string
	}{
		"nothing":                             {nil, false, false, false, 0, broker.FaultNoReadyImage},
		"only registered":                     {[]broker.State{pending}, false, false, false, 0, broker.FaultNoReadyImage},
		"only bad":                            {[]broker.State{invalid}, false, false, false, 0, broker.FaultNoReadyImage},
		"Uploading":                           {[]broker.State{ready, uploading}, false, false, false, 0, broker.FaultImagesUnjudged},
		"Uploaded":                            {[]broker.State{uploaded}, false, false, false, 9, broker.FaultImagesUnjudged},
		"too few":                             {[]broker.State{ready, ready, invalid}, false, false, false, 3, broker.FaultTooFewReady},
		"just enough":                         {[]broker.State{ready, ready, invalid, pending}, false, false, false, 2, ""},
		"running":                             {[]broker.State{ready}, true, false, false, 0, broker.FaultAlreadyRunning},
		"running, and an image is unjudged":   {[]broker.State{ready, uploading}, true, false, false, 0, broker.FaultAlreadyRunning},
		"no engine":                           {[]broker.State{ready}, false, true, false, 0, broker.FaultNoEngine},
		"no engine, and an image is unjudged": {[]broker.State{uploading}, false, true, false, 0, broker.FaultImagesUnjudged},
		"no engine, and too few":              {[]broker.State{ready}, false, true, false, 2, broker.FaultTooFewReady},
		"not allowed, and nothing":            {nil, false, true, true, 0, broker.FaultNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			p := f.newProject(t)
			tasks := f.tasks()
			if c.running {
				f.bring(t, p.ID, 99, ready)
				if _, fault, err := tasks.Start(t.Context(), f.by, p.ID, broker.StartOptions{}); fault != nil || err != nil {
					t.Fatal(fault, err)
				}
			}
			for i, s := range c.images {
				f.bring(t, p.ID, i, s)
			}
			if c.noEngine {
				tasks.Engine = nil
			}
			by := f.by
			if c.readOnly {
				by.Key.Scopes = []broker.Scope{broker.ScopeRead}
			}
			before := scan[int](t, f, `SELECT count(*) FROM audit WHERE project_id = $1`, p.ID)
			task, fault, err := tasks.Start(t.Context(), by, p.ID, broker.StartOptions{Expected: c.expected})
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				if fault != nil || task.State != broker.TaskProcessing || task.Stage != broker.StageSending || task.Images != 2 || task.Bytes != 6 || task.StartedAt == nil {
					t.Errorf("%+v, %+v", task, fault)
				}
				return
			}
			if fault == nil || fault.Name != c.want || task != nil || fault.Message == "" || fault.Number == 0 {
				t.Errorf("%+v, %+v; want %s", task, fault, c.want)
			}
			if after := scan[int](t, f, `SELECT count(*) FROM audit WHERE project_id = $1`, p.ID); after != before {
				t.Error("what did not start is in the audit")
			}
			if n := scan[int](t, f, `SELECT count(*) FROM tasks WHERE project_id = $1 AND state = 'Pending'`, p.ID); n != 0 {
				t.Error("what did not start left a task")
			}
		})
	}
}

// TestStartRefused: what is no fault but a mistake.
func TestStartRefused(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	files := broker.Project{ID: broker.NewID(time.Now()), OwnerID: f.owner.ID, Name: "f", Kind: broker.KindFiles, CreatedAt: time.Now()}
	if err := f.CreateProject(t.Context(), files, f.by); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, pid string
		o         broker.StartOptions
		want      broker.Code
	}{
		{"a project of files", files.ID, broker.StartOptions{}, broker.CodeInvalid},
		{"another type", p.ID, broker.StartOptions{Type: "native"}, broker.CodeInvalid},
		{"less than none", p.ID, broker.StartOptions{Expected: -1}, broker.CodeInvalid},
		{"more than can be", p.ID, broker.StartOptions{Expected: 1 << 31}, broker.CodeInvalid},
		{"no project", broker.NewID(time.Now()), broker.StartOptions{}, broker.CodeNotFound},
	} {
		_, fault, err := f.tasks().Start(t.Context(), f.by, c.pid, c.o)
		if wantCode(t, err, c.want); fault != nil {
			t.Errorf("%s: %+v", c.what, fault)
		}
		_, fault, err = f.tasks().PreStart(t.Context(), f.by, c.pid, c.o)
		if wantCode(t, err, c.want); fault != nil {
			t.Errorf("%s: %+v", c.what, fault)
		}
	}
}

// settle is what a worker does with a task that waits.
func (f *fixture) settle(t testing.TB, id string) postgres.Moved {
	t.Helper()
	moved, err := f.SettleTask(context.Background(), id, broker.EngineNodeODM, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return moved
}

// TestPreStartFires: when, and with what.
func TestPreStartFires(t *testing.T) {
	f := open(t)
	const pending, uploading, uploaded, ready, invalid = broker.StatePending, broker.StateUploading, broker.StateUploaded, broker.StateReady, broker.StateInvalid
	for name, c := range map[string]struct {
		images   []broker.State
		expected int
		want     postgres.Moved
		fault    string
	}{
		"nothing":                            {nil, 0, postgres.MovedNot, ""},
		"only registered":                    {[]broker.State{pending}, 0, postgres.MovedNot, ""},
		"one Uploading":                      {[]broker.State{ready, uploading}, 0, postgres.MovedNot, ""},
		"one Uploaded":                       {[]broker.State{ready, uploaded}, 0, postgres.MovedNot, ""},
		"all judged":                         {[]broker.State{ready, invalid}, 0, postgres.MovedFired, ""},
		"one never started":                  {[]broker.State{ready, pending}, 0, postgres.MovedFired, ""},
		"all bad":                            {[]broker.State{invalid, invalid}, 0, postgres.MovedFailed, broker.FaultNoReadyImage},
		"all bad, one may still come":        {[]broker.State{invalid, pending}, 0, postgres.MovedNot, ""},
		"too few":                            {[]broker.State{ready, invalid}, 2, postgres.MovedFailed, broker.FaultTooFewReady},
		"too few, one may still come":        {[]broker.State{ready, pending}, 2, postgres.MovedNot, ""},
		"enough, though one may still come":  {[]broker.State{ready, ready, pending}, 2, postgres.MovedFired, ""},
		"too few, one is judged at the time": {[]broker.State{ready, uploaded}, 5, postgres.MovedNot, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := f.newProject(t)
			task, fault, err := f.tasks().PreStart(t.Context(), f.by, p.ID, broker.StartOptions{Type: broker.TaskDense, Expected: c.expected})
			if err != nil || fault != nil || task.State != broker.TaskPending || task.StartedAt != nil {
				t.Fatal(task, fault, err)
			}
			n := 0
			for i, s := range c.images {
				if f.bring(t, p.ID, i, s); s == ready {
					n++
				}
			}
			if got := f.settle(t, task.ID); got != c.want {
				t.Fatalf("it %q, want %q", got, c.want)
			}
			if got := f.settle(t, task.ID); got != postgres.MovedNot && c.want != postgres.MovedNot {
				t.Errorf("it moved again: %s", got)
			}
			got, err := f.Task(t.Context(), task.ID)
			if err != nil {
				t.Fatal(err)
			}
			switch c.want {
			case postgres.MovedFired:
				if got.State != broker.TaskProcessing || got.Images != n || got.Bytes != int64(3*n) || got.StartedAt == nil || got.Type != broker.TaskDense {
					t.Errorf("%+v", got)
				}
				if images := scan[int](t, f, `SELECT count(*) FROM task_images i JOIN images j ON j.id = i.image_id AND j.etag = i.etag AND j.state = 'Ready' WHERE task_id = $1`, task.ID); images != n {
					t.Errorf("%d images of %d", images, n)
				}
			case postgres.MovedFailed:
				if got.State != broker.TaskFailed || got.Fault == nil || got.Fault.Name != c.fault || got.Cause == "" || got.EndedAt == nil {
					t.Errorf("%+v %+v", got, got.Fault)
				}
			default:
				if got.State != broker.TaskPending {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}

// TestPreStartExpired: over images that all expired it fails.
func TestPreStartExpired(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	task, fault, err := f.tasks().PreStart(t.Context(), f.by, p.ID, broker.StartOptions{})
	if err != nil || fault != nil {
		t.Fatal(fault, err)
	}
	img := f.bring(t, p.ID, 1, broker.StatePending)
	if moved := f.settle(t, task.ID); moved != postgres.MovedNot {
		t.Fatalf("it %q while an image may come", moved)
	}
	late := time.Now().Add(grantFor + broker.GraceAfterGrant + time.Minute)
	if n, err := f.Expire(t.Context(), []broker.OpenUpload{{ImageID: img.ID, Attempt: img.Attempt}}, late); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	f.exec(t, `UPDATE tasks SET next_at = now()`)
	if ids, _, err := f.RipeTasks(t.Context(), 9); err != nil || !slices.Contains(ids, task.ID) {
		t.Errorf("it is not looked at: %q, %v", ids, err)
	}
	if moved := f.settle(t, task.ID); moved != postgres.MovedFailed {
		t.Errorf("it %q", moved)
	}
	if got, _ := f.Task(t.Context(), task.ID); got.Fault == nil || got.Fault.Name != broker.FaultNoReadyImage {
		t.Errorf("%+v", got)
	}
}

// TestPreStartAgain: it is recorded once, can be taken back, and a start begins it.
func TestPreStartAgain(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	tasks := f.tasks()
	o := broker.StartOptions{Expected: 2}
	pre := func(o broker.StartOptions) (*broker.Task, bool, *broker.TaskFault) {
		t.Helper()
		task, made, fault, err := tasks.PreStartNew(t.Context(), f.by, p.ID, o)
		if err != nil {
			t.Fatal(err)
		}
		return task, made, fault
	}
	first, made, _ := pre(o)
	if again, twice, _ := pre(o); !made || twice || again.ID != first.ID {
		t.Errorf("made %v and %v: %s, %s", made, twice, first.ID, again.ID)
	}
	if _, _, fault := pre(broker.StartOptions{}); fault == nil || fault.Name != broker.FaultAlreadyRunning || !strings.Contains(fault.Message, first.ID) {
		t.Errorf("another: %+v", fault)
	}
	stopped, err := tasks.Stop(t.Context(), f.by, p.ID)
	if err != nil || stopped.ID != first.ID || stopped.State != broker.TaskStopped || stopped.EndedAt == nil {
		t.Fatal(stopped, err)
	}
	if due := scan[int](t, f, `SELECT count(*) FROM tasks WHERE next_at IS NOT NULL`); due != 0 {
		t.Error("something is to be done for a task that was taken back")
	}
	if none, err := tasks.Stop(t.Context(), f.by, p.ID); none != nil || err != nil {
		t.Error(none, err)
	}
	second, _, _ := pre(o)
	f.bring(t, p.ID, 1, broker.StateReady)
	if _, fault, err := tasks.Start(t.Context(), f.by, p.ID, o); err != nil || fault == nil || fault.Name != broker.FaultTooFewReady {
		t.Fatal(fault, err)
	}
	if now, _ := f.Task(t.Context(), second.ID); now.State != broker.TaskPending {
		t.Errorf("a start that was refused changed it: %+v", now)
	}
	started, fault, err := tasks.Start(t.Context(), f.by, p.ID, broker.StartOptions{Type: broker.TaskDense})
	if err != nil || fault != nil || started.ID != second.ID || started.State != broker.TaskProcessing || started.Type != broker.TaskDense || started.Expected != 0 {
		t.Fatal(started, fault, err)
	}
	if _, _, fault := pre(o); fault == nil || fault.Name != broker.FaultAlreadyRunning {
		t.Errorf("beside one that runs: %+v", fault)
	}
	if f.settle(t, second.ID) != postgres.MovedNot {
		t.Error("it fires although it was started")
	}
	if stopped, err = tasks.Stop(t.Context(), f.by, p.ID); err != nil || stopped.State != broker.TaskStopped {
		t.Fatal(stopped, err)
	}
	if !scan[bool](t, f, `SELECT cancel AND next_at IS NOT NULL FROM tasks WHERE id = $1`, second.ID) {
		t.Error("the engine is not told")
	}
	want := []string{"task.prestart", "task.stop", "task.prestart", "task.start", "task.stop"}
	got := scan[[]string](t, f, `SELECT array_agg(action ORDER BY id) FROM audit WHERE action LIKE 'task.%' AND owner_id = $1 AND key_id = $2`, f.owner.ID, f.by.Key.ID)
	if !slices.Equal(got, want) {
		t.Errorf("the audit tells %q", got)
	}
}

// TestRemovedProjectStopsItsTask while it waits.
func TestRemovedProjectStopsItsTask(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	task, _, err := f.tasks().PreStart(t.Context(), f.by, p.ID, broker.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.bring(t, p.ID, 1, broker.StateReady)
	if _, err := f.RemoveProject(t.Context(), p.ID, time.Now(), time.Now().Add(time.Minute), f.by); err != nil {
		t.Fatal(err)
	}
	ids, due, err := f.RipeTasks(t.Context(), 10)
	if err != nil || due != 1 || !slices.Equal(ids, []string{task.ID}) {
		t.Fatal(ids, due, err)
	}
	if moved := f.settle(t, task.ID); moved != postgres.MovedStopped {
		t.Errorf("it %q", moved)
	}
	if got, _ := f.Task(t.Context(), task.ID); got.State != broker.TaskStopped || got.Cause == "" {
		t.Errorf("%+v", got)
	}
	if _, err := f.tasks().Get(t.Context(), f.by, task.ID); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("it is still to be seen: %v", err)
	}
}

// TestOneTaskAtATime: however many start at once, one task comes of it, and the others
// are told so.
func TestOneTaskAtATime(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	f.bring(t, p.ID, 1, broker.StateReady)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]int{}
	for i := range 12 {
		wg.Go(func() {
			start := f.tasks().Start
			if i%2 == 0 {
				start = f.tasks().PreStart
			}
			task, fault, err := start(context.Background(), f.by, p.ID, broker.StartOptions{})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case fault != nil && fault.Name != broker.FaultAlreadyRunning:
				t.Errorf("%+v", fault)
			case fault == nil:
				ids[task.ID]++
			}
		})
	}
	wg.Wait()
	if n := scan[int](t, f, `SELECT count(*) FROM tasks`); n != 1 || len(ids) != 1 {
		t.Errorf("%d tasks, answered %v", n, ids)
	}
}

// TestPreStartProperty lets images come, be judged, expire and go by several hands at
// once while several workers try to fire. A trigger looks at every firing, right
// before it commits and after a while that others have to slip in: no image may be
// without a verdict that was begun. Each task fires once.
func TestPreStartProperty(t *testing.T) {
	f := open(t)
	f.exec(t, `CREATE TABLE wrong (task text, n bigint)`)
	f.exec(t, `CREATE FUNCTION look_at_firing() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_sleep(0.01);
			INSERT INTO wrong SELECT NEW.id, count(*) FROM images WHERE project_id = NEW.project_id AND state IN ('Uploading', 'Uploaded') HAVING count(*) > 0;
			RETURN NULL;
		END $$`)
	f.exec(t, `CREATE CONSTRAINT TRIGGER look AFTER UPDATE ON tasks DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
		WHEN (OLD.state = 'Pending' AND NEW.state = 'Processing') EXECUTE FUNCTION look_at_firing()`)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const rounds, hands, steps = 30, 3, 8
	fired := 0
	for round := range rounds {
		p := f.newProject(t)
		task, fault, err := f.tasks().PreStart(t.Context(), f.by, p.ID, broker.StartOptions{})
		if err != nil || fault != nil {
			t.Fatal(fault, err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var workers, busy sync.WaitGroup
		var fires [2]int
		for i := range fires {
			workers.Go(func() {
				for ctx.Err() == nil {
					ids, _, err := f.RipeTasks(context.Background(), 10)
					if err != nil {
						t.Error(err)
						return
					}
					for _, id := range append(ids, task.ID) { // also unasked
						if f.settle(t, id) == postgres.MovedFired && id == task.ID {
							fires[i]++
						}
					}
				}
			})
		}
		for hand := range hands {
			r := rand.New(rand.NewPCG(seed, uint64(round*hands+hand)))
			busy.Go(func() {
				for step := range steps {
					if err := f.stir(p.ID, r, hand*1000+r.IntN(2), fmt.Sprintf("e%d-%d", hand, step)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		busy.Wait()
		// Whoever was left in the middle is judged now, and the task has to move if it has not.
		for _, id := range scan[[]string](t, f, `SELECT coalesce(array_agg(id::text), '{}') FROM images WHERE project_id = $1 AND state IN ('Uploading', 'Uploaded')`, p.ID) {
			img := f.image(t, id)
			f.seeOne(t, img, "A", "last")
			if err := f.judge(t.Context(), f.image(t, id), true); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		workers.Wait()
		f.settle(t, task.ID)
		got, err := f.Task(t.Context(), task.ID)
		if err != nil {
			t.Fatal(err)
		}
		ready := scan[int](t, f, `SELECT count(*) FROM images WHERE project_id = $1 AND state = 'Ready'`, p.ID)
		told := scan[int](t, f, `SELECT count(*) FROM audit WHERE project_id = $1 AND action = 'task.fire'`, p.ID)
		took := scan[int](t, f, `SELECT count(*) FROM task_images WHERE task_id = $1`, task.ID)
		if got.State == broker.TaskPending && ready > 0 || got.State == broker.TaskProcessing && (told != 1 || took != got.Images || took == 0) || fires[0]+fires[1] > 1 {
			t.Fatalf("%+v: %d Ready, %d and %d firings, told %d times, with %d images", got, ready, fires[0], fires[1], told, took)
		}
		if got.State == broker.TaskProcessing {
			fired++
		}
	}
	if n := scan[int](t, f, `SELECT count(*) FROM wrong`); n != 0 {
		t.Errorf("%d tasks fired while an image was without a verdict", n)
	}
	if fired < rounds/2 {
		t.Errorf("only %d of %d fired", fired, rounds)
	}
}

// stir does something to one image of a hand's own.
func (f *fixture) stir(pid string, r *rand.Rand, number int, etag string) error {
	ctx := context.Background()
	b := f.batchOf(pid, "A", number)
	b.Images[0].Start = r.IntN(2) == 0
	images, err := f.Register(ctx, b)
	if err != nil {
		return err
	}
	img := images[0]
	for range r.IntN(5) {
		now := time.Now()
		switch r.IntN(6) {
		case 0:
			err = f.Start(ctx, pid, []string{img.ID}, now, f.by)
		case 1, 2:
			_, err = f.See(ctx, pid, "A", []broker.Seen{{Bucket: "A", ProjectID: pid, Filename: img.Filename, ETag: etag, SizeBytes: 3}}, now)
		case 3:
			img.ETag = etag
			err = f.judge(ctx, img, r.IntN(4) > 0)
		case 4:
			_, err = f.Expire(ctx, []broker.OpenUpload{{ImageID: img.ID, Attempt: img.Attempt}}, now.Add(grantFor+broker.GraceAfterGrant+time.Minute))
		case 5:
			if r.IntN(4) == 0 {
				err = f.RemoveImage(ctx, pid, img.ID, now, now.Add(time.Minute), f.by)
			}
		}
		if err != nil {
			return err
		}
	}
	// Mostly it is judged in the end, or there was no moment at which a task may fire.
	if r.IntN(5) == 0 {
		return nil
	}
	if _, err = f.See(ctx, pid, "A", []broker.Seen{{Bucket: "A", ProjectID: pid, Filename: img.Filename, ETag: etag, SizeBytes: 3}}, time.Now()); err == nil {
		img.ETag = etag
		err = f.judge(ctx, img, r.IntN(4) > 0)
	}
	return err
}
