package postgres_test

import (
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// TestASessionIsWatched: who has a session without any image may overwrite what is
// Ready, so etags are compared as long as it lives, and once more.
func TestASessionIsWatched(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	due := func() []bool { // of each comparison that is due, whether one follows
		t.Helper()
		list, err := f.ClaimReconciles(ctx, []string{"A"}, 10)
		if err != nil {
			t.Fatal(err)
		}
		var granted []bool
		for _, c := range list {
			granted = append(granted, c.Granted)
			if !c.Granted {
				if err := f.FinishReconcile(ctx, c); err != nil {
					t.Fatal(err)
				}
			}
		}
		return granted
	}
	end := time.Now().Add(time.Hour)
	for range 3 { // the same session is given to many
		if err := f.SessionGiven(ctx, p.ID, "A", end); err != nil {
			t.Fatal(err)
		}
	}
	// An older one that another process still has takes nothing back.
	if err := f.SessionGiven(ctx, p.ID, "A", end.Add(-30*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := scan[time.Time](t, f, `SELECT session_ends FROM watches WHERE project_id = $1 AND bucket = 'A'`, p.ID); !got.Equal(end.Truncate(time.Microsecond)) {
		t.Errorf("it ends %v, want %v", got, end)
	}
	if scan[bool](t, f, `SELECT next_look_at IS NOT NULL FROM watches WHERE project_id = $1`, p.ID) {
		t.Error("the watch looks for images that nobody registered")
	}

	f.exec(t, `UPDATE watches SET reconciled_at = now(), swept_at = now()`)
	if got := due(); len(got) != 0 {
		t.Errorf("compared within the first minute: %v", got)
	}
	f.exec(t, `UPDATE watches SET reconcile_at = now() - interval '1 s'`)
	if got := due(); len(got) != 1 || !got[0] {
		t.Errorf("after a minute: %v", got)
	}
	if next := scan[time.Time](t, f, `SELECT reconcile_at FROM watches WHERE project_id = $1`, p.ID); time.Until(next) > 61*time.Second {
		t.Errorf("the next comparison is in %v", time.Until(next))
	}
	// Another session meanwhile: not a minute later than the first would have been.
	if err := f.SessionGiven(ctx, p.ID, "A", end.Add(30*time.Minute)); err != nil {
		t.Fatal(err)
	}
	// When it is over, once more and no more that day.
	f.exec(t, `UPDATE watches SET session_ends = now() - interval '6 min', reconcile_at = now() - interval '1 s'`)
	if got := due(); len(got) != 1 || got[0] {
		t.Errorf("at its end: %v", got)
	}
	f.exec(t, `UPDATE watches SET reconcile_at = reconcile_at - interval '1 hour'`)
	if got := due(); len(got) != 0 {
		t.Errorf("afterwards: %v", got)
	}
}

// TestARemovedProjectWaitsForItsSessions: its objects go when nobody can write
// below its prefix any more.
func TestARemovedProjectWaitsForItsSessions(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	now := time.Now()
	end := now.Add(time.Hour).Truncate(time.Microsecond)
	if err := f.SessionGiven(ctx, p.ID, "A", end); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RemoveProject(ctx, p.ID, now, now.Add(time.Second), f.by); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.SessionGiven(ctx, p.ID, "A", end.Add(time.Hour)), broker.CodeNotFound)
	wantCode(t, f.SessionGiven(ctx, broker.NewID(now), "A", end), broker.CodeNotFound)
	f.exec(t, `UPDATE projects SET sweep_at = now() - interval '1 s' WHERE id = $1`, p.ID)
	removed, err := f.ClaimRemovedProjects(ctx, now.Add(time.Minute), 10)
	if err != nil || len(removed) != 1 || !removed[0].GrantsEnd.Equal(end) {
		t.Errorf("removed %+v, %v; its last session ends %v", removed, err, end)
	}
}
