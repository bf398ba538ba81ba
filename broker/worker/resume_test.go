package worker_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/image/tiff"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/worker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// noise is a picture that no codec makes small.
func noise(seed uint64, width, height int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range m.Pix {
		m.Pix[i] = byte(r.Uint32())
	}
	return m
}

func bigPhoto(seed uint64) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, noise(seed, 900, 900), &jpeg.Options{Quality: 97}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func bigTIFF(seed uint64) []byte {
	var b bytes.Buffer
	if err := tiff.Encode(&b, noise(seed, 500, 600), nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// farWorld is a world whose bucket A is an S3 server at the end of a line.
func farWorld(t *testing.T) (*world, *line, storage.Driver) {
	w := newStore(t)
	addr := startS3(t)
	l := newLine(t, addr)
	l.hung = func() { w.clock.pass(2 * time.Second) }
	w.Worker = w.newWorker(t, bucketOver(t, "A", openS3(t, l.Addr().String())))
	w.ResumeAfter(time.Millisecond)
	w.WatchReadsEvery(5 * time.Millisecond)
	return w, l, openS3(t, addr)
}

// seen takes the image to Uploaded.
func (w *world) seen(t *testing.T, d storage.Driver, img broker.Image, data []byte) broker.Image {
	t.Helper()
	put(t, d, img.Key(), data)
	if err := w.LookAt(t.Context(), "A", img.Key()); err != nil {
		t.Fatal(err)
	}
	return w.wantState(t, img, broker.StateUploaded)
}

// TestAReadThatBreaksOffGoesOn where it stopped: whatever happens to the line, the
// verdict is the one that a quiet line gives, every byte is hashed once, and hardly
// any comes twice.
func TestAReadThatBreaksOffGoesOn(t *testing.T) {
	w, l, d := farWorld(t)
	p := w.project(t)
	sound := bigPhoto(1)
	zeroed := slices.Clone(bigPhoto(2))
	clear(zeroed[len(zeroed)/2 : len(zeroed)/2+4096])
	files := map[string][]byte{"sound": sound, "cut": bigPhoto(3)[:900_000], "zeroed": zeroed, "tiff": bigTIFF(4)}
	total := map[string]int{}
	for name, data := range files {
		img := w.register(t, p, "A", data)[0]
		l.from(nil)
		w.seen(t, d, img, data)
		if err := w.Validate(t.Context(), argsOf(w.image(t, img))); err != nil {
			t.Fatalf("%s, on a quiet line: %v", name, err)
		}
		quiet, _ := l.did()
		want := w.image(t, img)
		for i, kinds := range [][]string{{"cut"}, {"reset"}, {"hang"}, {"cut", "reset", "hang"}, {"cut", "reset", "hang"}} {
			t.Run(fmt.Sprint(name, " ", kinds, i), func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(i), uint64(len(data))))
				l.from(func() (int, string) { return 70_000 + r.IntN(200_000), kinds[r.IntN(len(kinds))] })
				w.exec(t, `UPDATE images SET state = 'Uploaded', reasons = '{}', proven_sha1 = NULL, judged_at = NULL, crc32 = NULL, facts = '{}' WHERE id = $1`, img.ID)
				if err := w.Validate(t.Context(), argsOf(w.image(t, img))); err != nil {
					t.Fatal(err)
				}
				got := w.image(t, img)
				if got.State != want.State || fmt.Sprint(got.Reasons) != fmt.Sprint(want.Reasons) || got.ProvenSHA1 != sha1.Sum(data) ||
					got.ProvenBytes != int64(len(data)) || got.CRC32 != crc32.ChecksumIEEE(data) || got.CheckFailures != 0 {
					t.Errorf("%s %v, %d bytes with sha1 %s; on a quiet line %s %v", got.State, got.Reasons, got.ProvenBytes, got.ProvenSHA1, want.State, want.Reasons)
				}
				read, faults := l.did()
				broke := 0
				for kind, n := range faults {
					total[kind] += n
					broke += n
				}
				// Of each connection that broke, what the kernels and the reader's
				// buffer held is lost.
				if most := quiet + broke*(512<<10); read > most || broke == 0 {
					t.Errorf("%d bytes of answers came over a line that broke %d times; %d over a quiet one", read, broke, quiet)
				}
			})
		}
	}
	t.Logf("broke: %v", total)
	for _, kind := range []string{"cut", "reset", "hang"} {
		if total[kind] < 5 {
			t.Errorf("the line broke by a %s %d times", kind, total[kind])
		}
	}
}

