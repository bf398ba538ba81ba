package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker/reconstruct/odmstand"
)

// reconWorld is a server with a NodeODM beside it, which is a stand-in.
type reconWorld struct {
	*server
	node   *odmstand.Node
	before atomic.Pointer[func(http.ResponseWriter, *http.Request) bool] // of the node
	config string
	images map[string][][]byte // by project
}

const odmToken = "odm-token-5c1f0e"

func newReconWorld(t *testing.T, mode string) *reconWorld {
	t.Helper()
	w := &reconWorld{images: map[string][][]byte{}}
	w.node = odmstand.New(odmstand.Options{
		Dir: t.TempDir(), Token: odmToken, Steps: 2, HookPause: func(int) time.Duration { return 0 },
		Before: func(rw http.ResponseWriter, r *http.Request) bool {
			f := w.before.Load()
			return f != nil && (*f)(rw, r)
		},
	})
	node := httptest.NewServer(w.node)
	t.Cleanup(node.Close)
	address := freeAddress(t)
	dir := t.TempDir()
	w.config = filepath.Join(dir, "config.yaml")
	write(t, filepath.Join(dir, "token"), []byte(odmToken+"\n"))
	write(t, w.config, fmt.Appendf(nil, `listen: %[1]s
public_url: http://%[1]s
reconstruction:
  engine: nodeodm
  url: %[2]s
  token_file: %[3]s
  mode: %[4]s
  poll: 1s
  options: {native: {dsm: true, orthophoto-resolution: 2}}
`, address, node.URL, filepath.Join(dir, "token"), mode))
	w.server = begin(t, dataFolder(t), nil, nil, "--config", w.config)
	w.waitReady()
	return w
}

// intercept sees the node's next requests; nil: nobody does.
func (w *reconWorld) intercept(f func(http.ResponseWriter, *http.Request) bool) {
	if f == nil {
		w.before.Store(nil)
		return
	}
	w.before.Store(&f)
}

// restart is what follows kill -9.
func (w *reconWorld) restart() {
	w.t.Helper()
	w.kill()
	key := w.key
	w.server = begin(w.t, w.data, nil, nil, "--config", w.config)
	w.waitReady()
	w.key = key
}

// bring makes a project and registers images as started; put uploads them.
func (w *reconWorld) bring(name string, n int) (pid string, put func()) {
	w.t.Helper()
	pid = w.newProject(name)
	var entries []map[string]any
	var files [][]byte
	for i := range n {
		f := photo(uint64(len(w.images)*100+i), 320, 240)
		// Equal names in folders: an engine knows no folders.
		e := entry(fmt.Sprintf("%dMEDIA/DJI_0001.JPG", 100+i), f)
		e["start"] = true
		entries, files = append(entries, e), append(files, f)
	}
	var answer struct{ Results []result }
	if status := w.call("POST", "/v1/projects/"+pid+"/images/register", map[string]any{"images": entries}, &answer); status != http.StatusOK {
		w.t.Fatalf("register: %d", status)
	}
	w.images[pid] = files
	return pid, func() {
		w.t.Helper()
		for i, r := range answer.Results {
			if status := r.put(w.t, files[i]); status != http.StatusOK {
				w.t.Fatalf("put: %d", status)
			}
		}
	}
}

// preStart asks for a reconstruction as the old clients do.
func (w *reconWorld) preStart(pid string) string {
	w.t.Helper()
	var answer struct {
		PreStartReconstruction struct {
			Error *struct{ Message string }
			Task  *struct{ ID, State string }
		}
	}
	w.ask(fmt.Sprintf(`mutation{preStartReconstruction(id:%q){error{message} task{id state}}}`, pid), &answer)
	got := answer.PreStartReconstruction
	if got.Error != nil || got.Task == nil || got.Task.State != "Pending" {
		w.t.Fatalf("pre-start answers %+v", got)
	}
	return got.Task.ID
}

func (w *reconWorld) waitTask(id, state string) toldTask {
	w.t.Helper()
	w.waitFor("the task to be "+state, func() bool {
		told := w.task(id)
		if told.State != state && slices.Contains([]string{"Done", "Failed", "Stopped"}, told.State) {
			w.t.Fatalf("the task ended as %+v:\n%s", told, w.out)
		}
		return told.State == state
	})
	return w.task(id)
}

