// Package presign holds what presigned requests of S3 and OSS have in common: both
// clouds' signatures of version 4 escape in the same way and derive a key for each
// day by the same chain of HMACs.
//
// It holds no credentials longer than its callers do, and opens no connection.
package presign

import "crypto/sha256"

// Key is an HMAC-SHA256 key, padded for its two rounds (RFC 2104): what one day and
// one set of credentials have in common is computed once.
type Key struct {
	Inner [64]byte // goes before the text of the inner round
	outer [64]byte
}

// NewKey derives a signing key: from the secret, with the version's prefix, by an
// HMAC of each part in turn (AWS General Reference, "Deriving the signing key";
// Aliyun OSS API Reference, "Signature version 4").
func NewKey(secret string, parts ...string) Key {
	var k Key
	key := []byte(secret)
	for _, part := range parts {
		k.pad(key)
		sum := k.Finish(sha256.Sum256(append(k.Inner[:], part...)))
		key = sum[:]
	}
	k.pad(key)
	return k
}

func (k *Key) pad(key []byte) {
	if len(key) > 64 {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	for i := range 64 {
		var c byte
		if i < len(key) {
			c = key[i]
		}
		k.Inner[i], k.outer[i] = c^0x36, c^0x5c
	}
}

// Finish is the outer round; inner is the digest of Inner and the text.
func (k *Key) Finish(inner [32]byte) [32]byte {
	var block [96]byte
	copy(block[:], k.outer[:])
	copy(block[64:], inner[:])
	return sha256.Sum256(block[:])
}
