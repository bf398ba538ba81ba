package broker_test

import (
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestCreateAProject(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	p, err := w.projects.Create(ctx, w.by, "Ruins / 2026", "")
	if err != nil || p.Kind != broker.KindRecon || p.OwnerID != w.ada.ID || !broker.IsID(p.ID) {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, c := range []struct {
		by   broker.Caller
		name string
		kind broker.ProjectKind
		want broker.Code
	}{
		{w.by, "", "", broker.CodeInvalidName},
		{w.by, " \t", "", broker.CodeInvalidName},
		{w.by, "a\x00b", "", broker.CodeInvalidName},
		{w.by, "a", "other", broker.CodeInvalid},
		{w.by, "a", "Recon", broker.CodeInvalid},
		{broker.Caller{}, "a", "", broker.CodeUnauthenticated},
		{w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}}), "a", "", broker.CodeNotAllowed},
		{w.caller(t, w.ada, broker.NewKey{Scopes: broker.AllScopes(), ProjectID: p.ID}), "a", "", broker.CodeNotAllowed},
	} {
		_, err := w.projects.Create(ctx, c.by, c.name, c.kind)
		if broker.CodeOf(err) != c.want {
			t.Errorf("Create(%q, %q) = %v, want %s", c.name, c.kind, err, c.want)
		}
	}
}

func TestWhoSeesAProject(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	p := w.project(t)
	bob, err := w.keys.CreateOwner(ctx, "bob@example.com", "Bob")
	if err != nil {
		t.Fatal(err)
	}
	theirs := w.caller(t, bob, broker.NewKey{Scopes: broker.AllScopes()})
	tied := w.caller(t, w.ada, broker.NewKey{Scopes: broker.AllScopes(), ProjectID: w.project(t).ID})

	_, _, none := w.projects.Get(ctx, w.by, broker.NewID(w.time()))
	for _, by := range []broker.Caller{theirs, tied} {
		_, _, err := w.projects.Get(ctx, by, p.ID)
		wantCode(t, err, broker.CodeNotFound)
		if len(err.Error()) != len(none.Error()) {
			t.Errorf("another's project is told apart from none: %q, %q", err, none)
		}
		_, err = w.projects.Remove(ctx, by, p.ID)
		wantCode(t, err, broker.CodeNotFound)
		_, err = w.projects.Undo(ctx, by, p.ID)
		wantCode(t, err, broker.CodeNotFound)
		list, err := w.projects.List(ctx, by, p.ID, broker.Page{Limit: 10})
		if err != nil || len(list) != 0 {
			t.Errorf("listed to a stranger: %+v, %v", list, err)
		}
	}
	if list, err := w.projects.List(ctx, tied, "", broker.Page{Limit: 10}); err != nil || len(list) != 1 || list[0].ID != tied.Key.ProjectID {
		t.Errorf("a tied key sees %+v, %v", list, err)
	}
	if got, counts, err := w.projects.Get(ctx, w.by, p.ID); err != nil || got.ID != p.ID || len(counts) != 0 {
		t.Errorf("%+v, %v, %v", got, counts, err)
	}
}

func TestRemoveAndUndoAProject(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	p := w.project(t)
	w.register(t, p, "Near", entry("a.jpg", "a"))

	_, err := w.projects.Remove(ctx, w.caller(t, w.ada, broker.NewKey{}), p.ID)
	wantCode(t, err, broker.CodeNotAllowed)
	var until time.Time
	for range 2 { // a second time is no error and gives no further minutes
		got, err := w.projects.Remove(ctx, w.by, p.ID)
		if err != nil || !got.Removed() {
			t.Fatalf("%+v, %v", got, err)
		}
		if until.IsZero() {
			until = *got.UndoUntil
		}
		if !got.UndoUntil.Equal(until) || !until.Equal(w.time().Add(10*time.Minute)) && w.time().Before(until.Add(-10*time.Minute)) {
			t.Errorf("undo until %v, want %v", got.UndoUntil, until)
		}
		w.pass(time.Minute)
	}
	_, _, err = w.projects.Get(ctx, w.by, p.ID)
	wantCode(t, err, broker.CodeNotFound)
	if list, err := w.projects.List(ctx, w.by, "", broker.Page{Limit: 10}); err != nil || len(list) != 0 {
		t.Errorf("listed: %+v, %v", list, err)
	}
	_, err = w.images.Check(ctx, w.by, p.ID, []string{hexOf("a")})
	wantCode(t, err, broker.CodeNotFound)

	w.pass(8*time.Minute - 1)
	for range 2 {
		if got, err := w.projects.Undo(ctx, w.by, p.ID); err != nil || got.Removed() {
			t.Fatalf("undone: %+v, %v", got, err)
		}
	}
	if _, counts, err := w.projects.Get(ctx, w.by, p.ID); err != nil || counts[broker.StatePending] != 1 {
		t.Errorf("what was in it: %v, %v", counts, err)
	}

	if _, err := w.projects.Remove(ctx, w.by, p.ID); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Minute)
	_, err = w.projects.Undo(ctx, w.by, p.ID)
	wantCode(t, err, broker.CodeUndoEnded)
}
