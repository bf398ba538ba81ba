package broker_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// plain registers one file as an old client does.
func (w *world) plain(t *testing.T, p broker.Project, bucket string, e broker.PlainEntry) (broker.Image, *broker.Grant) {
	t.Helper()
	img, grant, err := w.images.RegisterPlain(t.Context(), w.by, p.ID, broker.CloudS3, bucket, client, e, broker.PlainWant{Image: true, Grant: true})
	if err != nil {
		t.Fatal(err)
	}
	return img, grant
}

func (w *world) countImages(t *testing.T, p broker.Project) (n int) {
	t.Helper()
	counts, err := w.store.CountImages(t.Context(), p.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		n += c
	}
	return n
}

func TestPlainRegistrationBindsNothing(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	img, grant := w.plain(t, p, "Near", broker.PlainEntry{Name: "100MEDIA/DJI_0001.JPG", SHA1: strings.ToUpper(hexOf("a"))})
	if img.State != broker.StatePending || img.Name != "100MEDIA/DJI_0001.JPG" || img.SHA1.String() != hexOf("a") || img.SizeBytes != -1 ||
		img.Filename != hexOf("a")+".jpg" || img.Type != "image/jpeg" {
		t.Errorf("registered %+v", img)
	}
	if want := (broker.Binding{SizeBytes: -1}); w.signer.last != want {
		t.Errorf("the grant binds %+v", w.signer.last)
	}
	if grant.Kind != broker.GrantRequest || grant.Bucket != "Near" || !strings.Contains(grant.Request.URL, img.Key()) {
		t.Errorf("granted %+v", grant)
	}
	// A client of the native API may come after with the size; he stays bound.
	r := w.register(t, p, "", entry("b.jpg", "a"))
	if r[0].Status != broker.StatusGranted || r[0].Image.ID != img.ID || w.signer.last.SizeBytes != 1 || w.signer.last.SHA1.IsZero() {
		t.Errorf("then %+v bound to %+v", r[0], w.signer.last)
	}
}

// TestPlainWithoutASha1: each registration is an image of its own, under a name
// that nobody else has.
func TestPlainWithoutASha1(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	var mu sync.Mutex
	keys := map[string]bool{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			img, grant := w.plain(t, p, "Near", broker.PlainEntry{Name: "a.PNG"})
			mu.Lock()
			defer mu.Unlock()
			if keys[img.Filename] || !strings.HasSuffix(img.Filename, ".png") || !img.SHA1.IsZero() || !strings.Contains(grant.Request.URL, img.Key()) {
				t.Errorf("registered %+v, granted %+v", img, grant)
			}
			keys[img.Filename] = true
		})
	}
	wg.Wait()
	if n := w.countImages(t, p); n != 20 {
		t.Errorf("%d images", n)
	}
}

// TestPlainOfWhatIsThere: the image comes back with a request that works, and
// what it brings is dropped while the image is as it is; should the image be
// Invalid, it is that further attempt's.
func TestPlainOfWhatIsThere(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	e := broker.PlainEntry{Name: "a.jpg", SHA1: hexOf("a")}
	first, _ := w.plain(t, p, "Near", e)
	w.arrive(t, first, "Near")

	again, grant := w.plain(t, p, "Near", e)
	if again.ID != first.ID || again.State != broker.StateReady || again.Filename != first.Filename {
		t.Errorf("again: %+v", again)
	}
	spare := first.ProjectID + "/" + hexOf("a") + "-2.jpg"
	if !strings.Contains(grant.Request.URL, spare) {
		t.Errorf("granted %s, want %s", grant.Request.URL, spare)
	}
	n, err := w.store.See(t.Context(), p.ID, "Near", []broker.Seen{{Filename: hexOf("a") + "-2.jpg", ETag: "other", SizeBytes: 1}}, w.time())
	if err != nil || n != 0 {
		t.Errorf("what lies at the spare place moved %d images: %v", n, err)
	}
	if img, err := w.images.Find(t.Context(), w.by, p.ID, first.ID); err != nil || img.State != broker.StateReady || img.ETag != "e" {
		t.Errorf("then it is %+v: %v", img, err)
	}

	bad, _ := w.plain(t, p, "Near", broker.PlainEntry{Name: "b.jpg", SHA1: hexOf("b")})
	w.arrive(t, bad, "Near", broker.Reasonf(broker.ReasonCorrupt, "damaged"))
	next, grant := w.plain(t, p, "Near", broker.PlainEntry{Name: "b.jpg", SHA1: hexOf("b")})
	if next.ID != bad.ID || next.State != broker.StatePending || next.Attempt != 2 || !strings.Contains(grant.Request.URL, next.Key()) || next.Filename != hexOf("b")+"-2.jpg" {
		t.Errorf("after Invalid: %+v, %s", next, grant.Request.URL)
	}
}

