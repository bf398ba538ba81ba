package oss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	aliyun "github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/sts"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Bounds of AssumeRole (Aliyun STS API Reference, AssumeRole). What a role allows
// lies between an hour, the default, and the longest.
const (
	minSession     = 15 * time.Minute
	defaultSession = time.Hour
	maxSession     = 12 * time.Hour
	maxSessionName = 32 // older pages say so, newer ones 64
	stsTime        = 8 * time.Second
)

// sessionBucket is a Bucket whose sessions assume a role.
type sessionBucket struct{ *Bucket }

// Session is AssumeRole with a policy that allows writing below keyPrefix, in one
// try: storage.Bucket knows when to ask again. ttl is clamped to between 15
// minutes and 12 hours; where the role allows less than was asked for, the session
// has an hour, which every role allows.
func (b sessionBucket) Session(ctx context.Context, keyPrefix string, ttl time.Duration) (broker.CloudSession, error) {
	if !sessionPrefix.MatchString(keyPrefix) {
		return broker.CloudSession{}, broker.Errorf(broker.CodeInvalid, "a session is for one folder, named by letters, digits, _ and -, with a / behind it")
	}
	ttl = min(max(ttl, minSession), maxSession)
	s, err := b.assumeRole(ctx, keyPrefix, ttl)
	if isCode(err, "InvalidParameter.DurationSeconds") && ttl > defaultSession {
		s, err = b.assumeRole(ctx, keyPrefix, defaultSession)
	}
	return s, err
}

func (b sessionBucket) assumeRole(ctx context.Context, prefix string, ttl time.Duration) (broker.CloudSession, error) {
	creds, err := b.creds.get(ctx)
	if err != nil {
		return broker.CloudSession{}, err
	}
	policy, err := sessionPolicy(b.o.Bucket, prefix)
	if err != nil {
		return broker.CloudSession{}, err
	}
	request := sts.CreateAssumeRoleRequest()
	scheme, domain, _ := strings.Cut(b.o.STSEndpoint, "://")
	request.SetScheme(scheme)
	request.SetDomain(domain) // the SDK puts "/?" behind it, so that it may have a path
	request.RoleArn = b.o.RoleARN
	request.RoleSessionName = sessionName(prefix)
	request.Policy = policy
	request.DurationSeconds = requests.NewInteger(int(ttl / time.Second))

	try, cancel := context.WithTimeout(ctx, stsTime)
	defer cancel()
	answer, err := b.callSTS(try, creds, request)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return broker.CloudSession{}, ctx.Err()
	case try.Err() != nil:
		return broker.CloudSession{}, errSlow
	default:
		return broker.CloudSession{}, err
	}
	expires, err := time.Parse(time.RFC3339, answer.Expiration)
	if err != nil || answer.AccessKeyId == "" || answer.AccessKeySecret == "" || answer.SecurityToken == "" {
		return broker.CloudSession{}, fmt.Errorf("%w: STS gave credentials that are not complete", errOdd)
	}
	return broker.CloudSession{
		ID: answer.AccessKeyId, Secret: answer.AccessKeySecret, Token: answer.SecurityToken,
		Endpoint: b.o.PublicEndpoint, Bucket: b.o.Bucket, Region: b.region, PathStyle: b.o.PathStyle,
		ExpiresAt: expires.UTC(),
	}, nil
}

// callSTS makes a client for one call: the SDK's clients can't be used at once and
// know no context. Its errors may quote the whole answer, which holds secrets, and
// it panics at some answers.
func (b sessionBucket) callSTS(ctx context.Context, creds credential, request *sts.AssumeRoleRequest) (_ sts.Credentials, err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%w: STS", errOdd)
		}
	}()
	var key auth.Credential = &credentials.AccessKeyCredential{AccessKeyId: creds.id, AccessKeySecret: creds.secret}
	if creds.token != "" {
		key = &credentials.StsTokenCredential{AccessKeyId: creds.id, AccessKeySecret: creds.secret, AccessKeyStsToken: creds.token}
	}
	client, err := sts.NewClientWithOptions(b.region, &aliyun.Config{
		Transport: guard{withContext{ctx, b.transport}, readSTSAnswer},
		Timeout:   stsTime,
	}, key)
	if err != nil {
		return sts.Credentials{}, fmt.Errorf("oss: make a client for STS: %w", err)
	}
	// The transport has proxies of its own. Set here, those of the environment are
	// not parsed by the SDK, which fails at some that net/http takes.
	client.SetHttpProxy("http://unused")
	client.SetHttpsProxy("http://unused")
	client.SetNoProxy("unused")
	answer, err := client.AssumeRole(request)
	if err != nil {
		err = clean(err)
		var answered *answerError
		var line *lineError
		if !errors.As(err, &answered) && !errors.As(err, &line) {
			err = fmt.Errorf("%w: STS", errOdd)
		}
		return sts.Credentials{}, err
	}
	return answer.Credentials, nil
}

// sessionName is what the cloud's audit log calls a session.
func sessionName(prefix string) string {
	name := "ub-" + strings.TrimSuffix(prefix, "/")
	return name[:min(len(name), maxSessionName)]
}

// withContext sends requests within a context that their maker did not know, and
// reads bounded answers.
type withContext struct {
	ctx  context.Context
	base http.RoundTripper
}

func (w withContext) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.base.RoundTrip(r.WithContext(w.ctx))
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxErrorBytes), resp.Body}
	}
	return resp, err
}
