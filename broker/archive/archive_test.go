package archive

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// bucket is objects in memory, by their keys. A test says by its functions what
// goes wrong with them.
type bucket struct {
	objects map[string][]byte
	broken  func(key string, offset int64) (after int64, err error) // of a read; nil: nothing

	mu    sync.Mutex
	opens []string // key@offset
	open  int      // bodies
}

func (b *bucket) Open(ctx context.Context, e broker.ZipEntry, offset int64) (io.ReadCloser, error) {
	b.mu.Lock()
	b.opens = append(b.opens, fmt.Sprintf("%s@%d", e.Key, offset))
	b.mu.Unlock()
	data, ok := b.objects[e.Key]
	if !ok {
		return nil, broker.Errorf(broker.CodeNotFound, "there is no %s", e.Key)
	}
	if e.ETag != etagOf(data) || e.Bucket != "B" {
		return nil, broker.Errorf(broker.CodeChanged, "%s is another one", e.Key)
	}
	rest, after, err := data[offset:], int64(-1), error(nil)
	if b.broken != nil {
		if after, err = b.broken(e.Key, offset); err != nil && after < 0 {
			return nil, err
		}
	}
	if err == nil {
		after = int64(len(rest))
	}
	b.mu.Lock()
	b.open++
	b.mu.Unlock()
	return &testBody{b: b, ctx: ctx, rest: rest, after: after, err: err}, nil
}

func (b *bucket) opened() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.opens...)
}

type testBody struct {
	b     *bucket
	ctx   context.Context
	rest  []byte
	after int64 // bytes until err
	err   error
	once  sync.Once
}

// errSilence makes a body say nothing until it is closed.
var errSilence = errors.New("silence")

func (t *testBody) Read(p []byte) (int, error) {
	if t.ctx.Err() != nil {
		return 0, t.ctx.Err()
	}
	if t.err != nil && t.after == 0 {
		if t.err == errSilence { //nolint:errorlint // a mark
			<-t.ctx.Done()
			return 0, t.ctx.Err()
		}
		return 0, t.err
	}
	if len(t.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1000)], t.rest) // as a connection gives it, in pieces
	if t.err != nil {
		n = int(min(int64(n), t.after))
		t.after -= int64(n)
	}
	t.rest = t.rest[n:]
	return n, nil
}

func (t *testBody) Close() error {
	t.once.Do(func() {
		t.b.mu.Lock()
		t.b.open--
		t.b.mu.Unlock()
	})
	return nil
}

func etagOf(b []byte) string { return fmt.Sprintf("%08x-%d", crc32.ChecksumIEEE(b), len(b)) }

// taken is a second that DOS can say, too.
var taken = time.Date(2024, 5, 6, 7, 8, 10, 0, time.UTC)

func entryOf(name, key string, data []byte) broker.ZipEntry {
	return broker.ZipEntry{
		Name: name, Type: "image/jpeg", At: taken, SizeBytes: int64(len(data)), CRC32: crc32.ChecksumIEEE(data),
		Bucket: "B", Key: key, ETag: etagOf(data),
	}
}

// some makes n files of up to max bytes.
func some(n, maxBytes int, seed uint64) (*bucket, []broker.ZipEntry) {
	r := rand.New(rand.NewPCG(seed, 1))
	b := &bucket{objects: map[string][]byte{}}
	var entries []broker.ZipEntry
	for i := range n {
		data := make([]byte, r.IntN(maxBytes+1))
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		key := fmt.Sprintf("p/%d.jpg", i)
		b.objects[key] = data
		entries = append(entries, entryOf(fmt.Sprintf("%dMEDIA/DJI_%04d.JPG", 100+i/100, i), key, data))
	}
	return b, entries
}

