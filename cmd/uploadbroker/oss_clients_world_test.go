package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aliyun/aliyun-oss-go-sdk/oss"

	"github.com/uploadbroker/uploadbroker/storage/ossemu"
)

// ossWorld is the emulator, with a clock that the test moves, and the broker.
type ossWorld struct {
	emulator string // http://127.0.0.1:port
	account  *oss.Bucket
	broker   *server
	ahead    atomic.Int64 // of the emulator's clock, in nanoseconds
	large    []byte       // a JPEG of some 20 MB, to be marked
}

func startOSSWorld(t *testing.T) *ossWorld {
	t.Helper()
	w := &ossWorld{large: padded(photo(7, 320, 240), 20<<20)}
	emulator, err := ossemu.New(ossemu.Options{
		Dir: filepath.Join(t.TempDir(), "oss"), Buckets: []string{ossBucket}, Region: ossRegion,
		AccessKeyID: accountID, AccessKeySecret: accountKey, RoleARN: ossRole,
		Now: func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(emulator) // of 127.0.0.1
	t.Cleanup(listener.Close)
	w.emulator = listener.URL
	client, err := oss.New(w.emulator, accountID, accountKey)
	if err != nil {
		t.Fatal(err)
	}
	if w.account, err = client.Bucket(ossBucket); err != nil {
		t.Fatal(err)
	}
	w.allowPages(t, "*")
	w.startBroker(t)
	return w
}

// party gives a client a project, two photos and a session.
func (w *ossWorld) party(t *testing.T, c ossClient, seed uint64) *ossParty {
	t.Helper()
	p := &ossParty{client: c, pid: w.newProject(t, c.name)}
	dir := t.TempDir()
	for _, img := range []struct {
		to   *ossImage
		name string
		text []byte
	}{
		{&p.small, "DJI_0001.JPG", photo(1000+seed, 320, 240)},
		{&p.large, "DJI_0002.JPG", comment(w.large, binary.BigEndian.AppendUint64(nil, seed))},
	} {
		path := filepath.Join(dir, img.name)
		write(t, path, img.text)
		digest := sha1.Sum(img.text)
		*img.to = ossImage{path: path, sha1: hex.EncodeToString(digest[:])}
		var filename string
		img.to.id, filename, p.session = w.register(t, p.pid, img.name, img.to.sha1)
		img.to.key = p.pid + "/" + filename
	}
	return p
}

// contents is everything that a refused attempt may not change.
func (w *ossWorld) contents(t *testing.T) string {
	t.Helper()
	var lines []string
	for after := ""; ; {
		page, err := w.account.ListObjectsV2(oss.MaxKeys(1000), oss.StartAfter(after))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			lines = append(lines, "object "+o.Key+" "+o.ETag)
			after = o.Key
		}
		if !page.IsTruncated {
			break
		}
	}
	uploads, err := w.account.ListMultipartUploads()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range uploads.Uploads {
		lines = append(lines, "begun "+u.Key)
	}
	// Without rules it is refused, and that must stay so too.
	cors, err := w.account.Client.GetBucketCORS(ossBucket)
	var refusal oss.ServiceError
	if err != nil && !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	return strings.Join(append(lines, fmt.Sprintf("cors %v %s", cors.CORSRules, refusal.Code)), "\n")
}

// padded makes a JPEG larger by comments, each of which its format limits.
func padded(picture []byte, size int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	var comments []byte
	for len(picture)+len(comments) < size {
		text := make([]byte, min(65533, size-len(picture)-len(comments)))
		_, _ = r.Read(text)
		comments = append(comments, 0xff, 0xfe)
		comments = binary.BigEndian.AppendUint16(comments, uint16(2+len(text)))
		comments = append(comments, text...)
	}
	return bytes.Join([][]byte{picture[:2], comments, picture[2:]}, nil)
}

// clients are all that can run here.
func (w *ossWorld) clients(t *testing.T) []ossClient {
	t.Helper()
	clients := []ossClient{
		{name: "go-sdk V1", run: func(t *testing.T, steps []ossStep) []ossAnswer { return runGoSDK(t, w.emulator, false, steps) }},
		{name: "go-sdk V4", run: func(t *testing.T, steps []ossStep) []ossAnswer { return runGoSDK(t, w.emulator, true, steps) }},
	}
	packages, err := nodePackages("oss-clients")
	if err != nil {
		if requires("oss-clients") {
			t.Fatalf("no clients for node: %v", err)
		}
		t.Run("node", func(t *testing.T) {
			t.Skipf("no clients for node, `make setup` installs them, set REQUIRE=oss-clients to make this a failure: %v", err)
		})
		return clients
	}
	clients = append(clients, w.nodeClients(packages)...)
	return append(clients, w.browserClients(t, packages)...)
}

// byName is the emulator with a name for an address: ali-oss puts a bucket into
// the path only of those.
func (w *ossWorld) byName() string { return strings.Replace(w.emulator, "127.0.0.1", "localhost", 1) }

// requires reports whether what a test needs must be there (REQUIRE=disk,chromium).
func requires(what string) bool {
	return slices.Contains(strings.FieldsFunc(os.Getenv("REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' }), what)
}
