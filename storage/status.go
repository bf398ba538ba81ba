package storage

import (
	"net/http"

	"github.com/uploadbroker/uploadbroker/broker"
)

// CodeOfStatus is what an HTTP status of S3's or OSS's means where the cloud's own
// name for the error is missing or not known; "" for a success.
func CodeOfStatus(status int) broker.Code {
	switch {
	case status == http.StatusNotFound:
		return broker.CodeNotFound
	case status == http.StatusPreconditionFailed:
		return broker.CodeChanged
	case status == http.StatusConflict:
		return broker.CodeConflict
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return broker.CodeDenied
	case status == http.StatusRequestEntityTooLarge:
		return broker.CodeTooLarge
	case status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return broker.CodeNotSupported
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500, status/100 == 3:
		return broker.CodeUnavailable
	case status/100 == 4:
		return broker.CodeInvalid
	}
	return ""
}
