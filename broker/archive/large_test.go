package archive

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// zeros is a bucket whose every object is as many zeros as it has to be.
type zeros struct{}

func (zeros) Open(_ context.Context, e broker.ZipEntry, offset int64) (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(zeroReader{}, e.SizeBytes-offset)), nil
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// zeroFiles are entries of so many zeros each. The CRC-32 of large ones are right
// with sums only.
func zeroFiles(sums bool, sizes ...int64) []broker.ZipEntry {
	known := map[int64]uint32{}
	var entries []broker.ZipEntry
	for i, size := range sizes {
		if _, ok := known[size]; !ok && (sums || size < 1<<20) {
			known[size] = zeroSum(size)
		}
		entries = append(entries, broker.ZipEntry{
			Name: fmt.Sprintf("%05d.jpg", i), At: taken, SizeBytes: size, CRC32: known[size], Bucket: "B", Key: fmt.Sprintf("p/%d", i), ETag: "e",
		})
	}
	return entries
}

func zeroSum(size int64) (sum uint32) {
	block := make([]byte, 1<<20)
	for ; size > 0; size -= int64(len(block)) {
		sum = crc32.Update(sum, crc32.IEEETable, block[:min(size, int64(len(block)))])
	}
	return sum
}

// readerAt is a zip as Go's own reader wants it.
type readerAt struct{ z broker.Archive }

func (r readerAt) ReadAt(p []byte, off int64) (int, error) { return readFull(r.z, off, p) }

func readFull(z broker.Archive, off int64, p []byte) (int, error) {
	if _, err := z.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(z, p)
	if err == io.ErrUnexpectedEOF { //nolint:errorlint // io.ReadFull's own
		err = io.EOF
	}
	return n, err
}

// TestZip64 stands at both sides of each limit: zip64's fields are where they are
// needed, and nowhere else.
func TestZip64(t *testing.T) {
	const limit = math.MaxUint32
	header := func(size int64) int64 {
		it := item{name: "00000.jpg", unix: taken.Unix(), size: size}
		return it.localBytes()
	}
	for _, c := range []struct {
		name  string
		sizes []int64
		extra []int // bytes of zip64's field in the directory, of each file; 0: none
		end64 bool
	}{
		{"small", []int64{10, 10}, []int{0, 0}, false},
		{"a file just below", []int64{limit - 1}, []int{0}, true}, // the directory begins behind it
		{"a file at the limit", []int64{limit}, []int{16}, true},
		{"a file above", []int64{limit + 1, 5}, []int{16, 8}, true},
		{"an offset just below", []int64{limit - 1 - header(1), 1}, []int{0, 0}, true},
		{"an offset at the limit", []int64{limit - header(1), 1}, []int{0, 8}, true},
		{"two above behind one above", []int64{limit + 1, limit + 1}, []int{16, 24}, true},
		{"the directory at the limit", []int64{limit - header(1)}, []int{0}, true},
		{"the directory just below", []int64{limit - 1 - header(1)}, []int{0}, false},
		{"many", slices.Repeat([]int64{1 << 24}, 300), append(make([]int, 256), slices.Repeat([]int{8}, 44)...), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			z := open(t, zeros{}, each(zeroFiles(false, c.sizes...)))
			r, err := zip.NewReader(readerAt{z}, z.SizeBytes())
			if err != nil {
				t.Fatal(err)
			}
			var at int64
			for i, f := range r.File {
				if f.UncompressedSize64 != uint64(c.sizes[i]) || f.CompressedSize64 != uint64(c.sizes[i]) {
					t.Errorf("file %d has %d bytes, want %d", i, f.UncompressedSize64, c.sizes[i])
				}
				off, err := f.DataOffset() // also reads the local header
				if want := at + header(c.sizes[i]); err != nil || off != want {
					t.Errorf("file %d begins at %d, want %d (%v)", i, off, want, err)
				}
				at = off + c.sizes[i]
				if got := zip64Field(f.Extra); got != c.extra[i] {
					t.Errorf("the zip64 field of file %d has %d bytes, want %d", i, got, c.extra[i])
				}
				if want := 20; c.extra[i] == 0 && f.ReaderVersion != uint16(want) || c.extra[i] > 0 && f.ReaderVersion != 45 {
					t.Errorf("file %d needs version %d", i, f.ReaderVersion)
				}
			}
			if got := hasEnd64(t, z); got != c.end64 {
				t.Errorf("zip64's end record: %t, want %t", got, c.end64)
			}
		})
	}
	for n, want := range map[int]bool{65534: false, 65535: true, 65536: true} {
		z := open(t, zeros{}, each(zeroFiles(false, make([]int64, n)...)))
		r, err := zip.NewReader(readerAt{z}, z.SizeBytes())
		if err != nil || len(r.File) != n {
			t.Fatalf("%d files: %v", n, err)
		}
		if got := hasEnd64(t, z); got != want {
			t.Errorf("%d files: zip64's end record: %t", n, got)
		}
	}
}

// zip64Field is the length of an extra field's zip64 part.
func zip64Field(extra []byte) int {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if id == idZip64 {
			return n
		}
		extra = extra[4+n:]
	}
	return 0
}

