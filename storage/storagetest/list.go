package storagetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// testListOrder wants the order of the keys' bytes, also where folders would
// sort otherwise ("-" and "." come before "/").
func testListOrder(t *testing.T, f *fixture) {
	var want []string
	for _, name := range []string{
		"d-x", "d/x", "d.x", "d/x-y", "d/e/f", "d/e-f", "d0", "D", "dé", "d中", "d😀", "d~", "d!", "d", "a", "ab", "a b", "a+b", "a-b", "b/c",
		"Z/z", "é/é", "e\u0301", "\u00a0", "ﬀ", "\U0001F600/x",
	} {
		if name == "d" {
			continue // a file system has no "d" beside "d/x"
		}
		want = append(want, f.key(name))
		f.put(t, f.key(name), []byte(name))
	}
	slices.Sort(want)
	var got []string
	objs, err := f.b.List(t.Context(), f.Prefix, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objs {
		got = append(got, obj.Key)
		if obj.SizeBytes != int64(len(strings.TrimPrefix(obj.Key, f.Prefix))) || obj.ETag == "" || obj.Modified.IsZero() {
			t.Errorf("listed %+v", obj)
		}
		if stat, err := f.b.Stat(t.Context(), obj.Key); err != nil || stat.ETag != obj.ETag || stat.Version != obj.Version && obj.Version != "" {
			t.Errorf("listed %+v, stat %+v, %v", obj, stat, err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("order:\n got %q\nwant %q", got, want)
	}
	// A prefix may end anywhere.
	for _, prefix := range []string{"d", "d/", "d/e", "d/x", "a", "é", "no", "d/e/f", "d/e/f/"} {
		var want []string
		for _, key := range got {
			if strings.HasPrefix(key, f.key(prefix)) {
				want = append(want, key)
			}
		}
		objs, err := f.b.List(t.Context(), f.key(prefix), "", 0)
		var keys []string
		for _, obj := range objs {
			keys = append(keys, obj.Key)
		}
		if err != nil || !slices.Equal(keys, want) {
			t.Errorf("prefix %q: %q, %v; want %q", prefix, keys, err, want)
		}
	}
}

// testListPages goes on after every key, and after some that are none.
func testListPages(t *testing.T, f *fixture) {
	var keys []string
	for _, name := range []string{"a", "a-b", "b.c", "b/c", "b/d/e", "b/d-e", "b0", "c c", "c+c", "中/a", "中b"} {
		keys = append(keys, f.key(name))
		f.put(t, f.key(name), []byte("x"))
	}
	slices.Sort(keys)
	for max := 1; max <= len(keys)+1; max++ {
		var got []string
		for after := ""; ; {
			page, err := f.b.List(t.Context(), f.Prefix, after, max)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) > max {
				t.Fatalf("a page of %d, asked for %d", len(page), max)
			}
			for _, obj := range page {
				got = append(got, obj.Key)
			}
			if len(page) < max || len(got) > len(keys) {
				break
			}
			after = page[len(page)-1].Key
		}
		if !slices.Equal(got, keys) {
			t.Errorf("in pages of %d: %q", max, got)
		}
	}
	for _, after := range []string{"0", "a!", "b", "b/", "b/c!", "b/d", "b/zzz", "c", "zzz", "中", "中/", "\U0001F600"} {
		objs, err := f.b.List(t.Context(), f.Prefix, f.key(after), 3)
		if err != nil {
			t.Fatal(err)
		}
		at, _ := slices.BinarySearch(keys, f.key(after))
		want := keys[at:]
		for i, obj := range objs {
			if i >= len(want) || obj.Key != want[i] {
				t.Errorf("after %q, place %d: %q", after, i, obj.Key)
			}
		}
		if len(objs) != min(3, len(want)) {
			t.Errorf("after %q: %d objects, want %d", after, len(objs), min(3, len(want)))
		}
	}
}

func testListThousands(t *testing.T, f *fixture) {
	const n = 1007
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < n; i += 8 {
				f.put(t, f.key(fmt.Sprintf("many/%04d", i)), nil)
			}
		})
	}
	wg.Wait()
	first, err := f.b.List(t.Context(), f.Prefix, "", 0)
	if err != nil || len(first) != 1000 {
		t.Fatalf("the first page has %d, %v", len(first), err)
	}
	i := 0
	for obj, err := range f.b.All(t.Context(), f.key("many/")) {
		if err != nil {
			t.Fatal(err)
		}
		if want := f.key(fmt.Sprintf("many/%04d", i)); obj.Key != want {
			t.Fatalf("place %d: %q", i, obj.Key)
		}
		i++
	}
	if i != n {
		t.Errorf("%d of %d objects", i, n)
	}
}
