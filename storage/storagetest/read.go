package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

func testRanges(t *testing.T, f *fixture) {
	key, data := f.key("ranges"), randomBytes(100_000)
	put := f.put(t, key, data)
	for _, c := range []struct {
		r        storage.Range
		from, to int
	}{
		{storage.Range{}, 0, 100_000},
		{storage.Range{Length: 1}, 0, 1},
		{storage.Range{Offset: 1}, 1, 100_000},
		{storage.Range{Offset: 99_999}, 99_999, 100_000},
		{storage.Range{Offset: 99_999, Length: 1}, 99_999, 100_000},
		{storage.Range{Offset: 500, Length: 1000}, 500, 1500},
		{storage.Range{Offset: 99_990, Length: 1000}, 99_990, 100_000},
		{storage.Range{Length: 200_000}, 0, 100_000},
	} {
		rc, obj, err := f.b.Open(t.Context(), key, c.r, put.ETag)
		if err != nil {
			t.Errorf("%+v: %v", c.r, err)
			continue
		}
		got, err := io.ReadAll(rc)
		rc.Close()
		if err != nil || !bytes.Equal(got, data[c.from:c.to]) {
			t.Errorf("%+v: read %d bytes, %v", c.r, len(got), err)
		}
		if obj.SizeBytes != 100_000 || obj.ETag != put.ETag || obj.Key != key || obj.ContentType != "image/jpeg" {
			t.Errorf("%+v: %+v", c.r, obj)
		}
	}
	for _, r := range []storage.Range{{Offset: 100_000}, {Offset: 100_001, Length: 5}, {Offset: -1}, {Length: -1}} {
		_, _, err := f.b.Open(t.Context(), key, r, "")
		wantCode(t, "a range outside", err, broker.CodeInvalid)
	}
}

func testIfMatch(t *testing.T, f *fixture) {
	key := f.key("match")
	first := f.put(t, key, []byte("first"))
	second := f.put(t, key, []byte("second"))
	_, _, err := f.b.Open(t.Context(), key, storage.Range{}, first.ETag)
	wantCode(t, "open of the old one", err, broker.CodeChanged)
	_, _, err = f.b.Open(t.Context(), key, storage.Range{Offset: 2, Length: 2}, first.ETag)
	wantCode(t, "a range of the old one", err, broker.CodeChanged)
	rc, _, err := f.b.Open(t.Context(), key, storage.Range{}, second.ETag)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	// An object that is replaced while it is read stays the one it was.
	f.put(t, key, []byte("third, and longer"))
	if got, err := io.ReadAll(rc); err == nil && string(got) != "second" {
		t.Errorf("read %q", got)
	}
}

func testSource(t *testing.T, f *fixture) {
	key, data := f.key("source"), randomBytes(50_000)
	f.put(t, key, data)
	obj, err := f.b.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	src := storage.NewSource(f.b, obj)
	if src.Size() != 50_000 {
		t.Errorf("size %d", src.Size())
	}
	for _, off := range []int64{0, 1, 49_999, 50_000, 60_000} {
		rc, err := src.Open(t.Context(), off)
		if err != nil {
			t.Fatalf("open at %d: %v", off, err)
		}
		got, err := io.ReadAll(rc)
		rc.Close()
		if err != nil || !bytes.Equal(got, data[min(off, 50_000):]) {
			t.Errorf("at %d: %d bytes, %v", off, len(got), err)
		}
	}
	f.put(t, key, data[1:])
	_, err = src.Open(t.Context(), 10)
	wantCode(t, "open of a changed source", err, broker.CodeChanged)
	if err := f.b.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	_, err = src.Open(t.Context(), 0)
	wantCode(t, "open of a deleted source", err, broker.CodeNotFound)

	f.put(t, key, nil)
	if obj, err = f.b.Stat(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	rc, err := storage.NewSource(f.b, obj).Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if got, err := io.ReadAll(rc); len(got) != 0 || err != nil {
		t.Errorf("an empty source: %q, %v", got, err)
	}
}

func testMissing(t *testing.T, f *fixture) {
	for _, name := range []string{"none", "none/below", "it/below"} {
		if name == "it/below" {
			f.put(t, f.key("it"), []byte("x")) // an object is no folder
		}
		_, err := f.b.Stat(t.Context(), f.key(name))
		wantCode(t, "stat of none", err, broker.CodeNotFound)
		_, _, err = f.b.Open(t.Context(), f.key(name), storage.Range{}, "")
		wantCode(t, "open of none", err, broker.CodeNotFound)
		_, _, err = f.b.Open(t.Context(), f.key(name), storage.Range{Offset: 5}, "abc")
		if code := broker.CodeOf(err); code != broker.CodeNotFound && code != broker.CodeChanged {
			t.Errorf("open of none, if it matches: %v", err)
		}
		if err := f.b.Delete(t.Context(), f.key(name)); err != nil {
			t.Errorf("delete of none: %v", err)
		}
	}
}

func testReadCancel(t *testing.T, f *fixture) {
	key := f.key("long")
	if _, err := f.b.Put(t.Context(), key, bytes.NewReader(randomBytes(longSize)), storage.PutOptions{SizeBytes: longSize}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rc, _, err := f.b.Open(ctx, key, storage.Range{}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if _, err := io.ReadFull(rc, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = io.Copy(io.Discard, rc)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("reading on after the end of its context: %v", err)
	}
	wantCode(t, "reading on", err, broker.CodeUnavailable)
	if _, err := f.b.Stat(ctx, key); !errors.Is(err, context.Canceled) {
		t.Errorf("stat after the end of its context: %v", err)
	}
	if _, err := f.b.List(ctx, f.Prefix, "", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("list after the end of its context: %v", err)
	}
}
