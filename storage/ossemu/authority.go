package ossemu

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// place is what a request is about, as resolved from its host and decoded path:
// key is "" on the bucket level, bucket too on the service level.
type place struct{ bucket, key string }

// authority knows the account: who asks, whether the signature is right, and
// what the sessions that it gave may do. It keeps no sessions: a token carries
// its own (session.go), so that they outlive the process.
type authority struct {
	keyID, secret string
	role          roleARN
	region        string        // without "oss-"
	maxSession    time.Duration // the longest that AssumeRole gives
	now           func() time.Time
	log           *slog.Logger

	tokens     cipher.AEAD // seals session tokens
	secretSeed []byte      // of the sessions' secrets

	nonces nonces
	calls  perSecond // of AssumeRole
}

// roleARN is acs:ram::<account>:role/<name>, taken apart.
type roleARN struct{ account, name string }

func (r roleARN) String() string { return "acs:ram::" + r.account + ":role/" + r.name }

var (
	// An id goes into Authorization headers between ' ', ':', ',' and '/'.
	keyIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
	// RAM's "CreateRole": up to 64 letters, digits, periods, hyphens; older roles
	// have underscores.
	roleForm   = regexp.MustCompile(`^acs:ram::([0-9]{1,20}):role/([A-Za-z0-9._-]{1,64})$`)
	regionForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
)

