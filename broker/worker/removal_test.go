package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// sweep does once what runs every quarter of a minute.
func (w *world) sweep(t *testing.T) {
	t.Helper()
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) removeImage(t *testing.T, img broker.Image) {
	t.Helper()
	now := w.clock.now()
	if err := w.store.RemoveImage(t.Context(), img.ProjectID, img.ID, now, now.Add(broker.UndoWindow), w.by); err != nil {
		t.Fatal(err)
	}
}

// undoWindow is how long nothing may be deleted: undo, and a minute for clocks
// that differ.
const undoWindow = broker.UndoWindow + time.Minute

func TestRemovedImage(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data, other := photo(1), photo(2)
	images := w.register(t, p, "A", data, other)
	w.register(t, p, "B", data) // a grant in B too
	img, kept := w.ready(t, images[0], data), w.ready(t, images[1], other)
	put(t, w.b, img.Key(), data) // not seen, and yet there by a grant

	w.removeImage(t, img)
	w.clock.pass(undoWindow - 10*time.Second)
	w.sweep(t)
	if !exists(t, w.a, img.Key()) || !exists(t, w.b, img.Key()) {
		t.Fatal("objects were deleted while undo was possible")
	}
	w.clock.pass(20 * time.Second)
	w.sweep(t)
	if exists(t, w.a, img.Key()) || exists(t, w.b, img.Key()) {
		t.Error("its objects are there after undo's time")
	}
	if !exists(t, w.a, kept.Key()) {
		t.Fatal("another image's object was deleted")
	}

	// Its grant lives on: who writes again writes in vain, and the removal is not
	// final before that can't happen any more.
	put(t, w.a, img.Key(), data)
	w.sweep(t)
	if n := w.count(t, `images WHERE id = $1`, img.ID); n != 1 {
		t.Fatal("the row is gone while a grant lives")
	}
	w.clock.pass(grantFor - undoWindow + broker.GraceAfterGrant)
	w.sweep(t)
	if exists(t, w.a, img.Key()) {
		t.Error("what came by a grant after the first sweep is there")
	}
	if n := w.count(t, `images WHERE id = $1`, img.ID); n != 1 {
		t.Error("final at once, though something was found")
	}
	w.clock.pass(time.Minute)
	w.sweep(t)
	if n := w.count(t, `images WHERE id = $1`, img.ID); n != 0 {
		t.Error("the row stays, though nothing was found after the last grant")
	}
	if n := w.count(t, `audit WHERE image_id = $1`, img.ID); n == 0 {
		t.Error("the audit forgot it")
	}
	w.wantState(t, kept, broker.StateReady)
}

func TestUndoneImageKeepsItsObject(t *testing.T) {
	w := newWorld(t)
	data := photo(1)
	img := w.ready(t, w.register(t, w.project(t), "A", data)[0], data)
	w.removeImage(t, img)
	w.clock.pass(broker.UndoWindow - time.Second)
	if err := w.store.UndoRemoveImage(t.Context(), img.ProjectID, img.ID, w.clock.now(), w.by); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(100 * time.Hour)
	w.sweep(t)
	if !exists(t, w.a, img.Key()) {
		t.Error("the object of an undone removal was deleted")
	}
	w.wantState(t, img, broker.StateReady)
}

// TestASpareGrantOfARemovedImage: old scripts PUT what is Ready once more, to a key
// that the image would have next. Its successor must not get that one.
func TestASpareGrantOfARemovedImage(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data := photo(1)
	first := w.ready(t, w.register(t, p, "A", data)[0], data)
	now := w.clock.now()
	spare, ok, err := w.store.Spare(t.Context(), broker.RegisterBatch{
		ProjectID: p.ID, Bucket: "A", Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(grantFor), By: w.by, Images: []broker.NewImage{{ID: first.ID}},
	})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	w.removeImage(t, first)
	second := w.register(t, p, "A", data)[0]
	if second.Filename == spare || second.Filename == first.Filename {
		t.Fatalf("the successor's file is %s, which the removed image's grants may write", second.Filename)
	}
	w.ready(t, second, data)
	put(t, w.a, p.ID+"/"+spare, data)
	for range 4 {
		w.clock.pass(grantFor)
		w.sweep(t)
	}
	if exists(t, w.a, first.Key()) || exists(t, w.a, p.ID+"/"+spare) {
		t.Error("the removed image's objects are there")
	}
	if !exists(t, w.a, second.Key()) {
		t.Error("the successor's object was deleted")
	}
	w.wantState(t, second, broker.StateReady)
}

