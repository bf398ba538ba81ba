package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// UploadOptions tune an upload. The zero value is good.
type UploadOptions struct {
	Concurrency int           // PUTs at once; 0: 8
	HashWorkers int           // files read at once; 0: one per core
	Bucket      string        // symbol; "": the nearest
	Cache       *HashCache    // nil: the user's own, at DefaultHashCachePath
	NoCache     bool          // read every file
	Progress    *Progress     // nil: nobody watches
	Patience    time.Duration // how long to go on when nothing at all gets through; 0: 10 minutes
	VerdictWait time.Duration // how long to wait for the next verdict; 0: 10 minutes
	StallAfter  time.Duration // how long a PUT may move no byte before it is begun again; 0: 2 minutes
}

func (o UploadOptions) filled() UploadOptions {
	if o.Concurrency <= 0 {
		o.Concurrency = 8
	}
	if o.HashWorkers <= 0 {
		o.HashWorkers = runtime.GOMAXPROCS(0)
	}
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	for _, d := range []*time.Duration{&o.Patience, &o.VerdictWait} {
		if *d <= 0 {
			*d = 10 * time.Minute
		}
	}
	if o.StallAfter <= 0 {
		o.StallAfter = 2 * time.Minute
	}
	return o
}

// cache gives the cache to use and a function that closes it if it was opened
// here. A cache that can't be opened is done without.
func (o UploadOptions) cache() (*HashCache, func()) {
	if o.NoCache || o.Cache != nil {
		return o.Cache, func() { _ = o.Cache.Flush() }
	}
	path, err := DefaultHashCachePath()
	if err != nil {
		return nil, func() {}
	}
	h, err := OpenHashCache(path)
	if err != nil {
		return nil, func() {}
	}
	return h, func() { _ = h.Close() }
}

// Upload brings files into a project and waits for their verdicts.
//
// Everything runs at once: files are hashed, registered in batches, sent straight
// to the bucket, and judged while others are still being hashed. Bytes that the
// project has already are not sent, nor are those of two files with the same
// content twice. A run that was stopped or killed leaves nothing to clean up: the
// next one sends what is missing.
//
// What goes wrong with one file is told in its FileReport, and the others go on.
// The error is for what ended the run: the context, a server or bucket out of
// reach for longer than Patience, a key without the right. The Report tells how
// far it came in that case too.
func (c *Client) Upload(ctx context.Context, pid string, files []File, opts UploadOptions) (Report, error) {
	r := newRun(c, pid, files, opts)
	cache, closeCache := r.opts.cache()
	defer closeCache()
	r.hash.cache = cache

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.cancel = cancel
	var wg sync.WaitGroup
	var hashing sync.WaitGroup
	for range r.opts.HashWorkers {
		hashing.Go(func() { r.hashAll(ctx) })
	}
	wg.Go(func() { hashing.Wait(); _ = cache.Flush() })
	wg.Go(func() { r.registerAll(ctx) })
	for range r.opts.Concurrency {
		wg.Go(func() { r.sendAll(ctx) })
	}
	wg.Go(func() { r.renewAll(ctx) })
	wg.Go(func() { r.tellDone(ctx) })
	wg.Go(func() { r.judgeAll(ctx) })
	if len(files) == 0 {
		cancel(errFinished)
	}
	wg.Wait()

	err := context.Cause(ctx)
	if errors.Is(err, errFinished) {
		return r.report(), nil
	}
	r.partingDone(ctx)
	return r.report(), err
}

// errFinished ends the stages when every file is settled.
var errFinished = errors.New("finished")

