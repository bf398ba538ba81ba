package validate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image/png"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/uploadbroker/uploadbroker/broker"
)

// reference decodes a file as Go's own decoders do.
func reference(name string, b []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	r := bytes.NewReader(b)
	switch filepath.Ext(name) {
	case ".png":
		_, err = png.Decode(r)
	case ".tif":
		_, err = tiff.Decode(r)
	case ".webp":
		_, err = webp.Decode(r)
	}
	return err
}

// TestFormatDamage damages committed files of every way of storing. What a decoder
// refuses is never proven here; and where the format has checksums (PNG, deflate),
// no damage is. Codes without them take some damage for another picture.
func TestFormatDamage(t *testing.T) {
	names, _ := filepath.Glob("testdata/*.*")
	r := rand.New(rand.NewPCG(8, 9))
	tried, refused, passed := 0, 0, 0
	for _, path := range names {
		name := filepath.Base(path)
		file := testdata(t, name)
		if ext := filepath.Ext(name); ext != ".png" && ext != ".tif" && ext != ".webp" || len(file) < 600 ||
			judge(t, file, recon()).Facts.Proof != broker.ProofFull {
			continue
		}
		sums := strings.HasSuffix(name, ".png") || name == "tiles-zip.tif" || name == "planar-tiles.tif" || name == "cmyk.tif"
		known := reference(name, file) == nil
		for i := range 60 {
			size := []int{16, 64, 256}[i%3]
			at := max(16, len(file)/4) + r.IntN(max(1, len(file)/2-size))
			b := bytes.Clone(file)
			switch i % 4 {
			case 0:
				clear(b[at : at+size])
			case 1:
				for k := range size {
					b[at+k] = byte(r.Uint32())
				}
			case 2:
				b = append(b[:at], b[at+size:]...)
			case 3:
				b = slices.Insert(b, at, b[at-16:at]...)
			}
			if bytes.Equal(b, file) {
				continue
			}
			tried++
			v := judge(t, b, recon())
			if !v.Sound() || v.Facts.Proof != broker.ProofFull {
				refused++
				continue
			}
			passed++
			if sums {
				t.Errorf("%s: damage %d of %d bytes at %d passes", name, i%4, size, at)
			}
			if err := reference(name, b); known && err != nil {
				t.Errorf("%s: damage %d of %d bytes at %d passes; a decoder says: %v", name, i%4, size, at, err)
			}
		}
	}
	t.Logf("%d damages, %d refused, %d taken for another picture", tried, refused, passed)
}

