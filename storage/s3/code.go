package s3

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// Code is the one table of what S3's errors mean (Amazon S3 API Reference,
// "Error responses"). A code that is not listed falls back to its HTTP status.
//
// A missing bucket is unavailable, not not_found: it says nothing of an object,
// and a look must not take a wrong configuration for an absent upload.
func (b *Bucket) Code(err error) broker.Code {
	var exists existsError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &exists):
		return broker.CodeConflict
	case errors.Is(err, errTooLarge):
		return broker.CodeTooLarge
	case errors.Is(err, storage.ErrSize):
		return broker.CodeInvalidSize
	case errors.Is(err, errCredentials):
		return broker.CodeDenied
	}
	var api smithy.APIError
	var answer *answerError
	if errors.As(err, &api) {
		if code := codeOfName(api.ErrorCode()); code != "" {
			return code
		}
	} else if errors.As(err, &answer) {
		if code := codeOfName(answer.code); code != "" {
			return code
		}
		if code := storage.CodeOfStatus(answer.status); code != "" {
			return code
		}
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		if code := storage.CodeOfStatus(response.HTTPStatusCode()); code != "" {
			return code
		}
	}
	var network net.Error
	switch {
	case errors.As(err, &network),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), // the line broke off
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return broker.CodeUnavailable
	}
	return broker.CodeInternal
}

// codeOfName is the part of the table that goes by S3's own names; "" for others.
func codeOfName(name string) broker.Code {
	switch name {
	case "NoSuchKey", "NotFound", "NoSuchVersion", "NoSuchUpload":
		return broker.CodeNotFound
	case "PreconditionFailed":
		return broker.CodeChanged
	case "ConditionalRequestConflict", "BucketAlreadyExists", "BucketAlreadyOwnedByYou",
		// versitygw: a file system has no "a" beside "a/b".
		"ObjectParentIsFile", "ExistingObjectIsDirectory":
		return broker.CodeConflict
	case "AccessDenied", "Forbidden", "AllAccessDisabled", "AccountProblem", "NotSignedUp",
		"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
		"TokenRefreshRequired", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed",
		"AuthorizationQueryParametersError", "InvalidPayer", "InvalidObjectState", "QuotaExceeded":
		return broker.CodeDenied
	case "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Busy",
		"Throttling", "ThrottlingException", "RequestLimitExceeded", "OperationAborted",
		"InsufficientStorage", "XMinioStorageFull",
		"NoSuchBucket", "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException":
		return broker.CodeUnavailable
	case "EntityTooLarge", "MaxMessageLengthExceeded":
		return broker.CodeTooLarge
	case "InvalidRange", "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody",
		"InvalidArgument", "InvalidRequest", "KeyTooLongError", "EntityTooSmall", "MissingContentLength",
		"InvalidPart", "InvalidPartOrder", "InvalidBucketName", "InvalidURI", "MetadataTooLarge":
		return broker.CodeInvalid
	case "NotImplemented", "MethodNotAllowed":
		return broker.CodeNotSupported
	}
	return ""
}

func isCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

func isStatus(err error, status int) bool {
	var response *smithyhttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() == status
}
