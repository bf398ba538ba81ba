package broker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// auditStore has lines of the audit that the test commits in any order.
type auditStore struct {
	lines   []Change
	counts  Counts
	task    *Task
	touched int
	before  int64 // the newest line that is old
	fail    error
}

func (s *auditStore) Project(context.Context, string) (Project, error) {
	return Project{ID: liveProject, OwnerID: "ada"}, nil
}

func (s *auditStore) ChangesBefore(context.Context, string, time.Time) (int64, error) {
	return s.before, nil
}

func (s *auditStore) Changes(_ context.Context, _ string, after int64, max int) ([]Change, error) {
	slices.SortFunc(s.lines, func(a, b Change) int { return int(a.ID - b.ID) })
	var out []Change
	for _, l := range s.lines {
		if l.ID > after && len(out) < max {
			out = append(out, l)
		}
	}
	return out, s.fail
}

func (s *auditStore) ByID(_ context.Context, _ string, ids []string) (out []Image, _ error) {
	for _, id := range ids {
		out = append(out, Image{ID: id})
	}
	return out, nil
}

func (s *auditStore) CountImages(context.Context, string) (Counts, error) { return s.counts, nil }

func (s *auditStore) LatestTasks(context.Context, []string, bool) (map[string]Task, error) {
	if s.task == nil {
		return nil, nil
	}
	return map[string]Task{liveProject: *s.task}, nil
}

func (s *auditStore) Touch(context.Context, string) error { s.touched++; return nil }

const liveProject = "01KAHQY5C9W3RV7ZB3N4D8M2XE"

// TestFeed: each line is told once, one that is committed late as well, and the floor
// rises only above what can have no late one below it.
func TestFeed(t *testing.T) {
	store := &auditStore{}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	live := &Live{Store: store, Now: func() time.Time { return now }}
	by := Caller{Owner: Owner{ID: "ada"}, Key: Key{ID: "k", Scopes: []Scope{ScopeRead}}}
	feed, err := live.Follow(t.Context(), by, liveProject, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, floor int64, ids ...string) News {
		t.Helper()
		news, err := feed.News(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, img := range news.Images {
			got = append(got, img.ID)
		}
		if !slices.Equal(got, ids) || news.Floor != floor {
			t.Errorf("%s: told of %v up to %d, want %v up to %d", what, got, news.Floor, ids, floor)
		}
		return news
	}
	if news := want("at first", 0); news.Counts == nil || news.Task != nil {
		t.Errorf("%+v", news)
	}
	store.lines = append(store.lines, Change{5, "b"}, Change{6, "b"}, Change{7, "c"})
	store.counts = Counts{StatePending: 2}
	if news := want("three lines", 0, "b", "c"); news.Counts[StatePending] != 2 || store.touched != 1 {
		t.Errorf("%+v, touched %d times", news, store.touched)
	}
	store.lines = append(store.lines, Change{3, "a"}) // whose number was drawn before
	if news := want("a late one", 0, "a"); news.Counts != nil {
		t.Errorf("the same counts again: %+v", news)
	}
	want("nothing", 0)
	now = now.Add(11 * time.Second)
	store.lines = append(store.lines, Change{20, "z"}) // of this moment: one below it may still come
	want("after a while", 7, "z")
	store.lines = append(store.lines, Change{8, "a"})
	store.task = &Task{ID: "t", State: TaskPending}
	if news := want("the next", 7, "a"); news.Task == nil || news.Task.ID != "t" {
		t.Errorf("%+v", news)
	}
	store.task = &Task{ID: "t", State: TaskPending, Progress: 1}
	if news := want("its task", 7); news.Task == nil {
		t.Error("the progress is not told")
	}
	store.fail = errors.New("away")
	if _, err := feed.News(t.Context()); !errors.Is(err, store.fail) {
		t.Errorf("%v", err)
	}

	// Many at once come in pieces, each line once.
	store.fail, store.lines = nil, nil
	for n := range int64(2*newsMax + 10) {
		store.lines = append(store.lines, Change{100 + n, NewID(now)})
	}
	told := 0
	for more := true; more; {
		news, err := feed.News(t.Context())
		if err != nil || len(news.Images) > newsMax {
			t.Fatal(len(news.Images), err)
		}
		told, more = told+len(news.Images), news.More
	}
	if told != len(store.lines) {
		t.Errorf("%d of %d were told", told, len(store.lines))
	}
	for name, by := range map[string]Caller{"nobody": {}, "another": {Owner: Owner{ID: "bob"}, Key: by.Key}, "one who may not read": {Owner: by.Owner, Key: Key{ID: "k"}}} {
		if _, err := live.Follow(t.Context(), by, liveProject, 0); err == nil {
			t.Errorf("%s may follow", name)
		}
	}
}

// TestFeedInPieces: the floor rises while one catches up, so that a connection that
// breaks costs little, and never above a line that is committed late.
func TestFeedInPieces(t *testing.T) {
	store := &auditStore{before: 2000}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	live := &Live{Store: store, Now: func() time.Time { return now }}
	by := Caller{Owner: Owner{ID: "ada"}, Key: Key{ID: "k", Scopes: []Scope{ScopeRead}}}
	for n := range int64(3000) {
		if n+1 != 2100 { // comes later
			store.lines = append(store.lines, Change{n + 1, NewID(now)})
		}
	}
	told := map[string]bool{}
	next := func(feed *Feed) News {
		news, err := feed.News(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, img := range news.Images {
			told[img.ID] = true
		}
		return news
	}
	feed, err := live.Follow(t.Context(), by, liveProject, 0)
	if err != nil {
		t.Fatal(err)
	}
	for piece := range 3 {
		if news := next(feed); !news.More || news.Floor != int64(newsMax*(piece+1)) {
			t.Fatalf("piece %d: up to %d, more: %v", piece, news.Floor, news.More)
		}
	}
	// Another goes on there, slowly: meanwhile a line comes below what he was told.
	if feed, err = live.Follow(t.Context(), by, liveProject, newsMax*3); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		news := next(feed)
		if more = news.More; news.Floor > 2000 {
			t.Fatalf("up to %d, where a line can still come", news.Floor)
		}
		if len(store.lines) < 3000 {
			store.lines = append(store.lines, Change{2100, "late"})
		}
		now = now.Add(settleTime * 2)
	}
	if news := next(feed); !told["late"] || news.Floor != 3000 || len(told) != 3000 {
		t.Errorf("%d images up to %d, the late one: %v", len(told), news.Floor, told["late"])
	}
	if feed, err = live.Follow(t.Context(), by, liveProject, 1<<40); err != nil {
		t.Fatal(err)
	}
	if news := next(feed); len(news.Images) != newsMax {
		t.Errorf("who has another database's number is told of %d images", len(news.Images))
	}
}
