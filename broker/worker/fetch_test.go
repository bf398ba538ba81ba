package worker_test

import (
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// fetchWorld is a world that may fetch from a host, a real HTTP server on loopback.
func fetchWorld(t *testing.T, host http.HandlerFunc) (w *world, base string) {
	t.Helper()
	w = newWorld(t)
	w.Fetch = fetch.New(fetch.Options{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, MaxBytes: 1 << 20})
	s := httptest.NewServer(host)
	t.Cleanup(s.Close)
	return w, s.URL
}

// registerURL registers an image to be fetched into bucket A, and returns the job
// that the store inserted for it.
func (w *world) registerURL(t *testing.T, p broker.Project, url, declared string) (broker.Image, broker.FetchArgs) {
	t.Helper()
	now := w.clock.now()
	images, err := w.store.Register(t.Context(), broker.RegisterBatch{
		ProjectID: p.ID, Bucket: "A", Kind: broker.GrantFetch, FetchURL: url, Now: now, ExpiresAt: now.Add(grantFor), By: w.by,
		Images: []broker.NewImage{{ID: broker.NewID(now), Name: "a.jpg", SHA1: sha1.Sum([]byte(url)), SizeBytes: -1, Type: declared, Ext: "jpg", Start: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	img := images[0]
	args := broker.FetchArgs{ImageID: img.ID, Attempt: img.Attempt, Bucket: "A"}
	if n := w.count(t, `river_job WHERE kind = 'fetch' AND queue = 'fetch' AND args = jsonb_build_object('image_id', $1::text, 'attempt', $2::int, 'bucket', 'A')`,
		img.ID, img.Attempt); n != 1 {
		t.Fatalf("%d jobs were inserted", n)
	}
	return img, args
}

func servePhoto(number int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write(photo(number))
	}
}

// whyExpired is what an image that could not be fetched says.
func (w *world) whyExpired(t *testing.T, img broker.Image) string {
	t.Helper()
	return w.wantState(t, img, broker.StateInvalid, broker.ReasonExpired).Reasons[0].Detail
}

func TestFetch(t *testing.T) {
	w, base := fetchWorld(t, servePhoto(1))
	img, args := w.registerURL(t, w.project(t), base+"//a.jpg?SECRET", "image/jpeg")
	if err := w.FetchOnce(t.Context(), args, 1); err != nil {
		t.Fatal(err)
	}
	got := w.wantState(t, img, broker.StateUploaded)
	if got.ObjectBytes != int64(len(photo(1))) || got.Bucket != "A" {
		t.Errorf("%+v", got)
	}
	obj, err := w.a.Bucket.Stat(t.Context(), img.Key())
	if err != nil || obj.ContentType != "image/jpeg" { // not the far host's text/html
		t.Errorf("%+v, %v", obj, err)
	}
	if n := w.count(t, `leases`); n != 0 {
		t.Errorf("%d leases are kept", n)
	}
	// A doubled job finds nothing to do.
	if err := w.FetchOnce(t.Context(), args, 1); err != nil {
		t.Error(err)
	}
	if again := w.image(t, img); again.ETag != got.ETag || again.State != broker.StateUploaded {
		t.Errorf("%+v", again)
	}
}

// TestFetchByRiver: the queue is served, and what came is judged.
func TestFetchByRiver(t *testing.T) {
	var asked atomic.Int32
	w, base := fetchWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		servePhoto(1)(rw, r)
	})
	p := w.project(t)
	img, _ := w.registerURL(t, p, base+"/a.jpg", "image/jpeg")
	start(t, w.Worker)
	eventually(t, "it is judged", func() bool { return w.image(t, img).State == broker.StateInvalid })
	w.wantState(t, img, broker.StateInvalid, broker.ReasonChecksumMismatch) // its declared sha1 is that of the URL
	eventually(t, "the job is done", func() bool { return w.count(t, `river_job WHERE kind = 'fetch' AND state = 'completed'`) == 1 })
	if n := asked.Load(); n != 1 {
		t.Errorf("the host was asked %d times", n)
	}
}

// TestFetchRefused: what will not pass ends the image at once, in words without URL.
func TestFetchRefused(t *testing.T) {
	w, base := fetchWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/gone":
			rw.WriteHeader(http.StatusNotFound)
		case "/metadata":
			http.Redirect(rw, r, "http://169.254.169.254/latest/SECRET", http.StatusFound)
		case "/declared":
			rw.Header().Set("Content-Length", "9000000000")
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = rw.Write(make([]byte, 64<<10))
			}
		}
	})
	p := w.project(t)
	for path, want := range map[string]string{
		"/gone": "127.0.0.1 answered 404", "/metadata": "169.254.169.254 is not a public address",
		"/declared": "9000000000 bytes", "/endless": "over 1048576 bytes",
	} {
		img, args := w.registerURL(t, p, base+path+"?SECRET", "image/jpeg")
		err := w.FetchOnce(t.Context(), args, 1)
		if !worker.Cancelled(err) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", path, err)
		}
		if why := w.whyExpired(t, img); !strings.Contains(why, want) || strings.Contains(why, "SECRET") {
			t.Errorf("%s: %s", path, why)
		}
		if exists(t, w.a, img.Key()) {
			t.Errorf("%s: something is stored", path)
		}
		if err := w.FetchOnce(t.Context(), args, 2); err != nil {
			t.Errorf("%s: again: %v", path, err)
		}
	}
	if n := w.count(t, `leases`); n != 0 {
		t.Errorf("%d leases are kept", n)
	}
}

