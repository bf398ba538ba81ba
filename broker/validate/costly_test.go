package validate

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// heifOf is a HEIF file with these boxes in its meta box, and some bytes behind it.
func heifOf(data []byte, boxes ...[]byte) []byte {
	return slices.Concat(bmffBox("ftyp", []byte("heic\x00\x00\x00\x00mif1heic")),
		bmffBox("meta", append([][]byte{make([]byte, 4)}, boxes...)...), bmffBox("mdat", data))
}

// TestCostly: small files that ask for endless work, or for memory, get little.
// What is not seen in the verdict or in memory is seen in this test's never ending.
func TestCostly(t *testing.T) {
	be, le := binary.BigEndian, binary.LittleEndian
	want := recon()
	want.Thumb = true

	// Each of many items is said to have 65,535 places that take no bytes.
	places := append(be.AppendUint32(nil, 2<<24), 0, 0)
	places = append(be.AppendUint32(places, 700_000), bytes.Repeat([]byte{0, 0, 0, 1, 0, 0, 0, 0, 0xFF, 0xFF}, 700_000)...)

	var items [][]byte // of items
	for list := range uint32(5) {
		infos := append(be.AppendUint32(nil, 1<<24), 0, 0, 0, 0)
		for i := range uint32(60_000) {
			infos = append(be.AppendUint32(infos, 22), "infe\x03\x00\x00\x00"...)
			infos = append(be.AppendUint32(infos, list<<16+i), "\x00\x00jpeg"...)
		}
		items = append(items, bmffBox("iinf", infos))
	}

	// Each of many items is the one block of 1 MB that is no EXIF after all.
	exif := bytes.Repeat([]byte{0xFF}, 1<<20)
	infos, at := be.AppendUint16(make([]byte, 4), 3000), append(make([]byte, 4), 0x44, 0)
	at = be.AppendUint16(at, 3000)
	for i := range uint16(3000) {
		infos = append(infos, bmffBox("infe", be.AppendUint32(nil, 2<<24), be.AppendUint16(nil, i), make([]byte, 2), []byte("Exif\x00"))...)
		at = be.AppendUint16(at, i)
		at = append(be.AppendUint16(append(at, 0, 0), 1), 0, 0, 0, 100)
		at = be.AppendUint32(at, 1<<20)
	}

	names := bmffBox("ftyp", []byte("heic\x00\x00\x00\x00mif1heic"))
	for i := range 600_000 {
		names = append(be.AppendUint32(names, 8), fmt.Sprintf("%c%c%c%c", 'A'+i%50, 'A'+i/50%50, 'A'+i/2500%50, 'A'+i/125000)...)
	}
	cr3, blocks := bmffBox("ftyp", []byte("crx \x00\x00\x00\x01crx isom")), make([]byte, 1<<20-100)
	for range 60 {
		cr3 = append(cr3, bmffBox("moov", bmffBox("uuid", []byte(canonUUID), bmffBox("CMT2", blocks)), bmffBox("trak"))...)
	}
	exifs := slices.Concat(bmffBox("ftyp", []byte("crx \x00\x00\x00\x01crx isom")), bmffBox("moov", bmffBox("trak"),
		bmffBox("uuid", []byte(canonUUID), bytes.Repeat(bmffBox("CMT4", exifBlock()[:40]), 60_000))))
	previews := bmffBox("ftyp", []byte("crx \x00\x00\x00\x01crx isom"))
	previews = append(previews, bmffBox("moov", bmffBox("trak"))...)
	for range 300_000 {
		preview := append(make([]byte, 8), be.AppendUint32([]byte("\x00\x00\x00\x20PRVW"), 0)...)
		preview = append(preview, make([]byte, 8)...)
		previews = append(previews, bmffBox("uuid", []byte(canonPreviewUUID), be.AppendUint32(preview, 3))...)
	}

	png := append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", []byte{0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0})...)
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(make([]byte, maxICCBytes+1))
	w.Close()
	profile := pngChunk("iCCP", append([]byte("name\x00\x00"), z.Bytes()...))
	png = slices.Concat(png, bytes.Repeat(profile, 500), rawPNG(1, 1, []byte{0, 1})[33:])

	for name, b := range map[string][]byte{
		"places": heifOf(nil, bmffBox("iloc", places)), "exif": heifOf(exif, bmffBox("iinf", infos), bmffBox("iloc", at)),
		"names": names, "items": heifOf(nil, items...), "cr3": cr3, "exifs": exifs, "previews": previews, "profiles": png,
	} {
		before := allocatedBy(0)
		var v broker.Verdict
		mb := grownMB(func() { v = judge(t, b, want) })
		if mb > 16 || allocatedBy(before) > 80 {
			t.Errorf("%s, of %d MB: %d MB were held, %d in all; %v %+v", name, len(b)>>20, mb, allocatedBy(before), v.Reasons, v.Facts)
		}
	}

	// Directories that begin at every other byte of the same 20,000 entries.
	tif := append([]byte("II*\x00\x08\x00\x00\x00"), le.AppendUint16(nil, 1)...)
	tif = le.AppendUint32(le.AppendUint32(append(tif, 0x4A, 1, 4, 0), 9000), 26)
	tif = append(tif, make([]byte, 4)...)
	for i := range uint32(9000) {
		tif = le.AppendUint32(tif, 26+4*9000+2*i)
	}
	tif = append(tif, bytes.Repeat([]byte{0x20, 0x4E}, 130_000)...)
	if v := judge(t, tif, want); len(v.Reasons) != 1 || !strings.Contains(v.Reasons[0].Detail, "overlap") {
		t.Errorf("directories in each other: %v %+v", v.Reasons, v.Facts)
	}

	// Pages that share the list of their many pieces.
	tif = []byte("II*\x00\x08\x00\x00\x00")
	const pages, pieces = 500, 100_000
	lists := uint32(8 + pages*(2+6*12+4))
	for i := range uint32(pages) {
		tif = le.AppendUint16(tif, 6)
		for _, e := range [][3]uint32{{tagWidth, 1, 1}, {tagHeight, 1, pieces}, {tagCompression, 1, 1}, {tagStrips, pieces, lists},
			{tagRows, 1, 1}, {tagStripBytes, pieces, lists}} {
			tif = le.AppendUint16(le.AppendUint16(tif, uint16(e[0])), 4)
			tif = le.AppendUint32(le.AppendUint32(tif, e[1]), e[2])
		}
		next := uint32(len(tif) + 4)
		if i == pages-1 {
			next = 0
		}
		tif = le.AppendUint32(tif, next)
	}
	for range pieces {
		tif = le.AppendUint32(tif, 1)
	}
	v := judge(t, tif, want)
	if !v.Sound() || v.Facts.Proof != broker.ProofStructure || !strings.Contains(strings.Join(v.Facts.Notes, " "), "lists") {
		t.Errorf("shared lists: %v %+v", v.Reasons, v.Facts)
	}
}
