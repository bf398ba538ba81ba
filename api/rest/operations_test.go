package rest

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

var update = flag.Bool("update", false, "write the golden files anew")

// document is the part of the served description that tests read.
type document struct {
	OpenAPI    string                          `json:"openapi"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas map[string]json.RawMessage `json:"schemas"`
	} `json:"components"`
	Tags []struct{ Name, Description string } `json:"tags"`
}

type operation struct {
	ID        string                `json:"operationId"`
	Summary   string                `json:"summary"`
	Tags      []string              `json:"tags"`
	Security  []map[string][]string `json:"security"`
	Responses map[string]struct {
		Content map[string]struct {
			Schema map[string]any `json:"schema"`
		} `json:"content"`
	} `json:"responses"`

	method, path string
}

// describe reads the description as clients get it.
func (f *fixture) describe(t *testing.T) document {
	t.Helper()
	var d document
	a := f.call(t, "", http.MethodGet, "/openapi.json", nil)
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	a.into(t, &d)
	return d
}

// operations lists the description's operations that need a key, by path and method.
func (f *fixture) operations(t *testing.T) []operation {
	t.Helper()
	var ops []operation
	for path, methods := range f.describe(t).Paths {
		for method, op := range methods {
			op.method, op.path = strings.ToUpper(method), path
			if op.Security == nil { // it needs no key, and has tests of its own
				continue
			}
			ops = append(ops, op)
		}
	}
	slices.SortFunc(ops, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	if len(ops) == 0 {
		t.Fatal("the description has no operation")
	}
	return ops
}

// scope is what the operation asks of a key; "": any good one.
func (o operation) scope(t *testing.T) broker.Scope {
	t.Helper()
	if len(o.Security) != 1 || len(o.Security[0]) != 1 {
		t.Fatalf("%s: security %v is not one key", o.ID, o.Security)
	}
	scopes, ok := o.Security[0]["key"]
	switch {
	case !ok || len(scopes) > 1:
		t.Fatalf("%s: security %v is not one key of one scope", o.ID, o.Security)
	case len(scopes) == 0:
		return anyScope
	}
	s, err := broker.ParseScope(scopes[0])
	if err != nil {
		t.Fatalf("%s: %v", o.ID, err)
	}
	return s
}

// success is the one status of success that the operation describes.
func (o operation) success(t *testing.T) int {
	t.Helper()
	found := 0
	for status := range o.Responses {
		switch status {
		case "200":
			found = http.StatusOK
		case "201":
			found = http.StatusCreated
		case "302":
			found = http.StatusFound
		case "default", "206", "304":
		default:
			t.Fatalf("%s describes the status %s", o.ID, status)
		}
	}
	if found == 0 {
		t.Fatalf("%s describes no success", o.ID)
	}
	return found
}

// at fills the path's parameters in.
func (o operation) at(pid, id string) string {
	return strings.NewReplacer("{pid}", pid, "{id}", id, "{name}", "all.zip").Replace(o.path)
}

// sampleBody is a body that each operation takes. An operation without an entry
// here is one that nobody has thought about, and fails the tests.
func sampleBody(t *testing.T, o operation, imageID string) any {
	t.Helper()
	ids := map[string]any{"ids": []string{imageID}}
	bodies := map[string]any{
		"createProject":     map[string]any{"name": "South face"},
		"listProjects":      nil,
		"getProject":        nil,
		"removeProject":     nil,
		"undoRemoveProject": nil,
		"registerImages": map[string]any{"images": []any{
			map[string]any{"name": "b.jpg", "sha1": digest("sample"), "size": 6},
		}},
		"startImages":     ids,
		"doneImages":      ids,
		"regrantImages":   ids,
		"checkImages":     map[string]any{"sha1": []string{digest("sample")}},
		"listImages":      nil,
		"getImage":        nil,
		"removeImage":     nil,
		"undoRemoveImage": nil,
		"acceptImage":     nil,
		"imageThumbnail":  nil,
		"imageFile":       nil,
		"listAudit":       nil,
		"traceImage":      nil,
		"nearestBuckets":  nil,
		"listBuckets":     nil,
		"me":              nil,
		"listKeys":        nil,
		"createKey":       map[string]any{"name": "a further one", "scopes": []string{"manage"}},
		"revokeKey":       nil,
		"listWebhooks":    nil,
		"projectZip":      nil,
		"linkProjectZip":  map[string]any{"expires_in": 60},
		"startTask":       map[string]any{"type": "Dense", "expected": 1},
		"listTasks":       nil,
		"listAllTasks":    nil,
		"getTask":         nil,
		"stopTask":        nil,
		"taskResult":      nil,
	}
	body, known := bodies[o.ID]
	if !known {
		t.Fatalf("%s %s (%s) is new: give it a body here, and see that the roles of roles_test.go fit it", o.method, o.path, o.ID)
	}
	return body
}

// TestEveryOperationIsReached calls each described operation and asks which one
// answered: two routes that look alike to the router would both answer 200.
func TestEveryOperationIsReached(t *testing.T) {
	f := open(t)
	answered := map[string]bool{}
	for _, op := range f.operations(t) {
		pid := f.newProject(t)
		id := f.sampleImage(t, op, pid).ID
		a := f.call(t, f.secret, op.method, op.at(pid, id), sampleBody(t, op, id))
		if a.op != op.ID {
			t.Errorf("%s %s was answered by %q, not by %s", op.method, op.path, a.op, op.ID)
		}
		if a.status != op.success(t) {
			t.Errorf("%s: %d %s", op.ID, a.status, a.body)
		}
		answered[a.op] = true
	}
	if got, want := len(answered), len(f.operations(t)); got != want {
		t.Errorf("%d operations answered, of %d", got, want)
	}
}

// TestRoutesAreDescribed finds routes that are in no description, and the other
// way round: what is not listed here nobody has classified.
func TestRoutesAreDescribed(t *testing.T) {
	f := open(t)
	described := map[string]bool{}
	for path, methods := range f.describe(t).Paths {
		for method := range methods {
			described[strings.ToUpper(method)+" "+strings.NewReplacer("{", ":", "}", "").Replace(path)] = true
		}
	}
	public := map[string]bool{ // need no key, and give nothing that one needs a key for
		"GET /healthz": true, "GET /readyz": true,
		"GET /openapi.json": true, "GET /openapi.yaml": true, "GET /openapi-3.0.json": true, "GET /openapi-3.0.yaml": true,
		"GET /docs": true, "GET /docs/": true, "GET /docs/page.js": true, "GET /docs/page.css": true,
		"GET /docs/swagger-ui.css": true, "GET /docs/swagger-ui-bundle.js": true,
		"GET /": true, "GET /static/*": true, "GET /sign-in": true, "POST /sign-in": true, "POST /sign-out": true,
		"POST /language": true, "GET /buckets": true, "GET /keys": true, "GET /projects": true, "GET /projects/:pid": true, "GET /projects/:pid/audit": true,
		"GET /page/events/:pid": true, // a session's
	}
	routed := map[string]bool{}
	for _, r := range f.echo.Routes() {
		name := r.Method + " " + r.Path
		routed[name] = true
		switch {
		case described[name], public[name], strings.HasPrefix(r.Path, "/local-bucket/"):
		case r.Method == "echo_route_not_found": // a group's fallback
		default:
			t.Errorf("the route %s is neither described nor known to be public", name)
		}
	}
	elsewhere := map[string]bool{ // package tags has them, below /* and by what /tags/:tag ends with
		"PUT /upload/:tag": true, "POST /upload/:tag": true, "PUT /upload/:tag/:filename": true, "POST /upload/:tag/:filename": true,
		"GET /tags/:tag/files/:id": true, "GET /tags/:tag.zip": true,
	}
	for name := range described {
		if !routed[name] && !elsewhere[name] {
			t.Errorf("%s is described and has no route", name)
		}
	}
}

// TestDescriptionIsComplete holds every operation to what authors of clients need.
func TestDescriptionIsComplete(t *testing.T) {
	f := open(t)
	d := f.describe(t)
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("OpenAPI %s", d.OpenAPI)
	}
	tags := map[string]bool{}
	for _, tag := range d.Tags {
		tags[tag.Name] = tag.Description != ""
	}
	ids := map[string]bool{}
	for _, op := range f.operations(t) {
		if strings.ContainsRune(op.path, ':') {
			t.Errorf("%s holds a colon", op.path)
		}
		if ids[op.ID] || op.ID == "" {
			t.Errorf("%s %s: the operation id %q is taken or empty", op.method, op.path, op.ID)
		}
		ids[op.ID] = true
		if op.Summary == "" || strings.HasSuffix(op.Summary, ".") || len(op.Summary) > 72 {
			t.Errorf("%s: the summary %q is not a short line", op.ID, op.Summary)
		}
		if len(op.Tags) != 1 || !tags[op.Tags[0]] {
			t.Errorf("%s: tags %v, of which one is to be described", op.ID, op.Tags)
		}
		op.scope(t)
		op.success(t)
		problem := op.Responses["default"].Content["application/problem+json"].Schema["$ref"]
		if problem != "#/components/schemas/Problem" {
			t.Errorf("%s: its problem response is %v", op.ID, problem)
		}
	}
	if _, ok := d.Components.Schemas["ErrorModel"]; ok {
		t.Error("huma's own error is described, which no answer has")
	}
}

// TestDescriptionSaysWhatIs looks through every schema for what misleads the
// authors of clients: arrays that may be null (none is), and fields without a word.
func TestDescriptionSaysWhatIs(t *testing.T) {
	f := open(t)
	plain := map[string]bool{ // need no words
		"id": true, "name": true, "email": true, "bucket": true, "etag": true, "method": true, "lat": true, "lon": true,
	}
	d := f.describe(t)
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		var schema struct {
			Properties map[string]map[string]any `json:"properties"`
		}
		if err := json.Unmarshal(d.Components.Schemas[name], &schema); err != nil {
			t.Fatal(err)
		}
		for field, s := range schema.Properties {
			if s["type"] != nil {
				if types, ok := s["type"].([]any); ok {
					t.Errorf("%s.%s may be %v", name, field, types)
				}
			}
			_, refers := s["$ref"]
			if s["description"] == nil && !plain[field] && !refers {
				t.Errorf("%s.%s has no description", name, field)
			}
		}
	}
}

// TestDescriptionGolden keeps the whole description, for a change of it is a
// change for every client.
func TestDescriptionGolden(t *testing.T) {
	f := open(t)
	a := f.call(t, "", http.MethodGet, "/openapi.json", nil)
	var out bytes.Buffer
	if err := json.Indent(&out, a.body, "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	golden(t, "openapi.json", out.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; if that is meant, run go test ./api/rest -update and read the difference.\n%s", file, firstDifference(want, got))
	}
}

func firstDifference(want, got []byte) string {
	w, g := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return "want: " + w[i] + "\ngot:  " + g[i]
		}
	}
	return "one is longer"
}
