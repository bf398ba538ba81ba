package worker_test

import (
	"context"
	"image/jpeg"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
)

func thumbKey(img broker.Image) string { return broker.ThumbKey(img.ProjectID, img.ID) }

// thumbs makes the worker's verdicts bring this thumbnail; of "", none.
func (w *world) thumbs(picture *string) {
	w.JudgeBy(func(_ context.Context, v *broker.Verdict) {
		v.Thumb, v.Facts.Thumb = nil, nil
		if *picture != "" {
			v.Thumb, v.Facts.Thumb = []byte(*picture), &broker.ThumbFacts{Width: 4, Height: 3}
		}
	})
}

// again judges other bytes of the same image.
func (w *world) again(t *testing.T, img broker.Image, data []byte) broker.Image {
	t.Helper()
	if err := w.Validate(t.Context(), argsOf(w.arrive(t, img, data))); err != nil {
		t.Fatal(err)
	}
	return w.image(t, img)
}

func read(t *testing.T, d *faultyDriver, key string) (string, storage.Object) {
	t.Helper()
	rc, obj, err := d.Bucket.Open(t.Context(), key, storage.Range{}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), obj
}

// TestThumbnailIsStored by the validator itself, beside the image.
func TestThumbnailIsStored(t *testing.T) {
	w := newWorld(t)
	data := bigPhoto(1)
	img := w.ready(t, w.register(t, w.project(t), "A", data)[0], data)
	if img.Facts.Thumb == nil {
		t.Fatalf("the facts tell of none: %+v", img.Facts)
	}
	got, obj := read(t, w.a, "thumbs/"+img.ProjectID+"/"+img.ID+".jpg")
	small, err := jpeg.DecodeConfig(strings.NewReader(got))
	if err != nil || small.Width != img.Facts.Thumb.Width || small.Height != img.Facts.Thumb.Height || obj.ContentType != "image/jpeg" || obj.ETag != img.Facts.Thumb.ETag {
		t.Errorf("%+v %+v, of which the facts tell %+v: %v", small, obj, img.Facts.Thumb, err)
	}
}

// TestThumbnailBeforeVerdict: who reads of it finds it, and the newest verdict's counts.
func TestThumbnailBeforeVerdict(t *testing.T) {
	w := newWorld(t)
	picture := "first"
	w.thumbs(&picture)
	data := photo(1)
	img := w.register(t, w.project(t), "A", data)[0]
	var early atomic.Bool
	w.a.failing(func(op, key string) error {
		if op == "put" && key == thumbKey(img) && w.image(t, img).State == broker.StateUploaded {
			early.Store(true)
		}
		return nil
	})
	got := w.ready(t, img, data)
	if first, obj := read(t, w.a, thumbKey(img)); first != "first" || !early.Load() || got.Facts.Thumb == nil || *got.Facts.Thumb != (broker.ThumbFacts{Width: 4, Height: 3, ETag: obj.ETag}) {
		t.Errorf("%q, before the verdict: %t; %+v", first, early.Load(), got.Facts.Thumb)
	}
	picture = "second"
	put(t, w.a, img.Key(), photo(9)) // other bytes for a moment
	if err := w.LookAt(t.Context(), "A", img.Key()); err != nil {
		t.Fatal(err)
	}
	got = w.again(t, img, data)
	if second, obj := read(t, w.a, thumbKey(img)); second != "second" || got.Facts.Thumb.ETag != obj.ETag {
		t.Errorf("the new verdict left %q, %+v", second, got.Facts.Thumb)
	}
	// An Invalid image has none.
	bad := w.again(t, img, photo(10))
	if bad.State != broker.StateInvalid || bad.Facts.Thumb != nil || exists(t, w.a, thumbKey(img)) {
		t.Errorf("%s, %+v", bad.State, bad.Facts.Thumb)
	}
}

