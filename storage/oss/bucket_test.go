package oss

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// send uses a grant as a client should.
func send(t *testing.T, client *http.Client, req broker.Request, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), req.Method, req.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range req.Headers {
		r.Header.Set(name, value)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestCode(t *testing.T) {
	answer := func(code string, status int) error {
		return fmt.Errorf("op: %w", &answerError{service: "OSS", code: code, status: status})
	}
	b := &Bucket{}
	for want, errs := range map[broker.Code][]error{
		"":                  {nil},
		broker.CodeNotFound: {answer("NoSuchKey", 404), answer("", 404), answer("NeverHeardOf", 404)},
		broker.CodeChanged:  {answer("PreconditionFailed", 412), answer("", 412), errChanged},
		broker.CodeConflict: {answer("FileAlreadyExists", 409), answer("", 409)},
		broker.CodeDenied:   {answer("AccessDenied", 403), answer("InvalidAccessKeyId", 403), answer("SignatureDoesNotMatch", 403), answer("NoPermission", 403), answer("EntityNotExist.Role", 404), answer("InvalidAccessKeyId.NotFound", 404), answer("InvalidTimeStamp.Expired", 400), answer("InvalidSecurityToken.Expired", 400), answer("", 403), errCredentials},
		broker.CodeTooLarge: {answer("EntityTooLarge", 400), answer("", 413), errTooLarge},
		broker.CodeInvalid:  {answer("InvalidRange", 416), answer("InvalidParameter.PolicyGrammar", 400), answer("", 400)},
		broker.CodeInternal: {errors.New("what"), answer("NeverHeardOf", 200)},
		broker.CodeUnavailable: {answer("NoSuchBucket", 404), answer("ServerBusy", 503), answer("InternalError", 500), answer("", 503), answer("", 429), answer("", 301),
			errSlow, errOdd, &lineError{"Get", errors.New("x")}, sdk.CRCCheckError{}, syscall.ECONNREFUSED, io.ErrUnexpectedEOF,
			&net.OpError{Op: "dial", Err: errors.New("x")}, context.DeadlineExceeded, context.Canceled},
		broker.CodeTooManyRequests: {answer("Throttling", 400), answer("Throttling.User", 400), answer("Throttling.Api", 503)},
		broker.CodeInvalidSize:     {fmt.Errorf("%w: x", errSize)},
		broker.CodeNotSupported:    {answer("NotImplemented", 501), answer("", 405), answer("", 501)},
		broker.CodeInvalidName:     {broker.Errorf(broker.CodeInvalidName, "x")},
	} {
		for _, err := range errs {
			if got := b.Code(err); got != want {
				t.Errorf("%v: code %q, want %q", err, got, want)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	right := Options{Bucket: "photos", Region: "cn-hangzhou", AccessKeyID: "a", AccessKeySecret: "b"}
	if _, err := Open(t.Context(), right); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no bucket":         func(o *Options) { o.Bucket = "" },
		"a pattern":         func(o *Options) { o.Bucket = "photos*" },
		"capitals":          func(o *Options) { o.Bucket = "Photos" },
		"half a key":        func(o *Options) { o.AccessKeySecret = "" },
		"other half":        func(o *Options) { o.AccessKeyID = "" },
		"small parts":       func(o *Options) { o.PartSizeBytes = 1 },
		"no region":         func(o *Options) { o.Region = "" },
		"odd region":        func(o *Options) { o.Region = "cn/hangzhou" },
		"bad endpoint":      func(o *Options) { o.Endpoint = "::not a url" },
		"no scheme":         func(o *Options) { o.Endpoint = "oss-cn-hangzhou.aliyuncs.com" },
		"a path":            func(o *Options) { o.Endpoint = "http://127.0.0.1:9000/oss" },
		"a public path":     func(o *Options) { o.PublicEndpoint = "https://x.example.com/oss" },
		"a user":            func(o *Options) { o.STSEndpoint = "https://u:p@sts.example.com" },
		"a role that isn't": func(o *Options) { o.RoleARN = "uploader" },
	} {
		o := right
		change(&o)
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		region, endpoint, public string
		wantOwn, wantPublic      string
	}{
		{"cn-hangzhou", "", "", "https://oss-cn-hangzhou.aliyuncs.com", "https://oss-cn-hangzhou.aliyuncs.com"},
		{"oss-cn-hangzhou", "", "", "https://oss-cn-hangzhou.aliyuncs.com", "https://oss-cn-hangzhou.aliyuncs.com"},
		{"oss-cn-hangzhou-internal", "", "", "https://oss-cn-hangzhou-internal.aliyuncs.com", "https://oss-cn-hangzhou.aliyuncs.com"},
		{"cn-hangzhou-internal", "", "https://up.example.com", "https://oss-cn-hangzhou-internal.aliyuncs.com", "https://up.example.com"},
		{"cn-hangzhou", "http://10.0.0.5:9000/", "", "http://10.0.0.5:9000", "http://10.0.0.5:9000"},
		{"cn-hangzhou", "http://10.0.0.5:9000", "https://up.example.com/", "http://10.0.0.5:9000", "https://up.example.com"},
	} {
		b := open(t, Options{Bucket: "photos", Region: c.region, Endpoint: c.endpoint, PublicEndpoint: c.public, AccessKeyID: "a", AccessKeySecret: "b"})
		if b.o.Endpoint != c.wantOwn || b.o.PublicEndpoint != c.wantPublic || b.region != "cn-hangzhou" || b.o.STSEndpoint != "https://sts.cn-hangzhou.aliyuncs.com" {
			t.Errorf("%+v: %s, %s, %s, %s", c, b.o.Endpoint, b.o.PublicEndpoint, b.region, b.o.STSEndpoint)
		}
	}
	if _, ok := open(t, Options{Bucket: "photos", Region: "cn-hangzhou", AccessKeyID: "a", AccessKeySecret: "b"}).Driver().(storage.Sessioner); ok {
		t.Error("without a role it gives sessions")
	}
}

// TestPublicEndpoint gives clients another name than the broker uses, with the
// bucket in the path of both.
func TestPublicEndpoint(t *testing.T) {
	c := startCloud(t, nil, "photos")
	o := c.options("photos")
	o.PublicEndpoint, o.PathStyle = strings.Replace(c.URL, "127.0.0.1", "localhost", 1), true
	b := portable(t, open(t, o).Driver())
	req, err := b.SignPut(t.Context(), testPrefix+"a b", broker.Binding{SizeBytes: 4}, time.Minute)
	if err != nil || !strings.HasPrefix(req.URL, o.PublicEndpoint+"/photos/"+testPrefix+"a%20b?") {
		t.Fatalf("%s, %v", req.URL, err)
	}
	if !req.Unbound {
		t.Error("its sha1 is not bound, and it does not say so")
	}
	if status, answer := send(t, c.client(), req, "body"); status != http.StatusOK {
		t.Fatalf("%d: %s", status, answer)
	}
	obj, err := b.Stat(t.Context(), testPrefix+"a b")
	if err != nil || obj.SizeBytes != 4 {
		t.Fatalf("%+v, %v", obj, err)
	}
	s, err := b.Session(t.Context(), testPrefix)
	if err != nil || s.Endpoint != o.PublicEndpoint || !s.PathStyle || s.URL("a b") != o.PublicEndpoint+"/photos/a%20b" {
		t.Errorf("a session for %s, path style %v: %v", s.Endpoint, s.PathStyle, err)
	}
	if err := newSessionClient(t, c, s, sdk.AuthV4).Put(t.Context(), testPrefix+"y", []byte("y")); err != nil {
		t.Error(err)
	}
}

// stand is a stand-in for OSS that answers as a test tells it.
func stand(t *testing.T, handler http.HandlerFunc) *Bucket {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return open(t, Options{
		Bucket: "photos", Region: "cn-hangzhou", Endpoint: server.URL, STSEndpoint: server.URL + "/sts", RoleARN: testRole,
		AccessKeyID: testID, AccessKeySecret: testSecret, PartSizeBytes: minPartSize,
	})
}

// TestRetries holds an operation to a few tries. A server that answers 503 at
// first is asked again, with the whole body, and a line that breaks counts as one.
func TestRetries(t *testing.T) {
	var mu sync.Mutex
	var asked int
	var answers []int
	b := stand(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		status := answers[min(asked, len(answers)-1)]
		asked++
		body, _ := io.ReadAll(r.Body)
		sum := md5.Sum([]byte("body"))
		if r.Header.Get("Content-Type") != octetStream || r.Method == "PUT" && (string(body) != "body" || r.Header.Get("Content-Md5") != base64.StdEncoding.EncodeToString(sum[:])) {
			t.Errorf("try %d has the body %q, headers %v", asked, body, r.Header)
		}
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		if status == 201 { // stored, it says, but something else
			w.Header().Set("X-Oss-Hash-Crc64ecma", "1")
			status = 200
		}
		w.Header().Set("ETag", `"ABC"`)
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(status)
	})
	for _, c := range []struct {
		answers []int
		tries   int
		code    broker.Code
	}{
		{[]int{200}, 1, ""}, {[]int{503, 200}, 2, ""}, {[]int{0, 500, 200}, 3, ""}, {[]int{201, 200}, 2, ""},
		{[]int{503}, maxAttempts, broker.CodeUnavailable}, {[]int{0}, maxAttempts, broker.CodeUnavailable},
		{[]int{201}, maxAttempts, broker.CodeUnavailable},
		{[]int{403}, 1, broker.CodeDenied}, {[]int{301}, 1, broker.CodeUnavailable}, {[]int{501}, 1, broker.CodeNotSupported},
	} {
		mu.Lock()
		asked, answers = 0, c.answers
		mu.Unlock()
		obj, err := b.Put(t.Context(), "k", strings.NewReader("body"), storage.PutOptions{SizeBytes: 4})
		mu.Lock()
		tries := asked
		mu.Unlock()
		if b.Code(err) != c.code || tries != c.tries || err == nil && obj.ETag != "ABC" {
			t.Errorf("answers %v: %+v, %v after %d tries", c.answers, obj, err, tries)
		}
	}
}

// TestErrorsAreClean: what an error tells is the service's words and nothing that
// signs.
func TestErrorsAreClean(t *testing.T) {
	page := ""
	b := stand(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Oss-Request-Id", "REQ1")
		if r.Method == "HEAD" {
			w.Header().Set("X-Oss-Err", base64.StdEncoding.EncodeToString([]byte(page)))
		}
		w.WriteHeader(403)
		io.WriteString(w, page)
	})
	for doc, want := range map[string]string{
		"<html>a proxy's</html>": "OSS answered 403 (request REQ1)",
		"<Error><Code>AccessDenied</Code><Message>No right.</Message><StringToSign>x-oss-security-token:T</StringToSign></Error>": "OSS answered 403 AccessDenied No right. (request REQ1)",
		"<Error><Code>SignatureDoesNotMatch</Code><Message>x-oss-security-token:T</Message></Error>":                              "OSS answered 403 SignatureDoesNotMatch (request REQ1)",
		"": "OSS answered 403 (request REQ1)",
	} {
		page = doc
		if _, err := b.Stat(t.Context(), "k"); err == nil || err.Error() != want || b.Code(err) != broker.CodeDenied {
			t.Errorf("HEAD: %v", err)
		}
		if _, err := b.List(t.Context(), "", "", 10); err == nil || err.Error() != want {
			t.Errorf("GET: %v", err)
		}
	}
	// A line that breaks tells no URL.
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	broken := open(t, Options{Bucket: "photos", Region: "cn-hangzhou", Endpoint: server.URL, AccessKeyID: testID, AccessKeySecret: testSecret})
	if _, err := broken.List(t.Context(), "pid/", "", 10); err == nil || strings.Contains(err.Error(), "list-type") {
		t.Errorf("%v", err)
	}
	// A missing bucket is none of an object, also to a HEAD.
	page = "<Error><Code>NoSuchBucket</Code></Error>"
	if _, err := b.Stat(t.Context(), "k"); b.Code(err) != broker.CodeUnavailable {
		t.Errorf("%v", err)
	}
}

// TestOpenOdd reads from servers that break off, send other bytes, or answer a
// range with something else.
func TestOpenOdd(t *testing.T) {
	data := []byte(strings.Repeat("0123456789", 1000))
	var answer func(w http.ResponseWriter, r *http.Request)
	b := stand(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "identity" || (r.Header.Get("Range") == "") != (r.Header.Get("X-Oss-Range-Behavior") != "standard") {
			t.Errorf("asked with %v", r.Header)
		}
		answer(w, r)
	})
	read := func(r storage.Range) (int, error) {
		rc, _, err := b.Open(t.Context(), "k", r, "")
		if err != nil {
			return 0, err
		}
		defer rc.Close()
		got, err := io.ReadAll(rc)
		return len(got), err
	}
	crc := fmt.Sprint(crc64.Checksum(data, crc64.MakeTable(crc64.ECMA)))
	for name, c := range map[string]struct {
		r      storage.Range
		answer http.HandlerFunc
		ok     bool
	}{
		"whole": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Oss-Hash-Crc64ecma", crc)
			w.Write(data)
		}, ok: false},
		"with its length": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Oss-Hash-Crc64ecma", crc)
			w.Header().Set("Content-Length", "10000")
			w.Write(data)
		}, ok: true},
		"other bytes": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Oss-Hash-Crc64ecma", crc)
			w.Header().Set("Content-Length", "10000")
			w.Write(bytes.ToUpper(bytes.ReplaceAll(data, []byte("5"), []byte("a"))))
		}},
		"broken off": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000")
			w.Write(data[:5000])
			panic(http.ErrAbortHandler)
		}},
		"all for a range": {r: storage.Range{Offset: 10, Length: 10}, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000")
			w.Write(data)
		}},
		"another range": {r: storage.Range{Offset: 10, Length: 10}, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/10000")
			w.Header().Set("Content-Length", "10")
			w.WriteHeader(206)
			w.Write(data[:10])
		}},
		"a range as if it were all": {r: storage.Range{Offset: 10, Length: 10}, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 10-19/10000")
			w.Header().Set("Content-Length", "10000")
			w.Write(data)
		}},
		"the range": {r: storage.Range{Offset: 10, Length: 10}, answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 10-19/10000")
			w.Header().Set("Content-Length", "10")
			w.Header().Set("X-Oss-Hash-Crc64ecma", crc) // of the whole
			w.WriteHeader(206)
			w.Write(data[10:20])
		}, ok: true},
	} {
		answer = c.answer
		if n, err := read(c.r); (err == nil) != c.ok || err != nil && b.Code(err) != broker.CodeUnavailable {
			t.Errorf("%s: read %d bytes, %v", name, n, err)
		}
	}
}

