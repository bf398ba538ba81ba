package worker_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/worker"
)

// TestTheWholePath: register, PUT with the grant, be seen, be judged.
func TestTheWholePath(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	good, cut := photo(1), photo(2)
	cut = cut[:len(cut)-20]
	files := map[string][]byte{"good.jpg": good, "cut.jpg": cut, "text.jpg": []byte("no picture at all")}
	var entries []broker.Entry
	for _, name := range []string{"good.jpg", "cut.jpg", "text.jpg"} {
		entries = append(entries, broker.Entry{
			Name: name, SHA1: broker.SHA1(sha1.Sum(files[name])).String(), SizeBytes: int64(len(files[name])), Start: true,
		})
	}
	registered, err := w.images.Register(t.Context(), w.by, p.ID, broker.Target{Bucket: "A"}, entries)
	if err != nil {
		t.Fatal(err)
	}
	start(t, w.Worker)
	for _, r := range registered {
		if r.Grant == nil {
			t.Fatal(r.Err)
		}
		req, err := http.NewRequestWithContext(t.Context(), r.Grant.Request.Method, w.server.URL+r.Grant.Request.URL, bytes.NewReader(files[r.Image.Name]))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range r.Grant.Request.Headers {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("PUT %s: %s %s", r.Image.Name, res.Status, text)
		}
	}
	for i, want := range []struct {
		state  broker.State
		reason broker.ReasonCode
	}{{broker.StateReady, ""}, {broker.StateInvalid, broker.ReasonTruncated}, {broker.StateInvalid, broker.ReasonUnsupportedFormat}} {
		img := registered[i].Image
		eventually(t, img.Name+" is judged", func() bool { s := w.image(t, img).State; return s == broker.StateReady || s == broker.StateInvalid })
		got := w.image(t, img)
		if got.State != want.state || want.reason != "" && got.Reasons[0].Code != want.reason {
			t.Errorf("%s is %s %v", img.Name, got.State, got.Reasons)
		}
		if got.ProvenSHA1 != got.SHA1 || got.ProvenBytes != got.SizeBytes || got.Bucket != "A" || got.ETag == "" {
			t.Errorf("%s: %+v", img.Name, got)
		}
	}
	eventually(t, "the watch sleeps", func() bool { return w.count(t, `watches WHERE next_look_at IS NOT NULL`) == 0 })
	if n := w.count(t, `verdicts`); n != 3 {
		t.Errorf("%d verdicts", n)
	}
	if n := w.count(t, `leases`); n != 0 {
		t.Errorf("%d leases are left", n)
	}
}

