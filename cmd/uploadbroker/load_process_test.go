package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// processWatch looks at the server's process and at Postgres's every second. All
// is in bytes, and zero where there is no /proc.
type processWatch struct {
	t        testing.TB
	server   *server
	postgres int // its first process
	stop     chan struct{}
	done     sync.WaitGroup

	before       gauges
	resident     []int64 // at each look
	peak         int64   // the kernel's own high-water mark
	postgresPeak int64   // what Postgres's processes held together
	files        int     // most open files
	busy, most   float64 // database connections in use: mean of the looks, and most
	goroutines   float64 // most
	looks        int
	commits      func() int
	began        effort
	used         effort // from the beginning to the end
}

// effort is what was used of all cores, in ticks (proc(5): a hundredth of a second),
// and how many transactions Postgres ended.
type effort struct{ server, postgres, clients, all, idle, commits int }

func (w *processWatch) effort() (c effort) {
	c.commits = w.commits()
	server := w.server.cmd.Process.Pid
	c.server, c.clients = ticks(server), ticks(os.Getpid())
	for _, pid := range family(w.postgres) {
		c.postgres += ticks(pid)
	}
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		n, _ := strconv.Atoi(field) // the first is the name of the line
		if i <= 8 {                 // those after it are counted already
			c.all += n
		}
		if i == 4 || i == 5 { // idle, or waiting for a disk
			c.idle += n
		}
	}
	return c
}

// ticks reads utime and stime of proc(5)'s stat.
func ticks(pid int) (sum int) {
	for _, field := range stat(pid, 11, 12) {
		n, _ := strconv.Atoi(field)
		sum += n
	}
	return sum
}

// gauges are some of /metrics.
type gauges struct{ goroutines, files, busy, heap float64 }

var gaugeLine = regexp.MustCompile(`(?m)^(go_goroutines|process_open_fds|uploadbroker_database_connections_busy|go_memstats_heap_inuse_bytes) (\S+)$`)

// gauges asks the server by a connection of its own.
func (s *server) gauges() (g gauges, err error) {
	hc := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := hc.Get(s.url + "/metrics")
	if err != nil {
		return g, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return g, fmt.Errorf("/metrics: %d %v", res.StatusCode, err)
	}
	to := map[string]*float64{
		"go_goroutines": &g.goroutines, "process_open_fds": &g.files,
		"uploadbroker_database_connections_busy": &g.busy, "go_memstats_heap_inuse_bytes": &g.heap,
	}
	for _, m := range gaugeLine.FindAllSubmatch(text, -1) {
		if *to[string(m[1])], err = strconv.ParseFloat(string(m[2]), 64); err != nil {
			return g, err
		}
	}
	return g, nil
}

// watch begins to look.
func (l *loadRun) watch() *processWatch {
	l.t.Helper()
	w := &processWatch{t: l.t, server: l.server, stop: make(chan struct{})}
	w.postgres = parent(loadCount(l, `SELECT pg_backend_pid()`))
	var err error
	if w.before, err = l.server.gauges(); err != nil {
		l.t.Fatal(err)
	}
	w.commits = func() int {
		return loadCount(l, `SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`)
	}
	w.began = w.effort()
	w.done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
				w.look()
			}
		}
	})
	return w
}

// end looks a last time.
func (w *processWatch) end() {
	close(w.stop)
	w.done.Wait()
	w.look()
	now, was := w.effort(), w.began
	w.used = effort{
		server: now.server - was.server, postgres: now.postgres - was.postgres, clients: now.clients - was.clients,
		all: now.all - was.all, idle: now.idle - was.idle, commits: now.commits - was.commits,
	}
	w.peak = statusBytes(w.server.cmd.Process.Pid, "VmHWM")
}

func (w *processWatch) look() {
	pid := w.server.cmd.Process.Pid
	w.resident = append(w.resident, statusBytes(pid, "VmRSS"))
	w.postgresPeak = max(w.postgresPeak, familyBytes(w.postgres))
	if fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err == nil {
		w.files = max(w.files, len(fds))
	}
	g, err := w.server.gauges()
	if err != nil {
		w.t.Error(err)
		return
	}
	w.looks++
	w.busy += (g.busy - w.busy) / float64(w.looks)
	w.most = max(w.most, g.busy)
	w.goroutines = max(w.goroutines, g.goroutines)
}

