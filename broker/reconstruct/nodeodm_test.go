package reconstruct_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/reconstruct"
	"github.com/uploadbroker/uploadbroker/broker/reconstruct/odmstand"
)

const (
	nodeToken = "node-secret-7f3a"
	taskToken = "task-secret-91bc-0123456789abcdef0123456789"
	runID     = "3f2b8c1e-7d4a-4e5f-9a6b-0c1d2e3f4a5b"
)

// world is a stand-in node, an engine that speaks to it, and a broker's side with
// images, a zip and a hook.
type world struct {
	t      *testing.T
	node   *odmstand.Node
	engine *reconstruct.NodeODM
	images []memImage
	broken map[string]func() (io.ReadCloser, error) // instead of opening an image

	mu     sync.Mutex
	before func(http.ResponseWriter, *http.Request) bool // of the node
	zips   []string                                      // methods
	hooks  int
	log    bytes.Buffer
	zipURL string

	cutZips int // how many of the next zips break off
}

type memImage struct {
	name string
	data []byte
}

func newWorld(t *testing.T, mode reconstruct.NodeMode, o odmstand.Options, options map[string][]reconstruct.NodeOption) *world {
	t.Helper()
	w := &world{t: t, broken: map[string]func() (io.ReadCloser, error){}}
	for i := range 5 {
		w.images = append(w.images, memImage{fmt.Sprintf("DJI_%04d.jpg", i), bytes.Repeat([]byte{byte(i + 1)}, 100_000+i)})
	}
	o.Dir, o.HookPause = t.TempDir(), func(int) time.Duration { return 0 }
	o.Before = func(rw http.ResponseWriter, r *http.Request) bool {
		w.mu.Lock()
		before := w.before
		w.mu.Unlock()
		return before != nil && before(rw, r)
	}
	w.node = odmstand.New(o)
	node := httptest.NewServer(w.node)
	t.Cleanup(node.Close)
	t.Cleanup(w.node.Wait)
	own := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(own.Close)
	w.zipURL = own.URL + "/zip?token=" + taskToken
	w.engine = w.newEngine(reconstruct.NodeODMOptions{URL: node.URL, Token: o.Token, Mode: mode, Options: options})
	return w
}

