package oss

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/presign"
)

// presigner makes presigned URLs by signatures of version 4 (Aliyun OSS API
// Reference, "Include a V4 signature in a URL"). The SDK's own could do it too,
// but not with another clock, nor as fast: the signing key depends only on the
// day and the credentials and is kept.
type presigner struct {
	creds    credentialSource
	now      func() time.Time
	origin   string // scheme and host
	base     string // the path before the key, ending in "/"
	resource string // the same as signatures have it: always with the bucket
	region   string
	key      atomic.Pointer[signingKey]
	scraps   sync.Pool // *[]byte
}

// signingKey is what one day and one set of credentials have in common.
type signingKey struct {
	creds      credential
	day        string // yyyymmdd
	scope      string // day/region/oss/aliyun_v4_request
	credential string // the value of x-oss-credential, escaped
	token      string // "&x-oss-security-token=…", escaped, or ""
	hmac       presign.Key
}

func newPresigner(creds credentialSource, bucket, endpoint, region string, pathStyle bool, now func() time.Time) (*presigner, error) {
	origin, base, err := place(endpoint, bucket, pathStyle)
	if err != nil {
		return nil, fmt.Errorf("oss: %w", err)
	}
	return &presigner{creds: creds, now: now, origin: origin, base: base, resource: "/" + bucket + "/", region: region}, nil
}

// SignPut presigns a PUT. The size is bound as an additional header, also when it
// is zero; bind.SHA1 OSS does not know. A request whose content type is not bound
// must be sent without one: OSS signs that header whenever it is there. The URL
// ends with the credentials that sign it, when those end first; ExpiresAt says so.
func (b *Bucket) SignPut(ctx context.Context, key string, bind broker.Binding, ttl time.Duration) (broker.Request, error) {
	if err := checkKey(key); err != nil {
		return broker.Request{}, err
	}
	url, expires, err := b.sign.put(ctx, key, bind, ttl)
	if err != nil {
		return broker.Request{}, err
	}
	headers := make(map[string]string, 1)
	if bind.ContentType != "" {
		headers["content-type"] = bind.ContentType
	}
	return broker.Request{Method: "PUT", URL: url, Headers: headers, ExpiresAt: expires}, nil
}

// SignGet presigns a GET. Like a grant's, the link ends with the credentials
// that sign it.
func (b *Bucket) SignGet(ctx context.Context, key string, opts storage.GetOptions, ttl time.Duration) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	return b.sign.get(ctx, key, opts, ttl)
}

func (p *presigner) put(ctx context.Context, key string, bind broker.Binding, ttl time.Duration) (string, time.Time, error) {
	additional := ""
	headers := make([]byte, 0, 256)
	if bind.SizeBytes >= 0 {
		additional = "content-length"
		headers = append(headers, "content-length:"...)
		headers = strconv.AppendInt(headers, bind.SizeBytes, 10)
		headers = append(headers, '\n')
	}
	if bind.ContentType != "" {
		headers = append(headers, "content-type:"...)
		headers = append(headers, bind.ContentType...)
		headers = append(headers, '\n')
	}
	return p.presign(ctx, "PUT", key, additional, headers, nil, ttl)
}

func (p *presigner) get(ctx context.Context, key string, opts storage.GetOptions, ttl time.Duration) (string, error) {
	// In the order of the alphabet, before x-oss-…: r, v.
	var query []byte
	if opts.Filename != "" {
		query = presign.AppendQuery(append(query, "response-content-disposition="...), presign.Attachment(opts.Filename))
		query = append(query, '&')
	}
	if opts.ContentType != "" {
		query = presign.AppendQuery(append(query, "response-content-type="...), opts.ContentType)
		query = append(query, '&')
	}
	if opts.Version != "" {
		query = presign.AppendQuery(append(query, "versionId="...), opts.Version)
		query = append(query, '&')
	}
	url, _, err := p.presign(ctx, "GET", key, "", nil, query, ttl)
	return url, err
}

