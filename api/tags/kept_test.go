package tags

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/storage"
)

// lossy is the database behind a connection that breaks: what ReceiveFile says is lost.
type lossy struct {
	*postgres.Store
	commits bool // what was asked is done all the same
	silent  bool // nor does it tell afterwards
}

func (s lossy) ReceiveFile(ctx context.Context, f broker.ReceivedFile) (broker.Image, bool, error) {
	if s.commits {
		if img, kept, err := s.Store.ReceiveFile(ctx, f); err != nil || !kept {
			return img, kept, err
		}
	}
	return broker.Image{}, false, broker.Errorf(broker.CodeUnavailable, "the answer is lost")
}

func (s lossy) ReceivedAs(ctx context.Context, projectID, filename string) (broker.Image, error) {
	if s.silent {
		return broker.Image{}, broker.Errorf(broker.CodeUnavailable, "no answer")
	}
	return s.Store.ReceivedAs(ctx, projectID, filename)
}

// A file whose row may be there is not deleted: it is looked for, and kept where that
// can't be told.
func TestLostAnswerOfTheDatabase(t *testing.T) {
	for about, c := range map[string]struct {
		commits, silent bool
		status          int
		objects         int // that lie below the tag afterwards
	}{
		"kept":                 {true, false, http.StatusCreated, 1},
		"not kept":             {false, false, http.StatusServiceUnavailable, 0},
		"kept, and silent":     {true, true, http.StatusServiceUnavailable, 1},
		"not kept, and silent": {false, true, http.StatusServiceUnavailable, 1},
	} {
		t.Run(about, func(t *testing.T) {
			f := open(t)
			first := f.put(t, "/upload/fresh/0.jpg", f.firstKey, "first").want(t, http.StatusCreated)
			for _, tag := range []string{"fresh", "new"} { // one that is there, and one to be made
				before := f.everything(t)
				f.tags.Store = lossy{f.store, c.commits, c.silent}
				got := f.put(t, "/upload/"+tag+"/a.jpg", f.firstKey, "bytes").want(t, c.status)
				f.tags.Store = f.store
				var fresh []string
				for key := range f.everything(t) {
					if !before[key] {
						fresh = append(fresh, key)
					}
				}
				if len(fresh) != c.objects {
					t.Fatalf("%s: the bucket has %q more, want %d", tag, fresh, c.objects)
				}
				if reserved := tag == "new" && (c.commits || c.silent); reserved != (f.rows(t, "new") == 1) {
					t.Errorf("%d projects of the tag", f.rows(t, "new"))
				}
				if c.status == http.StatusCreated {
					if img := f.image(t, tag, got.ID); f.content(t, img) != "bytes" {
						t.Errorf("%s: other bytes", tag)
					}
				}
				// Whoever sends it again has it kept.
				again := f.put(t, "/upload/"+tag+"/a.jpg", f.firstKey, "bytes")
				if kept := again.Status == http.StatusCreated; kept == c.commits {
					t.Errorf("%s: sent again it is answered %d", tag, again.Status)
				}
				if img := f.image(t, tag, again.ID); f.content(t, img) != "bytes" {
					t.Errorf("%s: other bytes", tag)
				}
			}
			f.image(t, "fresh", first.ID)
		})
	}
}

// An answer of 200 says that the bytes are there. Before they were judged that is looked
// at; what is gone is replaced.
func TestSameBytesWhoseObjectIsGone(t *testing.T) {
	f := open(t)
	sent := f.put(t, "/upload/open/a.jpg", "", "bytes").want(t, http.StatusCreated)
	before := f.image(t, "open", sent.ID)
	f.put(t, "/upload/open/a.jpg", "", "bytes").want(t, http.StatusOK)
	if err := f.bucket.Delete(t.Context(), before.Key()); err != nil {
		t.Fatal(err)
	}
	again := f.put(t, "/upload/open/b.jpg", "", "bytes").want(t, http.StatusCreated)
	after := f.image(t, "open", sent.ID)
	if again.ID != sent.ID || after.Attempt != 2 || f.content(t, after) != "bytes" {
		t.Errorf("%s is attempt %d, was %s", again.ID, after.Attempt, sent.ID)
	}
	if all := f.objects(t, "open"); len(all) != 1 || all[0] != after.Key() {
		t.Errorf("the tag has %q", all)
	}
}

