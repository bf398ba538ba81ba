package validate

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/jpeg"
	"image/png"
	"slices"
	"testing"

	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/uploadbroker/uploadbroker/broker"
)

func smallOf(t *testing.T, b []byte) (broker.Verdict, image.Image) {
	t.Helper()
	want := recon()
	want.Thumb = true
	v := judge(t, b, want)
	if !v.Sound() || v.Thumb == nil {
		t.Fatalf("no thumbnail: %v %+v", v.Reasons, v.Facts)
	}
	m, err := jpeg.Decode(bytes.NewReader(v.Thumb))
	if err != nil {
		t.Fatal(err)
	}
	if s := m.Bounds().Size(); v.Facts.Thumb == nil || v.Facts.Thumb.Width != s.X || v.Facts.Thumb.Height != s.Y {
		t.Errorf("the facts tell of %+v, it is %v", v.Facts.Thumb, s)
	}
	return v, m
}

// on draws a picture on white.
func on(m image.Image) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, m.Bounds().Dx(), m.Bounds().Dy()))
	draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)
	draw.Draw(out, out.Rect, m, m.Bounds().Min, draw.Over)
	return out
}

// TestThumbOfPNG compares the thumbnails of small PNGs, which keep their size, with
// the pictures themselves.
func TestThumbOfPNG(t *testing.T) {
	m := colours(97, 61)
	indexed := image.NewPaletted(m.Rect, palette.WebSafe)
	draw.Draw(indexed, m.Rect, m, image.Point{}, draw.Src)
	few := image.NewPaletted(m.Rect, palette.WebSafe[100:104])
	draw.Draw(few, m.Rect, m, image.Point{}, draw.Src)
	grey, deep, clear := image.NewGray(m.Rect), image.NewRGBA64(m.Rect), image.NewNRGBA(m.Rect)
	clear16 := image.NewNRGBA64(m.Rect)
	for y := range 61 {
		for x := range 97 {
			c := m.RGBAAt(x, y)
			grey.Set(x, y, c)
			deep.Set(x, y, c)
			clear.SetNRGBA(x, y, color.NRGBA{c.R, c.G, c.B, uint8(255 - 2*x)})
			clear16.Set(x, y, clear.At(x, y))
		}
	}
	for name, m := range map[string]image.Image{
		"colour": m, "indexed": indexed, "few colours": few, "grey": grey, "16 bits": deep, "clear": clear, "clear, 16 bits": clear16,
	} {
		_, got := smallOf(t, pngFile(t, m))
		if d := differs(t, got, on(m)); d > 4 { // of sharp colours
			t.Errorf("%s: differs by %.1f", name, d)
		}
	}
	large := colours(1280, 802)
	_, got := smallOf(t, pngFile(t, large))
	if d := differs(t, got, shrunk(large, 2)); d > 3 {
		t.Errorf("large: differs by %.1f", d)
	}
	b := testdata(t, "interlaced.png")
	m2, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	half := image.NewRGBA(image.Rect(0, 0, 20, 16)) // the sixth pass
	for y := range 16 {
		for x := range 20 {
			half.Set(x, y, m2.At(2*x+1, 2*y))
		}
	}
	if _, got := smallOf(t, b); differs(t, got, on(half)) > 5 {
		t.Errorf("interlaced: differs by %.1f", differs(t, got, on(half)))
	}
}

