package postgres_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// watchDue makes a watch due, or not for an hour, by the database's own clock.
func (f *fixture) watchDue(t testing.TB, projectID string, due bool) {
	t.Helper()
	at := `now() + interval '1 hour'`
	if due {
		at = `now()`
	}
	f.exec(t, `UPDATE watches SET next_look_at = `+at+`, looked_at = now() - interval '1 hour' WHERE project_id = $1`, projectID)
}

// checkAwake fails when an image waits for bytes in a bucket whose watch sleeps.
func (f *fixture) checkAwake(t testing.TB, when string) {
	t.Helper()
	if n := scan[int](t, f, `
		SELECT count(*) FROM images i JOIN grants g ON g.image_id = i.id AND g.attempt = i.attempt
		LEFT JOIN watches w ON w.project_id = i.project_id AND w.bucket = g.bucket
		WHERE i.state IN ('Pending', 'Uploading') AND w.next_look_at IS NULL`); n > 0 {
		t.Fatalf("%s: %d images wait for a look that never comes", when, n)
	}
}

// TestNoWatchFallsAsleepOverAnUpload: looks that find nothing to wait for put
// watches to sleep while images are registered, granted again and undone.
func TestNoWatchFallsAsleepOverAnUpload(t *testing.T) {
	f := open(t)
	ctx := context.Background()
	look := func(p broker.Project) { // as the worker's, when there is nothing
		watches, err := f.ClaimWatches(ctx, map[string]int{"A": 100})
		if err != nil {
			t.Error(err)
			return
		}
		for _, w := range append(watches, postgres.Watch{ProjectID: p.ID, Bucket: "A", Pause: time.Minute}) {
			open, err := f.OpenUploads(ctx, w.ProjectID, w.Bucket, time.Now())
			if err == nil && len(open) == 0 {
				err = f.Sleep(ctx, w)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	for round := range 60 {
		p := f.newProject(t)
		var removed broker.Image
		if round%3 > 0 {
			removed = f.registerOne(t, p.ID, "A", 1000)
			now := time.Now()
			if err := f.RemoveImage(ctx, p.ID, removed.ID, now, now.Add(time.Hour), f.by); err != nil {
				t.Fatal(err)
			}
			f.watchDue(t, p.ID, round%3 == 1)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for range 6 {
					look(p)
				}
			})
		}
		for c := range 2 {
			wg.Go(func() {
				for i := range 3 {
					b := f.batchOf(p.ID, "A", c*3+i)
					images, err := f.Register(ctx, b)
					if err != nil {
						t.Error(err)
						return
					}
					if i > 0 { // let the watch want to sleep again
						now := time.Now()
						if err := f.RemoveImage(ctx, p.ID, images[0].ID, now, now.Add(time.Hour), f.by); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		if removed.ID != "" {
			wg.Go(func() {
				if err := f.UndoRemoveImage(ctx, p.ID, removed.ID, time.Now(), f.by); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		f.checkAwake(t, "after a race")
	}
}

// The race taken apart: the watch is due already, so that nothing wakes it, and a
// look sees no open image just before a registration or an undo commits. The look
// must not put the watch to sleep.

func TestARegistrationHoldsItsWatch(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	f.seeOne(t, img, "A", "e")
	f.watchDue(t, p.ID, true)
	f.sleepsBeforeTheCommit(t, p, "grants", func() error {
		_, err := f.Register(t.Context(), f.batchOf(p.ID, "A", 2))
		return err
	})
}

func TestUndoHoldsItsWatch(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	now := time.Now()
	if err := f.RemoveImage(t.Context(), p.ID, img.ID, now, now.Add(time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	f.watchDue(t, p.ID, true)
	f.sleepsBeforeTheCommit(t, p, "images", func() error {
		return f.UndoRemoveImage(t.Context(), p.ID, img.ID, time.Now(), f.by)
	})
}

// sleepsBeforeTheCommit runs change, which writes the table, up to its commit,
// and then a look that finds nothing open.
func (f *fixture) sleepsBeforeTheCommit(t *testing.T, p broker.Project, table string, change func() error) {
	t.Helper()
	g := f.newGate(t, table)
	changed := g.hold(t, change)
	slept := make(chan error, 1)
	go func() {
		open, err := f.OpenUploads(t.Context(), p.ID, "A", time.Now())
		if err != nil || len(open) != 0 {
			t.Errorf("the look sees %+v, %v", open, err)
		}
		slept <- f.Sleep(t.Context(), postgres.Watch{ProjectID: p.ID, Bucket: "A", Pause: time.Minute})
	}()
	var err error
	select {
	case err = <-slept: // it went by
		g.open(t)
	case <-f.blocked("FOR UPDATE"): // or it waits for the commit
		g.open(t)
		err = <-slept
	}
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.checkAwake(t, "after the commit")
}

func TestWatchesAreClaimedOnce(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	const projects = 30
	for range projects {
		f.registerOne(t, f.newProject(t).ID, "A", 1)
	}
	other := f.newProject(t)
	f.registerOne(t, other.ID, "B", 1)
	var wg sync.WaitGroup
	var mu sync.Mutex
	claimed := map[string]int{}
	for range 4 {
		wg.Go(func() {
			for range projects {
				watches, err := f.ClaimWatches(ctx, map[string]int{"A": 2, "none": 2})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, w := range watches {
					claimed[w.ProjectID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, n := range claimed {
		if n != 1 {
			t.Errorf("%s was claimed %d times within its pause", id, n)
		}
	}
	if len(claimed) != projects || claimed[other.ID] != 0 {
		t.Errorf("%d were claimed, want %d of bucket A", len(claimed), projects)
	}
}

// TestAHintDuringALookIsKept: what is claimed is moved on before the look, so
// that a hint makes it due again.
func TestAHintDuringALookIsKept(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	f.exec(t, `UPDATE watches SET pause = '1 minute', looked_at = now() - interval '1 hour'`)
	watches, err := f.ClaimWatches(ctx, map[string]int{"A": 10})
	if err != nil || len(watches) != 1 || watches[0].Pause != time.Minute {
		t.Fatalf("%+v, %v", watches, err)
	}
	f.exec(t, `UPDATE watches SET looked_at = now() - interval '2 s'`) // the look lasts
	if err := f.Done(ctx, p.ID, []string{img.ID}, time.Now(), f.by); err != nil {
		t.Fatal(err)
	}
	watches[0].Pause = time.Minute
	if err := f.FinishLook(ctx, watches[0]); err != nil {
		t.Fatal(err)
	}
	if again, err := f.ClaimWatches(ctx, map[string]int{"A": 10}); err != nil || len(again) != 1 {
		t.Errorf("the hint is lost: %+v, %v", again, err)
	}
}

func TestOpenUploads(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	ids := f.oneOfEach(t, p.ID) // granted in A
	if _, err := f.Register(ctx, f.batchOf(p.ID, "B", 1)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	in := func(bucket string, at time.Time) map[string]broker.OpenUpload {
		t.Helper()
		open, err := f.OpenUploads(ctx, p.ID, bucket, at)
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]broker.OpenUpload{}
		for _, u := range open {
			m[u.ImageID] = u
		}
		return m
	}
	a, b := in("A", now), in("B", now)
	if len(a) != 2 || len(b) != 1 || len(in("C", now)) != 0 {
		t.Fatalf("open in A are %+v, in B %+v", a, b)
	}
	u := b[ids[broker.StatePending]]
	slices.Sort(u.Buckets)
	if !slices.Equal(u.Buckets, []string{"A", "B"}) || u.Filename != filename(1, 1) || u.Attempt != 1 || u.GrantsEnded {
		t.Errorf("%+v", u)
	}
	end := scan[time.Time](t, f, `SELECT grants_end FROM images WHERE id = $1`, u.ImageID)
	if in("A", end.Add(5*time.Minute-time.Microsecond))[u.ImageID].GrantsEnded {
		t.Error("its grants count as ended before the five minutes are over")
	}
	if !in("A", end.Add(5*time.Minute))[u.ImageID].GrantsEnded {
		t.Error("its grants do not end")
	}
}

// TestExpireLooksAtTheRow: between a look and the expiry a further grant may
// have come, or the image may have moved.
func TestExpireLooksAtTheRow(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	end := scan[time.Time](t, f, `SELECT grants_end FROM images WHERE id = $1`, img.ID)
	over := end.Add(broker.GraceAfterGrant)
	expire := func(attempt int, at time.Time) int {
		t.Helper()
		n, err := f.Expire(ctx, []broker.OpenUpload{{ImageID: img.ID, Attempt: attempt, GrantsEnded: true}}, at)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if expire(1, over.Add(-time.Microsecond)) != 0 {
		t.Error("expired before its time")
	}
	if expire(2, over) != 0 {
		t.Error("another attempt was expired")
	}
	b := f.batchOf(p.ID, "B", 1)
	b.ExpiresAt = end.Add(time.Second)
	if _, err := f.Register(ctx, b); err != nil {
		t.Fatal(err)
	}
	if expire(1, over) != 0 {
		t.Error("a further grant was not noticed")
	}
	if expire(1, over.Add(time.Second)) != 1 || expire(1, over.Add(time.Hour)) != 0 {
		t.Error("it does not expire once")
	}
	got := f.image(t, img.ID)
	if got.State != broker.StateInvalid || len(got.Reasons) != 1 || got.Reasons[0].Code != broker.ReasonExpired {
		t.Errorf("%+v", got)
	}
	// The late object is taken in all the same.
	if !f.seeOne(t, img, "A", "late") || f.image(t, img.ID).State != broker.StateUploaded {
		t.Error("a late object was dropped")
	}
}

func TestReconcilesAreClaimedOnceADay(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p, gone := f.newProject(t), f.newProject(t)
	f.registerOne(t, p.ID, "A", 1)
	f.registerOne(t, gone.ID, "A", 1)
	if _, err := f.RemoveProject(ctx, gone.ID, time.Now(), time.Now().Add(time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	claim := func() int {
		t.Helper()
		w, err := f.ClaimReconciles(ctx, []string{"A"}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range w {
			if w.ProjectID != p.ID {
				t.Errorf("claimed %+v", w)
			}
		}
		return len(w)
	}
	if claim() != 1 || claim() != 0 {
		t.Error("not claimed once")
	}
	f.exec(t, `UPDATE watches SET reconciled_at = now() - interval '23 hours 59 minutes'`)
	if claim() != 0 {
		t.Error("claimed twice in a day")
	}
	f.exec(t, `UPDATE watches SET reconciled_at = now() - interval '24 hours 1 minute'`)
	if claim() != 1 {
		t.Error("not claimed after a day")
	}
}
