package ossemu

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

func TestBuckets(t *testing.T) {
	for name, options := range signatures {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			c := e.client(t, options...)
			if err := c.CreateBucket("albums"); err != nil {
				t.Fatal(err)
			}
			list, err := c.ListBuckets()
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, b := range list.Buckets {
				names = append(names, b.Name)
				if b.Location != "oss-cn-hangzhou" || time.Since(b.CreationDate) > time.Minute {
					t.Errorf("%+v", b)
				}
			}
			if !slices.Equal(names, []string{"albums", "photos"}) {
				t.Errorf("buckets %q", names)
			}
			info, err := c.GetBucketInfo("photos")
			if err != nil || info.BucketInfo.Name != "photos" || info.BucketInfo.Owner.ID != "123456789012" || info.BucketInfo.ACL != "private" || time.Since(info.BucketInfo.CreationDate) > time.Minute {
				t.Errorf("%+v %v", info, err)
			}
			if at, err := c.GetBucketLocation("photos"); err != nil || at != "oss-cn-hangzhou" {
				t.Errorf("%q %v", at, err)
			}
			if page, err := c.ListBuckets(oss.MaxKeys(1)); err != nil || !page.IsTruncated || page.NextMarker != "albums" {
				t.Errorf("%+v %v", page, err)
			}
			if page, err := c.ListBuckets(oss.MaxKeys(1), oss.Marker("albums")); err != nil || page.IsTruncated || page.Buckets[0].Name != "photos" {
				t.Errorf("%+v %v", page, err)
			}
			if is, err := c.IsBucketExist("photos"); err != nil || !is {
				t.Errorf("%v %v", is, err)
			}
			b, _ := c.Bucket("albums")
			if err := b.PutObject("a/b", strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
			wantCode(t, c.DeleteBucket("albums"), 409, "BucketNotEmpty")
			if err := b.DeleteObject("a/b"); err != nil {
				t.Fatal(err)
			}
			if err := c.DeleteBucket("albums"); err != nil {
				t.Fatal(err)
			}
			wantCode(t, b.PutObject("a", strings.NewReader("x")), 404, "NoSuchBucket")
			_, err = c.GetBucketInfo("albums")
			wantCode(t, err, 404, "NoSuchBucket")
		})
	}
}

func TestDeleteObjects(t *testing.T) {
	for name, options := range signatures {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			b := e.bucket(t, options...)
			keys := []string{"a", "a/b", "a+b &<c>%20", "中/文", "x y"}
			for _, k := range append(keys, "kept") {
				if err := b.PutObject(k, strings.NewReader(k)); err != nil {
					t.Fatal(err)
				}
			}
			out, err := b.DeleteObjects(append(keys, "absent"))
			if err != nil || !slices.Equal(out.DeletedObjects, append(keys, "absent")) {
				t.Errorf("%q %v", out.DeletedObjects, err)
			}
			if got := listAll(t, b); !slices.Equal(got, []string{"kept"}) {
				t.Errorf("left: %q", got)
			}
			if out, err := b.DeleteObjects([]string{"kept"}, oss.DeleteObjectsQuiet(true)); err != nil || len(out.DeletedObjects) != 0 {
				t.Errorf("%+v %v", out, err)
			}
			if got := listAll(t, b); len(got) != 0 {
				t.Errorf("left: %q", got)
			}
			_, err = b.DeleteObjects([]string{"/bad"})
			wantCode(t, err, 400, "InvalidObjectName")
			_, err = b.DeleteObjects(make([]string, 1001))
			wantCode(t, err, 400, "MalformedXML")
		})
	}
}

