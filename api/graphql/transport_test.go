package graphql

import (
	"bytes"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// form makes a multipart form.
func form(t *testing.T, fields ...string) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

// TestRequests: JSON POST with "variables" null, {} or absent; some send the form
// field query=. The body of every answer is JSON.
func TestRequests(t *testing.T) {
	f := open(t)
	const (
		json   = "application/json"
		webURL = "application/x-www-form-urlencoded"
		plain  = `{versions{api}}`
		named  = `query A($c:UPLOAD_TYPE){support{supportedCloud(kind:$c)}} query B{versions{api}}`
	)
	multi, multiBody := form(t, "query", plain, "variables", "{}", "ignored", "x")
	multiVars, multiVarsBody := form(t, "query", named, "variables", `{"c":"meta"}`, "operationName", "A")
	for _, c := range []struct{ name, contentType, body, says string }{
		{"variables absent", json, `{"query":"{versions{api}}"}`, "1.2.3-test"},
		{"variables null", json, `{"query":"{versions{api}}","variables":null}`, "1.2.3-test"},
		{"variables {}", json, `{"query":"{versions{api}}","variables":{}}`, "1.2.3-test"},
		{"variables empty text", json, `{"query":"{versions{api}}","variables":""}`, "1.2.3-test"},
		{"variables as PHP writes them", json, `{"query":"{versions{api}}","variables":[]}`, "1.2.3-test"},
		{"variables as text", json, `{"query":"query A($c:UPLOAD_TYPE){support{supportedCloud(kind:$c)}}","variables":"{\"c\":\"meta\"}"}`, `"supportedCloud":[]`},
		{"variables", json, `{"query":"query A($c:UPLOAD_TYPE){support{supportedCloud(kind:$c)}}","variables":{"c":"image"}}`, `["S3","MINIO"]`},
		{"a null variable for a nullable argument", json, `{"query":"query A($c:UPLOAD_TYPE){support{supportedCloud(kind:$c)}}","variables":{"c":null}}`, `["S3","MINIO"]`},
		{"an operation of several", json, `{"query":"query A{bank{coinsToMoney}} query B{versions{api}}","operationName":"B"}`, "1.2.3-test"},
		{"operationName null and unknown fields", json, `{"query":"{versions{api}}","operationName":null,"extensions":{},"x":1}`, "1.2.3-test"},
		{"no content type", "", `{"query":"{versions{api}}"}`, "1.2.3-test"},
		{"text/plain", "text/plain;charset=UTF-8", `{"query":"{versions{api}}"}`, "1.2.3-test"},
		{"a content type that is none", "JSON", `{"query":"{versions{api}}"}`, "1.2.3-test"},
		{"a malformed content type", "application/json; charset", `{"query":"{versions{api}}"}`, "1.2.3-test"},
		{"charset and capitals", "Application/JSON; charset=UTF-8", "\r\n {\"query\":\"{versions{api}}\"}\n", "1.2.3-test"},
		{"a byte order mark", json, "\ufeff" + `{"query":"{versions{api}}"}`, "1.2.3-test"},
		{"what curl calls a form", webURL, `{"query":"{versions{api}}"}`, "1.2.3-test"},
		{"the form field query", webURL, "query=" + url.QueryEscape(plain), "1.2.3-test"},
		{"a form with all fields", webURL, url.Values{"query": {named}, "operationName": {"B"}, "variables": {""}}.Encode(), "1.2.3-test"},
		{"a form with variables", webURL, url.Values{"query": {named}, "operationName": {"A"}, "variables": {`{"c":"model"}`}}.Encode(), `"supportedCloud":[]`},
		{"a multipart form", multi, multiBody, "1.2.3-test"},
		{"a multipart form with variables", multiVars, multiVarsBody, `"supportedCloud":[]`},
		{"the query itself", "application/graphql", plain, "1.2.3-test"},
	} {
		var headers []string
		if c.contentType != "" {
			headers = []string{"Content-Type", c.contentType}
		}
		r := f.send(t, http.MethodPost, "/graphql", c.body, headers...)
		if r.status != http.StatusOK || !strings.Contains(r.body, c.says) || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %q %s", c.name, r.status, r.header.Get("Content-Type"), r.body)
		}
	}
	// Some put a slash behind the address.
	if r := f.send(t, http.MethodPost, "/graphql/", `{"query":"{my{self{email}}}"}`, "altitoken", f.secret); r.text(t, "data.my.self.email") == "" {
		t.Errorf("with a slash: %s", r.body)
	}
}