// TestRemovedImageSparesItsSuccessor: the same file, registered again after a
// removal, has a key of its own.
func TestRemovedImageSparesItsSuccessor(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data := photo(1)
	first := w.ready(t, w.register(t, p, "A", data)[0], data)
	w.removeImage(t, first)
	second := w.ready(t, w.register(t, p, "A", data)[0], data)
	for range 4 {
		w.clock.pass(grantFor)
		w.sweep(t)
	}
	if exists(t, w.a, first.Key()) || w.count(t, `images WHERE id = $1`, first.ID) != 0 {
		t.Error("the removed one is there still")
	}
	if !exists(t, w.a, second.Key()) {
		t.Error("its successor's object was deleted")
	}
}

// TestRemovalWaitsForASilentBucket: not knowing is not empty.
func TestRemovalWaitsForASilentBucket(t *testing.T) {
	w := newWorld(t)
	p, q := w.project(t), w.project(t)
	data := photo(1)
	img := w.ready(t, w.register(t, p, "A", data)[0], data)
	w.register(t, q, "A", data)
	put(t, w.b, q.ID+"/stray", data)
	w.removeImage(t, img)
	w.removeProject(t, q)
	for _, failing := range []string{"stat list", "delete"} {
		fail := func(op, _ string) error {
			if strings.Contains(failing, op) {
				return errFault
			}
			return nil
		}
		w.a.failing(fail)
		w.b.failing(fail)
		for range 3 {
			w.clock.pass(grantFor)
			if err := w.Sweep(t.Context()); broker.CodeOf(err) != broker.CodeUnavailable {
				t.Errorf("%s fails, and the sweep says %v", failing, err)
			}
		}
		if w.count(t, `images WHERE id = $1`, img.ID) != 1 || w.count(t, `projects WHERE final_at IS NOT NULL`) != 0 {
			t.Fatalf("a removal became final while %s failed", failing)
		}
	}
	w.a.failing(nil)
	w.b.failing(nil)
	for range 3 {
		w.clock.pass(time.Hour)
		w.sweep(t)
	}
	if exists(t, w.a, img.Key()) || exists(t, w.b, q.ID+"/stray") || w.count(t, `images WHERE id = $1`, img.ID) != 0 || w.count(t, `projects WHERE final_at IS NOT NULL`) != 1 {
		t.Error("a removal is not finished after the bucket came back")
	}
}

func (w *world) removeProject(t *testing.T, p broker.Project) {
	t.Helper()
	now := w.clock.now()
	if _, err := w.store.RemoveProject(t.Context(), p.ID, now, now.Add(broker.UndoWindow), w.by); err != nil {
		t.Fatal(err)
	}
}

func (w *world) final(t *testing.T, p broker.Project) bool {
	t.Helper()
	return w.count(t, `projects WHERE id = $1 AND final_at IS NOT NULL`, p.ID) == 1
}

func TestRemovedProject(t *testing.T) {
	w := newWorld(t)
	// Ids that begin alike, one before and one after it in the order of keys.
	const id = "01ARZ3NDEKTSV4RRFFQ69G5FA1"
	before, p, after := w.projectOf(t, id[:25]+"0"), w.projectOf(t, id), w.projectOf(t, id[:25]+"2")
	data := photo(1)
	var others []broker.Image
	for _, q := range []broker.Project{before, after} {
		others = append(others, w.ready(t, w.register(t, q, "A", data)[0], data))
		put(t, w.b, q.ID+"/kept", data)
	}
	img := w.ready(t, w.register(t, p, "A", data)[0], data)
	// Strays below the prefix, also in a bucket where nobody had a grant, and
	// keys beside it that are nobody's.
	strays := []string{id + "/stray", id + "/sub/stray", id + "/0", id + "/~"}
	beside := []string{id + "0/x", id[:25] + "/x", id + "-x/x"}
	for _, key := range append(strays, beside...) {
		put(t, w.a, key, data)
		put(t, w.b, key, data)
	}

	w.removeProject(t, p)
	w.clock.pass(undoWindow - 10*time.Second)
	w.sweep(t)
	if !exists(t, w.a, img.Key()) || !exists(t, w.b, strays[0]) {
		t.Fatal("objects were deleted while undo was possible")
	}
	w.clock.pass(20 * time.Second)
	w.sweep(t)
	for _, key := range append(strays, img.Key()) {
		if exists(t, w.a, key) || exists(t, w.b, key) {
			t.Errorf("%s is there after undo's time", key)
		}
	}
	if w.final(t, p) {
		t.Error("final while a grant lives")
	}

	put(t, w.a, img.Key(), data) // through the grant that lives
	w.clock.pass(grantFor - undoWindow + broker.GraceAfterGrant)
	w.sweep(t)
	if exists(t, w.a, img.Key()) {
		t.Error("what came by a grant after the first sweep is there")
	}
	if w.final(t, p) {
		t.Error("final at once, though something was found")
	}
	w.clock.pass(time.Minute)
	w.sweep(t)
	if !w.final(t, p) || w.count(t, `images WHERE project_id = $1`, p.ID) != 0 || w.count(t, `watches WHERE project_id = $1`, p.ID) != 0 {
		t.Error("not final, though nothing was found after the last grant")
	}

	for _, key := range beside {
		if !exists(t, w.a, key) || !exists(t, w.b, key) {
			t.Errorf("%s was deleted, which is not below the prefix", key)
		}
	}
	for i, other := range others {
		if !exists(t, w.a, other.Key()) || !exists(t, w.b, other.ProjectID+"/kept") {
			t.Errorf("project %d lost objects", i)
		}
		w.wantState(t, other, broker.StateReady)
	}
}

