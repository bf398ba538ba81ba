package broker_test

import (
	"crypto/sha1"
	"net/netip"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

var client = netip.MustParseAddr("192.0.2.1")

// hexOf is the sha1 of a text, as clients send it.
func hexOf(text string) string { return broker.SHA1(sha1.Sum([]byte(text))).String() }

func entry(name, text string) broker.Entry {
	return broker.Entry{Name: name, SHA1: hexOf(text), SizeBytes: int64(len(text))}
}

func (w *world) register(t *testing.T, p broker.Project, bucket string, entries ...broker.Entry) []broker.Registered {
	t.Helper()
	results, err := w.images.Register(t.Context(), w.by, p.ID, broker.Target{Bucket: bucket, Client: client}, entries)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(entries) {
		t.Fatalf("%d answers for %d entries", len(results), len(entries))
	}
	return results
}

// arrive makes the image Uploaded as a look would, and judges it.
func (w *world) arrive(t *testing.T, img broker.Image, bucket string, reasons ...broker.Reason) {
	t.Helper()
	n, err := w.store.See(t.Context(), img.ProjectID, bucket, []broker.Seen{{
		Bucket: bucket, ProjectID: img.ProjectID, Filename: img.Filename, ETag: "e", SizeBytes: 1,
	}}, w.time())
	if err != nil || n != 1 {
		t.Fatalf("%d images moved, %v", n, err)
	}
	w.judge(t, img, reasons...)
}

func TestRegisterAnswersEachEntry(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	entries := []broker.Entry{
		{Name: "100MEDIA/a.JPG", SHA1: strings.ToUpper(hexOf("a")), SizeBytes: 1},
		{Name: "b", SHA1: hexOf("b"), SizeBytes: 1000, Type: "image/tiff", Start: true},
		{Name: "c.bin", SHA1: hexOf("c"), SizeBytes: 0},
	}
	results := w.register(t, p, "", entries...)
	for i, want := range []struct {
		filename, typ string
		state         broker.State
	}{
		{hexOf("a") + ".jpg", "image/jpeg", broker.StatePending},
		{hexOf("b") + ".tif", "image/tiff", broker.StateUploading},
		{hexOf("c") + ".bin", "application/octet-stream", broker.StatePending},
	} {
		r := results[i]
		img := r.Image
		if r.Status != broker.StatusGranted || r.Err != nil {
			t.Fatalf("%d: %s, %v", i, r.Status, r.Err)
		}
		if img.Filename != want.filename || img.Type != want.typ || img.State != want.state || img.Name != entries[i].Name ||
			img.SizeBytes != entries[i].SizeBytes || img.Attempt != 1 || img.ProjectID != p.ID || !broker.IsID(img.ID) {
			t.Errorf("%d: %+v", i, img)
		}
		// "" chose the first that takes uploads, and the grant names the image's key.
		if r.Grant == nil || r.Grant.Bucket != "Near" || r.Grant.Kind != broker.GrantRequest ||
			r.Grant.Request.URL != "https://bucket.example/"+p.ID+"/"+want.filename+"?for=1h0m0s" {
			t.Errorf("%d: the grant is %+v", i, r.Grant)
		}
	}
	if want := (broker.Binding{SizeBytes: 0, SHA1: results[2].Image.SHA1, ContentType: "application/octet-stream"}); w.signer.last != want {
		t.Errorf("the last grant binds %+v, want %+v", w.signer.last, want)
	}

	// Again, and to another bucket: the same rows, the same keys.
	for _, bucket := range []string{"", "Far"} {
		for i, r := range w.register(t, p, bucket, entries...) {
			if r.Status != broker.StatusGranted || r.Image.ID != results[i].Image.ID || r.Image.Filename != results[i].Image.Filename ||
				r.Image.Attempt != 1 || r.Image.State != results[i].Image.State {
				t.Errorf("again in %q, %d: %s %+v", bucket, i, r.Status, r.Image)
			}
			if bucket == "Far" && !strings.HasSuffix(r.Grant.Request.URL, "?for=2h0m0s") {
				t.Errorf("the grant is %s", r.Grant.Request.URL)
			}
		}
	}
}

func TestRegisterProblemsStayWithTheirEntry(t *testing.T) {
	w := newWorld(t)
	w.images.Limits.MaxBatch = 100
	p := w.project(t)
	bad := func(change func(*broker.Entry)) broker.Entry {
		e := entry("x.jpg", "x")
		change(&e)
		return e
	}
	entries := []broker.Entry{
		entry("first.jpg", "first"),
		bad(func(e *broker.Entry) { e.Name = "" }),
		bad(func(e *broker.Entry) { e.Name = "../x.jpg" }),
		bad(func(e *broker.Entry) { e.Name = "a\x00b" }),
		bad(func(e *broker.Entry) { e.SHA1 = "" }),
		bad(func(e *broker.Entry) { e.SHA1 = e.SHA1[1:] }),
		bad(func(e *broker.Entry) { e.SHA1 = strings.Repeat("0", 40) }),
		bad(func(e *broker.Entry) { e.SizeBytes = -1 }),
		bad(func(e *broker.Entry) { e.SizeBytes = 1001 }),
		bad(func(e *broker.Entry) { e.Type = "jpeg" }),
		bad(func(e *broker.Entry) { e.Type = "image/jpeg\r\nx: y" }),
		entry("last.jpg", "last"),
	}
	codes := []broker.Code{
		"", broker.CodeInvalidName, broker.CodeInvalidName, broker.CodeInvalidName, broker.CodeInvalidSHA1, broker.CodeInvalidSHA1,
		broker.CodeInvalidSHA1, broker.CodeInvalidSize, broker.CodeTooLarge, broker.CodeInvalidType, broker.CodeInvalidType, "",
	}
	for i, r := range w.register(t, p, "", entries...) {
		wantCode(t, r.Err, codes[i])
		if want := codes[i] != ""; want != (r.Status == broker.StatusProblem) || want != (r.Grant == nil) {
			t.Errorf("%d: %s with the grant %v", i, r.Status, r.Grant)
		}
	}
	if counts, err := w.store.CountImages(t.Context(), p.ID); err != nil || counts[broker.StatePending] != 2 {
		t.Errorf("stored %v, %v", counts, err)
	}
	// A batch of nothing but problems is still an answer.
	if r := w.register(t, p, "", entries[1:3]...); r[0].Status != broker.StatusProblem || r[1].Status != broker.StatusProblem {
		t.Errorf("%+v", r)
	}
	if r := w.register(t, p, ""); len(r) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRegisterTwinsInABatch(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	one, two := entry("a.jpg", "same"), entry("sub/b.png", "same")
	two.SHA1, two.Start = strings.ToUpper(two.SHA1), true
	results := w.register(t, p, "", one, entry("c.jpg", "other"), two)
	a, b := results[0], results[2]
	if a.Status != broker.StatusGranted || b.Status != broker.StatusGranted || a.Image.ID != b.Image.ID || a.Grant.Request.URL != b.Grant.Request.URL {
		t.Errorf("twins: %+v and %+v", a, b)
	}
	if a.Image.Name != "a.jpg" || a.Image.Filename != hexOf("same")+".jpg" {
		t.Errorf("the first names it: %+v", a.Image)
	}
	if a.Image.State != broker.StateUploading {
		t.Errorf("one of them starts, so it is %s", a.Image.State)
	}
	if results[1].Image.ID == a.Image.ID {
		t.Error("another sha1 is another image")
	}
	counts, err := w.store.CountImages(t.Context(), p.ID)
	if err != nil || counts[broker.StatePending]+counts[broker.StateUploading] != 2 {
		t.Errorf("stored %v, %v", counts, err)
	}
}

func TestRegisterWhatIsThere(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	ready := w.register(t, p, "Near", entry("a.jpg", "a"))[0].Image
	w.arrive(t, ready, "Near")
	uploaded := w.register(t, p, "Near", entry("b.jpg", "b"))[0].Image
	if _, err := w.store.See(t.Context(), p.ID, "Near", []broker.Seen{{Filename: uploaded.Filename, ETag: "e", SizeBytes: 1}}, w.time()); err != nil {
		t.Fatal(err)
	}
	invalid := w.register(t, p, "Near", entry("c.JPG", "c"))[0].Image
	w.arrive(t, invalid, "Near", broker.Reasonf(broker.ReasonCorrupt, "bad"))

	signed := w.signer.count
	r := w.register(t, p, "Far", entry("a.jpg", "a"), entry("b.jpg", "b"))
	if r[0].Status != broker.StatusExists || r[0].Image.State != broker.StateReady || r[0].Grant != nil {
		t.Errorf("Ready: %s %s %v", r[0].Status, r[0].Image.State, r[0].Grant)
	}
	if r[1].Status != broker.StatusExists || r[1].Image.State != broker.StateUploaded || r[1].Grant != nil {
		t.Errorf("Uploaded: %s %s %v", r[1].Status, r[1].Image.State, r[1].Grant)
	}
	if w.signer.count != signed {
		t.Error("a grant was signed for what is there")
	}

	again := entry("renamed.jpg", "c")
	r = w.register(t, p, "Far", again)
	img := r[0].Image
	if r[0].Status != broker.StatusGranted || img.ID != invalid.ID || img.Attempt != 2 || img.State != broker.StatePending ||
		img.Filename != hexOf("c")+"-2.jpg" || img.Name != "renamed.jpg" || len(img.Reasons) != 0 || img.ETag != "" || img.Bucket != "" {
		t.Errorf("after Invalid: %s %+v", r[0].Status, img)
	}
	w.arrive(t, img, "Far", broker.Reasonf(broker.ReasonCorrupt, "bad again"))
	again.Name, again.Type = "noext", "image/png"
	img = w.register(t, p, "", again)[0].Image
	if img.Attempt != 3 || img.Filename != hexOf("c")+"-3.png" {
		t.Errorf("a third attempt: %+v", img)
	}
	again.Name, again.Type = "noext", "application/x-unheard-of"
	w.arrive(t, img, "Near", broker.Reasonf(broker.ReasonCorrupt, "bad again"))
	img = w.register(t, p, "", again)[0].Image
	if img.Attempt != 4 || img.Filename != hexOf("c")+"-4" {
		t.Errorf("a fourth attempt: %+v", img)
	}
}

func TestRegisterRefusesTheWhole(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	bob, err := w.keys.CreateOwner(t.Context(), "bob@example.com", "Bob")
	if err != nil {
		t.Fatal(err)
	}
	other := w.project(t)
	removed := w.project(t)
	if _, err := w.projects.Remove(t.Context(), w.by, removed.ID); err != nil {
		t.Fatal(err)
	}
	upload := []broker.Scope{broker.ScopeUpload}
	oss := w.caller(t, w.ada, broker.NewKey{Scopes: upload, Clouds: []broker.Cloud{broker.CloudOSS}})
	minio := w.caller(t, w.ada, broker.NewKey{Scopes: upload, Clouds: []broker.Cloud{broker.CloudMinIO}})
	six := make([]broker.Entry, 6)
	for i := range six {
		six[i] = entry("a.jpg", string(rune('a'+i)))
	}
	for _, c := range []struct {
		name    string
		by      broker.Caller
		project string
		bucket  string
		entries []broker.Entry
		want    broker.Code
	}{
		{"no key", broker.Caller{}, p.ID, "", six[:1], broker.CodeUnauthenticated},
		{"a key that reads", w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead, broker.ScopeManage, broker.ScopeAdmin}}), p.ID, "", six[:1], broker.CodeNotAllowed},
		{"another owner", w.caller(t, bob, broker.NewKey{Scopes: broker.AllScopes()}), p.ID, "", six[:1], broker.CodeNotFound},
		{"a key tied elsewhere", w.caller(t, w.ada, broker.NewKey{Scopes: upload, ProjectID: other.ID}), p.ID, "", six[:1], broker.CodeNotFound},
		{"no such project", w.by, broker.NewID(w.time()), "", six[:1], broker.CodeNotFound},
		{"no project's id", w.by, "../" + p.ID, "", six[:1], broker.CodeNotFound},
		{"an id in small letters", w.by, strings.ToLower(p.ID), "", six[:1], broker.CodeNotFound},
		{"a removed project", w.by, removed.ID, "", six[:1], broker.CodeNotFound},
		{"six where five are the most", w.by, p.ID, "", six, broker.CodeBatchTooLarge},
		{"an unknown bucket", w.by, p.ID, "Nowhere", six[:1], broker.CodeUnknownBucket},
		{"a bucket in small letters", w.by, p.ID, "near", six[:1], broker.CodeUnknownBucket},
		{"a drained bucket", w.by, p.ID, "Full", six[:1], broker.CodeNoBucket},
		{"a bucket that presigns nothing", w.by, p.ID, "Tokens", six[:1], broker.CodeNotSupported},
		{"a bucket of another cloud than the key's", minio, p.ID, "Near", six[:1], broker.CodeNotAllowed},
		{"a key for whose cloud nothing presigns", oss, p.ID, "", six[:1], broker.CodeNoBucket},
	} {
		t.Run(c.name, func(t *testing.T) {
			results, err := w.images.Register(t.Context(), c.by, c.project, broker.Target{Bucket: c.bucket, Client: client}, c.entries)
			wantCode(t, err, c.want)
			if results != nil {
				t.Errorf("answers came with the error: %+v", results)
			}
		})
	}
	if counts, err := w.store.CountImages(t.Context(), p.ID); err != nil || len(counts) != 0 {
		t.Errorf("something was registered: %v, %v", counts, err)
	}

	// The pinned key gets the nearest of its own cloud; a tied key its project.
	r, err := w.images.Register(t.Context(), minio, p.ID, broker.Target{Client: client}, six[:1])
	if err != nil || r[0].Grant == nil || r[0].Grant.Bucket != "Far" {
		t.Errorf("pinned: %+v, %v", r, err)
	}
	tied := w.caller(t, w.ada, broker.NewKey{Scopes: upload, ProjectID: p.ID})
	if r, err = w.images.Register(t.Context(), tied, p.ID, broker.Target{Client: client}, six[:5]); err != nil || len(r) != 5 {
		t.Errorf("tied, five entries: %v", err)
	}
}

