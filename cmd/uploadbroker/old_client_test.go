package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// runOld runs the old script against a server.
func (s *server) runOld(args ...string) (code int, out string) {
	s.t.Helper()
	script, err := filepath.Abs("testdata/old-upload.sh")
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("sh", append([]string{script, s.url, "some-app", s.key}, args...)...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		s.t.Fatalf("run the script: %v", err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// TestOldScript: a script from before this program works by changing the
// endpoint, also when it is run again, and is told why a photo is bad.
func TestOldScript(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"curl", "sha1sum", "sed"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing; `make setup` installs it", tool)
		}
	}
	s := start(t, dataFolder(t))
	cut := photo(3, 320, 240)
	dir := folder(t, map[string][]byte{
		"DJI_0001.JPG": photo(1, 320, 240), "DJI_0002.JPG": photo(2, 320, 240), "a screenshot.jpg": soundPNG(), "cut.JPG": cut[:len(cut)/2],
	})
	good := []string{filepath.Join(dir, "DJI_0001.JPG"), filepath.Join(dir, "DJI_0002.JPG"), filepath.Join(dir, "a screenshot.jpg")}

	code, out := s.runOld(append([]string{"new:North face"}, good...)...)
	if code != 0 || strings.Count(out, " Ready ") != 3 {
		t.Fatalf("the first run ended with %d:\n%s", code, out)
	}
	pid := regexp.MustCompile(`(?m)^project (\S+)$`).FindStringSubmatch(out)
	if pid == nil {
		t.Fatalf("no project is told:\n%s", out)
	}
	before := s.images(pid[1])

	code, out = s.runOld(append([]string{pid[1]}, good...)...)
	if code != 0 || strings.Count(out, " Ready ") != 3 {
		t.Errorf("the second run ended with %d:\n%s", code, out)
	}
	if after := s.images(pid[1]); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("the second run changed what was Ready:\n%v\n%v", before, after)
	}
	if code, out = s.runOld(append([]string{"new:South face"}, good...)...); code != 0 || strings.Count(out, " Ready ") != 3 {
		t.Errorf("a run into another project ended with %d:\n%s", code, out)
	}

	code, out = s.runOld(pid[1], filepath.Join(dir, "cut.JPG"), good[0])
	if code != 1 || !containsLine(out, "cut.JPG Invalid", "truncated: ") || !containsLine(out, "DJI_0001.JPG Ready") {
		t.Errorf("with a bad photo it ended with %d:\n%s", code, out)
	}
	if code, out = s.runOld("01KAHQY5C9W3RV7ZB3N4D8M2XE", good[0]); code != 1 || !strings.Contains(out, "the server says: there is no project") {
		t.Errorf("with an unknown project it ended with %d:\n%s", code, out)
	}
	s.key = "wrong"
	if code, out = s.runOld("new:x", good[0]); code != 1 || !strings.Contains(out, "the server says: ") {
		t.Errorf("with a wrong token it ended with %d:\n%s", code, out)
	}
}

// images tells of each image of a project what a second run must not change.
func (s *server) images(pid string) (lines []string) {
	s.t.Helper()
	var page struct {
		Images []struct{ ID, Name, State, ETag, Filename, Judged_at string }
	}
	if status := s.call("GET", "/v1/projects/"+pid+"/images", nil, &page); status != 200 {
		s.t.Fatalf("list the images: %d", status)
	}
	for _, img := range page.Images {
		lines = append(lines, strings.Join([]string{img.ID, img.Name, img.State, img.ETag, img.Filename, img.Judged_at}, " "))
	}
	return lines
}
