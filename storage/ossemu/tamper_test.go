package ossemu

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clone is a request that may be changed.
func clone(r *http.Request) *http.Request { return r.Clone(context.Background()) }

// TestTampering changes every single signed part of requests of each kind: none
// may pass.
func TestTampering(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 1, 6, 0, time.UTC)
	a := testAuthority(t, now)
	id, secret, token := testSession(t, a, time.Hour, "")
	for _, kind := range []refKind{v1Header, v1URL, v4Header, v4URL} {
		for _, dateHeader := range []bool{false, true} {
			b := reference{
				kind: kind, method: "PUT", bucket: "mybucket", key: "pid/a b.jpg", keyID: id, secret: secret, token: token,
				region: "cn-hangzhou", at: now, expires: time.Hour, dateHeader: dateHeader, contentLength: 5,
				headers: map[string]string{"Content-Type": "image/jpeg", "Content-MD5": "XUFAKrxLKna5cZ2REBfFkg==", "X-Oss-Meta-Who": "me", "X-Oss-Forbid-Overwrite": "true"},
				query:   [][2]string{{"partNumber", "1"}, {"uploadId", "A B"}, {"response-content-type", "a/b"}},
			}
			if kind >= v4Header {
				b.additional = []string{"content-length", "host", "range"}
				b.headers["Range"] = "bytes=0-1"
			}
			good := b.request()
			if _, f := a.identify(good, pathPlace(good)); f != nil {
				t.Fatalf("%v: %v\n%s", kind, f, f.element("CanonicalRequest")+f.element("StringToSign"))
			}
			try := func(what string, change func(r *http.Request, p *place)) {
				t.Helper()
				r := clone(good)
				p := pathPlace(r)
				change(r, &p)
				if _, f := a.identify(r, p); f == nil {
					t.Errorf("%v: %s: accepted", kind, what)
				}
			}
			for _, method := range []string{"GET", "POST", "put", "DELETE"} {
				try("method "+method, func(r *http.Request, _ *place) { r.Method = method })
			}
			for _, p := range []place{{"mybucket", "pid/a b.jpg "}, {"mybucket", "pid/a+b.jpg"}, {"mybucket", "pid/A b.jpg"}, {"mybucket", ""}, {"mybucket2", "pid/a b.jpg"}, {"", ""}, {"mybucket/pid", "a b.jpg2"}} {
				try("place", func(_ *http.Request, q *place) { *q = p })
			}
			for name := range good.Header {
				// In a URL of V1 the Date is not signed; in the headers it is, where
				// no x-oss-date takes its part.
				try("header "+name+" changed", func(r *http.Request, _ *place) { r.Header.Set(name, r.Header.Get(name)+"0") })
				try("header "+name+" repeated", func(r *http.Request, _ *place) { r.Header.Add(name, "0") })
				try("header "+name+" removed", func(r *http.Request, _ *place) { r.Header.Del(name) })
			}
			try("a further x-oss- header", func(r *http.Request, _ *place) { r.Header.Set("X-Oss-Object-Acl", "public-read") })
			pairs := strings.Split(good.URL.RawQuery, "&")
			for i, pair := range pairs {
				join := func(change func(pairs []string) []string) func(r *http.Request, _ *place) {
					return func(r *http.Request, _ *place) {
						r.URL.RawQuery = strings.Join(change(append([]string{}, pairs...)), "&")
					}
				}
				try("parameter changed: "+pair, join(func(p []string) []string { p[i] += "0"; return p }))
				try("parameter emptied: "+pair, join(func(p []string) []string { p[i], _, _ = strings.Cut(p[i], "="); return p }))
				try("parameter removed: "+pair, join(func(p []string) []string { return append(p[:i], p[i+1:]...) }))
				try("parameter repeated: "+pair, join(func(p []string) []string { return append(p, p[i]+"0") }))
			}
			try("a further sub-resource", func(r *http.Request, _ *place) { r.URL.RawQuery += "&acl" })
			if kind >= v4Header {
				try("a further parameter", func(r *http.Request, _ *place) { r.URL.RawQuery += "&prefix=a" })
				try("another length", func(r *http.Request, _ *place) { r.ContentLength = 6 })
				try("no length", func(r *http.Request, _ *place) { r.ContentLength = -1 })
				try("another host", func(r *http.Request, _ *place) { r.Host = "other.example.com" })
			}
			if kind == v4Header {
				try("the list of further headers shortened", func(r *http.Request, _ *place) {
					r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "content-length;", "", 1))
				})
				try("the list of further headers left out", func(r *http.Request, _ *place) {
					r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "AdditionalHeaders=content-length;host;range,", "", 1))
				})
			}
		}
	}
}

