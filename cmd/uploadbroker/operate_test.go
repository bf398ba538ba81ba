package main

import (
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// entry is a file as register wants it.
func entry(name string, bytes []byte) map[string]any {
	sum := sha1.Sum(bytes)
	return map[string]any{"name": name, "sha1": hex.EncodeToString(sum[:]), "size": len(bytes)}
}

// TestOperatorsCommandsBesideServe makes owners and keys while the server runs,
// and when it does not.
func TestOperatorsCommandsBesideServe(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := start(t, data)
	at := func(args ...string) []string { return append(args, "--data-dir", data) }

	if code, out := s.client(at("owners", "create", "Ada@Example.com", "--name", "Ada")...); code != 0 {
		t.Fatalf("owners create ended with %d:\n%s", code, out)
	}
	if code, out := s.client(at("owners", "create", "ada@example.com")...); code != exitNotReady || !strings.Contains(out, "already") {
		t.Errorf("the same owner again ended with %d:\n%s", code, out)
	}
	cmd := command(t, nil, at("keys", "create", "--owner", "ada@example.com", "--scopes", "read,upload", "--expires", "720h")...)
	printed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSuffix(string(printed), "\n")
	if !regexp.MustCompile(`^ub_[a-z2-7]{32}$`).MatchString(secret) {
		t.Fatalf("keys create prints %q, not the key alone", printed)
	}
	admin := s.key
	s.key = secret
	var me struct {
		Owner struct{ Email string }
		Key   struct{ ID string }
	}
	if code := s.call("GET", "/v1/me", nil, &me); code != http.StatusOK || me.Owner.Email != "ada@example.com" {
		t.Fatalf("the new key answers %d %+v", code, me)
	}
	if code, out := s.client(at("keys", "list", "--owner", "ada@example.com")...); code != 0 || !strings.Contains(out, me.Key.ID) || strings.Contains(out, secret) {
		t.Errorf("keys list ended with %d:\n%s", code, out)
	}
	if code, out := s.client(at("keys", "revoke", me.Key.ID)...); code != 0 {
		t.Errorf("keys revoke ended with %d:\n%s", code, out)
	}
	if code := s.call("GET", "/v1/me", nil, nil); code != http.StatusUnauthorized {
		t.Errorf("a revoked key answers %d", code)
	}
	for _, wrong := range [][]string{
		{"keys", "create", "--owner", "nobody@example.com"},
		{"keys", "create", "--owner", "ada@example.com", "--scopes", "everything"},
		{"keys", "create", "--owner", "ada@example.com", "--clouds", "s3"},
		{"keys", "create", "--owner", "ada@example.com", "--project", "none"},
		{"keys", "revoke", "01"},
		{"keys", "create", "--owner", "ada@example.com", "--expires", "0h"},
		{"keys", "create", "--owner", "ada@example.com", "--scopes", ""},
		{"owners", "create", "no-address"},
	} {
		if code, out := s.client(at(wrong...)...); code == 0 {
			t.Errorf("%v ended well:\n%s", wrong, out)
		}
	}
	s.key = admin
	s.stop()

	if code, out := s.client(at("owners", "list")...); code != 0 || !strings.Contains(out, "ada@example.com") {
		t.Errorf("owners list without a server ended with %d:\n%s", code, out)
	}
	if code, out := s.client(at("migrate", "status")...); code != 0 || strings.Contains(out, "not applied") {
		t.Errorf("migrate status ended with %d:\n%s", code, out)
	}
	if code, out := s.client(at("buckets", "check")...); code != 0 || !strings.Contains(out, "good") {
		t.Errorf("buckets check ended with %d:\n%s", code, out)
	}
}

// TestBootstrapKey sets the key by the environment, at every start.
func TestBootstrapKey(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	const chosen = "a-key-of-sixteen-characters-or-more"
	for range 2 {
		s := begin(t, data, []string{"UPLOADBROKER_BOOTSTRAP_KEY=" + chosen}, nil, "--listen", "127.0.0.1:0")
		s.waitReady()
		if s.key != "" || strings.Contains(s.out.String(), chosen) {
			t.Errorf("a chosen key is printed:\n%s", s.out)
		}
		s.key = chosen
		var me struct{ Key struct{ Scopes []string } }
		if code := s.call("GET", "/v1/me", nil, &me); code != http.StatusOK || len(me.Key.Scopes) != 4 {
			t.Errorf("the chosen key answers %d %v", code, me)
		}
		s.stop()
	}
	s := begin(t, data, []string{"UPLOADBROKER_BOOTSTRAP_KEY=short"}, nil)
	if code := s.wait(); code != exitUsage || !strings.Contains(s.out.String(), "16 characters") {
		t.Errorf("a short key ended with %d:\n%s", code, s.out)
	}
}

// TestNeedsADatabaseOfItsOwn refuses what the private database can't do.
func TestNeedsADatabaseOfItsOwn(t *testing.T) {
	for _, args := range [][]string{{"worker"}, {"serve", "--no-worker", "--listen", "127.0.0.1:0"}} {
		code, out := runCommand(t, nil, append(args, "--data-dir", dataFolder(t))...)
		if code != exitUsage || !strings.Contains(out, "database_url") {
			t.Errorf("%v ended with %d:\n%s", args, code, out)
		}
	}
}

// TestConfigFaultsAllAtOnce tells every fault of a file, each with its line.
func TestConfigFaultsAllAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.yaml")
	write(t, path, []byte(`listen: nowhere
public_url: ftp://x
limits: {max_object: 6GiB, max_batch: 0}
local_bucket: {enabled: true, symbol: "Hong Kong"}
buckets:
  - {symbol: A, cloud: s3, bucket: b}
  - {symbol: A, cloud: MINIO, bucket: ""}
`))
	code, out := runCommand(t, nil, "config", "check", path)
	if code != exitNotReady {
		t.Errorf("ended with %d", code)
	}
	for _, want := range []string{
		"line 1: listen", "line 2: public_url", "line 3: limits.max_object", "line 3: limits.max_batch", "line 4: local_bucket.symbol",
		"line 6: buckets.0.cloud", "line 7: buckets.1.symbol", "buckets.1.endpoint", "line 7: buckets.1.bucket",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not told in:\n%s", want, out)
		}
	}

	write(t, path, []byte("lissten: x\nlimits: {max_object: much, max_batch: many}\ntrusted_proxies: [ten]\n"))
	if _, out := runCommand(t, nil, "config", "check", path); !containsLine(out, "line 1", "unknown key lissten") ||
		!containsLine(out, "line 2", `"much" is not a size`) || !containsLine(out, "line 2", "many") || !containsLine(out, "line 3", "ten") {
		t.Errorf("not every fault is told:\n%s", out)
	}
}

