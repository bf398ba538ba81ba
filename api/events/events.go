// Package events takes what buckets tell of arrivals: POST /events/{bucket}/{secret},
// or POST /events/{bucket} with the secret as a bearer token.
//
// Whatever a body says is a hint: the broker then looks with its own credentials,
// earlier than it would have, and believes what it sees there. The most that a
// false event does is a look. So the secret in the address is the whole
// authentication, and the senders' signatures (SNS, MNS, OSS callbacks) are not
// verified: each proves no more than that the cloud sent the body, in some cases
// for any of its customers.
//
// Taken are the notifications of S3 and of what speaks like it (MinIO, Ceph,
// versitygw), as they are or in a message of SNS; AWS EventBridge; the events of
// OSS by MNS and by Aliyun EventBridge; and the callbacks of OSS. Every sender is
// answered as it expects it. Which bucket a body names is not looked at: keys
// begin with the id of a project, which is unique.
//
// It needs no permission. Its one side effect beside the hints is that it confirms
// the subscription of an SNS topic that the operator has named: the only address
// of a body that is ever asked for, written anew from checked parts.
package events

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Options are what the face needs.
type Options struct {
	Arrivals *broker.Arrivals
	Log      *slog.Logger
	// Topics tells the ARN of the SNS topic that may send the events of a bucket;
	// "": none is named. Then any topic's notifications are taken, and no
	// subscription is confirmed. nil: none is named for any bucket.
	Topics func(bucket string) string
	// Confirm asks for the address that confirms a subscription, by GET, and
	// reports whether the answer was 200. nil: no subscription is confirmed.
	Confirm func(ctx context.Context, url string) error
}

// Bounds of one request. The largest bodies that senders make are 256 KiB (SNS,
// EventBridge) and 64 KiB (MNS).
const (
	maxBodyBytes   = 1 << 20
	bodyTimeout    = 10 * time.Second
	confirmTimeout = 5 * time.Second // SNS waits 15 s for the answer
)

// Path is the address of a bucket's events under the server's, for those who
// print it.
func Path(bucket, secret string) string {
	return "/events/" + url.PathEscape(bucket) + "/" + url.PathEscape(secret)
}

type face struct {
	Options
	bodyTimeout time.Duration
	refusals    refusals
}

// Mount adds the routes to a server that api.New made.
func Mount(e *echo.Echo, o Options) { mount(e, o, bodyTimeout) }

func mount(e *echo.Echo, o Options, bodyTimeout time.Duration) {
	f := &face{Options: o, bodyTimeout: bodyTimeout}
	for _, path := range []string{"/events/:bucket", "/events/:bucket/", "/events/:bucket/:secret"} {
		e.GET(path, f.probe, f.authorize)
		e.POST(path, f.take, f.authorize)
	}
}

// authorize refuses those who don't know the bucket's secret. Their body is not
// read: the connection closes behind the answer.
func (f *face) authorize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		// The address is a secret, which no cache is to keep.
		c.Response().Header().Set("Cache-Control", "no-store")
		if err := f.Arrivals.Authorize(c.Request().Context(), param(c, "bucket"), shown(c)); err != nil {
			f.hangUp(c)
			return err
		}
		return next(c)
	}
}

// hangUp closes the connection behind the answer. What is left of the body is
// neither waited for before the answer nor for long behind it.
func (f *face) hangUp(c echo.Context) {
	c.Response().Header().Set("Connection", "close")
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(f.bodyTimeout))
}

// shown is the secret that a request carries.
func shown(c echo.Context) string {
	if secret := param(c, "secret"); secret != "" {
		return secret
	}
	scheme, secret, ok := strings.Cut(c.Request().Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// param is a part of the path. Echo leaves it encoded where the path as a whole
// could be written in several ways.
func param(c echo.Context, name string) string {
	value := c.Param(name)
	if c.Request().URL.RawPath == "" {
		return value
	}
	plain, err := url.PathUnescape(value)
	if err != nil {
		return ""
	}
	return plain
}

// probe answers who asks whether the address is right: an operator's browser, or
// a sender that tries its target first.
func (f *face) probe(c echo.Context) error {
	c.Response().Header().Set("X-Content-Type-Options", "nosniff")
	return c.String(http.StatusOK, "uploadbroker takes the events of the bucket "+param(c, "bucket")+" here, by POST\n")
}

// take reads a body and passes on what it tells.
func (f *face) take(c echo.Context) error {
	ctx, bucket := c.Request().Context(), param(c, "bucket")
	body, err := f.read(c)
	if err != nil {
		f.hangUp(c)
		return err
	}
	n, err := Parse(body)
	if err != nil {
		return api.StatusProblem(http.StatusBadRequest, err.Error(), nil)
	}
	if n.Topic == "" { // SNS delivers raw messages with the topic in a header
		n.Topic = c.Request().Header.Get("x-amz-sns-topic-arn")
	}
	if n.Subscription != nil {
		return f.subscribe(c, bucket, n)
	}
	if err := f.checkTopic(ctx, bucket, n.Topic); err != nil {
		return err
	}
	if n.Unsubscribed {
		f.Log.WarnContext(ctx, "an SNS topic sends no more events of a bucket; subscribe it again if that was not meant",
			"bucket", bucket, "topic", readable(n.Topic))
	}
	images := 0
	if len(n.Arrived) > 0 {
		if images, err = f.Arrivals.Hint(ctx, bucket, n.Arrived); err != nil {
			return err
		}
	}
	f.Log.DebugContext(ctx, "bucket events", "bucket", bucket, "sender", n.Sender, "objects", len(n.Arrived), "images", images, "left_out", n.LeftOut)
	return answer(c, n, images)
}

// read returns the body, if it is small and comes soon.
func (f *face) read(c echo.Context) ([]byte, error) {
	r := c.Request()
	tooLarge := broker.Errorf(broker.CodeTooLarge, "the body is over %d bytes; send the events in several", maxBodyBytes)
	if r.ContentLength > maxBodyBytes {
		return nil, tooLarge
	}
	// The server takes the limit back when the body has ended.
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(f.bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBodyBytes))
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &large):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, api.StatusProblem(http.StatusRequestTimeout, "the body did not arrive within "+f.bodyTimeout.String(), err)
	}
	return nil, api.StatusProblem(http.StatusBadRequest, "the body broke off", err)
}

// taken tells a sender what became of its events.
type taken struct {
	Objects int `json:"objects"`            // that were written, of all that was told
	Images  int `json:"images"`             // that are now looked for; with others' that came at the same moment, so at most
	LeftOut int `json:"left_out,omitempty"` // beyond what one body may tell
}

// answer says that all is well in the way that the sender expects.
func answer(c echo.Context, n Notice, images int) error {
	switch n.Sender {
	case SenderMNS:
		// https://www.alibabacloud.com/help/doc-detail/210865.htm
		return c.NoContent(http.StatusNoContent)
	case SenderOSSCallback:
		// OSS wants 200, JSON and its length, and gives the body to the uploader
		// (https://www.alibabacloud.com/help/en/oss/developer-reference/callback).
		body := []byte(`{"Status":"OK"}`)
		c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, body)
	}
	return c.JSON(http.StatusOK, taken{Objects: len(n.Arrived), Images: min(images, len(n.Arrived)), LeftOut: n.LeftOut})
}