func each(entries []broker.ZipEntry) iter.Seq2[broker.ZipEntry, error] {
	return func(yield func(broker.ZipEntry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// open lays a zip out over a bucket, with no pause between tries.
func open(t testing.TB, o Opener, entries iter.Seq2[broker.ZipEntry, error]) broker.Archive {
	t.Helper()
	a := &Archives{
		Opener: o, Log: slog.New(slog.DiscardHandler), TempDir: t.TempDir(),
		sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }, silence: 50 * time.Millisecond,
	}
	z, err := a.Archive(t.Context(), broker.ZipTree, entries)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	return z
}

func TestArchive(t *testing.T) {
	b, entries := some(300, 5000, 1)
	b.objects["p/empty"] = nil
	entries = append(entries, entryOf("Ordner/Größe.jpg", "p/empty", nil))
	z := open(t, b, each(entries))
	whole, err := io.ReadAll(z)
	if err != nil || int64(len(whole)) != z.SizeBytes() {
		t.Fatalf("%d bytes of %d: %v", len(whole), z.SizeBytes(), err)
	}
	r, err := zip.NewReader(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.File) != len(entries) || z.Entries() != len(entries) {
		t.Fatalf("%d files, want %d", len(r.File), len(entries))
	}
	for i, f := range r.File {
		e := entries[i]
		if f.Name != e.Name || f.NonUTF8 || f.Flags != 1<<11 || f.Method != zip.Store || !f.Modified.Equal(taken) ||
			f.CRC32 != e.CRC32 || f.UncompressedSize64 != uint64(e.SizeBytes) || f.Mode() != 0o644 {
			t.Errorf("%s: %+v", e.Name, f.FileHeader)
		}
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, b.objects[e.Key]) {
			t.Errorf("%s: other bytes, %v", f.Name, err)
		}
	}
	if n, err := z.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // io.Reader's own
		t.Errorf("behind the end: %d, %v", n, err)
	}
	// The same entries give the same bytes, others another ETag.
	again := open(t, b, each(entries))
	if got, err := io.ReadAll(again); err != nil || !bytes.Equal(got, whole) || again.ETag() != z.ETag() {
		t.Errorf("the second time the bytes or the ETag are others: %v", err)
	}
	entries[7].CRC32++
	if other := open(t, b, each(entries)); other.ETag() == z.ETag() {
		t.Error("another file has the same ETag")
	}
	z.Close()
	if _, err := z.Read(make([]byte, 1)); err == nil {
		t.Error("it can be read behind Close")
	}
	if b.open != 1 && b.open != 0 { // again is open still
		t.Errorf("%d objects are open", b.open)
	}
}

