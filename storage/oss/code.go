package oss

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// answerError is an answer of OSS or STS that is no success.
type answerError struct {
	service   string // OSS, STS
	status    int    // of HTTP
	code      string // the service's own; "" when the answer had none
	message   string
	requestID string
	ec        string // OSS's finer code
}

func (e *answerError) Error() string {
	s := fmt.Sprintf("%s answered %d", e.service, e.status)
	for _, part := range []string{e.code, e.message} {
		if part != "" {
			s += " " + part
		}
	}
	if e.requestID != "" {
		s += " (request " + e.requestID
		if e.ec != "" {
			s += ", ec " + e.ec
		}
		s += ")"
	}
	return s
}

// newAnswerError leaves out what a message may tell of a signature: STS quotes
// the whole text that it signs, tokens included.
func newAnswerError(service string, resp *http.Response, code, message, requestID string) *answerError {
	if strings.Contains(code, "Signature") {
		message = ""
	}
	if len(message) > 500 {
		message = message[:500] + "…"
	}
	return &answerError{service: service, status: resp.StatusCode, code: code, message: message, requestID: requestID}
}

// readOSSAnswer reads an error document, which for HEAD stands in a header.
func readOSSAnswer(resp *http.Response, body []byte) *answerError {
	if len(body) == 0 {
		body, _ = base64.StdEncoding.DecodeString(resp.Header.Get("X-Oss-Err"))
	}
	var doc struct {
		XMLName xml.Name `xml:"Error"`
		Code    string   `xml:"Code"`
		Message string   `xml:"Message"`
	}
	if xml.Unmarshal(body, &doc) != nil { // a proxy's page, or nothing
		doc.Code, doc.Message = "", ""
	}
	e := newAnswerError("OSS", resp, doc.Code, doc.Message, resp.Header.Get("X-Oss-Request-Id"))
	e.ec = resp.Header.Get("X-Oss-Ec")
	return e
}

// readSTSAnswer takes whatever types the fields have.
func readSTSAnswer(resp *http.Response, body []byte) *answerError {
	var doc map[string]any
	_ = json.Unmarshal(body, &doc)
	text := func(name string) string { s, _ := doc[name].(string); return s }
	return newAnswerError("STS", resp, text("Code"), text("Message"), text("RequestId"))
}

// Code is the one table of what the errors of OSS and STS mean (Aliyun OSS API
// Reference, "Error responses"; STS, "Error codes"). A code that is not listed
// falls back to its HTTP status.
//
// A missing bucket is unavailable, not not_found: it says nothing of an object,
// and a look must not take a wrong configuration for an absent upload.
func (b *Bucket) Code(err error) broker.Code {
	var known *broker.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &known):
		return known.Code
	case errors.Is(err, errChanged):
		return broker.CodeChanged
	case errors.Is(err, errTooLarge):
		return broker.CodeTooLarge
	case errors.Is(err, storage.ErrSize):
		return broker.CodeInvalidSize
	case errors.Is(err, errCredentials):
		return broker.CodeDenied
	case errors.Is(err, errSlow), errors.Is(err, errOdd):
		return broker.CodeUnavailable
	}
	var answer *answerError
	if errors.As(err, &answer) {
		if code := codeOfName(answer.code); code != "" {
			return code
		}
		if code := storage.CodeOfStatus(answer.status); code != "" {
			return code
		}
	}
	var line *lineError
	var crc sdk.CRCCheckError
	var network net.Error
	switch {
	case errors.As(err, &line), errors.As(err, &crc), errors.As(err, &network),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), // the line broke off
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return broker.CodeUnavailable
	}
	return broker.CodeInternal
}

// codeOfName is the part of the table that goes by the services' own names; ""
// for others. STS's have finer ones behind a dot.
func codeOfName(name string) broker.Code {
	switch name {
	case "NoSuchKey", "NoSuchVersion", "NoSuchUpload", "SymlinkTargetNotExist":
		return broker.CodeNotFound
	case "PreconditionFailed":
		return broker.CodeChanged
	case "FileAlreadyExists", "ObjectAlreadyExists", "FileImmutable", "ObjectNotAppendable", "BucketAlreadyExists":
		return broker.CodeConflict
	case "AccessDenied", "AccessForbidden", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch",
		"RequestTimeTooSkewed", "InvalidSecurityToken", "SecurityTokenExpired", "SecurityTokenNotSupported",
		"UserDisable", "InvalidPayer", "InvalidObjectState", "SecondLevelDomainForbidden", "EndpointDenied",
		"NoPermission", "MissingSecurityToken", "IncompleteSignature", "SignatureNonceUsed", "AuthenticationFail",
		// The role that the configuration names, not what a caller asked for.
		"InvalidParameter.RoleArn", "EntityNotExist", "EntityNotExist.Role", "InvalidParameter.DurationSeconds":
		return broker.CodeDenied
	case "ServerBusy", "ServiceUnavailable", "InternalError", "RequestTimeout", "SlowDown", "OperationTimeout",
		"QpsLimitExceeded", "TotalQpsLimitExceeded", "TrafficLimitExceeded", "UploadTrafficRateLimitExceeded",
		"DownloadTrafficRateLimitExceeded", "NoSuchBucket", "UnknownError":
		return broker.CodeUnavailable
	case "EntityTooLarge", "FileLimitExceeded":
		return broker.CodeTooLarge
	case "InvalidRange", "InvalidDigest", "InvalidArgument", "InvalidObjectName", "InvalidBucketName", "KeyTooLongError",
		"EntityTooSmall", "MissingContentLength", "InvalidPart", "InvalidPartOrder", "MalformedXML", "InvalidRequest":
		return broker.CodeInvalid
	case "NotImplemented", "MethodNotAllowed", "OperationNotSupported":
		return broker.CodeNotSupported
	}
	family, _, _ := strings.Cut(name, ".")
	switch family {
	case "Throttling":
		return broker.CodeTooManyRequests
	case "InvalidAccessKeyId", "InvalidSecurityToken", "InvalidTimeStamp", "Forbidden", "NoPermission":
		return broker.CodeDenied
	}
	return ""
}

func isCode(err error, code string) bool {
	var answer *answerError
	return errors.As(err, &answer) && answer.code == code
}
