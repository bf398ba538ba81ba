package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestCheck(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	r := w.register(t, p, "Near", entry("a.jpg", "ready"), entry("b.jpg", "invalid"), entry("c.jpg", "open"), entry("d.jpg", "removed"))
	w.arrive(t, r[0].Image, "Near")
	w.arrive(t, r[1].Image, "Near", broker.Reasonf(broker.ReasonEmpty, "no bytes"))
	if _, err := w.images.Remove(t.Context(), w.by, p.ID, r[3].Image.ID); err != nil {
		t.Fatal(err)
	}
	w.images.Limits.MaxBatch = 7
	asked := []string{strings.ToUpper(hexOf("ready")), hexOf("invalid"), hexOf("open"), hexOf("removed"), hexOf("unknown"), "nonsense", hexOf("ready")}
	got, err := w.images.Check(t.Context(), w.by, p.ID, asked)
	if err != nil {
		t.Fatal(err)
	}
	want := []broker.CheckStatus{
		broker.CheckExists, broker.CheckInvalid, broker.CheckOpen, broker.CheckAbsent, broker.CheckAbsent, broker.CheckProblem, broker.CheckExists,
	}
	for i, c := range got {
		if c.Status != want[i] || c.SHA1 != asked[i] || (c.Image != nil) != (i < 3 || i == 6) {
			t.Errorf("%d: %+v, want %s", i, c, want[i])
		}
	}
	wantCode(t, got[5].Err, broker.CodeInvalidSHA1)
	_, err = w.images.Check(t.Context(), w.by, p.ID, append(asked, "one more"))
	wantCode(t, err, broker.CodeBatchTooLarge)
	// A key that only uploads learns nothing.
	_, err = w.images.Check(t.Context(), w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeUpload}}), p.ID, asked[:1])
	wantCode(t, err, broker.CodeNotAllowed)
}

func TestStartAndDone(t *testing.T) {
	w := newWorld(t)
	p, other := w.project(t), w.project(t)
	mine := w.register(t, p, "Near", entry("a.jpg", "a"), entry("b.jpg", "b"))
	theirs := w.register(t, other, "Near", entry("a.jpg", "a"))[0].Image
	w.arrive(t, mine[1].Image, "Near")
	removed := w.register(t, p, "Near", entry("c.jpg", "c"))[0].Image
	if _, err := w.images.Remove(t.Context(), w.by, p.ID, removed.ID); err != nil {
		t.Fatal(err)
	}
	ids := []string{mine[0].Image.ID, mine[1].Image.ID, theirs.ID, "nonsense", removed.ID}

	for range 2 { // twice is no error
		got, err := w.images.Start(t.Context(), w.by, p.ID, ids)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Status != broker.StatusOK || got[0].Image.State != broker.StateUploading || got[0].Image.StartedAt == nil {
			t.Errorf("an open one: %+v", got[0])
		}
		if got[1].Status != broker.StatusOK || got[1].Image.State != broker.StateReady {
			t.Errorf("a Ready one: %s %s", got[1].Status, got[1].Image.State)
		}
		for i := 2; i < len(ids); i++ {
			if got[i].Status != broker.StatusProblem {
				t.Errorf("%d: %+v", i, got[i])
			}
			wantCode(t, got[i].Err, broker.CodeNotFound)
		}
	}
	if imgs, err := w.store.ByID(t.Context(), other.ID, []string{theirs.ID}); err != nil || imgs[0].State != broker.StatePending {
		t.Errorf("an image of another project was started: %+v, %v", imgs, err)
	}

	for range 2 {
		got, err := w.images.Done(t.Context(), w.by, p.ID, ids)
		if err != nil {
			t.Fatal(err)
		}
		// Never taken on trust: nothing arrived, so nothing moves.
		if got[0].Image.State != broker.StateUploading || got[1].Image.State != broker.StateReady || got[2].Status != broker.StatusProblem {
			t.Errorf("done: %+v", got)
		}
	}
	reader := w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}})
	_, err := w.images.Start(t.Context(), reader, p.ID, ids)
	wantCode(t, err, broker.CodeNotAllowed)
	_, err = w.images.Done(t.Context(), reader, p.ID, ids)
	wantCode(t, err, broker.CodeNotAllowed)
	_, err = w.images.Done(t.Context(), w.by, p.ID, make([]string, 6))
	wantCode(t, err, broker.CodeBatchTooLarge)
}

