package main

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	toxiclient "github.com/Shopify/toxiproxy/v2/client"
	"github.com/rs/zerolog"
)

// beLines makes a process of the test binary a toxiproxy server, at the address
// that it holds.
const beLines = "UPLOADBROKER_TEST_BE_LINES"

// TestSoakLines is no test: it is the process of the proxies, apart from the test
// so that it may be killed when it hangs (toxiproxy can, when a connection ends
// at the moment in which its toxic is changed).
func TestSoakLines(t *testing.T) {
	addr := os.Getenv(beLines)
	if addr == "" {
		return
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.New(io.Discard))
	if err := server.Listen(addr); err != nil {
		t.Fatal(err)
	}
}

// lines are the connections that the soak disturbs, each a proxy with a name:
// "db/worker1" leads from worker1 to Postgres.
type lines struct {
	t        testing.TB
	api      string
	listen   map[string]string // address of each line's near end, by name
	upstream map[string]string // of its far end

	mu       sync.Mutex
	cmd      *exec.Cmd
	proxies  map[string]*toxiclient.Proxy
	broken   map[string]bool // lines with a fault
	restarts int             // of the proxies' own process
}

func newLines(t testing.TB) *lines {
	return &lines{
		t: t, api: freeAddress(t), listen: map[string]string{}, upstream: map[string]string{},
		proxies: map[string]*toxiclient.Proxy{}, broken: map[string]bool{},
	}
}

// freeAddress is a loopback address for something that is restarted there. It lies
// below the ports from which Linux takes those of outgoing connections, or one of
// the soak's own might sit on it at that moment.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(20_000)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("no free port")
	return ""
}

// add makes a line before open; it returns the address of its near end.
func (l *lines) add(name, upstream string) string {
	l.listen[name], l.upstream[name] = freeAddress(l.t), upstream
	return l.listen[name]
}

// open starts the proxies.
func (l *lines) open() {
	l.t.Helper()
	l.t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.kill()
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.start(); err != nil {
		l.t.Fatal(err)
	}
}

// start runs the process and makes all proxies, sound.
func (l *lines) start() error {
	l.cmd = exec.Command(os.Args[0], "-test.run=^TestSoakLines$", "-test.timeout=0")
	l.cmd.Env = []string{beLines + "=" + l.api, "TMPDIR=" + os.TempDir()}
	if err := l.cmd.Start(); err != nil {
		return err
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + l.api + "/version"); err == nil {
			res.Body.Close()
			break
		} else if time.Since(began) > patience {
			return fmt.Errorf("toxiproxy does not answer: %w", err)
		}
	}
	api := toxiclient.NewClient(l.api)
	for name := range l.listen {
		p, err := api.CreateProxy(strings.ReplaceAll(name, "/", "-"), l.listen[name], l.upstream[name])
		if err != nil {
			return fmt.Errorf("the line %s: %w", name, err)
		}
		l.proxies[name] = p
	}
	clear(l.broken)
	return nil
}

func (l *lines) kill() {
	if l.cmd != nil && l.cmd.Process != nil {
		_ = l.cmd.Process.Kill()
		_ = l.cmd.Wait()
	}
}

// fault is what may be wrong with a line for a while.
type fault struct {
	kind  string // cut, hang, reset, slow, late
	way   string // upstream or downstream; a cut is both
	attrs toxiclient.Attributes
}

// faultKinds are all kinds. A line that hangs swallows what goes one way: of a
// call, the question, or the answer to what was done.
var faultKinds = []string{"cut", "hang", "reset", "slow", "late"}

func newFault(kind string, r *rand.Rand) fault {
	f := fault{kind: kind, way: "downstream"}
	if r.IntN(3) == 0 {
		f.way = "upstream"
	}
	switch kind {
	case "hang":
		f.attrs = toxiclient.Attributes{"timeout": 0} // until the fault is over; then it breaks
	case "reset":
		f.attrs = toxiclient.Attributes{"timeout": r.IntN(400)}
	case "slow":
		f.attrs = toxiclient.Attributes{"rate": 2 + r.IntN(30)} // KB/s
	case "late":
		ms := 50 + r.IntN(950)
		f.attrs = toxiclient.Attributes{"latency": ms, "jitter": ms / 2}
	}
	return f
}

// toxicOf is toxiproxy's word for a kind.
var toxicOf = map[string]string{"hang": "timeout", "reset": "reset_peer", "slow": "bandwidth", "late": "latency"}

// spoil puts a fault on a line. It reports false where one is already.
func (l *lines) spoil(name string, f fault) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken[name] {
		return false
	}
	l.broken[name] = true
	l.do(func(p *toxiclient.Proxy) error {
		if f.kind == "cut" {
			return p.Disable()
		}
		_, err := p.AddToxic("fault", toxicOf[f.kind], f.way, 1, f.attrs)
		return err
	}, name)
	return true
}

// mend makes a line sound again.
func (l *lines) mend(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.broken[name] {
		return
	}
	delete(l.broken, name)
	l.do(func(p *toxiclient.Proxy) error {
		if !p.Enabled {
			return p.Enable()
		}
		return p.RemoveToxic("fault")
	}, name)
}

// mendAll makes every line sound.
func (l *lines) mendAll() {
	l.mu.Lock()
	names := slices.Collect(maps.Keys(l.broken))
	l.mu.Unlock()
	for _, name := range names {
		l.mend(name)
	}
}

// do changes a proxy. One that does not come to an end is killed with all the
// others, and all are made anew: every line was cut for a moment.
func (l *lines) do(change func(*toxiclient.Proxy) error, name string) {
	done := make(chan error, 1)
	p := l.proxies[name]
	go func() { done <- change(p) }()
	var err error
	select {
	case err = <-done:
	case <-time.After(10 * time.Second):
		err = fmt.Errorf("toxiproxy hangs")
	}
	if err == nil {
		return
	}
	l.t.Logf("%s: %v; the proxies are started anew", name, err)
	l.restarts++
	l.kill()
	if err := l.start(); err != nil {
		l.t.Errorf("toxiproxy can't be started again, the lines stay down: %v", err)
	}
}

// socketForwarder gives a Unix socket a loopback port: toxiproxy knows only TCP.
// Nothing is at the port's far end while nobody listens at the socket.
func socketForwarder(t testing.TB, dial func() (net.Conn, error)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := dial()
				if err != nil {
					return
				}
				defer far.Close()
				ended := make(chan struct{}, 2)
				for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
					go func() {
						_, _ = io.Copy(way[0], way[1])
						ended <- struct{}{}
					}()
				}
				<-ended // a half of a connection is of no use to either end
			}()
		}
	}()
	return l.Addr().String()
}

// socketOf is the Unix socket of a private Postgres.
func socketOf(folder string) string { return filepath.Join(folder, ".s.PGSQL.5432") }
