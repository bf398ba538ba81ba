package validate

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"hash/crc32"
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

func TestSoundFiles(t *testing.T) {
	m := noise(150, 110)
	grey := image.NewGray(image.Rect(0, 0, 33, 17))
	deep := image.NewNRGBA64(image.Rect(0, 0, 20, 30))
	type sound struct {
		file        []byte
		mime        string
		proof       broker.Proof
		width, high int
	}
	cases := map[string]sound{
		"jpeg":        {jpegFile(t, m), "image/jpeg", broker.ProofFull, 150, 110},
		"jpeg grey":   {jpegFile(t, grey), "image/jpeg", broker.ProofFull, 33, 17},
		"png":         {pngFile(t, m), "image/png", broker.ProofFull, 150, 110},
		"png grey":    {pngFile(t, grey), "image/png", broker.ProofFull, 33, 17},
		"png 16 bits": {pngFile(t, deep), "image/png", broker.ProofFull, 20, 30},
		"tiff":        {tiffFileOf(t, m, tiff.Uncompressed), "image/tiff", broker.ProofFull, 150, 110},
		"tiff zip":    {tiffFileOf(t, m, tiff.Deflate), "image/tiff", broker.ProofFull, 150, 110},
		"jpeg + tail": {append(jpegFile(t, m), jpegFile(t, grey)...), "image/jpeg", broker.ProofFull, 150, 110},
		"png + tail":  {append(pngFile(t, m), "tail"...), "image/png", broker.ProofFull, 150, 110},
	}
	for name, mime := range map[string]string{
		"progressive.jpg": "image/jpeg", "progressive-restart.jpg": "image/jpeg", "restart.jpg": "image/jpeg", "grey.jpg": "image/jpeg",
		"sampling-411.jpg": "image/jpeg", "sampling-3x1.jpg": "image/jpeg", "cmyk.jpg": "image/jpeg", "three-scans.jpg": "image/jpeg",
		"palette.png": "image/png", "lossy.webp": "image/webp",
	} {
		cases[name] = sound{testdata(t, name), mime, broker.ProofFull, 83, 61}
	}
	for name, mime := range map[string]string{
		"interlaced.png": "image/png", "alpha.webp": "image/webp", "lossless.webp": "image/webp", "lzw.tif": "image/tiff",
		"tiles-zip.tif": "image/tiff", "planar-packbits.tif": "image/tiff", "planar-jpeg.tif": "image/tiff", "jpeg.tif": "image/tiff", "bigtiff.tif": "image/tiff",
	} {
		cases[name] = sound{testdata(t, name), mime, broker.ProofFull, 41, 31}
	}
	cases["group4.tif"] = sound{testdata(t, "group4.tif"), "image/tiff", broker.ProofFull, 83, 61}
	cases["picture.heic"] = sound{testdata(t, "picture.heic"), "image/heic", broker.ProofStructure, 0, 0}
	cases["picture.avif"] = sound{testdata(t, "picture.avif"), "image/avif", broker.ProofStructure, 84, 62}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := judge(t, c.file, recon())
			if !v.Sound() {
				t.Fatalf("refused: %v", v.Reasons)
			}
			f := v.Facts
			if f.Type != c.mime || f.Proof != c.proof || c.width > 0 && (f.Width != c.width || f.Height != c.high) {
				t.Errorf("facts are %+v", f)
			}
			if v.SHA1 != sha1.Sum(c.file) || v.CRC32 != crc32.ChecksumIEEE(c.file) || v.Size != int64(len(c.file)) {
				t.Error("wrong checksums or size")
			}
			if strings.HasSuffix(name, "tail") != (f.TrailingB > 0) {
				t.Errorf("%d trailing bytes", f.TrailingB)
			}
		})
	}
}

// TestDamage damages sound files and expects a reason. A changed byte that leaves
// valid codes is beyond any check but the sha1's; damage of 4 KB is not.
func TestDamage(t *testing.T) {
	m := noise(400, 300)
	files := map[string][]byte{
		"jpeg": jpegFile(t, m), "png": pngFile(t, m), "tiff-zip": tiffFileOf(t, m, tiff.Deflate),
		"tiff-raw": tiffFileOf(t, m, tiff.Uncompressed),
	}
	files["jpeg with previews"] = append(bytes.Clone(files["jpeg"]), jpegFile(t, noise(100, 100))...)
	end := len(files["jpeg"])
	truncated, corrupt := broker.ReasonTruncated, broker.ReasonCorrupt
	either := []broker.ReasonCode{truncated, corrupt}
	random := func(n int) []byte {
		r := rand.New(rand.NewPCG(3, 4))
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}
	type damage struct {
		name string
		do   func(b []byte, end int) []byte
		want []broker.ReasonCode
		skip string // formats in which it can't be seen
	}
	for _, d := range []damage{
		{"cut in the middle", func(b []byte, end int) []byte { return b[:end/2] }, []broker.ReasonCode{truncated}, ""},
		{"cut near the end", func(b []byte, end int) []byte { return b[:end-40] }, []broker.ReasonCode{truncated}, ""},
		{"last two bytes missing", func(b []byte, end int) []byte { return b[:end-2] }, []broker.ReasonCode{truncated}, ""},
		{"head only", func(b []byte, _ int) []byte { return b[:20] }, []broker.ReasonCode{truncated}, ""},
		{"4 KB zeroed", func(b []byte, end int) []byte { clear(b[end/2 : end/2+4096]); return b }, either, "tiff-raw"},
		{"4 KB random", func(b []byte, end int) []byte { copy(b[end/2:], random(4096)); return b }, either, "tiff-raw"},
		{"tail zeroed", func(b []byte, end int) []byte { clear(b[end/2:]); return b }, either, ""},
	} {
		for name, file := range files {
			if name == d.skip {
				continue
			}
			t.Run(d.name+"/"+name, func(t *testing.T) {
				e := len(file)
				if name == "jpeg with previews" {
					e = end
				}
				v := judge(t, d.do(bytes.Clone(file), e), recon())
				if got := codes(v); len(got) != 1 || !slices.Contains(d.want, got[0]) {
					t.Errorf("reasons %v, want one of %v", v.Reasons, d.want)
				}
			})
		}
	}
}

