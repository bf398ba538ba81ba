package ossemu

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sort"
	"strings"
	"testing"
	"time"
)

// reference is a signer of its own, written from Aliyun's pages and from nothing
// in this package: what it signs must verify.
type reference struct {
	kind                         refKind
	method, bucket, key          string
	headers                      map[string]string // beyond those of the signature
	query                        [][2]string       // beyond those of the signature
	keyID, secret, token, region string
	at                           time.Time
	day                          string        // of the scope; "": that of at
	expires                      time.Duration // of URLs
	additional                   []string      // V4's further headers, sorted
	dateHeader                   bool          // V4: sign the Date header, not x-oss-date
	contentLength                int64
}

type refKind int

const (
	v1Header refKind = iota
	v1URL
	v4Header
	v4URL
)

func (k refKind) String() string { return [...]string{"V1 header", "V1 URL", "V4 header", "V4 URL"}[k] }

// refEscape is RFC 3986's, byte by byte.
func refEscape(s string, keep string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("-_.~"+keep, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func refMAC1(key, text string) string {
	h := hmac.New(sha1.New, []byte(key))
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func refMAC256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// refSigned are sub-resources that a V1 signature covers, for the tests.
var refSigned = []string{"acl", "uploads", "uploadId", "partNumber", "tagging", "cors", "location", "bucketInfo", "objectMeta",
	"delete", "append", "position", "security-token", "response-content-type", "response-content-disposition", "continuation-token", "callback", "versionId", "x-oss-process"}

// request is the signed request as a server has it.
func (b reference) request() *http.Request {
	headers := map[string]string{}
	for k, v := range b.headers {
		headers[strings.ToLower(k)] = v
	}
	query := append([][2]string{}, b.query...)
	gmt := b.at.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	iso := b.at.UTC().Format("20060102T150405Z")
	day := b.day
	if day == "" {
		day = iso[:8]
	}
	scope := day + "/" + b.region + "/oss/aliyun_v4_request"
	timestamp := iso
	switch b.kind {
	case v1Header:
		headers["date"] = gmt
	case v4Header:
		headers["x-oss-content-sha256"] = "UNSIGNED-PAYLOAD"
		if b.dateHeader {
			timestamp, headers["date"] = gmt, gmt
		} else {
			headers["x-oss-date"] = iso
		}
	case v4URL:
		query = append(query, [2]string{"x-oss-signature-version", "OSS4-HMAC-SHA256"}, [2]string{"x-oss-credential", b.keyID + "/" + scope},
			[2]string{"x-oss-date", iso}, [2]string{"x-oss-expires", fmt.Sprint(int(b.expires.Seconds()))})
		if len(b.additional) > 0 {
			query = append(query, [2]string{"x-oss-additional-headers", strings.Join(b.additional, ";")})
		}
	}
	if b.token != "" {
		switch b.kind {
		case v1Header, v4Header:
			headers["x-oss-security-token"] = b.token
		case v1URL:
			query = append(query, [2]string{"security-token", b.token})
		case v4URL:
			query = append(query, [2]string{"x-oss-security-token", b.token})
		}
	}

	authorization := ""
	switch b.kind {
	case v1Header, v1URL:
		date := headers["date"]
		if v := headers["x-oss-date"]; v != "" {
			date = v
		}
		if b.kind == v1URL {
			date = fmt.Sprint(b.at.Add(b.expires).Unix())
		}
		text := b.method + "\n" + headers["content-md5"] + "\n" + headers["content-type"] + "\n" + date + "\n"
		for _, name := range sortedKeys(headers) {
			if strings.HasPrefix(name, "x-oss-") {
				text += name + ":" + headers[name] + "\n"
			}
		}
		text += "/"
		if b.bucket != "" {
			text += b.bucket + "/" + b.key
		}
		var subs []string
		for _, p := range query {
			for _, name := range refSigned {
				if p[0] == name && p[1] == "" {
					subs = append(subs, name)
				} else if p[0] == name {
					subs = append(subs, name+"="+p[1])
				}
			}
		}
		sort.Slice(subs, func(i, j int) bool {
			a, _, _ := strings.Cut(subs[i], "=")
			b, _, _ := strings.Cut(subs[j], "=")
			return a < b
		})
		if len(subs) > 0 {
			text += "?" + strings.Join(subs, "&")
		}
		signature := refMAC1(b.secret, text)
		if b.kind == v1URL {
			query = append(query, [2]string{"OSSAccessKeyId", b.keyID}, [2]string{"Expires", date}, [2]string{"Signature", signature})
		} else {
			authorization = "OSS " + b.keyID + ":" + signature
		}
	default:
		signed := map[string]string{}
		for name, value := range headers {
			if name == "content-type" || name == "content-md5" || strings.HasPrefix(name, "x-oss-") {
				signed[name] = value
			}
		}
		for _, name := range b.additional {
			switch name {
			case "content-length":
				signed[name] = fmt.Sprint(b.contentLength)
			case "host":
				signed[name] = "oss.example.com"
			default:
				signed[name] = headers[name]
			}
		}
		var pairs []string
		for _, p := range query {
			pair := refEscape(p[0], "")
			if p[1] != "" {
				pair += "=" + refEscape(p[1], "")
			}
			pairs = append(pairs, pair)
		}
		sort.Slice(pairs, func(i, j int) bool {
			a, _, _ := strings.Cut(pairs[i], "=")
			b, _, _ := strings.Cut(pairs[j], "=")
			return a < b
		})
		uri := "/"
		if b.bucket != "" {
			uri = "/" + b.bucket + "/" + refEscape(b.key, "/")
		}
		text := b.method + "\n" + uri + "\n" + strings.Join(pairs, "&") + "\n"
		for _, name := range sortedKeys(signed) {
			text += name + ":" + signed[name] + "\n"
		}
		text += "\n" + strings.Join(b.additional, ";") + "\nUNSIGNED-PAYLOAD"
		text = "OSS4-HMAC-SHA256\n" + timestamp + "\n" + scope + "\n" + fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
		key := refMAC256(refMAC256(refMAC256(refMAC256([]byte("aliyun_v4"+b.secret), day), b.region), "oss"), "aliyun_v4_request")
		signature := fmt.Sprintf("%x", refMAC256(key, text))
		if b.kind == v4URL {
			query = append(query, [2]string{"x-oss-signature", signature})
		} else {
			authorization = "OSS4-HMAC-SHA256 Credential=" + b.keyID + "/" + scope
			if len(b.additional) > 0 {
				authorization += ",AdditionalHeaders=" + strings.Join(b.additional, ";")
			}
			authorization += ",Signature=" + signature
		}
	}

	target := "/"
	if b.bucket != "" {
		target += b.bucket + "/" + refEscape(b.key, "")
	}
	for i, p := range query {
		target += string("?&"[min(i, 1)]) + refEscape(p[0], "")
		if p[1] != "" {
			target += "=" + refEscape(p[1], "")
		}
	}
	r := httptest.NewRequest(b.method, target, nil)
	r.Host = "oss.example.com"
	r.ContentLength = b.contentLength
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// TestReferenceKnowsTheVector: the reference itself signs as aliyun-oss-go-sdk
// v3.0.2 did, recomputed with openssl.
func TestReferenceKnowsTheVector(t *testing.T) {
	b := reference{
		kind: v1Header, method: "PUT", bucket: "mybucket", key: "pid/sub dir/a+b 中.txt",
		keyID: "STS.AKtest", secret: "SKtest", token: "TOKEN+abc/def==", at: time.Date(2026, 11, 21, 1, 1, 6, 0, time.UTC),
		headers: map[string]string{"Content-Type": "text/plain", "X-Oss-Meta-Who": "me"},
	}
	if got := b.request().Header.Get("Authorization"); got != "OSS STS.AKtest:i2R+fP8kScL3qSJLecPWaaQdSnI=" {
		t.Error(got)
	}
}
