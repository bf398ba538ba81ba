package ossemu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// emulator is a running one, on a loopback port.
type emulator struct {
	*Server
	url string
	dir string
}

// start runs an emulator with the bucket photos. change may set options.
func start(t testing.TB, change ...func(*Options)) emulator {
	t.Helper()
	o := Options{
		Buckets:     []string{"photos"},
		AccessKeyID: testKeyID, AccessKeySecret: testSecret, RoleARN: testRole,
	}
	for _, c := range change {
		c(&o)
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return emulator{s, web.URL, o.Dir}
}

// signatures are the versions that the SDK can sign with.
var signatures = map[string][]oss.ClientOption{
	"V1": {oss.AuthVersion(oss.AuthV1)},
	"V4": {oss.AuthVersion(oss.AuthV4), oss.Region("cn-hangzhou")},
}

func (e emulator) client(t testing.TB, options ...oss.ClientOption) *oss.Client {
	t.Helper()
	c, err := oss.New(e.url, testKeyID, testSecret, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (e emulator) bucket(t testing.TB, options ...oss.ClientOption) *oss.Bucket {
	t.Helper()
	b, err := e.client(t, options...).Bucket("photos")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// send sends a request as the bucket's owner that no SDK would: key is on the
// path as it is given, and header lists names and values in turn. It is signed
// by a URL of the SDK's, whose path is then replaced by an equal one.
func (e emulator) send(t testing.TB, method, path string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, e.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	e.sign(t, r)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func text(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantError checks an answer's status and the code in its document.
func wantError(t testing.TB, resp *http.Response, status int, code string) {
	t.Helper()
	body := text(t, resp.Body)
	if resp.StatusCode != status || !strings.Contains(body, "<Code>"+code+"</Code>") {
		t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, status, code)
	}
	if len(resp.Header.Get("X-Oss-Request-Id")) != 24 || !strings.Contains(body, resp.Header.Get("X-Oss-Request-Id")) {
		t.Errorf("request id %q is not that of the document", resp.Header.Get("X-Oss-Request-Id"))
	}
}

// wantCode checks an SDK's error.
func wantCode(t testing.TB, err error, status int, code string) {
	t.Helper()
	var e oss.ServiceError
	if !errors.As(err, &e) {
		t.Errorf("got %v, want %d %s", err, status, code)
	} else if e.StatusCode != status || e.Code != code || e.RequestID == "" {
		t.Errorf("got %d %s (%s), want %d %s", e.StatusCode, e.Code, e.Message, status, code)
	}
}

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(n)})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// oddKeys are names that make bad files, bad paths or bad URLs.
func oddKeys() []string {
	return []string{
		"a", "a/b", "a/b/c", "a-b", "a/", "a//", "a//b", "a/./b", "a/../b", "..", ".", "...", "./x", "x/..", "../../etc/passwd",
		"a+b c%20d%2Fe", "100%.jpg", "%o", "a%o", "%_", "%+", "100%25", "?x=y&z#w", "a\\b", "tab\tnew\nline", "quote\"'<&>`",
		"中文/照片 1.JPG", "É", "e\u0301", "A", "CamelCase/UPPER", "cameLcase/UPPER", "\x7f", "sts", "sts/", "photos", "photos/photos",
		".ossemu", ".ossemu/tmp/x", "*", "a*b", "x:y|z", " lead", "trail ", "dot.", "~home", "🛰️.jpg",
		strings.Repeat("long", 60) + "x", strings.Repeat("long", 60), strings.Repeat("long", 61), strings.Repeat("long", 61) + "/x",
		strings.Repeat("long", 61) + "-", strings.Repeat("%", 500), strings.Repeat("长", 341), strings.Repeat("x/", 511) + "x",
		strings.Repeat("x\\", 300), "x" + strings.Repeat("\x01", 1022), strings.Repeat(".", 300), strings.Repeat("é", 100) + "/..",
	}
}

func TestObject(t *testing.T) {
	for name, options := range signatures {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			b := e.bucket(t, options...)
			for _, key := range oddKeys() {
				body := noise(len(key) + 100)
				if err := b.PutObject(key, bytes.NewReader(body), oss.ContentType("image/jpeg"), oss.Meta("who", "me"), oss.CacheControl("no-store")); err != nil {
					t.Errorf("put %q: %v", key, err)
					continue
				}
				r, err := b.GetObject(key)
				if err != nil {
					t.Errorf("get %q: %v", key, err)
					continue
				}
				if got := text(t, r); got != string(body) {
					t.Errorf("%q has other bytes", key)
				}
				r.Close()
				h, err := b.GetObjectDetailedMeta(key)
				if err != nil {
					t.Errorf("head %q: %v", key, err)
					continue
				}
				for name, want := range map[string]string{
					"Content-Type": "image/jpeg", "X-Oss-Meta-Who": "me", "Cache-Control": "no-store", "X-Oss-Object-Type": "Normal",
				} {
					if h.Get(name) != want {
						t.Errorf("%q: %s is %q, want %q", key, name, h.Get(name), want)
					}
				}
			}
			// All at once they don't stand in each other's way, in order.
			want := oddKeys()
			slices.Sort(want)
			for _, size := range []int{1000, 7, 1} {
				if got := listAll(t, b, oss.MaxKeys(size)); !slices.Equal(got, want) {
					t.Errorf("pages of %d: %s", size, difference(got, want))
				}
			}
			for _, key := range want {
				if err := b.DeleteObject(key); err != nil {
					t.Errorf("delete %q: %v", key, err)
				}
				_, err := b.GetObject(key)
				wantCode(t, err, 404, "NoSuchKey")
			}
			if got := listAll(t, b); len(got) != 0 {
				t.Errorf("left behind: %q", got)
			}
			wantEmptyFolder(t, e)
		})
	}
}

func listAll(t testing.TB, b *oss.Bucket, options ...oss.Option) (keys []string) {
	t.Helper()
	token := ""
	for {
		page, err := b.ListObjectsV2(append(options, oss.ContinuationToken(token))...)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		if !page.IsTruncated {
			return keys
		}
		if page.NextContinuationToken == token {
			t.Fatalf("the page behind %q is the same again", token)
		}
		token = page.NextContinuationToken
	}
}

// difference tells where two lists part.
func difference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d keys, then %.80q is missing", i, want[i])
		case i >= len(want):
			return fmt.Sprintf("%d keys, and then %.80q too", i, got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("after %d keys %.80q, want %.80q", i, got[i], want[i])
		}
	}
	return "no difference"
}

// TestPanic sends a request to an emulator that is broken inside.
func TestPanic(t *testing.T) {
	e := start(t)
	e.authority = nil
	wantError(t, e.send(t, "GET", "/photos/k", nil), 500, "InternalError")
	if resp := e.send(t, "POST", "/sts/", nil); resp.StatusCode != 500 {
		t.Error(resp.Status)
	}
}
