package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/local"
	"github.com/uploadbroker/uploadbroker/storage/s3"
)

// localPath is where the API mounts the local bucket: its URLs are signed for
// this path.
const localPath = "/" + local.BucketName + "/"

// buckets are the places to upload to, in the configured order.
type buckets struct {
	all     []*storage.Bucket
	gateway *local.Gateway // nil: no local bucket
	bucket  *local.Bucket
}

// openBuckets makes the buckets. Only the local one is reached here: a cloud
// that is down is no reason not to start.
func openBuckets(ctx context.Context, c config, observe storage.Observer) (_ *buckets, err error) {
	b := &buckets{}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open the buckets: %w", err)
			_ = b.Close()
		}
	}()
	add := func(info storage.Info, d storage.Driver) error {
		bucket, err := storage.New(info, d, storage.WithObserver(observe))
		if err == nil {
			b.all = append(b.all, bucket)
		}
		return err
	}
	if *c.LocalBucket.Enabled {
		if b.gateway, err = local.Open(ctx, local.Options{
			Dir: filepath.Join(c.DataDir, "objects"), KeyFile: filepath.Join(c.DataDir, "local-bucket.key"),
		}); err != nil {
			return nil, err
		}
		if b.bucket, err = b.gateway.Bucket(ctx, local.BucketName); err != nil {
			return nil, err
		}
		if err = add(storage.Info{
			Symbol: c.LocalBucket.Symbol, Display: c.LocalBucket.Display, Cloud: broker.CloudS3,
			GrantTTL: time.Duration(c.LocalBucket.GrantTTL),
		}, b.bucket); err != nil {
			return nil, err
		}
	}
	for _, bc := range c.Buckets {
		driver, err := s3.Open(ctx, s3.Options{
			Bucket: bc.Bucket, Region: bc.Region, Endpoint: bc.Endpoint, PublicEndpoint: bc.PublicEndpoint,
			PathStyle: *bc.PathStyle, AccessKeyID: bc.AccessKeyID, AccessKeySecret: bc.AccessKeySecret,
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", bc.Symbol, err)
		}
		if err := add(storage.Info{
			Symbol: bc.Symbol, Display: bc.Display, Cloud: broker.Cloud(bc.Cloud),
			GrantTTL: time.Duration(bc.GrantTTL), Drain: bc.Drain,
		}, driver); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Close stops the local bucket.
func (b *buckets) Close() error {
	if b.gateway == nil {
		return nil
	}
	return b.gateway.Close()
}

// gone is closed when the local bucket stops; nil where there is none.
func (b *buckets) gone() <-chan struct{} {
	if b.gateway == nil {
		return nil
	}
	return b.gateway.Done()
}

// handler serves the local bucket; nil where there is none.
func (b *buckets) handler(onPut func(key string), log *slog.Logger) http.Handler {
	if b.bucket == nil {
		return nil
	}
	return b.bucket.Handler(local.HandlerOptions{OnPut: onPut, Log: log})
}

// placements are the buckets as the rules need them.
func (b *buckets) placements() []broker.Bucket {
	out := make([]broker.Bucket, len(b.all))
	for i, bucket := range b.all {
		info := bucket.Info()
		out[i] = broker.Bucket{
			Symbol: info.Symbol, Display: info.Display, Cloud: info.Cloud, GrantTTL: info.GrantTTL, Drain: info.Drain,
		}
		if bucket.CanSignPut() {
			out[i].Signer = bucket
		}
	}
	return out
}
