package web

import (
	"io/fs"
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
