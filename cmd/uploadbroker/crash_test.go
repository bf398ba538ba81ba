package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	crashes      = 20
	crashClients = 4
	crashSeed    = "UPLOADBROKER_TEST_SEED" // repeats a run's moments and files
	// crashLimit is when clients give up trying again, so that a fault ends the
	// test. A sound run takes well under half of it.
	crashLimit = 4 * time.Minute
)

// TestKill9AtRandomMoments kills the program twenty times while clients register,
// upload, tell, list, and make projects and keys; a third of the times its Postgres
// too, and sometimes while it starts. Clients go on trying, as real ones do. All
// that was ever acknowledged to one of them must be there in the end, whole and
// once.
func TestKill9AtRandomMoments(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv(crashSeed); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("%s: %v", crashSeed, err)
		}
	}
	t.Logf("to repeat these moments: %s=%d", crashSeed, seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithTimeout(t.Context(), crashLimit)
	defer cancel()

	data := dataFolder(t)
	begun := time.Now()
	s := start(t, data)
	startTook := time.Since(begun)
	w := &crashWorld{t: t, ctx: ctx, key: s.key, data: data, files: map[string]*crashFile{}, projects: map[string]bool{}, enough: make(chan struct{})}
	w.at(s.url)
	var clients sync.WaitGroup
	for n := range crashClients {
		clients.Go(func() { w.client(seed, n) })
	}
	clients.Go(w.operator)

	for n := range crashes {
		moment, early := time.Duration(r.Int64N(int64(time.Second))), n%4 == 3
		if early {
			moment = time.Duration(r.Int64N(int64(startTook)))
		} else if n > 0 {
			s.waitReady()
			w.at(s.url)
		}
		time.Sleep(moment)
		if r.IntN(3) == 0 {
			w.killPostgres(s.postmaster())
		}
		s.kill()
		w.at("")
		s = w.begin()
	}
	s.waitReady()
	w.at(s.url)
	close(w.enough)
	clients.Wait()
	if t.Failed() {
		t.Fatalf("the last server said:\n%s", s.out)
	}
	s.key = w.key
	w.settle(s)
	if code := s.stop(); code != 0 {
		t.Errorf("Ctrl-C ended it with %d:\n%s", code, s.out)
	}
}

// begin starts a server when no command has the folder: one that found no server
// has it for a moment.
func (w *crashWorld) begin() *server {
	w.cli.Lock()
	defer w.cli.Unlock()
	return begin(w.t, w.data, nil, nil, "--listen", "127.0.0.1:0")
}

// crashWorld is what the clients know together: above all what was acknowledged.
type crashWorld struct {
	t      *testing.T
	ctx    context.Context
	key    string
	data   string
	url    atomic.Pointer[string] // of the server; empty while there is none
	enough chan struct{}          // closed: begin nothing new
	cli    sync.Mutex             // an operator's command runs

	postgres int // killed too

	mu       sync.Mutex
	files    map[string]*crashFile // by project and sha1
	projects map[string]bool
	keys     []string
}

// crashFile is one client's file. The first block it knows itself; what follows was
// acknowledged.
type crashFile struct {
	project, name, sha1 string
	body                []byte
	want                string // the verdict

	id, filename string // registered
	stored       bool   // its PUT was answered 200
	told         string // Ready or Invalid, the last that was told
}

// killPostgres kills the postmaster, if the number is still that: the file that
// tells it outlives its server. Where no /proc says, Postgres is spared.
func (w *crashWorld) killPostgres(pid int) {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err == nil && bytes.Contains(args, []byte("\x00-D\x00"+w.data+"/")) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		w.postgres++
	}
}

func (w *crashWorld) at(url string) { w.url.Store(&url) }

func (w *crashWorld) ended() bool {
	select {
	case <-w.enough:
		return true
	default:
		return w.ctx.Err() != nil
	}
}

// client does what clients do until it is enough, and ends with its last batch done.
func (w *crashWorld) client(seed uint64, n int) {
	r := rand.New(rand.NewPCG(seed, uint64(n)+1))
	base := photo(uint64(n), 160, 120)
	for count := 0; !w.ended(); {
		var p struct{ ID string }
		if !w.ask("POST", "/v1/projects", map[string]any{"name": fmt.Sprintf("client %d, %d", n, count)}, &p) {
			return
		}
		w.mu.Lock()
		w.projects[p.ID] = true
		w.mu.Unlock()
		for batches := 1 + r.IntN(4); batches > 0 && !w.ended(); batches-- {
			var batch []*crashFile
			for range 1 + r.IntN(6) {
				count++
				batch = append(batch, w.newFile(r, p.ID, fmt.Sprintf("%d-%d.jpg", n, count), base))
			}
			if !w.bring(r, p.ID, batch) {
				return
			}
		}
	}
}