// TestThumbOfTIFF: the committed files of each way of storing show one picture.
func TestThumbOfTIFF(t *testing.T) {
	m, err := tiff.Decode(bytes.NewReader(testdata(t, "lzw.tif")))
	if err != nil {
		t.Fatal(err)
	}
	want := on(m)
	grey := image.NewGray(want.Rect)
	for i := range grey.Pix { // the grey ones are its green
		grey.Pix[i] = want.Pix[4*i+1]
	}
	for name, most := range map[string]float64{
		"lzw.tif": 5, "bigtiff.tif": 5, "tiles-zip.tif": 5, "tiles-16bit.tif": 5, "planar-tiles.tif": 5,
		"cmyk.tif": 5, "rgba.tif": 5, "pages.tif": 5,
	} {
		v, got := smallOf(t, testdata(t, name))
		if d := differs(t, got, want); d > most || v.Facts.Proof != broker.ProofFull {
			t.Errorf("%s: differs by %.1f, %+v", name, d, v.Facts)
		}
	}
	indexed := image.NewPaletted(image.Rect(0, 0, 97, 61), palette.WebSafe)
	draw.Draw(indexed, indexed.Rect, colours(97, 61), image.Point{}, draw.Src)
	if _, got := smallOf(t, tiffFileOf(t, indexed, tiff.Deflate)); differs(t, got, on(indexed)) > 4 {
		t.Errorf("indexed: differs by %.1f", differs(t, got, on(indexed)))
	}
	if _, got := smallOf(t, testdata(t, "white-is-zero.tif")); differs(t, got, grey) < 20 {
		t.Error("white-is-zero.tif: it is not inverted")
	}
	if _, got := smallOf(t, testdata(t, "bilevel.tif")); got.Bounds().Dx() != 41 {
		t.Error("bilevel.tif")
	}
	m, err = webp.Decode(bytes.NewReader(testdata(t, "lossless-groups.webp")))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"strips-jpeg.tif", "tiles-jpeg.tif"} {
		v, got := smallOf(t, testdata(t, name))
		want := shrunk(on(m), 8)
		if name == "tiles-jpeg.tif" { // of blocks that are whole
			want = want.SubImage(image.Rect(0, 0, 30, 21)).(*image.RGBA)
		}
		if d := differs(t, got, want); d > 7 || v.Facts.Proof != broker.ProofFull {
			t.Errorf("%s: differs by %.1f, %+v", name, d, v.Facts)
		}
	}
}

// TestThumbOfTiles: of a picture too wide for the band, squares of pixels are averaged.
func TestThumbOfTiles(t *testing.T) {
	m := colours(999, 139)
	g := &raster{width: 999, height: 139, pieceWidth: 64, pieceRows: 64, across: 16, down: 3, tiles: true, samples: 3}
	for _, square := range []int64{1, 2, 4} {
		p := &tiffPaint{g: g, channels: 3}
		p.layout.Colours, p.layout.Bytes = 3, 1
		p.band = tileBand{square: square, width: 999, tile: 64}
		p.band.cols = p.band.of(999)
		p.band.sums = make([]uint16, p.band.cols*p.band.of(64)*3)
		var rows [][]byte
		for down := range int64(3) {
			for tile := range int64(16) {
				for y := range int64(64) {
					line := make([]byte, 64*3)
					for x := range 64 {
						c := m.RGBAAt(min(int(tile)*64+x, 998), min(int(down*64+y), 138))
						copy(line[3*x:], []byte{c.R, c.G, c.B})
					}
					if down*64+y < 139 {
						p.band.add(line, tile, y, 3)
					}
				}
			}
			p.lines(down, func(y int, line []byte) {
				if y != len(rows) {
					t.Fatalf("row %d comes as number %d", y, len(rows))
				}
				rows = append(rows, bytes.Clone(line))
			})
		}
		want := shrunk(m, int(square))
		if len(rows) != want.Rect.Dy() {
			t.Fatalf("%d rows of %d", len(rows), want.Rect.Dy())
		}
		for y, row := range rows {
			for x := range want.Rect.Dx() {
				if c := want.RGBAAt(x, y); !bytes.Equal(row[3*x:3*x+3], []byte{c.R, c.G, c.B}) {
					t.Fatalf("squares of %d: %v is not %v at %d, %d", square, row[3*x:3*x+3], c, x, y)
				}
			}
		}
	}
}

