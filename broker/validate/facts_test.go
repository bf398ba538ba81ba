package validate

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func checkExifFacts(t *testing.T, name string, f broker.Facts) {
	t.Helper()
	taken := time.Date(2024, 5, 5, 23, 8, 9, 0, time.UTC)
	if f.Make != "Maker" || f.Model != "Model 1" || f.Lens != "Lens 24mm" || f.FocalMM != 8.8 || f.Orient != 6 ||
		f.Taken == nil || !f.Taken.Equal(taken) || !f.TakenZone {
		t.Errorf("%s: %+v", name, f)
	}
	if g := f.GPS; g == nil || g.Lat != -22.5 || g.Lon != 114.26 || g.Alt == nil || *g.Alt != -12.5 {
		t.Errorf("%s: GPS %+v", name, f.GPS)
	}
}

func TestExifFacts(t *testing.T) {
	m := noise(20, 20)
	block := exifBlock()
	p := pngFile(t, m)
	w := testdata(t, "lossless.webp")
	w = append(w, "EXIF"...)
	w = binary.LittleEndian.AppendUint32(w, uint32(len(block)))
	w = append(w, block...)
	w = append(w, make([]byte, len(w)&1)...)
	binary.LittleEndian.PutUint32(w[4:], uint32(len(w)-8))
	for name, b := range map[string][]byte{
		"jpeg":              withExif(jpegFile(t, m), block),
		"png":               slices.Concat(p[:33], pngChunk("eXIf", block), p[33:]),
		"png, behind":       slices.Concat(p[:len(p)-12], pngChunk("eXIf", block), p[len(p)-12:]),
		"webp":              w,
		"heic":              heicFile(block),
		"jpeg, fault later": withExif(jpegFile(t, m)[:800], block),
	} {
		v := judge(t, b, recon())
		if v.Sound() == (name == "jpeg, fault later") {
			t.Errorf("%s: %v", name, v.Reasons)
		}
		checkExifFacts(t, name, v.Facts)
	}
}

// bmffBox builds a box.
func bmffBox(name string, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(append(b, name...), body...)
}

// heicFile builds the boxes of a HEIC picture around an EXIF block.
func heicFile(block []byte) []byte {
	u16, u32 := binary.BigEndian.AppendUint16, binary.BigEndian.AppendUint32
	ftyp := bmffBox("ftyp", []byte("heic\x00\x00\x00\x00mif1heic"))
	item := append(u32(nil, 6), "Exif\x00\x00"...)
	item = append(item, block...)
	build := func(at uint32) []byte {
		infe := bmffBox("infe", u32(nil, 2<<24), u16(nil, 7), u16(nil, 0), []byte("Exif\x00"))
		iloc := bmffBox("iloc", u32(nil, 0), []byte{0x44, 0}, u16(nil, 1), u16(nil, 7), u16(nil, 0), u16(nil, 1),
			u32(nil, at), u32(nil, uint32(len(item))))
		ispe := bmffBox("ispe", u32(nil, 0), u32(nil, 4032), u32(nil, 3024))
		return bmffBox("meta", u32(nil, 0), bmffBox("iinf", u32(nil, 0), u16(nil, 1), infe), iloc,
			bmffBox("iprp", bmffBox("ipco", ispe)))
	}
	at := uint32(len(ftyp) + len(build(0)) + 8)
	return slices.Concat(ftyp, build(at), bmffBox("mdat", item))
}

func TestHEICItemOutside(t *testing.T) {
	b := heicFile(exifBlock())
	if v := judge(t, b, recon()); !v.Sound() || v.Facts.Width != 4032 || v.Facts.Proof != broker.ProofStructure {
		t.Errorf("%v %+v", v.Reasons, v.Facts)
	}
	if v := judge(t, b[:len(b)-1], recon()); len(v.Reasons) != 1 || v.Reasons[0].Code != broker.ReasonTruncated {
		t.Errorf("cut: %v", v.Reasons)
	}
	i := bytes.Index(b, []byte("mdat"))
	binary.BigEndian.PutUint32(b[i-4:], 9) // the box is made shorter, the item is not
	if v := judge(t, b, recon()); v.Sound() && v.Facts.TrailingB == 0 {
		t.Errorf("%+v", v.Facts)
	}
}

// TestHostileMetadata: no metadata makes a sound picture Invalid, or the check slow.
func TestHostileMetadata(t *testing.T) {
	file := jpegFile(t, noise(20, 20))
	block := exifBlock()
	loop := bytes.Clone(block)
	binary.LittleEndian.PutUint32(loop[8+2+3*12+8:], 8) // the EXIF directory is the first again
	many := append([]byte("II*\x00\x08\x00\x00\x00\xff\xff"), bytes.Repeat([]byte{0x4A, 1, 4, 0, 0, 4, 0, 0, 8, 0, 0, 0}, 5000)...)
	start := time.Now()
	for name, b := range map[string][]byte{
		"loop": loop, "many": many, "short": block[:40], "zeros": make([]byte, 5000), "random": bytes.Repeat([]byte("II*\x00\xff"), 99),
		"huge offset": []byte("II*\x00\xff\xff\xff\xff\x00\x00\x00\x00"),
	} {
		if v := judge(t, withExif(file, b), recon()); !v.Sound() {
			t.Errorf("%s: %v", name, v.Reasons)
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestNoZone(t *testing.T) {
	b := bytes.Replace(exifBlock(), []byte("+08:00"), []byte("what? "), 1)
	f := judge(t, withExif(jpegFile(t, noise(20, 20)), b), recon()).Facts
	if f.Taken == nil || !f.Taken.Equal(time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)) || f.TakenZone {
		t.Errorf("%+v", f)
	}
}
