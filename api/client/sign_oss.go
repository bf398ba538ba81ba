package client

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	ossAlgorithm = "OSS4-HMAC-SHA256"
	ossTime      = "20060102T150405Z"
	unsignedBody = "UNSIGNED-PAYLOAD"
)

// Sign signs a request for the session's object with OSS's signature of version 4
// in headers
// (https://www.alibabacloud.com/help/en/oss/developer-reference/recommend-to-use-signature-version-4),
// the present being at: the bucket refuses what is more than 15 minutes off its
// clock. Set Content-Type, Content-MD5 and x-oss-* headers and ContentLength
// before; all are signed, and the bucket refuses the request if one of them is
// changed on its way. The body is not signed: compare the answer's
// x-oss-hash-crc64ecma with the CRC-64 of what was sent.
//
// Send the request where it is addressed only: other hosts could use its token.
func (s *Session) Sign(req *http.Request, at time.Time) {
	h := req.Header
	h.Set("X-Oss-Date", at.UTC().Format(ossTime))
	h.Set("X-Oss-Content-Sha256", unsignedBody)
	h.Del("X-Oss-Security-Token")
	if s.Token != "" {
		h.Set("X-Oss-Security-Token", s.Token)
	}

	signed := map[string]string{}
	for name, values := range h {
		name = strings.ToLower(name)
		if name == "content-type" || name == "content-md5" || strings.HasPrefix(name, "x-oss-") {
			signed[name] = strings.TrimSpace(values[0])
		}
	}
	// The length is not among what is always signed. With it a body that a proxy
	// has cut or padded is refused.
	additional := ""
	if req.ContentLength > 0 || req.ContentLength == 0 && (req.Body == nil || req.Body == http.NoBody) {
		additional = "content-length"
		signed[additional] = strconv.FormatInt(req.ContentLength, 10)
	}
	names := make([]string, 0, len(signed))
	for name := range signed {
		names = append(names, name)
	}
	slices.Sort(names)
	var canonical strings.Builder
	canonical.WriteString(req.Method + "\n" + ossEscape("/"+s.Bucket+"/"+s.Key, true) + "\n" + ossQuery(req.URL.Query()) + "\n")
	for _, name := range names {
		canonical.WriteString(name + ":" + signed[name] + "\n")
	}
	canonical.WriteString("\n" + additional + "\n" + unsignedBody)

	day := at.UTC().Format("20060102")
	scope := day + "/" + s.Region + "/oss/aliyun_v4_request"
	hash := sha256.Sum256([]byte(canonical.String()))
	text := ossAlgorithm + "\n" + h.Get("X-Oss-Date") + "\n" + scope + "\n" + hex.EncodeToString(hash[:])
	key := []byte("aliyun_v4" + s.Secret)
	for _, step := range []string{day, s.Region, "oss", "aliyun_v4_request"} {
		key = hmacSHA256(key, step)
	}
	if additional != "" {
		additional = ",AdditionalHeaders=" + additional
	}
	h.Set("Authorization", ossAlgorithm+" Credential="+s.ID+"/"+scope+additional+",Signature="+hex.EncodeToString(hmacSHA256(key, text)))
}

func hmacSHA256(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// ossEscape escapes all but RFC 3986's unreserved characters, and slashes if so
// wanted.
func ossEscape(s string, slashes bool) string {
	s = strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
	if slashes {
		s = strings.ReplaceAll(s, "%2F", "/")
	}
	return s
}

// ossQuery sorts the parameters by their escaped names; one without a value stands
// without "=".
func ossQuery(q url.Values) string {
	var parts []string
	for k, values := range q {
		part := ossEscape(k, false)
		if values[0] != "" {
			part += "=" + ossEscape(values[0], false)
		}
		parts = append(parts, part)
	}
	slices.SortFunc(parts, func(a, b string) int {
		a, _, _ = strings.Cut(a, "=")
		b, _, _ = strings.Cut(b, "=")
		return strings.Compare(a, b)
	})
	return strings.Join(parts, "&")
}
