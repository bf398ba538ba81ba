package storagetest

import (
	"slices"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// multiparts lists the unfinished uploads below a part of the fixture's prefix.
func (f *fixture) multiparts(t *testing.T, prefix string) []storage.Multipart {
	t.Helper()
	ups, err := f.b.Multiparts(t.Context(), f.key(prefix))
	if err != nil {
		t.Fatal(err)
	}
	return ups
}

// keysOf are their keys in order, less the fixture's prefix.
func (f *fixture) keysOf(ups []storage.Multipart) []string {
	var keys []string
	for _, up := range ups {
		keys = append(keys, up.Key[len(f.Prefix):])
	}
	slices.Sort(keys)
	return keys
}

// testMultiparts: what was begun is listed, each once, under its own key; what is
// whole is not.
func testMultiparts(t *testing.T, f *fixture) {
	if ups := f.multiparts(t, ""); len(ups) != 0 {
		t.Errorf("an empty bucket has %+v", ups)
	}
	f.put(t, f.key("a/done"), []byte("x"))
	began := time.Now()
	for _, name := range []string{"a/one", "a/one", "a/two", "ab", "b/three"} {
		f.BeginMultipart(t, f.key(name))
	}
	for prefix, want := range map[string][]string{
		"": {"a/one", "a/one", "a/two", "ab", "b/three"}, "a": {"a/one", "a/one", "a/two", "ab"},
		"a/": {"a/one", "a/one", "a/two"}, "a/t": {"a/two"}, "a/done": nil, "c/": nil,
	} {
		if got := f.keysOf(f.multiparts(t, prefix)); !slices.Equal(got, want) {
			t.Errorf("below %q there are %q, want %q", prefix, got, want)
		}
	}
	ids := map[string]bool{}
	for _, up := range f.multiparts(t, "") {
		if up.UploadID == "" || ids[up.Key+up.UploadID] {
			t.Errorf("the id of %+v is none of its own", up)
		}
		ids[up.Key+up.UploadID] = true
		if d := up.Began.Sub(began).Abs(); d > time.Hour {
			t.Errorf("%q began %v off", up.Key, d)
		}
	}
	_, err := f.b.Multiparts(t.Context(), "a\x00")
	wantCode(t, "uploads below a bad prefix", err, broker.CodeInvalidName)
}

// testMultipartNames: keys of attempts and some that an engine may choose.
func testMultipartNames(t *testing.T, f *fixture) {
	names := []string{"0a4d55a8d778e5022fab701977c5d840bbc486d0-2.jpg", "plus+plus.jpg", "with space.jpg", "percent%20.jpg", "中文照片.jpg", "sub/folder/file"}
	for _, name := range names {
		f.BeginMultipart(t, f.key(name))
	}
	slices.Sort(names)
	ups := f.multiparts(t, "")
	if got := f.keysOf(ups); !slices.Equal(got, names) {
		t.Errorf("there are %q, want %q", got, names)
	}
	for _, up := range ups {
		if err := f.b.AbortMultipart(t.Context(), up.Key, up.UploadID); err != nil {
			t.Error(err)
		}
	}
	f.noMultiparts(t)
}

// testAbortMultipart: one upload goes, its neighbours at the same key stay; the
// object at the key is another thing.
func testAbortMultipart(t *testing.T, f *fixture) {
	f.put(t, f.key("one"), []byte("kept"))
	for _, name := range []string{"one", "one", "two"} {
		f.BeginMultipart(t, f.key(name))
	}
	ups := f.multiparts(t, "one")
	if len(ups) != 2 {
		t.Fatalf("there are %+v", ups)
	}
	for range 2 { // the second time there is none
		if err := f.b.AbortMultipart(t.Context(), ups[0].Key, ups[0].UploadID); err != nil {
			t.Error(err)
		}
	}
	left := f.multiparts(t, "")
	if got := f.keysOf(left); !slices.Equal(got, []string{"one", "two"}) || left[0].UploadID == ups[0].UploadID {
		t.Errorf("there are %+v left", left)
	}
	if string(f.get(t, f.key("one"))) != "kept" {
		t.Error("the object suffered")
	}
	wantCode(t, "abort at a bad key", f.b.AbortMultipart(t.Context(), "../x", "id"), broker.CodeInvalidName)
}

func testSweep(t *testing.T, f *fixture) {
	f.put(t, f.key("done"), []byte("x"))
	begun := time.Now()
	for _, name := range []string{"a/one", "a/one", "a/two", "b/three"} {
		f.BeginMultipart(t, f.key(name))
	}
	sweep := func(prefix string, before time.Time, want int) {
		t.Helper()
		if n, err := f.b.SweepMultiparts(t.Context(), f.key(prefix), before); err != nil || n != want {
			t.Errorf("sweep of %q: %d, %v; want %d", prefix, n, err, want)
		}
	}
	sweep("", begun.Add(-time.Hour), 0)
	sweep("c/", begun.Add(time.Hour), 0)
	sweep("a/", begun.Add(time.Hour), 3)
	sweep("", begun.Add(time.Hour), 1)
	sweep("", begun.Add(time.Hour), 0)
	objs, err := f.b.List(t.Context(), f.Prefix, "", 0)
	if err != nil || len(objs) != 1 {
		t.Errorf("list %+v, %v", objs, err)
	}
}
