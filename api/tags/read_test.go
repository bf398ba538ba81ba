package tags

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/broker"
)

// ready sends a file and has it judged.
func (f *fixture) ready(t *testing.T, tag, name, content string) answered {
	t.Helper()
	got := f.put(t, "/upload/"+tag+"/"+name, f.firstKey, content).want(t, http.StatusCreated)
	f.judge(t, f.image(t, tag, got.ID))
	return got
}

func TestFile(t *testing.T) {
	f := open(t)
	got := f.ready(t, "open", "page.html", "<script>alert(1)</script>")
	path := strings.TrimPrefix(got.URL, f.URL)
	link := f.do(t, "GET", path, "", nil).want(t, http.StatusFound).Header.Get("Location")
	if !strings.HasPrefix(link, f.URL+"/local-bucket/") {
		t.Fatalf("it leads to %s", link)
	}
	file := f.do(t, "GET", strings.TrimPrefix(link, f.URL), "", nil).want(t, http.StatusOK)
	if file.Text != "<script>alert(1)</script>" || !strings.HasPrefix(file.Header.Get("Content-Disposition"), "attachment") ||
		!strings.HasPrefix(file.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("the file comes as %q with %v", file.Text, file.Header)
	}

	fresh := f.put(t, "/upload/open/fresh.jpg", "", "fresh").want(t, http.StatusCreated)
	if a := f.do(t, "GET", strings.TrimPrefix(fresh.URL, f.URL), "", nil).want(t, http.StatusConflict); a.Header.Get("Retry-After") == "" {
		t.Error("nothing says when to try again")
	}
	f.judge(t, f.image(t, "open", fresh.ID), broker.Reasonf(broker.ReasonTruncated, "the end is missing"))
	if a := f.do(t, "GET", strings.TrimPrefix(fresh.URL, f.URL), "", nil).want(t, http.StatusConflict); !strings.Contains(a.Text, "the end is missing") {
		t.Errorf("it does not say why: %s", a.Text)
	}
	f.do(t, "GET", "/tags/shown/files/"+got.ID, f.firstKey, nil).want(t, http.StatusNotFound)
	f.ready(t, "shown", "x.jpg", "x")
	f.do(t, "GET", "/tags/shown/files/"+got.ID, "", nil).want(t, http.StatusNotFound) // another tag's
	f.do(t, "GET", "/tags/open/files/nonsense", "", nil).want(t, http.StatusNotFound)
}

// Where a bucket gives no links, the file comes from here, and can do nothing here.
func TestFileWithoutLinks(t *testing.T) {
	f := open(t, func(f *fixture, _ *Options) {
		place := f.place()
		place.Linker = nil
		f.images.Places.Replace(broker.ConfiguredOrder{}, place)
	})
	got := f.ready(t, "open", "100MEDIA/page.html", "<script>")
	file := f.do(t, "GET", strings.TrimPrefix(got.URL, f.URL), "", nil).want(t, http.StatusOK)
	h := file.Header
	if file.Text != "<script>" || h.Get("Content-Length") != "8" || h.Get("Content-Type") != "application/octet-stream" ||
		!strings.Contains(h.Get("Content-Disposition"), `attachment; filename="page.html"`) ||
		h.Get("Content-Security-Policy") != "sandbox; default-src 'none'" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%q with %v", file.Text, h)
	}
	if head := f.do(t, "HEAD", strings.TrimPrefix(got.URL, f.URL), "", nil).want(t, http.StatusOK); head.Header.Get("Content-Length") != "8" {
		t.Errorf("HEAD says %v", head.Header)
	}
}

