package client

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// roundTrip is a network that only listens.
type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	return f(r), nil
}

// The signature is, byte for byte, that of Aliyun's own SDK.
func TestSignatureIsTheSDKs(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 12, 31, 23, 59, 58, 0, time.UTC)
	keys := []string{
		"01J0000000000000000000000A/0123456789abcdef0123456789abcdef01234567.jpg",
		"pid/sub dir/a+b 中.txt", "pid/100%.jpg", "pid/a%2Fb", "pid/!'()*.jpg", "pid/~-_.", "pid/é\u0301.JPG",
		"pid/a&b=c?d#e", "pid/q;\"<>\\^`{|}", "pid//x", "pid/照片/🛩.jpg", "p",
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var b strings.Builder
		for range 1 + r.IntN(40) {
			b.WriteRune([]rune("abcXYZ019-_.~/ +%&=?#!'()*;:@,$[]é中🛩\u0301")[r.IntN(37)])
		}
		keys = append(keys, strings.Trim(b.String(), "/")+"k")
	}
	for i, key := range keys {
		size := int64(i * 7 % 50)
		s := Session{
			ID: "STS.NTest", Secret: "s3cr3t+/=", Token: "CAIS+tok/en==", Endpoint: "https://oss-cn-hangzhou.aliyuncs.com",
			Bucket: "photos", Region: "cn-hangzhou", Key: key,
		}
		if i%5 == 0 {
			s.Region, s.Bucket, s.Token = "ap-southeast-1", "photos-sg", ""
		}
		sum := base64.StdEncoding.EncodeToString(md5.New().Sum(nil))
		kind := []string{"image/jpeg", "application/octet-stream", "text/plain; charset=utf-8"}[i%3]

		var want *http.Request
		listener := roundTrip(func(r *http.Request) *http.Response {
			want = r
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}
		})
		c, err := oss.New(s.Endpoint, s.ID, s.Secret, oss.SecurityToken(s.Token), oss.AuthVersion(oss.AuthV4), oss.Region(s.Region),
			oss.AdditionalHeaders([]string{"content-length"}), oss.HTTPClient(&http.Client{Transport: listener}))
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.Bucket(s.Bucket)
		if err != nil {
			t.Fatal(err)
		}
		err = b.PutObject(key, strings.NewReader(strings.Repeat("x", int(size))), oss.ContentType(kind),
			oss.SetHeader("X-Oss-Date", at.Format(ossTime)), oss.SetHeader("x-oss-meta-who", " me "), oss.ContentMD5(sum))
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}

		got, err := http.NewRequest(http.MethodPut, "https://photos.oss-cn-hangzhou.aliyuncs.com/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		got.Header.Set("Content-Type", kind)
		got.Header.Set("X-Oss-Meta-Who", " me ")
		got.Header.Set("Content-MD5", sum)
		if got.ContentLength = size; size > 0 {
			got.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", int(size))))
		}
		s.Sign(got, at.In(time.FixedZone("CST", 8*3600)))
		for _, h := range []string{"Authorization", "X-Oss-Date", "X-Oss-Content-Sha256", "X-Oss-Security-Token", "Content-Type"} {
			if got.Header.Get(h) != want.Header.Get(h) {
				t.Errorf("%q, %d bytes: %s is\n%s, the SDK's is\n%s", key, size, h, got.Header.Get(h), want.Header.Get(h))
			}
		}
	}
}

// Requests of uploads in parts, which a library's user may sign, have a query.
func TestSignatureOfAQueryIsTheSDKs(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 1, 1, 6, 0, time.UTC)
	s := Session{ID: "STS.NTest", Secret: "secret", Token: "token", Bucket: "photos", Region: "cn-hangzhou", Key: "pid/a b.jpg"}
	var want *http.Request
	listener := roundTrip(func(r *http.Request) *http.Response {
		want = r
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}
	})
	c, err := oss.New("https://oss-cn-hangzhou.aliyuncs.com", s.ID, s.Secret, oss.SecurityToken(s.Token), oss.AuthVersion(oss.AuthV4),
		oss.Region(s.Region), oss.AdditionalHeaders([]string{"content-length"}), oss.HTTPClient(&http.Client{Transport: listener}))
	if err != nil {
		t.Fatal(err)
	}
	for _, params := range []map[string]any{
		{"uploads": nil}, {"partNumber": "3", "uploadId": "AB+/= c"}, {"a-b": "1", "a": "2", "ab": ""},
	} {
		_, err := c.Conn.Do("PUT", s.Bucket, s.Key, params, map[string]string{"x-oss-date": at.Format(ossTime), "Content-Type": "x/y"}, strings.NewReader("four"), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := http.NewRequest(http.MethodPut, want.URL.String(), strings.NewReader("four"))
		if err != nil {
			t.Fatal(err)
		}
		got.Header.Set("Content-Type", "x/y")
		s.Sign(got, at)
		if got.Header.Get("Authorization") != want.Header.Get("Authorization") {
			t.Errorf("%v: %s, the SDK's is %s", params, got.Header.Get("Authorization"), want.Header.Get("Authorization"))
		}
	}
}

// Nobody prints a session's secrets by accident.
func TestSessionPrintsNoSecret(t *testing.T) {
	t.Parallel()
	g := Grant{Kind: "session", Session: &Session{ID: "STS.hush", Secret: "hush-secret", Token: "hush-token", Bucket: "photos", Key: "pid/a.jpg"}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "session", *g.Session, "same", g.Session)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "session", *g.Session, "grant", g)
	for _, s := range []string{
		fmt.Sprint(g), fmt.Sprintf("%+v", g), fmt.Sprintf("%#v", *g.Session), fmt.Sprintf("%v %+v %s", g.Session, *g.Session, g.Session), log.String(),
	} {
		if strings.Contains(s, "hush") {
			t.Errorf("prints %s", s)
		}
	}
	if b, err := json.Marshal(g); err != nil || !strings.Contains(string(b), "hush-secret") {
		t.Errorf("%s %v: JSON is the wire and must be whole", b, err)
	}
}
