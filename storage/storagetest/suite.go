// Package storagetest is the conformance suite of storage drivers.
//
// Run holds a driver to the contract of storage.Driver and of every optional
// interface that its harness declares; a driver that loses one of them fails.
// The suite never asks which cloud it runs against. A real HTTP client, no SDK,
// plays the clients that use signed URLs. What must be refused is tried, and
// then nothing may be stored.
//
// Each subtest has a fixture of its own and runs in parallel. The suite writes
// and deletes below the fixture's prefix only, and needs whatever rights the
// driver's documentation lists. Sessions are an exception: their tests also write
// below "another-project/" and "parallel-…/", and try to write all over the bucket,
// so that their fixture should be a bucket of its own.
package storagetest

import (
	"bytes"
	"crypto/sha1"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// Harness says how to get at a driver, and what it must be able to do.
type Harness struct {
	// New makes an empty fixture for one subtest and cleans it up after it.
	New func(t *testing.T) Fixture

	// The optional interfaces that the driver has.
	PutSigner, GetSigner, Sessioner, Copier, Prober, Syncer, MultipartAborter, Cleaner bool

	// SHA1Unbound says that the cloud knows no SHA-1, so that its requests can't
	// bind one: other bytes of the same size are then not tried. They would be
	// taken, and only a validation finds them; that is why such a driver has no
	// Prober, and storage.Bucket marks its requests Unbound.
	SHA1Unbound bool
	// CopySource is the header by which a PUT copies another object instead of
	// storing its body; "": x-amz-copy-source.
	CopySource string

	// Denied gives a driver whose credentials the bucket refuses, Unreachable
	// one whose bucket does not answer.
	Denied, Unreachable func(t *testing.T) storage.Driver
}

// Fixture is an empty place in a bucket.
type Fixture struct {
	Driver  storage.Driver
	Prefix  string       // of all keys that the subtest may use
	Client  *http.Client // plays clients; nil: http.DefaultClient
	BaseURL string       // goes before signed URLs that begin with "/"

	// BeginMultipart leaves an unfinished upload in parts at a key, if the
	// driver has MultipartAborter.
	BeginMultipart func(t *testing.T, key string)

	// WithSession makes a client that signs with a session, if the driver has
	// Sessioner.
	WithSession func(t *testing.T, s broker.CloudSession) SessionClient
	// Shift moves the clocks of the cloud and of the clients that WithSession made,
	// not the driver's; nil: nobody can.
	Shift func(d time.Duration)
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("interfaces", func(t *testing.T) { testInterfaces(t, h) })
	tests := map[string]func(*testing.T, *fixture){
		"object/put":       testPut,
		"object/overwrite": testOverwrite,
		"object/if-absent": testIfAbsent,
		"object/delete":    testDelete,
		"object/names":     testNames,
		"object/keys":      testKeys,
		"object/parallel":  testParallel,
		"put/long":         testLongPut,
		"put/sizes":        testPutSizes,
		"put/cancel":       testPutCancel,
		"put/reader-fails": testPutReaderFails,
		"read/ranges":      testRanges,
		"read/if-match":    testIfMatch,
		"read/source":      testSource,
		"read/missing":     testMissing,
		"read/cancel":      testReadCancel,
		"list/order":       testListOrder,
		"list/pages":       testListPages,
		"list/thousands":   testListThousands,
	}
	if h.PutSigner {
		tests["grant/right"] = testGrantRight
		tests["grant/unbound"] = testGrantUnbound
		tests["grant/empty"] = testGrantEmpty
		tests["grant/refused"] = testGrantRefused
		tests["grant/expired"] = testGrantExpired
		tests["grant/broken-off"] = testGrantBrokenOff
		tests["grant/names"] = testGrantNames
		tests["grant/headers"] = testGrantHeaders
	}
	if h.GetSigner {
		tests["link/right"] = testLinkRight
		tests["link/refused"] = testLinkRefused
		tests["link/expired"] = testLinkExpired
		tests["link/attachment"] = testLinkAttachment
		tests["link/looks"] = testLinkLooks
	}
	if h.Sessioner {
		tests["session/right"] = testSessionRight
		tests["session/multipart"] = testSessionMultipart
		tests["session/names"] = testSessionNames
		tests["session/refused"] = testSessionRefused
		tests["session/beside"] = testSessionBeside
		tests["session/tampered"] = testSessionTampered
		tests["session/expired"] = testSessionExpired
		tests["session/prefixes"] = testSessionPrefixes
		tests["session/parallel"] = testSessionParallel
	}
	if h.Copier {
		tests["copy/right"] = testCopyRight
		tests["copy/refused"] = testCopyRefused
		tests["copy/names"] = testCopyNames
		tests["copy/long"] = testCopyLong
		tests["copy/parallel"] = testCopyParallel
		tests["copy/changing"] = testCopyChanging
	}
	if h.Prober {
		tests["probe"] = testProbe
	}
	if h.Syncer {
		tests["sync"] = testSync
	}
	if h.MultipartAborter {
		tests["multiparts/list"] = testMultiparts
		tests["multiparts/names"] = testMultipartNames
		tests["multiparts/abort"] = testAbortMultipart
		tests["multiparts/sweep"] = testSweep
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newFixture(t, h))
		})
	}
	t.Run("denied", func(t *testing.T) {
		t.Parallel()
		testFault(t, h.Denied(t), broker.CodeDenied)
	})
	t.Run("unreachable", func(t *testing.T) {
		t.Parallel()
		testFault(t, h.Unreachable(t), broker.CodeUnavailable)
	})
}

