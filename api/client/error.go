package client

import (
	"fmt"
	"net/http"
	"strings"
)

// Error is what the server refused. Code is stable: switch on it, not on the
// text.
//
//	var e *client.Error
//	if errors.As(err, &e) && e.Code == "not_found" { … }
type Error struct {
	Problem
	HTTPStatus int    // 0 for one entry of a batch, where the call itself went well
	Call       string // method and path, for the log
}

// Error gives the sentence for a person, with the code and the call.
func (e *Error) Error() string {
	s := e.Detail
	if s == "" {
		s = e.Title
	}
	if s == "" && e.HTTPStatus != 0 {
		s = strings.ToLower(http.StatusText(e.HTTPStatus))
	}
	switch {
	case s == "":
		s = e.Code
	case e.Code != "":
		s = fmt.Sprintf("%s (%s)", s, e.Code)
	case e.HTTPStatus != 0:
		s = fmt.Sprintf("%s (HTTP %d)", s, e.HTTPStatus)
	}
	return s
}

// entryError makes an error of a problem inside a batch.
func entryError(p *Problem, call string) error {
	if p == nil {
		return &Error{Problem: Problem{Code: "internal", Detail: "the server gave a problem without saying which"}, Call: call}
	}
	return &Error{Problem: *p, Call: call}
}

// AmbiguousError says that a project's short name fits several.
type AmbiguousError struct {
	Query      string
	Candidates []Project
}

func (e *AmbiguousError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q fits %d projects:", e.Query, len(e.Candidates))
	for _, p := range e.Candidates {
		fmt.Fprintf(&b, "\n  %s  %s", p.ID, p.Name)
	}
	return b.String()
}

// NoProjectError says that no project of the caller's has this id or name.
type NoProjectError struct{ Query string }

func (e *NoProjectError) Error() string { return fmt.Sprintf("no project %q", e.Query) }
