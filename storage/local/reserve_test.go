package local

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

const testMiB = 1 << 20

// fakeDisk stands in for the system's figures: filling a disk takes a mount. (The
// program's own tests do that.)
type fakeDisk struct{ free, total atomic.Int64 }

func (d *fakeDisk) statfs(string) (space, error) {
	return space{free: d.free.Load(), total: d.total.Load()}, nil
}

// onFakeDisk is a bucket on a disk of 1,000 MiB with nothing on it; its reserve is
// 50 MiB.
func onFakeDisk(t *testing.T) (*Bucket, *fakeDisk) {
	t.Helper()
	d := &fakeDisk{}
	d.total.Store(1000 * testMiB)
	d.free.Store(1000 * testMiB)
	o := options(t)
	o.statfs = d.statfs
	return bucket(t, open(t, o), BucketName), d
}

func TestReserve(t *testing.T) {
	for _, c := range []struct {
		name               string
		total, free, bytes int64
		fits               bool
	}{
		{"an empty disk", 1000 * testMiB, 1000 * testMiB, 100 * testMiB, true},
		{"to the last byte", 1000 * testMiB, 150 * testMiB, 100 * testMiB, true},
		{"one byte more", 1000 * testMiB, 150 * testMiB, 100*testMiB + 1, false},
		{"larger than the disk", 1000 * testMiB, 1000 * testMiB, 5000 * testMiB, false},
		{"a large disk keeps 256 MiB", 1 << 40, 257 * testMiB, testMiB, true},
		{"a large disk keeps no less", 1 << 40, 257 * testMiB, testMiB + 1, false},
		{"nothing free, nothing to store", 1000 * testMiB, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &disk{statfs: func(string) (space, error) { return space{free: c.free, total: c.total}, nil }}
			if d.fits(c.bytes) != c.fits {
				t.Errorf("fits is %v", !c.fits)
			}
		})
	}
	unknown := &disk{statfs: func(string) (space, error) { return space{}, errors.New("not supported") }}
	if !unknown.fits(1 << 40) {
		t.Error("a disk that can't be asked takes nothing")
	}
	if s, err := statfs(t.TempDir()); err != nil || s.total <= 0 || s.free > s.total {
		t.Errorf("the system says %+v, %v", s, err)
	}
}

// TestClaim lets in no two uploads for the space of one.
func TestClaim(t *testing.T) {
	d := &disk{statfs: func(string) (space, error) { return space{free: 150 * testMiB, total: 1000 * testMiB}, nil }}
	release, ok := d.claim(60 * testMiB)
	if !ok || d.fits(41*testMiB) || !d.fits(40*testMiB) {
		t.Fatal("the space of an upload that was let in is given to another, or more than that is kept")
	}
	release()
	release()
	if !d.fits(100*testMiB) || d.fits(100*testMiB+1) {
		t.Errorf("%d bytes are claimed by nobody", d.claimed)
	}
}

// TestFullDiskRefusesClients uploads by a grant: what leaves the reserve is taken,
// what does not is refused in S3's words, and space that was freed counts at once.
func TestFullDiskRefusesClients(t *testing.T) {
	b, d := onFakeDisk(t)
	s := &site{Bucket: b, server: serve(t, b, HandlerOptions{})}
	body := strings.Repeat("x", 2*testMiB)
	grant := s.grant(t, "p/a.jpg", body)
	send := func() (*http.Response, string) {
		return s.do(t, s.request(t, grant.Method, grant.URL, body, flat(grant.Headers)...))
	}

	d.free.Store(51 * testMiB)
	resp, text := send()
	if resp.StatusCode != http.StatusInsufficientStorage ||
		!strings.Contains(text, "<Code>InsufficientStorage</Code>") || !strings.Contains(text, "upload again") {
		t.Errorf("a full disk answers %d %s", resp.StatusCode, text)
	}
	wantSafe(t, "a full disk", resp.Header)
	if _, err := b.Stat(t.Context(), "p/a.jpg"); b.Code(err) != broker.CodeNotFound {
		t.Errorf("something was stored: %v", err)
	}
	wantNoFiles(t, b)

	d.free.Store(52 * testMiB)
	if resp, text := send(); resp.StatusCode != http.StatusOK {
		t.Errorf("with space it answers %d %s", resp.StatusCode, text)
	}
	if got := get(t, b, "p/a.jpg"); got != body {
		t.Errorf("%d bytes are stored", len(got))
	}
}

func flat(h map[string]string) (list []string) {
	for k, v := range h {
		list = append(list, k, v)
	}
	return list
}

