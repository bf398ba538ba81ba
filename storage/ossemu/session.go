package ossemu

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	sessionIDPrefix = "STS."
	minSession      = 15 * time.Minute // "AssumeRole": DurationSeconds is 900 or more
)

// session is what STS gave to one who assumed the role.
type session struct {
	keyID   string
	name    string    // RoleSessionName
	expires time.Time // the first moment at which it is over
	policy  *policy   // nil: what the role may, which is everything
	owner   *authority
}

func (s *session) ended(now time.Time) bool { return !now.Before(s.expires) }

// allows says whether the session may do action on resource.
func (s *session) allows(action, resource string) bool {
	return s.policy == nil || s.policy.allows(action, s.owner.asked(resource))
}

// sealedSession is a session inside its token.
type sealedSession struct {
	KeyID   string  `json:"k"`
	Name    string  `json:"n"`
	Expires int64   `json:"e"` // unix seconds
	Policy  *string `json:"p,omitempty"`
}

// tokenMark begins every token, so that they look as the real ones do (CAIS…,
// and '+', '/' and '=' in it, which a client must encode in a URL).
var tokenMark = []byte{0x08, 0x02, 0x12}

// deriveSessionKeys makes the keys of tokens and sessions from the account's
// secret: sessions outlive the process, and end with the secret.
func (a *authority) deriveSessionKeys() error {
	block, err := aes.NewCipher(a.derive("ossemu session tokens"))
	if err != nil {
		return fmt.Errorf("make the key of session tokens: %w", err)
	}
	if a.tokens, err = cipher.NewGCM(block); err != nil {
		return fmt.Errorf("make the key of session tokens: %w", err)
	}
	a.secretSeed = a.derive("ossemu session secrets")
	return nil
}

// derive makes a key for one purpose, for this account and role alone.
func (a *authority) derive(purpose string) []byte {
	h := hmac.New(sha256.New, []byte(a.secret))
	h.Write([]byte(purpose + "\n" + a.keyID + "\n" + a.role.String()))
	return h.Sum(nil)
}

// secretOfSession needs no memory: who does not know the account's secret can't
// tell it from chance.
func (a *authority) secretOfSession(keyID string) string {
	h := hmac.New(sha256.New, a.secretSeed)
	h.Write([]byte(keyID))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// newSession makes a session; document is its policy, nil for none, and has been
// parsed before.
func (a *authority) newSession(name string, ttl time.Duration, document *string) (s *session, secret, token string, err error) {
	s = &session{
		keyID: sessionIDPrefix + rand.Text(), name: name, owner: a,
		expires: a.now().Add(ttl).UTC().Truncate(time.Second), // as its Expiration is written
	}
	plain, err := json.Marshal(sealedSession{KeyID: s.keyID, Name: name, Expires: s.expires.Unix(), Policy: document})
	if err != nil {
		return nil, "", "", fmt.Errorf("write a session: %w", err)
	}
	nonce := make([]byte, a.tokens.NonceSize())
	rand.Read(nonce) // never fails
	raw := append(append([]byte{}, tokenMark...), nonce...)
	raw = a.tokens.Seal(raw, nonce, plain, tokenMark)
	return s, a.secretOfSession(s.keyID), base64.StdEncoding.EncodeToString(raw), nil
}

var errToken = errors.New("the security token is not one of ours")

// openToken reads a token of ours, ended or not.
func (a *authority) openToken(token string) (*session, error) {
	// The decoder skips line ends, and without Strict bits at the end: one token,
	// one spelling.
	if strings.ContainsAny(token, "\r\n") {
		return nil, errToken
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(token)
	head := len(tokenMark) + a.tokens.NonceSize()
	if err != nil || len(raw) < head || string(raw[:len(tokenMark)]) != string(tokenMark) {
		return nil, errToken
	}
	plain, err := a.tokens.Open(nil, raw[len(tokenMark):head], raw[head:], tokenMark)
	if err != nil {
		return nil, errToken
	}
	var sealed sealedSession
	if err := json.Unmarshal(plain, &sealed); err != nil {
		return nil, errToken
	}
	s := &session{keyID: sealed.KeyID, name: sealed.Name, expires: time.Unix(sealed.Expires, 0), owner: a}
	if sealed.Policy != nil {
		if s.policy, err = parsePolicy(*sealed.Policy); err != nil {
			return nil, errToken // of another version of this program
		}
	}
	return s, nil
}
