package postgres_test

import (
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// The tests below hold SQL against the table of moves in package broker: one
// session must move exactly as broker.Next says, and whatever two sessions do at
// once must be some order of legal moves, with every CHECK of the schema held (a
// violated one would be an error of the statement).

const grantFor = time.Hour

// deed is one thing that a session does to one of a few images.
type deed struct {
	event   broker.Event
	digest  int // which image
	attempt int
	etag    string
	bucket  string
	start   bool // with a registration
	late    bool // after the grants, or after undo, have ended
	reason  broker.ReasonCode
}

func (d deed) String() string {
	return fmt.Sprintf("%s(#%d attempt %d %s@%s start=%t late=%t %s)", d.event, d.digest, d.attempt, d.etag, d.bucket, d.start, d.late, d.reason)
}

func deeds(images int) *rapid.Generator[deed] {
	return rapid.Custom(func(t *rapid.T) deed {
		return deed{
			event: rapid.SampledFrom([]broker.Event{
				broker.EventRegister, broker.EventRegister, broker.EventStart, broker.EventSeen, broker.EventSeen, broker.EventSeen,
				broker.EventExpire, broker.EventReady, broker.EventReady, broker.EventInvalid, broker.EventInvalid,
				broker.EventUnchecked, broker.EventAccept, broker.EventRemove, broker.EventUndo,
				broker.EventRecheck, broker.EventRecheck, broker.EventRecheck,
			}).Draw(t, "event"),
			digest:  rapid.IntRange(0, images-1).Draw(t, "image"),
			attempt: rapid.SampledFrom([]int{1, 1, 1, 2, 2, 3}).Draw(t, "attempt"),
			etag:    rapid.SampledFrom([]string{"e1", "e1", "e2"}).Draw(t, "etag"),
			bucket:  rapid.SampledFrom([]string{"A", "A", "B"}).Draw(t, "bucket"),
			start:   rapid.Bool().Draw(t, "start"),
			late:    rapid.Bool().Draw(t, "late"),
			reason:  rapid.SampledFrom([]broker.ReasonCode{broker.ReasonCorrupt, broker.ReasonTruncated, broker.ReasonChecksumMismatch}).Draw(t, "reason"),
		}
	})
}

func digest(i int) broker.SHA1 { return sha1.Sum([]byte{byte(i >> 8), byte(i)}) }

func filename(i, attempt int) string {
	if attempt == 1 {
		return digest(i).String() + ".jpg"
	}
	return fmt.Sprintf("%s-%d.jpg", digest(i), attempt)
}

// do carries a deed out. Deeds that find no image do nothing.
func (f *fixture) do(ctx context.Context, projectID string, d deed) error {
	now := time.Now()
	if d.event == broker.EventRegister {
		_, err := f.Register(ctx, broker.RegisterBatch{
			ProjectID: projectID, Bucket: d.bucket, Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(grantFor), By: f.by,
			Images: []broker.NewImage{{
				ID: broker.NewID(now), Name: "a.jpg", SHA1: digest(d.digest), SizeBytes: 3, Type: "image/jpeg", Ext: "jpg", Start: d.start,
			}},
		})
		return err
	}
	if d.event == broker.EventSeen {
		_, err := f.See(ctx, projectID, d.bucket, []broker.Seen{{
			Bucket: d.bucket, ProjectID: projectID, Filename: filename(d.digest, d.attempt), ETag: d.etag, SizeBytes: 3,
		}}, now)
		return err
	}
	img, ok, err := f.imageOf(ctx, projectID, d)
	if err != nil || !ok {
		return err
	}
	j := postgres.Judging{ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: d.attempt, ETag: d.etag}, Holder: "test"}
	verdict := broker.Verdict{SHA1: digest(d.digest), Size: 3, CRC32: 7, Facts: broker.Facts{Type: "image/jpeg", Proof: broker.ProofFull}}
	if d.late {
		now = now.Add(grantFor + broker.GraceAfterGrant + time.Minute)
	}
	switch d.event {
	case broker.EventStart:
		return f.Start(ctx, projectID, []string{img.ID}, now, f.by)
	case broker.EventExpire:
		_, err = f.Expire(ctx, []broker.OpenUpload{{ImageID: img.ID, Attempt: d.attempt}}, now)
	case broker.EventReady:
		_, err = f.Judge(ctx, j, verdict, now)
	case broker.EventInvalid:
		verdict.Reasons = []broker.Reason{broker.Reasonf(d.reason, "so it is")}
		_, err = f.Judge(ctx, j, verdict, now)
	case broker.EventUnchecked:
		_, err = f.Unchecked(ctx, j, "nobody knows", now)
	case broker.EventAccept:
		_, err = f.Accept(ctx, img, now, f.by)
	case broker.EventRecheck:
		_, err = f.Recheck(ctx, img.ID, now, f.by)
	case broker.EventRemove:
		return f.RemoveImage(ctx, projectID, img.ID, now, now.Add(broker.UndoWindow), f.by)
	case broker.EventUndo:
		err = f.UndoRemoveImage(ctx, projectID, img.ID, now, f.by)
		if code := broker.CodeOf(err); code == broker.CodeUndoEnded || code == broker.CodeConflict {
			return nil
		}
	}
	return err
}

