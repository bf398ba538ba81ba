package tags

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestQueryName(t *testing.T) {
	for query, want := range map[string]string{
		"filename=a.jpg":                 "a.jpg",
		"filename=a+b%2Bc.jpg":           "a b+c.jpg",
		"filename=a;b.jpg":               "a;b.jpg",
		"filename=a%zz.jpg":              "a%zz.jpg",
		"filename=100%":                  "100%",
		"filename=a%4":                   "a%4",
		"filename=Tom&Jerry.jpg":         "Tom&Jerry.jpg",
		"filename=a&b&c.jpg&x=1&d.jpg":   "a&b&c.jpg",
		"filename=a.jpg&overwrite":       "a.jpg",
		"filename=a.jpg&0.8362":          "a.jpg",
		"filename=a.jpg&b.jpg":           "a.jpg",
		"filename=Tom&0.8362":            "Tom",
		"filename=Tom&Jerry.jpg&0.8362":  "Tom&Jerry.jpg",
		"filename=1.5&2&3.jpg":           "1.5",
		"filename=Dr.+Who&Amy.jpg":       "Dr. Who&Amy.jpg",
		"filename=%E7%85%A7.jpg&b.c":     "照.jpg",
		"x=1&FileName=x.jpg":             "x.jpg",
		"file%6eame=x.jpg":               "x.jpg",
		"filename=l&filename=m":          "l",
		"filename=&filename=m":           "m",
		"filename=a=b.jpg":               "a=b.jpg",
		"filename=%E7%85%A7.jpg":         "照.jpg",
		"filename=%D5%D5%C6%AC.jpg":      "照片.jpg",
		"filename=\xd5\xd5\xc6\xac.jpg":  "照片.jpg",
		"filename=caf%E9.jpg":            "caf\xe9.jpg",
		"filename":                       "",
		"name=a.jpg&theirfilename=b.jpg": "",
		"":                               "",
	} {
		if got := queryName(query); got != want {
			t.Errorf("?%s: %q, want %q", query, got, want)
		}
	}
}

