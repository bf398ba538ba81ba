package validate

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/image/tiff"
)

// source is a Source that misbehaves.
type source struct {
	t       testing.TB
	size    int64
	body    []byte
	openErr error
	failAt  int64           // reading fails at this byte; 0: never
	later   error           // of every Open but the first
	opens   *atomic.Int64   //
	open    *atomic.Int64   // not yet closed
	onRead  func(off int64) //
}

var errSource = errors.New("the network is down")

func (s source) Size() int64 { return s.size }

func (s source) Open(_ context.Context, off int64) (io.ReadCloser, error) {
	if s.body == nil && s.openErr == nil {
		s.t.Error("it was opened")
		return nil, errSource
	}
	if s.openErr != nil {
		return nil, s.openErr
	}
	if s.opens != nil && s.opens.Add(1) > 1 && s.later != nil {
		return nil, s.later
	}
	if s.open != nil {
		s.open.Add(1)
	}
	return &sourceBody{s: s, r: bytes.NewReader(s.body[min(off, int64(len(s.body))):]), off: off}, nil
}

type sourceBody struct {
	s   source
	r   io.Reader
	off int64
}

func (b *sourceBody) Read(p []byte) (int, error) {
	if b.s.onRead != nil {
		b.s.onRead(b.off)
	}
	if b.s.failAt > 0 && b.off >= b.s.failAt {
		return 0, errSource
	}
	n, err := b.r.Read(p[:min(len(p), 1000)])
	b.off += int64(n)
	return n, err
}

func (b *sourceBody) Close() error {
	if b.s.open != nil {
		b.s.open.Add(-1)
	}
	return nil
}

// TestSourceErrors: what a source does wrong is an error, never a verdict.
func TestSourceErrors(t *testing.T) {
	m := noise(200, 150)
	for format, b := range map[string][]byte{
		"jpeg": jpegFile(t, m), "png": pngFile(t, m), "tiff": tiffFileOf(t, m, tiff.Deflate), "webp": testdata(t, "lossless.webp"),
		"heic": testdata(t, "picture.heic"), "text": bytes.Repeat([]byte("text "), 2000),
	} {
		n := int64(len(b))
		for name, c := range map[string]struct {
			s    source
			want error
		}{
			"open":  {source{size: n, openErr: errSource}, errSource},
			"read":  {source{size: n, body: b, failAt: n / 2}, errSource},
			"start": {source{size: n, body: b, failAt: 1}, errSource},
			"end":   {source{size: n, body: b[:n/2]}, io.ErrUnexpectedEOF},
			"none":  {source{size: n, body: []byte{}}, io.ErrUnexpectedEOF},
			"more":  {source{size: n - 1, body: b}, nil},
			"size":  {source{size: -1, body: b}, nil},
		} {
			c.s.t, c.s.open = t, new(atomic.Int64)
			v, err := Image(context.Background(), c.s, recon())
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s, %s: verdict %v, error %v", format, name, v.Reasons, err)
			}
			if n := c.s.open.Load(); n != 0 {
				t.Errorf("%s, %s: %d bodies were not closed", format, name, n)
			}
		}
	}
}

func TestSecondOpenFails(t *testing.T) {
	// Its directory lies behind so much that it is jumped to.
	b := tiffFileOf(t, noise(800, 600), tiff.Uncompressed)
	s := source{t: t, size: int64(len(b)), body: b, later: errSource, opens: new(atomic.Int64)}
	if v, err := Image(context.Background(), s, recon()); !errors.Is(err, errSource) {
		t.Errorf("verdict %v, error %v", v.Reasons, err)
	}
	// One whose directory is near needs no other request.
	b = tiffFileOf(t, noise(20, 20), tiff.Deflate)
	s = source{t: t, size: int64(len(b)), body: b, later: errSource, opens: new(atomic.Int64)}
	if v, err := Image(context.Background(), s, recon()); err != nil || !v.Sound() {
		t.Errorf("verdict %v, error %v", v.Reasons, err)
	}
}

func TestCancel(t *testing.T) {
	b := append(jpegFile(t, noise(200, 150)), make([]byte, 1<<20)...)
	ctx, cancel := context.WithCancel(context.Background())
	s := source{t: t, size: int64(len(b)), body: b, onRead: func(off int64) {
		if off > 5000 {
			cancel()
		}
	}}
	before := runtime.NumGoroutine()
	if v, err := Image(ctx, s, recon()); !errors.Is(err, context.Canceled) {
		t.Errorf("verdict %v, error %v", v.Reasons, err)
	}
	for range 50 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

func TestFile(t *testing.T) {
	b := jpegFile(t, noise(20, 20))
	path := filepath.Join(t.TempDir(), "a.jpg")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := FromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := Image(context.Background(), f, recon()); err != nil || !v.Sound() {
		t.Errorf("%v, %v", v.Reasons, err)
	}
	if err := os.Truncate(path, 100); err != nil { // it changed since its size was taken
		t.Fatal(err)
	}
	if _, err := Image(context.Background(), f, recon()); err == nil {
		t.Error("a file that changed got a verdict")
	}
	if _, err := FromFile(t.TempDir()); err == nil {
		t.Error("a folder is no file")
	}
}
