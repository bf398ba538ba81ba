package ossemu

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	testKeyID  = "LTAItest"
	testSecret = "the-account's-secret"
	testRole   = "acs:ram::123456789012:role/uploader"
)

// testAuthority is an account with a clock that stands still at now; the zero
// time is the real clock.
func testAuthority(t testing.TB, now time.Time, change ...func(*Options)) *authority {
	t.Helper()
	o := Options{AccessKeyID: testKeyID, AccessKeySecret: testSecret, RoleARN: testRole}
	if !now.IsZero() {
		o.Now = func() time.Time { return now }
	}
	for _, c := range change {
		c(&o)
	}
	a, err := newAuthority(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// testSession is what AssumeRole would give.
func testSession(t testing.TB, a *authority, ttl time.Duration, document string) (id, secret, token string) {
	t.Helper()
	var d *string
	if document != "" {
		d = &document
	}
	s, secret, token, err := a.newSession("tester", ttl, d)
	if err != nil {
		t.Fatal(err)
	}
	return s.keyID, secret, token
}

// pathPlace resolves a request that names its bucket in the path.
func pathPlace(r *http.Request) place {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return place{bucket, key}
}

// received is a request as the server had it, and what identify said.
type received struct {
	r  *http.Request
	p  place
	id identity
	f  *fault
}

// verifier is a server that only verifies. Its answers are empty, which some
// calls of the SDKs take for an error: the tests look at what it received.
func verifier(t *testing.T, a *authority) (url string, requests func() []received) {
	t.Helper()
	c := make(chan received, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := pathPlace(r)
		id, f := a.identify(r, p)
		c <- received{r.Clone(t.Context()), p, id, f}
		if f != nil {
			w.WriteHeader(f.status)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", f.code, f.message)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []received {
		var all []received
		for len(c) > 0 {
			all = append(all, <-c)
		}
		return all
	}
}

// one is the only request that came.
func one(t *testing.T, requests func() []received) received {
	t.Helper()
	all := requests()
	if len(all) != 1 {
		t.Fatalf("%d requests came, not one", len(all))
	}
	return all[0]
}

// more is a further element of a fault's document.
func (f *fault) element(name string) string {
	for _, m := range f.more {
		if m[0] == name {
			return m[1]
		}
	}
	return ""
}

func TestNewAuthorityNamesEveryBadOption(t *testing.T) {
	_, err := newAuthority(Options{
		AccessKeyID: "STS.mine", RoleARN: "acs:ram::x:role/y", MaxSession: time.Minute, Region: "cn hangzhou", STSLimit: -1,
	}, nil)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"access key id", "secret", "role", "longest session", "region", "STS limit"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in: %v", want, err)
		}
	}
}

// TestRefusals is the table of what identify refuses, each with its status and
// code. The base of every row is a request that is right.
func TestRefusals(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 1, 6, 0, time.UTC)
	a := testAuthority(t, now)
	sid, ssecret, stoken := testSession(t, a, time.Hour, "")
	_, _, otherToken := testSession(t, a, time.Hour, "")
	short := testAuthority(t, now.Add(-2*time.Hour))
	eid, esecret, etoken := testSession(t, short, time.Hour, "")
	stranger := testAuthority(t, now, func(o *Options) { o.AccessKeySecret = "another" })
	_, _, strangeToken := testSession(t, stranger, time.Hour, "")
	tampered := func(token string) string {
		raw, _ := base64.StdEncoding.DecodeString(token)
		raw[len(raw)/2] ^= 1
		return base64.StdEncoding.EncodeToString(raw)
	}

	base := reference{
		kind: v1Header, method: "PUT", bucket: "bucket", key: "pid/a.jpg", keyID: testKeyID, secret: testSecret,
		region: "cn-hangzhou", at: now, expires: time.Hour, headers: map[string]string{"Content-Type": "image/jpeg"},
	}
	with := func(kind refKind, change ...func(*reference)) reference {
		b := base
		b.kind = kind
		for _, c := range change {
			c(&b)
		}
		return b
	}
	key := func(id, secret, token string) func(*reference) {
		return func(b *reference) { b.keyID, b.secret, b.token = id, secret, token }
	}
	late := func(d time.Duration) func(*reference) { return func(b *reference) { b.at = b.at.Add(d) } }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			if r.Header.Del(name); value != "" {
				r.Header.Set(name, value)
			}
		}
	}
	query := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			if q.Del(name); value != "" {
				q.Set(name, value)
			}
			r.URL.RawQuery = q.Encode()
		}
	}
	add := func(pair string) func(*http.Request) {
		return func(r *http.Request) { r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&"+pair, "&") }
	}
	authorization := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, new, 1))
		}
	}
	nothing := func(*http.Request) {}

	rows := []struct {
		name   string
		b      reference
		change func(*http.Request)
		status int
		code   string
	}{
		{"anonymous", base, header("Authorization", ""), 403, "AccessDenied"},
		{"another scheme", base, header("Authorization", "Bearer x"), 400, "InvalidArgument"},
		{"no colon", base, header("Authorization", "OSS abc"), 400, "InvalidArgument"},
		{"no signature", base, header("Authorization", "OSS abc:"), 400, "InvalidArgument"},
		{"no key id", base, header("Authorization", "OSS :abc"), 400, "InvalidArgument"},
		{"a tab in the key id", base, header("Authorization", "OSS a\tb:abc"), 400, "InvalidArgument"},
		{"two headers", base, func(r *http.Request) { r.Header.Add("Authorization", "OSS a:b") }, 400, "InvalidArgument"},
		{"V2 header", base, header("Authorization", "OSS2 AccessKeyId:a,Signature:b"), 400, "InvalidArgument"},
		{"V2 URL", with(v4URL), query("x-oss-signature-version", "OSS2"), 400, "InvalidArgument"},
		{"header and V1 URL", with(v1URL), header("Authorization", "OSS a:b"), 400, "InvalidArgument"},
		{"header and V4 URL", with(v4URL), header("Authorization", "OSS a:b"), 400, "InvalidArgument"},
		{"V1 and V4 URL", with(v4URL), add("Signature=a"), 400, "InvalidArgument"},
		{"a query that can't be read", base, add("a=%zz"), 400, "InvalidArgument"},

		{"unknown key", with(v1Header, key("LTAInobody", testSecret, "")), nothing, 403, "InvalidAccessKeyId"},
		{"unknown key, V4", with(v4Header, key("LTAInobody", testSecret, "")), nothing, 403, "InvalidAccessKeyId"},
		{"wrong secret", with(v1Header, key(testKeyID, "wrong", "")), nothing, 403, "SignatureDoesNotMatch"},
		{"wrong secret, V1 URL", with(v1URL, key(testKeyID, "wrong", "")), nothing, 403, "SignatureDoesNotMatch"},
		{"wrong secret, V4", with(v4Header, key(testKeyID, "wrong", "")), nothing, 403, "SignatureDoesNotMatch"},
		{"wrong secret, V4 URL", with(v4URL, key(testKeyID, "wrong", "")), nothing, 403, "SignatureDoesNotMatch"},
		{"no secret", with(v1Header, key(testKeyID, "", "")), nothing, 403, "SignatureDoesNotMatch"},

		{"a session's id without token", with(v1Header, key(sid, ssecret, "")), nothing, 403, "InvalidAccessKeyId"},
		{"… in a V4 URL", with(v4URL, key(sid, ssecret, "")), nothing, 403, "InvalidAccessKeyId"},
		{"another session's token", with(v1Header, key(sid, ssecret, otherToken)), nothing, 403, "InvalidSecurityToken"},
		{"another account's token", with(v1Header, key(sid, ssecret, strangeToken)), nothing, 403, "InvalidSecurityToken"},
		{"a tampered token", with(v4Header, key(sid, ssecret, tampered(stoken))), nothing, 403, "InvalidSecurityToken"},
		{"no token at all", with(v1Header, key(sid, ssecret, "TOKEN")), nothing, 403, "InvalidSecurityToken"},
		{"a token with the account's key", with(v1Header, key(testKeyID, testSecret, stoken)), nothing, 403, "InvalidAccessKeyId"},
		{"a session ended", with(v1Header, key(eid, esecret, etoken)), nothing, 403, "SecurityTokenExpired"},
		{"… in a V1 URL", with(v1URL, key(eid, esecret, etoken)), nothing, 403, "SecurityTokenExpired"},
		{"… in a V4 URL", with(v4URL, key(eid, esecret, etoken)), nothing, 403, "SecurityTokenExpired"},
		{"the account's secret with a session's id", with(v1Header, key(sid, testSecret, stoken)), nothing, 403, "SignatureDoesNotMatch"},

		{"no date", base, header("Date", ""), 403, "AccessDenied"},
		{"no date, V4", with(v4Header), header("X-Oss-Date", ""), 403, "AccessDenied"},
		{"a bad date", base, header("Date", "yesterday"), 403, "AccessDenied"},
		{"a slow clock", with(v1Header, late(-15*time.Minute-time.Second)), nothing, 403, "RequestTimeTooSkewed"},
		{"a fast clock", with(v1Header, late(15*time.Minute+time.Second)), nothing, 403, "RequestTimeTooSkewed"},
		{"a slow clock, V4", with(v4Header, late(-15*time.Minute-time.Second)), nothing, 403, "RequestTimeTooSkewed"},
		{"x-oss-date is what counts", base, header("X-Oss-Date", "Sat, 21 Nov 2026 00:01:06 GMT"), 403, "RequestTimeTooSkewed"},

		{"an expired V1 URL", with(v1URL, late(-time.Hour-time.Second)), nothing, 403, "AccessDenied"},
		{"an expired V4 URL", with(v4URL, late(-time.Hour-time.Second)), nothing, 403, "AccessDenied"},
		{"a V1 URL's time is no number", with(v1URL), query("Expires", "soon"), 403, "AccessDenied"},
		{"a V1 URL without time", with(v1URL), query("Expires", ""), 403, "AccessDenied"},
		{"a V1 URL without signature", with(v1URL), query("Signature", ""), 403, "AccessDenied"},
		{"a V1 URL without key", with(v1URL), query("OSSAccessKeyId", ""), 403, "AccessDenied"},
		{"a V1 URL with two keys", with(v1URL), add("OSSAccessKeyId=x"), 403, "AccessDenied"},
		{"a V4 URL for more than a week", with(v4URL, func(b *reference) { b.expires = 604801 * time.Second }), nothing, 400, "InvalidArgument"},
		{"a V4 URL for no time", with(v4URL, func(b *reference) { b.expires = 0 }), nothing, 400, "InvalidArgument"},
		{"a V4 URL from the future", with(v4URL, late(time.Hour)), nothing, 403, "RequestTimeTooSkewed"},
		{"a V4 URL without time", with(v4URL), query("x-oss-expires", ""), 400, "InvalidArgument"},
		{"a V4 URL without signature", with(v4URL), query("x-oss-signature", ""), 400, "InvalidArgument"},
		{"a V4 URL without credential", with(v4URL), query("x-oss-credential", ""), 400, "InvalidArgument"},
		{"a V4 URL without date", with(v4URL), query("x-oss-date", ""), 400, "InvalidArgument"},
		{"a V4 URL without version", with(v4URL), query("x-oss-signature-version", ""), 400, "InvalidArgument"},
		{"a V4 URL with a V1 date", with(v4URL), query("x-oss-date", "Sat, 21 Nov 2026 01:01:06 GMT"), 400, "InvalidArgument"},

		{"another region", with(v4Header, func(b *reference) { b.region = "cn-beijing" }), nothing, 400, "InvalidArgument"},
		{"another region, URL", with(v4URL, func(b *reference) { b.region = "cn-beijing" }), nothing, 400, "InvalidArgument"},
		{"another day in the scope", with(v4Header, func(b *reference) { b.day = "20261120" }), nothing, 400, "InvalidArgument"},
		{"another day in the scope, URL", with(v4URL, func(b *reference) { b.day = "20261122" }), nothing, 400, "InvalidArgument"},
		{"another product", with(v4Header), authorization("/oss/", "/oss-cloudbox/"), 400, "InvalidArgument"},
		{"another end of the scope", with(v4Header), authorization("aliyun_v4_request", "aws4_request"), 400, "InvalidArgument"},
		{"a scope without region", with(v4Header), authorization("/cn-hangzhou", ""), 400, "InvalidArgument"},
		{"V4 without credential", with(v4Header), header("Authorization", "OSS4-HMAC-SHA256 Signature=18"), 400, "InvalidArgument"},
		{"V4 with an unknown field", with(v4Header), authorization("Signature=", "Sign=1,Signature="), 400, "InvalidArgument"},
		{"V4 with two signatures", with(v4Header), authorization("Signature=", "Signature=1,Signature="), 400, "InvalidArgument"},
		{"V4 with an empty list", with(v4Header), authorization("Signature=", "AdditionalHeaders=,Signature="), 400, "InvalidArgument"},
		{"V4 with a list out of order", with(v4Header), authorization("Signature=", "AdditionalHeaders=range;host,Signature="), 400, "InvalidArgument"},
		{"V4 with capitals in the list", with(v4Header), authorization("Signature=", "AdditionalHeaders=Host,Signature="), 400, "InvalidArgument"},
		{"V4 with an end in the list", with(v4Header), authorization("Signature=", "AdditionalHeaders=host;,Signature="), 400, "InvalidArgument"},
		{"V4 without x-oss-content-sha256", with(v4Header), header("X-Oss-Content-Sha256", ""), 400, "InvalidArgument"},
		{"V4 with a digest", with(v4Header), header("X-Oss-Content-Sha256", strings.Repeat("0", 64)), 400, "InvalidArgument"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := row.b.request()
			row.change(r)
			id, f := a.identify(r, pathPlace(r))
			if f == nil {
				t.Fatal("accepted")
			}
			if f.status != row.status || f.code != row.code {
				t.Errorf("%d %s (%s), not %d %s", f.status, f.code, f.message, row.status, row.code)
			}
			if id.keyID != "" || id.may("oss:GetObject", "acs:oss:*:*:bucket/key") == nil {
				t.Errorf("a refused caller is %+v", id)
			}
			if f.code == "SignatureDoesNotMatch" {
				for _, name := range []string{"OSSAccessKeyId", "SignatureProvided", "StringToSign", "StringToSignBytes"} {
					if f.element(name) == "" {
						t.Errorf("no %s", name)
					}
				}
				if v4 := row.b.kind >= v4Header; v4 != (f.element("CanonicalRequest") != "") {
					t.Error("CanonicalRequest belongs to V4 alone")
				}
			}
		})
	}
}

