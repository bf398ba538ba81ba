package broker

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// heldStore knows of one tag's bytes.
type heldStore struct {
	TagStore
	held int64
}

func (s *heldStore) BytesOfTags(_ context.Context, ids []string) (map[string]TagBytes, error) {
	return map[string]TagBytes{ids[0]: {Held: s.held}}, nil
}

// TestTagRoom: uploads together never pass the quota, what is only declared takes nothing
// from others, and who is refused because of them is told so.
func TestTagRoom(t *testing.T) {
	store := &heldStore{held: 40}
	s := &Tags{Store: store, Policy: TagPolicy{QuotaBytes: 100}}
	enter := func(size int64) *tagRoom {
		t.Helper()
		r, err := s.room(t.Context(), Project{ID: "1", Tag: "open"}, size)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	grow := func(r *tagRoom, bytes int64) {
		t.Helper()
		if err := r.grow(bytes); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error, later bool) {
		t.Helper()
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeInsufficientStorage || strings.Contains(e.Msg, "too much") == later || (e.RetryAfter > 0) != later {
			t.Fatalf("%v, want that it is for now: %t", err, later)
		}
	}
	_, err := s.room(t.Context(), Project{ID: "1", Tag: "open"}, 61)
	refused(err, false)

	slow := enter(60)
	grow(slow, 1)
	quick, other := enter(59), enter(0)
	grow(quick, 30)
	grow(other, 29)
	refused(slow.grow(1), true) // 61 beside 40
	refused(slow.grow(0), true) // once and for all
	slow.leave(false)
	grow(quick, 1) // what he had is free
	refused(other.grow(1), true)
	grow(quick, 28)
	quick.leave(true)

	store.held = 99
	_, err = s.room(t.Context(), Project{ID: "1", Tag: "open"}, 2)
	refused(err, false)
	last := enter(1)
	grow(last, 1)
	refused(last.grow(1), false) // more than was declared
	last.leave(false)
	other.leave(false)
	if len(s.rooms.tags) > 0 {
		t.Errorf("left is %+v", s.rooms.tags)
	}
}

// What was stored since an upload began counts for it.
func TestTagRoomFillsUp(t *testing.T) {
	s := &Tags{Store: &heldStore{}, Policy: TagPolicy{QuotaBytes: 100}}
	var rooms []*tagRoom
	for range 2 {
		r, err := s.room(t.Context(), Project{ID: "1", Tag: "open"}, 60)
		if err != nil {
			t.Fatal(err)
		}
		rooms = append(rooms, r)
	}
	if err := rooms[0].grow(60); err != nil {
		t.Fatal(err)
	}
	rooms[0].leave(true)
	if err := rooms[1].grow(1); err == nil || !strings.Contains(err.Error(), "too much") {
		t.Errorf("%v, though 60 can't come beside 60 any more", err)
	}
	rooms[1].leave(false)
}
