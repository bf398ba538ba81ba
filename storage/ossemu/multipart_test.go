package ossemu

import (
	"bytes"
	"crypto/md5"
	"hash/crc64"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
)

func TestMultipart(t *testing.T) {
	for name, options := range signatures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			b := e.bucket(t, options...)
			for i, key := range []string{"pid/m p.bin", "pid/m+p%20.bin", "a/b", "a", "中/文"} {
				bytesAll, size := 20<<20, 3<<20
				if i > 0 {
					bytesAll, size = 650<<10, 100<<10
				}
				imur, err := b.InitiateMultipartUpload(key, oss.ContentType("image/png"), oss.Meta("who", "me"))
				if err != nil {
					t.Fatal(err)
				}
				if imur.Key != key {
					t.Errorf("the upload's key is %q, want %q", imur.Key, key)
				}
				want := noise(bytesAll)
				var parts []oss.UploadPart
				for i := 0; i*size < len(want); i++ {
					piece := want[i*size : min((i+1)*size, len(want))]
					if i == 1 { // a part may be sent anew
						if _, err := b.UploadPart(imur, strings.NewReader("first try"), 9, i+1); err != nil {
							t.Fatal(err)
						}
					}
					p, err := b.UploadPart(imur, bytes.NewReader(piece), int64(len(piece)), i+1)
					if err != nil {
						t.Fatal(err)
					}
					parts = append(parts, p)
				}
				if _, err := b.GetObject(key); err == nil {
					t.Error("the object is there before it was completed")
				}
				done, err := b.CompleteMultipartUpload(imur, parts)
				if err != nil {
					t.Fatal(err)
				}
				h, err := b.GetObjectDetailedMeta(key)
				if err != nil {
					t.Fatal(err)
				}
				var sums []byte
				for i := 0; i*size < len(want); i++ {
					sum := md5.Sum(want[i*size : min((i+1)*size, len(want))])
					sums = append(sums, sum[:]...)
				}
				sum := md5.Sum(sums)
				for name, v := range map[string]string{
					"Etag":                 quoted(upperHex(sum[:]) + "-7"),
					"Content-Type":         "image/png",
					"X-Oss-Meta-Who":       "me",
					"X-Oss-Object-Type":    "Multipart",
					"Content-Length":       strconv.Itoa(len(want)),
					"X-Oss-Hash-Crc64ecma": strconv.FormatUint(crc64.Checksum(want, crc64.MakeTable(crc64.ECMA)), 10),
				} {
					if h.Get(name) != v {
						t.Errorf("%s is %q, want %q", name, h.Get(name), v)
					}
				}
				if done.ETag != h.Get("Etag") || done.Key != key {
					t.Errorf("complete answers %+v", done)
				}
				r, err := b.GetObject(key)
				if err != nil {
					t.Fatal(err)
				}
				if text(t, r) != string(want) {
					t.Error("other bytes")
				}
				_, err = b.CompleteMultipartUpload(imur, parts)
				wantCode(t, err, 404, "NoSuchUpload")
			}
		})
	}
}

func TestResumableUpload(t *testing.T) {
	e := start(t)
	b := e.bucket(t, signatures["V4"]...)
	file := filepath.Join(t.TempDir(), "20MB")
	want := noise(20<<20 + 7)
	if err := os.WriteFile(file, want, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.UploadFile("pid/20MB", file, 100<<10, oss.Routines(5), oss.Checkpoint(true, "")); err != nil {
		t.Fatal(err)
	}
	got := filepath.Join(t.TempDir(), "got")
	if err := b.DownloadFile("pid/20MB", got, 1<<20, oss.Routines(3)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(got); err != nil || !bytes.Equal(b, want) {
		t.Errorf("other bytes came back: %v", err)
	}
}

func TestCompleteRefuses(t *testing.T) {
	e := start(t)
	b := e.bucket(t)
	imur, err := b.InitiateMultipartUpload("k")
	if err != nil {
		t.Fatal(err)
	}
	part := func(number, size int) oss.UploadPart {
		t.Helper()
		p, err := b.UploadPart(imur, bytes.NewReader(noise(size)), int64(size), number)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	small, big, last := part(1, 100<<10-1), part(2, 100<<10), part(10000, 1)
	id := "?uploadId=" + imur.UploadID
	list := func(parts ...oss.UploadPart) string {
		var s strings.Builder
		s.WriteString("<CompleteMultipartUpload>")
		for _, p := range parts {
			s.WriteString("<Part><PartNumber>" + strconv.Itoa(p.PartNumber) + "</PartNumber><ETag>" + p.ETag + "</ETag></Part>")
		}
		return s.String() + "</CompleteMultipartUpload>"
	}
	other := big
	other.ETag = last.ETag
	missing := big
	missing.PartNumber = 3
	for name, try := range map[string]struct {
		query, body, code string
		status            int
	}{
		"order":          {id, list(last, big), "InvalidPartOrder", 400},
		"twice":          {id, list(big, big), "InvalidPartOrder", 400},
		"etag":           {id, list(other, last), "InvalidPart", 400},
		"missing":        {id, list(big, missing), "InvalidPart", 400},
		"too small":      {id, list(small, big, last), "EntityTooSmall", 400},
		"none":           {id, list(), "MalformedXML", 400},
		"no XML":         {id, "parts: 1, 2", "MalformedXML", 400},
		"cut XML":        {id, list(big, last)[:60], "MalformedXML", 400},
		"empty":          {id, "", "MalformedXML", 400},
		"unknown upload": {"?uploadId=" + strings.Repeat("A", 32), list(big), "NoSuchUpload", 404},
		"another key's":  {"/x" + id, list(big), "NoSuchUpload", 404},
		"a path":         {"?uploadId=" + url.QueryEscape("../../../photos"), list(big), "NoSuchUpload", 404},
		"too long":       {id, strings.Repeat(" ", longestDocument+1), "EntityTooLarge", 400},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, e.send(t, "POST", "/photos/k"+try.query, strings.NewReader(try.body)), try.status, try.code)
		})
	}
	for name, try := range map[string]struct{ query, code string }{
		"part 0":           {"&partNumber=0", "InvalidArgument"},
		"part 10001":       {"&partNumber=10001", "InvalidArgument"},
		"part x":           {"&partNumber=x", "InvalidArgument"},
		"no number":        {"", "InvalidArgument"},
		"no number, value": {"&partNumber", "InvalidArgument"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, e.send(t, "PUT", "/photos/k"+id+try.query, strings.NewReader("x")), 400, try.code)
		})
	}
	if _, err := b.GetObject("k"); err == nil {
		t.Error("a refused upload made an object")
	}
	// The last part may be of any size, and parts may be left out.
	if _, err := b.CompleteMultipartUpload(imur, []oss.UploadPart{big, last}); err != nil {
		t.Error(err)
	}
}

