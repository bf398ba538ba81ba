package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
)

// soak is an installation of several machines: two brokers and three workers, as
// processes, on one Postgres and on two buckets, a shared folder and an S3 server.
// Every line between them leads through a proxy, and so do the clients'.
type soak struct {
	t        *testing.T
	postgres *soakPostgres
	cloud    *s3Server
	data     string // the folder that the machines share
	logs     string
	lines    *lines
	machines []*machine
	clients  *soakClients
	rounds   []*soakRound

	complaints map[string]int // by their format
}

// settleTime is how long an installation that was left alone may take until
// everything has its verdict. It is a promise, and no machine's speed.
const settleTime = 3 * time.Minute

const soakKey = "ub_soaksoaksoaksoaksoaksoak"

// soakSize says how much is done.
type soakSize struct {
	seed   uint64
	chaos  time.Duration
	images int           // of a round
	rounds int           // 0: until the chaos ends
	every  time.Duration // at least, from the beginning of one round to the next
}

// readSoakSize is the short form, unless the environment asks for the long one
// (see `make soak`). UPLOADBROKER_SOAK_LOGS names a folder to keep the machines'
// logs in.
func readSoakSize(t testing.TB) soakSize {
	t.Helper()
	size := soakSize{seed: 1, chaos: 50 * time.Second, images: 50, rounds: 6, every: 8 * time.Second}
	if text := os.Getenv("UPLOADBROKER_SOAK_TIME"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 10*time.Second {
			t.Fatalf("SOAKTIME=%s: give a duration such as 10m", text)
		}
		size.chaos, size.images, size.rounds, size.every = d, 2000, 0, 0
	}
	if text := os.Getenv("UPLOADBROKER_SOAK_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("SEED=%s: give a number", text)
		}
		size.seed = n
	}
	return size
}

// TestSoak: completion is a property. Images go through both brokers while every
// two seconds one process is killed with SIGKILL, lines to Postgres, to the buckets
// and to the brokers are cut and slowed, and Postgres itself is lost once. Left
// alone after that, within three minutes and without anybody's help, every image
// has exactly one verdict, the right one for its bytes.
func TestSoak(t *testing.T) {
	t.Parallel()
	size := readSoakSize(t)
	t.Logf("seed %d, %s of chaos", size.seed, size.chaos)
	s := newSoak(t)
	limit, giveUp := context.WithCancelCause(t.Context())
	defer giveUp(nil)
	storm, calm := context.WithTimeout(limit, size.chaos)
	defer calm()

	var loading sync.WaitGroup
	loading.Go(func() { s.load(limit, storm, size) })
	c := newChaos(s, size.seed)
	c.run(storm, size.chaos)

	began := time.Now()
	over := time.AfterFunc(settleTime, func() {
		giveUp(errors.New("the clients did not get everything through before the time to settle was over"))
	})
	defer over.Stop()
	t.Logf("left alone; %s", c)
	if idle := c.idle(); idle != "" {
		t.Errorf("nothing was proven: there was no %s; take another seed or more time", idle)
	}
	loading.Wait()
	loaded := time.Since(began)
	settled := s.settle(limit)
	settling := time.Since(began)
	s.halt()
	halted := time.Now()
	found := s.judge()
	t.Logf("halted after %s, judged after %s", halted.Sub(began.Add(settling)).Round(time.Second), time.Since(halted).Round(time.Second))

	starts, kills, own := 0, 0, 0
	endings := soakTally{}
	for _, m := range s.machines {
		starts, kills, own = starts+m.starts, kills+m.kills, own+len(m.endings)
		for _, why := range m.endings {
			endings.add(m.name[:len(m.name)-1] + ", " + why)
		}
	}
	s.list("a process ended by itself", endings)
	s.list("a client met", s.clients.told())
	verdict := "settled"
	if !settled {
		verdict = "NOT settled"
	}
	t.Logf("soak: seed=%d time=%s %s restarts=%d self-ended=%d proxies-restarted=%d | %s | put after %s, %s after %s",
		size.seed, size.chaos, c, starts-len(s.machines), own, s.lines.restarts, found,
		loaded.Round(time.Second), verdict, settling.Round(time.Second))
}