// TestArchiveRanges: every range is the same part of the whole.
func TestArchiveRanges(t *testing.T) {
	b, entries := some(700, 3000, 2)
	whole, err := io.ReadAll(open(t, b, each(entries)))
	if err != nil {
		t.Fatal(err)
	}
	z := open(t, b, each(entries))
	r := rand.New(rand.NewPCG(3, 3))
	for range 3000 {
		from := r.Int64N(int64(len(whole)) + 1)
		if r.IntN(3) == 0 { // the directory is small
			from = int64(len(whole)) - r.Int64N(min(int64(len(whole)), 60_000))
		}
		n := min(r.Int64N(4000), int64(len(whole))-from)
		if _, err := z.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.LimitReader(z, n))
		if err != nil || !bytes.Equal(got, whole[from:from+n]) {
			t.Fatalf("%d bytes from %d differ: %v", n, from, err)
		}
	}
	for _, c := range []struct {
		offset int64
		whence int
		want   int64 // negative: an error
	}{
		{0, io.SeekEnd, int64(len(whole))}, {-5, io.SeekEnd, int64(len(whole)) - 5}, {2, io.SeekCurrent, int64(len(whole)) - 3},
		{int64(len(whole)) + 9, io.SeekStart, int64(len(whole)) + 9}, {-1, io.SeekStart, -1}, {0, 9, -1},
	} {
		if at, err := z.Seek(c.offset, c.whence); (err != nil) != (c.want < 0) || err == nil && at != c.want {
			t.Errorf("Seek(%d, %d): %d, %v; want %d", c.offset, c.whence, at, err, c.want)
		}
	}
	if n, err := z.Read(make([]byte, 10)); n != 0 || err != io.EOF { //nolint:errorlint // io.Reader's own
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

// TestSmallRangeOpensOneObject: who asks for little costs little.
func TestSmallRangeOpensOneObject(t *testing.T) {
	b, entries := some(10, 2000, 4)
	z := open(t, b, each(entries))
	if _, err := io.CopyN(io.Discard, z, 100); err != nil {
		t.Fatal(err)
	}
	if got := b.opened(); len(got) != 1 || got[0] != "p/0.jpg@0" {
		t.Errorf("opened %v", got)
	}
	if _, err := z.Seek(-22, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, z); err != nil || len(b.opened()) != 1 {
		t.Errorf("the end opened %v (%v)", b.opened(), err)
	}
}

// TestNextObjectIsOpenedBeside: the next one is asked for while the present one is
// read.
func TestNextObjectIsOpenedBeside(t *testing.T) {
	b, entries := some(2, 0, 5)
	b.objects["p/0.jpg"] = make([]byte, 200<<10)
	b.objects["p/1.jpg"] = make([]byte, 10)
	for i := range entries {
		entries[i] = entryOf(entries[i].Name, entries[i].Key, b.objects[entries[i].Key])
	}
	z := open(t, b, each(entries)).(*archiveZip)
	if _, err := io.CopyN(io.Discard, z, 150<<10); err != nil {
		t.Fatal(err)
	}
	z.reads.Wait() // of those that are being opened
	if got := strings.Join(b.opened(), " "); got != "p/0.jpg@0 p/1.jpg@0" {
		t.Errorf("opened %s", got)
	}
	if _, err := io.Copy(io.Discard, z); err != nil || len(b.opened()) != 2 {
		t.Errorf("opened %v, %v", b.opened(), err)
	}
}

func TestArchiveFailures(t *testing.T) {
	broke := broker.Errorf(broker.CodeUnavailable, "it broke off")
	gone := broker.Errorf(broker.CodeChanged, "it changed")
	for _, c := range []struct {
		name   string
		change func(b *bucket)
		broken func() func(key string, offset int64) (int64, error)
		want   broker.Code // "": all is well
		opens  int         // of the object with the fault; 0: not looked at
	}{
		{name: "the object is another", change: func(b *bucket) { b.objects["p/3.jpg"] = []byte("other") }, want: broker.CodeChanged, opens: 1},
		{name: "the object is gone", change: func(b *bucket) { delete(b.objects, "p/3.jpg") }, want: broker.CodeNotFound, opens: 1},
		{name: "each read breaks off after 70 KB", broken: func() func(string, int64) (int64, error) {
			return func(string, int64) (int64, error) { return 70 << 10, broke }
		}, opens: 15},
		{name: "an error without a code", broken: func() func(string, int64) (int64, error) {
			return func(string, int64) (int64, error) { return 70 << 10, io.ErrUnexpectedEOF }
		}, opens: 15},
		{name: "a clean end too early", broken: func() func(string, int64) (int64, error) {
			return func(string, int64) (int64, error) { return 70 << 10, io.EOF }
		}, opens: 15},
		{name: "silence", broken: func() func(string, int64) (int64, error) {
			n := 0
			return func(string, int64) (int64, error) {
				if n++; n == 1 {
					return 70 << 10, errSilence
				}
				return 0, nil
			}
		}, opens: 2},
		{name: "it never opens", broken: func() func(string, int64) (int64, error) {
			return func(string, int64) (int64, error) { return -1, broke }
		}, want: broker.CodeUnavailable, opens: 1 + maxTries},
		{name: "it opens and gives nothing", broken: func() func(string, int64) (int64, error) {
			return func(string, int64) (int64, error) { return 0, broke }
		}, want: broker.CodeUnavailable, opens: 1 + maxTries},
		{name: "it opens at the fifth try", broken: func() func(string, int64) (int64, error) {
			n := 0
			return func(string, int64) (int64, error) {
				if n++; n < 5 {
					return -1, broke
				}
				return 0, nil
			}
		}, opens: 5},
		{name: "it changes in the middle", broken: func() func(string, int64) (int64, error) {
			n := 0
			return func(string, int64) (int64, error) {
				if n++; n == 1 {
					return 100 << 10, broke
				}
				return -1, gone
			}
		}, want: broker.CodeChanged, opens: 2},
		{name: "refused", broken: func() func(string, int64) (int64, error) {
			return func(string, int64) (int64, error) { return -1, broker.Errorf(broker.CodeDenied, "no") }
		}, want: broker.CodeDenied, opens: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, entries := some(6, 3000, 6)
			big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
			b.objects["p/3.jpg"] = big
			entries[3] = entryOf(entries[3].Name, "p/3.jpg", big)
			want, err := io.ReadAll(open(t, b, each(entries)))
			if err != nil {
				t.Fatal(err)
			}
			b.opens = nil
			if c.change != nil {
				c.change(b)
			}
			if c.broken != nil {
				f, mu := c.broken(), sync.Mutex{}
				b.broken = func(key string, offset int64) (int64, error) {
					if key != "p/3.jpg" {
						return 0, nil
					}
					mu.Lock()
					defer mu.Unlock()
					return f(key, offset)
				}
			}
			z := open(t, b, each(entries))
			got, err := io.ReadAll(z)
			if broker.CodeOf(err) != c.want || broker.CodeOf(z.Err()) != c.want {
				t.Fatalf("%v, %v; want the code %q", err, z.Err(), c.want)
			}
			if c.want == "" && !bytes.Equal(got, want) || !bytes.HasPrefix(want, got) {
				t.Errorf("%d bytes, and not those of the zip", len(got))
			}
			if c.want != "" {
				if len(got) >= len(want) {
					t.Error("all bytes came")
				}
				if n, again := z.Read(make([]byte, 10)); n != 0 || again != err { //nolint:errorlint // the same one
					t.Errorf("then it reads %d, %v", n, again)
				}
			}
			n := 0
			for _, o := range b.opened() {
				if strings.HasPrefix(o, "p/3.jpg@") {
					n++
				}
			}
			if n != c.opens {
				t.Errorf("it was opened %d times, want %d: %v", n, c.opens, b.opened())
			}
			z.Close()
			if b.open != 0 {
				t.Errorf("%d objects are open still", b.open)
			}
		})
	}
}

