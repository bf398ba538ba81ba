package broker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestPlainCause(t *testing.T) {
	for cause, want := range map[string]string{
		"":                        "",
		"denied: no":              "denied: no",
		"two\nlines\tand\x00 one": "two lines and one",
		`Get "https://s3.example/b/k?X-Amz-Signature=abc": dial tcp: refused`: `Get "https://s3.example/…": dial tcp: refused`,
		"https://ada:secret@s3.example:9000/k":                                "https://s3.example:9000/…",
		"https://s3.example":                                                  "https://s3.example",
		"https://s3.example?token=1":                                          "https://s3.example/…",
		`<a href='http://x.example/a'>http://y.example/b</a>`:                 `<a href='http://x.example/…'>http://y.example/…</a>`,
		`HTTPS://S3.EXAMPLE\k?sig=1`:                                          "HTTPS://S3.EXAMPLE/…",
		"at /k?X-Amz-Signature=abc it ends":                                   "at … it ends",
		"security-token=abc":                                                  "…",
		"s3://bucket/key":                                                     "s3://bucket/…",
		"bad \xff bytes":                                                      "bad � bytes",
	} {
		if got := broker.PlainCause(cause); got != want {
			t.Errorf("PlainCause(%q) = %q, want %q", cause, got, want)
		}
	}
	if got := broker.PlainCause(strings.Repeat("é", 1000)); len(got) > 510 || !strings.HasSuffix(got, "é…") {
		t.Errorf("a long one has %d bytes: %q", len(got), got)
	}
}

// TestStoriesAreTheirOwners: the audit and the trace are for who may read the
// project, and for nobody else.
func TestStoriesAreTheirOwners(t *testing.T) {
	w := newWorld(t)
	p, other := w.project(t), w.project(t)
	img := w.register(t, p, "", entry("a.jpg", "a"))[0].Image
	bob, err := w.keys.CreateOwner(t.Context(), "bob@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		by   broker.Caller
		code broker.Code
	}{
		{"the owner", w.by, ""},
		{"his key tied to it", w.caller(t, w.ada, broker.NewKey{Scopes: broker.AllScopes(), ProjectID: p.ID}), ""},
		{"his key tied to another", w.caller(t, w.ada, broker.NewKey{Scopes: broker.AllScopes(), ProjectID: other.ID}), broker.CodeNotFound},
		{"his key that may not read", w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload, broker.ScopeAdmin}}), broker.CodeNotAllowed},
		{"another", w.caller(t, bob, broker.NewKey{Scopes: broker.AllScopes()}), broker.CodeNotFound},
		{"nobody", broker.Caller{}, broker.CodeUnauthenticated},
	} {
		_, err := w.images.Audit(t.Context(), c.by, p.ID, broker.AuditQuery{Limit: 10})
		if broker.CodeOf(err) != c.code {
			t.Errorf("%s: the audit: %v", c.name, err)
		}
		_, err = w.images.Trace(t.Context(), c.by, img.ID)
		if broker.CodeOf(err) != c.code {
			t.Errorf("%s: the trace: %v", c.name, err)
		}
	}
	for _, id := range []string{"", "x", broker.NewID(time.Now())} {
		_, err := w.images.Trace(t.Context(), w.by, id)
		wantCode(t, err, broker.CodeNotFound)
		_, err = w.images.Audit(t.Context(), w.by, id, broker.AuditQuery{Limit: 10})
		wantCode(t, err, broker.CodeNotFound)
	}
	_, err = w.images.Audit(t.Context(), w.by, p.ID, broker.AuditQuery{ImageID: "x", Limit: 10})
	wantCode(t, err, broker.CodeInvalid)
}
