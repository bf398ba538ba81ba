package odmstand

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a Node.
type Options struct {
	Dir       string // where it keeps what it gets; the caller removes it
	Token     string // "": none is asked for
	MaxImages int    // 0: any number
	Steps     int    // how often a running task is asked for until it is done; 0: 3
	Cluster   bool   // the manner of ClusterODM
	Old       bool   // the manner of NodeODM 1: equal names overwrite, a second init is refused, no estimates

	// Before sees each request first; true: it has answered. It may wait, and it may
	// panic with http.ErrAbortHandler to break a connection.
	Before func(w http.ResponseWriter, r *http.Request) bool
	// HookPause is the time before a try to call a webhook, the first of which is 0;
	// nil: as the node does, none, none, 5 s, 10 s, and so on.
	HookPause func(try int) time.Duration
}

// Node is a stand-in for a NodeODM. It may be used by many at once.
type Node struct {
	o   Options
	mux *http.ServeMux

	mu      sync.Mutex
	tasks   map[string]*task
	order   []string
	fail    *string
	result  []byte
	held    bool
	changed *sync.Cond
	work    sync.WaitGroup
}

// New makes a Node.
func New(o Options) *Node {
	o.Steps = cmp.Or(o.Steps, 3)
	if o.HookPause == nil {
		o.HookPause = func(try int) time.Duration { return time.Duration(max(try-1, 0)) * 5 * time.Second }
	}
	n := &Node{o: o, mux: http.NewServeMux(), tasks: map[string]*task{}}
	n.changed = sync.NewCond(&n.mu)
	n.mux.HandleFunc("GET /info", n.info)
	n.mux.HandleFunc("GET /options", func(w http.ResponseWriter, _ *http.Request) { say(w, knownOptions) })
	n.mux.HandleFunc("POST /task/new", n.create)
	n.mux.HandleFunc("POST /task/new/init", n.begin)
	n.mux.HandleFunc("POST /task/new/upload/{uuid}", n.upload)
	n.mux.HandleFunc("POST /task/new/commit/{uuid}", n.commit)
	n.mux.HandleFunc("GET /task/list", n.list)
	n.mux.HandleFunc("GET /task/{uuid}/info", n.of((*Node).taskInfo))
	n.mux.HandleFunc("GET /task/{uuid}/output", n.of((*Node).output))
	n.mux.HandleFunc("GET /task/{uuid}/download/{asset}", n.of((*Node).download))
	n.mux.HandleFunc("POST /task/cancel", n.act((*Node).cancel))
	n.mux.HandleFunc("POST /task/remove", n.act((*Node).remove))
	n.mux.HandleFunc("POST /task/restart", n.act((*Node).restart))
	return n
}

// ServeHTTP speaks the protocol.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n.o.Before != nil && n.o.Before(w, r) {
		return
	}
	n.mu.Lock()
	token := n.o.Token
	n.mu.Unlock()
	if token != "" && r.URL.Query().Get("token") != token {
		if n.o.Cluster {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		refuse(w, "Invalid authentication token: token does not match.")
		return
	}
	n.mux.ServeHTTP(w, r)
}

// Wait ends when nothing is fetched, unpacked or called any more.
func (n *Node) Wait() { n.work.Wait() }

// Fail lets the tasks that run from now on fail, with or without a reason.
func (n *Node) Fail(reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail = &reason
}

// Hold keeps running tasks where they are, until Release.
func (n *Node) Hold() { n.hold(true) }

// Release ends Hold.
func (n *Node) Release() { n.hold(false) }

func (n *Node) hold(held bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = held
}

// Lose forgets everything, as a node does that is killed before it wrote its list.
func (n *Node) Lose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tasks, n.order = map[string]*task{}, nil
	n.changed.Broadcast()
}

// Cancel is somebody at the node's own page who cancels a task.
func (n *Node) Cancel(uuid string) {
	n.mu.Lock()
	t := n.tasks[uuid]
	n.mu.Unlock()
	if t != nil {
		_ = n.cancel(t)
	}
}