// TestReplacedBetweenTwoRanges is no verdict: what lies there by now is.
func TestReplacedBetweenTwoRanges(t *testing.T) {
	w, l, d := farWorld(t)
	first, second := bigPhoto(1), bigPhoto(2)
	size := max(len(first), len(second)) + 9 // of both: only the ETag tells them apart
	first, second = append(first, make([]byte, size-len(first))...), append(second, make([]byte, size-len(second))...)
	img := w.register(t, w.project(t), "A", second)[0]
	old := w.seen(t, d, img, first)
	var replaced atomic.Bool
	l.hung = func() {
		if replaced.CompareAndSwap(false, true) {
			put(t, d, img.Key(), second)
		}
		w.clock.pass(2 * time.Second)
	}
	var once atomic.Bool
	l.from(func() (int, string) {
		if once.CompareAndSwap(false, true) {
			return 200_000, "hang"
		}
		return 0, ""
	})
	if err := w.Validate(t.Context(), argsOf(old)); err != nil {
		t.Fatal(err)
	}
	if !replaced.Load() {
		t.Fatal("nothing was replaced")
	}
	now := w.wantState(t, img, broker.StateUploaded)
	if now.ETag == old.ETag || w.count(t, `verdicts`) != 0 {
		t.Fatalf("etag %s, which was %s; %d verdicts", now.ETag, old.ETag, w.count(t, `verdicts`))
	}
	if err := w.Validate(t.Context(), argsOf(now)); err != nil {
		t.Fatal(err)
	}
	if got := w.wantState(t, img, broker.StateReady); got.ProvenSHA1 != sha1.Sum(second) {
		t.Errorf("proven: %s", got.ProvenSHA1)
	}
}

// shortBody ends cleanly after some bytes, as no driver should.
type shortBody struct {
	io.ReadCloser
	left int
}

func (b *shortBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// liar is the embedded bucket, which announces another size with the same ETag.
type liar struct{ *faultyDriver }

func (d liar) Open(ctx context.Context, key string, r storage.Range, ifMatch string) (io.ReadCloser, storage.Object, error) {
	rc, obj, err := d.faultyDriver.Open(ctx, key, r, ifMatch)
	obj.SizeBytes--
	return rc, obj, err
}

// TestAShortObjectIsNoVerdict: what is missing is asked for again, a few times, and
// is an error then.
func TestAShortObjectIsNoVerdict(t *testing.T) {
	data := photo(1)
	for name, c := range map[string]struct {
		short func(tries int) int // bytes that an answer has; below zero: all
		opens int
		code  broker.Code // "": Ready
	}{
		"once":   {func(try int) int { return map[bool]int{true: 100, false: -1}[try == 1] }, 2, ""},
		"always": {func(int) int { return 0 }, 1, broker.CodeUnavailable},
		"drips":  {func(int) int { return 7 }, 1 + worker.ResumeTries, broker.CodeUnavailable},
		"stops":  {func(try int) int { return map[bool]int{true: 100, false: 0}[try == 1] }, 1 + worker.ResumeTries, broker.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.ResumeAfter(time.Microsecond)
			img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
			tries := 0
			w.a.body = func(key string, rc io.ReadCloser) io.ReadCloser {
				tries++
				if n := c.short(tries); n >= 0 {
					return &shortBody{rc, n}
				}
				return rc
			}
			w.a.counted("open")
			err := w.Validate(t.Context(), argsOf(img))
			if broker.CodeOf(err) != c.code || w.a.counted("open") != tries {
				t.Errorf("it ended with %v after %d tries", err, tries)
			}
			if name == "always" {
				c.opens = 1 + worker.ResumeTries
			}
			if tries != c.opens {
				t.Errorf("the object was opened %d times, want %d", tries, c.opens)
			}
			if c.code == "" {
				w.wantState(t, img, broker.StateReady)
			} else if got := w.wantState(t, img, broker.StateUploaded); got.CheckFailures != 1 || w.count(t, `verdicts`) != 0 {
				t.Errorf("%d failures are counted", got.CheckFailures)
			}
		})
	}
	t.Run("another size", func(t *testing.T) {
		w := newWorld(t)
		img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
		lying := w.newWorker(t, bucketOver(t, "A", liar{w.a}))
		if err := lying.Validate(t.Context(), argsOf(img)); broker.CodeOf(err) != broker.CodeChanged {
			t.Errorf("%v", err)
		}
		w.wantState(t, img, broker.StateUploaded)
	})
}

// TestALineThatBreaksOnAndOn is given up: the number of requests is bounded by the
// size of the object, whatever comes between them.
func TestALineThatBreaksOnAndOn(t *testing.T) {
	w := newWorld(t)
	w.ResumeAfter(time.Microsecond)
	data := append(bigPhoto(5), make([]byte, 3<<20)...) // with trailing bytes
	img := w.arrive(t, w.register(t, w.project(t), "A", data)[0], data)
	opens := 0
	w.a.body = func(_ string, rc io.ReadCloser) io.ReadCloser {
		opens++
		return &shortBody{rc, 64 << 10}
	}
	err := w.Validate(t.Context(), argsOf(img))
	if most := 1 + 20 + len(data)>>20; broker.CodeOf(err) != broker.CodeUnavailable || opens > most+1 || opens < most-1 {
		t.Errorf("after %d requests, of %d: %v", opens, most, err)
	}
	w.wantState(t, img, broker.StateUploaded)
}
