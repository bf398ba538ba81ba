package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestRevokeKeyByPrefix(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	f.exec(t, `DELETE FROM keys`)
	now := time.Now()
	put := func(id string, hash byte) {
		t.Helper()
		k := broker.Key{ID: id, OwnerID: f.owner.ID, Hint: "h", Scopes: broker.AllScopes(), CreatedAt: now}
		if _, err := f.CreateKey(ctx, k, [32]byte{hash}); err != nil {
			t.Fatal(err)
		}
	}
	const a, b, c = "01ARZ3NDEKTSV4RRFFQ69G5FA0", "01ARZ3NDEKTSV4RRFFQ69G5FA1", "01BRZ3NDEKTSV4RRFFQ69G5FAV"
	put(a, 1)
	// With a single key, nothing but a prefix of its id ends it.
	for _, none := range []string{"", "%", "_", "0_", a + "0", "02", "ub_", strings.ToLower(a[:4]), `\`, "01ARZ%"} {
		_, err := f.RevokeKey(ctx, none, now)
		wantCode(t, err, broker.CodeNotFound)
	}
	put(b, 2)
	put(c, 3)
	for _, several := range []string{"0", "01", "01ARZ", a[:25]} {
		_, err := f.RevokeKey(ctx, several, now)
		wantCode(t, err, broker.CodeConflict)
	}
	if n := scan[int](t, f, `SELECT count(*) FROM keys WHERE revoked_at IS NOT NULL`); n != 0 {
		t.Fatalf("%d were revoked", n)
	}
	for prefix, want := range map[string]string{b: b, "01B": c} {
		k, err := f.RevokeKey(ctx, prefix, now)
		if err != nil || k.ID != want {
			t.Errorf("RevokeKey(%q) = %s, %v", prefix, k.ID, err)
		}
	}
	if _, err := f.RevokeKey(ctx, c, now.Add(time.Hour)); err != nil {
		t.Errorf("a second time: %v", err)
	}
	keys, err := f.ListKeys(ctx, f.owner.ID)
	if err != nil || len(keys) != 3 || keys[0].RevokedAt != nil || keys[1].RevokedAt == nil || !keys[2].RevokedAt.Equal(now.Truncate(time.Microsecond)) {
		t.Errorf("%+v, %v", keys, err)
	}
}

func TestCreateKeyAgain(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	now := time.Now()
	k := broker.Key{ID: broker.NewID(now), OwnerID: f.owner.ID, Hint: "h", Scopes: []broker.Scope{broker.ScopeRead}, CreatedAt: now, ExpiresAt: &now}
	id, err := f.CreateKey(ctx, k, [32]byte{9})
	if err != nil || id != k.ID {
		t.Fatal(id, err)
	}
	if _, err := f.RevokeKey(ctx, id, now); err != nil {
		t.Fatal(err)
	}
	again := k
	again.ID, again.Scopes, again.ExpiresAt = broker.NewID(now), broker.AllScopes(), nil
	if got, err := f.CreateKey(ctx, again, [32]byte{9}); err != nil || got != id {
		t.Errorf("the same secret is %s, want %s, %v", got, id, err)
	}
	c, err := f.KeyByHash(ctx, [32]byte{9})
	if err != nil || len(c.Key.Scopes) != 4 || !c.Key.Live(now) {
		t.Errorf("%+v, %v", c.Key, err)
	}
	bob := broker.Owner{ID: broker.NewID(now), Email: "bob@example.com", CreatedAt: now}
	if err := f.CreateOwner(ctx, bob); err != nil {
		t.Fatal(err)
	}
	again.OwnerID = bob.ID
	_, err = f.CreateKey(ctx, again, [32]byte{9})
	wantCode(t, err, broker.CodeConflict)
	_, err = f.KeyByHash(ctx, [32]byte{8})
	wantCode(t, err, broker.CodeNotFound)
}
