package rest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// TestRefusedRequests sends what is refused as a whole. Each answer says what is
// wrong in words that name the place, and no row changes.
func TestRefusedRequests(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	f.newImage(t, pid, "one")
	images := "/v1/projects/" + pid + "/images"
	register := images + "/register"
	entry := func(field, value string) string {
		return fmt.Sprintf(`{"images":[{"name":"a.jpg","sha1":%q,"size":1,%q:%s}]}`, digest("refused"), field, value)
	}
	many := func(n int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code                     broker.Code
		says                     string
	}{
		{"half an object", "POST", register, `{"images":[`, 400, broker.CodeInvalid, "unexpected end"},
		{"two objects", "POST", register, `{"images":[]}{}`, 400, broker.CodeInvalid, "after top-level value"},
		{"no body", "POST", register, ``, 400, broker.CodeInvalid, "body is required"},
		{"too deep", "POST", register, strings.Repeat("[", 200_000), 400, broker.CodeInvalid, "max depth"},
		{"an array", "POST", register, `[]`, 422, broker.CodeInvalid, "body: expected object"},
		{"null", "POST", register, `null`, 422, broker.CodeInvalid, "body: expected object"},
		{"no entries", "POST", register, `{}`, 422, broker.CodeInvalid, "images"},
		{"entries are null", "POST", register, `{"images":null}`, 422, broker.CodeInvalid, "body.images: expected array"},
		{"an entry is null", "POST", register, `{"images":[null]}`, 422, broker.CodeInvalid, "body.images[0]: expected object"},
		{"an unknown field", "POST", register, `{"images":[],"bukkit":"x"}`, 422, broker.CodeInvalid, "body.bukkit: unexpected property"},
		{"an unknown field of an entry", "POST", register, entry("nane", `"x"`), 422, broker.CodeInvalid, "body.images[0].nane: unexpected property"},
		{"the name is a number", "POST", register, entry("name", `7`), 422, broker.CodeInvalid, "body.images[0].name: expected string"},
		{"the size is text", "POST", register, entry("size", `"12"`), 422, broker.CodeInvalid, "body.images[0].size: expected integer"},
		{"the size is a fraction", "POST", register, entry("size", `1.5`), 422, broker.CodeInvalid, "body.images[0].size: expected integer"},
		{"the size is over 64 bits", "POST", register, entry("size", `9223372036854775808`), 422, broker.CodeInvalid, "images.size can't be number 9223372036854775808"},
		{"the size is vast", "POST", register, entry("size", `1e300`), 422, broker.CodeInvalid, "images.size can't be number 1e300"},
		{"start is text", "POST", register, entry("start", `"no"`), 422, broker.CodeInvalid, "body.images[0].start: expected boolean"},
		{"a bucket that is not", "POST", register, `{"bucket":"Nowhere","images":[{}]}`, 404, broker.CodeUnknownBucket, `"Nowhere"`},
		{"a drained bucket", "POST", register, `{"bucket":"Drained","images":[{}]}`, 409, broker.CodeNoBucket, "Drained"},
		{"a bucket without presigned requests", "POST", register, `{"bucket":"Sessions","images":[{}]}`, 501, broker.CodeNotSupported, "Sessions"},
		{"1,001 entries", "POST", register, `{"images":[` + many(1001, `{}`) + `]}`, 413, broker.CodeBatchTooLarge, "1001 entries; 1000 are the most"},
		{"1,001 digests", "POST", images + "/check", `{"sha1":[` + many(1001, `""`) + `]}`, 413, broker.CodeBatchTooLarge, "1001"},
		{"1,001 to start", "POST", images + "/start", `{"ids":[` + many(1001, `""`) + `]}`, 413, broker.CodeBatchTooLarge, "1001"},
		{"1,001 done", "POST", images + "/done", `{"ids":[` + many(1001, `""`) + `]}`, 413, broker.CodeBatchTooLarge, "1001"},
		{"1,001 to regrant", "POST", images + "/regrant", `{"ids":[` + many(1001, `""`) + `]}`, 413, broker.CodeBatchTooLarge, "1001"},
		{"a body of nine megabytes", "POST", register, strings.Repeat(" ", 9<<20), 413, broker.CodeTooLarge, "bytes or more"},
		{"ids are null", "POST", images + "/done", `{"ids":null}`, 422, broker.CodeInvalid, "body.ids: expected array"},
		{"an id is a number", "POST", images + "/done", `{"ids":[1]}`, 422, broker.CodeInvalid, "body.ids[0]: expected string"},

		{"a project without a name", "POST", "/v1/projects", `{}`, 422, broker.CodeInvalid, "name"},
		{"an empty name", "POST", "/v1/projects", `{"name":""}`, 422, broker.CodeInvalidName, "1 to 255 bytes"},
		{"a blank name", "POST", "/v1/projects", `{"name":"  "}`, 422, broker.CodeInvalidName, "1 to 255 bytes"},
		{"a long name", "POST", "/v1/projects", `{"name":"` + strings.Repeat("x", 256) + `"}`, 422, broker.CodeInvalidName, "1 to 255 bytes"},
		{"a control character", "POST", "/v1/projects", `{"name":"a\u0000b"}`, 422, broker.CodeInvalidName, "U+0000"},
		{"half a surrogate pair", "POST", "/v1/projects", `{"name":"a\ud83d"}`, 422, broker.CodeInvalidName, "UTF-8"},
		{"bytes that are no UTF-8", "POST", "/v1/projects", "{\"name\":\"a\xff\"}", 422, broker.CodeInvalidName, "UTF-8"},
		{"an unknown kind", "POST", "/v1/projects", `{"name":"a","kind":"film"}`, 422, broker.CodeInvalid, "body.kind"},

		{"a cursor that is none", "GET", images + "?cursor=nonsense", "", 422, broker.CodeInvalid, "cursor"},
		{"a cursor in lower case", "GET", images + "?cursor=01kahqy5c9w3rv7zb3n4d8m2xe", "", 422, broker.CodeInvalid, "cursor"},
		{"a cursor with a NUL", "GET", "/v1/projects?cursor=%00", "", 422, broker.CodeInvalid, "cursor"},
		{"a long cursor", "GET", "/v1/projects?cursor=" + strings.Repeat("A", 5000), "", 422, broker.CodeInvalid, "query.cursor"},
		{"limit 0", "GET", images + "?limit=0", "", 422, broker.CodeInvalid, "query.limit"},
		{"limit 1,001", "GET", images + "?limit=1001", "", 422, broker.CodeInvalid, "query.limit"},
		{"limit -1", "GET", "/v1/projects?limit=-1", "", 422, broker.CodeInvalid, "query.limit"},
		{"limit beyond 64 bits", "GET", "/v1/projects?limit=99999999999999999999", "", 422, broker.CodeInvalid, "query.limit"},
		{"an unknown state", "GET", images + "?state=Lost", "", 422, broker.CodeInvalid, "Pending, Uploading, Uploaded, Ready, Invalid"},
		{"a state in lower case", "GET", images + "?state=ready", "", 422, broker.CodeInvalid, "query.state"},
		{"a misspelt parameter", "GET", images + "?states=Ready", "", 422, broker.CodeInvalid, "query.states: unknown"},
		{"a query with a NUL", "GET", "/v1/projects?q=%00", "", 422, broker.CodeInvalid, "UTF-8"},
		{"a query that is no UTF-8", "GET", "/v1/projects?q=%ff", "", 422, broker.CodeInvalid, "UTF-8"},
		{"a long query", "GET", "/v1/projects?q=" + strings.Repeat("x", 256), "", 422, broker.CodeInvalid, "query.q"},

		{"an id in lower case", "GET", "/v1/projects/" + strings.ToLower(pid), "", 404, broker.CodeNotFound, "26 characters"},
		{"an id with a NUL", "GET", "/v1/projects/%00", "", 404, broker.CodeNotFound, "26 characters"},
		{"an id that climbs", "GET", "/v1/projects/..%2F..%2Fme", "", 404, broker.CodeNotFound, "26 characters"},
		{"an image's id that is none", "GET", images + "/%ff", "", 404, broker.CodeNotFound, "26 characters"},
		{"an image that is not", "GET", images + "/" + broker.NewID(time.Now()), "", 404, broker.CodeNotFound, "no image"},
		{"no such address", "GET", "/v1/nothing", "", 404, broker.CodeNotFound, "/docs"},
		{"a slash too many", "GET", "/v1/projects/", "", 404, broker.CodeNotFound, "/docs"},
		{"a colon of old", "POST", images + ":register", `{"images":[]}`, 404, broker.CodeNotFound, "/docs"},
		{"another method", "PUT", register, `{"images":[]}`, 405, broker.CodeInvalid, "method"},
		{"another method of a list", "DELETE", "/v1/projects", "", 405, broker.CodeInvalid, "method"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.unchanged(t, c.name, func() {
				var body any
				if c.body != "" || c.method == http.MethodPost {
					body = c.body
				}
				a := f.call(t, f.secret, c.method, c.path, body)
				p := a.problem(t)
				if a.status != c.status || p.Code != c.code || !strings.Contains(p.Detail, c.says) {
					t.Errorf("%d %s, want %d %s with %q", a.status, a.body, c.status, c.code, c.says)
				}
				if strings.Contains(string(a.body), "Go ") || strings.Contains(string(a.body), "SQLSTATE") {
					t.Errorf("the answer tells of the inside: %s", a.body)
				}
				if (a.status == http.StatusMethodNotAllowed) != (a.header.Get("Allow") != "") {
					t.Errorf("Allow is %q with status %d", a.header.Get("Allow"), a.status)
				}
			})
		})
	}
	if strings.Contains(f.log.String(), "level=ERROR") {
		t.Errorf("a caller's fault is logged as ours:\n%s", f.log)
	}
}

