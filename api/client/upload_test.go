package client_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/api/client/clienttest"
)

// bench is a client on a stand-in, with a project and a folder.
type bench struct {
	*clienttest.Server
	c    *client.Client
	pid  string
	dir  string
	opts client.UploadOptions
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s := clienttest.New()
	t.Cleanup(s.Close)
	c, err := client.New(s.URL, clienttest.Key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	cache, err := client.OpenHashCache(filepath.Join(t.TempDir(), "sha1-v1"))
	if err != nil {
		t.Fatal(err)
	}
	return &bench{Server: s, c: c, pid: s.Project("roof").ID, dir: t.TempDir(), opts: client.UploadOptions{Cache: cache}}
}

// write makes a file that looks like a JPEG and was left alone for an hour.
func (b *bench) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(b.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, content)
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
}

func rewrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Error(err)
	}
}

func jpeg(content string) string { return "\xff\xd8\xff" + content }

// photos writes n files of some kilobytes.
func (b *bench) photos(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		b.write(t, fmt.Sprintf("%dMEDIA/DJI_%04d.JPG", 100+i%3, i), jpeg(strings.Repeat(fmt.Sprintf("picture %d ", i), 400)))
	}
}

func (b *bench) files(t *testing.T) []client.File {
	t.Helper()
	l, err := client.Scan(t.Context(), b.dir, client.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Files
}

func (b *bench) upload(t *testing.T) client.Report {
	t.Helper()
	r, err := b.c.Upload(t.Context(), b.pid, b.files(t), b.opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantReady(t *testing.T, r client.Report, n int) {
	t.Helper()
	if r.Ready() != n || len(r.Files) != n {
		for _, f := range r.Files {
			if !f.Ready() {
				t.Errorf("%s: %q %v %v", f.Name, f.State, f.Reasons, f.Err)
			}
		}
		t.Fatalf("%d of %d files are Ready, want %d", r.Ready(), len(r.Files), n)
	}
}

func TestUploadThenAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 40)
	b.opts.Progress = &client.Progress{}
	r := b.upload(t)
	wantReady(t, r, 40)
	if puts := b.Puts(); len(puts) != 40 || b.Calls("register") != 1 {
		t.Errorf("%d PUTs and %d register calls, want 40 and 1", len(puts), b.Calls("register"))
	}
	var want int64
	for _, f := range r.Files {
		want += f.SizeBytes
		if f.BytesSent != f.SizeBytes || f.Existed || f.Image == nil {
			t.Errorf("%s: %+v", f.Name, f)
		}
	}
	s := b.opts.Progress.Status()
	if r.BytesSent != want || s.SentBytes != want || s.Sent != 40 || s.Ready != 40 || s.Sending != 0 || s.HashedBytes != s.Bytes {
		t.Errorf("sent %d bytes, want %d; at the end %+v", r.BytesSent, want, s)
	}

	r = b.upload(t)
	wantReady(t, r, 40)
	if r.Existed() != 40 || r.BytesSent != 0 || len(b.Puts()) != 40 {
		t.Errorf("the second run found %d and sent %d bytes in %d PUTs", r.Existed(), r.BytesSent, len(b.Puts())-40)
	}
	if s := b.opts.Progress.Status(); s.Spared != 40 || s.SparedBytes != s.Bytes || s.SentBytes != 0 {
		t.Errorf("at the end of the second run %+v", s)
	}
}

func TestSameBytesAreSentOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, name := range []string{"a.jpg", "b.jpg", "sub/c.jpg"} {
		b.write(t, name, jpeg("the same"))
	}
	b.write(t, "d.jpg", jpeg("another"))
	r := b.upload(t)
	wantReady(t, r, 4)
	if len(b.Puts()) != 2 {
		t.Errorf("PUTs: %q, want two", b.Puts())
	}
	same := 0
	for _, f := range r.Files {
		if f.Name != "d.jpg" && f.Image.ID != r.Files[0].Image.ID {
			t.Errorf("%s has another image", f.Name)
		}
		if f.SameAs != "" {
			same++
		}
	}
	if same != 2 {
		t.Errorf("%d files are reported as the same as another, want 2", same)
	}
}

func TestEachFileHasItsOwnEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Entry = func(e client.Entry) *client.Problem {
		if e.Name == "refused.jpg" {
			return &client.Problem{Status: 422, Code: "invalid_name", Detail: "not this one"}
		}
		return nil
	}
	b.write(t, "good.jpg", jpeg("good"))
	b.write(t, "empty.jpg", "")
	b.write(t, "text.jpg", "hello")
	b.write(t, "refused.jpg", jpeg("refused"))
	b.opts.HashWorkers = 1                  // so that refused.jpg comes before its twin
	b.write(t, "twin.jpg", jpeg("refused")) // the same bytes under a name that is taken
	files := append(b.files(t),
		client.File{Path: filepath.Join(b.dir, "gone.jpg"), Name: "gone.jpg"},
		client.File{Path: filepath.Join(b.dir, "good.jpg"), Name: "bad\xff.jpg"},
		client.File{Path: b.dir, Name: "folder.jpg"})
	r, err := b.c.Upload(t.Context(), b.pid, files, b.opts)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range r.Files {
		got[f.Name] = f.State + strings.Join(f.Reasons, ";")
		if f.Err != nil {
			got[f.Name] = f.Err.Error()
		}
	}
	for name, want := range map[string]string{
		"good.jpg": "Ready", "twin.jpg": "Ready",
		"empty.jpg":   "Invalidempty: the file has no bytes",
		"text.jpg":    "Invalidunsupported_format: the file is not an image",
		"refused.jpg": "not this one (invalid_name)",
		"gone.jpg":    "no such file or directory",
		"bad\xff.jpg": "the file name is not UTF-8; rename the file",
		"folder.jpg":  "not a regular file",
	} {
		if got[name] != want {
			t.Errorf("%q: %q, want %q", name, got[name], want)
		}
	}

	// What is Invalid is tried again by the next run; that is the rule.
	before := len(b.Puts())
	if _, err := b.c.Upload(t.Context(), b.pid, b.files(t), b.opts); err != nil {
		t.Fatal(err)
	}
	if again := b.Puts()[before:]; len(again) != 2 {
		t.Errorf("sent again: %q, want the two that are Invalid", again)
	}
}

func TestBucketMisbehaves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 6)
	var n atomic.Int64
	b.Bucket = func(w http.ResponseWriter, r *http.Request) bool {
		switch n.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "1")
			clienttest.Refuse(w, 503, "SlowDown", "Please reduce your request rate.")
		case 2:
			clienttest.Cut(w, r, 1000)
		case 3:
			clienttest.Cut(w, r, 0)
		case 4:
			clienttest.Refuse(w, 500, "InternalError", "We encountered an internal error.")
		case 5:
			clienttest.Refuse(w, 400, "RequestTimeout", "Your socket connection was not read from.")
		case 6: // as if a byte had been turned over on the way
			clienttest.Refuse(w, 400, "BadDigest", "The sha1 you specified did not match.")
		case 7:
			clienttest.Refuse(w, 403, "AccessDenied", "Request has expired")
		default:
			return false
		}
		return true
	}
	b.opts.Progress = &client.Progress{}
	wantReady(t, b.upload(t), 6)
	if b.Calls("regrant") == 0 {
		t.Error("no fresh grant was asked for after the 403")
	}
	if s := b.opts.Progress.Status(); s.SentBytes != s.Bytes {
		t.Errorf("%d of %d bytes are counted as sent after failures", s.SentBytes, s.Bytes)
	}
}

func TestGrantsThatEndInTheQueue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 12)
	b.GrantTTL = 300 * time.Millisecond
	b.opts.Concurrency = 1
	b.Bucket = func(http.ResponseWriter, *http.Request) bool { time.Sleep(60 * time.Millisecond); return false }
	wantReady(t, b.upload(t), 12)
	if len(b.Puts()) != 12 || b.Calls("regrant") == 0 {
		t.Errorf("%d PUTs, %d regrants", len(b.Puts()), b.Calls("regrant"))
	}
}

