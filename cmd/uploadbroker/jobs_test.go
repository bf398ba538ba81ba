package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/web"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// poison makes an image of the owner Invalid(unchecked), its job given up with a
// cause, as after ten checks that a bucket did not allow.
func poison(t testing.TB, store *postgres.Store, owner broker.Owner, projectID, cause string) (imageID string, jobID int64) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	by := broker.Caller{Owner: owner, Key: broker.Key{ID: broker.NewID(now)}}
	var digest broker.SHA1
	copy(digest[:], broker.NewID(now))
	images, err := store.Register(ctx, broker.RegisterBatch{
		ProjectID: projectID, Bucket: "Local", Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(time.Hour), By: by,
		Images: []broker.NewImage{{ID: broker.NewID(now), Name: "a.jpg", SHA1: digest, SizeBytes: 3, Type: "image/jpeg", Ext: "jpg"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	img := images[0]
	if _, err := store.See(ctx, projectID, "Local", []broker.Seen{{
		Bucket: "Local", ProjectID: projectID, Filename: img.Filename, ETag: "e", SizeBytes: 3,
	}}, now); err != nil {
		t.Fatal(err)
	}
	moved, err := store.Unchecked(ctx, postgres.Judging{
		ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: 1, ETag: "e"}, Holder: "test",
	}, "it could not be checked 10 times", now)
	if err != nil || !moved {
		t.Fatal(moved, err)
	}
	text, err := json.Marshal(map[string]any{"at": now.UTC(), "attempt": 10, "error": cause, "trace": ""})
	if err != nil {
		t.Fatal(err)
	}
	// As River leaves a job that its worker cancels.
	if err := store.Pool().QueryRow(ctx, `UPDATE river_job SET state = 'cancelled', attempt = 10, attempted_at = now(), finalized_at = now(),
		errors = ARRAY[$2::jsonb] WHERE args->>'image_id' = $1 RETURNING id`, img.ID, string(text)).Scan(&jobID); err != nil {
		t.Fatal(err)
	}
	return img.ID, jobID
}

// aProject makes one of the first start's owner.
func aProject(t testing.TB, store *postgres.Store) (broker.Owner, broker.Project) {
	t.Helper()
	owner, err := store.OwnerByEmail(t.Context(), broker.BootstrapEmail)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	p := broker.Project{ID: broker.NewID(now), OwnerID: owner.ID, Name: "p", Kind: broker.KindRecon, CreatedAt: now}
	if err := store.CreateProject(t.Context(), p, broker.Caller{Owner: owner}); err != nil {
		t.Fatal(err)
	}
	return owner, p
}

// TestJobsCommands lists what could not be checked with its cause, and retries it.
func TestJobsCommands(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	start(t, data).stop()
	// inside works on the database while no server does.
	inside := func(f func(store *postgres.Store)) {
		t.Helper()
		c := defaults()
		c.DataDir = mustAbs(data)
		db, err := joinDatabase(t.Context(), c, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		f(db.Store)
	}
	var images [4]string
	var jobs [4]int64
	inside(func(store *postgres.Store) {
		owner, p := aProject(t, store)
		for i := range images {
			images[i], jobs[i] = poison(t, store, owner, p.ID, "denied: the bucket\nrefuses https://s3.example/k?X-Amz-Signature=abc")
		}
		if _, err := store.Pool().Exec(t.Context(), `DELETE FROM river_job WHERE id = $1`, jobs[1]); err != nil {
			t.Fatal(err)
		}
	})
	at := func(args ...string) (int, string) {
		return runCommand(t, nil, append(append([]string{"jobs"}, args...), "--data-dir", data)...)
	}
	code, out := at("list")
	if code != 0 || !containsLine(out, fmt.Sprint(jobs[0]), "validate", "failed", "10 of 10", images[0], "denied: the bucket refuses https://s3.example/…") ||
		!containsLine(out, "-", "validate", "failed", images[1], "it could not be checked 10 times") || strings.Contains(out, "abc") {
		t.Errorf("jobs list ended with %d:\n%s", code, out)
	}

	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"retry"}, exitUsage, "--unchecked"},
		{[]string{"retry", "nonsense"}, exitUsage, "neither a job's id nor an image's"},
		{[]string{"retry", images[0], "0"}, exitUsage, "neither"},
		{[]string{"retry", "-5"}, exitUsage, ""},
		{[]string{"retry", "987654321"}, exitNotReady, "no job 987654321"},
		{[]string{"retry", broker.NewID(time.Now())}, exitNotReady, "no image"},
	} {
		if code, out := at(c.args...); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%v ended with %d:\n%s", c.args, code, out)
		}
	}
	if _, out := at("list"); strings.Count(out, "failed") != 4 {
		t.Errorf("refused commands did something:\n%s", out)
	}

	// An image, a job, the image of that job again, and one that there is not.
	code, out = at("retry", strings.ToLower(images[1]), fmt.Sprint(jobs[0]), "987654321")
	if code != exitNotReady || !strings.Contains(out, "check of image "+images[1]+" is due") || !strings.Contains(out, fmt.Sprintf("Job %d is due", jobs[0])) || !strings.Contains(out, "1 of 3") {
		t.Errorf("jobs retry ended with %d:\n%s", code, out)
	}
	if code, out := at("list"); code != 0 || !containsLine(out, "waiting", images[0], "0 of 10", "now") || !containsLine(out, "waiting", images[1]) || strings.Count(out, "failed") != 2 {
		t.Errorf("jobs list ended with %d:\n%s", code, out)
	}
	if code, out := at("retry", "--unchecked"); code != 0 || !strings.Contains(out, "2 images") {
		t.Errorf("jobs retry --unchecked ended with %d:\n%s", code, out)
	}
	if _, out := at("list"); strings.Contains(out, "failed") || strings.Count(out, "waiting") != 4 {
		t.Errorf("afterwards:\n%s", out)
	}
	inside(func(store *postgres.Store) {
		var n int
		if err := store.Pool().QueryRow(t.Context(), `SELECT count(*) FROM audit WHERE action = 'image.recheck' AND detail @> '{"operator": true}'`).Scan(&n); err != nil || n != 4 {
			t.Errorf("%d rechecks are audited, %v", n, err)
		}
	})
}