// TestIfMatch asks OSS itself: an answer's ETag is also looked at by the portable
// type, but by then the bytes are on their way.
func TestIfMatch(t *testing.T) {
	b := open(t, startCloud(t, nil, "photos").options("photos"))
	put, err := b.Put(t.Context(), "k", strings.NewReader("x"), storage.PutOptions{SizeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Open(t.Context(), "k", storage.Range{}, strings.Repeat("0", 32)); b.Code(err) != broker.CodeChanged {
		t.Errorf("%v", err)
	}
	rc, _, err := b.Open(t.Context(), "k", storage.Range{}, put.ETag)
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
}

// TestShortLists asks on where OSS cuts its answers short.
func TestShortLists(t *testing.T) {
	b := stand(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		var out strings.Builder
		n := 0
		if q.Has("uploads") {
			fmt.Fprintf(&out, "<ListMultipartUploadsResult>")
			for i, up := range []string{"a 1", "a 2", "b 1"} {
				key, id, _ := strings.Cut(up, " ")
				if up > q.Get("key-marker")+" "+q.Get("upload-id-marker") && n == 0 {
					n++
					fmt.Fprintf(&out, "<Upload><Key>%s</Key><UploadId>%s</UploadId></Upload><NextKeyMarker>%s</NextKeyMarker><NextUploadIdMarker>%s</NextUploadIdMarker><IsTruncated>%v</IsTruncated>",
						key, id, key, id, i < 2)
				}
			}
			fmt.Fprintf(&out, "</ListMultipartUploadsResult>")
		} else {
			fmt.Fprintf(&out, "<ListBucketResult>")
			for i := range 7 {
				if key := fmt.Sprintf("k+%d", i); key > q.Get("start-after") && n < 2 {
					n++
					fmt.Fprintf(&out, "<Contents><Key>k%%2B%d</Key></Contents>", i)
				}
			}
			fmt.Fprintf(&out, "<IsTruncated>%v</IsTruncated></ListBucketResult>", n == 2)
		}
		io.WriteString(w, out.String())
	})
	for max, want := range map[int]int{5: 5, 1000: 7} {
		objs, err := b.List(t.Context(), "k", "", max)
		if err != nil || len(objs) < want {
			t.Errorf("%d of them: %v, %v", max, objs, err)
		}
		for i, obj := range objs {
			if obj.Key != fmt.Sprintf("k+%d", i) {
				t.Errorf("place %d: %q", i, obj.Key)
			}
		}
	}
	ups, err := b.ListMultiparts(t.Context(), "")
	if err != nil || fmt.Sprint(ups) != fmt.Sprint([]storage.Multipart{{Key: "a", UploadID: "1"}, {Key: "a", UploadID: "2"}, {Key: "b", UploadID: "1"}}) {
		t.Errorf("%v, %v", ups, err)
	}
}

// TestContentType stores what was said and never what the key looks like.
func TestContentType(t *testing.T) {
	c := startCloud(t, nil, "photos")
	o := c.options("photos")
	o.PartSizeBytes = minPartSize
	b := open(t, o)
	for _, want := range []string{octetStream, "image/jpeg", "text/plain; charset=utf-8"} {
		for _, size := range []int{0, 10, minPartSize + 10} {
			say := want
			if want == octetStream {
				say = ""
			}
			put, err := b.Put(t.Context(), "page.html", bytes.NewReader(make([]byte, size)), storage.PutOptions{SizeBytes: -1, ContentType: say})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Delete(t.Context(), "copy.html"); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Copy(t.Context(), "page.html", put.ETag, "copy.html"); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"page.html", "copy.html"} {
				obj, err := b.Stat(t.Context(), key)
				if err != nil || obj.ContentType != want {
					t.Errorf("%q: %+v, %v", want, obj, err)
				}
			}
		}
	}
}

