package ossemu

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPutHeaders(t *testing.T) {
	e := start(t)
	sum := md5.Sum([]byte("hello"))
	right := base64.StdEncoding.EncodeToString(sum[:])
	wrong := base64.StdEncoding.EncodeToString(make([]byte, 16))
	for name, try := range map[string]struct {
		header []string
		status int
		code   string
	}{
		"plain":             {nil, 200, ""},
		"md5":               {[]string{"Content-Md5", right}, 200, ""},
		"wrong md5":         {[]string{"Content-Md5", wrong}, 400, "InvalidDigest"},
		"md5 in hex":        {[]string{"Content-Md5", fmt.Sprintf("%x", sum)}, 400, "InvalidDigest"},
		"short md5":         {[]string{"Content-Md5", "AAAA"}, 400, "InvalidDigest"},
		"none match":        {[]string{"If-None-Match", "*"}, 200, ""}, // OSS doesn't know it here
		"forbid":            {[]string{"X-Oss-Forbid-Overwrite", "true"}, 200, ""},
		"forbid what":       {[]string{"X-Oss-Forbid-Overwrite", "perhaps"}, 400, "InvalidArgument"},
		"acl":               {[]string{"X-Oss-Object-Acl", "private"}, 200, ""},
		"acl what":          {[]string{"X-Oss-Object-Acl", "secret"}, 400, "InvalidArgument"},
		"class":             {[]string{"X-Oss-Storage-Class", "IA"}, 200, ""},
		"class what":        {[]string{"X-Oss-Storage-Class", "Fast"}, 400, "InvalidArgument"},
		"callback":          {[]string{"X-Oss-Callback", "e30="}, 400, "InvalidArgument"},
		"tagging":           {[]string{"X-Oss-Tagging", "a=b"}, 501, "NotImplemented"},
		"encryption":        {[]string{"X-Oss-Server-Side-Encryption", "AES256"}, 501, "NotImplemented"},
		"too much metadata": {[]string{"X-Oss-Meta-A", strings.Repeat("x", 8<<10)}, 400, "InvalidArgument"},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/photos/" + strings.ReplaceAll(name, " ", "-")
			resp := e.send(t, "PUT", path, strings.NewReader("hello"), try.header...)
			if try.status == 200 {
				if resp.StatusCode != 200 || resp.Header.Get("ETag") != quoted(upperHex(sum[:])) ||
					resp.Header.Get("X-Oss-Hash-Crc64ecma") != "11177612005948864433" || resp.Header.Get("Content-Md5") != right {
					t.Errorf("%s %v", resp.Status, resp.Header)
				}
				return
			}
			wantError(t, resp, try.status, try.code)
			wantError(t, e.send(t, "GET", path, nil), 404, "NoSuchKey")
		})
	}
	wantError(t, e.send(t, "PUT", "/photos/forbid", strings.NewReader("other"), "X-Oss-Forbid-Overwrite", "true"), 409, "FileAlreadyExists")
	if got := text(t, e.send(t, "GET", "/photos/forbid", nil).Body); got != "hello" {
		t.Errorf("overwritten by %q", got)
	}
}

func TestPutLengths(t *testing.T) {
	e := start(t)
	// Chunked, empty and not.
	for _, body := range []string{"", "hello"} {
		if resp := e.send(t, "PUT", "/photos/chunked", io.MultiReader(strings.NewReader(body))); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		if got := text(t, e.send(t, "GET", "/photos/chunked", nil).Body); got != body {
			t.Errorf("got %q, want %q", got, body)
		}
	}
	// Too long for one PUT: refused before it is sent.
	head := e.rawHead(t, "PUT", "/photos/long")
	wantError(t, e.raw(t, head+"Content-Length: 5368709121\r\nExpect: 100-continue\r\n\r\n"), 400, "EntityTooLarge")
	wantError(t, e.raw(t, head+"\r\n"), 411, "MissingContentLength")
	wantError(t, e.send(t, "GET", "/photos/long", nil), 404, "NoSuchKey")
}