// newAuthority refuses options under which nobody could sign, naming all that is
// wrong.
func newAuthority(o Options, log *slog.Logger) (*authority, error) {
	var faults []error
	if !keyIDForm.MatchString(o.AccessKeyID) || strings.HasPrefix(o.AccessKeyID, sessionIDPrefix) {
		faults = append(faults, fmt.Errorf("the access key id %q: 1 to 128 letters, digits, '.', '_' and '-', and not %s… (that is a session's)", o.AccessKeyID, sessionIDPrefix))
	}
	if o.AccessKeySecret == "" {
		faults = append(faults, errors.New("the access key secret is empty"))
	}
	role := roleForm.FindStringSubmatch(o.RoleARN)
	if role == nil {
		faults = append(faults, fmt.Errorf("the role %q: write acs:ram::<digits of the account>:role/<name>", o.RoleARN))
		role = make([]string, 3)
	}
	longest := o.MaxSession
	if longest == 0 {
		longest = time.Hour
	}
	if longest < minSession || longest > 12*time.Hour {
		faults = append(faults, fmt.Errorf("the longest session is %v: 15 minutes to 12 hours", longest))
	}
	// Clients and consoles name a region both ways.
	region := strings.TrimPrefix(o.Region, "oss-")
	if region == "" {
		region = "cn-hangzhou"
	}
	if !regionForm.MatchString(region) {
		faults = append(faults, fmt.Errorf("the region %q: lower-case letters, digits and hyphens, as cn-hangzhou", o.Region))
	}
	limit := o.STSLimit
	if limit == 0 {
		limit = 100
	}
	if limit < 0 {
		faults = append(faults, fmt.Errorf("the STS limit is %d calls a second: 1 or more", limit))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	a := &authority{
		keyID: o.AccessKeyID, secret: o.AccessKeySecret,
		role: roleARN{account: role[1], name: role[2]}, region: region,
		maxSession: longest, now: o.Now, log: log,
		calls: perSecond{limit: limit},
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if err := a.deriveSessionKeys(); err != nil {
		return nil, err
	}
	return a, nil
}

// identity is a caller whose signature was right. The zero identity is nobody.
type identity struct {
	keyID   string
	session *session // nil: the account's own user
}

// may answers nil when the caller may do action ("oss:PutObject") on resource
// ("acs:oss:*:*:bucket/key", "acs:oss:*:*:bucket", "acs:oss:*:*:*"), else
// AccessDenied. The account's user may do everything; a session what its role
// may, which is everything too, and its policy allows ("AssumeRole": the
// intersection of both).
func (id identity) may(action, resource string) *fault {
	switch {
	case id.keyID == "":
		return anonymousFault()
	case id.session == nil || id.session.allows(action, resource):
		return nil
	}
	return &fault{
		status: http.StatusForbidden, code: "AccessDenied",
		message: "Access denied by authorizer's policy.",
		ec:      "0003-00000301", // "denied by the policy of the security token"
	}
}

// identify verifies the signature of an OSS request: all that was signed is what
// came, by whom we know, in time. It never reads the body. p must be what the
// request will act on, since it is what the signature is checked for.
//
// It refuses with AccessDenied (anonymous, expired, no date), InvalidArgument
// (malformed, or signed twice), InvalidAccessKeyId, InvalidSecurityToken,
// SecurityTokenExpired, RequestTimeTooSkewed and SignatureDoesNotMatch.
func (a *authority) identify(r *http.Request, p place) (identity, *fault) {
	q, err := parseParams(r.URL.RawQuery)
	if err != nil {
		return identity{}, invalidArgument("", "The query can't be read: "+err.Error()+".")
	}
	header := r.Header["Authorization"]
	v1URL := q.any("OSSAccessKeyId", "Signature", "Expires")
	v4URL := q.any("x-oss-signature-version", "x-oss-signature", "x-oss-credential", "x-oss-access-key-id")
	kinds := len(header)
	if v1URL {
		kinds++
	}
	if v4URL {
		kinds++
	}
	switch {
	case kinds == 0:
		return identity{}, anonymousFault()
	case kinds > 1:
		// Page "0002-00000039".
		return identity{}, invalidArgument("0002-00000039", "The request is signed more than once: leave one of the Authorization header and the signature in the URL.")
	case v1URL:
		return a.identifyV1URL(r, p, q)
	case v4URL:
		return a.identifyV4URL(r, p, q)
	}
	scheme, rest, _ := strings.Cut(header[0], " ")
	switch scheme {
	case "OSS":
		return a.identifyV1Header(r, p, q, rest)
	case algorithmV4:
		return a.identifyV4Header(r, p, q, rest)
	case "OSS2":
		return identity{}, noV2Fault()
	}
	return identity{}, invalidArgument("0002-00000062", "The Authorization header is invalid: it begins with neither \"OSS \" nor \""+algorithmV4+" \".")
}

// secretOf finds the secret that a request of this key id must be signed with,
// and the session when it is one's.
//
// What the real one answers to a wrong pair is in its pages "0002-00000002" (a
// token with a permanent key), "0002-00000004" and "-06" (another session's
// token, a damaged one), "-07" (ended) and "The OSS Access Key Id you provided
// does not exist in our records" (a session's id without its token).
func (a *authority) secretOf(keyID, token string) (string, *session, *fault) {
	switch {
	case keyID == a.keyID && token == "":
		return a.secret, nil, nil
	case keyID == a.keyID:
		return "", nil, unknownKeyFault(keyID, "0002-00000002")
	case !strings.HasPrefix(keyID, sessionIDPrefix) || token == "":
		return "", nil, unknownKeyFault(keyID, "")
	}
	s, err := a.openToken(token)
	if err != nil || s.keyID != keyID {
		return "", nil, &fault{
			status: http.StatusForbidden, code: "InvalidSecurityToken",
			message: "The security token you provided is invalid.", ec: "0002-00000006",
		}
	}
	if s.ended(a.now()) {
		return "", nil, &fault{
			status: http.StatusForbidden, code: "SecurityTokenExpired",
			message: "The security token you provided has expired.", ec: "0002-00000007",
		}
	}
	return a.secretOfSession(keyID), s, nil
}

// maxSkew is how far a client's clock may be off (page "0002-00000504" and the
// list of error responses: 15 minutes).
const maxSkew = 15 * time.Minute

// checkSkew refuses a request whose own time is too far from ours.
func (a *authority) checkSkew(requestTime time.Time) *fault {
	now := a.now()
	if d := now.Sub(requestTime); d <= maxSkew && d >= -maxSkew {
		return nil
	}
	// ali-oss corrects its clock by ServerTime and tries again.
	return &fault{
		status: http.StatusForbidden, code: "RequestTimeTooSkewed",
		message: "The difference between the request time and the current time is too large.",
		ec:      "0002-00000504",
		more: [][2]string{
			{"MaxAllowedSkewMilliseconds", fmt.Sprint(maxSkew.Milliseconds())},
			{"RequestTime", faultTime(requestTime)},
			{"ServerTime", faultTime(now)},
		},
	}
}

// isoBasic is the form of x-oss-date in V4; V1 takes it too (page
// "0002-00000503").
const isoBasic = "20060102T150405Z"

// signedTime finds the time of a request signed in its header: x-oss-date where
// it is sent, else Date. text is it verbatim, as it is signed.
func signedTime(r *http.Request) (text string, t time.Time, f *fault) {
	text = headerValue(r, "X-Oss-Date")
	if text == "" {
		text = headerValue(r, "Date")
	}
	t, err := time.Parse(isoBasic, text)
	if err != nil {
		t, err = http.ParseTime(text)
	}
	if err != nil {
		return "", time.Time{}, &fault{
			status: http.StatusForbidden, code: "AccessDenied",
			message: "OSS authentication requires a valid Date.", ec: "0002-00000503",
		}
	}
	return text, t.UTC(), nil
}

// headerValue is a header's value: all of them, joined, when it came repeatedly,
// so that a second one is never outside the signature.
func headerValue(r *http.Request, name string) string {
	return strings.TrimSpace(strings.Join(r.Header[http.CanonicalHeaderKey(name)], ","))
}

func faultTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func invalidArgument(ec, message string) *fault {
	return &fault{status: http.StatusBadRequest, code: "InvalidArgument", message: message, ec: ec}
}

func anonymousFault() *fault {
	return &fault{
		status: http.StatusForbidden, code: "AccessDenied",
		message: "You have no right to access this object because of bucket acl.", ec: "0003-00000001",
	}
}

func noV2Fault() *fault {
	return invalidArgument("", "Signatures of version 2 (OSS2) are not supported: sign with version 1 or 4.")
}

func unknownKeyFault(keyID, ec string) *fault {
	return &fault{
		status: http.StatusForbidden, code: "InvalidAccessKeyId",
		message: "The OSS Access Key Id you provided does not exist in our records.", ec: ec,
		more: [][2]string{{"OSSAccessKeyId", keyID}},
	}
}

func expiredFault(expires, now time.Time) *fault {
	return &fault{
		status: http.StatusForbidden, code: "AccessDenied", message: "Request has expired.",
		ec:   "0002-00000069",
		more: [][2]string{{"Expires", faultTime(expires)}, {"ServerTime", faultTime(now)}},
	}
}

// mismatchFault tells what we signed, as the real one does: whoever writes a
// client compares it with his own.
func mismatchFault(keyID, provided, stringToSign, canonicalRequest string) *fault {
	f := &fault{
		status: http.StatusForbidden, code: "SignatureDoesNotMatch",
		message: "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
		ec:      "0002-00000040",
		more: [][2]string{
			{"OSSAccessKeyId", keyID},
			{"SignatureProvided", provided},
			{"StringToSign", stringToSign},
			{"StringToSignBytes", fmt.Sprintf("% X", stringToSign)},
		},
	}
	if canonicalRequest != "" {
		f.more = append(f.more, [2]string{"CanonicalRequest", canonicalRequest})
	}
	return f
}
