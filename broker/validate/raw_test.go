package validate

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// rawFile builds a little-endian TIFF directory of LONG and SHORT values, with
// 1,000 bytes of picture at byte 500.
func rawFile(magic string, tags map[uint16]uint32) []byte {
	le := binary.LittleEndian
	tags[tagStrips], tags[tagStripBytes] = 500, 1000
	b := append([]byte(magic), make([]byte, 16-len(magic))...)
	le.PutUint32(b[4:], 16)
	b = le.AppendUint16(b, uint16(len(tags)))
	var ids []uint16
	for id := range tags {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		b = le.AppendUint16(le.AppendUint16(b, id), 4)
		b = le.AppendUint32(le.AppendUint32(b, 1), tags[id])
	}
	return append(b, make([]byte, 1500-len(b))...)
}

func cr3File() []byte {
	cmt1 := rawFile("II*\x00\x08\x00\x00\x00", map[uint16]uint32{})[16:]
	cmt1 = append([]byte("II*\x00\x08\x00\x00\x00"), bytes.Replace(cmt1[:100], []byte{0x11, 1}, []byte{0, 1}, 1)...)
	cmt1 = bytes.Replace(cmt1, []byte{0x17, 1}, []byte{1, 1}, 1) // the strip's tags become a width and a height
	return slices.Concat(
		bmffBox("ftyp", []byte("crx \x00\x00\x00\x01crx isom")),
		bmffBox("moov", bmffBox("uuid", []byte(canonUUID), bmffBox("CMT1", cmt1)), bmffBox("trak")),
		bmffBox("mdat", make([]byte, 900)))
}

func TestRawPhotos(t *testing.T) {
	for name, c := range map[string]struct {
		file        []byte
		mime        string
		width, high int
	}{
		"DNG":  {rawFile("II*\x00", map[uint16]uint32{tagDNGVersion: 1, tagWidth: 60, tagHeight: 40, tagCompression: 7}), "image/x-adobe-dng", 60, 40},
		"CR2":  {rawFile("II*\x00\x10\x00\x00\x00CR\x02\x00", map[uint16]uint32{tagWidth: 60, tagHeight: 40, tagCompression: 6}), "image/x-canon-cr2", 60, 40},
		"CFA":  {rawFile("II*\x00", map[uint16]uint32{tagPhotometric: 32803, tagWidth: 60, tagHeight: 40}), "image/x-raw", 60, 40},
		"ORF":  {rawFile("IIRO", map[uint16]uint32{tagWidth: 60, tagHeight: 40}), "image/x-olympus-orf", 60, 40},
		"RW2":  {rawFile("IIU\x00", map[uint16]uint32{2: 60, 3: 40}), "image/x-panasonic-rw2", 60, 40},
		"CR3":  {cr3File(), "image/x-canon-cr3", 500, 1000},
		"RW2b": {bytes.Replace(rawFile("IIU\x00", map[uint16]uint32{2: 60, 3: 40}), []byte{0xF4, 1, 0, 0}, []byte{255, 255, 255, 255}, 1), "image/x-panasonic-rw2", 60, 40},
	} {
		v := judge(t, c.file, recon())
		f := v.Facts
		if !v.Sound() || f.Type != c.mime || f.Proof != broker.ProofStructure || f.Width != c.width || f.Height != c.high {
			t.Errorf("%s: %v %+v", name, v.Reasons, f)
		}
		if name == "RW2b" {
			continue
		}
		if v := judge(t, c.file[:len(c.file)-10], recon()); len(v.Reasons) != 1 || v.Reasons[0].Code != broker.ReasonTruncated {
			t.Errorf("%s, cut: %v", name, v.Reasons)
		}
	}
}
