package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// result is an answer of images/register.
type result struct {
	Status string
	Image  struct{ ID, State, Bucket, Filename string }
	Grant  struct {
		Method, URL, Bucket string
		Headers             map[string]string
		Unbound             bool
	}
	Problem struct{ Code, Detail string }
}

// register asks to upload files into a bucket ("" for the nearest).
func (s *server) register(pid, bucket string, more map[string]any, files ...[]byte) []result {
	s.t.Helper()
	body := map[string]any{"bucket": bucket}
	for k, v := range more {
		body[k] = v
	}
	var entries []map[string]any
	for i, f := range files {
		entries = append(entries, entry(fmt.Sprintf("DJI_%04d.JPG", i), f))
	}
	body["images"] = entries
	var answer struct{ Results []result }
	if status := s.call("POST", "/v1/projects/"+pid+"/images/register", body, &answer); status != 200 || len(answer.Results) != len(files) {
		s.t.Fatalf("register: %d, %d results", status, len(answer.Results))
	}
	return answer.Results
}

// newProject makes a project and returns its id.
func (s *server) newProject(name string) string {
	s.t.Helper()
	var p struct{ ID string }
	if status := s.call("POST", "/v1/projects", map[string]any{"name": name}, &p); status != 201 && status != 200 {
		s.t.Fatalf("make a project: %d", status)
	}
	return p.ID
}