// imageOf finds the image that a deed is about: an undo means the last removed.
func (f *fixture) imageOf(ctx context.Context, projectID string, d deed) (broker.Image, bool, error) {
	state := broker.StateNone
	if d.event == broker.EventUndo {
		state = broker.StateRemoved
	}
	all, err := f.ListImages(ctx, projectID, state, broker.Page{Limit: 1000})
	slices.Reverse(all)
	for _, img := range all {
		if img.SHA1 == digest(d.digest) {
			return img, true, err
		}
	}
	return broker.Image{}, false, err
}

// occurrence is the deed as the table of moves knows it.
func (d deed) occurrence() broker.Occurrence {
	return broker.Occurrence{Event: d.event, Attempt: d.attempt, ETag: d.etag, Bucket: d.bucket}
}

// TestOneSessionMovesAsTheTableSays compares SQL with broker.Next after each deed.
func TestOneSessionMovesAsTheTableSays(t *testing.T) {
	f := open(t)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		p := f.newProject(t)
		granted := map[string]bool{} // "attempt@bucket"
		var img *broker.Image        // as it was before the deed
		for i, d := range rapid.SliceOfN(deeds(1), 1, 25).Draw(t, "deeds") {
			if err := f.do(ctx, p.ID, d); err != nil {
				t.Fatalf("%d: %s: %v", i, d, err)
			}
			after := f.latest(t, p.ID)

			if img == nil || img.State == broker.StateRemoved && d.event == broker.EventRegister {
				if d.event != broker.EventRegister {
					if after != nil {
						t.Fatalf("%d: %s made an image", i, d)
					}
					continue
				}
				want := broker.StatePending
				if d.start {
					want = broker.StateUploading
				}
				if after == nil || after.State != want || (img == nil) != (after.Attempt == 1) {
					t.Fatalf("%d: %s gave %+v", i, d, after)
				}
				if img != nil && after.Filename == img.Filename {
					t.Fatalf("%d: a newcomer took the key of a removed image", i)
				}
			} else {
				want, moves := broker.Next(img.Standing(d.at(time.Now())), d.occurrence())
				if d.event == broker.EventSeen && !granted[fmt.Sprintf("%d@%s", d.attempt, d.bucket)] ||
					d.event == broker.EventExpire && !d.late {
					moves = false // conditions that the table leaves to its events' names
				}
				if !moves {
					want = img.Standing(time.Now())
				}
				if moves && d.event == broker.EventRegister && d.start {
					want, _ = broker.Next(want, broker.Occurrence{Event: broker.EventStart})
				}
				got := after.Standing(time.Now())
				if moves && d.event == broker.EventRegister && got.Attempt > want.Attempt && want.Attempt > img.Attempt {
					want.Attempt = got.Attempt // counts on from removed ones
				}
				if got.State != want.State || got.Attempt != want.Attempt || got.ETag != want.ETag || got.Bucket != want.Bucket || got.RemovedFrom != want.RemovedFrom {
					t.Fatalf("%d: %s\n from %+v\nwent to %+v\n   want %+v", i, d, img.Standing(time.Now()), got, want)
				}
			}
			if d.event == broker.EventRegister && after.State.Open() {
				granted[fmt.Sprintf("%d@%s", after.Attempt, d.bucket)] = true
			}
			img = after
		}
		f.checkStory(t, p.ID)
	})
}

// at is the moment that the deed pretends.
func (d deed) at(now time.Time) time.Time {
	if d.late {
		return now.Add(grantFor + broker.GraceAfterGrant + time.Minute)
	}
	return now
}

// latest returns the newest image of the project, removed or not.
func (f *fixture) latest(t *rapid.T, projectID string) *broker.Image {
	var newest *broker.Image
	for _, state := range []broker.State{broker.StateNone, broker.StateRemoved} {
		all, err := f.ListImages(context.Background(), projectID, state, broker.Page{Limit: 1000})
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		for i := range all {
			if newest == nil || all[i].Attempt > newest.Attempt || all[i].Attempt == newest.Attempt && all[i].ID > newest.ID {
				newest = &all[i]
			}
		}
	}
	return newest
}

