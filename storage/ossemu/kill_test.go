package ossemu

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// killedDir names the folder that the emulator in the killed process serves.
const killedDir = "OSSEMU_KILLED_DIR"

// TestKill kills a process with an emulator while clients write, again and again
// on one folder. What was answered with yes is there, and all that is there is
// whole.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killedDir); dir != "" {
		e := start(t, func(o *Options) { o.Dir = dir })
		fmt.Println("listening " + e.url)
		select {} // until it is killed
	}
	dir := t.TempDir()
	var mu sync.Mutex
	stored := map[string]int{} // the newest version that was answered with yes
	for round := range 4 {
		p := exec.Command(os.Args[0], "-test.run=^TestKill$", "-test.timeout=2m")
		p.Env = append(os.Environ(), killedDir+"="+dir)
		out, err := p.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		url := ""
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if s, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
				url = s
				break
			}
		}
		if url == "" {
			p.Process.Kill()
			t.Fatal("the emulator did not begin to listen")
		}
		enough := make(chan struct{}, 1000)
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				b := emulator{url: url}.bucket(t, oss.Timeout(5, 5))
				for i := 1; ; i++ {
					key, version := fmt.Sprintf("w%d/%d", w, i%7), round*1000000+i
					if b.PutObject(key, bytes.NewReader(versioned(version))) != nil {
						return // killed
					}
					mu.Lock()
					stored[key] = version
					mu.Unlock()
					select {
					case enough <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 40 {
			<-enough
		}
		if err := p.Process.Kill(); err != nil {
			t.Error(err)
		}
		p.Wait()
		wg.Wait()
	}

	s, err := New(Options{Dir: dir, AccessKeyID: testKeyID, AccessKeySecret: testSecret, RoleARN: testRole})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	defer web.Close()
	b := emulator{s, web.URL, dir}.bucket(t)
	keys := listAll(t, b)
	if len(keys) < len(stored) {
		t.Errorf("%d objects, %d were stored", len(keys), len(stored))
	}
	for _, key := range keys {
		h, err := b.GetObjectDetailedMeta(key)
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.GetObject(key)
		if err != nil {
			t.Fatal(err)
		}
		body := text(t, r)
		var version int
		fmt.Sscan(body, &version)
		sum := md5.Sum([]byte(body))
		if body != string(versioned(version)) || h.Get("Etag") != quoted(upperHex(sum[:])) || version < stored[key] {
			t.Errorf("%s: version %d of %d bytes, ETag %s; version %d was stored", key, version, len(body), h.Get("Etag"), stored[key])
		}
	}
}

// versioned is a body that tells its version at both ends.
func versioned(version int) []byte {
	return fmt.Appendf(nil, "%d %s %d", version, strings.Repeat("x", 200<<10), version)
}