func TestASignerThatFailsIsAProblemOfTheEntry(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	w.signer.fail = broker.Errorf(broker.CodeUnavailable, "no credentials")
	r := w.register(t, p, "", entry("a.jpg", "a"))
	if r[0].Status != broker.StatusProblem || r[0].Grant != nil || r[0].Image.ID == "" {
		t.Errorf("%+v", r[0])
	}
	wantCode(t, r[0].Err, broker.CodeUnavailable)
	w.signer.fail = nil
	if again := w.register(t, p, "", entry("a.jpg", "a")); again[0].Status != broker.StatusGranted || again[0].Image.ID != r[0].Image.ID {
		t.Errorf("again: %+v", again[0])
	}
}

func TestNearest(t *testing.T) {
	w := newWorld(t)
	symbols := func(by broker.Caller) (list []string) {
		t.Helper()
		for _, b := range w.images.Nearest(by, client) {
			list = append(list, b.Symbol)
		}
		return list
	}
	if got := strings.Join(symbols(w.by), " "); got != "Tokens Near Far" {
		t.Errorf("nearest are %s", got)
	}
	pinned := w.caller(t, w.ada, broker.NewKey{Clouds: []broker.Cloud{broker.CloudMinIO}})
	if got := strings.Join(symbols(pinned), " "); got != "Far" {
		t.Errorf("nearest of a pinned key are %s", got)
	}
	if got := strings.Join(symbols(broker.Caller{}), " "); got != "Tokens Near Far" {
		t.Errorf("nearest of nobody are %s", got)
	}
}
