package storagetest

import (
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// testProbe: a bucket that passes this suite holds its bindings, so the probe
// must say so, and leave nothing behind.
func testProbe(t *testing.T, f *fixture) {
	bind := binding([]byte("x"))
	if bound, known := f.b.Bound(); bound || known {
		t.Errorf("before its probe the bucket is known: bound %v", bound)
	}
	if f.b.CanSignPut() && !f.grant(t, f.key("k"), bind, time.Hour).Unbound {
		t.Error("before its probe the bucket's grants are not marked unbound")
	}
	for range 2 {
		if err := f.b.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		if bound, known := f.b.Bound(); !bound || !known {
			t.Errorf("bound %v, known %v", bound, known)
		}
	}
	if f.b.CanSignPut() && f.grant(t, f.key("k"), bind, time.Hour).Unbound {
		t.Error("after its probe the bucket's grants are marked unbound")
	}
	// The driver writes where it is told to.
	bound, err := f.Driver.(storage.Prober).ProbeBinding(t.Context(), f.key("probe/here"))
	if err != nil || !bound {
		t.Errorf("bound %v, %v", bound, err)
	}
	f.absent(t, f.key("probe/here"))
	if objs, err := f.b.List(t.Context(), "uploadbroker-probe/", "", 0); err != nil || len(objs) != 0 {
		t.Errorf("the probe left %+v, %v", objs, err)
	}
	if _, err := f.b.Stat(t.Context(), f.key("k")); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("a grant alone stored something: %v", err)
	}
}
