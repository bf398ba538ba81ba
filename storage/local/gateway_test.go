package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/versity/versitygw/backend/posix"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

func put(t *testing.T, b *Bucket, key, body string) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, strings.NewReader(body), storage.PutOptions{SizeBytes: int64(len(body))}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, b *Bucket, key string) string {
	t.Helper()
	rc, _, err := b.Open(t.Context(), key, storage.Range{}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	var sb bytes.Buffer
	if _, err := sb.ReadFrom(rc); err != nil {
		t.Fatal(err)
	}
	return sb.String()
}

// TestReopen restarts the gateway: objects, ETags and signed URLs outlive it,
// also when the data folder has moved.
func TestReopen(t *testing.T) {
	for _, kind := range []string{inXattr, inSidecar} {
		t.Run(kind, func(t *testing.T) {
			turn.Lock()
			defer turn.Unlock()
			parent := t.TempDir()
			var etag, url string
			for i, name := range []string{"data", "data", "moved ü/deeper"} {
				dir := filepath.Join(parent, name)
				if i == 2 {
					if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.Rename(filepath.Join(parent, "data"), dir); err != nil {
						t.Fatal(err)
					}
				}
				o := Options{Dir: filepath.Join(dir, "objects"), KeyFile: filepath.Join(dir, "key")}
				if kind == inSidecar {
					o.hasXattr = func(string) bool { return false }
				}
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				g, err := Open(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				b := bucket(t, g, BucketName)
				s := serve(t, b, HandlerOptions{})
				if i == 0 {
					put(t, b, "p/x", "kept")
					if url, err = b.SignGet(t.Context(), "p/x", storage.GetOptions{}, time.Hour); err != nil {
						t.Fatal(err)
					}
				}
				obj, err := b.Stat(t.Context(), "p/x")
				if err != nil || i > 0 && obj.ETag != etag || get(t, b, "p/x") != "kept" {
					t.Errorf("start %d: %+v, %v, etag was %s", i, obj, err, etag)
				}
				etag = obj.ETag
				resp, err := http.Get(s.URL + url)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK || !strings.HasPrefix(url, "/"+BucketName+"/p/x?") {
					t.Errorf("start %d: %s: %s", i, url, resp.Status)
				}
				s.CloseClientConnections()
				socket := g.socket.dir
				if err := errors.Join(b.Close(), g.Close(), g.Close()); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("use and close took %v", took)
				}
				if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the socket's folder is left: %v", err)
				}
			}
		})
	}
}

// TestOneAtATime refuses a second gateway and takes none of the first's.
func TestOneAtATime(t *testing.T) {
	o := options(t)
	b := bucket(t, open(t, o), BucketName)
	if g, err := Open(t.Context(), o); err == nil {
		g.Close()
		t.Fatal("two gateways run")
	}
	put(t, b, "k", "v")
	if get(t, b, "k") != "v" {
		t.Error("the first one suffered")
	}
}

// TestWorkingDirectory: versitygw changes it; this package must not, and must
// not need it.
func TestWorkingDirectory(t *testing.T) {
	start := t.TempDir()
	t.Chdir(start)
	if err := os.MkdirAll("rel", 0o755); err != nil {
		t.Fatal(err)
	}
	g := open(t, Options{Dir: "rel/objects", KeyFile: "rel/key"})
	b := bucket(t, g, BucketName)
	here, err := os.Getwd()
	if want, _ := filepath.EvalSymlinks(start); err != nil || here != want && here != start {
		t.Errorf("it became %s, %v", here, err)
	}
	if _, err := os.Stat("rel/key"); err != nil {
		t.Errorf("a relative path: %v", err)
	}
	elsewhere := t.TempDir()
	t.Chdir(elsewhere)
	body := strings.Repeat("0123456789abcdef", 2<<20)
	put(t, b, "a/b", body) // in parts
	if get(t, b, "a/b") != body {
		t.Error("other bytes")
	}
	if objs, err := b.List(t.Context(), "", "", 10); err != nil || len(objs) != 1 {
		t.Errorf("list %+v, %v", objs, err)
	}
	if err := errors.Join(b.Sync(t.Context(), "a/b"), b.Delete(t.Context(), "a/b")); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(elsewhere); len(left) != 0 {
		t.Errorf("it wrote into the working directory: %v", left)
	}
}