func TestThumbOfWebP(t *testing.T) {
	for name, most := range map[string]float64{
		"lossless.webp": 5, "lossless-groups.webp": 5, "lossless-palette.webp": 8, "lossless-two.webp": 8, "lossless-alpha.webp": 5,
		"lossy.webp": 5, "lossy-large.webp": 3,
	} {
		b := testdata(t, name)
		m, err := webp.Decode(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if y, ok := m.(*image.YCbCr); ok { // which it takes for JFIF's
			for i, v := range y.Y {
				y.Y[i] = uint8(min(max((int(v)-16)*255/219, 0), 255))
			}
			for _, p := range [][]byte{y.Cb, y.Cr} {
				for i, v := range p {
					p[i] = uint8(min(max((int(v)-128)*255/224+128, 0), 255))
				}
			}
		}
		v, got := smallOf(t, b)
		if d := differs(t, got, on(m)); d > most || v.Facts.Proof != broker.ProofFull {
			t.Errorf("%s: differs by %.1f, %+v", name, d, v.Facts)
		}
	}
	v, _ := smallOf(t, testdata(t, "animation.webp"))
	if v.Facts.Proof != broker.ProofFull || v.Facts.Width != 60 {
		t.Errorf("animation: %+v", v.Facts)
	}
}

// TestThumbOfPreview: raw photos show their best preview that is sound.
func TestThumbOfPreview(t *testing.T) {
	sizes := func(b []byte) image.Point {
		_, m := smallOf(t, b)
		return m.Bounds().Size()
	}
	small, good, large := jpegFile(t, noise(160, 120)), jpegFile(t, noise(800, 600)), jpegFile(t, noise(2400, 80))
	raw := func(previews ...[]byte) []byte {
		le := binary.LittleEndian
		b := rawFile("II*\x00", map[uint16]uint32{tagDNGVersion: 1, tagWidth: 6000, tagHeight: 4000, tagCompression: 7})
		next := func(off int) { le.PutUint32(b[off:], uint32(len(b))) }
		link := 16 + 2 + 12*6
		for _, p := range previews {
			at := len(b)
			b = append(b, p...)
			next(link)
			b = le.AppendUint16(b, 2)
			for _, e := range [][2]uint32{{tagJPEG, uint32(at)}, {tagJPEGBytes, uint32(len(p))}} {
				b = le.AppendUint32(le.AppendUint32(le.AppendUint16(le.AppendUint16(b, uint16(e[0])), 4), 1), e[1])
			}
			link = len(b)
			b = append(b, 0, 0, 0, 0)
		}
		return b
	}
	if s := sizes(raw(small, good, large)); s != image.Pt(100, 75) {
		t.Errorf("three previews: %v", s)
	}
	if s := sizes(raw(large)); s != image.Pt(300, 10) {
		t.Errorf("a large one: %v", s)
	}
	broken := bytes.Clone(good)
	clear(broken[len(broken)/2 : len(broken)/2+4000])
	b := raw(small, broken)
	if s := sizes(b); s != image.Pt(20, 15) {
		t.Errorf("a broken one: %v", s)
	}
	if v := judge(t, b, recon()); len(v.Facts.Notes) > 0 {
		t.Errorf("previews were looked at without need: %v", v.Facts.Notes)
	}
	// CR3
	file := cr3File()
	prvw := slices.Concat([]byte(canonPreviewUUID), make([]byte, 8), []byte("\x00\x00\x00\x00PRVW"), make([]byte, 12),
		binary.BigEndian.AppendUint32(nil, uint32(len(good))), good)
	if s := sizes(append(file, bmffBox("uuid", prvw)...)); s != image.Pt(100, 75) {
		t.Errorf("CR3: %v", s)
	}
}

func rafFile(jpeg []byte) []byte {
	b := append([]byte(rafMagic), make([]byte, 108-len(rafMagic))...)
	be := binary.BigEndian
	be.PutUint32(b[84:], 108)
	be.PutUint32(b[88:], uint32(len(jpeg)))
	b = append(b, jpeg...)
	be.PutUint32(b[92:], uint32(len(b)))
	be.PutUint32(b[96:], 12)
	b = append(b, 0, 0, 0, 1, 1, 0, 0, 4, 0x0F, 0xC0, 0x17, 0xC0)
	be.PutUint32(b[100:], uint32(len(b)))
	be.PutUint32(b[104:], 5000)
	return append(b, make([]byte, 5000)...)
}

func TestRAF(t *testing.T) {
	b := rafFile(withExif(jpegFile(t, noise(320, 200)), exifBlock()))
	v, m := smallOf(t, b)
	if f := v.Facts; f.Width != 6080 || f.Height != 4032 || f.Type != "image/x-fuji-raf" || f.Proof != broker.ProofStructure || m.Bounds().Dx() != 25 {
		t.Errorf("%+v, %v", f, m.Bounds())
	}
	checkExifFacts(t, "raf", v.Facts)
	for n := 16; n < len(b); n += 501 {
		if got := codes(judge(t, b[:n], recon())); !slices.Equal(got, []broker.ReasonCode{broker.ReasonTruncated}) {
			t.Fatalf("cut to %d: %v", n, got)
		}
	}
}