// newFile is a picture unlike any other; one in five is cut off.
func (w *crashWorld) newFile(r *rand.Rand, project, name string, base []byte) *crashFile {
	note := fmt.Sprintf("%s %s %d", project, name, r.Uint64())
	body := append([]byte{0xff, 0xd8, 0xff, 0xfe, 0, byte(len(note) + 2)}, note...) // a comment after the beginning
	body = append(body, base[2:]...)
	f := &crashFile{project: project, name: name, want: "Ready"}
	if r.IntN(5) == 0 {
		body, f.want = body[:len(body)*2/3], "Invalid"
	}
	sum := sha1.Sum(body)
	f.sha1, f.body = hex.EncodeToString(sum[:]), body
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[project+f.sha1] = f
	return f
}

// bring registers a batch, uploads it, tells so, and lists.
func (w *crashWorld) bring(r *rand.Rand, project string, batch []*crashFile) bool {
	grants, ok := w.register(project, batch)
	if !ok {
		return false
	}
	ids := []string{}
	for i, f := range batch {
		if !w.put(f, grants[i]) {
			return false
		}
		ids = append(ids, f.id)
	}
	if r.IntN(3) > 0 { // some clients never tell
		var told struct{ Results []result }
		if !w.ask("POST", "/v1/projects/"+project+"/images/done", map[string]any{"ids": ids}, &told) {
			return false
		}
		for i, res := range told.Results {
			if res.Image.ID == "" {
				w.t.Errorf("%s was registered as %s, and done says %+v", batch[i].name, ids[i], res)
				return false
			}
			w.tell(batch[i].project, batch[i].sha1, res.Image.ID, res.Image.State)
		}
	}
	if r.IntN(4) == 0 { // and some ask twice
		var sound []*crashFile
		for _, f := range batch {
			if f.want == "Ready" {
				sound = append(sound, f)
			}
		}
		if len(sound) > 0 {
			if _, ok := w.register(project, sound); !ok {
				return false
			}
		}
	}
	_, ok = w.list(project)
	return ok
}

