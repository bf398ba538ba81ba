package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var demoLine = regexp.MustCompile(`The OSS emulator is at (http://\S+), its bucket is (\w+):`)

// TestDemoOSS is the README's way to try OSS on one machine.
func TestDemoOSS(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := start(t, data, "--demo-oss")
	told := demoLine.FindStringSubmatch(s.out.String())
	if told == nil {
		t.Fatalf("the emulator is not told of:\n%s", s.out)
	}
	photos := t.TempDir()
	for i := range 5 {
		write(t, filepath.Join(photos, strconv.Itoa(i)+".jpg"), photo(uint64(i+1), 64, 48))
	}
	write(t, filepath.Join(photos, "text.jpg"), []byte("this is no photo"))
	upload := func(want int) string {
		t.Helper()
		code, out := s.client("upload", photos, "--new", "demo", "--bucket", told[2])
		if code != want {
			t.Fatalf("upload ended with %d:\n%s\n%s", code, out, s.out)
		}
		return out
	}
	if out := upload(exitNotReady); !strings.Contains(out, "5 Ready, 1 not") {
		t.Errorf("the first upload says:\n%s", out)
	}
	// The bytes lie with the emulator, and nowhere in the local bucket.
	if got := filesIn(t, filepath.Join(data, "demo-oss", demoBucket)); got < 6 {
		t.Errorf("%d files lie in the emulator's folder", got)
	}
	// The local bucket is there as well, and stays the nearest.
	var near struct {
		Buckets []struct{ Symbol, Cloud string }
	}
	if code := s.call("GET", "/v1/buckets/nearest", nil, &near); code != http.StatusOK || len(near.Buckets) != 2 ||
		near.Buckets[0].Symbol != "Local" || near.Buckets[1].Symbol != told[2] || near.Buckets[1].Cloud != "OSS" {
		t.Errorf("nearest answers %d %+v", code, near)
	}
	// Killed and started anew, on whatever port: what was there is there.
	s.kill()
	again := start(t, data, "--demo-oss")
	again.key, s = s.key, again
	if out := upload(exitNotReady); !strings.Contains(out, "5 were there already") {
		t.Errorf("after a restart:\n%s", out)
	}
	// The secret is told nowhere.
	if strings.Contains(s.out.String(), "secret") {
		t.Errorf("the log speaks of a secret:\n%s", s.out)
	}
}

// TestDemoOSSTakesTheNextPort, unless somebody has it.
func TestDemoOSSTakesTheNextPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: taken.Addr().(*net.TCPAddr).Port - 1}
	d, err := listenDemoOSS(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	defer d.listener.Close()
	if d.listener.Addr().String() == taken.Addr().String() || d.secret == "" {
		t.Errorf("it listens on %s", d.listener.Addr())
	}
	free := d.listener.Addr().(*net.TCPAddr).Port
	if err := d.listener.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := listenDemoOSS(t.Context(), &net.TCPAddr{Port: free - 1})
	if err != nil {
		t.Fatal(err)
	}
	defer next.listener.Close()
	if got := next.listener.Addr().(*net.TCPAddr).Port; got != free {
		t.Errorf("port %d was free, and it took %d", free, got)
	}
}

func filesIn(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
