package worker_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// expire lets an image's grants end and looks.
func (w *world) expire(t *testing.T, p broker.Project, img broker.Image) broker.Image {
	t.Helper()
	w.clock.pass(grantFor + broker.GraceAfterGrant + time.Second)
	w.look(t, p, "A")
	return w.wantState(t, img, broker.StateInvalid, broker.ReasonExpired)
}

func (w *world) hint(t *testing.T, bucket string, arrived ...broker.Arrived) int {
	t.Helper()
	arrivals := &broker.Arrivals{Store: w.store, Places: w.images.Places, Now: w.clock.now}
	n, err := arrivals.Hint(t.Context(), bucket, arrived)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lookNow makes what is due within the next second due now, and looks there.
func (w *world) lookNow(t *testing.T) {
	t.Helper()
	w.exec(t, `UPDATE watches SET next_look_at = now() WHERE next_look_at <= now() + interval '1.1 s'`)
	if err := w.LookAtDue(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestALateObjectIsTakenIn: the grants are over, the image is Invalid(expired), and
// then it comes after all. An event, or the client's own word, is enough.
func TestALateObjectIsTakenIn(t *testing.T) {
	for name, tell := range map[string]func(*testing.T, *world, broker.Image){
		"an event": func(t *testing.T, w *world, img broker.Image) {
			if n := w.hint(t, "A", broker.Arrived{Key: img.Key(), ETag: "another"}); n != 1 {
				t.Errorf("the hint is about %d images", n)
			}
		},
		"done": func(t *testing.T, w *world, img broker.Image) {
			if _, err := w.images.Done(t.Context(), w.by, img.ProjectID, []string{img.ID}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.project(t)
			data := photo(1)
			img := w.expire(t, p, w.register(t, p, "A", data)[0])
			w.look(t, p, "A") // nothing is open: it sleeps
			if n := w.count(t, `watches WHERE next_look_at IS NOT NULL`); n != 0 {
				t.Fatal("the watch is awake")
			}
			put(t, w.a, img.Key(), data)
			w.lookNow(t)
			w.wantState(t, img, broker.StateInvalid, broker.ReasonExpired) // nobody told

			tell(t, w, img)
			w.lookNow(t)
			if err := w.Validate(t.Context(), argsOf(w.wantState(t, img, broker.StateUploaded))); err != nil {
				t.Fatal(err)
			}
			w.wantState(t, img, broker.StateReady)
			if n := w.count(t, `hints`); n != 0 {
				t.Errorf("%d hints are left", n)
			}
			w.lookNow(t)
			if n := w.count(t, `watches WHERE next_look_at IS NOT NULL`); n != 0 {
				t.Error("the watch does not sleep again")
			}
		})
	}
}

// TestAHintWithoutAnObject leads to one look, and to nothing.
func TestAHintWithoutAnObject(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	img := w.expire(t, p, w.register(t, p, "A", photo(1))[0])
	w.look(t, p, "A")
	w.hint(t, "A", broker.Arrived{Key: img.Key()})
	w.a.counted("stat")
	w.lookNow(t)
	w.lookNow(t)
	w.lookNow(t)
	if n := w.a.counted("stat"); n != 1 {
		t.Errorf("one hint led to %d requests", n)
	}
	w.wantState(t, img, broker.StateInvalid, broker.ReasonExpired)
	if n := w.count(t, `hints`); n != 0 {
		t.Errorf("%d hints are left", n)
	}
}

// TestForgedHints: what is no image's, is there already, or lies in a bucket without
// a grant makes nobody look.
func TestForgedHints(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data := photo(1)
	img := w.ready(t, w.register(t, p, "A", data)[0], data)
	w.look(t, p, "A")
	for _, o := range []broker.Arrived{
		{Key: img.Key(), ETag: img.ETag}, {Key: img.Key(), ETag: `"` + img.ETag + `"`}, // it is known
		{Key: p.ID + "/none.jpg"}, {Key: broker.NewID(time.Now()) + "/" + img.Filename},
		{Key: ""}, {Key: "/"}, {Key: p.ID}, {Key: p.ID + "/"}, {Key: p.ID + "/a/b"}, {Key: "../" + img.Key()},
		{Key: p.ID + "/\x00"}, {Key: p.ID + "/\xff"}, {Key: p.ID + "/' OR true --"},
	} {
		if n := w.hint(t, "A", o); n != 0 {
			t.Errorf("%q is about %d images", o.Key, n)
		}
	}
	if n := w.hint(t, "B", broker.Arrived{Key: img.Key()}); n != 0 {
		t.Errorf("in a bucket without a grant: %d images", n)
	}
	if n := w.count(t, `watches WHERE next_look_at IS NOT NULL`) + w.count(t, `hints`); n != 0 {
		t.Error("somebody will look")
	}
}

// TestManyHintsAreOneLookASecond, however many there are and whoever sends them.
func TestManyHintsAreOneLookASecond(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data := photo(1)
	img := w.ready(t, w.register(t, p, "A", data)[0], data)
	w.register(t, p, "A", photo(2))
	w.lookNow(t)
	w.a.counted("stat")
	w.a.counted("list")
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 4 {
				w.hint(t, "A", broker.Arrived{Key: img.Key()})
			}
		})
	}
	all.Wait()
	for range 3 {
		if err := w.LookAtDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count(t, `watches WHERE looks = 1 AND next_look_at >= looked_at + interval '1 s'`); n != 1 {
		t.Error("200 hints within a second of a look led to another one")
	}
	w.lookNow(t)
	if n := w.count(t, `watches WHERE looks = 2`); n != 1 {
		t.Error("they led to none")
	}
	if n := w.a.counted("stat") + w.a.counted("list"); n > 2 {
		t.Errorf("the look took %d requests", n)
	}
}

// TestAHintDuringALook is for the next one: this one may have asked before.
func TestAHintDuringALook(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data := photo(1)
	img := w.expire(t, p, w.register(t, p, "A", data)[0])
	w.look(t, p, "A")
	w.hint(t, "A", broker.Arrived{Key: img.Key()})
	once := sync.OnceFunc(func() {
		w.hint(t, "A", broker.Arrived{Key: img.Key()})
	})
	w.a.failing(func(string, string) error { once(); return nil })
	w.lookNow(t)
	if n := w.count(t, `hints`); n != 1 {
		t.Fatalf("%d hints are left", n)
	}
	put(t, w.a, img.Key(), data)
	w.lookNow(t)
	w.wantState(t, img, broker.StateUploaded)
}

// TestOverwrittenAfterReady: a grant that is still good can overwrite what was
// proven. Without any event that is noticed while the grant lives, once more when
// it has ended, and by whoever is given a link.
func TestOverwrittenAfterReady(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data, bad := photo(1), []byte("something else")
	img := w.ready(t, w.register(t, p, "A", data)[0], data)
	w.look(t, p, "A")
	if n := w.count(t, `watches WHERE next_look_at IS NULL AND reconcile_at BETWEEN now() + interval '50 s' AND now() + interval '70 s'`); n != 1 {
		t.Fatal("nobody compares while the grant lives")
	}
	compare := func() {
		t.Helper()
		w.exec(t, `UPDATE watches SET reconcile_at = now(), reconciled_at = now()`)
		if err := w.ReconcileDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	compare()
	w.wantState(t, img, broker.StateReady)
	put(t, w.a, img.Key(), bad)
	compare()
	if err := w.Validate(t.Context(), argsOf(w.wantState(t, img, broker.StateUploaded))); err != nil {
		t.Fatal(err)
	}
	if got := w.image(t, img); got.State != broker.StateInvalid {
		t.Errorf("other bytes are %s", got.State)
	}
	if n := w.count(t, `watches WHERE reconcile_at > now()`); n != 1 {
		t.Error("nobody compares again while the grant lives")
	}
	w.exec(t, `UPDATE grants SET issued_at = now() - interval '2 h', expires_at = now() - interval '4 min'`)
	compare()
	if n := w.count(t, `watches WHERE reconcile_at BETWEEN now() AND now() + interval '61 s'`); n != 1 {
		t.Error("nobody compares when what was on its way has come")
	}
	w.exec(t, `UPDATE grants SET expires_at = now() - interval '6 min'`)
	compare()
	if n := w.count(t, `watches WHERE reconcile_at IS NULL`); n != 1 {
		t.Error("it is compared for ever though nobody may write")
	}
}

// TestAComparisonThatFails is due again soon, also the last one, after which nobody
// may write.
func TestAComparisonThatFails(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data := photo(1)
	img := w.ready(t, w.register(t, p, "A", data)[0], data)
	put(t, w.a, img.Key(), []byte("something else"))
	w.exec(t, `UPDATE grants SET issued_at = now() - interval '2 h', expires_at = now() - interval '1 h'`)
	w.exec(t, `UPDATE watches SET reconcile_at = now(), reconciled_at = now(), next_look_at = NULL`)
	w.a.failing(func(string, string) error { return errFault })
	if err := w.ReconcileDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, img, broker.StateReady)
	if n := w.count(t, `watches WHERE bucket = 'A' AND reconcile_at BETWEEN now() AND now() + interval '10 min'`); n != 1 {
		t.Fatal("nobody compares again before the next day")
	}
	w.a.failing(nil)
	w.exec(t, `UPDATE watches SET reconcile_at = now()`)
	if err := w.ReconcileDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, img, broker.StateUploaded)
	if n := w.count(t, `watches WHERE bucket = 'A' AND reconcile_at IS NULL`); n != 1 {
		t.Error("it is compared on and on though nobody may write")
	}
}

