package local

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/s3"
	"github.com/uploadbroker/uploadbroker/storage/storagetest"
)

// Only one gateway runs in a process at a time, so tests that need one of their
// own take turns.
var turn sync.Mutex

func open(t *testing.T, o Options) *Gateway {
	t.Helper()
	turn.Lock()
	t.Cleanup(turn.Unlock)
	g, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return g
}

func options(t *testing.T) Options {
	dir := t.TempDir()
	return Options{Dir: filepath.Join(dir, "objects"), KeyFile: filepath.Join(dir, "local-bucket.key")}
}

func bucket(t *testing.T, g *Gateway, name string) *Bucket {
	t.Helper()
	b, err := g.Bucket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func serve(t *testing.T, b *Bucket, o HandlerOptions) *httptest.Server {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := httptest.NewServer(b.Handler(o))
	t.Cleanup(s.Close)
	return s
}

// conformance runs the suite on one gateway, with an S3 bucket for each subtest,
// through the handler that clients use.
func conformance(t *testing.T, g *Gateway) {
	var n atomic.Int64
	storagetest.Run(t, storagetest.Harness{
		PutSigner: true, GetSigner: true, Copier: true, Prober: true, Syncer: true, MultipartAborter: true, Cleaner: true,
		New: func(t *testing.T) storagetest.Fixture {
			b := bucket(t, g, fmt.Sprint("bucket-", n.Add(1)))
			return storagetest.Fixture{
				Driver:         b,
				Prefix:         "01ARZ3NDEKTSV4RRFFQ69G5FAV/",
				BaseURL:        serve(t, b, HandlerOptions{}).URL,
				BeginMultipart: func(t *testing.T, key string) { beginMultipart(t, g, b.name, key) },
			}
		},
		Denied: func(t *testing.T) storage.Driver {
			d, err := s3.Open(t.Context(), s3.Options{
				Bucket: bucket(t, g, "denied").name, Endpoint: "http://" + internalHost, PathStyle: true,
				AccessKeyID: g.key.ID, AccessKeySecret: "not the secret", HTTPClient: &http.Client{Transport: g.transport},
			})
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		Unreachable: func(t *testing.T) storage.Driver {
			gone := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(t.TempDir(), "none"))
			}}
			d, err := s3.Open(t.Context(), s3.Options{
				Bucket: "any", Endpoint: "http://" + internalHost, PathStyle: true,
				AccessKeyID: "id", AccessKeySecret: "secret", HTTPClient: &http.Client{Transport: gone},
			})
			if err != nil {
				t.Fatal(err)
			}
			return &Bucket{Bucket: d, gateway: g, name: "any"}
		},
	})
}

func TestConformance(t *testing.T) {
	// What lies around in the environment must not matter.
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "ambient", "AWS_SECRET_ACCESS_KEY": "ambient", "AWS_SESSION_TOKEN": "ambient",
		"AWS_REGION": "ap-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
		"AWS_PROFILE": "none", "AWS_CONFIG_FILE": "/nonexistent", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
		"AWS_S3_USE_ARN_REGION": "x", "AWS_CA_BUNDLE": "/nonexistent", "HTTP_PROXY": "http://127.0.0.1:1",
	} {
		t.Setenv(name, value)
	}
	conformance(t, open(t, options(t)))
}

// TestConformanceSidecar is the same where a file system has no extended
// attributes.
func TestConformanceSidecar(t *testing.T) {
	o := options(t)
	o.hasXattr = func(string) bool { return false }
	g := open(t, o)
	if g.metadata != inSidecar {
		t.Fatalf("metadata is in %s", g.metadata)
	}
	conformance(t, g)
}

func beginMultipart(t *testing.T, g *Gateway, bucket, key string) {
	t.Helper()
	client := awss3.New(awss3.Options{
		Region: region, BaseEndpoint: aws.String("http://" + internalHost), UsePathStyle: true,
		HTTPClient: &http.Client{Transport: g.transport},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: g.key.ID, SecretAccessKey: g.key.Secret}, nil
		}),
	})
	if _, err := client.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
}

// TestStdoutStaysClean starts, uses and stops a gateway with its output caught.
func TestStdoutStaysClean(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	t.Run("use", func(t *testing.T) {
		b := bucket(t, open(t, options(t)), BucketName)
		if _, err := b.Stat(t.Context(), "none"); err == nil {
			t.Error("an object out of nothing")
		}
	})
	os.Stdout = stdout
	w.Close()
	if out, _ := io.ReadAll(r); len(out) != 0 {
		t.Errorf("it printed %q", out)
	}
}
