package ossemu

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// subResources are the parameters that a V1 signature covers; no others are
// (prefix, marker, max-keys, list-type, encoding-type …), on the real one as
// here. The list is signKeyList of aliyun-oss-go-sdk v3.0.2 (oss/conn.go), the
// longest that an SDK has.
var subResources = map[string]bool{
	"acl": true, "uploads": true, "location": true, "cors": true, "logging": true, "website": true,
	"referer": true, "lifecycle": true, "delete": true, "append": true, "tagging": true, "objectMeta": true,
	"uploadId": true, "partNumber": true, "security-token": true, "position": true, "img": true, "style": true,
	"styleName": true, "replication": true, "replicationProgress": true, "replicationLocation": true,
	"cname": true, "bucketInfo": true, "comp": true, "qos": true, "live": true, "status": true, "vod": true,
	"startTime": true, "endTime": true, "symlink": true, "x-oss-process": true,
	"response-content-type": true, "response-content-language": true, "response-expires": true,
	"response-cache-control": true, "response-content-disposition": true, "response-content-encoding": true,
	"x-oss-traffic-limit": true, "udf": true, "udfName": true, "udfImage": true, "udfId": true,
	"udfImageDesc": true, "udfApplication": true, "udfApplicationLog": true, "restore": true,
	"callback": true, "callback-var": true, "qosInfo": true, "policy": true, "stat": true, "encryption": true,
	"versions": true, "versioning": true, "versionId": true, "requestPayment": true,
	"x-oss-request-payer": true, "sequential": true, "inventory": true, "inventoryId": true,
	"continuation-token": true, "asyncFetch": true, "worm": true, "wormId": true, "wormExtend": true,
	"withHashContext": true, "x-oss-enable-md5": true, "x-oss-enable-sha1": true, "x-oss-enable-sha256": true,
	"x-oss-hash-ctx": true, "x-oss-md5-ctx": true, "transferAcceleration": true, "regionList": true,
	"cloudboxes": true, "x-oss-ac-source-ip": true, "x-oss-ac-subnet-mask": true, "x-oss-ac-vpc-id": true,
	"x-oss-ac-forward-allow": true, "metaQuery": true, "resourceGroup": true, "rtc": true,
	"x-oss-async-process": true, "responseHeader": true,
}

// identifyV1Header verifies "Authorization: OSS <key id>:<signature>" (page
// "Include a V1 signature in the Authorization header").
func (a *authority) identifyV1Header(r *http.Request, p place, q params, authorization string) (identity, *fault) {
	keyID, signature, ok := strings.Cut(authorization, ":")
	if !ok || !keyIDForm.MatchString(keyID) || signature == "" {
		return identity{}, invalidArgument("0002-00000062", "The Authorization header is invalid: write \"OSS <AccessKeyId>:<Signature>\".")
	}
	date, t, f := signedTime(r)
	if f != nil {
		return identity{}, f
	}
	if f := a.checkSkew(t); f != nil {
		return identity{}, f
	}
	token := headerValue(r, "X-Oss-Security-Token")
	if token == "" {
		token = q.get("security-token") // signed, as a sub-resource
	}
	return a.verifyV1(r, p, q, keyID, token, signature, date)
}

// identifyV1URL verifies a presigned URL of version 1 (page "Include a V1
// signature in a URL"). The token is the sub-resource security-token; aliyun-sdk
// for JavaScript puts it into x-oss-security-token instead, which the page does
// not know, and which is refused as a session's id without a token.
func (a *authority) identifyV1URL(r *http.Request, p place, q params) (identity, *fault) {
	for _, name := range []string{"OSSAccessKeyId", "Signature", "Expires"} {
		if n := q.count(name); n != 1 || q.get(name) == "" {
			return identity{}, &fault{
				status: http.StatusForbidden, code: "AccessDenied",
				message: "A signed URL needs OSSAccessKeyId, Signature and Expires, each once: " + name + " is there " + strconv.Itoa(n) + " times, or empty.",
			}
		}
	}
	text := q.get("Expires")
	expires, err := strconv.ParseInt(text, 10, 64)
	if err != nil || expires < 0 {
		return identity{}, &fault{
			status: http.StatusForbidden, code: "AccessDenied",
			message: "Invalid date (should be seconds since epoch): " + text, ec: "0002-00000070",
		}
	}
	// The second named is the last one that is good.
	if now := a.now(); now.Unix() > expires {
		return identity{}, expiredFault(time.Unix(expires, 0), now)
	}
	token := q.get("security-token")
	if token == "" {
		token = headerValue(r, "X-Oss-Security-Token") // signed, as a header
	}
	return a.verifyV1(r, p, q, q.get("OSSAccessKeyId"), token, q.get("Signature"), text)
}

// verifyV1 compares the signature with ours; date is the line that stands for
// the time, whichever it is.
//
// What V1 signs has no escapes, so that two requests can have one signature: the
// key "a?acl" and the key "a" with the sub-resource acl. That is V1's own
// weakness, and a reason for V4.
func (a *authority) verifyV1(r *http.Request, p place, q params, keyID, token, signature, date string) (identity, *fault) {
	secret, s, f := a.secretOf(keyID, token)
	if f != nil {
		return identity{}, f
	}
	resources := resourcesV1(p)
	for _, resource := range resources {
		want := signV1(secret, stringToSignV1(r, q, date, resource))
		if hmac.Equal([]byte(want), []byte(signature)) {
			return identity{keyID: keyID, session: s}, nil
		}
	}
	return identity{}, mismatchFault(keyID, signature, stringToSignV1(r, q, date, resources[0]), "")
}

// resourcesV1 are the ways to write what a request is about: the bucket is
// always in it, however it was addressed, and the key decoded. A bucket ends in
// a slash; aliyun-sdk signs it without where it addresses it by path.
func resourcesV1(p place) []string {
	switch {
	case p.bucket == "":
		return []string{"/"}
	case p.key == "":
		return []string{"/" + p.bucket + "/", "/" + p.bucket}
	}
	return []string{"/" + p.bucket + "/" + p.key}
}

func stringToSignV1(r *http.Request, q params, date, resource string) string {
	var b strings.Builder
	for _, line := range []string{r.Method, headerValue(r, "Content-Md5"), headerValue(r, "Content-Type"), date} {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	// x-oss-date is among these, and in the line above, when a client sends it.
	for _, name := range ossHeaders(r) {
		b.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	b.WriteString(resource)

	signed := slices.DeleteFunc(slices.Clone(q), func(p param) bool { return !subResources[p.name] })
	slices.SortStableFunc(signed, func(a, b param) int { return strings.Compare(a.name, b.name) })
	for i, p := range signed {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(p.name)
		// ali-oss sends "uploads=" where others send "uploads".
		if p.value != "" {
			b.WriteString("=" + p.value)
		}
	}
	return b.String()
}

// ossHeaders are the names of a request's x-oss- headers, lower-cased, sorted.
func ossHeaders(r *http.Request) []string {
	var names []string
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-oss-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func signV1(secret, stringToSign string) string {
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(stringToSign))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
