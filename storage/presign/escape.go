package presign

import "strings"

const upperHex = "0123456789ABCDEF"

// unreserved are the characters that signatures of version 4 leave as they are
// (RFC 3986, 2.3).
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == '~'
}

func appendEscaped(dst []byte, c byte) []byte {
	return append(dst, '%', upperHex[c>>4], upperHex[c&15])
}

// AppendPath escapes a key, once and with its slashes kept.
func AppendPath(dst []byte, key string) []byte {
	for i := range len(key) {
		if c := key[i]; unreserved(c) || c == '/' {
			dst = append(dst, c)
		} else {
			dst = appendEscaped(dst, c)
		}
	}
	return dst
}

// AppendQuery escapes a name or a value of the query.
func AppendQuery(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; unreserved(c) {
			dst = append(dst, c)
		} else {
			dst = appendEscaped(dst, c)
		}
	}
	return dst
}

// Attachment is a Content-Disposition for a file name (RFC 6266): a plain one
// for old clients and, where that loses something, the true one in UTF-8.
func Attachment(name string) string {
	var plain strings.Builder
	same := true
	for _, r := range name {
		if r < 0x20 || r >= 0x7f || r == '"' || r == '\\' || r == '%' || r == '/' {
			r, same = '_', false
		}
		plain.WriteRune(r)
	}
	value := `attachment; filename="` + plain.String() + `"`
	if same {
		return value
	}
	// attr-char of RFC 5987 includes all that stays unescaped here.
	return value + "; filename*=UTF-8''" + string(AppendQuery(nil, name))
}
