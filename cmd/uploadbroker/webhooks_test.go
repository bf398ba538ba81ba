package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api/rest"
	"github.com/uploadbroker/uploadbroker/broker/hook"
)

// Secrets of the tests' receivers.
const (
	testSecret  = "whsec_dGhlIHNlY3JldCBvZiBhIHJlY2VpdmVyIGluIHRlc3Rz"
	otherSecret = "whsec_YW5vdGhlciBzZWNyZXQgb2YgYSByZWNlaXZlciBpbiB0ZXN0cw=="
)

// message is a webhook as its receiver reads it.
type message struct {
	ID        string `json:"-"`
	Type      string
	Timestamp time.Time
	Data      struct {
		ProjectID string `json:"project_id"`
		Sequence  int64
		Image     struct{ Name, State, Bucket string }
		Counts    map[string]int
		Task      struct {
			ID     string
			RunID  string `json:"run_id"`
			State  string
			Images int
			Fault  *struct{ Name string }
		}
		Images []struct {
			Name, URL string
			Size      int64
		}
		ZipURL      string `json:"zip_url"`
		ProgressURL string `json:"progress_url"`
		FinishURL   string `json:"finish_url"`
		Token       string
		RunID       string `json:"run_id"`
	}
}

// hookReceiver takes webhooks as an integrator would: it verifies each, and holds
// what it says against the API's own description.
type hookReceiver struct {
	*httptest.Server
	docs *huma.OpenAPI

	mu       sync.Mutex
	status   int // of its answers; 0: 204
	messages []message
}

