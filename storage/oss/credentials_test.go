package oss

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// clearAmbient takes away what the SDK would find on the machine of the test.
func clearAmbient(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "ALIBABA_CLOUD_") {
			t.Setenv(name, "") // so that it is put back
			os.Unsetenv(name)
		}
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("ALIBABA_CLOUD_CREDENTIALS_FILE", filepath.Join(home, "none"))
	t.Setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
}

// credentialsServer is a stand-in for what ALIBABA_CLOUD_CREDENTIALS_URI names:
// a server beside the program that has its credentials.
type credentialsServer struct {
	*httptest.Server
	mu    sync.Mutex
	now   credential
	asked int
}

func startCredentialsServer(t *testing.T, first credential) *credentialsServer {
	t.Helper()
	s := &credentialsServer{now: first}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		fmt.Fprintf(w, `{"AccessKeyId":%q,"AccessKeySecret":%q,"SecurityToken":%q,"Expiration":%q}`,
			s.now.id, s.now.secret, s.now.token, s.now.expires.UTC().Format("2006-01-02T15:04:05Z"))
	}))
	t.Cleanup(s.Close)
	clearAmbient(t)
	t.Setenv("ALIBABA_CLOUD_CREDENTIALS_URI", s.URL)
	return s
}

// turn makes the server give others, and tells how often it was asked before.
func (s *credentialsServer) turn(next credential) (asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, s.asked, s.now = s.asked, 0, next
	return asked
}

// TestAmbientChain uses the environment only when no key is given.
func TestAmbientChain(t *testing.T) {
	clearAmbient(t)
	for name, value := range map[string]string{
		"ALIBABA_CLOUD_ACCESS_KEY_ID": "AMBIENT", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s", "ALIBABA_CLOUD_SECURITY_TOKEN": "TOKEN",
	} {
		t.Setenv(name, value)
	}
	for _, c := range []struct {
		o         Options
		has, lack []string
	}{
		{Options{AccessKeyID: "GIVEN", AccessKeySecret: "s"}, []string{"GIVEN"}, []string{"AMBIENT", "TOKEN"}},
		{Options{}, []string{"x-oss-credential=AMBIENT%2F", "x-oss-security-token=TOKEN"}, nil},
	} {
		c.o.Bucket, c.o.Region = "photos", "cn-hangzhou"
		req, err := open(t, c.o).SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, storage.MinTTL)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.has {
			if !strings.Contains(req.URL, want) {
				t.Errorf("%s lacks %s", req.URL, want)
			}
		}
		for _, no := range c.lack {
			if strings.Contains(req.URL, no) {
				t.Errorf("%s has %s", req.URL, no)
			}
		}
	}
}

