package broker

import (
	"fmt"
	"strings"
)

// A ReasonCode says why an image is Invalid. The list is closed and stable.
type ReasonCode string

// The reasons of an Invalid image. Only the first four that a file of any kind
// can have (empty, size_mismatch, checksum_mismatch, too_large) and the two of
// the upload itself (expired, unchecked) are known to projects of kind files.
const (
	ReasonExpired           ReasonCode = "expired"            // every grant ended and nothing arrived
	ReasonEmpty             ReasonCode = "empty"              // the object has no bytes
	ReasonSizeMismatch      ReasonCode = "size_mismatch"      // not the declared size
	ReasonChecksumMismatch  ReasonCode = "checksum_mismatch"  // not the declared sha1
	ReasonTruncated         ReasonCode = "truncated"          // the file ends before its picture does
	ReasonCorrupt           ReasonCode = "corrupt"            // the file contradicts its own format
	ReasonUnsupportedFormat ReasonCode = "unsupported_format" // not an image, or of a kind that is not taken
	ReasonTooManyPixels     ReasonCode = "too_many_pixels"    // over limits.max_pixels
	ReasonTooLarge          ReasonCode = "too_large"          // over limits.max_object
	ReasonUnchecked         ReasonCode = "unchecked"          // it could not be checked, again and again
)

// AllReasons lists every ReasonCode.
func AllReasons() []ReasonCode {
	return []ReasonCode{
		ReasonExpired, ReasonEmpty, ReasonSizeMismatch, ReasonChecksumMismatch, ReasonTruncated,
		ReasonCorrupt, ReasonUnsupportedFormat, ReasonTooManyPixels, ReasonTooLarge, ReasonUnchecked,
	}
}

// A Reason is a code with a sentence for a person that carries the figures.
type Reason struct {
	Code   ReasonCode
	Detail string
}

// Reasonf makes a Reason.
func Reasonf(code ReasonCode, format string, args ...any) Reason {
	return Reason{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// String is how a reason travels: "truncated: the scan ends after 1,204 of 2,250 rows".
func (r Reason) String() string {
	if r.Detail == "" {
		return string(r.Code)
	}
	return string(r.Code) + ": " + r.Detail
}

// ParseReason reads what String wrote.
func ParseReason(s string) Reason {
	code, detail, _ := strings.Cut(s, ": ")
	return Reason{Code: ReasonCode(code), Detail: detail}
}
