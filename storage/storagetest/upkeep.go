package storagetest

import (
	"testing"

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
