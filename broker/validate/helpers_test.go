package validate

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/uploadbroker/uploadbroker/broker"
)

// noise is a picture that no encoder makes small: damage always meets data.
func noise(width, height int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	r := rand.New(rand.NewPCG(1, 2))
	for y := range height {
		for x := range width {
			m.Set(x, y, color.RGBA{uint8(x + r.IntN(90)), uint8(y + r.IntN(90)), uint8(x*y + r.IntN(90)), 255})
		}
	}
	return m
}

func jpegFile(t testing.TB, m image.Image) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 85}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngFile(t testing.TB, m image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tiffFileOf(t testing.TB, m image.Image, c tiff.CompressionType) []byte {
	var b bytes.Buffer
	if err := tiff.Encode(&b, m, &tiff.Options{Compression: c}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gifFile(t testing.TB, m image.Image) []byte {
	var b bytes.Buffer
	if err := gif.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func testdata(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// recon is what a project of kind recon wants, with nothing declared.
func recon() Want {
	return Want{Kind: broker.KindRecon, Size: -1, MaxPixels: 500_000_000}
}

func judge(t testing.TB, b []byte, want Want) broker.Verdict {
	t.Helper()
	v, err := Image(context.Background(), FromBytes(b), want)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func codes(v broker.Verdict) []broker.ReasonCode {
	var list []broker.ReasonCode
	for _, r := range v.Reasons {
		list = append(list, r.Code)
	}
	return list
}

// pngChunk builds a chunk with a true CRC.
func pngChunk(name string, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, name...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// rawPNG builds a grey 8-bit PNG of these scanlines, filter bytes among them.
func rawPNG(width, height uint32, scanlines []byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, width)
	head = binary.BigEndian.AppendUint32(head, height)
	head = append(head, 8, 0, 0, 0, 0)
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(scanlines)
	w.Close()
	b := append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", head)...)
	b = append(b, pngChunk("IDAT", z.Bytes())...)
	return append(b, pngChunk("IEND", nil)...)
}

// exifBlock is a TIFF structure with the tags that become facts.
func exifBlock() []byte {
	type tag struct {
		id, kind uint16
		count    uint32
		data     []byte
	}
	le := binary.LittleEndian
	short := func(v uint16) []byte { return le.AppendUint16(nil, v) }
	long := func(v uint32) []byte { return le.AppendUint32(nil, v) }
	rats := func(v ...uint32) (p []byte) {
		for _, n := range v {
			p = le.AppendUint32(p, n)
		}
		return p
	}
	text := func(id uint16, s string) tag { return tag{id, 2, uint32(len(s) + 1), append([]byte(s), 0)} }
	build := func(at uint32, tags []tag) []byte {
		b := short(uint16(len(tags)))
		data := []byte{}
		base := at + 2 + 12*uint32(len(tags)) + 4
		for _, t := range tags {
			b = append(append(b, short(t.id)...), short(t.kind)...)
			b = append(b, long(t.count)...)
			if len(t.data) <= 4 {
				b = append(b, append(bytes.Clone(t.data), make([]byte, 4-len(t.data))...)...)
				continue
			}
			b = append(b, long(base+uint32(len(data)))...)
			data = append(data, t.data...)
		}
		return append(append(b, 0, 0, 0, 0), data...)
	}
	const exifAt, gpsAt = 300, 600
	b := append([]byte("II*\x00"), long(8)...)
	b = append(b, build(8, []tag{
		text(0x010F, "Maker"), text(0x0110, "Model\x07 1"), {0x0112, 3, 1, short(6)},
		{0x8769, 4, 1, long(exifAt)}, {0x8825, 4, 1, long(gpsAt)},
	})...)
	b = append(b, make([]byte, exifAt-len(b))...)
	b = append(b, build(exifAt, []tag{
		text(0x9003, "2024:05:06 07:08:09"), text(0x9011, "+08:00"),
		{0x920A, 5, 1, rats(88, 10)}, text(0xA434, "Lens 24mm"),
	})...)
	b = append(b, make([]byte, gpsAt-len(b))...)
	return append(b, build(gpsAt, []tag{
		text(1, "S"), {2, 5, 3, rats(22, 1, 30, 1, 0, 1)}, text(3, "E"), {4, 5, 3, rats(114, 1, 15, 1, 36, 1)},
		{5, 1, 1, []byte{1}}, {6, 5, 1, rats(125, 10)},
	})...)
}

// withExif puts a block into a JPEG file, behind its start marker.
func withExif(file, block []byte) []byte {
	p := append([]byte("Exif\x00\x00"), block...)
	b := append([]byte{0xFF, 0xD8, 0xFF, 0xE1}, binary.BigEndian.AppendUint16(nil, uint16(len(p)+2))...)
	return append(append(b, p...), file[2:]...)
}