// put uploads by a grant and returns the bucket's status.
func (r result) put(t testing.TB, file []byte) int {
	t.Helper()
	req, err := http.NewRequest(r.Grant.Method, r.Grant.URL, bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range r.Grant.Headers {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// waitState waits until an image is in a state.
func (s *server) waitState(pid, id, want string) (img struct{ State, Bucket, ETag, Filename string }) {
	s.t.Helper()
	s.waitFor(id+" to be "+want, func() bool {
		s.call("GET", "/v1/projects/"+pid+"/images/"+id, nil, &img)
		return img.State == want
	})
	return img
}

// TestSeveralBuckets: a project spans buckets; two clients who register one file
// for two of them both get grants, and the first object decides; a drained bucket
// is read but not granted.
func TestSeveralBuckets(t *testing.T) {
	t.Parallel()
	cloud := startS3(t, "east", "west")
	path := filepath.Join(t.TempDir(), "config.yaml")
	base := "local_bucket: {enabled: true}\nbuckets:\n"
	write(t, path, []byte(base+cloud.config("East", "east", "")+cloud.config("West", "west", "")))
	s := start(t, dataFolder(t), "--config", path)
	pid := s.newProject("spanning")
	shared, local, late := photo(1, 320, 240), photo(2, 320, 240), photo(3, 320, 240)

	east := s.register(pid, "East", nil, shared)[0]
	west := s.register(pid, "West", nil, shared)[0]
	if east.Status != "granted" || west.Status != "granted" || east.Image.ID != west.Image.ID || east.Grant.Bucket != "East" || west.Grant.Bucket != "West" {
		t.Fatalf("two clients are answered %+v and %+v", east, west)
	}
	if got := west.put(t, shared); got != 200 {
		t.Fatalf("the put in West answers %d", got)
	}
	if img := s.waitState(pid, west.Image.ID, "Ready"); img.Bucket != "West" {
		t.Errorf("the first object is in West, the image says %s", img.Bucket)
	}
	if got := east.put(t, shared); got != 200 { // the slower client
		t.Errorf("the put in East answers %d", got)
	}
	if again := s.register(pid, "East", nil, shared)[0]; again.Status != "exists" || again.Image.Bucket != "West" || again.Image.State != "Ready" {
		t.Errorf("registered again: %+v", again)
	}

	near := s.register(pid, "", nil, local)[0]
	if near.Grant.Bucket != "Local" || near.Grant.Unbound {
		t.Errorf("an address without a place is sent to %+v, want the first in the configured order", near.Grant)
	}
	if got := near.put(t, local); got != 200 {
		t.Errorf("the put at the local bucket answers %d", got)
	}
	s.waitState(pid, near.Image.ID, "Ready")

	// What was found out about the buckets is told with their grants.
	s.waitFor("the buckets to be probed", func() bool {
		return !s.register(pid, "East", nil, late)[0].Grant.Unbound && !s.register(pid, "West", nil, late)[0].Grant.Unbound
	})
	open := s.register(pid, "West", nil, late)[0]
	write(t, path, []byte(base+cloud.config("East", "east", "")+cloud.config("West", "west", ", drain: true")))
	if err := s.cmd.Process.Signal(hangup); err != nil {
		t.Fatal(err)
	}
	s.waitFor("the reload", func() bool { return strings.Contains(s.out.String(), "configuration reloaded") })
	var problem struct{ Code, Detail string }
	if status := s.call("POST", "/v1/projects/"+pid+"/images/register", map[string]any{"bucket": "West", "images": []any{entry("x.jpg", late)}}, &problem); status != 409 || problem.Code != "no_bucket" {
		t.Errorf("a drained bucket is granted: %d %+v", status, problem)
	}
	if got := open.put(t, late); got != 200 { // a grant from before
		t.Errorf("the put by a former grant answers %d", got)
	}
	if img := s.waitState(pid, open.Image.ID, "Ready"); img.Bucket != "West" {
		t.Errorf("a drained bucket is not read: %+v", img)
	}
	for _, key := range append(cloud.objects("east"), cloud.objects("west")...) {
		if !strings.HasPrefix(key, pid+"/") && !strings.HasPrefix(key, broker.ThumbPrefix(pid)) {
			t.Errorf("%s was left in a bucket", key)
		}
	}
}

// TestInstantUploadByTheBucket: the same owner's file in another project of the
// same bucket is copied by the bucket itself and exists at once.
func TestInstantUploadByTheBucket(t *testing.T) {
	t.Parallel()
	cloud := startS3(t, "east")
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, []byte("local_bucket: {enabled: true}\nbuckets:\n"+cloud.config("East", "east", "")))
	s := start(t, dataFolder(t), "--config", path)
	first, second, third := s.newProject("first"), s.newProject("second"), s.newProject("third")
	file := photo(1, 320, 240)
	for _, bucket := range []string{"East", "Local"} {
		r := s.register(first, bucket, nil, file)[0]
		if bucket == "Local" { // where East has it, an image of its own must come
			r = s.register(third, bucket, nil, file)[0]
		}
		if got := r.put(t, file); got != 200 {
			t.Fatalf("the put in %s answers %d", bucket, got)
		}
		src := s.waitState(map[string]string{"East": first, "Local": third}[bucket], r.Image.ID, "Ready")

		target := second
		if bucket == "Local" {
			target = s.newProject("fourth")
		}
		opted := s.register(target, bucket, map[string]any{"copy": false}, file)[0]
		if opted.Status != "granted" {
			t.Errorf("%s: opted out, it is answered %+v", bucket, opted)
		}
		copied := s.register(target, bucket, nil, file)[0]
		if copied.Status != "exists" || copied.Image.State != "Ready" || copied.Image.Bucket != bucket || copied.Image.ID == r.Image.ID {
			t.Errorf("%s: answered %+v", bucket, copied)
		}
		// It is really there, byte for byte, and judged again it stays Ready.
		img := s.waitState(target, copied.Image.ID, "Ready")
		if img.ETag != src.ETag {
			t.Errorf("%s: the copy's etag is %s, the source's %s", bucket, img.ETag, src.ETag)
		}
		sum := sha1.Sum(file)
		if !strings.HasPrefix(img.Filename, hex.EncodeToString(sum[:])) {
			t.Errorf("%s: its key is %s", bucket, img.Filename)
		}
	}
}
