package storagetest

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// copyOf copies or fails the test. What Copy says of the copy must be what lies
// there.
func (f *fixture) copyOf(t *testing.T, from, etag, to string) {
	t.Helper()
	seen, err := f.b.Copy(t.Context(), from, etag, to)
	if err != nil {
		t.Errorf("copy %q to %q: %v", from, to, err)
		return
	}
	obj, err := f.b.Stat(t.Context(), to)
	if err != nil {
		t.Errorf("stat of the copy %q: %v", to, err)
		return
	}
	if want := (broker.Seen{Bucket: "Test", ETag: obj.ETag, SizeBytes: obj.SizeBytes}); seen != want {
		t.Errorf("copied %+v, and there is %+v", seen, want)
	}
	if obj.ContentType != "image/jpeg" {
		t.Errorf("the copy %q has type %q", to, obj.ContentType)
	}
}

func testCopyRight(t *testing.T, f *fixture) {
	for _, size := range []int{0, 1, 70_000} {
		from, to := f.key(fmt.Sprint("from/", size)), f.key(fmt.Sprint("to/deeper/", size))
		data := randomBytes(size)
		src := f.put(t, from, data)
		for range 2 { // it repeats safely
			f.copyOf(t, from, src.ETag, to)
			if got := f.get(t, to); !bytes.Equal(got, data) {
				t.Errorf("%d other bytes came back", len(got))
			}
		}
	}
	// Over another object, with another type, that stands there.
	from, to := f.key("from/70000"), f.key("taken")
	old, err := f.b.Put(t.Context(), to, bytes.NewReader([]byte("old")), storage.PutOptions{SizeBytes: 3, ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	src, err := f.b.Stat(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	f.copyOf(t, from, src.ETag, to)
	if obj, err := f.b.Stat(t.Context(), to); err != nil || obj.ETag == old.ETag || obj.SizeBytes != 70_000 {
		t.Errorf("stat %+v, %v", obj, err)
	}
	// The copy is an object of its own.
	if err := f.b.Delete(t.Context(), from); err != nil {
		t.Fatal(err)
	}
	if got := f.get(t, to); len(got) != 70_000 {
		t.Errorf("without its source the copy reads %d bytes", len(got))
	}
	// What came by a content-bound grant copies as well.
	if !f.b.CanSignPut() {
		return
	}
	data := randomBytes(5000)
	granted := f.key("granted")
	if a := f.upload(t, f.grant(t, granted, binding(data), time.Hour), data); a.status != 200 {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	if src, err = f.b.Stat(t.Context(), granted); err != nil {
		t.Fatal(err)
	}
	f.copyOf(t, granted, src.ETag, f.key("from-granted"))
	if got := f.get(t, f.key("from-granted")); !bytes.Equal(got, data) {
		t.Errorf("%d other bytes came back", len(got))
	}
}

func testCopyRefused(t *testing.T, f *fixture) {
	from, to := f.key("from"), f.key("to")
	first := f.put(t, from, []byte("first"))
	second := f.put(t, from, []byte("the second"))
	_, err := f.b.Copy(t.Context(), from, first.ETag, to)
	wantCode(t, "copy of what was overwritten", err, broker.CodeChanged)
	_, err = f.b.Copy(t.Context(), from, "0123456789abcdef0123456789abcdef", to)
	wantCode(t, "copy of what never was", err, broker.CodeChanged)
	_, err = f.b.Copy(t.Context(), from, "", to)
	wantCode(t, "copy without an ETag", err, broker.CodeInvalid)
	_, err = f.b.Copy(t.Context(), from, second.ETag, from)
	wantCode(t, "copy onto itself", err, broker.CodeInvalid)
	for _, none := range []string{"none", "none/below", "fro", "folder"} {
		f.put(t, f.key("folder/x"), []byte("x"))
		_, err = f.b.Copy(t.Context(), f.key(none), second.ETag, to)
		wantCode(t, "copy of none", err, broker.CodeNotFound)
	}
	if obj, err := f.b.Stat(t.Context(), to); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("it was copied: %+v, %v", obj, err)
	}
	// What stands at the goal stays.
	f.put(t, to, []byte("stays"))
	_, err = f.b.Copy(t.Context(), from, first.ETag, to)
	wantCode(t, "copy of what was overwritten", err, broker.CodeChanged)
	if got := f.get(t, to); string(got) != "stays" {
		t.Errorf("it became %q", got)
	}
	f.copyOf(t, from, second.ETag, to)
	if got := f.get(t, to); string(got) != "the second" {
		t.Errorf("read %q", got)
	}
}

// testCopyNames copies from and to names that trip those who escape too little,
// too much or twice.
func testCopyNames(t *testing.T, f *fixture) {
	names := append(oddNames(), "version?versionId=null", "v?versionId=1&x=%2F+ y")
	for i, name := range names {
		from, to := f.key("from/"+name), f.key("to/"+name)
		data := fmt.Sprint("object ", i)
		src := f.put(t, from, []byte(data))
		f.copyOf(t, from, src.ETag, to)
		if got := f.get(t, to); string(got) != data {
			t.Errorf("%q reads %q, want %q", to, got, data)
		}
	}
	n := 0
	for _, err := range f.b.All(t.Context(), f.key("to/")) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != len(names) {
		t.Errorf("%d copies under %d names", n, len(names))
	}
}

func testCopyLong(t *testing.T, f *fixture) {
	data := randomBytes(longSize)
	src := f.put(t, f.key("long"), data) // in parts
	f.copyOf(t, f.key("long"), src.ETag, f.key("copy"))
	if got := f.get(t, f.key("copy")); sha1.Sum(got) != sha1.Sum(data) {
		t.Errorf("%d other bytes came back", len(got))
	}
}

func testCopyParallel(t *testing.T, f *fixture) {
	const n = 100
	data := randomBytes(50_000)
	src := f.put(t, f.key("from"), data)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f.copyOf(t, f.key("from"), src.ETag, f.key(fmt.Sprintf("to/%d/%d", i%7, i))) })
	}
	wg.Wait()
	for obj, err := range f.b.All(t.Context(), f.key("to/")) {
		if err != nil {
			t.Fatal(err)
		}
		if obj.SizeBytes != int64(len(data)) || !bytes.Equal(f.get(t, obj.Key), data) {
			t.Errorf("%+v has other bytes", obj)
		}
	}
	if objs, err := f.b.List(t.Context(), f.key("to/"), "", 0); err != nil || len(objs) != n {
		t.Errorf("%d copies, %v", len(objs), err)
	}
}

