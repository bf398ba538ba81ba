package oss

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/presign"
)

// site is one way to reach a bucket.
type site struct {
	bucket, region, endpoint string
	pathStyle                bool
}

func sites() []site {
	return []site{
		{bucket: "photos-hz", region: "cn-hangzhou"},
		{bucket: "photos", region: "ap-southeast-1", endpoint: "http://127.0.0.1:9000"},
		{bucket: "photos", region: "eu-central-1", endpoint: "https://oss.example.com:8443"},
		{bucket: "photos", region: "cn-hongkong", endpoint: "http://localhost:9000", pathStyle: true},
		{bucket: "photos", region: "cn-hongkong", endpoint: "http://[::1]:9000"},
	}
}

// siteBucket is a bucket of ours and the SDK's, with the same credentials. The
// clock is what *now says.
func siteBucket(t testing.TB, s site, c credential, now *time.Time) (*Bucket, *sdk.Bucket) {
	t.Helper()
	b := open(t, Options{
		Bucket: s.bucket, Region: s.region, Endpoint: s.endpoint, PathStyle: s.pathStyle,
		AccessKeyID: "other", AccessKeySecret: "other", Now: func() time.Time { return *now },
	})
	b.sign.creds = fixed(c)
	client, err := sdk.New(b.o.PublicEndpoint, c.id, c.secret, sdk.SecurityToken(c.token), sdk.AuthVersion(sdk.AuthV4), sdk.Region(s.region),
		sdk.ForcePathStyle(s.pathStyle), sdk.AdditionalHeaders([]string{"content-length"}), sdk.VerifyObjectStrict(false))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := client.Bucket(s.bucket)
	if err != nil {
		t.Fatal(err)
	}
	return b, theirs
}

// sdkURL signs with the SDK, whose clock is the real one, and tells which time
// that was. The SDK escapes the slashes of keys, which its own signature does not.
func sdkURL(t *testing.T, b *sdk.Bucket, method sdk.HTTPMethod, key string, ttl time.Duration, opts ...sdk.Option) (signed string, at time.Time, life time.Duration) {
	t.Helper()
	signed, err := b.SignURL(key, method, int64(ttl/time.Second), opts...)
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(signed, "?")
	signed = strings.ReplaceAll(path, "%2F", "/") + "?" + query
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	if at, err = time.Parse("20060102T150405Z", values.Get("x-oss-date")); err != nil {
		t.Fatal(err)
	}
	seconds, err := strconv.Atoi(values.Get("x-oss-expires"))
	if err != nil {
		t.Fatal(err)
	}
	return signed, at, time.Duration(seconds) * time.Second
}

// samePut fails unless both presigners make the same URL.
func samePut(t *testing.T, s site, c credential, key string, bind broker.Binding, ttl time.Duration) {
	t.Helper()
	var now time.Time
	b, theirs := siteBucket(t, s, c, &now)
	var opts []sdk.Option
	if bind.SizeBytes >= 0 {
		opts = append(opts, sdk.ContentLength(bind.SizeBytes))
	}
	if bind.ContentType != "" {
		opts = append(opts, sdk.ContentType(bind.ContentType))
	}
	want, at, life := sdkURL(t, theirs, sdk.HTTPPut, key, ttl, opts...)
	now = at.Add(7e8)
	got, err := b.SignPut(t.Context(), key, bind, life+3e8)
	if err != nil {
		t.Fatal(err)
	}
	if got.URL != want {
		t.Fatalf("key %q, %+v:\n got %s\nwant %s", key, bind, got.URL, want)
	}
	if got.Method != "PUT" || !got.ExpiresAt.Equal(at.Add(life)) {
		t.Fatalf("got method %s until %v", got.Method, got.ExpiresAt)
	}
	headers := map[string]string{}
	if bind.ContentType != "" {
		headers["content-type"] = bind.ContentType
	}
	if fmt.Sprint(got.Headers) != fmt.Sprint(headers) {
		t.Fatalf("it asks for %v, not %v", got.Headers, headers)
	}
}

func sameGet(t *testing.T, s site, c credential, key string, opts storage.GetOptions, ttl time.Duration) {
	t.Helper()
	var now time.Time
	b, theirs := siteBucket(t, s, c, &now)
	var with []sdk.Option
	if opts.Filename != "" {
		with = append(with, sdk.ResponseContentDisposition(presign.Attachment(opts.Filename)))
	}
	if opts.ContentType != "" {
		with = append(with, sdk.ResponseContentType(opts.ContentType))
	}
	if opts.Version != "" {
		with = append(with, sdk.VersionId(opts.Version))
	}
	want, at, life := sdkURL(t, theirs, sdk.HTTPGet, key, ttl, with...)
	now = at
	got, err := b.SignGet(t.Context(), key, opts, life)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("key %q, %+v:\n got %s\nwant %s", key, opts, got, want)
	}
}

