package validate

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// The tags that the check follows (TIFF 6.0 sections 8, 14, 15, 21 and 22;
// TIFF/EP for 0x014A; DNG 1.7 for 0xC612).
const (
	tagRawJPEG     = 0x002E // of RW2
	tagWidth       = 0x0100
	tagHeight      = 0x0101
	tagBits        = 0x0102
	tagCompression = 0x0103
	tagPhotometric = 0x0106
	tagFillOrder   = 0x010A
	tagMake        = 0x010F
	tagStrips      = 0x0111
	tagOrientation = 0x0112
	tagSamples     = 0x0115
	tagRows        = 0x0116
	tagStripBytes  = 0x0117
	tagPlanar      = 0x011C
	tagPredictor   = 0x013D
	tagColorMap    = 0x0140
	tagTileWidth   = 0x0142
	tagTileHeight  = 0x0143
	tagTiles       = 0x0144
	tagTileBytes   = 0x0145
	tagSubIFDs     = 0x014A
	tagInkSet      = 0x014C
	tagExtra       = 0x0152
	tagSampleForm  = 0x0153
	tagJPEGTables  = 0x015B
	tagJPEG        = 0x0201
	tagJPEGBytes   = 0x0202
	tagSubsampling = 0x0212
	tagXMP         = 0x02BC
	tagICC         = 0x8773
	tagDNGVersion  = 0xC612
)

const (
	maxDirectories = 10_000
	maxEntries     = 20_000
	heldAtOnce     = 64 // directories
)

// followed reports whether the check needs the tag's values; of the others it only
// learns whether they lie in the file, so that a directory held is small.
func followed(tag uint16) bool {
	switch tag {
	case 2, 3, tagRawJPEG, tagWidth, tagHeight, tagBits, tagCompression, tagPhotometric, tagFillOrder, tagMake, tagStrips,
		tagOrientation, tagSamples, tagRows, tagStripBytes, tagPlanar, tagPredictor, tagColorMap, tagTileWidth, tagTileHeight,
		tagTiles, tagTileBytes, tagSubIFDs, tagInkSet, tagExtra, tagSampleForm, tagJPEGTables, tagJPEG, tagJPEGBytes,
		tagSubsampling, tagXMP, tagICC, tagDNGVersion:
		return true
	}
	return false
}

// tiffFile walks the directories of a TIFF, a BigTIFF or a raw photo made like one.
type tiffFile struct {
	c     *check
	r     io.ReaderAt
	order binary.ByteOrder
	big   bool // BigTIFF: 8-byte offsets
	raw   bool // the pictures are a camera's own
	make  string
	dirs  int
	seen  map[int64]bool
	// Bytes looked at, so that overlaps can't cost for ever.
	entries int64 // of directories
	listed  int64 // of lists of pieces
	looked  int64 // of strips and tiles
	found   int   // pictures

	hasPreview bool // a JPEG beside them

	inflate  io.ReadCloser // kept from piece to piece
	zstd     *unzstd       // likewise, within a picture
	buf      []byte        // for what is unpacked
	paint    *tiffPaint    // of the picture that becomes the thumbnail; nil: none does
	previews []preview
}

// directory is one IFD.
type directory struct {
	tags    map[uint16]entry // those that are followed
	outside error            // of the first entry whose values don't lie in the file
}

type entry struct {
	kind  uint16
	count int64
	at    int64 // where its values lie in the file
}

