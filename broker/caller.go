package broker

import (
	"slices"
	"time"
)

// Scope is one thing that a key may do.
type Scope string

// The scopes. None implies another.
const (
	ScopeRead   Scope = "read"   // see projects, images, verdicts
	ScopeUpload Scope = "upload" // make projects, register, start, finish uploads
	ScopeManage Scope = "manage" // remove, undo, accept
	ScopeAdmin  Scope = "admin"  // operate the installation; reads no other owner's images
)

// AllScopes lists every scope.
func AllScopes() []Scope { return []Scope{ScopeRead, ScopeUpload, ScopeManage, ScopeAdmin} }

// ParseScope reads a scope's name to the letter.
func ParseScope(s string) (Scope, error) {
	if slices.Contains(AllScopes(), Scope(s)) {
		return Scope(s), nil
	}
	return "", Errorf(CodeInvalid, "unknown scope %q: it is one of read, upload, manage, admin", s)
}

// Caller is who asks: an owner by one of his keys.
type Caller struct {
	Owner Owner
	Key   Key
}

// Known reports whether the caller showed a good key.
func (c Caller) Known() bool { return c.Key.ID != "" }

// Can reports whether the caller's key has the scope.
func (c Caller) Can(s Scope) bool { return slices.Contains(c.Key.Scopes, s) }

// Need refuses callers without the scope; "" asks for a good key of any scope.
func (c Caller) Need(s Scope) error {
	if !c.Known() {
		return Errorf(CodeUnauthenticated, "send a key: Authorization: Bearer KEY")
	}
	if s != "" && !c.Can(s) {
		return Errorf(CodeNotAllowed, "this needs a key with the scope %s", s)
	}
	return nil
}

// MaySee reports whether a project of that owner and id exists for the caller.
// Another's project, or one that the key is not tied to, does not.
func (c Caller) MaySee(ownerID, projectID string) bool {
	return c.Known() && ownerID == c.Owner.ID && (c.Key.ProjectID == "" || c.Key.ProjectID == projectID)
}

// MayUse reports whether the key is pinned to other clouds only.
func (c Caller) MayUse(cloud Cloud) bool {
	return len(c.Key.Clouds) == 0 || slices.Contains(c.Key.Clouds, cloud)
}

// Owner is a person who has projects and keys.
type Owner struct {
	ID        string
	Email     string // lower case
	Name      string
	CreatedAt time.Time
}

// Key is a secret's record; the secret itself is not kept.
type Key struct {
	ID        string
	OwnerID   string
	Name      string
	Hint      string // how the secret begins
	Scopes    []Scope
	ProjectID string  // "": every project of the owner
	Clouds    []Cloud // empty: every cloud
	CreatedAt time.Time
	ExpiresAt *time.Time
	RevokedAt *time.Time
	LastUsed  *time.Time
}

// Live reports whether the key is good at that time.
func (k Key) Live(now time.Time) bool {
	return k.RevokedAt == nil && (k.ExpiresAt == nil || now.Before(*k.ExpiresAt))
}
