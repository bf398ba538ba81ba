package api

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Problem is a problem document (RFC 9457) with this program's stable code.
type Problem struct {
	Type       string       `json:"type" doc:"Always about:blank: the code says what kind of problem it is." example:"about:blank"`
	Title      string       `json:"title" doc:"The HTTP status in words." example:"Not Found"`
	Status     int          `json:"status" doc:"The HTTP status." example:"404"`
	Code       broker.Code  `json:"code" doc:"A stable name of the problem." example:"not_found"`
	Detail     string       `json:"detail,omitempty" doc:"What is wrong and what to do, for a person."`
	RetryAfter int          `json:"retry_after,omitempty" doc:"Seconds after which trying again makes sense."`
	Errors     []FieldError `json:"errors,omitempty" nullable:"false" doc:"Where in the request the faults are."`
	Fault      *Fault       `json:"fault,omitempty" doc:"Why a reconstruction does not start."`
	cause      error        // for the log
}

// Fault is the coded error of a reconstruction.
type Fault struct {
	Number int    `json:"number" doc:"Stable." example:"1"`
	Name   string `json:"name" doc:"Stable: IMAGES_UNJUDGED, NO_READY_IMAGE, TOO_FEW_READY, ALREADY_RUNNING, NO_ENGINE, NOT_ALLOWED or ENGINE_FAILED." example:"IMAGES_UNJUDGED"`
}

// FieldError says what is wrong with one place of a request.
type FieldError struct {
	Location string `json:"location" doc:"The place, such as body.images[2].size."`
	Message  string `json:"message" doc:"What is wrong there."`
}

// Error is the code and the detail.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// Unwrap gives the cause, for the log.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is a problem document's.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// statusOf is the one table from codes to HTTP statuses.
func statusOf(code broker.Code) int {
	switch code {
	case broker.CodeUnavailable:
		return http.StatusServiceUnavailable
	case broker.CodeUnauthenticated:
		return http.StatusUnauthorized
	case broker.CodeNotAllowed:
		return http.StatusForbidden
	case broker.CodeNotFound, broker.CodeNoThumbnail, broker.CodeUnknownBucket:
		return http.StatusNotFound
	case broker.CodeInvalid, broker.CodeInvalidName, broker.CodeInvalidSHA1, broker.CodeInvalidSize, broker.CodeInvalidType:
		return http.StatusUnprocessableEntity
	case broker.CodeTooLarge, broker.CodeBatchTooLarge:
		return http.StatusRequestEntityTooLarge
	case broker.CodeConflict, broker.CodeNoBucket, broker.CodeUndoEnded, broker.CodeChanged, broker.CodeNoReadyImage,
		broker.CodeImagesUnjudged, broker.CodeTooFewReady, broker.CodeAlreadyRunning, broker.CodeNoEngine:
		return http.StatusConflict
	case broker.CodeTooManyRequests:
		return http.StatusTooManyRequests
	case broker.CodeDenied, broker.CodeEngineFailed:
		return http.StatusBadGateway
	case broker.CodeNotSupported:
		return http.StatusNotImplemented
	case broker.CodeInsufficientStorage:
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}

// codeOfStatus names the statuses that Echo and huma give by themselves.
func codeOfStatus(status int) broker.Code {
	switch status {
	case http.StatusUnauthorized:
		return broker.CodeUnauthenticated
	case http.StatusForbidden:
		return broker.CodeNotAllowed
	case http.StatusNotFound:
		return broker.CodeNotFound
	case http.StatusRequestEntityTooLarge:
		return broker.CodeTooLarge
	case http.StatusTooManyRequests:
		return broker.CodeTooManyRequests
	case http.StatusServiceUnavailable:
		return broker.CodeUnavailable
	case http.StatusInsufficientStorage:
		return broker.CodeInsufficientStorage
	}
	if status >= 500 {
		return broker.CodeInternal
	}
	return broker.CodeInvalid
}

// NewProblem makes a problem document of any error. A cause without a code shows
// nothing of itself.
func NewProblem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var e *broker.Error
	if errors.As(err, &e) {
		p = newProblem(statusOf(e.Code), e.Code, e.Msg, err)
		if e.RetryAfter > 0 {
			p.RetryAfter = int(math.Ceil(e.RetryAfter.Seconds()))
		}
		return p
	}
	var he *echo.HTTPError
	if errors.As(err, &he) {
		return StatusProblem(he.Code, "", err)
	}
	return newProblem(http.StatusInternalServerError, broker.CodeInternal, "", err)
}

// StatusProblem makes a problem document of a bare HTTP status.
func StatusProblem(status int, detail string, cause error) *Problem {
	return newProblem(status, codeOfStatus(status), detail, cause)
}

func newProblem(status int, code broker.Code, detail string, cause error) *Problem {
	if code == broker.CodeInternal {
		detail = "something went wrong here; the log of the server tells what, under this request's id"
	}
	switch {
	case detail != "":
	case status == http.StatusNotFound:
		detail = "there is nothing at this address; /docs tells what there is"
	case status == http.StatusMethodNotAllowed:
		detail = "this address does not take this method; /docs tells which it takes"
	case status == http.StatusRequestEntityTooLarge:
		detail = "the body is too large"
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
		detail = "try again in a while"
	default:
		detail = "the request can't be answered: " + strings.ToLower(http.StatusText(status))
	}
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail, cause: cause}
}

// SetRetryAfter puts the advice of a problem into the answer's header.
func (p *Problem) SetRetryAfter(h http.Header) {
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
}
