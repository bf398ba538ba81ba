package ossemu

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"
	"pgregory.net/rapid"
)

// wantEmptyFolder checks that nothing is left in the bucket's folder, and nothing
// temporary.
func wantEmptyFolder(t testing.TB, e emulator) {
	t.Helper()
	for _, dir := range []string{filepath.Join(e.dir, "photos"), e.disk.own("tmp"), e.disk.own("meta")} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !d.IsDir() || filepath.Dir(path) == filepath.Join(e.dir, "photos") {
				t.Errorf("left behind: %s", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// sign signs a request by a V1 header, as the account's user.
func (e emulator) sign(t testing.TB, r *http.Request) {
	t.Helper()
	e.signWith(t, r, testKeyID, testSecret)
}

func (e emulator) signWith(t testing.TB, r *http.Request, id, secret string) {
	t.Helper()
	date := time.Now().UTC().Format(http.TimeFormat)
	r.Header.Set("Date", date)
	p, f := e.resolve(r)
	if f != nil {
		t.Fatal(f)
	}
	q, err := parseParams(r.URL.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "OSS "+id+":"+signV1(secret, stringToSignV1(r, q, date, resourcesV1(p)[0])))
}

// TestNames: every key has a path of its own that leads nowhere else, and its
// names lead back to it.
func TestNames(t *testing.T) {
	segment := rapid.OneOf(
		rapid.StringOf(rapid.SampledFrom([]rune("aA%/.\\+_o2E\x00\n é长🛰"))),
		rapid.SampledFrom(oddKeys()),
		rapid.StringN(0, 300, 1023),
	)
	rapid.Check(t, func(rt *rapid.T) {
		n := namer{fold: rapid.Bool().Draw(rt, "fold")}
		key, other := segment.Draw(rt, "key"), segment.Draw(rt, "other")
		if !utf8.ValidString(key) || key == "" {
			return
		}
		p := n.path(key)
		if !filepath.IsLocal(p) || p != filepath.Clean(p) {
			rt.Fatalf("%q has the path %q", key, p)
		}
		if n.fold && strings.ToLower(p) != p && strings.Trim(p, "abcdefghijklmnopqrstuvwxyz") == "" {
			rt.Fatalf("%q has capitals: %q", key, p)
		}
		if other != key && utf8.ValidString(other) && other != "" && n.path(other) == p {
			rt.Fatalf("%q and %q have the path %q", key, other, p)
		}
		back := ""
		names := strings.Split(p, "/")
		for i, name := range names {
			if len(name) > 255-len(asideSuffix) {
				rt.Fatalf("%d bytes: %q", len(name), name)
			}
			part, k, ok := n.parse(name)
			if !ok || k == aside {
				rt.Fatalf("%q of %q can't be read back", name, key)
			}
			if back += part; k == plain && i < len(names)-1 {
				back += "/"
			}
		}
		if back != key {
			rt.Fatalf("%q came back as %q", key, back)
		}
	})
}

// TestFilesByHand serves what somebody put into the folder, and shows what is
// stored under plain names.
func TestFilesByHand(t *testing.T) {
	e := start(t)
	b := e.bucket(t)
	dir := filepath.Join(e.dir, "photos")
	e.fill(t, "100MEDIA/DJI 0001.JPG", "100MEDIA/notes")
	if err := os.Mkdir(filepath.Join(e.dir, "made-by-hand"), 0o755); err != nil {
		t.Fatal(err)
	}
	// These have no key.
	for _, name := range []string{"50%.jpg", "%41", "\xff"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	_, err := b.GetObject("link")
	wantCode(t, err, 404, "NoSuchKey")
	if got := listAll(t, b); !slices.Equal(got, []string{"100MEDIA/DJI 0001.JPG", "100MEDIA/notes"}) {
		t.Errorf("listed %q", got)
	}
	h, err := b.GetObjectDetailedMeta("100MEDIA/DJI 0001.JPG")
	if err != nil || h.Get("Content-Type") != "image/jpeg" || h.Get("Content-Length") != "21" || h.Get("X-Oss-Hash-Crc64ecma") == "" {
		t.Errorf("%v %v", h, err)
	}
	// Changed by hand, it is another object.
	if err := os.WriteFile(filepath.Join(dir, "100MEDIA/notes"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	h2, err := b.GetObjectDetailedMeta("100MEDIA/notes")
	if err != nil || h2.Get("Etag") != `"5D41402ABC4B2A76B9719D911017C592"` {
		t.Errorf("%v %v", h2, err)
	}
	if err := b.PutObject("pid/da39a3.jpg", strings.NewReader("stored")); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "pid", "da39a3.jpg")); err != nil || string(got) != "stored" {
		t.Errorf("%q %v", got, err)
	}
	made, err := e.client(t).Bucket("made-by-hand")
	if err != nil || made.PutObject("k", strings.NewReader("x")) != nil {
		t.Error(err)
	}
	if err := b.DeleteObject("100MEDIA/DJI 0001.JPG"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "100MEDIA/DJI 0001.JPG")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the file is still there")
	}
}

// TestStartsAgain opens a folder anew, as after a kill: nothing was closed.
func TestStartsAgain(t *testing.T) {
	first := start(t)
	b := first.bucket(t)
	for _, k := range oddKeys() {
		if err := b.PutObject(k, strings.NewReader(k), oss.Meta("who", "me"), oss.ContentType("a/b")); err != nil {
			t.Fatal(err)
		}
	}
	imur, err := b.InitiateMultipartUpload("parts", oss.ContentType("a/c"))
	if err != nil {
		t.Fatal(err)
	}
	part := noise(100 << 10)
	p1, err := b.UploadPart(imur, bytes.NewReader(part), int64(len(part)), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.client(t).SetBucketCORS("photos", []oss.CORSRule{{AllowedOrigin: []string{"https://a"}, AllowedMethod: []string{"PUT"}}}); err != nil {
		t.Fatal(err)
	}
	// A body was on its way, one just now and one long ago.
	long := first.disk.own("tmp", "put-long-ago")
	for _, name := range []string{long, first.disk.own("tmp", "put-now")} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(long, time.Time{}, time.Now().Add(-2*abandoned)); err != nil {
		t.Fatal(err)
	}

	again := start(t, func(o *Options) { o.Dir = first.dir })
	b = again.bucket(t)
	want := oddKeys()
	slices.Sort(want)
	if got := listAll(t, b, oss.MaxKeys(1000)); !slices.Equal(got, want) {
		t.Error(difference(got, want))
	}
	for _, k := range want {
		h, err := b.GetObjectDetailedMeta(k)
		if err != nil || h.Get("X-Oss-Meta-Who") != "me" || h.Get("Content-Type") != "a/b" {
			t.Errorf("%.40q: %v %v", k, h, err)
		}
	}
	p2, err := b.UploadPart(imur, strings.NewReader("end"), 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.CompleteMultipartUpload(imur, []oss.UploadPart{p1, p2}); err != nil {
		t.Fatal(err)
	}
	if r, err := b.GetObject("parts"); err != nil || text(t, r) != string(part)+"end" {
		t.Errorf("other bytes: %v", err)
	}
	if got, err := again.client(t).GetBucketCORS("photos"); err != nil || got.CORSRules[0].AllowedOrigin[0] != "https://a" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := os.Stat(long); !errors.Is(err, fs.ErrNotExist) {
		t.Error("what was left behind long ago is still there")
	}
	if _, err := os.Stat(first.disk.own("tmp", "put-now")); err != nil {
		t.Errorf("what another emulator may be writing: %v", err)
	}
}

// TestKilledBetweenSteps sets the folder as a kill leaves it between two steps of
// a PUT or DELETE.
func TestKilledBetweenSteps(t *testing.T) {
	e := start(t)
	b := e.bucket(t)
	put := func(key, body string) {
		t.Helper()
		if err := b.PutObject(key, strings.NewReader(body), oss.ContentType("type/"+body)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(key, body string) {
		t.Helper()
		r, err := b.GetObject(key)
		if err != nil {
			t.Fatal(err)
		}
		h, err := b.GetObjectDetailedMeta(key)
		if got := text(t, r); err != nil || got != body || h.Get("Content-Type") != "type/"+body {
			t.Errorf("%s holds %q of %s, want %q", key, got, h.Get("Content-Type"), body)
		}
	}
	// The record is the new one, the file not yet.
	put("k", "old")
	old, err := os.ReadFile(e.disk.objectPath("photos", "k"))
	if err != nil {
		t.Fatal(err)
	}
	fi, _ := os.Stat(e.disk.objectPath("photos", "k"))
	put("k", "new")
	if err := os.WriteFile(e.disk.objectPath("photos", "k"), old, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(e.disk.objectPath("photos", "k"), fi.ModTime(), fi.ModTime()); err != nil {
		t.Fatal(err)
	}
	want("k", "old")
	put("k", "newer")
	want("k", "newer")

	// The folder made way, the object's older version still lies aside.
	put("a/b", "below")
	put("a", "older")
	aside := e.disk.objectPath("photos", "a") + asideSuffix
	if err := b.DeleteObject("a/b"); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadFile(aside)
	if err != nil {
		t.Fatal(err)
	}
	put("a", "newest")
	if err := os.WriteFile(aside, left, 0o644); err != nil {
		t.Fatal(err)
	}
	want("a", "newest")
	if got := listAll(t, b); !slices.Equal(got, []string{"a", "k"}) {
		t.Errorf("listed %q", got)
	}
	if err := b.DeleteObject("a"); err != nil {
		t.Fatal(err)
	}
	_, err = b.GetObject("a")
	wantCode(t, err, 404, "NoSuchKey")
}

// wantNothingBeside checks that only buckets lie beside the emulator's folder.
func wantNothingBeside(t testing.TB, e emulator) {
	t.Helper()
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range entries {
		if d.Name() != hidden && !validBucket(d.Name()) {
			t.Errorf("%s lies beside the buckets", d.Name())
		}
	}
	if others, err := os.ReadDir(filepath.Dir(e.dir)); err != nil || len(others) != 1 {
		t.Errorf("%d things lie beside the emulator's folder (%v)", len(others)-1, err)
	}
}

// localContext is that of a request that came in on 127.0.0.1.
func (e emulator) localContext(r *http.Request) context.Context {
	return context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8090})
}

func md5Of(s string) []byte {
	sum := md5.Sum([]byte(s))
	return sum[:]
}

// TestFoldedNames does what is done on a file system that takes "A" for "a".
func TestFoldedNames(t *testing.T) {
	e := start(t)
	e.disk.names.fold = true
	b := e.bucket(t)
	for _, k := range oddKeys() {
		if err := b.PutObject(k, strings.NewReader(k)); err != nil {
			t.Fatal(err)
		}
	}
	want := oddKeys()
	slices.Sort(want)
	if got := listAll(t, b, oss.MaxKeys(11)); !slices.Equal(got, want) {
		t.Error(difference(got, want))
	}
	filepath.WalkDir(filepath.Join(e.dir, "photos"), func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if i := strings.IndexFunc(name, func(r rune) bool { return r >= 0x80 }); err != nil || i >= 0 {
			t.Errorf("%s: %v", name, err)
		}
		return nil
	})
	for _, k := range want {
		if r, err := b.GetObject(k); err != nil || text(t, r) != k {
			t.Errorf("%q: %v", k, err)
		}
	}
}
