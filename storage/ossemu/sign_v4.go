package ossemu

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithmV4 = "OSS4-HMAC-SHA256"
	requestV4   = "aliyun_v4_request"
	// unsignedPayload is the one value of x-oss-content-sha256 that OSS takes
	// (page "0002-00000214").
	unsignedPayload = "UNSIGNED-PAYLOAD"
	// maxExpiresV4 is a week, in seconds (page "Include a V4 signature in a URL").
	maxExpiresV4 = 7 * 24 * 60 * 60
)

// claimV4 is what a request says of its own V4 signature.
type claimV4 struct {
	keyID, day, token string
	additional        []string // names of further signed headers
	timestamp         string   // verbatim
	signature         string
}

// identifyV4Header verifies "Authorization: OSS4-HMAC-SHA256 Credential=…,
// AdditionalHeaders=…,Signature=…" (pages "Include a V4 signature in the
// Authorization header" and "0002-00000202").
func (a *authority) identifyV4Header(r *http.Request, p place, q params, authorization string) (identity, *fault) {
	fields := map[string]string{}
	for field := range strings.SplitSeq(authorization, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(field), "=")
		_, twice := fields[name]
		known := name == "Credential" || name == "AdditionalHeaders" || name == "Signature"
		if !ok || twice || !known || value == "" {
			return identity{}, invalidArgument("0002-00000202", "The Authorization header is invalid: write \""+algorithmV4+" Credential=…,AdditionalHeaders=…,Signature=…\", each once; AdditionalHeaders may be left out.")
		}
		fields[name] = value
	}
	if fields["Credential"] == "" || fields["Signature"] == "" {
		return identity{}, invalidArgument("0002-00000202", "The Authorization header is invalid: it needs Credential and Signature.")
	}
	c := claimV4{signature: fields["Signature"]}
	f := c.readAdditional(fields["AdditionalHeaders"])
	if f != nil {
		return identity{}, f
	}
	// aliyun-oss-go-sdk v3.0.2 sends no x-oss-date: it signs the Date header, as
	// it is, where the page knows only x-oss-date.
	text, t, f := signedTime(r)
	if f != nil {
		return identity{}, f
	}
	c.timestamp = text
	if f := a.readCredential(&c, fields["Credential"], t); f != nil {
		return identity{}, f
	}
	if f := a.checkSkew(t); f != nil {
		return identity{}, f
	}
	if headerValue(r, "X-Oss-Content-Sha256") != unsignedPayload {
		return identity{}, invalidArgument("0002-00000214", "The header x-oss-content-sha256 must be "+unsignedPayload+".")
	}
	c.token = headerValue(r, "X-Oss-Security-Token")
	if c.token == "" {
		c.token = q.get("x-oss-security-token")
	}
	return a.verifyV4(r, p, q, c)
}

// identifyV4URL verifies a presigned URL of version 4 (page "Include a V4
// signature in a URL").
func (a *authority) identifyV4URL(r *http.Request, p place, q params) (identity, *fault) {
	switch version := q.get("x-oss-signature-version"); version {
	case algorithmV4:
	case "OSS2":
		return identity{}, noV2Fault()
	default:
		return identity{}, invalidArgument("", "x-oss-signature-version must be "+algorithmV4+".")
	}
	for _, name := range []string{"x-oss-signature-version", "x-oss-credential", "x-oss-date", "x-oss-expires", "x-oss-signature"} {
		if n := q.count(name); n != 1 || q.get(name) == "" {
			return identity{}, invalidArgument("", "A URL signed with version 4 needs "+name+" once: it is there "+strconv.Itoa(n)+" times, or empty.")
		}
	}
	if q.count("x-oss-additional-headers") > 1 || q.count("x-oss-security-token") > 1 {
		return identity{}, invalidArgument("", "x-oss-additional-headers or x-oss-security-token is there twice.")
	}
	c := claimV4{signature: q.get("x-oss-signature"), timestamp: q.get("x-oss-date")}
	if f := c.readAdditional(q.get("x-oss-additional-headers")); f != nil {
		return identity{}, f
	}
	t, err := time.Parse(isoBasic, c.timestamp)
	if err != nil {
		return identity{}, invalidArgument("", "x-oss-date must be UTC as "+isoBasic+".")
	}
	if f := a.readCredential(&c, q.get("x-oss-credential"), t); f != nil {
		return identity{}, f
	}
	seconds, err := strconv.Atoi(q.get("x-oss-expires"))
	if err != nil || seconds < 1 || seconds > maxExpiresV4 {
		return identity{}, invalidArgument("0002-00000070", "x-oss-expires must be 1 to "+strconv.Itoa(maxExpiresV4)+" seconds.")
	}
	now := a.now()
	if t.Sub(now) > maxSkew {
		return identity{}, a.checkSkew(t)
	}
	// As in V1, the last second counts whole.
	if expires := t.Add(time.Duration(seconds) * time.Second); now.Unix() > expires.Unix() {
		return identity{}, expiredFault(expires, now)
	}
	c.token = q.get("x-oss-security-token")
	if c.token == "" {
		c.token = headerValue(r, "X-Oss-Security-Token")
	}
	return a.verifyV4(r, p, q, c)
}