// TestJobsRetryBesideServe: what could not be checked is Ready once the bucket
// gives it back and an operator says so.
func TestJobsRetryBesideServe(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	s := start(t, data)
	if code, out := s.client("upload", photos(t, 2), "--new", "demo"); code != 0 {
		t.Fatalf("upload ended with %d:\n%s", code, out)
	}
	var list struct {
		Images []struct{ ID, State string }
	}
	read := func() {
		t.Helper()
		s.call("GET", "/v1/projects/"+s.project("demo")+"/images", nil, &list)
	}
	read()
	if status := s.call("GET", "/admin/jobs/", nil, nil); status != http.StatusOK {
		t.Errorf("River's page answers an admin's key with %d", status)
	}
	c := defaults()
	c.DataDir = mustAbs(data)
	db, err := joinDatabase(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, sql := range []string{ // as if the bucket had never given them back
		`UPDATE images SET state = 'Invalid', reasons = '{unchecked: no}', proven_sha1 = NULL, proven_size = NULL, crc32 = NULL, facts = '{}'`,
		`UPDATE river_job SET state = 'cancelled', attempt = 10, finalized_at = now() WHERE kind = 'validate'`,
		`DELETE FROM river_job WHERE args->>'image_id' = '` + list.Images[1].ID + `'`, // River forgets after a while
	} {
		if _, err := db.Pool().Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := runCommand(t, nil, "jobs", "retry", list.Images[0].ID, list.Images[1].ID, "--data-dir", data); code != 0 {
		t.Fatalf("jobs retry ended with %d:\n%s", code, out)
	}
	s.waitFor("both to be Ready again", func() bool {
		read()
		return list.Images[0].State == "Ready" && list.Images[1].State == "Ready"
	})
	for _, img := range list.Images {
		var trace struct {
			Story []struct {
				What string
				Who  struct{ Kind string }
			}
		}
		s.call("GET", "/v1/images/"+img.ID+"/trace", nil, &trace)
		told := map[string]int{}
		for _, h := range trace.Story {
			told[h.What+" "+h.Who.Kind]++
		}
		if told["image.register owner"] != 1 || told["grant owner"] != 1 || told["image.seen program"] != 1 || told["image.judge program"] != 2 ||
			told["verdict "] != 2 || told["image.recheck operator"] != 1 {
			t.Errorf("the story: %v", told)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 1500 * time.Millisecond: "1s", 61 * time.Second: "1m01s", 59*time.Minute + 59*time.Second: "59m59s",
		time.Hour: "1h00m", 23*time.Hour + 59*time.Minute: "23h59m", 24 * time.Hour: "1d00h", 50 * time.Hour: "2d02h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %s, want %s", d, got, want)
		}
	}
}

// jobsSite is the page of jobs with the sign-in page beside it.
type jobsSite struct {
	*httptest.Server
	store *postgres.Store
	keys  *broker.Keys
	owner broker.Owner
}

func openJobsSite(t *testing.T) *jobsSite {
	t.Helper()
	c := defaults()
	c.DataDir = dataFolder(t)
	log := slog.New(slog.DiscardHandler)
	db, err := openDatabase(t.Context(), c, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &jobsSite{store: db.Store, keys: &broker.Keys{Store: db.Store, Now: time.Now}}
	if s.owner, err = s.keys.CreateOwner(t.Context(), broker.BootstrapEmail, ""); err != nil {
		t.Fatal(err)
	}
	o := api.Options{Keys: s.keys, Log: log, CORSOrigins: []string{"*"}, Ready: db.Ping}
	e := api.New(o)
	web.Mount(e, web.Options{Keys: s.keys, Projects: &broker.Projects{Store: db.Store, Now: time.Now}, Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	if err := mountJobsPage(ctx, e, db.Store, s.keys, log); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(nil)
	s.Config = api.Server(e, o)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *jobsSite) key(t *testing.T, scopes ...broker.Scope) string {
	t.Helper()
	_, secret, err := s.keys.Create(t.Context(), s.owner, broker.NewKey{Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// do sends a request, follows no redirect, and keeps cookies in the jar.
func (s *jobsSite) do(t *testing.T, jar http.CookieJar, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// TestJobsPageIsForAdmins: by key, by session, and for nobody else.
func TestJobsPageIsForAdmins(t *testing.T) {
	t.Parallel()
	s := openJobsSite(t)
	admin, reader := s.key(t, broker.ScopeAdmin), s.key(t, broker.ScopeRead, broker.ScopeUpload, broker.ScopeManage)
	signIn := func(key, next string) (http.CookieJar, string) {
		t.Helper()
		jar, _ := cookiejar.New(nil)
		resp, body := s.do(t, jar, http.MethodPost, "/sign-in", url.Values{"key": {key}, "next": {next}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		if resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("sign-in: %d %s", resp.StatusCode, body)
		}
		return jar, resp.Header.Get("Location")
	}
	adminJar, next := signIn(admin, "/admin/jobs/jobs?state=cancelled")
	if next != "/admin/jobs/jobs?state=cancelled" {
		t.Errorf("signed in, the operator is sent to %s", next)
	}
	readerJar, _ := signIn(reader, "")
	html := []string{"Accept", "text/html,*/*;q=0.8"}
	for _, path := range []string{"/admin/jobs/", "/admin/jobs/jobs", "/admin/jobs/jobs/17", "/admin/jobs/api/states", "/admin/jobs/api/queues?limit=10", "/admin/jobs/favicon.ico"} {
		for _, c := range []struct {
			name    string
			jar     http.CookieJar
			headers []string
			status  int
		}{
			{"nobody's browser", nil, html, http.StatusSeeOther},
			{"nobody's program", nil, nil, http.StatusUnauthorized},
			{"nobody's page", nil, append([]string{"Sec-Fetch-Mode", "cors"}, html...), http.StatusUnauthorized},
			{"a bad key", nil, append([]string{"Authorization", "Bearer nonsense"}, html...), http.StatusUnauthorized},
			{"a key without admin", nil, []string{"Authorization", "Bearer " + reader}, http.StatusForbidden},
			{"a session without admin", readerJar, html, http.StatusForbidden},
			{"a key without admin beside an admin's session", adminJar, []string{"Authorization", "Bearer " + reader}, http.StatusForbidden},
			{"an admin's key", nil, []string{"Authorization", "Bearer " + admin}, http.StatusOK},
			{"an admin's session", adminJar, html, http.StatusOK},
		} {
			resp, body := s.do(t, c.jar, http.MethodGet, path, "", c.headers...)
			if resp.StatusCode != c.status {
				t.Errorf("%s: %s: %d %.200s", path, c.name, resp.StatusCode, body)
			}
			if to := resp.Header.Get("Location"); (to != "") != (c.status == http.StatusSeeOther) || to != "" && to != "/sign-in?next="+url.QueryEscape(path) {
				t.Errorf("%s: %s: sent to %q", path, c.name, to)
			}
			if csp := resp.Header.Get("Content-Security-Policy"); c.status == http.StatusOK && (!strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script-src 'self' 'unsafe")) {
				t.Errorf("%s: policy %q", path, csp)
			}
		}
	}
	if resp, _ := s.do(t, adminJar, http.MethodGet, "/admin/jobs", ""); resp.StatusCode != http.StatusMovedPermanently || resp.Header.Get("Location") != "/admin/jobs/" {
		t.Errorf("without its slash: %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	// All that the page loads is its own.
	_, page := s.do(t, adminJar, http.MethodGet, "/admin/jobs/", "", html...)
	assets := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(assets) < 4 {
		t.Fatalf("the page has no assets:\n%s", page)
	}
	for _, a := range assets {
		if resp, body := s.do(t, adminJar, http.MethodGet, a[1], ""); !strings.HasPrefix(a[1], "/admin/jobs/") || resp.StatusCode != http.StatusOK || len(body) == 0 {
			t.Errorf("%s: %d", a[1], resp.StatusCode)
		}
	}
}

// TestJobsPageRetries what was given up, in a way that does something, and only
// for its own page.
func TestJobsPageRetries(t *testing.T) {
	t.Parallel()
	s := openJobsSite(t)
	admin := s.key(t, broker.AllScopes()...)
	jar, _ := cookiejar.New(nil)
	if resp, _ := s.do(t, jar, http.MethodPost, "/sign-in", "key="+admin, "Content-Type", "application/x-www-form-urlencoded"); resp.StatusCode != http.StatusSeeOther {
		t.Fatal(resp.Status)
	}
	_, p := aProject(t, s.store)
	image, job := poison(t, s.store, s.owner, p.ID, "denied: no")
	state := func() broker.State {
		t.Helper()
		images, err := s.store.ByID(t.Context(), p.ID, []string{image})
		if err != nil {
			t.Fatal(err)
		}
		return images[0].State
	}
	retry := fmt.Sprintf(`{"ids":["%d"]}`, job)
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
	} {
		for _, path := range []string{"jobs/retry", "jobs/delete", "jobs/cancel"} {
			resp, body := s.do(t, jar, http.MethodPost, "/admin/jobs/api/"+path, retry, append(headers, "Content-Type", "text/plain")...)
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s with %v: %d %s", path, headers, resp.StatusCode, body)
			}
		}
		if resp, _ := s.do(t, jar, http.MethodPut, "/admin/jobs/api/queues/validate/pause", "", headers...); resp.StatusCode != http.StatusForbidden {
			t.Errorf("pause with %v: %d", headers, resp.StatusCode)
		}
	}
	if got := state(); got != broker.StateInvalid {
		t.Fatalf("another site's request made it %s", got)
	}
	own := []string{"Sec-Fetch-Site", "same-origin", "Content-Type", "application/json"}
	for body, status := range map[string]int{
		"": 400, "{": 400, `{"ids":[]}`: 400, `{"ids":["x"]}`: 400, `{"ids":["1.5"]}`: 400, `{"ids":["987654321"]}`: 404,
	} {
		if resp, text := s.do(t, jar, http.MethodPost, "/admin/jobs/api/jobs/retry", body, own...); resp.StatusCode != status || !strings.Contains(text, `"message":`) {
			t.Errorf("%q: %d %s", body, resp.StatusCode, text)
		}
	}
	resp, body := s.do(t, jar, http.MethodPost, "/admin/jobs/api/jobs/retry", retry, own...)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"status":"ok"`) || state() != broker.StateUploaded {
		t.Errorf("retried: %d %s, the image is %s", resp.StatusCode, body, state())
	}
	lines, err := s.store.Audit(t.Context(), p.ID, broker.AuditQuery{Action: "image.recheck", Limit: 2})
	if err != nil || len(lines) != 1 || lines[0].Who.Kind != broker.ActorOwner || lines[0].Who.Email != broker.BootstrapEmail || lines[0].Who.KeyID == "" {
		t.Errorf("the audit tells %+v, %v", lines, err)
	}
	// Now it is due; to say so again does no harm.
	if resp, body = s.do(t, jar, http.MethodPost, "/admin/jobs/api/jobs/retry", retry, own...); resp.StatusCode != http.StatusOK {
		t.Errorf("again: %d %s", resp.StatusCode, body)
	}
	// River's own endpoints work through the mount.
	resp, body = s.do(t, jar, http.MethodGet, "/admin/jobs/api/jobs?state=available", "", "Accept", "application/json")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, image) || !strings.Contains(body, fmt.Sprintf(`"id":%d,`, job)) {
		t.Errorf("the list: %d %s", resp.StatusCode, body)
	}
	if resp, body = s.do(t, jar, http.MethodPost, "/admin/jobs/api/jobs/delete", retry, own...); resp.StatusCode != http.StatusOK {
		t.Errorf("delete: %d %s", resp.StatusCode, body)
	}
}
