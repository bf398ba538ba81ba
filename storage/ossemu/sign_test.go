package ossemu

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// awkwardKeys are what a signature may go wrong with.
var awkwardKeys = []string{
	"pid/a.jpg", "pid/sub dir/a+b 中.txt", "pid//twice", "a%2Fb", "a?uploads", "a&b=c#d", "!'()*~", "日本/é.jpg", "trailing/", ".", "a\u00a0b",
}

// sdkClients are the Go SDK with each version of its signature, as the account's
// user and as a session.
func sdkClients(t *testing.T, a *authority, url string) map[string]*oss.Client {
	t.Helper()
	id, secret, token := testSession(t, a, time.Hour, "")
	clients := map[string]*oss.Client{}
	for name, options := range map[string][]oss.ClientOption{
		"V1":                     nil,
		"V4":                     {oss.AuthVersion(oss.AuthV4), oss.Region("cn-hangzhou")},
		"V4 with host and range": {oss.AuthVersion(oss.AuthV4), oss.Region("cn-hangzhou"), oss.AdditionalHeaders([]string{"host", "range", "content-length"})},
	} {
		user, err := oss.New(url, testKeyID, testSecret, options...)
		if err != nil {
			t.Fatal(err)
		}
		session, err := oss.New(url, id, secret, append(options, oss.SecurityToken(token))...)
		if err != nil {
			t.Fatal(err)
		}
		clients[name+", user"], clients[name+", session"] = user, session
	}
	return clients
}

// TestSDKHeaders: what aliyun-oss-go-sdk signs in headers verifies, whatever the
// operation.
func TestSDKHeaders(t *testing.T) {
	a := testAuthority(t, time.Time{})
	url, requests := verifier(t, a)
	for name, client := range sdkClients(t, a, url) {
		t.Run(name, func(t *testing.T) {
			bucket, err := client.Bucket("mybucket")
			if err != nil {
				t.Fatal(err)
			}
			upload := oss.InitiateMultipartUploadResult{Bucket: "mybucket", Key: "k", UploadID: "0004B9"}
			calls := 0
			// The answers are empty: only what was asked counts here.
			do := func(_ ...any) { calls++ }
			for _, key := range awkwardKeys {
				do(bucket.PutObject(key, strings.NewReader("hello"), oss.ContentType("text/plain"), oss.Meta("who", "me  too")))
				do(bucket.GetObject(key, oss.Range(0, 2)))
				do(bucket.GetObjectMeta(key))
			}
			if !strings.Contains(name, "host") {
				// It sends an empty body in chunks, so that a Content-Length of 0, had
				// it been signed, would not arrive.
				do(bucket.PutObject("empty", strings.NewReader("")))
			}
			do(bucket.PutObject("md5", strings.NewReader("hello"), oss.ContentMD5("XUFAKrxLKna5cZ2REBfFkg=="), oss.Callback("eyJ9")))
			do(bucket.GetObject("k", oss.ResponseContentDisposition(`attachment; filename="a b&c.jpg"`)))
			do(bucket.ListObjectsV2(oss.Prefix("pid/ä b/"), oss.Delimiter("/"), oss.MaxKeys(10)))
			do(bucket.ListObjects(oss.Prefix(""), oss.Marker("a+b")))
			do(bucket.InitiateMultipartUpload("pid/m p.bin"))
			do(bucket.UploadPart(upload, strings.NewReader("hello"), 5, 1))
			do(bucket.CompleteMultipartUpload(upload, nil))
			do(bucket.ListUploadedParts(upload))
			do(bucket.AbortMultipartUpload(upload))
			do(bucket.ListMultipartUploads())
			do(bucket.CopyObject("pid/a b", "pid/中"))
			do(bucket.DeleteObject("pid/a b"))
			do(bucket.DeleteObjects([]string{"a", "b"}))
			do(client.GetBucketInfo("mybucket"))
			do(client.GetBucketLocation("mybucket"))
			do(client.SetBucketCORS("mybucket", []oss.CORSRule{{AllowedOrigin: []string{"*"}, AllowedMethod: []string{"PUT"}}}))
			do(client.ListBuckets(oss.Prefix("my")))
			all := requests()
			// ListObjectsV2 and others may ask nothing more than once.
			if len(all) != calls {
				t.Errorf("%d calls made %d requests", calls, len(all))
			}
			for _, got := range all {
				if got.f != nil {
					t.Errorf("%s %s: %v\n%s", got.r.Method, got.r.URL, got.f, got.f.element("CanonicalRequest")+got.f.element("StringToSign"))
				}
				if wantSession := strings.HasSuffix(name, "session"); (got.id.session != nil) != wantSession {
					t.Errorf("%s: %+v", got.r.URL, got.id)
				}
			}
		})
	}
}

