package worker_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/worker"
)

// The design's price of a look: the lesser of one HEAD for each open image and a
// LIST from the start of the prefix.

// crowd is a world whose bucket A is a stand-in, with some images open.
func crowd(t *testing.T, open int) (w *world, d *standInDriver, p broker.Project, keys []string) {
	t.Helper()
	w, d = newStore(t), &standInDriver{}
	w.Worker = w.newWorker(t, bucketOver(t, "A", d))
	p = w.project(t)
	for n := 0; n < open; {
		now := time.Now()
		b := broker.RegisterBatch{ProjectID: p.ID, Bucket: "A", Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(grantFor), By: w.by}
		for range min(1000, open-n) {
			b.Images = append(b.Images, broker.NewImage{ID: broker.NewID(now), Name: "a.jpg", SHA1: randomSHA1(), SizeBytes: 3, Type: "image/jpeg", Ext: "jpg"})
			n++
		}
		images, err := w.store.Register(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		for _, img := range images {
			keys = append(keys, img.Key())
		}
	}
	return w, d, p, keys
}

func randomSHA1() (d broker.SHA1) {
	for i := range d {
		d[i] = byte(rand.Uint32())
	}
	return d
}

// claimAndLook looks as a worker does, with what the last look learnt.
func (w *world) claimAndLook(t *testing.T, d *standInDriver) (worker.Looked, int) {
	t.Helper()
	w.exec(t, `UPDATE watches SET next_look_at = now()`)
	watches, err := w.store.ClaimWatches(t.Context(), map[string]int{"A": 10})
	if err != nil || len(watches) != 1 {
		t.Fatalf("%+v, %v", watches, err)
	}
	d.requests = 0
	l, err := w.Look(t.Context(), watches[0])
	if err != nil {
		t.Fatal(err)
	}
	if l.Requests != d.requests {
		t.Errorf("the look counts %d requests, the bucket %d", l.Requests, d.requests)
	}
	return l, d.requests
}

func TestTenThousandOpenInAnEmptyPrefix(t *testing.T) {
	const open = 10_000
	w, d, p, keys := crowd(t, open)
	l, n := w.claimAndLook(t, d)
	if l.Open != open || l.Moved != 0 || n > 12 {
		t.Errorf("nothing there: %+v for %d requests", l, n)
	}
	for i := range 50 { // others' objects around the prefix cost nothing
		d.keys = append(d.keys, fmt.Sprintf("%s/%d", broker.NewID(time.Now()), i), fmt.Sprintf("%s0%d", p.ID, i))
	}
	d.keys = append(d.keys, keys[:open/2]...)
	slices.Sort(d.keys)
	if l, n = w.claimAndLook(t, d); l.Moved != open/2 || n > 12 {
		t.Errorf("half of them there: %+v for %d requests", l, n)
	}
	d.keys = append(d.keys, keys[open/2:]...)
	slices.Sort(d.keys)
	if l, n = w.claimAndLook(t, d); l.Moved != open/2 || n > 12 {
		t.Errorf("all of them there: %+v for %d requests", l, n)
	}
	if n := w.count(t, `river_job`); n != open {
		t.Errorf("%d jobs for %d images", n, open)
	}
}

func TestAHundredOpenAmongAHundredThousand(t *testing.T) {
	const open, objects = 100, 100_000
	w, d, p, keys := crowd(t, open)
	for range objects {
		d.keys = append(d.keys, fmt.Sprintf("%s/%s.jpg", p.ID, randomSHA1()))
	}
	slices.Sort(d.keys)
	for look := range 3 {
		l, n := w.claimAndLook(t, d)
		if l.Open != open || l.Moved != 0 || n > 101 {
			t.Errorf("look %d, nothing there: %+v for %d requests", look, l, n)
		}
	}
	d.keys = append(d.keys, keys[:open-1]...)
	slices.Sort(d.keys)
	if l, n := w.claimAndLook(t, d); l.Moved != open-1 || n > 101 {
		t.Errorf("all but one there: %+v for %d requests", l, n)
	}
	// What waits still is asked for alone.
	if l, n := w.claimAndLook(t, d); l.Open != 1 || n != 1 {
		t.Errorf("one left: %+v for %d requests", l, n)
	}
}

// TestAFewOpenAreAskedForByThemselves: the images that lie there already tell how
// long the LIST would be, before there ever was one.
func TestAFewOpenAreAskedForByThemselves(t *testing.T) {
	w, d, p, _ := crowd(t, 3)
	for range 5000 {
		d.keys = append(d.keys, fmt.Sprintf("%s/%s.jpg", p.ID, randomSHA1()))
	}
	slices.Sort(d.keys)
	w.exec(t, `INSERT INTO images (id, project_id, name, state, attempt, filename, grants_end, created_at, bucket, etag, object_size, uploaded_at)
		SELECT overlay($1::text placing lpad(n::text, 8, '0') from 19), $1, 'a', 'Uploaded', 1, n || '.jpg', now(), now(), 'A', 'e', 3, now()
		FROM generate_series(1, 5000) n`, p.ID)
	if l, n := w.claimAndLook(t, d); l.Open != 3 || n != 3 {
		t.Errorf("%+v for %d requests", l, n)
	}
}

// TestPauses: what finds nothing is asked ever more rarely, to a minute.
func TestPauses(t *testing.T) {
	w, d, _, keys := crowd(t, 2)
	pause := func() (p time.Duration) {
		t.Helper()
		if err := w.store.Pool().QueryRow(t.Context(), `SELECT pause FROM watches`).Scan(&p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	last := pause()
	for range 60 {
		w.claimAndLook(t, d)
		now := pause()
		if now < last || now == last && now != time.Minute || now > time.Minute {
			t.Errorf("after %v it waits %v", last, now)
		}
		last = now
	}
	if last != time.Minute {
		t.Errorf("it waits %v at most", last)
	}
	d.keys = keys[:1]
	if w.claimAndLook(t, d); pause() != time.Second {
		t.Errorf("after something came it waits %v", pause())
	}
	d.keys = slices.Sorted(slices.Values(keys))
	w.claimAndLook(t, d)
	w.claimAndLook(t, d) // nothing is open any more
	if n := w.count(t, `watches WHERE next_look_at IS NOT NULL`); n != 0 {
		t.Error("a watch with nothing to wait for is awake")
	}
	if w, err := w.store.ClaimWatches(t.Context(), map[string]int{"A": 10}); err != nil || len(w) != 0 {
		t.Errorf("a sleeping watch was claimed: %+v, %v", w, err)
	}
}
