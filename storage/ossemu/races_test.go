package ossemu

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMakingWay moves an object aside and back for a folder that comes and goes,
// while it is replaced and read. It is never gone, never older than it was, and
// always has its own meta.
func TestMakingWay(t *testing.T) {
	d, err := openDisk(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.makeBucket("photos"); err != nil {
		t.Fatal(err)
	}
	put := func(key, body string) {
		tmp, err := d.spool(strings.NewReader(body))
		if err == nil {
			_, err = d.commit("photos", key, tmp.path, meta{
				SizeBytes: tmp.sizeBytes, ETag: upperHex(tmp.md5), Header: map[string]string{"X-Oss-Meta-Body": body},
			}, false)
		}
		if err != nil {
			t.Errorf("put %s: %v", key, err)
		}
	}
	put("a", fmt.Sprintf("%06d", 0))
	const rounds = 400
	done := make(chan struct{})
	var writers, readers sync.WaitGroup
	writers.Go(func() {
		for i := range rounds {
			want := fmt.Sprintf("%06d", i+1)
			put("a", want)
			if f, m, err := d.open("photos", "a"); err != nil || m.Header["X-Oss-Meta-Body"] != want {
				t.Errorf("wrote %s, read %q %v", want, m.Header["X-Oss-Meta-Body"], err)
			} else {
				f.Close()
			}
		}
	})
	writers.Go(func() {
		for range rounds {
			put("a/b", "below")
			if err := d.remove("photos", "a/b"); err != nil {
				t.Errorf("remove: %v", err)
			}
		}
	})
	for range 3 {
		readers.Go(func() {
			last := ""
			for {
				select {
				case <-done:
					return
				default:
				}
				f, m, err := d.open("photos", "a")
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				b, err := io.ReadAll(f)
				f.Close()
				if err != nil || m.Header["X-Oss-Meta-Body"] != string(b) || string(b) < last {
					t.Errorf("read %q with the meta of %q after %q: %v", b, m.Header["X-Oss-Meta-Body"], last, err)
					return
				}
				last = string(b)
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if _, _, err := d.open("photos", "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a/b: %v", err)
	}
}
