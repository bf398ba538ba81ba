package ossemu

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	e := start(t, func(o *Options) {
		o.Hosts = map[string]string{"Img.Example.com": "photos", "localhost:8090": "albums", "localhost": "photos"}
	})
	for _, try := range []struct{ host, path, bucket, key string }{
		{"127.0.0.1:8090", "/photos/pid%2Fk", "photos", "pid/k"},
		{"127.0.0.1:8090", "/photos/pid/k", "photos", "pid/k"},
		{"127.0.0.1:8090", "/photos", "photos", ""},
		{"127.0.0.1:8090", "/photos/", "photos", ""},
		{"127.0.0.1:8090", "/", "", ""},
		{"127.0.0.1:8090", "/photos//a//b", "photos", "/a//b"},
		{"127.0.0.1:8090", "/photos/a/../../b/./c", "photos", "a/../../b/./c"},
		{"127.0.0.1:8090", "/photos/a+b%20c%2Bd%25", "photos", "a+b c+d%"},
		{"127.0.0.1:8090", "/photos/%E4%B8%AD", "photos", "中"},
		{"127.0.0.1:8090", "/photos%2Fk", "photos", "k"},
		{"[::1]:8090", "/photos/k", "photos", "k"},
		{"photos.localhost:8090", "/pid%2Fk", "photos", "pid/k"},
		{"photos.localhost", "/", "photos", ""},
		{"photos.oss-cn-hangzhou.aliyuncs.com", "/photos/k", "photos", "photos/k"},
		{"PHOTOS.OSS-cn-hangzhou-internal.aliyuncs.com:80", "/k", "photos", "k"},
		{"oss-cn-hangzhou.aliyuncs.com", "/photos/k", "photos", "k"},
		{"photos.127.0.0.1:8090", "/k", "photos", "k"},
		{"photos.127.0.0.2:8090", "/k", "k", ""},
		{"img.example.com", "/k", "photos", "k"},
		{"img.example.com:443", "//k", "photos", "/k"},
		{"localhost:8090", "/k", "albums", "k"},
		{"localhost:8091", "/k", "photos", "k"},
		{"photos.example.com", "/k", "k", ""},
		{"", "/photos/k", "photos", "k"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		var err error
		if r.URL, err = url.ParseRequestURI(try.path); err != nil {
			t.Fatal(err)
		}
		r.Host = try.host
		r = r.WithContext(e.localContext(r))
		p, f := e.resolve(r)
		if f != nil || p.bucket != try.bucket || p.key != try.key {
			t.Errorf("%s %s: %+v %v, want %q and %q", try.host, try.path, p, f, try.bucket, try.key)
		}
	}
}

// TestSTSPath: STS has its path where a bucket's name would be, and only there.
func TestSTSPath(t *testing.T) {
	e := start(t)
	for _, try := range []struct {
		host, path string
		sts        bool
	}{
		{"127.0.0.1:1", "/sts", true},
		{"127.0.0.1:1", "/sts/", true},
		{"127.0.0.1:1", "/sts/k", false},
		{"127.0.0.1:1", "/photos/sts", false},
		{"photos.localhost", "/sts", false},
		{"photos.oss-cn-hangzhou.aliyuncs.com", "/sts/", false},
	} {
		r := httptest.NewRequest("POST", try.path, nil)
		r.Host = try.host
		if e.isSTS(r) != try.sts {
			t.Errorf("%s%s: %v", try.host, try.path, !try.sts)
		}
	}
	if _, err := New(Options{Dir: t.TempDir(), Buckets: []string{"sts"}, AccessKeyID: testKeyID, AccessKeySecret: testSecret, RoleARN: testRole}); err == nil {
		t.Error(`a bucket "sts" is allowed`)
	}
	for _, name := range []string{"ab", "Photos", "a_b", "-ab", "ab-", "a/b", "..", strings.Repeat("a", 64)} {
		if _, err := New(Options{Dir: t.TempDir(), Buckets: []string{name}, AccessKeyID: testKeyID, AccessKeySecret: testSecret, RoleARN: testRole}); err == nil {
			t.Errorf("a bucket %q is allowed", name)
		}
	}
}

// FuzzRequest sends odd hosts, paths and queries, signed by the owner, through
// the whole of OSS: nothing may panic, nothing may be made outside the bucket's
// folder, and every answer has its request's id.
func FuzzRequest(f *testing.F) {
	for _, k := range oddKeys() {
		f.Add("PUT", "127.0.0.1", "/photos/"+url.PathEscape(k), "", "hello")
		f.Add("GET", "photos.localhost", "/"+url.PathEscape(k), "", "")
	}
	for _, q := range []string{"uploads", "uploadId=x&partNumber=1", "delete", "cors", "list-type=2&prefix=a&delimiter=/&start-after=%25", "bucketInfo", "acl=&acl=", ";a=b", "max-keys=-1", "continuation-token=YQ=="} {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS"} {
			f.Add(method, "127.0.0.1", "/photos/", q, "<Delete><Object><Key>a</Key></Object></Delete>")
			f.Add(method, "127.0.0.1", "/photos/k", q, "<CompleteMultipartUpload/>")
		}
	}
	e := start(f, func(o *Options) { o.Hosts = map[string]string{"cname": "photos"} })
	f.Fuzz(func(t *testing.T, method, host, path, query, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		u.RawQuery = query
		r, err := http.NewRequest(method, "http://127.0.0.1/", strings.NewReader(body))
		if err != nil {
			return
		}
		r.URL, r.Host = u, host
		r.Header.Set("Content-Length", "1")
		if _, f := e.resolve(r); f != nil {
			return
		}
		if _, err := parseParams(query); err != nil {
			return
		}
		e.sign(t, r)
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if e.isSTS(r) {
			return
		}
		if len(w.Result().Header.Get("X-Oss-Request-Id")) != 24 {
			t.Errorf("%d without a request id", w.Code)
		}
		if w.Code == 500 && !strings.Contains(w.Body.String(), "too long for the file system") {
			t.Errorf("%s", w.Body)
		}
		wantNothingBeside(t, e)
	})
}