// TestFetchNotPublic: without the operator's word loopback is not asked, nor is
// anything without a client for it.
func TestFetchNotPublic(t *testing.T) {
	w, base := fetchWorld(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	p := w.project(t)
	for what, c := range map[string]*fetch.Client{"is not a public address": fetch.New(fetch.Options{}), "this installation fetches no URLs": nil} {
		w.Fetch = c
		img, args := w.registerURL(t, p, base+"/"+what[:4], "image/jpeg")
		if err := w.FetchOnce(t.Context(), args, 1); !worker.Cancelled(err) {
			t.Errorf("%s: %v", what, err)
		}
		if why := w.whyExpired(t, img); !strings.Contains(why, what) {
			t.Errorf("%s: %s", what, why)
		}
	}
}

// TestFetchAgain: what may pass is tried five times.
func TestFetchAgain(t *testing.T) {
	var failing atomic.Bool
	failing.Store(true)
	w, base := fetchWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if failing.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		servePhoto(1)(rw, r)
	})
	p := w.project(t)
	img, args := w.registerURL(t, p, base+"/passes", "image/jpeg")
	hopeless, hopelessArgs := w.registerURL(t, p, base+"/stays", "image/jpeg")
	for n := 1; n <= 4; n++ {
		for _, a := range []broker.FetchArgs{args, hopelessArgs} {
			if err := w.FetchOnce(t.Context(), a, n); !fetch.Transient(err) || worker.Cancelled(err) {
				t.Fatalf("try %d: %v", n, err)
			}
		}
		w.wantState(t, img, broker.StateUploading)
		_, retry := w.FetchTimes(n)
		if pause := retry.Sub(w.clock.now()).Round(time.Second); pause != []time.Duration{10, 30, 90, 300}[n-1]*time.Second {
			t.Errorf("after try %d it waits %v", n, pause)
		}
	}
	if err := w.FetchOnce(t.Context(), hopelessArgs, 5); !worker.Cancelled(err) {
		t.Errorf("the fifth try: %v", err)
	}
	if why := w.whyExpired(t, hopeless); !strings.Contains(why, "answered 503") {
		t.Error(why)
	}
	failing.Store(false)
	if err := w.FetchOnce(t.Context(), args, 5); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, img, broker.StateUploaded)
	if timeout, _ := w.FetchTimes(1); timeout != 15*time.Minute+(1<<30)/1_000_000*time.Second {
		t.Errorf("it may take %v", timeout)
	}
}

