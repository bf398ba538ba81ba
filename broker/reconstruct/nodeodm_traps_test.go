package reconstruct_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/reconstruct"
	"github.com/uploadbroker/uploadbroker/broker/reconstruct/odmstand"
)

func TestNewNodeODM(t *testing.T) {
	for _, c := range []struct {
		url  string
		mode reconstruct.NodeMode
		good bool
	}{
		{"http://node:3000", "", true},
		{"https://odm.example.com/cluster/", reconstruct.ModeUpload, true},
		{"node:3000", "", false},
		{"ftp://node", "", false},
		{"http://", "", false},
		{"http://user:word@node", "", false},
		{"http://node/?token=1", "", false},
		{"http://node", "link", false},
	} {
		_, err := reconstruct.NewNodeODM(reconstruct.NodeODMOptions{URL: c.url, Mode: c.mode})
		if (err == nil) != c.good || err != nil && (broker.CodeOf(err) != broker.CodeInvalid || strings.Contains(err.Error(), "word")) {
			t.Errorf("%q, %q: %v", c.url, c.mode, err)
		}
	}
}

// What a node, a proxy before it or something else at its address may answer.
func TestNodeODMAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		code   broker.Code
	}{
		{"the token is refused", says(`{"error":"Invalid authentication token: token does not match."}`), broker.CodeDenied},
		{"it is unknown", says(`{"error":"3f2b8c1e-7d4a-4e5f-9a6b-0c1d2e3f4a5b not found"}`), broker.CodeNotFound},
		{"ClusterODM does not know it", says(`{"error":"Invalid route for taskId 3f2b:info, no task table entry."}`), broker.CodeNotFound},
		{"an error that is no text", says(`{"error":{"errno":-2,"path":"/x"}}`), broker.CodeInvalid},
		{"an error is null", says(`{"error":null,"uuid":"3F2B8C1E-7D4A-4E5F-9A6B-0C1D2E3F4A5B","status":{"code":20}}`), ""},
		{"a proxy of ClusterODM", says(`{"error":"Proxy redirect error: connect ECONNREFUSED"}`), broker.CodeUnavailable},
		{"another task", says(`{"uuid":"x","status":{"code":40}}`), broker.CodeUnavailable},
		{"a state of the future", says(`{"uuid":"3f2b8c1e-7d4a-4e5f-9a6b-0c1d2e3f4a5b","status":{"code":60}}`), broker.CodeUnavailable},
		{"a page", says(`<html>hello</html>`), broker.CodeUnavailable},
		{"nothing", says(``), broker.CodeUnavailable},
		{"half", says(`{"uuid":"3f2b8c1e`), broker.CodeUnavailable},
		{"a list", says(`[]`), broker.CodeUnavailable},
		{"without end", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(spaces{}, 16<<20)) // until nobody reads
		}, broker.CodeUnavailable},
		{"401", statuses(401), broker.CodeDenied},
		{"403", statuses(403), broker.CodeDenied},
		{"404", statuses(404), broker.CodeUnavailable},
		{"429", statuses(429), broker.CodeTooManyRequests},
		{"502", statuses(502), broker.CodeUnavailable},
		{"a broken connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, broker.CodeUnavailable},
		{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, broker.CodeUnavailable},
	} {
		node := httptest.NewServer(http.HandlerFunc(c.answer))
		e, err := reconstruct.NewNodeODM(reconstruct.NodeODMOptions{URL: node.URL, Token: nodeToken, CallTimeout: 300 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Status(context.Background(), runID)
		if broker.CodeOf(err) != c.code {
			t.Errorf("%s: %v, not %q", c.name, err, c.code)
		}
		if err != nil && strings.Contains(err.Error(), nodeToken) {
			t.Errorf("%s: the token is told: %v", c.name, err)
		}
		node.Close()
		if _, err = e.Status(context.Background(), runID); broker.CodeOf(err) != broker.CodeUnavailable || strings.Contains(err.Error(), nodeToken) {
			t.Errorf("it is down: %v", err)
		}
	}
}

func says(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func statuses(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestNodeODMRefusesToStart(t *testing.T) {
	native := func(o ...reconstruct.NodeOption) map[string][]reconstruct.NodeOption {
		return map[string][]reconstruct.NodeOption{broker.TaskNative: o, broker.TaskDense: {{Name: "unknown-of-dense", Value: 1}}}
	}
	for _, c := range []struct {
		name    string
		mode    reconstruct.NodeMode
		node    odmstand.Options
		options map[string][]reconstruct.NodeOption
		token   string
		code    broker.Code
		says    string
	}{
		{name: "a wrong token", token: "wrong", code: broker.CodeDenied, says: "token"},
		{name: "a wrong token of ClusterODM", mode: reconstruct.ModeUpload, node: odmstand.Options{Cluster: true}, token: "wrong", code: broker.CodeDenied},
		{name: "ClusterODM fetches nothing", node: odmstand.Options{Cluster: true}, code: broker.CodeNotSupported, says: "upload"},
		{name: "too many images", node: odmstand.Options{MaxImages: 4}, code: broker.CodeTooLarge, says: "4 images at most"},
		{name: "as many as it takes", node: odmstand.Options{MaxImages: 5}},
		{name: "an unknown option", options: native(reconstruct.NodeOption{Name: "quality", Value: "low"}), code: broker.CodeInvalid, says: `no option "quality"`},
		{name: "not of the list", options: native(reconstruct.NodeOption{Name: "feature-quality", Value: "best"}), code: broker.CodeInvalid, says: "ultra, high"},
		{name: "a fraction", options: native(reconstruct.NodeOption{Name: "mesh-size", Value: 3.7}), code: broker.CodeInvalid, says: "whole"},
		{name: "below a bound", options: native(reconstruct.NodeOption{Name: "video-resolution", Value: 99}), code: broker.CodeInvalid, says: "integer >= 100"},
		{name: "beyond a range", options: native(reconstruct.NodeOption{Name: "pc-rectify-threshold", Value: 1.5}), code: broker.CodeInvalid, says: "0 <= x <= 1"},
		{name: "at a bound that is out", options: native(reconstruct.NodeOption{Name: "orthophoto-resolution", Value: 0}), code: broker.CodeInvalid, says: "float > 0.0"},
		{name: "negative", options: native(reconstruct.NodeOption{Name: "crop", Value: -1}), code: broker.CodeInvalid, says: "positive float"},
		{name: "no JSON", options: native(reconstruct.NodeOption{Name: "boundary", Value: "{"}), code: broker.CodeInvalid, says: "json"},
		{name: "no bool", options: native(reconstruct.NodeOption{Name: "dsm", Value: "yes"}), code: broker.CodeInvalid, says: "true and false"},
		{name: "good ones", options: native(
			reconstruct.NodeOption{Name: "video-resolution", Value: 100}, reconstruct.NodeOption{Name: "pc-rectify-threshold", Value: 1},
			reconstruct.NodeOption{Name: "orthophoto-resolution", Value: "2.5"}, reconstruct.NodeOption{Name: "boundary", Value: `{"type":"Polygon"}`},
			reconstruct.NodeOption{Name: "orthophoto-compression", Value: "LZW"}, reconstruct.NodeOption{Name: "sm-cluster", Value: "http://c"},
			reconstruct.NodeOption{Name: "fast-orthophoto", Value: "false"})},
	} {
		c.node.Token = nodeToken
		w := newWorld(t, c.mode, c.node, c.options)
		if c.token != "" {
			other := newWorld(t, c.mode, odmstand.Options{Token: c.token + "-other", Cluster: c.node.Cluster}, nil)
			w.node, w.engine = other.node, other.engine
			node := httptest.NewServer(other.node)
			t.Cleanup(node.Close)
			w.engine = w.newEngine(reconstruct.NodeODMOptions{URL: node.URL, Token: nodeToken, Mode: c.mode})
		}
		err := w.send()
		if broker.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, not %q with %q", c.name, err, c.code, c.says)
		}
		if err != nil {
			w.secretless(err.Error())
			if len(w.node.Tasks()) != 0 {
				t.Errorf("%s: the node has a task", c.name)
			}
		}
	}
}

// A node that gives names of its own can't be asked for the run.
func TestNodeODMIgnoresTheName(t *testing.T) {
	w := newWorld(t, "", odmstand.Options{}, nil)
	w.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("set-uuid")
		return false
	})
	if err := w.send(); broker.CodeOf(err) != broker.CodeNotSupported {
		t.Fatal(err)
	}
	if tasks := w.node.Tasks(); len(tasks) != 0 {
		t.Errorf("what it began is left: %+v", tasks)
	}
}