// TestExampleConfigIsGood keeps the example in step with the program: it is read,
// and says what the defaults are.
func TestExampleConfigIsGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "example.yaml")
	code, out := runCommand(t, nil, "config", "example")
	if code != 0 {
		t.Fatalf("config example ended with %d", code)
	}
	write(t, path, []byte(out))
	c, err := (configFlags{ConfigFile: path}).load(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := defaults()
	if c.Listen != d.Listen || c.Limits != d.Limits || c.Worker != d.Worker || c.LocalBucket.Symbol != d.LocalBucket.Symbol ||
		c.LocalBucket.GrantTTL != d.LocalBucket.GrantTTL || len(c.Buckets) != 0 {
		t.Errorf("the example says %+v, the defaults are %+v", c, d)
	}
	uncommented := regexp.MustCompile(`(?m)^# (- |  )`).ReplaceAllString(strings.NewReplacer("buckets: []", "buckets:", "webhooks: []", "webhooks:", "reconstruction: {}", "reconstruction:").Replace(out), "$1")
	uncommented = strings.NewReplacer("AKIA…", "AKIA", "access_key_id: ", "access_key_id: ", "access_key_secret: …", "access_key_secret: s", "whsec_…", testSecret).Replace(uncommented)
	write(t, path, []byte(uncommented))
	c, err = (configFlags{ConfigFile: path}).load(nil)
	if err != nil || len(c.Buckets) != 2 || len(c.Webhooks) != 1 || len(c.Webhooks[0].secrets) != 1 || c.Buckets[0].Symbol != "HongKong" || c.Buckets[1].OSS.RoleARN == "" ||
		c.Reconstruction.Engine != "nodeodm" || len(c.Reconstruction.Options) != 2 {
		t.Errorf("the example's buckets, without their #, give %+v: %v", c.Buckets, err)
	}
}

