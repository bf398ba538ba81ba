package web

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

// Viewers are connections, and are bounded so that some leave room for the others:
// those without a session for those who have one, and each for all.
const (
	viewersMax   = 2000           // of one process
	strangersMax = viewersMax / 4 // of them without a session
	viewersOf    = 64             // of one owner
	strangersOf  = 16             // of one address
)

// seats counts who watches.
type seats struct {
	mu        sync.Mutex
	taken     int
	strangers int
	of        map[string]int // by owner or address
}

// take gives a viewer a place: a caller's, or, where he is nobody, one of his address.
// It is given back once.
func (s *seats) take(by broker.Caller, client netip.Addr) (leave func(), err error) {
	who, most, whose := "owner "+by.Owner.ID, viewersOf, "with your keys"
	if !by.Known() {
		who, most, whose = "address "+api.OneClient(client).String(), strangersOf, "from your address"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.of[who] >= most:
		e := broker.Errorf(broker.CodeTooManyRequests, "%d pages watch already %s; close some of them", most, whose)
		e.RetryAfter = fullFor
		return nil, e
	case s.taken >= viewersMax, !by.Known() && s.strangers >= strangersMax:
		e := broker.Errorf(broker.CodeUnavailable, "too many people watch at this moment; try again in a while")
		e.RetryAfter = fullFor
		return nil, e
	}
	if s.of == nil {
		s.of = map[string]int{}
	}
	add := func(n int) {
		s.taken += n
		if !by.Known() {
			s.strangers += n
		}
		if s.of[who] += n; s.of[who] == 0 {
			delete(s.of, who)
		}
	}
	add(1)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		add(-1)
	}, nil
}

// fullFor is after how long who was refused may come again.
const fullFor = 30 * time.Second

// answer is one question's answer, which all who ask within a while share.
type answer struct {
	mu    sync.Mutex
	at    time.Time
	yes   bool // as it last was; a failure changes nothing
	err   error
	have  bool
	asked chan struct{} // closed with the answer that is under way; nil: none is
}

// askFor is how long such a question may take.
const askFor = 10 * time.Second

// ask gives the answer of at most so long ago. A failure is shared as well. Who waits no
// longer gets the last answer that there was, and the others still get theirs.
func (a *answer) ask(ctx context.Context, every time.Duration, question func(context.Context) (bool, error)) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.have && time.Since(a.at) < every {
		return a.yes, a.err
	}
	if a.asked == nil {
		a.asked = make(chan struct{})
		go a.find(context.WithoutCancel(ctx), question)
	}
	asked := a.asked
	a.mu.Unlock()
	var err error
	select {
	case <-asked:
	case <-ctx.Done():
		err = ctx.Err()
	}
	a.mu.Lock()
	if err == nil {
		err = a.err
	}
	return a.yes, err
}

// find asks the question.
func (a *answer) find(ctx context.Context, question func(context.Context) (bool, error)) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	yes, err := question(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err = err; err == nil {
		a.yes = yes
	}
	a.at, a.have = time.Now(), true
	close(a.asked)
	a.asked = nil
}

// last is the answer that there was, without asking.
func (a *answer) last() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.yes
}