// TestMalformedRequests: what is no request of GraphQL gets a status of its own,
// and JSON with a message all the same.
func TestMalformedRequests(t *testing.T) {
	f := open(t)
	const json = "application/json"
	unended := strings.TrimSuffix
	multi, body := form(t, "query", "{versions{api}}")
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		says                    string
	}{
		{"no body", json, "", 400, "not JSON"},
		{"no body and no type", "", "", 400, "not JSON"},
		{"half a body", json, `{"query":"{versions`, 400, "not JSON"},
		{"more behind", json, `{"query":"{versions{api}}"} x`, 400, "not JSON"},
		{"no query", json, `{}`, 400, "there is no query"},
		{"a null query", json, `{"query":null}`, 400, "there is no query"},
		{"an empty query", json, `{"query":"  \n"}`, 400, "there is no query"},
		{"a number for a query", json, `{"query":5}`, 400, "query can't be number"},
		{"a batch", json, `[{"query":"{versions{api}}"}]`, 400, "one operation a request"},
		{"variables that are a number", json, `{"query":"{versions{api}}","variables":5}`, 400, "no object"},
		{"variables that are a list", json, `{"query":"{versions{api}}","variables":[1]}`, 400, "no object"},
		{"variables that are no JSON", json, `{"query":"{versions{api}}","variables":"{"}`, 400, "variables is not JSON"},
		{"a form without query", "application/x-www-form-urlencoded", "a=b", 400, "there is no query"},
		{"a form that is none", "application/x-www-form-urlencoded", "query=%zz", 400, "not a form"},
		{"a multipart form without a boundary", "multipart/form-data", body, 400, "boundary"},
		{"a multipart form that ends early", multi, unended(body, "--\r\n"), 400, "malformed"},
		{"an empty query in itself", "application/graphql", "", 400, "there is no query"},
		{"a picture", "image/jpeg", "\xff\xd8\xff", 415, "send JSON"},
		{"XML", "application/xml", "<query/>", 415, "send JSON"},
		{"Latin-1", json, "{\"query\":\"{versions{api}}\",\"x\":\"\xe9\"}", 400, "not UTF-8"},
		{"Latin-1 in a form", "application/x-www-form-urlencoded", "query=%7Bversions%7Bapi%7D%7D%23%E9", 400, "not UTF-8"},
		{"Latin-1 in a query", "application/graphql", "{versions{api}}#\xe9", 400, "not UTF-8"},
	} {
		r := f.send(t, http.MethodPost, "/graphql", c.body, "Content-Type", c.contentType)
		if r.status != c.status || !strings.Contains(r.text(t, "errors.0.message"), c.says) || r.header.Get("Content-Type") != "application/json" || r.code() != broker.CodeInvalid {
			t.Errorf("%s: %d %s", c.name, r.status, r.body)
		}
		if _, executed := r.find("data"); executed {
			t.Errorf("%s was executed: %s", c.name, r.body)
		}
	}
	r := f.send(t, http.MethodPost, "/graphql", "\x1f\x8b", "Content-Encoding", "gzip")
	if r.status != http.StatusUnsupportedMediaType || r.code() != broker.CodeInvalid {
		t.Errorf("gzip: %d %s", r.status, r.body)
	}
	r = f.send(t, http.MethodPost, "/graphql", `{"query":"{versions{api}}`+strings.Repeat(" ", maxBody)+`"}`)
	if r.status != http.StatusRequestEntityTooLarge || r.code() != broker.CodeTooLarge {
		t.Errorf("a large body: %d %s", r.status, r.body)
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
		r := f.send(t, method, "/graphql", `{"query":"{versions{api}}"}`)
		if r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != "GET, HEAD, POST" || r.text(t, "errors.0.message") == "" {
			t.Errorf("%s: %d %v %s", method, r.status, r.header, r.body)
		}
	}
}

