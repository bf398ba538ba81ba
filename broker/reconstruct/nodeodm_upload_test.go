package reconstruct_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/reconstruct"
	"github.com/uploadbroker/uploadbroker/broker/reconstruct/odmstand"
)

var manners = map[string]odmstand.Options{
	"NodeODM 2": {Token: nodeToken}, "NodeODM 1": {Token: nodeToken, Old: true}, "ClusterODM": {Token: nodeToken, Cluster: true},
}

// breakUploads breaks the connection of uploads in the midst of an image: the node
// gets the first bytes of its body and then no more.
func breakUploads(times int32) (func(http.ResponseWriter, *http.Request) bool, *atomic.Int32) {
	var left, broken atomic.Int32
	left.Store(times)
	return func(_ http.ResponseWriter, r *http.Request) bool {
		// The probe for an open upload has a short body.
		if strings.HasPrefix(r.URL.Path, "/task/new/upload/") && r.ContentLength > 50_000 && left.Add(-1) >= 0 {
			broken.Add(1)
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(io.LimitReader(r.Body, 40_000), failing{}), r.Body}
			r.Header.Set("X-Broken", "yes")
		}
		return false
	}, &broken
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A transfer that breaks off leaves a piece at the node. It must never be among what
// the node works with.
func TestNodeODMUploadBreaksOff(t *testing.T) {
	for name, o := range manners {
		w := newWorld(t, reconstruct.ModeUpload, o, nil)
		before, broken := breakUploads(1)
		w.intercept(before)
		err := w.send()
		if broken.Load() != 1 {
			t.Fatalf("%s: no upload was broken", name)
		}
		if name == "NodeODM 2" {
			if broker.CodeOf(err) != broker.CodeUnavailable {
				t.Fatalf("%s: a piece was taken for an image: %v", name, err)
			}
			if tasks := w.node.Tasks(); len(tasks) != 0 {
				t.Fatalf("%s: the task with the piece is still there: %+v", name, tasks)
			}
			err = w.send()
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.end()
		w.proven()
		w.secretless()
	}
}

// The program is killed while it sends; what it sent is at the node, in an upload
// that is open.
func TestNodeODMUploadAfterKill(t *testing.T) {
	for name, o := range manners {
		for _, piece := range []bool{false, true} {
			w := newWorld(t, reconstruct.ModeUpload, o, nil)
			ctx, kill := context.WithCancel(context.Background())
			w.broken["DJI_0003.jpg"] = func() (io.ReadCloser, error) {
				kill()
				return nil, errors.New("killed")
			}
			if piece {
				before, _ := breakUploads(1)
				w.intercept(before)
			}
			if err := w.sendWith(ctx); err == nil {
				t.Fatalf("%s: it was killed, and sent", name)
			}
			w.intercept(nil)
			delete(w.broken, "DJI_0003.jpg")
			if len(w.node.Uploads()) != 1 {
				t.Fatalf("%s: open are %v", name, w.node.Uploads())
			}
			if err := w.send(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			w.end()
			w.proven()
			if tasks := w.node.Tasks(); len(tasks) != 1 {
				t.Errorf("%s: the node has %d tasks", name, len(tasks))
			}
		}
	}
}

// Killed once more while the first try's remains were removed.
func TestNodeODMDiscardAfterKill(t *testing.T) {
	w := newWorld(t, reconstruct.ModeUpload, odmstand.Options{Token: nodeToken}, nil)
	for _, killed := range []string{"/task/new/commit/", "/task/remove"} { // all is sent, and not closed; what it left is closed, and not removed
		w.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, killed) {
				panic(http.ErrAbortHandler)
			}
			return false
		})
		if err := w.send(); broker.CodeOf(err) != broker.CodeUnavailable {
			t.Fatal(err)
		}
	}
	w.node.Wait()
	if tasks := w.node.Tasks(); len(tasks) != 1 || len(tasks[0].Images) != len(w.images) {
		t.Fatalf("what is left does not look like the task: %+v", tasks)
	}
	w.intercept(nil)
	if err := w.send(); err != nil {
		t.Fatal(err)
	}
	if tasks := w.node.Tasks(); len(tasks) != 1 || !strings.Contains(tasks[0].Name, "a field") {
		t.Fatalf("the remains were taken for the task: %+v", tasks)
	}
	w.end()
	w.proven()
}

func TestNodeODMStoppedWhileSending(t *testing.T) {
	for name, o := range manners {
		w := newWorld(t, reconstruct.ModeUpload, o, nil)
		w.broken["DJI_0004.jpg"] = func() (io.ReadCloser, error) { return nil, broker.Errorf(broker.CodeChanged, "changed") }
		if err := w.send(); broker.CodeOf(err) != broker.CodeChanged {
			t.Fatalf("%s: %v", name, err)
		}
		if err := w.engine.Cancel(context.Background(), runID); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(w.node.Uploads()) != 0 || len(w.node.Tasks()) != 0 {
			t.Errorf("%s: the node still has %v and %+v", name, w.node.Uploads(), w.node.Tasks())
		}
	}
}

