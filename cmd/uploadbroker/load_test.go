package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/broker/postgres"
	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

// memoryBound is the most that the program may hold, in bytes, without Postgres: a
// quarter of a machine of 4 GiB, the smallest that clouds sell with 2 cores. Half of
// it remains for Postgres, for the page cache and for a validation of large photos,
// which has a budget of its own (worker.memory).
const memoryBound = 1 << 30

// loadSize says how much is done.
type loadSize struct {
	clients int
	time    time.Duration
	rounds  int // of each client; 0: until the time is over
}

// readLoadSize is the short form, unless the environment asks for another one
// (see `make bench-load`).
func readLoadSize(t testing.TB) loadSize {
	t.Helper()
	size := loadSize{clients: 200, time: 10 * time.Second}
	if text := os.Getenv("UPLOADBROKER_LOAD_TIME"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 3*time.Second {
			t.Fatalf("LOADTIME=%s: give a duration such as 1m", text)
		}
		size.time = d
	}
	if text := os.Getenv("UPLOADBROKER_LOAD_CLIENTS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 4 {
			t.Fatalf("LOADCLIENTS=%s: give a number from 4", text)
		}
		size.clients = n
	}
	return size
}

// loadRun is a crowd of clients at one server.
type loadRun struct {
	t       testing.TB
	size    loadSize
	server  *server
	store   *postgres.Store // the server's database, beside it
	kinds   []*loadKind
	teams   []string // projects that several clients share
	clients []*loadClient
	began   time.Time
	ended   time.Time // when the last client had ended
}

// BenchmarkLoad: a crowd of clients at once, each with a connection of its own, on
// the whole product as a process of its own: its private Postgres, its local
// bucket. They register, PUT, ask and wait like the clients in the field, REST and
// GraphQL, and try nothing a second time. There must be no error; every file that
// was put must get its one right verdict; memory must be bounded.
//
// Clients share the cores with the server, so that latencies are those of a machine
// with too much to do. The peers run in the same go, on the same cores: a bare Echo
// with as many clients (x-echo: requests), and pgbench's single-row INSERTs
// (x-pgbench: files from registration to verdict).
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		l := newLoadRun(b, readLoadSize(b))
		hello, tps := l.echoHello(), (&bench{app: &app{db: &database{Store: l.store}}}).pgbench(b)
		watch := l.watch()
		l.run()
		watch.end()
		judged := l.judgedInTime()
		settled := l.settle()
		waits := l.judge()
		l.checkFaults()
		watch.checkMemory(memoryBound)
		left := l.checkIdle(watch)
		if code := l.server.stop(); code != 0 {
			b.Errorf("the server ended with %d:\n%s", code, l.server.out)
		}
		warnings := l.checkLog()

		// Not by b.Log, which keeps ten lines.
		fmt.Fprintf(os.Stderr, "%d clients for %s, verdicts of all %s later\n%s\n%s\n%s%s%s", l.size.clients, l.size.time, settled.Round(100*time.Millisecond),
			percentiles("request", l.took()), percentiles("after its PUT a file waited", waits), watch, left, warnings)
		took := l.ended.Sub(l.began).Seconds()
		requests := 0
		for _, times := range l.took() {
			requests += len(times)
		}
		b.ReportMetric(float64(l.size.clients), "clients")
		b.ReportMetric(float64(requests)/took, "req/s")
		b.ReportMetric(float64(judged)/took, "files/s")
		for _, kind := range []string{"register", "PUT"} {
			times := l.took()[kind]
			for _, p := range []int{50, 95, 99} {
				b.ReportMetric(milliseconds(times, p), fmt.Sprintf("%s-p%d-ms", strings.ToLower(kind), p))
			}
		}
		b.ReportMetric(float64(watch.peak)/(1<<20), "peak-MiB")
		b.ReportMetric(float64(watch.postgresPeak)/(1<<20), "postgres-MiB")
		b.ReportMetric(float64(watch.used.commits)/float64(max(judged, 1)), "commits/file")
		b.ReportMetric(hello, "echo-req/s")
		b.ReportMetric(float64(requests)/took/hello, "x-echo")
		b.ReportMetric(tps, "pgbench-tps")
		b.ReportMetric(float64(judged)/took/tps, "x-pgbench")
		b.ReportMetric(0, "ns/op") // of many clients at once it means nothing
	}
}

// TestLoad is the same in small: each client does two rounds.
func TestLoad(t *testing.T) {
	l := newLoadRun(t, loadSize{clients: 40, time: patience, rounds: 2})
	l.run()
	l.settle()
	l.judge()
	l.checkFaults()
	l.checkLog()
	files := 0
	for range l.put() {
		files++
	}
	if files < 2*l.size.clients {
		t.Errorf("%d clients brought %d files in two rounds", l.size.clients, files)
	}
}