// TestFaultsOfDocuments: an answer with errors is 200, for old clients read the
// first message of the body; the place is kept.
func TestFaultsOfDocuments(t *testing.T) {
	f := open(t)
	for query, says := range map[string]string{
		`{`:                                  "Expected Name",
		`{nothing}`:                          `Cannot query field "nothing"`,
		`{support}`:                          "must have a selection",
		`{versions{api}} {bank{__typename}}`: "only defined operation",
		`{project{id}}`:                      `argument "id" of type "ID!" is required`,
		`{support{supportedCloud(kind:nothing)}}`:      "UPLOAD_TYPE",
		`query A($c:Int!){versions{api}}`:              `$c`,
		`{versions{api} ...F}`:                         "Unknown fragment",
		`subscription{x}`:                              "subscription",
		`{versions{api} ... @defer{bank{__typename}}}`: "defer",
	} {
		r := f.ask(t, "", query)
		if r.status != http.StatusOK || r.code() != broker.CodeInvalid || !strings.Contains(r.text(t, "errors.0.message"), says) {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
		if _, executed := r.find("data"); executed {
			t.Errorf("%s was executed: %s", query, r.body)
		}
	}
	r := f.ask(t, "", "{\n  nothing\n}")
	if r.json(t, "errors.0.locations") != `[{"column":3,"line":2}]` {
		t.Errorf("the place is %s", r.body)
	}
	pid := f.newProject(t, "North face")
	r = f.refused(t, broker.CodeInvalid, "{\n  p: project(id: \""+pid+"\") { allImages(first: -1) { totalCount } }\n}")
	if r.json(t, "errors.0.path") != `["p","allImages"]` || !strings.Contains(r.json(t, "errors.0.locations"), `"line":2`) {
		t.Errorf("the place is %s", r.body)
	}
	if r := f.send(t, http.MethodPost, "/graphql", `{"query":"query A{__typename} query B{__typename}","operationName":"C"}`); r.status != 200 || r.code() != broker.CodeInvalid {
		t.Errorf("an unknown operation: %d %s", r.status, r.body)
	}
	many := "{" + strings.Repeat("nothing ", 500) + "}"
	if r := f.ask(t, "", many); strings.Count(r.body, `"message"`) > maxErrors {
		t.Errorf("%d faults are told", strings.Count(r.body, `"message"`))
	}
}

// TestGet: GET with a query runs queries only; without one it is the page.
func TestGet(t *testing.T) {
	f := open(t)
	get := func(values url.Values) reply {
		return f.send(t, http.MethodGet, "/graphql?"+values.Encode(), "", "altitoken", f.secret)
	}
	if r := get(url.Values{"query": {"{my{self{username}}}"}}); r.text(t, "data.my.self.username") != "Ada" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a query: %d %s", r.status, r.body)
	}
	r := get(url.Values{"query": {"query A($c:UPLOAD_TYPE){support{supportedCloud(kind:$c)}}"}, "variables": {`{"c":"meta"}`}})
	if r.json(t, "data.support.supportedCloud") != "[]" {
		t.Errorf("with variables: %s", r.body)
	}
	r = get(url.Values{"query": {`mutation{createProject(name:"by GET"){id}}`}})
	if r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != "POST" || r.text(t, "errors.0.message") == "" {
		t.Errorf("a mutation: %d %v %s", r.status, r.header, r.body)
	}
	if n := f.ok(t, `{my{allProjects{totalCount}}}`).json(t, "data.my.allProjects.totalCount"); n != "0" {
		t.Errorf("GET made %s projects", n)
	}
	if r := get(url.Values{"query": {""}}); r.status != http.StatusBadRequest || r.text(t, "errors.0.message") == "" {
		t.Errorf("an empty query: %d %s", r.status, r.body)
	}
	if r := get(url.Values{"query": {"\xff"}}); r.status != http.StatusBadRequest {
		t.Errorf("not UTF-8: %d %s", r.status, r.body)
	}
}

// TestNamesThatAreNotText: half a surrogate pair, as Python writes names that are
// not UTF-8, is refused and never stored as U+FFFD; whole pairs are characters.
func TestNamesThatAreNotText(t *testing.T) {
	f := open(t)
	pid := f.newProject(t, "North face")
	post := func(body string) reply {
		return f.send(t, http.MethodPost, "/graphql", body, "Content-Type", "application/json", "altitoken", f.secret)
	}
	upload := `mutation($n:String!){uploadImageS3(pid:\"` + pid + `\",bucket:Local,filename:$n){image{name}}}`
	literal := func(name string) string {
		return `{"query":"mutation{uploadImageS3(pid:\"` + pid + `\",bucket:Local,filename:\"` + name + `\"){image{name}}}"}`
	}
	for name, body := range map[string]string{
		"a variable":            `{"query":"` + upload + `","variables":{"n":"DJI_\udc80.jpg"}}`,
		"a variable in text":    `{"query":"` + upload + `","variables":"{\"n\":\"\\udc80.jpg\"}"}`,
		"a literal":             literal(`DJI_\udc80.jpg`),
		"an escaped literal":    literal(`DJI_\\udc80.jpg`),
		"an escaped first half": literal(`DJI_\\ud83d.jpg`),
		"halves the wrong way":  literal(`\\ude00\\ud83d.jpg`),
	} {
		if r := post(body); r.status != http.StatusBadRequest || !strings.Contains(r.text(t, "errors.0.message"), "surrogate") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	for name, body := range map[string]string{
		"a variable":         `{"query":"` + upload + `","variables":{"n":"\ud83d\ude00.jpg"}}`,
		"a literal":          literal("\U0001F600.jpg"),
		"a JSON escape":      literal(`\ud83d\ude00.jpg`),
		"a GraphQL escape":   literal(`\\uD83D\\uDE00.jpg`),
		"behind a backslash": literal(`\\u005fx\\uD83D\\uDE00.jpg`),
	} {
		if r := post(body); !strings.HasSuffix(r.text(t, "data.uploadImageS3.image.name"), "\U0001F600.jpg") {
			t.Errorf("%s: %s", name, r.body)
		}
	}
}

// TestBodyThatBreaksOff: a client that goes away in the middle harms nobody, and
// what it began is not executed.
func TestBodyThatBreaksOff(t *testing.T) {
	f := open(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /graphql HTTP/1.1\r\nHost: x\r\nAltitoken: "+f.secret+"\r\nContent-Length: 100\r\n\r\n{\"query\":\"mutation{createProject(name:1")
	if err == nil {
		err = conn.(*net.TCPConn).CloseWrite()
	}
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") || !strings.Contains(string(answer), "broke off") {
		t.Errorf("%q %v", answer, err)
	}
}
