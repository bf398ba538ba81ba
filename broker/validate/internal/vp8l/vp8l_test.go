package vp8l

import (
	"bytes"
	"image"
	"io"
	"os"
	"path/filepath"
	"testing"

	reference "golang.org/x/image/vp8l"
)

// pictures are the lossless chunks of the committed files.
func pictures(t testing.TB) map[string][]byte {
	list := map[string][]byte{}
	names, _ := filepath.Glob("../../testdata/*.webp")
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for p := b[12:]; len(p) >= 8; {
			n := int(p[4]) | int(p[5])<<8 | int(p[6])<<16
			if string(p[:4]) == "VP8L" {
				list[filepath.Base(name)] = p[8 : 8+n]
			}
			p = p[min(len(p), 8+n+n&1):]
		}
	}
	if len(list) < 2 {
		t.Fatal("too few pictures")
	}
	return list
}

func size(p []byte) (width, height int) {
	bits := uint32(p[1]) | uint32(p[2])<<8 | uint32(p[3])<<16 | uint32(p[4])<<24
	return int(bits&0x3FFF) + 1, int(bits>>14&0x3FFF) + 1
}

// TestAsReference: the rows are those that golang.org/x/image/vp8l decodes.
func TestAsReference(t *testing.T) {
	for name, p := range pictures(t) {
		m, err := reference.Decode(bytes.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		want := m.(*image.NRGBA)
		o := Options{}
		o.Width, o.Height = size(p)
		rows := 0
		o.Row = func(y int, row []byte) {
			if y != rows || !bytes.Equal(row, want.Pix[y*want.Stride:][:4*o.Width]) {
				t.Fatalf("%s: row %d differs", name, y)
			}
			rows++
		}
		left, err := Check(bytes.NewReader(p), o)
		if err != nil || left > 1 || rows != o.Height {
			t.Errorf("%s: %v, %d bytes left, %d rows", name, err, left, rows)
		}
		rows = 0
		if left, err := Check(bytes.NewReader(append(bytes.Clone(p), make([]byte, 9000)...)), o); err != nil || left < 9000 {
			t.Errorf("%s: %v, %d bytes left of 9,000", name, err, left)
		}
	}
}

func TestCut(t *testing.T) {
	for name, p := range pictures(t) {
		o := Options{}
		o.Width, o.Height = size(p)
		for n := 5; n < len(p)-2; n += max(11, len(p)/150) {
			if _, err := Check(bytes.NewReader(p[:n]), o); err != io.ErrUnexpectedEOF {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, n, len(p), err)
			}
		}
	}
}

func FuzzAsReference(f *testing.F) {
	for _, p := range pictures(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < 5 {
			return
		}
		o := Options{Row: func(int, []byte) {}}
		o.Width, o.Height = size(p)
		if o.Width*o.Height > 1<<16 {
			return
		}
		_, err := Check(bytes.NewReader(p), o)
		_, bad := reference.Decode(bytes.NewReader(p))
		// The other way round it may be: x/image takes codes that are not complete,
		// as libwebp does not.
		if err != nil || bad == nil || bad.Error() == "vp8l: too many Huffman trees" {
			return
		}
		// To libwebp a code that names one symbol twice is one without bits; x/image
		// reads a bit each time.
		d := &decoder{r: bytes.NewReader(p), buf: make([]byte, 4096)}
		if d.picture(o); !d.twice {
			t.Fatalf("it is sound, but %v", bad)
		}
	})
}
