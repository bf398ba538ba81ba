package rest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// put uses a grant as a client does: method, URL and headers exactly as given.
func (f *fixture) put(t *testing.T, g *Grant, body string, change ...func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), g.Method, g.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body = http.NoBody
	}
	for name, value := range g.Headers {
		r.Header.Set(name, value)
	}
	for _, c := range change {
		c(r)
	}
	return f.send(t, r)
}

// stored reads what lies in the local bucket for an image; ok is false when
// nothing does.
func stored(t *testing.T, img *Image) (content string, ok bool) {
	t.Helper()
	key := img.ProjectID + "/" + img.Filename
	if _, err := localBucket(t).Stat(t.Context(), key); err != nil {
		if code := localBucket(t).Code(err); code != broker.CodeNotFound {
			t.Fatalf("stat %s: %v", key, err)
		}
		return "", false
	}
	body, _, err := localBucket(t).Open(t.Context(), key, storage.Range{}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), true
}

// waitFor asks the API for an image until it is in the state.
func (f *fixture) waitFor(t *testing.T, img *Image, state string) ImageWithHistory {
	t.Helper()
	var got ImageWithHistory
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		f.ok(t, http.MethodGet, "/v1/projects/"+img.ProjectID+"/images/"+img.ID, nil, &got)
		if got.State == state {
			return got
		}
	}
	t.Fatalf("the image stays %s, want %s", got.State, state)
	return got
}

// TestGrantWorksAsGiven uploads by PUT against this same server, and the broker
// sees it.
func TestGrantWorksAsGiven(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	for _, c := range []struct{ name, content, typ string }{
		{"photo.jpg", "the bytes of a photo", ""},
		{"no extension", "some bytes", ""},
		{"empty.jpg", "", ""},
		{"北面 1.JPG", "more bytes", "image/jpeg"},
		{"odd type.txt", "text", `text/plain; charset="utf-8"`},
		{"large.jpg", strings.Repeat("0123456789", 300_000), "image/jpeg"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := entry(c.content, "name", c.name)
			if c.typ != "" {
				e["type"] = c.typ
			}
			r := f.register(t, pid, e)[0]
			if r.Grant == nil || r.Grant.Method != "PUT" || r.Grant.Kind != "request" || r.Grant.Bucket != nearest {
				t.Fatalf("%+v", r)
			}
			// The checksum alone refuses other bytes; the length refuses them before they
			// are sent.
			if u, err := url.Parse(r.Grant.URL); err != nil || u.Query().Get("X-Amz-SignedHeaders") != "content-length;content-type;host;x-amz-checksum-sha1" {
				t.Errorf("signed headers of %.300s", r.Grant.URL)
			}
			if left := time.Until(r.Grant.ExpiresAt); left < 2*time.Hour || left > 3*time.Hour {
				t.Errorf("the grant lives for %v", left)
			}
			if !strings.HasPrefix(r.Grant.URL, f.URL+"/local-bucket/"+pid+"/"+r.Image.Filename+"?") {
				t.Errorf("its URL begins with %.120s", r.Grant.URL)
			}
			a := f.put(t, r.Grant, c.content)
			if a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if content, ok := stored(t, r.Image); !ok || content != c.content {
				t.Fatalf("%d bytes are stored", len(content))
			}
			got := f.waitFor(t, r.Image, "Uploaded")
			if got.Size == nil || *got.Size != int64(len(c.content)) {
				t.Errorf("the size is told as %v", got.Size)
			}
			if got.Bucket != nearest || got.ETag == "" || got.UploadedAt == nil {
				t.Errorf("%+v", got.Image)
			}
			if again := f.register(t, pid, e)[0]; again.Status != "exists" || again.Grant != nil {
				t.Errorf("registered again: %+v", again)
			}
		})
	}
}

