package tags

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// streamed hides a body's length, so that it is sent in chunks.
type streamed struct{ io.Reader }

// form makes a form of fields: a header's value and content each.
func form(fields ...string) (body, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		part, _ := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {fields[i]}})
		_, _ = io.WriteString(part, fields[i+1])
	}
	_ = w.Close()
	return b.String(), w.FormDataContentType()
}

// Every way of sending a file that phones and old programs use.
func TestWaysToSend(t *testing.T) {
	f := open(t)
	n := 0
	content := func() string { n++; return fmt.Sprintf("file %d", n) }
	one := func(field, content string) (string, string) { return form(field, content) }
	for _, c := range []struct {
		about, method, path string
		headers             []string
		chunked             bool
		field               string // of a form: the file's Content-Disposition
		content, name       string
	}{
		{about: "PUT", method: "PUT", path: "/upload/open/a.jpg", name: "a.jpg"},
		{about: "POST", method: "POST", path: "/upload/open/b.jpg", name: "b.jpg"},
		{about: "chunked", method: "POST", path: "/upload/open/c.jpg", chunked: true, name: "c.jpg"},
		{about: "in parts", method: "PUT", path: "/upload/open/large.bin", content: large(), name: "large.bin"},
		{about: "in parts and chunked", method: "PUT", path: "/upload/open/larger.bin", chunked: true, content: large() + "!", name: "larger.bin"},
		{about: "filename in the query", method: "POST", path: "/upload/open?filename=d%20e.jpg", name: "d e.jpg"},
		{about: "as curl --data-binary says", method: "POST", path: "/upload/open/f.jpg", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, name: "f.jpg"},
		{about: "filename in a header", method: "POST", path: "/upload/open", headers: []string{"Content-Disposition", `attachment; filename="g.jpg"`}, name: "g.jpg"},
		{about: "another script", method: "PUT", path: "/upload/open/%E7%85%A7%E7%89%87%202.jpg", name: "照片 2.jpg"},
		{about: "folders", method: "PUT", path: "/upload/open/100MEDIA/h.jpg", name: "100MEDIA/h.jpg"},
		{about: "folders, escaped", method: "PUT", path: "/upload/open/100MEDIA%2Fi.jpg", name: "100MEDIA/i.jpg"},
		{about: "made safe", method: "PUT", path: "/upload/open/..%2F..%2Fetc%00%2Fj.jpg", name: "etc_/j.jpg"},
		{about: "form", method: "POST", path: "/upload/open", field: `form-data; name="file"; filename="k.jpg"`, name: "k.jpg"},
		{about: "form, chunked", method: "POST", path: "/upload/open", field: `form-data; name="x"; filename="l.jpg"`, chunked: true, name: "l.jpg"},
		{about: "form with the name in the path", method: "PUT", path: "/upload/open/m.jpg", field: `form-data; name="x"; filename="tmp123"`, name: "m.jpg"},
		{about: "form of Windows", method: "POST", path: "/upload/open", field: `form-data; name="x"; filename="C:\fakepath\o.jpg"`, name: "o.jpg"},
		{about: "empty", method: "PUT", path: "/upload/open/empty.txt", content: "", name: "empty.txt"},
	} {
		t.Run(c.about, func(t *testing.T) {
			if c.content == "" && c.about != "empty" {
				c.content = content()
			}
			send := func() answered {
				body, headers := c.content, c.headers
				if c.field != "" {
					var contentType string
					body, contentType = one(c.field, c.content)
					headers = []string{"Content-Type", contentType}
				}
				var r io.Reader = strings.NewReader(body)
				if c.chunked {
					r = streamed{r}
				}
				return f.do(t, c.method, c.path, "", r, headers...)
			}
			got := send().want(t, http.StatusCreated)
			want := Record{
				ID: got.ID, Name: c.name, Size: int64(len(c.content)), SHA1: digest(c.content), URL: f.URL + "/tags/open/files/" + got.ID,
			}
			if got.Record != want || !broker.IsID(got.ID) {
				t.Fatalf("the record is %+v, want %+v", got.Record, want)
			}
			if got.Header.Get("Location") != got.URL {
				t.Errorf("Location is %q", got.Header.Get("Location"))
			}
			img := f.image(t, "open", got.ID)
			if img.State != broker.StateUploaded || img.Bucket != "Local" || f.content(t, img) != c.content {
				t.Errorf("the image is %s in %q, or has other bytes", img.State, img.Bucket)
			}
			if again := send().want(t, http.StatusOK); again.Record != got.Record {
				t.Errorf("sent again, the record is %+v", again.Record)
			}
		})
	}
	all := f.objects(t, "open")
	if len(all) != n+3 {
		t.Errorf("%d objects for %d files: %q", len(all), n+3, all)
	}
}

