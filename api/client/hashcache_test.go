package client

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func openCache(t *testing.T, path string) *HashCache {
	t.Helper()
	h, err := OpenHashCache(path)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// old is a stamp of a file that was left alone.
func old(size int64) stamp {
	return stamp{size: size, mtime: 1_600_000_000_000_000_001, inode: 7, ctime: 3}
}

func sumOf(s string) [20]byte { return sha1.Sum([]byte(s)) }

func TestCacheRemembers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "sha1-v1")
	h := openCache(t, path)
	names := []string{"/a/b.jpg", "/with space/ü\n\x00\xff.jpg"}
	for i, n := range names {
		h.put(n, old(int64(i)), sumOf(n), time.Now())
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = openCache(t, path)
	for i, n := range names {
		if got, ok := h.lookup(n, old(int64(i))); !ok || got != sumOf(n) {
			t.Errorf("%q is forgotten", n)
		}
		for what, s := range map[string]stamp{
			"size":  {size: 99, mtime: old(0).mtime, inode: 7, ctime: 3},
			"mtime": {size: int64(i), mtime: old(0).mtime + 1, inode: 7, ctime: 3},
			"inode": {size: int64(i), mtime: old(0).mtime, inode: 8, ctime: 3},
			"ctime": {size: int64(i), mtime: old(0).mtime, inode: 7, ctime: 4},
		} {
			if _, ok := h.lookup(n, s); ok {
				t.Errorf("%q is believed with another %s", n, what)
			}
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("the file's mode is %v (%v): names of files are private", fi.Mode(), err)
	}
}

func TestCacheTrustsNoFreshFile(t *testing.T) {
	t.Parallel()
	h := openCache(t, filepath.Join(t.TempDir(), "c"))
	now := time.Now()
	for _, age := range []time.Duration{-time.Hour, 0, time.Second} { // the first lies in the future
		s := stamp{mtime: now.Add(-age).UnixNano()}
		h.put("/fresh", s, sumOf(""), now)
		h.now = func() time.Time { return now.Add(time.Hour / 2) }
		if _, ok := h.lookup("/fresh", s); ok {
			t.Errorf("a file that changed %v before it was read is believed", age)
		}
		h.now = time.Now
	}
}

// Whatever happens to the file, the cache says the truth or nothing.
func TestDamagedCache(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c")
	h := openCache(t, path)
	const n = 40
	for i := range n {
		h.put(fmt.Sprintf("/%d", i), old(int64(i)), sumOf(fmt.Sprint(i)), time.Now())
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, b []byte, least int) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		h := openCache(t, path)
		found := 0
		for i := range n {
			got, ok := h.lookup(fmt.Sprintf("/%d", i), old(int64(i)))
			if ok && got != sumOf(fmt.Sprint(i)) {
				t.Fatalf("%s: a wrong sha1 is believed", what)
			}
			if ok {
				found++
			}
		}
		if found < least {
			t.Errorf("%s: %d of %d are left, want %d", what, found, n, least)
		}
	}
	for i := 0; i < len(whole); i += 3 {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x11
		check("a flipped byte", flipped, n-2)
	}
	check("torn", whole[:len(whole)/2], n/2-2)
	check("a line without an end", append(bytes.Repeat([]byte("x"), 200_000), append([]byte("\n"), whole...)...), n)
	check("zeros", append(make([]byte, 5000), whole...), n-1)
	check("nothing", nil, 0)

	// After a torn line the next one is whole.
	if err := os.WriteFile(path, whole[:len(whole)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	h = openCache(t, path)
	h.put("/new", old(1), sumOf("new"), time.Now())
	_ = h.Close()
	if _, ok := openCache(t, path).lookup("/new", old(1)); !ok {
		t.Error("a line after a torn one is lost")
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c")
	h := openCache(t, path)
	h.max = 20_000
	now := time.Now()
	h.now = func() time.Time { return now }
	for day := range 10 {
		h.now = func() time.Time { return now.AddDate(0, 0, day) }
		for i := range 50 {
			h.put(fmt.Sprintf("/%d/%d", day, i), old(1), sumOf("x"), now)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() > 10_000 {
		t.Errorf("%v %v", fi.Size(), err)
	}
	h = openCache(t, path)
	if _, ok := h.lookup("/9/0", old(1)); !ok {
		t.Error("the latest are dropped")
	}
	if _, ok := h.lookup("/0/0", old(1)); ok {
		t.Error("the oldest are kept")
	}
	if left, _ := filepath.Glob(path + ".tmp-*"); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

const cacheWriter = "UPLOADBROKER_TEST_CACHE_WRITER"

// TestCacheWriter is no test: it writes to a cache until it is killed.
func TestCacheWriter(t *testing.T) {
	path := os.Getenv(cacheWriter)
	if path == "" {
		t.Skip("only of use to another test")
	}
	h := openCache(t, path)
	h.max = 50_000
	for i := range 2000 {
		n := fmt.Sprintf("/%d", i%300)
		h.put(n, old(int64(len(n))), sumOf(n), time.Now())
		if i%7 == 0 {
			_ = h.Flush()
		}
		if i%100 == 0 {
			_ = h.Close() // it may be used on: this rewrites the file
		}
	}
}

// Processes that write at once and are killed at any moment leave a cache that
// says the truth.
func TestCacheOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c")
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(300+100*i)*time.Millisecond)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCacheWriter$")
			cmd.Env = append(os.Environ(), cacheWriter+"="+path)
			_ = cmd.Run() // killed, mostly
		})
	}
	wg.Wait()
	h := openCache(t, path)
	found := 0
	for i := range 300 {
		n := fmt.Sprintf("/%d", i)
		got, ok := h.lookup(n, old(int64(len(n))))
		if ok && got != sumOf(n) {
			t.Fatalf("%s: a wrong sha1 is believed", n)
		}
		if ok {
			found++
		}
	}
	if found == 0 {
		t.Error("nothing was kept")
	}
	t.Logf("%d of 300 are kept", found)
}

// Programs that change a file in place and put its size and mtime back are seen.
func TestChangeBehindTheMtime(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("no ctime here")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a.jpg")
	hourAgo := time.Now().Add(-time.Hour)
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, hourAgo, hourAgo); err != nil {
			t.Fatal(err)
		}
	}
	read := 0
	h := hasher{cache: openCache(t, filepath.Join(dir, "c")), now: time.Now, moved: func(int64) { read++ }}
	write("one")
	for range 2 {
		if got, err := h.file(t.Context(), path, false); err != nil || got.sha1 != sumOf("one") {
			t.Fatalf("%x %v", got.sha1, err)
		}
	}
	time.Sleep(20 * time.Millisecond) // ctime has the kernel's tick
	write("two")
	if got, err := h.file(t.Context(), path, false); err != nil || got.sha1 != sumOf("two") {
		t.Errorf("the old sha1 of a changed file is believed (%v)", err)
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"b.JPG": "x", "a.dng": "x", "sub/c.jpeg": "", "sub/deep/d.tif": "x", "noext": "\xff\xd8\xff\xe0", "heic.bin": "\x00\x00\x00\x18ftypheic",
		"notes.txt": "hello", "clip.mp4": "\x00\x00\x00\x18ftypisom", ".hidden.jpg": "x", ".git/e.jpg": "x", "Thumbs.db": "x", "__MACOSX/f.jpg": "x",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("b.JPG", "linked.jpg")
	link("sub", "linkedfolder")
	link(".", "circle")
	link("nowhere", "broken.jpg")
	names := func(d string, all bool) string {
		l, err := Scan(t.Context(), d, ScanOptions{All: all})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range l.Files {
			out = append(out, f.Name)
		}
		for _, u := range l.Unread {
			out = append(out, u.Name+"!")
		}
		return strings.Join(append(out, fmt.Sprint(l.LeftOut)), " ")
	}
	const images = "a.dng b.JPG heic.bin linked.jpg noext sub/c.jpeg sub/deep/d.tif broken.jpg! 2"
	if got := names(dir, false); got != images {
		t.Errorf("got  %s\nwant %s", got, images)
	}
	if got, want := names(dir, true), "a.dng b.JPG clip.mp4 heic.bin linked.jpg noext notes.txt sub/c.jpeg sub/deep/d.tif broken.jpg! 0"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := names(filepath.Join(dir, "linkedfolder"), false); got != "c.jpeg deep/d.tif 0" {
		t.Errorf("a link to a folder that was named: %s", got)
	}
	if got := names(filepath.Join(dir, "notes.txt"), false); got != "notes.txt 0" {
		t.Errorf("a file that was named: %s", got)
	}
	if _, err := Scan(t.Context(), filepath.Join(dir, "none"), ScanOptions{}); err == nil {
		t.Error("a folder that is not there is no error")
	}
}