// rawHead begins a signed request.
func (e emulator) rawHead(t testing.TB, method, path string) string {
	r, err := http.NewRequest(method, e.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	e.sign(t, r)
	return method + " " + path + " HTTP/1.1\r\nHost: " + r.Host + "\r\nDate: " + r.Header.Get("Date") + "\r\nAuthorization: " + r.Header.Get("Authorization") + "\r\n"
}

func (e emulator) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c.(*net.TCPConn)
}

// raw sends bytes as they are, and reads the answer.
func (e emulator) raw(t testing.TB, request string) *http.Response {
	t.Helper()
	c := e.dial(t)
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestCutBodies sends bodies that end before their length, over an object and
// where there is none, and as a part.
func TestCutBodies(t *testing.T) {
	e := start(t)
	b := e.bucket(t)
	if err := b.PutObject("old", strings.NewReader("old")); err != nil {
		t.Fatal(err)
	}
	imur, err := b.InitiateMultipartUpload("parts")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/photos/old", "/photos/new", "/photos/parts?partNumber=1&uploadId=" + imur.UploadID} {
		for name, body := range map[string]string{
			"length":       "Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 999999),
			"chunk":        "Transfer-Encoding: chunked\r\n\r\n100000\r\n" + strings.Repeat("x", 1000),
			"no last one":  "Transfer-Encoding: chunked\r\n\r\n4\r\nxxxx\r\n",
			"broken chunk": "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		} {
			c := e.dial(t)
			io.WriteString(c, e.rawHead(t, "PUT", path)+body)
			c.CloseWrite()
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil && resp.StatusCode == 200 {
				t.Errorf("%s, %s: stored", path, name)
			}
		}
	}
	if r, err := b.GetObject("old"); err != nil || text(t, r) != "old" {
		t.Errorf("the old object is gone: %v", err)
	}
	_, err = b.GetObject("new")
	wantCode(t, err, 404, "NoSuchKey")
	if parts, err := b.ListUploadedParts(imur); err != nil || len(parts.UploadedParts) != 0 {
		t.Errorf("%+v %v", parts, err)
	}
	if err := b.DeleteObject("old"); err != nil {
		t.Fatal(err)
	}
	if err := b.AbortMultipartUpload(imur); err != nil {
		t.Fatal(err)
	}
	wantEmptyFolder(t, e)
}

// TestManyWriters lets writers, deleters and readers at the same keys, of which
// one is the other's folder. What is read is always one writer's, whole.
func TestManyWriters(t *testing.T) {
	e := start(t)
	keys := []string{"a", "a/b", "a/b/c"}
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			b := e.bucket(t)
			for i := range 30 {
				key := keys[(w+i)%len(keys)]
				switch {
				case w < 3:
					body := bytes.Repeat([]byte{byte('A' + w)}, 1000+w)
					if err := b.PutObject(key, bytes.NewReader(body)); err != nil {
						t.Errorf("put: %v", err)
					}
				case w == 3:
					if err := b.DeleteObject(key); err != nil {
						t.Errorf("delete: %v", err)
					}
				case w == 4:
					if _, err := b.ListObjectsV2(); err != nil {
						t.Errorf("list: %v", err)
					}
				default:
					resp := e.send(t, "GET", "/photos/"+key, nil)
					body := text(t, resp.Body)
					if resp.StatusCode == 404 {
						continue
					}
					sum := md5.Sum([]byte(body))
					n := len(body) - 1000
					if resp.StatusCode != 200 || n < 0 || n > 2 || body != strings.Repeat(string(rune('A'+n)), 1000+n) || resp.Header.Get("ETag") != quoted(upperHex(sum[:])) {
						t.Errorf("get: %s, %d bytes, ETag %s", resp.Status, len(body), resp.Header.Get("ETag"))
					}
				}
			}
		})
	}
	wg.Wait()
	b := e.bucket(t)
	for _, key := range keys {
		if err := b.PutObject(key, strings.NewReader(key)); err != nil {
			t.Error(err)
		}
	}
	for _, key := range keys {
		if r, err := b.GetObject(key); err != nil || text(t, r) != key {
			t.Errorf("%s is not what was written last: %v", key, err)
		}
	}
}