// TestGrantBindsTheUpload: whatever differs from what was declared is refused by
// the bucket, and nothing is stored.
func TestGrantBindsTheUpload(t *testing.T) {
	f := open(t)
	const content = "the bytes of a photo"
	query := func(r *http.Request, name, value string) {
		q := r.URL.Query()
		q.Set(name, value)
		r.URL.RawQuery = q.Encode()
	}
	for i, c := range []struct {
		name   string
		body   string
		change func(r *http.Request, pid string)
	}{
		{"other bytes of the same length", "the bytes of a fake!", nil},
		{"a byte too few", content[1:], nil},
		{"a byte too many", content + "!", nil},
		{"nothing", "", nil},
		{"another type", content, func(r *http.Request, pid string) { r.Header.Set("Content-Type", "text/html") }},
		{"no type", content, func(r *http.Request, pid string) { r.Header.Del("Content-Type") }},
		{"no checksum", content, func(r *http.Request, pid string) { r.Header.Del("x-amz-checksum-sha1") }},
		{"the checksum of other bytes", "the bytes of a fake!", func(r *http.Request, pid string) {
			r.Header.Set("x-amz-checksum-sha1", mustSHA1("the bytes of a fake!").Base64())
		}},
		{"a header that was not signed", content, func(r *http.Request, pid string) { r.Header.Set("x-amz-acl", "public-read") }},
		{"metadata that was not signed", content, func(r *http.Request, pid string) { r.Header.Set("x-amz-meta-a", "b") }},
		{"another key", content, func(r *http.Request, pid string) { r.URL.Path += "x" }},
		{"another project's key", content, func(r *http.Request, pid string) {
			r.URL.Path = strings.Replace(r.URL.Path, pid, "01KAHQY5C9W3RV7ZB3N4D8M2XE", 1)
		}},
		{"a key that climbs", content, func(r *http.Request, pid string) { r.URL.Path = "/local-bucket/" + pid + "/../" + pid + "/x.jpg" }},
		{"POST", content, func(r *http.Request, pid string) { r.Method = "POST" }},
		{"DELETE", content, func(r *http.Request, pid string) { r.Method = "DELETE" }},
		{"PATCH", content, func(r *http.Request, pid string) { r.Method = "PATCH" }},
		{"no signature", content, func(r *http.Request, pid string) { r.URL.RawQuery = "" }},
		{"a signature of nothing", content, func(r *http.Request, pid string) { query(r, "X-Amz-Signature", strings.Repeat("0", 64)) }},
		{"a longer life", content, func(r *http.Request, pid string) { query(r, "X-Amz-Expires", "604800") }},
		{"a later date", content, func(r *http.Request, pid string) {
			query(r, "X-Amz-Date", time.Now().UTC().Add(time.Hour).Format("20060102T150405Z"))
		}},
		{"fewer signed headers", content, func(r *http.Request, pid string) { query(r, "X-Amz-SignedHeaders", "host") }},
		{"a key of the API beside it", content, func(r *http.Request, pid string) {
			r.URL.RawQuery = ""
			r.Header.Set("Authorization", "Bearer "+f.secret)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// One project for each, so that nothing of the one before is there.
			pid := f.newProject(t)
			r := f.register(t, pid, entry(content, "name", "a.jpg"))[0]
			var change []func(*http.Request)
			if c.change != nil {
				change = append(change, func(r *http.Request) { c.change(r, pid) })
			}
			a := f.put(t, r.Grant, c.body, change...)
			if a.status/100 != 4 {
				t.Errorf("%d %s", a.status, a.body)
			}
			objects, err := localBucket(t).List(t.Context(), pid+"/", "", 10)
			if err != nil || len(objects) != 0 {
				t.Errorf("stored: %v %v", objects, err)
			}
			if got := f.batch(t, pid, "done", r.Image.ID)[0]; got.Image.State != "Uploading" {
				t.Errorf("the image is %s", got.Image.State)
			}
			if i == 0 { // the grant is not used up by a refusal
				if a := f.put(t, r.Grant, content); a.status != http.StatusOK {
					t.Errorf("as given: %d %s", a.status, a.body)
				}
			}
		})
	}
	if objects, err := localBucket(t).List(t.Context(), "01KAHQY5C9W3RV7ZB3N4D8M2XE/", "", 10); err != nil || len(objects) != 0 {
		t.Errorf("stored under another project: %v %v", objects, err)
	}
}

func mustSHA1(content string) broker.SHA1 {
	d, err := broker.ParseSHA1(digest(content))
	if err != nil {
		panic(err)
	}
	return d
}

