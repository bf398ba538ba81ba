package client_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/api/client/clienttest"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestSessionsBringEveryFile(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*cloud){
		"an address":                  func(*cloud) {},
		"the bucket in the host name": func(c *cloud) { c.endpoint = "http://oss-cn-hangzhou.aliyuncs.com" },
		"the bucket in the path":      func(c *cloud) { c.endpoint, c.pathy = "http://localhost", true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, c := newCloudBench(t, change)
			if c.endpoint != "" {
				b.use(t, client.WithHTTPClient(nil, c.anyHost()))
			}
			var seen sync.Map
			c.line = func(w http.ResponseWriter, r *http.Request) bool {
				seen.Store(r.Header.Get("Content-Type"), r.Host+" "+r.URL.EscapedPath())
				return false
			}
			b.photos(t, 12)
			b.write(t, "large.jpg", jpeg(strings.Repeat("large ", 500_000)))
			for i, odd := range []string{"照片 🛩/DJI 1+1 (2).JPG", "it's 100%.jpeg", "q?a=b&c#d;e.png", "~tilde!*.jpg", "no extension", "dots..jpg"} {
				b.write(t, odd, jpeg(fmt.Sprint("odd ", i)))
			}
			r := b.upload(t)
			wantReady(t, r, 19)
			b.wantBytes(t, c, r)
			if n := len(c.given()); n != 1 {
				t.Errorf("%d sessions for 19 files of one project, want one", n)
			}
			if _, no := c.count(); len(no) != 0 {
				t.Errorf("refused: %v", no)
			}
			where, _ := seen.Load("application/octet-stream")
			if hosted := strings.HasPrefix(fmt.Sprint(where), "photos.oss-cn-hangzhou.aliyuncs.com /"+b.pid); hosted != (name == "the bucket in the host name") {
				t.Errorf("sent to %v", where)
			}
		})
	}
}

func TestSessionAndAFileWithoutBytes(t *testing.T) {
	t.Parallel()
	b, c := newCloudBench(t)
	b.write(t, "empty.jpg", "")
	r := b.upload(t)
	if f := r.Files[0]; f.State != client.StateInvalid || !strings.HasPrefix(strings.Join(f.Reasons, ""), "empty") {
		t.Errorf("%q %v %v, want Invalid as empty", f.State, f.Reasons, f.Err)
	}
	b.wantBytes(t, c, r)
}

func TestBucketsAnswersToASession(t *testing.T) {
	t.Parallel()
	type step struct {
		status int
		code   string
	}
	for name, want := range map[string]struct {
		answers  []step // to the first PUTs of the one file
		forever  bool   // the last one is given ever after
		timeless bool   // without a date
		puts     int
		ready    bool
		text     string // of the error
	}{
		"overload":          {answers: []step{{503, "ServiceUnavailable"}, {503, "QpsLimitExceeded"}, {403, "UploadTrafficRateLimitExceeded"}, {500, "InternalError"}, {400, "RequestTimeout"}}, puts: 6, ready: true},
		"a passing no":      {answers: []step{{403, "AccessDenied"}}, puts: 2, ready: true},
		"no right":          {answers: []step{{403, "AccessDenied"}}, forever: true, puts: 2, text: "its operator should look at the role's policy"},
		"a proxy's hand":    {answers: []step{{403, "SignatureDoesNotMatch"}}, forever: true, puts: 2, text: "a proxy on the way may change the request"},
		"no such session":   {answers: []step{{403, "InvalidAccessKeyId"}}, forever: true, puts: 4, text: "does not know, or no longer knows, the session"},
		"an ended session":  {answers: []step{{403, "SecurityTokenExpired"}}, forever: true, puts: 4, text: "403 SecurityTokenExpired"},
		"a closed account":  {answers: []step{{403, "UserDisable"}}, forever: true, puts: 1, text: "closed or in debt"},
		"no such bucket":    {answers: []step{{404, "NoSuchBucket"}}, forever: true, puts: 1, text: "404 NoSuchBucket"},
		"clocks apart":      {answers: []step{{403, "RequestTimeTooSkewed"}}, forever: true, puts: 3, text: "set this machine's"},
		"no clock to learn": {answers: []step{{403, "RequestTimeTooSkewed"}}, forever: true, timeless: true, puts: 1, text: "set this machine's"},
		"another's address": {answers: []step{{307, ""}}, forever: true, puts: 1, text: "307 Temporary Redirect"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, c := newCloudBench(t)
			elsewhere := false
			other := newThief(t, &elsewhere)
			b.write(t, "a.jpg", jpeg("a"))
			n := 0
			c.line = func(w http.ResponseWriter, _ *http.Request) bool { // one PUT at a time
				i := n
				n++
				if want.forever {
					i = min(i, len(want.answers)-1)
				}
				if i >= len(want.answers) {
					return false
				}
				if want.timeless {
					w.Header()["Date"] = nil
				}
				if a := want.answers[i]; a.code == "" {
					w.Header().Set("Location", other+"/stolen")
					w.WriteHeader(a.status)
				} else {
					clienttest.Refuse(w, a.status, a.code, "as the test wants it")
				}
				return true
			}
			f := b.upload(t).Files[0]
			if puts, _ := c.count(); puts != want.puts || f.Ready() != want.ready {
				t.Errorf("%d PUTs, %q, %v; want %d PUTs", puts, f.State, f.Err, want.puts)
			}
			if want.text != "" && !strings.Contains(fmt.Sprint(f.Err), want.text) {
				t.Errorf("%v, want it to say %q", f.Err, want.text)
			}
			if elsewhere {
				t.Error("the session's token went to another host")
			}
		})
	}
}