func TestLongKey(t *testing.T) {
	b := portable(t, open(t, startCloud(t, nil, "photos").options("photos")))
	key := strings.Repeat("k", 1023)
	if _, err := b.Put(t.Context(), key, strings.NewReader("x"), storage.PutOptions{SizeBytes: 1}); err != nil {
		t.Error(err)
	}
	if _, err := b.Put(t.Context(), key+"k", strings.NewReader("x"), storage.PutOptions{SizeBytes: 1}); broker.CodeOf(err) != broker.CodeInvalidName {
		t.Error(err)
	}
	if _, err := b.SignPut(t.Context(), key+"k", broker.Binding{}, time.Minute); broker.CodeOf(err) != broker.CodeInvalidName {
		t.Error(err)
	}
}

// TestCopyInParts copies what is longer than OSS copies at once.
func TestCopyInParts(t *testing.T) {
	var mu sync.Mutex
	var copied []string
	c := startCloud(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Oss-Copy-Source") != "" {
				mu.Lock()
				copied = append(copied, r.Header.Get("X-Oss-Copy-Source-Range"))
				mu.Unlock()
			}
			next.ServeHTTP(w, r)
		})
	}, "photos")
	b := open(t, c.options("photos"))
	b.copyWhole = 200_000
	data := bytes.Repeat([]byte("0123456789abc"), 40_000) // 520,000 bytes
	src, err := b.Put(t.Context(), "a b/src é", bytes.NewReader(data), storage.PutOptions{SizeBytes: -1, ContentType: "image/png"})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := portable(t, b).Copy(t.Context(), "a b/src é", src.ETag, "to")
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(copied) != "[bytes=0-199999 bytes=200000-399999 bytes=400000-519999]" {
		t.Errorf("copied %v", copied)
	}
	rc, obj, err := b.Open(t.Context(), "to", storage.Range{}, seen.ETag)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	got, err := io.ReadAll(rc)
	if err != nil || !bytes.Equal(got, data) || obj.ContentType != "image/png" || seen.SizeBytes != int64(len(data)) {
		t.Errorf("%d bytes, %+v, %v", len(got), obj, err)
	}
	// What changes between two parts is no copy, and leaves nothing.
	b.transport.(*http.Transport).CloseIdleConnections()
	copied = nil
	if _, err := b.copyParts(t.Context(), storage.Object{Key: "a b/src é", SizeBytes: 520_000}, http.Header{}, sdk.CopySourceIfMatch(`"00"`), "other"); b.Code(err) != broker.CodeChanged {
		t.Error(err)
	}
	if ups, err := b.ListMultiparts(t.Context(), ""); err != nil || len(ups) != 0 {
		t.Errorf("left %v, %v", ups, err)
	}
}