// TestThumbnailThatCantBeStored is counted, and changes nothing of the verdict.
func TestThumbnailThatCantBeStored(t *testing.T) {
	w := newWorld(t)
	picture := "picture"
	w.thumbs(&picture)
	var failed []string
	w.ThumbFailed = func(symbol string, code broker.Code) { failed = append(failed, symbol+" "+string(code)) }
	w.a.failing(func(op, key string) error {
		if op == "put" && strings.HasPrefix(key, "thumbs/") {
			return errFault
		}
		return nil
	})
	data := photo(1)
	img := w.ready(t, w.register(t, w.project(t), "A", data)[0], data)
	if img.Facts.Thumb != nil || exists(t, w.a, thumbKey(img)) || !slices.Equal(failed, []string{"A unavailable"}) {
		t.Errorf("%+v; failures %v", img.Facts.Thumb, failed)
	}
	if n := w.count(t, `verdicts WHERE facts ? 'thumb'`); n != 0 {
		t.Error("the verdict tells of one")
	}
	picture = ""
	w.a.failing(nil)
	data = photo(2)
	if img := w.ready(t, w.register(t, w.project(t), "A", data)[0], data); img.Facts.Thumb != nil || len(failed) != 1 {
		t.Errorf("without a thumbnail: %+v, %v", img.Facts.Thumb, failed)
	}
}

// TestThumbnailOfALateVerdict does not stay, nor is one stored without the lease.
func TestThumbnailOfALateVerdict(t *testing.T) {
	for name, late := range map[string]func(w *world, t *testing.T, img broker.Image){
		"overwritten":    func(w *world, t *testing.T, img broker.Image) { w.arrive(t, img, photo(2)) },
		"removed":        func(w *world, t *testing.T, img broker.Image) { w.removeImage(t, img) },
		"the lease lost": func(w *world, t *testing.T, img broker.Image) { w.exec(t, `UPDATE leases SET holder = 'another'`) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			data := photo(1)
			img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
			w.JudgeBy(func(_ context.Context, v *broker.Verdict) {
				v.Thumb, v.Facts.Thumb = []byte("late"), &broker.ThumbFacts{Width: 4, Height: 3}
				late(w, t, img)
			})
			if err := w.Validate(t.Context(), argsOf(img)); err != nil {
				t.Fatal(err)
			}
			if exists(t, w.a, thumbKey(img)) || w.image(t, img).Facts.Thumb != nil {
				t.Errorf("the image is %s and a thumbnail is there", w.image(t, img).State)
			}
		})
	}
}

