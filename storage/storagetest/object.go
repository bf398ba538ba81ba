package storagetest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

func testPut(t *testing.T, f *fixture) {
	for _, size := range []int{0, 1, 1000, 70_000} {
		key, data := f.key(fmt.Sprint("put-", size)), randomBytes(size)
		put := f.put(t, key, data)
		if put.Key != key || put.SizeBytes != int64(size) || put.ETag == "" || strings.Contains(put.ETag, `"`) {
			t.Errorf("put %d bytes: %+v", size, put)
		}
		obj, err := f.b.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if obj.Key != key || obj.SizeBytes != int64(size) || obj.ETag != put.ETag || obj.ContentType != "image/jpeg" {
			t.Errorf("stat %+v after put %+v", obj, put)
		}
		if age := time.Since(obj.Modified); age < -time.Minute || age > 10*time.Minute {
			t.Errorf("modified at %v", obj.Modified)
		}
		if got := f.get(t, key); !bytes.Equal(got, data) {
			t.Errorf("read %d bytes, put %d", len(got), size)
		}
	}
}

func testOverwrite(t *testing.T, f *fixture) {
	key := f.key("over")
	first := f.put(t, key, []byte("first"))
	second := f.put(t, key, []byte("the second"))
	if first.ETag == second.ETag {
		t.Errorf("other bytes have the same etag %s", first.ETag)
	}
	obj, err := f.b.Stat(t.Context(), key)
	if err != nil || obj.ETag != second.ETag || obj.SizeBytes != 10 {
		t.Errorf("stat %+v, %v", obj, err)
	}
	if got := f.get(t, key); string(got) != "the second" {
		t.Errorf("read %q", got)
	}
	objs, err := f.b.List(t.Context(), f.Prefix, "", 0)
	if err != nil || len(objs) != 1 || objs[0].ETag != second.ETag || objs[0].SizeBytes != 10 {
		t.Errorf("list %+v, %v", objs, err)
	}
}

func testIfAbsent(t *testing.T, f *fixture) {
	key := f.key("absent")
	put := func(size int) error {
		_, err := f.b.Put(t.Context(), key, bytes.NewReader(randomBytes(size)), storage.PutOptions{SizeBytes: -1, IfAbsent: true})
		return err
	}
	if err := put(100); err != nil {
		t.Fatal(err)
	}
	before, err := f.b.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "put where one is", put(200), broker.CodeConflict)
	wantCode(t, "put a long one where one is", put(longSize), broker.CodeConflict)
	if after, err := f.b.Stat(t.Context(), key); err != nil || after.ETag != before.ETag {
		t.Errorf("the object changed: %+v, %v", after, err)
	}
	if err := f.b.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := put(longSize); err != nil {
		t.Errorf("put a long one where none is: %v", err)
	}
}

func testDelete(t *testing.T, f *fixture) {
	key, other := f.key("folder/gone"), f.key("folder/stays")
	f.put(t, key, []byte("x"))
	f.put(t, other, []byte("y"))
	for range 2 {
		if err := f.b.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if _, err := f.b.Stat(t.Context(), key); broker.CodeOf(err) != broker.CodeNotFound {
			t.Errorf("stat of what was deleted: %v", err)
		}
	}
	if err := f.b.Delete(t.Context(), f.key("never/was")); err != nil {
		t.Errorf("delete of what never was: %v", err)
	}
	if got := f.get(t, other); string(got) != "y" {
		t.Errorf("its neighbour reads %q", got)
	}
	// A folder is no object.
	if _, err := f.b.Stat(t.Context(), f.key("folder")); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("stat of a prefix: %v", err)
	}
	if err := f.b.Delete(t.Context(), f.key("folder")); err != nil {
		t.Errorf("delete of a prefix: %v", err)
	}
	if got := f.get(t, other); string(got) != "y" {
		t.Errorf("below the deleted prefix: %q", got)
	}
}

func testNames(t *testing.T, f *fixture) {
	want := map[string]string{}
	for i, name := range oddNames() {
		key, data := f.key(name), fmt.Sprint("object ", i)
		want[key] = data
		put := f.put(t, key, []byte(data))
		if obj, err := f.b.Stat(t.Context(), key); err != nil || obj.ETag != put.ETag || obj.Key != key {
			t.Errorf("stat %q: %+v, %v", key, obj, err)
		}
	}
	for obj, err := range f.b.All(t.Context(), f.Prefix) {
		if err != nil {
			t.Fatal(err)
		}
		data, ok := want[obj.Key]
		if !ok {
			t.Errorf("the list has a strange key %q", obj.Key)
			continue
		}
		delete(want, obj.Key)
		if got := f.get(t, obj.Key); string(got) != data {
			t.Errorf("%q reads %q, want %q", obj.Key, got, data)
		}
		if err := f.b.Delete(t.Context(), obj.Key); err != nil {
			t.Errorf("delete %q: %v", obj.Key, err)
		}
	}
	for key := range want {
		t.Errorf("the list lacks %q", key)
	}
	f.absent(t, f.key(oddNames()[0]))
}