// TestArchiveChecksum: an object that has its ETag and other bytes ends the zip
// before its own end.
func TestArchiveChecksum(t *testing.T) {
	b, entries := some(3, 3000, 7)
	entries[1].CRC32 ^= 1
	z := open(t, b, each(entries))
	got, err := io.ReadAll(z)
	if broker.CodeOf(err) != broker.CodeChanged {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	var end int64
	for i, e := range entries[:2] {
		it := item{name: e.Name, unix: e.At.Unix(), size: e.SizeBytes}
		end += it.localBytes() + e.SizeBytes
		_ = i
	}
	if int64(len(got)) >= end {
		t.Errorf("%d bytes were given; the damaged file ends at %d", len(got), end)
	}
}

func TestArchiveEndsWithItsContext(t *testing.T) {
	b, entries := some(3, 3000, 8)
	waits := make(chan struct{})
	b.broken = func(string, int64) (int64, error) {
		close(waits)
		return 0, errSilence
	}
	ctx, cancel := context.WithCancel(t.Context())
	a := &Archives{Opener: b, Log: slog.New(slog.DiscardHandler)}
	z, err := a.Archive(ctx, broker.ZipTree, each(entries))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	go func() {
		<-waits
		cancel()
	}()
	if _, err := io.ReadAll(z); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestCloseEndsARead: also one that waits for a bucket.
func TestCloseEndsARead(t *testing.T) {
	b, entries := some(3, 3000, 9)
	waits := make(chan struct{})
	b.broken = func(string, int64) (int64, error) {
		close(waits)
		return 0, errSilence
	}
	a := &Archives{Opener: b, Log: slog.New(slog.DiscardHandler)}
	z, err := a.Archive(t.Context(), broker.ZipTree, each(entries))
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, err := io.ReadAll(z)
		read <- err
	}()
	<-waits
	if err := z.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; err == nil {
		t.Error("the read ended well")
	}
	if b.open != 0 {
		t.Errorf("%d objects are open", b.open)
	}
}

func TestEntriesThatFail(t *testing.T) {
	_, entries := some(5000, 10, 10)
	fault := broker.Errorf(broker.CodeUnavailable, "the database is away")
	dir := t.TempDir()
	a := &Archives{Opener: &bucket{}, Log: slog.New(slog.DiscardHandler), TempDir: dir}
	_, err := a.Archive(t.Context(), broker.ZipTree, func(yield func(broker.ZipEntry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
		yield(broker.ZipEntry{}, fault)
	})
	if broker.CodeOf(err) != broker.CodeUnavailable {
		t.Errorf("%v", err)
	}
	z, err := a.Archive(t.Context(), broker.ZipTree, each(nil))
	if err != nil || z.Entries() != 0 {
		t.Fatalf("%v", err)
	}
	b, err := io.ReadAll(z)
	if err != nil || len(b) != endLen {
		t.Errorf("the empty zip has %d bytes: %v", len(b), err)
	}
	z.Close()
	a.TempDir = dir + "/none"
	if _, err := a.Archive(t.Context(), broker.ZipTree, each(entries)); err == nil {
		t.Error("a zip was laid out without a place for its files")
	}
}