// readAdditional takes the list of further signed headers: lower-case, sorted,
// each once, by semicolons. Content-Type and Content-MD5 are signed in any case
// and are no part of the list that is signed, though aliyun-oss-go-sdk v3.0.2
// names them in URLs (getAdditionalHeaderKeys against …KeysV4 in oss/auth.go).
func (c *claimV4) readAdditional(list string) *fault {
	if list == "" {
		return nil
	}
	names := strings.Split(list, ";")
	for i, name := range names {
		if name == "" || name != strings.ToLower(name) || i > 0 && names[i-1] >= name {
			return invalidArgument("", "The additional headers must be lower-case names in order, each once, separated by semicolons.")
		}
	}
	c.additional = slices.DeleteFunc(names, func(name string) bool {
		return name == "content-type" || name == "content-md5"
	})
	return nil
}

// readCredential takes <key id>/<yyyymmdd>/<region>/oss/aliyun_v4_request apart.
// The day must be that of the request's time, and the region ours.
func (a *authority) readCredential(c *claimV4, credential string, t time.Time) *fault {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || !keyIDForm.MatchString(parts[0]) || parts[4] != requestV4 {
		return invalidArgument("", "The credential is invalid: write <AccessKeyId>/<yyyymmdd>/<region>/oss/"+requestV4+".")
	}
	c.keyID, c.day = parts[0], parts[1]
	switch {
	case c.day != t.Format("20060102"):
		return invalidArgument("0002-00000223", "The credential's date must be the day of the request's time in UTC, as "+t.Format("20060102")+".")
	case parts[2] != a.region:
		return invalidArgument("", "Invalid signing region in Authorization header: \""+parts[2]+"\" is given, this is \""+a.region+"\".")
	case parts[3] != "oss":
		return invalidArgument("", "The credential's product must be oss.")
	}
	return nil
}

func (a *authority) verifyV4(r *http.Request, p place, q params, c claimV4) (identity, *fault) {
	secret, s, f := a.secretOf(c.keyID, c.token)
	if f != nil {
		return identity{}, f
	}
	canonical := canonicalRequestV4(r, p, q, c.additional)
	hash := sha256.Sum256([]byte(canonical))
	scope := c.day + "/" + a.region + "/oss/" + requestV4
	text := algorithmV4 + "\n" + c.timestamp + "\n" + scope + "\n" + hex.EncodeToString(hash[:])
	if !hmac.Equal([]byte(signV4(secret, c.day, a.region, text)), []byte(c.signature)) {
		return identity{}, mismatchFault(c.keyID, c.signature, text, canonical)
	}
	return identity{keyID: c.keyID, session: s}, nil
}

// canonicalRequestV4 writes what is signed. Every parameter is, but the
// signature itself; ali-oss signs "prefix=" yet sends a bare name, and the other
// way round, so an empty value is one with none.
func canonicalRequestV4(r *http.Request, p place, q params, additional []string) string {
	uri := "/"
	if p.bucket != "" {
		uri += percentEncode(p.bucket) + "/" + strings.ReplaceAll(percentEncode(p.key), "%2F", "/")
	}
	var pairs params
	for _, p := range q {
		if p.name != "x-oss-signature" {
			pairs = append(pairs, param{percentEncode(p.name), percentEncode(p.value)})
		}
	}
	slices.SortStableFunc(pairs, func(a, b param) int { return strings.Compare(a.name, b.name) })
	var query strings.Builder
	for i, p := range pairs {
		if i > 0 {
			query.WriteByte('&')
		}
		query.WriteString(p.name)
		if p.value != "" {
			query.WriteString("=" + p.value)
		}
	}
	names := append(ossHeaders(r), additional...)
	for _, name := range []string{"Content-Type", "Content-Md5"} {
		if len(r.Header[name]) > 0 {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	var headers strings.Builder
	for _, name := range slices.Compact(names) {
		if value, ok := receivedHeader(r, name); ok {
			headers.WriteString(name + ":" + value + "\n")
		}
	}
	payload := headerValue(r, "X-Oss-Content-Sha256")
	if payload == "" {
		payload = unsignedPayload
	}
	return strings.Join([]string{r.Method, uri, query.String(), headers.String(), strings.Join(additional, ";"), payload}, "\n")
}

// receivedHeader is a header as it came. net/http keeps two of them elsewhere:
// Host, and the length of a body, which is the one that the server will read.
// A chunked body has none.
func receivedHeader(r *http.Request, name string) (string, bool) {
	switch name {
	case "host":
		return r.Host, true
	case "content-length":
		if r.ContentLength < 0 {
			return "", false
		}
		return strconv.FormatInt(r.ContentLength, 10), true
	}
	_, ok := r.Header[http.CanonicalHeaderKey(name)]
	return headerValue(r, name), ok
}

// signV4 is the chain of keys: each part of the scope signs under the one before.
func signV4(secret, day, region, stringToSign string) string {
	key := []byte("aliyun_v4" + secret)
	for _, part := range []string{day, region, "oss", requestV4, stringToSign} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	return hex.EncodeToString(key)
}