func (c *check) tiff() error {
	t := &tiffFile{c: c, r: c.ranged, seen: map[int64]bool{}}
	t.raw = c.kind.raw
	c.found.Proof = broker.ProofFull
	c.ranged.main = c.in // pieces mostly come in the file's order: the one pass serves them
	err := t.walk()
	c.ranged.main = nil
	c.release()
	if errors.Is(err, errScattered) {
		c.structureOnly("its pieces lie too scattered to read them all")
		err = nil
	}
	if t.raw {
		c.found.Proof = broker.ProofStructure
	}
	if err == nil && c.thumb.canvas == nil {
		c.paintPreview(t.previews)
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
		if e, ok := d.tags[tagSubIFDs]; ok {
			if e.count > maxDirectories-int64(len(queue)) {
				return corruptf("it has more than %s directories", figures.Of(maxDirectories))
			}
			for i := range e.count {
				sub, err := t.value(e, i, "a sub-directory's offset")
				if err != nil {
					return err
				}
				queue = append(queue, sub)
			}
		}
		if t.entries > 4*t.c.size {
			return corruptf("its directories overlap")
		}
		if err := t.recognize(d); err != nil {
			return err
		}
		list = append(list, d)
		if len(list) == heldAtOnce { // pages: check them as they come
			if err := t.pictures(list); err != nil {
				return err
			}
			list = list[:0]
		}
	}
	if err := t.pictures(list); err != nil {
		return err
	}
	if t.found == 0 && !t.hasPreview {
		return corruptf("its %d directories hold no picture", t.dirs)
	}
	if t.found == 0 {
		t.c.structureOnly("it holds no picture but a preview")
	}
	return nil
}

// recognize learns from a directory which camera's raw photo this is.
func (t *tiffFile) recognize(d directory) error {
	if e, ok := d.tags[tagMake]; ok && t.make == "" && e.kind == 2 && e.count > 0 {
		p := make([]byte, min(e.count, 64))
		if t.get(p, e.at, "the maker's name") == nil {
			t.make = strings.ToUpper(strings.TrimRight(string(p), "\x00 "))
		}
	}
	if _, ok := d.tags[tagDNGVersion]; ok {
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
func (t *tiffFile) directory(at int64) (d directory, next int64, err error) {
	countBytes, entryBytes, offsetBytes := int64(2), int64(12), int64(4)
	if t.big {
		countBytes, entryBytes, offsetBytes = 8, 20, 8
	}
	var p [20]byte
	if err := t.get(p[:countBytes], at, "a directory"); err != nil {
		return d, 0, err
	}
	n := int64(t.order.Uint16(p[:]))
	if t.big {
		n = int64(t.order.Uint64(p[:]))
	}
	if n < 0 || n > maxEntries {
		return d, 0, corruptf("its directory at byte %s is said to have %s entries", figures.Of(at), figures.Of(uint64(n)))
	}
	d.tags = map[uint16]entry{}
	t.entries += n * entryBytes
	at += countBytes
	for ; n > 0; n-- {
		if err := t.get(p[:entryBytes], at, "a directory"); err != nil {
			return d, 0, err
		}
		e := entry{kind: t.order.Uint16(p[2:]), count: int64(t.order.Uint32(p[4:])), at: at + 8}
		if t.big {
			e.count, e.at = int64(t.order.Uint64(p[4:])), at+12
		}
		size := typeBytes(e.kind)
		if e.count < 0 || e.count > 1<<56 {
			size, e.at = 0, -1 // can't be in the file; matters only when it is asked for
		}
		if size*e.count > offsetBytes {
			e.at = int64(t.order.Uint32(p[8:]))
			if t.big {
				e.at = int64(t.order.Uint64(p[12:]))
			}
		}
		tag := t.order.Uint16(p[:])
		if _, again := d.tags[tag]; !again && followed(tag) {
			d.tags[tag] = e
		}
		// Writers put values behind the picture, where a cut takes them first.
		if n := typeBytes(e.kind) * e.count; d.outside == nil && (e.at < 0 || n > t.c.size-e.at) {
			d.outside = t.outside("the value of tag "+strconv.Itoa(int(tag)), e.at, n)
		}
		at += entryBytes
	}
	clear(p[:])
	if err := t.get(p[:offsetBytes], at, "a directory's end"); err != nil {
		return d, 0, err
	}
	if t.big {
		return d, int64(t.order.Uint64(p[:])), nil
	}
	return d, int64(t.order.Uint32(p[:])), nil
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
	e, ok := d.tags[tag]
	if !ok {
		return absent, nil
	}
	return t.value(e, 0, "a figure of its directory")
}