func TestUndoneProjectKeepsItsObjects(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	data, second := photo(1), photo(2)
	images := w.register(t, p, "A", data, second)
	ready := w.ready(t, images[0], data)
	uploaded := w.arrive(t, images[1], second)
	w.removeProject(t, p)
	// Its jobs find nothing to do meanwhile.
	if err := w.Validate(t.Context(), argsOf(uploaded)); err != nil {
		t.Fatal(err)
	}
	w.exec(t, `DELETE FROM river_job`)
	w.clock.pass(broker.UndoWindow - time.Second)
	w.sweep(t)
	if n := w.count(t, `river_job`); n != 0 {
		t.Errorf("%d jobs were queued in a removed project", n)
	}
	if _, err := w.store.UndoRemoveProject(t.Context(), p.ID, w.clock.now(), w.by); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(100 * time.Hour)
	w.sweep(t)
	if !exists(t, w.a, ready.Key()) || !exists(t, w.a, uploaded.Key()) {
		t.Error("objects of an undone removal were deleted")
	}
	if n := w.count(t, `river_job`); n != 1 {
		t.Errorf("%d validations are queued for what was not judged", n)
	}
	if err := w.Validate(t.Context(), argsOf(uploaded)); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, uploaded, broker.StateReady)
}

// TestRemovedBeforeItArrived: that nothing is there means nothing while a grant
// lives.
func TestRemovedBeforeItArrived(t *testing.T) {
	w := newWorld(t)
	p, q := w.project(t), w.project(t)
	data := photo(1)
	img, inQ := w.register(t, p, "A", data)[0], w.register(t, q, "A", data)[0]
	w.removeImage(t, img)
	w.removeProject(t, q)
	w.clock.pass(undoWindow + time.Second)
	w.sweep(t)
	if w.count(t, `images WHERE id = $1`, img.ID) != 1 || w.final(t, q) {
		t.Fatal("final while a grant lives")
	}
	put(t, w.a, img.Key(), data)
	put(t, w.a, inQ.Key(), data)
	for range 3 {
		w.clock.pass(grantFor)
		w.sweep(t)
	}
	if exists(t, w.a, img.Key()) || exists(t, w.a, inQ.Key()) {
		t.Error("what came after the first sweep is there")
	}
	if w.count(t, `images WHERE id = $1`, img.ID) != 0 || !w.final(t, q) {
		t.Error("not final after the grants")
	}
}

func TestEmptyProjectsEnd(t *testing.T) {
	w := newWorld(t)
	p := w.project(t) // no grant was ever given
	w.removeProject(t, p)
	w.clock.pass(undoWindow + time.Second)
	w.sweep(t)
	if !w.final(t, p) {
		t.Error("a project without grants is not final after undo's time")
	}
	if _, err := w.store.Project(t.Context(), p.ID); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("a final project is told: %v", err)
	}
	if n := w.count(t, `audit WHERE action = 'project.final' AND project_id = $1`, p.ID); n != 1 {
		t.Errorf("%d lines of audit tell of it", n)
	}
}
