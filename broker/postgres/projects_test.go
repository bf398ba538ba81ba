package postgres_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestListProjects(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	now := time.Now()
	bob := broker.Owner{ID: broker.NewID(now), Email: "bob@example.com", CreatedAt: now}
	if err := f.CreateOwner(ctx, bob); err != nil {
		t.Fatal(err)
	}
	put := func(id, name, owner string) {
		t.Helper()
		p := broker.Project{ID: id, OwnerID: owner, Name: name, Kind: broker.KindRecon, CreatedAt: now}
		if err := f.CreateProject(ctx, p, f.by); err != nil {
			t.Fatal(err)
		}
	}
	const a, b, c = "01ARZ3NDEKTSV4RRFFQ69G5FA0", "01ARZ3NDEKTSV4RRFFQ69G5FA1", "01BRZ3NDEKTSV4RRFFQ69G5FAV"
	const d, theirs, gone = "01CRZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FA2", "01ARZ3NDEKTSV4RRFFQ69G5FA3"
	put(a, "Ruins", f.owner.ID)
	put(b, "Ruins", f.owner.ID)
	put(c, "01ARZ", f.owner.ID) // a name that looks like a prefix of others
	put(d, "100% O'Neil_\\", f.owner.ID)
	put(theirs, "Ruins", bob.ID)
	put(gone, "Ruins", f.owner.ID)
	if _, err := f.RemoveProject(ctx, gone, now, now.Add(time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	list := func(only, query string, page broker.Page) (ids []string) {
		t.Helper()
		projects, err := f.ListProjects(ctx, f.owner.ID, only, query, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range projects {
			ids = append(ids, p.ID)
		}
		return ids
	}
	all := broker.Page{Limit: 10}
	for _, q := range []struct {
		only, query string
		want        []string
	}{
		{"", "", []string{d, c, b, a}}, // newest first
		{"", "Ruins", []string{b, a}},
		{"", "ruins", nil},
		{"", "Ruin", nil}, // of a name, the whole
		{"", "01ARZ", []string{c, b, a}},
		{"", "01ARZ3", []string{b, a}},
		{"", b, []string{b}},
		{"", b + "0", nil},
		{"", "01", []string{d, c, b, a}},
		{"", "%", nil}, {"", "_1ARZ", nil}, {"", "100%", nil}, {"", "'", nil}, {"", `\`, nil},
		{"", "100% O'Neil_\\", []string{d}},
		{a, "", []string{a}}, {a, "Ruins", []string{a}}, {a, b, nil}, {theirs, "", nil}, {gone, "", nil},
	} {
		if got := list(q.only, q.query, all); !slices.Equal(got, q.want) {
			t.Errorf("tied to %q, asked for %q: %q, want %q", q.only, q.query, got, q.want)
		}
	}
	var paged []string
	for after := ""; ; {
		page := list("", "", broker.Page{After: after, Limit: 3})
		paged = append(paged, page...)
		if len(page) < 3 {
			break
		}
		after = page[len(page)-1]
	}
	if !slices.Equal(paged, []string{d, c, b, a}) {
		t.Errorf("page by page: %q", paged)
	}
}

func TestTagsAreUniqueWhileTheyLive(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	now := time.Now()
	put := func(tag string) (broker.Project, error) {
		p := broker.Project{ID: broker.NewID(now), OwnerID: f.owner.ID, Name: tag, Kind: broker.KindFiles, Tag: tag, CreatedAt: now}
		return p, f.CreateProject(ctx, p, f.by)
	}
	first, err := put("inbox")
	if err != nil {
		t.Fatal(err)
	}
	_, err = put("inbox")
	wantCode(t, err, broker.CodeConflict)
	if _, err := f.RemoveProject(ctx, first.ID, now, now.Add(time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	second, err := put("inbox")
	if err != nil {
		t.Fatalf("the name of a removed tag is taken: %v", err)
	}
	f.registerOne(t, second.ID, "A", 1) // else it would make room
	_, err = f.UndoRemoveProject(ctx, first.ID, now, f.by)
	wantCode(t, err, broker.CodeConflict)
	if _, err := f.RemoveProject(ctx, second.ID, now, now.Add(time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	if p, err := f.UndoRemoveProject(ctx, first.ID, now, f.by); err != nil || p.Removed() {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestUndoOfAProject: it wakes every watch, since hints that came meanwhile were
// dropped, and after its time it is over, whoever asks.
func TestUndoOfAProject(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	f.registerOne(t, p.ID, "A", 1)
	now := time.Now().Truncate(time.Microsecond)
	until := now.Add(time.Minute)
	if _, err := f.RemoveProject(ctx, p.ID, now, until, f.by); err != nil {
		t.Fatal(err)
	}
	f.exec(t, `UPDATE watches SET next_look_at = NULL`)
	_, err := f.UndoRemoveProject(ctx, p.ID, until, f.by)
	wantCode(t, err, broker.CodeUndoEnded)
	if _, err := f.UndoRemoveProject(ctx, p.ID, until.Add(-time.Microsecond), f.by); err != nil {
		t.Fatal(err)
	}
	if !scan[bool](t, f, `SELECT bool_and(next_look_at <= now()) FROM watches`) {
		t.Error("its watches sleep on")
	}
	_, err = f.UndoRemoveProject(ctx, broker.NewID(now), now, f.by)
	wantCode(t, err, broker.CodeNotFound)

	// Final is final.
	if _, err := f.RemoveProject(ctx, p.ID, now, until, f.by); err != nil {
		t.Fatal(err)
	}
	if err := f.FinishProject(ctx, p.ID, until); err != nil {
		t.Fatal(err)
	}
	_, err = f.UndoRemoveProject(ctx, p.ID, now, f.by)
	wantCode(t, err, broker.CodeNotFound)
	_, err = f.Project(ctx, p.ID)
	wantCode(t, err, broker.CodeNotFound)
	_, err = f.Register(ctx, f.batchOf(p.ID, "A", 1))
	wantCode(t, err, broker.CodeNotFound)
	if n := scan[int](t, f, `SELECT count(*) FROM images`) + scan[int](t, f, `SELECT count(*) FROM watches`); n != 0 {
		t.Errorf("%d rows are left of it", n)
	}
}

// TestFinishSparesWhatLives: a project that came back is not finished by a sweep
// that claimed it before.
func TestFinishSparesWhatLives(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	now := time.Now()
	if _, err := f.RemoveProject(ctx, p.ID, now, now.Add(time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	if _, err := f.UndoRemoveProject(ctx, p.ID, now, f.by); err != nil {
		t.Fatal(err)
	}
	if err := f.FinishProject(ctx, p.ID, now); err != nil {
		t.Fatal(err)
	}
	if err := f.SweepProjectAgain(ctx, p.ID, now); err != nil {
		t.Fatal(err)
	}
	if err := f.RemoveImage(ctx, p.ID, img.ID, now, now.Add(time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	if err := f.UndoRemoveImage(ctx, p.ID, img.ID, now, f.by); err != nil {
		t.Fatal(err)
	}
	if err := f.ForgetImage(ctx, img.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.SweepImageAgain(ctx, img.ID, now); err != nil {
		t.Fatal(err)
	}
	if got := f.image(t, img.ID); got.State != broker.StatePending {
		t.Errorf("%+v", got)
	}
}

// TestPlacesOfARemovedImage names the key of every attempt in every bucket where
// it had a grant, and only while its project lives.
func TestPlacesOfARemovedImage(t *testing.T) {
	f := open(t)
	ctx := context.Background()
	p := f.newProject(t)
	first := f.registerOne(t, p.ID, "A", 1)
	f.registerOne(t, p.ID, "B", 1)
	f.seeOne(t, first, "A", "e")
	if _, err := f.Judge(ctx, f.judging(first, "e", "h"), broker.Verdict{Reasons: []broker.Reason{{Code: broker.ReasonEmpty}}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	second := f.registerOne(t, p.ID, "C", 1)
	now := time.Now().Add(-broker.UndoWindow - time.Minute) // claims are kept by the database's clock
	if err := f.RemoveImage(ctx, p.ID, second.ID, now, now.Add(broker.UndoWindow), f.by); err != nil {
		t.Fatal(err)
	}
	if early, err := f.ClaimRemovedImages(ctx, now.Add(broker.UndoWindow), 10); err != nil || len(early) != 0 {
		t.Errorf("claimed while undo is just over: %+v, %v", early, err)
	}
	if _, err := f.RemoveProject(ctx, p.ID, now, now.Add(broker.UndoWindow), f.by); err != nil {
		t.Fatal(err)
	}
	if in, err := f.ClaimRemovedImages(ctx, time.Now(), 10); err != nil || len(in) != 0 {
		t.Errorf("claimed in a removed project, which may come back: %+v, %v", in, err)
	}
	if _, err := f.UndoRemoveProject(ctx, p.ID, now, f.by); err != nil {
		t.Fatal(err)
	}
	claimed, err := f.ClaimRemovedImages(ctx, now.Add(broker.UndoWindow+time.Minute), 10)
	if err != nil || len(claimed) != 1 {
		t.Fatalf("%+v, %v", claimed, err)
	}
	var places []string
	for _, pl := range claimed[0].Places {
		places = append(places, pl.Bucket+" "+pl.Key)
	}
	slices.Sort(places)
	thumb := broker.ThumbKey(p.ID, first.ID)
	want := []string{"A " + first.Key(), "A " + thumb, "B " + first.Key(), "B " + thumb, "C " + second.Key(), "C " + thumb}
	if !slices.Equal(places, want) {
		t.Errorf("its places are %q, want %q", places, want)
	}
	if again, err := f.ClaimRemovedImages(ctx, now.Add(broker.UndoWindow+time.Minute), 10); err != nil || len(again) != 0 {
		t.Errorf("claimed twice: %+v, %v", again, err)
	}
}
