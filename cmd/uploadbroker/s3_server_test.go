package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"github.com/uploadbroker/uploadbroker/storage/s3"
)

// beS3 makes a process of the test binary an S3 server: versitygw on a port of
// its own, as an operator would run it beside the broker.
const beS3 = "UPLOADBROKER_TEST_BE_S3"

// s3Server is such a process.
type s3Server struct {
	t        testing.TB
	cmd      *exec.Cmd
	endpoint string
	dir      string
}

const s3ID, s3Secret = "test-access-key", "test-secret-key-of-some-length"

// startS3 runs a server with these buckets, empty.
func startS3(t testing.TB, buckets ...string) *s3Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &s3Server{t: t, endpoint: "http://" + l.Addr().String(), dir: filepath.Join(t.TempDir(), "s3")}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.run()
	for _, name := range buckets {
		b, err := s3.Open(t.Context(), s3.Options{Bucket: name, Endpoint: s.endpoint, PathStyle: true, AccessKeyID: s3ID, AccessKeySecret: s3Secret})
		if err == nil {
			err = b.CreateIfAbsent(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// run begins the process; its endpoint and its objects stay the same.
func (s *s3Server) run() {
	s.t.Helper()
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = []string{beS3 + "=" + strings.TrimPrefix(s.endpoint, "http://") + " " + s.dir, "TMPDIR=" + os.TempDir()}
	s.cmd.Stderr = s.t.Output()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	cmd := s.cmd
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get(s.endpoint); err == nil {
			res.Body.Close()
			return
		} else if time.Since(began) > patience {
			s.t.Fatalf("the S3 server does not answer: %v", err)
		}
	}
}

// kill is kill -9.
func (s *s3Server) kill() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() }

// config is a bucket as the broker's configuration has it.
func (s *s3Server) config(symbol, bucket, more string) string {
	return fmt.Sprintf("  - {symbol: %s, cloud: S3, path_style: true, bucket: %s, endpoint: '%s', access_key_id: %s, access_key_secret: %s%s}\n",
		symbol, bucket, s.endpoint, s3ID, s3Secret, more)
}

// objects lists the keys in a bucket.
func (s *s3Server) objects(bucket string) (keys []string) {
	s.t.Helper()
	root := filepath.Join(s.dir, bucket)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			keys = append(keys, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return keys
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
