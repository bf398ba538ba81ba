package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Opener reads objects of buckets; broker.Places is one.
type Opener interface {
	// Open reads the object of an entry from an offset to its end; the caller
	// closes it. Of the entry all but the name, the type and the time are set. An
	// object that is no longer the one of the entry's ETag is CodeChanged.
	// CodeUnavailable, CodeTooManyRequests, CodeInternal and errors without a code
	// are tried again. It ends with ctx, and so do reads of what it gave.
	Open(ctx context.Context, e broker.ZipEntry, offset int64) (io.ReadCloser, error)
}

// Archives lays zips out.
type Archives struct {
	Opener  Opener
	Log     *slog.Logger
	TempDir string // for what zips are made of; "": the system's

	sleep   func(context.Context, time.Duration) error // nil: by the clock
	silence time.Duration                              // 0: maxSilence
}

var _ broker.Archiver = (*Archives)(nil)

// Archive implements broker.Archiver. While the zip is read, the next file's object
// is opened beside the present one.
func (a *Archives) Archive(ctx context.Context, kind broker.ZipLayout, entries iter.Seq2[broker.ZipEntry, error]) (broker.Archive, error) {
	l, err := lay(ctx, a.TempDir, kind, entries)
	if err != nil {
		return nil, err
	}
	z := &archiveZip{l: l, opener: a.Opener, log: a.Log, sleep: a.sleep, silence: a.silence}
	if z.sleep == nil {
		z.sleep = sleep
	}
	if z.silence == 0 {
		z.silence = maxSilence
	}
	z.ctx, z.cancel = context.WithCancel(ctx)
	return z, nil
}

// archiveZip is one reader of a layout.
type archiveZip struct {
	l       *layout
	opener  Opener
	log     *slog.Logger
	sleep   func(context.Context, time.Duration) error
	silence time.Duration
	ctx     context.Context
	cancel  context.CancelFunc
	reads   sync.WaitGroup // of objects that are being opened

	mu     sync.Mutex
	pos    int64 // of the next byte
	err    error // what a Read failed by
	closed bool

	file    *cursor // at the file under pos; nil: to be found
	header  []byte  // of that file
	object  *object // its bytes from pos on; nil: to be opened
	ahead   *body   // the next file's; nil: none
	record  *cursor // at the record under pos
	central []byte  // that record
	since   int64   // bytes read since the last Seek elsewhere
}

// SizeBytes implements broker.Archive.
func (z *archiveZip) SizeBytes() int64 { return z.l.size() }

// Entries implements broker.Archive.
func (z *archiveZip) Entries() int { return z.l.entries }

// ETag implements broker.Archive.
func (z *archiveZip) ETag() string { return z.l.etag }

// Err implements broker.Archive.
func (z *archiveZip) Err() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.err
}

// Seek implements io.Seeker. It asks nobody.
func (z *archiveZip) Seek(offset int64, whence int) (int64, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += z.pos
	case io.SeekEnd:
		offset += z.l.size()
	default:
		return 0, errors.New("seek in a zip: no such whence")
	}
	if offset < 0 {
		return 0, errors.New("seek in a zip: before its beginning")
	}
	if offset != z.pos {
		z.pos = offset
		z.leave()
	}
	return offset, nil
}

// leave lets go of where the reader stood.
func (z *archiveZip) leave() {
	z.leaveObject()
	if z.ahead != nil {
		z.ahead.close()
	}
	z.file, z.header, z.ahead, z.record, z.central, z.since = nil, nil, nil, nil, nil, 0
}

func (z *archiveZip) leaveObject() {
	if z.object != nil {
		z.object.close()
		z.object = nil
	}
}

// Close ends everything that the reader began.
func (z *archiveZip) Close() error {
	z.cancel() // first: a Read may wait for a bucket
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.closed {
		return nil
	}
	z.closed = true
	z.leave()
	z.reads.Wait()
	return z.l.items.close()
}

