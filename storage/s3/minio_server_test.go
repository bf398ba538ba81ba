package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// minioDomain is the domain whose sub-domains are buckets. It resolves nowhere:
// the tests' client dials the server whatever the name.
const minioDomain = "minio.test"

// minioServer is a MinIO of this test's own.
type minioServer struct {
	address    string // host:port
	id, secret string // of its root user
}

// startMinIO runs the binary that UPLOADBROKER_TEST_MINIO names, over an empty
// folder, until the test ends. Without the variable the test is skipped, and
// fails where REQUIRE lists "minio".
func startMinIO(t *testing.T) *minioServer {
	t.Helper()
	binary := os.Getenv("UPLOADBROKER_TEST_MINIO")
	if binary == "" {
		if required := strings.FieldsFunc(os.Getenv("REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' }); slices.Contains(required, "minio") {
			t.Fatal("MinIO is required: set UPLOADBROKER_TEST_MINIO to its binary (make test-minio does)")
		}
		t.Skip("no MinIO: set UPLOADBROKER_TEST_MINIO to its binary, or run make test-minio")
	}
	// Another program may take the free port before MinIO does.
	for try := 1; ; try++ {
		m := &minioServer{address: freeAddress(t), id: "root" + rand.Text()[:8], secret: rand.Text()}
		err := m.start(t, binary)
		if err == nil {
			return m
		}
		if try == 3 {
			t.Fatal(err)
		}
		t.Log(err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (m *minioServer) start(t *testing.T, binary string) error {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(binary, "server", "--quiet", "--address", m.address, "--console-address", "127.0.0.1:0",
		"--certs-dir", filepath.Join(dir, "certs"), filepath.Join(dir, "data"))
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "MINIO_") && !strings.HasPrefix(pair, "HOME=") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+dir, "MINIO_ROOT_USER="+m.id, "MINIO_ROOT_PASSWORD="+m.secret,
		"MINIO_DOMAIN="+minioDomain, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "NO_PROXY=*")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start MinIO: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.address+"/minio/health/ready", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := m.client().Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				tick.Stop()
				t.Cleanup(stop)
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("MinIO ended at once: %s", output.String())
		case <-ctx.Done():
			stop()
			return fmt.Errorf("MinIO does not become ready: %s", output.String())
		}
	}
}

// client dials the server, whichever of its names a URL has.
func (m *minioServer) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, m.address)
		},
		MaxIdleConnsPerHost: 64,
	}}
}

// port is where every name of the server is reached.
func (m *minioServer) port() string {
	_, port, _ := net.SplitHostPort(m.address)
	return port
}

// options reach a bucket by path.
func (m *minioServer) options(bucket string) Options {
	return Options{
		Bucket: bucket, Endpoint: "http://" + m.address, PathStyle: true,
		AccessKeyID: m.id, AccessKeySecret: m.secret, PartSizeBytes: minPartSize, MinIO: true,
	}
}

// open makes the driver of a bucket, and the bucket.
func (m *minioServer) open(t *testing.T, o Options) *Bucket {
	t.Helper()
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.CreateIfAbsent(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// assumeRole asks MinIO's STS for temporary credentials.
func (m *minioServer) assumeRole(t *testing.T) aws.Credentials {
	t.Helper()
	form := "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+m.address+"/", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	root := aws.Credentials{AccessKeyID: m.id, SecretAccessKey: m.secret}
	hash := sha256.Sum256([]byte(form))
	if err := v4.NewSigner().SignHTTP(t.Context(), root, req, hex.EncodeToString(hash[:]), "sts", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := m.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Credentials struct {
			AccessKeyID     string    `xml:"AccessKeyId"`
			SecretAccessKey string    `xml:"SecretAccessKey"`
			SessionToken    string    `xml:"SessionToken"`
			Expiration      time.Time `xml:"Expiration"`
		} `xml:"AssumeRoleResult>Credentials"`
	}
	if err := xml.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("assume a role: %s, %v", resp.Status, err)
	}
	c := answer.Credentials
	return aws.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expires: c.Expiration,
	}
}