func TestRegrant(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	r := w.register(t, p, "Near", entry("a.jpg", "open"), entry("b.png", "ready"), entry("c.jpg", "invalid"))
	w.arrive(t, r[1].Image, "Near")
	w.arrive(t, r[2].Image, "Near", broker.Reasonf(broker.ReasonEmpty, "no bytes"))
	ids := []string{r[0].Image.ID, r[1].Image.ID, r[2].Image.ID, broker.NewID(w.time()), r[0].Image.ID}
	got, err := w.images.Regrant(t.Context(), w.by, p.ID, broker.Target{Bucket: "Far", Client: client}, ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 4} {
		if g := got[i].Grant; got[i].Status != broker.StatusGranted || g == nil || g.Bucket != "Far" || !strings.Contains(g.Request.URL, r[0].Image.Key()) {
			t.Errorf("an open one: %+v", got[i])
		}
	}
	if want := (broker.Binding{SizeBytes: 4, SHA1: r[0].Image.SHA1, ContentType: "image/jpeg"}); w.signer.last != want {
		t.Errorf("the grant binds %+v, want %+v", w.signer.last, want)
	}
	if got[1].Status != broker.StatusExists || got[1].Grant != nil {
		t.Errorf("a Ready one: %+v", got[1])
	}
	wantCode(t, got[2].Err, broker.CodeConflict)
	wantCode(t, got[3].Err, broker.CodeNotFound)
	if got[2].Grant != nil || got[3].Grant != nil {
		t.Error("a grant came with a problem")
	}

	// What is seen in the further bucket decides.
	w.arrive(t, r[0].Image, "Far")
	_, err = w.images.Regrant(t.Context(), w.by, p.ID, broker.Target{Bucket: "Full", Client: client}, ids)
	wantCode(t, err, broker.CodeNoBucket)
}

func TestRemoveAndUndoAnImage(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	p := w.project(t)
	first := w.register(t, p, "Near", entry("a.jpg", "a"))[0].Image
	w.arrive(t, first, "Near")

	for range 2 { // twice is no error
		img, err := w.images.Remove(ctx, w.by, p.ID, first.ID)
		if err != nil || img.State != broker.StateRemoved || img.RemovedFrom != broker.StateReady || !img.UndoUntil.Equal(w.time().Add(10*time.Minute)) {
			t.Fatalf("%+v, %v", img, err)
		}
	}
	if list, err := w.images.List(ctx, w.by, p.ID, broker.StateNone, broker.Page{Limit: 10}); err != nil || len(list) != 0 {
		t.Errorf("a removed image is listed: %+v, %v", list, err)
	}
	w.pass(10*time.Minute - 1)
	for range 2 {
		img, err := w.images.Undo(ctx, w.by, p.ID, first.ID)
		if err != nil || img.State != broker.StateReady || img.UndoUntil != nil || img.RemovedFrom != "" {
			t.Fatalf("undone: %+v, %v", img, err)
		}
	}

	if _, err := w.images.Remove(ctx, w.by, p.ID, first.ID); err != nil {
		t.Fatal(err)
	}
	second := w.register(t, p, "Near", entry("b.jpg", "a"))[0]
	if second.Status != broker.StatusGranted || second.Image.ID == first.ID || second.Image.Filename != hexOf("a")+"-2.jpg" {
		t.Errorf("a newcomer's key is apart from the removed one's: %+v", second.Image)
	}
	_, err := w.images.Undo(ctx, w.by, p.ID, first.ID)
	wantCode(t, err, broker.CodeConflict)
	if _, err := w.images.Remove(ctx, w.by, p.ID, second.Image.ID); err != nil {
		t.Fatal(err)
	}
	w.pass(10 * time.Minute)
	_, err = w.images.Undo(ctx, w.by, p.ID, first.ID)
	wantCode(t, err, broker.CodeUndoEnded)

	uploader := w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead, broker.ScopeUpload}})
	_, err = w.images.Remove(ctx, uploader, p.ID, first.ID)
	wantCode(t, err, broker.CodeNotAllowed)
	_, err = w.images.Undo(ctx, uploader, p.ID, first.ID)
	wantCode(t, err, broker.CodeNotAllowed)
	for _, id := range []string{"", "nonsense", broker.NewID(w.time())} {
		_, err = w.images.Remove(ctx, w.by, p.ID, id)
		wantCode(t, err, broker.CodeNotFound)
		_, err = w.images.Undo(ctx, w.by, p.ID, id)
		wantCode(t, err, broker.CodeNotFound)
	}
}

// TestAnUndoneImageNeverMeetsAnothersKey: an image that comes back after a
// newcomer came and went must not write where the newcomer's removal deletes.
func TestAnUndoneImageNeverMeetsAnothersKey(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	p := w.project(t)
	bad := broker.Reasonf(broker.ReasonCorrupt, "bad")
	first := w.register(t, p, "Near", entry("a.jpg", "a"))[0].Image
	w.arrive(t, first, "Near", bad)
	if _, err := w.images.Remove(ctx, w.by, p.ID, first.ID); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{first.Filename: true}
	newcomer := w.register(t, p, "Near", entry("a.jpg", "a"))[0].Image
	keys[newcomer.Filename] = true
	w.arrive(t, newcomer, "Near", bad)
	newcomer = w.register(t, p, "Near", entry("a.jpg", "a"))[0].Image // its second attempt
	keys[newcomer.Filename] = true
	if _, err := w.images.Remove(ctx, w.by, p.ID, newcomer.ID); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 3 {
		t.Fatalf("the keys are %v", keys)
	}
	if _, err := w.images.Undo(ctx, w.by, p.ID, first.ID); err != nil {
		t.Fatal(err)
	}
	again := w.register(t, p, "Near", entry("a.jpg", "a"))[0]
	if again.Status != broker.StatusGranted || again.Image.ID != first.ID || again.Image.State != broker.StatePending {
		t.Fatalf("%+v", again)
	}
	if want := fmt.Sprintf("%s-%d.jpg", hexOf("a"), again.Image.Attempt); again.Image.Filename != want {
		t.Errorf("the key of attempt %d is %s", again.Image.Attempt, again.Image.Filename)
	}
	if keys[again.Image.Filename] {
		t.Errorf("the key %s was another's before", again.Image.Filename)
	}
}

