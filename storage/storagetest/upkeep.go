package storagetest

import (
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func testSync(t *testing.T, f *fixture) {
	for _, name := range append(oddNames(), "one/two/three/four") {
		f.put(t, f.key(name), []byte("x"))
		if err := f.b.Sync(t.Context(), f.key(name)); err != nil {
			t.Errorf("sync %q: %v", name, err)
		}
	}
	wantCode(t, "sync of none", f.b.Sync(t.Context(), f.key("none")), broker.CodeNotFound)
	wantCode(t, "sync of none in none", f.b.Sync(t.Context(), f.key("no/ne")), broker.CodeNotFound)
	wantCode(t, "sync of a bad key", f.b.Sync(t.Context(), "../x"), broker.CodeInvalidName)
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
