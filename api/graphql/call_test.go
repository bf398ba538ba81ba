package graphql

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// reply is what a call got, as text.
type reply struct {
	status int
	header http.Header
	body   string
}

// at reads a value by its path, such as data.my.allProjects.edges.0.node.id; a
// path that leads nowhere fails the test, unlike one that leads to null.
func (r reply) at(t *testing.T, path string) any {
	t.Helper()
	v, ok := r.find(path)
	if !ok {
		t.Fatalf("there is no %s in %d %s", path, r.status, r.body)
	}
	return v
}

func (r reply) find(path string) (any, bool) {
	dec := json.NewDecoder(strings.NewReader(r.body))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil, false
	}
	for name := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			found, ok := in[name]
			if !ok {
				return nil, false
			}
			v = found
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(in) {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// text is at for a string.
func (r reply) text(t *testing.T, path string) string {
	t.Helper()
	s, ok := r.at(t, path).(string)
	if !ok {
		t.Fatalf("%s is no text in %s", path, r.body)
	}
	return s
}

// list is at for a list, as JSON.
func (r reply) json(t *testing.T, path string) string {
	t.Helper()
	text, err := json.Marshal(r.at(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// code is that of the first error, "" when there is none.
func (r reply) code() broker.Code {
	code, _ := r.find("errors.0.extensions.code")
	s, _ := code.(string)
	return broker.Code(s)
}

// send sends a request as it is. headers are pairs.
func (f *fixture) send(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return f.do(t, r)
}

func (f *fixture) do(t *testing.T, r *http.Request) reply {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// ask sends a query as most clients do: JSON with null variables, the app's key,
// and the user's token, if any.
func (f *fixture) ask(t *testing.T, token, query string) reply {
	t.Helper()
	return f.askWith(t, token, query, nil)
}

func (f *fixture) askWith(t *testing.T, token, query string, variables any) reply {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	headers := []string{"Content-Type", "application/json", "key", "some-app"}
	if token != "" {
		headers = append(headers, "altitoken", token)
	}
	r := f.send(t, http.MethodPost, "/graphql", string(body), headers...)
	if got := r.header.Get("Content-Type"); got != "application/json" || !json.Valid([]byte(r.body)) {
		t.Fatalf("%s answers %d %q %s", query, r.status, got, r.body)
	}
	return r
}

// ok is ask by the fixture's owner, for what must work.
func (f *fixture) ok(t *testing.T, query string) reply {
	t.Helper()
	r := f.ask(t, f.secret, query)
	if r.status != http.StatusOK || strings.Contains(r.body, `"errors"`) {
		t.Fatalf("%s answers %d %s", query, r.status, r.body)
	}
	return r
}

// refused is ask by the fixture's owner, for what must end with a code.
func (f *fixture) refused(t *testing.T, code broker.Code, query string) reply {
	t.Helper()
	r := f.ask(t, f.secret, query)
	if r.code() != code || r.text(t, "errors.0.message") == "" {
		t.Errorf("%s answers %d %s, want the code %s", query, r.status, r.body, code)
	}
	return r
}

// newProject creates a project as clients do and returns its id.
func (f *fixture) newProject(t *testing.T, name string) string {
	t.Helper()
	return f.ok(t, `mutation{createProject(name:`+strconv.Quote(name)+`,type:free,visibility:public){id}}`).text(t, "data.createProject.id")
}

// newImage registers an image and returns its id and URL.
func (f *fixture) newImage(t *testing.T, pid, name, sum string) (id, url string) {
	t.Helper()
	r := f.ok(t, `mutation{uploadImageS3(pid:"`+pid+`",bucket:Local,filename:"`+name+`",type:JPEG,checksum:"`+sum+`"){url image{id}}}`)
	return r.text(t, "data.uploadImageS3.image.id"), r.text(t, "data.uploadImageS3.url")
}

// put uploads as old scripts do: with a Content-Type that is none.
func (f *fixture) put(t *testing.T, url string, content []byte) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "JPEG")
	return f.do(t, r).status
}

// state asks for an image's state as clients poll it.
func (f *fixture) state(t *testing.T, pid, id string) string {
	t.Helper()
	return f.ok(t, `{project(id:"`+pid+`"){image(id:"`+id+`"){state}}}`).text(t, "data.project.image.state")
}

// settle polls until the image is judged.
func (f *fixture) settle(t *testing.T, pid, id string) string {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for {
		switch s := f.state(t, pid, id); s {
		case "Ready", "Invalid":
			return s
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("the image %s was not judged\n%s", id, f.log)
		}
	}
}

// key cuts the object's key out of a presigned URL.
func key(t *testing.T, url string) string {
	t.Helper()
	m := regexp.MustCompile(`/local-bucket/([^?]+)\?`).FindStringSubmatch(url)
	if m == nil {
		t.Fatalf("no key in %s", url)
	}
	return m[1]
}