// Two tries at once, or one whose answer was lost: the name is taken between the
// question and the start.
func TestNodeODMNameIsTaken(t *testing.T) {
	w := newWorld(t, "", odmstand.Options{}, nil)
	if err := w.send(); err != nil {
		t.Fatal(err)
	}
	asked := 0
	w.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, runID+"/info") {
			if asked++; asked == 1 {
				_, _ = io.WriteString(rw, `{"error":"`+runID+` not found"}`)
				return true
			}
		}
		return false
	})
	if err := w.send(); err != nil {
		t.Fatal(err)
	}
	if asked != 2 || len(w.node.Tasks()) != 1 {
		t.Errorf("it was asked %d times and has %d tasks", asked, len(w.node.Tasks()))
	}
}

func TestNodeODMResults(t *testing.T) {
	whole := func(w *world) []byte {
		data, err := w.download()
		if err != nil {
			w.t.Fatal(err)
		}
		return data
	}
	for _, c := range []struct {
		name  string
		spoil func(w *world, whole []byte)
		code  broker.Code
	}{
		{"a no instead of a zip", func(w *world, _ []byte) { w.node.SetResult([]byte(`{"error":"Asset not ready"}`)) }, broker.CodeUnavailable},
		{"another no", func(w *world, _ []byte) { w.node.SetResult([]byte(`{"error":"Invalid asset"}`)) }, broker.CodeInvalid},
		{"a page", func(w *world, _ []byte) { w.node.SetResult([]byte("<html>" + strings.Repeat("x", 100_000))) }, broker.CodeUnavailable},
		{"empty", func(w *world, _ []byte) { w.node.SetResult([]byte{}) }, broker.CodeUnavailable},
		{"cut off at the node", func(w *world, whole []byte) { w.node.SetResult(whole[:len(whole)-1]) }, broker.CodeUnavailable},
		{"cut off on the way", func(w *world, whole []byte) {
			w.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "all.zip") {
					return false
				}
				rw.Header().Set("Content-Length", "100000")
				_, _ = rw.Write(whole)
				panic(http.ErrAbortHandler)
			})
		}, broker.CodeUnavailable},
		{"a long zip with a comment", func(w *world, whole []byte) {
			long := append(bytes.Repeat([]byte("PK\x03\x04xxxx"), 100_000), whole...) // zips may have anything before them
			long[len(long)-2] = 3
			w.node.SetResult(append(long, "abc"...))
		}, ""},
		{"an empty zip", func(w *world, whole []byte) { w.node.SetResult(whole[len(whole)-22:]) }, ""},
	} {
		w := newWorld(t, "", odmstand.Options{Token: nodeToken}, nil)
		if err := w.send(); err != nil {
			t.Fatal(err)
		}
		w.end()
		c.spoil(w, whole(w))
		_, err := w.download()
		if broker.CodeOf(err) != c.code {
			t.Errorf("%s: %v, not %q", c.name, err, c.code)
		}
		if err != nil {
			w.secretless(err.Error())
		}
	}
	// The node lost images on the way, and said nothing.
	w := newWorld(t, "", odmstand.Options{}, nil)
	all := w.images
	w.images = all[:3]
	if err := w.send(); err != nil {
		t.Fatal(err)
	}
	w.end()
	w.images = all
	if _, err := w.download(); broker.CodeOf(err) != broker.CodeConflict || !strings.Contains(err.Error(), "3 of 5") {
		t.Errorf("with 3 of 5 images: %v", err)
	}
}

