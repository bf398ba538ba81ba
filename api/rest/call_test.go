package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/api"
)

// answer is what a call got.
type answer struct {
	status int
	header http.Header
	body   []byte
	op     string // the operation that answered, "" for none
}

// into reads the answer's JSON.
func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

// problem reads the answer as a problem document and checks what all of them
// have in common.
func (a answer) problem(t *testing.T) api.Problem {
	t.Helper()
	var p api.Problem
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("content type %q of %d %s", got, a.status, a.body)
	}
	a.into(t, &p)
	if p.Status != a.status || p.Title != http.StatusText(a.status) || p.Type != "about:blank" || p.Code == "" || p.Detail == "" {
		t.Errorf("problem document %s with status %d", a.body, a.status)
	}
	return p
}

// call sends a request. body is nil, a string of what is sent as it is, or a
// value for JSON. headers are pairs.
func (f *fixture) call(t *testing.T, key, method, path string, body any, headers ...string) answer {
	t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		switch headers[i] {
		case "Host":
			r.Host = headers[i+1]
			continue
		case "Content-Type":
			r.Header.Del("Content-Type")
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	return f.send(t, r)
}

func (f *fixture) send(t *testing.T, r *http.Request) answer {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, text, resp.Header.Get(operationHeader)}
}

// ok is call for what must work.
func (f *fixture) ok(t *testing.T, method, path string, body, into any) {
	t.Helper()
	a := f.call(t, f.secret, method, path, body)
	if a.status/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if into != nil {
		a.into(t, into)
	}
}
