package s3

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/uploadbroker/uploadbroker/storage"
)

// Bounds on the SDK's own retries: a caller's job is retried at large by the
// worker, so one operation must not sit here for minutes.
const (
	maxAttempts = 3
	maxBackoff  = time.Second
)

// Options say which bucket, and how to reach it.
type Options struct {
	Bucket          string // its name in the cloud
	Region          string // "": us-east-1 when Endpoint is set, else the SDK's own chain
	Endpoint        string // scheme and host; "": Amazon's own
	PublicEndpoint  string // what presigned URLs name, where it differs from Endpoint
	PathStyle       bool   // the bucket in the path, not in the host name
	MinIO           bool   // the server is MinIO: see minio.go for what it does otherwise
	AccessKeyID     string // "": the SDK's own chain (environment, files, instance role)
	AccessKeySecret string

	HTTPClient    *http.Client     // nil: the SDK's, with more idle connections
	PartSizeBytes int64            // of long Puts, at least 5 MiB; 0: 8 MiB
	Now           func() time.Time // the presigner's clock; nil: time.Now
}

// Bucket is a storage.Driver for one S3 bucket.
type Bucket struct {
	name     string
	client   *awss3.Client
	http     aws.HTTPClient // what client uses, for the probe's plain requests
	sign     *presigner     // for the endpoint that clients use
	own      *presigner     // for the one that the broker uses
	minio    bool
	partSize int64
}

var (
	_ storage.Driver           = (*Bucket)(nil)
	_ storage.PutSigner        = (*Bucket)(nil)
	_ storage.GetSigner        = (*Bucket)(nil)
	_ storage.Copier           = (*Bucket)(nil)
	_ storage.Prober           = (*Bucket)(nil)
	_ storage.MultipartAborter = (*Bucket)(nil)
)

// Open makes the driver. It sends no request, except what the SDK's chain needs
// to find credentials when none are given. When they are, AWS_* variables and
// ~/.aws are not read at all.
func Open(ctx context.Context, o Options) (*Bucket, error) {
	if o.Bucket == "" {
		return nil, fmt.Errorf("s3: no bucket named")
	}
	if (o.AccessKeyID == "") != (o.AccessKeySecret == "") {
		return nil, fmt.Errorf("s3: an access key needs both its id and its secret")
	}
	switch {
	case o.PartSizeBytes == 0:
		o.PartSizeBytes = defaultPartSize
	case o.PartSizeBytes < minPartSize:
		return nil, fmt.Errorf("s3: parts have %d bytes at least", minPartSize)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	cfg, err := loadConfig(ctx, o)
	if err != nil {
		return nil, err
	}
	client := awss3.NewFromConfig(cfg, func(so *awss3.Options) {
		so.UsePathStyle = o.PathStyle
		if o.Endpoint != "" {
			so.BaseEndpoint = aws.String(o.Endpoint)
			// The SDK's default adds a CRC-32 trailer that others than Amazon
			// may not know, and refuses answers that lack one.
			so.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			so.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
	})
	own, err := newPresigner(ctx, cfg, o.Bucket, o.Endpoint, o.PathStyle, o.Now)
	if err != nil {
		return nil, err
	}
	sign := own
	if o.PublicEndpoint != "" && o.PublicEndpoint != o.Endpoint {
		if sign, err = newPresigner(ctx, cfg, o.Bucket, o.PublicEndpoint, o.PathStyle, o.Now); err != nil {
			return nil, err
		}
	}
	sign.minio, own.minio = o.MinIO, o.MinIO
	return &Bucket{
		name: o.Bucket, client: client, http: cfg.HTTPClient, sign: sign, own: own, minio: o.MinIO,
		partSize: o.PartSizeBytes,
	}, nil
}

func loadConfig(ctx context.Context, o Options) (aws.Config, error) {
	var client aws.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = 64 // the SDK's 10 makes sweeps reconnect
	})
	if o.HTTPClient != nil {
		client = o.HTTPClient
	}
	retryer := func() aws.Retryer {
		return retry.NewStandard(func(so *retry.StandardOptions) {
			so.MaxAttempts, so.MaxBackoff = maxAttempts, maxBackoff
		})
	}
	if o.AccessKeyID != "" {
		region := o.Region
		if region == "" {
			region = "us-east-1"
		}
		creds := aws.Credentials{AccessKeyID: o.AccessKeyID, SecretAccessKey: o.AccessKeySecret, Source: "configuration"}
		return aws.Config{
			Region:     region,
			HTTPClient: client,
			Retryer:    retryer,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return creds, nil
			}),
		}, nil
	}
	load := func(ctx context.Context) (aws.Config, error) {
		return config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithRetryer(retryer))
	}
	cfg, err := load(ctx)
	if err != nil {
		return cfg, fmt.Errorf("s3: load the SDK's configuration: %w", err)
	}
	if cfg.Credentials != nil {
		cfg.Credentials = &renewing{current: cfg.Credentials, now: o.Now, load: load}
	}
	if o.Region != "" {
		cfg.Region = o.Region
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	return cfg, nil
}

// CreateIfAbsent creates the bucket unless it exists. It needs s3:CreateBucket;
// the program calls it only for the bucket on its own disk.
func (b *Bucket) CreateIfAbsent(ctx context.Context) error {
	_, err := b.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &b.name})
	if err == nil || !isStatus(err, http.StatusNotFound) {
		return err
	}
	_, err = b.client.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &b.name})
	if isCode(err, "BucketAlreadyOwnedByYou") {
		return nil // another process was faster
	}
	return err
}

// trimETag takes the quotes off, as storage.Object wants it.
func trimETag(s *string) string { return strings.Trim(aws.ToString(s), `"`) }