// newThief is a host that a session must not go to.
func newThief(t *testing.T, robbed *bool) string {
	t.Helper()
	s := clienttest.New()
	t.Cleanup(s.Close)
	s.API = func(http.ResponseWriter, *http.Request) bool { *robbed = true; return false }
	s.Bucket = s.API
	return s.URL + "/bucket/pid"
}

// An answer that was lost is repeated by a bucket that lets nothing be overwritten.
func TestBucketThatForbidsOverwriting(t *testing.T) {
	t.Parallel()
	b, c := newCloudBench(t)
	b.photos(t, 4)
	var lost sync.Map
	c.line = func(w http.ResponseWriter, r *http.Request) bool {
		if _, again := lost.LoadOrStore(r.URL.Path, true); again {
			clienttest.Refuse(w, 409, "FileAlreadyExists", "The object you specified already exists and can not be overwritten.")
			return true
		}
		c.emu.ServeHTTP(discard{http.Header{}}, r)
		clienttest.Cut(w, r, 0)
		return true
	}
	r := b.upload(t)
	wantReady(t, r, 4)
	b.wantBytes(t, c, r)
	if _, no := c.count(); no["409"] != 4 {
		t.Errorf("refused: %v, want each of four files once because it is there", no)
	}
}

// discard is an answer that nobody gets.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// flipper turns one bit over on the way.
type flipper struct {
	io.ReadCloser
	done bool
}

func (f *flipper) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 && !f.done {
		p[n/2] ^= 1
		f.done = true
	}
	return n, err
}

// Nothing but the CRC-64 that OSS answers tells what a bad line did to the bytes.
func TestBytesThatChangeOnTheWayToASession(t *testing.T) {
	t.Parallel()
	b, c := newCloudBench(t)
	b.photos(t, 6)
	var n atomic.Int64
	c.line = func(_ http.ResponseWriter, r *http.Request) bool {
		if n.Add(1)%2 == 1 {
			r.Body = &flipper{ReadCloser: r.Body}
		}
		return false
	}
	b.opts.Concurrency = 1
	b.opts.Progress = &client.Progress{}
	r := b.upload(t)
	wantReady(t, r, 6)
	b.wantBytes(t, c, r)
	if puts, _ := c.count(); puts != 12 {
		t.Errorf("%d PUTs, want each file sent twice", puts)
	}
	if s := b.opts.Progress.Status(); s.SentBytes != s.Bytes {
		t.Errorf("%d of %d bytes are counted as sent", s.SentBytes, s.Bytes)
	}
}

func TestLineThatAlwaysChangesBytes(t *testing.T) {
	t.Parallel()
	b, c := newCloudBench(t)
	b.write(t, "a.jpg", jpeg("a photo"))
	c.line = func(_ http.ResponseWriter, r *http.Request) bool { r.Body = &flipper{ReadCloser: r.Body}; return false }
	f := b.upload(t).Files[0]
	if f.Ready() || !strings.Contains(fmt.Sprint(f.Err), "something on the way changes the bytes") {
		t.Errorf("%q %v", f.State, f.Err)
	}
}

