package broker

import (
	"net"
	"net/url"
	"strings"
	"time"
)

// Cloud is the family of a bucket.
type Cloud string

// The clouds, as the API spells them.
const (
	CloudS3    Cloud = "S3"
	CloudOSS   Cloud = "OSS"
	CloudMinIO Cloud = "MINIO"
)

// ParseCloud reads a cloud's name to the letter.
func ParseCloud(s string) (Cloud, error) {
	switch c := Cloud(s); c {
	case CloudS3, CloudOSS, CloudMinIO:
		return c, nil
	}
	return "", Errorf(CodeInvalid, "unknown cloud %q: it is one of S3, OSS, MINIO", s)
}

// Binding is what a grant binds the upload to. The bucket itself refuses a PUT
// that differs in any field that is set.
type Binding struct {
	SizeBytes   int64  // exact Content-Length; negative: not bound
	SHA1        SHA1   // x-amz-checksum-sha1; zero: not bound
	ContentType string // exact Content-Type; "": not bound
}

// Request is a presigned request: the right to do one thing once or many times
// until it expires. Headers must be sent exactly as given. URL is absolute, or
// begins with "/" when the bucket is reached through the API's own address.
type Request struct {
	Method    string
	URL       string
	Headers   map[string]string
	ExpiresAt time.Time
	// Unbound says that the bucket is not known to refuse other bytes than the
	// Binding names: then the validation alone finds them.
	Unbound bool
}

// CloudSession is a short-lived identity in a cloud that may write objects below one
// prefix, whole or in parts, and do nothing else. Its holder signs his requests
// with it himself. ID, Secret and Token are secrets until it ends.
type CloudSession struct {
	ID        string // access key id
	Secret    string // access key secret
	Token     string // goes with each request
	Endpoint  string // scheme and host, without the bucket: https://oss-cn-hangzhou.aliyuncs.com
	Bucket    string // as its cloud knows it
	Region    string // as signatures of version 4 name it: cn-hangzhou
	PathStyle bool   // the bucket stands in the path, not in the host name
	ExpiresAt time.Time
}

// URL is where an object of the session's bucket lies, to be signed by the
// holder. Servers that have an address for a name get the bucket in the path, as
// Aliyun's SDKs do it.
func (s CloudSession) URL(key string) string {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return ""
	}
	path := "/" + key
	if s.PathStyle || net.ParseIP(u.Hostname()) != nil {
		path = "/" + s.Bucket + path
	} else {
		u.Host = s.Bucket + "." + u.Host
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		// All but RFC 3986's unreserved characters, as the signature has it.
		segments[i] = strings.ReplaceAll(url.QueryEscape(segment), "+", "%20")
	}
	return u.Scheme + "://" + u.Host + strings.Join(segments, "/")
}
