package oss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

func TestCode(t *testing.T) {
	answer := func(code string, status int) error {
		return fmt.Errorf("op: %w", &answerError{service: "OSS", code: code, status: status})
	}
	b := &Bucket{}
	for want, errs := range map[broker.Code][]error{
		"":                  {nil},
		broker.CodeNotFound: {answer("NoSuchKey", 404), answer("", 404), answer("NeverHeardOf", 404)},
		broker.CodeChanged:  {answer("PreconditionFailed", 412), answer("", 412), errChanged},
		broker.CodeConflict: {answer("FileAlreadyExists", 409), answer("", 409)},
		broker.CodeDenied:   {answer("AccessDenied", 403), answer("InvalidAccessKeyId", 403), answer("SignatureDoesNotMatch", 403), answer("NoPermission", 403), answer("EntityNotExist.Role", 404), answer("InvalidAccessKeyId.NotFound", 404), answer("InvalidTimeStamp.Expired", 400), answer("InvalidSecurityToken.Expired", 400), answer("", 403), errCredentials},
		broker.CodeTooLarge: {answer("EntityTooLarge", 400), answer("", 413), errTooLarge},
		broker.CodeInvalid:  {answer("InvalidRange", 416), answer("InvalidParameter.PolicyGrammar", 400), answer("", 400)},
		broker.CodeInternal: {errors.New("what"), answer("NeverHeardOf", 200)},
		broker.CodeUnavailable: {answer("NoSuchBucket", 404), answer("ServerBusy", 503), answer("InternalError", 500), answer("", 503), answer("", 429), answer("", 301),
			errSlow, errOdd, &lineError{"Get", errors.New("x")}, sdk.CRCCheckError{}, syscall.ECONNREFUSED, io.ErrUnexpectedEOF,
			&net.OpError{Op: "dial", Err: errors.New("x")}, context.DeadlineExceeded, context.Canceled},
		broker.CodeTooManyRequests: {answer("Throttling", 400), answer("Throttling.User", 400), answer("Throttling.Api", 503)},
		broker.CodeInvalidSize:     {fmt.Errorf("%w: x", storage.ErrSize)},
		broker.CodeNotSupported:    {answer("NotImplemented", 501), answer("", 405), answer("", 501)},
		broker.CodeInvalidName:     {broker.Errorf(broker.CodeInvalidName, "x")},
	} {
		for _, err := range errs {
			if got := b.Code(err); got != want {
				t.Errorf("%v: code %q, want %q", err, got, want)
			}
		}
	}
}