func TestAPermanentNo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 3)
	b.Bucket = func(w http.ResponseWriter, r *http.Request) bool {
		if b.Image(b.pid, "100MEDIA/DJI_0000.JPG") != nil && strings.Contains(r.URL.Path, b.Image(b.pid, "100MEDIA/DJI_0000.JPG").Filename) {
			clienttest.Refuse(w, 403, "AccessDenied", "Access Denied")
			return true
		}
		return false
	}
	r := b.upload(t)
	if r.Ready() != 2 {
		t.Errorf("%d Ready, want the two others", r.Ready())
	}
	err := r.Files[0].Err
	if err == nil || !strings.Contains(err.Error(), "403 AccessDenied") {
		t.Errorf("got %v", err)
	}
	if s := fmt.Sprint(err); strings.Contains(s, "Signature") || strings.Contains(s, clienttest.Key) {
		t.Errorf("the error holds a secret: %s", s)
	}
}

func TestFileChangesWhileItWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write(t, "a.jpg", jpeg("first"))
	b.write(t, "b.jpg", jpeg("old bytes"))
	b.write(t, "twin.jpg", jpeg("old bytes"))
	// Whichever of the twins is read first: one is sent, the other waits for it.
	b.opts.Concurrency = 1
	var once sync.Once
	b.Bucket = func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { rewrite(t, filepath.Join(b.dir, "b.jpg"), jpeg("new bytes")) })
		return false
	}
	r := b.upload(t)
	wantReady(t, r, 3)
	for i, want := range []string{"first", "new bytes", "old bytes"} {
		if sum := sha1.Sum([]byte(jpeg(want))); r.Files[i].SHA1 != hex.EncodeToString(sum[:]) || r.Files[i].Image.SHA1 != r.Files[i].SHA1 {
			t.Errorf("%s was not sent with the bytes %q", r.Files[i].Name, want)
		}
	}
}

func TestFileChangesWhileItIsSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write(t, "a.jpg", jpeg(strings.Repeat("old ", 1<<20)))
	var once sync.Once
	b.Bucket = func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { rewrite(t, filepath.Join(b.dir, "a.jpg"), jpeg("shorter")) })
		return false
	}
	r := b.upload(t)
	wantReady(t, r, 1)
	if r.Files[0].SizeBytes != int64(len(jpeg("shorter"))) {
		t.Errorf("size %d", r.Files[0].SizeBytes)
	}
	// The image for bytes that are nowhere any more does not stand open.
	page, err := b.c.Images(t.Context(), b.pid, client.StateUploading, client.Page{})
	if err != nil || len(page.Images) != 0 {
		t.Errorf("left open: %v %v", page.Images, err)
	}
}

func TestFileThatGrowsWhileItIsSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write(t, "a.jpg", jpeg("half"))
	var once sync.Once
	b.Bucket = func(http.ResponseWriter, *http.Request) bool {
		once.Do(func() { rewrite(t, filepath.Join(b.dir, "a.jpg"), jpeg("half and whole")) })
		return false
	}
	r := b.upload(t)
	wantReady(t, r, 1)
	if sum := sha1.Sum([]byte(jpeg("half and whole"))); r.Files[0].Image.SHA1 != hex.EncodeToString(sum[:]) {
		t.Error("half of the file is reported as the file")
	}
}