// proven holds a result's proof to what was uploaded: every byte went through bucket,
// engine and back, under a name of its own.
func (w *reconWorld) proven(pid, id string) {
	w.t.Helper()
	done := w.task(id)
	if len(done.Results) != 1 || done.Results[0].Name != "all.zip" || done.Progress != 100 {
		w.t.Fatalf("the results are %+v", done)
	}
	data := w.download("/v1/tasks/" + id + "/results/all.zip")
	if int64(len(data)) != done.Results[0].Size {
		w.t.Errorf("the result has %d bytes, %d are told", len(data), done.Results[0].Size)
	}
	proof, err := odmstand.ReadProof([]byte(data))
	if err != nil {
		w.t.Fatal(err)
	}
	var want []string
	for _, f := range w.images[pid] {
		want = append(want, sha1Hex(f))
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Values(proof)); !slices.Equal(got, want) {
		w.t.Errorf("the engine worked with %v, uploaded were %v", proof, want)
	}
	for name := range proof {
		if strings.ToLower(filepath.Ext(name)) != ".jpg" || strings.ContainsAny(name, "/\\ ") {
			w.t.Errorf("an engine got the name %q", name)
		}
	}
}

// secretless fails when the log tells what it must not.
func (w *reconWorld) secretless() {
	w.t.Helper()
	text := w.out.String()
	secrets := []string{odmToken}
	for _, task := range w.node.Tasks() {
		secrets = append(secrets, task.Webhook[strings.LastIndexByte(task.Webhook, '/')+1:])
	}
	for _, s := range secrets {
		if strings.Contains(text, s) {
			w.t.Errorf("the log tells a secret, %s:\n%s", s, text)
		}
	}
}

// TestReconstruction: a reconstruction is asked for while photos are on their way,
// begins when they are judged, goes on after kill -9 while the engine runs, and its
// result comes back whole.
func TestReconstruction(t *testing.T) {
	for _, mode := range []string{"zip", "upload"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newReconWorld(t, mode)
			w.node.Hold()
			pid, put := w.bring("a field, 田", 4)
			id := w.preStart(pid)
			if again := w.preStart(pid); again != id {
				t.Errorf("asked for again, it is another: %s, %s", id, again)
			}
			if told := w.task(id); told.State != "Pending" || len(w.node.Tasks()) != 0 {
				t.Errorf("before the photos came it is %+v, the engine has %+v", told, w.node.Tasks())
			}
			put()
			w.waitFor("the engine to have the task", func() bool { return len(w.node.Tasks()) == 1 })
			w.waitFor("the task to be at the engine", func() bool { return w.task(id).Stage == "running" })
			w.restart()
			w.node.Release()
			w.waitTask(id, "Done")
			w.proven(pid, id)
			tasks := w.node.Tasks()
			if len(tasks) != 1 || len(tasks[0].Images) != 4 {
				t.Errorf("the engine has %+v", tasks)
			}
			if got := fmt.Sprint(tasks[0].Options); got != "[{dsm true} {orthophoto-resolution 2}]" {
				t.Errorf("its options are %s", got)
			}
			w.secretless()
		})
	}
}

// TestReconstructionKilledWhileSending: what was uploaded to the engine before kill -9
// does not get among what is uploaded after it.
func TestReconstructionKilledWhileSending(t *testing.T) {
	t.Parallel()
	w := newReconWorld(t, "upload")
	pid, put := w.bring("killed", 6)
	sent, let := make(chan struct{}), make(chan struct{})
	var uploads atomic.Int32
	w.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		// The question whether there is an upload is short.
		if strings.HasPrefix(r.URL.Path, "/task/new/upload/") && r.ContentLength > 1000 && uploads.Add(1) == 4 {
			close(sent)
			select { // the fourth never comes through
			case <-let:
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler)
		}
		return false
	})
	id := w.preStart(pid)
	put()
	select {
	case <-sent:
	case <-time.After(patience):
		t.Fatalf("nothing is sent:\n%s", w.out)
	}
	w.restart()
	close(let)
	w.waitTask(id, "Done")
	w.proven(pid, id)
	if n := uploads.Load(); n < 6+4 {
		t.Errorf("%d images were uploaded: what was left of the first try was taken", n)
	}
	if tasks, open := w.node.Tasks(), w.node.Uploads(); len(tasks) != 1 || len(open) != 0 {
		t.Errorf("the engine has %+v, and open are %v", tasks, open)
	}
	w.secretless()
}

