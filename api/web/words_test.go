package web

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestWordsInBothLanguages: the same keys, none empty, the same places.
func TestWordsInBothLanguages(t *testing.T) {
	all := words()
	en, zh := slices.Sorted(maps.Keys(all[english])), slices.Sorted(maps.Keys(all[chinese]))
	if !slices.Equal(en, zh) {
		t.Errorf("English has %v, Chinese %v", en, zh)
	}
	for key, word := range all[english] {
		if word == "" || all[chinese][key] == "" || strings.Count(word, "%d") != strings.Count(all[chinese][key], "%d") {
			t.Errorf("%s: %q, %q", key, word, all[chinese][key])
		}
	}
	for _, page := range pageNames() {
		if all[english]["title."+page] == "" {
			t.Errorf("the page %s has no title", page)
		}
	}
}

func TestAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "gzip, deflate, br": true, "br;q=1, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=0.001": true, "*": true, "br": false, "identity": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if header != "" {
			r.Header.Set("Accept-Encoding", header)
		}
		if got := acceptsGzip(r); got != want {
			t.Errorf("%q: %t", header, got)
		}
	}
}

func TestOriginOf(t *testing.T) {
	for link, want := range map[string]string{
		"https://photos.s3.example.com/a?b": "https://photos.s3.example.com", "http://127.0.0.1:9000/bucket/key": "http://127.0.0.1:9000",
		"/local-bucket/a": "", "": "", "ftp://a/b": "", "https://a;script-src/b": "", "https://PHOTOS.example/a": "https://photos.example",
	} {
		if got := originOf(link); got != want {
			t.Errorf("%s: %q", link, got)
		}
	}
}
