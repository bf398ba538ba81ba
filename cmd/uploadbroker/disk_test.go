//go:build linux

package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

// Full disks. The disk is a tmpfs, the program the real one, what fills the disk a
// plain file beside the data folder.

const (
	diskBytes    = 320 << 20
	reserveBytes = diskBytes / 20 // what the local bucket leaves free
	onDisk       = "UPLOADBROKER_TEST_DISK"
)

// withDisk runs a test on a small disk of its own. Root mounts one. Another user
// runs the test again where he may: in a user namespace that has one, and in which
// he is himself again, for the program behaves otherwise as root.
func withDisk(t *testing.T, test func(t *testing.T, d *smallDisk)) {
	if dir := os.Getenv(onDisk); dir != "" {
		test(t, &smallDisk{t: t, dir: dir})
		return
	}
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	reachableFor(t, dir)
	options := fmt.Sprintf("size=%d,mode=0755", diskBytes)
	if os.Geteuid() == 0 {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
			noDisk(t, fmt.Errorf("mount: %w", err))
		}
		t.Cleanup(func() {
			// Detached: what a failed test left running must not keep it.
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", dir, err)
			}
		})
		test(t, &smallDisk{t: t, dir: dir})
		return
	}
	id := func(n int) string { return strconv.Itoa(n) }
	namespace := []string{"unshare", "--user", "--map-user=" + id(os.Geteuid()), "--map-group=" + id(os.Getegid()), "--"}
	inside := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
		`mount -t tmpfs -o "$1" none "$2" && shift 2 && exec "$@"`, "sh", options, dir)
	probe := exec.Command(inside.Path, append(slices.Clone(inside.Args[1:]), append(slices.Clone(namespace), "true")...)...)
	if out, err := probe.CombinedOutput(); err != nil {
		noDisk(t, fmt.Errorf("unshare: %w: %s", err, out))
	}
	inside.Args = append(append(inside.Args, namespace...), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	inside.Env = append(os.Environ(), onDisk+"="+dir)
	out, err := inside.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")) {
		t.Errorf("in a namespace of its own: %v\n%s", err, out)
	}
}

// noDisk leaves a test out where no disk can be had (containers without the right
// to mount or to make namespaces), unless REQUIRE lists "disk".
func noDisk(t *testing.T, err error) {
	t.Helper()
	if slices.Contains(strings.FieldsFunc(os.Getenv("REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' }), "disk") {
		t.Fatalf("no disk to fill: %v", err)
	}
	t.Skipf("no disk to fill, set REQUIRE=disk to make this a failure: %v", err)
}

type smallDisk struct {
	t   *testing.T
	dir string
}

func (d *smallDisk) data() string { return filepath.Join(d.dir, "data") }

func (d *smallDisk) free() int64 {
	d.t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		d.t.Fatal(err)
	}
	return int64(s.Bavail) * int64(s.Bsize)
}

// fill leaves so much free; 0 is the last byte.
func (d *smallDisk) fill(leave int64) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "filler"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for d.free() > leave {
		if _, err := f.Write(block[:min(int64(len(block)), d.free()-leave)]); err != nil && !errors.Is(err, syscall.ENOSPC) {
			d.t.Fatal(err)
		}
	}
}

// empty frees what fill took.
func (d *smallDisk) empty() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "filler")); err != nil {
		d.t.Fatal(err)
	}
}

// problem is a REST error as far as these tests read it.
type problem struct {
	ID     string
	Status int
	Code   string
	Detail string
}

// tryProject is newProject where a refusal is no surprise.
func (s *server) tryProject(name string) (p problem) {
	s.t.Helper()
	s.call("POST", "/v1/projects", map[string]any{"name": name}, &p)
	return p
}