// testKeys tries keys that must not reach the driver, by every method.
func testKeys(t *testing.T, f *fixture) {
	for _, key := range []string{
		"", "/", "/abs", f.Prefix + "a//b", f.Prefix + "a/", "./a", f.Prefix + "a/../../b", "..", f.Prefix + "..",
		`a\b`, f.Prefix + "a\x00b", "a\nb", "a\x7fb", "a\u0085b", "a\xffb", strings.Repeat("k", 1025),
	} {
		_, err := f.b.Stat(t.Context(), key)
		wantCode(t, fmt.Sprintf("stat %q", key), err, broker.CodeInvalidName)
		_, _, err = f.b.Open(t.Context(), key, storage.Range{}, "")
		wantCode(t, fmt.Sprintf("open %q", key), err, broker.CodeInvalidName)
		_, err = f.b.Put(t.Context(), key, strings.NewReader("x"), storage.PutOptions{SizeBytes: 1})
		wantCode(t, fmt.Sprintf("put %q", key), err, broker.CodeInvalidName)
		wantCode(t, fmt.Sprintf("delete %q", key), f.b.Delete(t.Context(), key), broker.CodeInvalidName)
		if f.b.CanCopy() {
			_, err = f.b.Copy(t.Context(), key, "etag", f.key("to"))
			wantCode(t, fmt.Sprintf("copy from %q", key), err, broker.CodeInvalidName)
			_, err = f.b.Copy(t.Context(), f.key("from"), "etag", key)
			wantCode(t, fmt.Sprintf("copy to %q", key), err, broker.CodeInvalidName)
		}
		if f.b.CanSignPut() {
			_, err = f.b.SignPut(t.Context(), key, broker.Binding{SizeBytes: -1}, time.Minute)
			wantCode(t, fmt.Sprintf("sign put %q", key), err, broker.CodeInvalidName)
		}
		if f.b.CanSignGet() {
			_, err = f.b.SignGet(t.Context(), key, storage.GetOptions{}, time.Minute)
			wantCode(t, fmt.Sprintf("sign get %q", key), err, broker.CodeInvalidName)
		}
	}
	f.absent(t, f.key("x"))
}

// testParallel lets many write, read and delete at once, also the same key: a
// reader sees one whole object or none.
func testParallel(t *testing.T, f *fixture) {
	var wg sync.WaitGroup
	shared := f.key("shared/one")
	for i := range 12 {
		wg.Go(func() {
			own := f.key(fmt.Sprintf("own/%d/%d", i%3, i))
			data := bytes.Repeat([]byte{byte('a' + i)}, 40_000)
			for range 5 {
				if _, err := f.b.Put(t.Context(), own, bytes.NewReader(data), storage.PutOptions{SizeBytes: -1}); err != nil {
					t.Errorf("put %q: %v", own, err)
				}
				if _, err := f.b.Put(t.Context(), shared, bytes.NewReader(data), storage.PutOptions{SizeBytes: 40_000}); err != nil {
					t.Errorf("put %q: %v", shared, err)
				}
				if got := f.get(t, shared); len(got) != 40_000 || !bytes.Equal(got, bytes.Repeat(got[:1], 40_000)) {
					t.Errorf("a mixed object of %d bytes", len(got))
				}
				if err := f.b.Delete(t.Context(), own); err != nil {
					t.Errorf("delete %q: %v", own, err)
				}
			}
		})
	}
	wg.Wait()
	if objs, err := f.b.List(t.Context(), f.Prefix, "", 0); err != nil || len(objs) != 1 || objs[0].Key != shared {
		t.Errorf("list %+v, %v", objs, err)
	}
}

// testFault holds a driver that can't work to the code of why. Its operations go
// at once, since each retries for a while.
func testFault(t *testing.T, d storage.Driver, code broker.Code) {
	b := newBucket(t, d)
	var wg sync.WaitGroup
	ops := map[string]func() error{
		"stat": func() error { _, err := b.Stat(t.Context(), "k"); return err },
		"open": func() error { _, _, err := b.Open(t.Context(), "k", storage.Range{}, ""); return err },
		"list": func() error { _, err := b.List(t.Context(), "", "", 0); return err },
		"put": func() error {
			_, err := b.Put(t.Context(), "k", strings.NewReader("x"), storage.PutOptions{SizeBytes: 1})
			return err
		},
		"delete": func() error { return b.Delete(t.Context(), "k") },
	}
	if b.CanCopy() {
		ops["copy"] = func() error { _, err := b.Copy(t.Context(), "k", "etag", "to"); return err }
	}
	if b.CanProbe() {
		ops["probe"] = func() error { return b.Probe(t.Context()) }
	}
	if b.CanSweepMultiparts() {
		ops["multiparts"] = func() error { _, err := b.Multiparts(t.Context(), ""); return err }
		ops["abort"] = func() error { return b.AbortMultipart(t.Context(), "k", "id") }
		ops["sweep"] = func() error { _, err := b.SweepMultiparts(t.Context(), "", time.Now()); return err }
	}
	if s, ok := d.(storage.Sessioner); ok {
		// Not by way of the portable type, which asks again for a while.
		ops["session"] = func() error {
			_, err := s.Session(t.Context(), "01ARZ3NDEKTSV4RRFFQ69G5FAV/", time.Hour)
			return broker.Wrap(err, d.Code(err), "")
		}
	}
	for name, op := range ops {
		wg.Go(func() { wantCode(t, name, op(), code) })
	}
	wg.Wait()
}