func TestProfiles(t *testing.T) {
	clearAmbient(t)
	home, _ := os.UserHomeDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ini := filepath.Join(home, ".alibabacloud", "credentials")
	t.Setenv("ALIBABA_CLOUD_CREDENTIALS_FILE", ini)
	write(ini, "[default]\ntype = access_key\naccess_key_id = INI\naccess_key_secret = s\n")
	if c, err := findCredential(); err != nil || c != (credential{id: "INI", secret: "s"}) {
		t.Errorf("%+v, %v", c, err)
	}
	cli := filepath.Join(home, ".aliyun", "config.json")
	write(cli, `{"current":"x","profiles":[{"name":"x","mode":"StsToken","access_key_id":"CLI","access_key_secret":"s","sts_token":"T"}]}`)
	if c, err := findCredential(); err != nil || c != (credential{id: "CLI", secret: "s", token: "T"}) {
		t.Errorf("%+v, %v", c, err)
	}
	// A file that can't be read is not quoted.
	os.Remove(ini)
	write(cli, `{"current":"x","profiles":[{"access_key_secret":"HUSH"`)
	if c, err := findCredential(); !errors.Is(err, errCredentials) || strings.Contains(err.Error(), "HUSH") {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestExpiryOfProviders holds the SDK to the names of the fields that expiry
// reads: without them grants would outlive their credentials.
func TestExpiryOfProviders(t *testing.T) {
	role, err := credentials.NewRAMRoleARNCredentialsProviderBuilder().
		WithCredentialsProvider(credentials.NewStaticAKCredentialsProvider("a", "b")).WithRoleArn(testRole).Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []any{
		credentials.ECSRAMRoleCredentialsProvider{}, credentials.OIDCCredentialsProvider{}, credentials.URLCredentialsProvider{}, *role,
	} {
		if !hasField(p, "expirationTimestamp") {
			t.Errorf("%T does not say when it ends", p)
		}
	}
	for _, p := range []any{credentials.CLIProfileCredentialsProvider{}, credentials.ProfileCredentialsProvider{}} {
		if !hasField(p, "innerProvider") {
			t.Errorf("%T does not say whom it asks", p)
		}
	}
	for _, p := range []credentials.CredentialsProvider{
		credentials.NewStaticAKCredentialsProvider("a", "b"), credentials.NewStaticSTSCredentialsProvider("a", "b", "c"),
		credentials.NewCLIProfileCredentialsProviderBuilder().Build(), nil,
	} {
		if at := expiry(p); !at.IsZero() {
			t.Errorf("%T ends at %v", p, at)
		}
	}
}

// TestCredentialsEnd: credentials that are near their end are asked for anew
// before it, a grant never outlives those that signed it, and a source that has no
// later ones, or is down, is no reason to give none.
func TestCredentialsEnd(t *testing.T) {
	end := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	first := credential{id: "STS.1", secret: "one+/", token: "TOKEN1", expires: end}
	second := credential{id: "STS.2", secret: "two", token: "TOKEN2", expires: end.Add(25 * time.Minute)}
	service := startCredentialsServer(t, first)
	var mu sync.Mutex
	now := time.Now()
	b := open(t, Options{Bucket: "photos", Region: "cn-hangzhou", Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	set := func(at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		now = at
	}
	sign := func(token string, atLeast time.Duration) {
		t.Helper()
		req, err := b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, 20*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(req.URL, "x-oss-security-token="+token+"&") {
			t.Errorf("not signed with %s: %s", token, req.URL)
		}
		if left := req.ExpiresAt.Sub(now); left < atLeast || token == "TOKEN1" && req.ExpiresAt.After(end) || req.ExpiresAt.After(second.expires) {
			t.Errorf("with %s until %v, for %v", token, req.ExpiresAt, left)
		}
	}
	for range 5 {
		sign("TOKEN1", 20*time.Minute-time.Second)
	}
	set(end.Add(-8 * time.Minute))
	sign("TOKEN1", 8*time.Minute-time.Second)
	if asked := service.turn(first); asked != 2 {
		t.Errorf("the server was asked %d times, once at the start and once near the end", asked)
	}
	sign("TOKEN1", 8*time.Minute-time.Second)
	if asked := service.turn(second); asked != 0 {
		t.Errorf("it was asked again at once, %d times", asked)
	}
	set(now.Add(renewPause))
	sign("TOKEN2", 20*time.Minute-time.Second)
	set(now.Add(10 * time.Minute))
	sign("TOKEN2", 20*time.Minute-time.Second)
	third := credential{id: "STS.3", secret: "three", token: "TOKEN3", expires: second.expires.Add(-time.Minute)}
	if asked := service.turn(third); asked != 1 {
		t.Errorf("the server was asked %d times for the second ones", asked)
	}

	// Near the end of the second ones it gives some that end before, then nothing.
	set(second.expires.Add(-9 * time.Minute))
	sign("TOKEN2", 9*time.Minute-time.Second)
	service.Close()
	set(now.Add(renewPause))
	sign("TOKEN2", 8*time.Minute)
	set(second.expires)
	if _, err := b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, time.Minute); b.Code(err) != broker.CodeDenied {
		t.Errorf("signed by what has ended: %v", err)
	}
}

// TestNoCredentials says denied where the chain finds none, for every operation.
func TestNoCredentials(t *testing.T) {
	clearAmbient(t)
	b := portable(t, open(t, Options{Bucket: "photos", Region: "cn-hangzhou", Endpoint: "http://" + freeAddress(t), RoleARN: testRole}).Driver())
	if _, err := b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, time.Hour); broker.CodeOf(err) != broker.CodeDenied {
		t.Error(err)
	}
	if _, err := b.Stat(t.Context(), "k"); broker.CodeOf(err) != broker.CodeDenied {
		t.Error(err)
	}
	if _, err := b.Session(t.Context(), testPrefix); broker.CodeOf(err) != broker.CodeDenied {
		t.Error(err)
	}
}

// TestSlowCredentials: who waits for credentials waits no longer than he wants,
// and all wait for one search.
func TestSlowCredentials(t *testing.T) {
	found, searches := make(chan credential), make(chan struct{}, 100)
	r := newRenewing(time.Now, func() (credential, error) {
		searches <- struct{}{}
		return <-found, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := r.get(ctx); done <- err }()
	<-searches
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for range 10 {
		go func() {
			c, err := r.get(context.Background())
			if err == nil && c.id != "A" {
				err = errors.New("none of those found")
			}
			done <- err
		}()
	}
	found <- credential{id: "A", secret: "s"}
	for range 10 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if len(searches) != 0 {
		t.Errorf("%d searches more", len(searches))
	}
}

// TestOwnSession lets the broker's own credentials be a session of the cloud's:
// what they sign is really taken, and ends with them.
func TestOwnSession(t *testing.T) {
	c := startCloud(t, nil, "photos")
	own := open(t, c.options("photos")).Driver().(storage.Sessioner)
	s, err := own.Session(t.Context(), testPrefix, 16*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	startCredentialsServer(t, credential{id: s.ID, secret: s.Secret, token: s.Token, expires: s.ExpiresAt})
	o := c.options("photos")
	o.AccessKeyID, o.AccessKeySecret = "", ""
	b := open(t, o)
	key := testPrefix + "a b.jpg"
	req, err := b.SignPut(t.Context(), key, broker.Binding{SizeBytes: 4, ContentType: "image/jpeg"}, 3*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(req.URL, "x-oss-security-token=") || req.ExpiresAt.After(s.ExpiresAt) {
		t.Errorf("until %v, credentials until %v: %s", req.ExpiresAt, s.ExpiresAt, req.URL)
	}
	if status, answer := send(t, c.client(), req, "body"); status != http.StatusOK {
		t.Errorf("%d: %s", status, answer)
	}
	// The broker's own requests carry the token too.
	if _, err := b.Put(t.Context(), key, strings.NewReader("x"), storage.PutOptions{SizeBytes: 1}); err != nil {
		t.Error(err)
	}
	if _, err := b.Stat(t.Context(), key); b.Code(err) != broker.CodeDenied { // a session writes only
		t.Error(err)
	}
	at := strings.Index(req.URL, "&x-oss-security-token=")
	rest := req.URL[at+1:]
	req.URL = req.URL[:at] + rest[strings.IndexByte(rest, '&'):]
	if status, answer := send(t, c.client(), req, "body"); status != http.StatusForbidden {
		t.Errorf("without the token: %d: %s", status, answer)
	}
}

func hasField(of any, name string) bool {
	_, has := reflect.TypeOf(of).FieldByName(name)
	return has
}
