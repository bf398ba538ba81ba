package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Zip says which zip of a project it is: with another image Ready it is another.
type Zip struct {
	ETag      string // with its quotes
	SizeBytes int64
}

// ZipSink takes the bytes of a zip.
type ZipSink interface {
	// Begin is told which zip comes, and says how many of its bytes are there
	// already; those behind them are written next. It is called once for each run
	// of DownloadZip, and again when the zip became another while it was read.
	Begin(Zip) (have int64, err error)
	io.Writer
	// Trouble is told of a failure after which it goes on, and with nil when bytes
	// come again.
	Trouble(error)
}

// zipSilence is how long a server may send nothing before its connection is taken
// for dead.
const zipSilence = time.Minute

// DownloadZip reads the zip of a project's Ready images into a sink. A download
// that breaks off goes on where it was; when the zip is another by then, from its
// start. It gives up when no byte came for as long as calls are tried again.
func (c *Client) DownloadZip(ctx context.Context, pid string, to ZipSink) (Zip, error) {
	d := &zipDownload{c: c, path: projectPath(pid) + "/zip", to: to}
	res, err := d.ask(ctx, http.MethodHead, 0)
	if err != nil {
		return Zip{}, err
	}
	res.Body.Close()
	if err := d.begin(res); err != nil {
		return Zip{}, err
	}
	for d.have < d.zip.SizeBytes {
		if err := d.some(ctx); err != nil {
			return Zip{}, err
		}
	}
	return d.zip, nil
}

// zipDownload is one run.
type zipDownload struct {
	c    *Client
	path string
	to   ZipSink
	zip  Zip
	have int64 // bytes that the sink has

	fruitless int       // answers in a row that broke off before a byte
	since     time.Time // of the first of them
}

// begin takes the zip that an answer is of.
func (d *zipDownload) begin(res *http.Response) error {
	z := Zip{ETag: res.Header.Get("ETag"), SizeBytes: res.ContentLength}
	if z.SizeBytes < 0 || z.ETag == "" || strings.HasPrefix(z.ETag, "W/") {
		return fmt.Errorf("%s gives no zip that can be resumed: is this an uploadbroker server, and is there a proxy before it that changes its answers?", d.c.base.Host)
	}
	have, err := d.to.Begin(z)
	if err != nil {
		return err
	}
	if have < 0 || have > z.SizeBytes {
		return fmt.Errorf("%d bytes of the zip are there, of %d", have, z.SizeBytes)
	}
	d.zip, d.have = z, have
	return nil
}

// ask makes the request, again as other calls.
func (d *zipDownload) ask(ctx context.Context, method string, from int64) (*http.Response, error) {
	k := call{method: method, path: d.path}
	began := time.Now()
	for try := 0; ; try++ {
		res, err := d.once(ctx, k, from)
		if err == nil {
			return res, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		wait, again := d.c.retry(k, err, try)
		if !again || time.Since(began)+wait > d.c.retryFor {
			return nil, err
		}
		d.to.Trouble(err)
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// once makes the request.
func (d *zipDownload) once(ctx context.Context, k call, from int64) (*http.Response, error) {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	quiet := time.AfterFunc(zipSilence, func() { cancel(errZipSilent) })
	defer quiet.Stop()
	req, err := http.NewRequestWithContext(ctx, k.method, d.c.base.String()+"/v1"+k.path, nil)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("%s: %w", k, bare(err))
	}
	req.Header.Set("Authorization", "Bearer "+d.c.key)
	req.Header.Set("Accept", "application/zip, application/problem+json")
	req.Header.Set("Accept-Encoding", "identity") // ranges are of the zip's own bytes
	req.Header.Set("User-Agent", d.c.userAgent)
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		req.Header.Set("If-Range", d.zip.ETag)
	}
	res, err := d.c.api.Do(req)
	if err != nil {
		err = quietly(ctx, bare(err))
		cancel(nil)
		return nil, &connError{server: d.c.base.Host, call: k.String(), err: err}
	}
	d.c.state.answered.Store(true)
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPartialContent {
		if k.method == http.MethodHead { // which tells no reason
			res.Body.Close()
			cancel(nil)
			return d.once(outer, call{method: http.MethodGet, path: k.path}, from)
		}
		err := d.c.refusal(k, res)
		res.Body.Close()
		cancel(nil)
		return nil, err
	}
	res.Body = &watchedBody{ReadCloser: res.Body, ctx: ctx, cancel: cancel}
	return res, nil
}

// some reads one answer as far as it goes.
func (d *zipDownload) some(ctx context.Context) error {
	res, err := d.ask(ctx, http.MethodGet, d.have)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	skip := int64(0) // of what comes, those that are there
	switch same := res.Header.Get("ETag") == d.zip.ETag; {
	case res.StatusCode == http.StatusPartialContent:
		if !d.continues(res) {
			return fmt.Errorf("%s answers with other bytes of the zip than asked for: is there a proxy before it?", d.c.base.Host)
		}
	case same: // somebody on the way knows no ranges
		skip = d.have
	default: // it is another by now
		if err := d.begin(res); err != nil {
			return err
		}
		if d.have > 0 {
			return nil // a part of that one is there: ask for the rest
		}
	}
	if _, err := io.CopyN(io.Discard, res.Body, skip); err != nil {
		return d.broke(ctx, err, 0)
	}
	came := int64(0)
	buf := make([]byte, 256<<10)
	for d.have < d.zip.SizeBytes {
		n, err := res.Body.Read(buf[:min(int64(len(buf)), d.zip.SizeBytes-d.have)])
		if n > 0 {
			if came == 0 {
				d.to.Trouble(nil)
			}
			came += int64(n)
			if _, err := d.to.Write(buf[:n]); err != nil {
				return err
			}
			d.have += int64(n)
		}
		if err != nil && d.have < d.zip.SizeBytes {
			return d.broke(ctx, err, came)
		}
	}
	return nil
}

// continues reports whether an answer has the rest that was asked for.
func (d *zipDownload) continues(res *http.Response) bool {
	want := fmt.Sprintf("bytes %d-%d/%d", d.have, d.zip.SizeBytes-1, d.zip.SizeBytes)
	return res.Header.Get("Content-Range") == want && res.Header.Get("ETag") == d.zip.ETag
}

// broke waits before the next answer is asked for. With nothing that comes again
// and again it gives up.
func (d *zipDownload) broke(ctx context.Context, err error, came int64) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	err = &connError{server: d.c.base.Host, call: http.MethodGet + " /v1" + d.path, err: err}
	if came > 0 {
		d.fruitless, d.since = 0, time.Time{}
	}
	if d.fruitless++; d.fruitless == 1 {
		d.since = time.Now()
	}
	wait := d.c.pauses.at(d.fruitless - 1)
	if time.Since(d.since)+wait > d.c.retryFor {
		return err
	}
	d.to.Trouble(err)
	return sleep(ctx, wait)
}

// errZipSilent ends a connection that says nothing.
var errZipSilent = errors.New("no byte came for " + strconv.Itoa(int(zipSilence.Seconds())) + " seconds")

// watchedBody ends when nothing comes for long.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (b *watchedBody) Read(p []byte) (int, error) {
	quiet := time.AfterFunc(zipSilence, func() { b.cancel(errZipSilent) })
	defer quiet.Stop()
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = quietly(b.ctx, err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// quietly is err by its cause, where that was silence.
func quietly(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errZipSilent) {
		return cause
	}
	return err
}
