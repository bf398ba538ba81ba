package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

func (f *fixture) judging(img broker.Image, etag, holder string) postgres.Judging {
	return postgres.Judging{ValidateArgs: broker.ValidateArgs{ImageID: img.ID, Attempt: img.Attempt, ETag: etag}, Holder: holder}
}

// jobs returns the arguments of all validations, oldest first.
func (f *fixture) jobs(t testing.TB) []broker.ValidateArgs {
	t.Helper()
	var list []broker.ValidateArgs
	text := scan[[]byte](t, f, `SELECT coalesce(json_agg(args ORDER BY id), '[]') FROM river_job`)
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestSeenOnlyAtGrantedKeys: an object counts where somebody was allowed to put
// it, and nowhere else.
func TestSeenOnlyAtGrantedKeys(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p, other := f.newProject(t), f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	f.registerOne(t, other.ID, "A", 2)
	for _, o := range []struct{ project, bucket, filename string }{
		{p.ID, "B", img.Filename},                               // a bucket without a grant
		{other.ID, "A", img.Filename},                           // another project
		{p.ID, "A", digest(1).String()},                         // without the extension
		{p.ID, "A", strings.ToUpper(img.Filename)},              //
		{p.ID, "A", filename(1, 2)},                             // an attempt to come
		{p.ID, "A", "sub/" + img.Filename},                      //
		{p.ID, "A", p.ID + "/" + img.Filename},                  //
		{p.ID, "A", digest(2).String() + ".jpg"},                // another's image
		{p.ID, "A", ""},                                         //
		{broker.NewID(time.Now()), "A", img.Filename},           // no project
		{p.ID, "A", strings.Replace(img.Filename, ".", "_", 1)}, // no pattern
		{p.ID, "A", "%"},                                        //
	} {
		n, err := f.See(ctx, o.project, o.bucket, []broker.Seen{{Filename: o.filename, ETag: "e", SizeBytes: 3}}, time.Now())
		if err != nil || n != 0 {
			t.Errorf("%+v: %d moved, %v", o, n, err)
		}
	}
	if got := f.image(t, img.ID); got.State != broker.StatePending {
		t.Fatalf("%+v", got)
	}

	// Many at once: each moves once.
	objects := []broker.Seen{{Filename: "stranger", ETag: "e", SizeBytes: 1}, {Filename: img.Filename, ETag: "e", SizeBytes: 3}, {Filename: filename(1, 2), ETag: "e"}}
	for i, want := range []int{1, 0} {
		if n, err := f.See(ctx, p.ID, "A", objects, time.Now()); err != nil || n != want {
			t.Errorf("time %d: %d moved, %v", i, n, err)
		}
	}
	got := f.image(t, img.ID)
	if got.State != broker.StateUploaded || got.Bucket != "A" || got.ETag != "e" || got.ObjectBytes != 3 || got.UploadedAt == nil || got.StartedAt == nil {
		t.Errorf("%+v", got)
	}
	want := broker.ValidateArgs{ImageID: img.ID, Attempt: 1, ETag: "e", SizeBytes: 3, Bucket: "A"}
	if jobs := f.jobs(t); len(jobs) != 1 || jobs[0] != want {
		t.Errorf("the jobs are %+v", jobs)
	}

	// The first object seen decided the bucket, whatever comes elsewhere.
	if _, err := f.Register(ctx, f.batchOf(p.ID, "B", 1)); err != nil {
		t.Fatal(err)
	}
	if f.seeOne(t, img, "B", "other") {
		t.Error("an object in another bucket took the image over")
	}
}

// TestLateObjectsOfFormerAttempts match nothing, also where their grants live on.
func TestLateObjectsOfFormerAttempts(t *testing.T) {
	f := open(t)
	p := f.newProject(t)
	first := f.registerOne(t, p.ID, "A", 1)
	f.seeOne(t, first, "A", "bad")
	if _, err := f.Judge(t.Context(), f.judging(first, "bad", "h"), broker.Verdict{Reasons: []broker.Reason{{Code: broker.ReasonEmpty}}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	second := f.registerOne(t, p.ID, "B", 1)
	if second.Attempt != 2 || second.Filename == first.Filename {
		t.Fatalf("%+v", second)
	}
	if f.seeOne(t, first, "A", "late") {
		t.Error("the object of a former attempt was taken")
	}
	if f.seeOne(t, second, "A", "e") {
		t.Error("attempt 2 has no grant in A: attempt 1's does not count")
	}
	// A late verdict on the former attempt's object is dropped.
	if moved, err := f.Judge(t.Context(), f.judging(first, "bad", "h"), broker.Verdict{}, time.Now()); err != nil || moved {
		t.Errorf("a late verdict moved it: %t, %v", moved, err)
	}
	if !f.seeOne(t, second, "B", "good") {
		t.Error("its own object was not taken")
	}
}

// TestJobAndMoveCommitTogether: where the job can't be inserted the image does
// not move, and the audit tells nothing.
func TestJobAndMoveCommitTogether(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	removed := f.registerOne(t, p.ID, "A", 2)
	f.seeOne(t, removed, "A", "e")
	now := time.Now()
	if err := f.RemoveImage(ctx, p.ID, removed.ID, now, now.Add(time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	jobs, lines := len(f.jobs(t)), scan[int](t, f, `SELECT count(*) FROM audit`)

	f.exec(t, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no more jobs'; END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON river_job FOR EACH ROW EXECUTE FUNCTION refuse()`)
	_, err := f.See(ctx, p.ID, "A", []broker.Seen{{Filename: img.Filename, ETag: "e", SizeBytes: 3}}, now)
	wantCode(t, err, broker.CodeInternal)
	wantCode(t, f.UndoRemoveImage(ctx, p.ID, removed.ID, now, f.by), broker.CodeInternal)
	_, err = f.RequeueUnheld(ctx, now, 10)
	if err != nil { // nothing to requeue is no error
		t.Error(err)
	}
	if a, b := f.image(t, img.ID).State, f.image(t, removed.ID).State; a != broker.StatePending || b != broker.StateRemoved {
		t.Errorf("they moved to %s and %s without a job", a, b)
	}
	if n := scan[int](t, f, `SELECT count(*) FROM audit`); n != lines {
		t.Errorf("%d lines of audit tell what did not happen", n-lines)
	}

	f.exec(t, `DROP TRIGGER refuse ON river_job`)
	f.seeOne(t, img, "A", "e")
	if err := f.UndoRemoveImage(ctx, p.ID, removed.ID, now, f.by); err != nil {
		t.Fatal(err)
	}
	if n := len(f.jobs(t)); n != jobs+2 {
		t.Errorf("%d further jobs, want 2", n-jobs)
	}
}

func TestLeasesAreExclusive(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	img := f.registerOne(t, f.newProject(t).ID, "A", 1)
	acquire := func(holder string) bool {
		t.Helper()
		got, _, err := f.AcquireLease(ctx, img.ID, holder)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if got, _, err := f.AcquireLease(ctx, img.ID, fmt.Sprint("w", i)); err != nil {
				t.Error(err)
			} else if got {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d hold the lease", won.Load())
	}
	holder := scan[string](t, f, `SELECT holder FROM leases`)
	if acquire("other") || !acquire(holder) {
		t.Error("a lease is its holder's alone")
	}
	if held, err := f.ExtendLease(ctx, img.ID, "other"); err != nil || held {
		t.Errorf("a stranger extended it: %v", err)
	}
	if err := f.ReleaseLease(ctx, img.ID, "other"); err != nil {
		t.Fatal(err)
	}
	if acquire("other") {
		t.Error("a stranger released it")
	}
	f.exec(t, `UPDATE leases SET expires_at = clock_timestamp() + interval '1 s'`)
	if held, err := f.ExtendLease(ctx, img.ID, holder); err != nil || !held {
		t.Errorf("its holder can't extend it: %v", err)
	}
	if !scan[bool](t, f, `SELECT expires_at > clock_timestamp() + interval '50 s' FROM leases`) {
		t.Error("extending did not make it longer")
	}
	f.exec(t, `UPDATE leases SET expires_at = clock_timestamp() - interval '1 ms'`)
	if !acquire("other") {
		t.Error("a lease that has ended keeps others off")
	}
	if held, err := f.ExtendLease(ctx, img.ID, holder); err != nil || held {
		t.Errorf("the former holder has it still: %v", err)
	}
	if err := f.ReleaseLease(ctx, img.ID, "other"); err != nil || !acquire("third") {
		t.Errorf("released, it is not free: %v", err)
	}
	if err := f.DropLeases(ctx); err != nil || !acquire("fourth") {
		t.Errorf("dropped, it is not free: %v", err)
	}
}

func TestRequeueUnheld(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	f.registerOne(t, p.ID, "A", 2) // open: never
	f.seeOne(t, img, "A", "e")
	requeue := func() int {
		t.Helper()
		n, err := f.RequeueUnheld(ctx, time.Now().Add(time.Second), 10)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, state := range []string{"available", "scheduled", "retryable"} {
		f.exec(t, `UPDATE river_job SET state = $1::river_job_state`, state)
		if requeue() != 0 {
			t.Errorf("queued again beside a job that is %s", state)
		}
	}
	// A job of another image does not count, nor one of another kind.
	f.exec(t, `UPDATE river_job SET args = jsonb_build_object('image_id', 'other')`)
	if requeue() != 1 || requeue() != 0 {
		t.Error("another image's job keeps it from being queued once")
	}
	want := broker.ValidateArgs{ImageID: img.ID, Attempt: 1, ETag: "e", SizeBytes: 3, Bucket: "A"}
	if jobs := f.jobs(t); jobs[len(jobs)-1] != want {
		t.Errorf("queued %+v", jobs)
	}
	f.exec(t, `UPDATE river_job SET kind = 'other'`)
	if requeue() != 1 {
		t.Error("another kind of job keeps it from being queued")
	}

	// Its worker has it, or died with it.
	f.exec(t, `UPDATE river_job SET state = 'running', attempted_at = now() + interval '1 minute'`)
	if requeue() != 0 {
		t.Error("queued again beside a job that only just began to run")
	}
	f.exec(t, `UPDATE river_job SET attempted_at = now() - interval '1 minute'`)
	if _, _, err := f.AcquireLease(ctx, img.ID, "alive"); err != nil {
		t.Fatal(err)
	}
	if requeue() != 0 {
		t.Error("queued again while somebody holds it")
	}
	f.exec(t, `UPDATE leases SET expires_at = clock_timestamp() - interval '1 ms'`)
	if requeue() != 1 {
		t.Error("not queued again when its lease had ended")
	}
	for _, state := range []string{"discarded", "cancelled", "completed"} {
		f.exec(t, `UPDATE river_job SET state = $1::river_job_state, finalized_at = now()`, state)
		if requeue() != 1 {
			t.Errorf("not queued again though its job is %s", state)
		}
	}

	// Only what was seen before the given time.
	f.exec(t, `DELETE FROM river_job`)
	if n, err := f.RequeueUnheld(ctx, f.image(t, img.ID).UploadedAt.Add(-time.Microsecond), 10); err != nil || n != 0 {
		t.Errorf("%d queued too early, %v", n, err)
	}
	// While its project is removed a job would find nothing to do.
	now := time.Now()
	if _, err := f.RemoveProject(ctx, p.ID, now, now.Add(time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	if requeue() != 0 {
		t.Error("queued in a removed project")
	}
	if _, err := f.UndoRemoveProject(ctx, p.ID, now, f.by); err != nil {
		t.Fatal(err)
	}
	if requeue() != 1 {
		t.Error("not queued after the project came back")
	}
	// No more than asked for.
	f.exec(t, `DELETE FROM river_job`)
	for i := 3; i < 8; i++ {
		f.seeOne(t, f.registerOne(t, p.ID, "A", i), "A", "e")
	}
	f.exec(t, `DELETE FROM river_job`)
	for i, want := range []int{4, 2, 0} {
		if n, err := f.RequeueUnheld(ctx, time.Now().Add(time.Second), 4); err != nil || n != want {
			t.Errorf("round %d: %d queued, want %d, %v", i, n, want, err)
		}
	}
}

func TestToValidate(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	args := broker.ValidateArgs{ImageID: img.ID, Attempt: 1, ETag: "e"}
	ask := func(change func(*broker.ValidateArgs)) bool {
		t.Helper()
		a := args
		change(&a)
		got, kind, ok, err := f.ToValidate(ctx, a)
		if err != nil {
			t.Fatal(err)
		}
		if ok && (got.ID != img.ID || kind != broker.KindRecon) {
			t.Errorf("%+v of a project of kind %s", got, kind)
		}
		return ok
	}
	same := func(*broker.ValidateArgs) {}
	if ask(same) {
		t.Error("an open image is to be validated")
	}
	f.seeOne(t, img, "A", "e")
	if !ask(same) {
		t.Error("an Uploaded image is not")
	}
	if ask(func(a *broker.ValidateArgs) { a.ETag = "other" }) || ask(func(a *broker.ValidateArgs) { a.Attempt = 2 }) ||
		ask(func(a *broker.ValidateArgs) { a.ImageID = broker.NewID(time.Now()) }) {
		t.Error("what the image does not hold is to be validated")
	}
	now := time.Now()
	if _, err := f.RemoveProject(ctx, p.ID, now, now.Add(time.Hour), f.by); err != nil {
		t.Fatal(err)
	}
	if ask(same) {
		t.Error("an image of a removed project is to be validated")
	}
}

func TestCheckFailures(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	img := f.registerOne(t, p.ID, "A", 1)
	begin := time.Now().Truncate(time.Microsecond)
	_, _, err := f.CheckFailed(ctx, f.judging(img, "e", "h"), begin)
	wantCode(t, err, broker.CodeNotFound)
	f.seeOne(t, img, "A", "e")
	for i := 1; i <= 3; i++ {
		n, since, err := f.CheckFailed(ctx, f.judging(img, "e", "h"), begin.Add(time.Duration(i-1)*time.Minute))
		if err != nil || n != i || !since.Equal(begin) {
			t.Errorf("failure %d: %d since %v, %v", i, n, since, err)
		}
	}
	_, _, err = f.CheckFailed(ctx, f.judging(img, "other", "h"), begin)
	wantCode(t, err, broker.CodeNotFound)
	// Other bytes begin anew.
	f.seeOne(t, img, "A", "e2")
	later := begin.Add(time.Hour)
	if n, since, err := f.CheckFailed(ctx, f.judging(img, "e2", "h"), later); err != nil || n != 1 || !since.Equal(later) {
		t.Errorf("of other bytes: %d since %v, %v", n, since, err)
	}
}

// TestOneVerdictWins: of many verdicts on the same object one is written.
func TestOneVerdictWins(t *testing.T) {
	f := open(t)
	img := f.registerOne(t, f.newProject(t).ID, "A", 1)
	f.seeOne(t, img, "A", "e")
	var moved atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			v := broker.Verdict{SHA1: digest(1), Size: 3, CRC32: 1<<32 - 1}
			if i%2 == 1 {
				v = broker.Verdict{Reasons: []broker.Reason{{Code: broker.ReasonEmpty}}}
			}
			ok, err := f.Judge(context.Background(), f.judging(img, "e", fmt.Sprint(i)), v, time.Now())
			if err != nil {
				t.Error(err)
			}
			if ok {
				moved.Add(1)
			}
		})
	}
	wg.Wait()
	if n := scan[int](t, f, `SELECT count(*) FROM verdicts`); moved.Load() != 1 || n != 1 {
		t.Errorf("%d moved, %d verdicts are kept", moved.Load(), n)
	}
	got := f.image(t, img.ID)
	if got.State == broker.StateReady && (got.CRC32 != 1<<32-1 || got.ProvenSHA1 != digest(1) || got.ProvenBytes != 3) {
		t.Errorf("%+v", got)
	}
}
