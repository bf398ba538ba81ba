package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestFolderOfAnotherMajorIsRefused by the program, with nothing changed.
func TestFolderOfAnotherMajorIsRefused(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	start(t, data).stop()
	if err := os.WriteFile(filepath.Join(data, "pg", "PG_VERSION"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := listing(t, data)
	s := begin(t, data, nil, nil, "--listen", "127.0.0.1:0")
	if code := s.wait(); code != exitNotReady {
		t.Errorf("it ended with %d", code)
	}
	if out := s.out.String(); !containsLine(out, "uploadbroker: ", "PostgreSQL 99") || !strings.Contains(out, "Nothing was changed") {
		t.Errorf("it says:\n%s", out)
	}
	if after := listing(t, data); after != before {
		t.Errorf("it changed the folder:\n%s\n%s", before, after)
	}
}

// TestFolderInUseIsLeftAlone: a second server changes nothing, not even who is said
// to hold the folder.
func TestFolderInUseIsLeftAlone(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := start(t, data)
	postmaster := s.postmaster()
	names := func() string {
		top, err := os.ReadDir(data)
		if err != nil {
			t.Fatal(err)
		}
		lock, err := os.ReadFile(filepath.Join(data, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(top, string(lock))
	}
	before := names()
	for range 2 { // a refused one must not make room for the next
		second := begin(t, data, nil, nil, "--listen", "127.0.0.1:0")
		if code := second.wait(); code != exitNotReady {
			t.Errorf("a second server ended with %d", code)
		}
		if out := second.out.String(); !containsLine(out, "uploadbroker: ", "another uploadbroker (pid "+strconv.Itoa(s.cmd.Process.Pid)+")", data, "--data-dir") {
			t.Errorf("it says:\n%s", out)
		}
	}
	if after := names(); after != before || s.postmaster() != postmaster || !alive(postmaster) {
		t.Errorf("the folder was %s and is %s; Postgres was %d and is %d", before, after, postmaster, s.postmaster())
	}
	if code := s.call("GET", "/readyz", nil, nil); code != http.StatusOK {
		t.Errorf("the first server answers %d since", code)
	}
}

// listing tells the whole of a folder: names, modes, sizes and times, but not of
// the lock, which every start writes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir || e.Name() == "lock" {
			return err
		}
		info, err := e.Info()
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
