package graphql

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// maxErrors is how many faults of a document are told; the rest are more of the
// same.
const maxErrors = 20

// present turns any error of an execution into what a caller may see: a code, a
// safe message, and where it was. Causes that are ours go to the log.
func (f *Face) present(ctx context.Context, err error) *gqlerror.Error {
	var known *gqlerror.Error
	if !errors.As(err, &known) {
		known = gqlerror.WrapPath(graphql.GetPath(ctx), err)
	}
	if code := known.Extensions["code"]; code == errcode.ParseFailed || code == errcode.ValidationFailed {
		err = broker.Errorf(broker.CodeInvalid, "%s", known.Message)
	} else if argumentFault(ctx, known) {
		err = broker.Errorf(broker.CodeInvalid, "%s", known.Message)
	} else if known.Err != nil {
		err = known.Err
	}
	p := api.NewProblem(err)
	api.LogProblem(ctx, f.Log, p)
	return asError(p, known)
}

// argumentFault reports an argument that fits the schema and still can't be read,
// such as a number beyond 64 bits: gqlgen tells it in words of its own, before
// the field has arguments.
func argumentFault(ctx context.Context, err *gqlerror.Error) bool {
	var ours *broker.Error
	var problem *api.Problem
	if errors.As(err, &ours) || errors.As(err, &problem) {
		return false
	}
	field := graphql.GetFieldContext(ctx)
	return field != nil && field.Args == nil && len(field.Field.Arguments) > 0
}

// asError writes a problem in GraphQL's form, at the place of another error.
func asError(p *api.Problem, at *gqlerror.Error) *gqlerror.Error {
	e := &gqlerror.Error{Message: p.Detail, Extensions: map[string]any{"code": p.Code}}
	if p.RetryAfter > 0 {
		e.Extensions["retry_after"] = p.RetryAfter
	}
	if at != nil {
		e.Path, e.Locations = at.Path, at.Locations
	}
	return e
}

// recovered turns a panic into an error of ours, for the log with its stack.
func recovered(_ context.Context, v any) error {
	return &broker.Error{Code: broker.CodeInternal, Err: fmt.Errorf("panic: %v\n%s", v, debug.Stack())}
}

// statusOf is the HTTP status of an answer: 200 whatever GraphQL says, for old
// clients read no body of another. What is worth trying again is told to proxies
// and libraries too.
func statusOf(list gqlerror.List) (status, retryAfter int) {
	for _, e := range list {
		if e.Extensions["code"] == broker.CodeUnavailable {
			return http.StatusServiceUnavailable, max(1, retryOf(e))
		}
	}
	if len(list) == 1 && list[0].Extensions["code"] == broker.CodeTooManyRequests {
		return http.StatusTooManyRequests, max(1, retryOf(list[0]))
	}
	return http.StatusOK, 0
}

func retryOf(e *gqlerror.Error) int {
	seconds, _ := e.Extensions["retry_after"].(int)
	return seconds
}
