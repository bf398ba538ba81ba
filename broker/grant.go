package broker

import (
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