func TestCORSRules(t *testing.T) {
	for name, options := range signatures {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			c := e.client(t, options...)
			usual, err := c.GetBucketCORS("photos")
			if err != nil || len(usual.CORSRules) != 1 || usual.CORSRules[0].AllowedOrigin[0] != "*" {
				t.Errorf("%+v %v", usual, err)
			}
			rules := []oss.CORSRule{
				{AllowedOrigin: []string{"https://a.example", "https://*.b.example"}, AllowedMethod: []string{"PUT", "GET"}, AllowedHeader: []string{"content-type", "x-oss-*"}, ExposeHeader: []string{"ETag"}, MaxAgeSeconds: 60},
				{AllowedOrigin: []string{"https://a.example"}, AllowedMethod: []string{"DELETE"}},
			}
			if err := c.SetBucketCORS("photos", rules); err != nil {
				t.Fatal(err)
			}
			got, err := c.GetBucketCORS("photos")
			if err != nil || len(got.CORSRules) != 2 || !slices.Equal(got.CORSRules[0].AllowedHeader, rules[0].AllowedHeader) || got.CORSRules[0].MaxAgeSeconds != 60 {
				t.Errorf("%+v %v", got, err)
			}
			for name, try := range map[string]struct {
				origin, method, headers string
				allowed                 bool
			}{
				"first":           {"https://a.example", "PUT", "content-type, X-Oss-Date", true},
				"wildcard":        {"https://www.b.example", "GET", "", true},
				"bare":            {"https://b.example", "GET", "", false},
				"longer":          {"https://www.b.example.org", "GET", "", false},
				"another origin":  {"https://c.example", "GET", "", false},
				"another header":  {"https://a.example", "PUT", "content-type,authorization", false},
				"another method":  {"https://a.example", "POST", "", false},
				"second":          {"https://a.example", "DELETE", "", true},
				"second, headers": {"https://a.example", "DELETE", "content-type", false},
			} {
				resp := e.preflight(t, "/photos/k", try.origin, try.method, try.headers)
				if !try.allowed {
					if resp.Header.Get("Access-Control-Allow-Origin") != "" {
						t.Errorf("%s: allowed", name)
					}
					wantError(t, resp, 403, "AccessForbidden")
					continue
				}
				h := resp.Header
				if resp.StatusCode != 200 || h.Get("Access-Control-Allow-Origin") != try.origin || h.Get("Access-Control-Allow-Methods") != try.method ||
					h.Get("Access-Control-Allow-Headers") != strings.ReplaceAll(try.headers, ",X", ", X") || h.Get("Vary") != "Origin" {
					t.Errorf("%s: %s %v", name, resp.Status, h)
				}
			}
			for name, rules := range map[string][]oss.CORSRule{
				"none":          {},
				"too many":      make([]oss.CORSRule, 21),
				"no origin":     {{AllowedMethod: []string{"PUT"}}},
				"a method":      {{AllowedOrigin: []string{"*"}, AllowedMethod: []string{"PATCH"}}},
				"two stars":     {{AllowedOrigin: []string{"*.*"}, AllowedMethod: []string{"PUT"}}},
				"exposes a *":   {{AllowedOrigin: []string{"*"}, AllowedMethod: []string{"PUT"}, ExposeHeader: []string{"x-oss-*"}}},
				"a minus's age": {{AllowedOrigin: []string{"*"}, AllowedMethod: []string{"PUT"}, MaxAgeSeconds: -1}},
			} {
				if err := c.SetBucketCORS("photos", rules); statusOf(err) != 400 {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err := c.DeleteBucketCORS("photos"); err != nil {
				t.Fatal(err)
			}
			_, err = c.GetBucketCORS("photos")
			wantCode(t, err, 404, "NoSuchCORSConfiguration")
			wantError(t, e.preflight(t, "/photos/k", "https://a.example", "PUT", ""), 403, "AccessForbidden")
		})
	}
}

func (e emulator) preflight(t testing.TB, path, origin, method, headers string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(http.MethodOptions, e.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", method)
	if headers != "" {
		r.Header.Set("Access-Control-Request-Headers", headers)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// TestCORSOfAnswers looks at answers that a page must be able to read, the
// errors first of all.
func TestCORSOfAnswers(t *testing.T) {
	e := start(t)
	const headers = "authorization, content-type, x-oss-date, x-oss-security-token, x-oss-user-agent"
	resp := e.preflight(t, "/photos/pid%2Fk", "https://a.example", "PUT", headers)
	if resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Access-Control-Allow-Headers") != headers {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	unsigned := func(method, path string) *http.Response {
		r, _ := http.NewRequest(method, e.url+path, nil)
		r.Header.Set("Origin", "https://a.example")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	for name, resp := range map[string]*http.Response{
		"stored":    e.send(t, "PUT", "/photos/k", strings.NewReader("x"), "Origin", "https://a.example"),
		"read":      e.send(t, "GET", "/photos/k", nil, "Origin", "https://a.example"),
		"no key":    e.send(t, "GET", "/photos/absent", nil, "Origin", "https://a.example"),
		"no bucket": e.send(t, "GET", "/absent/k", nil, "Origin", "https://a.example"),
		"bad MD5":   e.send(t, "PUT", "/photos/k", strings.NewReader("x"), "Origin", "https://a.example", "Content-Md5", "x"),
		"unsigned":  unsigned("PUT", "/photos/k"),
	} {
		io.Copy(io.Discard, resp.Body)
		if resp.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(resp.Header.Get("Access-Control-Expose-Headers"), "ETag, x-oss-request-id") {
			t.Errorf("%s: %s %v", name, resp.Status, resp.Header)
		}
	}
	wantError(t, e.preflight(t, "/absent/k", "https://a.example", "PUT", ""), 404, "NoSuchBucket")
	wantError(t, e.preflight(t, "/photos/k", "", "PUT", ""), 400, "BadRequest")
	if h := e.send(t, "GET", "/photos/k", nil).Header; h.Get("Access-Control-Allow-Origin") != "" {
		t.Error("CORS headers without an origin")
	}
}
