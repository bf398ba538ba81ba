package broker

import (
	"errors"
	"fmt"
	"time"
)

// A Code names a kind of failure. Codes are stable: clients switch on them, in
// REST's problem documents and in GraphQL's extensions.code alike.
type Code string

// The codes of this program. AllCodes lists them; package api holds the table
// that turns each into an HTTP status.
const (
	CodeInternal            Code = "internal"             // a fault of ours; the cause is in the log
	CodeUnavailable         Code = "unavailable"          // a part we need does not answer; try again after RetryAfter
	CodeUnauthenticated     Code = "unauthenticated"      // no key, or one that is unknown, revoked or expired
	CodeNotAllowed          Code = "not_allowed"          // the key is good, but lacks the scope or is tied elsewhere
	CodeNotFound            Code = "not_found"            // it does not exist, or is not the caller's to see
	CodeInvalid             Code = "invalid"              // the request is malformed
	CodeInvalidName         Code = "invalid_name"         // a file name that can't be kept safely
	CodeInvalidSHA1         Code = "invalid_sha1"         // not 40 hexadecimal digits
	CodeInvalidSize         Code = "invalid_size"         // negative, or missing where it is needed
	CodeInvalidType         Code = "invalid_type"         // not a MIME type
	CodeTooLarge            Code = "too_large"            // the object or the body is over the limit
	CodeBatchTooLarge       Code = "batch_too_large"      // more entries than limits.max_batch
	CodeConflict            Code = "conflict"             // the state of things forbids it
	CodeUnknownBucket       Code = "unknown_bucket"       // no bucket of that symbol
	CodeNoBucket            Code = "no_bucket"            // no bucket that this key may write to takes new grants
	CodeInsufficientStorage Code = "insufficient_storage" // no room: a disk is full, or a quota
	CodeUndoEnded           Code = "undo_ended"           // the ten minutes of undo are over
	CodeTooManyRequests     Code = "too_many_requests"    // slow down; try again after RetryAfter
	CodeDenied              Code = "denied"               // a bucket refused our own credentials
	CodeChanged             Code = "changed"              // the object is no longer the one asked for (If-Match)
	CodeNoThumbnail         Code = "no_thumbnail"         // the image is there and has no thumbnail
	CodeNotSupported        Code = "not_supported"        // this bucket or method can't do that
	CodeNoReadyImage        Code = "no_ready_image"       // the project has no image that is Ready
	CodeImagesUnjudged      Code = "images_unjudged"      // an image is still uploading or being judged
	CodeTooFewReady         Code = "too_few_ready"        // fewer images are Ready than were expected
	CodeAlreadyRunning      Code = "already_running"      // the project has a reconstruction that has not ended
	CodeNoEngine            Code = "no_engine"            // no reconstruction engine is configured
	CodeEngineFailed        Code = "engine_failed"        // the reconstruction engine failed, or is away for good
)

// AllCodes lists every Code, for tables that must cover them all.
func AllCodes() []Code {
	return []Code{
		CodeInternal, CodeUnavailable, CodeUnauthenticated, CodeNotAllowed, CodeNotFound,
		CodeInvalid, CodeInvalidName, CodeInvalidSHA1, CodeInvalidSize, CodeInvalidType,
		CodeTooLarge, CodeBatchTooLarge, CodeConflict, CodeUnknownBucket, CodeNoBucket,
		CodeUndoEnded, CodeTooManyRequests, CodeDenied, CodeChanged, CodeNoThumbnail, CodeNotSupported, CodeNoReadyImage,
		CodeImagesUnjudged, CodeTooFewReady, CodeAlreadyRunning, CodeNoEngine, CodeEngineFailed, CodeInsufficientStorage,
	}
}

// Error is the one error type that crosses package borders.
type Error struct {
	Code       Code
	Msg        string        // safe to show to a caller; says what to do
	RetryAfter time.Duration // zero: no advice
	Err        error         // the cause, for the log only
}

func (e *Error) Error() string {
	s := string(e.Code)
	if e.Msg != "" {
		s += ": " + e.Msg
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error whose message is safe to show.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// Wrap gives err a code and a message that is safe to show.
// An err that has a Code already keeps it: the innermost name of a failure wins.
func Wrap(err error, code Code, msg string) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	return &Error{Code: code, Msg: msg, Err: err}
}

// CodeOf returns the Code of err: "" for nil, CodeInternal for an error that
// names none.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
