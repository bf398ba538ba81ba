package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// zipServer is a stand-in for the server's part of `zip`: it breaks off where it is
// told to.
type zipServer struct {
	*httptest.Server
	mu     sync.Mutex
	zip    []byte
	breaks []int // bytes of each answer that has a body, while there are entries
	hang   chan struct{}
	asked  []string // method and Range
}

func serveZip(t *testing.T, size int) *zipServer {
	t.Helper()
	s := &zipServer{}
	s.change(size, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/projects", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		list := []map[string]any{}
		if q := r.URL.Query().Get("q"); q == "Roof" || strings.HasPrefix(zipProject, q) {
			list = append(list, map[string]any{"id": zipProject, "name": "Roof"})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"projects": list, "next_cursor": ""})
	})
	mux.HandleFunc("GET /v1/projects/"+zipProject+"/zip", s.serve)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

const zipProject = "01KAHQY5C9W3RV7ZB3N4D8M2XE"

// change makes it another zip.
func (s *zipServer) change(size int, seed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := rand.New(rand.NewPCG(seed, 1))
	s.zip = make([]byte, size)
	for i := range s.zip {
		s.zip[i] = byte(r.Uint32())
	}
}

func (s *zipServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	zip, hang := s.zip, s.hang
	s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")))
	if r.Header.Get("Authorization") != "Bearer key" {
		s.mu.Unlock()
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	if zip == nil {
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"status":409,"code":"no_ready_image","detail":"no image of the project is Ready"}`)
		return
	}
	limit := -1
	if r.Method == http.MethodGet && len(s.breaks) > 0 {
		limit, s.breaks = s.breaks[0], s.breaks[1:]
	}
	s.mu.Unlock()
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, zip[:8]))
	w.Header().Set("Content-Type", "application/zip")
	http.ServeContent(&breaking{w, limit, hang, r.Context()}, r, "", time.Time{}, bytes.NewReader(zip))
}

func (s *zipServer) requests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, ", ")
}

// breaking ends a connection behind so many bytes; with hang it goes silent until
// that is closed.
type breaking struct {
	http.ResponseWriter
	left int // negative: it does not break
	hang chan struct{}
	ctx  context.Context
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.left < 0 {
		return b.ResponseWriter.Write(p)
	}
	n, err := b.ResponseWriter.Write(p[:min(len(p), b.left)])
	b.left -= n
	if err == nil && n < len(p) {
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		if b.hang != nil {
			close(b.hang)
			<-b.ctx.Done()
		}
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// run runs the command in this process.
func (s *zipServer) run(ctx context.Context, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(ctx, append([]string{"zip", "--server", s.URL, "--key", "key"}, args...), stdio{In: strings.NewReader(""), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

// namesIn lists a folder.
func namesIn(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func wantZip(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes that are not the zip's %d: %v", path, len(got), len(want), err)
	}
}

func TestZipCommand(t *testing.T) {
	s := serveZip(t, 300_000)
	dir := t.TempDir()
	path := filepath.Join(dir, "roof.zip")
	for _, name := range []string{"Roof", zipProject, zipProject[:6]} {
		code, out, errs := s.run(t.Context(), name, "-o", path, "--force")
		if code != 0 || out != "" || !strings.Contains(errs, "roof.zip: 300 kB of Roof in ") {
			t.Fatalf("%s: %d\n%s%s", name, code, out, errs)
		}
		wantZip(t, path, s.zip)
	}
	if got := namesIn(t, dir); got != "roof.zip" {
		t.Errorf("the folder has %s", got)
	}
	code, out, _ := s.run(t.Context(), "Roof", "-o", "-")
	if code != 0 || out != string(s.zip) {
		t.Errorf("stdout: %d with %d bytes", code, len(out))
	}
	for what, c := range map[string]struct {
		args []string
		want string
	}{
		"a file that is there": {[]string{"Roof", "-o", path}, "roof.zip is there already; --force overwrites it."},
		"a folder":             {[]string{"Roof", "-o", dir}, "is a folder; name the file"},
		"no such folder":       {[]string{"Roof", "-o", filepath.Join(dir, "none", "a.zip")}, "no such file or directory"},
		"no such project":      {[]string{"Cellar", "-o", filepath.Join(dir, "b.zip")}, "Cellar"},
		"no file":              {[]string{"Roof"}, "--output"},
	} {
		code, _, errs := s.run(t.Context(), c.args...)
		if code != exitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("%s: %d %s", what, code, errs)
		}
	}
	s.mu.Lock()
	s.zip = nil
	s.mu.Unlock()
	if code, _, errs := s.run(t.Context(), "Roof", "-o", filepath.Join(dir, "c.zip")); code != exitUsage || !strings.Contains(errs, "no image of the project is Ready") {
		t.Errorf("nothing Ready: %d %s", code, errs)
	}
	if got := namesIn(t, dir); got != "roof.zip" {
		t.Errorf("then the folder has %s", got)
	}
}

// TestZipCommandGoesOn: what breaks off is asked for from where it was.
func TestZipCommandGoesOn(t *testing.T) {
	s := serveZip(t, 300_000)
	path := filepath.Join(t.TempDir(), "roof.zip")
	s.breaks = []int{100_000, 50_000}
	if code, _, errs := s.run(t.Context(), "Roof", "-o", path); code != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	wantZip(t, path, s.zip)
	if got := s.requests(); got != "HEAD, GET, GET bytes=100000-, GET bytes=150000-" {
		t.Errorf("it asked %s", got)
	}
	s.asked, s.breaks = nil, []int{70_000}
	if code, out, _ := s.run(t.Context(), "Roof", "-o", "-"); code != 0 || out != string(s.zip) {
		t.Errorf("stdout: %d with %d bytes", code, len(out))
	}
}

// interrupt lets the command load the zip into a file until some of so many bytes
// came, then ends it as Ctrl-C does.
func (s *zipServer) interrupt(t *testing.T, bytes int, path string) (code int, errs string) {
	t.Helper()
	hang := make(chan struct{})
	s.mu.Lock()
	s.hang, s.breaks = hang, []int{bytes}
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-hang
		for ctx.Err() == nil && partSize(path) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	code, _, errs = s.run(ctx, "Roof", "-o", path)
	s.mu.Lock()
	s.hang, s.breaks, s.asked = nil, nil, nil
	s.mu.Unlock()
	return code, errs
}

// partSize is the size of what there is of a file.
func partSize(path string) int64 {
	found, _ := filepath.Glob(quoteGlob(path) + ".part-*")
	if len(found) != 1 {
		return 0
	}
	info, err := os.Stat(found[0])
	if err != nil {
		return 0
	}
	return info.Size()
}

func TestZipCommandGoesOnInAnotherRun(t *testing.T) {
	s := serveZip(t, 3_000_000)
	path := filepath.Join(t.TempDir(), "a [b]*.zip")
	code, errs := s.interrupt(t, 2_000_000, path)
	if code != exitInterrupted || !strings.Contains(errs, "Run the same command again to go on.") {
		t.Fatalf("%d %s", code, errs)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a part has the file's name")
	}
	found, _ := filepath.Glob(quoteGlob(path) + ".part-*")
	info, err := os.Stat(found[0])
	if err != nil || info.Size() == 0 || info.Size() > 2_000_000 {
		t.Fatalf("%v, %v", info, err)
	}
	code, _, errs = s.run(t.Context(), "Roof", "-o", path)
	if code != 0 || !strings.Contains(errs, "Going on at ") {
		t.Fatalf("%d %s", code, errs)
	}
	wantZip(t, path, s.zip)
	if got, want := s.requests(), fmt.Sprintf("HEAD, GET bytes=%d-", info.Size()); got != want {
		t.Errorf("it asked %s, want %s", got, want)
	}

	// Whole, but for its name.
	etag, other := found[0], filepath.Join(filepath.Dir(path), "again.zip")
	if err := os.WriteFile(other+".part-"+etag[len(etag)-12:], s.zip, 0o600); err != nil {
		t.Fatal(err)
	}
	s.asked = nil
	if code, _, errs := s.run(t.Context(), "Roof", "-o", other); code != 0 || s.requests() != "HEAD" {
		t.Errorf("%d %s, it asked %s", code, errs, s.requests())
	}
	wantZip(t, other, s.zip)
}

func TestZipCommandBeginsAgain(t *testing.T) {
	s := serveZip(t, 3_000_000)
	path := filepath.Join(t.TempDir(), "roof.zip")
	if code, errs := s.interrupt(t, 2_000_000, path); code != exitInterrupted {
		t.Fatalf("%d %s", code, errs)
	}
	s.change(2_500_000, 2)
	code, _, errs := s.run(t.Context(), "Roof", "-o", path)
	if code != 0 || !strings.Contains(errs, "changed since the last run") {
		t.Fatalf("%d %s", code, errs)
	}
	wantZip(t, path, s.zip)
	if got := namesIn(t, filepath.Dir(path)); got != "roof.zip" {
		t.Errorf("the folder has %s", got)
	}

	// And while it is read.
	os.Remove(path)
	hang := make(chan struct{})
	s.mu.Lock()
	s.hang, s.breaks, s.asked = hang, []int{1_000_000}, nil
	s.mu.Unlock()
	go func() {
		<-hang
		s.change(2_000_000, 3)
		s.mu.Lock()
		s.hang = nil
		s.mu.Unlock()
		s.CloseClientConnections()
	}()
	code, _, errs = s.run(t.Context(), "Roof", "-o", path)
	if code != 0 || !strings.Contains(errs, "and so its zip: beginning again.") {
		t.Fatalf("%d %s", code, errs)
	}
	wantZip(t, path, s.zip)
	if got := namesIn(t, filepath.Dir(path)); got != "roof.zip" {
		t.Errorf("the folder has %s", got)
	}
}