// register notes the ids; a further answer must name the same.
func (w *crashWorld) register(project string, batch []*crashFile) ([]result, bool) {
	var entries []any
	for _, f := range batch {
		e := entry(f.name, f.body)
		entries = append(entries, e)
	}
	var answer struct{ Results []result }
	if !w.ask("POST", "/v1/projects/"+project+"/images/register", map[string]any{"images": entries}, &answer) {
		return nil, false
	}
	if len(answer.Results) != len(batch) {
		w.t.Errorf("%d files are registered with %d results", len(batch), len(answer.Results))
		return nil, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, res := range answer.Results {
		f := batch[i]
		switch {
		case res.Image.ID == "" || res.Status != "granted" && !(res.Status == "exists" && f.stored):
			w.t.Errorf("%s: registering says %+v", f.name, res)
			return nil, false
		case f.id == "":
			f.id, f.filename = res.Image.ID, res.Image.Filename
		case f.id != res.Image.ID || f.filename != res.Image.Filename:
			w.t.Errorf("%s was registered as %s (%s) and is now %s (%s)", f.name, f.id, f.filename, res.Image.ID, res.Image.Filename)
		}
	}
	return answer.Results, true
}

// put uploads until it is taken.
func (w *crashWorld) put(f *crashFile, g result) bool {
	_, path, _ := strings.Cut(strings.TrimPrefix(g.Grant.URL, "http://"), "/")
	ok := w.try("PUT", "/"+path, f.body, g.Grant.Headers, func([]byte) error { return nil })
	w.mu.Lock()
	defer w.mu.Unlock()
	f.stored = f.stored || ok
	return ok
}

// list reads all of a project and returns how many images it has. Every one must be
// known, once, and every one that was acknowledged before must be there.
func (w *crashWorld) list(project string) (n int, ok bool) {
	w.mu.Lock()
	missing := map[string]*crashFile{}
	for _, f := range w.files {
		if f.project == project && f.id != "" {
			missing[f.sha1] = f
		}
	}
	w.mu.Unlock()
	seen := map[string]bool{}
	for cursor := ""; ; {
		var page struct {
			Images []struct {
				ID, SHA1, State string
				Reasons         []string
			}
			NextCursor string `json:"next_cursor"`
		}
		if !w.ask("GET", "/v1/projects/"+project+"/images?limit=50&cursor="+cursor, nil, &page) {
			return 0, false
		}
		for _, img := range page.Images {
			if seen[img.SHA1] {
				w.t.Errorf("%s is there twice", img.SHA1)
			}
			seen[img.SHA1] = true
			delete(missing, img.SHA1)
			w.tell(project, img.SHA1, img.ID, img.State, img.Reasons...)
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	for _, f := range missing {
		w.t.Errorf("%s was registered as %s and is gone", f.name, f.id)
	}
	return len(seen), true
}

// tell notes a state that was told. A verdict must be the right one and stay.
func (w *crashWorld) tell(project, sha1, id, state string, reasons ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.files[project+sha1]
	switch {
	case f == nil:
		w.t.Errorf("an image %s of sha1 %s in %s is nobody's", id, sha1, project)
		return
	case f.id != "" && f.id != id:
		w.t.Errorf("%s is %s and was registered as %s", f.name, id, f.id)
	}
	if state == "Ready" || state == "Invalid" {
		if state != f.want {
			w.t.Errorf("%s (%s) is told to be %s %q, not %s", f.name, id, state, reasons, f.want)
		}
		f.told = state
	} else if f.told != "" {
		w.t.Errorf("%s (%s) was told to be %s and is now %s", f.name, id, f.told, state)
	}
}

// operator makes keys beside the server, one in each of its lives.
func (w *crashWorld) operator() {
	for last := ""; !w.ended(); {
		url := *w.url.Load()
		if url == "" || url == last {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		last = url
		w.cli.Lock()
		if *w.url.Load() == "" {
			w.cli.Unlock()
			continue
		}
		cmd := command(w.t, nil, "keys", "create", "--owner", "owner@localhost", "--data-dir", w.data)
		out, err := cmd.Output() // fails where the server was killed meanwhile
		w.cli.Unlock()
		if err == nil {
			w.mu.Lock()
			w.keys = append(w.keys, strings.TrimSpace(string(out)))
			w.mu.Unlock()
		}
	}
}

// ask calls the API until it answers, and decodes the answer.
func (w *crashWorld) ask(method, path string, body, out any) bool {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			w.t.Error(err)
			return false
		}
	}
	header := map[string]string{"Authorization": "Bearer " + w.key, "Content-Type": "application/json"}
	return w.try(method, path, text, header, func(answer []byte) error { return json.Unmarshal(answer, out) })
}

// try repeats a request over the server's deaths until a whole answer of 2xx came.
// An answer of 4xx is a fault: nothing here is forbidden.
func (w *crashWorld) try(method, path string, body []byte, header map[string]string, took func([]byte) error) bool {
	for ; w.ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		url := *w.url.Load()
		if url == "" {
			continue
		}
		req, err := http.NewRequestWithContext(w.ctx, method, url+path, bytes.NewReader(body))
		if err != nil {
			w.t.Error(err)
			return false
		}
		for k, v := range header {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		answer, err := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case err != nil || res.StatusCode >= 500:
		case res.StatusCode >= 400:
			w.t.Errorf("%s %s answers %d %s", method, strings.SplitN(path, "?", 2)[0], res.StatusCode, answer)
			return false
		default:
			if err := took(answer); err != nil {
				w.t.Errorf("%s %s: %v in %s", method, path, err, answer)
				return false
			}
			return true
		}
	}
	w.t.Errorf("%s %s: no answer before the test's time was up", method, strings.SplitN(path, "?", 2)[0])
	return false
}

// settle compares what is there in the end with what was acknowledged.
func (w *crashWorld) settle(s *server) {
	var images int
	s.waitFor("all verdicts", func() bool {
		images = 0
		for p := range w.projects {
			n, ok := w.list(p)
			if !ok || w.t.Failed() {
				w.t.Fatalf("the last server said:\n%s", s.out)
			}
			images += n
		}
		return !slices.ContainsFunc(w.all(), func(f *crashFile) bool { return f.stored && f.told == "" })
	})
	stored := 0
	for _, f := range w.all() {
		if !f.stored {
			continue
		}
		stored++
		got, err := os.ReadFile(filepath.Join(w.data, "objects", "local-bucket", f.project, f.filename))
		if err != nil || !bytes.Equal(got, f.body) {
			w.t.Errorf("%s (%s) was taken and is not whole: %d of %d bytes, %v", f.name, f.id, len(got), len(f.body), err)
		}
	}
	for p := range w.projects {
		if code := s.call("GET", "/v1/projects/"+p, nil, nil); code != http.StatusOK {
			w.t.Errorf("project %s answers %d", p, code)
		}
	}
	for _, key := range w.keys {
		s.key = key
		if code := s.call("GET", "/v1/me", nil, nil); code != http.StatusOK {
			w.t.Errorf("a key that was made answers %d", code)
		}
	}
	w.t.Logf("%d projects, %d keys, %d images, %d objects through %d kills, %d of them with Postgres",
		len(w.projects), len(w.keys), images, stored, crashes, w.postgres)
	if images == 0 || stored != images || len(w.keys) == 0 {
		w.t.Errorf("too little happened to prove anything, or not all that was registered was uploaded")
	}
}

func (w *crashWorld) all() []*crashFile {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*crashFile
	for _, f := range w.files {
		list = append(list, f)
	}
	return list
}