// TestWhatReferencesSignVerifies: any request that the reference signs passes,
// and no single change of it does.
func TestWhatReferencesSignVerifies(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 1, 6, 0, time.UTC)
	a := testAuthority(t, now)
	id, secret, token := testSession(t, a, time.Hour, "")
	text := rapid.StringMatching(`[ -~é中/+%&=?#;]{0,12}`)
	header := rapid.StringMatching(`([!-~é中]([ -~é中]{0,8}[!-~é中])?)`)
	rapid.Check(t, func(t *rapid.T) {
		b := reference{
			kind: refKind(rapid.IntRange(0, 3).Draw(t, "kind")), method: rapid.SampledFrom([]string{"GET", "PUT", "POST", "HEAD", "DELETE"}).Draw(t, "method"),
			bucket: rapid.StringMatching(`[a-z0-9][a-z0-9-]{1,8}[a-z0-9]`).Draw(t, "bucket"), key: text.Draw(t, "key"),
			keyID: testKeyID, secret: testSecret, region: "cn-hangzhou", at: now.Add(time.Duration(rapid.IntRange(-899, 899).Draw(t, "skew")) * time.Second),
			expires: time.Duration(rapid.IntRange(900, 604800).Draw(t, "expires")) * time.Second,
			headers: map[string]string{}, dateHeader: rapid.Bool().Draw(t, "dateHeader"), contentLength: int64(rapid.IntRange(0, 99).Draw(t, "length")),
		}
		if rapid.Bool().Draw(t, "session") {
			b.keyID, b.secret, b.token = id, secret, token
		}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"content-type", "content-md5", "x-oss-meta-a", "x-oss-meta-b", "x-oss-callback", "range", "user-agent"}), 0, 4, rapid.ID).Draw(t, "headers") {
			b.headers[name] = header.Draw(t, name)
		}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(refSigned[:11]), 0, 3, rapid.ID).Draw(t, "query") {
			b.query = append(b.query, [2]string{name, text.Draw(t, name)})
		}
		if b.kind >= v4Header && rapid.Bool().Draw(t, "additional") {
			b.additional = []string{"content-length", "host"}
			if b.headers["range"] != "" {
				b.additional = append(b.additional, "range")
			}
		}
		good := b.request()
		if _, f := a.identify(good, pathPlace(good)); f != nil {
			t.Fatalf("refused: %v\n%s", f, f.element("CanonicalRequest")+f.element("StringToSign"))
		}
		r, p := clone(good), pathPlace(good)
		var signed []string // headers that are
		for name := range good.Header {
			lower := strings.ToLower(name)
			switch {
			case strings.HasPrefix(lower, "x-oss-"), lower == "content-type", lower == "content-md5",
				lower == "authorization", lower == "date", lower == "range" && len(b.additional) == 3:
				signed = append(signed, name)
			}
		}
		switch what := rapid.SampledFrom([]string{"method", "bucket", "key", "header", "new header", "query", "new query", "drop query", "length", "byte"}).Draw(t, "change"); what {
		case "method":
			r.Method += "X"
		case "bucket":
			p.bucket += "x"
		case "key":
			p.key += rapid.SampledFrom([]string{"x", "/", " ", "%2F"}).Draw(t, "suffix")
		case "header":
			if len(signed) == 0 {
				return
			}
			name := rapid.SampledFrom(signed).Draw(t, "name")
			r.Header.Set(name, r.Header.Get(name)+"x")
		case "new header":
			r.Header.Set("X-Oss-Meta-New", "1")
		case "query", "drop query":
			pairs := strings.Split(r.URL.RawQuery, "&")
			if r.URL.RawQuery == "" {
				return
			}
			i := rapid.IntRange(0, len(pairs)-1).Draw(t, "pair")
			if what == "query" && strings.Contains(pairs[i], "=") {
				pairs[i] += "x"
			} else {
				pairs = append(pairs[:i], pairs[i+1:]...)
			}
			r.URL.RawQuery = strings.Join(pairs, "&")
		case "new query":
			r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&versionId=1", "&")
		case "length":
			if len(b.additional) == 0 {
				return
			}
			r.ContentLength++
		case "byte": // of the signature
			if h := r.Header.Get("Authorization"); h != "" {
				i := len(h) - 3
				r.Header.Set("Authorization", h[:i]+string(h[i]^1)+h[i+1:])
			} else {
				key := "ignature="
				i := strings.LastIndex(r.URL.RawQuery, key) + len(key)
				c := byte('0')
				if r.URL.RawQuery[i] == c {
					c = '1'
				}
				if r.URL.RawQuery[i] == '%' {
					return
				}
				r.URL.RawQuery = r.URL.RawQuery[:i] + string(c) + r.URL.RawQuery[i+1:]
			}
		}
		if _, f := a.identify(r, p); f == nil {
			t.Fatalf("accepted after the change: %s %s as %+v, %v", r.Method, r.URL, p, r.Header)
		}
	})
}

