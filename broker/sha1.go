package broker

import (
	"encoding/base64"
	"encoding/hex"
)

// SHA1 is a SHA-1 digest; the zero value means that none was declared.
// (The digest of no real file is all zeros: nobody knows a preimage.)
type SHA1 [20]byte

// ParseSHA1 reads 40 hexadecimal digits of either case.
func ParseSHA1(s string) (SHA1, error) {
	var d SHA1
	if len(s) != 40 {
		return d, Errorf(CodeInvalidSHA1, "sha1 must be 40 hexadecimal digits, got %d characters", len(s))
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return SHA1{}, Errorf(CodeInvalidSHA1, "sha1 must be 40 hexadecimal digits")
	}
	if d.IsZero() {
		return d, Errorf(CodeInvalidSHA1, "sha1 is all zeros; compute it from the file's bytes")
	}
	return d, nil
}

// IsZero reports whether no digest is held.
func (d SHA1) IsZero() bool { return d == SHA1{} }

// String gives lower-case hex, "" for the zero value.
func (d SHA1) String() string {
	if d.IsZero() {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// Base64 is how S3's x-amz-checksum-sha1 header carries it.
func (d SHA1) Base64() string { return base64.StdEncoding.EncodeToString(d[:]) }
