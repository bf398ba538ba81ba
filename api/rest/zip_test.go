package rest

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// bring puts an image's bytes into the bucket and makes it Ready.
func (f *fixture) bring(t *testing.T, img broker.Image, content string, reasons ...broker.Reason) {
	t.Helper()
	obj, err := f.bucket.Put(t.Context(), img.Key(), strings.NewReader(content), storage.PutOptions{SizeBytes: int64(len(content))})
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.store.See(t.Context(), img.ProjectID, nearest, []broker.Seen{{
		Bucket: nearest, ProjectID: img.ProjectID, Filename: img.Filename, ETag: obj.ETag, SizeBytes: obj.SizeBytes,
	}}, time.Now())
	if err != nil || n != 1 {
		t.Fatalf("saw %d objects: %v", n, err)
	}
	moved, err := f.store.Judge(t.Context(), postgres.Judging{
		ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: img.Attempt, ETag: obj.ETag}, Holder: "test",
	}, broker.Verdict{
		Reasons: reasons, SHA1: img.SHA1, CRC32: crc32.ChecksumIEEE([]byte(content)), Size: int64(len(content)),
		Facts: broker.Facts{Type: "image/jpeg", Proof: broker.ProofFull},
	}, time.Now())
	if err != nil || !moved {
		t.Fatalf("judged: %t, %v", moved, err)
	}
}

// readyImage is a Ready image of a name and content.
func (f *fixture) readyImage(t *testing.T, pid, name, content string) broker.Image {
	t.Helper()
	rs, err := f.images.Register(t.Context(), f.by, pid, broker.Target{}, []broker.Entry{{
		Name: name, SHA1: digest(content), SizeBytes: int64(len(content)),
	}})
	if err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	f.bring(t, rs[0].Image, content)
	return rs[0].Image
}

// unpack reads a zip's files.
func unpack(t *testing.T, b []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, file := range z.File {
		r, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%s: %v", file.Name, err)
		}
		files[file.Name] = string(text)
	}
	return files
}

func wantFiles(t *testing.T, got map[string]string, want ...string) {
	t.Helper()
	if len(got) != len(want)/2 {
		t.Errorf("%d files in %q, want %d", len(got), got, len(want)/2)
	}
	for i := 0; i < len(want); i += 2 {
		if got[want[i]] != want[i+1] {
			t.Errorf("%s holds %q, want %q", want[i], got[want[i]], want[i+1])
		}
	}
}