func TestSeveralInOneForm(t *testing.T) {
	f := open(t)
	body, contentType := form(
		`form-data; name="note"`, "no file",
		`form-data; name="a"; filename="a.jpg"`, "first",
		`form-data; name="b"; filename=""`, "",
		`form-data; name="c"; filename="a.jpg"`, "second",
	)
	got := f.do(t, "POST", "/upload/open", "", strings.NewReader(body), "Content-Type", contentType).want(t, http.StatusCreated)
	if len(got.Files) != 2 || got.Files[0].Name != "a.jpg" || got.Files[1].Name != "a (2).jpg" || got.Files[1].SHA1 != digest("second") {
		t.Fatalf("the answer is %s", got.Text)
	}
	f.do(t, "POST", "/upload/open", "", strings.NewReader(body), "Content-Type", contentType).want(t, http.StatusOK)

	// One is too much, the other is kept.
	body, contentType = form(
		`form-data; name="a"; filename="huge.bin"`, strings.Repeat("x", maxObject+1),
		`form-data; name="c"; filename="small.bin"`, "small",
	)
	got = f.do(t, "POST", "/upload/open", "", strings.NewReader(body), "Content-Type", contentType).want(t, http.StatusMultiStatus)
	if len(got.Files) != 2 || got.Files[0].Problem == nil || got.Files[0].Problem.Code != broker.CodeTooLarge || got.Files[1].Size != 5 {
		t.Fatalf("the answer is %s", got.Text)
	}
	if all := f.objects(t, "open"); len(all) != 3 {
		t.Errorf("there are %q", all)
	}
}

// Of a form that has more files than it may the client hears which were kept, also when
// it is long.
func TestFormOfTooMany(t *testing.T) {
	f := open(t, func(_ *fixture, o *Options) { o.FormFiles = 3 })
	fields := []string{`form-data; name="note"`, "no file"}
	for i := range 6 {
		fields = append(fields, fmt.Sprintf(`form-data; name="f"; filename="%d.bin"`, i), fmt.Sprint(i))
	}
	fields[len(fields)-1] = strings.Repeat("x", maxDrainBytes+1)
	body, contentType := form(fields...)
	got := f.do(t, "POST", "/upload/open", "", strings.NewReader(body), "Content-Type", contentType).want(t, http.StatusMultiStatus)
	if len(got.Files) != 4 {
		t.Fatalf("the answer is %s", got.Text)
	}
	for i, file := range got.Files[:3] {
		if file.Problem != nil || file.Name != fmt.Sprintf("%d.bin", i) || !broker.IsID(file.ID) {
			t.Errorf("file %d is %+v", i, file)
		}
	}
	if rest := got.Files[3]; rest.Name != "3.bin" || rest.ID != "" || rest.Problem == nil || rest.Problem.Code != broker.CodeBatchTooLarge ||
		!strings.Contains(rest.Problem.Detail, "has 6") {
		t.Errorf("the rest is %+v", rest)
	}
	if all := f.objects(t, "open"); len(all) != 3 {
		t.Errorf("there are %q", all)
	}
	// So it is when the form is malformed from some place on.
	body, contentType = form(`form-data; name="a"; filename="a"`, "a", `form-data; name="b"; filename="b"`, "b")
	body = strings.Replace(body, "Content-Disposition: form-data; name=\"b\"", "no header", 1)
	got = f.do(t, "POST", "/upload/open", "", strings.NewReader(body), "Content-Type", contentType).want(t, http.StatusMultiStatus)
	if len(got.Files) != 2 || got.Files[0].Name != "a" || got.Files[1].Problem == nil || got.Files[1].Problem.Code != broker.CodeInvalid {
		t.Errorf("the answer is %s", got.Text)
	}
}