// presign makes the URL. additional names the header that is signed beside those
// that always are, or is ""; headers are all their canonical lines; query is what
// comes before the signature's own parameters, escaped and in order, with a "&"
// behind each.
func (p *presigner) presign(ctx context.Context, method, key, additional string, headers, query []byte, ttl time.Duration) (string, time.Time, error) {
	k, now, err := p.signingKey(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	if !k.creds.expires.IsZero() {
		ttl = min(ttl, k.creds.expires.Sub(now))
	}
	seconds := int64(ttl / time.Second)
	if seconds < 1 {
		return "", time.Time{}, fmt.Errorf("%w to sign with: they end at %v", errCredentials, k.creds.expires.Format(time.RFC3339))
	}
	seconds = min(seconds, int64(storage.MaxTTL/time.Second))

	scrap, _ := p.scraps.Get().(*[]byte)
	if scrap == nil {
		scrap = new([]byte)
	}
	defer p.scraps.Put(scrap)
	buf := (*scrap)[:0]

	// The URL without its signature comes first: key and query of the canonical
	// request are parts of it.
	buf = append(buf, p.origin...)
	buf = append(buf, p.base...)
	name := len(buf)
	buf = presign.AppendPath(buf, key)
	mark := len(buf)
	buf = append(buf, '?')
	buf = append(buf, query...)
	if additional != "" {
		buf = append(buf, "x-oss-additional-headers="...)
		buf = append(buf, additional...)
		buf = append(buf, '&')
	}
	buf = append(buf, "x-oss-credential="...)
	buf = append(buf, k.credential...)
	buf = append(buf, "&x-oss-date="...)
	date := len(buf)
	buf = now.AppendFormat(buf, "20060102T150405Z")
	dateEnd := len(buf)
	buf = append(buf, "&x-oss-expires="...)
	buf = strconv.AppendInt(buf, seconds, 10)
	buf = append(buf, k.token...)
	place := len(buf) // of the signature
	buf = append(buf, "&x-oss-signature-version=OSS4-HMAC-SHA256"...)
	end := len(buf)

	// The canonical request, behind it in the same buffer.
	buf = append(buf, method...)
	buf = append(buf, '\n')
	buf = append(buf, p.resource...)
	buf = append(buf, buf[name:mark]...)
	buf = append(buf, '\n')
	buf = append(buf, buf[mark+1:end]...)
	buf = append(buf, '\n')
	buf = append(buf, headers...)
	buf = append(buf, '\n')
	buf = append(buf, additional...)
	buf = append(buf, "\nUNSIGNED-PAYLOAD"...)
	canonical := sha256.Sum256(buf[end:])

	// The string to sign replaces it, behind the HMAC's first block.
	buf = append(buf[:end], k.hmac.Inner[:]...)
	buf = append(buf, "OSS4-HMAC-SHA256\n"...)
	buf = append(buf, buf[date:dateEnd]...)
	buf = append(buf, '\n')
	buf = append(buf, k.scope...)
	buf = append(buf, '\n')
	buf = hex.AppendEncode(buf, canonical[:])
	signature := k.hmac.Finish(sha256.Sum256(buf[end:]))

	// The whole URL replaces that: the parameters are in order, as the SDK has them.
	buf = append(buf[:end], buf[:place]...)
	buf = append(buf, "&x-oss-signature="...)
	buf = hex.AppendEncode(buf, signature[:])
	buf = append(buf, buf[place:end]...)
	*scrap = buf
	return string(buf[end:]), now.Add(time.Duration(seconds) * time.Second), nil
}

// signingKey gives the key of the present day for the current credentials, and
// the time that it is for.
func (p *presigner) signingKey(ctx context.Context) (*signingKey, time.Time, error) {
	creds, err := p.creds.get(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	now := p.now().UTC().Truncate(time.Second)
	var day [8]byte
	now.AppendFormat(day[:0], "20060102")
	if k := p.key.Load(); k != nil && k.day == string(day[:]) && k.creds == creds {
		return k, now, nil
	}
	k := newSigningKey(creds, string(day[:]), p.region)
	p.key.Store(k) // a race makes two equal keys
	return k, now, nil
}

func newSigningKey(creds credential, day, region string) *signingKey {
	k := &signingKey{creds: creds, day: day, scope: day + "/" + region + "/oss/aliyun_v4_request"}
	k.credential = string(presign.AppendQuery(nil, creds.id+"/"+k.scope))
	if creds.token != "" {
		k.token = string(presign.AppendQuery([]byte("&x-oss-security-token="), creds.token))
	}
	k.hmac = presign.NewKey("aliyun_v4"+creds.secret, day, region, "oss", "aliyun_v4_request")
	return k
}
