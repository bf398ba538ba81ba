package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/api/client/clienttest"
)

// TestUploadReconstruct: it is recorded when all is sent, and followed by its id.
func TestUploadReconstruct(t *testing.T) {
	s := standIn(t)
	dir := photoFolder(t, 3)
	code, out, _ := runClient(t, s, "upload", dir, "--new", "x", "--plan", "--reconstruct")
	if code != 0 || s.Calls("start-task") != 0 {
		t.Errorf("a plan: exit code %d, %d starts", code, s.Calls("start-task"))
	}
	wantOut(t, "the plan", out, "a reconstruction would begin")

	code, out, errs := runClient(t, s, "upload", dir, "--new", "x", "--reconstruct")
	if code != 0 || s.Calls("start-task") != 1 {
		t.Errorf("exit code %d, %d starts\n%s", code, s.Calls("start-task"), errs)
	}
	wantOut(t, "stdout", out, "3 Ready, 0 not", "Reconstruction 01TASK", "uploadbroker tasks watch 01TASK")

	// One that is refused is told; one that is invalid holds nothing up.
	s.Change(func(s *clienttest.Server) {
		s.TaskFault = &client.Problem{Status: 409, Code: "no_engine", Detail: "no reconstruction engine is configured here", Fault: &client.Fault{Number: 5, Name: "NO_ENGINE"}}
	})
	code, out, errs = runClient(t, s, "upload", dir, "--new", "x", "--reconstruct")
	if code != 1 || strings.Contains(out, "Reconstruction") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	wantOut(t, "stderr", errs, "no reconstruction was begun", "no reconstruction engine is configured here")
	s.Change(func(s *clienttest.Server) { s.TaskFault = nil })
	writeFile(t, filepath.Join(dir, "text.jpg"), "hello")
	code, out, _ = runClient(t, s, "upload", dir, "--new", "x", "--reconstruct")
	if code != 1 {
		t.Errorf("with a file that is not Ready: exit code %d", code)
	}
	wantOut(t, "stdout", out, "3 Ready, 1 not", "Reconstruction 01TASK")

	// Not without what could not be sent.
	before := s.Calls("start-task")
	writeFile(t, filepath.Join(dir, "bad\xff.jpg"), "\xff\xd8\xffx")
	code, out, errs = runClient(t, s, "upload", dir, "--new", "x", "--reconstruct")
	if code != 1 || s.Calls("start-task") != before || strings.Contains(out, "Reconstruction") {
		t.Errorf("exit code %d, %d starts", code, s.Calls("start-task")-before)
	}
	wantOut(t, "stderr", errs, "no reconstruction was begun, since 1 file is not there")
}

// TestReconstructBeforeVerdicts: it is recorded while verdicts are still to come, so
// that it survives this program.
func TestReconstructBeforeVerdicts(t *testing.T) {
	s := standIn(t)
	s.Change(func(s *clienttest.Server) { s.NoWorker = true })
	code, out, _ := runClient(t, s, "upload", photoFolder(t, 2), "--new", "x", "--reconstruct", "--wait", "3s")
	if code != 1 || s.Calls("start-task") != 1 {
		t.Errorf("exit code %d, %d starts", code, s.Calls("start-task"))
	}
	wantOut(t, "stdout", out, "Reconstruction 01TASK")
}