// TestTwoSessionsAtOnce lets two sessions act on the same images and then reads
// the audit: it must tell a legal order of moves that ends where the rows stand.
func TestTwoSessionsAtOnce(t *testing.T) {
	f := open(t)
	rapid.Check(t, func(t *rapid.T) {
		p := f.newProject(t)
		sessions := [2][]deed{}
		for i := range sessions {
			sessions[i] = rapid.SliceOfN(deeds(2), 5, 25).Draw(t, fmt.Sprintf("session %d", i))
		}
		var wg sync.WaitGroup
		var errs [2]error
		for i, list := range sessions {
			wg.Go(func() {
				for _, d := range list {
					if err := f.do(context.Background(), p.ID, d); err != nil {
						errs[i] = fmt.Errorf("%s: %w", d, err)
						return
					}
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				t.Fatalf("%v", err)
			}
		}
		f.checkStory(t, p.ID)
	})
}

// checkStory replays the audit of every image through the table of moves.
func (f *fixture) checkStory(t *rapid.T, projectID string) {
	t.Helper()
	ctx := context.Background()
	for _, state := range []broker.State{broker.StateNone, broker.StateRemoved} {
		all, err := f.ListImages(ctx, projectID, state, broker.Page{Limit: 1000})
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		for _, img := range all {
			story, err := f.History(ctx, img.ID)
			if err != nil {
				t.Fatalf("history: %v", err)
			}
			s := broker.Standing{}
			for i, line := range story {
				if s, err = replay(s, line); err != nil {
					t.Fatalf("image %s, line %d of %s: %v", img.ID, i, lines(story), err)
				}
			}
			got := img.Standing(time.Now())
			if got.State != s.State || got.Attempt != s.Attempt || got.ETag != s.ETag || got.Bucket != s.Bucket {
				t.Fatalf("image %s stands at %+v, its story ends at %+v:\n%s", img.ID, got, s, lines(story))
			}
		}
	}
}

func lines(story []broker.HistoryEntry) string {
	out := ""
	for _, l := range story {
		out += fmt.Sprintf("\n  %s %s", l.Action, l.Detail)
	}
	return out
}

// replay makes the move that a line of the audit tells, or says why it is none.
func replay(s broker.Standing, line broker.HistoryEntry) (broker.Standing, error) {
	var d struct {
		Attempt int
		State   broker.State
		Bucket  string
		ETag    string
		Reasons []string
	}
	if err := json.Unmarshal(line.Detail, &d); err != nil {
		return s, err
	}
	o := broker.Occurrence{Attempt: d.Attempt, ETag: d.ETag, Bucket: d.Bucket}
	switch line.Action {
	case "image.register":
		o.Event = broker.EventRegister
		next, ok := broker.Next(s, o)
		if !ok {
			return s, fmt.Errorf("registered while %s", s.State)
		}
		if s.State == broker.StateNone || s.State == broker.StateInvalid && d.Attempt > next.Attempt {
			next.Attempt = d.Attempt // counts on from removed ones
		}
		if d.State == broker.StateUploading && next.State == broker.StatePending {
			next, _ = broker.Next(next, broker.Occurrence{Event: broker.EventStart})
		}
		if next.State != d.State || next.Attempt != d.Attempt {
			return s, fmt.Errorf("registered to %s, attempt %d, from %+v", d.State, d.Attempt, s)
		}
		next.Damaged, next.Unchecked = false, false
		return next, nil
	case "image.start":
		o.Event = broker.EventStart
	case "image.seen":
		o.Event = broker.EventSeen
	case "image.expire":
		o.Event = broker.EventExpire
	case "image.judge":
		o.Event = broker.EventReady
		if d.State == broker.StateInvalid {
			o.Event = broker.EventInvalid
			if broker.ParseReason(d.Reasons[0]).Code == broker.ReasonUnchecked {
				o.Event = broker.EventUnchecked
			}
		}
	case "image.accept":
		o.Event = broker.EventAccept
	case "image.recheck":
		o.Event = broker.EventRecheck
	case "image.remove":
		o.Event = broker.EventRemove
	case "image.undo":
		o.Event, s.UndoOpen = broker.EventUndo, true // SQL compared the clock
	default:
		return s, fmt.Errorf("unknown action")
	}
	next, ok := broker.Next(s, o)
	if !ok {
		return s, fmt.Errorf("no move from %+v by %+v", s, o)
	}
	if o.Event == broker.EventInvalid || o.Event == broker.EventUnchecked || o.Event == broker.EventSeen {
		next.Damaged, next.Unchecked = o.Event == broker.EventInvalid, o.Event == broker.EventUnchecked
		for _, r := range d.Reasons {
			code := broker.ParseReason(r).Code
			next.Damaged = next.Damaged && (code == broker.ReasonCorrupt || code == broker.ReasonTruncated)
		}
	}
	return next, nil
}
