package storage

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// fakeFull is a fake with the optional interfaces; it notes what it is asked.
type fakeFull struct {
	fakeSigner
	mu      sync.Mutex
	calls   []string
	copied  Object
	copyErr error
	syncErr error
	bound   bool
	probed  error
	opts    GetOptions
}

func (f *fakeFull) note(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
}

func (f *fakeFull) Copy(_ context.Context, from, ifMatch, to string) (Object, error) {
	f.note("copy " + from + " " + ifMatch + " " + to)
	return f.copied, f.copyErr
}

func (f *fakeFull) Sync(_ context.Context, key string) error {
	f.note("sync " + key)
	return f.syncErr
}

func (f *fakeFull) ProbeBinding(_ context.Context, key string) (bool, error) {
	f.note("probe " + key)
	return f.bound, f.probed
}

func (f *fakeFull) SignGet(_ context.Context, _ string, opts GetOptions, _ time.Duration) (string, error) {
	f.opts = opts
	return "url", nil
}

func TestCopy(t *testing.T) {
	one, other := Object{ETag: "one", SizeBytes: 3}, Object{ETag: "other", SizeBytes: 3}
	for name, c := range map[string]struct {
		source, copied Object
		copyErr, sync  error
		want           broker.Code
		calls          []string
	}{
		"right":                       {source: one, copied: one, calls: []string{"copy a one b", "sync b"}},
		"another ETag, same source":   {source: one, copied: other, calls: []string{"copy a one b", "sync b"}},
		"a server without conditions": {source: other, copied: other, want: broker.CodeChanged, calls: []string{"copy a one b"}},
		"refused":                     {copyErr: errors.New("x"), want: broker.CodeDenied, calls: []string{"copy a one b"}},
		"not durable":                 {source: one, copied: one, sync: errors.New("disk"), want: broker.CodeDenied, calls: []string{"copy a one b", "sync b"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &fakeFull{copied: c.copied, copyErr: c.copyErr, syncErr: c.sync}
			d.obj = c.source
			var observed []string
			b := newTest(t, Info{}, d, WithObserver(func(_, op string, _ time.Duration, code broker.Code) {
				observed = append(observed, op+" "+string(code))
			}))
			seen, err := b.Copy(t.Context(), "a", "one", "b")
			wantCode(t, err, c.want)
			if want := (broker.Seen{Bucket: "HongKong", ETag: c.copied.ETag, SizeBytes: 3}); err == nil && seen != want || err != nil && seen != (broker.Seen{}) {
				t.Errorf("%+v, %v", seen, err)
			}
			if !slices.Equal(d.calls, c.calls) {
				t.Errorf("asked for %q", d.calls)
			}
			if !slices.Equal(observed, []string{"copy " + string(c.want)}) {
				t.Errorf("observed %q", observed)
			}
		})
	}
}

func TestLink(t *testing.T) {
	d := &fakeFull{}
	d.obj = Object{ETag: "one", Version: "v1"}
	b := newTest(t, Info{}, d)
	if url, err := b.Link(t.Context(), "k", "one", "100MEDIA/DJI 1.JPG", time.Minute); err != nil || url != "url" {
		t.Errorf("%s, %v", url, err)
	}
	if d.opts != (GetOptions{Version: "v1", Filename: "DJI 1.JPG"}) {
		t.Errorf("signed for %+v", d.opts)
	}
	_, err := b.Link(t.Context(), "pid/secret.jpg", "two", "", time.Minute)
	wantCode(t, err, broker.CodeChanged)
	var e *broker.Error
	if !errors.As(err, &e) || strings.Contains(e.Msg, "pid") || e.Err == nil || !strings.Contains(e.Err.Error(), "link HongKong/pid/secret.jpg") {
		t.Errorf("%+v", err)
	}
}

func TestProbe(t *testing.T) {
	d := &fakeFull{}
	b := newTest(t, Info{}, d)
	sized, plain := broker.Binding{SizeBytes: 0}, broker.Binding{SizeBytes: -1, ContentType: "image/jpeg"}
	hashed := broker.Binding{SizeBytes: -1, SHA1: broker.SHA1{1}}
	want := func(what string, bound, known bool) {
		t.Helper()
		if b, k := b.Bound(); b != bound || k != known {
			t.Errorf("%s: bound %v, known %v", what, b, k)
		}
		for name, bind := range map[string]broker.Binding{"sized": sized, "hashed": hashed, "plain": plain} {
			req, err := b.SignPut(t.Context(), "k", bind, time.Minute)
			if unbound := !bound && name != "plain"; err != nil || req.Unbound != unbound {
				t.Errorf("%s: a %s grant is unbound: %v, %v", what, name, req.Unbound, err)
			}
		}
	}
	want("never probed", false, false)
	d.probed = errors.New("down")
	wantCode(t, b.Probe(t.Context()), broker.CodeDenied)
	want("an error", false, false)
	d.probed, d.bound = nil, true
	wantCode(t, b.Probe(t.Context()), "")
	want("bound", true, true)
	d.probed = errors.New("down")
	wantCode(t, b.Probe(t.Context()), broker.CodeDenied)
	want("an error afterwards", true, true)
	d.probed, d.bound = nil, false
	wantCode(t, b.Probe(t.Context()), "")
	want("unbound", false, true)
	keys := map[string]bool{}
	for _, call := range d.calls {
		id, ok := strings.CutPrefix(call, "probe uploadbroker-probe/")
		if !ok || !broker.IsID(id) || keys[id] {
			t.Errorf("asked for %q", call)
		}
		keys[id] = true
	}

	b = newTest(t, Info{}, &fakeSigner{}, WithBound())
	want("by construction", true, true)
	b = newTest(t, Info{}, &fakeSigner{})
	want("no prober", false, false)
}

// TestProbeAtOnce is for the race detector.
func TestProbeAtOnce(t *testing.T) {
	d := &fakeFull{bound: true}
	b := newTest(t, Info{}, d)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := b.Probe(t.Context()); err != nil {
				t.Error(err)
			}
			b.Bound()
		})
	}
	wg.Wait()
	if bound, known := b.Bound(); !bound || !known {
		t.Errorf("bound %v, known %v", bound, known)
	}
}