// TestRefusedEntries: what is wrong with one entry is told in its place, and the
// entries beside it are registered.
func TestRefusedEntries(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	d := digest("entry")
	for _, c := range []struct {
		name, entry string
		code        broker.Code
		says        string
	}{
		{"nothing", `{}`, broker.CodeInvalidName, "empty"},
		{"no name", fmt.Sprintf(`{"sha1":%q,"size":1}`, d), broker.CodeInvalidName, "empty"},
		{"no sha1", `{"name":"a.jpg","size":1}`, broker.CodeInvalidSHA1, "40"},
		{"no size", fmt.Sprintf(`{"name":"a.jpg","sha1":%q}`, d), broker.CodeInvalidSize, "missing or negative"},
		{"size is null", fmt.Sprintf(`{"name":"a.jpg","sha1":%q,"size":null}`, d), broker.CodeInvalidSize, "missing or negative"},
		{"negative", fmt.Sprintf(`{"name":"a.jpg","sha1":%q,"size":-1}`, d), broker.CodeInvalidSize, "missing or negative"},
		{"most negative", fmt.Sprintf(`{"name":"a.jpg","sha1":%q,"size":-9223372036854775808}`, d), broker.CodeInvalidSize, "missing or negative"},
		{"a byte too large", fmt.Sprintf(`{"name":"a.jpg","sha1":%q,"size":%d}`, d, maxObject+1), broker.CodeTooLarge, "are the most"},
		{"huge", fmt.Sprintf(`{"name":"a.jpg","sha1":%q,"size":9223372036854775807}`, d), broker.CodeTooLarge, "are the most"},
		{"39 digits", `{"name":"a.jpg","sha1":"` + d[1:] + `","size":1}`, broker.CodeInvalidSHA1, "39"},
		{"no hex", `{"name":"a.jpg","sha1":"g` + d[1:] + `","size":1}`, broker.CodeInvalidSHA1, "hexadecimal"},
		{"zeros", `{"name":"a.jpg","sha1":"` + strings.Repeat("0", 40) + `","size":1}`, broker.CodeInvalidSHA1, "zeros"},
		{"no type", fmt.Sprintf(`{"name":"a.jpg","sha1":%q,"size":1,"type":"jpeg"}`, d), broker.CodeInvalidType, "MIME"},
		{"a type with a line", fmt.Sprintf(`{"name":"a.jpg","sha1":%q,"size":1,"type":"image/jpeg\r\nx: y"}`, d), broker.CodeInvalidType, "MIME"},
		{"a type with a space before it", fmt.Sprintf(`{"name":"a.jpg","sha1":%q,"size":1,"type":" image/jpeg"}`, d), broker.CodeInvalidType, "MIME"},
		{"a long type", fmt.Sprintf(`{"name":"a.jpg","sha1":%q,"size":1,"type":"image/%s"}`, d, strings.Repeat("x", 127)), broker.CodeInvalidType, "127"},
		{"10,000 characters", named(d, strings.Repeat("x", 10_000)), broker.CodeInvalidName, "10000 bytes"},
		{"a long segment", named(d, strings.Repeat("x", 256)), broker.CodeInvalidName, "256 bytes"},
		{"climbs", named(d, "../a.jpg"), broker.CodeInvalidName, `\"..\"`},
		{"climbs within", named(d, "a/../../b.jpg"), broker.CodeInvalidName, `\"..\"`},
		{"climbs by backslash", named(d, `..\\a.jpg`), broker.CodeInvalidName, "backslash"},
		{"absolute", named(d, "/etc/passwd"), broker.CodeInvalidName, "empty segment"},
		{"a folder", named(d, "a/"), broker.CodeInvalidName, "empty segment"},
		{"a dot", named(d, "a/./b.jpg"), broker.CodeInvalidName, `\".\"`},
		{"NUL", named(d, `a\u0000.jpg`), broker.CodeInvalidName, "U+0000"},
		{"a line", named(d, `a\n.jpg`), broker.CodeInvalidName, "U+000A"},
		{"DEL", named(d, "a\x7f.jpg"), broker.CodeInvalidName, "U+007F"},
		{"C1", named(d, `a\u009b.jpg`), broker.CodeInvalidName, "U+009B"},
		{"no UTF-8", named(d, "a\xff.jpg"), broker.CodeInvalidName, "UTF-8"},
		{"half a pair", named(d, `a\ud83d.jpg`), broker.CodeInvalidName, "UTF-8"},
		{"the other half", named(d, `\udc80.jpg`), broker.CodeInvalidName, "UTF-8"},
		{"two first halves", named(d, `\ud83d\ud83d\ude00`), broker.CodeInvalidName, "UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.unchanged(t, c.name, func() {
				a := f.call(t, f.secret, http.MethodPost, "/v1/projects/"+pid+"/images/register", `{"images":[`+c.entry+`]}`)
				var rs Results
				a.into(t, &rs)
				if a.status != http.StatusOK || len(rs.Results) != 1 || rs.Results[0].Status != "problem" || rs.Results[0].Problem == nil {
					t.Fatalf("%d %s", a.status, a.body)
				}
				p := rs.Results[0].Problem
				if p.Code != c.code || !strings.Contains(string(a.body), c.says) || rs.Results[0].Image != nil || rs.Results[0].Grant != nil {
					t.Errorf("%s, want %s with %q", a.body, c.code, c.says)
				}
			})
		})
	}
}

