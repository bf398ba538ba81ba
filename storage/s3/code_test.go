package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

func TestCode(t *testing.T) {
	api := func(code string) error { return fmt.Errorf("op: %w", &smithy.GenericAPIError{Code: code}) }
	status := func(status int) error {
		return fmt.Errorf("op: %w", &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: errors.New("x")})
	}
	b := &Bucket{}
	for want, errs := range map[broker.Code][]error{
		"":                      {nil},
		broker.CodeNotFound:     {api("NoSuchKey"), api("NotFound"), status(404)},
		broker.CodeChanged:      {api("PreconditionFailed"), status(412)},
		broker.CodeConflict:     {api("ConditionalRequestConflict"), existsError{api("PreconditionFailed")}, status(409)},
		broker.CodeDenied:       {api("AccessDenied"), api("Forbidden"), api("InvalidAccessKeyId"), api("SignatureDoesNotMatch"), api("ExpiredToken"), status(403), errCredentials},
		broker.CodeUnavailable:  {api("SlowDown"), api("NoSuchBucket"), api("InternalError"), status(503), status(500), status(507), status(429), status(301), syscall.ECONNREFUSED, io.ErrUnexpectedEOF, &net.OpError{Op: "dial", Err: errors.New("x")}, context.DeadlineExceeded, context.Canceled},
		broker.CodeTooLarge:     {api("EntityTooLarge"), status(413), errTooLarge},
		broker.CodeInvalid:      {api("InvalidRange"), api("KeyTooLongError"), status(400), status(416)},
		broker.CodeInvalidSize:  {fmt.Errorf("%w: x", storage.ErrSize)},
		broker.CodeNotSupported: {api("NotImplemented"), status(405), status(501)},
		broker.CodeInternal:     {errors.New("what"), api("NeverHeardOf")},
	} {
		for _, err := range errs {
			if got := b.Code(err); got != want {
				t.Errorf("%v: code %q, want %q", err, got, want)
			}
		}
	}
}

// TestRetries holds the SDK's own patience to a few tries, and its errors to
// codes; a server that answers 503 at first is asked again.
func TestRetries(t *testing.T) {
	var asked int
	answers := []int{503, 200}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := answers[min(asked, len(answers)-1)]
		asked++
		w.Header().Set("ETag", `"abc"`)
		w.WriteHeader(status)
	}))
	defer server.Close()
	d, err := Open(t.Context(), Options{Bucket: "b", Endpoint: server.URL, PathStyle: true, AccessKeyID: "id", AccessKeySecret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := storage.New(storage.Info{Symbol: "HongKong", Cloud: broker.CloudS3}, d)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := b.Put(t.Context(), "k", strings.NewReader("body"), storage.PutOptions{SizeBytes: 4})
	if err != nil || obj.ETag != "abc" || asked != 2 {
		t.Errorf("%+v, %v after %d tries", obj, err, asked)
	}
	asked, answers = 0, []int{503}
	_, err = b.Stat(t.Context(), "k")
	var e *broker.Error
	if !errors.As(err, &e) || e.Code != broker.CodeUnavailable || e.RetryAfter == 0 || asked != maxAttempts {
		t.Errorf("%v after %d tries", err, asked)
	}
	asked, answers = 0, []int{403}
	if _, err = b.Stat(t.Context(), "k"); broker.CodeOf(err) != broker.CodeDenied || asked != 1 {
		t.Errorf("%v after %d tries", err, asked)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"no bucket":    {AccessKeyID: "a", AccessKeySecret: "b"},
		"half a key":   {Bucket: "b", AccessKeyID: "a"},
		"other half":   {Bucket: "b", AccessKeySecret: "a"},
		"small parts":  {Bucket: "b", AccessKeyID: "a", AccessKeySecret: "b", PartSizeBytes: 1},
		"bad endpoint": {Bucket: "b", AccessKeyID: "a", AccessKeySecret: "b", Endpoint: "::not a url"},
		"express":      {Bucket: "b--use1-az4--x-s3", AccessKeyID: "a", AccessKeySecret: "b"},
	} {
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// TestPublicEndpoint signs for the name that clients know.
func TestPublicEndpoint(t *testing.T) {
	b, err := Open(t.Context(), Options{
		Bucket: "photos", Region: "hk", Endpoint: "http://10.0.0.5:9000", PublicEndpoint: "https://s3.example.com",
		PathStyle: true, AccessKeyID: "id", AccessKeySecret: "secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, storage.MinTTL)
	if err != nil || !strings.HasPrefix(req.URL, "https://s3.example.com/photos/k?") || !strings.Contains(req.URL, "%2Fhk%2Fs3%2F") {
		t.Errorf("%s, %v", req.URL, err)
	}
}

// TestAmbientChain uses the environment only when no key is given.
func TestAmbientChain(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AMBIENT", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "TOKEN", "AWS_REGION": "ap-east-1",
		"AWS_ENDPOINT_URL": "http://ambient.example", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
	} {
		t.Setenv(name, value)
	}
	for _, c := range []struct {
		o         Options
		has, lack []string
	}{
		{Options{Bucket: "photos", AccessKeyID: "GIVEN", AccessKeySecret: "s"}, []string{"GIVEN", "amazonaws.com", "us-east-1"}, []string{"AMBIENT", "TOKEN", "ambient.example", "ap-east-1"}},
		{Options{Bucket: "photos", Region: "eu-west-1"}, []string{"AMBIENT", "X-Amz-Security-Token=TOKEN", "ambient.example", "eu-west-1"}, nil},
	} {
		b, err := Open(t.Context(), c.o)
		if err != nil {
			t.Fatal(err)
		}
		req, err := b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, storage.MinTTL)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.has {
			if !strings.Contains(req.URL, want) {
				t.Errorf("%s lacks %s", req.URL, want)
			}
		}
		for _, no := range c.lack {
			if strings.Contains(req.URL, no) {
				t.Errorf("%s has %s", req.URL, no)
			}
		}
	}
}
