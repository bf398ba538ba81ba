package worker_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"github.com/uploadbroker/uploadbroker/storage/s3"
)

// beS3 makes a process of the test binary an S3 server on a TCP port, for the tests
// that disturb its connections; a process can have only one of them.
const beS3 = "UPLOADBROKER_TEST_BE_S3"

const s3ID, s3Secret, s3Name = "test-access-key", "test-secret-key-of-some-length", "photos"

// startS3 runs a server with an empty bucket and returns its address.
func startS3(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{beS3 + "=" + addr + " " + filepath.Join(t.TempDir(), "s3"), "TMPDIR=" + os.TempDir()}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "the S3 server answers", func() bool {
		res, err := http.Get("http://" + addr)
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	if err := openS3(t, addr).CreateIfAbsent(t.Context()); err != nil {
		t.Fatal(err)
	}
	return addr
}

func openS3(t *testing.T, addr string) *s3.Bucket {
	t.Helper()
	b, err := s3.Open(t.Context(), s3.Options{Bucket: s3Name, Endpoint: "http://" + addr, PathStyle: true, AccessKeyID: s3ID, AccessKeySecret: s3Secret})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// s3Main is the server's process.
func s3Main(spec string) error {
	addr, dir, _ := strings.Cut(spec, " ")
	sidecar := filepath.Join(filepath.Dir(dir), "meta")
	for _, d := range []string{dir, sidecar} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	store, err := meta.NewSideCar(sidecar)
	if err != nil {
		return err
	}
	backend, err := posix.New(dir, store, posix.PosixOpts{SideCarDir: sidecar, NewDirPerm: 0o755, CopyObjectThreshold: 5 << 30})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
		RootUserAccess: s3ID, RootUserSecret: s3Secret, Region: "us-east-1",
		IAMService: auth.NewIAMServiceSingle(auth.Account{Access: s3ID, Secret: s3Secret, Role: auth.RoleAdmin}),
		Ports:      []string{addr}, MaxConnections: 1024, MaxRequests: 1024, MultipartMaxParts: 10_000, KeepAlive: true, Quiet: true, DisableACLs: true,
	})
}

// line is a TCP connection's way to a server, which a test breaks. It says of each
// connection after how many bytes of answers what happens to it.
type line struct {
	net.Listener
	upstream string
	hung     func() // again and again while a connection hangs

	mu     sync.Mutex
	plan   func() (after int, kind string) // of a new connection; nil: nothing ever happens
	conns  map[net.Conn]bool
	faults map[string]int
	bytes  int // of answers that came through
}

// newLine opens a line, a quiet one; hung is set before it is used.
func newLine(t *testing.T, upstream string) *line {
	t.Helper()
	l := &line{upstream: upstream, conns: map[net.Conn]bool{}, faults: map[string]int{}}
	var err error
	if l.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go l.carry(near.(*net.TCPConn))
		}
	}()
	return l
}

// from makes a plan for all that comes from now on: connections that idle end.
func (l *line) from(plan func() (after int, kind string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plan = plan
	for c := range l.conns {
		c.Close()
	}
}

func (l *line) planned(near net.Conn) (after int, kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[near] = true
	if l.plan != nil {
		after, kind = l.plan()
	}
	return after, kind
}

func (l *line) ended(near net.Conn) {
	near.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, near)
}

// carry carries one connection until it ends or breaks.
func (l *line) carry(near *net.TCPConn) {
	after, kind := l.planned(near)
	defer l.ended(near)
	far, err := net.Dial("tcp", l.upstream)
	if err != nil {
		return
	}
	defer far.Close()
	_ = near.SetWriteBuffer(16 << 10) // little is under way
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		buf := make([]byte, 16<<10)
		for {
			k, err := near.Read(buf)
			if _, werr := far.Write(buf[:k]); err != nil || werr != nil {
				far.Close()
				return
			}
		}
	}()
	buf := make([]byte, 8<<10)
	for {
		max := len(buf)
		if kind != "" {
			max = min(max, after)
		}
		k, err := far.Read(buf[:max])
		if _, werr := near.Write(buf[:k]); err != nil || werr != nil {
			return
		}
		l.mu.Lock()
		l.bytes += k
		after -= k
		broken := kind != "" && after <= 0
		if broken {
			l.faults[kind]++
		}
		l.mu.Unlock()
		if !broken {
			continue
		}
		switch kind {
		case "reset":
			_ = near.SetLinger(0)
		case "hang":
			for {
				select {
				case <-closed:
					return
				case <-time.After(20 * time.Millisecond):
					l.hung()
				}
			}
		}
		return
	}
}

// did returns what happened so far, and begins anew.
func (l *line) did() (bytes int, faults map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bytes, faults = l.bytes, l.faults
	l.bytes, l.faults = 0, map[string]int{}
	return bytes, faults
}
