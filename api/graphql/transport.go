package graphql

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/labstack/echo/v4"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Bounds of a request's body.
const (
	maxBody     = 1 << 20 // bytes
	bodyTimeout = time.Minute
)

// post answers an operation that came in a body.
func (f *Face) post(c echo.Context) error {
	r := c.Request()
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return f.refuse(c, http.StatusUnsupportedMediaType, "the body's Content-Encoding is not taken; send it as it is")
	}
	body, err := readBody(c)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return f.refuse(c, http.StatusRequestEntityTooLarge, "the body is over "+strconv.Itoa(maxBody)+" bytes; send several requests")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return f.refuse(c, http.StatusRequestTimeout, "the body did not come within a minute")
	case err != nil:
		return f.refuse(c, http.StatusBadRequest, "the body broke off")
	}
	params, status, err := decode(r.Header.Get("Content-Type"), body)
	if err != nil {
		return f.refuse(c, status, err.Error())
	}
	return f.run(c, params, false)
}

// get answers a query that came in the address, and shows the page without one.
func (f *Face) get(c echo.Context) error {
	q := c.Request().URL.Query()
	if !q.Has("query") {
		return servePage(c)
	}
	params, err := fromFields(q)
	if err != nil {
		return f.refuse(c, http.StatusBadRequest, err.Error())
	}
	return f.run(c, params, true)
}

func (f *Face) otherMethod(c echo.Context) error {
	c.Response().Header().Set("Allow", "GET, HEAD, POST")
	return f.refuse(c, http.StatusMethodNotAllowed, "this address takes POST, and GET for queries")
}

// readBody reads the body within its bounds. The deadline ends with it: an answer
// may take longer.
func readBody(c echo.Context) ([]byte, error) {
	control := http.NewResponseController(c.Response())
	if err := control.SetReadDeadline(time.Now().Add(bodyTimeout)); err == nil {
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	return io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, maxBody))
}

// run executes one operation and writes its answer.
func (f *Face) run(c echo.Context, params *graphql.RawParams, queryOnly bool) error {
	ctx := graphql.StartOperationTrace(c.Request().Context())
	params.Headers = c.Request().Header
	if err := checkSize(params.Query); err != nil {
		return f.write(c, http.StatusOK, 0, &answer{Errors: gqlerror.List{asError(api.NewProblem(err), nil)}})
	}
	exec := f.executor.Load()
	op, faults := exec.CreateOperationContext(ctx, params)
	if len(faults) == 0 {
		if err := checkCost(op); err != nil {
			return f.write(c, http.StatusOK, 0, &answer{Errors: gqlerror.List{asError(api.NewProblem(err), nil)}})
		}
	}
	if len(faults) > 0 {
		faults = faults[:min(len(faults), maxErrors)]
		resp := exec.DispatchError(graphql.WithOperationContext(ctx, op), faults)
		return f.write(c, http.StatusOK, 0, &answer{Errors: resp.Errors})
	}
	if queryOnly && op.Operation.Operation != ast.Query {
		c.Response().Header().Set("Allow", http.MethodPost)
		return f.refuse(c, http.StatusMethodNotAllowed, "GET runs queries only; send a mutation by POST")
	}
	op.DisableIntrospection = false
	responses, ctx := exec.DispatchOperation(ctx, op)
	resp := responses(ctx)
	if resp == nil { // the client has gone
		return ctx.Err()
	}
	status, retryAfter := statusOf(resp.Errors)
	data := resp.Data
	if data == nil {
		data = json.RawMessage("null")
	}
	return f.write(c, status, retryAfter, &answer{Errors: resp.Errors, Data: data})
}

// answer is a response of GraphQL (October 2021, section 7.1): one that was not
// executed has no data.
type answer struct {
	Errors gqlerror.List   `json:"errors,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
}

// refuse answers a request that is none of GraphQL.
func (f *Face) refuse(c echo.Context, status int, msg string) error {
	return f.write(c, status, 0, &answer{Errors: gqlerror.List{asError(api.StatusProblem(status, msg, nil), nil)}})
}

// write sends an answer. URLs stay as they are: scripts cut them out of the text
// and know nothing of \u0026.
func (f *Face) write(c echo.Context, status, retryAfter int, a *answer) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a); err != nil {
		return &broker.Error{Code: broker.CodeInternal, Err: err}
	}
	h := c.Response().Header()
	if retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	return c.Blob(status, echo.MIMEApplicationJSON, text.Bytes())
}