func TestRefused(t *testing.T) {
	f := open(t, func(f *fixture, _ *Options) { f.tags.Policy.QuotaBytes = 12 << 20 })
	noFile, formType := form(`form-data; name="note"`, "no file")
	for _, c := range []struct {
		about, path, key string
		body             io.Reader
		headers          []string
		status           int
		code             broker.Code
	}{
		{"no name", "/upload/open", "", strings.NewReader("x"), nil, 422, broker.CodeInvalidName},
		{"a tag's name with a space", "/upload/a%20b/x", f.firstKey, strings.NewReader("x"), nil, 422, broker.CodeInvalidName},
		{"a tag's name like a zip's", "/upload/a.ZIP/x", f.firstKey, strings.NewReader("x"), nil, 422, broker.CodeInvalidName},
		{"a form without a file", "/upload/open", "", strings.NewReader(noFile), []string{"Content-Type", formType}, 422, broker.CodeInvalid},
		{"a form without a boundary", "/upload/open", "", strings.NewReader(noFile), []string{"Content-Type", "multipart/form-data"}, 422, broker.CodeInvalid},
		{"a form that breaks off", "/upload/open", "", strings.NewReader(noFile[:40]), []string{"Content-Type", formType}, 422, broker.CodeInvalid},
		{"too large", "/upload/big/x", f.firstKey, strings.NewReader(strings.Repeat("x", maxObject+1)), nil, 413, broker.CodeTooLarge},
		{"too large, chunked", "/upload/big/x", f.firstKey, streamed{strings.NewReader(strings.Repeat("x", maxObject+1))}, nil, 413, broker.CodeTooLarge},
		{"over the quota", "/upload/open/x", "", strings.NewReader(strings.Repeat("x", 13<<20)), nil, 507, broker.CodeInsufficientStorage},
		{"over the quota, chunked", "/upload/open/x", "", streamed{strings.NewReader(strings.Repeat("x", 13<<20))}, nil, 507, broker.CodeInsufficientStorage},
	} {
		t.Run(c.about, func(t *testing.T) {
			got := f.do(t, "POST", c.path, c.key, c.body, c.headers...).want(t, c.status)
			if got.Code != c.code {
				t.Errorf("the code is %s, want %s: %s", got.Code, c.code, got.Text)
			}
		})
	}
	if all := append(f.objects(t, "open"), f.objects(t, "big")...); len(all) > 0 {
		t.Errorf("something was kept: %q", all)
	}
	// What is refused takes no room for good, and a key is not bound by the quota.
	f.put(t, "/upload/open/a", "", large()).want(t, http.StatusCreated)
	f.put(t, "/upload/open/b", "", large()+"!").want(t, http.StatusInsufficientStorage)
	f.put(t, "/upload/open/b", f.firstKey, large()+"!").want(t, http.StatusCreated)
	f.put(t, "/upload/wall/b", "", large()+"!").want(t, http.StatusCreated) // another tag's is its own
}

func TestDiskNearlyFull(t *testing.T) {
	f := open(t, func(f *fixture, _ *Options) { f.tags.Policy.MinFreeBytes = 1 << 60 })
	for _, key := range []string{"", f.firstKey} {
		if got := f.put(t, "/upload/open/a", key, "x").want(t, http.StatusInsufficientStorage); got.Code != broker.CodeInsufficientStorage {
			t.Errorf("the code is %s", got.Code)
		}
	}
	if all := f.objects(t, "open"); len(all) > 0 {
		t.Errorf("something was kept: %q", all)
	}
}