func (w *world) newEngine(o reconstruct.NodeODMOptions) *reconstruct.NodeODM {
	w.t.Helper()
	o.Log = slog.New(slog.NewTextHandler(lockedWriter{w}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e, err := reconstruct.NewNodeODM(o)
	if err != nil {
		w.t.Fatal(err)
	}
	e.RetryAfter(0, 0)
	return e
}

type lockedWriter struct{ w *world }

func (l lockedWriter) Write(p []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.log.Write(p)
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	if r.URL.Path == "/zip" {
		w.zips = append(w.zips, r.Method)
	} else {
		w.hooks++
		if w.hooks == 1 {
			rw.WriteHeader(http.StatusNoContent) // which the node takes for a failure
		}
	}
	w.mu.Unlock()
	if r.URL.Path == "/zip" {
		data := w.zipped()
		w.mu.Lock()
		if w.cutZips > 0 && r.Method == http.MethodGet {
			w.cutZips--
			data = data[:len(data)/2]
		}
		w.mu.Unlock()
		_, _ = rw.Write(data)
	}
}

func (w *world) zipped() []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, image := range w.images {
		f, err := z.CreateHeader(&zip.FileHeader{Name: image.name})
		if err == nil {
			_, err = f.Write(image.data)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// intercept answers the node's next requests.
func (w *world) intercept(f func(http.ResponseWriter, *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = f
}

// Each gives the images.
func (w *world) Each(_ context.Context, use func(broker.RunImage) error) error {
	for _, image := range w.images {
		open := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(image.data)), nil }
		if other := w.broken[image.name]; other != nil {
			open = func(context.Context) (io.ReadCloser, error) { return other() }
		}
		if err := use(broker.RunImage{Name: image.name, Type: "image/jpeg", SizeBytes: int64(len(image.data)), Open: open}); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) task() broker.Task {
	return broker.Task{ID: "01J0000000000000000000TASK", RunID: runID, Type: broker.TaskNative, Images: len(w.images)}
}

func (w *world) send() error { return w.sendWith(context.Background()) }

func (w *world) sendWith(ctx context.Context) error {
	base, _, _ := strings.Cut(w.zipURL, "/zip")
	return w.engine.Send(ctx, broker.Run{
		Task: w.task(), Project: broker.Project{Name: "a field, 田"}, ZipURL: w.zipURL, HookURL: base + "/hook/" + taskToken, Token: taskToken, Images: w,
	})
}

func (w *world) status() broker.RunStatus {
	w.t.Helper()
	s, err := w.engine.Status(context.Background(), runID)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// end asks until the run has ended.
func (w *world) end() broker.RunStatus {
	w.t.Helper()
	w.node.Wait() // unpacked
	for range 20 {
		if s := w.status(); s.Phase != broker.RunQueued && s.Phase != broker.RunRunning {
			return s
		}
	}
	w.t.Fatal("the run does not end")
	return broker.RunStatus{}
}

func (w *world) download() ([]byte, error) {
	w.t.Helper()
	results, err := w.engine.Results(context.Background(), w.task())
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || results[0].Name != "all.zip" || results[0].Type != "application/zip" {
		w.t.Fatalf("the results are %+v", results)
	}
	body, err := results[0].Open(context.Background())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// proven downloads the results and holds what the node says it had to what was sent.
func (w *world) proven() {
	w.t.Helper()
	data, err := w.download()
	if err != nil {
		w.t.Fatal(err)
	}
	got, err := odmstand.ReadProof(data)
	if err != nil {
		w.t.Fatal(err)
	}
	want := map[string]string{}
	for _, image := range w.images {
		sum := sha1.Sum(image.data)
		want[image.name] = hex.EncodeToString(sum[:])
	}
	if !maps.Equal(got, want) {
		w.t.Fatalf("the node worked with %v, not %v", got, want)
	}
}

// secretless fails when a text shows what it must not.
func (w *world) secretless(texts ...string) {
	w.t.Helper()
	w.mu.Lock()
	texts = append(texts, w.log.String())
	w.mu.Unlock()
	for _, text := range texts {
		if strings.Contains(text, nodeToken) || strings.Contains(text, taskToken) {
			w.t.Errorf("a secret is told: %s", text)
		}
	}
}

func TestNodeODM(t *testing.T) {
	for _, c := range []struct {
		name string
		mode reconstruct.NodeMode
		o    odmstand.Options
	}{
		{"zip", "", odmstand.Options{Token: nodeToken}},
		{"zip, no token", reconstruct.ModeZip, odmstand.Options{}},
		{"upload", reconstruct.ModeUpload, odmstand.Options{Token: nodeToken}},
		{"upload to an old node", reconstruct.ModeUpload, odmstand.Options{Old: true}},
		{"upload to ClusterODM", reconstruct.ModeUpload, odmstand.Options{Cluster: true, Token: nodeToken}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.mode, c.o, map[string][]reconstruct.NodeOption{
				broker.TaskNative: {{Name: "dsm", Value: true}, {Name: "feature-quality", Value: "low"}, {Name: "crop", Value: 2}},
			})
			if err := w.send(); err != nil {
				t.Fatal(err)
			}
			if err := w.send(); err != nil {
				t.Fatalf("sending again: %v", err)
			}
			tasks := w.node.Tasks()
			if len(tasks) != 1 || tasks[0].UUID != runID || !strings.Contains(tasks[0].Name, "a field, 田") || !strings.HasSuffix(tasks[0].Webhook, "/hook/"+taskToken) {
				t.Fatalf("the node has %+v", tasks)
			}
			if got := fmt.Sprint(tasks[0].Options); got != "[{feature-quality low} {dsm true} {crop 2}]" {
				t.Errorf("its options are %s", got)
			}
			if s := w.end(); s.Phase != broker.RunCompleted || s.Progress != 100 {
				t.Fatalf("it ended as %+v", s)
			}
			w.proven()
			if c.mode == reconstruct.ModeUpload != (len(w.zips) == 0) || len(w.zips) > 0 && !slices.Equal(w.zips, []string{"HEAD", "GET"}) {
				t.Errorf("the zip was asked for by %v", w.zips)
			}
			w.node.Wait()
			if w.hooks != 2 { // the first answer was not 200
				t.Errorf("the hook was called %d times", w.hooks)
			}
			w.secretless()
		})
	}
}

func TestNodeODMPhases(t *testing.T) {
	w := newWorld(t, "", odmstand.Options{Steps: 2}, nil)
	w.node.Hold()
	if err := w.send(); err != nil {
		t.Fatal(err)
	}
	w.node.Wait()
	w.node.Release()
	var phases []string
	for range 4 {
		s := w.status()
		phases = append(phases, fmt.Sprintf("%s %v", s.Phase, s.Progress))
	}
	if want := []string{"queued 0", "running 0", "running 30", "completed 100"}; !slices.Equal(phases, want) {
		t.Errorf("it went %v, not %v", phases, want)
	}
	w.node.Lose()
	if _, err := w.engine.Status(context.Background(), runID); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("a lost run: %v", err)
	}
}

func TestNodeODMFailures(t *testing.T) {
	for _, c := range []struct{ said, cause string }{
		{"Not enough memory", "Not enough memory"},
		{"", "the engine failed without saying why; its output ends: [INFO] Initializing ODM app / [ERROR] The program could not process this dataset using the current settings."},
		{"Invalid URI \"http://10.0.0.1/zip?token=" + taskToken + "\"", "Invalid URI \"(a link)\""},
		{"it\x1b[31m broke\n\u202eabc " + nodeToken, "it [31m broke abc (the token)"},
	} {
		w := newWorld(t, "", odmstand.Options{Token: nodeToken}, nil)
		w.node.Fail(c.said)
		if err := w.send(); err != nil {
			t.Fatal(err)
		}
		if s := w.end(); s.Phase != broker.RunFailed || s.Cause != c.cause {
			t.Errorf("%q: it ended as %+v", c.said, s)
		}
	}
}

func TestNodeODMCancel(t *testing.T) {
	for _, mode := range []reconstruct.NodeMode{reconstruct.ModeZip, reconstruct.ModeUpload} {
		w := newWorld(t, mode, odmstand.Options{Token: nodeToken}, nil)
		ctx := context.Background()
		if err := w.engine.Cancel(ctx, runID); err != nil {
			t.Fatalf("%s: one that is unknown: %v", mode, err)
		}
		if err := w.send(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := w.engine.Cancel(ctx, runID); err != nil {
				t.Fatalf("%s: %v", mode, err)
			}
		}
		if tasks := w.node.Tasks(); len(tasks) != 0 {
			t.Errorf("%s: the node still has %+v", mode, tasks)
		}
	}
	// Somebody else canceled it at the node.
	w := newWorld(t, "", odmstand.Options{}, nil)
	if err := w.send(); err != nil {
		t.Fatal(err)
	}
	w.node.Cancel(runID)
	if s := w.end(); s.Phase != broker.RunCanceled || s.Cause == "" {
		t.Errorf("it ended as %+v", s)
	}
}