// send is put with the whole answer.
func send(g result, body []byte) (status int, answer string, err error) {
	req, err := http.NewRequest(g.Grant.Method, g.Grant.URL, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for k, v := range g.Grant.Headers {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// stored reads what was uploaded behind the local bucket's back, by file name. The
// broker's own thumbnails are not among it.
func stored(t *testing.T, data string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(filepath.Join(data, "objects", "local-bucket"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && e.Name() == "thumbs" {
			return fs.SkipDir
		}
		if err == nil && !e.IsDir() {
			all[e.Name()], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b)
	return b
}

// TestFirstStartOnFullDisk makes no database where it can't be finished, and
// nothing that would be in the way later.
func TestFirstStartOnFullDisk(t *testing.T) {
	t.Parallel()
	withDisk(t, func(t *testing.T, d *smallDisk) {
		for _, leave := range []int64{60 << 20, 10 << 20, 0} {
			d.fill(leave)
			s := begin(t, d.data(), nil, nil, "--listen", "127.0.0.1:0")
			if code := s.wait(); code != exitNotReady {
				t.Errorf("with %d bytes free it ended with %d", leave, code)
			}
			if out := s.out.String(); !strings.Contains(out, "is full") || !strings.Contains(out, "Free some space") {
				t.Errorf("with %d bytes free it says:\n%s", leave, out)
			}
			if left, _ := filepath.Glob(filepath.Join(d.data(), "pg*")); len(left) != 0 {
				t.Errorf("with %d bytes free it left %v", leave, left)
			}
		}
		d.empty()
		s := start(t, d.data())
		if s.key == "" {
			t.Errorf("with space it is no first start:\n%s", s.out)
		}
		s.newProject("space")
	})
}

// TestUploadsFillTheDisk uploads until the disk is full: clients are told so,
// nothing is half stored, the database goes on, and space that is freed counts
// without a restart.
func TestUploadsFillTheDisk(t *testing.T) {
	t.Parallel()
	withDisk(t, func(t *testing.T, d *smallDisk) {
		s := start(t, d.data())
		pid := s.newProject("large files")
		const size, clients = 3 << 20, 16
		var files [][]byte
		for range clients {
			files = append(files, noise(size))
		}
		grants := s.register(pid, "", nil, files...)
		d.fill(reserveBytes + 5*size) // room for five at most, for the database writes too

		// All at once: the reserve holds against those who come together.
		statuses, answers := make([]int, clients), make([]string, clients)
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() {
				var err error
				if statuses[i], answers[i], err = send(grants[i], files[i]); err != nil {
					t.Errorf("upload %d: %v", i, err)
				}
			})
		}
		all.Wait()
		want, full := map[string][]byte{}, -1
		for i, status := range statuses {
			switch {
			case status == http.StatusOK:
				want[grants[i].Image.Filename] = files[i]
			case status == http.StatusInsufficientStorage && strings.Contains(answers[i], "<Code>InsufficientStorage</Code>") &&
				strings.Contains(answers[i], "freed"):
				full = i
			default:
				t.Errorf("upload %d answers %d %s", i, status, answers[i])
			}
		}
		if len(want) < 3 || len(want) > 5 || full < 0 {
			t.Errorf("%d of %d uploads were taken where five fit", len(want), clients)
		}
		compare(t, stored(t, d.data()), want)
		if !strings.Contains(s.out.String(), "the disk of the local bucket is full") {
			t.Errorf("the log does not tell:\n%s", s.out)
		}

		// The database has its reserve to live on, and its log finds room there.
		d.fill(reserveBytes)
		other := s.newProject("while the disk is full")
		for range 12 {
			var small [][]byte
			for range 250 {
				small = append(small, noise(16))
			}
			s.register(other, "", nil, small...)
		}
		if code := s.call("GET", "/v1/projects/"+other+"/images", nil, nil); code != http.StatusOK {
			t.Errorf("the list answers %d", code)
		}

		d.empty()
		if status, answer, err := send(grants[full], files[full]); err != nil || status != http.StatusOK {
			t.Fatalf("with space freed, the upload answers %d %s %v", status, answer, err)
		}
		want[grants[full].Image.Filename] = files[full]
		compare(t, stored(t, d.data()), want)
		s.waitState(pid, grants[full].Image.ID, "Invalid") // noise is no picture
	})
}

// compare wants exactly these objects.
func compare(t *testing.T, got, want map[string][]byte) {
	t.Helper()
	for name, body := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s of %d bytes is stored although its upload was refused", name, len(body))
		}
	}
	for name, body := range want {
		if !bytes.Equal(got[name], body) {
			t.Errorf("%s was taken and is not whole: %d of %d bytes", name, len(got[name]), len(body))
		}
	}
}

// TestDiskFullToTheLastByte lets something else fill the disk under the database:
// the API names the cause; where Postgres gives up the program ends and names it
// too; and with space freed all that was acknowledged is there.
func TestDiskFullToTheLastByte(t *testing.T) {
	t.Parallel()
	withDisk(t, func(t *testing.T, d *smallDisk) {
		s := start(t, d.data())
		key, pid := s.key, s.newProject("before")
		picture := photo(1, 64, 48)
		g := s.register(pid, "", nil, picture)[0]
		if status, answer, err := send(g, picture); err != nil || status != http.StatusOK {
			t.Fatalf("the upload answers %d %s %v", status, answer, err)
		}
		projects := []string{pid}
		d.fill(0)

		// Until the pages that the tables have are full too.
		var refused problem
		for n := 0; refused.Status == 0 && n < 5000; n++ {
			made := s.tryProject(fmt.Sprint("on a full disk ", n))
			if made.ID != "" {
				projects = append(projects, made.ID)
			} else {
				refused = made
			}
		}
		if refused.Status != http.StatusServiceUnavailable || !strings.Contains(refused.Detail, "disk of the database is full") {
			t.Fatalf("after %d projects it answers %+v\n%s", len(projects), refused, s.out)
		}
		if status, answer, err := send(g, picture); err != nil || status != http.StatusInsufficientStorage {
			t.Errorf("an upload answers %d %s %v", status, answer, err)
		}
		if code := s.call("GET", "/v1/projects/"+pid+"/images", nil, nil); code != http.StatusOK {
			t.Errorf("reading answers %d", code)
		}

		exhaustLog(t, s)
		if code := s.wait(); code != exitNotReady {
			t.Errorf("without its database it ended with %d", code)
		}
		if out := s.out.String(); !containsLine(out, "is full", "free some space", "start uploadbroker again") {
			t.Errorf("it does not say why it ended:\n%s", out)
		}
		d.fill(0) // Postgres's own leavings too

		again := begin(t, d.data(), nil, nil, "--listen", "127.0.0.1:0")
		if code := again.wait(); code != exitNotReady {
			t.Errorf("on the full disk it ended with %d", code)
		}
		if out := again.out.String(); !containsLine(out, "uploadbroker: ", "is full", "free some space") {
			t.Errorf("on the full disk it says:\n%s", out)
		}

		d.empty()
		s = start(t, d.data())
		s.key = key
		for _, id := range projects {
			if code := s.call("GET", "/v1/projects/"+id, nil, nil); code != http.StatusOK {
				t.Errorf("project %s answers %d", id, code)
			}
		}
		s.waitState(pid, g.Image.ID, "Ready")
		compare(t, stored(t, d.data()), map[string][]byte{g.Image.Filename: picture})
	})
}

// exhaustLog writes to the database's log, and to no table, until Postgres can't
// have its next segment.
func exhaustLog(t *testing.T, s *server) {
	t.Helper()
	dsn, running, err := privatepg.Attach(t.Context(), privatepg.Options{DataDir: s.data})
	if err != nil || !running {
		t.Fatalf("the database runs: %v, %v", running, err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for range 2000 {
		if _, err := conn.Exec(t.Context(), `select pg_logical_emit_message(true, 'filler', repeat('x', 1 << 20))`); err != nil {
			return
		}
	}
	t.Fatal("the log took two gigabytes on a full disk")
}
