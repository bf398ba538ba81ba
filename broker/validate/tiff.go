package validate

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// The tags that the check follows (TIFF 6.0 sections 8, 14, 15, 21 and 22;
// TIFF/EP for 0x014A; DNG 1.7 for 0xC612).
const (
	tagWidth       = 0x0100
	tagHeight      = 0x0101
	tagBits        = 0x0102
	tagCompression = 0x0103
	tagPhotometric = 0x0106
	tagFillOrder   = 0x010A
	tagMake        = 0x010F
	tagStrips      = 0x0111
	tagSamples     = 0x0115
	tagRows        = 0x0116
	tagStripBytes  = 0x0117
	tagPlanar      = 0x011C
	tagTileWidth   = 0x0142
	tagTileHeight  = 0x0143
	tagTiles       = 0x0144
	tagTileBytes   = 0x0145
	tagSubIFDs     = 0x014A
	tagJPEGTables  = 0x015B
	tagJPEG        = 0x0201
	tagJPEGBytes   = 0x0202
	tagSubsampling = 0x0212
	tagDNGVersion  = 0xC612
)

const (
	maxDirectories = 10_000
	maxEntries     = 20_000
)

// tiffFile walks the directories of a TIFF, a BigTIFF or a raw photo made like one.
type tiffFile struct {
	c      *check
	r      *ranged
	order  binary.ByteOrder
	big    bool // BigTIFF: 8-byte offsets
	raw    bool // the pictures are a camera's own
	make   string
	dirs   int
	seen   map[int64]bool
	looked int64 // bytes of strips and tiles looked at, so that overlaps can't cost for ever
	found  int   // pictures
}

// directory is one IFD: its entries by tag.
type directory map[uint16]entry

type entry struct {
	kind  uint16
	count int64
	at    int64 // where its values lie in the file
}

func (c *check) tiff() error {
	t := &tiffFile{c: c, r: c.ranged, seen: map[int64]bool{}}
	t.raw = c.kind.raw
	c.found.Proof = broker.ProofFull
	err := t.walk()
	if errors.Is(err, errScattered) {
		c.structureOnly("its pieces lie too scattered to read them all")
		err = nil
	}
	if t.raw {
		c.found.Proof = broker.ProofStructure
	}
	return err
}

// get reads len(p) bytes at an offset that must lie inside the file.
func (t *tiffFile) get(p []byte, at int64, what string) error {
	if at < 0 || at > t.c.size-int64(len(p)) {
		return t.outside(what, at, int64(len(p)))
	}
	_, err := t.r.ReadAt(p, at)
	return err
}

func (t *tiffFile) outside(what string, at, n int64) error {
	if at < 0 || n < 0 || at+n < 0 {
		return corruptf("%s is said to lie outside of any file", what)
	}
	return truncatedf("the file ends after %s bytes; %s lies at bytes %s to %s", figures.Of(t.c.size), what, figures.Of(at), figures.Of(at+n))
}

func (t *tiffFile) walk() error {
	var h [16]byte
	if err := t.get(h[:8], 0, "its header"); err != nil {
		return err
	}
	t.order = binary.LittleEndian
	if h[0] == 'M' {
		t.order = binary.BigEndian
	}
	first := int64(t.order.Uint32(h[4:]))
	if t.big = t.order.Uint16(h[2:]) == 43; t.big {
		if err := t.get(h[:], 0, "its header"); err != nil {
			return err
		}
		first = int64(t.order.Uint64(h[8:]))
		if t.order.Uint16(h[4:]) != 8 {
			return corruptf("its BigTIFF header gives offsets of %d bytes", t.order.Uint16(h[4:]))
		}
	}
	var list []directory
	queue := []int64{first}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if at == 0 || t.seen[at] {
			continue
		}
		t.seen[at] = true
		if t.dirs++; t.dirs > maxDirectories {
			return corruptf("it has more than %s directories", figures.Of(maxDirectories))
		}
		d, next, err := t.directory(at)
		if err != nil {
			return err
		}
		queue = append(queue, next)
		if e, ok := d[tagSubIFDs]; ok {
			for i := range min(e.count, maxDirectories) {
				sub, err := t.value(e, i, "a sub-directory's offset")
				if err != nil {
					return err
				}
				queue = append(queue, sub)
			}
		}
		if err := t.recognize(d); err != nil {
			return err
		}
		list = append(list, d)
		if len(list) > 64 && !t.raw { // pages: check them as they come, hold few
			if err := t.pictures(list); err != nil {
				return err
			}
			list = list[:0]
		}
	}
	if err := t.pictures(list); err != nil {
		return err
	}
	if t.found == 0 {
		return corruptf("its %d directories hold no picture", t.dirs)
	}
	return nil
}