// TestGrantExpires: after its time the bucket refuses it, and a fresh one works.
func TestGrantExpires(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	var rs Results
	f.ok(t, http.MethodPost, "/v1/projects/"+pid+"/images/register",
		map[string]any{"bucket": brief, "images": []any{entry("late")}}, &rs)
	g := rs.Results[0].Grant
	if g.Bucket != brief || time.Until(g.ExpiresAt) > time.Second {
		t.Fatalf("%+v", g)
	}
	time.Sleep(time.Until(g.ExpiresAt) + 1100*time.Millisecond)
	if a := f.put(t, g, "late"); a.status != http.StatusForbidden {
		t.Errorf("%d %s", a.status, a.body)
	}
	if content, ok := stored(t, rs.Results[0].Image); ok {
		t.Errorf("stored %q", content)
	}
	fresh := f.batch(t, pid, "regrant", rs.Results[0].Image.ID)[0]
	if fresh.Grant == nil || fresh.Grant.Bucket != nearest {
		t.Fatalf("%+v", fresh)
	}
	if a := f.put(t, fresh.Grant, "late"); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestGrantBase: the URL of a grant at the local bucket begins with the address
// by which the caller reached us.
func TestGrantBase(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	elsewhere := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		name      string
		publicURL string
		proxies   []netip.Prefix
		headers   []string
		want      string // "": the listener's own
	}{
		{"as it came", "", nil, nil, ""},
		{"Host", "", nil, []string{"Host", "photos.lan:9000"}, "http://photos.lan:9000"},
		{"an IPv6 host", "", nil, []string{"Host", "[fd00::1]:9000"}, "http://[fd00::1]:9000"},
		{"forwarded by nobody known", "", nil, []string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https"}, ""},
		{"forwarded from elsewhere than the proxies", "", elsewhere, []string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https"}, ""},
		{"forwarded", "", loopback, []string{"X-Forwarded-Host", "up.example.com", "X-Forwarded-Proto", "https"}, "https://up.example.com"},
		{"only the scheme", "", loopback, []string{"Host", "up.example.com", "X-Forwarded-Proto", "https"}, "https://up.example.com"},
		{"only the host", "", loopback, []string{"X-Forwarded-Host", "up.example.com:8443"}, "http://up.example.com:8443"},
		{"a list, the last is the nearest proxy's", "", loopback, []string{"X-Forwarded-Host", "evil.example, up.example.com", "X-Forwarded-Proto", "ftp, https"}, "https://up.example.com"},
		{"two lines, the last is the nearest proxy's", "", loopback, []string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Host", "up.example.com", "X-Forwarded-Proto", "gopher", "X-Forwarded-Proto", "https"}, "https://up.example.com"},
		{"a host that is none", "", loopback, []string{"Host", "here", "X-Forwarded-Host", "evil.example/path?"}, "http://here"},
		{"a host with a user", "", loopback, []string{"Host", "here", "X-Forwarded-Host", "a@evil.example"}, "http://here"},
		{"a host of letters that are none", "", loopback, []string{"Host", "here", "X-Forwarded-Host", "évil.example"}, "http://here"},
		{"a scheme that is none", "", loopback, []string{"Host", "here", "X-Forwarded-Proto", "javascript"}, "http://here"},
		{"public_url wins", "https://photos.example.com/broker", loopback, []string{"Host", "here", "X-Forwarded-Host", "up.example.com"}, "https://photos.example.com/broker"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t, func(o *api.Options) { o.PublicURL, o.TrustedProxies = c.publicURL, c.proxies })
			pid := f.newProject(t)
			a := f.call(t, f.secret, http.MethodPost, "/v1/projects/"+pid+"/images/register", map[string]any{"images": []any{entry("base")}}, c.headers...)
			var rs Results
			a.into(t, &rs)
			if c.want == "" {
				c.want = f.URL
			}
			g := rs.Results[0].Grant
			if !strings.HasPrefix(g.URL, c.want+"/local-bucket/"+pid+"/") {
				t.Fatalf("%.100s, want %s", g.URL, c.want)
			}
			// Whatever name it is told under, the signature holds.
			u, err := url.Parse(g.URL)
			if err != nil {
				t.Fatal(err)
			}
			own, _ := url.Parse(f.URL)
			u.Scheme, u.Host, u.Path = own.Scheme, own.Host, u.Path[strings.Index(u.Path, "/local-bucket/"):]
			g.URL = u.String()
			if a := f.put(t, g, "base", func(r *http.Request) { r.Host = "anything.example" }); a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

// TestLocalBucketAnswersForItself: no CORS, identity or problem documents of
// ours on its path, and no cookie of ours in it.
func TestLocalBucketAnswersForItself(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	g := f.register(t, pid, entry("self"))[0].Grant
	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, g.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://app.example.com")
	r.Header.Set("Access-Control-Request-Method", "PUT")
	r.Header.Set("Access-Control-Request-Headers", "content-type,x-amz-checksum-sha1")
	a := f.send(t, r)
	if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Headers") != "content-type,x-amz-checksum-sha1" ||
		!strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "PUT") {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	if got := a.header.Values("Access-Control-Allow-Origin"); len(got) != 1 {
		t.Errorf("Access-Control-Allow-Origin %q", got)
	}
	a = f.put(t, g, "self", func(r *http.Request) { r.Header.Set("Origin", "https://app.example.com") })
	if a.status != http.StatusOK || len(a.header.Values("Access-Control-Allow-Origin")) != 1 || !strings.HasPrefix(a.header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("PUT: %d %v", a.status, a.header)
	}
	a = f.call(t, "", http.MethodGet, "/local-bucket/"+pid+"/nothing.jpg", nil)
	if a.status/100 != 4 || !strings.Contains(a.header.Get("Content-Type"), "xml") || !bytes.Contains(a.body, []byte("<Error>")) {
		t.Errorf("GET: %d %v %s", a.status, a.header, a.body)
	}
	// A link, by HEAD and by GET: the proof that HEAD is not turned into GET here.
	link, err := localBucket(t).SignGet(context.Background(), g.URL[strings.Index(g.URL, pid):strings.Index(g.URL, "?")], storage.GetOptions{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if a := f.call(t, "", http.MethodGet, link, nil); a.status != http.StatusOK || string(a.body) != "self" {
		t.Errorf("GET: %d %s", a.status, a.body)
	}
	if a := f.call(t, "", http.MethodHead, link, nil); a.status != http.StatusForbidden {
		t.Errorf("HEAD with a signature for GET: %d", a.status)
	}
}
