package ossemu

import (
	"encoding/xml"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// corsRules say what pages of other origins may do in a bucket. The first rule
// that fits an origin and a method counts.
type corsRules struct {
	XMLName      xml.Name   `xml:"CORSConfiguration" json:"-"`
	Rules        []corsRule `xml:"CORSRule" json:"rules"`
	ResponseVary bool       `xml:"ResponseVary" json:"response_vary,omitempty"`
}

type corsRule struct {
	Origins       []string `xml:"AllowedOrigin" json:"origins"` // one * in each
	Methods       []string `xml:"AllowedMethod" json:"methods"`
	Headers       []string `xml:"AllowedHeader" json:"headers,omitempty"` // one * in each
	Expose        []string `xml:"ExposeHeader" json:"expose,omitempty"`
	MaxAgeSeconds int      `xml:"MaxAgeSeconds" json:"max_age_seconds,omitempty"`
}

// usualCORS is the rule of a bucket that was given none. The real one has none
// then; a page under development should not need a console first.
func usualCORS() corsRules {
	return corsRules{Rules: []corsRule{{
		Origins: []string{"*"},
		Methods: []string{"PUT", "POST", "GET", "HEAD", "DELETE"},
		Headers: []string{"*"},
		Expose:  []string{"ETag", "x-oss-request-id", "x-oss-hash-crc64ecma"},
	}}}
}

const mostCORSRules = 20

// rules are those in force. A bucket that is not there has the usual ones, so
// that a page can read the error that says so.
func (i bucketInfo) rules() corsRules {
	if i.CORS != nil {
		return *i.CORS
	}
	return usualCORS()
}

func (rules corsRules) find(origin, method string, headers []string) (corsRule, bool) {
	for _, r := range rules.Rules {
		if !matchesAny(r.Origins, origin) || !slices.Contains(r.Methods, method) {
			continue
		}
		if !slices.ContainsFunc(headers, func(h string) bool { return !matchesAny(r.Headers, strings.ToLower(h)) }) {
			return r, true
		}
	}
	return corsRule{}, false
}

func matchesAny(patterns []string, s string) bool {
	for _, p := range patterns {
		before, after, star := strings.Cut(strings.ToLower(p), "*")
		s := strings.ToLower(s)
		if s == before && !star {
			return true
		}
		if star && len(s) >= len(before)+len(after) && strings.HasPrefix(s, before) && strings.HasSuffix(s, after) {
			return true
		}
	}
	return false
}

// allowOrigin sets the headers of an answer to a page of another origin, an
// error's too: without them the page can't read it.
func allowOrigin(c *call) {
	origin := c.r.Header.Get("Origin")
	if origin == "" || c.r.Method == http.MethodOptions {
		return
	}
	rules := c.bucket.rules()
	if r, ok := rules.find(origin, c.r.Method, nil); ok {
		r.set(c.w.Header(), origin, rules.ResponseVary)
		c.w.Header().Set("Access-Control-Allow-Methods", strings.Join(r.Methods, ", "))
	}
}

func (r corsRule) set(h http.Header, origin string, vary bool) {
	if slices.Contains(r.Origins, "*") {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Set("Access-Control-Allow-Origin", origin)
		vary = true
	}
	if vary {
		h.Add("Vary", "Origin")
	}
	if len(r.Expose) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(r.Expose, ", "))
	}
	if r.MaxAgeSeconds > 0 {
		h.Set("Access-Control-Max-Age", strconv.Itoa(r.MaxAgeSeconds))
	}
}

// preflight answers a browser's question, which no one signs.
func preflight(c *call, bucketErr error) *fault {
	if c.place.bucket != "" && errors.Is(bucketErr, fs.ErrNotExist) {
		return noSuchBucket(c.place.bucket)
	}
	in := c.r.Header
	origin, method := in.Get("Origin"), in.Get("Access-Control-Request-Method")
	if origin == "" || method == "" {
		return &fault{status: 400, code: "BadRequest", message: "Insufficient information. Origin request header needed."}
	}
	var headers []string
	for _, h := range strings.Split(in.Get("Access-Control-Request-Headers"), ",") {
		if h = strings.TrimSpace(h); h != "" {
			headers = append(headers, h)
		}
	}
	rules := c.bucket.rules()
	r, ok := rules.find(origin, method, headers)
	if !ok {
		return &fault{status: 403, code: "AccessForbidden", message: "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Requet-Headers are not whitelisted by the resource's CORS spec.",
			more: [][2]string{{"Method", method}, {"ResourceType", "Object"}}}
	}
	out := c.w.Header()
	r.set(out, origin, rules.ResponseVary)
	out.Set("Access-Control-Allow-Methods", method)
	if len(headers) > 0 {
		out.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
	}
	return c.empty(http.StatusOK)
}

func (s *Server) getCORS(c *call) *fault {
	rules := c.bucket.rules()
	if len(rules.Rules) == 0 {
		return &fault{status: 404, code: "NoSuchCORSConfiguration", message: "The CORS Configuration does not exist.", more: [][2]string{{"BucketName", c.place.bucket}}}
	}
	return c.answer(rules)
}

func (s *Server) putCORS(c *call) *fault {
	var rules corsRules
	if _, f := s.readXML(c, &rules); f != nil {
		return f
	}
	if len(rules.Rules) == 0 || len(rules.Rules) > mostCORSRules {
		return malformed("CORSConfiguration holds 1 to 20 CORSRules")
	}
	for _, r := range rules.Rules {
		if f := r.check(); f != nil {
			return f
		}
	}
	return s.saveCORS(c, rules, http.StatusOK)
}

func (s *Server) deleteCORS(c *call) *fault {
	return s.saveCORS(c, corsRules{}, http.StatusNoContent)
}

func (s *Server) saveCORS(c *call, rules corsRules, status int) *fault {
	info := c.bucket
	info.CORS = &rules
	if err := s.disk.saveBucket(c.place.bucket, info); err != nil {
		return s.diskFault(err)
	}
	return c.empty(status)
}

func (r corsRule) check() *fault {
	if len(r.Origins) == 0 || len(r.Methods) == 0 {
		return malformed("a CORSRule needs AllowedOrigin and AllowedMethod")
	}
	for _, m := range r.Methods {
		if !slices.Contains([]string{"GET", "PUT", "DELETE", "POST", "HEAD"}, m) {
			return invalid("AllowedMethod is GET, PUT, DELETE, POST or HEAD.")
		}
	}
	for _, v := range slices.Concat(r.Origins, r.Headers) {
		if strings.Count(v, "*") > 1 {
			return invalid("AllowedOrigin and AllowedHeader hold one * at most.")
		}
	}
	for _, v := range r.Expose {
		if strings.Contains(v, "*") {
			return invalid("ExposeHeader holds no *: name each header.")
		}
	}
	if r.MaxAgeSeconds < 0 || r.MaxAgeSeconds > 999999999 {
		return invalid("MaxAgeSeconds is 0 to 999999999.")
	}
	return nil
}