// randomKey draws from what trips signers.
func randomKey(r *rand.Rand) string {
	alphabet := []rune("abzAZ019-_.~ +%&=?#'\"()*!@$,;:[]{}<>|^`/é中文😀\u00a0ß")
	var sb strings.Builder
	for n := 1 + r.IntN(40); n > 0; n-- {
		sb.WriteRune(alphabet[r.IntN(len(alphabet))])
	}
	return sb.String()
}

func TestSignEqualsSDK(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	types := []string{"", "image/jpeg", "text/plain; charset=utf-8", `multipart/form-data; boundary="a b+c"`}
	tokens := []string{"", "TOKEN+abc/def==", strings.Repeat("x/+=", 300)}
	for _, s := range sites() {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			for range 150 {
				c := credential{id: "LTAI/example+", secret: strings.Repeat("s/+", 1+r.IntN(30)), token: tokens[r.IntN(len(tokens))]}
				bind := broker.Binding{SizeBytes: r.Int64N(1 << 40), ContentType: types[r.IntN(len(types))]}
				switch r.IntN(3) {
				case 0:
					bind.SizeBytes = -1
				case 1:
					bind.SizeBytes = r.Int64N(20)
				}
				key, ttl := randomKey(r), time.Second+time.Duration(r.Int64N(int64(storage.MaxTTL-time.Second)))
				samePut(t, s, c, key, bind, ttl)
				opts := storage.GetOptions{ContentType: types[r.IntN(len(types))]}
				if r.IntN(2) == 0 {
					opts.Filename = randomKey(r)
				}
				if r.IntN(2) == 0 {
					opts.Version = "v+/=" + randomKey(r)
				}
				sameGet(t, s, c, key, opts, ttl)
			}
		})
	}
}

func FuzzSignEqualsSDK(f *testing.F) {
	f.Add("pid/a b+c%~'\".jpg", "image/jpeg", "", "secret", int64(5))
	f.Add("pid/中/é", "", "TOKEN+/=", "s", int64(-1))
	f.Fuzz(func(t *testing.T, key, contentType, token, secret string, size int64) {
		var now time.Time
		b, _ := siteBucket(t, sites()[0], credential{id: "A", secret: "S"}, &now)
		// The portable type says what may reach the signer.
		if _, err := portable(t, b).SignPut(t.Context(), key, broker.Binding{ContentType: contentType}, time.Minute); err != nil {
			return
		}
		if token != strings.TrimSpace(token) { // the SDK cuts that off
			return
		}
		c := credential{id: "LTAI", secret: secret, token: token}
		for _, s := range sites()[:2] {
			samePut(t, s, c, key, broker.Binding{SizeBytes: max(size, -1), ContentType: contentType}, time.Hour)
			sameGet(t, s, c, key, storage.GetOptions{Filename: key, ContentType: contentType}, time.Hour)
		}
	})
}

// source changes its mind.
type source func() (credential, error)

func (s source) get(context.Context) (credential, error) { return s() }

// The cached key must follow the day and the credentials. The SDK's clock can't be
// moved, so a presigner without a past is the measure.
func TestSignFollowsDayAndCredentials(t *testing.T) {
	now := time.Date(2030, 1, 1, 23, 59, 58, 0, time.UTC)
	c := credential{id: "A", secret: "one"}
	b, _ := siteBucket(t, sites()[0], c, &now)
	b.sign.creds = source(func() (credential, error) { return c, nil })
	seen := map[string]bool{}
	for i := range 6 {
		if i%2 == 1 {
			c = credential{id: "A", secret: fmt.Sprint("two", i), token: fmt.Sprint("token", i)}
		}
		got, err := b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: 7}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		fresh, _ := siteBucket(t, sites()[0], c, &now)
		want, err := fresh.SignPut(t.Context(), "k", broker.Binding{SizeBytes: 7}, time.Hour)
		if err != nil || got.URL != want.URL || seen[got.URL] {
			t.Fatalf("step %d, %v:\n got %s\nwant %s", i, err, got.URL, want.URL)
		}
		seen[got.URL] = true
		now = now.Add(time.Second)
	}
}

