package web

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// quietStore is a project in which nothing happens unless the test says so.
type quietStore struct {
	projectID string
	looks     atomic.Int64
	changes   atomic.Int64 // lines of the audit
}

func (s *quietStore) Project(context.Context, string) (broker.Project, error) {
	return broker.Project{ID: s.projectID, OwnerID: "ada"}, nil
}
func (s *quietStore) ChangesBefore(context.Context, string, time.Time) (int64, error) { return 0, nil }

func (s *quietStore) Changes(_ context.Context, _ string, after int64, _ int) ([]broker.Change, error) {
	s.looks.Add(1)
	var out []broker.Change
	for n := after + 1; n <= s.changes.Load(); n++ {
		out = append(out, broker.Change{ID: n, ImageID: "an image"})
	}
	return out, nil
}

func (s *quietStore) ByID(_ context.Context, _ string, ids []string) ([]broker.Image, error) {
	return []broker.Image{{ID: ids[0], State: broker.StateReady}}, nil
}
func (s *quietStore) CountImages(context.Context, string) (broker.Counts, error) { return nil, nil }
func (s *quietStore) LatestTasks(context.Context, []string, bool) (map[string]broker.Task, error) {
	return nil, nil
}
func (s *quietStore) Touch(context.Context, string) error { return nil }

func newRooms(t *testing.T) (*rooms, *quietStore, func() *viewer) {
	t.Helper()
	store := &quietStore{projectID: broker.NewID(time.Now())}
	f := &face{Options: Options{
		Live: &broker.Live{Store: store, Now: time.Now}, Log: slog.New(slog.DiscardHandler), Poll: time.Millisecond,
		Image: func(i broker.Image) any { return i.ID },
	}}
	f.rooms.face = f
	by := broker.Caller{Owner: broker.Owner{ID: "ada"}, Key: broker.Key{ID: "k", Scopes: []broker.Scope{broker.ScopeRead}}}
	return &f.rooms, store, func() *viewer {
		v := &viewer{by: by, base: t.Context(), send: make(chan []byte, backlog)}
		if err := f.rooms.join(v, store.projectID); err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestRoomIsShared: a project has one room, which closes when nobody looks.
func TestRoomIsShared(t *testing.T) {
	r, store, join := newRooms(t)
	rooms := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.open)
	}
	a, b := join(), join()
	<-a.send
	<-b.send
	r.mu.Lock()
	viewers := r.viewers
	r.mu.Unlock()
	if n := rooms(); n != 1 || viewers != 2 {
		t.Errorf("%d rooms with %d viewers", n, viewers)
	}
	r.leave(a, store.projectID)
	r.leave(a, store.projectID) // twice is once
	store.changes.Add(1)
	<-b.send
	if _, open := <-a.send; open {
		t.Error("who has left is told")
	}
	r.leave(b, store.projectID)
	eventually(t, "the room stays open", func() bool { return rooms() == 0 })
	looks := store.looks.Load()
	c := join() // a new one
	<-c.send
	if store.looks.Load() <= looks {
		t.Error("nobody looks for who came later")
	}
	r.leave(c, store.projectID)
	eventually(t, "viewers are left over", func() bool { return rooms() == 0 })
}

// TestSlowViewer is sent off, and keeps nobody waiting.
func TestSlowViewer(t *testing.T) {
	r, store, join := newRooms(t)
	slow, quick := join(), join()
	<-quick.send
	for range backlog + 2 {
		store.changes.Add(1)
		<-quick.send
	}
	eventually(t, "the slow one is kept", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.viewers == 1
	})
	n := 0
	for range slow.send {
		n++
	}
	if n != backlog {
		t.Errorf("he has %d events, not %d", n, backlog)
	}
	r.leave(quick, store.projectID)
}

// TestTooManyViewers are refused with the advice to come again.
func TestTooManyViewers(t *testing.T) {
	r, _, _ := newRooms(t)
	r.viewers = viewersMax
	err := r.join(&viewer{send: make(chan []byte)}, "p")
	if broker.CodeOf(err) != broker.CodeUnavailable || len(r.open) != 0 {
		t.Errorf("%v", err)
	}
}