func TestWhoMaySend(t *testing.T) {
	f := open(t)
	readOnly := f.key(t, f.first, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}})
	f.put(t, "/upload/mine/a", f.firstKey, "a").want(t, http.StatusCreated)
	mine, err := f.store.TagByName(t.Context(), "mine")
	if err != nil {
		t.Fatal(err)
	}
	tied := f.key(t, f.first, broker.NewKey{ProjectID: mine.ID})
	pinned := f.key(t, f.first, broker.NewKey{Clouds: []broker.Cloud{broker.CloudMinIO}})
	foreign := f.key(t, f.second, broker.NewKey{Clouds: []broker.Cloud{broker.CloudMinIO}})
	for _, c := range []struct {
		about, tag, key string
		status          int
	}{
		{"nobody to a tag of anybody", "open", "", 201},
		{"nobody to another", "mine", "", 401},
		{"nobody to one that there is not", "nix", "", 401},
		{"a bad key to a tag of anybody", "open", "ub_nonsense_nonsense", 201},
		{"a bad key to another", "mine", "ub_nonsense_nonsense", 401},
		{"a key for reading to a tag of anybody", "open", readOnly, 201},
		{"a key for reading to its owner's", "mine", readOnly, 403},
		{"another owner", "mine", f.special, 403},
		{"another owner to a tag of anybody", "open", f.special, 201},
		{"another owner to a new one", "hers", f.special, 201},
		{"the owner to hers", "hers", f.firstKey, 403},
		{"a tied key to its tag", "mine", tied, 201},
		{"a tied key to a tag of anybody", "open", tied, 201},
		{"a tied key to a new one", "new", tied, 403},
		{"a key for other clouds", "mine", pinned, 409},
		{"another owner's key for other clouds to a tag of anybody", "open", foreign, 201}, // as nobody's
	} {
		t.Run(c.about, func(t *testing.T) {
			f.put(t, "/upload/"+c.tag+"/x.jpg", c.key, c.about).want(t, c.status)
		})
	}
	// A tag of anybody is the first owner's, whoever sends to it first.
	f.put(t, "/upload/wall/x.jpg", f.special, "x").want(t, http.StatusCreated)
	for tag, want := range map[string]string{"open": f.first.ID, "wall": f.first.ID, "hers": f.second.ID} {
		if p, err := f.store.TagByName(t.Context(), tag); err != nil || p.OwnerID != want || p.Kind != broker.KindFiles {
			t.Errorf("%s is %+v, %v", tag, p, err)
		}
	}
}

func TestThrottled(t *testing.T) {
	f := open(t, func(_ *fixture, o *Options) { o.Files = NewWindow(2, time.Hour, time.Now) })
	body, contentType := form(`form-data; name="a"; filename="a.jpg"`, "a", `form-data; name="b"; filename="b.jpg"`, "b", `form-data; name="c"; filename="c.jpg"`, "c")
	got := f.do(t, "POST", "/upload/open", "", strings.NewReader(body), "Content-Type", contentType).want(t, http.StatusMultiStatus)
	if p := got.Files[2].Problem; p == nil || p.Code != broker.CodeTooManyRequests {
		t.Errorf("the third file of a form: %s", got.Text)
	}
	if got := f.put(t, "/upload/wall/d", "", "d").want(t, http.StatusTooManyRequests); got.Header.Get("Retry-After") == "" {
		t.Error("nothing says when to try again")
	}
	f.put(t, "/upload/open/d", f.firstKey, "d").want(t, http.StatusCreated)
	f.do(t, "POST", "/upload/open", "", strings.NewReader(body), "Content-Type", contentType).want(t, http.StatusTooManyRequests)
	// He is refused before he sends: nothing of the body is asked for.
	conn := f.from(t, "127.0.0.1")
	if _, err := io.WriteString(conn, "PUT /upload/open/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if status, text := statusOf(t, conn); status != http.StatusTooManyRequests {
		t.Errorf("the answer is %d: %s", status, text)
	}
	if all := f.objects(t, "open"); len(all) != 3 {
		t.Errorf("there are %q", all)
	}
}

