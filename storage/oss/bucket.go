package oss

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/storage"
)

// Options say which bucket, and how to reach it.
type Options struct {
	Bucket          string // its name in the cloud
	Region          string // cn-hangzhou or oss-cn-hangzhou; with "-internal" the broker uses the name inside the cloud
	Endpoint        string // scheme and host, without the bucket; "": the region's
	PublicEndpoint  string // what presigned URLs and sessions name; "": Endpoint, or the region's public one
	PathStyle       bool   // the bucket in the path, not in the host name
	AccessKeyID     string // "": see the package's documentation
	AccessKeySecret string
	RoleARN         string // what sessions assume: acs:ram::<account>:role/<name>; "": no sessions
	STSEndpoint     string // scheme, host and perhaps a path; "": the region's

	HTTPClient    *http.Client     // of it the Transport alone is used; nil: one that keeps connections
	PartSizeBytes int64            // of long Puts, at least 100 KiB; 0: 8 MiB
	Now           func() time.Time // the presigner's clock; nil: time.Now
}

// Bucket is a storage.Driver for one OSS bucket. Driver adds sessions to it.
type Bucket struct {
	o         Options // with nothing left out
	region    string  // as signatures name it
	sdk       *sdk.Bucket
	transport http.RoundTripper // under the SDKs' clients
	creds     credentialSource
	sign      *presigner
	partSize  int64
	copyWhole int64 // what CopyObject is asked for; longer objects are copied in parts
}

var (
	_ storage.Driver           = (*Bucket)(nil)
	_ storage.PutSigner        = (*Bucket)(nil)
	_ storage.GetSigner        = (*Bucket)(nil)
	_ storage.Copier           = (*Bucket)(nil)
	_ storage.MultipartAborter = (*Bucket)(nil)
	_ storage.Sessioner        = sessionBucket{}
)

// Open makes the driver. It sends no request and reads nothing from the
// environment; credentials that are not given are looked for when they are first
// needed.
func Open(_ context.Context, o Options) (*Bucket, error) {
	if err := sdk.CheckBucketName(o.Bucket); err != nil {
		return nil, fmt.Errorf("oss: %w", err)
	}
	if (o.AccessKeyID == "") != (o.AccessKeySecret == "") {
		return nil, fmt.Errorf("oss: an access key needs both its id and its secret")
	}
	switch {
	case o.PartSizeBytes == 0:
		o.PartSizeBytes = defaultPartSize
	case o.PartSizeBytes < minPartSize:
		return nil, fmt.Errorf("oss: parts have %d bytes at least", minPartSize)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	region, internal, err := parseRegion(o.Region)
	if err != nil {
		return nil, err
	}
	if err := o.fillEndpoints(region, internal); err != nil {
		return nil, err
	}
	if o.RoleARN != "" && !roleARN.MatchString(o.RoleARN) {
		return nil, fmt.Errorf("oss: the role's ARN is acs:ram::<account>:role/<name>, not %q", o.RoleARN)
	}
	b := &Bucket{o: o, region: region, partSize: o.PartSizeBytes, copyWhole: maxCopyWhole}
	b.transport = newTransport()
	if o.HTTPClient != nil {
		if b.transport = o.HTTPClient.Transport; b.transport == nil {
			b.transport = http.DefaultTransport
		}
	}
	if o.AccessKeyID != "" {
		b.creds = fixed(credential{id: o.AccessKeyID, secret: o.AccessKeySecret})
	} else {
		b.creds = newRenewing(o.Now, findCredential)
	}
	client, err := sdk.New(o.Endpoint, "", "",
		sdk.AuthVersion(sdk.AuthV4), sdk.Region(region), sdk.ForcePathStyle(o.PathStyle),
		sdk.SetCredentialsProvider(sdkCredentials{b.creds}),
		sdk.HTTPClient(&http.Client{Transport: guard{b.transport, readOSSAnswer}}))
	if err != nil {
		return nil, fmt.Errorf("oss: %w", err)
	}
	if b.sdk, err = client.Bucket(o.Bucket); err != nil {
		return nil, fmt.Errorf("oss: %w", err)
	}
	if b.sign, err = newPresigner(b.creds, o.Bucket, o.PublicEndpoint, region, o.PathStyle, o.Now); err != nil {
		return nil, err
	}
	return b, nil
}

// Driver is what storage.New takes: the bucket, with a storage.Sessioner when
// Options name a role.
func (b *Bucket) Driver() storage.Driver {
	if b.o.RoleARN == "" {
		return b
	}
	return sessionBucket{b}
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute, // counts from the end of the request's body
		IdleConnTimeout:       50 * time.Second,
		MaxIdleConnsPerHost:   64,   // fewer make sweeps reconnect
		DisableCompression:    true, // OSS would pack some types and leave their ETag out
	}
}
