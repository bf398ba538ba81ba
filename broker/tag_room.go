package broker

import (
	"context"
	"sync"
)

// tagRooms keeps several uploads to a tag from together going over what each alone
// would not. It knows of this process's; what others add at the same moment may be
// above the quota once.
type tagRooms struct {
	mu   sync.Mutex
	tags map[string]*tagSums
}

// tagSums are a tag's bytes, as long as an upload to it is under way.
type tagSums struct {
	users int
	under int64 // of uploads under way
	done  int64 // of those that ended well since the first of them began
}

// tagRoom is the part of one upload.
type tagRoom struct {
	rooms  *tagRooms
	sums   *tagSums
	tag    string // its name
	quota  int64
	held   int64 // as the store knew after done was before
	before int64
	mine   int64
}

// room lets an upload in that fits into the quota of a tag, which may not have come to
// be yet. Its end is told by leave.
func (s *Tags) room(ctx context.Context, tag Project, bytes int64) (*tagRoom, error) {
	t := &tagRoom{rooms: &s.rooms, tag: tag.Tag, quota: s.Policy.QuotaBytes}
	t.enter()
	held, err := s.Store.BytesOfTags(ctx, []string{tag.ID})
	if err == nil {
		t.held = held[tag.ID].Held
		err = t.grow(bytes)
	}
	if err != nil {
		t.leave(false)
		return nil, err
	}
	return t, nil
}

func (t *tagRoom) enter() {
	t.rooms.mu.Lock()
	defer t.rooms.mu.Unlock()
	if t.rooms.tags == nil {
		t.rooms.tags = map[string]*tagSums{}
	}
	if t.sums = t.rooms.tags[t.tag]; t.sums == nil {
		t.sums = &tagSums{}
		t.rooms.tags[t.tag] = t.sums
	}
	t.sums.users++
	t.before = t.sums.done
}

// grow takes room for so many bytes more.
func (t *tagRoom) grow(bytes int64) error {
	t.rooms.mu.Lock()
	defer t.rooms.mu.Unlock()
	t.sums.under += bytes
	t.mine += bytes
	if t.held+t.sums.done-t.before+t.sums.under > t.quota {
		return Errorf(CodeInsufficientStorage, "the tag may hold %d bytes without a key, and this file is too much; tell whoever runs this server", t.quota)
	}
	return nil
}

// leave gives the room back; kept, the store counts it from now on.
func (t *tagRoom) leave(kept bool) {
	t.rooms.mu.Lock()
	defer t.rooms.mu.Unlock()
	t.sums.under -= t.mine
	if kept {
		t.sums.done += t.mine
	}
	if t.sums.users--; t.sums.users == 0 {
		delete(t.rooms.tags, t.tag)
	}
}
