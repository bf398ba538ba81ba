package web

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestAuditActions: the page lets one choose among all that a project's audit tells
// of, and has words for it.
func TestAuditActions(t *testing.T) {
	read := func(path string) string {
		text, err := fs.ReadFile(static, "static/app/"+path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, list, _ := strings.Cut(read("views/audit.js"), "const actions = [")
	list, _, _ = strings.Cut(list, "]")
	var got []string
	for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(list, -1) {
		got = append(got, m[1])
	}
	want := slices.DeleteFunc(broker.Actions(), func(a string) bool { return strings.HasPrefix(a, "owner.") }) // of no project
	if !slices.Equal(got, want) {
		t.Errorf("the page has %q\nwant         %q", got, want)
	}
	for _, lang := range []string{english, chinese} {
		words := read("lang/" + lang + "/audit.js")
		for _, a := range want {
			if !strings.Contains(words, `"audit.`+a+`": "`) {
				t.Errorf("%s has no word for %s", lang, a)
			}
		}
	}
}

// TestAuditDetails: the page has words for all that an audit's detail, or a line of a
// story, can hold.
func TestAuditDetails(t *testing.T) {
	names := map[string]bool{}
	find := func(files string, parts, name *regexp.Regexp) {
		paths, err := filepath.Glob(files)
		if err != nil || len(paths) == 0 {
			t.Fatal(paths, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range parts.FindAllString(string(text), -1) {
				for _, m := range name.FindAllStringSubmatch(part, -1) {
					names[m[1]] = true
				}
			}
		}
	}
	const store = "../../broker/postgres/"
	find(store+"*.go", regexp.MustCompile(`map\[string\]any\{[^{}]*\}|detail\["\w+"\][^\n]*`), regexp.MustCompile(`"(\w+)"(?:\]|:)`))
	find(store+"queries/*.sql", regexp.MustCompile(`INSERT INTO audit[^;]*?\sFROM `), regexp.MustCompile(`['"](\w+)['"](?:, |: )`))
	for _, known := range []string{"attempt", "from", "by", "from_project", "why", "results", "address"} {
		if !names[known] {
			t.Errorf("%s is not found in what is written", known)
		}
	}
	page, err := fs.ReadFile(static, "static/app/views/audit.js")
	if err != nil {
		t.Fatal(err)
	}
	_, told, _ := strings.Cut(string(page), "details(t, {")
	told, _, _ = strings.Cut(told, "}")
	for _, m := range regexp.MustCompile(`(\w+): s\.`).FindAllStringSubmatch(told, -1) {
		names[m[1]] = true
	}
	_, untold, _ := strings.Cut(string(page), "const untold = new Set([")
	untold, _, _ = strings.Cut(untold, "]")
	for _, lang := range []string{english, chinese} {
		words, _ := dictionary(t, lang)
		for name := range names {
			if words["audit.detail."+name] == "" && !strings.Contains(untold, `"`+name+`"`) && name != "email" { // of owner.create alone, which is of no project
				t.Errorf("%s has no word for %s", lang, name)
			}
		}
		for _, fault := range broker.AllTaskFaults() {
			if words["audit.fault."+fault] == "" {
				t.Errorf("%s has no words for %s", lang, fault)
			}
		}
		for _, reason := range broker.AllReasons() {
			if words["reason."+string(reason)] == "" {
				t.Errorf("%s has no words for %s", lang, reason)
			}
		}
	}
}
