package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

// here is the whole product served in this process, so that a test can count rows
// and objects.
type here struct {
	*app
	t   testing.TB
	url string
	key string
}

func serveHere(t testing.TB, changes ...func(*config)) *here {
	t.Helper()
	c := defaults()
	c.DataDir = dataFolder(t)
	for _, change := range changes {
		change(&c)
	}
	if err := c.finish(nil, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a, err := openApp(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	boot, err := a.keys.Bootstrap(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.serve(ctx, l, true, func() error { return nil }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		a.close()
	})
	return &here{app: a, t: t, url: "http://" + l.Addr().String(), key: boot.Secret}
}

// holdings counts the rows of every table that a bad request might touch, and the
// objects.
func (h *here) holdings() string {
	h.t.Helper()
	var out strings.Builder
	for _, table := range []string{"owners", "projects", "keys", "images", "attempts", "grants", "watches", "verdicts", "audit", "river_job"} {
		var n int
		if err := h.db.Pool().QueryRow(context.Background(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
			h.t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %d, ", table, n)
	}
	objects := 0
	err := filepath.WalkDir(filepath.Join(h.config.DataDir, "objects"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			objects++
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	fmt.Fprintf(&out, "objects %d", objects)
	return out.String()
}

// said is what a caller is told: the status and the first code and message.
type said struct {
	status        int
	code, message string
	retryAfter    string
}

func (h *here) post(path, key, body string) said {
	h.t.Helper()
	req, err := http.NewRequest(http.MethodPost, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if path == "/graphql" {
		req.Header.Set("altitoken", key)
	} else if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	var answer struct {
		Code, Detail string
		Results      []struct {
			Status  string
			Problem struct{ Code, Detail string }
		}
		Errors json.RawMessage
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		h.t.Errorf("%s: the answer %d is no JSON: %.200q", path, res.StatusCode, text)
	}
	s := said{status: res.StatusCode, code: answer.Code, message: answer.Detail, retryAfter: res.Header.Get("Retry-After")}
	if len(answer.Results) > 0 {
		s.code, s.message = answer.Results[0].Problem.Code, answer.Results[0].Problem.Detail
		if s.code == "" {
			s.code = answer.Results[0].Status
		}
	}
	if path == "/graphql" {
		var errs []struct {
			Message    string
			Extensions struct{ Code string }
		}
		if json.Unmarshal(answer.Errors, &errs) == nil && len(errs) > 0 {
			s.code, s.message = errs[0].Extensions.Code, errs[0].Message
		}
	}
	return s
}

// asText is s as JSON has it.
func asText(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// TestBadInput sends what must be refused over REST and GraphQL: each is told
// clearly what to do, and nothing is left behind.
func TestBadInput(t *testing.T) {
	t.Parallel()
	h := serveHere(t)
	ctx := t.Context()
	owner, err := h.db.Store.OwnerByEmail(ctx, broker.BootstrapEmail)
	if err != nil {
		t.Fatal(err)
	}
	eve, err := h.keys.CreateOwner(ctx, "eve@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	keyOf := func(o broker.Owner, n broker.NewKey) (broker.Key, string) {
		t.Helper()
		k, secret, err := h.keys.Create(ctx, o, n)
		if err != nil {
			t.Fatal(err)
		}
		return k, secret
	}
	_, others := keyOf(eve, broker.NewKey{})
	_, expired := keyOf(owner, broker.NewKey{TTL: time.Nanosecond})
	_, reader := keyOf(owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}})
	_, pinned := keyOf(owner, broker.NewKey{Clouds: []broker.Cloud{broker.CloudMinIO}})
	dead, revoked := keyOf(owner, broker.NewKey{})
	if _, err := h.db.Store.RevokeKey(ctx, dead.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	by, err := h.keys.Authenticate(ctx, h.key)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.projects.Create(ctx, by, "mine", "")
	if err != nil {
		t.Fatal(err)
	}

	const sum = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
	absent := broker.NewID(time.Now())
	rest := func(pid, entry string) (string, string) {
		return "/v1/projects/" + pid + "/images/register", `{"images":[` + entry + `]}`
	}
	file := func(name, sha1, size string) string {
		return `{"name":` + name + `,"sha1":"` + sha1 + `","size":` + size + `}`
	}
	gql := func(mutation, pid, bucket, name, sha1 string) string {
		query := fmt.Sprintf(`mutation($n:String!){%s(pid:%q,bucket:%s,filename:$n,checksum:%q){url image{id}}}`, mutation, pid, bucket, sha1)
		return `{"query":` + asText(query) + `,"variables":{"n":` + name + `}}`
	}
	s3 := func(pid, name, sha1 string) string { return gql("uploadImageS3", pid, "Local", name, sha1) }
	deep := "{project(id:\"" + p.ID + "\")" + strings.Repeat("{a", 200) + strings.Repeat("}", 201)
	var aliases strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&aliases, "a%d:createProject(name:\"x\"){id} ", i)
	}
	huge := strings.Repeat(" ", 9<<20)

	for _, c := range []struct {
		name        string
		key         string // "-": none
		entry       string // of REST; "": not tried there
		pid         string
		restStatus  int
		restCode    string
		graphql     string
		graphStatus int // 0: 200
		graphCode   string
	}{
		{"unknown project", h.key, file(`"a.jpg"`, sum, "1"), absent, 404, "not_found", s3(absent, `"a.jpg"`, sum), 0, "not_found"},
		{"no project id at all", h.key, file(`"a.jpg"`, sum, "1"), "x", 404, "not_found", s3("x", `"a.jpg"`, sum), 0, "not_found"},
		{"another owner's", others, file(`"a.jpg"`, sum, "1"), p.ID, 404, "not_found", s3(p.ID, `"a.jpg"`, sum), 0, "not_found"},
		{"short sha1", h.key, file(`"a.jpg"`, "abc", "1"), p.ID, 200, "invalid_sha1", s3(p.ID, `"a.jpg"`, "abc"), 0, "invalid_sha1"},
		{"no hex in sha1", h.key, file(`"a.jpg"`, strings.Repeat("z", 40), "1"), p.ID, 200, "invalid_sha1", s3(p.ID, `"a.jpg"`, strings.Repeat("z", 40)), 0, "invalid_sha1"},
		{"negative size", h.key, file(`"a.jpg"`, sum, "-1"), p.ID, 200, "invalid_size", "", 0, ""},
		{"huge size", h.key, file(`"a.jpg"`, sum, "9000000000000000000"), p.ID, 200, "too_large", "", 0, ""},
		{"size beyond numbers", h.key, file(`"a.jpg"`, sum, "1e30"), p.ID, 422, "invalid", "", 0, ""},
		{"empty name", h.key, file(`""`, sum, "1"), p.ID, 200, "invalid_name", s3(p.ID, `""`, sum), 0, "invalid_name"},
		{"long name", h.key, file(`"`+strings.Repeat("a", 10_000)+`"`, sum, "1"), p.ID, 200, "invalid_name", s3(p.ID, `"`+strings.Repeat("a", 10_000)+`"`, sum), 0, "invalid_name"},
		{"traversal", h.key, file(`"../../etc/passwd"`, sum, "1"), p.ID, 200, "invalid_name", s3(p.ID, `"../../etc/passwd"`, sum), 0, "invalid_name"},
		{"backslash", h.key, file(`"a\\b"`, sum, "1"), p.ID, 200, "invalid_name", s3(p.ID, `"a\\b"`, sum), 0, "invalid_name"},
		{"control character", h.key, file(`"a\u0000b"`, sum, "1"), p.ID, 200, "invalid_name", s3(p.ID, `"a\u0000b"`, sum), 0, "invalid_name"},
		{"no UTF-8", h.key, file("\"a\xff.jpg\"", sum, "1"), p.ID, 200, "invalid_name", s3(p.ID, "\"a\xff.jpg\"", sum), 400, "invalid"},
		{"half a surrogate", h.key, file(`"a\ud800.jpg"`, sum, "1"), p.ID, 200, "invalid_name", s3(p.ID, `"a\ud800.jpg"`, sum), 400, "invalid"},
		{"unknown bucket", h.key, file(`"a.jpg"`, sum, "1") + `],"bucket":"Nowhere","x":[`, p.ID, 0, "", gql("uploadImageS3", p.ID, "Nowhere", `"a.jpg"`, sum), 0, "invalid"},
		{"bucket of another cloud", "", "", "", 0, "", gql("uploadImageMinio", p.ID, "Local", `"a.jpg"`, sum), 0, "invalid"},
		{"no bucket of that cloud", "", "", "", 0, "", gql("uploadImageMinio", p.ID, "NONE", `"a.jpg"`, sum), 0, "no_bucket"},
		{"key pinned to another cloud", pinned, file(`"a.jpg"`, sum, "1"), p.ID, 409, "no_bucket", s3(p.ID, `"a.jpg"`, sum), 0, "not_allowed"},
		{"no key", "-", file(`"a.jpg"`, sum, "1"), p.ID, 401, "unauthenticated", s3(p.ID, `"a.jpg"`, sum), 0, "unauthenticated"},
		{"unknown key", "ub_nobody", file(`"a.jpg"`, sum, "1"), p.ID, 401, "unauthenticated", s3(p.ID, `"a.jpg"`, sum), 0, "unauthenticated"},
		{"expired key", expired, file(`"a.jpg"`, sum, "1"), p.ID, 401, "unauthenticated", s3(p.ID, `"a.jpg"`, sum), 0, "unauthenticated"},
		{"revoked key", revoked, file(`"a.jpg"`, sum, "1"), p.ID, 401, "unauthenticated", s3(p.ID, `"a.jpg"`, sum), 0, "unauthenticated"},
		{"wrong scope", reader, file(`"a.jpg"`, sum, "1"), p.ID, 403, "not_allowed", s3(p.ID, `"a.jpg"`, sum), 0, "not_allowed"},
		{"oversized body", h.key, file(`"a.jpg"`, sum, "1") + huge, p.ID, 413, "too_large", s3(p.ID, `"a.jpg"`, sum) + huge, 413, "too_large"},
		{"malformed JSON", h.key, `{"name":`, p.ID, 400, "invalid", `{"query":`, 400, "invalid"},
		{"200 deep", h.key, "", "", 0, "", `{"query":` + asText(deep) + `}`, 0, "too_large"},
		{"2,000 aliases", h.key, "", "", 0, "", `{"query":` + asText("mutation{"+aliases.String()+"}") + `}`, 0, "invalid"},
		{"no query", h.key, "", "", 0, "", `{}`, 400, "invalid"},
		{"a file URL", h.key, "", "", 0, "", `{"query":` + asText(`mutation{uploadImageURL(pid:"`+p.ID+`",url:"file:///etc/passwd"){id}}`) + `}`, 0, "invalid"},
		{"a loopback URL", h.key, "", "", 0, "", `{"query":` + asText(`mutation{uploadImageURL(pid:"`+p.ID+`",url:"http://127.0.0.1/a.jpg"){id}}`) + `}`, 0, "not_allowed"},
		{"OSS", h.key, "", "", 0, "", `{"query":` + asText(`mutation{uploadImageOSS(pid:"`+p.ID+`",bucket:NONE,filename:"a.jpg"){image{id}}}`) + `}`, 0, "no_bucket"},
	} {
		key := strings.TrimPrefix(c.key, "-")
		if c.key == "" {
			key = h.key
		}
		before := h.holdings()
		check := func(face string, got said, status int, code string) {
			t.Helper()
			if got.status != status || got.code != code || got.message == "" && code != "" {
				t.Errorf("%s over %s is answered %d %s %q, want %d %s", c.name, face, got.status, got.code, got.message, status, code)
			}
			if after := h.holdings(); after != before {
				t.Errorf("%s over %s changed\n %s to\n %s", c.name, face, before, after)
			}
		}
		if c.entry != "" && c.restStatus != 0 {
			path, body := rest(c.pid, c.entry)
			check("REST", h.post(path, key, body), c.restStatus, c.restCode)
		}
		if c.graphql != "" {
			status := c.graphStatus
			if status == 0 {
				status = 200
			}
			check("GraphQL", h.post("/graphql", key, c.graphql), status, c.graphCode)
		}
	}

	before := h.holdings()
	path, _ := rest(p.ID, "")
	if got := h.post(path, h.key, `{"bucket":"Nowhere","images":[`+file(`"a.jpg"`, sum, "1")+`]}`); got.status != 404 || got.code != "unknown_bucket" {
		t.Errorf("an unknown bucket over REST: %+v", got)
	}
	var many []string
	for i := range 1001 {
		many = append(many, file(`"a.jpg"`, fmt.Sprintf("%040x", i+1), "1"))
	}
	if got := h.post(path, h.key, `{"images":[`+strings.Join(many, ",")+`]}`); got.status != 413 || got.code != "batch_too_large" {
		t.Errorf("a batch over the limit: %+v", got)
	}
	if after := h.holdings(); after != before {
		t.Errorf("refused batches changed\n %s to\n %s", before, after)
	}
}

// TestOneFileOnce: one sha1 twice in a batch, and clients of both APIs at the same
// moment, make one image.
func TestOneFileOnce(t *testing.T) {
	t.Parallel()
	h := serveHere(t)
	by, err := h.keys.Authenticate(t.Context(), h.key)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.projects.Create(t.Context(), by, "mine", "")
	if err != nil {
		t.Fatal(err)
	}
	const sum = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
	entry := `{"name":"a.jpg","sha1":"` + sum + `","size":1}`
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			if i%2 == 0 {
				if got := h.post("/v1/projects/"+p.ID+"/images/register", h.key, `{"images":[`+entry+`,`+entry+`]}`); got.status != 200 || got.code != "granted" {
					t.Errorf("REST: %+v", got)
				}
				return
			}
			query := fmt.Sprintf(`mutation{uploadImageS3(pid:%q,bucket:Local,filename:"b.jpg",checksum:%q){url image{id}}}`, p.ID, strings.ToUpper(sum))
			if got := h.post("/graphql", h.key, `{"query":`+asText(query)+`}`); got.status != 200 || got.code != "" {
				t.Errorf("GraphQL: %+v", got)
			}
		})
	}
	wg.Wait()
	counts, err := h.db.Store.CountImages(t.Context(), p.ID)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, n := range counts {
		total += n
	}
	if total != 1 {
		t.Errorf("%d images: %v", total, counts)
	}
}

// TestDatabaseDown: while Postgres is away callers are told to come again, by both
// APIs; when it is back, so is the server, without a restart.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	dir := dataFolder(t)
	startPostgres := func() *privatepg.Server {
		t.Helper()
		pg, err := privatepg.Start(t.Context(), privatepg.Options{DataDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return pg
	}
	pg := startPostgres()
	stopped := false
	defer func() {
		if !stopped {
			_ = pg.Stop(context.Background())
		}
	}()
	s := start(t, dataFolder(t), "--database-url", pg.DSN())
	pid := s.newProject("mine")
	h := &here{t: t, url: s.url, key: s.key}
	register := func() said {
		return h.post("/v1/projects/"+pid+"/images/register", h.key, `{"images":[{"name":"a.jpg","sha1":"da39a3ee5e6b4b0d3255bfef95601890afd80709","size":1}]}`)
	}
	ask := func() said { return h.post("/graphql", h.key, `{"query":`+asText(`{project(id:"`+pid+`"){id}}`)+`}`) }
	if got := register(); got.code != "granted" {
		t.Fatalf("at the start: %+v", got)
	}

	stopped = true
	if err := pg.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for face, call := range map[string]func() said{"REST": register, "GraphQL": ask} {
		if got := call(); got.status != 503 || got.code != "unavailable" || got.retryAfter == "" || got.message == "" {
			t.Errorf("without a database over %s: %+v", face, got)
		}
	}

	pg = startPostgres()
	stopped = false
	s.waitFor("the database to be back", func() bool { return register().code == "granted" })
	if got := ask(); got.status != 200 || got.code != "" {
		t.Errorf("then over GraphQL: %+v", got)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, s.out)
	}
}

// TestBucketDown: a bucket that is away costs no verdict; when it is back, what was
// uploaded is judged.
func TestBucketDown(t *testing.T) {
	t.Parallel()
	cloud := startS3(t, "east")
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, []byte("buckets:\n"+cloud.config("East", "east", "")))
	s := start(t, dataFolder(t), "--config", path)
	pid := s.newProject("down")
	good, late := photo(1, 320, 240), photo(2, 320, 240)
	r := s.register(pid, "", nil, good, late)
	if got := r[0].put(t, good); got != 200 {
		t.Fatalf("the put answers %d", got)
	}
	s.waitState(pid, r[0].Image.ID, "Ready")

	cloud.kill()
	var img struct{ State string }
	s.call("POST", "/v1/projects/"+pid+"/images/done", map[string]any{"ids": []string{r[1].Image.ID}}, nil)
	s.waitFor("the fault to be logged", func() bool { return strings.Contains(s.out.String(), "could not look") })
	if status := s.call("GET", "/v1/projects/"+pid+"/images/"+r[1].Image.ID, nil, &img); status != 200 || img.State != "Uploading" {
		t.Errorf("while the bucket is down: %d %+v", status, img)
	}
	if again := s.register(pid, "", nil, late)[0]; again.Status != "granted" { // signing needs no bucket
		t.Errorf("registered while the bucket is down: %+v", again)
	}
	cloud.run()
	if got := r[1].put(t, late); got != 200 {
		t.Errorf("the put after its return answers %d", got)
	}
	s.waitState(pid, r[1].Image.ID, "Ready")
	if bytes.Contains([]byte(s.out.String()), []byte("X-Amz-Signature")) {
		t.Error("a signed URL is in the log")
	}
}