// TestTIFFStructureDamage breaks directories: places outside, loops, overlaps.
func TestTIFFStructureDamage(t *testing.T) {
	le := binary.LittleEndian
	build := func(change func(b []byte, entry func(tag uint16) []byte)) []byte {
		b := bytes.Clone(tiffFileOf(t, noise(60, 60), tiff.Deflate))
		dir := le.Uint32(b[4:])
		change(b, func(tag uint16) []byte {
			for i := range uint32(le.Uint16(b[dir:])) {
				if e := b[dir+2+12*i:]; le.Uint16(e) == tag {
					return e
				}
			}
			t.Fatalf("no tag %d", tag)
			return nil
		})
		return b
	}
	loop := build(func(b []byte, _ func(uint16) []byte) {
		dir := le.Uint32(b[4:])
		le.PutUint32(b[dir+2+12*uint32(le.Uint16(b[dir:])):], dir)
	})
	if v := judge(t, loop, recon()); !v.Sound() {
		t.Errorf("a directory that is its own next one: %v", v.Reasons)
	}
	for name, b := range map[string][]byte{
		"offset outside": build(func(b []byte, e func(uint16) []byte) { le.PutUint32(e(tagStrips)[8:], uint32(len(b)+1)) }),
		"length outside": build(func(b []byte, e func(uint16) []byte) { le.PutUint32(e(tagStripBytes)[8:], uint32(len(b))) }),
		"offset wrong":   build(func(b []byte, e func(uint16) []byte) { le.PutUint32(e(tagStrips)[8:], 20) }),
		"length short":   build(func(b []byte, e func(uint16) []byte) { e(tagStripBytes)[8] -= 9 }),
		"more rows":      build(func(b []byte, e func(uint16) []byte) { e(tagHeight)[8] += 8; e(tagRows)[8] += 8 }),
		"less rows":      build(func(b []byte, e func(uint16) []byte) { e(tagHeight)[8] -= 8; e(tagRows)[8] -= 8 }),
		"wider":          build(func(b []byte, e func(uint16) []byte) { e(tagWidth)[8]++ }),
		"no such kind":   build(func(b []byte, e func(uint16) []byte) { e(tagStrips)[2] = 2 }),
		"no directory":   build(func(b []byte, _ func(uint16) []byte) { le.PutUint32(b[4:], 0) }),
	} {
		if v := judge(t, b, recon()); len(v.Reasons) != 1 {
			t.Errorf("%s: %v", name, v.Reasons)
		}
	}
	// Many strips in one place cost no more than the file is long.
	tags := map[uint16]uint32{tagWidth: 8, tagHeight: 4000, tagRows: 1, tagBits: 8, tagPhotometric: 1, tagCompression: 32773}
	b := rawFile("II*\x00", tags)
	for _, tag := range []uint16{tagStrips, tagStripBytes} {
		at := 16 + 2
		for le.Uint16(b[at:]) != tag {
			at += 12
		}
		le.PutUint32(b[at+4:], 4000)
		le.PutUint32(b[at+8:], uint32(len(b)))
		for range 4000 {
			b = le.AppendUint32(b, map[uint16]uint32{tagStrips: 500, tagStripBytes: 1000}[tag])
		}
	}
	copy(b[500:1500], bytes.Repeat([]byte{0x80}, 1000)) // which unpacks to nothing
	copy(b[500:], []byte{0xF9, 7})
	if v := judge(t, b, recon()); !v.Sound() || v.Facts.Proof != broker.ProofStructure || !strings.Contains(strings.Join(v.Facts.Notes, " "), "overlap") {
		t.Errorf("overlaps: %v %+v", v.Reasons, v.Facts)
	}
}

// TestFlatMemory: what a picture claims, and what its codes could make a decoder
// hold, does not matter. Only growth beyond what is let go again counts, so that
// garbage is collected often.
func TestFlatMemory(t *testing.T) {
	bigWebP := func(chunk string, head []byte, n int) []byte {
		body := append(head, make([]byte, n)...)
		b := append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(12+len(body))), "WEBP"...)
		return append(binary.LittleEndian.AppendUint32(append(b, chunk...), uint32(len(body))), body...)
	}
	// 16,383 x 3,000 pixels, of codes with one symbol and so no bits.
	lossless := append(binary.LittleEndian.AppendUint32([]byte{0x2F}, 16382|2999<<14), 0x88, 0x88, 0x08, 0, 0)
	tiles := rawFile("II*\x00", map[uint16]uint32{tagWidth: 20_000, tagHeight: 20_000, tagBits: 8, tagPhotometric: 1,
		tagTileWidth: 16384, tagTileHeight: 16384, tagCompression: 8})
	for i := range 9 { // the strips become tiles
		if e := tiles[18+12*i:]; binary.LittleEndian.Uint16(e) == tagStrips {
			binary.LittleEndian.PutUint16(e, tagTiles)
		}
	}
	directories := append([]byte("II*\x00\x08\x00\x00\x00"), bytes.Repeat([]byte{0x4A, 1, 4, 0, 0x10, 0x27, 0, 0, 8, 0, 0, 0}, 20_000)...)
	for name, b := range map[string][]byte{
		"lossless": bigWebP("VP8L", lossless, 0),
		"png":      rawPNG(60_000, 60_000, make([]byte, 1<<20)), "tiles": tiles, "directories": directories,
	} {
		want := recon()
		want.MaxPixels, want.Thumb = 0, true
		var v broker.Verdict
		if mb := grownMB(func() { v = judge(t, b, want) }); mb > 16 || name == "lossless" && v.Thumb == nil {
			t.Errorf("%s: %d MB were held", name, mb)
		}
	}
}

