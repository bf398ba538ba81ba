package broker

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"
	"unicode"
)

// MinSecretLen is the least length of a secret that an operator chooses himself.
const MinSecretLen = 16

// signInCodeTTL is how long a printed sign-in link works, sessionTTL how long a
// browser stays signed in.
const (
	signInCodeTTL = 15 * time.Minute
	sessionTTL    = 30 * 24 * time.Hour
)

// KeyStore keeps owners, keys and sessions. Hashes are SHA-256 of the secret.
type KeyStore interface {
	// CreateOwner adds an owner. CodeConflict when the email is taken.
	CreateOwner(ctx context.Context, o Owner) error
	// OwnerByEmail finds an owner. CodeNotFound when there is none.
	OwnerByEmail(ctx context.Context, email string) (Owner, error)
	// ListOwners returns all owners by id.
	ListOwners(ctx context.Context) ([]Owner, error)
	// CreateKey adds a key and returns its id. The same hash again for the same
	// owner sets that key's scopes and expiry anew, revives it, and returns its
	// id; for another owner it is CodeConflict.
	CreateKey(ctx context.Context, k Key, hash [32]byte) (id string, err error)
	// KeyByHash finds a key with its owner, live or not. CodeNotFound.
	KeyByHash(ctx context.Context, hash [32]byte) (Caller, error)
	// ListKeys returns the keys of an owner ("" for all), oldest first.
	ListKeys(ctx context.Context, ownerID string) ([]Key, error)
	// RevokeKey ends the key with this id or the one whose id begins so.
	// CodeNotFound, or CodeConflict when several begin so.
	RevokeKey(ctx context.Context, idPrefix string, now time.Time) (Key, error)
	// TouchKey notes that the key was used, at most once a minute.
	TouchKey(ctx context.Context, id string, now time.Time) error
	// AnyKey reports whether there is a key at all.
	AnyKey(ctx context.Context) (bool, error)
	// CreateSession adds a session or sign-in code of a key.
	CreateSession(ctx context.Context, s Session, hash [32]byte) error
	// SessionByHash finds a session that has not ended, with its key and owner.
	SessionByHash(ctx context.Context, hash [32]byte, now time.Time) (Session, Caller, error)
	// TakeCode ends a sign-in code and returns its key's id; only one taker wins.
	// CodeNotFound when it is unknown, taken, or over.
	TakeCode(ctx context.Context, hash [32]byte, now time.Time) (keyID string, err error)
	// EndSession forgets a session; unknown is no error.
	EndSession(ctx context.Context, hash [32]byte) error
}

