package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestFromNothingToReady is the product in one go: a server from nothing, a
// folder of photos to Ready, the same again without a byte, bad files told apart
// and mended.
func TestFromNothingToReady(t *testing.T) {
	t.Parallel()
	s := start(t, dataFolder(t))
	if s.key == "" || !strings.Contains(s.out.String(), "/sign-in#") || !strings.Contains(s.out.String(), " upload") {
		t.Errorf("the first start does not tell key, sign-in link and command:\n%s", s.out)
	}
	dir := photos(t, 12)
	if code, out := s.client("upload", dir, "--new", "demo"); code != 0 || !strings.Contains(out, "12 Ready, 0 not") {
		t.Fatalf("upload ended with %d:\n%s", code, out)
	}
	if code, out := s.client("upload", dir, "--new", "demo"); code != 0 || !strings.Contains(out, "0 bytes sent, 12 were there already") {
		t.Fatalf("the second upload ended with %d:\n%s", code, out)
	}

	whole := photo(100, 640, 480)
	bad := folder(t, map[string][]byte{
		"cut.jpg": whole[:len(whole)/2], "text.jpg": []byte("this is text\n"), "empty.jpg": nil, "png.jpg": soundPNG(),
	})
	code, out := s.client("upload", bad, "--new", "mixed")
	if code != exitNotReady || !strings.Contains(out, "1 Ready, 3 not") {
		t.Fatalf("the mixed upload ended with %d:\n%s", code, out)
	}
	for name, reason := range map[string]string{"cut.jpg": "truncated: ", "text.jpg": "unsupported_format: ", "empty.jpg": "empty: "} {
		if !containsLine(out, "Invalid", name, reason) {
			t.Errorf("no line says that %s is Invalid for %q:\n%s", name, reason, out)
		}
	}
	var list struct {
		Images []struct {
			Name  string
			State string
			Facts struct{ Type, Declared string }
		}
	}
	s.call("GET", "/v1/projects/"+s.project("mixed")+"/images?state=Ready", nil, &list)
	if len(list.Images) != 1 || list.Images[0].Facts.Type != "image/png" || list.Images[0].Facts.Declared != "image/jpeg" {
		t.Errorf("the PNG named .jpg is told as %+v", list.Images)
	}

	for i, name := range []string{"cut.jpg", "text.jpg", "empty.jpg"} {
		write(t, filepath.Join(bad, name), photo(uint64(200+i), 320, 240))
	}
	if code, out := s.client("upload", bad, "--new", "mixed"); code != 0 || !strings.Contains(out, "4 Ready, 0 not") {
		t.Fatalf("the mended upload ended with %d:\n%s", code, out)
	}

	pid := s.postmaster()
	if code := s.stop(); code != 0 {
		t.Errorf("Ctrl-C ended it with %d:\n%s", code, s.out)
	}
	if alive(pid) {
		t.Errorf("Postgres %d outlived Ctrl-C", pid)
	}
}

// TestRealPhotos uploads the photos that lie beside a checkout, where they do.
func TestRealPhotos(t *testing.T) {
	t.Parallel()
	dir, _ := filepath.Abs("../../../shared/photos")
	found, _ := filepath.Glob(filepath.Join(dir, "*.JPG"))
	if len(found) == 0 {
		dir, found = photos(t, 3), make([]string, 3)
	}
	s := start(t, dataFolder(t))
	want := fmt.Sprintf("%d Ready, 0 not", len(found))
	if code, out := s.client("upload", dir, "--new", "demo"); code != 0 || !strings.Contains(out, want) {
		t.Fatalf("upload ended with %d:\n%s", code, out)
	}
}

func containsLine(text string, parts ...string) bool {
line:
	for _, l := range strings.Split(text, "\n") {
		for _, p := range parts {
			if !strings.Contains(l, p) {
				continue line
			}
		}
		return true
	}
	return false
}

// project finds a project's id by its name.
func (s *server) project(name string) string {
	s.t.Helper()
	var list struct {
		Projects []struct{ ID string }
	}
	s.call("GET", "/v1/projects?q="+name, nil, &list)
	if len(list.Projects) != 1 {
		s.t.Fatalf("%d projects are named %s", len(list.Projects), name)
	}
	return list.Projects[0].ID
}

func TestTwiceOnOneFolderIsRefused(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := start(t, data)
	second := begin(t, data, nil, nil, "--listen", "127.0.0.1:0")
	if code := second.wait(); code == 0 {
		t.Error("a second server on the same folder ran")
	}
	if out := second.out.String(); !strings.Contains(out, "another uploadbroker") || !strings.Contains(out, strconv.Itoa(s.cmd.Process.Pid)) {
		t.Errorf("it does not say who uses the folder:\n%s", out)
	}
	if code := s.call("GET", "/readyz", nil, nil); code != http.StatusOK {
		t.Errorf("the first server answers %d since", code)
	}
}

func TestPortInUseIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := dataFolder(t)
	s := begin(t, data, nil, nil, "--listen", l.Addr().String())
	if code := s.wait(); code != exitUsage || !strings.Contains(s.out.String(), "--listen") {
		t.Errorf("ended with %d:\n%s", code, s.out)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("it touched the data folder all the same")
	}
}

