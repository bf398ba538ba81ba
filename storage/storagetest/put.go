package storagetest

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// longSize is more than two parts of every driver here.
const longSize = 33<<20 + 12_345

// slowReader gives a body in pieces, as networks do, and hides its length.
type slowReader struct {
	r     io.Reader
	read  int
	after func(read int) error
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.after != nil {
		if err := s.after(s.read); err != nil {
			return 0, err
		}
	}
	n, err := s.r.Read(p[:min(len(p), 100_000)])
	s.read += n
	return n, err
}

func testLongPut(t *testing.T, f *fixture) {
	data := randomBytes(longSize)
	for name, size := range map[string]int64{"unknown": -1, "known": longSize} {
		key := f.key(name)
		put, err := f.b.Put(t.Context(), key, &slowReader{r: bytes.NewReader(data)}, storage.PutOptions{SizeBytes: size, ContentType: "application/zip"})
		if err != nil {
			t.Fatal(err)
		}
		obj, err := f.b.Stat(t.Context(), key)
		if err != nil || obj.SizeBytes != longSize || obj.ETag != put.ETag || put.SizeBytes != longSize || obj.ContentType != "application/zip" {
			t.Errorf("stat %+v, %v after put %+v", obj, err, put)
		}
		if got := f.get(t, key); sha1.Sum(got) != sha1.Sum(data) {
			t.Errorf("%d other bytes came back", len(got))
		}
	}
}

// testPutSizes holds Put to the declared size.
func testPutSizes(t *testing.T, f *fixture) {
	key := f.key("sized")
	for _, c := range []struct{ has, says int64 }{{10, 11}, {10, 9}, {0, 1}, {1, 0}, {longSize, longSize + 1}, {longSize, longSize - 1}} {
		_, err := f.b.Put(t.Context(), key, &slowReader{r: bytes.NewReader(randomBytes(int(c.has)))}, storage.PutOptions{SizeBytes: c.says})
		wantCode(t, "put of a wrong size", err, broker.CodeInvalidSize)
		f.absent(t, key)
	}
	f.noMultiparts(t)
}

func testPutCancel(t *testing.T, f *fixture) {
	for name, at := range map[string]int{"at-once": 0, "first-part": 1 << 20, "later-part": 20 << 20} {
		ctx, cancel := context.WithCancel(t.Context())
		key := f.key(name)
		body := &slowReader{r: bytes.NewReader(randomBytes(longSize)), after: func(read int) error {
			if read >= at {
				cancel()
			}
			return ctx.Err()
		}}
		_, err := f.b.Put(ctx, key, body, storage.PutOptions{SizeBytes: -1})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled %s: %v", name, err)
		}
		f.absent(t, key)
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := f.b.Put(ctx, f.key("late"), bytes.NewReader([]byte("x")), storage.PutOptions{SizeBytes: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put after the deadline: %v", err)
	}
	f.absent(t, f.key("late"))
	f.noMultiparts(t)
}

// testPutReaderFails keeps the code of an error of the body's own.
func testPutReaderFails(t *testing.T, f *fixture) {
	for name, at := range map[string]int{"at-once": 0, "later-part": 20 << 20} {
		body := &slowReader{r: bytes.NewReader(randomBytes(longSize)), after: func(read int) error {
			if read >= at {
				return broker.Errorf(broker.CodeTooLarge, "the quota of the tag is used up")
			}
			return nil
		}}
		_, err := f.b.Put(t.Context(), f.key(name), body, storage.PutOptions{SizeBytes: -1})
		wantCode(t, name, err, broker.CodeTooLarge)
		var e *broker.Error
		if !errors.As(err, &e) || e.Msg != "the quota of the tag is used up" {
			t.Errorf("the message became %q", e.Msg)
		}
		f.absent(t, f.key(name))
	}
	f.noMultiparts(t)
}

// noMultiparts fails the test when an upload in parts was left behind.
func (f *fixture) noMultiparts(t *testing.T) {
	t.Helper()
	if !f.b.CanSweepMultiparts() {
		return
	}
	if n, err := f.b.SweepMultiparts(t.Context(), f.Prefix, time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("%d unfinished uploads were left, %v", n, err)
	}
}
