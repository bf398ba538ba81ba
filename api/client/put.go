package client

import (
	"cmp"
	"context"
	"errors"
	"hash"
	"hash/crc64"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"
)

// put sends a file once. It returns nil when the bucket has taken it.
func (r *run) put(ctx context.Context, it *item) *putFault {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	target, err := url.Parse(it.grant.URL)
	if err != nil {
		return &putFault{local: true, err: errors.New("the grant's address can't be read")}
	}
	target = r.c.base.ResolveReference(target) // a bucket behind the server's own address
	session := it.grant.Session
	fault := &putFault{host: target.Host, session: session != nil}

	watch := time.AfterFunc(r.opts.StallAfter, func() { cancel(errStalled) })
	defer watch.Stop()
	var body *putBody // the one in use; a redirect opens another
	defer func() { body.end() }()
	open := func() (io.ReadCloser, error) {
		f, err := os.Open(it.Path)
		if err != nil {
			return nil, err
		}
		read, _ := body.end()
		r.count(-read)
		body = &putBody{f: f, left: it.size, moved: func(n int64) {
			watch.Reset(r.opts.StallAfter)
			r.count(n)
			r.line.moved()
		}}
		if session != nil {
			body.crc = crc64.New(crc64.MakeTable(crc64.ECMA))
		}
		return body, nil
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(it.grant.Method, http.MethodPut), target.String(), nil)
	if err != nil {
		fault.err = bare(err)
		return fault
	}
	if req.Body, err = open(); err != nil {
		fault.local, fault.err = true, brief(err)
		return fault
	}
	req.GetBody = open
	if req.ContentLength = it.size; it.size == 0 {
		req.Body, req.GetBody = http.NoBody, nil // else Go would send it in chunks
	}
	for k, v := range it.grant.Headers {
		switch http.CanonicalHeaderKey(k) {
		case "Host":
			req.Host = v
		case "Content-Length": // fits has compared it
		default:
			req.Header.Set(k, v)
		}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", r.c.userAgent)
	}

	bucket := r.c.bucket
	if session != nil {
		if req.Header.Get("Content-Type") == "" {
			req.Header.Set("Content-Type", it.contentType())
		}
		session.Sign(req, r.bucketNow())
		bucket = r.straight
	}

	res, err := bucket.Do(req)
	if err == nil {
		defer res.Body.Close()
		fault.status = res.StatusCode
		fault.retryAfter = retryAfter(res.Header, r.c.now())
		b, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem))
		fault.code, fault.message = ossOrS3Error(b, session)
		fault.changed = res.StatusCode/100 == 2 && !body.is(res.Header.Get("X-Oss-Hash-Crc64ecma"))
		if res.StatusCode/100 == 2 && !fault.changed || fault.there() {
			read, _ := body.end()
			r.count(it.size - read)
			return nil
		}
		fault.reached = true
		fault.date, _ = http.ParseTime(res.Header.Get("Date"))
	} else {
		if fault.err = bare(err); errors.Is(context.Cause(ctx), errStalled) {
			fault.err = errStalled
		}
	}
	read, local := body.end()
	fault.reached = fault.reached || read > 0
	fault.local = local && fault.status == 0
	r.count(-read)
	return fault
}

// contentType is the image's type, as declared or as the server knows it by the
// name's extension.
func (it *item) contentType() string {
	if it.image != nil {
		if _, _, err := mime.ParseMediaType(it.image.Type); err == nil {
			return it.image.Type
		}
	}
	return "application/octet-stream"
}

// bucketNow is the present by the clock of the bucket, once it has refused to
// believe the server's.
func (r *run) bucketNow() time.Time {
	if skew := r.bucketSkew.Load(); skew != nil {
		return r.c.now().Add(*skew)
	}
	return r.c.serverNow()
}

// believe takes over the bucket's clock from the date of an answer.
func (r *run) believe(date time.Time) {
	skew := date.Add(500 * time.Millisecond).Sub(r.c.now())
	r.bucketSkew.Store(&skew)
}

var errStalled = errors.New("no byte moved for a long time")

func (r *run) count(n int64) { r.prog.change(func(s *Status) { s.SentBytes += n }) }

// putBody reads exactly left bytes of a file. The transport may go on reading
// after it has given an answer; after Close it gets and moves nothing more.
type putBody struct {
	moved func(int64)

	mu    sync.Mutex
	f     *os.File
	left  int64
	read  int64
	fault bool        // the file ended too soon or can't be read
	crc   hash.Hash64 // of what was read; nil: nobody asks
}

func (b *putBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.f.Read(p)
	b.left -= int64(n)
	b.read += int64(n)
	if b.crc != nil {
		b.crc.Write(p[:n])
	}
	if n > 0 {
		b.moved(int64(n))
	}
	switch {
	case errors.Is(err, io.EOF) && b.left > 0:
		b.fault = true
		err = errors.New("the file has become shorter")
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed):
		b.fault = true
		err = brief(err)
	}
	return n, err
}

func (b *putBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.f.Close()
}

// is reports whether a bucket that has seen bytes with this CRC-64 (decimal; "":
// it does not say) has seen those of the body.
func (b *putBody) is(crc string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.crc == nil || crc == "" {
		return true
	}
	got, err := strconv.ParseUint(crc, 10, 64)
	return err == nil && got == b.crc.Sum64()
}

// end closes the body and tells what was read of it.
func (b *putBody) end() (read int64, fault bool) {
	if b == nil {
		return 0, false
	}
	_ = b.Close() // it may be closed already
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read, b.fault
}