// grownMB is about the most memory that f held at once.
func grownMB(f func()) (most uint64) {
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc-min(before, m.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	<-done
	return most >> 20
}

// TestTIFFOverflow: sizes whose product does not fit 64 bits prove nothing.
func TestTIFFOverflow(t *testing.T) {
	want := recon()
	want.MaxPixels = 0
	for name, tags := range map[string]map[uint16]uint32{
		"a piece":  {tagWidth: 60, tagHeight: 40, tagRows: 40, tagSamples: 4096, tagBits: 1024, tagCompression: 1},
		"tiles":    {tagWidth: 1<<31 - 1, tagHeight: 1<<31 - 1, tagTileWidth: 1, tagTileHeight: 1, tagSamples: 4096, tagPlanar: 2},
		"a tile":   {tagWidth: 10, tagHeight: 10, tagTileWidth: 1<<31 - 1, tagTileHeight: 1<<31 - 1, tagSamples: 4},
		"a strip":  {tagWidth: 1<<31 - 1, tagHeight: 1<<31 - 1, tagSamples: 4096, tagBits: 1024},
		"sampling": {tagWidth: 60, tagHeight: 40, tagRows: 40, tagSamples: 3, tagBits: 8, tagPhotometric: 6, tagSubsampling: 1 << 31},
	} {
		b := rawFile("II*\x00", tags)
		if tags[tagTileWidth] > 0 {
			for at := 18; at < 18+12*len(tags); at += 12 {
				switch e := b[at:]; binary.LittleEndian.Uint16(e) {
				case tagStrips:
					binary.LittleEndian.PutUint16(e, tagTiles)
				case tagStripBytes:
					binary.LittleEndian.PutUint16(e, tagTileBytes)
				}
			}
		}
		if name == "sampling" { // two figures, elsewhere
			e := b[bytes.Index(b, []byte{0x12, 2, 4, 0}):]
			e[4] = 2
			binary.LittleEndian.PutUint32(e[8:], 600)
			binary.LittleEndian.PutUint64(b[600:], 1<<63|1<<31)
		}
		if v := judge(t, b, want); v.Sound() {
			t.Errorf("%s: %+v", name, v.Facts)
		}
	}
}

// TestWebPStructureDamage breaks what the container says.
func TestWebPStructureDamage(t *testing.T) {
	le := binary.LittleEndian
	animation, still := testdata(t, "animation.webp"), testdata(t, "lossless.webp")
	in := func(b []byte, mark string, change func(p []byte)) []byte {
		b = bytes.Clone(b)
		change(b[bytes.Index(b, []byte(mark)):])
		return b
	}
	longer := func(b []byte, n int) []byte {
		b = append(bytes.Clone(b), make([]byte, n)...)
		le.PutUint32(b[4:], uint32(len(b)-8))
		return b
	}
	for name, b := range map[string][]byte{
		"frame outside":     in(animation, "ANMF", func(p []byte) { p[8] = 1 }),
		"frame too wide":    in(animation, "ANMF", func(p []byte) { p[14]++ }),
		"frame without one": in(animation, "ANMF", func(p []byte) { copy(p[24:], "none") }),
		"frame cut":         in(animation, "ANMF", func(p []byte) { le.PutUint32(p[4:], le.Uint32(p[4:])-50) }),
		"frame before":      in(animation, "VP8X", func(p []byte) { copy(p, "none") }),
		"other canvas":      in(testdata(t, "lossy-alpha.webp"), "VP8X", func(p []byte) { p[12]++ }),
		"left over": in(longer(still, 100), "VP8L", func(p []byte) {
			le.PutUint32(p[4:], le.Uint32(p[4:])+100)
		}),
		"no key frame":   in(testdata(t, "lossy.webp"), "VP8 ", func(p []byte) { p[8] |= 1 }),
		"chunk too long": in(still, "VP8L", func(p []byte) { le.PutUint32(p[4:], le.Uint32(p[4:])+100) }),
		"no picture":     in(still, "VP8L", func(p []byte) { copy(p, "none") }),
		"alpha cut":      in(testdata(t, "alpha.webp"), "ALPH", func(p []byte) { clear(p[9:20]) }),
	} {
		if v := judge(t, b, recon()); !slices.Equal(codes(v), []broker.ReasonCode{broker.ReasonCorrupt}) {
			t.Errorf("%s: %v %+v", name, v.Reasons, v.Facts)
		}
	}
}

// TestManySubDirectories: directories that each list all the others are refused,
// not queued.
func TestManySubDirectories(t *testing.T) {
	const n, first = 9000, 8 + 4*9000
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("II*\x00"), first)
	for i := range uint32(n) {
		b = le.AppendUint32(b, first+18*i)
	}
	for range n {
		b = le.AppendUint16(le.AppendUint16(le.AppendUint16(b, 1), tagSubIFDs), 4)
		b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, n), 8), 0)
	}
	var v broker.Verdict
	if mb := grownMB(func() { v = judge(t, b, recon()) }); mb > 16 || v.Sound() {
		t.Errorf("%d MB, %v", mb, v.Reasons)
	}
}

