package oss

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// regionName is a region as signatures name it: cn-hangzhou.
var regionName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)

// parseRegion reads "cn-hangzhou", "oss-cn-hangzhou" and either with "-internal"
// behind it: the region as signatures name it, and whether its name inside the
// cloud was meant.
func parseRegion(s string) (region string, internal bool, err error) {
	region, internal = strings.CutSuffix(strings.TrimPrefix(s, "oss-"), "-internal")
	if !regionName.MatchString(region) {
		return "", false, fmt.Errorf("oss: no region %q: it is one such as cn-hangzhou, and signatures name it also where an endpoint is set", s)
	}
	return region, internal, nil
}

// fillEndpoints sets the endpoints that were not given and checks those that were.
func (o *Options) fillEndpoints(region string, internal bool) error {
	public := "https://oss-" + region + ".aliyuncs.com"
	if o.Endpoint == "" {
		o.Endpoint = public
		if internal {
			o.Endpoint = "https://oss-" + region + "-internal.aliyuncs.com"
		}
		if o.PublicEndpoint == "" {
			o.PublicEndpoint = public
		}
	}
	if o.PublicEndpoint == "" {
		o.PublicEndpoint = o.Endpoint
	}
	if o.STSEndpoint == "" {
		o.STSEndpoint = "https://sts." + region + ".aliyuncs.com"
	}
	for _, e := range []struct {
		name  string
		value *string
		path  bool
	}{{"endpoint", &o.Endpoint, false}, {"public endpoint", &o.PublicEndpoint, false}, {"STS endpoint", &o.STSEndpoint, true}} {
		*e.value = strings.TrimRight(*e.value, "/")
		u, err := url.Parse(*e.value)
		switch {
		case err != nil:
			return fmt.Errorf("oss: the %s is no URL", e.name)
		case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			return fmt.Errorf("oss: the %s is a scheme and a host: https://oss-cn-hangzhou.aliyuncs.com", e.name)
		case u.Path != "" && !e.path:
			return fmt.Errorf("oss: the %s has a path, which OSS can't have", e.name)
		}
	}
	return nil
}

// place is where an endpoint has a bucket: scheme and host, and the path before
// the key. Like the SDK it puts the bucket into the path where the host is an
// address in numbers.
func place(endpoint, bucket string, pathStyle bool) (origin, base string, err error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", "", err
	}
	if pathStyle || net.ParseIP(u.Hostname()) != nil {
		return u.Scheme + "://" + u.Host, "/" + bucket + "/", nil
	}
	return u.Scheme + "://" + bucket + "." + u.Host, "/", nil
}