func hasEnd64(t *testing.T, z broker.Archive) bool {
	t.Helper()
	end := make([]byte, endLen+locator64Len)
	if _, err := readFull(z, z.SizeBytes()-int64(len(end)), end); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(end) == sigLocator64
}

// TestOthersReadIt: what people unpack zips with takes 70,000 files, and more than
// 4 GB by one file and behind it.
func TestOthersReadIt(t *testing.T) {
	tools := zipTools(t)
	t.Run("70,000 files", func(t *testing.T) {
		b, entries := some(70_000, 40, 12)
		for i := range entries {
			if i%1000 == 0 {
				entries[i].Name = fmt.Sprintf("Grüße %d/照片.jpg", i/2000)
			}
		}
		path := filepath.Join(t.TempDir(), "many.zip")
		store(t, open(t, b, each(entries)), path)
		tools.test(t, path, len(entries))
	})
	t.Run("past 4 GB", func(t *testing.T) {
		entries := zeroFiles(true, 1000, math.MaxUint32+1000, 1, 5000, 16<<20)
		path := filepath.Join(t.TempDir(), "large.zip")
		store(t, open(t, zeros{}, each(entries)), path)
		tools.test(t, path, len(entries))
	})
}

// store writes a zip, without taking room for its zeros.
func store(t *testing.T, z broker.Archive, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(z.SizeBytes()); err != nil {
		t.Fatal(err)
	}
	buf, zero := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; {
		n, err := io.ReadFull(z, buf)
		if !bytes.Equal(buf[:n], zero[:n]) {
			if _, err := f.WriteAt(buf[:n], off); err != nil {
				t.Fatal(err)
			}
		}
		off += int64(n)
		if err != nil {
			if off != z.SizeBytes() {
				t.Fatalf("%d bytes of %d: %v", off, z.SizeBytes(), err)
			}
			return
		}
	}
}

// readers are programs that read zips.
type readers map[string][]string

// zipTools finds them. Without them the test is left out, unless REQUIRE lists
// "zip-tools".
func zipTools(t *testing.T) readers {
	t.Helper()
	const python = `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
bad = z.testzip()
print(len(z.infolist()))
sys.exit(bad is not None)`
	all := readers{}
	for name, commands := range map[string][][]string{
		"unzip":  {{"unzip", "-tqq"}},
		"7z":     {{"7z", "t"}, {"7zz", "t"}},
		"python": {{"python3", "-c", python}},
	} {
		i := slices.IndexFunc(commands, func(c []string) bool {
			_, err := exec.LookPath(c[0])
			return err == nil
		})
		if i >= 0 {
			all[name] = commands[i]
			continue
		}
		if slices.Contains(strings.FieldsFunc(os.Getenv("REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' }), "zip-tools") {
			t.Fatalf("no %s", name)
		}
		t.Skipf("no %s (Debian: unzip, 7zip, python3), set REQUIRE=zip-tools to make this a failure", name)
	}
	return all
}

// test lets each of them read a zip of so many files.
func (r readers) test(t *testing.T, path string, files int) {
	for name, command := range r {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], path)...)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			out, err := cmd.CombinedOutput()
			said := string(out[max(0, len(out)-2000):])
			if err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			switch name {
			case "unzip":
				if said != "" {
					t.Errorf("it says %s", said)
				}
			case "7z":
				if !strings.Contains(said, "Everything is Ok") || !strings.Contains(said, fmt.Sprintf("Files: %d", files)) ||
					strings.Contains(strings.ToLower(said), "warning") {
					t.Errorf("it says %s", said)
				}
			case "python":
				if strings.TrimSpace(said) != fmt.Sprint(files) {
					t.Errorf("it says %s, want %d files", said, files)
				}
			}
		})
	}
}

// TestMemory: 200,000 files cost less than 32 MB, while they are laid out and while
// they are read.
func TestMemory(t *testing.T) {
	const files, limit = 200_000, 32 << 20
	var most uint64
	look := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
	}
	runtime.GC()
	look()
	before := most
	entries := iter.Seq2[broker.ZipEntry, error](func(yield func(broker.ZipEntry, error) bool) {
		for i := range files {
			if i%1000 == 0 {
				look()
			}
			// Every second name comes twice.
			name := fmt.Sprintf("folder %d/DJI_%06d.JPG", i/1000, i-i%4/3)
			if !yield(broker.ZipEntry{
				Name: name, Type: "image/jpeg", At: taken, SizeBytes: 64, CRC32: 0x758d6336, Bucket: "HongKong",
				Key: fmt.Sprintf("01KAHQY5C9W3RV7ZB3N4D8M2XE/da39a3ee5e6b4b0d3255bfef95601890%08x.jpg", i), ETag: fmt.Sprintf("9e107d9d372bb6826bd81d35%08x", i),
			}, nil) {
				return
			}
		}
	})
	z := open(t, zeros{}, entries)
	look()
	buf := make([]byte, 32<<10)
	for reads := 0; ; reads++ {
		_, err := z.Read(buf)
		if err == io.EOF { //nolint:errorlint // io.Reader's own
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if reads%50 == 0 {
			look()
		}
	}
	if most-before > limit {
		t.Errorf("%d files took %d bytes of heap, more than %d", files, most-before, limit)
	}
	t.Logf("%.1f MB of heap for %d files", float64(most-before)/1e6, files)
}