func named(digest, name string) string {
	return `{"name":"` + name + `","sha1":"` + digest + `","size":1}`
}

// TestNamesAreKept: every name that the rules allow comes back as it was.
func TestNamesAreKept(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	for i, c := range []struct{ sent, want string }{
		{"100MEDIA/DJI_0001.JPG", "100MEDIA/DJI_0001.JPG"},
		{`\ud83d\ude00.jpg`, "😀.jpg"},
		{"北面/照片 1.jpg", "北面/照片 1.jpg"},
		{`\u00e9 \"quoted\" <b>&amp;'.jpg`, `é "quoted" <b>&amp;'.jpg`},
		{`a\/b.jpg`, "a/b.jpg"},
		{`ud83d.jpg`, "ud83d.jpg"},
		{"\ufffd.jpg", "\ufffd.jpg"}, // what U+FFFD itself is called so, is
		{strings.Repeat("x", 255), strings.Repeat("x", 255)},
		{strings.Repeat("é/", 341) + "x", strings.Repeat("é/", 341) + "x"}, // 1,024 bytes
		{"...", "..."},
		{"CON", "CON"},
	} {
		a := f.call(t, f.secret, http.MethodPost, "/v1/projects/"+pid+"/images/register", `{"images":[`+named(digest(fmt.Sprint(i)), c.sent)+`]}`)
		var rs Results
		a.into(t, &rs)
		if len(rs.Results) != 1 || rs.Results[0].Image == nil || rs.Results[0].Image.Name != c.want {
			t.Errorf("%s: %s", c.sent, a.body)
		}
	}
}