// run is one Upload.
type run struct {
	c      *Client
	pid    string
	opts   UploadOptions
	prog   *Progress
	hash   hasher
	began  time.Time
	cancel context.CancelCauseFunc

	items []*item
	next  atomic.Int64 // the next item to hash
	batch atomic.Int64 // entries in one call; shrinks if the server takes fewer

	toRegister *queue[*item]
	toSend     *queue[*item]
	toRenew    *queue[*item]
	toDone     *queue[*item]
	toJudge    *queue[*item]

	line line // how sending goes, over all files

	refused    refusals                      // sessions that are of no use any more
	straight   *http.Client                  // c.bucket, but follows no redirect: another host would get the token
	bucketSkew atomic.Pointer[time.Duration] // that the bucket's clock is ahead of ours; nil: take the server's

	mu      sync.Mutex // guards what follows, and of items what follows rep
	bySHA1  map[string]*item
	left    int       // items that are not settled
	verdict time.Time // when the last one came, or the last file that waits for one
}

// item is one file on its way. Stages hand it on through queues; only what run.mu
// guards is touched by two at once.
type item struct {
	File
	size    int64
	stamp   stamp
	sha1    string
	invalid error // a name that can't travel

	image     *Image
	grant     *Grant
	given     time.Time     // when the grant was given, by this machine's clock
	life      time.Duration // that it had then, by the server's clock
	registers int
	denied    held // when the server says that it can't give a grant now
	changes   int
	tried     bool // a PUT was begun: its bytes may be in the bucket
	arrived   bool // its bytes are in the bucket
	told      bool // Done was called since
	looked    time.Time

	rep     FileReport
	dups    []*item // files with the same bytes, which wait for this one
	isDup   bool
	spared  bool
	waiting bool // its bytes are there; only the verdict is missing
	settled bool
}

func newRun(c *Client, pid string, files []File, opts UploadOptions) *run {
	opts = opts.filled()
	r := &run{
		pid: pid, opts: opts, prog: opts.Progress, began: time.Now(), verdict: time.Now(),
		toRegister: newQueue[*item](), toSend: newQueue[*item](), toRenew: newQueue[*item](), toDone: newQueue[*item](), toJudge: newQueue[*item](),
		bySHA1: map[string]*item{}, left: len(files),
	}
	r.c = c.patient(opts.Patience)
	r.c.trouble = r.trouble
	straight := *c.bucket
	straight.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.straight = &straight
	r.batch.Store(MaxBatch)
	r.line.now = time.Now
	var total int64
	for _, f := range files {
		it := &item{File: f, rep: FileReport{File: f}}
		if fi, err := os.Stat(f.Path); err == nil && fi.Mode().IsRegular() {
			it.size = fi.Size()
		}
		if !utf8.ValidString(f.Name) { // JSON would change it silently
			it.invalid = errors.New("the file name is not UTF-8; rename the file")
		}
		total += it.size
		r.items = append(r.items, it)
	}
	r.prog.change(func(s *Status) { *s = Status{Files: len(files), Bytes: total} })
	r.hash = hasher{now: time.Now, moved: func(int64) {}}
	return r
}

// trouble shows what the calls are waiting for; nil when they get through again.
func (r *run) trouble(err error) {
	r.prog.change(func(s *Status) {
		s.Trouble = ""
		if err != nil {
			s.Trouble = err.Error()
		}
	})
}

// hashAll reads files until there are none left.
func (r *run) hashAll(ctx context.Context) {
	for {
		i := int(r.next.Add(1)) - 1
		if i >= len(r.items) || ctx.Err() != nil {
			return
		}
		it := r.items[i]
		if err := r.hashOne(ctx, it); err != nil {
			if ctx.Err() != nil {
				return
			}
			r.fail(it, err)
			continue
		}
		r.toRegister.push(it)
	}
}

func (r *run) hashOne(ctx context.Context, it *item) error {
	var moved int64
	h := r.hash
	h.moved = func(n int64) {
		moved += n
		r.prog.change(func(s *Status) { s.HashedBytes += n })
	}
	err := it.invalid
	if err == nil {
		var got reading
		if got, err = h.file(ctx, it.Path, false); err == nil {
			r.learn(it, got)
		}
	}
	r.prog.change(func(s *Status) {
		s.Hashed++
		s.HashedBytes += it.size - moved
	})
	return err
}