func testInterfaces(t *testing.T, h Harness) {
	d := h.New(t).Driver
	_, put := d.(storage.PutSigner)
	_, get := d.(storage.GetSigner)
	_, sessions := d.(storage.Sessioner)
	_, copies := d.(storage.Copier)
	_, probes := d.(storage.Prober)
	_, syncs := d.(storage.Syncer)
	_, aborts := d.(storage.MultipartAborter)
	_, cleans := d.(storage.Cleaner)
	for _, c := range []struct {
		name      string
		has, want bool
	}{
		{"PutSigner", put, h.PutSigner}, {"GetSigner", get, h.GetSigner},
		{"Sessioner", sessions, h.Sessioner}, {"Copier", copies, h.Copier}, {"Prober", probes, h.Prober},
		{"Syncer", syncs, h.Syncer}, {"MultipartAborter", aborts, h.MultipartAborter},
		{"Cleaner", cleans, h.Cleaner},
	} {
		if c.has != c.want {
			t.Errorf("the driver has %s: %v; its harness says %v", c.name, c.has, c.want)
		}
	}
}

// fixture is a Fixture with the portable type over its driver.
type fixture struct {
	Fixture
	h Harness
	b *storage.Bucket
}

func newFixture(t *testing.T, h Harness) *fixture {
	t.Helper()
	f := &fixture{Fixture: h.New(t), h: h}
	f.b = newBucket(t, f.Driver)
	if f.Client == nil {
		f.Client = http.DefaultClient
	}
	return f
}

