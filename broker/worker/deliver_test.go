package worker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/hook"
	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/worker"
)

const whsec = "whsec_YSBzZWNyZXQgZm9yIHRoZSB0ZXN0cyBvZiB3ZWJob29rcw=="

// receiver is an endpoint that takes what is signed as it should be.
type receiver struct {
	*httptest.Server
	secret hook.Secret

	mu     sync.Mutex
	answer func(w http.ResponseWriter) bool // true: it was taken; nil: all is
	tries  int
	bodies map[string]string // by webhook-id, of what was taken
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{bodies: map[string]string{}}
	var err error
	if r.secret, err = hook.ParseSecret(whsec); err != nil {
		t.Fatal(err)
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		id, err := hook.Verify(req.Header, body, time.Now(), r.secret)
		if err != nil || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %v: %v", req.Method, req.Header, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tries++
		if before, ok := r.bodies[id]; ok && before != string(body) {
			t.Errorf("%s says %s, and before %s", id, body, before)
		}
		if r.answer == nil || r.answer(w) {
			r.bodies[id] = string(body)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answers(f func(w http.ResponseWriter) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *receiver) tried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries
}

func (r *receiver) endpoint(events ...string) worker.Endpoint {
	if len(events) == 0 {
		events = broker.AllNotices()
	}
	return worker.Endpoint{URL: r.URL + "/hook?SECRET", Secrets: []hook.Secret{r.secret}, Events: events}
}

// received are the notices that were taken, in the order of project and sequence.
func (r *receiver) received(t *testing.T) (all []broker.Notice[broker.ImageNotice]) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, body := range r.bodies {
		var n broker.Notice[broker.ImageNotice]
		if err := json.Unmarshal([]byte(body), &n); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b broker.Notice[broker.ImageNotice]) int {
		if a.Data.ProjectID == b.Data.ProjectID {
			return int(a.Data.Sequence - b.Data.Sequence)
		}
		return strings.Compare(a.Data.ProjectID, b.Data.ProjectID)
	})
	return all
}

// status answers with a status.
func status(code int) func(http.ResponseWriter) bool {
	return func(w http.ResponseWriter) bool {
		w.WriteHeader(code)
		return code < 300
	}
}