// TestLastMoments: what is good is good until its end, inclusive.
func TestLastMoments(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 1, 6, 0, time.UTC)
	a := testAuthority(t, now)
	for _, row := range []struct {
		kind refKind
		at   time.Time
	}{
		{v1Header, now.Add(-15 * time.Minute)}, {v1Header, now.Add(15 * time.Minute)}, {v4Header, now.Add(-15 * time.Minute)},
		{v1URL, now.Add(-time.Hour)}, {v4URL, now.Add(-time.Hour)}, {v4URL, now.Add(15 * time.Minute)},
	} {
		b := reference{kind: row.kind, method: "GET", bucket: "bucket", key: "k", keyID: testKeyID, secret: testSecret, region: "cn-hangzhou", at: row.at, expires: time.Hour}
		r := b.request()
		if _, f := a.identify(r, pathPlace(r)); f != nil {
			t.Errorf("%v at %v: %v", row.kind, row.at.Sub(now), f)
		}
	}
	b := reference{kind: v4URL, method: "GET", bucket: "bucket", key: "k", keyID: testKeyID, secret: testSecret, region: "cn-hangzhou", at: now, expires: 604800 * time.Second}
	r := b.request()
	if _, f := a.identify(r, pathPlace(r)); f != nil {
		t.Errorf("a week: %v", f)
	}
}

