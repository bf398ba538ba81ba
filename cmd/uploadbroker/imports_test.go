package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/uploadbroker/uploadbroker"

// Families of third-party modules that only some packages may use. All others
// are free, save where a rule says standardOnly.
var families = map[string][]string{
	"aws":    {"github.com/aws/"},
	"aliyun": {"github.com/aliyun/", "github.com/alibabacloud-go/"},
	"pgx":    {"github.com/jackc/"},
	"echo":   {"github.com/labstack/"},
}

// importRule says what the code of a package, tests aside, may import.
type importRule struct {
	dir          string   // below the module; a trailing /... takes in all below
	project      []string // packages of this module, in the same notation
	families     []string // of the map above
	standardOnly bool     // no third-party module but those of families
	testsOnly    bool     // never imported by code that is not a test
}

// importRules is the map of the project: which part may know which. Of several
// rules that fit a package the longest holds; packages under one rule may import
// each other.
var importRules = []importRule{
	{dir: "cmd/uploadbroker/...", project: []string{"..."}, families: []string{"aws", "aliyun", "pgx", "echo"}},

	{dir: "broker", standardOnly: true},
	{dir: "broker/postgres/...", project: []string{"broker"}, families: []string{"pgx"}},
	{dir: "broker/postgres/privatepg", families: []string{"pgx"}, standardOnly: true},
	{dir: "broker/postgres/privatepg/pgtest", project: []string{"broker/postgres/privatepg"}, families: []string{"pgx"}, standardOnly: true, testsOnly: true},
	{dir: "broker/archive", project: []string{"broker"}},
	{dir: "broker/fetch", project: []string{"broker"}, standardOnly: true},
	{dir: "broker/validate/...", project: []string{"broker"}},
	{dir: "broker/worker/...", project: []string{"broker/...", "storage"}, families: []string{"pgx"}},
	{dir: "broker/hook", standardOnly: true},
	{dir: "broker/reconstruct/...", project: []string{"broker", "broker/fetch", "broker/hook"}},
	{dir: "broker/reconstruct/odmstand", standardOnly: true, testsOnly: true},

	{dir: "storage", project: []string{"broker"}},
	{dir: "storage/presign", standardOnly: true},
	{dir: "storage/s3/...", project: []string{"broker", "storage", "storage/presign"}, families: []string{"aws"}},
	{dir: "storage/oss/...", project: []string{"broker", "storage", "storage/presign"}, families: []string{"aliyun"}},
	{dir: "storage/local/...", project: []string{"broker", "storage", "storage/s3"}, families: []string{"aws"}},
	{dir: "storage/ossemu/...", standardOnly: true},
	{dir: "storage/storagetest/...", project: []string{"broker", "storage"}, testsOnly: true},

	{dir: "geoip/...", project: []string{"broker"}},

	{dir: "api", project: []string{"broker"}, families: []string{"echo"}},
	{dir: "api/graphql/...", project: []string{"broker", "api"}, families: []string{"echo"}},
	{dir: "api/rest/...", project: []string{"broker", "api"}, families: []string{"echo"}},
	{dir: "api/events/...", project: []string{"broker", "api"}, families: []string{"echo"}},
	{dir: "api/tags/...", project: []string{"broker", "api"}, families: []string{"echo"}},
	{dir: "api/web/...", project: []string{"broker", "api"}, families: []string{"echo"}},
	{dir: "api/client/...", standardOnly: true},
}

func TestImports(t *testing.T) {
	for _, p := range listPackages(t) {
		dir := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		rule, ok := ruleFor(dir)
		if !ok {
			t.Errorf("%s is in no rule of importRules: give it one, or put its code by its user", dir)
			continue
		}
		for _, imported := range p.Imports {
			if why := rule.forbids(imported); why != "" {
				t.Errorf("%s imports %s: %s", dir, imported, why)
			}
		}
	}
}