// TestAThumbnailThatHangs lets others work meanwhile.
func TestAThumbnailThatHangs(t *testing.T) {
	w := newWorld(t)
	w.SetSlots(1)
	picture := "picture"
	w.thumbs(&picture)
	p := w.project(t)
	images := w.register(t, p, "A", photo(1), photo(2))
	slow, quick := w.arrive(t, images[0], photo(1)), w.arrive(t, images[1], photo(2))
	hanging, judged := make(chan struct{}), make(chan struct{})
	w.a.failing(func(op, key string) error {
		if op == "put" && key == thumbKey(slow) {
			close(hanging)
			<-judged
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- w.Validate(t.Context(), argsOf(slow)) }()
	<-hanging
	if err := w.Validate(t.Context(), argsOf(quick)); err != nil {
		t.Error(err)
	}
	w.wantState(t, slow, broker.StateUploaded)
	w.wantState(t, quick, broker.StateReady)
	close(judged)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := w.wantState(t, slow, broker.StateReady); got.Facts.Thumb == nil {
		t.Error("it tells of no thumbnail")
	}
}

// TestThumbnailGoesWithItsImage, and with its project.
func TestThumbnailGoesWithItsImage(t *testing.T) {
	w := newWorld(t)
	picture := "picture"
	w.thumbs(&picture)
	p := w.project(t)
	images := w.register(t, p, "A", photo(1), photo(2))
	gone, kept := w.ready(t, images[0], photo(1)), w.ready(t, images[1], photo(2))
	w.removeImage(t, gone)
	w.clock.pass(undoWindow - 10*time.Second)
	w.sweep(t)
	if !exists(t, w.a, thumbKey(gone)) {
		t.Fatal("deleted while undo was possible")
	}
	for range 4 {
		w.clock.pass(grantFor)
		w.sweep(t)
	}
	if exists(t, w.a, thumbKey(gone)) || w.count(t, `images WHERE id = $1`, gone.ID) != 0 {
		t.Error("it is there after its image was removed")
	}
	if !exists(t, w.a, thumbKey(kept)) {
		t.Fatal("another image's was deleted")
	}
	w.removeProject(t, p)
	for range 4 {
		w.clock.pass(grantFor)
		w.sweep(t)
	}
	if exists(t, w.a, thumbKey(kept)) || w.count(t, `projects WHERE id = $1 AND final_at IS NOT NULL`, p.ID) != 1 {
		t.Error("it is there after its project was removed")
	}
}

// TestOrphanedThumbnails are told by what rows know of their images.
func TestOrphanedThumbnails(t *testing.T) {
	w := newOrphanage(t)
	picture := "picture"
	w.thumbs(&picture)
	p := w.project(t)
	n := 0
	register := func() broker.Image { n++; return w.register(t, p, "A", photo(n))[0] }
	leave := func(img broker.Image) string {
		put(t, w.a, thumbKey(img), []byte("left"))
		return thumbKey(img)
	}
	ready := register()
	ready = w.ready(t, ready, photo(n))
	judged := register()
	judged = w.arrive(t, judged, photo(n))
	removed := register()
	removed = w.ready(t, removed, photo(n))
	w.removeImage(t, removed)
	leave(judged) // its verdict is on its way

	want := map[string]worker.OrphanClass{}
	want[leave(w.invalid(t, register()))] = worker.OrphanThumb
	want[leave(register())] = worker.OrphanThumb // open
	untold := register()
	untold = w.ready(t, untold, photo(n))
	w.exec(t, `UPDATE images SET facts = facts - 'thumb' WHERE id = $1`, untold.ID)
	want[thumbKey(untold)] = worker.OrphanThumb
	accepted := w.invalid(t, register())
	w.exec(t, `UPDATE images SET reasons = '{corrupt: x}' WHERE id = $1`, accepted.ID)
	if ok, err := w.store.Accept(t.Context(), w.image(t, accepted), w.clock.now(), w.by); err != nil || !ok {
		t.Fatal(ok, err)
	}
	want[leave(accepted)] = worker.OrphanThumb
	final := register()
	w.removeImage(t, final)
	if err := w.store.ForgetImage(t.Context(), final.ID); err != nil {
		t.Fatal(err)
	}
	want[leave(final)] = worker.OrphanThumb
	want[leave(broker.Image{ID: broker.NewID(w.clock.now()), ProjectID: p.ID})] = worker.OrphanStray // yesterday's backup
	odd := broker.ThumbPrefix(p.ID) + "odd.png"
	put(t, w.a, odd, []byte("x"))
	want[odd] = worker.OrphanStray
	elsewhere := register()
	elsewhere = w.ready(t, elsewhere, photo(n))
	put(t, w.b, thumbKey(elsewhere), []byte("left"))
	stranger := broker.NewID(w.clock.now())
	leave(broker.Image{ID: broker.NewID(w.clock.now()), ProjectID: stranger})
	want["thumbs/"+stranger+"/"] = worker.OrphanForeign
	for _, outside := range []string{"thumbs/holiday.jpg", "thumbs/summer/1.jpg", "thumbsup/1.jpg"} {
		put(t, w.a, outside, []byte("x"))
	}

	check := func(symbol string, want map[string]worker.OrphanClass) {
		t.Helper()
		_, found := w.orphans(t, symbol)
		got := map[string]worker.OrphanClass{}
		for key, o := range found {
			if o.Class == worker.OrphanInvalid {
				continue // of the images themselves
			}
			got[key] = o.Class
			if kept := o.DueAt.Sub(o.Modified); o.Class != worker.OrphanForeign && kept != keepOrphans || o.Why == "" {
				t.Errorf("%s %s is kept for %v, %q", o.Class, key, kept, o.Why)
			}
		}
		for key, class := range want {
			if got[key] != class {
				t.Errorf("%s is %q, want %s", key, got[key], class)
			}
			delete(got, key)
		}
		if len(got) != 0 {
			t.Errorf("told for nothing: %v", got)
		}
	}
	check("A", want)
	check("B", map[string]worker.OrphanClass{thumbKey(elsewhere): worker.OrphanThumb})

	// The daily comparison takes those that rows prove, and not before their time.
	daily := func() {
		t.Helper()
		for _, symbol := range []string{"A", "B"} {
			if _, err := w.Reconcile(t.Context(), p.ID, symbol); err != nil {
				t.Fatal(err)
			}
		}
	}
	daily()
	for key := range want {
		if !strings.HasSuffix(key, "/") && !exists(t, w.a, key) {
			t.Fatalf("%s was deleted before its time", key)
		}
	}
	w.clock.pass(keepOrphans + time.Minute)
	daily()
	for key, class := range want {
		if !strings.HasSuffix(key, "/") && exists(t, w.a, key) != (class != worker.OrphanThumb) {
			t.Errorf("%s %s is there: %t", class, key, exists(t, w.a, key))
		}
	}
	for _, img := range []broker.Image{ready, judged, removed, elsewhere} {
		if !exists(t, w.a, thumbKey(img)) {
			t.Errorf("that of an image that is %s was deleted", w.image(t, img).State)
		}
	}
	if exists(t, w.b, thumbKey(elsewhere)) {
		t.Error("one in the wrong bucket is there")
	}
	// The rest when the operator says so, but for others' things.
	swept := w.sweepAll(t, "A")
	for key, class := range want {
		if class == worker.OrphanStray && !slices.Contains(swept, key) {
			t.Errorf("the operator's sweep left %s", key)
		}
	}
	for _, key := range []string{"thumbs/holiday.jpg", "thumbs/summer/1.jpg", "thumbsup/1.jpg", thumbKey(ready)} {
		if !exists(t, w.a, key) {
			t.Errorf("%s is gone", key)
		}
	}
	if n := w.count(t, `audit WHERE action = 'image.sweep' AND image_id = $1 AND detail->>'class' = 'THUMB' AND detail->>'key' = $2`, untold.ID, thumbKey(untold)); n != 1 {
		t.Errorf("the audit tells %d times of a thumbnail that was swept", n)
	}
}

// TestSweptThumbnailIsAskedForAgain: between a listing and its sweep the image became
// Ready, with a thumbnail there.
func TestSweptThumbnailIsAskedForAgain(t *testing.T) {
	w := newOrphanage(t)
	picture := ""
	w.thumbs(&picture)
	data := photo(1)
	img := w.register(t, w.project(t), "A", data)[0]
	put(t, w.a, thumbKey(img), []byte("left"))
	w.clock.pass(keepOrphans + time.Minute)
	listed, _ := w.orphans(t, "A")
	w.exec(t, `UPDATE images SET grants_end = now() + interval '100 h'`)
	img = w.ready(t, img, data)
	w.exec(t, `UPDATE images SET facts = facts || '{"thumb": {"width": 1, "height": 1}}'`)
	swept, err := w.SweepOrphans(t.Context(), w.bucket(t, "A"), listed)
	if err != nil || len(listed) != 1 || len(swept) != 0 || !exists(t, w.a, thumbKey(img)) {
		t.Errorf("of %+v, swept %+v: %v", listed, swept, err)
	}
}

// TestCopyBringsItsThumbnail, or tells of none.
func TestCopyBringsItsThumbnail(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world, t *testing.T, src broker.Image)
		has   bool
	}{
		"there": {func(*world, *testing.T, broker.Image) {}, true},
		"gone": {func(w *world, t *testing.T, src broker.Image) {
			if err := w.a.Bucket.Delete(t.Context(), thumbKey(src)); err != nil {
				t.Fatal(err)
			}
		}, false},
		"another": {func(w *world, t *testing.T, src broker.Image) { put(t, w.a, thumbKey(src), []byte("another")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := bucketOver(t, "A", w.a)
			w.images.Places.Replace(broker.ConfiguredOrder{}, broker.Bucket{Symbol: "A", Cloud: broker.CloudS3, GrantTTL: grantFor, Signer: a, Linker: a, Copier: a})
			picture := "picture"
			w.thumbs(&picture)
			data := photo(1)
			src := w.ready(t, w.register(t, w.project(t), "A", data)[0], data)
			c.spoil(w, t, src)
			other := w.project(t)
			rs, err := w.images.Register(t.Context(), w.by, other.ID, broker.Target{}, []broker.Entry{{
				Name: "b.jpg", SHA1: src.SHA1.String(), SizeBytes: int64(len(data)),
			}})
			if err != nil || rs[0].Status != broker.StatusExists || rs[0].Image.State != broker.StateReady {
				t.Fatalf("%+v, %v", rs, err)
			}
			img := rs[0].Image
			if (img.Facts.Thumb != nil) != c.has || exists(t, w.a, thumbKey(img)) != c.has {
				t.Fatalf("the copy tells %+v, and there is one: %t", img.Facts.Thumb, exists(t, w.a, thumbKey(img)))
			}
			if !c.has {
				return
			}
			if got, obj := read(t, w.a, thumbKey(img)); got != "picture" || img.Facts.Thumb.ETag != obj.ETag || img.Facts.Thumb.Width != 4 {
				t.Errorf("%q, %+v", got, img.Facts.Thumb)
			}
			if src := w.image(t, src); src.Facts.Thumb == nil || src.Facts.Thumb.ETag == "" {
				t.Error("the source has lost its own")
			}
		})
	}
}

// TestNobodyIsGrantedAThumbnail: whatever clients ask for, and whatever a project is
// called, keys of grants lie elsewhere.
func TestNobodyIsGrantedAThumbnail(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	for _, name := range []string{"thumbs/x.jpg", "../thumbs/x.jpg", "thumbs", "/thumbs/" + p.ID + "/x.jpg", "thumbs/" + p.ID + "/" + p.ID + ".jpg"} {
		rs, err := w.images.Register(t.Context(), w.by, p.ID, broker.Target{}, []broker.Entry{{Name: name, SHA1: strings.Repeat("ab", 20), SizeBytes: 1}})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			if r.Grant != nil && (!strings.HasPrefix(r.Image.Key(), p.ID+"/") || strings.Contains(r.Grant.Request.URL, "thumbs")) {
				t.Errorf("%q is granted %s", name, r.Image.Key())
			}
		}
	}
	for _, id := range []string{"thumbs", "THUMBS", "thumbs/" + p.ID, "../thumbs"} {
		if broker.IsID(id) {
			t.Errorf("a project could be called %s", id)
		}
		_, err := w.images.Register(t.Context(), w.by, id, broker.Target{}, []broker.Entry{{Name: "a.jpg", SHA1: strings.Repeat("ab", 20), SizeBytes: 1}})
		if broker.CodeOf(err) != broker.CodeNotFound {
			t.Errorf("in %s: %v", id, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err = w.store.Pool().Exec(ctx, `INSERT INTO projects (id, owner_id, name, kind, created_at) VALUES ($1, $2, 'x', 'recon', now())`, id, w.by.Owner.ID)
		cancel()
		if err == nil {
			t.Errorf("the database takes a project called %s", id)
		}
	}
	// What a bucket tells of its thumbnails is no arrival.
	w.a.counted("stat")
	if err := w.LookAt(t.Context(), "A", broker.ThumbKey(p.ID, p.ID)); err != nil || w.a.counted("stat") != 0 {
		t.Error("a thumbnail is looked at:", err)
	}
}