func TestTasksList(t *testing.T) {
	s := standIn(t)
	code, out, errs := runClient(t, s, "tasks", "list")
	if code != 0 || out != "" || !strings.Contains(errs, "No reconstructions") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	a, b := s.Project("castle"), s.Project("bridge")
	s.AddTask(client.Task{ProjectID: a.ID, State: client.TaskDone, Type: "Native", Progress: 100, Images: 410, Results: []client.TaskResult{{Name: "all.zip", Size: 40_100_000}}})
	s.AddTask(client.Task{ProjectID: b.ID, State: client.TaskFailed, Type: "Dense", Progress: 12, Cause: "too few\x1b overlap", Fault: &client.Fault{Number: 7, Name: "ENGINE_FAILED"}})
	s.AddTask(client.Task{ProjectID: a.ID, State: client.TaskProcessing, Stage: "running", Type: "Native", Progress: 42.4, Images: 1204})
	code, out, _ = runClient(t, s, "tasks", "list")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 4 || !strings.HasPrefix(lines[1], "01TASK00000000000000000003") {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	wantOut(t, "the first", lines[1], "Processing", "42 %", "1,204", "running", a.ID)
	wantOut(t, "the failed", lines[2], "ENGINE_FAILED: too few\\x1b overlap")
	wantOut(t, "the done", lines[3], "all.zip (40.1 MB)")
	if _, out, _ = runClient(t, s, "tasks", "list", "--project", "bridge"); strings.Count(out, "\n") != 2 || !strings.Contains(out, b.ID) {
		t.Errorf("of one project:\n%s", out)
	}
}

func TestTasksWatch(t *testing.T) {
	s := standIn(t)
	p := s.Project("castle")
	task := s.AddTask(client.Task{ProjectID: p.ID, State: client.TaskPending, Stage: "waiting"})
	for _, c := range []struct {
		state string
		code  int
		want  string
	}{{client.TaskDone, 0, "http://x/all.zip"}, {client.TaskFailed, 1, "ENGINE_FAILED: so it is"}, {client.TaskStopped, 1, "Stopped"}} {
		s.ChangeTask(task.ID, func(t *client.Task) { t.State, t.Stage = client.TaskProcessing, "running" })
		asked := s.Calls("task")
		go func() {
			for s.Calls("task") == asked && t.Context().Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			s.ChangeTask(task.ID, func(t *client.Task) {
				t.State, t.Stage, t.Fault, t.Cause = c.state, "", nil, ""
				t.Results = []client.TaskResult{{Name: "all.zip", Size: 5, URL: "http://x/all.zip"}}
				if c.state == client.TaskFailed {
					t.Fault, t.Cause = &client.Fault{Number: 7, Name: "ENGINE_FAILED"}, "so it is"
				}
			})
		}()
		args := []string{"tasks", "watch", task.ID[:24]}
		if c.state == client.TaskStopped {
			args = []string{"tasks", "watch", "--project", "castle"}
		}
		code, out, errs := runClient(t, s, args...)
		if code != c.code || !strings.Contains(out, task.ID+"  Processing") || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit code %d\n%s%s", c.state, code, out, errs)
		}
	}
}

func TestTasksWatchInterrupted(t *testing.T) {
	s := standIn(t)
	task := s.AddTask(client.Task{State: client.TaskProcessing, Stage: "running"})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for s.Calls("tasks") == 0 && t.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	var o, e bytes.Buffer
	code := run(ctx, []string{"tasks", "watch", task.ID, "--server", s.URL, "--key", clienttest.Key}, stdio{Out: &o, Err: &e})
	if code != exitInterrupted {
		t.Errorf("exit code %d\n%s%s", code, o.String(), e.String())
	}
}

func TestTasksStop(t *testing.T) {
	s := standIn(t)
	p := s.Project("castle")
	a := s.AddTask(client.Task{ProjectID: p.ID, State: client.TaskPending})
	s.AddTask(client.Task{ProjectID: p.ID, State: client.TaskPending})
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"ambiguous": {[]string{"01task"}, 2, "fits several"},
		"unknown":   {[]string{"01XX"}, 2, `no reconstruction "01XX"`},
		"none":      {nil, 2, "say which"},
		"both":      {[]string{a.ID, "--project", "castle"}, 2, "say which"},
		"one":       {[]string{strings.ToLower(a.ID)}, 0, a.ID + "  Stopped"},
	} {
		code, out, errs := runClient(t, s, append([]string{"tasks", "stop"}, c.args...)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: exit code %d\n%s%s", name, code, out, errs)
		}
	}
}

// TestReconstructFromTheCommandLine goes the whole way with the real program and the
// stand-in of a NodeODM.
func TestReconstructFromTheCommandLine(t *testing.T) {
	w := newReconWorld(t, "zip")
	dir := t.TempDir()
	for i := range 3 {
		writeFile(t, filepath.Join(dir, fmt.Sprintf("%d.jpg", i)), string(photo(uint64(7000+i), 320, 240)))
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	do := func(args ...string) (int, string, string) {
		var o, e bytes.Buffer
		code := run(t.Context(), append(args, "--server", w.url, "--key", w.key), stdio{In: strings.NewReader(""), Out: &o, Err: &e})
		return code, o.String(), e.String()
	}
	code, out, errs := do("upload", dir, "--new", "field", "--reconstruct")
	_, rest, ok := strings.Cut(out, "Reconstruction ")
	if code != 0 || !ok {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	id := rest[:26]
	code, out, errs = do("tasks", "watch", id)
	if code != 0 {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	wantOut(t, "watch", out, id+"  Done  3 images in ", "all.zip  ", "/v1/tasks/"+id+"/results/all.zip")
	if code, out, errs = do("tasks", "list", "--project", "field"); code != 0 || strings.Count(out, id) != 1 {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if code, out, _ = do("tasks", "stop", "--project", "field"); code != 0 || !strings.Contains(out, "Done") {
		t.Errorf("to stop what has ended: exit code %d\n%s", code, out)
	}
}