// TestModes keeps strangers on the machine out.
func TestModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	o := options(t)
	g := open(t, o)
	b := bucket(t, g, BucketName)
	put(t, b, "p/x", "bytes")
	for path, want := range map[string]fs.FileMode{
		o.KeyFile:                               0o600,
		o.Dir:                                   0o700,
		filepath.Join(o.Dir, BucketName):        0o700,
		filepath.Join(o.Dir, BucketName, "p"):   0o700,
		filepath.Join(o.Dir, BucketName, "p/x"): 0o600,
		g.socket.dir:                            0o700,
		filepath.Join(o.Dir, BucketName, ".sgwtmp"): 0o700,
	} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode().Perm(), err, want)
		}
	}
}

func TestFormat(t *testing.T) {
	yes, no := func(string) bool { return true }, func(string) bool { return false }
	dir := t.TempDir()
	if _, kind, err := openMetadata(dir, yes); kind != inXattr || err != nil {
		t.Errorf("a new folder: %s, %v", kind, err)
	}
	if _, _, err := openMetadata(dir, no); err == nil || !strings.Contains(err.Error(), "extended attributes") {
		t.Errorf("without its attributes: %v", err)
	}
	dir = filepath.Join(t.TempDir(), "objects")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, has := range []func(string) bool{no, yes} {
		if _, kind, err := openMetadata(dir, has); kind != inSidecar || err != nil {
			t.Errorf("a sidecar: %s, %v", kind, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, formatFile), []byte(`{"version":2,"metadata":"xattr"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openMetadata(dir, yes); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a later version's: %v", err)
	}
	// Nothing but the format file is left by the probe.
	dir = t.TempDir()
	fileSystemHasXattr(dir)
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("the probe left %v", left)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	keys := make([]keyPair, 16)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = loadKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k != keys[0] || len(k.Secret) < 40 {
			t.Fatalf("keys differ: %d and %d characters", len(k.Secret), len(keys[0].Secret))
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if k, err := loadKey(path); err != nil || k != keys[0] {
		t.Errorf("again: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	for _, content := range []string{"", "{}", "hunter2", `{"access_key_id":"x","access_key_secret":"y"}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadKey(path); err == nil || !strings.Contains(err.Error(), path) || content != "" && strings.Contains(err.Error(), content) {
			t.Errorf("key file %q: %v", content, err)
		}
	}
}

func TestSocketDir(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), strings.Repeat("long", 40)))
	s, err := newSocketDir()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.path()) > maxSocketPath || !filepath.IsAbs(s.path()) {
		t.Errorf("the socket's path has %d bytes: %s", len(s.path()), s.path())
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

func TestSocketDirsOfTheDead(t *testing.T) {
	tmp := t.TempDir()
	old := time.Now().Add(-time.Hour)
	age := func(dir string) {
		t.Helper()
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	fake := func(name string, mode fs.FileMode, files ...string) string {
		t.Helper()
		dir := filepath.Join(tmp, name)
		if err := os.Mkdir(dir, mode); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		age(dir)
		return dir
	}
	living := fake(socketDirPrefix+"0", 0o700, socketFile, lockFile)
	lock, err := os.Open(filepath.Join(living, lockFile))
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	dead := fake(socketDirPrefix+"1", 0o700, socketFile, lockFile)
	stay := []string{
		living,
		fake(socketDirPrefix+"2", 0o700, socketFile, lockFile, "photo.jpg"),
		fake(socketDirPrefix+"3", 0o755, socketFile, lockFile),
		fake(socketDirPrefix+"4", 0o700, socketFile),
		fake("other", 0o700, socketFile, lockFile),
	}
	young := fake(socketDirPrefix+"5", 0o700, socketFile, lockFile)
	if err := os.Chtimes(young, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	removeStale(tmp, time.Now().Add(-staleAfter))
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the dead one's is left: %v", err)
	}
	for _, dir := range append(stay, young) {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("not ours to remove: %v", err)
		}
	}
}

// TestSyncStaysInside follows no link out of the bucket.
func TestSyncStaysInside(t *testing.T) {
	o := options(t)
	b := bucket(t, open(t, o), BucketName)
	put(t, b, "in", "x")
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(o.Dir, BucketName)
	for name, target := range map[string]string{"link": outside, "dir": filepath.Dir(outside), "up": "../../.."} {
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"link", "dir/outside", "up/x"} {
		if err := b.Sync(t.Context(), key); err == nil {
			t.Errorf("sync of %q went outside", key)
		}
	}
	if err := b.Sync(t.Context(), "in"); err != nil {
		t.Error(err)
	}
}

// TestReserved keeps clients out of the gateway's own files.
func TestReserved(t *testing.T) {
	b := bucket(t, open(t, options(t)), BucketName)
	for _, key := range []string{".sgwtmp", ".sgwtmp/x", "a/.sgwtmp", "a/.sgwtmp/b", "a/.x.sgwtmp.5"} {
		if _, err := b.SignPut(t.Context(), key, broker.Binding{SizeBytes: -1}, time.Minute); err == nil {
			t.Errorf("signed a put of %q", key)
		}
		if _, err := b.Put(t.Context(), key, strings.NewReader("x"), storage.PutOptions{SizeBytes: 1}); err == nil {
			t.Errorf("put %q", key)
		}
		if err := b.Delete(t.Context(), key); err == nil {
			t.Errorf("deleted %q", key)
		}
		if _, err := b.Stat(t.Context(), key); b.Code(err) != broker.CodeNotFound {
			t.Errorf("stat of %q: %v", key, err)
		}
	}
}

// TestSweepTemporary removes what interrupted uploads left where the file system
// has no unnamed files, and shows none of it meanwhile.
func TestSweepTemporary(t *testing.T) {
	o := options(t)
	b := bucket(t, open(t, o), BucketName)
	put(t, b, "p/x", "kept")
	folder := filepath.Join(o.Dir, BucketName)
	old := time.Now().Add(-time.Hour)
	write := func(name string, when time.Time) {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	write(posix.MetaTmpDir+"/abc.1", old)
	write(posix.MetaTmpDir+"/abc.2", time.Now())
	write("p/.x.sgwtmp.17", old)
	write("p/.y.sgwtmp.17", time.Now())
	if objs, err := b.List(t.Context(), "", "", 1); err != nil || len(objs) != 1 || objs[0].Key != "p/x" {
		t.Errorf("list %+v, %v", objs, err)
	}
	for _, want := range []int{2, 0} {
		if n, err := b.Clean(t.Context(), "", time.Now().Add(-time.Minute)); n != want || err != nil {
			t.Errorf("swept %d, %v; want %d", n, err, want)
		}
	}
	// A removal takes what is below its prefix whatever its age, but not what may
	// be another project's upload under way.
	if n, err := b.Clean(t.Context(), "p/", time.Now().Add(time.Minute)); n != 1 || err != nil {
		t.Errorf("swept %d, %v; want 1", n, err)
	}
	if _, err := os.Stat(filepath.Join(folder, posix.MetaTmpDir, "abc.2")); err != nil {
		t.Errorf("an upload under way lost its file: %v", err)
	}
	if get(t, b, "p/x") != "kept" {
		t.Error("the object suffered")
	}
}

// TestSweepFolders removes folders that are empty and old, and no other.
func TestSweepFolders(t *testing.T) {
	for _, kind := range []string{inXattr, inSidecar} {
		t.Run(kind, func(t *testing.T) {
			o := options(t)
			if kind == inSidecar {
				o.hasXattr = func(string) bool { return false }
			}
			b := bucket(t, open(t, o), BucketName)
			put(t, b, "gone/deep/x", "x")
			put(t, b, "kept/x", "x")
			if err := b.Delete(t.Context(), "gone/deep/x"); err != nil {
				t.Fatal(err)
			}
			sweep := func(before time.Time) {
				t.Helper()
				if n, err := b.Clean(t.Context(), "", before); n != 0 || err != nil {
					t.Errorf("swept %d, %v", n, err)
				}
			}
			folder := filepath.Join(o.Dir, BucketName)
			sweep(time.Now().Add(-time.Hour))
			if _, err := os.Stat(filepath.Join(folder, "gone/deep")); err != nil {
				t.Errorf("a young folder: %v", err)
			}
			sweep(time.Now().Add(time.Hour))
			for _, root := range []string{folder, filepath.Join(sidecarDir(o.Dir), BucketName)} {
				if _, err := os.Stat(filepath.Join(root, "gone")); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s keeps the empty folder: %v", root, err)
				}
			}
			if get(t, b, "kept/x") != "x" {
				t.Error("the object suffered")
			}
			put(t, b, "gone/deep/x", "again")

			// Of a prefix: its folders alone.
			put(t, b, "other/deep/x", "x")
			for _, key := range []string{"gone/deep/x", "other/deep/x"} {
				if err := b.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := b.Clean(t.Context(), "gone/", time.Now().Add(time.Hour)); n != 0 || err != nil {
				t.Errorf("swept %d, %v", n, err)
			}
			if _, err := os.Stat(filepath.Join(folder, "gone/deep")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the prefix keeps an empty folder: %v", err)
			}
			if _, err := os.Stat(filepath.Join(folder, "other/deep")); err != nil {
				t.Errorf("another prefix lost one: %v", err)
			}
			for _, nowhere := range []string{"none/", "../", "none/such/p"} {
				if n, err := b.Clean(t.Context(), nowhere, time.Now()); n != 0 || err != nil {
					t.Errorf("below %q swept %d, %v", nowhere, n, err)
				}
			}
		})
	}
}

// TestProcesses lets several processes start on a fresh folder at once, each
// with a gateway of its own, and use it together; some are killed.
func TestProcesses(t *testing.T) {
	if dir := os.Getenv("LOCAL_TEST_DIR"); dir != "" {
		child(t, dir, os.Getenv("LOCAL_TEST_NAME"))
		return
	}
	o := options(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcesses$", "-test.count=1")
			cmd.Env = append(os.Environ(), "LOCAL_TEST_DIR="+filepath.Dir(o.Dir), "TMPDIR="+filepath.Dir(o.Dir), fmt.Sprint("LOCAL_TEST_NAME=", i))
			if out, err := cmd.CombinedOutput(); i < 3 && err != nil {
				t.Errorf("process %d: %v: %s", i, err, out)
			}
		})
	}
	wg.Wait()
	b := bucket(t, open(t, o), BucketName)
	objs, err := b.List(t.Context(), "p/", "", 1000)
	if err != nil || len(objs) < 3*20 {
		t.Errorf("%d objects, %v", len(objs), err)
	}
	winners := 0
	for _, obj := range objs {
		body := get(t, b, obj.Key)
		if obj.SizeBytes != int64(len(body)) || len(body) != 2000 || strings.Trim(body, body[:1]) != "" || obj.ETag == "" {
			t.Errorf("%+v holds %d bytes", obj, len(body))
		}
		if obj.Key == "p/one" {
			winners++
		}
	}
	if winners != 1 {
		t.Errorf("%d objects where one was to win", winners)
	}
}

// child is one process of TestProcesses. The last kills itself while it writes.
func child(t *testing.T, dir, name string) {
	g, err := Open(t.Context(), Options{Dir: filepath.Join(dir, "objects"), KeyFile: filepath.Join(dir, "local-bucket.key")})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	b, err := g.Bucket(context.Background(), BucketName)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		body := strings.Repeat(name, 2000)
		for _, key := range []string{fmt.Sprintf("p/%s/%d", name, i), "p/all"} {
			if _, err := b.Put(t.Context(), key, strings.NewReader(body), storage.PutOptions{SizeBytes: -1}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := b.Put(t.Context(), "p/one", strings.NewReader(body), storage.PutOptions{SizeBytes: -1, IfAbsent: true})
		if err != nil && b.Code(err) != broker.CodeConflict {
			t.Fatal(err)
		}
		if name == "3" && i == 10 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
}