func TestForbidOverwriteInParts(t *testing.T) {
	e := start(t)
	b := e.bucket(t)
	imur, err := b.InitiateMultipartUpload("k", oss.ForbidOverWrite(true))
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.UploadPart(imur, strings.NewReader("new"), 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.PutObject("k", strings.NewReader("old")); err != nil {
		t.Fatal(err)
	}
	_, err = b.CompleteMultipartUpload(imur, []oss.UploadPart{p}, oss.ForbidOverWrite(true))
	wantCode(t, err, 409, "FileAlreadyExists")
	_, err = b.InitiateMultipartUpload("k", oss.ForbidOverWrite(true))
	wantCode(t, err, 409, "FileAlreadyExists")
	// The upload is still there.
	if resp := e.send(t, "POST", "/photos/k?uploadId="+imur.UploadID, nil, "X-Oss-Complete-All", "yes"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	if r, err := b.GetObject("k"); err != nil || text(t, r) != "new" {
		t.Errorf("not replaced: %v", err)
	}
}

func TestListPartsAndUploads(t *testing.T) {
	e := start(t)
	b := e.bucket(t, signatures["V4"]...)
	keys := []string{"pid a/1", "pid a/2", "pid a/2", "pid b/3", "x"}
	var all []oss.InitiateMultipartUploadResult
	for _, k := range keys {
		imur, err := b.InitiateMultipartUpload(k)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, imur)
	}
	for n := 1; n <= 7; n += 2 {
		if _, err := b.UploadPart(all[0], bytes.NewReader(noise(n)), int64(n), n); err != nil {
			t.Fatal(err)
		}
	}
	marker, numbers := 0, []string{}
	for {
		page, err := b.ListUploadedParts(all[0], oss.MaxParts(3), oss.PartNumberMarker(marker))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.UploadedParts {
			sum := md5.Sum(noise(p.PartNumber))
			if p.Size != p.PartNumber || p.ETag != quoted(upperHex(sum[:])) {
				t.Errorf("part %+v", p)
			}
			numbers = append(numbers, strconv.Itoa(p.PartNumber))
		}
		if !page.IsTruncated {
			break
		}
		marker, _ = strconv.Atoi(page.NextPartNumberMarker)
	}
	if got := strings.Join(numbers, " "); got != "1 3 5 7" {
		t.Errorf("parts %s", got)
	}

	for name, try := range map[string]struct {
		options       []oss.Option
		keys, folders string
	}{
		"all":       {nil, "pid a/1,pid a/2,pid a/2,pid b/3,x", ""},
		"prefix":    {[]oss.Option{oss.Prefix("pid a/")}, "pid a/1,pid a/2,pid a/2", ""},
		"delimiter": {[]oss.Option{oss.Delimiter("/")}, "x", "pid a/,pid b/"},
		"behind":    {[]oss.Option{oss.KeyMarker("pid a/2")}, "pid b/3,x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for size := range 6 {
				var keys, folders []string
				options := append([]oss.Option{oss.MaxUploads(size + 1)}, try.options...)
				for range len(all) + 1 {
					page, err := b.ListMultipartUploads(options...)
					if err != nil {
						t.Fatal(err)
					}
					for _, u := range page.Uploads {
						keys = append(keys, u.Key)
					}
					folders = append(folders, page.CommonPrefixes...)
					if !page.IsTruncated {
						break
					}
					options = append([]oss.Option{oss.MaxUploads(size + 1), oss.KeyMarker(page.NextKeyMarker), oss.UploadIDMarker(page.NextUploadIDMarker)}, try.options...)
					if name == "behind" {
						options = options[:3]
					}
				}
				if strings.Join(keys, ",") != try.keys || strings.Join(folders, ",") != try.folders {
					t.Errorf("pages of %d: %q and %q", size+1, keys, folders)
				}
			}
		})
	}

	for _, u := range all {
		if err := b.AbortMultipartUpload(u); err != nil {
			t.Error(err)
		}
		wantCode(t, b.AbortMultipartUpload(u), 404, "NoSuchUpload")
		_, err := b.ListUploadedParts(u)
		wantCode(t, err, 404, "NoSuchUpload")
		_, err = b.UploadPart(u, strings.NewReader("x"), 1, 1)
		wantCode(t, err, 404, "NoSuchUpload")
	}
	wantEmptyFolder(t, e)
}
