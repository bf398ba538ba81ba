package storage

import (
	"strings"
	"unicode/utf8"

	"github.com/uploadbroker/uploadbroker/broker"
)

// MaxKeyBytes is the longest key that S3 and OSS take.
const MaxKeyBytes = 1024

// CheckKey refuses keys that some bucket, proxy or file system would read as
// another one. A key is UTF-8 of 1 to 1024 bytes, in segments parted by "/";
// no segment is empty, "." or "..", and there is no backslash and no control
// character. The error has CodeInvalidName.
func CheckKey(key string) error {
	switch {
	case key == "":
		return broker.Errorf(broker.CodeInvalidName, "the key is empty")
	case len(key) > MaxKeyBytes:
		return broker.Errorf(broker.CodeInvalidName, "the key has %d bytes, %d at most", len(key), MaxKeyBytes)
	}
	if err := checkText(key); err != nil {
		return err
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch segment {
		case "":
			return broker.Errorf(broker.CodeInvalidName, "the key has an empty segment")
		case ".", "..":
			return broker.Errorf(broker.CodeInvalidName, "the key has a segment %q", segment)
		}
	}
	return nil
}

// checkPrefix is CheckKey for the beginnings of keys, which may end anywhere.
func checkPrefix(prefix string) error {
	if len(prefix) > MaxKeyBytes {
		return broker.Errorf(broker.CodeInvalidName, "the prefix has %d bytes, %d at most", len(prefix), MaxKeyBytes)
	}
	return checkText(prefix)
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return broker.Errorf(broker.CodeInvalidName, "the key is not UTF-8")
	}
	for _, r := range s {
		// C0, DEL, the backslash, and C1 beside them: XML 1.0 lists can't carry
		// the first, file systems and proxies treat the rest at will.
		if r < 0x20 || r == '\\' || r >= 0x7f && r < 0xa0 {
			return broker.Errorf(broker.CodeInvalidName, "the key has a backslash or a control character")
		}
		// XML 1.0, section 2.2, excludes these two as well.
		if r == 0xfffe || r == 0xffff {
			return broker.Errorf(broker.CodeInvalidName, "the key has a character that XML can't carry")
		}
	}
	return nil
}

// checkContentType refuses what can't stand in a header as it is: signing would
// trim or fold it, and the client's copy would differ.
func checkContentType(s string) error {
	if s == "" {
		return nil
	}
	ok := len(s) <= 255 && strings.TrimSpace(s) == s && !strings.Contains(s, "  ")
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] >= 0x20 && s[i] < 0x7f
	}
	if !ok {
		return broker.Errorf(broker.CodeInvalidType, "the content type must be printable ASCII of 255 bytes at most")
	}
	return nil
}
