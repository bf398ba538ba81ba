package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"github.com/uploadbroker/uploadbroker/broker"
)

// unavailable is a failure that may pass; cause is for the log.
func unavailable(cause error, format string, args ...any) *broker.Error {
	e := broker.Errorf(broker.CodeUnavailable, format, args...)
	e.Err = cause
	return e
}

// failure names why no answer came from a host. ctx is the request's own: what
// ended it says more than the error that followed.
func failure(ctx context.Context, host string, err error) error {
	var known *broker.Error
	if errors.As(context.Cause(ctx), &known) {
		return known
	}
	if ctx.Err() != nil {
		return unavailable(ctx.Err(), "there was no time left to fetch from %s", host)
	}
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errRefused):
		return errNotAllowed(host)
	case errors.As(err, &dns) && dns.IsNotFound:
		return &broker.Error{Code: broker.CodeNotFound, Msg: "there is no host " + host, Err: err}
	case errors.As(err, &certificate):
		return &broker.Error{Code: broker.CodeInvalid, Msg: "the certificate of " + host + " can't be trusted", Err: err}
	case errors.As(err, &record):
		return &broker.Error{Code: broker.CodeInvalid, Msg: host + " does not speak https at this port", Err: err}
	}
	return unavailable(err, "%s does not answer", host)
}

// badStatus names an answer that is not the wanted one. What the host says of its
// own state may pass; what it says of the URL stays.
func badStatus(host string, status int) error {
	e := broker.Errorf(broker.CodeInvalid, "%s answered %d %s", host, status, http.StatusText(status))
	switch status {
	case http.StatusNotFound, http.StatusGone:
		e.Code = broker.CodeNotFound
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusUnavailableForLegalReasons:
		e.Code = broker.CodeNotAllowed
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		e.Code = broker.CodeUnavailable
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
	default:
		if status >= 500 {
			e.Code = broker.CodeUnavailable
		}
	}
	return e
}