// A connection that is cut in the middle of a file leaves nothing behind.
func TestCutConnection(t *testing.T) {
	f := open(t)
	if err := f.tags.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	tenMiB := strings.Repeat("x", 10<<20)
	multi := "--B\r\nContent-Disposition: form-data; name=f; filename=cut.jpg\r\n\r\n"
	for about, request := range map[string]string{
		"of known length": "Content-Length: 20000000\r\n\r\n" + tenMiB,
		"in chunks":       "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n", len(tenMiB)) + tenMiB + "\r\n",
		"in a form":       "Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 20000000\r\n\r\n" + multi + tenMiB,
		"of one part":     "Content-Length: 200\r\n\r\nabc",
	} {
		t.Run(about, func(t *testing.T) {
			conn, err := net.Dial("tcp", f.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "POST /upload/open/cut.jpg HTTP/1.1\r\nHost: x\r\n"+request); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			<-f.ended
			if all := f.objects(t, "open"); len(all) > 0 {
				t.Errorf("there are %q", all)
			}
			p, _ := f.store.TagByName(t.Context(), "open")
			if counts, err := f.store.CountImages(t.Context(), p.ID); err != nil || len(counts) > 0 {
				t.Errorf("there are images: %v, %v", counts, err)
			}
		})
	}
}

// Who is refused is not told to go on, and gets his answer also when he sends first.
func TestRefusedBeforeTheBody(t *testing.T) {
	f := open(t)
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "PUT /upload/private/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 401") {
		t.Errorf("the answer is %q, %v", line, err)
	}
	f.put(t, "/upload/private/a", "", large()).want(t, http.StatusUnauthorized)
}

// The same bytes at the same moment are one file and one object; equal names of other
// bytes are told apart.
func TestAtTheSameMoment(t *testing.T) {
	f := open(t)
	const senders, files = 8, 4
	var group sync.WaitGroup
	got := make([]answered, senders*files)
	for i := range got {
		group.Go(func() { got[i] = f.put(t, "/upload/open/image.jpg", "", fmt.Sprintf("file %d", i%files)) })
	}
	group.Wait()
	fresh := 0
	ids, names := map[string]bool{}, map[string]bool{}
	for i, a := range got {
		switch a.Status {
		case http.StatusCreated:
			fresh++
		case http.StatusOK:
		default:
			t.Fatal(a.Text)
		}
		if a.SHA1 != digest(fmt.Sprintf("file %d", i%files)) {
			t.Errorf("the answer is of other bytes: %s", a.Text)
		}
		ids[a.ID], names[a.Name] = true, true
	}
	if fresh != files || len(ids) != files || len(names) != files || !names["image.jpg"] || !names["image (4).jpg"] {
		t.Errorf("%d new ones, %d ids, names %v", fresh, len(ids), names)
	}
	if all := f.objects(t, "open"); len(all) != files {
		t.Errorf("there are %q", all)
	}
}

// A number that a name has by itself is no other file's.
func TestNumbersOfNames(t *testing.T) {
	f := open(t)
	var got []string
	for i, name := range []string{"a%20(2).jpg", "a.jpg", "a.jpg", "a.jpg", "a", "a", ".a", ".a", "b/a.jpg", "b/a.jpg"} {
		got = append(got, f.put(t, "/upload/open/"+name, "", fmt.Sprint(i)).want(t, http.StatusCreated).Name)
	}
	want := []string{"a (2).jpg", "a.jpg", "a (3).jpg", "a (4).jpg", "a", "a (2)", ".a", ".a (2)", "b/a.jpg", "b/a (2).jpg"}
	if len(got) != len(want) {
		t.Fatal(got)
	}
	seen := map[string]bool{}
	for i := range got {
		if seen[got[i]] {
			t.Errorf("%q is given twice", got[i])
		}
		seen[got[i]] = true
	}
	if !slices.Equal(got, want) {
		t.Errorf("the names are %q, want %q", got, want)
	}
}