func TestGetAndList(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	p := w.project(t)
	var ids []string
	for _, text := range []string{"a", "b", "c"} {
		ids = append(ids, w.register(t, p, "Near", entry(text+".jpg", text))[0].Image.ID)
		w.pass(time.Millisecond)
	}
	a := w.register(t, p, "Near", entry("a.jpg", "a"))[0].Image
	w.arrive(t, a, "Near")
	img, story, err := w.images.Get(ctx, w.by, p.ID, ids[0])
	if err != nil || img.State != broker.StateReady || img.ProvenSHA1 != img.SHA1 {
		t.Fatalf("%+v, %v", img, err)
	}
	var actions []string
	for _, line := range story {
		actions = append(actions, line.Action)
	}
	if got := strings.Join(actions, " "); got != "image.register image.register image.seen image.judge" {
		t.Errorf("its story is %s", got)
	}
	if story[0].Owner != w.ada.ID || story[0].KeyID != w.by.Key.ID || story[2].Owner != "" {
		t.Errorf("who did it: %+v", story)
	}

	page, err := w.images.List(ctx, w.by, p.ID, broker.StateNone, broker.Page{Limit: 2})
	if err != nil || len(page) != 2 || page[0].ID != ids[0] || page[1].ID != ids[1] {
		t.Errorf("the first page: %+v, %v", page, err)
	}
	page, err = w.images.List(ctx, w.by, p.ID, broker.StateNone, broker.Page{Limit: 2, After: ids[1]})
	if err != nil || len(page) != 1 || page[0].ID != ids[2] {
		t.Errorf("the second page: %+v, %v", page, err)
	}
	page, err = w.images.List(ctx, w.by, p.ID, broker.StateReady, broker.Page{Limit: 2})
	if err != nil || len(page) != 1 || page[0].ID != ids[0] {
		t.Errorf("Ready ones: %+v, %v", page, err)
	}

	stranger := w.caller(t, w.ada, broker.NewKey{Scopes: broker.AllScopes(), ProjectID: w.project(t).ID})
	_, _, err = w.images.Get(ctx, stranger, p.ID, ids[0])
	wantCode(t, err, broker.CodeNotFound)
	_, err = w.images.List(ctx, stranger, p.ID, broker.StateNone, broker.Page{Limit: 2})
	wantCode(t, err, broker.CodeNotFound)
	_, _, err = w.images.Get(ctx, w.by, w.project(t).ID, ids[0])
	wantCode(t, err, broker.CodeNotFound)
}

// TestAskingMakesTheBrokerLook: a client that polls an open image wakes nothing
// that sleeps, but makes what is awake due.
func TestAskingMakesTheBrokerLook(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	img := w.register(t, p, "Near", entry("a.jpg", "a"))[0].Image
	due := func() (due bool) {
		t.Helper()
		if err := w.store.Pool().QueryRow(t.Context(), `SELECT next_look_at <= now() FROM watches WHERE project_id = $1`, p.ID).Scan(&due); err != nil {
			t.Fatal(err)
		}
		return due
	}
	set := func(sql string) {
		t.Helper()
		if _, err := w.store.Pool().Exec(t.Context(), `UPDATE watches SET `+sql); err != nil {
			t.Fatal(err)
		}
	}
	far := `next_look_at = now() + interval '1 hour', looked_at = now() - interval '1 hour'`
	asks := map[string]func() error{
		"get":   func() error { _, _, err := w.images.Get(t.Context(), w.by, p.ID, img.ID); return err },
		"list":  func() error { _, err := w.images.List(t.Context(), w.by, p.ID, "", broker.Page{Limit: 1}); return err },
		"done":  func() error { _, err := w.images.Done(t.Context(), w.by, p.ID, []string{img.ID}); return err },
		"start": func() error { _, err := w.images.Start(t.Context(), w.by, p.ID, []string{img.ID}); return err },
	}
	for name, ask := range asks {
		set(far)
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		if !due() {
			t.Errorf("%s did not make the watch due", name)
		}
		// At most once a second.
		set(`next_look_at = now() + interval '1 hour', looked_at = now() + interval '1 minute'`)
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		if due() {
			t.Errorf("%s made a watch due that was looked at this very second", name)
		}
	}
	w.arrive(t, img, "Near")
	set(far)
	if err := asks["get"](); err != nil {
		t.Fatal(err)
	}
	if due() {
		t.Error("asking for a Ready image made the broker look")
	}
}