// TestContentTypes: JSON under its own name, under none, and as curl -d sends it.
func TestContentTypes(t *testing.T) {
	f := open(t)
	for _, c := range []struct {
		sent   string
		status int
	}{
		{"application/json", 201}, {"application/json; charset=utf-8", 201}, {"", 201},
		{"application/x-www-form-urlencoded", 201}, {"application/x-www-form-urlencoded; charset=utf-8", 201},
		{"text/plain", 415}, {"text/html", 415}, {"multipart/form-data; boundary=x", 415}, {"application/xml", 415}, {"nonsense", 415},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.URL+"/v1/projects", strings.NewReader(`{"name":"a"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+f.secret)
		if c.sent != "" {
			r.Header.Set("Content-Type", c.sent)
		}
		a := f.send(t, r)
		if a.status != c.status {
			t.Errorf("%q: %d %s", c.sent, a.status, a.body)
		}
		if c.status == http.StatusUnsupportedMediaType && a.problem(t).Code != broker.CodeInvalid {
			t.Errorf("%q: %s", c.sent, a.body)
		}
	}
}

// TestBrokenBody: a body that the client breaks off is nothing of ours, and
// registers nothing.
func TestBrokenBody(t *testing.T) {
	f := open(t)
	pid := f.newProject(t)
	body := `{"images":[` + named(digest("broken"), "a.jpg") + `]}`
	for name, sent := range map[string]string{
		"half":     fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body)+10, body),
		"bad size": "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body,
	} {
		f.unchanged(t, name, func() {
			conn, err := net.Dial("tcp", f.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST /v1/projects/%s/images/register HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%s", pid, f.secret, sent)
			_ = conn.(*net.TCPConn).CloseWrite()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				return // the connection was closed without a word
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			if resp.StatusCode/100 == 2 || strings.Contains(string(text), "EOF") {
				t.Errorf("%s: %d %s", name, resp.StatusCode, text)
			}
		})
	}
}

// TestUnauthorizedBodyIsNotRead: a caller without a right gets his answer before
// he has sent a byte of his body.
func TestUnauthorizedBodyIsNotRead(t *testing.T) {
	f := open(t)
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /v1/projects HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestScopeBeforeBody: what a caller without the scope sends is not looked at.
func TestScopeBeforeBody(t *testing.T) {
	f := open(t)
	_, reader := f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}})
	for _, body := range []string{"", "{", `{"name":7}`, strings.Repeat(" ", 9<<20)} {
		a := f.call(t, reader, http.MethodPost, "/v1/projects", body)
		if a.status != http.StatusForbidden || a.problem(t).Code != broker.CodeNotAllowed {
			t.Errorf("%.20q: %d %s", body, a.status, a.body)
		}
	}
}

// awayStore is a database that does not answer.
type awayStore struct{ broker.KeyStore }

func (awayStore) KeyByHash(context.Context, [32]byte) (broker.Caller, error) {
	return broker.Caller{}, &broker.Error{
		Code: broker.CodeUnavailable, Msg: "the database does not answer; try again soon", RetryAfter: 2 * time.Second,
		Err: fmt.Errorf("dial tcp 10.1.2.3:5432: connection refused"),
	}
}

// TestDatabaseAway: whoever shows a key is told to come back, not that his key is bad.
func TestDatabaseAway(t *testing.T) {
	f := open(t, func(o *api.Options) {
		o.Keys = &broker.Keys{Store: awayStore{}, Now: time.Now}
	})
	for _, op := range f.operations(t) {
		a := f.call(t, "any key", op.method, op.at(broker.NewID(time.Now()), broker.NewID(time.Now())), sampleBody(t, op, "x"))
		p := a.problem(t)
		if a.status != http.StatusServiceUnavailable || p.Code != broker.CodeUnavailable || p.RetryAfter != 2 || a.header.Get("Retry-After") != "2" {
			t.Errorf("%s: %d %s Retry-After %q", op.ID, a.status, a.body, a.header.Get("Retry-After"))
		}
		if strings.Contains(string(a.body), "10.1.2.3") {
			t.Errorf("the cause is told: %s", a.body)
		}
	}
	if !strings.Contains(f.log.String(), "10.1.2.3") {
		t.Error("the cause is not in the log")
	}
}