func TestFileThatKeepsChanging(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.write(t, "good.jpg", jpeg("good"))
	b.write(t, "restless.jpg", jpeg("0"))
	var n atomic.Int64
	b.Bucket = func(_ http.ResponseWriter, r *http.Request) bool {
		if sum := sha1.Sum([]byte(jpeg("good"))); !strings.Contains(r.URL.Path, hex.EncodeToString(sum[:])) {
			rewrite(t, filepath.Join(b.dir, "restless.jpg"), jpeg(strings.Repeat("x", int(n.Add(1)))))
		}
		return false
	}
	r := b.upload(t)
	if !r.Files[0].Ready() {
		t.Errorf("good.jpg: %v", r.Files[0])
	}
	if err := r.Files[1].Err; err == nil || !strings.Contains(err.Error(), "keeps changing") {
		t.Errorf("restless.jpg: %v", err)
	}
}

func TestSmallerBatches(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 40)
	b.MaxBatch = 7
	wantReady(t, b.upload(t), 40)
}

func TestBusyServer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 5)
	var n atomic.Int64
	b.API = func(w http.ResponseWriter, r *http.Request) bool {
		switch n.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(429)
			fmt.Fprint(w, `{"code":"too_many_requests","detail":"slow down"}`)
		case 2:
			clienttest.Cut(w, r, 10)
		case 3:
			http.Error(w, "bad gateway", http.StatusBadGateway)
		default:
			return false
		}
		return true
	}
	began := time.Now()
	wantReady(t, b.upload(t), 5)
	if time.Since(began) < time.Second {
		t.Error("Retry-After was not honoured")
	}
}

// A server that can't give grants for a while, because a cloud throttles it, says
// when to come again.
func TestGrantsThatArePutOff(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 3)
	n := 0
	b.Entry = func(client.Entry) *client.Problem { // one at a time
		if n++; n <= 3*6 {
			return &client.Problem{Status: 429, Code: "too_many_requests", Detail: "the cloud is busy", RetryAfter: 1}
		}
		return nil
	}
	wantReady(t, b.upload(t), 3)

	b.Change(func(s *clienttest.Server) { n = -1000 })
	b.write(t, "new.jpg", jpeg("new"))
	b.opts.Patience = time.Second
	r, err := b.c.Upload(t.Context(), b.pid, b.files(t), b.opts)
	if err == nil || !strings.Contains(err.Error(), "the cloud is busy") {
		t.Errorf("%v, want the run ended with the server's reason", err)
	}
	if err := r.Files[3].Err; !errors.Is(err, client.ErrStopped) {
		t.Errorf("new.jpg: %v", err)
	}
}

func TestKeyWithoutTheRight(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 3)
	b.API = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(403)
		fmt.Fprint(w, `{"code":"not_allowed","detail":"this key may not upload"}`)
		return true
	}
	r, err := b.c.Upload(t.Context(), b.pid, b.files(t), b.opts)
	var e *client.Error
	if !errors.As(err, &e) || e.Code != "not_allowed" || e.HTTPStatus != 403 {
		t.Fatalf("got %v", err)
	}
	for _, f := range r.Files {
		if !errors.Is(f.Err, client.ErrStopped) {
			t.Errorf("%s: %v", f.Name, f.Err)
		}
	}
}

func TestBucketOutOfReach(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 3)
	b.Change(func(s *clienttest.Server) { s.URL = "http://127.0.0.1:1" }) // where grants point to
	b.opts.Patience = time.Second
	_, err := b.c.Upload(t.Context(), b.pid, b.files(t), b.opts)
	if err == nil || !strings.Contains(err.Error(), "nothing gets through to the bucket") {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "Signature") {
		t.Errorf("the error holds a signed URL: %v", err)
	}
}

func TestBucketThatIsAlwaysBusy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 3)
	b.Bucket = func(w http.ResponseWriter, _ *http.Request) bool {
		clienttest.Refuse(w, 503, "ServiceUnavailable", "Reduce your request rate.")
		return true
	}
	b.opts.Patience = time.Second
	_, err := b.c.Upload(t.Context(), b.pid, b.files(t), b.opts)
	if err == nil || !strings.Contains(err.Error(), "503 ServiceUnavailable") {
		t.Fatalf("got %v", err)
	}
}

