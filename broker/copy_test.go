package broker_test

import (
	"context"
	"sync"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// fakeCopier copies nothing: it tells what it was asked, and answers as told.
type fakeCopier struct {
	mu    sync.Mutex
	calls [][3]string
	etag  string
	fail  error
}

func (c *fakeCopier) Copy(_ context.Context, from, etag, to string) (broker.Seen, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, [3]string{from, etag, to})
	return broker.Seen{ETag: c.etag, SizeBytes: 1}, c.fail
}

// copyWorld has one bucket that can copy, and a project with a Ready image.
func copyWorld(t *testing.T) (*world, *fakeCopier, broker.Project, broker.Image) {
	w := newWorld(t)
	copier := &fakeCopier{etag: "e"}
	bucket := broker.Bucket{Symbol: "Near", Cloud: broker.CloudS3, GrantTTL: 1e12, Signer: w.signer, Copier: copier}
	far := bucket
	far.Symbol = "Far"
	w.images.Places.Replace(broker.ConfiguredOrder{}, bucket, far)
	p := w.project(t)
	r := w.register(t, p, "", entry("a.jpg", "a"))
	w.arrive(t, r[0].Image, "Near")
	copier.calls = nil
	return w, copier, p, r[0].Image
}

// TestInstantUpload: what the owner has Ready in another project of the bucket
// exists in this one as soon as the bucket has copied it.
func TestInstantUpload(t *testing.T) {
	w, copier, p, src := copyWorld(t)
	other := w.project(t)
	r := w.register(t, other, "", entry("b.jpg", "a"), entry("c.jpg", "c"))
	if r[0].Status != broker.StatusExists || r[0].Grant != nil || r[0].Image.State != broker.StateReady || r[0].Image.ProjectID != other.ID ||
		r[0].Image.ProvenSHA1 != src.SHA1 || r[0].Image.CRC32 != 7 || r[0].Image.ETag != "e" || r[0].Image.Name != "b.jpg" {
		t.Errorf("the copy is answered %+v", r[0])
	}
	if r[1].Status != broker.StatusGranted {
		t.Errorf("what is nowhere is answered %+v", r[1])
	}
	want := [3]string{src.Key(), "e", r[0].Image.Key()}
	if len(copier.calls) != 1 || copier.calls[0] != want {
		t.Errorf("the bucket copied %v, want %v", copier.calls, want)
	}
	if p.ID == other.ID || src.Key() == r[0].Image.Key() {
		t.Error("both are one")
	}
	jobs, err := w.store.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if j.ImageID == r[0].Image.ID {
			t.Error("what is proven is validated again")
		}
	}
}

// TestACopyWithAnotherETagIsValidated: where etags don't tell, the bytes must.
func TestACopyWithAnotherETagIsValidated(t *testing.T) {
	w, copier, _, _ := copyWorld(t)
	copier.etag = "another-2"
	r := w.register(t, w.project(t), "", entry("b.jpg", "a"))
	if r[0].Status != broker.StatusExists || r[0].Image.State != broker.StateUploaded || !r[0].Image.ProvenSHA1.IsZero() {
		t.Errorf("answered %+v", r[0])
	}
	jobs, err := w.store.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, j := range jobs {
		found = found || j.ImageID == r[0].Image.ID
	}
	if !found {
		t.Error("nobody validates it")
	}
}