// A ClusterODM may send a reader to a bucket. The next server must not learn the
// token, and nothing that changes something is repeated elsewhere.
func TestNodeODMRedirects(t *testing.T) {
	w := newWorld(t, "", odmstand.Options{Token: nodeToken}, nil)
	if err := w.send(); err != nil {
		t.Fatal(err)
	}
	w.end()
	data, err := w.download()
	if err != nil {
		t.Fatal(err)
	}
	var seen []*http.Request
	bucket := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen = append(seen, r)
		_, _ = rw.Write(data)
	}))
	defer bucket.Close()
	w.intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "all.zip") || r.Method == http.MethodPost {
			http.Redirect(rw, r, bucket.URL+"/all.zip", http.StatusFound)
			return true
		}
		return false
	})
	w.proven()
	if len(seen) != 1 || seen[0].Referer() != "" || strings.Contains(seen[0].URL.String(), nodeToken) {
		t.Errorf("the bucket saw %+v", seen)
	}
	if err := w.engine.Cancel(context.Background(), runID); broker.CodeOf(err) != broker.CodeNotSupported || len(seen) != 1 {
		t.Errorf("a change was sent on: %v, %d requests", err, len(seen))
	}
}

// A stream may take as long as it likes, but not stand still.
func TestNodeODMIdle(t *testing.T) {
	stuck := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/info") && strings.HasPrefix(r.URL.Path, "/task"):
			_, _ = io.WriteString(rw, `{"uuid":"`+runID+`","status":{"code":40}}`)
		case strings.HasSuffix(r.URL.Path, "all.zip"):
			_, _ = io.WriteString(rw, "PK\x03\x04")
			rw.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	defer stuck.Close()
	w := newWorld(t, "", odmstand.Options{}, nil)
	w.engine = w.newEngine(reconstruct.NodeODMOptions{URL: stuck.URL, Token: nodeToken, IdleTimeout: 50 * time.Millisecond})
	_, err := w.download()
	if broker.CodeOf(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "moved no byte") {
		t.Errorf("a download that stands still: %v", err)
	}

	// An image that does not leave its bucket.
	w = newWorld(t, reconstruct.ModeUpload, odmstand.Options{}, nil)
	node := httptest.NewServer(w.node)
	defer node.Close()
	w.engine = w.newEngine(reconstruct.NodeODMOptions{URL: node.URL, Mode: reconstruct.ModeUpload, IdleTimeout: 50 * time.Millisecond})
	r, end := io.Pipe()
	defer end.Close()
	w.broken["DJI_0001.jpg"] = func() (io.ReadCloser, error) { return r, nil }
	if err := w.send(); broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("an image that stands still: %v", err)
	}
}