func TestStalledPut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 2)
	var once sync.Once
	b.Bucket = func(_ http.ResponseWriter, r *http.Request) bool {
		stall := false
		once.Do(func() { stall = true })
		if stall {
			clienttest.Hang(r)
		}
		return stall
	}
	b.opts.StallAfter = 300 * time.Millisecond
	wantReady(t, b.upload(t), 2)
}

func TestNoVerdict(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 3)
	b.NoWorker = true
	b.opts.VerdictWait = 300 * time.Millisecond
	for _, f := range b.upload(t).Files {
		if !errors.Is(f.Err, client.ErrUnjudged) || f.State != client.StateUploaded {
			t.Errorf("%s: %q %v", f.Name, f.State, f.Err)
		}
	}
}

func TestManyFilesAreFewCalls(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 2500 {
		b.write(t, fmt.Sprintf("%04d.jpg", i), jpeg(fmt.Sprint(i)))
	}
	b.JudgeTime = 500 * time.Millisecond
	wantReady(t, b.upload(t), 2500)
	calls := b.Calls("register") + b.Calls("done") + b.Calls("check") + b.Calls("images") + b.Calls("image")
	t.Logf("%d calls: register %d, done %d, check %d", calls, b.Calls("register"), b.Calls("done"), b.Calls("check"))
	if calls > 150 {
		t.Errorf("%d calls for 2,500 files", calls)
	}
}

func TestCancelThenGoOn(t *testing.T) {
	// Not parallel: it counts goroutines.
	b := newBench(t)
	b.photos(t, 10)
	b.opts.Concurrency = 2
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int64
	b.Bucket = func(_ http.ResponseWriter, r *http.Request) bool {
		if n.Add(1) > 4 {
			cancel()
			clienttest.Hang(r)
			return true
		}
		return false
	}
	r, err := b.c.Upload(ctx, b.pid, b.files(t), b.opts)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	arrived := len(b.Puts())
	there := 0
	for _, f := range r.Files {
		if f.State == client.StateReady || f.State == client.StateUploaded {
			there++
		} else if !errors.Is(f.Err, client.ErrStopped) {
			t.Errorf("%s: %q %v", f.Name, f.State, f.Err)
		}
	}
	// A PUT that was cut off at its very end may still arrive after all was told; it
	// is sent again then.
	if arrived == 0 || there > arrived || there < arrived-b.opts.Concurrency {
		t.Errorf("%d arrived, %d are reported so: what arrives before the end must be told", arrived, there)
	}
	b.c.CloseIdleConnections()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}

	b.Change(func(s *clienttest.Server) { s.Bucket = nil })
	r = b.upload(t)
	wantReady(t, r, 10)
	if r.Existed() < there || len(b.Puts()) > 10+b.opts.Concurrency {
		t.Errorf("the second run found %d of %d and the PUTs are %d, want 10", r.Existed(), arrived, len(b.Puts()))
	}
}

func TestPlanSendsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.photos(t, 4)
	wantReady(t, b.upload(t), 4)
	b.write(t, "new.jpg", jpeg("new"))
	b.write(t, "new2.jpg", jpeg("new"))
	puts, regs := len(b.Puts()), b.Calls("register")
	plan, err := b.c.Plan(t.Context(), b.pid, b.files(t), b.opts)
	if err != nil {
		t.Fatal(err)
	}
	var send, there, same []string
	for _, f := range plan {
		switch {
		case f.Send():
			send = append(send, f.Name)
		case f.SameAs != "":
			same = append(same, f.Name)
		default:
			there = append(there, f.Name)
		}
	}
	if !slices.Equal(send, []string{"new.jpg"}) || !slices.Equal(same, []string{"new2.jpg"}) || len(there) != 4 {
		t.Errorf("to send %q, the same %q, there %q", send, same, there)
	}
	if len(b.Puts()) != puts || b.Calls("register") != regs {
		t.Error("a plan has sent or registered something")
	}
}

func TestNoFiles(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if r := b.upload(t); len(r.Files) != 0 {
		t.Errorf("%+v", r)
	}
}