// TestForbidOverwriteRace lets writers ask for the same new key: one gets it.
func TestForbidOverwriteRace(t *testing.T) {
	e := start(t)
	won := make(chan int, 8)
	var wg sync.WaitGroup
	for range cap(won) {
		wg.Go(func() {
			if resp := e.send(t, "PUT", "/photos/one", strings.NewReader("x"), "X-Oss-Forbid-Overwrite", "true"); resp.StatusCode != 409 {
				won <- resp.StatusCode
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || <-won != 200 {
		t.Errorf("%d writers won", len(won)+1)
	}
}

func TestGetRange(t *testing.T) {
	e := start(t)
	if err := e.bucket(t).PutObject("k", strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	if err := e.bucket(t).PutObject("empty", strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	const whole = "0123456789"
	for _, try := range []struct{ key, header, usual, standard string }{
		{"k", "bytes=0-2", "012", "012"},
		{"k", "bytes=9-9", "9", "9"},
		{"k", "bytes=5-", "56789", "56789"},
		{"k", "bytes=-3", "789", "789"},
		{"k", "bytes=0-9", whole, whole},
		{"k", "bytes=1-2,4-5", "12", "12"},
		{"k", "bytes=5-10", "", "56789"},
		{"k", "bytes=10-", "", "416"},
		{"k", "bytes=10-12", "", "416"},
		{"k", "bytes=-11", "", whole},
		{"k", "bytes=-0", "", "416"},
		{"k", "bytes=3-2", "", ""},
		{"k", "byte=0-2", "", ""},
		{"k", "bytes=x-2", "", ""},
		{"k", "bytes=0-99999999999999999999", "", ""},
		{"empty", "bytes=0-", "", "416"},
	} {
		for _, standard := range []bool{false, true} {
			header, want := []string{"Range", try.header}, try.usual
			if standard {
				header, want = append(header, "X-Oss-Range-Behavior", "standard"), try.standard
			}
			resp := e.send(t, "GET", "/photos/"+try.key, nil, header...)
			body := text(t, resp.Body)
			switch want {
			case "416":
				if resp.StatusCode != 416 || !strings.Contains(body, "<Code>InvalidRange</Code>") || resp.Header.Get("Content-Range") != "" {
					t.Errorf("%s of %s: %s %s", try.header, try.key, resp.Status, body)
				}
			case "": // all of it
				all := map[string]string{"k": whole, "empty": ""}[try.key]
				if resp.StatusCode != 200 || body != all || resp.Header.Get("Content-Range") != "" {
					t.Errorf("%s of %s, standard %v: %s %q", try.header, try.key, standard, resp.Status, body)
				}
			default:
				at := fmt.Sprintf("bytes %d-%d/10", strings.Index(whole, want), strings.Index(whole, want)+len(want)-1)
				if resp.StatusCode != 206 || body != want || resp.Header.Get("Content-Range") != at {
					t.Errorf("%s, standard %v: %s %q %s, want %q", try.header, standard, resp.Status, body, resp.Header.Get("Content-Range"), want)
				}
			}
		}
	}
}

func TestGetConditions(t *testing.T) {
	e := start(t)
	if err := e.bucket(t).PutObject("k", strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	h := e.send(t, "HEAD", "/photos/k", nil).Header
	etag, at := h.Get("ETag"), h.Get("Last-Modified")
	before := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for name, try := range map[string]struct {
		header []string
		status int
	}{
		"match":            {[]string{"If-Match", etag}, 200},
		"match, unquoted":  {[]string{"If-Match", strings.Trim(etag, `"`)}, 200},
		"no match":         {[]string{"If-Match", `"0"`}, 412},
		"none match":       {[]string{"If-None-Match", etag}, 304},
		"no none match":    {[]string{"If-None-Match", `"0"`}, 200},
		"modified":         {[]string{"If-Modified-Since", before}, 200},
		"not modified":     {[]string{"If-Modified-Since", at}, 304},
		"unmodified":       {[]string{"If-Unmodified-Since", at}, 200},
		"not unmodified":   {[]string{"If-Unmodified-Since", before}, 412},
		"no time":          {[]string{"If-Unmodified-Since", "yesterday"}, 200},
		"match and ranged": {[]string{"If-Match", `"0"`, "Range", "bytes=0-1"}, 412},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			resp := e.send(t, method, "/photos/k", nil, try.header...)
			if resp.StatusCode != try.status {
				t.Errorf("%s %s: %s, want %d", method, name, resp.Status, try.status)
			}
			if body := text(t, resp.Body); method == "HEAD" && body != "" {
				t.Errorf("HEAD has the body %q", body)
			}
			if method == "HEAD" && try.status == 412 {
				doc, err := base64.StdEncoding.DecodeString(resp.Header.Get("X-Oss-Err"))
				if err != nil || !strings.Contains(string(doc), "<Code>PreconditionFailed</Code>") {
					t.Errorf("x-oss-err is %q", doc)
				}
			}
		}
	}
}

func TestResponseOverrides(t *testing.T) {
	e := start(t)
	if err := e.bucket(t).PutObject("k", strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	resp := e.send(t, "GET", "/photos/k?response-content-type=text%2Fx&response-content-disposition=attachment%3B%20filename%3D%22a%22&response-cache-control=no-store", nil)
	for name, want := range map[string]string{"Content-Type": "text/x", "Content-Disposition": `attachment; filename="a"`, "Cache-Control": "no-store"} {
		if resp.Header.Get(name) != want {
			t.Errorf("%s is %q", name, resp.Header.Get(name))
		}
	}
	// Headers that would end the header are no headers.
	resp = e.send(t, "GET", "/photos/k?response-content-type=text%0D%0ASet-Cookie:%20a=b", nil)
	if len(resp.Cookies()) > 0 {
		t.Error("a header was smuggled in")
	}
}

func TestRefusedOperations(t *testing.T) {
	e := start(t)
	for _, try := range []struct {
		method, path string
		status       int
		code, holds  string
	}{
		{"POST", "/photos/k?append&position=0", 501, "NotImplemented", "AppendObject"},
		{"GET", "/photos/k?acl", 501, "NotImplemented", "GetObjectAcl"},
		{"PUT", "/photos/k?tagging", 501, "NotImplemented", "PutObjectTagging"},
		{"GET", "/photos/k?x-oss-process=image/info", 501, "NotImplemented", ""},
		{"GET", "/photos/?lifecycle", 501, "NotImplemented", "GetBucketLifecycle"},
		{"DELETE", "/photos/?policy", 501, "NotImplemented", "DeleteBucketPolicy"},
		{"GET", "/photos/?versions", 501, "NotImplemented", ""},
		{"POST", "/photos/", 501, "NotImplemented", "PostObject"},
		{"PATCH", "/photos/k", 405, "MethodNotAllowed", ""},
		{"DELETE", "/", 405, "MethodNotAllowed", ""},
		{"GET", "/photos/k?versionId=7", 404, "NoSuchVersion", ""},
		{"GET", "/absent/k", 404, "NoSuchBucket", "absent"},
		{"GET", "/absent/", 404, "NoSuchBucket", ""},
		{"PUT", "/absent/k", 404, "NoSuchBucket", ""},
		{"GET", "/Bad_Name/k", 400, "InvalidBucketName", ""},
		{"GET", "/.ossemu/tmp", 400, "InvalidBucketName", ""},
		{"GET", "/../x", 400, "InvalidBucketName", ""},
		{"GET", "/photos//k", 400, "InvalidObjectName", ""},
		{"PUT", "/photos/%5Ck", 400, "InvalidObjectName", ""},
		{"PUT", "/photos/%FF", 400, "InvalidObjectName", ""},
		{"PUT", "/photos/" + strings.Repeat("x", 1024), 400, "InvalidObjectName", ""},
		{"POST", "/photos/?delete", 400, "InvalidArgument", "Content-MD5"},
	} {
		resp := e.send(t, try.method, try.path, strings.NewReader("x"))
		var keep bytes.Buffer
		resp.Body = io.NopCloser(io.TeeReader(resp.Body, &keep))
		wantError(t, resp, try.status, try.code)
		if !strings.Contains(keep.String(), try.holds) {
			t.Errorf("%s %.40s: no %s in %s", try.method, try.path, try.holds, &keep)
		}
	}
}
