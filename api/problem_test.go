package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/broker"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A cause that holds everything that no caller may see.
const (
	signedURL = "https://photos.s3.amazonaws.com/k?X-Amz-Credential=AKIDEXAMPLE&X-Amz-Signature=0123456789abcdef"
	secret    = "ub_abcdefghijklmnopqrstuvwxyz234567"
)

var errCause = errors.New("pq: password=" + secret + " PUT " + signedURL + " at 10.1.2.3")

// TestProblemOfEveryCode keeps the document of each code. A code without a status
// of its own would be told as a fault of ours.
func TestProblemOfEveryCode(t *testing.T) {
	all := map[broker.Code]*Problem{}
	for _, code := range broker.AllCodes() {
		err := &broker.Error{Code: code, Msg: "what is wrong and what to do", Err: errCause}
		if code == broker.CodeUnavailable || code == broker.CodeTooManyRequests {
			err.RetryAfter = 1500 * time.Millisecond
		}
		p := NewProblem(fmt.Errorf("while doing something: %w", err))
		all[code] = p
		if (p.Status == http.StatusInternalServerError) != (code == broker.CodeInternal) {
			t.Errorf("%s has no status of its own: %d", code, p.Status)
		}
		if p.Title == "" || p.Detail == "" || p.Type != "about:blank" || p.Code != code {
			t.Errorf("%+v", p)
		}
		if !errors.Is(p, errCause) {
			t.Errorf("%s: the log would not tell the cause", code)
		}
		h := http.Header{}
		p.SetRetryAfter(h)
		if want := map[bool]string{true: "2"}[err.RetryAfter > 0]; h.Get("Retry-After") != want {
			t.Errorf("%s: Retry-After %q, want %q", code, h.Get("Retry-After"), want)
		}
		mustNotTell(t, p)
	}
	var out bytes.Buffer
	for _, code := range slices.Sorted(maps.Keys(all)) {
		text, err := json.MarshalIndent(all[code], "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", text)
	}
	file := filepath.Join("testdata", "problems.json")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, out.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%s differs; clients switch on these. If it is meant, run go test ./api -update.\ngot %s", file, out.Bytes())
	}
}

// mustNotTell fails the test when a document holds what is for the log only.
func mustNotTell(t *testing.T, p *Problem) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{secret, "X-Amz", "10.1.2.3", "password", "pq:"} {
		if bytes.Contains(text, []byte(hidden)) {
			t.Errorf("the document tells %q: %s", hidden, text)
		}
	}
}

// TestProblemOfOtherErrors: what names no code is internal and shows nothing.
func TestProblemOfOtherErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status int
		code   broker.Code
	}{
		{"an unknown error", errCause, 500, broker.CodeInternal},
		{"an internal one with words", &broker.Error{Code: broker.CodeInternal, Msg: secret, Err: errCause}, 500, broker.CodeInternal},
		{"a code that is none", &broker.Error{Code: "made_up", Msg: "words", Err: errCause}, 500, "made_up"},
		{"Echo's 404", echo.ErrNotFound, 404, broker.CodeNotFound},
		{"Echo's 405", echo.ErrMethodNotAllowed, 405, broker.CodeInvalid},
		{"Echo's 413", echo.ErrStatusRequestEntityTooLarge, 413, broker.CodeTooLarge},
		{"Echo's 415", echo.ErrUnsupportedMediaType, 415, broker.CodeInvalid},
		{"Echo's 401", echo.ErrUnauthorized, 401, broker.CodeUnauthenticated},
		{"Echo's 403", echo.ErrForbidden, 403, broker.CodeNotAllowed},
		{"Echo's 429", echo.ErrTooManyRequests, 429, broker.CodeTooManyRequests},
		{"Echo's 503", echo.ErrServiceUnavailable, 503, broker.CodeUnavailable},
		{"Echo's 502", echo.NewHTTPError(502, secret), 502, broker.CodeInternal},
		{"Echo's words", echo.NewHTTPError(400, "password="+secret).SetInternal(errCause), 400, broker.CodeInvalid},
		{"wrapped twice", fmt.Errorf("a: %w", fmt.Errorf("b: %w", broker.Errorf(broker.CodeChanged, "it changed"))), 409, broker.CodeChanged},
	} {
		p := NewProblem(c.err)
		if p.Status != c.status || p.Code != c.code || p.Title != http.StatusText(c.status) {
			t.Errorf("%s: %+v", c.name, p)
		}
		mustNotTell(t, p)
	}
	first := NewProblem(errCause)
	if again := NewProblem(fmt.Errorf("wrapped: %w", first)); again != first {
		t.Error("a problem document is not told as it is")
	}
}

// TestEveryCodeOfHTTPIsKnown: the codes of bare statuses are those of the table,
// so that a client meets one set of names.
func TestEveryCodeOfHTTPIsKnown(t *testing.T) {
	for status := 400; status < 600; status++ {
		if code := codeOfStatus(status); !slices.Contains(broker.AllCodes(), code) {
			t.Errorf("%d is told as %q", status, code)
		}
		if p := StatusProblem(status, "", nil); http.StatusText(status) != "" && strings.TrimSpace(p.Detail) == "" {
			t.Errorf("%d has no words: %+v", status, p)
		}
	}
}