func newHookReceiver(t testing.TB, secrets ...string) *hookReceiver {
	t.Helper()
	r := &hookReceiver{docs: rest.Mount(echo.New(), rest.Options{Version: "test"})}
	var known []hook.Secret
	for _, s := range secrets {
		p, err := hook.ParseSecret(s)
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, p)
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		id, err := hook.Verify(req.Header, body, time.Now(), known...)
		if err != nil {
			t.Errorf("a webhook can't be verified: %v", err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		m := message{ID: id}
		if err := json.Unmarshal(body, &m); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		for _, fault := range r.misfits(m.Type, body) {
			t.Errorf("%s is not as it is described: %v", body, fault)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if status := r.status; status > 0 {
			w.WriteHeader(status)
			return
		}
		r.messages = append(r.messages, m)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

// misfits tells what of a body the description does not allow.
func (r *hookReceiver) misfits(kind string, body []byte) []error {
	item, ok := r.docs.Webhooks[kind]
	if !ok {
		return []error{fmt.Errorf("there is no webhook %q", kind)}
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return []error{err}
	}
	result := &huma.ValidateResult{}
	all := r.docs.Components.Schemas
	schema := item.Post.RequestBody.Content["application/json"].Schema
	huma.Validate(all, schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, v, result)
	return append(result.Errors, undescribed(all, schema, v, "")...)
}

// undescribed finds the fields that a schema does not know: answers may have them, but
// ours should not.
func undescribed(all huma.Registry, s *huma.Schema, v any, at string) (faults []error) {
	if s.Ref != "" {
		s = all.SchemaFromRef(s.Ref)
	}
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if p, ok := s.Properties[key]; ok {
				faults = append(faults, undescribed(all, p, inner, at+"."+key)...)
			} else {
				faults = append(faults, fmt.Errorf("%s.%s is not described", at, key))
			}
		}
	case []any:
		for _, inner := range v {
			faults = append(faults, undescribed(all, s.Items, inner, at+"[]")...)
		}
	}
	return faults
}

func (r *hookReceiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// got are the messages of a type that were taken, in the order of their sequences,
// each once.
func (r *hookReceiver) got(kind string) (found []message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.messages {
		if m.Type == kind && !slices.ContainsFunc(found, func(o message) bool { return o.ID == m.ID }) {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b message) int { return int(a.Data.Sequence - b.Data.Sequence) })
	return found
}

// TestWebhooks: who is told, is told what happened, by the whole program; also while
// it is killed.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	all, settled := newHookReceiver(t, otherSecret), newHookReceiver(t, testSecret)
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, fmt.Appendf(nil, `fetch: {allow_networks: [127.0.0.0/8]}
webhooks:
  - {url: "%s/hook?key=geheim", secrets: [%s, %s]}
  - {url: "%s", secrets: [%s], events: [project.settled]}
`, all.URL, testSecret, otherSecret, settled.URL, testSecret))
	data := dataFolder(t)
	s := start(t, data, "--config", path)
	dir := folder(t, map[string][]byte{"a/1.jpg": photo(1, 64, 48), "2.jpg": photo(2, 64, 48), "broken.jpg": photo(3, 64, 48)[:900]})
	if code, out := s.client("upload", dir, "--new", "told"); code != exitNotReady {
		t.Fatalf("upload ended with %d:\n%s", code, out)
	}
	s.waitFor("the project to be told as settled", func() bool { return len(settled.got("project.settled")) > 0 && len(all.got("project.settled")) > 0 })
	pid := s.project("told")
	s.waitFor("all to be told", func() bool { return len(all.got("image.ready"))+len(all.got("image.invalid")) == 3 })
	seen := map[int64]string{}
	for _, kind := range []string{"image.ready", "image.invalid", "project.settled"} {
		for _, m := range all.got(kind) {
			seen[m.Data.Sequence] = kind
			if m.Data.ProjectID != pid || !strings.HasPrefix(m.ID, "evt_") || time.Since(m.Timestamp) > time.Hour {
				t.Errorf("%+v", m)
			}
		}
	}
	for n := range int64(len(seen)) {
		if seen[n+1] == "" {
			t.Errorf("of %v, %d is missing", seen, n+1)
		}
	}
	last := all.got("project.settled")
	if counts := last[len(last)-1].Data.Counts; counts["Ready"] != 2 || counts["Invalid"] != 1 {
		t.Errorf("%v", counts)
	}
	if n := len(settled.got("image.ready")); n != 0 {
		t.Errorf("who asked for settled projects alone hears of %d images", n)
	}

	// A killed server leaves nothing untold.
	all.answer(http.StatusServiceUnavailable)
	if code, out := s.client("upload", folder(t, map[string][]byte{"4.jpg": photo(4, 64, 48)}), "--project", pid); code != 0 {
		t.Fatalf("upload ended with %d:\n%s", code, out)
	}
	s.kill()
	all.answer(0)
	key := s.key
	s = start(t, data, "--config", path)
	s.key = key
	s.waitFor("the rest to be told", func() bool { return len(all.got("image.ready")) == 3 && len(all.got("project.settled")) == len(last)+1 })

	var told struct {
		Webhooks []struct {
			Host          string
			Events        []string
			Waiting, Dead int
		}
	}
	if status := s.call(http.MethodGet, "/v1/webhooks", nil, &told); status != http.StatusOK || len(told.Webhooks) != 2 || told.Webhooks[0].Dead+told.Webhooks[1].Dead != 0 {
		t.Errorf("%d %+v", status, told)
	}
	if text := s.out.String(); strings.Contains(text, "geheim") || strings.Contains(text, "whsec_") {
		t.Errorf("the log tells a secret:\n%s", text)
	}
}

// TestWebhookFaults are told all at once, each with its line and without secrets.
func TestWebhookFaults(t *testing.T) {
	dir := t.TempDir()
	path, secrets := filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "secrets")
	write(t, secrets, []byte(testSecret+"\nwhsec_SECRETSECRET\n"))
	write(t, path, fmt.Appendf(nil, `webhooks:
  - {url: "https://a.example/h", secrets: [%[1]s]}
  - {url: "https://a.example/h", secrets: [%[1]s]}
  - {url: "ftp://b.example", secrets: [nonsense]}
  - {url: "http://10.0.0.1/h", secrets: []}
  - {secrets: [%[1]s, %[1]s, %[1]s]}
  - {url: "https://c.example", secrets: [whsec_c2hvcnQ=], events: [image.ready, image.gone, image.ready]}
  - {url: "https://d.example", secrets: [%[1]s], secrets_file: %[2]s}
  - {url: "https://e.example", secrets_file: %[2]s}
  - {url: "https://f.example", secrets_file: %[3]s}
`, testSecret, secrets, filepath.Join(dir, "none")))
	code, out := runCommand(t, nil, "config", "check", path)
	if code != exitNotReady {
		t.Errorf("ended with %d", code)
	}
	for _, want := range []string{
		"line 3: webhooks.1.url: webhooks.0 has this url", "line 4: webhooks.2.url: only http", "line 4: webhooks.2.secrets.0: a secret begins with whsec_",
		"line 5: webhooks.3.url: 10.0.0.1 is not a public address; the operator can allow its network with fetch.allow_networks",
		"line 5: webhooks.3.secrets: give one secret", "line 6: webhooks.4.url: name the address", "line 6: webhooks.4.secrets: give one secret",
		"line 7: webhooks.5.secrets.0: a secret has 24 to 64 bytes, this one has 5", `line 7: webhooks.5.events.1: "image.gone" is no event`,
		"line 7: webhooks.5.events.2: image.ready stands here twice", "line 8: webhooks.6.secrets_file: secrets are set as well",
		"line 9: webhooks.7.secrets_file: ", "line 10: webhooks.8.secrets_file: ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not told in:\n%s", want, out)
		}
	}
	if strings.Contains(out, testSecret) || strings.Contains(out, "SECRETSECRET") || strings.Contains(out, "webhooks.0.") {
		t.Errorf("it tells too much:\n%s", out)
	}
}

// TestREADMEVerifies runs the receiver of both READMEs, in Python.
func TestREADMEVerifies(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if requires("zip-tools") {
			t.Fatal(err)
		}
		t.Skip("no python3, set REQUIRE=zip-tools to make this a failure")
	}
	old, err := hook.ParseSecret(otherSecret)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := hook.ParseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		_, code, ok := strings.Cut(string(text), "```python\n")
		code, _, closed := strings.Cut(code, "```")
		if !ok || !closed {
			t.Fatalf("%s shows no receiver", name)
		}
		for sent, want := range map[time.Time]string{time.Now(): "True False", time.Now().Add(-6 * time.Minute): "False False"} {
			headers := map[string]string{}
			for key, values := range hook.Sign("evt_1", sent, []byte("{ü}"), []hook.Secret{old, secret}) {
				headers[strings.ToLower(key)] = values[0]
			}
			h, err := json.Marshal(headers)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), python, "-")
			cmd.Stdin = strings.NewReader(code + fmt.Sprintf("\nh = %s\nprint(verified(%q, h, '{ü}'.encode()), verified(%q, h, b'{}'))\n", h, testSecret, testSecret))
			if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
				t.Errorf("%s says %s, %v; want %s", name, out, err, want)
			}
		}
	}
}