// Whatever goes wrong, what makes a session one stays out of sight.
func TestSessionsStaySecret(t *testing.T) {
	t.Parallel()
	b, c := newCloudBench(t)
	b.photos(t, 5)
	b.opts.Progress = &client.Progress{}
	kept := filepath.Join(t.TempDir(), "sha1-v1")
	cache, err := client.OpenHashCache(kept)
	if err != nil {
		t.Fatal(err)
	}
	b.opts.Cache = cache
	var shown strings.Builder
	var mu sync.Mutex
	c.line = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		fmt.Fprintf(&shown, "%+v\n", b.opts.Progress.Status())
		mu.Unlock()
		s := c.given()[0]
		switch {
		case strings.Contains(r.URL.Path, b.Image(b.pid, "100MEDIA/DJI_0000.JPG").Filename):
			clienttest.Refuse(w, 403, "SignatureDoesNotMatch", strings.Repeat("long ", 38)+"STS "+s.ID+" "+s.Secret+" "+s.Token)
		case strings.Contains(r.URL.Path, b.Image(b.pid, "101MEDIA/DJI_0001.JPG").Filename):
			clienttest.Refuse(w, 400, s.ID, s.Token)
		case strings.Contains(r.URL.Path, b.Image(b.pid, "102MEDIA/DJI_0002.JPG").Filename):
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(403)
			fmt.Fprintf(w, "<Error><Code>SecurityTokenExpired</Code><Message>The security token you provided has expired.</Message><SecurityToken>%s</SecurityToken></Error>", s.Token)
		default:
			return false
		}
		return true
	}
	r, err := b.c.Upload(t.Context(), b.pid, b.files(t), b.opts)
	if err != nil || r.Ready() != 2 {
		t.Fatalf("%d Ready, %v", r.Ready(), err)
	}
	fmt.Fprintf(&shown, "%+v %v\n", r, b.opts.Progress.Status())
	for _, f := range r.Files {
		fmt.Fprintf(&shown, "%v %+v %#v\n", f.Err, f.Err, f.Err)
		var im bytes.Buffer
		if err := json.NewEncoder(&im).Encode(f); err != nil {
			t.Error(err)
		}
		shown.Write(im.Bytes())
	}
	if err := cache.Close(); err != nil {
		t.Error(err)
	}
	shown.WriteString(readFile(t, kept))
	for _, s := range c.given() {
		for _, secret := range []string{s.ID, s.Secret, s.Token, s.Token[:20]} {
			if strings.Contains(shown.String(), secret) {
				t.Errorf("%q shows in\n%s", secret, shown.String())
			}
		}
	}
}

// Clients that can't sign ask for presigned requests.
func TestKindOfGrantThatIsAskedFor(t *testing.T) {
	t.Parallel()
	b, c := newCloudBench(t)
	b.use(t, client.WithGrants(client.GrantRequest))
	b.photos(t, 3)
	wantReady(t, b.upload(t), 3)
	if puts, _ := c.count(); puts != 0 || len(c.given()) != 0 {
		t.Errorf("%d PUTs at the cloud, %d sessions, though presigned requests were asked for", puts, len(c.given()))
	}
	b.use(t, client.WithGrants(client.GrantSession))
	b.write(t, "new.jpg", jpeg("new"))
	wantReady(t, b.upload(t), 4)
	if puts, _ := c.count(); puts != 1 {
		t.Errorf("%d PUTs at the cloud, want one", puts)
	}
}

// A server of another make may answer what can't be used.
func TestSessionsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	good := client.Session{ID: "STS.x", Secret: "s", Token: "t", Endpoint: "http://127.0.0.1:1", Bucket: "photos", Region: "cn-hangzhou"}
	for want, spoil := range map[string]func(*client.Session){
		"without its id":     func(s *client.Session) { s.ID = "" },
		"without its secret": func(s *client.Session) { s.Secret = "" },
		"without its region": func(s *client.Session) { s.Region = "" },
		"without its bucket": func(s *client.Session) { s.Bucket, s.PathStyle = "", true },
		"token can't stand":  func(s *client.Session) { s.Token = "hush\r\nX: y" },
		"address that can't": func(s *client.Session) { s.Endpoint = "ftp://127.0.0.1" },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.Session = func(string) (client.Session, time.Time) {
				s := good
				spoil(&s)
				return s, time.Now().Add(time.Hour)
			}
			b.Object = func(string) ([]byte, bool) { return nil, false }
			b.write(t, "a.jpg", jpeg("a"))
			f := b.upload(t).Files[0]
			if f.Err == nil || !strings.Contains(f.Err.Error(), want) || strings.Contains(f.Err.Error(), "hush") {
				t.Errorf("%v, want it to say %q", f.Err, want)
			}
		})
	}
}