func newBucket(t *testing.T, d storage.Driver) *storage.Bucket {
	t.Helper()
	b, err := storage.New(storage.Info{Symbol: "Test", Cloud: broker.CloudS3}, d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// key is a name below the fixture's prefix.
func (f *fixture) key(name string) string { return f.Prefix + name }

// put stores data or fails the test.
func (f *fixture) put(t *testing.T, key string, data []byte) storage.Object {
	t.Helper()
	obj, err := f.b.Put(t.Context(), key, bytes.NewReader(data), storage.PutOptions{SizeBytes: int64(len(data)), ContentType: "image/jpeg"})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return obj
}

// get reads all of an object or fails the test.
func (f *fixture) get(t *testing.T, key string) []byte {
	t.Helper()
	rc, _, err := f.b.Open(t.Context(), key, storage.Range{}, "")
	if err != nil {
		t.Fatalf("open %q: %v", key, err)
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return data
}

// absent fails the test unless nothing at all is stored below the prefix.
func (f *fixture) absent(t *testing.T, key string) {
	t.Helper()
	if obj, err := f.b.Stat(t.Context(), key); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("%q is stored: %+v, %v", key, obj, err)
	}
	if objs, err := f.b.List(t.Context(), f.Prefix, "", 0); err != nil || len(objs) != 0 {
		t.Errorf("the list is not empty: %+v, %v", objs, err)
	}
}

// wantCode fails the test unless err has the code and names no secret.
func wantCode(t *testing.T, what string, err error, code broker.Code) {
	t.Helper()
	if got := broker.CodeOf(err); got != code {
		t.Errorf("%s: code %q, want %q (%v)", what, got, code, err)
	}
	if err == nil {
		return
	}
	for _, secret := range []string{"x-amz-signature", "x-amz-security-token", "x-oss-signature", "x-oss-security-token", "signature=", "securitytoken", "security-token="} {
		if strings.Contains(strings.ToLower(err.Error()), secret) {
			t.Errorf("%s: the error holds %s: %v", what, secret, err)
		}
	}
}

// url makes a signed URL whole.
func (f *fixture) url(signed string) string {
	if strings.HasPrefix(signed, "/") {
		return f.BaseURL + signed
	}
	return signed
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send plays a client. A nil body is none; a length of -1 sends it chunked.
func (f *fixture) send(t *testing.T, method, url string, headers map[string]string, body io.Reader, length int64) (answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.url(url), body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.ContentLength = length
		if length == 0 {
			req.Body = http.NoBody
		}
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := f.Client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, data}, err
}

// upload uses a grant as its client should.
func (f *fixture) upload(t *testing.T, req broker.Request, data []byte) answer {
	t.Helper()
	a, err := f.send(t, req.Method, req.URL, req.Headers, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func binding(data []byte) broker.Binding {
	return broker.Binding{SizeBytes: int64(len(data)), SHA1: sha1.Sum(data), ContentType: "image/jpeg"}
}

func (f *fixture) grant(t *testing.T, key string, bind broker.Binding, ttl time.Duration) broker.Request {
	t.Helper()
	req, err := f.b.SignPut(t.Context(), key, bind, ttl)
	if err != nil {
		t.Fatalf("sign a put of %q: %v", key, err)
	}
	return req
}

// randomBytes gives n bytes that no compression shortens.
func randomBytes(n int) []byte {
	var seed [32]byte
	data := make([]byte, n)
	rand.NewChaCha8(seed).Read(data)
	for i := range min(n, 8) {
		data[i] = byte(rand.Uint32())
	}
	return data
}

// oddNames are names that trip clients, proxies, signers and file systems.
func oddNames() []string {
	return []string{
		"plain.jpg", "with space.jpg", "two  spaces.jpg", " leading", "trailing ", "trailing.",
		"plus+plus.jpg", "percent%.jpg", "percent%20.jpg", "percent%2Fslash", "%2e%2e", "%252e", "%00",
		"question?mark", "hash#tag", "amp&ersand=1", "semi;colon", "colon:at@", "dollar$star*pipe|",
		"quote'single", `quote"double`, "angle<br>&amp;", "brace{}[]()^`!", "tilde~dash-under_", "comma,",
		".hidden", "..two-dots", "...", "a..b",
		"é-composed", "e\u0301-decomposed", "中文照片.jpg", "日本/語", "العربية", "emoji😀.png", "nbsp\u00a0x", "ß",
		"X-Amz-Signature=1", "sub/folder/file", "a.b/c.d", strings.Repeat("n", 200) + "/" + strings.Repeat("m", 200),
	}
}