// What was put elsewhere under a declared sha1 may be anything until it is judged: the
// same bytes sent to the tag are kept.
func TestSameBytesAsDeclared(t *testing.T) {
	f := open(t)
	f.put(t, "/upload/open/0.jpg", "", "first").want(t, http.StatusCreated)
	p, err := f.store.TagByName(t.Context(), "open")
	if err != nil {
		t.Fatal(err)
	}
	by, err := f.keys.Authenticate(t.Context(), f.firstKey)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := f.images.Register(t.Context(), by, p.ID, broker.Target{Bucket: "Local"}, []broker.Entry{{Name: "a.jpg", SHA1: digest("true bytes"), SizeBytes: 10, Start: true}})
	if err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	img := rs[0].Image
	const other = "lies bytes"
	obj, err := f.bucket.Put(t.Context(), img.Key(), strings.NewReader(other), storage.PutOptions{SizeBytes: int64(len(other))})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := f.store.See(t.Context(), p.ID, "Local", []broker.Seen{{
		Bucket: "Local", ProjectID: p.ID, Filename: img.Filename, ETag: obj.ETag, SizeBytes: int64(len(other)),
	}}, time.Now())
	if err != nil || seen != 1 {
		t.Fatalf("%d seen, %v", seen, err)
	}
	sent := f.put(t, "/upload/open/b.jpg", "", "true bytes").want(t, http.StatusCreated)
	if now := f.image(t, "open", sent.ID); sent.ID != img.ID || f.content(t, now) != "true bytes" {
		t.Errorf("%s has other bytes", sent.ID)
	}
}

// lostPut is a bucket that stores a file and whose answer is lost.
type lostPut struct{ *storage.Bucket }

func (b lostPut) Receive(ctx context.Context, key, contentType string, sizeBytes int64, body io.Reader) (broker.Seen, error) {
	if _, err := b.Bucket.Receive(ctx, key, contentType, sizeBytes, body); err != nil {
		return broker.Seen{}, err
	}
	return broker.Seen{}, broker.Errorf(broker.CodeUnavailable, "the answer is lost")
}

// The first file of a tag, of which the bucket does not tell whether it has it, lies in a
// project that is swept.
func TestLostAnswerOfTheBucket(t *testing.T) {
	f := open(t)
	place := f.place()
	place.Receiver = lostPut{f.bucket}
	f.images.Places.Replace(broker.ConfiguredOrder{}, place)
	f.put(t, "/upload/fresh/a.jpg", f.firstKey, "bytes").want(t, http.StatusServiceUnavailable)
	if n := f.rows(t, "fresh"); n != 1 {
		t.Fatalf("%d projects are left for what lies in the bucket", n)
	}
	swept, err := f.store.ClaimRemovedProjects(t.Context(), time.Now().Add(25*time.Hour), 10)
	if err != nil || len(swept) != 1 {
		t.Errorf("%d projects are swept, %v", len(swept), err)
	}
	// One that breaks off leaves nothing, as ever.
	conn := f.sendHalf(t, "/upload/other/cut.jpg")
	f.waitForRows(t, "other", 1)
	_ = conn.Close()
	for range 2 {
		<-f.ended
	}
	if n := f.rows(t, "other"); n != 0 {
		t.Errorf("%d projects are left of one that broke off", n)
	}
}

