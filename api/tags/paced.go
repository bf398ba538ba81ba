package tags

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/uploadbroker/uploadbroker/api"
)

// defaultStall is how long a client may send nothing, and over how long it is to send
// minRate on average, if it has no key.
const defaultStall = time.Minute

// minRate is a fraction of what the slowest of phones' networks carry (GPRS: 2 KiB/s and
// more), and is asked of all uploads of an address together: a phone may send several at
// once over such a line. What is slower would hold its place for the sake of holding it.
const minRate = 1 << 10 // bytes/s

// Bounds of what is read of a body that was refused: many clients see an answer only when
// they have sent all. Of more than that, nothing is read.
const (
	maxDrainBytes = 32 << 20
	drainTime     = 10 * time.Second
)

// pacedBody ends an upload whose client sends nothing for long, or next to nothing: it
// holds a connection to a bucket, and one of the places.
type pacedBody struct {
	io.ReadCloser
	deadline func(time.Time) error
	now      func() time.Time
	stall    time.Duration
	set      time.Time // when the deadline was set, zero: there is none
	left     int64     // bytes still to come; below zero: not known
	whole    bool      // all has come
	failed   error     // why no more is read

	together *atomic.Int64 // bytes of the address's uploads; nil: any rate will do
	from     int64         // what together was
	counting bool          // since then
	waited   time.Duration // for the client since then
}

func newPacedBody(r *http.Request, w http.ResponseWriter, stall time.Duration) *pacedBody {
	control := http.NewResponseController(w)
	return &pacedBody{ReadCloser: r.Body, left: r.ContentLength, deadline: control.SetReadDeadline, now: time.Now, stall: stall}
}

// Read gives an api.Problem when the client is too slow. 408 it is, which says that the
// same request may be sent again: phones' HTTP libraries do so by themselves, and apps
// keep the file for later, where a 422 would have them drop it.
func (b *pacedBody) Read(p []byte) (int, error) {
	if b.failed != nil { // readers of forms try again
		return 0, b.failed
	}
	began := b.now()
	if began.Sub(b.set) > b.stall/10 {
		b.set = began
		_ = b.deadline(began.Add(b.stall)) // a connection without deadlines waits
	}
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case err == io.EOF || err == nil && b.left == 0:
		// What follows may take its time: a deadline that passed would end the request.
		b.whole = true
		_ = b.deadline(time.Time{})
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = api.StatusProblem(http.StatusRequestTimeout, "nothing came for long, and nothing of the file was kept; send it again", err)
	case err == nil && b.tooSlow(n, b.now().Sub(began)):
		err = api.StatusProblem(http.StatusRequestTimeout, "the file came too slowly, and nothing of it was kept; send it again where the line is better", nil)
	}
	b.failed = err
	return n, err
}

// tooSlow counts what came in the time that was waited for it: a bucket may be slow at
// its own times.
func (b *pacedBody) tooSlow(n int, waited time.Duration) bool {
	if b.together == nil {
		return false
	}
	all := b.together.Add(int64(n))
	if !b.counting {
		b.counting, b.from, b.waited = true, all-int64(n), 0
	}
	if b.waited += waited; b.waited < b.stall {
		return false
	}
	b.counting = false
	return all-b.from < int64(b.waited.Seconds()*minRate)
}

// end leaves a deadline for what has not come: net/http reads on a little before it
// answers. With drain much is read here, so far as that helps the client to see the
// answer.
func (b *pacedBody) end(drain bool) {
	switch {
	case b.whole:
		return
	case b.failed != nil: // nobody waits for the rest
		_ = b.deadline(b.now())
		return
	}
	_ = b.deadline(b.now().Add(drainTime))
	if drain && b.left <= maxDrainBytes {
		_, _ = io.CopyN(io.Discard, b.ReadCloser, maxDrainBytes)
	}
}