func TestWhoMayRead(t *testing.T) {
	session := broker.Caller{} // who is signed in; nobody yet
	f := open(t, func(_ *fixture, o *Options) {
		o.Session = func(echo.Context) (broker.Caller, error) {
			if !session.Known() {
				return session, broker.Errorf(broker.CodeUnauthenticated, "not signed in")
			}
			return session, nil
		}
	})
	tags := map[string]string{"nix": broker.NewID(time.Now())}
	for _, tag := range []string{"open", "wall", "mine", "shown"} {
		tags[tag] = f.ready(t, tag, "a.jpg", tag).ID
	}
	uploadOnly := f.key(t, f.first, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload}})
	elsewhere, err := f.store.TagByName(t.Context(), "wall")
	if err != nil {
		t.Fatal(err)
	}
	tied := f.key(t, f.first, broker.NewKey{ProjectID: elsewhere.ID})
	both := func(about, tag, key string, file, zip int) {
		t.Helper()
		if a := f.do(t, "GET", "/tags/"+tag+"/files/"+tags[tag], key, nil); a.Status != file {
			t.Errorf("%s: the file answers %d, want %d: %s", about, a.Status, file, a.Text)
		}
		if a := f.do(t, "GET", "/tags/"+tag+".zip", key, nil); a.Status != zip {
			t.Errorf("%s: the zip answers %d, want %d: %s", about, a.Status, zip, a.Text)
		}
	}
	both("nobody, public", "open", "", 302, 200)
	both("nobody, public and not of anybody", "shown", "", 302, 200)
	both("nobody, of anybody and not public", "wall", "", 401, 401)
	both("nobody, neither", "mine", "", 401, 401)
	both("nobody, there is none", "nix", "", 401, 401)
	both("the owner", "mine", f.firstKey, 302, 200)
	both("the owner, there is none", "nix", f.firstKey, 404, 404)
	both("another owner", "mine", f.special, 404, 404)
	both("another owner, public", "open", f.special, 302, 200)
	both("a key without the scope", "mine", uploadOnly, 403, 403)
	both("a key without the scope, public", "open", uploadOnly, 302, 200)
	both("a key that is tied elsewhere", "mine", tied, 404, 404)
	both("a key that is tied to it", "wall", tied, 302, 200)
	both("a bad key", "mine", "ub_nonsense_nonsense", 401, 401)

	// Who is signed in may read, and nothing more: a key is what sends.
	if session, err = f.keys.Authenticate(t.Context(), f.firstKey); err != nil {
		t.Fatal(err)
	}
	both("the owner, signed in", "mine", "", 302, 200)
	f.put(t, "/upload/mine/b.jpg", "", "b").want(t, http.StatusUnauthorized)
}

func TestReader(t *testing.T) {
	f := open(t)
	f.ready(t, "open", "a.jpg", "a")
	f.ready(t, "mine", "a.jpg", "a")
	p, reader, err := f.tags.Reader(t.Context(), broker.Caller{}, "open")
	if err != nil {
		t.Fatal(err)
	}
	if list, err := f.images.List(t.Context(), reader, p.ID, "", broker.Page{Limit: 10}); err != nil || len(list) != 1 {
		t.Errorf("a reader finds %d, %v", len(list), err)
	}
	mine, _, err := f.tags.Reader(t.Context(), mustCaller(t, f), "mine")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.images.List(t.Context(), reader, mine.ID, "", broker.Page{Limit: 10}); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("a reader of one tag finds another's files: %v", err)
	}
	list, err := f.images.List(t.Context(), reader, p.ID, "", broker.Page{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.images.Remove(t.Context(), reader, p.ID, list[0].ID); broker.CodeOf(err) != broker.CodeNotAllowed {
		t.Errorf("a reader removes: %v", err)
	}
	if _, _, err := f.tags.ReaderOf(t.Context(), broker.Caller{}, p.ID); err != nil {
		t.Errorf("by the project's id: %v", err)
	}
	if _, _, err := f.tags.ReaderOf(t.Context(), broker.Caller{}, mine.ID); broker.CodeOf(err) != broker.CodeUnauthenticated {
		t.Errorf("by another project's id: %v", err)
	}
}

func mustCaller(t *testing.T, f *fixture) broker.Caller {
	t.Helper()
	by, err := f.keys.Authenticate(t.Context(), f.firstKey)
	if err != nil {
		t.Fatal(err)
	}
	return by
}

func TestZip(t *testing.T) {
	f := open(t)
	f.ready(t, "open", "a.jpg", "first")
	f.ready(t, "open", "a.jpg", "second")
	f.put(t, "/upload/open/fresh.jpg", "", "not judged").want(t, http.StatusCreated)
	whole := f.do(t, "GET", "/tags/open.zip", "", nil).want(t, http.StatusOK)
	z, err := zip.NewReader(bytes.NewReader([]byte(whole.Text)), int64(len(whole.Text)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, file := range z.File {
		r, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[file.Name] = string(text)
	}
	if len(files) != 2 || files["a.jpg"] != "first" || files["a (2).jpg"] != "second" {
		t.Errorf("the zip has %q", files)
	}
	if d := whole.Header.Get("Content-Disposition"); !strings.Contains(d, `filename="open.zip"`) {
		t.Errorf("it is saved as %s", d)
	}
	rest := f.do(t, "GET", "/tags/open.zip", "", nil, "Range", "bytes=20-", "If-Range", whole.Header.Get("ETag")).want(t, http.StatusPartialContent)
	if rest.Text != whole.Text[20:] {
		t.Error("it does not go on where it broke off")
	}
	if got := f.do(t, "GET", "/tags/wall.zip", f.firstKey, nil).want(t, http.StatusNotFound); got.Code != broker.CodeNotFound {
		t.Errorf("the code is %s", got.Code)
	}
	f.put(t, "/upload/wall/fresh.jpg", "", "not judged").want(t, http.StatusCreated)
	if got := f.do(t, "GET", "/tags/wall.zip", f.firstKey, nil).want(t, http.StatusConflict); got.Code != broker.CodeNoReadyImage {
		t.Errorf("the code is %s", got.Code)
	}
}
