package ossemu

import (
	"bytes"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk fills a small file system of its own, as root may mount one.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8m", "none", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %s", out)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	e := start(t, func(o *Options) { o.Dir = dir })
	if err := e.bucket(t).PutObject("old", bytes.NewReader(noise(1<<20))); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"old", "new"} {
		resp := e.send(t, "PUT", "/photos/"+key, bytes.NewReader(noise(9<<20)))
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 500 || !strings.Contains(string(body), "disk is full") {
			t.Errorf("%s %s", resp.Status, body)
		}
	}
	r, err := e.bucket(t).GetObject("old")
	if err != nil || text(t, r) != string(noise(1<<20)) {
		t.Errorf("the old object: %v", err)
	}
	_, err = e.bucket(t).GetObject("new")
	wantCode(t, err, 404, "NoSuchKey")
	r.Close()
	if err := e.bucket(t).DeleteObject("old"); err != nil {
		t.Fatal(err)
	}
	wantEmptyFolder(t, e)
	if err := e.bucket(t).PutObject("new", bytes.NewReader(noise(1<<20))); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}
