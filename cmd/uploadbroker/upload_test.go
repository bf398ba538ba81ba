package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/api/client/clienttest"
)

// photoFolder makes n files that a stand-in takes for photos.
func photoFolder(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		writeFile(t, filepath.Join(dir, fmt.Sprintf("DJI_%04d.JPG", i)), "\xff\xd8\xff"+strings.Repeat(fmt.Sprint(i), 5000))
	}
	return dir
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// runClient runs the program in this process against a stand-in.
func runClient(t *testing.T, s *clienttest.Server, args ...string) (code int, out, errs string) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("UPLOADBROKER_SERVER", s.URL)
	t.Setenv("UPLOADBROKER_KEY", clienttest.Key)
	var o, e bytes.Buffer
	code = run(t.Context(), args, stdio{In: strings.NewReader(""), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func standIn(t *testing.T) *clienttest.Server {
	s := clienttest.New()
	t.Cleanup(s.Close)
	return s
}

func wantOut(t *testing.T, what, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%s lacks %q:\n%s", what, p, got)
		}
	}
}

func TestUploadCommand(t *testing.T) {
	s := standIn(t)
	dir := photoFolder(t, 3)
	writeFile(t, filepath.Join(dir, "notes.txt"), "hello")
	code, out, errs := runClient(t, s, "upload", dir, "--new", "Roof of the tower")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantOut(t, "stdout", out, "Ready  DJI_0002.JPG", "3 Ready, 0 not; 15.0 kB sent in ", ", 0 were there already\n")
	wantOut(t, "stderr", errs, "3 files in ", "Roof of the tower", "1 other file does not look like an image")

	code, out, _ = runClient(t, s, "upload", dir, "--project", "Roof of the tower")
	if code != 0 {
		t.Errorf("the second time: exit code %d", code)
	}
	wantOut(t, "stdout", out, "was there already", "3 Ready, 0 not; 0 bytes sent, 3 were there already")

	writeFile(t, filepath.Join(dir, "empty.jpg"), "")
	writeFile(t, filepath.Join(dir, "text.jpg"), "hello")
	code, out, _ = runClient(t, s, "upload", dir, "--new", "Roof of the tower")
	if code != 1 {
		t.Errorf("with files that are not Ready: exit code %d", code)
	}
	wantOut(t, "stdout", out, "Invalid  empty.jpg", "empty: the file has no bytes", "unsupported_format: ", "3 Ready, 2 not; 5 bytes sent in ", "3 were there already")

	if code, out, _ = runClient(t, s, "upload", dir, "--new", "Roof of the tower", "--all"); code != 1 || !strings.Contains(out, "notes.txt") {
		t.Errorf("--all: exit code %d\n%s", code, out)
	}
}

func TestUploadPlan(t *testing.T) {
	s := standIn(t)
	dir := photoFolder(t, 2)
	code, out, errs := runClient(t, s, "upload", dir, "--new", "castle", "--plan")
	if code != 0 || s.Calls("create")+s.Calls("register") != 0 || len(s.Puts()) != 0 {
		t.Errorf("exit code %d, %d creates, %d registers, %d PUTs", code, s.Calls("create"), s.Calls("register"), len(s.Puts()))
	}
	wantOut(t, "stdout", out, "to send  DJI_0000.JPG", "2 to send (10.0 kB), 0 there already. This was a plan: nothing was sent.")
	wantOut(t, "stderr", errs, "castle (to be made)")
	runClient(t, s, "upload", dir, "--new", "castle")
	writeFile(t, filepath.Join(dir, "new.jpg"), "\xff\xd8\xffnew")
	_, out, _ = runClient(t, s, "upload", dir, "--project", "castle", "--plan")
	wantOut(t, "stdout", out, "1 to send (6 bytes), 2 there already")
	if len(s.Puts()) != 2 {
		t.Errorf("%d PUTs", len(s.Puts()))
	}
}

