package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/presign"
)

// errCredentials says that there are no credentials to sign with. Code knows it.
var errCredentials = errors.New("s3: no credentials to sign with")

// presigner makes presigned URLs by Signature Version 4 with query parameters
// (AWS General Reference, "Authenticating Requests: Using Query Parameters").
//
// Where a request goes, and which region is signed, it learns once from the
// SDK's own presigner, whose endpoint rules are many. The rest is a few hashes:
// the signing key depends only on the day and the credentials and is kept.
type presigner struct {
	creds  aws.CredentialsProvider
	now    func() time.Time
	origin string // scheme and host
	host   string // as the Host header has it
	base   string // the escaped path before the key, ending in "/"
	region string
	minio  bool
	key    atomic.Pointer[signingKey]
	scraps sync.Pool // *[]byte
}

// signingKey is what one day and one set of credentials have in common.
type signingKey struct {
	creds      aws.Credentials
	day        string // yyyymmdd
	scope      string // day/region/s3/aws4_request
	credential string // "…&X-Amz-Credential=…", escaped, ready for the query
	token      string // "&X-Amz-Security-Token=…", escaped, or ""
	hmac       presign.Key
}

func newPresigner(ctx context.Context, cfg aws.Config, bucket, endpoint string, pathStyle bool, now func() time.Time) (*presigner, error) {
	if strings.HasSuffix(bucket, "--x-s3") {
		return nil, fmt.Errorf("s3: %s is a directory bucket (S3 Express), whose sessions can't be presigned for clients", bucket)
	}
	p := &presigner{creds: cfg.Credentials, now: now}
	cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "probe", SecretAccessKey: "probe"}, nil
	})
	client := awss3.NewFromConfig(cfg, func(o *awss3.Options) {
		o.UsePathStyle = pathStyle
		if endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
	})
	probe, err := awss3.NewPresignClient(client).PresignPutObject(ctx, &awss3.PutObjectInput{
		Bucket: &bucket, Key: aws.String("probe"),
	})
	if err != nil {
		return nil, fmt.Errorf("s3: find the endpoint of bucket %s: %w", bucket, err)
	}
	u, err := url.Parse(probe.URL)
	if err != nil {
		return nil, fmt.Errorf("s3: find the endpoint of bucket %s: %w", bucket, err)
	}
	scope := strings.Split(u.Query().Get("X-Amz-Credential"), "/") // probe/day/region/s3/aws4_request
	base, ok := strings.CutSuffix(u.EscapedPath(), "probe")
	if !ok || len(scope) != 5 || scope[3] != "s3" || u.Query().Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" {
		return nil, fmt.Errorf("s3: bucket %s needs another signature than SigV4 for S3", bucket)
	}
	p.origin, p.base, p.region = u.Scheme+"://"+u.Host, base, scope[2]
	p.host = probe.SignedHeader.Get("Host")
	if p.host == "" {
		p.host = u.Host
	}
	return p, nil
}

// SignPut presigns a PUT. A size of zero is signed like any other (the SDK drops
// it): the server sees "Content-Length: 0" and so does the signature. The URL
// ends with the credentials that sign it, when those end first; ExpiresAt says
// so.
func (b *Bucket) SignPut(ctx context.Context, key string, bind broker.Binding, ttl time.Duration) (broker.Request, error) {
	url, expires, err := b.sign.put(ctx, key, bind, ttl)
	if err != nil {
		return broker.Request{}, err
	}
	headers := make(map[string]string, 2)
	if bind.ContentType != "" {
		headers["content-type"] = bind.ContentType
	}
	if !bind.SHA1.IsZero() {
		headers["x-amz-checksum-sha1"] = bind.SHA1.Base64()
	}
	return broker.Request{Method: "PUT", URL: url, Headers: headers, ExpiresAt: expires}, nil
}

// SignGet presigns a GET. Like a grant's, the link ends with the credentials
// that sign it.
func (b *Bucket) SignGet(ctx context.Context, key string, opts storage.GetOptions, ttl time.Duration) (string, error) {
	return b.sign.get(ctx, key, opts, ttl)
}

func (p *presigner) put(ctx context.Context, key string, bind broker.Binding, ttl time.Duration) (string, time.Time, error) {
	names, headers := make([]byte, 0, 80), make([]byte, 0, 256)
	// In the order of the alphabet: content-length, content-type, host, x-amz-….
	if bind.SizeBytes >= 0 {
		names = append(names, "content-length%3B"...)
		headers = append(headers, "content-length:"...)
		headers = strconv.AppendInt(headers, bind.SizeBytes, 10)
		headers = append(headers, '\n')
	}
	if bind.ContentType != "" {
		names = append(names, "content-type%3B"...)
		headers = append(headers, "content-type:"...)
		headers = append(headers, bind.ContentType...)
		headers = append(headers, '\n')
	}
	names = append(names, "host"...)
	headers = append(headers, "host:"...)
	headers = append(headers, p.host...)
	headers = append(headers, '\n')
	if !bind.SHA1.IsZero() {
		names = append(names, "%3Bx-amz-checksum-sha1"...)
		headers = append(headers, "x-amz-checksum-sha1:"...)
		headers = append(headers, bind.SHA1.Base64()...)
		headers = append(headers, '\n')
	}
	query := "&x-id=PutObject"
	if p.minio {
		names, headers, query = guardCopySource(names, headers, query)
	}
	return p.presign(ctx, "PUT", key, names, headers, query, ttl)
}

