package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/s3"
)

// putOld writes an object past the broker, which then is that old.
func (s *s3Server) putOld(bucket, key string, data []byte, old time.Duration) {
	s.t.Helper()
	d, err := s3.Open(s.t.Context(), s3.Options{Bucket: bucket, Endpoint: s.endpoint, PathStyle: true, AccessKeyID: s3ID, AccessKeySecret: s3Secret})
	if err == nil {
		_, err = d.Put(context.Background(), key, bytes.NewReader(data), storage.PutOptions{SizeBytes: int64(len(data))})
	}
	if err == nil {
		when := time.Now().Add(-old)
		err = os.Chtimes(filepath.Join(s.dir, bucket, key), when, when)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestBucketsOrphans lists beside a running server, deletes nothing unasked, and
// then what is due.
func TestBucketsOrphans(t *testing.T) {
	t.Parallel()
	cloud := startS3(t, "east", "west")
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, []byte("retention: {invalid: 168h, orphans: 2h}\nbuckets:\n"+cloud.config("East", "east", "")+cloud.config("West", "west", "")))
	s := start(t, dataFolder(t), "--config", path)
	var project struct{ ID string }
	if code := s.call("POST", "/v1/projects", map[string]any{"name": "orphans"}, &project); code/100 != 2 {
		t.Fatalf("a project: %d", code)
	}
	register := func() (image string, attempt int) {
		t.Helper()
		var answer struct {
			Results []struct {
				Image struct {
					ID      string
					Attempt int
				}
			}
		}
		body := map[string]any{"bucket": "East", "images": []any{entry("a.jpg", []byte("abc"))}}
		if code := s.call("POST", "/v1/projects/"+project.ID+"/images/register", body, &answer); code != 200 || len(answer.Results) != 1 {
			t.Fatalf("register: %d", code)
		}
		return answer.Results[0].Image.ID, answer.Results[0].Image.Attempt
	}
	image, _ := register()
	ended := project.ID + "/a9993e364706816aba3e25717850c26c9cd0d89d.jpg" // sha1 of abc
	cloud.putOld("east", ended, []byte("not the bytes that were declared"), 0)
	s.waitFor("the verdict", func() bool {
		_, attempt := register()
		return attempt == 2
	})

	id := broker.NewID(time.Now())
	old := map[string][]byte{
		project.ID + "/stray.jpg": bytes.Repeat([]byte("x"), 1_234_567), project.ID + "/a\u202eb": []byte("odd"),
		storage.CheckPrefix + id: []byte("x"),
	}
	foreign := "01ARZ3NDEKTSV4RRFFQ69G5FAV/"
	for key, data := range old {
		cloud.putOld("east", key, data, 3*time.Hour)
	}
	young := project.ID + "/young.jpg"
	cloud.putOld("west", young, []byte("x"), time.Hour)
	cloud.putOld("west", foreign+"1", []byte("x"), 500*time.Hour)
	cloud.putOld("west", foreign+"2", []byte("x"), 400*time.Hour)
	cloud.putOld("west", "holiday/2.jpg", []byte("x"), 500*time.Hour)

	at := func(args ...string) []string {
		return append([]string{"buckets", "orphans", "--config", path, "--data-dir", s.data}, args...)
	}
	code, out := s.client(at()...)
	t.Logf("buckets orphans:\n%s", out)
	for _, line := range [][]string{
		{"East", "STRAY", "/stray.jpg", "1.2 MB", "3 h", "no image has this key; due"}, {"East", "STRAY", storage.CheckPrefix, "3 h", "left by"},
		{"East", "ENDED", ended, "32 bytes", "attempt 1 ended", "ago; due in"},
		{"West", "STRAY", young, "1 byte", "60 min", "due in 59 min"},
		{"West", "FOREIGN", foreign + " ", "16 days", "2 objects; never swept"},
		{"STRAY      4 objects, 1.2 MB; 3 due"}, {"Nothing was deleted. --sweep deletes what is due: 3 objects, 1.2 MB."},
	} {
		if !containsLine(out, line...) {
			t.Errorf("no line tells %q", line)
		}
	}
	if code != 0 || strings.Contains(out, "holiday") || strings.Contains(out, "\u202e") {
		t.Errorf("ended with %d", code)
	}
	if n := len(cloud.objects("east")) + len(cloud.objects("west")); n != 8 {
		t.Errorf("there are %d objects: the list deleted some", n)
	}
	if code, out := s.client(at("--bucket", "West")...); code != 0 || strings.Contains(out, "East") || !strings.Contains(out, "young") {
		t.Errorf("of one bucket: %d\n%s", code, out)
	}
	if code, out := s.client(at("--bucket", "Nowhere")...); code != exitUsage || !strings.Contains(out, "Nowhere") {
		t.Errorf("of an unknown bucket: %d\n%s", code, out)
	}

	code, out = s.client(at("--sweep")...)
	t.Logf("buckets orphans --sweep:\n%s", out)
	if code != 0 || !containsLine(out, "stray.jpg", "; swept") || !containsLine(out, "Swept 3 objects, 1.2 MB.") || !containsLine(out, "STRAY", "3 swept") {
		t.Errorf("the sweep ended with %d", code)
	}
	left := append(cloud.objects("east"), cloud.objects("west")...)
	slices.Sort(left)
	want := []string{ended, young, foreign + "1", foreign + "2", "holiday/2.jpg"}
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("left are %q", left)
	}

	// A line of JSON each, and a bucket that does not answer is told while the
	// others come.
	cmd := command(t, nil, at("--json")...)
	printed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	classes := map[string]orphanLine{}
	for line := range strings.Lines(string(printed)) {
		var o orphanLine
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		classes[o.Class] = o
	}
	if o := classes["ENDED"]; len(classes) != 3 || o.Image != image || o.Attempt != 1 || o.Due || o.DueAt == nil || *o.Size != 32 || o.Key != ended {
		t.Errorf("%s", printed)
	}
	if o := classes["FOREIGN"]; o.Objects != 2 || o.DueAt != nil {
		t.Errorf("%+v", o)
	}
	down := strings.Replace(cloud.config("Down", "east", ""), cloud.endpoint, "http://127.0.0.1:1", 1)
	write(t, path, []byte("buckets:\n"+down+cloud.config("West", "west", "")))
	code, out = s.client(at("--sweep")...)
	if code != exitNotReady || !containsLine(out, "Down could not be listed") || !containsLine(out, "West", "FOREIGN") {
		t.Errorf("with a bucket down it ended with %d:\n%s", code, out)
	}
}