// TestFetchHalf: a body that ends early leaves nothing, and is tried again.
func TestFetchHalf(t *testing.T) {
	var whole atomic.Bool
	w, base := fetchWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if whole.Load() {
			servePhoto(1)(rw, r)
			return
		}
		rw.Header().Set("Content-Length", "100000")
		_, _ = rw.Write(photo(1))
	})
	img, args := w.registerURL(t, w.project(t), base, "image/jpeg")
	if err := w.FetchOnce(t.Context(), args, 1); !fetch.Transient(err) || worker.Cancelled(err) {
		t.Fatal(err)
	}
	if exists(t, w.a, img.Key()) {
		t.Error("half of it is stored")
	}
	whole.Store(true)
	if err := w.FetchOnce(t.Context(), args, 2); err != nil {
		t.Fatal(err)
	}
	w.wantState(t, img, broker.StateUploaded)
}

// TestFetchBucketAway: a bucket that does not answer is no reason to give the image
// up before the last try.
func TestFetchBucketAway(t *testing.T) {
	w, base := fetchWorld(t, servePhoto(1))
	w.Worker.SetBuckets([]*storage.Bucket{bucketOver(t, "A", refusingDriver{w.a})})
	img, args := w.registerURL(t, w.project(t), base, "image/jpeg")
	if err := w.FetchOnce(t.Context(), args, 4); broker.CodeOf(err) != broker.CodeDenied || worker.Cancelled(err) {
		t.Errorf("%v", err)
	}
	w.wantState(t, img, broker.StateUploading)
	if err := w.FetchOnce(t.Context(), args, 5); !worker.Cancelled(err) {
		t.Errorf("%v", err)
	}
	if why := w.whyExpired(t, img); !strings.Contains(why, "bucket A refused") {
		t.Error(why)
	}
}

// refusingDriver takes no objects: the broker's right to write was forgotten.
type refusingDriver struct{ *faultyDriver }

var errRefusing = errors.New("a refusal that the test made")

func (refusingDriver) Put(_ context.Context, _ string, body io.Reader, _ storage.PutOptions) (storage.Object, error) {
	_, _ = io.Copy(io.Discard, body)
	return storage.Object{}, errRefusing
}

func (d refusingDriver) Code(err error) broker.Code {
	if errors.Is(err, errRefusing) {
		return broker.CodeDenied
	}
	return d.faultyDriver.Code(err)
}

// TestTheClientsOwnUploadWins: what a client puts there while the broker fetches
// stays as it is.
func TestTheClientsOwnUploadWins(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	w, base := fetchWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		close(begun)
		<-goOn
		servePhoto(1)(rw, r)
	})
	p := w.project(t)
	img, args := w.registerURL(t, p, base, "image/jpeg")
	done := make(chan error, 1)
	go func() { done <- w.FetchOnce(t.Context(), args, 1) }()
	<-begun
	own := put(t, w.a, img.Key(), photo(2))
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := w.wantState(t, img, broker.StateUploaded); got.ETag != own {
		t.Errorf("%s is there, the client put %s", got.ETag, own)
	}

	// A client that has a grant of his own may still upload what could not be fetched.
	img, args = w.registerURL(t, p, base+"/gone", "image/jpeg")
	now := w.clock.now()
	if _, err := w.store.Register(t.Context(), broker.RegisterBatch{
		ProjectID: p.ID, Bucket: "A", Kind: broker.GrantRequest, Now: now, ExpiresAt: now.Add(grantFor), By: w.by,
		Images: []broker.NewImage{{ID: broker.NewID(now), Name: "a.jpg", SHA1: img.SHA1, SizeBytes: -1, Ext: "jpg"}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.FetchOnce(t.Context(), args, 1); !worker.Cancelled(err) {
		t.Error(err)
	}
	w.wantState(t, img, broker.StateUploading)
}

// TestFetchStops: a program that stops gives its fetch back.
func TestFetchStops(t *testing.T) {
	begun, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	w, base := fetchWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		select {
		case <-r.Context().Done():
		case <-leave:
		}
	})
	img, args := w.registerURL(t, w.project(t), base, "image/jpeg")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.FetchOnce(ctx, args, 5) }()
	<-begun
	if n := w.count(t, `leases WHERE image_id = $1`, img.ID); n != 1 {
		t.Errorf("%d leases while it runs", n)
	}
	cancel()
	if err := <-done; !worker.Snoozed(err) {
		t.Errorf("%v", err)
	}
	w.wantState(t, img, broker.StateUploading)
	if n := w.count(t, `leases`); n != 0 {
		t.Errorf("%d leases are kept", n)
	}
}