// sweptDriver is the embedded bucket, which counts how often it is asked for uploads
// that were never finished: once for each sweep of a prefix, that of the results aside.
type sweptDriver struct {
	*faultyDriver
	sweeps atomic.Int64
}

func (d *sweptDriver) ListMultiparts(ctx context.Context, prefix string) ([]storage.Multipart, error) {
	if !strings.HasPrefix(prefix, broker.ResultPrefix("")) {
		d.sweeps.Add(1)
	}
	return d.faultyDriver.ListMultiparts(ctx, prefix)
}

// TestAComparisonSweepsOnceADay, however often it runs while grants live.
func TestAComparisonSweepsOnceADay(t *testing.T) {
	w := newWorld(t)
	counting := &sweptDriver{faultyDriver: w.a}
	sweeper := w.newWorker(t, bucketOver(t, "A", counting))
	sweeper.Retention = worker.Retention{Orphans: time.Hour}
	w.register(t, w.project(t), "A", photo(1))
	compare := func(times int) {
		t.Helper()
		for range times {
			w.exec(t, `UPDATE watches SET reconcile_at = now()`)
			if err := sweeper.ReconcileDue(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.a.counted("list")
	compare(3)
	if swept, listed := counting.sweeps.Load(), w.a.counted("list"); swept != 1 || listed != 3+2 { // once of the thumbnails and of the results, too
		t.Errorf("%d of %d comparisons swept", swept, listed)
	}
	w.exec(t, `UPDATE watches SET swept_at = now() - interval '23 h'`)
	compare(1)
	w.exec(t, `UPDATE watches SET swept_at = now() - interval '25 h'`)
	compare(2)
	if swept := counting.sweeps.Load(); swept != 2 {
		t.Errorf("after a day %d sweeps", swept)
	}
}

// TestALinkNoticesWhatChanged and gives none.
func TestALinkNoticesWhatChanged(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data := photo(1)
	a := bucketOver(t, "A", w.a)
	w.images.Places.Replace(broker.ConfiguredOrder{}, broker.Bucket{Symbol: "A", Cloud: broker.CloudS3, GrantTTL: grantFor, Signer: a, Linker: a})
	w.images.Hints = &broker.Arrivals{Store: w.store, Places: w.images.Places, Now: w.clock.now}
	img := w.ready(t, w.register(t, p, "A", data)[0], data)
	w.look(t, p, "A")
	if url, err := w.images.Link(t.Context(), w.by, img); err != nil || url == "" {
		t.Fatalf("%q, %v", url, err)
	}
	put(t, w.a, img.Key(), []byte("something else"))
	if url, err := w.images.Link(t.Context(), w.by, img); err != nil || url != "" {
		t.Errorf("other bytes than the proven ones are served: %q, %v", url, err)
	}
	w.lookNow(t)
	w.wantState(t, img, broker.StateUploaded)
	if url, err := w.images.Link(context.Background(), w.by, w.image(t, img)); err != nil || url != "" {
		t.Errorf("what is not judged is served: %q, %v", url, err)
	}
}