func TestProjectZip(t *testing.T) {
	f := open(t)
	p, err := f.projects.Create(t.Context(), f.by, `Nord "Wänd" 50% 1/2`, broker.KindRecon)
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/projects/" + p.ID + "/zip"
	if a := f.call(t, f.secret, http.MethodGet, path, nil); a.status != http.StatusConflict || a.problem(t).Code != broker.CodeNoReadyImage {
		t.Fatalf("nothing is Ready: %d %s", a.status, a.body)
	}
	f.readyImage(t, p.ID, "100MEDIA/Ä.JPG", "one")
	f.readyImage(t, p.ID, "100MEDIA/ä.jpg", "two")
	f.newImage(t, p.ID, "not there")

	whole := f.call(t, f.secret, http.MethodGet, path, nil)
	if whole.status != http.StatusOK {
		t.Fatalf("%d %s", whole.status, whole.body)
	}
	wantFiles(t, unpack(t, whole.body), "100MEDIA/Ä.JPG", "one", "100MEDIA/ä (2).jpg", "two")
	for name, want := range map[string]string{
		"Content-Type": "application/zip", "Accept-Ranges": "bytes", "Cache-Control": "private, no-store",
	} {
		if got := whole.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	kind, params, err := mime.ParseMediaType(whole.header.Get("Content-Disposition"))
	if err != nil || kind != "attachment" || params["filename"] != `Nord _Wänd_ 50% 1_2.zip` {
		t.Errorf("Content-Disposition: %q, %v", whole.header.Get("Content-Disposition"), err)
	}
	etag := whole.header.Get("ETag")
	if len(etag) < 10 || etag[0] != '"' {
		t.Errorf("ETag %s is not strong", etag)
	}

	head := f.call(t, f.secret, http.MethodHead, path, nil)
	if head.status != http.StatusOK || head.header.Get("Content-Length") != whole.header.Get("Content-Length") || head.header.Get("ETag") != etag {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	if part := f.call(t, f.secret, http.MethodHead, path, nil, "Range", "bytes=5-9"); part.status != http.StatusOK || part.header.Get("Content-Length") != whole.header.Get("Content-Length") {
		t.Errorf("HEAD with a range: %d %v", part.status, part.header)
	}
	if other := f.call(t, f.secret, http.MethodGet, path, nil, "If-Match", `"other"`); other.status != http.StatusPreconditionFailed || other.problem(t).Detail == "" {
		t.Errorf("If-Match of another: %d %s", other.status, other.body)
	}
	for _, c := range []struct {
		name    string
		headers []string
		status  int
		want    []byte // nil: not looked at
	}{
		{"a range", []string{"Range", "bytes=5-20"}, http.StatusPartialContent, whole.body[5:21]},
		{"the end", []string{"Range", "bytes=-22"}, http.StatusPartialContent, whole.body[len(whole.body)-22:]},
		{"to the end", []string{"Range", "bytes=40-"}, http.StatusPartialContent, whole.body[40:]},
		{"If-Range that fits", []string{"Range", "bytes=40-", "If-Range", etag}, http.StatusPartialContent, whole.body[40:]},
		{"If-Range of another", []string{"Range", "bytes=40-", "If-Range", `"other"`}, http.StatusOK, whole.body},
		{"If-Range that is weak", []string{"Range", "bytes=40-", "If-Range", "W/" + etag}, http.StatusOK, whole.body},
		{"If-Range of a date", []string{"Range", "bytes=40-", "If-Range", time.Now().UTC().Format(http.TimeFormat)}, http.StatusOK, whole.body},
		{"nonsense", []string{"Range", "bytes=x"}, http.StatusRequestedRangeNotSatisfiable, nil},
		{"a unit that nobody knows", []string{"Range", "items=0-1"}, http.StatusOK, whole.body},
		{"behind the end", []string{"Range", "bytes=999999-"}, http.StatusRequestedRangeNotSatisfiable, nil},
		{"the same", []string{"If-None-Match", etag}, http.StatusNotModified, []byte{}},
		{"another", []string{"If-Match", `"other"`}, http.StatusPreconditionFailed, nil},
	} {
		a := f.call(t, f.secret, http.MethodGet, path, nil, c.headers...)
		if a.status != c.status || c.want != nil && !bytes.Equal(a.body, c.want) {
			t.Errorf("%s: %d with %d bytes, want %d with %d", c.name, a.status, len(a.body), c.status, len(c.want))
		}
		if a.status == http.StatusRequestedRangeNotSatisfiable {
			if p := a.problem(t); p.Code != broker.CodeInvalid || !strings.HasPrefix(a.header.Get("Content-Range"), "bytes */") {
				t.Errorf("%s: %s %v", c.name, a.body, a.header)
			}
		}
	}
	several := f.call(t, f.secret, http.MethodGet, path, nil, "Range", "bytes=0-3,30-35")
	if kind, _, _ := mime.ParseMediaType(several.header.Get("Content-Type")); several.status != http.StatusPartialContent ||
		kind != "multipart/byteranges" || !bytes.Contains(several.body, whole.body[30:36]) {
		t.Errorf("two ranges: %d %v", several.status, several.header)
	}

	f.readyImage(t, p.ID, "c.jpg", "three")
	a := f.call(t, f.secret, http.MethodGet, path, nil, "Range", "bytes=40-", "If-Range", etag)
	if a.status != http.StatusOK || a.header.Get("ETag") == etag {
		t.Errorf("with another image Ready: %d, ETag %s", a.status, a.header.Get("ETag"))
	}
	wantFiles(t, unpack(t, a.body), "100MEDIA/Ä.JPG", "one", "100MEDIA/ä (2).jpg", "two", "c.jpg", "three")
}

// TestZipHeadReadsNothing: HEAD must not fetch what nobody gets.
func TestZipHeadReadsNothing(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	img := f.readyImage(t, pid, "a.jpg", "gone soon")
	if err := f.bucket.Delete(t.Context(), img.Key()); err != nil {
		t.Fatal(err)
	}
	if a := f.call(t, f.secret, http.MethodHead, "/v1/projects/"+pid+"/zip", nil); a.status != http.StatusOK {
		t.Errorf("%d", a.status)
	}
	if strings.Contains(f.log.String(), "broke off") {
		t.Errorf("an object was read: %s", f.log)
	}
}

// TestZipOfChangedObject: whoever downloads sees that it is not all.
func TestZipOfChangedObject(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	f.readyImage(t, pid, "a.jpg", "first")
	img := f.readyImage(t, pid, "b.jpg", "second")
	if _, err := f.bucket.Put(t.Context(), img.Key(), strings.NewReader("SECOND"), storage.PutOptions{SizeBytes: 6}); err != nil {
		t.Fatal(err)
	}
	for _, headers := range [][]string{nil, {"Range", "bytes=10-"}, {"Range", "bytes=0-9,20-100"}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+"/v1/projects/"+pid+"/zip", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+f.secret)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := f.Client().Do(r)
		if err != nil {
			continue // it broke off before its first byte
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v: read %d bytes, error %v", headers, len(b), err)
		}
	}
	if !strings.Contains(f.log.String(), "broke off") {
		t.Errorf("the log does not tell why: %s", f.log)
	}
}

func TestZipLink(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	f.readyImage(t, pid, "a.jpg", "one")
	path := "/v1/projects/" + pid + "/zip/link"
	var l ZipLink
	f.ok(t, http.MethodPost, path, map[string]any{"expires_in": 60}, &l)
	if !strings.HasPrefix(l.URL, f.URL+"/v1/zips/") || time.Until(l.ExpiresAt) > time.Minute || time.Until(l.ExpiresAt) < 50*time.Second {
		t.Fatalf("%+v", l)
	}
	local := strings.TrimPrefix(l.URL, f.URL)
	a := f.call(t, "", http.MethodGet, local, nil)
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	wantFiles(t, unpack(t, a.body), "a.jpg", "one")
	if head := f.call(t, "", http.MethodHead, local, nil); head.status != http.StatusOK || head.header.Get("ETag") != a.header.Get("ETag") {
		t.Errorf("HEAD: %d", head.status)
	}
	var hour ZipLink
	f.ok(t, http.MethodPost, path, nil, &hour)
	if left := time.Until(hour.ExpiresAt); left < 59*time.Minute || left > time.Hour {
		t.Errorf("without a word a link lives for %v", left)
	}
	for _, seconds := range []int{59, 604801, -1} {
		if a := f.call(t, f.secret, http.MethodPost, path, map[string]any{"expires_in": seconds}); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%d seconds: %d %s", seconds, a.status, a.body)
		}
	}
	refused := func(what, path string) {
		t.Helper()
		if a := f.call(t, "", http.MethodGet, path, nil); a.status != http.StatusNotFound || a.problem(t).Code != broker.CodeNotFound {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	refused("a link that was changed", local[:len(local)-2]+"__")
	refused("a short one", "/v1/zips/abc")

	// It dies with its key, with the key's right, and with the project.
	secretOf := func(k broker.NewKey) (broker.Key, string) {
		key, secret := f.newKey(t, f.owner, k)
		a := f.call(t, secret, http.MethodPost, path, nil)
		var l ZipLink
		a.into(t, &l)
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return key, strings.TrimPrefix(l.URL, f.URL)
	}
	key, of := secretOf(broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}})
	if a := f.call(t, "", http.MethodGet, of, nil); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if _, err := f.store.RevokeKey(t.Context(), key.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	refused("a revoked key's", of)
	key, _ = f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}, TTL: time.Minute})
	brief, _, err := f.zips.Link(t.Context(), broker.Caller{Owner: f.owner, Key: key}, pid, time.Hour)
	if err != nil || !brief.ExpiresAt.Equal(*key.ExpiresAt) {
		t.Errorf("a link of %v outlives its key of %v (%v)", brief.ExpiresAt, key.ExpiresAt, err)
	}
	f.zips.Now = func() time.Time { return time.Now().Add(61 * time.Second) }
	refused("one that is over", local)
	f.zips.Now = time.Now
	if _, err := f.projects.Remove(t.Context(), f.by, pid); err != nil {
		t.Fatal(err)
	}
	refused("a removed project's", local)
}