// What is registered into a tag has its own name there like all others, in the list, in
// the zip, and in the answer.
func TestNamesOfRegistered(t *testing.T) {
	f := open(t)
	f.put(t, "/upload/open/a.jpg", "", "sent").want(t, http.StatusCreated)
	by, err := f.keys.Authenticate(t.Context(), f.firstKey)
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.store.TagByName(t.Context(), "open")
	if err != nil {
		t.Fatal(err)
	}
	register := func(name string, contents ...string) (names []string) {
		t.Helper()
		var entries []broker.Entry
		for _, content := range contents {
			entries = append(entries, broker.Entry{Name: name, SHA1: digest(content), SizeBytes: int64(len(content))})
		}
		rs, err := f.images.Register(t.Context(), by, p.ID, broker.Target{Bucket: "Local"}, entries)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			names = append(names, r.Image.Name)
		}
		return names
	}
	got := register("a.jpg", "one", "two")
	got = append(got, register("a.jpg", "two", "three")...) // again keeps its name
	got = append(got, f.put(t, "/upload/open/a.jpg", "", "sent too").want(t, http.StatusCreated).Name)
	if want := []string{"a (2).jpg", "a (3).jpg", "a (3).jpg", "a (4).jpg", "a (5).jpg"}; !slices.Equal(got, want) {
		t.Errorf("the names are %q, want %q", got, want)
	}
	// Invalid and registered again, it stays the one that it was.
	if _, err := f.store.Pool().Exec(t.Context(), "UPDATE images SET state = 'Invalid', reasons = '{expired: test}', judged_at = now() WHERE name = 'a (3).jpg'"); err != nil {
		t.Fatal(err)
	}
	if again := register("a.jpg", "two"); again[0] != "a (3).jpg" {
		t.Errorf("after it was Invalid it is %q", again[0])
	}
	images, err := f.store.ListImages(t.Context(), p.ID, "", broker.Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, img := range images {
		if seen[img.Name] {
			t.Errorf("%s is there twice", img.Name)
		}
		seen[img.Name] = true
	}
}

// Files of a tag may also be registered as any project's are. Bytes that then come
// here are a further attempt; those that were judged are there, be they good or not.
func TestBesideRegistered(t *testing.T) {
	f := open(t)
	if err := f.tags.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	by, err := f.keys.Authenticate(t.Context(), f.firstKey)
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.store.TagByName(t.Context(), "open")
	if err != nil {
		t.Fatal(err)
	}
	rs, err := f.images.Register(t.Context(), by, p.ID, broker.Target{Bucket: "Local"}, []broker.Entry{{Name: "r.jpg", SHA1: digest("bytes"), SizeBytes: 5, Start: true}})
	if err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	got := f.put(t, "/upload/open/other.jpg", "", "bytes").want(t, http.StatusCreated)
	img := f.image(t, "open", rs[0].Image.ID)
	if got.ID != img.ID || img.State != broker.StateUploaded || img.Attempt != 2 || f.content(t, img) != "bytes" {
		t.Fatalf("the image is %+v, the answer %s", img, got.Text)
	}
	f.judge(t, img, broker.Reasonf(broker.ReasonCorrupt, "so it is"))
	if again := f.put(t, "/upload/open/other.jpg", "", "bytes").want(t, http.StatusOK); again.ID != img.ID {
		t.Errorf("sent again: %s", again.Text)
	}
	// Removed, it may come anew.
	if err := f.store.RemoveImage(t.Context(), p.ID, img.ID, time.Now(), time.Now().Add(time.Hour), by); err != nil {
		t.Fatal(err)
	}
	if again := f.put(t, "/upload/open/other.jpg", "", "bytes").want(t, http.StatusCreated); again.ID == img.ID {
		t.Errorf("sent anew: %s", again.Text)
	}
	if all := f.objects(t, "open"); len(all) != 2 {
		t.Errorf("there are %q", all)
	}
}