// newSoak starts everything; the machines may still be starting.
func newSoak(t *testing.T) *soak {
	s := &soak{t: t, postgres: startSoakPostgres(t), cloud: startS3(t, "east"), data: dataFolder(t), lines: newLines(t), complaints: map[string]int{}}
	s.logs = cmp.Or(os.Getenv("UPLOADBROKER_SOAK_LOGS"), t.TempDir())
	for _, dir := range []string{s.data, s.logs} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	database := socketForwarder(t, s.postgres.dial)
	cloud := strings.TrimPrefix(s.cloud.endpoint, "http://")
	public := s.lines.add("east/clients", cloud)
	for _, name := range []string{"broker1", "broker2", "worker1", "worker2", "worker3"} {
		m := &machine{name: name, log: filepath.Join(s.logs, name+".log")}
		url := ""
		if strings.HasPrefix(name, "broker") {
			listen := freeAddress(t)
			url = s.lines.add("http/"+name, listen)
			m.args = []string{"serve", "--no-worker", "--listen", listen}
			m.env = []string{"UPLOADBROKER_BOOTSTRAP_KEY=" + soakKey}
		} else {
			m.args = []string{"worker"}
		}
		path, err := soakConfig(s.logs, name, s.data, s.lines.add("db/"+name, database), s.lines.add("east/"+name, cloud), public, url)
		if err != nil {
			t.Fatal(err)
		}
		m.args = append(m.args, "--config", path)
		s.machines = append(s.machines, m)
	}
	s.lines.open()
	dial := func(broker string) *client.Client {
		c, err := client.New("http://"+s.lines.listen["http/"+broker], soakKey)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.CloseIdleConnections)
		return c
	}
	s.clients = &soakClients{left: dial("broker1"), right: dial("broker2"), faults: soakTally{}}
	for _, m := range s.machines {
		m.keep(t)
	}
	return s
}

// groups are the lines that are disturbed together.
func (s *soak) groups() map[string][]string {
	groups := map[string][]string{}
	for name := range s.lines.listen {
		kind, _, _ := strings.Cut(name, "/")
		groups[name] = []string{name}
		if name != "east/clients" {
			groups[kind] = append(groups[kind], name)
		}
	}
	return groups
}

// load uploads rounds until the storm is over or all were begun.
func (s *soak) load(ctx, storm context.Context, size soakSize) {
	for number := 1; size.rounds == 0 || number <= size.rounds; number++ {
		next := time.After(size.every)
		round := newSoakRound(s.t, size.seed, number, size.images)
		s.rounds = append(s.rounds, round)
		if err := s.clients.upload(ctx, round); err != nil {
			s.t.Errorf("round %d: %v", number, err)
			return
		}
		select {
		case <-storm.Done():
			if size.rounds == 0 {
				return
			}
		case <-next:
		}
		if size.rounds == 0 && storm.Err() != nil {
			return
		}
	}
}

// halt stops every machine in order; none may hang or fail.
func (s *soak) halt() {
	var wg sync.WaitGroup
	for _, m := range s.machines {
		wg.Go(func() {
			if code := m.halt(); code != 0 {
				s.t.Errorf("%s ends with %d when it is stopped:\n%s", m.name, code, lastWords(m.log, 0))
			}
		})
	}
	wg.Wait()
	for _, m := range s.machines {
		text, err := os.ReadFile(m.log)
		if err != nil {
			s.t.Error(err)
		}
		for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "X-Amz-Signature"} {
			if i := strings.Index(string(text), bad); i >= 0 {
				s.t.Errorf("%s printed:\n%s", m.name, text[i:min(len(text), i+3000)])
			}
		}
	}
}

// list logs what was counted, the most frequent first.
func (s *soak) list(what string, c soakTally) {
	keys := slices.Collect(maps.Keys(c))
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(c[b]-c[a], strings.Compare(a, b)) })
	for _, k := range keys[:min(len(keys), 15)] {
		s.t.Logf("%s, %d times: %s", what, c[k], fmt.Sprintf("%.400s", k))
	}
}