// telling is a worker that tells these endpoints.
func (w *world) telling(t *testing.T, endpoints ...worker.Endpoint) *worker.Worker {
	t.Helper()
	c := w.Config
	c.Webhooks = endpoints
	c.Log = slog.New(slog.DiscardHandler)
	c.Fetch = fetch.New(fetch.Options{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	told := worker.New(c)
	told.DeliverEvery(time.Millisecond)
	return told
}

// TestEveryNoticeArrives: whatever an endpoint answers at first, and however often
// the worker ends meanwhile, it hears of all, each said in the same words under the
// same id.
func TestEveryNoticeArrives(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t)
	r.answers(func(rw http.ResponseWriter) bool {
		switch rand.IntN(16) { // eleven of these in a row don't happen
		case 0:
			panic(http.ErrAbortHandler)
		case 1:
			return status(http.StatusInternalServerError)(rw)
		case 2:
			rw.Header().Set("Location", "/elsewhere")
			return status(http.StatusFound)(rw)
		case 3:
			panic(http.ErrAbortHandler) // it had it, and the answer got lost
		}
		return status(http.StatusNoContent)(rw)
	})
	stop := start(t, w.telling(t, r.endpoint()))
	want := 0
	for range 3 {
		p := w.project(t)
		var files [][]byte
		for range 4 {
			files = append(files, photo(1000+want))
			want++
		}
		images := w.register(t, p, "A", files...)
		for i, img := range images {
			put(t, w.a, img.Key(), files[i])
		}
		if err := w.LookAt(t.Context(), "A", images[0].Key()); err != nil {
			t.Fatal(err)
		}
		want++ // it settles
		stop()
		stop = start(t, w.telling(t, r.endpoint()))
	}
	eventually(t, "all is told", func() bool { return len(r.received(t)) == want })
	last, project := int64(0), ""
	for _, n := range r.received(t) {
		if n.Data.ProjectID != project {
			last, project = 0, n.Data.ProjectID
		}
		if last++; n.Data.Sequence != last || n.Data.Project.ID != project || n.Data.Project.Name != "test" || n.Timestamp.IsZero() {
			t.Errorf("after %d comes %+v", last-1, n)
		}
		if settled := n.Type == broker.NoticeProjectSettled; settled != (last == 5) {
			t.Errorf("%d is %s", last, n.Type)
		} else if !settled && (n.Type != broker.NoticeImageReady || n.Data.Image.State != "Ready" || len(n.Data.Image.SHA1) != 40 || *n.Data.Image.Size == 0 || n.Data.Image.Bucket != "A") {
			t.Errorf("%+v", n)
		}
	}
	eventually(t, "no delivery is left", func() bool { return w.count(t, `river_job WHERE kind = 'deliver' AND state <> 'completed'`) == 0 })
	if n := w.count(t, `river_job WHERE args::text ILIKE '%secret%' OR args::text LIKE '%127.0.0.1%' OR errors::text LIKE '%SECRET%'`); n > 0 {
		t.Errorf("%d jobs tell of the address", n)
	}
}

// TestDeadDeliveries are listed with their cause, and replayed by hand.
func TestDeadDeliveries(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t)
	r.answers(status(http.StatusServiceUnavailable))
	told := w.telling(t, r.endpoint(broker.NoticeProjectSettled))
	results := map[string]int{}
	var mu sync.Mutex
	told.Delivered = func(_, result string) {
		mu.Lock()
		defer mu.Unlock()
		results[result]++
	}
	start(t, told)
	data := photo(1)
	w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	dead := func() (found postgres.Job) {
		jobs, err := w.store.Jobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if j.Kind == "deliver" && j.State == postgres.JobFailed {
				found = j
			}
		}
		return found
	}
	eventually(t, "it is given up", func() bool { return dead().ID > 0 })
	if j := dead(); r.tried() != postgres.DeliverAttempts || j.Try != j.MaxTries || !strings.Contains(j.LastCause, "503") || strings.Contains(j.LastCause, "SECRET") {
		t.Errorf("after %d tries: %+v", r.tried(), j)
	}
	mu.Lock()
	if results[worker.DeliveryDead] != 1 || results[worker.DeliveryFailed] != postgres.DeliverAttempts-1 {
		t.Errorf("%v", results)
	}
	mu.Unlock()
	states, err := w.store.Endpoints(t.Context())
	if err != nil || len(states) != 1 || states[0].Dead != 1 || states[0].Waiting != 0 || !strings.Contains(states[0].LastCause, "503") ||
		states[0].Host != strings.TrimPrefix(r.URL, "http://") || !slices.Equal(states[0].Events, []string{broker.NoticeProjectSettled}) {
		t.Errorf("%+v, %v", states, err)
	}

	// Replayed, it is gone for good at once.
	r.answers(status(http.StatusGone))
	if err := w.store.RetryJob(t.Context(), dead().ID, time.Now(), broker.Caller{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is given up again", func() bool { return strings.Contains(dead().LastCause, "410") })
	if n := r.tried(); n != postgres.DeliverAttempts+1 {
		t.Errorf("%d tries", n)
	}
	r.answers(nil)
	if err := w.store.RetryJob(t.Context(), dead().ID, time.Now(), broker.Caller{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it arrives", func() bool { return len(r.received(t)) == 1 })
}

// TestKilledWhileDelivering: the delivery is somebody's again, also at its last try.
func TestKilledWhileDelivering(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t)
	told := w.telling(t, r.endpoint())
	data := photo(1)
	w.waiting(t, r.endpoint(), data)
	w.exec(t, `UPDATE river_job SET state = 'running', attempt = $1, attempted_at = now(), attempted_by = '{dead}' WHERE kind = 'deliver'`, postgres.DeliverAttempts)
	w.clock.pass(30 * time.Second)
	w.sweep(t)
	if n := w.count(t, `river_job WHERE kind = 'deliver' AND state = 'running'`); n != 1 {
		t.Fatal("it is taken from who may still be at it")
	}
	w.clock.pass(time.Minute)
	w.sweep(t)
	if n := w.count(t, `river_job WHERE kind = 'deliver' AND state = 'available' AND attempt = $1 AND max_attempts = $2`,
		postgres.DeliverAttempts-1, postgres.DeliverAttempts); n != 1 {
		t.Fatal("nobody takes it over, or it costs a try")
	}
	w.clock.pass(-90 * time.Second) // or it would be taken from who is at it now
	start(t, told)
	eventually(t, "it arrives", func() bool { return len(r.received(t)) == 1 })
}

// waiting has a delivery wait for an endpoint: nobody is at it.
func (w *world) waiting(t *testing.T, e worker.Endpoint, data []byte) {
	t.Helper()
	if err := w.store.NameEndpoints(t.Context(), []broker.Endpoint{{ID: e.ID(), Host: "x", Events: []string{broker.NoticeImageReady}}}, true); err != nil {
		t.Fatal(err)
	}
	w.ready(t, w.register(t, w.project(t), "A", data)[0], data)
	if n, err := w.store.Dispatch(t.Context(), 1); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

// TestEndpointsOfOthers are left to them, whatever other processes have; until nobody
// has named them for a day, or a month, and those who may have been down had time to
// begin.
func TestEndpointsOfOthers(t *testing.T) {
	w := newWorld(t)
	r, other := newReceiver(t), newReceiver(t)
	w.waiting(t, r.endpoint(), photo(1))
	kept := func(when string, want bool) {
		t.Helper()
		endpoints := w.count(t, `webhook_endpoints WHERE id = $1`, r.endpoint().ID())
		waiting := w.count(t, `river_job WHERE kind = 'deliver' AND state = 'available'`)
		if endpoints == 1 != want || waiting == 1 != want {
			t.Errorf("%s: %d endpoints, %d deliveries wait", when, endpoints, waiting)
		}
	}
	unnamed := func(age string) {
		w.exec(t, `UPDATE webhook_endpoints SET seen_at = now() - $1::interval WHERE id = $2`, age, r.endpoint().ID())
	}
	keep := func(of *worker.Worker) {
		t.Helper()
		if err := of.KeepEndpoints(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.sweep(t)
	}
	stop := start(t, w.telling(t))
	w.sweep(t)
	stop()
	kept("one without any began", true)

	unnamed("25 h")
	none, some := w.telling(t), w.telling(t, other.endpoint(broker.NoticeTaskChanged))
	keep(some)
	kept("one with others began", true)
	w.clock.pass(2 * time.Hour)
	keep(none)
	kept("one without any is at it for long", true)
	unnamed("23 h")
	keep(some)
	kept("it was named of late", true)
	unnamed("25 h")
	keep(some)
	kept("nobody names it", false)
	if n := w.count(t, `webhook_endpoints WHERE id = $1`, other.endpoint().ID()); n != 1 {
		t.Error("it forgets its own")
	}

	w.waiting(t, r.endpoint(), photo(2))
	unnamed("31 days")
	keep(none)
	kept("nobody has any", false)
}

// TestForeignDelivery: one that comes to a process that does not know its endpoint waits
// for a process that does.
func TestForeignDelivery(t *testing.T) {
	w := newWorld(t)
	r, other := newReceiver(t), newReceiver(t)
	w.waiting(t, r.endpoint(), photo(1))
	w.exec(t, `UPDATE river_job SET queue = $1 WHERE kind = 'deliver'`, postgres.DeliverQueue(other.endpoint().ID()))
	stop := start(t, w.telling(t, other.endpoint()))
	eventually(t, "it waits", func() bool {
		return w.count(t, `river_job WHERE kind = 'deliver' AND state = 'scheduled' AND scheduled_at > now() + interval '30 s'`) == 1
	})
	stop()
	w.exec(t, `UPDATE river_job SET queue = $1, state = 'available', scheduled_at = now() WHERE kind = 'deliver'`, postgres.DeliverQueue(r.endpoint().ID()))
	start(t, w.telling(t, r.endpoint()))
	eventually(t, "it arrives", func() bool { return len(r.received(t)) == 1 })
}

// TestASlowEndpoint holds up no other.
func TestASlowEndpoint(t *testing.T) {
	w := newWorld(t)
	slow, quick := newReceiver(t), newReceiver(t)
	release := make(chan struct{})
	t.Cleanup(sync.OnceFunc(func() { close(release) }))
	slow.answers(func(http.ResponseWriter) bool { <-release; return true })
	start(t, w.telling(t, slow.endpoint(), quick.endpoint()))
	p := w.project(t)
	var files [][]byte
	for n := range 12 {
		files = append(files, photo(n))
	}
	images := w.register(t, p, "A", files...)
	for i, img := range images {
		put(t, w.a, img.Key(), files[i])
	}
	if err := w.LookAt(t.Context(), "A", images[0].Key()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the quick one hears of all", func() bool { return len(quick.received(t)) == 13 })
	if n := w.count(t, `river_job WHERE queue = $1 AND state = 'running'`, postgres.DeliverQueue(slow.endpoint().ID())); n == 0 || n > 4 {
		t.Errorf("%d deliveries to the slow one", n)
	}
}

// TestDeliverPauses: the tries are spread over three days, or as the endpoint asks.
func TestDeliverPauses(t *testing.T) {
	w := newWorld(t)
	now := w.Now()
	w.Config.Now = func() time.Time { return now }
	plain := worker.New(w.Config)
	all := time.Duration(0)
	for attempt := 1; attempt < postgres.DeliverAttempts; attempt++ {
		pause := plain.NextDelivery(attempt, 0).Sub(now)
		if all += pause; pause < 5*time.Second || pause > 27*time.Hour {
			t.Errorf("%v after try %d", pause, attempt)
		}
	}
	if all < 72*time.Hour || all > 84*time.Hour {
		t.Errorf("it is tried for %v", all)
	}
	for later, want := range map[time.Duration]time.Duration{time.Hour: time.Hour, 1000 * time.Hour: 24 * time.Hour} {
		if got := plain.NextDelivery(1, later).Sub(now); got != want {
			t.Errorf("asked for %v it is %v", later, got)
		}
	}
	// What the endpoint asked for reaches the schedule.
	r := newReceiver(t)
	r.answers(func(rw http.ResponseWriter) bool {
		rw.Header().Set("Retry-After", fmt.Sprint(3600))
		return status(http.StatusTooManyRequests)(rw)
	})
	start(t, w.telling(t, r.endpoint(broker.NoticeProjectSettled)))
	data := photo(1)
	w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	eventually(t, "it waits for an hour", func() bool {
		return w.count(t, `river_job WHERE kind = 'deliver' AND state = 'retryable' AND scheduled_at BETWEEN now() + interval '50 min' AND now() + interval '61 min'`) == 1
	})
	if n := r.tried(); n != 1 {
		t.Errorf("%d tries", n)
	}
}