// TestSDKURLs: what it signs in URLs verifies, and a body of another length than
// the one signed is refused.
func TestSDKURLs(t *testing.T) {
	a := testAuthority(t, time.Time{})
	url, requests := verifier(t, a)
	send := func(t *testing.T, method, url, contentType, body string) received {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return one(t, requests)
	}
	for name, client := range sdkClients(t, a, url) {
		t.Run(name, func(t *testing.T) {
			bucket, err := client.Bucket("mybucket")
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range awkwardKeys {
				signed, err := bucket.SignURL(key, oss.HTTPPut, 60, oss.ContentType("text/plain"))
				if err != nil {
					t.Fatal(err)
				}
				if got := send(t, "PUT", signed, "text/plain", "hello"); got.f != nil || got.p != (place{"mybucket", key}) {
					t.Errorf("%q as %+v: %v\n%s", key, got.p, got.f, got.f.element("StringToSign"))
				}
				if got := send(t, "PUT", signed, "text/html", "hello"); got.f == nil || got.f.code != "SignatureDoesNotMatch" {
					t.Errorf("%q, another type: %v", key, got.f)
				}
				if got := send(t, "PUT", signed, "", "hello"); got.f == nil {
					t.Errorf("%q, no type: accepted", key)
				}
				if got := send(t, "GET", signed, "text/plain", ""); got.f == nil {
					t.Errorf("%q, another method: accepted", key)
				}
			}
			signed, err := bucket.SignURL("k", oss.HTTPGet, 60, oss.ResponseContentDisposition(`attachment; filename="a b.jpg"`))
			if err != nil {
				t.Fatal(err)
			}
			if got := send(t, "GET", signed, "", ""); got.f != nil {
				t.Errorf("with a sub-resource: %v", got.f)
			}
			if strings.Contains(name, "host") {
				signed, err := bucket.SignURL("k", oss.HTTPPut, 60, oss.ContentLength(5))
				if err != nil {
					t.Fatal(err)
				}
				if got := send(t, "PUT", signed, "", "hello"); got.f != nil {
					t.Errorf("the length that was signed: %v", got.f)
				}
				for _, body := range []string{"", "hell", "hello!"} {
					if got := send(t, "PUT", signed, "", body); got.f == nil || got.f.code != "SignatureDoesNotMatch" {
						t.Errorf("a body of %d bytes: %v", len(body), got.f)
					}
				}
				r, _ := http.NewRequestWithContext(t.Context(), "PUT", signed, struct{ *strings.Reader }{strings.NewReader("hello")})
				r.ContentLength = -1
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if got := one(t, requests); got.f == nil {
					t.Error("a chunked body where the length is signed: accepted")
				}
			}
		})
	}
}

// TestVector is what aliyun-oss-go-sdk v3.0.2 sent, its signature recomputed with
// openssl; and the same as ali-oss 6.23 and aliyun-sdk 1.12 spell it.
func TestVector(t *testing.T) {
	r := httptest.NewRequest("PUT", "/mybucket/pid%2Fsub%20dir%2Fa%2Bb%20%E4%B8%AD.txt", nil)
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Set("Date", "Sat, 21 Nov 2026 01:01:06 GMT")
	r.Header.Set("X-Oss-Meta-Who", "me")
	r.Header.Set("X-Oss-Security-Token", "TOKEN+abc/def==")
	text := stringToSignV1(r, nil, r.Header.Get("Date"), resourcesV1(pathPlace(r))[0])
	if got := signV1("SKtest", text); got != "i2R+fP8kScL3qSJLecPWaaQdSnI=" {
		t.Errorf("%s from %q", got, text)
	}
	// ali-oss sends x-oss-date, which then stands twice.
	r.Header.Set("X-Oss-Date", "Sat, 21 Nov 2026 01:02:15 GMT")
	r.Header.Set("Content-Md5", "XUFAKrxLKna5cZ2REBfFkg==")
	r.Header.Del("Date")
	date, _, f := signedTime(r)
	if f != nil {
		t.Fatal(f)
	}
	if got := signV1("SKtest", stringToSignV1(r, nil, date, resourcesV1(pathPlace(r))[0])); got != "SMCJP+LzIiBxfu/Jj5hIfZzkNgM=" {
		t.Errorf("ali-oss: %s", got)
	}
}

