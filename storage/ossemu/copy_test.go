package ossemu

import (
	"bytes"
	"hash/crc64"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

func TestCopy(t *testing.T) {
	for name, options := range signatures {
		t.Run(name, func(t *testing.T) {
			e := start(t, func(o *Options) { o.Buckets = append(o.Buckets, "other") })
			b := e.bucket(t, options...)
			const from = "pid/sub dir/a+b%20 中.txt"
			if err := b.PutObject(from, strings.NewReader("hello"), oss.ContentType("text/x-a"), oss.Meta("who", "me")); err != nil {
				t.Fatal(err)
			}
			h, err := b.GetObjectDetailedMeta(from)
			if err != nil {
				t.Fatal(err)
			}
			etag := h.Get("Etag")
			want := func(bucket, key, body, contentType, who string) {
				t.Helper()
				b, err := e.client(t, options...).Bucket(bucket)
				if err != nil {
					t.Fatal(err)
				}
				r, err := b.GetObject(key)
				if err != nil {
					t.Fatal(err)
				}
				if got := text(t, r); got != body {
					t.Errorf("%q holds %q, want %q", key, got, body)
				}
				h, err := b.GetObjectDetailedMeta(key)
				if err != nil || h.Get("Content-Type") != contentType || h.Get("X-Oss-Meta-Who") != who {
					t.Errorf("%q: %v %v", key, h, err)
				}
			}
			out, err := b.CopyObject(from, "to")
			if err != nil || out.ETag != etag || time.Since(out.LastModified) > time.Minute {
				t.Fatalf("%+v %v", out, err)
			}
			want("photos", "to", "hello", "text/x-a", "me")
			if _, err := b.CopyObjectTo("other", "x/"+from, from); err != nil {
				t.Fatal(err)
			}
			want("other", "x/"+from, "hello", "text/x-a", "me")
			if _, err := b.CopyObject(from, "to", oss.MetadataDirective(oss.MetaReplace), oss.ContentType("text/x-b")); err != nil {
				t.Fatal(err)
			}
			want("photos", "to", "hello", "text/x-b", "")
			// Onto itself, to change the headers.
			if _, err := b.CopyObject("to", "to", oss.MetadataDirective(oss.MetaReplace), oss.Meta("who", "you")); err != nil {
				t.Fatal(err)
			}
			want("photos", "to", "hello", "application/octet-stream", "you")

			past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
			for name, try := range map[string]struct {
				option oss.Option
				status int
			}{
				"match":                   {oss.CopySourceIfMatch(etag), 0},
				"no match":                {oss.CopySourceIfMatch(`"0"`), 412},
				"none match":              {oss.CopySourceIfNoneMatch(`"0"`), 0},
				"no none match":           {oss.CopySourceIfNoneMatch(etag), 304},
				"unmodified":              {oss.CopySourceIfUnmodifiedSince(future), 0},
				"modified meanwhile":      {oss.CopySourceIfUnmodifiedSince(past), 412},
				"modified":                {oss.CopySourceIfModifiedSince(past), 0},
				"not modified meanwhile":  {oss.CopySourceIfModifiedSince(future), 304},
				"no overwrite":            {oss.ForbidOverWrite(true), 409},
				"a wrong directive":       {oss.MetadataDirective("KEEP"), 400},
				"another wrong directive": {oss.SetHeader("X-Oss-Storage-Class", "Fast"), 400},
			} {
				_, err := b.CopyObject(from, "to", try.option)
				if got := statusOf(err); got != try.status {
					t.Errorf("%s: %d %v, want %d", name, got, err, try.status)
				}
			}
			_, err = b.CopyObject("absent", "to")
			wantCode(t, err, 404, "NoSuchKey")
			_, err = b.CopyObjectFrom("absent", from, "to")
			wantCode(t, err, 404, "NoSuchBucket")
		})
	}
}

func statusOf(err error) int {
	switch e := err.(type) {
	case oss.ServiceError:
		return e.StatusCode
	case nil:
		return 0
	}
	if strings.Contains(err.Error(), "304 Not Modified") {
		return 304 // for which the SDK has no type
	}
	return -1
}

func TestUploadPartCopy(t *testing.T) {
	e := start(t)
	b := e.bucket(t)
	src := noise(300 << 10)
	if err := b.PutObject("src +", bytes.NewReader(src)); err != nil {
		t.Fatal(err)
	}
	imur, err := b.InitiateMultipartUpload("dst")
	if err != nil {
		t.Fatal(err)
	}
	p1, err := b.UploadPartCopy(imur, "photos", "src +", 1000, 200<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	p2, err := b.UploadPartCopy(imur, "photos", "src +", 0, 10, 2)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.UploadPartCopy(imur, "photos", "src +", 0, 10, 3, oss.CopySourceIfMatch(`"0"`))
	if statusOf(err) != 412 {
		t.Error(err)
	}
	if _, err := b.CompleteMultipartUpload(imur, []oss.UploadPart{p1, p2}); err != nil {
		t.Fatal(err)
	}
	want := append(append([]byte{}, src[1000:1000+200<<10]...), src[:10]...)
	r, err := b.GetObject("dst")
	if err != nil || text(t, r) != string(want) {
		t.Errorf("other bytes: %v", err)
	}
	h, _ := b.GetObjectDetailedMeta("dst")
	if got := h.Get("X-Oss-Hash-Crc64ecma"); got != strconv.FormatUint(crc64.Checksum(want, crcTable()), 10) {
		t.Errorf("crc %s", got)
	}
	// The SDK's own way for long objects, over a resumable copy.
	if err := b.CopyFile("photos", "dst", "copy/of it", 100<<10, oss.Routines(3)); err != nil {
		t.Fatal(err)
	}
	if r, err := b.GetObject("copy/of it"); err != nil || text(t, r) != string(want) {
		t.Errorf("other bytes: %v", err)
	}
}
