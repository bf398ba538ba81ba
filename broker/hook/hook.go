// Package hook signs and verifies webhooks as Standard Webhooks 1.0 describes them
// (https://github.com/standard-webhooks/standard-webhooks, spec).
//
// A message has an id that stays the same however often it is sent, a time of
// sending, and for each secret a signature over both and the body. While a secret is
// being replaced the sender signs with the old and the new one; a receiver takes a
// message that is signed with any secret that it knows.
//
// It needs no permission and has no side effect. No error tells a secret.
package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a message.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp" // Unix time in seconds
	HeaderSignature = "Webhook-Signature" // v1,<base64> for each secret, with spaces between
)

// Tolerance is how far a message's time may be from the receiver's own: an old
// message may be somebody's repetition.
const Tolerance = 5 * time.Minute

const (
	secretPrefix = "whsec_"
	version      = "v1,"

	minSecretBytes = 24
	maxSecretBytes = 64
)

// Secret is what sender and receiver share. It prints as stars.
type Secret struct{ key string }

// String hides it.
func (Secret) String() string { return "whsec_***" }

// GoString hides it.
func (s Secret) GoString() string { return s.String() }

// ParseSecret reads a secret as it is written: whsec_ and the base64 of 24 to 64
// bytes.
func ParseSecret(s string) (Secret, error) {
	encoded, ok := strings.CutPrefix(s, secretPrefix)
	if !ok {
		return Secret{}, errors.New("a secret begins with whsec_")
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Secret{}, errors.New("what follows whsec_ is not base64") // the cause would tell of the secret
	}
	if len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return Secret{}, fmt.Errorf("a secret has %d to %d bytes, this one has %d; make one with: echo whsec_$(openssl rand -base64 32)",
			minSecretBytes, maxSecretBytes, len(key))
	}
	return Secret{string(key)}, nil
}

// Sign returns the headers of a message that is sent now. The id has no point in it,
// or the signature would hold for another id and time, too.
func Sign(id string, now time.Time, body []byte, secrets []Secret) http.Header {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	signatures := make([]string, len(secrets))
	for i, s := range secrets {
		signatures[i] = version + base64.StdEncoding.EncodeToString(s.sum(id, timestamp, body))
	}
	return http.Header{
		HeaderID: {id}, HeaderTimestamp: {timestamp}, HeaderSignature: {strings.Join(signatures, " ")},
	}
}

func (s Secret) sum(id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(s.key))
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// What Verify finds wrong.
var (
	ErrHeaders   = errors.New("hook: a header of a signed webhook is missing or can't be read")
	ErrTime      = errors.New("hook: the message was sent too long ago, or the clocks differ")
	ErrSignature = errors.New("hook: no signature is that of a known secret")
)

// Verify makes sure that a message came from who knows one of the secrets, not long
// before or after now. The body is that of the request, byte for byte. It returns the
// message's id, by which a receiver recognises one that he has had already.
func Verify(header http.Header, body []byte, now time.Time, secrets ...Secret) (id string, err error) {
	id, timestamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || err != nil {
		return "", ErrHeaders
	}
	if age := now.Unix() - seconds; age > int64(Tolerance/time.Second) || age < -int64(Tolerance/time.Second) {
		return "", ErrTime
	}
	for given := range strings.FieldsSeq(header.Get(HeaderSignature)) {
		encoded, ok := strings.CutPrefix(given, version)
		if !ok {
			continue // of another version
		}
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			continue
		}
		for _, s := range secrets {
			if s.key != "" && hmac.Equal(signature, s.sum(id, timestamp, body)) {
				return id, nil
			}
		}
	}
	return "", ErrSignature
}
