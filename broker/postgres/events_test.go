package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
)

// hears configures endpoints that want these types.
func (f *fixture) hears(t testing.TB, byEndpoint map[string][]string) {
	t.Helper()
	var all []broker.Endpoint
	for id, types := range byEndpoint {
		all = append(all, broker.Endpoint{ID: id, Host: id + ".example", Events: types})
	}
	if err := f.NameEndpoints(context.Background(), all, true); err != nil {
		t.Fatal(err)
	}
}

// unnamed is about an endpoint that no process has named for so long, and forgets
// those of a day.
func (f *fixture) unnamed(t testing.TB, id string, since time.Duration) {
	t.Helper()
	f.exec(t, `UPDATE webhook_endpoints SET seen_at = now() - $2::interval WHERE id = $1`, id, since)
	if err := f.ForgetEndpoints(context.Background(), 24*time.Hour); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) dispatch(t testing.TB) {
	t.Helper()
	if _, err := f.Dispatch(context.Background(), 100); err != nil {
		t.Fatal(err)
	}
}

// told lists what is told of a project, in its order.
func (f *fixture) told(t testing.TB, projectID string) []broker.Told {
	t.Helper()
	rows, err := f.Pool().Query(context.Background(), `SELECT id FROM events WHERE project_id = $1 AND sequence IS NOT NULL ORDER BY sequence`, projectID)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	var all []broker.Told
	for i, id := range ids {
		e, ok, err := f.EventToTell(context.Background(), id)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if e.Sequence != int64(i+1) {
			t.Fatalf("event %d of the project has the sequence %d", i+1, e.Sequence)
		}
		all = append(all, e)
	}
	return all
}

// typesOf are the types of what is told, and the counts of those that tell some.
func typesOf(all []broker.Told) string {
	var types []string
	for _, e := range all {
		said := e.Type
		if e.Type == broker.NoticeProjectSettled {
			var c broker.NoticeCounts
			_ = json.Unmarshal(e.Data, &c)
			said = fmt.Sprintf("settled %d+%d", c.Ready, c.Invalid)
		}
		types = append(types, said)
	}
	return strings.Join(types, ", ")
}

func (f *fixture) judge(ctx context.Context, img broker.Image, good bool) error {
	v := broker.Verdict{SHA1: img.SHA1, Size: 3, CRC32: 7, Facts: broker.Facts{Type: "image/jpeg", Proof: broker.ProofFull}}
	if !good {
		v.Reasons = []broker.Reason{broker.Reasonf(broker.ReasonCorrupt, "so it is")}
	}
	_, err := f.Judge(ctx, judging(img), v, time.Now())
	return err
}

// TestSettlings: whatever verdicts come at once in many projects, and however many
// dispatch them in however small parts, each settling is told once, with its counts,
// and what is told is numbered without holes.
func TestSettlings(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	f.hears(t, map[string][]string{"all": broker.AllNotices(), "some": {broker.NoticeProjectSettled}})
	stop := make(chan struct{})
	var dispatchers, projects sync.WaitGroup
	for range 3 {
		dispatchers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := f.Dispatch(ctx, 3); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	const rounds = 4
	want := make([]string, 6)
	ids := make([]string, len(want))
	for i := range want {
		p := f.newProject(t)
		ids[i] = p.ID
		projects.Go(func() {
			ready, invalid := 0, 0
			for round := range rounds {
				var images []broker.Image
				for n := range 1 + rand.IntN(6) {
					img := f.registerOne(t, p.ID, "A", 100*round+n)
					f.seeOne(t, img, "A", "e1")
					images = append(images, f.image(t, img.ID))
				}
				var judges sync.WaitGroup
				for n, img := range images {
					good := (n+round)%3 > 0
					if good {
						ready++
					} else {
						invalid++
					}
					judges.Go(func() {
						if err := f.judge(ctx, img, good); err != nil {
							t.Error(err)
						}
					})
				}
				judges.Wait()
				want[i] += fmt.Sprintf(" %d+%d", ready, invalid)
				for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
					if scan[int](t, f, `SELECT count(*) FROM events WHERE project_id = $1 AND type = 'project.settled'`, p.ID) > round {
						break
					}
					if time.Now().After(deadline) {
						t.Error("it is never settled")
						return
					}
				}
			}
		})
	}
	projects.Wait()
	close(stop)
	dispatchers.Wait()
	f.dispatch(t)
	for i, id := range ids {
		got, verdicts := "", 0
		all := f.told(t, id)
		for _, e := range all {
			if counts, ok := strings.CutPrefix(typesOf([]broker.Told{e}), "settled"); ok {
				got += counts
			} else {
				verdicts++
			}
		}
		if n := scan[int](t, f, `SELECT count(*) FROM images WHERE project_id = $1`, id); got != want[i] || verdicts != n {
			t.Errorf("told are %d verdicts of %d, and the settlings%s; want%s", verdicts, n, got, want[i])
		}
	}
	all := scan[int](t, f, `SELECT count(*) FROM events`)
	if n := scan[int](t, f, `SELECT count(*) FROM river_job WHERE kind = 'deliver' AND queue = 'webhook-all'`); n != all {
		t.Errorf("%d deliveries of %d events", n, all)
	}
	if n := scan[int](t, f, `SELECT count(*) FROM river_job WHERE kind = 'deliver' AND queue = 'webhook-some'`); n != rounds*len(ids) {
		t.Errorf("%d deliveries of %d settlings", n, rounds*len(ids))
	}
}

