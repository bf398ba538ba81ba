package worker

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate"
)

// How a read that breaks off goes on. It is opened again where it stopped, after a
// pause that doubles while nothing comes. A check that has to do so too often is
// over; its job is tried again, later and from the start.
const (
	resumeTries    = 7        // in a row, with less than resumeProgress between them
	resumeProgress = 64 << 10 // bytes
	resumeFree     = 20       // in all, of the smallest object
	resumePer      = 1 << 20  // and one more for each so many bytes of the object
	firstPause     = 100 * time.Millisecond
	dropAfter      = 15 * time.Second // without a byte: the connection is taken for dead, and the read for broken off
)

// checkedSource is what a check reads: it resumes what breaks off, asks for the
// object's ETag each time, and knows since when the check has waited for bytes. It
// never passes a byte on twice.
//
// Of an object's bytes, as many are on their way to a check as two connections
// hold: one of the sequential read and one of the ranged reads of formats whose
// index lies elsewhere. The first has a buffer of 64 KiB, the others keep 512 KiB;
// beyond that a connection reads ahead as far as the window of its HTTP/2 stream
// (4 MiB at most), or its socket's buffer in the kernel. A worker has Concurrency
// checks at work, and with those that wait for their buckets at most
// Concurrency*jobsPerSlot.
type checkedSource struct {
	validate.Source
	now  func() time.Time
	ctx  context.Context // of the check
	slot *slot

	first time.Duration // the pause before a first try

	since atomic.Int64 // unix nanoseconds since when the check waits for bytes; 0: it does not
	began atomic.Bool  // bytes came: the bucket works

	mu     sync.Mutex
	tries  int // in all
	inARow int
	pause  time.Duration // before the next try
	got    int64         // bytes since the last try
	opened map[*resumingBody]context.CancelCauseFunc
}

// waitsFor reports whether the check has waited for longer.
func (s *checkedSource) waitsFor(d time.Duration) bool {
	since := s.waitingSince()
	return !since.IsZero() && s.now().Sub(since) > d
}

// waits notes that the check waits from now on, if it does not already.
func (s *checkedSource) waits() { s.since.CompareAndSwap(0, s.now().UnixNano()) }

// came notes that the check need not wait any more, and waits for the slot if it
// was given away.
func (s *checkedSource) came() error {
	s.since.Store(0)
	return s.slot.resume(s.ctx)
}