// TestHEICItems: the picture's own place must be given; XMP and embedded JPEGs are
// found.
func TestHEICItems(t *testing.T) {
	u16, u32 := binary.BigEndian.AppendUint16, binary.BigEndian.AppendUint32
	preview := jpegFile(t, noise(160, 120))
	build := func(primary uint16) []byte {
		ftyp := bmffBox("ftyp", []byte("heic\x00\x00\x00\x00mif1heic"))
		infe := func(id uint16, kind string) []byte {
			return bmffBox("infe", u32(nil, 2<<24), u16(nil, id), u16(nil, 0), []byte(kind))
		}
		meta := func(at uint32) []byte {
			place := func(id uint16, at, n uint32) []byte {
				return slices.Concat(u16(nil, id), u16(nil, 0), u16(nil, 1), u32(nil, at), u32(nil, n))
			}
			return bmffBox("meta", u32(nil, 0), bmffBox("pitm", u32(nil, 0), u16(nil, primary)),
				bmffBox("iinf", u32(nil, 0), u16(nil, 3), infe(1, "hvc1\x00"), infe(2, "mime\x00application/rdf+xml\x00"), infe(3, "jpeg\x00")),
				bmffBox("iloc", u32(nil, 0), []byte{0x44, 0}, u16(nil, 3), place(1, at, 100), place(2, at+100, uint32(len(djiXMP))),
					place(3, at+100+uint32(len(djiXMP)), uint32(len(preview)))))
		}
		at := uint32(len(ftyp) + len(meta(0)) + 8)
		return slices.Concat(ftyp, meta(at), bmffBox("mdat", make([]byte, 100), []byte(djiXMP), preview))
	}
	v, m := smallOf(t, build(1))
	if v.Facts.Gimbal == nil || m.Bounds().Dx() != 20 || v.Facts.Proof != broker.ProofStructure {
		t.Errorf("%+v", v.Facts)
	}
	if v := judge(t, build(9), recon()); v.Sound() {
		t.Errorf("a picture without a place: %+v", v.Facts)
	}
}

// TestOldJPEG: TIFF 6.0's own JPEG is proven where one stream holds it.
func TestOldJPEG(t *testing.T) {
	picture := jpegFile(t, noise(60, 40))
	build := func(jpeg []byte) []byte {
		b := rawFile("II*\x00", map[uint16]uint32{tagWidth: 60, tagHeight: 40, tagRows: 40, tagSamples: 3, tagBits: 8,
			tagPhotometric: 6, tagCompression: 6, tagJPEG: 500, tagJPEGBytes: uint32(len(jpeg))})
		for at := 18; at < 18+12*11; at += 12 {
			if e := b[at:]; binary.LittleEndian.Uint16(e) == tagStripBytes {
				binary.LittleEndian.PutUint32(e[8:], uint32(len(jpeg)))
			}
		}
		return append(b[:500], jpeg...)
	}
	v, m := smallOf(t, build(picture))
	if v.Facts.Proof != broker.ProofFull || m.Bounds().Dx() != 8 {
		t.Errorf("%+v", v.Facts)
	}
	bad := bytes.Clone(picture)
	clear(bad[len(bad)/2 : len(bad)/2+200])
	if v := judge(t, build(bad), recon()); v.Sound() {
		t.Errorf("damaged: %+v", v.Facts)
	}
	if v := judge(t, build(bytes.Repeat([]byte{1}, 300)), recon()); !v.Sound() || v.Facts.Proof != broker.ProofStructure {
		t.Errorf("no JPEG stream: %v %+v", v.Reasons, v.Facts)
	}
}
