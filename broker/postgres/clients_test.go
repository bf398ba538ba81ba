package postgres_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// TestWindows walks a list of images and one of projects from both ends, in
// windows of every size: together they are the list, and "more" is true but at
// its end.
func TestWindows(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	if _, err := f.Register(t.Context(), f.batchOf(p.ID, "A", 1, 2, 3, 4, 5, 6, 7)); err != nil {
		t.Fatal(err)
	}
	f.exec(t, `UPDATE images SET state = 'Removed', removed_at = now(), removed_from = 'Pending', undo_until = now() WHERE declared_sha1 = $1`, digestOf(4))
	f.exec(t, `UPDATE images SET state = 'Uploading', started_at = now() WHERE declared_sha1 = any($1)`, [][]byte{digestOf(2), digestOf(6)})
	all := scan[[]string](t, f, `SELECT array_agg(id::text ORDER BY id) FROM images WHERE state <> 'Removed'`)
	uploading := scan[[]string](t, f, `SELECT array_agg(id::text ORDER BY id) FROM images WHERE state = 'Uploading'`)
	for range 4 {
		f.newProject(t)
	}
	projects := scan[[]string](t, f, `SELECT array_agg(id::text ORDER BY id DESC) FROM projects`)

	images := func(state broker.State) func(broker.Window) []string {
		return func(w broker.Window) (ids []string) {
			list, err := f.WindowImages(t.Context(), p.ID, state, w)
			if err != nil {
				t.Fatal(err)
			}
			for _, img := range list {
				ids = append(ids, img.ID)
			}
			return ids
		}
	}
	for name, c := range map[string]struct {
		want []string
		ask  func(broker.Window) []string
	}{
		"images": {all, images("")}, "uploading": {uploading, images(broker.StateUploading)},
		"projects": {projects, func(w broker.Window) (ids []string) {
			list, total, err := f.WindowProjects(t.Context(), f.owner.ID, "", "", w)
			if err != nil || total != len(projects) {
				t.Fatalf("%d projects in all, %v", total, err)
			}
			for _, p := range list {
				ids = append(ids, p.ID)
			}
			return ids
		}},
	} {
		for size := 1; size <= len(c.want)+1; size++ {
			var forth, back []string
			after, before := "", ""
			for {
				got := c.ask(broker.Window{After: after, Limit: size})
				more := len(got) > size
				forth = append(forth, got[:min(size, len(got))]...)
				if !more {
					break
				}
				after = forth[len(forth)-1]
			}
			for {
				got := c.ask(broker.Window{Before: before, Limit: size, FromEnd: true})
				more := len(got) > size
				back = append(slices.Clone(got[max(0, len(got)-size):]), back...)
				if !more {
					break
				}
				before = back[0]
			}
			if !slices.Equal(forth, c.want) || !slices.Equal(back, c.want) {
				t.Errorf("%s by %d: forth %v, back %v, want %v", name, size, forth, back, c.want)
			}
		}
		if got := c.ask(broker.Window{After: c.want[0], Before: c.want[len(c.want)-1], Limit: 10}); !slices.Equal(got, c.want[1:len(c.want)-1]) {
			t.Errorf("%s between the ends: %v", name, got)
		}
	}
}

func digestOf(n int) []byte {
	d := digest(n)
	return d[:]
}

func TestSearchOfProjects(t *testing.T) {
	f := open(t)
	var ids []string
	for _, name := range []string{"North face", "100%_sure", "south"} {
		p := broker.Project{ID: broker.NewID(time.Now()), OwnerID: f.owner.ID, Name: name, Kind: broker.KindRecon, CreatedAt: time.Now()}
		if err := f.CreateProject(t.Context(), p, f.by); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, p.ID)
	}
	for _, c := range []struct {
		search string
		want   int
	}{{"", 3}, {"FACE", 1}, {"%_s", 1}, {"%", 1}, {"o", 2}, {"nowhere", 0}, {ids[0], 1}, {ids[0][:5], 3}, {"'; --", 0}} {
		list, total, err := f.WindowProjects(t.Context(), f.owner.ID, "", c.search, broker.Window{Limit: 10})
		if err != nil || len(list) != c.want || total != c.want {
			t.Errorf("%q finds %d of %d, want %d: %v", c.search, len(list), total, c.want, err)
		}
	}
	if list, err := f.ProjectsByPrefix(t.Context(), f.owner.ID, ids[1], ids[1][:20], 10); err != nil || len(list) != 1 || list[0].ID != ids[1] {
		t.Errorf("a key tied to one project finds %v: %v", list, err)
	}
	if list, err := f.ProjectsByPrefix(t.Context(), broker.NewID(time.Now()), "", "", 10); err != nil || len(list) != 0 {
		t.Errorf("another owner finds %v: %v", list, err)
	}
}

