package web

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
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
	var out []broker.Change
	for n := after + 1; n <= s.changes.Load(); n++ {
		out = append(out, broker.Change{ID: n, ImageID: strconv.FormatInt(n, 10)})
	}
	return out, nil
}

func (s *quietStore) ByID(_ context.Context, _ string, ids []string) (out []broker.Image, _ error) {
	for _, id := range ids {
		out = append(out, broker.Image{ID: id, State: broker.StateReady})
	}
	return out, nil
}
func (s *quietStore) CountImages(context.Context, string) (broker.Counts, error) { return nil, nil }
func (s *quietStore) LatestTasks(context.Context, []string, bool) (map[string]broker.Task, error) {
	s.looks.Add(1)
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
		v := &viewer{by: by, base: t.Context(), since: -1, send: make(chan []byte, backlog)}
		f.rooms.join(v, store.projectID)
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
	if n := rooms(); n != 1 {
		t.Errorf("%d rooms", n)
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

// hears reads what a viewer is told until he knows of so many images.
func hears(t *testing.T, v *viewer, images int) {
	t.Helper()
	known := map[string]bool{}
	for len(known) < images {
		var event []byte
		select {
		case e, ok := <-v.send:
			if !ok {
				t.Fatalf("he is sent off with %d images of %d", len(known), images)
			}
			event = e
		case <-time.After(20 * time.Second):
			t.Fatalf("he is told of %d images of %d", len(known), images)
		}
		_, data, _ := bytes.Cut(event, []byte("data: "))
		var ids []string
		if bytes.Contains(event, []byte("event: images")) && json.Unmarshal(data, &ids) != nil {
			t.Fatalf("%s", event)
		}
		for _, id := range ids {
			known[id] = true
		}
	}
}

// manyImages are more than can wait for a viewer.
const manyImages = 64*eventImages + 1000

// TestSlowViewer keeps nobody waiting, and is told everything when he reads: what
// happens while he watches, and what he missed before.
func TestSlowViewer(t *testing.T) {
	r, store, join := newRooms(t)
	slow, quick := join(), join()
	<-slow.send
	<-quick.send
	store.changes.Store(manyImages)
	hears(t, quick, manyImages)
	late := join() // who is no quicker, and told by a feed of his own from the beginning
	store.changes.Add(1)
	hears(t, quick, 1)
	hears(t, slow, manyImages+1)
	hears(t, late, manyImages+1)
	for _, v := range []*viewer{slow, quick, late} {
		r.leave(v, store.projectID)
	}
}

// TestSlowViewerIsNotWaitedFor: while he does not read, a room looks as seldom as
// without him.
func TestSlowViewerIsNotWaitedFor(t *testing.T) {
	r, store, join := newRooms(t)
	r.face.Poll = time.Hour // it looks when it is told to, alone
	store.changes.Store(manyImages)
	v := join()
	r.mu.Lock()
	in := r.open[store.projectID]
	r.mu.Unlock()
	rests := func() int64 { // wakes the room, and waits until it has heard so twice
		for range 2 {
			select {
			case in.wake <- struct{}{}:
			default:
			}
			eventually(t, "the room never rests", func() bool { return len(in.wake) == 0 })
		}
		return store.looks.Load()
	}
	before := rests()
	if n := len(v.send); n < cap(v.send)/2 {
		t.Errorf("%d events wait for him", n)
	}
	for range 5 {
		rests()
	}
	// And one that was under way when the others were counted.
	if n := rests() - before; n > 13 {
		t.Errorf("%d looks, woken 12 times", n)
	}
	go func() {
		for {
			select {
			case in.wake <- struct{}{}:
			case <-t.Context().Done():
				return
			}
		}
	}()
	hears(t, v, manyImages)
	r.leave(v, store.projectID)
}
