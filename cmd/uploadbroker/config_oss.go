package main

import (
	"context"
	"net/url"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/oss"
)

// ossConfig is what only buckets of Aliyun's OSS have.
type ossConfig struct {
	RoleARN     string `yaml:"role_arn"`     // the role that clients' sessions assume; default: none, only presigned requests
	STSEndpoint string `yaml:"sts_endpoint"` // default: the region's
}

// How long an STS session may live (RAM, "AssumeRole": DurationSeconds; a role
// allows an hour unless its MaxSessionDuration is raised).
const (
	ossGrantTTL   = time.Hour
	minSessionTTL = 15 * time.Minute
	maxSessionTTL = 12 * time.Hour
)

const (
	rolePattern      = `^acs:ram::[0-9]+:role/[A-Za-z0-9.@_-]+$`
	ossRegionPattern = `^[a-z0-9]+(-[a-z0-9]+)+$`
	ossBucketPattern = `^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$` // OSS, "Bucket naming conventions"
)

// finishOSS checks what is peculiar to OSS, and that nobody else uses it.
func (b *bucketConfig) finishOSS(at func(string) string, fault func(key, format string, args ...any)) {
	if b.Cloud != string(broker.CloudOSS) {
		if b.OSS != (ossConfig{}) {
			fault(at("oss"), "is for buckets of cloud OSS")
		}
		return
	}
	if b.GrantTTL == 0 {
		b.GrantTTL = duration(ossGrantTTL)
	}
	if b.Bucket != "" && !matches(ossBucketPattern, b.Bucket) {
		fault(at("bucket"), "%q can't be a bucket of OSS: 3 to 63 lower-case letters, digits and hyphens", b.Bucket)
	}
	if !matches(ossRegionPattern, b.Region) {
		fault(at("region"), "an OSS bucket needs its region, such as cn-hangzhou, not %q", b.Region)
	}
	switch {
	case b.OSS.RoleARN == "":
	case !matches(rolePattern, b.OSS.RoleARN):
		fault(at("oss.role_arn"), "%q is not a role's ARN, such as acs:ram::1234567890123456:role/uploader", b.OSS.RoleARN)
	case time.Duration(b.GrantTTL) < minSessionTTL || time.Duration(b.GrantTTL) > maxSessionTTL:
		fault(at("grant_ttl"), "an STS token lives 15m to 12h, and no longer than its role allows, not %v", time.Duration(b.GrantTTL))
	}
	if u, err := url.Parse(b.OSS.STSEndpoint); b.OSS.STSEndpoint != "" &&
		(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		fault(at("oss.sts_endpoint"), "%q is not http://host or https://host", b.OSS.STSEndpoint)
	}
}

// openOSS makes the driver. Without a role there are no sessions.
func (b bucketConfig) openOSS(ctx context.Context) (storage.Driver, error) {
	bucket, err := oss.Open(ctx, oss.Options{
		Bucket: b.Bucket, Region: b.Region, Endpoint: b.Endpoint, PublicEndpoint: b.PublicEndpoint, PathStyle: *b.PathStyle,
		AccessKeyID: b.AccessKeyID, AccessKeySecret: b.AccessKeySecret, RoleARN: b.OSS.RoleARN, STSEndpoint: b.OSS.STSEndpoint,
	})
	if err != nil {
		return nil, err
	}
	return bucket.Driver(), nil
}