// learn notes what a reading of an item's file gave.
func (r *run) learn(it *item, got reading) {
	it.sha1, it.stamp = got.hex(), got.stamp
	if d := got.stamp.size - it.size; d != 0 {
		it.size += d
		r.prog.change(func(s *Status) { s.Bytes += d })
	}
}

// settle ends an item, and with it those that have the same bytes. Of those, one
// that has changed while it waited is read again and goes its own way.
func (r *run) settle(it *item, change func(*FileReport)) {
	r.mu.Lock()
	r.settleOne(it, change)
	dups := it.dups
	it.dups = nil
	r.mu.Unlock()
	for _, d := range dups {
		if r.moved(d) {
			r.free(d)
			r.toSend.push(d)
			continue
		}
		r.mu.Lock()
		r.settleOne(d, func(rep *FileReport) {
			rep.SameAs = it.Name
			rep.Existed = it.rep.Existed
			change(rep)
		})
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == 0 {
		r.cancel(errFinished)
	}
}

func (r *run) settleOne(it *item, change func(*FileReport)) {
	if it.settled {
		return
	}
	it.settled = true
	r.left--
	r.verdict = time.Now()
	it.rep.SizeBytes, it.rep.SHA1 = it.size, it.sha1
	change(&it.rep)
	r.prog.change(func(s *Status) {
		switch {
		case it.rep.Err != nil:
			s.Failed++
		case it.rep.State == StateReady:
			s.Ready++
		default:
			s.Invalid++
		}
	})
}

// fail settles an item without a verdict. Files with the same bytes get a try of
// their own: the fault may lie in this one's name or in its disk.
func (r *run) fail(it *item, err error) {
	r.release(it)
	if !it.arrived {
		r.spare(it, true)
	}
	r.settle(it, func(rep *FileReport) {
		rep.Err = err
		if rep.Image = it.image; it.image != nil {
			rep.State = it.image.State
		}
	})
}

// release lets the files that wait for this one go their own way.
func (r *run) release(it *item) {
	r.mu.Lock()
	dups := it.dups
	it.dups = nil
	if r.bySHA1[it.sha1] == it {
		delete(r.bySHA1, it.sha1)
	}
	r.mu.Unlock()
	for _, d := range dups {
		r.free(d)
	}
	r.toRegister.push(dups...)
}

// free makes an item wait for no other.
func (r *run) free(d *item) {
	r.spare(d, false)
	r.mu.Lock()
	defer r.mu.Unlock()
	d.isDup = false
}

// spare counts an item's bytes as not to be sent, or again as to be sent.
func (r *run) spare(it *item, yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if it.spared == yes {
		return
	}
	it.spared = yes
	n, b := 1, it.size
	if !yes {
		n, b = -1, -b
	}
	r.prog.change(func(s *Status) { s.Spared += n; s.SparedBytes += b })
}

// report collects what became of every file.
func (r *run) report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Report{Files: make([]FileReport, len(r.items)), Elapsed: time.Since(r.began), SendingTime: r.line.span()}
	for i, it := range r.items {
		if !it.settled {
			it.rep.SizeBytes, it.rep.SHA1, it.rep.Err = it.size, it.sha1, ErrStopped
			if it.image != nil {
				it.rep.Image, it.rep.State = it.image, it.image.State
			}
		}
		out.Files[i] = it.rep
		out.BytesSent += it.rep.BytesSent
	}
	return out
}

// inBatches makes a call for parts of items, in smaller ones when the server
// takes no more.
func (r *run) inBatches(items []*item, call func([]*item) error) error {
	for len(items) > 0 {
		n := min(int(r.batch.Load()), len(items))
		err := call(items[:n])
		var e *Error
		if errors.As(err, &e) && n > 1 && (e.Code == "batch_too_large" || e.HTTPStatus == 413) {
			r.batch.Store(int64(n / 2))
			continue
		}
		if err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// stop ends the run.
func (r *run) stop(doing string, err error) {
	var refused *Error
	if errors.As(err, &refused) {
		err = fmt.Errorf("%s: %w", doing, err)
	}
	r.cancel(err)
}