// The rules have to bite: each line is an import that must be refused, or not.
func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		dir, imports string
		allowed      bool
	}{
		{"broker", "context", true},
		{"broker", "github.com/oklog/ulid/v2", false},
		{"broker", module + "/storage", false},
		{"broker/postgres/queries", "github.com/jackc/pgx/v5", true},
		{"broker/postgres", module + "/broker/postgres/queries", true},
		{"broker/postgres", module + "/broker/postgres/privatepg", false},
		{"broker/postgres/privatepg", module + "/broker", false},
		{"broker/validate/jpeg", "golang.org/x/image/webp", true},
		{"broker/validate/jpeg", "github.com/jackc/pgx/v5", false},
		{"broker/worker", module + "/broker/validate", true},
		{"broker/worker", module + "/api", false},
		{"storage", "github.com/aws/aws-sdk-go-v2/aws", false},
		{"storage/s3", "github.com/aws/aws-sdk-go-v2/aws", true},
		{"storage/s3", module + "/storage/oss", false},
		{"storage/oss", "github.com/aws/aws-sdk-go-v2/aws", false},
		{"storage/oss", "github.com/aliyun/aliyun-oss-go-sdk/oss", true},
		{"storage/ossemu", "github.com/oklog/ulid/v2", false},
		{"storage/local", module + "/storage/storagetest", false},
		{"broker/fetch", "golang.org/x/net/http2", false},
		{"geoip", module + "/broker", true},
		{"geoip", module + "/api", false},
		{"geoip", module + "/storage", false},
		{"api/rest", module + "/api/graphql", false},
		{"api/rest", "github.com/labstack/echo/v4", true},
		{"api", "github.com/jackc/pgx/v5", false},
		{"api/client", module + "/api", false},
		{"cmd/uploadbroker", module + "/storage/oss", true},
		{"cmd/uploadbroker", module + "/storage/storagetest", false},
		{"cmd/uploadbroker", module + "/broker/postgres/privatepg/pgtest", false},
	} {
		rule, ok := ruleFor(c.dir)
		if !ok {
			t.Errorf("no rule for %s", c.dir)
			continue
		}
		if why := rule.forbids(c.imports); (why == "") != c.allowed {
			t.Errorf("%s imports %s: allowed is not %v (%s)", c.dir, c.imports, c.allowed, why)
		}
	}
	if _, ok := ruleFor("broker/util"); ok {
		t.Error("a package that nobody planned has a rule")
	}
}

// forbids gives the reason why the rule's packages may not import path.
func (r importRule) forbids(path string) string {
	if rest, ok := strings.CutPrefix(path, module+"/"); ok {
		target, ok := ruleFor(rest)
		switch {
		case !ok:
			return "it is in no rule"
		case target.testsOnly && target.dir != r.dir:
			return "it is for tests"
		case target.dir == r.dir, slices.ContainsFunc(r.project, func(p string) bool { return covers(p, rest) }):
			return ""
		}
		return "its rule does not name that package"
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	for name, prefixes := range families {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(path, p) }) {
			if slices.Contains(r.families, name) {
				return ""
			}
			return "its rule does not name the family " + name
		}
	}
	if r.standardOnly {
		return "its rule allows nothing beyond the standard library and its families"
	}
	return ""
}

func ruleFor(dir string) (best importRule, found bool) {
	for _, r := range importRules {
		if covers(r.dir, dir) && len(r.dir) >= len(best.dir) {
			best, found = r, true
		}
	}
	return best, found
}

func covers(pattern, dir string) bool {
	root, tree := strings.CutSuffix(pattern, "...")
	if !tree {
		return dir == pattern
	}
	return dir+"/" == root || strings.HasPrefix(dir, root)
}

type listedPackage struct {
	ImportPath string
	Imports    []string
}

// listPackages asks go list; Imports are those of the code without its tests.
// What does not compile is for others to say.
func listPackages(t *testing.T) (all []listedPackage) {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-buildvcs=false", "-json=ImportPath,Imports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
