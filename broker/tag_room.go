package broker

import (
	"context"
	"sync"
	"time"
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
	size   int64 // of the file, as it was declared
	held   int64 // as the store knew after done was before
	before int64
	mine   int64 // what has come of it
	err    error // why it takes no more
}

// room lets an upload in that fits into the quota of a tag beside what is stored there.
// The tag may not have come to be yet. Room is taken by what has come, not by what was
// declared: who sends slowly, or nothing, keeps no others out. Its end is told by leave.
func (s *Tags) room(ctx context.Context, tag Project, size int64) (*tagRoom, error) {
	t := &tagRoom{rooms: &s.rooms, tag: tag.Tag, quota: s.Policy.QuotaBytes, size: size}
	t.enter()
	held, err := s.Store.BytesOfTags(ctx, []string{tag.ID})
	if err == nil {
		t.held = held[tag.ID].Held
		err = t.grow(0)
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

// grow takes room for so many bytes more. Where there is none, what the upload had is free
// at once, so that of two that are too much together one goes on.
func (t *tagRoom) grow(bytes int64) error {
	t.rooms.mu.Lock()
	defer t.rooms.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	t.sums.under += bytes
	t.mine += bytes
	stored := t.held + t.sums.done - t.before
	switch {
	case stored+max(t.mine, t.size) > t.quota:
		t.err = errOverQuota(t.quota)
	case stored+t.sums.under > t.quota:
		e := Errorf(CodeInsufficientStorage, "the tag may hold %d bytes without a key, and other files on their way to it take the rest; send this one again later", t.quota)
		e.RetryAfter = time.Minute // they may break off
		t.err = e
	default:
		return nil
	}
	t.sums.under -= t.mine
	t.mine = 0
	return t.err
}

// fits refuses what a tag can't hold beside what is stored in it.
func (s *Tags) fits(ctx context.Context, tag Project, bytes int64) error {
	held, err := s.Store.BytesOfTags(ctx, []string{tag.ID})
	if err == nil && held[tag.ID].Held+bytes > s.Policy.QuotaBytes {
		err = errOverQuota(s.Policy.QuotaBytes)
	}
	return err
}

func errOverQuota(quota int64) error {
	return Errorf(CodeInsufficientStorage, "the tag may hold %d bytes without a key, and this file is too much; tell whoever runs this server", quota)
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