// TestSpellings: how clients differ without meaning another thing.
func TestSpellings(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 1, 6, 0, time.UTC)
	a := testAuthority(t, now)
	base := reference{method: "GET", bucket: "mybucket", keyID: testKeyID, secret: testSecret, region: "cn-hangzhou", at: now, expires: time.Hour}
	accepted := func(name string, r *http.Request, p place) {
		t.Helper()
		if _, f := a.identify(r, p); f != nil {
			t.Errorf("%s: %v\n%s", name, f, f.element("StringToSign"))
		}
	}
	b := base
	b.method, b.key, b.query = "POST", "k", [][2]string{{"uploads", ""}}
	for _, kind := range []refKind{v1Header, v1URL, v4Header, v4URL} {
		b.kind = kind
		r := b.request()
		accepted(kind.String()+", bare name", r, pathPlace(r))
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "uploads", "uploads=", 1)
		accepted(kind.String()+", name with =", r, pathPlace(r))
	}
	b = base
	b.kind = v1Header
	r := b.request()
	accepted("the bucket with a slash", r, place{bucket: "mybucket"})
	// aliyun-sdk signs /mybucket.
	r.Header.Set("Authorization", "OSS "+testKeyID+":"+refMAC1(testSecret, "GET\n\n\n"+r.Header.Get("Date")+"\n/mybucket"))
	accepted("the bucket without", r, place{bucket: "mybucket"})
	if _, f := a.identify(r, place{bucket: "mybucket", key: "k"}); f == nil {
		t.Error("that is no key's signature")
	}
	// x-oss-date of V1 in the form of V4 ("0002-00000503").
	b.headers = map[string]string{"X-Oss-Date": "20261121T010106Z"}
	r = b.request()
	accepted("V1 with ISO time", r, pathPlace(r))
	// The page writes the fields of V4 with spaces, the SDKs without.
	b = base
	b.kind, b.headers, b.additional = v4Header, map[string]string{"range": "bytes=0-1"}, []string{"host", "range"}
	r = b.request()
	accepted("V4 without spaces", r, pathPlace(r))
	r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), ",", ", "))
	accepted("V4 with spaces", r, pathPlace(r))
	// A token may come in the other place, where that is signed too.
	id, secret, token := testSession(t, a, time.Hour, "")
	b = base
	b.keyID, b.secret = id, secret
	b.kind, b.query = v1Header, [][2]string{{"security-token", token}}
	r = b.request()
	accepted("V1 header, token in the query", r, pathPlace(r))
	b.kind, b.query = v4Header, [][2]string{{"x-oss-security-token", token}}
	r = b.request()
	accepted("V4 header, token in the query", r, pathPlace(r))
	b.query, b.headers = nil, map[string]string{"X-Oss-Security-Token": token}
	for _, kind := range []refKind{v1URL, v4URL} {
		b.kind = kind
		r = b.request()
		accepted(kind.String()+", token in a header", r, pathPlace(r))
	}
	// A region may be configured with its prefix.
	b = base
	b.kind = v4URL
	r = b.request()
	if _, f := testAuthority(t, now, func(o *Options) { o.Region = "oss-cn-hangzhou" }).identify(r, pathPlace(r)); f != nil {
		t.Error(f)
	}
	// The service level.
	b.bucket = ""
	for _, kind := range []refKind{v1Header, v1URL, v4Header, v4URL} {
		b.kind = kind
		accepted(kind.String()+", service", b.request(), place{})
	}
}