// TestWhatSettles walks through what opens and closes images.
func TestWhatSettles(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	f.hears(t, map[string][]string{"all": broker.AllNotices()})
	p := f.newProject(t)
	said := 0
	step := func(what, want string) {
		t.Helper()
		f.dispatch(t)
		all := f.told(t, p.ID)
		if got := typesOf(all[said:]); got != want {
			t.Errorf("%s: told is %q, want %q", what, got, want)
		}
		said = len(all)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	one, two := f.registerOne(t, p.ID, "A", 1), f.registerOne(t, p.ID, "A", 2)
	f.seeOne(t, one, "A", "e1")
	step("registered and seen", "")
	must(f.judge(ctx, f.image(t, one.ID), true))
	step("one judged", "image.ready")
	must(f.RemoveImage(ctx, p.ID, two.ID, time.Now(), time.Now().Add(time.Minute), f.by))
	step("the other removed", "settled 1+0")
	must(f.UndoRemoveImage(ctx, p.ID, two.ID, time.Now(), f.by))
	step("and brought back", "")
	late := time.Now().Add(grantFor + broker.GraceAfterGrant + time.Minute)
	if n, err := f.Expire(ctx, []broker.OpenUpload{{ImageID: two.ID, Attempt: 1}}, late); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	step("expired", "image.invalid, settled 1+1")
	must(f.RemoveImage(ctx, p.ID, one.ID, time.Now(), time.Now().Add(time.Minute), f.by))
	must(f.UndoRemoveImage(ctx, p.ID, one.ID, time.Now(), f.by))
	step("a Ready one removed and brought back", "")
	f.seeOne(t, one, "A", "e2")
	step("overwritten", "")
	must(f.judge(ctx, f.image(t, one.ID), false))
	step("judged again", "image.invalid, settled 0+2")
	if ok, err := f.Accept(ctx, f.image(t, one.ID), time.Now(), f.by); !ok || err != nil {
		t.Fatal(ok, err)
	}
	step("accepted: a verdict, but nothing was open", "image.ready")

	// What closes in one moment with others waiting for the next part settles once.
	three, four := f.uploaded(t, p.ID, 3), f.uploaded(t, p.ID, 4)
	must(f.judge(ctx, three, true))
	must(f.judge(ctx, four, true))
	if n, err := f.Dispatch(ctx, 1); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	step("both judged", "image.ready, image.ready, settled 3+1")
}

// TestOnlyWhatIsHeard: what nobody wants to hear is neither kept nor numbered.
func TestOnlyWhatIsHeard(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	p := f.newProject(t)
	number := 0
	judged := func() {
		t.Helper()
		number++
		if err := f.judge(ctx, f.uploaded(t, p.ID, number), number%2 > 0); err != nil {
			t.Fatal(err)
		}
	}
	judged()
	if n := scan[int](t, f, `SELECT count(*) FROM events`); n != 0 {
		t.Errorf("%d events that nobody asked for", n)
	}
	f.hears(t, map[string][]string{"a": {broker.NoticeProjectSettled}, "b": {broker.NoticeImageInvalid}})
	judged()
	judged()
	f.dispatch(t)
	if got := typesOf(f.told(t, p.ID)); got != "image.invalid, settled 2+1" {
		t.Errorf("told is %s", got)
	}
	// Deliveries to those who are gone are given up, with the cause: not as another
	// process begins that has others or none, but once nobody names them.
	f.hears(t, nil)
	f.hears(t, map[string][]string{"c": {broker.NoticeTaskChanged}})
	f.unnamed(t, "a", 23*time.Hour)
	if n := scan[int](t, f, `SELECT count(*) FROM river_job WHERE kind = 'deliver' AND state = 'available'`); n != 2 {
		t.Errorf("%d deliveries are left", n)
	}
	f.unnamed(t, "a", 25*time.Hour)
	jobs, err := f.Jobs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	var dead int64
	for _, j := range jobs {
		if j.Kind == "deliver" {
			states = append(states, string(j.State)+": "+j.LastCause)
			if j.State == postgres.JobFailed {
				dead = j.ID
			}
		}
	}
	if !slices.Equal(states, []string{"failed: the endpoint is not in the configuration any more", "waiting: "}) {
		t.Errorf("%q", states)
	}
	wantCode(t, f.RetryJob(ctx, dead, time.Now(), broker.Caller{}), broker.CodeConflict)
	// It is back.
	f.hears(t, map[string][]string{"a": broker.AllNotices()})
	if err := f.RetryJob(ctx, dead, time.Now(), broker.Caller{}); err != nil {
		t.Fatal(err)
	}
	if n := scan[int](t, f, `SELECT count(*) FROM river_job WHERE id = $1 AND state = 'available' AND attempt = 0 AND max_attempts = $2 AND cardinality(errors) = 1`,
		dead, postgres.DeliverAttempts); n != 1 {
		t.Error("it does not begin again")
	}
}

// TestNamedAgain: to be named again keeps an endpoint; what it wants says the process
// that began last, or two of them would quarrel about it.
func TestNamedAgain(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	f.hears(t, map[string][]string{"a": {broker.NoticeImageReady}})
	f.hears(t, map[string][]string{"a": {broker.NoticeTaskChanged}})
	f.exec(t, `UPDATE webhook_endpoints SET seen_at = now() - interval '25 h'`)
	if err := f.NameEndpoints(ctx, []broker.Endpoint{{ID: "a", Host: "a.example", Events: []string{broker.NoticeImageReady}}}, false); err != nil {
		t.Fatal(err)
	}
	if err := f.ForgetEndpoints(ctx, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	all, err := f.Endpoints(ctx)
	if err != nil || len(all) != 1 || !slices.Equal(all[0].Events, []string{broker.NoticeTaskChanged}) {
		t.Errorf("%+v, %v", all, err)
	}
	// One that was forgotten for all that is back as it is named.
	f.unnamed(t, "a", 25*time.Hour)
	if err := f.NameEndpoints(ctx, []broker.Endpoint{{ID: "a", Host: "a.example", Events: []string{broker.NoticeImageReady}}}, false); err != nil {
		t.Fatal(err)
	}
	if all, err := f.Endpoints(ctx); err != nil || len(all) != 1 || !slices.Equal(all[0].Events, []string{broker.NoticeImageReady}) {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestWebhookIDs are no other event's, also when numbers are given again as after the
// restore of a backup.
func TestWebhookIDs(t *testing.T) {
	f := open(t)
	f.hears(t, map[string][]string{"a": {broker.NoticeImageReady}})
	p := f.newProject(t)
	seen := map[string]bool{}
	for n := range 4 {
		if n == 2 {
			f.exec(t, `DELETE FROM events`)
			f.exec(t, `UPDATE event_sequences SET last = 0`)
			f.exec(t, `ALTER TABLE events ALTER COLUMN id RESTART`)
		}
		if err := f.judge(t.Context(), f.uploaded(t, p.ID, n), true); err != nil {
			t.Fatal(err)
		}
		f.dispatch(t)
		for range 2 { // an event keeps its own
			for _, e := range f.told(t, p.ID) {
				if !regexp.MustCompile(`^evt_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(e.WebhookID()) {
					t.Errorf("an event is %q", e.WebhookID())
				}
				seen[e.WebhookID()] = true
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("4 events have %d ids", len(seen))
	}
}

// TestTasksAreTold with what changed of them.
func TestTasksAreTold(t *testing.T) {
	f := open(t)
	f.hears(t, map[string][]string{"a": {broker.NoticeTaskChanged}})
	p := f.newProject(t)
	id := broker.NewID(time.Now())
	f.exec(t, `INSERT INTO tasks (id, project_id, type, state, stage, engine, run_id, token, owner_id, key_id, created_at)
		VALUES ($1, $2, 'Dense', 'Pending', 'waiting', 'nodeodm', gen_random_uuid(), repeat('x', 43), $3, $4, now())`, id, p.ID, f.owner.ID, f.by.Key.ID)
	f.exec(t, `UPDATE tasks SET state = 'Processing', stage = 'sending', images = 3, bytes = 77, started_at = now() WHERE id = $1`, id)
	f.exec(t, `UPDATE tasks SET progress = 20 WHERE id = $1`, id)
	f.exec(t, `UPDATE tasks SET state = 'Failed', stage = '', fault = 'ENGINE_FAILED', cause = 'no room', ended_at = now() WHERE id = $1`, id)
	f.dispatch(t)
	all := f.told(t, p.ID)
	if len(all) != 3 {
		t.Fatalf("told is %s", typesOf(all))
	}
	for i, want := range []string{"Pending waiting 0", "Processing sending 3", "Failed  3"} {
		body, err := all[i].Body()
		var n broker.Notice[broker.TaskNotice]
		if err == nil {
			err = json.Unmarshal(body, &n)
		}
		task := n.Data.Task
		if got := fmt.Sprintf("%s %s %d", task.State, task.Stage, task.Images); got != want || err != nil || task.ID != id || task.Type != "Dense" ||
			n.Type != broker.NoticeTaskChanged || n.Data.ProjectID != p.ID || n.Data.Project.Name != p.Name || n.Data.Sequence != int64(i+1) || strings.Contains(string(body), "xxxx") {
			t.Errorf("%s, %v", body, err)
		}
		if failed := task.Fault != nil; failed != (i == 2) || failed && (task.Fault.Number != 7 || task.Fault.Name != "ENGINE_FAILED" || task.Cause != "no room" || task.EndedAt == nil) {
			t.Errorf("%s", body)
		}
	}
}

// TestEventsAreSwept once they are old and told.
func TestEventsAreSwept(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	f.hears(t, map[string][]string{"a": {broker.NoticeImageReady}})
	p := f.newProject(t)
	for n := range 4 {
		if err := f.judge(ctx, f.uploaded(t, p.ID, n), true); err != nil {
			t.Fatal(err)
		}
		if n < 3 {
			f.dispatch(t)
		}
	}
	f.exec(t, `UPDATE river_job SET state = 'completed', finalized_at = now() WHERE kind = 'deliver' AND (args->>'event')::bigint = (SELECT id FROM events WHERE sequence = 1)`)
	f.exec(t, `UPDATE river_job SET state = 'discarded', finalized_at = now() WHERE kind = 'deliver' AND (args->>'event')::bigint = (SELECT id FROM events WHERE sequence = 2)`)
	if n, err := f.SweepEvents(ctx, time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("%d young ones are swept, %v", n, err)
	}
	if n, err := f.SweepEvents(ctx, time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("%d swept, %v", n, err)
	}
	if n := scan[int](t, f, `SELECT count(*) FROM events WHERE sequence IN (2, 3) OR sequence IS NULL`); n != 3 {
		t.Errorf("%d are left of what is dead, waits, and is not dispatched", n)
	}
}
