package web

import (
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// dictionary reads the browser's words of one language, by key, and the parts that they
// lie in.
func dictionary(t *testing.T, lang string) (words map[string]string, parts []string) {
	t.Helper()
	entry := regexp.MustCompile(`(?m)^\s*"([a-z_]+\.[A-Za-z0-9_.]+)":\s*(.*?),?$`)
	words = map[string]string{}
	files, err := fs.Glob(static, "static/app/lang/"+lang+"/*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(static, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range entry.FindAllStringSubmatch(string(text), -1) {
			if _, twice := words[m[1]]; twice {
				t.Errorf("%s: %s has words twice, here and there", name, m[1])
			}
			words[m[1]] = m[2]
		}
		parts = append(parts, strings.TrimSuffix(path.Base(name), ".js"))
	}
	return words, parts
}

// TestProblemsHaveWords: whatever the server refuses with is told in both languages, and
// what the page has words for is a code.
func TestProblemsHaveWords(t *testing.T) {
	en, parts := dictionary(t, english)
	zh, others := dictionary(t, chinese)
	if !slices.Equal(parts, others) {
		t.Errorf("the English parts are %v, the Chinese %v", parts, others)
	}
	i18n, err := fs.ReadFile(static, "static/app/i18n.js")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`const parts = \[([^\]]*)\]`).FindStringSubmatch(string(i18n))
	if list == nil {
		t.Fatal("i18n.js lists no parts")
	}
	var loaded []string
	for _, m := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(list[1], -1) {
		loaded = append(loaded, m[1])
	}
	if slices.Sort(loaded); !slices.Equal(loaded, parts) {
		t.Errorf("i18n.js loads %v of %v", loaded, parts)
	}
	if a, b := slices.Sorted(maps.Keys(en)), slices.Sorted(maps.Keys(zh)); !slices.Equal(a, b) {
		for _, key := range slices.Concat(a, b) {
			if (en[key] == "") != (zh[key] == "") {
				t.Errorf("%s has words in one language only", key)
			}
		}
	}
	// What no server said: nobody answered, or something without a code.
	page := []string{"problem.status", "problem.unreachable"}
	want := slices.Clone(page)
	for _, code := range broker.AllCodes() {
		want = append(want, "problem."+string(code))
	}
	for _, lang := range []map[string]string{en, zh} {
		for _, key := range want {
			if lang[key] == "" || lang[key] == `""` {
				t.Errorf("%s has no words", key)
			}
		}
		for key := range lang {
			if strings.HasPrefix(key, "problem.") && !slices.Contains(want, key) {
				t.Errorf("%s is of no code", key)
			}
		}
	}
}