// A tag that is anybody's and public is there for whoever looks, also after its owner has
// removed it; what is empty gives its name back to the one that was removed.
func TestRemovedOpenTag(t *testing.T) {
	f := open(t)
	f.put(t, "/upload/open/a.jpg", "", "bytes").want(t, http.StatusCreated)
	old, err := f.store.TagByName(t.Context(), "open")
	if err != nil {
		t.Fatal(err)
	}
	by, err := f.keys.Authenticate(t.Context(), f.firstKey)
	if err != nil {
		t.Fatal(err)
	}
	remove := func() {
		t.Helper()
		if _, err := f.store.RemoveProject(t.Context(), old.ID, time.Now(), time.Now().Add(time.Minute), by); err != nil {
			t.Fatal(err)
		}
	}
	undo := func() error {
		_, err := f.store.UndoRemoveProject(t.Context(), old.ID, time.Now(), by)
		return err
	}
	for about, look := range map[string]func() ([]broker.Tag, error){
		"one": func() ([]broker.Tag, error) {
			tag, err := f.tags.Get(t.Context(), broker.Caller{}, "open")
			return []broker.Tag{tag}, err
		},
		"list": func() ([]broker.Tag, error) { return f.tags.List(t.Context(), broker.Caller{}, broker.Page{Limit: 10}) },
	} {
		remove()
		got, err := look()
		if err != nil || len(got) != 1 || got[0].Tag != "open" || got[0].ID == old.ID || got[0].Bytes != 0 {
			t.Fatalf("%s: the tags are %+v, %v", about, got, err)
		}
		if err := undo(); err != nil {
			t.Fatalf("%s: undone: %v", about, err)
		}
		if p, err := f.store.TagByName(t.Context(), "open"); err != nil || p.ID != old.ID {
			t.Errorf("%s: the tag is %+v, %v", about, p, err)
		}
	}
	// Not so one that has a file, and tags that only one of both is true of.
	remove()
	f.put(t, "/upload/open/b.jpg", "", "new").want(t, http.StatusCreated)
	if err := undo(); broker.CodeOf(err) != broker.CodeConflict {
		t.Errorf("undone beside a new file: %v", err)
	}
	for _, tag := range []string{"wall", "shown"} {
		if _, _, err := f.tags.Reader(t.Context(), broker.Caller{}, tag); broker.CodeOf(err) != broker.CodeUnauthenticated {
			t.Errorf("%s: %v", tag, err)
		}
	}
}

// The audit tells where a file without a key came from, and that nobody in particular
// sent it.
func TestWhoSentWithoutAKey(t *testing.T) {
	f := open(t)
	sent := f.put(t, "/upload/open/a.jpg", "", "bytes").want(t, http.StatusCreated)
	f.put(t, "/upload/mine/a.jpg", f.firstKey, "bytes").want(t, http.StatusCreated)
	for tag, want := range map[string]broker.ActorKind{"open": broker.ActorAnybody, "mine": broker.ActorOwner} {
		p, err := f.store.TagByName(t.Context(), tag)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := f.store.Audit(t.Context(), p.ID, broker.AuditQuery{Limit: 10})
		if err != nil || len(lines) != 2 {
			t.Fatalf("%d lines, %v", len(lines), err)
		}
		for _, l := range lines {
			if l.Who.Kind != want || strings.Contains(string(l.Detail), `"address": "127.0.0.1"`) != (want == broker.ActorAnybody) {
				t.Errorf("%s of %s: %s, %s", l.Action, tag, l.Who.Kind, l.Detail)
			}
		}
	}
	trace, err := f.store.Trace(t.Context(), sent.ID)
	if err != nil || trace.Story[0].Who.Kind != broker.ActorAnybody {
		t.Errorf("the story begins with %+v, %v", trace.Story, err)
	}

	// Who showed a key is named, though it is anybody's right that he used.
	sent = f.put(t, "/upload/open/b.jpg", f.special, "others").want(t, http.StatusCreated)
	trace, err = f.store.Trace(t.Context(), sent.ID)
	if err != nil || trace.Story[0].Who.Kind != broker.ActorOwner || trace.Story[0].Who.KeyID == "" || !strings.Contains(string(trace.Story[0].Detail), `"anonymous": true`) {
		t.Errorf("the story begins with %+v, %v", trace.Story, err)
	}
}

// What is bad and was swept takes no room any more.
func TestSweptFilesTakeNoRoom(t *testing.T) {
	f := open(t)
	f.put(t, "/upload/open/0.jpg", "", "good").want(t, http.StatusCreated)
	sent := f.put(t, "/upload/open/a.jpg", "", "bad bytes").want(t, http.StatusCreated)
	img := f.image(t, "open", sent.ID)
	f.judge(t, img, broker.Reasonf(broker.ReasonCorrupt, "so it is"))
	for sweeps, want := range []int64{13, 4} {
		if sweeps > 0 {
			if ok, err := f.store.PlanSweep(t.Context(), []postgres.Swept{{
				Bucket: "Local", Key: img.Key(), Class: "INVALID", ProjectID: img.ProjectID, ImageID: img.ID, Attempt: img.Attempt, ETag: img.ETag,
			}}, time.Now()); err != nil || !ok[0] {
				t.Fatal(ok, err)
			}
		}
		sums, err := f.store.BytesOfTags(t.Context(), []string{img.ProjectID})
		if got := sums[img.ProjectID]; err != nil || got.Shown != want || got.Held != want {
			t.Errorf("after %d sweeps the tag has %+v, want %d: %v", sweeps, got, want, err)
		}
	}
}