func (s *checkedSource) waitingSince() time.Time {
	if ns := s.since.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// Open reads from off to the end. The first time, an error is the caller's: a
// bucket that answers nothing has the job's own patience.
func (s *checkedSource) Open(ctx context.Context, off int64) (io.ReadCloser, error) {
	b := &resumingBody{s: s, ctx: ctx, off: off}
	s.waits()
	err := b.open()
	for err != nil && s.began.Load() && s.again(ctx, err) {
		err = b.open()
	}
	if slotErr := s.came(); err == nil {
		err = slotErr
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// again reports whether what failed may be tried again, after its pause. Nothing
// is that ended with the check, or of which the bucket says that it is not so.
func (s *checkedSource) again(ctx context.Context, err error) bool {
	switch broker.CodeOf(err) {
	case broker.CodeUnavailable, broker.CodeTooManyRequests:
	default:
		return false
	}
	if ctx.Err() != nil || s.ctx.Err() != nil {
		return false
	}
	pause, ok := s.mayTry()
	if !ok {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
	return false
}

// mayTry counts a try and tells the pause before it.
func (s *checkedSource) mayTry() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.got >= resumeProgress || s.inARow == 0 {
		s.inARow, s.pause = 0, s.first
	}
	s.got = 0
	s.tries++
	s.inARow++
	pause := s.pause
	s.pause *= 2
	return spread(pause), s.inARow <= resumeTries && int64(s.tries) <= resumeFree+s.Size()/resumePer
}

// progress counts bytes that came.
func (s *checkedSource) progress(n int) {
	s.began.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got += int64(n)
}

// dropSilent breaks off the connections of a check that has waited for so long
// that they must be dead. What is opened after that has as long again.
func (s *checkedSource) dropSilent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for b, cancel := range s.opened {
		if ns := b.asked.Load(); ns != 0 && s.now().Sub(time.Unix(0, ns)) > dropAfter {
			b.asked.Store(0)
			cancel(errSilent)
		}
	}
}

// errSilent breaks a connection off.
var errSilent = broker.Errorf(broker.CodeUnavailable, "the bucket sent no byte for %d seconds", int(dropAfter.Seconds()))

// resumingBody is one reader of a checkedSource. Only its own goroutine reads it.
type resumingBody struct {
	s      *checkedSource
	ctx    context.Context // of Open
	off    int64           // of the next byte
	rc     io.ReadCloser   // nil: to be opened
	own    context.Context // of rc
	asked  atomic.Int64    // unix nanoseconds since when rc has answered nothing; 0: it is not asked
	failed error           // what ended rc, behind bytes that were given
}

// open opens the object at the present offset.
func (b *resumingBody) open() error {
	b.drop()
	own, cancel := context.WithCancelCause(b.ctx)
	b.own = own
	b.s.mu.Lock()
	if b.s.opened == nil {
		b.s.opened = map[*resumingBody]context.CancelCauseFunc{}
	}
	b.s.opened[b] = cancel
	b.s.mu.Unlock()
	b.asked.Store(b.s.now().UnixNano())
	rc, err := b.s.Source.Open(own, b.off)
	b.asked.Store(0)
	if err != nil {
		return b.named(err)
	}
	b.rc = rc
	return nil
}

// named is an error by its cause, where that was ours.
func (b *resumingBody) named(err error) error {
	if cause := context.Cause(b.own); cause == errSilent { //nolint:errorlint // no other
		return cause
	}
	return err
}

// drop lets the connection go.
func (b *resumingBody) drop() {
	b.s.mu.Lock()
	cancel := b.s.opened[b]
	delete(b.s.opened, b)
	b.s.mu.Unlock()
	if b.rc != nil {
		b.rc.Close()
		b.rc = nil
	}
	if cancel != nil {
		cancel(nil)
	}
}

// Close ends the read.
func (b *resumingBody) Close() error {
	b.drop()
	return nil
}

// Read reads on, through whatever breaks off. An error means that the check can't
// run; io.EOF comes behind the last byte that was announced, and never before.
func (b *resumingBody) Read(p []byte) (n int, err error) {
	b.s.waits()
	for {
		n, err = b.read(p)
		if n > 0 || err == nil || err == io.EOF || !b.s.again(b.ctx, err) {
			break
		}
	}
	if slotErr := b.s.came(); slotErr != nil && (err == nil || err == io.EOF) {
		err = slotErr
	}
	return n, err
}

// read reads once. What fails behind bytes is told by the next read.
func (b *resumingBody) read(p []byte) (int, error) {
	if err := b.failed; err != nil {
		b.failed = nil
		return 0, err
	}
	if b.rc == nil {
		if err := b.open(); err != nil {
			return 0, err
		}
	}
	b.asked.Store(b.s.now().UnixNano())
	n, err := b.rc.Read(p)
	b.asked.Store(0)
	if n > 0 {
		b.off += int64(n)
		b.s.progress(n)
	}
	switch {
	case err == nil, err == io.EOF && b.off >= b.s.Size():
		return n, err
	case err == io.EOF: // a driver should have said so
		err = errBroken
	default:
		err = b.named(err)
	}
	b.drop()
	if n > 0 {
		b.failed, err = err, nil
	}
	return n, err
}

// errBroken is a clean end before the object's.
var errBroken = broker.Errorf(broker.CodeUnavailable, "the object ended before its last byte")