// recognize learns from a directory which camera's raw photo this is.
func (t *tiffFile) recognize(d directory) error {
	if e, ok := d[tagMake]; ok && t.make == "" && e.kind == 2 && e.count > 0 {
		p := make([]byte, min(e.count, 64))
		if t.get(p, e.at, "the maker's name") == nil {
			t.make = strings.ToUpper(strings.TrimRight(string(p), "\x00 "))
		}
	}
	if _, ok := d[tagDNGVersion]; ok {
		t.raw, t.c.found.Type = true, "image/x-adobe-dng"
		return nil
	}
	photometric, err := t.number(d, tagPhotometric, 0)
	if err != nil {
		return err
	}
	compression, err := t.number(d, tagCompression, 1)
	if err != nil {
		return err
	}
	// 32803 is a colour filter array (TIFF/EP), 34892 linear raw (DNG); 32767
	// and 34713 are Sony's and Nikon's own, 65535 Pentax's.
	if photometric != 32803 && photometric != 34892 && compression != 34713 && compression != 32767 && compression != 65535 {
		return nil
	}
	t.raw = true
	if t.c.found.Type != "image/tiff" {
		return nil
	}
	t.c.found.Type = "image/x-raw"
	for _, maker := range [][2]string{
		{"NIKON", "image/x-nikon-nef"}, {"SONY", "image/x-sony-arw"}, {"PENTAX", "image/x-pentax-pef"},
		{"RICOH", "image/x-pentax-pef"}, {"SAMSUNG", "image/x-samsung-srw"}, {"CANON", "image/x-canon-raw"},
		{"HASSELBLAD", "image/x-hasselblad-3fr"}, {"PHASE ONE", "image/x-phaseone-iiq"},
	} {
		if strings.HasPrefix(t.make, maker[0]) {
			t.c.found.Type = maker[1]
		}
	}
	return nil
}

// directory reads one IFD and the offset of the next.
func (t *tiffFile) directory(at int64) (directory, int64, error) {
	countBytes, entryBytes, offsetBytes := int64(2), int64(12), int64(4)
	if t.big {
		countBytes, entryBytes, offsetBytes = 8, 20, 8
	}
	var p [20]byte
	if err := t.get(p[:countBytes], at, "a directory"); err != nil {
		return nil, 0, err
	}
	n := int64(t.order.Uint16(p[:]))
	if t.big {
		n = int64(t.order.Uint64(p[:]))
	}
	if n < 0 || n > maxEntries {
		return nil, 0, corruptf("its directory at byte %s is said to have %s entries", figures.Of(at), figures.Of(uint64(n)))
	}
	d := directory{}
	at += countBytes
	for ; n > 0; n-- {
		if err := t.get(p[:entryBytes], at, "a directory"); err != nil {
			return nil, 0, err
		}
		e := entry{kind: t.order.Uint16(p[2:]), count: int64(t.order.Uint32(p[4:])), at: at + 8}
		if t.big {
			e.count, e.at = int64(t.order.Uint64(p[4:])), at+12
		}
		size := typeBytes(e.kind)
		if e.count < 0 || e.count > t.c.size {
			size, e.at = 0, -1 // can't be in the file; matters only when it is asked for
		}
		if size*e.count > offsetBytes {
			e.at = int64(t.order.Uint32(p[8:]))
			if t.big {
				e.at = int64(t.order.Uint64(p[12:]))
			}
		}
		if tag := t.order.Uint16(p[:]); d[tag].kind == 0 {
			d[tag] = e
		}
		at += entryBytes
	}
	clear(p[:])
	if err := t.get(p[:offsetBytes], at, "a directory's end"); err != nil {
		return nil, 0, err
	}
	if t.big {
		return d, int64(t.order.Uint64(p[:])), nil
	}
	return d, int64(t.order.Uint32(p[:])), nil
}

// inside checks that the values of all entries lie in the file: writers put them
// behind the picture, where a cut takes them first.
func (t *tiffFile) inside(d directory) error {
	for tag, e := range d {
		if n := typeBytes(e.kind) * e.count; e.at < 0 || n > t.c.size-e.at {
			return t.outside("the value of tag "+strconv.Itoa(int(tag)), e.at, n)
		}
	}
	return nil
}

// typeBytes is the size of one value (TIFF 6.0 section 2; BigTIFF adds 16 to 18).
func typeBytes(kind uint16) int64 {
	switch kind {
	case 1, 2, 6, 7:
		return 1
	case 3, 8:
		return 2
	case 4, 9, 11, 13:
		return 4
	case 5, 10, 12, 16, 17, 18:
		return 8
	}
	return 0
}

// value reads the i-th value of a whole-number entry.
func (t *tiffFile) value(e entry, i int64, what string) (int64, error) {
	size := typeBytes(e.kind)
	if i >= e.count {
		return 0, corruptf("%s is not given", what)
	}
	var p [8]byte
	switch e.kind {
	case 1, 3, 4, 13, 16, 18:
	default:
		return 0, corruptf("%s is given as type %d, which is no whole number", what, e.kind)
	}
	if err := t.get(p[:size], e.at+i*size, what); err != nil {
		return 0, err
	}
	switch size {
	case 1:
		return int64(p[0]), nil
	case 2:
		return int64(t.order.Uint16(p[:])), nil
	case 4:
		return int64(t.order.Uint32(p[:])), nil
	}
	v := int64(t.order.Uint64(p[:]))
	if v < 0 {
		return 0, corruptf("%s is beyond any file", what)
	}
	return v, nil
}

// number reads an entry's first value, or what stands for an entry that is not there.
func (t *tiffFile) number(d directory, tag uint16, absent int64) (int64, error) {
	e, ok := d[tag]
	if !ok {
		return absent, nil
	}
	return t.value(e, 0, "a figure of its directory")
}