// TestDamagedTestdata cuts every committed file at many places.
func TestDamagedTestdata(t *testing.T) {
	names, _ := filepath.Glob("testdata/*.*")
	for _, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".md") || strings.Contains(name, "arithmetic") {
			continue
		}
		for n := 16; n < len(file); n += 7 {
			v := judge(t, file[:n], recon())
			if got := codes(v); !slices.Equal(got, []broker.ReasonCode{broker.ReasonTruncated}) {
				t.Errorf("%s cut to %d of %d bytes: %v", name, n, len(file), v.Reasons)
				break
			}
		}
	}
}

func TestReducedHeight(t *testing.T) {
	b := jpegFile(t, noise(160, 160))
	at := bytes.Index(b, []byte{0xFF, 0xC0}) + 5
	binary.BigEndian.PutUint16(b[at:], 144)
	if got := codes(judge(t, b, recon())); !slices.Equal(got, []broker.ReasonCode{broker.ReasonCorrupt}) {
		t.Errorf("less rows: %v", got)
	}
	binary.BigEndian.PutUint16(b[at:], 640)
	v := judge(t, b, recon())
	if len(v.Reasons) != 1 || v.Reasons[0].String() != "truncated: the scan ends after 160 of 640 rows, at byte "+figures.Of(len(b)) {
		t.Errorf("more rows: %v", v.Reasons)
	}
}

// TestPadding: some cameras pad between the last row and the end marker.
func TestPadding(t *testing.T) {
	b := jpegFile(t, noise(64, 64))
	for _, pad := range [][]byte{make([]byte, 5000), bytes.Repeat([]byte{0xFF}, 9)} {
		v := judge(t, slices.Concat(b[:len(b)-2], pad, b[len(b)-2:]), recon())
		if !v.Sound() {
			t.Errorf("padding %x…: %v", pad[:4], v.Reasons)
		}
	}
}

func TestDeclared(t *testing.T) {
	b := jpegFile(t, noise(40, 40))
	want := recon()
	want.Size, want.SHA1 = int64(len(b))+5, broker.SHA1{1}
	v := judge(t, b, want)
	if got := codes(v); !slices.Equal(got, []broker.ReasonCode{broker.ReasonSizeMismatch, broker.ReasonChecksumMismatch}) {
		t.Fatalf("reasons %v", v.Reasons)
	}
	if s := v.Reasons[1].String(); s != "checksum_mismatch: the bytes have sha1 "+v.SHA1.String()+", "+want.SHA1.String()+" was declared" {
		t.Error(s)
	}
	if v.Facts.Proof != broker.ProofFull {
		t.Error("the picture itself is sound")
	}
	// A cut that the declaration shows as well: what arrived differs, then why.
	want = recon()
	want.Size = int64(len(b))
	if got := codes(judge(t, b[:len(b)/2], want)); !slices.Equal(got, []broker.ReasonCode{broker.ReasonSizeMismatch, broker.ReasonTruncated}) {
		t.Error(got)
	}
	want.SHA1 = sha1.Sum(b)
	if v := judge(t, b, want); !v.Sound() {
		t.Error(v.Reasons)
	}
	if got := codes(judge(t, nil, want)); !slices.Equal(got, []broker.ReasonCode{broker.ReasonEmpty}) {
		t.Error(got)
	}
}

func TestDeclaredTypeIsAFact(t *testing.T) {
	b := pngFile(t, noise(10, 10))
	for _, c := range []struct{ name, mime, declared string }{
		{"a.jpg", "", "image/jpeg"}, {"a.png", "image/jpg", "image/jpeg"}, {"a.PNG", "image/png", ""}, {"a", "", ""},
		{"a.png", "application/octet-stream", ""}, {"x/a.b", "image/PNG; q=1", ""},
	} {
		want := recon()
		want.Name, want.Type = c.name, c.mime
		v := judge(t, b, want)
		if !v.Sound() || v.Facts.Type != "image/png" || v.Facts.Declared != c.declared {
			t.Errorf("%+v: %v %+v", c, v.Reasons, v.Facts)
		}
	}
}

