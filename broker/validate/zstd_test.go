package validate

import (
	"bytes"
	"encoding/binary"
	"image"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/image/tiff"

	"github.com/uploadbroker/uploadbroker/broker"
)

// oneStrip is a TIFF of these tags, all of whose picture is data.
func oneStrip(tags map[uint16]uint32, data []byte) []byte {
	b := rawFile("II*\x00", tags)
	for at := 18; at < 18+12*len(tags); at += 12 {
		if binary.LittleEndian.Uint16(b[at:]) == tagStripBytes {
			binary.LittleEndian.PutUint32(b[at+8:], uint32(len(data)))
		}
	}
	return append(b[:500], data...)
}

// zstdGrey is a grey picture of one strip.
func zstdGrey(width, height uint32, data []byte) []byte {
	return oneStrip(map[uint16]uint32{tagWidth: width, tagHeight: height, tagRows: height, tagBits: 8, tagPhotometric: 1,
		tagCompression: 50000}, data)
}

// zstdOf compresses at once, which gives the size of the content too, or as a stream.
func zstdOf(t testing.TB, b []byte, stream bool, options ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, append(options, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}
	if !stream {
		return w.EncodeAll(b, nil)
	}
	for _, part := range [][]byte{b[:len(b)/2], b[len(b)/2:]} {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// greyBytes are few values without any order, of which codes are made.
func greyBytes(n int) []byte {
	r := rand.New(rand.NewPCG(4, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(100 + r.IntN(20) + i%7)
	}
	return b
}

func TestZstdFrames(t *testing.T) {
	pixels := greyBytes(60 * 40)
	window := func(b []byte, claim byte) []byte { // of a frame that is a stream
		b = bytes.Clone(b)
		b[5] = claim
		return b
	}
	streamed := zstdOf(t, pixels, true)
	whole := zstdOf(t, pixels, false)
	for name, data := range map[string][]byte{
		"of a known size": whole, "of one segment": zstdOf(t, pixels, false, zstd.WithSingleSegment(true)),
		"streamed": streamed, "no checksum": zstdOf(t, pixels, true, zstd.WithEncoderCRC(false)),
		"a window of 2 TB": window(streamed, 31<<3), "of 1 KB and less than a block": window(zstdOf(t, make([]byte, 2400), true), 7),
		"trailed": append(bytes.Clone(whole), "left over"...), "two frames": append(bytes.Clone(whole), whole...),
		"not streamed in whole":    zstdOf(t, pixels, false, zstd.WithSingleSegment(false)),
		"one value, so many times": {0x28, 0xB5, 0x2F, 0xFD, 0, 8 << 3, 3 | 2400<<3&0xFF, 2400 >> 5 & 0xFF, 2400 >> 13, 77, 1, 2, 3, 4, 5},
	} {
		v, m := smallOf(t, zstdGrey(60, 40, data))
		if v.Facts.Proof != broker.ProofFull || m.Bounds().Dx() != 60 {
			t.Errorf("%s: %+v", name, v.Facts)
		}
	}
	change := func(at int, to byte) []byte {
		b := bytes.Clone(streamed)
		b[at] = to
		return b
	}
	bad := map[string][]byte{
		"too little": zstdOf(t, pixels[:2399], true), "too much": zstdOf(t, append(pixels, 1), true),
		"a little, known": zstdOf(t, pixels[:2399], false), "much, known": zstdOf(t, append(pixels, 1), false, zstd.WithSingleSegment(true)),
		"other magic": change(0, 0x27), "a reserved bit": change(4, streamed[4]|8), "a reserved block": change(6, streamed[6]|6),
		"a dictionary":      slices.Insert(change(4, streamed[4]|1), 6, 9),
		"a skippable frame": append([]byte{0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 0}, whole...),
		"nothing":           nil, "a checksum changed": change(len(streamed)-1, streamed[len(streamed)-1]^1),
	}
	for name, data := range bad {
		if v := judge(t, zstdGrey(60, 40, data), recon()); !slices.Equal(codes(v), []broker.ReasonCode{broker.ReasonCorrupt}) {
			t.Errorf("%s: %v %+v", name, v.Reasons, v.Facts)
		}
	}
	for _, data := range [][]byte{streamed, whole} {
		for n := 0; n < len(data); n += 1 + len(data)/300 {
			if v := judge(t, zstdGrey(60, 40, data[:n]), recon()); v.Sound() {
				t.Fatalf("cut to %d of %d bytes: %+v", n, len(data), v.Facts)
			}
		}
		for at := 6; at < len(data); at += 1 + len(data)/300 { // beyond the window, of which any that is large enough will do
			b := bytes.Clone(data)
			b[at] ^= 1 << (at * 5 % 8)
			if v := judge(t, zstdGrey(60, 40, b), recon()); v.Sound() {
				t.Fatalf("a bit of byte %d of %d changed: %+v", at, len(data), v.Facts)
			}
		}
	}
}

// TestZstdWindow: what a frame's header asks for, held to what the piece needs.
func TestZstdWindow(t *testing.T) {
	for _, c := range []struct {
		head   string // after the magic
		most   int64
		window int64 // -1: refused
	}{
		{"\x00\x00", 1 << 30, 1 << 10}, {"\x00\x07", 1 << 30, 1920}, {"\x00\x61", 1 << 30, 9 << 19}, {"\x00\xFF", 1 << 62, 15 << 38},
		{"\x00\x61", 1 << 20, 1 << 20}, {"\x00\x61", 1<<20 + 1, 2 << 20}, {"\x00\x58", 100, 128 << 10}, {"\x00\x38", 100, 128 << 10},
		{"\x20\x09", 100, 9}, {"\x60\x00\x01", 512, 512}, {"\x60\x00\x01", 511, -1}, {"\xA0\x01\x02\x03\x00", 1 << 30, 0x30201},
		{"\xE0\x01\x00\x00\x00\x00\x00\x00\x80", 1 << 62, -1}, {"\x23\x01\x02\x03\x04\x09", 100, 9}, {"\x60\x00", 512, -1}, {"", 1, -1},
	} {
		var f zstdFrame
		window, err := f.begin(strings.NewReader("\x28\xB5\x2F\xFD"+c.head), c.most)
		if window != max(c.window, 0) || (err != nil) != (c.window < 0) {
			t.Errorf("%x for %d: %d, %v", c.head, c.most, window, err)
		}
		if err == nil && c.head[0]&0x20 == 0 {
			if said := int64(8+f.head[5]&7) << (7 + f.head[5]>>3); said != window || len(f.head) != 4+len(c.head) {
				t.Errorf("%x for %d: it says %d in %d bytes", c.head, c.most, said, len(f.head))
			}
		}
	}
}

// TestZstdFrameReads: how the bytes come and are taken makes no difference.
func TestZstdFrameReads(t *testing.T) {
	want := zstdOf(t, greyBytes(300_000), true)
	for _, size := range []int{1, 2, 3, 7, 100_000} {
		var f zstdFrame
		if _, err := f.begin(bytes.NewReader(append(bytes.Clone(want), 1, 2, 3)), 1<<30); err != nil {
			t.Fatal(err)
		}
		got, p := []byte{}, make([]byte, size)
		for {
			n, err := f.Read(p)
			got = append(got, p[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("by %d: %d bytes of %d", size, len(got), len(want))
		}
	}
}

// TestZstdMemory: no more is held than the window of a whole piece, and that is
// part of the Budget.
func TestZstdMemory(t *testing.T) {
	large := zstdOf(t, make([]byte, 4000*5000), true)
	claim := func(log byte) []byte { // of a window
		b := bytes.Clone(large)
		b[5] = (log - 10) << 3
		return zstdGrey(4000, 5000, b)
	}
	want := recon()
	want.Thumb = true
	want.Budget = NewBudget(16 << 20)
	var v broker.Verdict
	if mb := grownMB(func() { v = judge(t, claim(23), want) }); mb > 16 || v.Facts.Proof != broker.ProofFull || v.Thumb == nil {
		t.Errorf("8 MB: %d MB were held; %v %+v", mb, v.Reasons, v.Facts)
	}
	v = judge(t, claim(24), want)
	if !v.Sound() || v.Facts.Proof != broker.ProofStructure || !strings.Contains(v.Facts.Notes[0], "16 MB") {
		t.Errorf("16 MB: %v %+v", v.Reasons, v.Facts)
	}
	small := zstdOf(t, make([]byte, 5000), true)
	small[5] = 31 << 3 // 2 TB
	small = zstdGrey(100, 50, small)
	if mb := grownMB(func() { v = judge(t, small, want) }); mb > 2 || v.Facts.Proof != broker.ProofFull {
		t.Errorf("a small piece: %d MB were held; %v %+v", mb, v.Reasons, v.Facts)
	}
	liar := zstdGrey(100, 50, []byte{0x28, 0xB5, 0x2F, 0xFD, 0xA0, 0, 0, 0x7F, 0, 1, 0, 0}) // 8 MB in one segment
	if mb := grownMB(func() { v = judge(t, liar, want) }); mb > 2 || v.Sound() {
		t.Errorf("a large content in a small piece: %d MB were held; %v %+v", mb, v.Reasons, v.Facts)
	}
	want.Budget = NewBudget(8 << 20) // which the room to write on goes beyond
	v = judge(t, claim(23), want)
	if !v.Sound() || v.Facts.Proof != broker.ProofStructure || !strings.Contains(v.Facts.Notes[0], "worker.memory") {
		t.Errorf("a small Budget: %v %+v", v.Reasons, v.Facts)
	}
	if !want.Budget.sem.TryAcquire(want.Budget.total) {
		t.Error("memory was not given back")
	}
	dng := rawFile("II*\x00", map[uint16]uint32{tagDNGVersion: 1, tagWidth: 4000, tagHeight: 4000, tagSamples: 3, tagCompression: 50000})
	if v := judge(t, dng, want); !v.Sound() { // whose pieces are not unpacked
		t.Errorf("a DNG: %v %+v", v.Reasons, v.Facts)
	}
}

// TestFaxAndZstdFiles: the committed files hold the pictures of two others.
func TestFaxAndZstdFiles(t *testing.T) {
	for name, same := range map[string]string{
		"zstd.tif": "lzw.tif", "tiles-zstd.tif": "lzw.tif", "fax-strips.tif": "bilevel.tif", "fax-tiles.tif": "group4.tif",
	} {
		want, _ := smallOf(t, testdata(t, same))
		v, _ := smallOf(t, testdata(t, name))
		if v.Facts.Proof != broker.ProofFull || !bytes.Equal(v.Thumb, want.Thumb) {
			t.Errorf("%s is not the picture of %s; %+v", name, same, v.Facts)
		}
	}
	m, err := tiff.Decode(bytes.NewReader(testdata(t, "group4.tif"))) // whose white is 0
	if err != nil {
		t.Fatal(err)
	}
	if _, got := smallOf(t, testdata(t, "group4.tif")); differs(t, got, on(m)) > 30 {
		t.Errorf("group4.tif differs by %.1f", differs(t, got, on(m)))
	}
}

// TestFaxDamage: rows that are missing or too long, and what is left over.
func TestFaxDamage(t *testing.T) {
	file := testdata(t, "group4.tif")
	le := binary.LittleEndian
	dir := le.Uint32(file[4:])
	entry := func(b []byte, tag uint16) []byte {
		for i := range uint32(le.Uint16(b[dir:])) {
			if e := b[dir+2+12*i:]; le.Uint16(e) == tag {
				return e
			}
		}
		t.Fatalf("no tag %d", tag)
		return nil
	}
	strip := file[le.Uint32(entry(file, tagStrips)[8:]):][:le.Uint32(entry(file, tagStripBytes)[8:])]
	build := func(width, height uint32, data []byte) []byte {
		return oneStrip(map[uint16]uint32{tagWidth: width, tagHeight: height, tagRows: height, tagPhotometric: 0, tagCompression: 4}, data)
	}
	for name, b := range map[string][]byte{
		"as it is": build(83, 61, strip), "trailed": build(83, 61, append(bytes.Clone(strip), 1, 2, 3)),
		"without an end": build(83, 61, strip[:len(strip)-3]), "with half of one": build(83, 61, strip[:len(strip)-1]),
		"less rows": build(83, 60, strip),
	} {
		if v := judge(t, b, recon()); !v.Sound() || v.Facts.Proof != broker.ProofFull {
			t.Errorf("%s: %v %+v", name, v.Reasons, v.Facts)
		}
	}
	for name, b := range map[string][]byte{
		"more rows": build(83, 62, strip), "wider": build(84, 61, strip), "narrower": build(82, 61, strip),
		"cut": build(83, 61, strip[:len(strip)-12]), "nothing": build(83, 61, nil),
		"zeros": build(83, 61, append(bytes.Clone(strip[:100]), make([]byte, 200)...)),
	} {
		if v := judge(t, b, recon()); !slices.Equal(codes(v), []broker.ReasonCode{broker.ReasonCorrupt}) {
			t.Errorf("%s: %v %+v", name, v.Reasons, v.Facts)
		}
	}
	wide := judge(t, build(1<<20+1, 61, strip), recon())
	if !wide.Sound() || wide.Facts.Proof != broker.ProofStructure {
		t.Errorf("too wide: %v %+v", wide.Reasons, wide.Facts)
	}
}

// TestOfLibtiff: what libtiff writes is sound, and damage that it reports is found.
func TestOfLibtiff(t *testing.T) {
	if _, err := exec.LookPath("tiffcp"); err != nil {
		if strings.Contains(os.Getenv("REQUIRE"), "tiffcp") {
			t.Fatal(err)
		}
		t.Skip("no tiffcp (libtiff-tools)")
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.tif"), filepath.Join(dir, "out.tif")
	copied := func(b []byte, args ...string) (file []byte, complaint string) {
		if err := os.WriteFile(in, b, 0o600); err != nil {
			t.Fatal(err)
		}
		words, err := exec.Command("tiffcp", append(args, in, out)...).CombinedOutput()
		if err != nil {
			return nil, err.Error() + ": " + string(words)
		}
		if file, err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
		return file, string(words)
	}
	colour := tiffFileOf(t, colours(500, 300), tiff.Uncompressed)
	page := image.NewGray(image.Rect(0, 0, 5003, 60)) // with runs of more than 2,560 pixels
	r := rand.New(rand.NewPCG(6, 6))
	for i := range page.Pix {
		if i%5003 > 4000 || i/5003%9 == 0 {
			page.Pix[i] = byte(r.IntN(2) * 255)
		}
	}
	// Two colours are not written as bits by Go's encoder.
	rows := make([]byte, 0, (5003+7)/8*60)
	for y := range 60 {
		row := make([]byte, (5003+7)/8)
		for x := range 5003 {
			row[x/8] |= page.Pix[y*page.Stride+x] & 1 << (7 - x%8)
		}
		rows = append(rows, row...)
	}
	bilevel := oneStrip(map[uint16]uint32{tagWidth: 5003, tagHeight: 60, tagRows: 60, tagBits: 1, tagSamples: 1, tagPhotometric: 1,
		tagCompression: 1}, rows)
	for _, args := range []string{
		"-c zstd:p1", "-c zstd:2:p9", "-c zstd:p19 -r 300", "-c zstd:2:p22 -t -w 256 -l 256", "-c zstd -p separate",
		"-c zstd:p3 -f lsb2msb -B", "-c zstd:2 -8 -t",
		"-c g4", "-c g4 -r 7", "-c g4 -t -w 128 -l 32", "-c g4 -f lsb2msb -L", "-c g4 -B",
	} {
		of := colour
		if strings.HasPrefix(args, "-c g4") {
			of = bilevel
		}
		file, words := copied(of, strings.Fields(args)...)
		if strings.Contains(words, "not configured") && !strings.Contains(os.Getenv("REQUIRE"), "tiffcp") {
			t.Skip(words)
		}
		if file == nil {
			t.Fatal(words)
		}
		v, m := smallOf(t, file)
		_, want := smallOf(t, of)
		if d := differs(t, m, on(want)); v.Facts.Proof != broker.ProofFull || d > 3 && !strings.Contains(args, "-t") {
			t.Errorf("%s: differs by %.1f; %v %+v", args, d, v.Reasons, v.Facts)
		}
		for range 6 {
			b := bytes.Clone(file)
			at := 200 + r.IntN(len(b)*3/4-200)
			clear(b[at : at+64])
			if bytes.Equal(b, file) {
				continue
			}
			v := judge(t, b, recon())
			if _, words := copied(b, "-c", "none"); words != "" && v.Sound() {
				t.Errorf("%s: zeros at %d pass; libtiff says: %s", args, at, words)
			}
		}
	}
}
