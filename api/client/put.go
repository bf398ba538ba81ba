package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// putFault is why a PUT did not succeed. Its text never holds the signed URL.
type putFault struct {
	host       string
	status     int    // 0: no answer
	code       string // the bucket's own, "" when it gave none
	message    string
	retryAfter time.Duration
	reached    bool // a connection came about
	local      bool // the file could not be read
	err        error
}

func (f *putFault) Error() string {
	switch {
	case f.local:
		return f.err.Error()
	case f.status == 0:
		return fmt.Sprintf("can't reach the bucket at %s: %v", f.host, f.err)
	case f.code == "":
		return fmt.Sprintf("the bucket at %s answers %d %s", f.host, f.status, http.StatusText(f.status))
	}
	return strings.TrimSuffix(fmt.Sprintf("the bucket at %s answers %d %s: %s", f.host, f.status, f.code, f.message), ": ")
}

func (f *putFault) Unwrap() error { return f.err }

// putVerdict is what is to be done after a fault.
type putVerdict int

const (
	putFailed     putVerdict = iota // try again
	putBusy                         // try again, for as long as anything else may be waited for
	putEnded                        // try again with a fresh grant
	putOtherBytes                   // the bytes are not those that the grant is for
	putRefused                      // give the file up
)

// verdict reads S3's error codes
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
func (f *putFault) verdict() putVerdict {
	switch f.code {
	case "BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "IncompleteBody":
		return putOtherBytes
	case "RequestTimeout", "OperationAborted", "InternalError":
		return putFailed
	case "SlowDown", "ServiceUnavailable":
		return putBusy
	}
	switch {
	case f.status == http.StatusTooManyRequests, f.status == http.StatusBadGateway,
		f.status == http.StatusServiceUnavailable, f.status == http.StatusGatewayTimeout:
		return putBusy
	case f.local, f.status == 0, f.status >= 500, f.status == http.StatusRequestTimeout,
		f.status == http.StatusConflict, f.status == http.StatusTooEarly:
		return putFailed
	case f.status == http.StatusForbidden, f.status == http.StatusUnauthorized,
		f.code == "ExpiredToken", f.code == "InvalidToken", f.code == "RequestExpired":
		return putEnded
	}
	return putRefused
}

// put sends a file once. It returns nil when the bucket has taken it.
func (r *run) put(ctx context.Context, it *item) *putFault {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	target, err := url.Parse(it.grant.URL)
	if err != nil {
		return &putFault{local: true, err: errors.New("the grant's address can't be read")}
	}
	target = r.c.base.ResolveReference(target) // a bucket behind the server's own address
	fault := &putFault{host: target.Host}

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

	res, err := r.c.bucket.Do(req)
	if err == nil {
		defer res.Body.Close()
		fault.status = res.StatusCode
		fault.retryAfter = retryAfter(res.Header, r.c.now())
		b, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem))
		if res.StatusCode/100 == 2 || res.StatusCode == http.StatusPreconditionFailed {
			// 412: the bucket has this key already, and it was ours alone to write.
			read, _ := body.end()
			r.count(it.size - read)
			return nil
		}
		fault.reached = true
		fault.code, fault.message = s3Error(b)
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
	fault bool // the file ended too soon or can't be read
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

// s3Error reads the code and message of an S3 or OSS error document.
func s3Error(b []byte) (code, message string) {
	var doc struct {
		XMLName xml.Name
		Code    string
		Message string
	}
	if !bytes.Contains(b, []byte("<Error")) || xml.Unmarshal(b, &doc) != nil || doc.XMLName.Local != "Error" {
		return "", ""
	}
	return clip(doc.Code, 64), clip(doc.Message, 200)
}

// clip keeps a foreign text short and on one line.
func clip(s string, max int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if r := []rune(s); len(r) > max {
		return string(r[:max]) + "…"
	}
	return s
}
