package ossemu

import (
	"fmt"
	"net/url"
	"strings"
)

// param is one parameter of a query or form, decoded.
type param struct{ name, value string }

// params keep the order in which they came, and every repetition: what is
// verified must be all that was sent, not the first of each name.
type params []param

// parseParams decodes a query or form. It is stricter than net/url: a pair that
// can't be decoded is an error, where url.URL.Query drops it in silence, and a
// semicolon is a character like others, as OSS has it.
func parseParams(raw string) (params, error) {
	var ps params
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return nil, fmt.Errorf("the name of the parameter %q can't be decoded", name)
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return nil, fmt.Errorf("the value of the parameter %q can't be decoded", n)
		}
		ps = append(ps, param{n, v})
	}
	return ps, nil
}

// get is the first value of the name, or "".
func (ps params) get(name string) string {
	for _, p := range ps {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// count is how often the name is there.
func (ps params) count(name string) int {
	n := 0
	for _, p := range ps {
		if p.name == name {
			n++
		}
	}
	return n
}

// any says whether one of the names is there, with a value or without.
func (ps params) any(names ...string) bool {
	for _, name := range names {
		if ps.count(name) > 0 {
			return true
		}
	}
	return false
}

// percentEncode is RFC 3986's encoding: all but A-Z a-z 0-9 - _ . ~ as %XX. OSS's
// V4 and STS's RPC signatures want it of every name and value ("Include a V4
// signature in the Authorization header", "RPC signatures").
func percentEncode(s string) string {
	// QueryEscape differs in the space alone.
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