// TestLostCompletion loses the answer that an upload in parts became an object.
func TestLostCompletion(t *testing.T) {
	var lose func(r *http.Request) bool
	var after func()
	c := startCloud(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lose(r) {
				next.ServeHTTP(httptest.NewRecorder(), r)
				after()
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	}, "photos")
	o := c.options("photos")
	o.PartSizeBytes = minPartSize
	b := open(t, o)
	lost := 0
	lose = func(r *http.Request) bool {
		if r.Method != "POST" || r.URL.Query().Get("uploadId") == "" || lost > 0 {
			return false
		}
		lost++
		return true
	}
	after = func() {}
	data := bytes.Repeat([]byte("x"), 3*minPartSize)
	put, err := b.Put(t.Context(), "k", bytes.NewReader(data), storage.PutOptions{SizeBytes: -1})
	if err != nil || lost != 1 {
		t.Fatalf("%v, after %d losses", err, lost)
	}
	if obj, err := b.Stat(t.Context(), "k"); err != nil || obj.ETag != put.ETag || obj.SizeBytes != put.SizeBytes {
		t.Errorf("put %+v, there is %+v, %v", put, obj, err)
	}
	// When another object lies there then, of the same size, it is not ours.
	lost = 0
	after = func() {
		if _, err := b.Put(context.Background(), "k", bytes.NewReader(bytes.ToUpper(data)), storage.PutOptions{SizeBytes: -1}); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Put(t.Context(), "k", bytes.NewReader(data), storage.PutOptions{SizeBytes: -1}); err == nil {
		t.Error("another's object was taken for ours")
	}
}

// TestContextEnds: a server that never answers holds nobody longer than he wants.
func TestContextEnds(t *testing.T) {
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	t.Cleanup(func() { close(release) })
	b := stand(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	d := b.Driver()
	for name, op := range map[string]func(ctx context.Context) error{
		"stat":   func(ctx context.Context) error { _, err := d.Stat(ctx, "k"); return err },
		"open":   func(ctx context.Context) error { _, _, err := d.Open(ctx, "k", storage.Range{}, ""); return err },
		"list":   func(ctx context.Context) error { _, err := d.List(ctx, "", "", 1); return err },
		"delete": func(ctx context.Context) error { return d.Delete(ctx, "k") },
		"put": func(ctx context.Context) error {
			_, err := d.Put(ctx, "k", strings.NewReader("x"), storage.PutOptions{SizeBytes: 1})
			return err
		},
		"session": func(ctx context.Context) error {
			_, err := d.(storage.Sessioner).Session(ctx, testPrefix, time.Hour)
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- op(ctx) }()
		<-arrived
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(stsTime / 2): // before any limit of ours
			t.Fatalf("%s goes on after the end of its context", name)
		}
	}
}