// statusBytes reads a field of proc(5)'s status.
func statusBytes(pid int, field string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`(?m)^` + field + `:\s+(\d+) kB$`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	kb, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return kb << 10
}

// family is a process and its children.
func family(pid int) []int {
	if pid == 0 {
		return nil
	}
	pids := []int{pid}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		if child, err := strconv.Atoi(filepath.Base(dir)); err == nil && parent(child) == pid {
			pids = append(pids, child)
		}
	}
	return pids
}

// familyBytes is what a process and its children hold: memory of each one's own, and
// once what they share, of which the one that touched most of it tells.
func familyBytes(pid int) int64 {
	var own, shared int64
	for _, pid := range family(pid) {
		own += statusBytes(pid, "RssAnon")
		shared = max(shared, statusBytes(pid, "RssShmem"))
	}
	return own + shared
}

// parent is a process's.
func parent(pid int) int {
	fields := stat(pid, 1)
	if len(fields) == 0 {
		return 0
	}
	pid, _ = strconv.Atoi(fields[0])
	return pid
}

// stat reads fields of proc(5)'s stat, counted from the one behind the name, which is
// in brackets. None: the process has ended.
func stat(pid int, at ...int) (found []string) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	for _, i := range at {
		if i < len(fields) {
			found = append(found, fields[i])
		}
	}
	return found
}

// after is what the process held after a share of the time.
func (w *processWatch) after(share float64) int64 {
	if len(w.resident) == 0 {
		return 0
	}
	return w.resident[int(share*float64(len(w.resident)-1))]
}

// checkMemory fails when the process held more than the bound, or went on growing:
// after each third of the time it held a good deal more than after the one before.
func (w *processWatch) checkMemory(bound int64) {
	w.t.Helper()
	if w.peak == 0 {
		w.t.Log("this system does not tell how much memory a process holds")
		return
	}
	if w.peak > bound {
		w.t.Errorf("the server held %d MiB; the bound is %d", w.peak>>20, bound>>20)
	}
	first, second, third := w.after(1.0/3), w.after(2.0/3), w.after(1)
	grew := func(from, to int64) bool { return to-from > max(from/4, 32<<20) }
	if grew(first, second) && grew(second, third) {
		w.t.Errorf("memory grows without end: %d, %d, %d MiB after each third of the time", first>>20, second>>20, third>>20)
	}
}

// String tells what was seen.
func (w *processWatch) String() string {
	share := func(ticks int) int { return 100 * ticks / max(w.used.all, 1) }
	u := w.used
	return fmt.Sprintf(`server: %d, %d, %d MiB after each third, %d at most; %d open files, %.0f goroutines at most
database: %.1f connections in use on the mean, %.0f at most; Postgres holds %d MiB at most
cores: server %d%%, Postgres %d%%, clients %d%%, others %d%%, idle %d%%
`, w.after(1.0/3)>>20, w.after(2.0/3)>>20, w.after(1)>>20, w.peak>>20, w.files, w.goroutines,
		w.busy, w.most, w.postgresPeak>>20,
		share(u.server), share(u.postgres), share(u.clients), share(u.all-u.idle-u.server-u.postgres-u.clients), share(u.idle))
}

// checkIdle waits until the server has let go of everything that it had for the
// clients, who are gone. Its own connections to the local bucket's gateway end
// after a minute without work.
func (l *loadRun) checkIdle(w *processWatch) string {
	l.t.Helper()
	const spare = 50 // goroutines and files that come and go with the server's own work
	for began := time.Now(); ; {
		g, err := l.server.gauges()
		if err != nil {
			l.t.Error(err)
			return ""
		}
		if g.goroutines <= w.before.goroutines+spare && g.files <= w.before.files+spare {
			return fmt.Sprintf("%s after the judgement: %.0f goroutines (%.0f before), %.0f open files (%.0f before), %.0f MiB of heap (%.0f before), %d MiB held\n",
				time.Since(began).Round(time.Second), g.goroutines, w.before.goroutines, g.files, w.before.files,
				g.heap/(1<<20), w.before.heap/(1<<20), statusBytes(l.server.cmd.Process.Pid, "VmRSS")>>20)
		}
		if !pause(l.t.Context(), time.Second) || time.Since(began) > 2*patience {
			l.t.Errorf("%s after the clients left there are %.0f goroutines (%.0f before) and %.0f open files (%.0f before)",
				time.Since(began).Round(time.Second), g.goroutines, w.before.goroutines, g.files, w.before.files)
			return ""
		}
	}
}
