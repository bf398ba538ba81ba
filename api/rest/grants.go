package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Grant is the right to write one object in one bucket until a time.
type Grant struct {
	Kind      string            `json:"kind" enum:"request,session" doc:"request: a presigned request, to be sent as it is. session: an identity of the cloud, with which you sign the request yourself, or let the cloud's SDK do so."`
	Method    string            `json:"method" doc:"Of the request." example:"PUT"`
	URL       string            `json:"url" doc:"Of kind request: where to send the file, as it is; whoever knows it may upload, so it is a secret until it expires. Of kind session: where the object is to lie, unsigned."`
	Headers   map[string]string `json:"headers" doc:"To be sent exactly as given. Of kind request they bind the upload, with the URL, to the declared size and type, and in S3-like buckets to the sha1: the bucket refuses anything else."`
	ExpiresAt time.Time         `json:"expires_at" doc:"When the bucket stops taking it. Ask for a fresh one by images/regrant."`
	Bucket    string            `json:"bucket" doc:"Symbol of the bucket." example:"Local"`
	Unbound   bool              `json:"unbound,omitempty" doc:"The bucket is not known to refuse other bytes than those declared: then only the validation finds them, after the upload."`
	Session   *Session          `json:"session,omitempty" doc:"Of kind session."`
}

// Session is a short-lived identity of the cloud.
type Session struct {
	ID        string `json:"id" doc:"Access key id." example:"STS.NUgYrLnoC37mZZCNnAbez"`
	Secret    string `json:"secret" doc:"Access key secret; a secret, as the token."`
	Token     string `json:"token" doc:"Goes with each request. It may write below the project's prefix and do nothing else. The images of a project share it."`
	Endpoint  string `json:"endpoint" doc:"Scheme and host, without the bucket." example:"https://oss-cn-hangzhou.aliyuncs.com"`
	Bucket    string `json:"bucket" doc:"The bucket as its cloud knows it." example:"photos-hz"`
	Region    string `json:"region" doc:"As signatures of version 4 name it." example:"cn-hangzhou"`
	Key       string `json:"key" doc:"Of this image's object." example:"01KAHQZ0R4M8C3T5V7W9X1Y2Z3/da39a3ee5e6b4b0d3255bfef95601890afd80709.jpg"`
	PathStyle bool   `json:"path_style,omitempty" doc:"The bucket stands in the path, not in the host name."`
}

// grant tells a grant; one at the local bucket gets the address by which the
// caller reached us.
func grant(ctx context.Context, g *broker.Grant) *Grant {
	if g.Kind == broker.GrantSession {
		s := g.Session
		return &Grant{
			Kind: string(g.Kind), Method: http.MethodPut, URL: s.URL(g.Key), Headers: map[string]string{},
			ExpiresAt: s.ExpiresAt, Bucket: g.Bucket, Unbound: true,
			Session: &Session{
				ID: s.ID, Secret: s.Secret, Token: s.Token, Endpoint: s.Endpoint, Bucket: s.Bucket, Region: s.Region,
				Key: g.Key, PathStyle: s.PathStyle,
			},
		}
	}
	req := g.Request
	return &Grant{
		Kind: string(g.Kind), Method: req.Method, URL: api.Absolute(ctx, req.URL), Headers: req.Headers,
		ExpiresAt: req.ExpiresAt, Bucket: g.Bucket, Unbound: req.Unbound,
	}
}