// testCopyChanging copies while the source is overwritten: whatever is copied is
// whole and is what was asked for.
func testCopyChanging(t *testing.T, f *fixture) {
	from := f.key("from")
	versions := [][]byte{bytes.Repeat([]byte{'a'}, 200_000), bytes.Repeat([]byte{'b'}, 200_000)}
	etags := []string{f.put(t, from, versions[0]).ETag, f.put(t, from, versions[1]).ETag}
	stop := make(chan struct{})
	var writer, copiers sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_, err := f.b.Put(t.Context(), from, bytes.NewReader(versions[i%2]), storage.PutOptions{SizeBytes: 200_000})
				if err != nil {
					t.Errorf("put: %v", err)
					return
				}
			}
		}
	})
	for i := range 4 {
		copiers.Go(func() {
			to := f.key(fmt.Sprint("to/", i))
			for j := range 15 {
				want := (i + j) % 2
				seen, err := f.b.Copy(t.Context(), from, etags[want], to)
				if err != nil {
					if broker.CodeOf(err) != broker.CodeChanged {
						t.Errorf("copy: %v", err)
					}
					continue
				}
				if got := f.get(t, to); !bytes.Equal(got, versions[want]) {
					t.Errorf("asked for a copy of %q, got %d bytes of %q as %+v", versions[want][:1], len(got), got[:1], seen)
				}
			}
		})
	}
	copiers.Wait()
	close(stop)
	writer.Wait()
}
