package reconstruct

import (
	"context"
	"errors"
	"io"
	"time"
)

// errIdle ended a stream in which nothing moved.
var errIdle = errors.New("nothing moved")

// idle ends a context when nothing moved for a time. A stream may take hours; only
// its standing still is a fault.
type idle struct {
	timer  *time.Timer
	after  time.Duration
	cancel context.CancelCauseFunc
}

// watchIdle begins at once. The caller stops it.
func watchIdle(ctx context.Context, after time.Duration) (context.Context, *idle) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &idle{after: after, cancel: cancel}
	w.timer = time.AfterFunc(after, func() { cancel(errIdle) })
	return ctx, w
}

func (w *idle) moved() { w.timer.Reset(w.after) }

func (w *idle) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// movingReader says when something moved. rest stops the watch between two reads:
// then it is the reader who takes his time.
type movingReader struct {
	from  io.Reader
	watch *idle
	rest  bool
}

func (r *movingReader) Read(p []byte) (int, error) {
	r.watch.moved()
	n, err := r.from.Read(p)
	if r.rest {
		r.watch.timer.Stop()
	} else {
		r.watch.moved()
	}
	return n, err
}