func TestDispositionInOtherEncodings(t *testing.T) {
	for header, want := range map[string]string{
		`form-data; name="f"; filename="=?UTF-8?B?54Wn54mHLmpwZw==?="`:                     "照片.jpg",
		`form-data; name="f"; filename="=?utf-8?Q?=E7=85=A7=E7=89=87.jpg?="`:               "照片.jpg",
		`form-data; name="f"; filename="=?UTF-8?B?54Wn?= =?UTF-8?B?54mHLmpwZw==?="`:        "照片.jpg",
		`form-data; name="f"; filename="=?GB2312?B?1dXGrC5qcGc=?="`:                        "照片.jpg",
		`form-data; name="f"; filename="=?KOI8-R?B?8A==?="`:                                "=?KOI8-R?B?8A==?=",
		`form-data; name="f"; filename="is it =?.jpg"`:                                     "is it =?.jpg",
		"form-data; name=\"f\"; filename=\"\xd5\xd5\xc6\xac.jpg\"":                         "照片.jpg",
		"form-data; name=f; filename=\xd5\xd5\xc6\xac.jpg":                                 "照片.jpg",
		"form-data; name=\"f\"; filename=\"caf\xe9.jpg\"":                                  "caf\xe9.jpg",
		`form-data; name="f"; filename="=?UTF-8?B?54Wn?="; filename*=UTF-8''%E7%89%87.jpg`: "片.jpg",
	} {
		if got := dispositionName(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

// Names come as old programs write them.
func TestNamesOfOldPrograms(t *testing.T) {
	f := open(t)
	for i, c := range []struct{ path, want string }{
		{"/upload/open?filename=a;b.jpg", "a;b.jpg"},
		{"/upload/open?FileName=c%zz.jpg", "c%zz.jpg"},
		{"/upload/open/%D5%D5%C6%AC.jpg", "照片.jpg"},
		{"/upload/open%2fescaped.jpg", "escaped.jpg"},
		{"/upload/open%2F100MEDIA%2Fd.jpg", "100MEDIA/d.jpg"},
		{"/upload/open/photo%E2%80%8Egpj.exe", "photo_gpj.exe"},
	} {
		conn := f.from(t, "127.0.0.1")
		body := fmt.Sprint("content ", i)
		if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", c.path, len(body), body); err != nil {
			t.Fatal(err)
		}
		if status, text := statusOf(t, conn); status != http.StatusCreated || !strings.Contains(text, fmt.Sprintf("%q", c.want)) {
			t.Errorf("%s: %d %s, want the name %q", c.path, status, text, c.want)
		}
	}
	// A slash that is escaped is none in the name of a zip.
	f.ready(t, "open", "x.jpg", "x")
	if a := f.do(t, "GET", "/tags/open%2fx.zip", "", nil); a.Status == http.StatusOK {
		t.Error("/tags/open%2fx.zip is the zip of open")
	}
}

// A part of a form without a file name has the address's where it can only be the file.
func TestFormPartWithoutName(t *testing.T) {
	f := open(t)
	field := func(head, value string) string {
		return "--B\r\nContent-Disposition: form-data; " + head + "\r\n\r\n" + value + "\r\n"
	}
	big := strings.Repeat("p", 100<<10)
	for _, c := range []struct {
		about, path, body string
		status            int
		name, sha1        string
	}{
		{"with a type", "/upload/open/f.jpg", field("name=\"file\"\r\nContent-Type: image/jpeg", "f1"), 201, "f.jpg", digest("f1")},
		{"behind fields", "/upload/open/g.jpg",
			field(`name="token"`, "t") + field("name=\"user\"\r\nContent-Type: text/plain; charset=utf-8", "u") +
				field("name=\"file\"\r\nContent-Type: image/jpeg", "g1"), 201, "g.jpg", digest("g1")},
		{"by the query", "/upload/open?filename=h.jpg", field("name=\"file\"\r\nContent-Type: application/octet-stream", "h1"), 201, "h.jpg", digest("h1")},
		{"the only one", "/upload/open/i.jpg", field(`name="file"`, "i1"), 201, "i.jpg", digest("i1")},
		{"the only one, long", "/upload/open/j.jpg", field(`name="file"`, big), 201, "j.jpg", digest(big)},
		{"the only one, text", "/upload/open/k.txt", field("name=\"file\"\r\nContent-Type: text/plain", "k1"), 201, "k.txt", digest("k1")},
		{"one of another name behind a field", "/upload/open/l.jpg", field(`name="token"`, "t") + field(`name="file"; filename="own.jpg"`, "l1"), 201, "l.jpg", digest("l1")},
		{"behind one that was not chosen", "/upload/open/o.jpg",
			field("name=\"no\"; filename=\"\"\r\nContent-Type: application/octet-stream", "") + field("name=\"file\"; filename=\"own.jpg\"", "o1"), 201, "o.jpg", digest("o1")},
		{"not chosen", "/upload/open?filename=p.jpg", field("name=\"file\"; filename=\"\"\r\nContent-Type: application/octet-stream", ""), 422, "", ""},
		{"not chosen, without a type", "/upload/open?filename=q.jpg", field(`name="file"; filename=""`, ""), 422, "", ""},
		{"an empty name and bytes", "/upload/open?filename=r.jpg", field("name=\"file\"; filename=\"\"\r\nContent-Type: image/jpeg", "r1"), 201, "r.jpg", digest("r1")},
		{"an empty file", "/upload/open?filename=s.jpg", field("name=\"file\"\r\nContent-Type: image/jpeg", ""), 201, "s.jpg", digest("")},
		{"fields only", "/upload/open/m.jpg", field(`name="a"`, "1") + field(`name="b"`, "2"), 422, "", ""},
		{"no name anywhere", "/upload/open", field("name=\"file\"\r\nContent-Type: image/jpeg", "n1"), 422, "", ""},
	} {
		t.Run(c.about, func(t *testing.T) {
			a := f.do(t, "POST", c.path, "", strings.NewReader(c.body+"--B--\r\n"), "Content-Type", "multipart/form-data; boundary=B").want(t, c.status)
			if a.Name != c.name || a.SHA1 != c.sha1 {
				t.Errorf("kept is %+v", a.Record)
			}
		})
	}
}

// A tag is one tag however its name is typed, and shown as it was first.
func TestOneTagHoweverItIsWritten(t *testing.T) {
	f := open(t)
	tag := func(path, key string) string {
		t.Helper()
		url := f.put(t, path, key, path).want(t, http.StatusCreated).URL
		return strings.Split(strings.TrimPrefix(url, f.URL+"/tags/"), "/")[0]
	}
	for _, c := range []struct{ path, key, want string }{
		{"/upload/Open/a.jpg", "", "open"}, // as the configuration has it
		{"/upload/OPEN/b.jpg", "", "open"},
		{"/upload/Caf%C3%A9/a.jpg", f.firstKey, "Caf%C3%A9"}, // as the first one has it
		{"/upload/cafe%CC%81/b.jpg", f.firstKey, "Caf%C3%A9"},
		{"/upload/CAF%C3%89/c.jpg", f.firstKey, "Caf%C3%A9"},
	} {
		if got := tag(c.path, c.key); got != c.want {
			t.Errorf("%s is in the tag %s, want %s", c.path, got, c.want)
		}
	}
	f.put(t, "/upload/CAFÉ/c.jpg", f.special, "x").want(t, http.StatusForbidden) // another owner's is his
	now := time.Now()
	err := f.store.CreateProject(t.Context(), broker.Project{
		ID: broker.NewID(now), OwnerID: f.first.ID, Name: "OPEN", Kind: broker.KindFiles, Tag: "OPEN", CreatedAt: now,
	}, broker.Caller{})
	if broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("a second tag of the name is made: %v", err)
	}
	got := f.ready(t, "open", "z.jpg", "z")
	f.do(t, "GET", "/tags/Open/files/"+got.ID, "", nil).want(t, http.StatusFound)
	f.do(t, "GET", "/tags/OPEN.zip", "", nil).want(t, http.StatusOK)
	list, err := f.tags.List(t.Context(), broker.Caller{}, broker.Page{Limit: 10})
	if err != nil || len(list) != 1 || list[0].Tag != "open" || !list[0].Public || !list[0].Anonymous {
		t.Errorf("the public ones are %+v, %v", list, err)
	}
}

// What broke off goes on at the address of that zip alone, or not at all: curl and wget
// ask for a range and say nothing of the zip that they have the beginning of.
func TestZipOfOneVersion(t *testing.T) {
	f := open(t)
	f.ready(t, "open", "a.jpg", strings.Repeat("a", 1000))
	got := f.ready(t, "open", "b.jpg", "b")
	whole := f.do(t, "GET", "/tags/open.zip", "", nil).want(t, http.StatusOK)
	bound := whole.Header.Get("Content-Location")
	if etag := strings.Trim(whole.Header.Get("ETag"), `"`); bound != "/tags/open.zip?etag="+etag {
		t.Fatalf("its own address is %q", bound)
	}
	rest := func(path string) answered { return f.do(t, "GET", path, "", nil, "Range", "bytes=500-") }
	if a := rest(bound).want(t, http.StatusPartialContent); whole.Text[:500]+a.Text != whole.Text {
		t.Error("the rest does not fit to the beginning")
	}
	p, err := f.store.TagByName(t.Context(), "open")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.images.Remove(t.Context(), broker.Caller{Owner: f.first, Key: broker.Key{ID: "k", OwnerID: f.first.ID, Scopes: broker.AllScopes()}}, p.ID, got.ID); err != nil {
		t.Fatal(err)
	}
	if a := rest(bound).want(t, http.StatusPreconditionFailed); !strings.Contains(a.Text, "has changed") || a.Header.Get("Content-Location") == bound {
		t.Errorf("it says %s with %v", a.Text, a.Header)
	}
	f.do(t, "GET", bound, "", nil).want(t, http.StatusPreconditionFailed)
	rest("/tags/open.zip").want(t, http.StatusPartialContent)
}
