package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func picture(t testing.TB, width, height, quality int, seed uint64) []byte {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	r := rand.New(rand.NewPCG(seed, 1))
	for y := range height {
		for x := range width {
			m.Set(x, y, color.RGBA{uint8(x + r.IntN(60)), uint8(y + r.IntN(60)), uint8(x * y), 255})
		}
	}
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, m, &stdjpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func testdata(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	names, _ := filepath.Glob("../testdata/*.jpg")
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = b
	}
	if len(files) == 0 {
		t.Fatal("no testdata")
	}
	return files
}

func kindOf(err error) Kind {
	var p *Problem
	if errors.As(err, &p) {
		return p.Kind
	}
	return 0
}

func TestSound(t *testing.T) {
	for q := 1; q <= 100; q += 9 {
		b := picture(t, 17+q, 30+q/2, q, uint64(q))
		in, err := Check(bytes.NewReader(b), Options{})
		if err != nil || in.End != int64(len(b)) || in.Width != 17+q || in.Height != 30+q/2 || !in.Decoded || in.Process != "baseline" {
			t.Errorf("quality %d: %+v, %v", q, in, err)
		}
	}
	for name, b := range testdata(t) {
		in, err := Check(bytes.NewReader(b), Options{})
		if name == "arithmetic.jpg" {
			if kindOf(err) != Unsupported {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || in.End != int64(len(b)) || in.Width != 83 || in.Height != 61 {
			t.Errorf("%s: %+v, %v", name, in, err)
		}
		if strings.HasPrefix(name, "progressive") != (in.Process == "progressive") {
			t.Errorf("%s is %s", name, in.Process)
		}
	}
}

// TestReaders: how the bytes come in pieces changes nothing.
func TestReaders(t *testing.T) {
	for name, b := range testdata(t) {
		want, wantErr := Check(bytes.NewReader(b), Options{})
		for _, r := range []io.Reader{
			iotest.OneByteReader(bytes.NewReader(b)), iotest.HalfReader(bytes.NewReader(b)), iotest.DataErrReader(bytes.NewReader(b)),
		} {
			got, err := Check(r, Options{})
			if got.End != want.End || (err == nil) != (wantErr == nil) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
		failed := errors.New("failed")
		_, err := Check(io.MultiReader(bytes.NewReader(b[:len(b)/2]), iotest.ErrReader(failed)), Options{})
		if err != failed && name != "arithmetic.jpg" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryCut cuts files at every byte: each is truncated, none is anything else.
func TestEveryCut(t *testing.T) {
	for name, b := range testdata(t) {
		if name == "arithmetic.jpg" {
			continue
		}
		for n := range b {
			if _, err := Check(bytes.NewReader(b[:n]), Options{}); kindOf(err) != Truncated {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, n, len(b), err)
			}
		}
	}
}

// TestFlips flips bits of the picture data and holds the standard library's
// decoder against this: what that one refuses, this one refuses.
func TestFlips(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	files := testdata(t)
	for _, name := range []string{"restart.jpg", "grey.jpg", "sampling-411.jpg", "three-scans.jpg", "cmyk.jpg", "progressive.jpg"} {
		b := files[name]
		scan := bytes.Index(b, []byte{0xFF, 0xDA})
		caught, std := 0, 0
		for range 300 {
			c := bytes.Clone(b)
			c[scan+14+r.IntN(len(b)-scan-14)] ^= 1 << r.IntN(8)
			_, err := Check(bytes.NewReader(c), Options{})
			_, stdErr := stdjpeg.Decode(bytes.NewReader(c))
			if err != nil {
				caught++
			}
			if stdErr != nil {
				std++
				if err == nil {
					t.Errorf("%s: the standard library says %v, this nothing", name, stdErr)
				}
			}
		}
		t.Logf("%s: of 300 flipped bits %d are seen, %d by the standard library", name, caught, std)
	}
}

func TestRefused(t *testing.T) {
	sound := picture(t, 32, 32, 80, 1)
	sof := bytes.Index(sound, []byte{0xFF, 0xC0})
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(sound)) }
	for name, c := range map[string]struct {
		file []byte
		want Kind
	}{
		"empty":        {nil, Truncated},
		"not a JPEG":   {[]byte("hello"), Corrupt},
		"lossless":     {change(func(b []byte) []byte { b[sof+1] = 0xC3; return b }), Unsupported},
		"hierarchical": {change(func(b []byte) []byte { b[sof+1] = 0xC5; return b }), Unsupported},
		"arithmetic":   {change(func(b []byte) []byte { b[sof+1] = 0xC9; return b }), Unsupported},
		"16 bits":      {change(func(b []byte) []byte { b[sof+4] = 16; return b }), Unsupported},
		"no height":    {change(func(b []byte) []byte { b[sof+5], b[sof+6] = 0, 0; return b }), Corrupt},
		"no width":     {change(func(b []byte) []byte { b[sof+7], b[sof+8] = 0, 0; return b }), Corrupt},
		"bomb":         {change(func(b []byte) []byte { binary.BigEndian.PutUint32(b[sof+5:], 0xFFDCFFDC); return b }), TooManyPixels},
		"no tables": {change(func(b []byte) []byte {
			i, j := bytes.Index(b, []byte{0xFF, 0xC4}), bytes.Index(b, []byte{0xFF, 0xDA})
			return append(b[:i], b[j:]...)
		}), Corrupt},
		"left over": {change(func(b []byte) []byte { return append(b[:len(b)-2], 1, 2, 3, 4, 0xFF, 0xD9) }), Corrupt},
		"no scan":   {change(func(b []byte) []byte { i := bytes.Index(b, []byte{0xFF, 0xDA}); return append(b[:i], 0xFF, 0xD9) }), Truncated},
		"end only":  {[]byte{0xFF, 0xD8, 0xFF, 0xD9}, Corrupt},
	} {
		_, err := Check(bytes.NewReader(c.file), Options{MaxPixels: 1 << 20})
		if kindOf(err) != c.want {
			t.Errorf("%s: kind %d, %v", name, kindOf(err), err)
		}
	}
}

func TestReserve(t *testing.T) {
	b := testdata(t)["progressive.jpg"]
	asked := int64(0)
	in, err := Check(bytes.NewReader(b), Options{Reserve: func(n int64) (bool, error) { asked += n; return false, nil }})
	if err != nil || in.Decoded || in.End != int64(len(b)) || asked != 8*(11*8+2*6*4) {
		t.Errorf("%+v, %v, asked for %d", in, err, asked)
	}
	failed := errors.New("failed")
	if _, err := Check(bytes.NewReader(b), Options{Reserve: func(int64) (bool, error) { return false, failed }}); err != failed {
		t.Error(err)
	}
}

// FuzzCheck: no input makes the check fail, the DC rows of what it calls whole are
// all there, and how the bytes come makes no difference.
func FuzzCheck(f *testing.F) {
	for _, b := range testdata(f) {
		f.Add(b)
	}
	f.Add(picture(f, 40, 24, 75, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		told := 0
		var next [maxComps]int
		o := Options{
			MaxPixels: 1 << 20,
			Frame:     func(Info) { told++ },
			DC: func(comp, row int, values []int16) {
				if told != 1 || row != next[comp] || len(values) == 0 || len(values) > 65535/8+1 {
					t.Fatalf("row %d of component %d with %d values, after %d rows", row, comp, len(values), next[comp])
				}
				next[comp]++
			},
		}
		in, err := Check(bytes.NewReader(b), o)
		if err != nil && kindOf(err) == 0 {
			t.Fatal(err)
		}
		again, err2 := Check(iotest.HalfReader(bytes.NewReader(b)), Options{MaxPixels: 1 << 20})
		if fmt.Sprint(in, err) != fmt.Sprint(again, err2) {
			t.Fatalf("%+v, %v; in pieces %+v, %v", in, err, again, err2)
		}
		if err != nil {
			return
		}
		if in.End > int64(len(b)) || in.Width*in.Height > 1<<20 || in.Width*in.Height == 0 {
			t.Fatalf("%+v of %d bytes", in, len(b))
		}
		vMax := 1
		for _, c := range in.Comps {
			vMax = max(vMax, c.V)
		}
		for i, c := range in.Comps {
			if want := ceilDiv(ceilDiv(in.Height*c.V, vMax), 8); next[i] != want {
				t.Fatalf("%+v: component %d has %d rows, want %d", in, i, next[i], want)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	file := picture(b, 1000, 1000, 90, 1)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, err := Check(bytes.NewReader(file), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