// SetToken asks for another token from now on.
func (n *Node) SetToken(token string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.o.Token = token
}

// SetResult is served as all.zip instead of a true one.
func (n *Node) SetResult(body []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.result = body
}

// Task is what the node has of a task.
type Task struct {
	UUID, Name, Webhook string
	State               int
	Options             []Option
	Images              map[string]string // SHA-1 in hex, by name
	Canceled            bool              // it was, at some time
}

// Tasks lists what the node has, in the order in which it came.
func (n *Node) Tasks() []Task {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []Task
	for _, uuid := range n.order {
		t := n.tasks[uuid]
		all = append(all, Task{
			UUID: t.uuid, Name: t.name, Webhook: t.webhook, State: t.state, Options: t.options, Images: t.images(), Canceled: t.canceled,
		})
	}
	return all
}

// Uploads lists the uuids of the uploads that were begun and not closed.
func (n *Node) Uploads() []string {
	entries, err := os.ReadDir(filepath.Join(n.o.Dir, "tmp"))
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(n.o.Dir, "tmp", e.Name(), bodyFile)); err == nil {
			all = append(all, e.Name())
		}
	}
	return all
}

func (n *Node) info(w http.ResponseWriter, _ *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	queue := 0
	for _, t := range n.tasks {
		if t.state == Queued || t.state == Running {
			queue++
		}
	}
	var most *int
	if n.o.MaxImages > 0 {
		most = &n.o.MaxImages
	}
	say(w, map[string]any{
		"version": "2.2.4", "taskQueueCount": queue, "totalMemory": 16e9, "availableMemory": 8e9, "cpuCores": 4,
		"maxImages": most, "maxParallelTasks": 2, "engineVersion": "3.5.5", "engine": "odm",
	})
}

func (n *Node) list(w http.ResponseWriter, _ *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := []map[string]string{}
	for _, uuid := range n.order {
		all = append(all, map[string]string{"uuid": uuid})
	}
	say(w, all)
}

// say answers with JSON and status 200, like everything that the node says.
func say(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(answer) // who went away does not hear it
}

func refuse(w http.ResponseWriter, format string, args ...any) {
	say(w, map[string]any{"error": fmt.Sprintf(format, args...)})
}

// refusal is a no in the node's own words.
type refusal string

func (r refusal) Error() string { return string(r) }

// of finds a task by the path.
func (n *Node) of(do func(*Node, http.ResponseWriter, *http.Request, *task)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		uuid := r.PathValue("uuid")
		n.mu.Lock()
		t := n.tasks[uuid]
		n.mu.Unlock()
		if t == nil && n.o.Cluster {
			refuse(w, "Invalid route for taskId %s:%s, no task table entry.", uuid, r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
			return
		}
		if t == nil {
			refuse(w, "%s not found", uuid)
			return
		}
		do(n, w, r, t)
	}
}

// act finds a task by a field of a form, or of JSON, which ClusterODM can't read.
func (n *Node) act(do func(*Node, *task) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		uuid := r.PostFormValue("uuid")
		if uuid == "" && !n.o.Cluster && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			var body struct{ UUID string }
			if json.NewDecoder(r.Body).Decode(&body) == nil {
				uuid = body.UUID
			}
		}
		if uuid == "" {
			refuse(w, "uuid param missing.")
			return
		}
		n.mu.Lock()
		t := n.tasks[uuid]
		n.mu.Unlock()
		if t == nil {
			say(w, map[string]any{"success": false, "error": uuid + " not found"})
			return
		}
		if err := do(n, t); err != nil {
			say(w, map[string]any{"success": false, "error": err.Error()})
			return
		}
		say(w, map[string]any{"success": true})
	}
}

func (n *Node) forget(uuid string) {
	delete(n.tasks, uuid)
	n.order = slices.DeleteFunc(n.order, func(u string) bool { return u == uuid })
}
