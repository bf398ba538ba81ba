package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"reflect"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/geoip"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/local"
	"github.com/uploadbroker/uploadbroker/storage/s3"
)

// localPath is where the API mounts the local bucket: its URLs are signed for
// this path.
const localPath = "/" + local.BucketName + "/"

// buckets are the places to upload to, in the configured order. The clouds' may
// be replaced while the program runs; the local one stays.
type buckets struct {
	observe storage.Observer
	gateway *local.Gateway // nil: no local bucket
	bucket  *local.Bucket
	local   *openBucket // nil: no local bucket
	clouds  []*openBucket
}

// openBucket is a bucket with what it was configured by.
type openBucket struct {
	*storage.Bucket
	config bucketConfig
	place  broker.Bucket
}

// openBuckets makes the buckets. Only the local one is reached here: a cloud
// that is down is no reason not to start.
func openBuckets(ctx context.Context, c config, observe storage.Observer) (_ *buckets, err error) {
	b := &buckets{observe: observe}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open the buckets: %w", err)
			_ = b.Close()
		}
	}()
	if *c.LocalBucket.Enabled {
		if b.gateway, err = local.Open(ctx, local.Options{
			Dir: filepath.Join(c.DataDir, "objects"), KeyFile: filepath.Join(c.DataDir, "local-bucket.key"),
		}); err != nil {
			return nil, err
		}
		if b.bucket, err = b.gateway.Bucket(ctx, local.BucketName); err != nil {
			return nil, err
		}
		// The embedded gateway heeds what a grant binds: its conformance suite
		// proves it.
		bucket, err := storage.New(storage.Info{
			Symbol: c.LocalBucket.Symbol, Display: c.LocalBucket.Display, Cloud: broker.CloudS3,
			GrantTTL: time.Duration(c.LocalBucket.GrantTTL),
		}, b.bucket, storage.WithObserver(observe), storage.WithBound())
		if err != nil {
			return nil, err
		}
		b.local = &openBucket{Bucket: bucket, place: placement(bucket)}
		b.local.place.Free = b.bucket.Free
	}
	b.clouds, err = b.openClouds(ctx, c)
	return b, err
}

// openClouds makes the clouds' buckets anew; those whose configuration is the
// same are taken over with what is known of them.
func (b *buckets) openClouds(ctx context.Context, c config) ([]*openBucket, error) {
	var all []*openBucket
	for _, bc := range c.Buckets {
		if same := b.configuredAs(bc); same != nil {
			all = append(all, same)
			continue
		}
		driver, err := bc.driver(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", bc.Symbol, err)
		}
		bucket, err := storage.New(storage.Info{
			Symbol: bc.Symbol, Display: bc.Display, Cloud: broker.Cloud(bc.Cloud),
			GrantTTL: time.Duration(bc.GrantTTL), Drain: bc.Drain,
		}, driver, storage.WithObserver(b.observe))
		if err != nil {
			return nil, err
		}
		open := &openBucket{Bucket: bucket, config: bc, place: placement(bucket)}
		open.place.Countries = broker.CountryRules(bc.Countries)
		open.place.Events = broker.EventRules{Secret: bc.Events.Secret, Topic: bc.Events.SNSTopic}
		if bc.Location != nil {
			open.place.Location = &broker.Location{Lat: bc.Location.Lat, Lon: bc.Location.Lon}
		} else if at, ok := geoip.Region(broker.Cloud(bc.Cloud), bc.Region); ok && bc.Endpoint == "" {
			// Others than Amazon say us-east-1 by habit, wherever they are.
			open.place.Location = &at
		}
		all = append(all, open)
	}
	return all, nil
}

// driver makes what speaks to the bucket's cloud.
func (bc bucketConfig) driver(ctx context.Context) (storage.Driver, error) {
	if bc.Cloud == string(broker.CloudOSS) {
		return bc.openOSS(ctx)
	}
	return s3.Open(ctx, s3.Options{
		Bucket: bc.Bucket, Region: bc.Region, Endpoint: bc.Endpoint, PublicEndpoint: bc.PublicEndpoint,
		PathStyle: *bc.PathStyle, AccessKeyID: bc.AccessKeyID, AccessKeySecret: bc.AccessKeySecret,
		MinIO: bc.Cloud == string(broker.CloudMinIO),
	})
}

func (b *buckets) configuredAs(c bucketConfig) *openBucket {
	for _, open := range b.clouds {
		if reflect.DeepEqual(open.config, c) {
			return open
		}
	}
	return nil
}

// placement is a bucket as the rules need it.
func placement(b *storage.Bucket) broker.Bucket {
	info := b.Info()
	p := broker.Bucket{
		Symbol: info.Symbol, Display: info.Display, Cloud: info.Cloud, GrantTTL: info.GrantTTL, Drain: info.Drain,
		Reader: b, Receiver: b,
	}
	if b.CanSignPut() {
		p.Signer = b
	}
	if b.CanSession() {
		p.Sessions = b
	}
	if b.CanSignGet() {
		p.Linker = b
	}
	if b.CanCopy() {
		p.Copier = b
	}
	return p
}

// open lists the buckets in the configured order.
func (b *buckets) open() []*openBucket {
	if b.local == nil {
		return b.clouds
	}
	return append([]*openBucket{b.local}, b.clouds...)
}

// all are the buckets as the worker needs them.
func (b *buckets) all() []*storage.Bucket {
	var all []*storage.Bucket
	for _, open := range b.open() {
		all = append(all, open.Bucket)
	}
	return all
}

// placements are the buckets as the rules need them.
func (b *buckets) placements() []broker.Bucket {
	var all []broker.Bucket
	for _, open := range b.open() {
		all = append(all, open.place)
	}
	return all
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
