package web_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestStatic: packed for those who can read it, and asked for anew each time without
// being sent anew.
func TestStatic(t *testing.T) {
	s := open(t)
	plain := s.do(t, http.MethodGet, "/static/page.css", nil, "Accept-Encoding", "identity")
	packed := s.do(t, http.MethodGet, "/static/page.css", nil, "Accept-Encoding", "gzip, br")
	if plain.header.Get("Content-Encoding") != "" || packed.header.Get("Content-Encoding") != "gzip" || plain.header.Get("ETag") == packed.header.Get("ETag") {
		t.Fatalf("%v\n%v", plain.header, packed.header)
	}
	r, err := gzip.NewReader(strings.NewReader(packed.body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != plain.body || len(packed.body) > len(plain.body)/2 {
		t.Errorf("%d bytes packed to %d are %d: %v", len(plain.body), len(packed.body), len(text), err)
	}
	for _, p := range []page{plain, packed} {
		if p.header.Get("Cache-Control") != "no-cache" || !slices.Contains(p.header.Values("Vary"), "Accept-Encoding") || p.header.Get("Content-Type") != "text/css; charset=utf-8" {
			t.Errorf("%v", p.header)
		}
		again := s.do(t, http.MethodGet, "/static/page.css", nil, "Accept-Encoding", "gzip", "If-None-Match", p.header.Get("ETag"))
		if match := p.header.Get("Content-Encoding") == "gzip"; (again.status == http.StatusNotModified) != match {
			t.Errorf("asked again with %s: %d", p.header.Get("ETag"), again.status)
		}
	}
	part := s.do(t, http.MethodGet, "/static/page.css", nil, "Accept-Encoding", "gzip", "Range", "bytes=0-3")
	if part.status != http.StatusPartialContent || part.body != plain.body[:4] || part.header.Get("Content-Encoding") != "" {
		t.Errorf("a range: %d %v %q", part.status, part.header, part.body)
	}
	for name, kind := range map[string]string{"app/main.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		if p := s.do(t, http.MethodGet, "/static/"+name, nil); p.status != http.StatusOK || p.header.Get("Content-Type") != kind {
			t.Errorf("%s: %d %v", name, p.status, p.header)
		}
	}
}

// TestPageIsSmall: a page's own files, packed, are under 150 kB: those in its head and
// all that these import.
func TestPageIsSmall(t *testing.T) {
	s := open(t)
	const most = 150_000
	imports := regexp.MustCompile(`(?:from|import\()\s*["'](\.[^"'$]+)["']`)
	linked := regexp.MustCompile(`(?:href|src)="/static/([^"]+)"`)
	cookie := s.signIn(t, s.secret)
	for _, path := range []string{"/", "/projects/01KAHQY5C9W3RV7ZB3N4D8M2XE", "/tags", "/keys", "/buckets", "/projects/01KAHQY5C9W3RV7ZB3N4D8M2XE/audit"} {
		frame := s.do(t, http.MethodGet, path, nil, "Cookie", cookie)
		size, seen := len(frame.body), map[string]bool{}
		var add func(name string)
		add = func(name string) {
			if seen[name] {
				return
			}
			seen[name] = true
			packed := s.do(t, http.MethodGet, "/static/"+name, nil, "Accept-Encoding", "gzip")
			if packed.status != http.StatusOK {
				t.Errorf("%s: %s: %d", path, name, packed.status)
			}
			size += len(packed.body)
			plain := s.do(t, http.MethodGet, "/static/"+name, nil, "Accept-Encoding", "identity")
			if strings.HasSuffix(name, ".js") {
				for _, m := range imports.FindAllStringSubmatch(plain.body, -1) {
					add(resolve(name, m[1]))
				}
			}
		}
		for _, m := range linked.FindAllStringSubmatch(frame.body, -1) {
			add(m[1])
		}
		t.Logf("%s: %d files, %d bytes", path, len(seen), size)
		if size > most {
			t.Errorf("%s has %d bytes, more than %d", path, size, most)
		}
	}
}

// resolve is what a module calls by a relative address.
func resolve(from, to string) string {
	parts := strings.Split(from, "/")
	parts = parts[:len(parts)-1]
	for part := range strings.SplitSeq(to, "/") {
		switch part {
		case ".":
		case "..":
			parts = parts[:len(parts)-1]
		default:
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/")
}
