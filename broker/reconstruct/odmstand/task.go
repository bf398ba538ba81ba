package odmstand

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The states of a task.
const (
	Queued    = 10
	Running   = 20
	Failed    = 30
	Completed = 40
	Canceled  = 50
)

// task is guarded by its node's mutex, save for what never changes.
type task struct {
	uuid, name, webhook string
	options             []Option
	dir                 string // data/<uuid>
	created             time.Time

	state    int
	message  string
	step     int // of a task that works
	working  bool
	canceled bool
	ready    bool     // unpacked, or failed at it
	files    []string // images, once ready
	estimate int
	lines    []string
	zip      []byte // all.zip
}

// images gives what lies in the folder.
func (t *task) images() map[string]string {
	all := map[string]string{}
	for _, name := range t.files {
		data, err := os.ReadFile(filepath.Join(t.dir, "images", name))
		if err != nil {
			continue
		}
		sum := sha1.Sum(data)
		all[name] = hex.EncodeToString(sum[:])
	}
	return all
}

// tell is what /info says and the webhook is sent.
func (t *task) tell() map[string]any {
	count := t.estimate
	if t.ready {
		count = len(t.files)
	}
	status := map[string]any{"code": t.state}
	if t.message != "" {
		status["errorMessage"] = t.message
	}
	return map[string]any{
		"uuid": t.uuid, "name": t.name, "dateCreated": t.created.UnixMilli(), "processingTime": time.Since(t.created).Milliseconds(),
		"status": status, "options": t.options, "imagesCount": count, "progress": t.progress(),
	}
}

func (t *task) progress() float64 {
	if t.state == Completed {
		return 100
	}
	return min(float64(t.step)*30, 97)
}

// taskInfo answers, and moves the task on: it works as long as somebody watches.
func (n *Node) taskInfo(w http.ResponseWriter, _ *http.Request, t *task) {
	n.mu.Lock()
	defer n.mu.Unlock()
	say(w, t.tell())
	n.advance(t)
}

// advance takes a task a step further: queued, working, ended.
func (n *Node) advance(t *task) {
	switch {
	case n.held || !t.ready:
	case t.state == Queued:
		t.state, t.working = Running, true
		t.lines = append(t.lines, "[INFO]    Initializing ODM app")
	case t.state == Running && t.working:
		if t.step++; t.step >= n.o.Steps {
			n.finish(t)
		}
	}
}

func (n *Node) finish(t *task) {
	t.working = false
	if n.fail != nil {
		t.state, t.message = Failed, *n.fail
		t.lines = append(t.lines, "[ERROR]   The program could not process this dataset using the current settings.")
	} else {
		t.state, t.zip = Completed, t.archive()
		t.lines = append(t.lines, "[INFO]    ODM app finished")
	}
	n.callHook(t)
}

// archive makes all.zip: the proof of what arrived.
func (t *task) archive() []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	put := func(name string, text string) {
		f, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(f, text)
		}
		if err != nil {
			panic(err) // into memory
		}
	}
	sums := t.images()
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&lines, "%s  %s\n", sums[name], name)
	}
	put("odm_report/images.sha1", lines.String())
	put("task_output.txt", strings.Join(t.lines, "\n"))
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// ReadProof reads what all.zip says of the images: SHA-1 in hex, by name.
func ReadProof(zipped []byte) (map[string]string, error) {
	z, err := zip.NewReader(bytes.NewReader(zipped), int64(len(zipped)))
	if err != nil {
		return nil, err
	}
	f, err := z.Open("odm_report/images.sha1")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok {
			return nil, fmt.Errorf("a line that is no sum and name: %q", line)
		}
		all[name] = sum
	}
	return all, nil
}

// callHook tells the webhook. Only an answer of exactly 200 counts.
func (n *Node) callHook(t *task) {
	if len(t.webhook) <= 3 {
		return
	}
	told := t.tell()
	told["images"] = []any{}
	body, err := json.Marshal(told)
	if err != nil {
		panic(err)
	}
	n.work.Go(func() {
		for try := range 6 {
			time.Sleep(n.o.HookPause(try))
			resp, err := http.Post(t.webhook, "application/json", bytes.NewReader(body))
			if err != nil {
				continue
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	})
}

// output gives the lines from a number on; a negative one counts from the end, as
// JavaScript's slice does.
func (n *Node) output(w http.ResponseWriter, r *http.Request, t *task) {
	n.mu.Lock()
	defer n.mu.Unlock()
	from, _ := strconv.Atoi(r.URL.Query().Get("line")) // no number: all
	if from < 0 {
		from = max(len(t.lines)+from, 0)
	}
	say(w, append([]string{}, t.lines[min(from, len(t.lines)):]...))
}

func (n *Node) download(w http.ResponseWriter, r *http.Request, t *task) {
	n.mu.Lock()
	body := t.zip
	if body != nil && n.result != nil {
		body = n.result
	}
	n.mu.Unlock()
	switch {
	case r.PathValue("asset") != "all.zip":
		refuse(w, "Invalid asset")
	case body == nil:
		refuse(w, "Asset not ready")
	default:
		w.Header().Set("Content-Disposition", "attachment; filename=all.zip")
		w.Header().Set("Content-Type", "application/zip")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}
}

func (n *Node) cancel(t *task) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	t.state, t.working, t.canceled = Canceled, false, true
	return nil
}

// remove cancels and deletes, once the task is unpacked.
func (n *Node) remove(t *task) error {
	if err := n.cancel(t); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for !t.ready {
		n.changed.Wait()
	}
	n.forget(t.uuid)
	return os.RemoveAll(t.dir)
}

func (n *Node) restart(t *task) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t.state != Canceled && t.state != Failed && t.state != Completed {
		return refusal("Task cannot be restarted")
	}
	t.state, t.step, t.message, t.zip = Queued, 0, "", nil
	return nil
}

var uuidForm = regexp.MustCompile(`(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
