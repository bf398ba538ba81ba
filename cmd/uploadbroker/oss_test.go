package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/storage/ossemu"
)

// ossCloud is the emulator of OSS and STS, seen from outside of the program.
type ossCloud struct {
	*httptest.Server
	sessions atomic.Int32 // AssumeRole calls
	busy     atomic.Int32 // how many of them are still to be throttled
}

const (
	cloudID, cloudSecret = "LTAItestuser", "test-secret-of-the-user"
	cloudRole            = "acs:ram::1:role/uploader"
)

func startOSSCloud(t testing.TB, buckets ...string) *ossCloud {
	t.Helper()
	emulator, err := ossemu.New(ossemu.Options{
		Dir: t.TempDir(), Buckets: buckets, AccessKeyID: cloudID, AccessKeySecret: cloudSecret, RoleARN: cloudRole,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &ossCloud{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sts" || r.URL.Path == "/sts/" {
			c.sessions.Add(1)
			if c.busy.Add(-1) >= 0 {
				// As the real one says it (Aliyun STS, AssumeRole, "Limits").
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"RequestId":"0","HostId":"sts","Code":"Throttling.User","Message":"Request was denied due to user flow control.","Recommend":""}`)
				return
			}
		}
		emulator.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

// config is a configuration with these buckets of the cloud, by their symbols.
func (c *ossCloud) config(t testing.TB, buckets map[string]string) string {
	t.Helper()
	text := "buckets:\n"
	for symbol, bucket := range buckets {
		text += fmt.Sprintf("  - {symbol: %s, cloud: OSS, bucket: %s, region: cn-hangzhou, endpoint: %q, access_key_id: %s, access_key_secret: %s, oss: {role_arn: %q, sts_endpoint: %q}}\n",
			symbol, bucket, c.URL, cloudID, cloudSecret, cloudRole, c.URL+"/sts")
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, []byte(text))
	return path
}

// ask sends a GraphQL document and returns the answer's data.
func (s *server) ask(query string, out any) {
	s.t.Helper()
	var answer struct {
		Data   json.RawMessage
		Errors []struct{ Message string }
	}
	if code := s.call("POST", "/graphql", map[string]string{"query": query}, &answer); code != http.StatusOK || len(answer.Errors) > 0 {
		s.t.Fatalf("%s: %d, %+v", query, code, answer.Errors)
	}
	if out != nil {
		if err := json.Unmarshal(answer.Data, out); err != nil {
			s.t.Fatalf("%s: %v in %s", query, err, answer.Data)
		}
	}
}

// stsAnswer is what uploadImageOSS answers.
type stsAnswer struct {
	UploadImageOSS struct {
		STS   *struct{ ID, Secret, Token, Bucket, Endpoint, Expire string }
		Image *struct{ ID, Filename, State string }
	}
}

func (s *server) countImages(pid string) (n int) {
	s.t.Helper()
	var p struct{ Counts map[string]int }
	if code := s.call("GET", "/v1/projects/"+pid, nil, &p); code != http.StatusOK {
		s.t.Fatalf("the project answers %d", code)
	}
	for _, c := range p.Counts {
		n += c
	}
	return n
}

// TestOneSessionForTenThousand: however many ask for a project's images at once,
// and by whichever face, the cloud is asked for one session.
func TestOneSessionForTenThousand(t *testing.T) {
	t.Parallel()
	cloud := startOSSCloud(t, "photos")
	s := start(t, dataFolder(t), "--config", cloud.config(t, map[string]string{"Hangzhou": "photos"}))
	pid := s.newProject("many")

	// Asked for the image alone, nobody asks the cloud.
	for i := range 20 {
		var a stsAnswer
		s.ask(fmt.Sprintf(`mutation{uploadImageOSS(pid:%q,bucket:Hangzhou,filename:"alone-%d.jpg",checksum:"%040x"){image{id filename state}}}`, pid, i, i+1), &a)
		if a.UploadImageOSS.Image == nil || a.UploadImageOSS.Image.Filename != fmt.Sprintf("%040x.jpg", i+1) || a.UploadImageOSS.STS != nil {
			t.Fatalf("answered %+v", a.UploadImageOSS)
		}
	}
	if n := cloud.sessions.Load(); n != 0 {
		t.Errorf("images alone made %d calls", n)
	}

	const batches, batch = 10, 1000
	var tokens sync.Map
	var group sync.WaitGroup
	for b := range batches {
		group.Go(func() {
			var entries []map[string]any
			for i := range batch {
				entries = append(entries, map[string]any{"name": fmt.Sprintf("%d/%d.jpg", b, i), "sha1": fmt.Sprintf("%040x", 1_000_000+b*batch+i), "size": 1})
			}
			var answer struct {
				Results []struct {
					Status string
					Grant  struct {
						Kind    string
						Session struct{ ID, Token string }
					}
				}
			}
			if code := s.call("POST", "/v1/projects/"+pid+"/images/register", map[string]any{"images": entries}, &answer); code != http.StatusOK || len(answer.Results) != batch {
				t.Errorf("a batch answers %d with %d results", code, len(answer.Results))
			}
			for _, r := range answer.Results {
				if r.Status != "granted" || r.Grant.Kind != "session" || r.Grant.Session.Token == "" {
					t.Errorf("a result is %+v", r)
					return
				}
				tokens.Store(r.Grant.Session.ID, true)
			}
		})
	}
	// Old clients ask for the token alone, again and again, and name no file.
	for range 100 {
		group.Go(func() {
			var a stsAnswer
			s.ask(fmt.Sprintf(`mutation{uploadImageOSS(pid:%q,bucket:Hangzhou,filename:""){sts{id secret token bucket endpoint expire}}}`, pid), &a)
			got := a.UploadImageOSS.STS
			if got == nil || got.Bucket != "photos" || got.Endpoint != cloud.URL || got.Secret == "" || a.UploadImageOSS.Image != nil {
				t.Errorf("answered %+v", a.UploadImageOSS)
				return
			}
			if ends, err := time.Parse("2006-01-02T15:04:05Z", got.Expire); err != nil || time.Until(ends) < 59*time.Minute || time.Until(ends) > time.Hour {
				t.Errorf("it ends %q: %v", got.Expire, err)
			}
			tokens.Store(got.ID, true)
		})
	}
	group.Wait()
	ids := 0
	tokens.Range(func(any, any) bool { ids++; return true })
	if n := cloud.sessions.Load(); n != 1 || ids != 1 {
		t.Errorf("%d calls of AssumeRole, %d sessions", n, ids)
	}
	if n := s.countImages(pid); n != 20+batches*batch {
		t.Errorf("%d images", n)
	}

	// Another project's token is another one, and a token alone makes no image.
	other := s.newProject("other")
	s.ask(fmt.Sprintf(`mutation{uploadImageOSS(pid:%q,bucket:Hangzhou,filename:"x.jpg",checksum:"%040x"){sts{id}}}`, other, 7), nil)
	if n := cloud.sessions.Load(); n != 2 {
		t.Errorf("%d calls of AssumeRole for two projects", n)
	}
	if n := s.countImages(other); n != 0 {
		t.Errorf("a token made %d images", n)
	}
}

// TestThrottledSTS: a cloud that is asked too often is asked again a little later.
func TestThrottledSTS(t *testing.T) {
	t.Parallel()
	cloud := startOSSCloud(t, "photos")
	s := start(t, dataFolder(t), "--config", cloud.config(t, map[string]string{"Hangzhou": "photos"}))
	pid := s.newProject("busy")
	cloud.busy.Store(3)
	file := photo(1, 64, 48)
	r := s.register(pid, "Hangzhou", nil, file)
	if r[0].Status != "granted" || cloud.sessions.Load() != 4 {
		t.Errorf("answered %+v after %d calls", r[0], cloud.sessions.Load())
	}
	// For too long, it is a problem of the entry that says when to come again.
	cloud.busy.Store(1000)
	var answer struct {
		Results []struct {
			Status  string
			Problem struct {
				Code       string
				Detail     string
				RetryAfter int `json:"retry_after"`
			}
		}
	}
	entries := []map[string]any{entry("b.jpg", photo(2, 64, 48))}
	s.call("POST", "/v1/projects/"+s.newProject("busier")+"/images/register", map[string]any{"images": entries}, &answer)
	if len(answer.Results) != 1 || answer.Results[0].Problem.Code != "too_many_requests" || answer.Results[0].Problem.RetryAfter < 1 {
		t.Errorf("answered %+v", answer.Results)
	}
	if n := cloud.sessions.Load(); n > 20 {
		t.Errorf("it asked %d times", n)
	}
}

// TestRequestsAtOSS: asked for a request, OSS gives one that curl can use, bound to
// size and type.
func TestRequestsAtOSS(t *testing.T) {
	t.Parallel()
	cloud := startOSSCloud(t, "photos")
	s := start(t, dataFolder(t), "--config", cloud.config(t, map[string]string{"Hangzhou": "photos"}))
	pid := s.newProject("requests")
	good, other := photo(1, 64, 48), photo(2, 64, 48)
	ask := map[string]any{"grant": "request"}
	r := s.register(pid, "Hangzhou", ask, good, other)
	if r[0].Status != "granted" || r[0].Grant.Method != "PUT" || !r[0].Grant.Unbound || !strings.Contains(r[0].Grant.URL, "x-oss-signature") {
		t.Fatalf("granted %+v", r[0])
	}
	if code := r[0].put(t, good[:len(good)-1]); code != http.StatusForbidden {
		t.Errorf("a shorter body is answered %d", code)
	}
	if code := r[0].put(t, append(bytes.Clone(good), 0)); code != http.StatusForbidden {
		t.Errorf("a longer body is answered %d", code)
	}
	text := r[0]
	text.Grant.Headers = map[string]string{"Content-Type": "text/html"}
	if code := text.put(t, good); code != http.StatusForbidden {
		t.Errorf("another type is answered %d", code)
	}
	if code := r[0].put(t, good); code != http.StatusOK {
		t.Errorf("the right use is answered %d", code)
	}
	// The bytes themselves can't be bound, so the validation finds them.
	wrong := bytes.Clone(other)
	wrong[len(wrong)/2] ^= 1
	if code := r[1].put(t, wrong); code != http.StatusOK {
		t.Errorf("other bytes are answered %d", code)
	}
	s.waitState(pid, r[0].Image.ID, "Ready")
	s.waitState(pid, r[1].Image.ID, "Invalid")
	if cloud.sessions.Load() != 0 {
		t.Errorf("requests alone made %d sessions", cloud.sessions.Load())
	}
	// Where there are no sessions, the answer says what to do.
	local := start(t, dataFolder(t))
	var p struct{ Code, Detail string }
	body := map[string]any{"bucket": "Local", "grant": "session", "images": []any{entry("a.jpg", good)}}
	if code := local.call("POST", "/v1/projects/"+local.newProject("p")+"/images/register", body, &p); code != http.StatusNotImplemented || p.Code != "not_supported" || !strings.Contains(p.Detail, "kind request") {
		t.Errorf("a session at the local bucket: %d %+v", code, p)
	}
}

// TestDoneAtOSS: at any time, any number of times; it leads to a look and is taken
// for nothing more.
func TestDoneAtOSS(t *testing.T) {
	t.Parallel()
	cloud := startOSSCloud(t, "photos")
	s := start(t, dataFolder(t), "--config", cloud.config(t, map[string]string{"Hangzhou": "photos"}))
	pid := s.newProject("done")
	file := photo(1, 64, 48)
	var a stsAnswer
	s.ask(fmt.Sprintf(`mutation{uploadImageOSS(pid:%q,bucket:Hangzhou,filename:"a.jpg",checksum:%q){image{id filename state} sts{id}}}`, pid, sha1Hex(file)), &a)
	id := a.UploadImageOSS.Image.ID
	state := func(call string) string {
		t.Helper()
		var answer map[string]struct{ State string }
		s.ask(fmt.Sprintf(`mutation{%s(id:%q){state}}`, call, id), &answer)
		return answer[call].State
	}
	if got := state("doneImageUpload"); got != "Pending" { // before it began
		t.Errorf("done before start: %s", got)
	}
	if got := state("startImageUpload"); got != "Uploading" {
		t.Errorf("start: %s", got)
	}
	for range 20 {
		if got := state("doneImageUpload"); got != "Uploading" {
			t.Fatalf("done without an object: %s", got)
		}
	}
	r := s.register(pid, "Hangzhou", map[string]any{"grant": "request"}, file)
	if r[0].Image.ID != id || r[0].put(t, file) != http.StatusOK {
		t.Fatalf("granted %+v", r[0])
	}
	s.waitFor("the verdict", func() bool { return state("doneImageUpload") == "Ready" })
	for range 3 {
		if got := state("doneImageUpload"); got != "Ready" {
			t.Errorf("done when it is Ready: %s", got)
		}
	}
	// Registered again, it is answered as it is, with a place where it can't be
	// overwritten.
	s.ask(fmt.Sprintf(`mutation{uploadImageOSS(pid:%q,bucket:Hangzhou,filename:"a.jpg",checksum:%q){image{id filename state} sts{id}}}`, pid, sha1Hex(file)), &a)
	if got := a.UploadImageOSS.Image; got.ID != id || got.State != "Ready" || got.Filename != sha1Hex(file)+"-2.jpg" {
		t.Errorf("again: %+v", got)
	}
}

// sha1Hex is a file's digest as clients declare it.
func sha1Hex(file []byte) string { return entry("", file)["sha1"].(string) }

// TestSessionGrant is the form in which REST gives a session.
func TestSessionGrant(t *testing.T) {
	t.Parallel()
	cloud := startOSSCloud(t, "photos")
	s := start(t, dataFolder(t), "--config", cloud.config(t, map[string]string{"Hangzhou": "photos"}))
	pid := s.newProject("sessions")
	file := photo(1, 64, 48)
	type answer struct {
		Results []struct {
			Status string
			Image  struct{ ID string }
			Grant  map[string]any
		}
	}
	var first, again answer
	path := "/v1/projects/" + pid + "/images/"
	for range 2 { // named, and as what the bucket gives by itself
		first = answer{}
		s.call("POST", path+"register", map[string]any{"grant": "session", "images": []any{entry("a b.jpg", file)}}, &first)
		s.call("POST", path+"regrant", map[string]any{"ids": []string{first.Results[0].Image.ID}}, &again)
		for _, r := range []answer{first, again} {
			g := r.Results[0].Grant
			session, _ := g["session"].(map[string]any)
			key := pid + "/" + sha1Hex(file) + ".jpg"
			for name, want := range map[string]any{"kind": "session", "method": "PUT", "url": cloud.URL + "/photos/" + key, "bucket": "Hangzhou", "unbound": true} {
				if g[name] != want {
					t.Errorf("%s is %v, want %v", name, g[name], want)
				}
			}
			for name, want := range map[string]any{"endpoint": cloud.URL, "bucket": "photos", "region": "cn-hangzhou", "key": key} {
				if session[name] != want {
					t.Errorf("session.%s is %v, want %v", name, session[name], want)
				}
			}
			for _, name := range []string{"id", "secret", "token"} {
				if text, _ := session[name].(string); text == "" {
					t.Errorf("session.%s is missing", name)
				}
			}
			ends, err := time.Parse(time.RFC3339, fmt.Sprint(g["expires_at"]))
			if err != nil || time.Until(ends) < 59*time.Minute || time.Until(ends) > time.Hour {
				t.Errorf("it ends %v: %v", g["expires_at"], err)
			}
		}
	}
	for _, secret := range []string{"id", "secret", "token"} {
		if text := fmt.Sprint(first.Results[0].Grant["session"].(map[string]any)[secret]); strings.Contains(s.out.String(), text) {
			t.Errorf("the log holds the session's %s", secret)
		}
	}
	for _, body := range []map[string]any{{"grant": "token"}, {"grant": "fetch"}, {"grant": "Session"}} {
		var p struct{ Code, Detail string }
		body["images"] = []any{entry("a.jpg", file)}
		if code := s.call("POST", path+"register", body, &p); code/100 != 4 || p.Code != "invalid" || !strings.Contains(p.Detail, "request or session") {
			t.Errorf("%v: %d %+v", body["grant"], code, p)
		}
	}
}

// TestBucketsCheckAtOSS tries what the broker will need, sessions included.
func TestBucketsCheckAtOSS(t *testing.T) {
	t.Parallel()
	cloud := startOSSCloud(t, "photos")
	good := cloud.config(t, map[string]string{"Hangzhou": "photos"})
	if code, out := runCommand(t, nil, "buckets", "check", "--config", good); code != 0 || !containsLine(out, "Hangzhou", "good") {
		t.Errorf("ended with %d:\n%s", code, out)
	}
	if cloud.sessions.Load() != 1 {
		t.Errorf("%d sessions were asked for", cloud.sessions.Load())
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, says string }{
		{"role/uploader", "role/nobody", "can't get a session"},
		{cloudSecret, "another-secret", "can't write"},
		{"bucket: photos", "bucket: nobody-has-this", "can't write"},
	} {
		bad := filepath.Join(t.TempDir(), "bad.yaml")
		write(t, bad, []byte(strings.ReplaceAll(string(text), c.from, c.to)))
		if code, out := runCommand(t, nil, "buckets", "check", "--config", bad); code != exitNotReady || !strings.Contains(out, c.says) || strings.Contains(out, cloudSecret) {
			t.Errorf("%s: ended with %d:\n%s", c.to, code, out)
		}
	}
}