// errClosed answers reads behind Close.
var errClosed = errors.New("read of a zip that was closed")

// Read implements io.Reader. It fills p as far as the zip goes: many small files
// make no small reads. What it failed by once it fails by again.
func (z *archiveZip) Read(p []byte) (n int, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.closed {
		return 0, errClosed
	}
	for n < len(p) && z.err == nil && z.pos < z.l.size() {
		got, err := z.readSome(p[n:])
		n += got
		z.pos += int64(got)
		z.since += int64(got)
		if err != nil {
			z.fail(err)
		}
	}
	switch {
	case n > 0 || len(p) == 0:
		return n, nil
	case z.err != nil:
		return 0, z.err
	}
	return 0, io.EOF
}

// fail ends the zip.
func (z *archiveZip) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	z.err = err
	if errors.Is(err, context.Canceled) || z.ctx.Err() != nil {
		return // the reader left
	}
	at := ""
	if z.file != nil {
		at = z.file.item.bucket + " " + z.file.item.key
	}
	z.log.Error("a zip broke off", "object", at, "offset", z.pos, "err", err)
}

// readSome reads from what lies at the present position.
func (z *archiveZip) readSome(p []byte) (int, error) {
	switch {
	case z.pos >= z.l.endAt:
		return copy(p, z.l.end[z.pos-z.l.endAt:]), nil
	case z.pos >= z.l.central:
		return z.readDirectory(p)
	}
	if err := z.findFile(); err != nil {
		return 0, err
	}
	if in := z.pos - z.file.local; in < int64(len(z.header)) {
		return copy(p, z.header[in:]), nil
	}
	return z.readObject(p)
}

// findFile puts the cursor at the file under the present position.
func (z *archiveZip) findFile() (err error) {
	switch {
	case z.file == nil:
		z.file, err = z.l.at(z.pos, false)
	case z.pos < z.file.end():
		return nil
	default:
		z.leaveObject()
		err = z.file.advance()
	}
	if err != nil {
		return fmt.Errorf("find a file of a zip: %w", err)
	}
	z.header = z.file.item.appendLocal(z.header[:0], z.file.local)
	return nil
}

// readObject reads bytes of the present file.
func (z *archiveZip) readObject(p []byte) (int, error) {
	if z.object == nil {
		off := z.pos - z.file.data()
		z.object = &object{a: z, ctx: z.ctx, it: z.file.item, off: off, whole: off == 0}
		if z.ahead != nil { // opened for this file: else it would have been left
			<-z.ahead.opened
			z.object.body, z.ahead = z.ahead, nil
		}
	}
	if err := z.lookAhead(); err != nil {
		return 0, err
	}
	n, err := z.object.read(p)
	if err == io.EOF { //nolint:errorlint // object's own
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// aheadFrom is how much has to be read in one go before the next file is opened:
// who wants a small range does not need it.
const aheadFrom = 64 << 10

// lookAhead opens the next file's object.
func (z *archiveZip) lookAhead() error {
	if z.ahead != nil || z.since < aheadFrom {
		return nil
	}
	next, err := z.file.peek()
	if errors.Is(err, io.EOF) || err == nil && next.size == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find a file of a zip: %w", err)
	}
	z.ahead = z.open(z.ctx, next, 0)
	return nil
}

// readDirectory reads from the directory's records.
func (z *archiveZip) readDirectory(p []byte) (n int, err error) {
	z.leaveObject()
	in := z.pos - z.l.central
	switch {
	case z.record == nil:
		z.record, err = z.l.at(in, true)
	case in >= z.record.centralEnd():
		err = z.record.advance()
	}
	if err != nil {
		return 0, fmt.Errorf("find a record of a zip: %w", err)
	}
	z.central = z.record.item.appendCentral(z.central[:0], z.record.local)
	return copy(p, z.central[in-z.record.central:]), nil
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
