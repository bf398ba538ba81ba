package worker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
)

const (
	keepInvalid = 168 * time.Hour
	keepOrphans = 24 * time.Hour
)

// newOrphanage is a world whose worker keeps orphans for as long as the defaults say.
func newOrphanage(t *testing.T) *world {
	w := newWorld(t)
	w.Retention = worker.Retention{Invalid: keepInvalid, Orphans: keepOrphans}
	return w
}

// bucket is a bucket of the worker's.
func (w *world) bucket(t *testing.T, symbol string) *storage.Bucket {
	t.Helper()
	b, ok := w.Bucket(symbol)
	if !ok {
		t.Fatalf("no bucket %s", symbol)
	}
	return b
}

// orphans lists those of a bucket, by key.
func (w *world) orphans(t *testing.T, symbol string) (all []worker.Orphan, byKey map[string]worker.Orphan) {
	t.Helper()
	byKey = map[string]worker.Orphan{}
	err := w.Orphans(t.Context(), w.bucket(t, symbol), func(o worker.Orphan) error {
		all = append(all, o)
		byKey[o.Key] = o
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, byKey
}

// sweepAll sweeps what is due as an operator does, and returns the keys.
func (w *world) sweepAll(t *testing.T, symbol string) []string {
	t.Helper()
	all, _ := w.orphans(t, symbol)
	swept, err := w.SweepOrphans(t.Context(), w.bucket(t, symbol), all)
	if err != nil {
		t.Fatal(err)
	}
	return keysOf(swept)
}

func keysOf(orphans []worker.Orphan) []string {
	keys := make([]string, len(orphans))
	for i, o := range orphans {
		keys[i] = o.Key
	}
	slices.Sort(keys)
	return keys
}

// sweepPages sweeps as the daily comparison does.
func (w *world) sweepPages(t *testing.T, p broker.Project, symbol string) int {
	t.Helper()
	b := w.bucket(t, symbol)
	objects, err := b.List(t.Context(), p.ID+"/", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := w.SweepPage(t.Context(), b, p.ID, objects)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// at sets the clock.
func (c *clock) at(when time.Time) { c.ahead.Store(int64(time.Until(when))) }

// invalid takes the image to Invalid by other bytes than declared.
func (w *world) invalid(t *testing.T, img broker.Image) broker.Image {
	t.Helper()
	if err := w.Validate(t.Context(), argsOf(w.arrive(t, img, photo(1000)))); err != nil {
		t.Fatal(err)
	}
	got := w.image(t, img)
	if got.State != broker.StateInvalid || got.ETag == "" {
		t.Fatalf("the image is %s", got.State)
	}
	return got
}

// spare gives out the key of the attempt that the image would have next.
func (w *world) spare(t *testing.T, img broker.Image) string {
	t.Helper()
	now := w.clock.now()
	filename, ok, err := w.store.Spare(t.Context(), broker.RegisterBatch{
		ProjectID: img.ProjectID, Bucket: "A", Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(grantFor), By: w.by,
		Images: []broker.NewImage{{ID: img.ID}},
	})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return img.ProjectID + "/" + filename
}

// beginUpload begins an upload in parts at a key that does not end before the test.
func beginUpload(t *testing.T, d storage.Driver, b *storage.Bucket, key string) {
	t.Helper()
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = d.Put(context.Background(), key, r, storage.PutOptions{SizeBytes: -1})
	}()
	t.Cleanup(func() {
		w.CloseWithError(errors.New("the test is over"))
		<-ended
	})
	if _, err := w.Write(bytes.Repeat([]byte("x"), 17<<20)); err != nil { // a part, and a little
		t.Fatal(err)
	}
	if ups, err := b.Multiparts(t.Context(), key); err != nil || len(ups) == 0 {
		t.Fatalf("%+v, %v", ups, err)
	}
}

// TestOrphanClasses: each kind of object, what is said of it, and when it may go:
// not before its retention, and then at once.
func TestOrphanClasses(t *testing.T) {
	w := newOrphanage(t)
	p, removed, final := w.project(t), w.project(t), w.project(t)
	a := w.bucket(t, "A")

	ready := w.ready(t, w.register(t, p, "A", photo(1))[0], photo(1))
	open := w.register(t, p, "A", photo(2))[0]
	put(t, w.a, open.Key(), photo(2))
	invalid := w.invalid(t, w.register(t, p, "A", photo(3))[0])
	ended := w.invalid(t, w.register(t, p, "A", photo(4))[0])
	second := w.register(t, p, "A", photo(4))[0]
	if second.ID != ended.ID || second.Attempt != 2 {
		t.Fatalf("%+v is no further attempt", second)
	}
	two := w.register(t, p, "A", photo(5))[0]
	w.register(t, p, "B", photo(5))
	two = w.ready(t, two, photo(5))
	put(t, w.b, two.Key(), photo(5))
	spare := w.spare(t, ready)
	put(t, w.a, spare, photo(1))
	gone := w.ready(t, w.register(t, p, "A", photo(6))[0], photo(6))
	w.removeImage(t, gone)
	// Overwritten after its verdict, and not seen yet.
	news := w.invalid(t, w.register(t, p, "A", photo(7))[0])
	put(t, w.a, news.Key(), photo(7))

	stray, deep := p.ID+"/stray.jpg", p.ID+"/sub/folder/x"
	inRemoved, inFinal := removed.ID+"/x.jpg", final.ID+"/x.jpg"
	foreign := broker.NewID(w.clock.now()) + "/"
	left, probe := storage.CheckPrefix+broker.NewID(w.clock.now()), "uploadbroker-probe/x"
	outside := []string{"x.jpg", "other/x.jpg", strings.ToLower(foreign) + "x", foreign[:25] + "/x", "0/x", "uploadbroker-checks/x"}
	for _, key := range append(outside, stray, deep, inRemoved, inFinal, foreign+"x", foreign+"y", left, probe) {
		put(t, w.a, key, []byte("abc"))
	}
	w.removeProject(t, removed)
	w.removeProject(t, final)
	w.exec(t, `UPDATE projects SET sweep_at = NULL, final_at = now() WHERE id = $1`, final.ID)
	for _, key := range []string{open.Key(), ready.Key(), stray} {
		beginUpload(t, w.a.Bucket, a, key)
	}

	_, found := w.orphans(t, "A")
	written := found[stray].Modified
	if d := time.Since(written); d < 0 || d > time.Hour {
		t.Fatalf("the stray was written %v ago", d)
	}
	want := map[string]struct {
		class worker.OrphanClass
		kept  time.Duration // from when it was written
	}{
		invalid.Key(): {worker.OrphanInvalid, keepInvalid},
		ended.Key():   {worker.OrphanEnded, keepOrphans},
		stray:         {worker.OrphanMultipart, keepOrphans}, // it is both; see below
		deep:          {worker.OrphanStray, keepOrphans},
		inFinal:       {worker.OrphanStray, keepOrphans},
		left:          {worker.OrphanStray, keepOrphans},
		probe:         {worker.OrphanStray, keepOrphans},
		ready.Key():   {worker.OrphanMultipart, keepOrphans}, // the upload, not the object
		foreign:       {worker.OrphanForeign, 0},
	}
	for key, o := range found {
		c, ok := want[key]
		switch {
		case !ok:
			t.Errorf("%s is listed: %+v", key, o)
		case o.Class != c.class || o.Why == "" || o.Bucket != "A":
			t.Errorf("%s is %+v, want %s", key, o, c.class)
		case c.kept == 0 && !o.DueAt.IsZero(), c.kept > 0 && (o.DueAt.Sub(written)-c.kept).Abs() > time.Minute:
			t.Errorf("%s is due at %v, %v after it was written", key, o.DueAt, o.DueAt.Sub(written))
		}
	}
	for key := range want {
		if _, ok := found[key]; !ok {
			t.Errorf("%s is not listed", key)
		}
	}
	if f := found[foreign]; f.Objects != 2 || f.SizeBytes != 6 {
		t.Errorf("the foreign prefix has %+v", f)
	}
	if o := found[ended.Key()]; o.ImageID != ended.ID || o.Attempt != 1 {
		t.Errorf("the ended attempt is %+v", o)
	}
	if _, inB := w.orphans(t, "B"); len(inB) != 1 || inB[two.Key()].Class != worker.OrphanElsewhere {
		t.Errorf("in B there are %+v", inB)
	}

	// Nothing goes before its time, each goes when it comes, and by itself only
	// what rows prove to be over.
	w.clock.at(written.Add(keepOrphans - time.Minute))
	if got := append(w.sweepAll(t, "A"), w.sweepAll(t, "B")...); len(got) != 0 {
		t.Errorf("swept before any retention was over: %q", got)
	}
	_, found = w.orphans(t, "A") // the spare grant has ended
	if found[spare].Class != worker.OrphanStray {
		t.Errorf("the spare key, its grant over, is %+v", found[spare])
	}
	w.clock.at(written.Add(keepOrphans + time.Minute))
	if n := w.sweepPages(t, p, "A"); n != 1 || exists(t, w.a, ended.Key()) {
		t.Errorf("by itself the comparison swept %d", n)
	}
	if n, err := w.SweepMultiparts(t.Context(), a, p.ID); n != 2 || err != nil {
		t.Errorf("by itself it ended %d uploads, %v", n, err)
	}
	if got, want := w.sweepAll(t, "A"), []string{spare, stray, deep, inFinal, left, probe}; !sameKeys(got, want) {
		t.Errorf("swept %q, want %q", got, want)
	}
	if got := w.sweepAll(t, "B"); !sameKeys(got, []string{two.Key()}) {
		t.Errorf("in B swept %q", got)
	}
	w.clock.at(written.Add(keepInvalid - time.Minute))
	if n := w.sweepPages(t, p, "A"); n != 0 || !exists(t, w.a, invalid.Key()) {
		t.Errorf("an Invalid image's object went too early: %d", n)
	}
	w.clock.at(written.Add(keepInvalid + time.Minute))
	if n := w.sweepPages(t, p, "A"); n != 1 || exists(t, w.a, invalid.Key()) {
		t.Errorf("the comparison swept %d after an Invalid image's retention", n)
	}
	w.clock.pass(10 * keepInvalid)
	w.sweepAll(t, "A")
	for _, key := range append(outside, ready.Key(), open.Key(), two.Key(), gone.Key(), news.Key(), inRemoved, foreign+"x", foreign+"y") {
		if !exists(t, w.a, key) {
			t.Errorf("%s was swept", key)
		}
	}
	if ups, err := a.Multiparts(t.Context(), ""); err != nil || len(ups) != 1 || ups[0].Key != open.Key() {
		t.Errorf("of the uploads, there are %+v, %v", ups, err)
	}
}

func sameKeys(got, want []string) bool {
	slices.Sort(want)
	return slices.Equal(got, want)
}

// TestInvalidWaitsForItsGrants: while somebody can still write there, the object
// stays, however short the retention.
func TestInvalidWaitsForItsGrants(t *testing.T) {
	w := newOrphanage(t)
	w.Retention.Invalid = time.Second
	p := w.project(t)
	img := w.invalid(t, w.register(t, p, "A", photo(1))[0])
	ends := w.clock.now().Add(grantFor + broker.GraceAfterGrant)
	w.clock.at(ends.Add(-time.Minute))
	if n := w.sweepPages(t, p, "A"); n != 0 {
		t.Error("swept while a grant may be used")
	}
	w.clock.at(ends.Add(time.Minute))
	if n := w.sweepPages(t, p, "A"); n != 1 || exists(t, w.a, img.Key()) {
		t.Errorf("swept %d after the grants", n)
	}
}

// TestElsewhereWaitsForItsGrants of that bucket.
func TestElsewhereWaitsForItsGrants(t *testing.T) {
	w := newOrphanage(t)
	w.Retention.Orphans = time.Second
	p := w.project(t)
	img := w.register(t, p, "A", photo(1))[0]
	w.register(t, p, "B", photo(1))
	w.ready(t, img, photo(1))
	put(t, w.b, img.Key(), photo(1))
	ends := w.clock.now().Add(grantFor + broker.GraceAfterGrant)
	w.clock.at(ends.Add(-time.Minute))
	if got := w.sweepAll(t, "B"); len(got) != 0 {
		t.Errorf("swept %q while a grant may be used", got)
	}
	w.clock.at(ends.Add(time.Minute))
	if n := w.sweepPages(t, p, "B"); n != 0 {
		t.Errorf("swept %d by itself", n)
	}
	if got := w.sweepAll(t, "B"); !sameKeys(got, []string{img.Key()}) || !exists(t, w.a, img.Key()) {
		t.Errorf("swept %q", got)
	}
}

// TestNoRetentionKeeps: a worker that was told none sweeps nothing.
func TestNoRetentionKeeps(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	w.invalid(t, w.register(t, p, "A", photo(1))[0])
	ended := w.invalid(t, w.register(t, p, "A", photo(2))[0])
	w.register(t, p, "A", photo(2))
	put(t, w.a, p.ID+"/stray", []byte("x"))
	beginUpload(t, w.a.Bucket, w.bucket(t, "A"), ended.Key())
	w.clock.pass(10_000 * time.Hour)
	swept := w.sweepAll(t, "A")
	n, err := w.SweepMultiparts(t.Context(), w.bucket(t, "A"), p.ID)
	if len(swept) != 0 || n != 0 || err != nil || w.sweepPages(t, p, "A") != 0 {
		t.Errorf("swept %q and %d uploads, %v", swept, n, err)
	}
}

// TestSweepIsAudited, each deletion once, and an Invalid image knows of it: it can't
// be accepted any more.
func TestSweepIsAudited(t *testing.T) {
	w := newOrphanage(t)
	p := w.project(t)
	img := w.invalid(t, w.register(t, p, "A", photo(1))[0])
	stray := p.ID + "/stray.jpg"
	put(t, w.a, stray, []byte("x"))
	w.clock.pass(keepInvalid + time.Minute)
	if got := w.sweepAll(t, "A"); len(got) != 2 {
		t.Fatalf("swept %q", got)
	}
	for _, line := range []string{
		`audit WHERE action = 'image.sweep' AND image_id = '` + img.ID + `' AND detail->>'class' = 'INVALID' AND detail->>'attempt' = '1'
			AND detail->>'bucket' = 'A' AND detail->>'key' = '` + img.Key() + `'`,
		`audit WHERE action = 'project.sweep' AND project_id = '` + p.ID + `' AND detail->>'class' = 'STRAY' AND detail->>'key' = '` + stray + `'`,
		`images WHERE id = '` + img.ID + `' AND swept_at IS NOT NULL AND state = 'Invalid'`,
	} {
		if n := w.count(t, line); n != 1 {
			t.Errorf("%d of %s", n, line)
		}
	}
	if n := w.count(t, `audit WHERE action LIKE '%sweep%'`); n != 2 {
		t.Errorf("%d lines tell of two deletions", n)
	}
	// Of the same damaged image, all but the object would do.
	w.exec(t, `UPDATE images SET reasons = '{corrupt: x}' WHERE id = $1`, img.ID)
	_, _ = w.store.Accept(t.Context(), img, w.clock.now(), w.by)
	w.wantState(t, img, broker.StateInvalid, broker.ReasonCorrupt)
	w.exec(t, `UPDATE images SET swept_at = NULL WHERE id = $1`, img.ID)
	if _, err := w.store.Accept(t.Context(), img, w.clock.now(), w.by); err != nil {
		t.Fatal(err)
	}
	if got := w.image(t, img); got.State != broker.StateReady {
		t.Errorf("what was to show that the mark alone forbids it is %s", got.State)
	}
}

// TestListingsGrowOld: between a listing and its sweep, things change.
func TestListingsGrowOld(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, w *world, img broker.Image){
		"written again": func(t *testing.T, w *world, img broker.Image) { put(t, w.a, img.Key(), photo(77)) },
		"another attempt": func(t *testing.T, w *world, img broker.Image) {
			w.register(t, broker.Project{ID: img.ProjectID}, "A", photo(1))
		},
		"seen again": func(t *testing.T, w *world, img broker.Image) {
			w.arrive(t, img, photo(78))
		},
		"accepted": func(t *testing.T, w *world, img broker.Image) {
			w.exec(t, `UPDATE images SET reasons = '{corrupt: x}' WHERE id = $1`, img.ID)
			if _, err := w.store.Accept(t.Context(), img, w.clock.now(), w.by); err != nil {
				t.Fatal(err)
			}
		},
		"removed":         func(t *testing.T, w *world, img broker.Image) { w.removeImage(t, img) },
		"project removed": func(t *testing.T, w *world, img broker.Image) { w.removeProject(t, broker.Project{ID: img.ProjectID}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newOrphanage(t)
			p := w.project(t)
			img := w.invalid(t, w.register(t, p, "A", photo(1))[0])
			w.clock.pass(keepInvalid + time.Minute)
			listed, _ := w.orphans(t, "A")
			change(t, w, img)
			swept, err := w.SweepOrphans(t.Context(), w.bucket(t, "A"), listed)
			if len(listed) != 1 || len(swept) != 0 || err != nil || !exists(t, w.a, img.Key()) {
				t.Errorf("of %d listed, swept %+v, %v", len(listed), swept, err)
			}
			if n := w.count(t, `images WHERE swept_at IS NOT NULL`); n != 0 {
				t.Error("the image is marked as swept")
			}
		})
	}
	t.Run("a stray that is registered", func(t *testing.T) {
		w := newOrphanage(t)
		p := w.project(t)
		img := w.register(t, p, "A", photo(1))[0]
		w.exec(t, `DELETE FROM images`) // yesterday's backup
		put(t, w.a, img.Key(), photo(1))
		w.clock.pass(keepOrphans + time.Minute)
		listed, _ := w.orphans(t, "A")
		w.register(t, p, "A", photo(1))
		swept, err := w.SweepOrphans(t.Context(), w.bucket(t, "A"), listed)
		if len(listed) != 1 || len(swept) != 0 || err != nil || !exists(t, w.a, img.Key()) {
			t.Errorf("of %d listed, swept %+v, %v", len(listed), swept, err)
		}
		if n := w.count(t, `audit WHERE action = 'project.sweep.kept'`); n != 1 {
			t.Errorf("%d lines tell that it was kept", n)
		}
	})
}

// TestPlansGrowOld: also after a deletion was planned things may change, until the
// project is held. Here a registration under way keeps the sweep from that.
func TestPlansGrowOld(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, w *world, img broker.Image){
		"written again": func(t *testing.T, w *world, img broker.Image) { put(t, w.a, img.Key(), photo(77)) },
		"another attempt": func(t *testing.T, w *world, img broker.Image) {
			w.register(t, broker.Project{ID: img.ProjectID}, "A", photo(1))
		},
		"seen again": func(t *testing.T, w *world, img broker.Image) { w.arrive(t, img, photo(78)) },
		"removed":    func(t *testing.T, w *world, img broker.Image) { w.removeImage(t, img) },
		"in another bucket": func(t *testing.T, w *world, img broker.Image) {
			w.exec(t, `UPDATE images SET bucket = 'B' WHERE id = $1`, img.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOrphanage(t)
			p := w.project(t)
			img := w.invalid(t, w.register(t, p, "A", photo(1))[0])
			w.clock.pass(keepInvalid + time.Minute)
			listed, _ := w.orphans(t, "A")
			registering, err := w.store.Pool().Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer registering.Rollback(context.Background())
			if _, err := registering.Exec(t.Context(), `SELECT 1 FROM projects WHERE id = $1 FOR SHARE`, p.ID); err != nil {
				t.Fatal(err)
			}
			type result struct {
				swept []worker.Orphan
				err   error
			}
			done := make(chan result, 1)
			go func() {
				swept, err := w.SweepOrphans(context.Background(), w.bucket(t, "A"), listed)
				done <- result{swept, err}
			}()
			eventually(t, "the sweep waits", func() bool {
				return w.count(t, `pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%LockProjectAlone%'`) > 0
			})
			if w.count(t, `images WHERE swept_at IS NOT NULL`) != 1 || w.count(t, `audit WHERE action = 'image.sweep'`) != 1 {
				t.Error("what is about to be deleted is not stored before")
			}
			change(t, w, img)
			if err := registering.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if r := <-done; len(r.swept) != 0 || r.err != nil || !exists(t, w.a, img.Key()) {
				t.Errorf("swept %+v, %v", r.swept, r.err)
			}
			if n := w.count(t, `audit WHERE action = 'image.sweep.kept'`); n != 1 {
				t.Errorf("%d lines tell that it was kept", n)
			}
			if n := w.count(t, `images WHERE swept_at IS NOT NULL`); n != 0 {
				t.Error("the image counts as swept")
			}
		})
	}
}

// TestRegistrationWaitsForASweep: whoever registers the key that is being deleted
// gets his grant after the deletion, never before.
func TestRegistrationWaitsForASweep(t *testing.T) {
	w := newOrphanage(t)
	p := w.project(t)
	img := w.register(t, p, "A", photo(1))[0]
	w.exec(t, `DELETE FROM images`)
	put(t, w.a, img.Key(), photo(1))
	w.clock.pass(keepOrphans + time.Minute)

	registered := make(chan broker.Image, 1)
	var once sync.Once
	w.a.failing(func(op, _ string) error {
		if op != "delete" {
			return nil
		}
		once.Do(func() {
			go func() { registered <- w.register(t, p, "A", photo(1))[0] }()
			eventually(t, "the registration waits", func() bool {
				select {
				case early := <-registered:
					t.Error("it was granted while its key is being deleted")
					registered <- early
					return true
				default:
				}
				return w.count(t, `pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%LockForGrant%'`) > 0
			})
		})
		return nil
	})
	if got := w.sweepAll(t, "A"); len(got) != 1 {
		t.Fatalf("swept %q", got)
	}
	again := <-registered
	if again.Key() != img.Key() {
		t.Fatalf("the key is %s, not %s", again.Key(), img.Key())
	}
	w.a.failing(nil)
	w.ready(t, again, photo(1))
	w.sweepAll(t, "A")
	if !exists(t, w.a, img.Key()) {
		t.Error("its object is gone")
	}
}

// TestTwoSweepsAtOnce delete each object once.
func TestTwoSweepsAtOnce(t *testing.T) {
	w := newOrphanage(t)
	p := w.project(t)
	const n = 120 // more than two batches
	for i := range n {
		put(t, w.a, p.ID+"/stray-"+string(rune('a'+i%26))+"-"+string(rune('a'+i/26)), []byte("x"))
	}
	img := w.invalid(t, w.register(t, p, "A", photo(1))[0])
	w.clock.pass(keepInvalid + time.Minute)
	listed, _ := w.orphans(t, "A")
	w.a.counted("delete")
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		all []string
	)
	for range 3 {
		wg.Go(func() {
			swept, err := w.SweepOrphans(context.Background(), w.bucket(t, "A"), listed)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			all = append(all, keysOf(swept)...)
		})
	}
	wg.Wait()
	slices.Sort(all)
	if len(all) != n+1 || len(slices.Compact(all)) != n+1 || w.a.counted("delete") != n+1 {
		t.Errorf("%d were swept of %d", len(all), n+1)
	}
	if w.count(t, `images WHERE id = $1 AND swept_at IS NOT NULL`, img.ID) != 1 {
		t.Error("the Invalid image does not know that its object went")
	}
}

