package validate

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// seeds gives the committed files of some kinds.
func seeds(f *testing.F, patterns ...string) {
	for _, pattern := range patterns {
		names, _ := filepath.Glob(filepath.Join("testdata", pattern))
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
}

func fuzz(f *testing.F) {
	budget := NewBudget(64 << 20)
	f.Fuzz(func(t *testing.T, b []byte) { fuzzOne(t, b, budget) })
}

// fuzzOne judges any bytes: there is always a verdict, it is consistent, and no
// panic had to be caught for it.
func fuzzOne(t *testing.T, b []byte, budget *Budget) {
	want := Want{Kind: broker.KindRecon, Size: -1, MaxPixels: 1 << 20, Budget: budget, Thumb: true}
	before := allocatedBy(0)
	v, err := Image(context.Background(), FromBytes(b), want)
	if err != nil {
		t.Fatal(err)
	}
	if v.Size != int64(len(b)) {
		t.Fatalf("%d bytes of %d", v.Size, len(b))
	}
	p := v.Facts
	if v.Sound() && (p.Proof == "" || p.Width < 0 || int64(p.Width)*int64(p.Height) > want.MaxPixels || p.TrailingB > v.Size) {
		t.Fatalf("sound, with %+v", p)
	}
	if allocatedBy(before) > 64 { // much of which may not have been held at once
		if mb := grownMB(func() { judge(t, b, want) }); mb > 20 {
			t.Fatalf("%d MB were held for %d bytes", mb, len(b))
		}
	}
	for _, r := range v.Reasons {
		if r.Detail == "" || strings.Contains(r.Detail, "makes the decoder fail") {
			t.Fatalf("a reason without a sentence, or a panic: %v", v.Reasons)
		}
	}
	if !budget.sem.TryAcquire(budget.total) {
		t.Fatal("memory was not given back")
	}
	budget.sem.Release(budget.total)
}

// allocatedBy is how many MB were ever allocated, less so many. ReadMemStats would
// stop the world for it, which takes as long as judging a small file.
func allocatedBy(before uint64) uint64 {
	m := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(m)
	return m[0].Value.Uint64()>>20 - before
}

func FuzzImage(f *testing.F) {
	seeds(f, "*.jpg", "*.png", "*.tif", "*.webp", "*.heic", "*.avif")
	f.Add(exifBlock())
	f.Add(heicFile(exifBlock()))
	f.Add(cr3File())
	f.Add(rafFile([]byte("\xFF\xD8\xFF\xD9")))
	fuzz(f)
}

func FuzzPNG(f *testing.F) {
	// The chunks' checksums are made true, so that the fuzzer comes behind them.
	f.Add([]byte{0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 0}, []byte("PLTE"), []byte{0, 1, 2}, rawPNG(2, 2, []byte{0, 1, 2, 4, 3, 4})[41:])
	f.Add([]byte{0, 0, 0, 9, 0, 0, 0, 9, 4, 3, 0, 0, 1}, []byte("eXIf"), exifBlock(), []byte("x\x9c"))
	budget := NewBudget(64 << 20)
	f.Fuzz(func(t *testing.T, head, name, data, picture []byte) {
		if len(name) != 4 {
			t.Skip()
		}
		fuzzOne(t, slices.Concat([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", head), pngChunk(string(name), data),
			pngChunk("IDAT", picture), pngChunk("IEND", nil)), budget)
	})
}

func FuzzTIFFStructure(f *testing.F) {
	seeds(f, "*.tif")
	f.Add(exifBlock())
	fuzz(f)
}

// FuzzStrip keeps to what unpacks a piece: the directory is made for it.
func FuzzStrip(f *testing.F) {
	packed := []uint32{1, 4, 5, 7, 8, 32773, 50000}
	for _, seed := range []struct {
		kind, how     byte
		width, height uint16
		name          string
		from, to      int // where the first strip lies
	}{
		{0, 0, 83, 7, "white-is-zero.tif", 8, 600}, {1, 0, 83, 61, "group4.tif", 8, 522}, {2, 3, 41, 8, "lzw.tif", 8, 1191},
		{3, 2, 83, 61, "grey.jpg", 0, 1 << 20}, {4, 8, 164, 7, "cmyk.tif", 8, 964}, {5, 16, 41, 30, "bilevel.tif", 8, 214},
		{6, 7, 41, 8, "zstd.tif", 8, 779},
	} {
		b, err := os.ReadFile("testdata/" + seed.name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed.kind, seed.how, seed.width, seed.height, b[seed.from:min(seed.to, len(b))])
	}
	budget := NewBudget(64 << 20)
	f.Fuzz(func(t *testing.T, kind, how byte, width, height uint16, data []byte) {
		bit := func(at byte) uint32 { return uint32(how >> at & 1) }
		tags := map[uint16]uint32{tagWidth: uint32(width), tagHeight: uint32(height), tagRows: uint32(height), tagBits: 8,
			tagCompression: packed[int(kind)%len(packed)], tagSamples: 1 + 2*bit(0), tagPhotometric: bit(1) + bit(0),
			tagPredictor: 1 + bit(2), tagFillOrder: 1 + bit(3)}
		if bit(4) == 1 || tags[tagCompression] == 4 {
			tags[tagBits], tags[tagSamples] = 1, 1
		}
		fuzzOne(t, oneStrip(tags, data), budget)
	})
}

func FuzzBMFF(f *testing.F) {
	seeds(f, "*.heic", "*.avif")
	f.Add(heicFile(exifBlock()))
	fuzz(f)
}

func FuzzWebP(f *testing.F) {
	seeds(f, "*.webp")
	fuzz(f)
}

// FuzzRaw keeps to the formats whose places are checked, and their previews.
func FuzzRaw(f *testing.F) {
	preview, err := os.ReadFile("testdata/grey.jpg")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(rafFile(preview))
	f.Add(cr3File())
	f.Add(rawFile("II*\x00", map[uint16]uint32{tagDNGVersion: 1, tagWidth: 60, tagHeight: 40, tagCompression: 7}))
	f.Add(rawFile("IIU\x00", map[uint16]uint32{2: 60, 3: 40}))
	f.Add(rawFile("II*\x00\x10\x00\x00\x00CR\x02\x00", map[uint16]uint32{tagWidth: 60, tagHeight: 40, tagCompression: 6}))
	fuzz(f)
}

// FuzzXMP: any packet is read without an end in sight being missed, and gives
// figures that can be shown.
func FuzzXMP(f *testing.F) {
	f.Add([]byte(djiXMP))
	f.Add([]byte(djiNamespace + `<a xmlns:p="` + djiNamespace + `" p:RelativeAltitude='-1e4'/><p:GimbalYawDegree>`))
	f.Fuzz(func(t *testing.T, p []byte) {
		var facts broker.Facts
		readXMP(append([]byte("<!--"+djiNamespace+"-->"), p...)).fill(&facts)
		if g := facts.Gimbal; g != nil && !(math.Abs(g.Pitch) <= 360 && math.Abs(g.Roll) <= 360 && math.Abs(g.Yaw) <= 360) {
			t.Fatalf("%+v", g)
		}
		if _, err := json.Marshal(facts); err != nil {
			t.Fatal(err)
		}
	})
}