// FuzzIdentify: no request makes the verifier panic, and none passes without the
// secret, which nobody knows here.
func FuzzIdentify(f *testing.F) {
	now := time.Date(2026, 11, 21, 1, 1, 6, 0, time.UTC)
	a := testAuthority(f, now, func(o *Options) { o.AccessKeySecret = "of this run: " + newRequestID() })
	id, _, token := testSession(f, a, time.Hour, "")
	for _, kind := range []refKind{v1Header, v1URL, v4Header, v4URL} {
		for _, who := range [][2]string{{testKeyID, ""}, {id, token}} {
			b := reference{
				kind: kind, method: "PUT", bucket: "mybucket", key: "pid/a b.jpg", keyID: who[0], secret: "guess", token: who[1],
				region: "cn-hangzhou", at: now, expires: time.Hour, additional: []string{"content-length", "host"},
				query: [][2]string{{"partNumber", "1"}, {"uploads", ""}},
			}
			r := b.request()
			f.Add(r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Authorization"), r.Header.Get("Date")+r.Header.Get("X-Oss-Date"), r.Header.Get("X-Oss-Security-Token"))
		}
	}
	f.Add("GET", "/", "a=%zz&;&=&x-oss-expires=99999999999999999999", "OSS4-HMAC-SHA256 Credential=////,Signature=,,=", "Sat, 31 Feb 2026 01:01:06 GMT", "CAIS")
	f.Fuzz(func(t *testing.T, method, path, query, authorization, date, token string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
		for name, value := range map[string]string{"Authorization": authorization, "Date": date, "X-Oss-Date": date, "X-Oss-Security-Token": token, "X-Oss-Content-Sha256": "UNSIGNED-PAYLOAD"} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		id, refusal := a.identify(r, pathPlace(r))
		if refusal == nil {
			t.Fatalf("accepted as %+v", id)
		}
		if refusal.status < 400 || refusal.code == "" || refusal.message == "" {
			t.Fatalf("%+v", refusal)
		}
	})
}