// wantNoFiles looks behind the gateway for what it would hide.
func wantNoFiles(t *testing.T, b *Bucket) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(b.gateway.dir, b.name), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			t.Errorf("%s was left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFullDiskRefusesTheBroker stores through the driver, past the handler.
func TestFullDiskRefusesTheBroker(t *testing.T) {
	b, d := onFakeDisk(t)
	d.free.Store(40 * testMiB)
	_, err := b.Put(t.Context(), "p/x", strings.NewReader("body"), storage.PutOptions{SizeBytes: 4})
	if b.Code(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "InsufficientStorage") {
		t.Errorf("Put says %v (%s)", err, b.Code(err))
	}
	wantNoFiles(t, b)
	d.free.Store(60 * testMiB)
	put(t, b, "p/x", "body")
	d.free.Store(0)
	if got := get(t, b, "p/x"); got != "body" {
		t.Errorf("reads %q", got)
	}
	if err := b.Delete(t.Context(), "p/x"); err != nil {
		t.Errorf("a full disk keeps what should go: %v", err)
	}
}

// TestFullDiskWhileABodyComes fills the disk behind an upload's back.
func TestFullDiskWhileABodyComes(t *testing.T) {
	b, d := onFakeDisk(t)
	body := &fillingReader{Reader: strings.NewReader(strings.Repeat("x", 12*testMiB)), at: testMiB, disk: d}
	_, err := b.Put(t.Context(), "p/x", body, storage.PutOptions{SizeBytes: 12 * testMiB})
	if b.Code(err) != broker.CodeUnavailable || !strings.Contains(err.Error(), "InsufficientStorage") {
		t.Errorf("Put says %v (%s)", err, b.Code(err))
	}
	wantNoFiles(t, b)
}

// fillingReader fills the disk when so many bytes were read.
type fillingReader struct {
	*strings.Reader
	at   int64
	disk *fakeDisk
}

func (r *fillingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.at -= int64(n); r.at <= 0 {
		r.disk.free.Store(0)
	}
	return n, err
}

// TestFullDiskRefusesParts is an upload in parts: each part, and their being put
// together, need space.
func TestFullDiskRefusesParts(t *testing.T) {
	b, d := onFakeDisk(t)
	c := awss3.New(awss3.Options{
		Region: region, BaseEndpoint: aws.String("http://" + internalHost), UsePathStyle: true, RetryMaxAttempts: 1,
		HTTPClient: &http.Client{Transport: b.gateway.transport},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: b.gateway.key.ID, SecretAccessKey: b.gateway.key.Secret}, nil
		}),
	})
	name, key := aws.String(b.name), aws.String("p/big")
	begun, err := c.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: name, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	part := func(n int32) (types.CompletedPart, error) {
		out, err := c.UploadPart(t.Context(), &awss3.UploadPartInput{
			Bucket: name, Key: key, UploadId: begun.UploadId, PartNumber: &n, Body: strings.NewReader(strings.Repeat("x", 5*testMiB)),
		})
		if err != nil {
			return types.CompletedPart{}, err
		}
		return types.CompletedPart{PartNumber: &n, ETag: out.ETag}, nil
	}
	wantFull := func(what string, err error) {
		t.Helper()
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != "InsufficientStorage" || !strings.Contains(api.ErrorMessage(), "upload again") {
			t.Errorf("%s: %v", what, err)
		}
	}
	one, err := part(1)
	if err != nil {
		t.Fatal(err)
	}
	d.free.Store(54 * testMiB)
	_, err = part(2)
	wantFull("a part", err)
	d.free.Store(55 * testMiB)
	two, err := part(2)
	if err != nil {
		t.Fatal(err)
	}
	complete := func() error {
		_, err := c.CompleteMultipartUpload(t.Context(), &awss3.CompleteMultipartUploadInput{
			Bucket: name, Key: key, UploadId: begun.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{one, two}},
		})
		return err
	}
	d.free.Store(59 * testMiB) // ten are to be put together
	wantFull("putting together", complete())
	if _, err := b.Stat(t.Context(), "p/big"); b.Code(err) != broker.CodeNotFound {
		t.Errorf("something was stored: %v", err)
	}
	d.free.Store(60 * testMiB)
	if err := complete(); err != nil {
		t.Fatal(err)
	}
	if got := len(get(t, b, "p/big")); got != 10*testMiB {
		t.Errorf("%d bytes are stored", got)
	}
	d.free.Store(0)
	if err := complete(); err != nil {
		t.Errorf("completing again, after an answer that was lost: %v", err)
	}
}