// TestTaskZip: the engine's files, by the task's token and while it runs.
func TestTaskZip(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	first := f.readyImage(t, pid, "100MEDIA/Ünï code.JPG", "one")
	second := f.readyImage(t, pid, "101MEDIA/ünï_code.jpg", "two")
	f.readyImage(t, pid, "not of the task.jpg", "three")
	task, token := broker.NewID(time.Now()), strings.Repeat("t0ken_", 6)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := f.store.Pool().Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO tasks (id, project_id, type, state, stage, engine, run_id, token, owner_id, key_id, created_at)
		VALUES ($1, $2, 'Native', 'Processing', 'sending', 'nodeodm', gen_random_uuid(), $3, $4, $5, now())`, task, pid, token, f.owner.ID, f.by.Key.ID)
	exec(`INSERT INTO task_images (task_id, image_id, name, type, bucket, filename, etag, size, crc32, at)
		SELECT $1, id, name, 'image/jpeg', bucket, filename, etag, proven_size, crc32, created_at FROM images WHERE id = ANY($2)`,
		task, []string{first.ID, second.ID})
	path := "/v1/tasks/" + task + "/zip?token="
	a := f.call(t, "", http.MethodGet, path+token, nil)
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	names := []string{}
	files := unpack(t, a.body)
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) != 2 || strings.ContainsFunc(strings.Join(names, ""), func(r rune) bool { return r > '~' || r == '/' || r == ' ' }) {
		t.Errorf("an engine gets %q", names)
	}
	wantFiles(t, files, "Uni_code.JPG", "one", "uni_code_2.jpg", "two")
	refused := func(what, path string) {
		t.Helper()
		if a := f.call(t, "", http.MethodGet, path, nil); a.status != http.StatusNotFound || a.problem(t).Code != broker.CodeNotFound {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	refused("no token", "/v1/tasks/"+task+"/zip")
	refused("an empty token", path)
	refused("another token", path+strings.ToUpper(token))
	refused("no task", "/v1/tasks/nonsense/zip?token="+token)
	exec(`UPDATE tasks SET stage = '', state = 'Stopped', ended_at = now() WHERE id = $1`, task)
	refused("one that has ended", path+token)
	if strings.Contains(f.log.String(), token) {
		t.Error("the log tells the token")
	}
}

// TestTooManyZips: nobody holds all connections to the buckets.
func TestTooManyZips(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	f.readyImage(t, pid, "a.jpg", "one")
	var held []*broker.Zip
	for {
		z, err := f.zips.OfProject(context.Background(), f.by, pid)
		if err != nil {
			if broker.CodeOf(err) != broker.CodeTooManyRequests || len(held) != 32 {
				t.Fatalf("after %d: %v", len(held), err)
			}
			break
		}
		held = append(held, z)
	}
	a := f.call(t, f.secret, http.MethodGet, "/v1/projects/"+pid+"/zip", nil)
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	_, other := f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}})
	if a := f.call(t, other, http.MethodGet, "/v1/projects/"+pid+"/zip", nil); a.status != http.StatusOK {
		t.Errorf("another key: %d %s", a.status, a.body)
	}
	for _, z := range held {
		z.Close()
		z.Close() // which gives no second place free
	}
	if a := f.call(t, f.secret, http.MethodGet, "/v1/projects/"+pid+"/zip", nil); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}