func (p *presigner) get(ctx context.Context, key string, opts storage.GetOptions, ttl time.Duration) (string, error) {
	// In the order of the alphabet, after X-Amz-…: r, v, x.
	var query []byte
	if opts.Filename != "" {
		query = presign.AppendQuery(append(query, "&response-content-disposition="...), presign.Attachment(opts.Filename))
	}
	if opts.ContentType != "" {
		query = presign.AppendQuery(append(query, "&response-content-type="...), opts.ContentType)
	}
	if opts.Version != "" {
		query = presign.AppendQuery(append(query, "&versionId="...), opts.Version)
	}
	query = append(query, "&x-id=GetObject"...)
	url, _, err := p.presign(ctx, "GET", key, []byte("host"), []byte("host:"+p.host+"\n"), string(query), ttl)
	return url, err
}

// presign makes the URL. names are the signed headers' names, escaped; headers
// their canonical lines; more is the rest of the query, escaped and in order.
func (p *presigner) presign(ctx context.Context, method, key string, names, headers []byte, more string, ttl time.Duration) (string, time.Time, error) {
	now := p.now().UTC().Truncate(time.Second)
	k, err := p.signingKey(ctx, now)
	if err != nil {
		return "", time.Time{}, err
	}
	if k.creds.CanExpire {
		ttl = min(ttl, k.creds.Expires.Sub(now))
	}
	seconds := int64(ttl / time.Second)
	if seconds < 1 {
		return "", time.Time{}, fmt.Errorf("%w: they end at %v", errCredentials, k.creds.Expires.Format(time.RFC3339))
	}
	seconds = min(seconds, int64(storage.MaxTTL/time.Second))

	scrap, _ := p.scraps.Get().(*[]byte)
	if scrap == nil {
		scrap = new([]byte)
	}
	defer p.scraps.Put(scrap)
	buf := (*scrap)[:0]

	// The URL without its signature comes first: path and query of the
	// canonical request are parts of it.
	buf = append(buf, p.origin...)
	path := len(buf)
	buf = append(buf, p.base...)
	buf = presign.AppendPath(buf, key)
	mark := len(buf)
	buf = append(buf, '?')
	buf = append(buf, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="...)
	buf = append(buf, k.credential...)
	buf = append(buf, "&X-Amz-Date="...)
	date := len(buf)
	buf = now.AppendFormat(buf, "20060102T150405Z")
	dateEnd := len(buf)
	buf = append(buf, "&X-Amz-Expires="...)
	buf = strconv.AppendInt(buf, seconds, 10)
	buf = append(buf, k.token...)
	buf = append(buf, "&X-Amz-SignedHeaders="...)
	buf = append(buf, names...)
	buf = append(buf, more...)
	end := len(buf)

	// The canonical request, behind it in the same buffer.
	buf = append(buf, method...)
	buf = append(buf, '\n')
	buf = append(buf, buf[path:mark]...)
	buf = append(buf, '\n')
	buf = append(buf, buf[mark+1:end]...)
	buf = append(buf, '\n')
	buf = append(buf, headers...)
	buf = append(buf, '\n')
	for i := 0; i < len(names); i++ {
		if names[i] == '%' { // "%3B", the only escape there
			buf = append(buf, ';')
			i += 2
			continue
		}
		buf = append(buf, names[i])
	}
	buf = append(buf, "\nUNSIGNED-PAYLOAD"...)
	canonical := sha256.Sum256(buf[end:])

	// The string to sign replaces it, behind the HMAC's first block.
	buf = append(buf[:end], k.hmac.Inner[:]...)
	buf = append(buf, "AWS4-HMAC-SHA256\n"...)
	buf = append(buf, buf[date:dateEnd]...)
	buf = append(buf, '\n')
	buf = append(buf, k.scope...)
	buf = append(buf, '\n')
	buf = hex.AppendEncode(buf, canonical[:])
	signature := k.hmac.Finish(sha256.Sum256(buf[end:]))

	buf = append(buf[:end], "&X-Amz-Signature="...)
	buf = hex.AppendEncode(buf, signature[:])
	*scrap = buf
	return string(buf), now.Add(time.Duration(seconds) * time.Second), nil
}

// signingKey gives the key of now's day for the current credentials.
func (p *presigner) signingKey(ctx context.Context, now time.Time) (*signingKey, error) {
	if p.creds == nil {
		return nil, errCredentials
	}
	creds, err := p.creds.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCredentials, err)
	}
	var day [8]byte
	now.AppendFormat(day[:0], "20060102")
	if k := p.key.Load(); k != nil && k.day == string(day[:]) && sameCredentials(&k.creds, &creds) {
		return k, nil
	}
	k := newSigningKey(creds, string(day[:]), p.region)
	p.key.Store(k) // a race makes two equal keys
	return k, nil
}

func sameCredentials(a, b *aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey &&
		a.SessionToken == b.SessionToken && a.CanExpire == b.CanExpire && a.Expires.Equal(b.Expires)
}

func newSigningKey(creds aws.Credentials, day, region string) *signingKey {
	k := &signingKey{creds: creds, day: day, scope: day + "/" + region + "/s3/aws4_request"}
	k.credential = string(presign.AppendQuery(nil, creds.AccessKeyID+"/"+k.scope))
	if creds.SessionToken != "" {
		k.token = string(presign.AppendQuery([]byte("&X-Amz-Security-Token="), creds.SessionToken))
	}
	k.hmac = presign.NewKey("AWS4"+creds.SecretAccessKey, day, region, "s3", "aws4_request")
	return k
}