func TestStats(t *testing.T) {
	f := open(t)
	p, empty := f.newProject(t), f.newProject(t)
	if _, err := f.Register(t.Context(), f.batchOf(p.ID, "A", 1, 2, 3)); err != nil {
		t.Fatal(err)
	}
	f.exec(t, `UPDATE images SET state = 'Ready', bucket = 'A', etag = 'e', object_size = 1, proven_sha1 = declared_sha1, proven_size = 1, crc32 = 1,
	           judged_at = now(), facts = '{"width": 4000, "height": 3000}' WHERE declared_sha1 <> $1`, digestOf(3))
	stats, err := f.StatsOf(t.Context(), []string{p.ID, empty.ID})
	if err != nil || stats[p.ID].Pixels != 24_000_000 || stats[p.ID].Counts[broker.StateReady] != 2 || stats[p.ID].Counts[broker.StatePending] != 1 {
		t.Errorf("%+v %v", stats, err)
	}
}

// TestSparePlacesAreSweptToo: removal deletes at every key that a grant named,
// the one of an attempt that never came among them.
func TestSparePlacesAreSweptToo(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	images, err := f.Register(t.Context(), f.batchOf(p.ID, "A", 1))
	if err != nil {
		t.Fatal(err)
	}
	img := images[0]
	spare := f.batchOf(p.ID, "B", 1)
	spare.Images[0].ID = img.ID
	spare.ExpiresAt = time.Now().Add(50 * time.Hour)
	if _, ok, err := f.Spare(t.Context(), spare); ok || err != nil {
		t.Errorf("an open image has a spare place: %v", err)
	}
	if n, err := f.See(t.Context(), p.ID, "A", []broker.Seen{{Filename: img.Filename, ETag: "e", SizeBytes: 1}}, time.Now()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	name, ok, err := f.Spare(t.Context(), spare)
	if want := filename(1, 2); !ok || err != nil || name != want {
		t.Fatalf("the spare place is %q, want %q: %v", name, want, err)
	}
	now := time.Now()
	if err := f.RemoveImage(t.Context(), p.ID, img.ID, now.Add(-time.Hour), now.Add(-time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	removed, err := f.ClaimRemovedImages(t.Context(), now, 10)
	want := []postgres.Place{{Bucket: "A", Key: img.Key()}, {Bucket: "B", Key: p.ID + "/" + name}}
	if err != nil || len(removed) != 1 || !slices.Contains(removed[0].Places, want[0]) || !slices.Contains(removed[0].Places, want[1]) {
		t.Errorf("swept are %+v, want %v: %v", removed, want, err)
	}
	if removed[0].GrantsEnd.Before(now.Add(49 * time.Hour)) {
		t.Errorf("the sweep waits only until %v for the spare grant", removed[0].GrantsEnd)
	}
}

// TestACopyAndAnUploadAtOnce: a client with a grant and the broker's copy bring
// the same image at the same moment; one of them is believed, and judged.
func TestACopyAndAnUploadAtOnce(t *testing.T) {
	f := open(t)
	from, to := f.newProject(t), f.newProject(t)
	for i := range 20 {
		src, err := f.Register(t.Context(), f.batchOf(from.ID, "A", i))
		if err != nil {
			t.Fatal(err)
		}
		dst, err := f.Register(t.Context(), f.batchOf(to.ID, "A", i))
		if err != nil {
			t.Fatal(err)
		}
		source := src[0]
		source.ProvenSHA1, source.ProvenBytes, source.CRC32 = source.SHA1, 5, 9
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := f.See(t.Context(), to.ID, "A", []broker.Seen{{Filename: dst[0].Filename, ETag: "uploaded", SizeBytes: 5}}, time.Now()); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			copied := broker.Seen{Bucket: "A", ProjectID: to.ID, Filename: dst[0].Filename, ETag: "copied", SizeBytes: 5}
			img, err := f.Copied(t.Context(), copied, source, true, time.Now(), f.by)
			if err != nil || img.ID != dst[0].ID {
				t.Errorf("%+v %v", img, err)
			}
		})
		wg.Wait()
		// Whoever came last is what lies there and what the image holds; what is
		// not the proven copy waits for its validation.
		got := scan[string](t, f, `SELECT state || ' ' || etag FROM images WHERE id = $1`, dst[0].ID)
		jobs := scan[int](t, f, `SELECT count(*) FROM river_job WHERE args->>'image_id' = $1 AND args->>'etag' = 'uploaded'`, dst[0].ID)
		if got == "Uploaded uploaded" && jobs == 1 || got == "Ready copied" {
			continue
		}
		t.Errorf("run %d ended as %q with %d jobs", i, got, jobs)
	}
}

// TestACopyThatALookSawFirst: its verdict is known all the same, and needs no check.
func TestACopyThatALookSawFirst(t *testing.T) {
	f := open(t)
	from, to := f.newProject(t), f.newProject(t)
	for i, proven := range []bool{true, false} {
		src, err := f.Register(t.Context(), f.batchOf(from.ID, "A", i))
		if err != nil {
			t.Fatal(err)
		}
		dst, err := f.Register(t.Context(), f.batchOf(to.ID, "A", i))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := f.See(t.Context(), to.ID, "A", []broker.Seen{{Filename: dst[0].Filename, ETag: "copied", SizeBytes: 5}}, time.Now()); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		source := src[0]
		source.ProvenSHA1, source.ProvenBytes, source.CRC32 = source.SHA1, 5, 9
		copied := broker.Seen{Bucket: "A", ProjectID: to.ID, Filename: dst[0].Filename, ETag: "copied", SizeBytes: 5}
		want := map[bool]broker.State{true: broker.StateReady, false: broker.StateUploaded}[proven]
		if img, err := f.Copied(t.Context(), copied, source, proven, time.Now(), f.by); err != nil || img.State != want {
			t.Errorf("proven %v: it is %s, want %s: %v", proven, img.State, want, err)
		}
		if jobs := scan[int](t, f, `SELECT count(*) FROM river_job WHERE args->>'image_id' = $1`, dst[0].ID); jobs != 1 {
			t.Errorf("proven %v: %d validations, want the look's", proven, jobs)
		}
	}
}

func TestFetchFailed(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	fetch := func(n int) broker.FetchArgs {
		t.Helper()
		b := f.batchOf(p.ID, "A", n)
		b.Kind, b.FetchURL = broker.GrantFetch, "http://example.com/a.jpg?secret"
		images, err := f.Register(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		jobs := scan[int](t, f, `SELECT count(*) FROM river_job WHERE kind = 'fetch' AND args->>'image_id' = $1 AND NOT args ? 'url'`, images[0].ID)
		if jobs != 1 {
			t.Errorf("%d jobs fetch it", jobs)
		}
		return broker.FetchArgs{ImageID: images[0].ID, Attempt: images[0].Attempt, Bucket: "A"}
	}
	alone := fetch(1)
	if img, url, ok, err := f.ToFetch(t.Context(), alone); !ok || err != nil || img.ID != alone.ImageID || url != "http://example.com/a.jpg?secret" {
		t.Errorf("to fetch: %s of %+v %t %v", url, img, ok, err)
	}
	former := alone
	former.URL = "http://example.com/former"
	if _, url, ok, err := f.ToFetch(t.Context(), former); !ok || err != nil || url != former.URL {
		t.Errorf("a job of the former version fetches %s: %t %v", url, ok, err)
	}
	if moved, err := f.FetchFailed(t.Context(), alone, "example.com answered 404", time.Now()); !moved || err != nil {
		t.Errorf("moved %t, %v", moved, err)
	}
	images, err := f.ByID(t.Context(), p.ID, []string{alone.ImageID})
	if err != nil || images[0].State != broker.StateInvalid || images[0].Reasons[0].String() != "expired: example.com answered 404" {
		t.Errorf("then it is %+v: %v", images, err)
	}
	if _, _, ok, err := f.ToFetch(t.Context(), alone); ok || err != nil {
		t.Errorf("what is judged is to be fetched: %v", err)
	}

	// A client who has a grant of his own may still bring it.
	both := fetch(2)
	if _, err := f.Register(t.Context(), f.batchOf(p.ID, "B", 2)); err != nil {
		t.Fatal(err)
	}
	if moved, err := f.FetchFailed(t.Context(), both, "gone", time.Now()); moved || err != nil {
		t.Errorf("moved %t although a client may upload, %v", moved, err)
	}
	if moved, err := f.FetchFailed(t.Context(), both, "gone", time.Now().Add(100*time.Hour)); !moved || err != nil {
		t.Errorf("moved %t after the client's grant, %v", moved, err)
	}
	if moved, err := f.FetchFailed(t.Context(), broker.FetchArgs{ImageID: both.ImageID, Attempt: 9}, "gone", time.Now()); moved || err != nil {
		t.Errorf("another attempt moved %t, %v", moved, err)
	}
}
