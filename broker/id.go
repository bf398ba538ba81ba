package broker

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// idAlphabet is Crockford's base 32, as ULIDs use it.
const idAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// idLen is the length of a ULID in characters.
const idLen = 26

// NewID returns a new ULID (github.com/ulid/spec): 48 bits of milliseconds since
// 1970 and 80 random bits, as 26 characters that sort by time. Project ids are
// write prefixes in buckets and resources in session policies, so nothing but
// this alphabet ever gets there.
func NewID(now time.Time) string {
	var b [16]byte
	rand.Read(b[:]) // never fails (Go 1.24 and later)
	ms := uint64(now.UnixMilli())
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], ms)
	copy(b[:6], t[2:])
	return encodeID(b)
}

// encodeID writes 128 bits as 26 characters of five bits, the first of which
// holds three bits only.
func encodeID(b [16]byte) string {
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var out [idLen]byte
	for i := idLen - 1; i >= 0; i-- {
		out[i] = idAlphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}

// IsID reports whether s has the form of an id that NewID makes.
func IsID(s string) bool {
	if len(s) != idLen || s[0] > '7' {
		return false
	}
	return IsIDPrefix(s)
}

// IsIDPrefix reports whether s may be the beginning of an id.
func IsIDPrefix(s string) bool {
	if s == "" || len(s) > idLen {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' && c != 'I' && c != 'L' && c != 'O' && c != 'U' {
			continue
		}
		return false
	}
	return true
}