// TestUsage answers nonsense with what to do.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, 0, "serve"},
		{nil, 0, "serve"},
		{[]string{"nonsense"}, exitUsage, "--help"},
		{[]string{"serve", "--nonsense"}, exitUsage, "--help"},
		{[]string{"version"}, 0, "uploadbroker "},
		{[]string{"serve", "--config", "/nowhere/at/all.yaml"}, exitUsage, "/nowhere/at/all.yaml"},
	} {
		code, out := runCommand(t, nil, c.args...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%v ended with %d:\n%s", c.args, code, out)
		}
	}
	if _, err := os.Stat("data"); err == nil {
		t.Error("a refused command made a data folder")
	}
}

// TestOperatorInTheWrongFolder is refused, instead of making an empty database.
func TestOperatorInTheWrongFolder(t *testing.T) {
	data := dataFolder(t)
	for _, args := range [][]string{{"keys", "list"}, {"migrate", "status"}, {"owners", "create", "ada@example.com"}} {
		code, out := runCommand(t, nil, append(args, "--data-dir", data)...)
		if code == 0 || !strings.Contains(out, "--data-dir") {
			t.Errorf("%v ended with %d:\n%s", args, code, out)
		}
	}
	if _, err := os.Stat(filepath.Join(data, "pg")); err == nil {
		t.Error("it made a database all the same")
	}
}

// TestAnotherSizeIsRefused: a second registration can't change what the first one
// declared of the same bytes, nor spoil its upload.
func TestAnotherSizeIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, dataFolder(t))
	var p struct{ ID string }
	s.call("POST", "/v1/projects", map[string]any{"name": "sizes"}, &p)
	bytes := photo(9, 64, 48)
	type answer struct {
		Results []struct {
			Status string
			Grant  struct {
				URL     string
				Headers map[string]string
			}
			Image   struct{ ID string }
			Problem struct{ Code string }
		}
	}
	register := func(e map[string]any) (a answer) {
		s.call("POST", "/v1/projects/"+p.ID+"/images/register", map[string]any{"images": []any{e}}, &a)
		return a
	}
	first := register(entry("a.jpg", bytes))
	wrong := entry("b.jpg", bytes)
	wrong["size"], wrong["type"] = 1, "text/plain"
	if second := register(wrong); second.Results[0].Status != "problem" || second.Results[0].Problem.Code != "invalid_size" {
		t.Errorf("another size is answered with %+v", second.Results[0])
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, first.Results[0].Grant.URL, strings.NewReader(string(bytes)))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range first.Results[0].Grant.Headers {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	var img struct {
		State   string
		Reasons []string
	}
	s.waitFor("a verdict", func() bool {
		s.call("GET", "/v1/projects/"+p.ID+"/images/"+first.Results[0].Image.ID, nil, &img)
		return img.State == "Ready" || img.State == "Invalid"
	})
	if img.State != "Ready" {
		t.Errorf("the first upload ended %s: %v", img.State, img.Reasons)
	}
	if code := s.call("DELETE", "/v1/projects/%00", nil, nil); code != http.StatusNotFound {
		t.Errorf("removing a project of a hostile id answers %d", code)
	}
}
