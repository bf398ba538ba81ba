package ossemu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// policy is a session's policy, in RAM's language ("Policy structure and
// syntax"): a caller may do what a statement allows and none denies.
//
// NotAction, NotResource and Condition are part of that language and not of this
// emulator: parsePolicy refuses them, since to leave them aside would allow more
// than the real one does.
type policy struct{ statements []statement }

type statement struct {
	deny      bool
	actions   []string          // lower-cased patterns: "oss:put*", "*"
	resources []resourcePattern // never empty
}

// resourcePattern is acs:<service>:<region>:<account>:<relative>, each field a
// pattern; "*" is all of them.
type resourcePattern [5]string

// maxPolicyChars is how long a policy may be ("AssumeRole": 1 to 2,048
// characters).
const maxPolicyChars = 2048

var (
	// The name of a service and of an operation, either with wildcards.
	actionForm = regexp.MustCompile(`^(\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+)$`)
	anyPattern = resourcePattern{"*", "*", "*", "*", "*"}
)

// parsePolicy reads a policy. It is strict, since a policy with a slip in it
// must not become one that allows more: names are case-sensitive, unknown and
// repeated ones are refused.
func parsePolicy(document string) (*policy, error) {
	if n := utf8.RuneCountInString(document); n < 1 || n > maxPolicyChars {
		return nil, fmt.Errorf("the policy has %d characters: 1 to %d", n, maxPolicyChars)
	}
	top, err := objectOf([]byte(document), "Version", "Statement")
	if err != nil {
		return nil, fmt.Errorf("the policy: %w", err)
	}
	var version string
	if err := json.Unmarshal(top["Version"], &version); err != nil || version != "1" {
		return nil, fmt.Errorf(`the policy's Version must be "1"`)
	}
	var statements []json.RawMessage
	if err := json.Unmarshal(top["Statement"], &statements); err != nil || len(statements) == 0 {
		return nil, fmt.Errorf("the policy's Statement must be a list of at least one statement")
	}
	p := &policy{}
	for i, raw := range statements {
		s, err := parseStatement(raw)
		if err != nil {
			return nil, fmt.Errorf("statement %d of the policy: %w", i+1, err)
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func parseStatement(raw []byte) (statement, error) {
	fields, err := objectOf(raw, "Effect", "Action", "Resource")
	if err != nil {
		return statement{}, err
	}
	var effect string
	if err := json.Unmarshal(fields["Effect"], &effect); err != nil || effect != "Allow" && effect != "Deny" {
		return statement{}, fmt.Errorf("its Effect must be Allow or Deny")
	}
	s := statement{deny: effect == "Deny"}
	actions, err := stringsOf(fields["Action"])
	if err != nil {
		return statement{}, fmt.Errorf("its Action %w", err)
	}
	for _, action := range actions {
		if !actionForm.MatchString(action) {
			return statement{}, fmt.Errorf("its action %q must be as oss:PutObject", action)
		}
		s.actions = append(s.actions, strings.ToLower(action))
	}
	resources, err := stringsOf(fields["Resource"])
	if err != nil {
		return statement{}, fmt.Errorf("its Resource %w", err)
	}
	for _, resource := range resources {
		pattern := anyPattern
		if resource != "*" {
			parts := strings.SplitN(resource, ":", 5)
			if len(parts) != 5 || parts[0] != "acs" || parts[4] == "" {
				return statement{}, fmt.Errorf("its resource %q must be as acs:oss:*:*:bucket/key", resource)
			}
			pattern = resourcePattern(parts)
		}
		s.resources = append(s.resources, pattern)
	}
	return s, nil
}

// objectOf reads a JSON object that has all of the names, once each, and no
// others.
func objectOf(raw []byte, names ...string) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("it must be a JSON object")
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, fmt.Errorf("it is not JSON")
		}
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("it is not JSON")
		}
		fields[name] = value
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, fmt.Errorf("it is not JSON")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows its end")
	}
	for _, name := range names {
		if _, ok := fields[name]; !ok {
			return nil, fmt.Errorf("it lacks %s", name)
		}
	}
	if len(fields) > len(names) {
		return nil, fmt.Errorf("it may have %s, and nothing else here (this emulator knows no NotAction, NotResource and Condition)", strings.Join(names, ", "))
	}
	return fields, nil
}

// stringsOf reads a string, or a list of at least one.
func stringsOf(raw []byte) ([]string, error) {
	var one string
	if json.Unmarshal(raw, &one) == nil && string(raw) != "null" {
		return []string{one}, nil
	}
	var pointers []*string // to tell null from ""
	if err := json.Unmarshal(raw, &pointers); err != nil || len(pointers) == 0 {
		return nil, fmt.Errorf("must be a string or a list of them")
	}
	many := make([]string, len(pointers))
	for i, s := range pointers {
		if s == nil {
			return nil, fmt.Errorf("must be a string or a list of them")
		}
		many[i] = *s
	}
	return many, nil
}

// askedResource is what a caller wants to act on, as a pattern's fields see it.
// OSS's own documents name a region both cn-hangzhou and oss-cn-hangzhou.
type askedResource struct {
	regions           [2]string
	account, relative string
}

// asked completes acs:oss:*:*:bucket/key with this account and region.
func (a *authority) asked(resource string) askedResource {
	return askedResource{
		regions: [2]string{a.region, "oss-" + a.region}, account: a.role.account,
		relative: strings.TrimPrefix(resource, "acs:oss:*:*:"),
	}
}

// allows says whether a statement allows the action on the resource, and none
// denies it ("Policy evaluation process": an explicit Deny, then Allow, else
// deny).
func (p *policy) allows(action string, resource askedResource) bool {
	action = strings.ToLower(action) // actions are case-insensitive
	allowed := false
	for _, s := range p.statements {
		if !s.matches(action, resource) {
			continue
		}
		if s.deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func (s statement) matches(action string, resource askedResource) bool {
	for _, pattern := range s.actions {
		if !matchWildcard(pattern, action) {
			continue
		}
		for _, r := range s.resources {
			if r.matches(resource) {
				return true
			}
		}
		return false // the same resources for every action
	}
	return false
}

func (p resourcePattern) matches(asked askedResource) bool {
	return matchWildcard(p[1], "oss") &&
		(matchWildcard(p[2], asked.regions[0]) || matchWildcard(p[2], asked.regions[1])) &&
		matchWildcard(p[3], asked.account) &&
		matchWildcard(p[4], asked.relative)
}

// matchWildcard says whether the whole of s matches the pattern, in which * is
// any run of characters, "/" and none among them, and ? any one.
func matchWildcard(pattern, s string) bool {
	// On a mismatch only the last * need give way, one character more each time:
	// what stood before it matched already.
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && pattern[i] == '?':
			_, size := utf8.DecodeRuneInString(s[j:])
			i, j = i+1, j+size
		case i < len(pattern) && pattern[i] == s[j]:
			i, j = i+1, j+1
		case star >= 0:
			_, size := utf8.DecodeRuneInString(s[mark:])
			mark += size
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}
