package client

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// putFault is why a PUT did not succeed. Its text never holds the signed URL, nor
// anything of a session.
type putFault struct {
	host       string
	status     int    // 0: no answer
	code       string // the bucket's own, "" when it gave none
	message    string
	retryAfter time.Duration
	reached    bool      // a connection came about
	local      bool      // the file could not be read
	changed    bool      // the bucket has taken other bytes than were sent
	date       time.Time // of the answer, by the bucket's clock
	session    bool      // it was signed with one; else presigned
	err        error
}

func (f *putFault) Error() string {
	switch {
	case f.local:
		return f.err.Error()
	case f.status == 0:
		return fmt.Sprintf("can't reach the bucket at %s: %v", f.host, f.err)
	case f.changed:
		return fmt.Sprintf("what arrived in the bucket at %s is not what was sent: something on the way changes the bytes", f.host)
	case f.code == "":
		return fmt.Sprintf("the bucket at %s answers %d %s", f.host, f.status, http.StatusText(f.status))
	}
	text := strings.TrimSuffix(fmt.Sprintf("the bucket at %s answers %d %s: %s", f.host, f.status, f.code, f.message), ": ")
	if a := f.advice(); a != "" {
		return strings.TrimSuffix(text, ".") + "; " + a
	}
	return text
}

// advice says what a person can do about a session that is refused for good.
func (f *putFault) advice() string {
	if !f.session {
		return ""
	}
	switch f.code {
	case "AccessDenied":
		return "the session that the server gives may not write there: its operator should look at the role's policy and the bucket's"
	case "SignatureDoesNotMatch":
		return "a proxy on the way may change the request, or the server gives a session of another region"
	case "RequestTimeTooSkewed":
		return "the clocks of the bucket, the server and this machine can't be brought together: set this machine's"
	case "SecurityTokenExpired", "InvalidSecurityToken", "InvalidAccessKeyId":
		return "the bucket does not know, or no longer knows, the session that the server gives"
	case "UserDisable":
		return "the bucket's account is closed or in debt: its operator should look at it"
	}
	return ""
}

func (f *putFault) Unwrap() error { return f.err }

// there reports whether the bucket refuses because it has the key already, which
// was ours alone to write: an answer to an earlier PUT was lost. S3 says so by the
// status, where the grant has a condition; OSS does where the bucket forbids to
// overwrite, or keeps what it has.
func (f *putFault) there() bool {
	return f.status == http.StatusPreconditionFailed ||
		f.status == http.StatusConflict && (f.code == "FileAlreadyExists" || f.code == "FileImmutable")
}

// putVerdict is what is to be done after a fault.
type putVerdict int

const (
	putFailed     putVerdict = iota // try again
	putBusy                         // try again, for as long as anything else may be waited for
	putEnded                        // try again with a fresh grant
	putDenied                       // as putEnded, but hardly worth more than one fresh grant
	putSkewed                       // sign by the bucket's clock and try again
	putOtherBytes                   // the bytes are not those that the grant is for
	putRefused                      // give the file up
)

// verdict reads S3's error codes
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html) and OSS's
// (https://www.alibabacloud.com/help/en/oss/user-guide/http-status-code-409 and its
// neighbours).
func (f *putFault) verdict() putVerdict {
	switch f.code {
	case "BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "IncompleteBody":
		return putOtherBytes
	case "RequestTimeout", "OperationAborted", "InternalError":
		return putFailed
	case "SlowDown", "ServiceUnavailable", "QpsLimitExceeded", "UploadTrafficRateLimitExceeded", "DownloadTrafficRateLimitExceeded":
		return putBusy
	case "SecurityTokenExpired", "InvalidSecurityToken", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "RequestExpired":
		return putEnded
	}
	if f.session {
		switch f.code {
		case "RequestTimeTooSkewed":
			return putSkewed
		case "AccessDenied", "SignatureDoesNotMatch":
			return putDenied
		case "UserDisable":
			return putRefused
		}
	}
	switch {
	case f.changed:
		return putOtherBytes
	case f.status == http.StatusTooManyRequests, f.status == http.StatusBadGateway,
		f.status == http.StatusServiceUnavailable, f.status == http.StatusGatewayTimeout:
		return putBusy
	case f.local, f.status == 0, f.status >= 500, f.status == http.StatusRequestTimeout,
		f.status == http.StatusConflict, f.status == http.StatusTooEarly:
		return putFailed
	case f.status == http.StatusForbidden, f.status == http.StatusUnauthorized:
		return putEnded
	}
	return putRefused
}

// ossOrS3Error reads the code and message of an S3 or OSS error document. Its
// other elements stay where they are: OSS's tell of the signature.
func ossOrS3Error(b []byte, session *Session) (code, message string) {
	var doc struct {
		XMLName xml.Name
		Code    string
		Message string
	}
	if !bytes.Contains(b, []byte("<Error")) || xml.Unmarshal(b, &doc) != nil || doc.XMLName.Local != "Error" {
		return "", ""
	}
	return clip(session.hide(doc.Code), 64), clip(session.hide(doc.Message), 200)
}

// clip keeps a foreign text short and on one line.
func clip(s string, max int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if r := []rune(s); len(r) > max {
		return string(r[:max]) + "…"
	}
	return s
}
