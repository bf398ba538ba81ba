package client_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/api/client/clienttest"
	"github.com/uploadbroker/uploadbroker/storage/ossemu"
)

// testClock is a clock that tests put forward.
type testClock struct{ ahead atomic.Int64 }

func (c *testClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *testClock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// cloud is OSS and STS, as the emulator has them, behind a line of its own.
type cloud struct {
	t     *testing.T
	clock testClock // of the bucket and of STS
	front *httptest.Server
	emu   http.Handler

	// line, if set, sees each request for an object first and may answer it, or
	// change it, or the answer: what is true is done.
	line func(w http.ResponseWriter, r *http.Request) bool

	ttl      time.Duration // of sessions
	endpoint string        // that sessions name; "": the emulator's address
	pathy    bool

	mu       sync.Mutex
	sessions []client.Session // given so far
	ends     time.Time        // of the last one
	puts     int
	refused  map[string]int // PUTs, by the status of their answers
}

const (
	cloudKeyID  = "LTAItest"
	cloudSecret = "account-secret-never-shown"
	cloudRole   = "acs:ram::1234567890123456:role/uploader"
)

// newCloudBench is a client on a stand-in whose bucket is at the emulator.
func newCloudBench(t *testing.T, change ...func(*cloud)) (*bench, *cloud) {
	t.Helper()
	b := newBench(t)
	c := &cloud{t: t, ttl: time.Hour, refused: map[string]int{}}
	emu, err := ossemu.New(ossemu.Options{
		Dir: t.TempDir(), Buckets: []string{"photos"}, AccessKeyID: cloudKeyID, AccessKeySecret: cloudSecret,
		RoleARN: cloudRole, MaxSession: 12 * time.Hour, Region: "cn-hangzhou", Now: c.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.emu = emu
	c.front = httptest.NewServer(c)
	t.Cleanup(c.front.Close)
	for _, f := range change {
		f(c)
	}
	b.Session, b.Object = c.session, c.object
	client.HurryRetries(b.c)
	return b, c
}

// ServeHTTP is the line to the cloud.
func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", c.clock.now().UTC().Format(http.TimeFormat))
	if r.Method != http.MethodPut {
		c.emu.ServeHTTP(w, r)
		return
	}
	c.mu.Lock()
	c.puts++
	c.mu.Unlock()
	seen := &answer{ResponseWriter: w}
	if c.line == nil || !c.line(seen, r) {
		c.emu.ServeHTTP(seen, r)
	}
	if seen.status >= 300 {
		c.mu.Lock()
		c.refused[fmt.Sprint(seen.status)]++
		c.mu.Unlock()
	}
}

type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int)      { a.status = status; a.ResponseWriter.WriteHeader(status) }
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// session gives one that lives for half its time at least, as the broker does.
func (c *cloud) session(pid string) (client.Session, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.sessions); n > 0 && c.ends.Sub(c.clock.now()) >= c.ttl/2 {
		return c.sessions[n-1], c.ends
	}
	s, ends := c.assumeRole(pid)
	c.sessions, c.ends = append(c.sessions, s), ends
	return s, ends
}

// assumeRole asks the emulator's STS
// (https://www.alibabacloud.com/help/en/ram/developer-reference/api-sts-2015-04-01-assumerole).
func (c *cloud) assumeRole(pid string) (client.Session, time.Time) {
	q := url.Values{
		"Action": {"AssumeRole"}, "Version": {"2015-04-01"}, "Format": {"JSON"}, "AccessKeyId": {cloudKeyID},
		"SignatureMethod": {"HMAC-SHA1"}, "SignatureVersion": {"1.0"}, "SignatureNonce": {rand.Text()},
		"Timestamp": {c.clock.now().UTC().Format("2006-01-02T15:04:05Z")},
		"RoleArn":   {cloudRole}, "RoleSessionName": {"test"}, "DurationSeconds": {fmt.Sprint(int(c.ttl / time.Second))},
		"Policy": {`{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:PutObject","oss:AbortMultipartUpload","oss:ListParts"],"Resource":["acs:oss:*:*:photos/` + pid + `/*"]}]}`},
	}
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	m := hmac.New(sha1.New, []byte(cloudSecret+"&"))
	m.Write([]byte("POST&%2F&" + escape(strings.ReplaceAll(q.Encode(), "+", "%20"))))
	q.Set("Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
	res, err := http.PostForm(c.front.URL+"/sts/", q)
	if err != nil {
		c.t.Error(err)
		return client.Session{}, time.Time{}
	}
	defer res.Body.Close()
	var out struct {
		Credentials struct {
			AccessKeyId, AccessKeySecret, SecurityToken string
			Expiration                                  time.Time
		}
		Code, Message string
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || out.Credentials.SecurityToken == "" {
		c.t.Errorf("AssumeRole: %v %+v", err, out)
	}
	endpoint := c.endpoint
	if endpoint == "" {
		endpoint = c.front.URL
	}
	return client.Session{
		ID: out.Credentials.AccessKeyId, Secret: out.Credentials.AccessKeySecret, Token: out.Credentials.SecurityToken,
		Endpoint: endpoint, Bucket: "photos", Region: "cn-hangzhou", PathStyle: c.pathy,
	}, out.Credentials.Expiration
}

// object reads with the account's own key.
func (c *cloud) object(key string) ([]byte, bool) {
	u := url.URL{Scheme: "http", Host: strings.TrimPrefix(c.front.URL, "http://"), Path: "/photos/" + key}
	req, err := http.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		c.t.Error(err)
		return nil, false
	}
	(&client.Session{ID: cloudKeyID, Secret: cloudSecret, Bucket: "photos", Region: "cn-hangzhou", Key: key}).Sign(req, c.clock.now())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Error(err)
		return nil, false
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 && res.StatusCode != 404 {
		c.t.Errorf("reading %s: %d %s %v", key, res.StatusCode, data, err)
	}
	return data, res.StatusCode == 200
}

func (c *cloud) given() []client.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]client.Session(nil), c.sessions...)
}

func (c *cloud) count() (puts int, refused map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]int{}
	for k, v := range c.refused {
		out[k] = v
	}
	return c.puts, out
}

// anyHost dials the emulator for whatever name: names of buckets are in no DNS here.
func (c *cloud) anyHost() *http.Client {
	addr := c.front.Listener.Addr().String()
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}}
}

// use makes the bench's client anew.
func (b *bench) use(t *testing.T, opts ...client.Option) {
	t.Helper()
	c, err := client.New(b.URL, clienttest.Key, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	client.HurryRetries(c)
	b.c = c
}

// wantBytes compares what lies in the bucket with the files.
func (b *bench) wantBytes(t *testing.T, c *cloud, r client.Report) {
	t.Helper()
	for _, f := range r.Files {
		if f.Image == nil {
			t.Errorf("%s has no image", f.Name)
			continue
		}
		got, ok := c.object(b.pid + "/" + f.Image.Filename)
		if want := readFile(t, filepath.Join(b.dir, filepath.FromSlash(f.Name))); !ok || string(got) != want {
			t.Errorf("%s: %d bytes lie in the bucket (%v), the file has %d, or they differ", f.Name, len(got), ok, len(want))
		}
	}
}

func cancellable(t *testing.T) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, cancel
}
