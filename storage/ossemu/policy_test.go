package ossemu

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// statementJSON is a policy of one statement.
func statementJSON(statement string) string {
	return `{"Version":"1","Statement":[` + statement + `]}`
}

func TestParsePolicy(t *testing.T) {
	allow := `{"Effect":"Allow","Action":"oss:PutObject","Resource":"acs:oss:*:*:b/p/*"}`
	good := map[string]string{
		"strings":          statementJSON(allow),
		"lists":            statementJSON(`{"Effect":"Allow","Action":["oss:Put*","oss:Get?bject"],"Resource":["acs:oss:*:*:b","acs:oss:*:*:b/*"]}`),
		"everything":       statementJSON(`{"Effect":"Allow","Action":"*","Resource":"*"}`),
		"deny":             statementJSON(allow + `,{"Effect":"Deny","Action":"oss:*","Resource":["*"]}`),
		"another service":  statementJSON(`{"Effect":"Allow","Action":"ecs:Run*","Resource":"acs:ecs:*:*:*"}`),
		"white space":      " \n" + statementJSON(allow) + "\t\n",
		"a colon in a key": statementJSON(`{"Effect":"Allow","Action":"oss:PutObject","Resource":"acs:oss:*:*:b/a:b:c"}`),
		"the longest":      statementJSON(`{"Effect":"Allow","Action":"*","Resource":"acs:oss:*:*:` + strings.Repeat("é", 2048-len(statementJSON(`{"Effect":"Allow","Action":"*","Resource":"acs:oss:*:*:"}`))) + `"}`),
	}
	for name, document := range good {
		if _, err := parsePolicy(document); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := map[string]string{
		"empty":                 "",
		"one character more":    strings.Replace(good["the longest"], "é", "éé", 1),
		"no JSON":               "Version 1",
		"a list":                "[]",
		"null":                  "null",
		"cut off":               statementJSON(allow)[:30],
		"no end":                strings.TrimSuffix(statementJSON(allow), "}"),
		"something after it":    statementJSON(allow) + "{}",
		"no version":            `{"Statement":[` + allow + `]}`,
		"version as a number":   `{"Version":1,"Statement":[` + allow + `]}`,
		"another version":       `{"Version":"2012-10-17","Statement":[` + allow + `]}`,
		"no statement":          `{"Version":"1"}`,
		"statements: none":      `{"Version":"1","Statement":[]}`,
		"statements: null":      `{"Version":"1","Statement":null}`,
		"statements: an object": `{"Version":"1","Statement":` + allow + `}`,
		"a further name":        `{"Version":"1","Id":"x","Statement":[` + allow + `]}`,
		"version twice":         `{"Version":"1","Version":"1","Statement":[` + allow + `]}`,
		"lower-case names":      `{"version":"1","statement":[` + allow + `]}`,
		"a statement of text":   statementJSON(`"Allow"`),
		"no effect":             statementJSON(`{"Action":"oss:PutObject","Resource":"*"}`),
		"another effect":        statementJSON(`{"Effect":"allow","Action":"oss:PutObject","Resource":"*"}`),
		"effect twice":          statementJSON(`{"Effect":"Deny","Effect":"Allow","Action":"oss:PutObject","Resource":"*"}`),
		"no action":             statementJSON(`{"Effect":"Allow","Resource":"*"}`),
		"actions: none":         statementJSON(`{"Effect":"Allow","Action":[],"Resource":"*"}`),
		"actions: null":         statementJSON(`{"Effect":"Allow","Action":null,"Resource":"*"}`),
		"an action of null":     statementJSON(`{"Effect":"Allow","Action":[null],"Resource":"*"}`),
		"an action as a number": statementJSON(`{"Effect":"Allow","Action":[1],"Resource":"*"}`),
		"an empty action":       statementJSON(`{"Effect":"Allow","Action":"","Resource":"*"}`),
		"no service":            statementJSON(`{"Effect":"Allow","Action":"PutObject","Resource":"*"}`),
		"a space in an action":  statementJSON(`{"Effect":"Allow","Action":"oss: PutObject","Resource":"*"}`),
		"no resource":           statementJSON(`{"Effect":"Allow","Action":"*"}`),
		"an empty resource":     statementJSON(`{"Effect":"Allow","Action":"*","Resource":""}`),
		"resources: none":       statementJSON(`{"Effect":"Allow","Action":"*","Resource":[]}`),
		"a bare bucket":         statementJSON(`{"Effect":"Allow","Action":"*","Resource":"b/*"}`),
		"an S3 name":            statementJSON(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::b/*"}`),
		"a resource cut off":    statementJSON(`{"Effect":"Allow","Action":"*","Resource":"acs:oss:*:*:"}`),
		"NotAction":             statementJSON(`{"Effect":"Allow","NotAction":"oss:DeleteObject","Resource":"*"}`),
		"NotResource":           statementJSON(`{"Effect":"Allow","Action":"*","NotResource":"acs:oss:*:*:b"}`),
		"Condition":             statementJSON(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":"10.0.0.0/8"}}}`),
		"a principal":           statementJSON(`{"Effect":"Allow","Action":"*","Resource":"*","Principal":["1"]}`),
	}
	for name, document := range bad {
		if _, err := parsePolicy(document); err == nil {
			t.Errorf("%s: accepted: %s", name, document)
		}
	}
}

func TestPolicyEvaluation(t *testing.T) {
	a := testAuthority(t, time.Time{})
	allow := func(action, resource string) string {
		return `{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}`
	}
	deny := func(action, resource string) string {
		return strings.Replace(allow(action, resource), "Allow", "Deny", 1)
	}
	for _, row := range []struct {
		policy, action, resource string
		want                     bool
	}{
		{allow("*", "*"), "oss:GetObject", "b/k", true},
		{allow("oss:*", "*"), "oss:GetObject", "b/k", true},
		{allow("ecs:*", "*"), "oss:GetObject", "b/k", false},
		{allow("oss:getobject", "*"), "oss:GetObject", "b/k", true},
		{allow("OSS:GETOBJECT", "*"), "oss:GetObject", "b/k", true},
		{allow("oss:Get*", "*"), "oss:GetObjectAcl", "b/k", true},
		{allow("oss:Get?bject", "*"), "oss:GetObject", "b/k", true},
		{allow("oss:GetObject", "*"), "oss:GetObjectAcl", "b/k", false},
		{allow("*", "acs:oss:*:*:b"), "oss:ListObjects", "b", true},
		{allow("*", "acs:oss:*:*:b"), "oss:GetObject", "b/k", false},
		{allow("*", "acs:oss:*:*:b/*"), "oss:ListObjects", "b", false},
		{allow("*", "acs:oss:*:*:b*"), "oss:ListObjects", "b", true},
		{allow("*", "acs:oss:*:*:b/p/*"), "oss:GetObject", "b/p/x/y", true},
		{allow("*", "acs:oss:*:*:b/p/*"), "oss:GetObject", "b/p/", true},
		{allow("*", "acs:oss:*:*:b/p/*"), "oss:GetObject", "b/p", false},
		{allow("*", "acs:oss:*:*:b/p/*"), "oss:GetObject", "b/p2/x", false},
		{allow("*", "acs:oss:*:*:b/P/*"), "oss:GetObject", "b/p/x", false},
		{allow("*", "acs:oss:*:*:b/?/*"), "oss:GetObject", "b/中/x", true},
		{allow("*", "acs:oss:*:*:b/?/*"), "oss:GetObject", "b/中中/x", false},
		{allow("*", "acs:oss:cn-hangzhou:*:b/*"), "oss:GetObject", "b/k", true},
		{allow("*", "acs:oss:oss-cn-hangzhou:*:b/*"), "oss:GetObject", "b/k", true},
		{allow("*", "acs:oss:cn-beijing:*:b/*"), "oss:GetObject", "b/k", false},
		{allow("*", "acs:oss:*:123456789012:b/*"), "oss:GetObject", "b/k", true},
		{allow("*", "acs:oss:*:12345*:b/*"), "oss:GetObject", "b/k", true},
		{allow("*", "acs:oss:*:999:b/*"), "oss:GetObject", "b/k", false},
		{allow("*", "acs:oss:*::b/*"), "oss:GetObject", "b/k", false},
		{allow("*", "acs:ecs:*:*:b/*"), "oss:GetObject", "b/k", false},
		{allow("*", "acs:*:*:*:*"), "oss:GetObject", "b/k", true},
		{allow("*", "acs:oss:*:*:b/a:b"), "oss:GetObject", "b/a:b", true},
		{allow("*", "*") + "," + deny("oss:DeleteObject", "*"), "oss:DeleteObject", "b/k", false},
		{deny("oss:DeleteObject", "*") + "," + allow("*", "*"), "oss:DeleteObject", "b/k", false},
		{allow("*", "*") + "," + deny("oss:DeleteObject", "acs:oss:*:*:b/kept/*"), "oss:DeleteObject", "b/k", true},
		{deny("oss:DeleteObject", "*"), "oss:GetObject", "b/k", false},
	} {
		p, err := parsePolicy(statementJSON(row.policy))
		if err != nil {
			t.Errorf("%s: %v", row.policy, err)
			continue
		}
		if got := p.allows(row.action, a.asked("acs:oss:*:*:"+row.resource)); got != row.want {
			t.Errorf("%s: %s on %s: %v", row.policy, row.action, row.resource, got)
		}
	}
}

// refMatch is the definition of a pattern, and nothing faster.
func refMatch(pattern, s []rune) bool {
	switch {
	case len(pattern) == 0:
		return len(s) == 0
	case pattern[0] == '*':
		return refMatch(pattern[1:], s) || len(s) > 0 && refMatch(pattern, s[1:])
	}
	return len(s) > 0 && (pattern[0] == '?' || pattern[0] == s[0]) && refMatch(pattern[1:], s[1:])
}

func TestMatchWildcardIsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab/é中*?]{0,8}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab/é中]{0,9}`).Draw(t, "s")
		if got, want := matchWildcard(pattern, s), refMatch([]rune(pattern), []rune(s)); got != want {
			t.Fatalf("%q on %q: %v", pattern, s, got)
		}
	})
}

// TestMatchWildcardIsQuick: many stars take no exponential time; with the naive
// reference this test would not end.
func TestMatchWildcardIsQuick(t *testing.T) {
	if matchWildcard(strings.Repeat("a*", 500)+"b", strings.Repeat("a", 20_000)) {
		t.Error("matched")
	}
}

// FuzzPolicy: no document makes the parser or the matcher panic, and what the
// parser takes is JSON of the form that it promises and decides as its
// definition does.
func FuzzPolicy(f *testing.F) {
	for _, document := range []string{
		statementJSON(`{"Effect":"Allow","Action":["oss:PutObject","oss:AbortMultipartUpload","oss:ListParts"],"Resource":["acs:oss:*:*:bucket/pid/*"]}`),
		statementJSON(`{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"oss:Put*","Resource":"acs:oss:*:*:b/?"}`),
		statementJSON(`{"Effect":"Allow","NotAction":"*","Resource":"*"}`),
		`{"Version":"1","Version":"1","Statement":[{}]}`, `{"Version":"1","Statement":[{"Effect":"Allow","Action":[null],"Resource":"*"}]}`, `{`, `[]`, ``, `"`, `{"Version":"1","Statement":[]}x`,
	} {
		f.Add(document, "oss:PutObject", "bucket/pid/a.jpg")
	}
	a := testAuthority(f, time.Time{})
	f.Fuzz(func(t *testing.T, document, action, resource string) {
		p, err := parsePolicy(document)
		if err != nil {
			return
		}
		if len(resource) > 40 {
			resource = resource[:40] // the reference is slow
		}
		resource = strings.ToValidUTF8(resource, "")
		var form struct {
			Statement []struct {
				Effect           string
				Action, Resource any
			}
		}
		if err := json.Unmarshal([]byte(document), &form); err != nil {
			t.Fatalf("accepted, and no JSON: %v", err)
		}
		strs := func(v any) (all []string) {
			if s, ok := v.(string); ok {
				return []string{s}
			}
			for _, s := range v.([]any) {
				all = append(all, s.(string))
			}
			return all
		}
		want := false
		for _, s := range form.Statement {
			acts, covers := false, false
			for _, pattern := range strs(s.Action) {
				if strings.Count(pattern, "*") > 4 {
					return
				}
				acts = acts || refMatch([]rune(strings.ToLower(pattern)), []rune(strings.ToLower(action)))
			}
			for _, pattern := range strs(s.Resource) {
				if strings.Count(pattern, "*") > 6 {
					return
				}
				full := false
				for _, region := range []string{"cn-hangzhou", "oss-cn-hangzhou"} {
					parts := strings.SplitN(pattern, ":", 5)
					full = full || pattern == "*" || len(parts) == 5 && refMatch([]rune(parts[1]), []rune("oss")) && refMatch([]rune(parts[2]), []rune(region)) &&
						refMatch([]rune(parts[3]), []rune("123456789012")) && refMatch([]rune(parts[4]), []rune(resource))
				}
				covers = covers || full
			}
			if acts && covers && s.Effect == "Deny" {
				want = false
				break
			}
			want = want || acts && covers
		}
		if len(action) > 40 {
			return
		}
		if got := p.allows(action, a.asked("acs:oss:*:*:"+resource)); got != want {
			t.Fatalf("%s: %s on %s: %v", document, action, resource, got)
		}
	})
}