// newLoadRun starts the server.
func newLoadRun(t testing.TB, size loadSize) *loadRun {
	t.Helper()
	// A client's request has at most four files open in the server: its own
	// connection, both ends of the one to the gateway, and the object. Go raises a
	// process's limit as far as it may by itself.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if need := uint64(4*size.clients + 300); limit.Cur < need {
		t.Fatalf("a process may open %d files here; for %d clients raise that to %d (ulimit -Hn)", limit.Cur, size.clients, need)
	}
	l := &loadRun{t: t, size: size, kinds: loadKinds(t), server: start(t, dataFolder(t))}
	dsn, running, err := privatepg.Attach(t.Context(), privatepg.Options{DataDir: l.server.data})
	if err != nil || !running {
		t.Fatalf("the server's database runs: %v, %v", running, err)
	}
	if l.store, err = postgres.Open(t.Context(), dsn, 2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.store.Close)
	for i := range min(10, size.clients/4) {
		var p struct{ ID string }
		if status := l.server.call("POST", "/v1/projects", map[string]any{"name": fmt.Sprintf("team %d", i)}, &p); status != http.StatusCreated {
			t.Fatalf("make a project: %d", status)
		}
		l.teams = append(l.teams, p.ID)
	}
	http.DefaultClient.CloseIdleConnections()
	return l
}

// pick chooses a kind of file. Only old clients can bring bytes that belie their
// sha1; the grants of the native API are bound to it.
func (l *loadRun) pick(r *rand.Rand, old bool) *loadKind {
	for n := r.IntN(100); ; n = r.IntN(100) {
		for _, k := range l.kinds {
			if n -= k.share; n < 0 {
				if k.lies && !old {
					break
				}
				return k
			}
		}
	}
}

// run lets all clients in at once and returns when the last has ended.
func (l *loadRun) run() {
	l.began = time.Now()
	over, cancel := context.WithTimeout(l.t.Context(), l.size.time)
	defer cancel()
	var crowd sync.WaitGroup
	gate := make(chan struct{})
	for number := range l.size.clients {
		c := newLoadClient(l, number)
		l.clients = append(l.clients, c)
		crowd.Go(func() {
			<-gate
			c.run(over)
		})
	}
	close(gate)
	crowd.Wait()
	l.ended = time.Now()
}

// put yields every file whose PUT was answered with 200, with its client.
func (l *loadRun) put() func(func(*loadClient, *loadFile) bool) {
	return func(yield func(*loadClient, *loadFile) bool) {
		for _, c := range l.clients {
			for _, f := range c.files {
				if !f.put.IsZero() && !yield(c, f) {
					return
				}
			}
		}
	}
}

// took are the sorted times of all requests by kind.
func (l *loadRun) took() map[string][]time.Duration {
	all := map[string][]time.Duration{}
	for _, c := range l.clients {
		for kind, times := range c.took {
			all[kind] = append(all[kind], times...)
		}
	}
	for _, times := range all {
		slices.Sort(times)
	}
	return all
}

// milliseconds is a percentile of sorted times.
func milliseconds(times []time.Duration, percent int) float64 {
	if len(times) == 0 {
		return 0
	}
	return float64(times[(len(times)-1)*percent/100].Microseconds()) / 1000
}

// percentiles makes a table of sorted times by kind.
func percentiles(title string, all map[string][]time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-27s %8s %9s %9s %9s %9s\n", title, "count", "p50 ms", "p95 ms", "p99 ms", "max ms")
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		times := all[kind]
		fmt.Fprintf(&b, "%-27s %8d", kind, len(times))
		for _, p := range []int{50, 95, 99, 100} {
			fmt.Fprintf(&b, " %9.1f", milliseconds(times, p))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// checkFaults fails for every kind of error that a client met.
func (l *loadRun) checkFaults() {
	l.t.Helper()
	all := map[string]int{}
	for _, c := range l.clients {
		for what, n := range c.faults {
			all[what] += n
		}
	}
	for _, what := range slices.Sorted(maps.Keys(all)) {
		l.t.Errorf("%d times %s", all[what], what)
	}
}

// checkLog fails when the server logged an error, and returns its warnings.
func (l *loadRun) checkLog() (warnings string) {
	l.t.Helper()
	counts := map[string]int{}
	for line := range strings.Lines(l.server.out.String()) {
		if _, what, ok := strings.Cut(line, " level="); ok && !strings.HasPrefix(what, "INFO") && !strings.HasPrefix(what, "DEBUG") {
			counts[loadIDs.ReplaceAllString(strings.TrimSpace(what), "#")]++
		}
	}
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		told := fmt.Sprintf("the server logged, %d times: %s", counts[what], what)
		if strings.HasPrefix(what, "ERROR") {
			l.t.Error(told)
		}
		warnings += told + "\n"
	}
	return warnings
}

// echoHello is the peer: how many requests a second a bare Echo in this process
// answers to as many clients, who wait for nothing.
func (l *loadRun) echoHello() float64 {
	l.t.Helper()
	e := echo.New()
	e.POST("/", func(c echo.Context) error { return c.JSON(http.StatusOK, map[string]string{"hello": "world"}) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	server := &http.Server{Handler: e}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	over, cancel := context.WithTimeout(l.t.Context(), 3*time.Second)
	defer cancel()
	var crowd sync.WaitGroup
	var n atomic.Int64
	began := time.Now()
	for number := range l.size.clients {
		c := newLoadClient(l, number)
		crowd.Go(func() {
			defer c.http.CloseIdleConnections()
			for over.Err() == nil && c.send("hello", http.MethodPost, "http://"+listener.Addr().String(), map[string]string{"Content-Type": "application/json"}, []byte(`{"hello":"echo"}`), http.StatusOK, nil) {
				n.Add(1)
			}
			for what := range c.faults {
				l.t.Errorf("the peer: %s", what)
			}
		})
	}
	crowd.Wait()
	return float64(n.Load()) / time.Since(began).Seconds()
}