func TestMay(t *testing.T) {
	a := testAuthority(t, time.Time{})
	user := identity{keyID: testKeyID}
	if f := user.may("oss:PutBucketCors", "acs:oss:*:*:bucket"); f != nil {
		t.Errorf("the account's user: %v", f)
	}
	if f := (identity{}).may("oss:GetObject", "acs:oss:*:*:bucket/key"); f == nil || f.code != "AccessDenied" {
		t.Errorf("nobody: %v", f)
	}
	asSession := func(document string) identity {
		id, _, token := testSession(t, a, time.Hour, document)
		s, err := a.openToken(token)
		if err != nil {
			t.Fatal(err)
		}
		return identity{keyID: id, session: s}
	}
	if f := asSession("").may("oss:PutBucketCors", "acs:oss:*:*:bucket"); f != nil {
		t.Errorf("a session without a policy has the role's right: %v", f)
	}
	writer := asSession(`{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:PutObject","oss:AbortMultipartUpload","oss:ListParts"],"Resource":["acs:oss:*:*:bucket/pid/*"]}]}`)
	for _, row := range []struct {
		action, resource string
		may              bool
	}{
		{"oss:PutObject", "acs:oss:*:*:bucket/pid/a.jpg", true},
		{"oss:PutObject", "acs:oss:*:*:bucket/pid/sub/a.jpg", true},
		{"oss:ListParts", "acs:oss:*:*:bucket/pid/a.jpg", true},
		{"oss:GetObject", "acs:oss:*:*:bucket/pid/a.jpg", false},
		{"oss:DeleteObject", "acs:oss:*:*:bucket/pid/a.jpg", false},
		{"oss:PutObject", "acs:oss:*:*:bucket/pid2/a.jpg", false},
		{"oss:PutObject", "acs:oss:*:*:bucket/PID/a.jpg", false},
		{"oss:PutObject", "acs:oss:*:*:bucket/pid", false},
		{"oss:PutObject", "acs:oss:*:*:bucket2/pid/a.jpg", false},
		{"oss:ListObjects", "acs:oss:*:*:bucket", false},
	} {
		f := writer.may(row.action, row.resource)
		if (f == nil) != row.may {
			t.Errorf("%s on %s: %v", row.action, row.resource, f)
		}
		if f != nil && (f.status != 403 || f.code != "AccessDenied") {
			t.Errorf("%s on %s: %d %s", row.action, row.resource, f.status, f.code)
		}
	}
}
