package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConfigOfOSS(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	// good is a bucket with one thing said otherwise.
	good := func(other string) string {
		lines := "  - symbol: H\n    cloud: OSS\n    bucket: photos-hz\n    region: cn-hangzhou\n    oss: {role_arn: \"acs:ram::1:role/uploader\"}\n"
		if other == "" {
			return lines
		}
		key, _, _ := strings.Cut(other, ":")
		kept := ""
		for line := range strings.Lines(lines) {
			if !strings.Contains(line, " "+key+":") {
				kept += line
			}
		}
		return kept + "    " + other + "\n"
	}
	for _, c := range []struct{ other, fault string }{
		{"", ""},
		{"region: oss-cn-hangzhou", ""},
		{"region: cn-hangzhou-internal", ""},
		{"grant_ttl: 15m", ""},
		{"grant_ttl: 12h", ""},
		{"path_style: true", ""},
		{`oss: {role_arn: "acs:ram::1:role/uploader", sts_endpoint: "http://127.0.0.1:8090/sts"}`, ""},
		{"region: ''", "region"},
		{"region: Hangzhou", "region"},
		{"bucket: Photos_HZ", "bucket"},
		{"grant_ttl: 14m", "grant_ttl"},
		{"grant_ttl: 13h", "grant_ttl"},
		{"oss: {role_arn: uploader}", "oss.role_arn"},
		{"oss: {role_arn: \"arn:aws:iam::1:role/uploader\"}", "oss.role_arn"},
		{`oss: {sts_endpoint: "sts.aliyuncs.com"}`, "oss.sts_endpoint"},
		{`oss: {sts_endpoint: "https://user@sts.aliyuncs.com"}`, "oss.sts_endpoint"},
		{"endpoint: oss-cn-hangzhou.aliyuncs.com", "endpoint"},
		{"cloud: S3", "oss"},
	} {
		write(t, path, []byte("buckets:\n"+good(c.other)))
		_, err := configFlags{ConfigFile: path}.load(nil)
		switch {
		case c.fault == "" && err != nil:
			t.Errorf("%q: %v", c.other, err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), "buckets.0."+c.fault+":")):
			t.Errorf("%q: the fault of %s is not told: %v", c.other, c.fault, err)
		}
	}
	// Without a role there are presigned requests alone, which may live longer.
	write(t, path, []byte("buckets:\n"+strings.Replace(good("grant_ttl: 100h"), "oss: {role_arn: \"acs:ram::1:role/uploader\"}", "display: Hangzhou", 1)))
	c, err := configFlags{ConfigFile: path}.load(nil)
	if err != nil || time.Duration(c.Buckets[0].GrantTTL) != 100*time.Hour {
		t.Errorf("without a role: %+v, %v", c.Buckets, err)
	}
	write(t, path, []byte("buckets:\n"+good("")))
	if c, err = (configFlags{ConfigFile: path}).load(nil); err != nil || time.Duration(c.Buckets[0].GrantTTL) != time.Hour || *c.Buckets[0].PathStyle {
		t.Errorf("the defaults are %+v, %v", c.Buckets, err)
	}
}