// Session is a browser's sign-in, or a code that becomes one.
type Session struct {
	KeyID     string
	Code      bool // a sign-in code, not a session
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Keys holds the rules of owners, keys and sessions.
type Keys struct {
	Store KeyStore
	Now   func() time.Time
}

// keyPrefix tells a key from other secrets, for people and for scanners of
// leaked ones. Sign-in codes and sessions are no keys and go without it.
const keyPrefix = "ub_"

// NewSecret makes a key's secret: 160 random bits.
func NewSecret() string { return keyPrefix + randomText() }

func randomText() string {
	var b [20]byte
	rand.Read(b[:]) // never fails (Go 1.24 and later)
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

func hashSecret(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// Authenticate finds who holds the secret. CodeUnauthenticated tells neither
// whether it was ever known nor why it is not good.
func (k *Keys) Authenticate(ctx context.Context, secret string) (Caller, error) {
	if secret == "" || len(secret) > 512 {
		return Caller{}, errBadKey()
	}
	c, err := k.Store.KeyByHash(ctx, hashSecret(secret))
	if CodeOf(err) == CodeNotFound {
		return Caller{}, errBadKey()
	}
	if err != nil {
		return Caller{}, err
	}
	now := k.Now()
	if !c.Key.Live(now) {
		return Caller{}, errBadKey()
	}
	if c.Key.LastUsed == nil || now.Sub(*c.Key.LastUsed) > time.Minute {
		if err := k.Store.TouchKey(ctx, c.Key.ID, now); err != nil {
			return Caller{}, err
		}
	}
	return c, nil
}

func errBadKey() error {
	return Errorf(CodeUnauthenticated, "the key is unknown, revoked or expired; ask the operator for a new one")
}

// CreateOwner adds a person.
func (k *Keys) CreateOwner(ctx context.Context, email, name string) (Owner, error) {
	email = strings.ToLower(strings.TrimSpace(email))
	local, domain, ok := strings.Cut(email, "@")
	if !ok || local == "" || domain == "" || len(email) > 254 || strings.Contains(domain, "@") ||
		strings.ContainsAny(email, "\"<>,;") || strings.ContainsFunc(email, notPlain) {
		return Owner{}, Errorf(CodeInvalid, "%q is not an email address", email)
	}
	if name != "" {
		if err := checkTitle("owner", name); err != nil {
			return Owner{}, err
		}
	}
	now := k.Now()
	o := Owner{ID: NewID(now), Email: email, Name: name, CreatedAt: now}
	return o, k.Store.CreateOwner(ctx, o)
}

// NewKey is what a key is made from.
type NewKey struct {
	Name      string
	Scopes    []Scope // empty: read and upload
	ProjectID string
	Clouds    []Cloud
	TTL       time.Duration // 0: does not expire
	Secret    string        // "": made at random
}

// Create adds a key of the owner and returns its secret, which is kept nowhere.
func (k *Keys) Create(ctx context.Context, owner Owner, n NewKey) (Key, string, error) {
	if len(n.Scopes) == 0 {
		n.Scopes = []Scope{ScopeRead, ScopeUpload}
	}
	if n.TTL < 0 {
		return Key{}, "", Errorf(CodeInvalid, "a key can't expire in the past")
	}
	if n.Name != "" {
		if err := checkTitle("key", n.Name); err != nil {
			return Key{}, "", err
		}
	}
	if n.Secret == "" {
		n.Secret = NewSecret()
	} else if len(n.Secret) < MinSecretLen || len(n.Secret) > 512 || strings.TrimSpace(n.Secret) != n.Secret || strings.ContainsFunc(n.Secret, notASCII) {
		// It travels in a header, whose ends are trimmed on the way.
		return Key{}, "", Errorf(CodeInvalid, "a key's secret must have %d to 512 characters, printable ASCII without a space at either end", MinSecretLen)
	}
	now := k.Now()
	key := Key{
		ID: NewID(now), OwnerID: owner.ID, Name: n.Name, Hint: n.Secret[:6],
		Scopes: n.Scopes, ProjectID: n.ProjectID, Clouds: n.Clouds, CreatedAt: now,
	}
	if n.TTL > 0 {
		end := now.Add(n.TTL)
		key.ExpiresAt = &end
	}
	id, err := k.Store.CreateKey(ctx, key, hashSecret(n.Secret))
	if err != nil {
		return Key{}, "", err
	}
	key.ID = id
	return key, n.Secret, nil
}

func notASCII(r rune) bool { return r < ' ' || r > '~' }

// notPlain reports spaces, control characters, and what is no character at all.
func notPlain(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
}

// Bootstrapped is what the start of a server must tell.
type Bootstrapped struct {
	Owner  Owner
	Key    Key
	Secret string // "" unless it was made now
}

// BootstrapEmail is the owner that a first start makes.
const BootstrapEmail = "owner@localhost"

// Bootstrap sees to it that there is an owner with a key of every scope. A
// chosen secret is set at every start; without one, a key is made only where
// there is none at all.
func (k *Keys) Bootstrap(ctx context.Context, chosen string) (Bootstrapped, error) {
	if chosen == "" {
		if any, err := k.Store.AnyKey(ctx); err != nil || any {
			return Bootstrapped{}, err
		}
	}
	owner, err := k.Store.OwnerByEmail(ctx, BootstrapEmail)
	if CodeOf(err) == CodeNotFound {
		owner, err = k.CreateOwner(ctx, BootstrapEmail, "Owner")
		if CodeOf(err) == CodeConflict { // another starter was first
			owner, err = k.Store.OwnerByEmail(ctx, BootstrapEmail)
		}
	}
	if err != nil {
		return Bootstrapped{}, err
	}
	key, secret, err := k.Create(ctx, owner, NewKey{Name: "bootstrap", Scopes: AllScopes(), Secret: chosen})
	if err != nil {
		return Bootstrapped{}, err
	}
	if chosen != "" {
		secret = ""
	}
	return Bootstrapped{Owner: owner, Key: key, Secret: secret}, nil
}

// Token answers the secret of a live key whose owner has this email, "" for any
// other: old clients log in with an email and a password, and the password is a key.
func (k *Keys) Token(ctx context.Context, email, password string) (string, error) {
	c, err := k.Authenticate(ctx, strings.TrimSpace(password))
	switch {
	case CodeOf(err) == CodeUnauthenticated:
		return "", nil
	case err != nil:
		return "", err
	case !strings.EqualFold(c.Owner.Email, strings.TrimSpace(email)):
		return "", nil
	}
	return strings.TrimSpace(password), nil
}

// NewSignInCode makes a code that TradeCode turns into a session once.
func (k *Keys) NewSignInCode(ctx context.Context, keyID string) (string, error) {
	return k.newSession(ctx, keyID, true, signInCodeTTL)
}

// TradeCode turns a sign-in code into a session's secret.
func (k *Keys) TradeCode(ctx context.Context, code string) (secret string, ttl time.Duration, err error) {
	keyID, err := k.Store.TakeCode(ctx, hashSecret(code), k.Now())
	if CodeOf(err) == CodeNotFound {
		return "", 0, Errorf(CodeUnauthenticated, "this sign-in link was used or is over; restart the server for a new one, or sign in with a key")
	}
	if err != nil {
		return "", 0, err
	}
	secret, err = k.newSession(ctx, keyID, false, sessionTTL)
	return secret, sessionTTL, err
}

// SignIn turns a key's secret into a session's.
func (k *Keys) SignIn(ctx context.Context, keySecret string) (secret string, ttl time.Duration, err error) {
	c, err := k.Authenticate(ctx, keySecret)
	if err != nil {
		return "", 0, err
	}
	secret, err = k.newSession(ctx, c.Key.ID, false, sessionTTL)
	return secret, sessionTTL, err
}

// SignOut ends a session.
func (k *Keys) SignOut(ctx context.Context, secret string) error {
	return k.Store.EndSession(ctx, hashSecret(secret))
}

// BySession finds who is signed in.
func (k *Keys) BySession(ctx context.Context, secret string) (Caller, error) {
	now := k.Now()
	_, c, err := k.Store.SessionByHash(ctx, hashSecret(secret), now)
	if CodeOf(err) == CodeNotFound || err == nil && !c.Key.Live(now) {
		return Caller{}, Errorf(CodeUnauthenticated, "you are signed out; sign in again")
	}
	return c, err
}

func (k *Keys) newSession(ctx context.Context, keyID string, code bool, ttl time.Duration) (string, error) {
	now := k.Now()
	secret := randomText()
	s := Session{KeyID: keyID, Code: code, CreatedAt: now, ExpiresAt: now.Add(ttl)}
	return secret, k.Store.CreateSession(ctx, s, hashSecret(secret))
}
