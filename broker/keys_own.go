package broker

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Own lists the caller's keys, newest first, ended ones too. A key that is tied to a
// project knows only those that are tied to it.
func (k *Keys) Own(ctx context.Context, by Caller) ([]Key, error) {
	if err := by.Need(ScopeManage); err != nil {
		return nil, err
	}
	all, err := k.Store.ListKeys(ctx, by.Owner.ID)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(key Key) bool {
		return key.OwnerID != by.Owner.ID || by.Key.ProjectID != "" && key.ProjectID != by.Key.ProjectID
	})
	slices.Reverse(all)
	return all, nil
}

// CreateOwn adds a key of the caller, who can't give what his own key has not:
// scopes, projects, clouds, time. What is left out is as his own key has it, but for
// the scopes: read and upload, as far as he has them.
func (k *Keys) CreateOwn(ctx context.Context, by Caller, projects *Projects, n NewKey) (Key, string, error) {
	if err := by.Need(ScopeManage); err != nil {
		return Key{}, "", err
	}
	n.Secret = ""
	if len(n.Scopes) == 0 {
		n.Scopes = slices.DeleteFunc([]Scope{ScopeRead, ScopeUpload}, func(s Scope) bool { return !by.Can(s) })
		if len(n.Scopes) == 0 {
			return Key{}, "", Errorf(CodeInvalid, "name the scopes; your own key has neither read nor upload")
		}
	}
	for _, s := range n.Scopes {
		if _, err := ParseScope(string(s)); err != nil {
			return Key{}, "", err
		}
		if !by.Can(s) {
			return Key{}, "", Errorf(CodeNotAllowed, "your own key lacks the scope %s and can't give it", s)
		}
	}
	slices.Sort(n.Scopes)
	n.Scopes = slices.Compact(n.Scopes)
	if by.Key.ProjectID != "" && n.ProjectID != "" && n.ProjectID != by.Key.ProjectID {
		return Key{}, "", Errorf(CodeNotAllowed, "your own key is tied to the project %s and can give a key for no other", by.Key.ProjectID)
	}
	if n.ProjectID == "" {
		n.ProjectID = by.Key.ProjectID
	}
	if n.ProjectID != "" {
		if _, err := findProject(ctx, projects.Store, by, n.ProjectID); err != nil {
			return Key{}, "", err
		}
	}
	for _, c := range n.Clouds {
		if !by.MayUse(c) {
			return Key{}, "", Errorf(CodeNotAllowed, "your own key is pinned to other clouds than %s", c)
		}
	}
	if len(n.Clouds) == 0 {
		n.Clouds = by.Key.Clouds
	}
	if end := by.Key.ExpiresAt; end != nil {
		left := end.Sub(k.Now())
		if n.TTL > left {
			return Key{}, "", Errorf(CodeNotAllowed, "your own key ends %s; one that it makes can't live longer", end.UTC().Format(time.RFC3339))
		}
		if n.TTL == 0 {
			n.TTL = left
		}
	}
	return k.Create(ctx, by.Owner, n)
}

// RevokeOwn ends a key of the caller, be it the one that he shows: no other that may
// what his own may not. One that has ended stays as it is.
func (k *Keys) RevokeOwn(ctx context.Context, by Caller, id string) (Key, error) {
	own, err := k.Own(ctx, by)
	if err != nil {
		return Key{}, err
	}
	i := slices.IndexFunc(own, func(key Key) bool { return key.ID == id })
	if i < 0 {
		return Key{}, Errorf(CodeNotFound, "you have no key of the id %.40q", id)
	}
	if own[i].RevokedAt != nil {
		return own[i], nil
	}
	if lacking := lacks(by.Key, own[i]); len(lacking) > 0 && id != by.Key.ID {
		return Key{}, Errorf(CodeNotAllowed, "that key may what your own may not (%s); end it by one that has these scopes", strings.Join(lacking, ", "))
	}
	now := k.Now()
	key, err := k.Store.RevokeKey(ctx, id, now)
	if err == nil && key.RevokedAt == nil {
		key.RevokedAt = &now
	}
	return key, err
}

// lacks names the scopes of another key that one's own has not. A reach that it has
// not, Own does not show.
func lacks(own, other Key) []string {
	var out []string
	for _, s := range other.Scopes {
		if !slices.Contains(own.Scopes, s) {
			out = append(out, string(s))
		}
	}
	return out
}