// TestFetchTakesTooLong: when the last try's own time ends, that is still told.
func TestFetchTakesTooLong(t *testing.T) {
	leave := make(chan struct{})
	defer close(leave)
	w, base := fetchWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-leave:
		}
	})
	img, args := w.registerURL(t, w.project(t), base, "image/jpeg")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := w.FetchOnce(ctx, args, 5); !worker.Cancelled(err) {
		t.Errorf("%v", err)
	}
	if why := w.whyExpired(t, img); !strings.Contains(why, "no time left") {
		t.Error(why)
	}
}

// TestFetchLosesItsLease: another fetches by then; this one lets go.
func TestFetchLosesItsLease(t *testing.T) {
	begun, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	w, base := fetchWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		select {
		case <-r.Context().Done():
		case <-leave:
		}
	})
	w.ExtendLeasesEvery(10 * time.Millisecond)
	img, args := w.registerURL(t, w.project(t), base, "image/jpeg")
	done := make(chan error, 1)
	go func() { done <- w.FetchOnce(t.Context(), args, 5) }()
	<-begun
	w.exec(t, `UPDATE leases SET holder = 'other'`)
	if err := <-done; !worker.Snoozed(err) {
		t.Errorf("%v", err)
	}
	// While the other holds it, a further try waits, even the last one.
	if err := w.FetchOnce(t.Context(), args, 5); !worker.Snoozed(err) {
		t.Errorf("%v", err)
	}
	w.wantState(t, img, broker.StateUploading)
}

// TestKilledFetch: a job whose process died runs again, once nobody holds its lease.
func TestKilledFetch(t *testing.T) {
	for name, alone := range map[string]bool{"among others": false, "alone": true} {
		t.Run(name, func(t *testing.T) {
			w, base := fetchWorld(t, servePhoto(1))
			img, _ := w.registerURL(t, w.project(t), base, "image/jpeg")
			w.died(t, img)
			if !alone {
				w.clock.pass(2 * time.Minute)
				w.sweep(t)
				if n := w.count(t, `river_job WHERE state = 'running'`); n != 1 {
					t.Fatal("it runs again while the dead one's lease lasts")
				}
				w.exec(t, `UPDATE leases SET expires_at = clock_timestamp() - interval '1 ms'`)
				w.clock.pass(-2 * time.Minute)
				w.sweep(t)
				if n := w.count(t, `river_job WHERE state = 'running'`); n != 1 {
					t.Fatal("it runs again though it has only begun")
				}
				w.clock.pass(2 * time.Minute)
				w.sweep(t)
				if n := w.count(t, `river_job WHERE state = 'available'`); n != 1 {
					t.Fatal("it does not run again")
				}
			}
			w.Alone = alone
			start(t, w.Worker)
			eventually(t, "it is judged", func() bool { return w.image(t, img).State == broker.StateInvalid })
		})
	}
}

// TestFetchedType: the far host decides what an object is served as only where
// nobody else says, and only for pictures.
func TestFetchedType(t *testing.T) {
	told := ""
	w, base := fetchWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", told)
		_, _ = rw.Write(photo(1))
	})
	p := w.project(t)
	for i, c := range []struct{ declared, told, want string }{
		{"image/jpeg", "image/png", "image/jpeg"},
		{"application/octet-stream", "Image/PNG; x=y", "image/png"},
		{"application/octet-stream", "text/html", "application/octet-stream"},
		{"application/octet-stream", "image/svg+xml", "application/octet-stream"},
		{"", "image/webp", "image/webp"},
		{"", "", "application/octet-stream"},
	} {
		told = c.told
		img, args := w.registerURL(t, p, base+"/"+string(rune('a'+i)), c.declared)
		if err := w.FetchOnce(t.Context(), args, 1); err != nil {
			t.Fatal(err)
		}
		obj, err := w.a.Bucket.Stat(t.Context(), img.Key())
		if err != nil || obj.ContentType != c.want {
			t.Errorf("%+v: %+v, %v", c, obj, err)
		}
	}
}
