package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker/postgres/privatepg"
)

// machine is one process of the program on a machine of its own, kept running as
// systemd does with Restart=always.
type machine struct {
	name string
	args []string
	env  []string
	log  string // path of all that it printed

	mu      sync.Mutex
	cmd     *exec.Cmd // nil: not running now
	killed  bool      // by us
	stop    chan struct{}
	ended   chan struct{}
	code    int // of its end after stop
	starts  int
	kills   int
	endings []string // why it ended by itself
}

// restartPause is systemd's RestartSec, longer than its default of 100 ms.
const restartPause = 300 * time.Millisecond

// keep starts the process, again and again, until halt.
func (m *machine) keep(t testing.TB) {
	m.stop, m.ended = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(m.ended)
		for {
			if err := m.once(); err != nil {
				t.Errorf("%s can't be started: %v", m.name, err)
				return
			}
			select {
			case <-m.stop:
				return
			case <-time.After(restartPause):
			}
		}
	}()
	t.Cleanup(func() { m.halt() })
}

// once runs the process until it ends.
func (m *machine) once() error {
	out, err := os.OpenFile(m.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	from, err := out.Seek(0, 2)
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], m.args...)
	cmd.Env = append([]string{
		beProgram + "=1", "LANG=C.UTF-8", "HOME=" + filepath.Dir(m.log), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(),
	}, m.env...)
	cmd.Stdout, cmd.Stderr = out, out

	m.mu.Lock()
	select {
	case <-m.stop:
		m.mu.Unlock()
		return nil
	default:
	}
	if err := cmd.Start(); err != nil {
		m.mu.Unlock()
		return err
	}
	m.cmd, m.killed = cmd, false
	m.starts++
	m.mu.Unlock()

	_ = cmd.Wait()

	m.mu.Lock()
	defer m.mu.Unlock()
	m.cmd = nil
	select {
	case <-m.stop:
		m.code = cmd.ProcessState.ExitCode()
	default:
		if !m.killed {
			m.endings = append(m.endings, fmt.Sprintf("exit %d: %s", cmd.ProcessState.ExitCode(), lastWords(m.log, from)))
		}
	}
	return nil
}

// lastWords are the last lines of a log from an offset on.
func lastWords(path string, from int64) string {
	text, err := os.ReadFile(path)
	if err != nil || int64(len(text)) < from {
		return "nothing"
	}
	lines := strings.Split(strings.TrimSpace(string(text[from:])), "\n")
	return strings.Join(lines[max(0, len(lines)-2):], " | ")
}

// kill is kill -9; false when it is not running at the moment.
func (m *machine) kill() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil || m.killed {
		return false
	}
	m.killed = true
	m.kills++
	_ = m.cmd.Process.Kill()
	return true
}

// halt is `systemctl stop`: SIGINT, and after a minute SIGKILL. It returns the exit
// code, -1 when it had to be killed.
func (m *machine) halt() int {
	m.mu.Lock()
	select {
	case <-m.stop:
	default:
		close(m.stop)
		if m.cmd != nil {
			_ = m.cmd.Process.Signal(os.Interrupt)
		}
	}
	m.mu.Unlock()
	select {
	case <-m.ended:
	case <-time.After(patience):
		m.mu.Lock()
		if m.cmd != nil {
			_ = m.cmd.Process.Kill()
		}
		m.mu.Unlock()
		<-m.ended
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.code
}

// changing is what differs in one message from time to time.
var changing = regexp.MustCompile(`time=\S+ |[0-9A-HJKMNP-TV-Z]{26}|0x[0-9a-f]+|\d+`)

// soakTally counts messages that say the same.
type soakTally map[string]int

func (c soakTally) add(msg string) { c[changing.ReplaceAllString(msg, "#")]++ }

// soakPostgres is the machines' one database. It can be lost and come back.
type soakPostgres struct {
	t   testing.TB
	dir string

	mu     sync.Mutex
	server *privatepg.Server
	socket string
}

func startSoakPostgres(t testing.TB) *soakPostgres {
	t.Helper()
	p := &soakPostgres{t: t, dir: dataFolder(t)}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.server != nil {
			_ = p.server.Stop(context.Background())
		}
	})
	return p
}

// start runs it with the settings of production: what was committed is kept.
func (p *soakPostgres) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	server, err := privatepg.Start(ctx, privatepg.Options{DataDir: p.dir})
	if err != nil {
		return err
	}
	u, err := url.Parse(server.DSN())
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server, p.socket = server, socketOf(u.Query().Get("host"))
	return nil
}

func (p *soakPostgres) dial() (net.Conn, error) {
	p.mu.Lock()
	socket := p.socket
	p.mu.Unlock()
	return net.Dial("unix", socket)
}

func (p *soakPostgres) dsn() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server.DSN()
}

// lose ends the server without a checkpoint: by an immediate shutdown, or by kill
// -9 of its postmaster. It comes back after a while, with a recovery.
func (p *soakPostgres) lose(kill bool, away time.Duration) {
	p.mu.Lock()
	running := p.server
	p.mu.Unlock()
	if kill {
		if process, err := os.FindProcess((&server{data: p.dir}).postmaster()); err == nil {
			_ = process.Kill()
		}
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = running.Stop(now)
	time.Sleep(away)
	if err := p.start(); err != nil {
		p.t.Errorf("Postgres does not come back: %v", err)
	}
}

// soakConfig writes a machine's configuration.
func soakConfig(dir, name, data, database, east, eastPublic, public string) (string, error) {
	var b bytes.Buffer
	if public != "" {
		fmt.Fprintf(&b, "public_url: http://%s\n", public)
	}
	fmt.Fprintf(&b, "data_dir: %s\n", data)
	fmt.Fprintf(&b, "database_url: postgres://uploadbroker@%s/uploadbroker?sslmode=disable\n", database)
	fmt.Fprintf(&b, "local_bucket: {enabled: true}\nbuckets:\n")
	b.WriteString((&s3Server{endpoint: "http://" + east}).config("East", "east", ", public_endpoint: 'http://"+eastPublic+"'"))
	path := filepath.Join(dir, name+".yaml")
	return path, os.WriteFile(path, b.Bytes(), 0o600)
}