// TestReconstructionTroubles: an engine that is away for a while, one that refuses the
// token, one that fails, one that loses a run, and a task that is stopped.
func TestReconstructionTroubles(t *testing.T) {
	t.Parallel()
	w := newReconWorld(t, "zip")
	ready := func(name string) string {
		t.Helper()
		pid, put := w.bring(name, 2)
		put()
		w.waitFor("the photos to be judged", func() bool {
			var p struct{ Counts map[string]int }
			w.call("GET", "/v1/projects/"+pid, nil, &p)
			return p.Counts["Ready"] == 2
		})
		return pid
	}
	begin := func(pid string) string {
		t.Helper()
		var told toldTask
		if status := w.call("POST", "/v1/projects/"+pid+"/tasks", nil, &told); status != http.StatusCreated {
			t.Fatalf("it is started with %d: %+v", status, told)
		}
		return told.ID
	}
	pid := ready("troubles")

	// Away: three times in a row nobody answers.
	var tries atomic.Int32
	w.intercept(func(http.ResponseWriter, *http.Request) bool {
		if tries.Add(1) <= 3 {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	id := begin(pid)
	var problem struct {
		Code  string
		Fault struct {
			Number int
			Name   string
		}
	}
	if status := w.call("POST", "/v1/projects/"+pid+"/tasks", nil, &problem); status != http.StatusConflict || problem.Code != "already_running" || problem.Fault.Number != 4 {
		t.Errorf("a second start: %d, %+v", status, problem)
	}
	w.waitTask(id, "Done")
	w.proven(pid, id)
	w.intercept(nil)
	if tries.Load() <= 3 {
		t.Error("the engine was not away")
	}

	// It forgets a run, as after a crash of its own: the run is sent again.
	w.node.Hold()
	id = begin(pid)
	w.waitFor("the task to be at the engine", func() bool { return w.task(id).Stage == "running" })
	w.node.Lose()
	w.node.Release()
	w.waitTask(id, "Done")
	w.proven(pid, id)

	// It fails, and says why.
	w.node.Fail("Not enough memory")
	id = begin(pid)
	if told := w.waitTask(id, "Failed"); told.Fault == nil || told.Fault.Name != "ENGINE_FAILED" || told.Cause != "Not enough memory" {
		t.Errorf("it failed as %+v", told)
	}

	// It refuses the token.
	w.node.SetToken("another")
	id = begin(pid)
	if told := w.waitTask(id, "Failed"); !strings.Contains(told.Cause, "token") || strings.Contains(told.Cause, odmToken) {
		t.Errorf("it failed as %+v", told)
	}
	w.node.SetToken(odmToken)

	// It is stopped.
	before := len(w.node.Tasks())
	w.node.Hold()
	id = begin(pid)
	w.waitFor("the task to be at the engine", func() bool { return w.task(id).Stage == "running" && len(w.node.Tasks()) == before+1 })
	var stopped struct{ StopReconstruction struct{ ID, State string } }
	w.ask(fmt.Sprintf(`mutation{stopReconstruction(id:%q){id state}}`, pid), &stopped)
	if got := stopped.StopReconstruction; got.ID != id || got.State != "Stopped" {
		t.Errorf("stopped is %+v", got)
	}
	w.waitFor("the engine to give it up", func() bool { return len(w.node.Tasks()) == before })
	w.secretless()
}

func TestConfigOfReconstruction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	public := "public_url: http://up.example.com\n"
	for _, c := range []struct{ text, fault string }{
		{public + "reconstruction: {engine: nodeodm, url: http://node:3000}", ""},
		{public + "reconstruction: {engine: nodeodm, url: http://node:3000/odm, mode: upload, token: t, poll: 1s, patience: 720h}", ""},
		{public + "reconstruction: {engine: nodeodm, url: http://node, options: {native: {a: 1, b: x, c: 1.5, d: false}, dense: {}}}", ""},
		{public + "reconstruction: {}", ""},
		{public + "reconstruction: {poll: 10s}", ""},
		{public + "reconstruction: {engine: webhook, url: https://engine.example.com/run, secrets: [" + testSecret + "]}", ""},
		{"reconstruction: {engine: nodeodm, url: http://node:3000}", "reconstruction: set public_url"},
		{public + "reconstruction: {url: http://node:3000}", "reconstruction.engine:"},
		{public + "reconstruction: {engine: odm, url: http://node:3000}", "reconstruction.engine:"},
		{public + "reconstruction: {engine: nodeodm}", "reconstruction.url:"},
		{public + "reconstruction: {engine: nodeodm, url: 'http://a:b@node'}", "reconstruction.url:"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, mode: link}", "reconstruction.mode:"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, poll: 10ms}", "reconstruction.poll:"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, patience: 0s}", "reconstruction.patience:"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, token: a, token_file: b}", "reconstruction.token_file:"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, token_file: /nowhere}", "reconstruction.token_file:"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, secrets: [" + testSecret + "]}", "reconstruction.secrets:"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, options: {Native: {a: 1}}}", "reconstruction.options.Native:"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, options: {native: {--dsm: true}}}", "reconstruction.options.native.--dsm:"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, options: {native: {a: [1]}}}", "line 2"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, options: {native: {a: }}}", "a text, a number"},
		{public + "reconstruction: {engine: nodeodm, url: http://node, speed: 1}", "unknown key speed"},
		{public + "reconstruction: {engine: webhook, url: https://engine.example.com/run}", "reconstruction.secrets:"},
		{public + "reconstruction: {engine: webhook, url: https://engine.example.com/run, secrets: [" + testSecret + "], token: t, mode: zip}", "reconstruction.token:"},
		{public + "reconstruction: {engine: webhook, secrets: [" + testSecret + "]}", "reconstruction.url:"},
	} {
		write(t, path, []byte(c.text+"\n"))
		_, err := configFlags{ConfigFile: path}.load(func(c *config) { c.drives = true })
		switch {
		case c.fault == "" && err != nil:
			t.Errorf("%s: %v", c.text, err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), "line ")):
			t.Errorf("%s: %q is not told with its line: %v", c.text, c.fault, err)
		}
	}
	// An operator's command works without the address that a server needs.
	write(t, path, []byte("reconstruction: {engine: nodeodm, url: http://node:3000}\n"))
	if _, err := (configFlags{ConfigFile: path}).load(nil); err != nil {
		t.Error(err)
	}
}