// The node's fetch of the zip broke off, since this program was killed: the node has
// the run no more, and why is told by whichever process asks.
func TestNodeODMZipBreaksOff(t *testing.T) {
	w := newWorld(t, "", odmstand.Options{Token: nodeToken}, nil)
	w.cutZips = 2
	for range w.cutZips {
		if err := w.send(); err != nil {
			t.Fatal(err)
		}
		w.node.Wait()
		_, err := w.engine.Status(context.Background(), runID)
		if broker.CodeOf(err) != broker.CodeNotFound || !strings.Contains(err.Error(), "public_url") || !strings.Contains(err.Error(), "7z") {
			t.Fatalf("a zip that was cut off: %v", err)
		}
		if tasks := w.node.Tasks(); len(tasks) != 0 {
			t.Errorf("the node still has %+v", tasks)
		}
		w.secretless(err.Error())
	}
	if err := w.send(); err != nil {
		t.Fatal(err)
	}
	w.end()
	w.proven()
}

func TestNodeODMDescribe(t *testing.T) {
	w := newWorld(t, "", odmstand.Options{Token: nodeToken}, map[string][]reconstruct.NodeOption{broker.TaskDense: {{Name: "qualty", Value: 1}}})
	line, err := w.engine.Describe(context.Background())
	if !strings.HasPrefix(line, "NodeODM 2.2") || err == nil || !strings.Contains(err.Error(), "Dense") || !strings.Contains(err.Error(), "qualty") {
		t.Errorf("%q, %v", line, err)
	}
}