func TestLookAt(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data := photo(1)
	img := w.register(t, p, "A", data)[0]

	// A hint without an object is no object.
	if err := w.LookAt(t.Context(), "A", img.Key()); err != nil {
		t.Error(err)
	}
	w.wantState(t, img, broker.StatePending)
	etag := put(t, w.a, img.Key(), data)
	put(t, w.b, img.Key(), data)
	// Neither in a bucket without a grant, nor for keys that are not ours.
	for _, hint := range [][2]string{
		{"B", img.Key()}, {"A", "x"}, {"A", ""}, {"A", img.Filename}, {"A", p.ID}, {"A", p.ID + "/"}, {"A", "/" + img.Key()}, {"A", img.Key() + "/x"},
		{"A", strings.ToLower(img.Key())}, {"A", img.ProjectID + "/../" + img.Key()},
	} {
		if err := w.LookAt(t.Context(), hint[0], hint[1]); err != nil && broker.CodeOf(err) != broker.CodeInvalidName {
			t.Errorf("LookAt(%q): %v", hint, err)
		}
		w.wantState(t, img, broker.StatePending)
	}
	if err := w.LookAt(t.Context(), "C", img.Key()); broker.CodeOf(err) != broker.CodeUnknownBucket {
		t.Errorf("an unknown bucket: %v", err)
	}
	for range 3 { // as often as a bucket likes to tell
		if err := w.LookAt(t.Context(), "A", img.Key()); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.wantState(t, img, broker.StateUploaded); got.ETag != etag || got.Bucket != "A" || got.ObjectBytes != int64(len(data)) {
		t.Errorf("%+v", got)
	}
	if n := w.count(t, `river_job`); n != 1 {
		t.Errorf("%d jobs for one object", n)
	}
}

// TestOverwrittenBetweenLookAndValidation ends with the verdict on the new bytes.
func TestOverwrittenBetweenLookAndValidation(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.register(t, w.project(t), "A", data)[0]
	old := argsOf(w.arrive(t, img, []byte("junk that came first")))
	etag := put(t, w.a, img.Key(), data)
	if err := w.Validate(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	got := w.wantState(t, img, broker.StateUploaded)
	if got.ETag != etag || got.CheckFailures != 0 {
		t.Fatalf("%+v", got)
	}
	if err := w.Validate(t.Context(), argsOf(got)); err != nil {
		t.Fatal(err)
	}
	if got := w.wantState(t, img, broker.StateReady); got.ETag != etag || got.ProvenSHA1 != sha1.Sum(data) {
		t.Errorf("%+v", got)
	}
	// The job of the old bytes, come late, changes nothing.
	if err := w.Validate(t.Context(), old); err != nil {
		t.Error(err)
	}
	w.wantState(t, img, broker.StateReady)
}

// TestOverwrittenDuringValidation: the bytes change under the reader's hands, and
// a look sees it first. The old verdict is dropped, and the job of the new bytes
// waits for the lease instead of going away.
func TestOverwrittenDuringValidation(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.register(t, w.project(t), "A", data)[0]
	old := argsOf(w.arrive(t, img, photo(2)))
	w.a.body = func(_ string, rc io.ReadCloser) io.ReadCloser {
		w.a.body = nil
		put(t, w.a, img.Key(), data)
		if err := w.LookAt(context.Background(), "A", img.Key()); err != nil {
			t.Error(err)
		}
		if err := w.Validate(context.Background(), argsOf(w.image(t, img))); !worker.Snoozed(err) {
			t.Errorf("the job of the new bytes ended with %v while the lease was held", err)
		}
		return rc
	}
	if err := w.Validate(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	got := w.wantState(t, img, broker.StateUploaded)
	if err := w.Validate(t.Context(), argsOf(got)); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, img, broker.StateReady)
	if n := w.count(t, `verdicts`); n != 1 {
		t.Errorf("%d verdicts are kept", n)
	}
}

// TestReconcile notices what was overwritten after its verdict, and what came
// where nobody looked any more.
func TestReconcile(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	files := [][]byte{photo(1), photo(2), photo(3)}
	images := w.register(t, p, "A", files...)
	kept := w.ready(t, images[0], files[0])
	overwritten := w.ready(t, images[1], files[1])
	put(t, w.a, overwritten.Key(), []byte("something else"))
	put(t, w.a, p.ID+"/stranger.jpg", files[2])

	// The daily sweep, when a day has gone by.
	w.a.counted("list")
	w.exec(t, `UPDATE watches SET reconciled_at = now()`)
	if err := w.ReconcileDue(t.Context()); err != nil || w.a.counted("list") != 0 {
		t.Errorf("compared again on the same day: %v", err)
	}
	w.exec(t, `UPDATE watches SET reconciled_at = now() - interval '25 hours'`)
	if err := w.ReconcileDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.wantState(t, kept, broker.StateReady); got.ETag != kept.ETag {
		t.Errorf("%+v", got)
	}
	again := w.wantState(t, overwritten, broker.StateUploaded)
	if !again.ProvenSHA1.IsZero() {
		t.Error("it keeps the proof of other bytes")
	}
	if err := w.Validate(t.Context(), argsOf(again)); err != nil {
		t.Fatal(err)
	}
	if got := w.image(t, again); got.State != broker.StateInvalid {
		t.Errorf("other bytes than declared are %s", got.State)
	}
	if n, err := w.Reconcile(t.Context(), p.ID, "A"); err != nil || n != 0 {
		t.Errorf("a second time %d moved, %v", n, err)
	}
	if _, err := w.Reconcile(t.Context(), p.ID, "C"); broker.CodeOf(err) != broker.CodeUnknownBucket {
		t.Errorf("an unknown bucket: %v", err)
	}
	// A bucket that does not answer tells nothing of its objects.
	w.a.failing(func(op, _ string) error { return errFault })
	if n, err := w.Reconcile(t.Context(), p.ID, "A"); broker.CodeOf(err) != broker.CodeUnavailable || n != 0 {
		t.Errorf("of a silent bucket: %d, %v", n, err)
	}
	w.wantState(t, kept, broker.StateReady)
}

// TestTwoWorkersGiveOneVerdictEach: 200 images, two workers on one database.
func TestTwoWorkersGiveOneVerdictEach(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	const images = 200
	files := make([][]byte, images)
	for i := range files {
		files[i] = photo(i)
	}
	rows := w.register(t, p, "A", files...)
	second := w.newWorker(t, bucketOver(t, "A", w.a), bucketOver(t, "B", w.b))
	start(t, w.Worker)
	start(t, second)
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := c; i < images; i += 4 {
				data := files[i]
				if i%10 == 0 {
					data = []byte(fmt.Sprint("no picture ", i))
				}
				put(t, w.a, rows[i].Key(), data)
				if i%3 == 0 { // the bucket tells of some
					if err := second.LookAt(t.Context(), "A", rows[i].Key()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all are judged", func() bool { return w.count(t, `images WHERE state IN ('Ready', 'Invalid')`) == images })
	if n := w.count(t, `images WHERE state = 'Ready'`); n != images*9/10 {
		t.Errorf("%d are Ready", n)
	}
	if n := w.count(t, `verdicts`); n != images {
		t.Errorf("%d verdicts for %d images", n, images)
	}
	if n := w.count(t, `audit WHERE action = 'image.judge'`); n != images {
		t.Errorf("%d lines of audit for %d verdicts", n, images)
	}
}
