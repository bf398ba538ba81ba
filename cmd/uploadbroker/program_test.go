package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that must come. It decides
// nothing but how long a failure takes.
const patience = 60 * time.Second

// server is `uploadbroker serve` as a process of its own.
type server struct {
	t    testing.TB
	cmd  *exec.Cmd
	data string
	url  string
	key  string // printed by a first start, else as it was
	out  *transcript
	done chan error
}

// transcript keeps what a process prints and lets tests wait for a line.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// dataFolder is a data folder in which the database is too, also when root runs the
// tests: the private Postgres's user can reach it.
func dataFolder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	reachableFor(t, dir)
	return filepath.Join(dir, "data")
}

// start serves from a data folder on a port of the kernel's choice.
func start(t testing.TB, data string, flags ...string) *server {
	t.Helper()
	s := begin(t, data, nil, nil, append([]string{"--listen", "127.0.0.1:0"}, flags...)...)
	s.waitReady()
	return s
}

// begin starts the process and waits for nothing.
func begin(t testing.TB, data string, env []string, credential *syscall.Credential, flags ...string) *server {
	t.Helper()
	s := &server{t: t, data: data, out: &transcript{}, done: make(chan error, 1)}
	s.cmd = command(t, env, append([]string{"serve", "--data-dir", data}, flags...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	if credential != nil {
		s.cmd.Path = copyBeside(t, s.cmd.Path, data) // go test's own folder is for its user alone
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.stop()
		}
	})
	return s
}

var (
	readyLine = regexp.MustCompile(`uploadbroker is ready at (\S+)`)
	keyLine   = regexp.MustCompile(`(?m)^  (ub_[a-z2-7]+)$`)
)

func (s *server) waitReady() {
	s.t.Helper()
	s.waitFor("the server to be ready", func() bool { return strings.Contains(s.out.String(), "Ctrl-C ends it.") })
	m := readyLine.FindStringSubmatch(s.out.String())
	s.url = m[1]
	if k := keyLine.FindStringSubmatch(s.out.String()); k != nil {
		s.key = k[1]
	}
}

func (s *server) waitFor(what string, ok func() bool) {
	s.t.Helper()
	for began := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-s.done:
			s.done <- err
			s.t.Fatalf("the server ended (%v) while waiting for %s:\n%s", err, what, s.out)
		default:
		}
		if time.Since(began) > patience {
			s.t.Fatalf("waited in vain for %s:\n%s", what, s.out)
		}
	}
}

// stop is Ctrl-C; it returns the exit code.
func (s *server) stop() int {
	s.t.Helper()
	_ = s.cmd.Process.Signal(os.Interrupt)
	return s.wait()
}

// kill is kill -9.
func (s *server) kill() {
	s.t.Helper()
	_ = s.cmd.Process.Kill()
	s.wait()
}

func (s *server) wait() int {
	s.t.Helper()
	select {
	case err := <-s.done:
		s.done <- err
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		s.t.Fatalf("the server did not end:\n%s", s.out)
		return -1
	}
}

// postmaster is the pid of the private Postgres, 0 when none is noted.
func (s *server) postmaster() int {
	dir := filepath.Join(s.data, "pg")
	if where, err := os.ReadFile(filepath.Join(s.data, "pg-location")); err == nil {
		dir, _, _ = strings.Cut(strings.TrimSpace(string(where)), "\n")
	}
	f, err := os.Open(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return 0
	}
	defer f.Close()
	line, _ := bufio.NewReader(f).ReadString('\n')
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return pid
}

// alive reports whether a process runs. One that ended and that nobody has asked
// about, as in a container whose first process is no init, does not.
func alive(pid int) bool {
	if pid <= 0 || syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || runtime.GOOS != "linux"
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// client runs a client or operator command against the server and returns its
// exit code and what it printed.
func (s *server) client(args ...string) (int, string) {
	s.t.Helper()
	return runCommand(s.t, []string{"UPLOADBROKER_KEY=" + s.key, "UPLOADBROKER_SERVER=" + s.url}, args...)
}

func runCommand(t testing.TB, env []string, args ...string) (int, string) {
	t.Helper()
	cmd := command(t, env, args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%v: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// call asks the API and decodes the answer into out, which may be nil.
func (s *server) call(method, path string, body, out any) int {
	s.t.Helper()
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", method, path, err, s.out)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return res.StatusCode
}

// photo makes a JPEG with noise, so that no two are alike and none is tiny.
func photo(seed uint64, width, height int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			n := uint8(r.IntN(48))
			img.Set(x, y, color.RGBA{uint8(x) + n, uint8(y) + n, uint8(x+y) / 2, 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// soundPNG makes a small PNG.
func soundPNG() []byte {
	img := image.NewGray(image.Rect(0, 0, 40, 30))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * 7)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// folder writes files into a new folder.
func folder(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// photos makes a folder of n different photos.
func photos(t testing.TB, n int) string {
	t.Helper()
	files := map[string][]byte{}
	for i := range n {
		files[fmt.Sprintf("100MEDIA/DJI_%04d.JPG", i+1)] = photo(uint64(i), 320, 240)
	}
	return folder(t, files)
}

// beProgram makes a process of the test binary the program itself.
const beProgram = "UPLOADBROKER_TEST_BE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		main()
	}
	for be, do := range map[string]func(string) error{beGoJPEG: goJPEGMain, bePainter: painterMain} {
		if spec := os.Getenv(be); spec != "" {
			if err := do(spec); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	if spec := os.Getenv(beS3); spec != "" {
		if err := s3Main(spec); err != nil {
			fmt.Fprintln(os.Stderr, "the S3 server:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// hangup asks a server to read its configuration again.
const hangup = syscall.SIGHUP

// command is the program in a process and an environment of its own.
func command(t testing.TB, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append([]string{beProgram + "=1", "LANG=C.UTF-8", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, env...)
	return cmd
}

// copyBeside puts an executable next to a folder.
func copyBeside(t testing.TB, path, dir string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(filepath.Dir(dir), "uploadbroker")
	if err := os.WriteFile(to, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}
