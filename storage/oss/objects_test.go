package oss

import (
	"bytes"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

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