// What goes wrong on the way to the node, or in the bucket.
func TestNodeODMUploadTroubles(t *testing.T) {
	fails := func(times int32, path string, answer func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		var left atomic.Int32
		left.Store(times)
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, path) || strings.HasPrefix(path, "/task/new/upload/") && r.ContentLength < 50_000 || left.Add(-1) < 0 {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			answer(w)
			return true
		}
	}
	status := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(code) }
	}
	says := func(text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = io.WriteString(w, text) }
	}
	for _, c := range []struct {
		name   string
		before func(http.ResponseWriter, *http.Request) bool
		code   broker.Code
	}{
		{"two refusals as testDropUploads makes them", fails(2, "/task/new/upload/", status(500)), ""},
		{"refused for long", fails(99, "/task/new/upload/", status(500)), broker.CodeUnavailable},
		{"too large for a proxy", fails(99, "/task/new/upload/", status(413)), broker.CodeTooLarge},
		{"the disk is full for a moment", fails(1, "/task/new/upload/", says(`{"error":"ENOSPC: no space left on device, write"}`)), ""},
		{"the upload is gone", fails(1, "/task/new/upload/", says(`{"error":"Invalid uuid (not found)"}`)), broker.CodeUnavailable},
		{"no retry", fails(1, "/task/new/upload/", says(`{"error":"Need at least 1 file.","noRetry":true}`)), broker.CodeInvalid},
		{"the commit is refused", fails(1, "/task/new/commit/", says(`{"error":"ENOENT: no such file or directory, open 'tmp'"}`)), broker.CodeUnavailable},
		{"no node is online", fails(1, "/task/new/init", says(`{"error":"Cannot create task, no nodes are online."}`)), broker.CodeUnavailable},
		{"too many", fails(1, "/task/new/init", says(`{"error":"Reached maximum number of concurrent tasks: 2."}`)), broker.CodeTooManyRequests},
	} {
		w := newWorld(t, reconstruct.ModeUpload, odmstand.Options{Token: nodeToken}, nil)
		w.intercept(c.before)
		err := w.send()
		if broker.CodeOf(err) != c.code {
			t.Errorf("%s: %v, not %q", c.name, err, c.code)
			continue
		}
		if err == nil {
			w.end()
			w.proven()
		} else {
			w.secretless(err.Error())
		}
	}
}

// The commit went through and its answer was lost.
func TestNodeODMCommitAnswerLost(t *testing.T) {
	w := newWorld(t, reconstruct.ModeUpload, odmstand.Options{Token: nodeToken}, nil)
	w.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/task/new/commit/") && r.Header.Get("X-Again") == "" {
			again := r.Clone(context.Background())
			again.Header.Set("X-Again", "yes")
			w.node.ServeHTTP(discarder{}, again)
			panic(http.ErrAbortHandler)
		}
		return false
	})
	if err := w.send(); err != nil {
		t.Fatal(err)
	}
	w.end()
	w.proven()
}

type discarder struct{}

func (discarder) Header() http.Header         { return http.Header{} }
func (discarder) Write(p []byte) (int, error) { return len(p), nil }
func (discarder) WriteHeader(int)             {}

func TestNodeODMObjectFails(t *testing.T) {
	image := bytes.Repeat([]byte{3}, 100_002)
	reader := func(r io.Reader) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(r), nil }
	}
	for _, c := range []struct {
		name string
		open func() (io.ReadCloser, error)
		code broker.Code
	}{
		{"it changed", func() (io.ReadCloser, error) { return nil, broker.Errorf(broker.CodeChanged, "DJI_0002.jpg changed") }, broker.CodeChanged},
		{"its bucket is away", func() (io.ReadCloser, error) { return nil, broker.Errorf(broker.CodeUnavailable, "away") }, broker.CodeUnavailable},
		{"it is short", reader(bytes.NewReader(image[:50_000])), broker.CodeUnavailable},
		{"it breaks off", reader(io.MultiReader(bytes.NewReader(image[:50_000]), failing{})), broker.CodeUnavailable},
		{"it changed on the way", reader(io.MultiReader(bytes.NewReader(image[:50_000]), coded{})), broker.CodeChanged},
	} {
		w := newWorld(t, reconstruct.ModeUpload, odmstand.Options{Token: nodeToken}, nil)
		w.broken["DJI_0002.jpg"] = c.open
		if err := w.send(); broker.CodeOf(err) != c.code {
			t.Errorf("%s: %v, not %s", c.name, err, c.code)
		}
		if tasks := w.node.Tasks(); len(tasks) != 0 {
			t.Errorf("%s: the node has %+v", c.name, tasks)
		}
	}
}

type coded struct{}

func (coded) Read([]byte) (int, error) { return 0, broker.Errorf(broker.CodeChanged, "changed") }