// TestKill9LosesNothing kills the program between and during uploads.
func TestKill9LosesNothing(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := start(t, data)
	key := s.key
	dir := photos(t, 6)
	if code, out := s.client("upload", dir, "--new", "demo"); code != 0 {
		t.Fatalf("upload ended with %d:\n%s", code, out)
	}
	pid := s.postmaster()
	s.kill()

	s = start(t, data)
	if s.key != "" {
		t.Error("the second start made a key again")
	}
	s.key = key
	if alive(pid) && pid != s.postmaster() {
		t.Errorf("Postgres %d of the killed program still runs", pid)
	}
	if code, out := s.client("upload", dir, "--new", "demo"); code != 0 || !strings.Contains(out, "0 bytes sent, 6 were there already") {
		t.Fatalf("after kill -9 the upload ended with %d:\n%s", code, out)
	}
	pid = s.postmaster()
	s.kill()
	s.waitDead(pid)
}

// waitDead waits for a process to be gone.
func (s *server) waitDead(pid int) {
	s.t.Helper()
	done := make(chan error, 1)
	done <- nil
	probe := &server{t: s.t, out: s.out, done: make(chan error, 1)}
	probe.waitFor(fmt.Sprintf("Postgres %d to end with its parent", pid), func() bool { return !alive(pid) })
}

// TestPlaces serves from folders that are hard to serve from.
func TestPlaces(t *testing.T) {
	t.Parallel()
	deep := filepath.Join(dataFolder(t), strings.Repeat("a deep folder/", 12), "it's \"quoted\" 照片")
	places := map[string]string{"deep": deep}
	if os.Geteuid() == 0 {
		home, err := os.MkdirTemp("/root", "uploadbroker-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(home) })
		places["below /root"] = filepath.Join(home, "data")
	}
	for name, data := range places {
		t.Run(name, func(t *testing.T) {
			s := start(t, data)
			if code, out := s.client("upload", photos(t, 2), "--new", "demo"); code != 0 {
				t.Fatalf("upload ended with %d:\n%s", code, out)
			}
			key := s.key
			s.stop()
			if where, err := os.ReadFile(filepath.Join(data, "pg-location")); err == nil {
				t.Cleanup(func() { _ = os.RemoveAll(strings.TrimSpace(string(where))) })
			}
			s = start(t, data)
			s.key = key
			if s.project("demo") == "" {
				t.Error("the project is gone after a restart")
			}
		})
	}
}

// TestAsOrdinaryUser runs the whole product without root's rights.
func TestAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	var credential *syscall.Credential
	base := t.TempDir()
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(base, uid, gid); err != nil {
			t.Fatal(err)
		}
		reachableFor(t, base)
	}
	s := begin(t, filepath.Join(base, "data"), nil, credential, "--listen", "127.0.0.1:0")
	s.waitReady()
	if code, out := s.client("upload", photos(t, 3), "--new", "demo"); code != 0 || !strings.Contains(out, "3 Ready, 0 not") {
		t.Fatalf("upload ended with %d:\n%s\n%s", code, out, s.out)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("Ctrl-C ended it with %d:\n%s", code, s.out)
	}
}

// reachableFor opens the test's own folders for passing through, which the testing
// package makes for their owner alone.
func reachableFor(t testing.TB, dir string) {
	t.Helper()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFromAnotherHostName reaches a --lan server by a name of the LAN: grants
// must lead back by the same name.
func TestFromAnotherHostName(t *testing.T) {
	s := start(t, dataFolder(t), "--lan")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	dialer := &net.Dialer{}
	http.DefaultClient.Transport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, "127.0.0.1:"+port)
	}}
	s.url = "http://studio.lan:" + port
	t.Cleanup(func() { http.DefaultClient.Transport = nil })

	var p struct{ ID string }
	s.call("POST", "/v1/projects", map[string]any{"name": "lan"}, &p)
	bytes := photo(7, 64, 48)
	var reg struct {
		Results []struct {
			Grant struct {
				Method, URL string
				Headers     map[string]string
			}
			Image struct{ ID string }
		}
	}
	s.call("POST", "/v1/projects/"+p.ID+"/images/register", map[string]any{"images": []any{entry("a.jpg", bytes)}}, &reg)
	grant := reg.Results[0].Grant
	if !strings.HasPrefix(grant.URL, s.url+"/local-bucket/") {
		t.Fatalf("the grant leads to %s", grant.URL)
	}
	req, err := http.NewRequestWithContext(t.Context(), grant.Method, grant.URL, strings.NewReader(string(bytes)))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range grant.Headers {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the PUT answers %d: %s", res.StatusCode, text)
	}
	s.waitFor("the image to be Ready", func() bool {
		var img struct{ State string }
		s.call("GET", "/v1/projects/"+p.ID+"/images/"+reg.Results[0].Image.ID, nil, &img)
		return img.State == "Ready"
	})
}

// TestLANListen: --lan opens the loopback's port to all interfaces, and heeds an
// address that was named.
func TestLANListen(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8080": ":8080", "localhost:8080": ":8080", "[::1]:1": ":1", ":8080": ":8080",
		"192.168.1.5:8080": "192.168.1.5:8080", "[fd00::1]:80": "[fd00::1]:80", "0.0.0.0:80": "0.0.0.0:80", "nonsense": "nonsense",
	} {
		if got := lanListen(listen); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}
