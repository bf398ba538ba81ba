package vp8

import (
	"bytes"
	"image"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	reference "golang.org/x/image/vp8"
)

// pictures are the lossy chunks of the committed files. Those in this package's
// testdata were made of one synthetic picture by libwebp's encoder: of 8 partitions
// (more-partitions-than-rows, partitions, tall), 4 segments (segments, filtered), of
// the highest and the lowest quality (fine, coarse); all but filtered and
// simple-filter have no loop filter.
func pictures(t testing.TB) map[string][]byte {
	list := map[string][]byte{}
	for _, pattern := range []string{"testdata/*.webp", "../../testdata/*.webp"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			lossy(b[12:], func(p []byte) { list[filepath.Base(name)] = p })
		}
	}
	if len(list) < 15 {
		t.Fatal("too few pictures")
	}
	return list
}

// lossy finds the lossy pictures among chunks, also those of an animation.
func lossy(chunks []byte, found func(p []byte)) {
	for len(chunks) >= 8 {
		n := int(chunks[4]) | int(chunks[5])<<8 | int(chunks[6])<<16
		body := chunks[8 : 8+n]
		switch string(chunks[:4]) {
		case "VP8 ":
			found(body)
		case "ANMF":
			lossy(body[16:], found)
		}
		chunks = chunks[min(len(chunks), 8+n+n&1):]
	}
}

func optionsOf(p []byte) Options {
	return Options{Width: (int(p[6]) | int(p[7])<<8) & 0x3FFF, Height: (int(p[8]) | int(p[9])<<8) & 0x3FFF, Bytes: int64(len(p))}
}

// decode gives the planes, one behind the other.
func decode(p []byte) ([]byte, error) {
	o := optionsOf(p)
	var planes [3][]byte
	o.Row = func(plane, y int, samples []byte) {
		if n := len(samples); n != o.Width && plane == 0 || n != (o.Width+1)/2 && plane > 0 || len(planes[plane]) != y*n {
			panic("a row of the wrong length, or out of order")
		}
		planes[plane] = append(planes[plane], samples...)
	}
	err := Check(bytes.NewReader(p), o)
	return bytes.Join(planes[:], nil), err
}

// decodeReference does the same by golang.org/x/image/vp8.
func decodeReference(p []byte) (out []byte, err error) {
	m, err := frameOfReference(p)
	if err != nil {
		return nil, err
	}
	width, height := m.Rect.Dx(), m.Rect.Dy()
	for y := range height {
		out = append(out, m.Y[y*m.YStride:][:width]...)
	}
	for _, plane := range [][]byte{m.Cb, m.Cr} {
		for y := range (height + 1) / 2 {
			out = append(out, plane[y*m.CStride:][:(width+1)/2]...)
		}
	}
	return out, nil
}

func frameOfReference(p []byte) (*image.YCbCr, error) {
	d := reference.NewDecoder()
	d.Init(bytes.NewReader(p), len(p))
	if _, err := d.DecodeFrameHeader(); err != nil {
		return nil, err
	}
	return d.DecodeFrame()
}

// filter gives the loop filter's level.
func filter(p []byte) int {
	d := decoder{modes: newPartition(partition{buf: p[10:]})}
	d.modes.number(2)
	d.readSegments()
	d.modes.flag()
	return d.modes.number(6)
}

// TestAsReference: samples are those that golang.org/x/image/vp8 decodes where there
// is no loop filter, and near them where there is one.
func TestAsReference(t *testing.T) {
	filtered := 0
	for name, p := range pictures(t) {
		want, bad := decodeReference(p)
		got, err := decode(p)
		if err != nil || bad != nil || len(got) != len(want) {
			t.Errorf("%s: %v, %v, %d of %d samples", name, err, bad, len(got), len(want))
			continue
		}
		if filter(p) == 0 {
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs", name)
			}
			continue
		}
		filtered++
		sum := 0
		for i, v := range got {
			sum += max(int(v)-int(want[i]), int(want[i])-int(v))
		}
		if mean := float64(sum) / float64(len(got)); mean == 0 || mean > 2 {
			t.Errorf("%s differs by %.2f", name, mean)
		}
	}
	if filtered < 4 {
		t.Errorf("%d pictures have a loop filter", filtered)
	}
}

// TestAsLibwebp: the samples are those of libwebp without its loop filter.
func TestAsLibwebp(t *testing.T) {
	for name, p := range pictures(t) {
		want, ok := dwebp(t, container(p))
		if got, err := decode(p); err != nil || !ok || !bytes.Equal(got, want) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
}

// dwebp is libwebp's decoder; Debian's package webp has it.
func dwebp(t *testing.T, file []byte) ([]byte, bool) {
	t.Helper()
	tool, err := exec.LookPath("dwebp")
	if err != nil {
		if strings.Contains(os.Getenv("REQUIRE"), "dwebp") {
			t.Fatal(err)
		}
		t.Skip("no dwebp (Debian: webp), set REQUIRE=dwebp to make this a failure")
	}
	in, out := filepath.Join(t.TempDir(), "in.webp"), filepath.Join(t.TempDir(), "out.yuv")
	if err := os.WriteFile(in, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if exec.Command(tool, "-quiet", "-nofilter", "-nodither", "-yuv", in, "-o", out).Run() != nil {
		return nil, false
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b, true
}

// container wraps a chunk, without a byte to pad it, which libwebp would read.
func container(p []byte) []byte {
	u32 := func(n int) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)} }
	return bytes.Join([][]byte{[]byte("RIFF"), u32(12 + len(p)), []byte("WEBPVP8 "), u32(len(p)), p}, nil)
}

// TestHeads: whatever a head says, the samples are those of the peer.
func TestHeads(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 400 {
		p := randomPicture(r, 1+r.IntN(60), 1+r.IntN(60))
		want, bad := decodeReference(p)
		got, err := decode(p)
		if err != nil || bad != nil || !bytes.Equal(got, want) {
			t.Fatalf("picture %d: %v, %v, the same: %v", i, err, bad, bytes.Equal(got, want))
		}
	}
}