func TestUploadExplains(t *testing.T) {
	s := standIn(t)
	dir := photoFolder(t, 1)
	a, b := s.Project("twin"), s.Project("twin")
	t.Setenv("UPLOADBROKER_KEY_FILE", "")
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"no project":        {[]string{dir}, []string{"--project P", "--new NAME"}},
		"both":              {[]string{dir, "--project", "a", "--new", "b"}, []string{"--project", "--new"}},
		"no key":            {[]string{dir, "--new", "x", "--key", ""}, []string{"uploadbroker keys create --owner owner@localhost"}},
		"a wrong key":       {[]string{dir, "--new", "x", "--key", "wrong"}, []string{"does not accept this key"}},
		"ambiguous":         {[]string{dir, "--project", "twin"}, []string{"fits 2 projects", a.ID, b.ID}},
		"unknown":           {[]string{dir, "--project", "it's"}, []string{`no project "it's"`, `--new 'it'\''s'`}},
		"no server":         {[]string{dir, "--project", "twin", "--server", "http://127.0.0.1:1"}, []string{"can't reach the server 127.0.0.1:1", "uploadbroker serve"}},
		"no folder":         {[]string{filepath.Join(dir, "none"), "--new", "x"}, []string{"no such file"}},
		"no images":         {[]string{t.TempDir(), "--new", "x"}, []string{"no images in"}},
		"an address of ftp": {[]string{dir, "--new", "x", "--server", "ftp://x"}, []string{"ftp://x"}},
	} {
		code, out, errs := runClient(t, s, append([]string{"upload"}, c.args...)...)
		if code != 2 || out != "" {
			t.Errorf("%s: exit code %d, stdout %q", name, code, out)
		}
		wantOut(t, name, errs, c.want...)
	}
	if s.Calls("create") != 0 {
		t.Error("a project was made")
	}
}

func TestUploadWithATiedKey(t *testing.T) {
	s := standIn(t)
	s.TiedTo = s.Project("mine").ID
	if code, out, errs := runClient(t, s, "upload", photoFolder(t, 1)); code != 0 || !strings.Contains(out, "1 Ready") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// File names are foreign texts; a terminal must not act on them.
func TestUploadPrintsNoControlCodes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("such names are not possible here")
	}
	s := standIn(t)
	dir := photoFolder(t, 1)
	for _, name := range []string{"\x1b]0;owned\x07.jpg", "line\nbreak.jpg", "\u202egpj.jpg", "bad\xff.jpg", "back\\slash.jpg"} {
		writeFile(t, filepath.Join(dir, name), "\xff\xd8\xff"+name)
	}
	code, out, errs := runClient(t, s, "upload", dir, "--new", "x")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	wantOut(t, "stdout", out, `\x1b]0;owned\x07.jpg`, `line\x0abreak.jpg`, `\u202egpj.jpg`, `bad\xff.jpg`, "not UTF-8", "invalid_name")
	for _, r := range out + errs {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("printed %q", r)
		}
	}
}

// With many files only those that need attention have a line.
func TestUploadOfMany(t *testing.T) {
	s := standIn(t)
	dir := photoFolder(t, 100)
	writeFile(t, filepath.Join(dir, "text.jpg"), "hello")
	_, out, _ := runClient(t, s, "upload", dir, "--new", "x")
	wantOut(t, "stdout", out, "text.jpg", "… and 100 more", "100 Ready, 1 not")
	if n := strings.Count(out, "\n"); n > 6 {
		t.Errorf("%d lines:\n%s", n, out)
	}
}

// A run that is killed leaves nothing to clean; the next sends what is missing.
func TestUploadKilled(t *testing.T) {
	s := standIn(t)
	dir := photoFolder(t, 12)
	var n atomic.Int64
	five := make(chan struct{})
	bucket := func(_ http.ResponseWriter, r *http.Request) bool {
		switch c := n.Add(1); {
		case c == 6:
			close(five)
			fallthrough
		case c > 6:
			clienttest.Hang(r)
			return true
		}
		return false
	}
	s.Change(func(s *clienttest.Server) { s.Bucket = bucket })
	env := []string{"XDG_CACHE_HOME=" + t.TempDir(), "UPLOADBROKER_SERVER=" + s.URL, "UPLOADBROKER_KEY=" + clienttest.Key}
	cmd := command(t, env, "upload", dir, "--new", "x", "--jobs", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-five:
	case <-time.After(20 * time.Second):
		t.Error("the upload does not get going")
	}
	time.Sleep(500 * time.Millisecond) // the done call of the five
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	first := s.Puts()
	if len(first) != 5 {
		t.Fatalf("%d files arrived, want 5", len(first))
	}

	s.Change(func(s *clienttest.Server) { s.Bucket = nil })
	out, err := command(t, env, "upload", dir, "--new", "x").Output()
	if err != nil {
		t.Fatalf("the second run: %v\n%s", err, out)
	}
	wantOut(t, "stdout", string(out), "12 Ready, 0 not; ", "5 were there already")
	if all := s.Puts(); len(all) != 12 {
		t.Errorf("%d PUTs in all, want 12: %q then %q", len(all), first, all[5:])
	}
	if page, err := os.ReadDir(dir); err != nil || len(page) != 12 {
		t.Errorf("the folder has %d entries (%v)", len(page), err)
	}
}

func TestUploadInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals here")
	}
	s := standIn(t)
	dir := photoFolder(t, 6)
	var n atomic.Int64
	three := make(chan struct{})
	bucket := func(_ http.ResponseWriter, r *http.Request) bool {
		if c := n.Add(1); c == 3 {
			close(three)
		} else if c < 3 {
			return false
		}
		clienttest.Hang(r)
		return true
	}
	s.Change(func(s *clienttest.Server) { s.Bucket = bucket })
	env := []string{"XDG_CACHE_HOME=" + t.TempDir(), "UPLOADBROKER_SERVER=" + s.URL, "UPLOADBROKER_KEY=" + clienttest.Key}
	cmd := command(t, env, "upload", dir, "--new", "x", "--jobs", "1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-three
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	wantOut(t, "stderr", errs.String(), "Run the same command again to go on")
	wantOut(t, "stdout", out.String(), "2 not judged yet, 4 not finished; 10.0 kB sent")
}

// Lines of a terminal's picture never wrap, or they could not be drawn over.
func TestProgressFitsTheTerminal(t *testing.T) {
	from := &client.Progress{}
	for cols := 1; cols < 200; cols++ {
		for _, ascii := range []bool{false, true} {
			s := &screen{unicode: !ascii, live: true, size: func() (int, int) { return cols, 24 }}
			p := &progress{screen: s, from: from}
			now := time.Now()
			p.sent.add(now, 0)
			p.sent.add(now.Add(2*time.Second), 40_000_000)
			for _, st := range []client.Status{
				{},
				{Files: 12000, Bytes: 98_000_000_000, Hashed: 300, HashedBytes: 1_234_000_000, Sent: 12, SentBytes: 40_000_000},
				{Files: 3, Hashed: 3, Spared: 3, Ready: 2, Invalid: 1, Trouble: "can't reach the bucket at 10.0.0.1: " + strings.Repeat("x", 300)},
			} {
				for _, line := range p.frame(st) {
					if n := columns(line); n >= cols && cols > 1 {
						t.Fatalf("%d columns in a terminal of %d: %q", n, cols, line)
					}
				}
			}
		}
	}
}

func TestTexts(t *testing.T) {
	for got, want := range map[string]string{
		size(0): "0 bytes", size(1): "1 byte", size(999): "999 bytes", size(1000): "1.0 kB", size(40_100_000): "40.1 MB",
		size(999_960_000): "1.0 GB", size(123_400_000): "123 MB", count(1204332): "1,204,332", count(-1000): "-1,000",
		sizeOf(3_300_000_000, 9_800_000_000): "3.3 of 9.8 GB", sizeOf(3_300_000, 9_800_000_000): "3.3 MB of 9.8 GB",
		clock(521 * time.Second): "8:41", clock(2*time.Hour + 3*time.Minute): "2:03:00", took(3210 * time.Millisecond): "3.2 s",
		cut("DJI_0001_long_name.JPG", 11): "DJI_0…e.JPG", cut("照片照片照片.jpg", 9): "照片….jpg",
		clean("a\tb\x1b[0m"): `a\x09b\x1b[0m`, shellQuote("a b"): "'a b'", shellQuote("roof-1"): "roof-1",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if n := columns("照片e\u0301"); n != 5 {
		t.Errorf("%d columns, want 5", n)
	}
}

func TestUploadStops(t *testing.T) {
	s := standIn(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var o, e bytes.Buffer
	code := run(ctx, []string{"upload", photoFolder(t, 1), "--new", "x", "--server", s.URL, "--key", clienttest.Key}, stdio{Out: &o, Err: &e})
	if code != exitInterrupted || s.Calls("register") != 0 {
		t.Errorf("exit code %d, %s", code, e.String())
	}
}