func TestUnsupported(t *testing.T) {
	m := noise(30, 30)
	for words, b := range map[string][]byte{
		"text (text/plain)":                []byte("this is no picture\n"),
		"a PDF document (application/pdf)": []byte("%PDF-1.7\n…"),
		"a GIF picture (image/gif)":        gifFile(t, m),
		"a BMP picture (image/bmp)":        []byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00"),
		"a zip archive":                    []byte("PK\x03\x04\x14\x00\x00\x00"),
		"a video (video/mp4)":              []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"),
		"a video (video/quicktime)":        []byte("\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  "),
		"a web page (text/html)":           []byte("<!DOCTYPE html><p>"),
		"zeros at its beginning":           make([]byte, 9000),
		"arithmetic coding":                testdata(t, "arithmetic.jpg"),
	} {
		want := recon()
		want.Name = "a.jpg"
		v := judge(t, b, want)
		if got := codes(v); !slices.Equal(got, []broker.ReasonCode{broker.ReasonUnsupportedFormat}) ||
			!strings.Contains(v.Reasons[0].Detail, words) {
			t.Errorf("%s: %v", words, v.Reasons)
		}
		if v.SHA1 != sha1.Sum(b) {
			t.Errorf("%s: the sha1 is not of the whole file", words)
		}
	}
}

func TestKindFiles(t *testing.T) {
	b := jpegFile(t, noise(60, 60))
	want := recon()
	want.Kind = broker.KindFiles
	v := judge(t, b[:len(b)/2], want)
	if !v.Sound() || v.Facts.Proof != broker.ProofBytes || len(v.Facts.Notes) != 1 || !strings.HasPrefix(v.Facts.Notes[0], "truncated: ") {
		t.Errorf("a cut picture: %v %+v", v.Reasons, v.Facts)
	}
	if v = judge(t, b, want); !v.Sound() || v.Facts.Proof != broker.ProofFull {
		t.Errorf("a picture: %v %+v", v.Reasons, v.Facts)
	}
	want.Name, want.Type = "a.csv", "text/csv"
	if v = judge(t, []byte("a,b\n1,2\n"), want); !v.Sound() || v.Facts.Proof != broker.ProofBytes || v.Facts.Type != "text/plain" ||
		len(v.Facts.Notes) != 0 || v.Facts.Declared != "" {
		t.Errorf("a text: %v %+v", v.Reasons, v.Facts)
	}
	want.Size, want.SHA1 = 3, broker.SHA1{9}
	if got := codes(judge(t, []byte("abcd"), want)); !slices.Equal(got, []broker.ReasonCode{broker.ReasonSizeMismatch, broker.ReasonChecksumMismatch}) {
		t.Error(got)
	}
	if got := codes(judge(t, nil, want)); !slices.Equal(got, []broker.ReasonCode{broker.ReasonEmpty}) {
		t.Error(got)
	}
}

func TestTooLarge(t *testing.T) {
	want := recon()
	want.MaxObject = 1000
	v, err := Image(context.Background(), source{size: 1_001, t: t}, want)
	if err != nil || !slices.Equal(codes(v), []broker.ReasonCode{broker.ReasonTooLarge}) || v.Size != 1001 ||
		v.Reasons[0].Detail != "the file has 1,001 bytes, 1,000 are the limit" {
		t.Errorf("%v, %v", v, err)
	}
}

// TestBombs: the size is judged before anything is allocated.
func TestBombs(t *testing.T) {
	j := jpegFile(t, noise(16, 16))
	at := bytes.Index(j, []byte{0xFF, 0xC0}) + 5
	binary.BigEndian.PutUint32(j[at:], 65500<<16|65500)
	tif := tiffFileOf(t, noise(16, 16), tiff.Uncompressed)
	dir := binary.LittleEndian.Uint32(tif[4:])
	for i := range uint32(binary.LittleEndian.Uint16(tif[dir:])) {
		if e := tif[dir+2+12*i:]; e[0] <= 1 && e[1] == 1 {
			e[2] = 4
			binary.LittleEndian.PutUint32(e[8:], 1<<30)
		}
	}
	webp := testdata(t, "lossless.webp")
	i := bytes.Index(webp, []byte("VP8L")) + 9
	binary.LittleEndian.PutUint32(webp[i:], binary.LittleEndian.Uint32(webp[i:])|0x0FFFFFFF)
	for name, b := range map[string][]byte{"jpeg": j, "png": rawPNG(65500, 65500, []byte{0}), "tiff": tif, "webp": webp} {
		want := recon()
		want.MaxPixels = 200_000_000
		var v broker.Verdict
		if mb := allocatedMB(func() { v = judge(t, b, want) }); mb > 4 {
			t.Errorf("%s: %d MB were allocated", name, mb)
		}
		if got := codes(v); !slices.Equal(got, []broker.ReasonCode{broker.ReasonTooManyPixels}) {
			t.Errorf("%s: %v", name, v.Reasons)
		}
	}
}

func allocatedMB(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) >> 20
}
