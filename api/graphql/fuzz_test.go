package graphql

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/labstack/echo/v4"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/uploadbroker/uploadbroker/broker"
)

// FuzzDecode: whatever comes in, it is read or refused with a sentence; what is
// read is text, with no character that nobody wrote.
func FuzzDecode(f *testing.F) {
	for _, seed := range [][2]string{
		{"application/json", `{"query":"{versions{api}}","variables":{"a":[1,"\ud83d\ude00"]},"operationName":null}`},
		{"application/json", `{"query":"{a(b:\"\\uD83D\\uDE00\")}","variables":"{\"a\":1}"}`},
		{"", "\ufeff{}"},
		{"application/x-www-form-urlencoded", "query=%7Ba%7D&variables=%7B%7D"},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\n{a}\r\n--x--\r\n"},
		{"application/graphql", "{a # \\u\n}"},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		params, status, err := decode(contentType, body)
		if err != nil {
			if err.Error() == "" || status < 400 || status > 499 {
				t.Fatalf("%d %q", status, err)
			}
			return
		}
		if strings.TrimSpace(params.Query) == "" || !utf8.ValidString(params.Query) || !utf8.ValidString(params.OperationName) {
			t.Fatalf("read %q", params.Query)
		}
		text, err := json.Marshal(params.Variables)
		if err != nil || !utf8.Valid(text) {
			t.Fatalf("variables %q: %v", text, err)
		}
		if strings.Contains(string(text), "\uFFFD") && !strings.Contains(string(body), "\uFFFD") && !strings.Contains(strings.ToLower(string(body)), `fffd`) && !strings.Contains(strings.ToLower(string(body)), "%") {
			t.Fatalf("a character that nobody wrote in %q of %q", text, body)
		}
		_ = checkSize(params.Query)
	})
}

// FuzzPlainStrings: a query means the same after its pairs are written out, and
// no string of it has a character that nobody wrote.
func FuzzPlainStrings(f *testing.F) {
	for _, seed := range []string{
		`{a(b:"\uD83D\uDE00")}`, `{a(b:"""\uD83D""")}`, "# \\uD83D\n{a}", `{a(b:"\\uD83D")}`, `{a(b:"\"\u0022")}`, `{a(b:"""x\"""\u12""" c:"")}`, `{a(b:"\u`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if !utf8.ValidString(query) || strings.Contains(query, "\uFFFD") || strings.Contains(strings.ToLower(query), "fffd") {
			return
		}
		plain, err := plainStrings(query)
		if err != nil {
			return
		}
		before, errBefore := parser.ParseQueryWithTokenLimit(&ast.Source{Input: query}, maxTokens)
		after, errAfter := parser.ParseQueryWithTokenLimit(&ast.Source{Input: plain}, maxTokens)
		if (errBefore == nil) != (errAfter == nil) {
			t.Fatalf("%q parses: %v; %q parses: %v", query, errBefore, plain, errAfter)
		}
		if errBefore != nil {
			return
		}
		if len(before.Operations) != len(after.Operations) || len(before.Fragments) != len(after.Fragments) {
			t.Fatalf("%q became %q", query, plain)
		}
		if text := ast.Dump(after); strings.Contains(text, "\uFFFD") {
			t.Fatalf("%q has a character that nobody wrote: %s", plain, text)
		}
	})
}

// newFaceForBench is a face without anything below it: nothing is executed.
func newFaceForBench() *executor.Executor {
	images := &broker.Images{Places: broker.NewPlaces(broker.ConfiguredOrder{}, broker.Bucket{Symbol: "Local", Cloud: broker.CloudS3})}
	return Mount(echo.New(), Options{Images: images, Log: slog.New(slog.DiscardHandler), Now: time.Now}).executor.Load()
}

// faultsOf parses and validates a document.
func faultsOf(exec *executor.Executor, query string) gqlerror.List {
	_, faults := exec.CreateOperationContext(graphql.StartOperationTrace(context.Background()), &graphql.RawParams{Query: query})
	return faults
}