// TestOrphanTable is how the table looks.
func TestOrphanTable(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const day = 24 * time.Hour
	r := &orphanReport{now: now, rows: []orphanRow{
		{Orphan: worker.Orphan{Bucket: "HongKong", Class: worker.OrphanInvalid, Key: "P/1.jpg", SizeBytes: 9_800_000, Modified: ago(9 * day), Why: "judged Invalid", Since: ago(8 * day), DueAt: ago(day)}},
		{Orphan: worker.Orphan{Bucket: "HongKong", Class: worker.OrphanMultipart, Key: "P/2.jpg", SizeBytes: -1, Modified: ago(90 * time.Minute), Why: "unfinished, begun", Since: ago(90 * time.Minute), DueAt: now.Add(22 * time.Hour)}},
		{Orphan: worker.Orphan{Bucket: "Local", Class: worker.OrphanStray, Key: "P/相片.jpg", SizeBytes: 1, Modified: ago(30 * time.Second), Why: "no image has this key"}},
		{Orphan: worker.Orphan{Bucket: "Local", Class: worker.OrphanForeign, Key: "Q/", SizeBytes: 1500, Objects: 1204, Modified: ago(3 * day), Why: "no project of this database"}},
	}}
	var out strings.Builder
	if err := r.table(&out); err != nil {
		t.Fatal(err)
	}
	const want = `
BUCKET    CLASS      KEY           SIZE     AGE  WHY
HongKong  INVALID    P/1.jpg     9.8 MB  9 days  judged Invalid 8 days ago; due
HongKong  MULTIPART  P/2.jpg          –  90 min  unfinished, begun 90 min ago; due in 22 h
Local     STRAY      P/相片.jpg  1 byte    30 s  no image has this key; its name can't be handled, delete it with the cloud's own tools
Local     FOREIGN    Q/          1.5 kB  3 days  no project of this database: 1,204 objects; never swept
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("the table is%s", got)
	}
}

// TestRetentionIsPositive, and what it is by default.
func TestRetentionIsPositive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	write(t, path, []byte("retention:\n  invalid: 0s\n  orphans: -1h\n"))
	if code, out := runCommand(t, nil, "config", "check", path); code != exitNotReady || !containsLine(out, "line 2: retention.invalid", "positive") || !containsLine(out, "line 3: retention.orphans", "positive") {
		t.Errorf("ended with %d:\n%s", code, out)
	}
	if r := defaults().Retention.worker(); r.Invalid != 168*time.Hour || r.Orphans != 24*time.Hour {
		t.Errorf("by default objects are kept for %+v", r)
	}
}
