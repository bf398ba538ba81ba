package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// localBucket is the bucket on this machine's disk.
type localBucket struct {
	Enabled  *bool    `yaml:"enabled"` // default: only when there are no other buckets
	Symbol   string   `yaml:"symbol"`  // default Local
	Display  string   `yaml:"display"` // default This machine
	GrantTTL duration `yaml:"grant_ttl"`
}

// bucketConfig is one place in a cloud.
type bucketConfig struct {
	Symbol              string       `yaml:"symbol"`
	Display             string       `yaml:"display"` // default: the symbol
	Cloud               string       `yaml:"cloud"`   // S3, OSS or MINIO
	Bucket              string       `yaml:"bucket"`
	Region              string       `yaml:"region"`
	Endpoint            string       `yaml:"endpoint"`        // default: the cloud's own
	PublicEndpoint      string       `yaml:"public_endpoint"` // what clients are given; default: endpoint
	PathStyle           *bool        `yaml:"path_style"`      // default: for MINIO
	AccessKeyID         string       `yaml:"access_key_id"`   // default: the SDK's own chain
	AccessKeySecret     string       `yaml:"access_key_secret"`
	AccessKeySecretFile string       `yaml:"access_key_secret_file"`
	Location            *location    `yaml:"location"` // default: the region's
	Countries           countryRules `yaml:"countries"`
	GrantTTL            duration     `yaml:"grant_ttl"` // default 3h, 7 days at most; for OSS see there
	Drain               bool         `yaml:"drain"`     // no new grants, still read
	Events              eventRules   `yaml:"events"`
	OSS                 ossConfig    `yaml:"oss"` // cloud OSS
}

// eventRules say whose word about arrivals in a bucket is taken.
type eventRules struct {
	Secret     string `yaml:"secret"`      // that a sender shows, 16 characters or more; default: one is made, see 'buckets events'
	SecretFile string `yaml:"secret_file"` // a file that holds it
	SNSTopic   string `yaml:"sns_topic"`   // ARN of the SNS topic whose subscription is confirmed; default none
}

// topicPattern is an SNS topic's ARN (AWS General Reference, "Amazon Resource Names").
const topicPattern = `^arn:aws(-cn|-us-gov)?:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$`

func (e *eventRules) finish(key string, fault func(key, format string, args ...any)) {
	if e.SecretFile != "" {
		if e.Secret != "" {
			fault(key+".secret_file", "secret is set as well; keep one of them")
		} else if secret, err := readSecret(e.SecretFile); err != nil {
			fault(key+".secret_file", "%v", err)
		} else {
			e.Secret = secret
		}
	}
	if e.Secret != "" && !matches(secretPattern, e.Secret) {
		fault(key+".secret", "must have 16 to 200 letters, digits, - or _, for it is part of a URL; leave it out to have one made")
	}
	if e.SNSTopic != "" && !matches(topicPattern, e.SNSTopic) {
		fault(key+".sns_topic", "%q is not the ARN of an SNS topic, such as arn:aws:sns:ap-east-1:123456789012:photos", e.SNSTopic)
	}
}

// secretPattern is what needs no escaping in a URL.
const secretPattern = `^[A-Za-z0-9_-]{16,200}$`

// location is a point in degrees (WGS 84).
type location struct {
	Lat float64 `yaml:"lat"`
	Lon float64 `yaml:"lon"`
}

// countryRules say to whom a bucket is offered; ISO 3166-1 alpha-2.
type countryRules struct {
	Only    []string `yaml:"only"`    // default: all
	Except  []string `yaml:"except"`  // default: none
	Enforce bool     `yaml:"enforce"` // refuse grants by the same rules, not only leave it out of nearest
}

// symbolPattern is what GraphQL takes as an enum's member, where symbols go too.
const symbolPattern = `^[_A-Za-z][_0-9A-Za-z]{0,63}$`

func (c *config) finishBuckets(fault func(key, format string, args ...any)) {
	if c.LocalBucket.Enabled == nil {
		enabled := len(c.Buckets) == 0
		c.LocalBucket.Enabled = &enabled
	}
	if !*c.LocalBucket.Enabled && len(c.Buckets) == 0 {
		fault("local_bucket.enabled", "there is no other bucket: configure one under buckets, or leave this out")
	}
	taken := map[string]string{}
	symbol := func(key, s string) {
		switch {
		case !matches(symbolPattern, s) || strings.HasPrefix(s, "__") || slices.Contains([]string{"true", "false", "null", "NONE"}, s):
			fault(key, "%q can't be a symbol: letters, digits and _, not a digit first, not true, false, null, NONE, nor beginning with __", s)
		case taken[s] != "":
			fault(key, "%s has the symbol %q already", taken[s], s)
		}
		taken[s] = key
	}
	if *c.LocalBucket.Enabled {
		symbol("local_bucket.symbol", c.LocalBucket.Symbol)
		checkTTL("local_bucket.grant_ttl", c.LocalBucket.GrantTTL, fault)
	}
	for i := range c.Buckets {
		b := &c.Buckets[i]
		at := func(key string) string { return fmt.Sprintf("buckets.%d.%s", i, key) }
		symbol(at("symbol"), b.Symbol)
		if b.Display == "" {
			b.Display = b.Symbol
		}
		cloud, err := broker.ParseCloud(b.Cloud)
		switch {
		case err != nil:
			fault(at("cloud"), "%q is not a cloud: S3, OSS or MINIO", b.Cloud)
		case cloud == broker.CloudMinIO && b.Endpoint == "":
			fault(at("endpoint"), "a MINIO bucket needs its endpoint")
		}
		b.finishOSS(at, fault)
		if b.GrantTTL == 0 {
			b.GrantTTL = duration(storage.DefaultGrantTTL)
		}
		checkTTL(at("grant_ttl"), b.GrantTTL, fault)
		if b.PathStyle == nil {
			path := b.Cloud == string(broker.CloudMinIO)
			b.PathStyle = &path
		}
		if b.Bucket == "" {
			fault(at("bucket"), "name the bucket as its cloud knows it")
		}
		for _, e := range []struct{ key, url string }{{"endpoint", b.Endpoint}, {"public_endpoint", b.PublicEndpoint}} {
			if e.url != "" && !isBaseURL(e.url) {
				fault(at(e.key), "%q is not http://host or https://host, without a path", e.url)
			}
		}
		checkLocation(at("location"), b.Location, fault)
		b.Countries.finish(at("countries"), fault)
		b.Events.finish(at("events"), fault)
		if b.AccessKeySecretFile != "" {
			if b.AccessKeySecret != "" {
				fault(at("access_key_secret_file"), "access_key_secret is set as well; keep one of them")
			} else if secret, err := readSecret(b.AccessKeySecretFile); err != nil {
				fault(at("access_key_secret_file"), "%v", err)
			} else {
				b.AccessKeySecret = secret
			}
		}
		if (b.AccessKeyID == "") != (b.AccessKeySecret == "") {
			fault(at("access_key_id"), "access_key_id and access_key_secret go together; leave both out for the SDK's own chain")
		}
	}
}

func checkTTL(key string, ttl duration, fault func(key, format string, args ...any)) {
	if d := time.Duration(ttl); d < time.Minute || d > storage.MaxTTL {
		fault(key, "must be 1m to 168h")
	}
}