func TestSignEndsWithItsCredentials(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 5e8, time.UTC)
	c := credential{id: "STS.A", secret: "s", token: "t", expires: now.Add(90 * time.Second)}
	b, _ := siteBucket(t, sites()[0], c, &now)
	req, err := b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if req.ExpiresAt.After(c.expires) || !strings.Contains(req.URL, "&x-oss-expires=90&x-oss-security-token=t&") {
		t.Errorf("the grant lives until %v, its credentials until %v: %s", req.ExpiresAt, c.expires, req.URL)
	}
	now = now.Add(2 * time.Minute)
	_, err = b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, time.Hour)
	if !errors.Is(err, errCredentials) || b.Code(err) != broker.CodeDenied {
		t.Errorf("signing with ended credentials: %v, code %s", err, b.Code(err))
	}
	// Without an end they sign for a week at most, which is what OSS takes.
	b.sign.creds = fixed(credential{id: "A", secret: "s"})
	if req, err = b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, 1000*time.Hour); err != nil || !strings.Contains(req.URL, "x-oss-expires=604800&") {
		t.Errorf("%v: %s", err, req.URL)
	}
}

func TestSignAtOnce(t *testing.T) {
	now := time.Unix(1.8e9, 0)
	b, _ := siteBucket(t, sites()[0], credential{id: "A", secret: "s"}, &now)
	want := map[string]string{}
	keys := []string{"a", "b/c d", strings.Repeat("long/", 150) + "x"}
	for _, key := range keys {
		req, err := b.SignPut(t.Context(), key, broker.Binding{SizeBytes: 1}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		want[key] = req.URL
	}
	done := make(chan string)
	for range 4 {
		go func() {
			for i := range 500 {
				key := keys[i%len(keys)]
				if req, err := b.SignPut(context.Background(), key, broker.Binding{SizeBytes: 1}, time.Hour); err != nil || req.URL != want[key] {
					done <- fmt.Sprintf("key %q: %s, %v", key, req.URL, err)
					return
				}
			}
			done <- ""
		}()
	}
	for range 4 {
		if fault := <-done; fault != "" {
			t.Error(fault)
		}
	}
}

func TestAttachment(t *testing.T) {
	for name, want := range map[string]string{
		"a b.jpg":   `attachment; filename="a b.jpg"`,
		`a"b\c%.x`:  `attachment; filename="a_b_c_.x"; filename*=UTF-8''a%22b%5Cc%25.x`,
		"é中.jpg":    `attachment; filename="__.jpg"; filename*=UTF-8''%C3%A9%E4%B8%AD.jpg`,
		"a\r\nb: c": `attachment; filename="a__b: c"; filename*=UTF-8''a%0D%0Ab%3A%20c`,
	} {
		if got := presign.Attachment(name); got != want {
			t.Errorf("%q:\n got %s\nwant %s", name, got, want)
		}
	}
}

// TestGrantHeaders sends headers beside a grant that was not signed for them. With
// some OSS would do more than store the body.
func TestGrantHeaders(t *testing.T) {
	c := startCloud(t, nil, "photos")
	b := open(t, c.options("photos"))
	req, err := b.SignPut(t.Context(), testPrefix+"x", broker.Binding{SizeBytes: 4, ContentType: "image/jpeg"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"x-oss-object-acl": "public-read", "x-oss-callback": "e30=", "x-oss-symlink-target": "y", "x-oss-meta-a": "b",
		"x-oss-forbid-overwrite": "true", "x-oss-storage-class": "Archive", "x-oss-tagging": "a=b", "x-oss-security-token": "t",
		"content-md5": "AAAA",
	} {
		wrong := req
		wrong.Headers = map[string]string{"content-type": "image/jpeg", name: value}
		if status, answer := send(t, c.client(), wrong, "body"); status != 403 {
			t.Errorf("with %s: %d: %s", name, status, answer)
		}
	}
	if _, err := b.Stat(t.Context(), testPrefix+"x"); b.Code(err) != broker.CodeNotFound {
		t.Errorf("something was stored: %v", err)
	}
	if status, answer := send(t, c.client(), req, "body"); status != 200 {
		t.Errorf("%d: %s", status, answer)
	}
}

func benchmarkBinding() broker.Binding {
	return broker.Binding{SizeBytes: 5_700_000, ContentType: "image/jpeg"}
}

const benchmarkKey = testPrefix + "0123456789abcdef0123456789abcdef01234567.jpg"

func BenchmarkSignPut(b *testing.B) {
	bucket, _ := siteBucket(b, sites()[0], credential{id: "LTAIexample", secret: "secret"}, &time.Time{})
	bucket.sign.now = time.Now
	bind := benchmarkBinding()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bucket.SignPut(b.Context(), benchmarkKey, bind, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignPutSDK(b *testing.B) {
	_, bucket := siteBucket(b, sites()[0], credential{id: "LTAIexample", secret: "secret"}, &time.Time{})
	bind := benchmarkBinding()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bucket.SignURL(benchmarkKey, sdk.HTTPPut, 3600, sdk.ContentLength(bind.SizeBytes), sdk.ContentType(bind.ContentType)); err != nil {
			b.Fatal(err)
		}
	}
}
