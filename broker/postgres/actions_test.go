package postgres_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestActions: what this package writes into the audit is what broker.Actions says,
// so that pages can list it.
func TestActions(t *testing.T) {
	said := map[string]bool{}
	action := `((?:image|task|project|key|owner)(?:\.[a-z]+)+)`
	find := func(files string, part func(string) []string, quoted *regexp.Regexp) {
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
			for _, p := range part(string(text)) {
				for _, m := range quoted.FindAllStringSubmatch(p, -1) {
					said[m[1]] = true
				}
			}
		}
	}
	find("*.go", func(text string) []string { return []string{text} }, regexp.MustCompile(`"`+action+`"`))
	find("queries/*.sql", func(text string) (inserts []string) {
		for _, rest := range strings.Split(text, "INSERT INTO audit")[1:] {
			first, _, _ := strings.Cut(rest, " FROM ")
			inserts = append(inserts, first)
		}
		return inserts
	}, regexp.MustCompile(`'`+action+`'`))
	for _, swept := range []string{"image.sweep", "project.sweep"} {
		said[swept+".kept"] = true
	}
	for a := range said {
		if !slices.Contains(broker.Actions(), a) {
			t.Errorf("%s is written, and not said", a)
		}
	}
	for _, a := range broker.Actions() {
		if !said[a] {
			t.Errorf("%s is said, and not written", a)
		}
	}
}
