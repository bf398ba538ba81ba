package tags

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// waitForPlace is how long an upload waits when very many are under way.
const waitForPlace = time.Minute

// places are for uploads under way. Of those, one address has but a few, so that no
// client keeps all others waiting.
type places struct {
	all  chan struct{} // one for each
	each int           // of one address; 0: as many as there are
	most int           // of one address, with those that wait for theirs
	wait time.Duration

	mu    sync.Mutex
	lines map[netip.Addr]*line
}

// line are an address's uploads, as long as it has any.
type line struct {
	free    chan struct{} // one for each of its places
	here    int
	brought atomic.Int64 // bytes of all its uploads
}

func newPlaces(all, each, most int) *places {
	return &places{all: make(chan struct{}, all), each: each, most: most, wait: waitForPlace, lines: map[netip.Addr]*line{}}
}

// place is one upload's, until it leaves.
type place struct {
	*line
	leave func()
}

// enter waits for a place. CodeTooManyRequests when none came free, and at once when so
// many of the address wait already.
func (p *places) enter(ctx context.Context, addr netip.Addr) (*place, error) {
	addr = api.OneClient(addr)
	own, ok := p.join(addr)
	if !ok {
		return nil, crowded("%d files of your address are on their way or wait; send further ones when some of them are there", p.most)
	}
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	select {
	case own.free <- struct{}{}:
	case <-ctx.Done():
		p.quit(addr, own)
		return nil, crowded("%d files of your address are on their way; send further ones when some of them are there", p.each)
	}
	select {
	case p.all <- struct{}{}:
	case <-ctx.Done():
		<-own.free
		p.quit(addr, own)
		return nil, crowded("very many files are being sent at this moment; try again soon")
	}
	return &place{line: own, leave: func() {
		<-p.all
		<-own.free
		p.quit(addr, own)
	}}, nil
}

func (p *places) join(addr netip.Addr) (*line, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.lines[addr]
	if own == nil {
		n := p.each
		if n == 0 {
			n = cap(p.all)
		}
		own = &line{free: make(chan struct{}, n)}
		p.lines[addr] = own
	}
	if p.most > 0 && own.here >= p.most {
		return nil, false
	}
	own.here++
	return own, true
}

func (p *places) quit(addr netip.Addr, own *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if own.here--; own.here == 0 {
		delete(p.lines, addr)
	}
}

func crowded(format string, args ...any) error {
	e := broker.Errorf(broker.CodeTooManyRequests, format, args...)
	e.RetryAfter = 10 * time.Second
	return e
}