// TestSweepOfASilentBucket: what was certainly not deleted is not said to be; where
// the deletion itself is not answered, nothing is relied on.
func TestSweepOfASilentBucket(t *testing.T) {
	for op, marked := range map[string]int{"stat": 0, "delete": 1} {
		t.Run(op, func(t *testing.T) {
			w := newOrphanage(t)
			p := w.project(t)
			img := w.invalid(t, w.register(t, p, "A", photo(1))[0])
			w.clock.pass(keepInvalid + time.Minute)
			listed, _ := w.orphans(t, "A")
			w.a.failing(func(o, _ string) error {
				if o == op {
					return errFault
				}
				return nil
			})
			swept, err := w.SweepOrphans(t.Context(), w.bucket(t, "A"), listed)
			if len(swept) != 0 || broker.CodeOf(err) != broker.CodeUnavailable {
				t.Errorf("swept %+v, %v", swept, err)
			}
			if n := w.count(t, `images WHERE swept_at IS NOT NULL`); n != marked {
				t.Errorf("%d images are marked, want %d", n, marked)
			}
			w.a.failing(nil)
			if got := w.sweepAll(t, "A"); !sameKeys(got, []string{img.Key()}) {
				t.Errorf("then swept %q", got)
			}
		})
	}
}

// patientDriver tells until when its caller would have waited.
type patientDriver struct {
	*faultyDriver
	hung chan time.Time // when the context was to end
}

func (d *patientDriver) Stat(ctx context.Context, key string) (storage.Object, error) {
	at, ok := ctx.Deadline()
	if !ok {
		return storage.Object{}, errors.New("a request without end while registrations wait")
	}
	d.hung <- at
	return storage.Object{}, errFault
}

// TestAHangingBucketIsGivenUp within 20 seconds, for registrations wait for it.
func TestAHangingBucketIsGivenUp(t *testing.T) {
	w := newOrphanage(t)
	p := w.project(t)
	put(t, w.a, p.ID+"/stray", []byte("x"))
	w.clock.pass(keepOrphans + time.Minute)
	listed, _ := w.orphans(t, "A")
	d := &patientDriver{w.a, make(chan time.Time, 1)}
	_, err := w.SweepOrphans(t.Context(), bucketOver(t, "A", d), listed)
	if broker.CodeOf(err) != broker.CodeUnavailable {
		t.Fatal(err)
	}
	if left := time.Until(<-d.hung); left > 20*time.Second {
		t.Errorf("registrations would wait for %v", left)
	}
}