// TestPlainMakesOnlyWhatIsAskedFor: a record with image, a signature with url.
func TestPlainMakesOnlyWhatIsAskedFor(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	ask := func(e broker.PlainEntry, want broker.PlainWant) (broker.Image, *broker.Grant, error) {
		return w.images.RegisterPlain(t.Context(), w.by, p.ID, broker.CloudS3, "Near", client, e, want)
	}
	e := broker.PlainEntry{Name: "a.jpg", SHA1: hexOf("a")}
	for _, unknown := range []broker.PlainEntry{e, {Name: "a.jpg"}} {
		_, _, err := ask(unknown, broker.PlainWant{Grant: true})
		wantCode(t, err, broker.CodeInvalid)
	}
	if n := w.countImages(t, p); n != 0 || w.signer.count != 0 {
		t.Errorf("a url alone made %d images, %d signatures", n, w.signer.count)
	}
	img, grant, err := ask(e, broker.PlainWant{Image: true})
	if err != nil || grant != nil || w.signer.count != 0 || img.ID == "" {
		t.Errorf("an image alone: %+v %v %v, %d signatures", img, grant, err, w.signer.count)
	}
	same, grant, err := ask(e, broker.PlainWant{Grant: true})
	if err != nil || same.ID != img.ID || !strings.Contains(grant.Request.URL, img.Key()) {
		t.Errorf("its url: %+v %v %v", same, grant, err)
	}
	w.arrive(t, img, "Near")
	if _, grant, err = ask(e, broker.PlainWant{Grant: true}); err != nil || !strings.Contains(grant.Request.URL, "-2.jpg") {
		t.Errorf("its url when it is Ready: %v %v", grant, err)
	}
}

func TestPlainRefuses(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	for _, c := range []struct {
		name   string
		by     broker.Caller
		cloud  broker.Cloud
		bucket string
		entry  broker.PlainEntry
		code   broker.Code
	}{
		{"another cloud's bucket", w.by, broker.CloudMinIO, "Near", broker.PlainEntry{Name: "a"}, broker.CodeUnknownBucket},
		{"no bucket", w.by, broker.CloudS3, "NONE", broker.PlainEntry{Name: "a"}, broker.CodeUnknownBucket},
		{"drained", w.by, broker.CloudS3, "Full", broker.PlainEntry{Name: "a"}, broker.CodeNoBucket},
		{"pinned elsewhere", w.caller(t, w.ada, broker.NewKey{Clouds: []broker.Cloud{broker.CloudMinIO}}), broker.CloudS3, "Near", broker.PlainEntry{Name: "a"}, broker.CodeNotAllowed},
		{"no scope", w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}}), broker.CloudS3, "Near", broker.PlainEntry{Name: "a"}, broker.CodeNotAllowed},
		{"nobody", broker.Caller{}, broker.CloudS3, "Near", broker.PlainEntry{Name: "a"}, broker.CodeUnauthenticated},
		{"no name", w.by, broker.CloudS3, "Near", broker.PlainEntry{}, broker.CodeInvalidName},
		{"traversal", w.by, broker.CloudS3, "Near", broker.PlainEntry{Name: "../a"}, broker.CodeInvalidName},
		{"sha1", w.by, broker.CloudS3, "Near", broker.PlainEntry{Name: "a", SHA1: "abc"}, broker.CodeInvalidSHA1},
	} {
		_, _, err := w.images.RegisterPlain(t.Context(), c.by, p.ID, c.cloud, c.bucket, client, c.entry, broker.PlainWant{Image: true, Grant: true})
		if broker.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	if n := w.countImages(t, p); n != 0 {
		t.Errorf("%d images were made", n)
	}
}

// TestSingle: start and done by an image's id alone.
func TestSingle(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	img, _ := w.plain(t, p, "Near", broker.PlainEntry{Name: "a.jpg", SHA1: hexOf("a")})
	for range 2 {
		if got, err := w.images.StartOne(t.Context(), w.by, img.ID); err != nil || got.State != broker.StateUploading {
			t.Errorf("started: %+v %v", got, err)
		}
		if got, err := w.images.DoneOne(t.Context(), w.by, img.ID); err != nil || got.State != broker.StateUploading {
			t.Errorf("done without an object: %+v %v", got, err)
		}
	}
	eve, err := w.keys.CreateOwner(t.Context(), "eve@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	other := w.caller(t, eve, broker.NewKey{})
	_, another := w.images.StartOne(t.Context(), other, img.ID)
	wantCode(t, another, broker.CodeNotFound)
	absent := broker.NewID(w.time())
	_, none := w.images.StartOne(t.Context(), other, absent)
	if another == nil || none == nil || strings.ReplaceAll(another.Error(), img.ID, absent) != none.Error() {
		t.Errorf("another's image answers %v, an absent one %v", another, none)
	}
	if _, err := w.images.Remove(t.Context(), w.by, p.ID, img.ID); err != nil {
		t.Fatal(err)
	}
	_, err = w.images.StartOne(t.Context(), w.by, img.ID)
	wantCode(t, err, broker.CodeNotFound)
	_, err = w.images.Find(t.Context(), w.by, p.ID, img.ID)
	wantCode(t, err, broker.CodeNotFound)
}

func TestToken(t *testing.T) {
	w := newWorld(t)
	_, secret, err := w.keys.Create(t.Context(), w.ada, broker.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ email, password, want string }{
		{"ada@example.com", secret, secret}, {" Ada@Example.com ", secret + "\n", secret},
		{"eve@example.com", secret, ""}, {"ada@example.com", secret + "x", ""}, {"ada@example.com", "", ""}, {"", secret, ""},
	} {
		if got, err := w.keys.Token(t.Context(), c.email, c.password); err != nil || got != c.want {
			t.Errorf("%q with %q: %q %v", c.email, c.password, got, err)
		}
	}
}