// config check asks the engine whether it is there, and whether it knows its options.
func TestConfigCheckAsksTheEngine(t *testing.T) {
	t.Parallel()
	node := httptest.NewServer(odmstand.New(odmstand.Options{Dir: t.TempDir(), Token: odmToken}))
	path := filepath.Join(t.TempDir(), "config.yaml")
	check := func(more string) (int, string) {
		t.Helper()
		write(t, path, []byte("public_url: http://up.example.com\nreconstruction: {engine: nodeodm, url: '"+node.URL+"'"+more+"}\n"))
		return runCommand(t, nil, "config", "check", path)
	}
	for _, c := range []struct {
		more string
		code int
		says string
	}{
		{", token: " + odmToken + ", options: {native: {dsm: true}}", 0, "NodeODM 2.2.4 with odm 3.5.5, 0 in its queue"},
		{", token: " + odmToken + ", options: {dense: {dms: true}}", exitNotReady, `knows no option "dms"`},
		{", token: wrong", exitNotReady, "refuses this server's token"},
	} {
		if code, out := check(c.more); code != c.code || !strings.Contains(out, c.says) || strings.Contains(out, odmToken) {
			t.Errorf("%s: %d, %s", c.more, code, out)
		}
	}
	node.Close()
	if code, out := check(""); code != 0 || !strings.Contains(out, "not reached now") {
		t.Errorf("an engine that is away: %d, %s", code, out)
	}
}
