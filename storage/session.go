package storage

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Bounds of asking a cloud for sessions. An account may ask Aliyun's STS 100 times
// a second, whatever its buckets and machines ("AssumeRole", section "Limits").
const (
	sessionCalls   = 8                      // at once, of one bucket
	sessionTime    = 20 * time.Second       // for one session, all tries together
	sessionPause   = 250 * time.Millisecond // after a first refusal; doubles
	sessionWait    = 2 * time.Second        // for a newer session, while the one at hand lives for sessionLeft
	sessionLeft    = time.Minute            // enough to begin an upload
	sessionHoldOff = time.Second            // after tries that all failed; doubles
	sessionHoldMax = time.Minute
)

// sessions keeps the sessions of one bucket, one a prefix: callers share it, and
// one of them fetches the next when half of its life is over.
type sessions struct {
	mu     sync.Mutex
	slots  map[string]*sessionSlot
	tidied time.Time // when slots were last gone through
	calls  chan struct{}
}

// sessionSlot is what is known of one prefix.
type sessionSlot struct {
	session  broker.CloudSession // zero: none yet
	renewAt  time.Time
	renewing chan struct{} // closed when the call under way ends; nil: none is
	err      error         // of the last call
	failures int           // in a row
	tryAt    time.Time     // after a failure: nobody asks before
}

func newSessions() *sessions {
	return &sessions{slots: map[string]*sessionSlot{}, calls: make(chan struct{}, sessionCalls)}
}

// CanSession reports whether Session works here.
func (b *Bucket) CanSession() bool { return b.sessioner != nil }

// Session returns a session that may write objects whose keys begin with prefix,
// which ends in "/". All who ask for a prefix share one; it is renewed when half
// of its life is over, so that what is given has at least that. A cloud that
// throttles is asked again after growing pauses; where that does not help the
// present session is given, while it lives, and its ExpiresAt tells how long that
// is. CodeNotSupported where the bucket gives none.
//
// A session is not bound to ctx: one who goes away takes nothing from the others
// who wait.
func (b *Bucket) Session(ctx context.Context, prefix string) (broker.CloudSession, error) {
	if b.sessioner == nil {
		return broker.CloudSession{}, b.wrap(ctx, "session", prefix, b.notSupported())
	}
	folder, ok := strings.CutSuffix(prefix, "/")
	if !ok {
		return broker.CloudSession{}, b.wrap(ctx, "session", prefix, broker.Errorf(broker.CodeInvalidName, "a session's prefix ends in /"))
	}
	if err := CheckKey(folder); err != nil {
		return broker.CloudSession{}, b.wrap(ctx, "session", prefix, err)
	}
	for {
		s, present, wait, err := b.sessionNow(ctx, prefix)
		if wait == nil {
			return s, err
		}
		// Whoever asks while the present one has long to live need not wait for a
		// cloud that is slow; near its end nothing but the next one helps.
		var enough <-chan time.Time
		if present {
			enough = time.After(sessionWait)
		}
		select {
		case <-wait:
		case <-enough:
			return s, nil
		case <-ctx.Done():
			return broker.CloudSession{}, b.wrap(ctx, "session", prefix, ctx.Err())
		}
	}
}

// sessionNow tells what can be said of a prefix at once: a session, an error, or
// what to wait for. present says that s will do if the wait is long.
func (b *Bucket) sessionNow(ctx context.Context, prefix string) (s broker.CloudSession, present bool, wait <-chan struct{}, err error) {
	c := b.sessions
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	slot := c.slots[prefix]
	if slot == nil {
		c.forget(now)
		slot = &sessionSlot{}
		c.slots[prefix] = slot
	}
	alive := now.Before(slot.session.ExpiresAt)
	switch {
	case alive && now.Before(slot.renewAt):
		return slot.session, false, nil, nil
	case slot.renewing == nil && now.Before(slot.tryAt) && alive:
		return slot.session, false, nil, nil
	case slot.renewing == nil && now.Before(slot.tryAt):
		return broker.CloudSession{}, false, nil, slot.err
	}
	if slot.renewing == nil {
		slot.renewing = make(chan struct{})
		go b.renewSession(context.WithoutCancel(ctx), prefix, slot)
	}
	return slot.session, slot.session.ExpiresAt.Sub(now) > sessionLeft, slot.renewing, nil
}

// renewSession fetches a session for a slot, which it frees in any case.
func (b *Bucket) renewSession(ctx context.Context, prefix string, slot *sessionSlot) {
	ctx, cancel := context.WithTimeout(ctx, sessionTime)
	defer cancel()
	s, err := b.fetchSession(ctx, prefix)

	c := b.sessions
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if err == nil {
		slot.session, slot.renewAt = s, now.Add(s.ExpiresAt.Sub(now)/2)
		slot.err, slot.failures, slot.tryAt = nil, 0, time.Time{}
	} else {
		hold := min(sessionHoldOff<<min(slot.failures, 10), sessionHoldMax)
		slot.err, slot.tryAt = err, now.Add(hold)
		slot.failures++
	}
	close(slot.renewing)
	slot.renewing = nil
}

// fetchSession asks the cloud, again and again while it says that it is busy.
func (b *Bucket) fetchSession(ctx context.Context, prefix string) (s broker.CloudSession, err error) {
	select {
	case b.sessions.calls <- struct{}{}:
		defer func() { <-b.sessions.calls }()
	case <-ctx.Done():
		return s, b.wrap(ctx, "session", prefix, ctx.Err())
	}
	for pause := sessionPause; ; pause *= 2 {
		err = b.do(ctx, "session", prefix, func() (err error) {
			s, err = b.sessioner.Session(ctx, prefix, b.info.GrantTTL)
			if err == nil && !time.Now().Before(s.ExpiresAt) {
				err = broker.Errorf(broker.CodeUnavailable, "bucket %s gives sessions that have ended already; is this machine's clock right?", b.info.Symbol)
			}
			return err
		})
		switch broker.CodeOf(err) {
		case broker.CodeTooManyRequests, broker.CodeUnavailable:
		default:
			return s, err
		}
		// Spread, so that those who were refused together don't come together.
		spread := pause/2 + rand.N(pause)
		if end, ok := ctx.Deadline(); ok && time.Until(end) < spread {
			return s, err
		}
		select {
		case <-time.After(spread):
		case <-ctx.Done():
			return s, err
		}
	}
}

// forget drops the prefixes that nobody has asked for in a session's life.
func (c *sessions) forget(now time.Time) {
	if now.Sub(c.tidied) < time.Minute {
		return
	}
	c.tidied = now
	for prefix, slot := range c.slots {
		if slot.renewing == nil && !now.Before(slot.session.ExpiresAt) && !now.Before(slot.tryAt) {
			delete(c.slots, prefix)
		}
	}
}