// TestNoInstantUpload: whatever speaks against a copy, the file is uploaded.
func TestNoInstantUpload(t *testing.T) {
	for _, c := range []struct {
		name   string
		copied bool // it was tried
		change func(t *testing.T, w *world, copier *fakeCopier, p broker.Project, src broker.Image) (by broker.Caller, bucket string, e broker.Entry)
	}{
		{"the caller opts out", false, func(_ *testing.T, w *world, _ *fakeCopier, _ broker.Project, _ broker.Image) (broker.Caller, string, broker.Entry) {
			e := entry("b.jpg", "a")
			e.NoCopy = true
			return w.by, "", e
		}},
		{"another bucket", false, func(_ *testing.T, w *world, _ *fakeCopier, _ broker.Project, _ broker.Image) (broker.Caller, string, broker.Entry) {
			return w.by, "Far", entry("b.jpg", "a")
		}},
		{"another owner", false, func(t *testing.T, w *world, _ *fakeCopier, _ broker.Project, _ broker.Image) (broker.Caller, string, broker.Entry) {
			eve, err := w.keys.CreateOwner(t.Context(), "eve@example.com", "")
			if err != nil {
				t.Fatal(err)
			}
			return w.caller(t, eve, broker.NewKey{}), "", entry("b.jpg", "a")
		}},
		{"another size was declared", false, func(_ *testing.T, w *world, _ *fakeCopier, _ broker.Project, _ broker.Image) (broker.Caller, string, broker.Entry) {
			e := entry("b.jpg", "a")
			e.SizeBytes = 2
			return w.by, "", e
		}},
		{"the source was removed", false, func(t *testing.T, w *world, _ *fakeCopier, p broker.Project, src broker.Image) (broker.Caller, string, broker.Entry) {
			if _, err := w.images.Remove(t.Context(), w.by, p.ID, src.ID); err != nil {
				t.Fatal(err)
			}
			return w.by, "", entry("b.jpg", "a")
		}},
		{"its project was removed", false, func(t *testing.T, w *world, _ *fakeCopier, p broker.Project, _ broker.Image) (broker.Caller, string, broker.Entry) {
			if _, err := w.projects.Remove(t.Context(), w.by, p.ID); err != nil {
				t.Fatal(err)
			}
			return w.by, "", entry("b.jpg", "a")
		}},
		{"the source changed", true, func(_ *testing.T, w *world, copier *fakeCopier, _ broker.Project, _ broker.Image) (broker.Caller, string, broker.Entry) {
			copier.fail = broker.Errorf(broker.CodeChanged, "it changed")
			return w.by, "", entry("b.jpg", "a")
		}},
		{"the bucket is down", true, func(_ *testing.T, w *world, copier *fakeCopier, _ broker.Project, _ broker.Image) (broker.Caller, string, broker.Entry) {
			copier.fail = broker.Errorf(broker.CodeUnavailable, "down")
			return w.by, "", entry("b.jpg", "a")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, copier, p, src := copyWorld(t)
			by, bucket, e := c.change(t, w, copier, p, src)
			other, err := w.projects.Create(t.Context(), by, "other", broker.KindRecon)
			if err != nil {
				t.Fatal(err)
			}
			r, err := w.images.Register(t.Context(), by, other.ID, broker.Target{Bucket: bucket, Client: client}, []broker.Entry{e})
			if err != nil || r[0].Status != broker.StatusGranted || !r[0].Image.State.Open() {
				t.Errorf("answered %+v %v", r, err)
			}
			if tried := len(copier.calls) > 0; tried != c.copied {
				t.Errorf("copies: %v", copier.calls)
			}
		})
	}
	t.Run("a key tied to the other project", func(t *testing.T) {
		w, copier, _, _ := copyWorld(t)
		other := w.project(t)
		tied := w.caller(t, w.ada, broker.NewKey{ProjectID: other.ID})
		r, err := w.images.Register(t.Context(), tied, other.ID, broker.Target{Client: client}, []broker.Entry{entry("b.jpg", "a")})
		if err != nil || r[0].Status != broker.StatusGranted || len(copier.calls) > 0 {
			t.Errorf("answered %+v %v, copies %v", r, err, copier.calls)
		}
	})
	t.Run("another kind of project", func(t *testing.T) {
		w, copier, _, _ := copyWorld(t)
		files, err := w.projects.Create(t.Context(), w.by, "files", broker.KindFiles)
		if err != nil {
			t.Fatal(err)
		}
		if r := w.register(t, files, "", entry("b.jpg", "a")); r[0].Status != broker.StatusGranted || len(copier.calls) > 0 {
			t.Errorf("answered %+v, copies %v", r, copier.calls)
		}
	})
}
