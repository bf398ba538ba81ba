package validate

import (
	"encoding/binary"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// cursor reads big-endian figures from a box. After a read past its end it is
// short and gives zeros.
type cursor struct {
	p     []byte
	short bool
}

func (r *cursor) uint(bytes int) uint64 {
	if bytes > len(r.p) {
		r.short, r.p = true, nil
		return 0
	}
	v := uint64(0)
	for _, b := range r.p[:bytes] {
		v = v<<8 | uint64(b)
	}
	r.p = r.p[bytes:]
	return v
}

// heif checks HEIC, HEIF and AVIF (ISO 23008-12) by their boxes: that each item,
// the pictures among them, lies in the file. The coded pictures are not decoded.
func (c *check) heif() error {
	h := &heifIndex{c: c, items: map[uint64]heifItem{}}
	err := c.boxes("meta", func(b box) error {
		if b.name != "meta" {
			return nil
		}
		if len(b.body) < 4 {
			return corruptf("its box \"meta\" is empty")
		}
		return h.meta(b.body[4:])
	})
	if err == nil {
		c.found.Proof = broker.ProofStructure
		if h.previews == nil && len(c.exif) > 0 {
			h.previews = exifPreviews(c.exif[0])
		}
		c.paintPreview(h.previews)
	}
	return err
}

// heifIndex is what the meta box says of the file's items.
type heifIndex struct {
	c        *check
	exifs    int // blocks of EXIF that were read
	items    map[uint64]heifItem
	primary  uint64 // the picture; 0: not said
	located  bool   // the primary item has its place
	previews []preview
}

type heifItem int

// maxItems bounds what is held of a list; real ones name some 100.
const maxItems = 1 << 14

// The items that are read.
const (
	itemOther heifItem = iota
	itemExif
	itemXMP
	itemJPEG
	itemIdentity // a picture that is another one: it has no bytes of its own
)

// meta reads the meta box (ISO 14496-12 section 8.11).
func (h *heifIndex) meta(p []byte) error {
	list, err := children(p)
	if err != nil {
		return err
	}
	located, idat := false, int64(0)
	for b := range list {
		switch b.name {
		case "iinf":
			err = h.list(b.body)
		case "iprp":
			err = h.c.heifSize(b.body)
		case "idat":
			idat = int64(len(b.body))
		case "pitm":
			r := cursor{p: b.body}
			h.primary = r.uint(countBytes(r.uint(4)>>24, 0))
		}
		if err != nil {
			return err
		}
	}
	for b := range list {
		if b.name == "iloc" {
			located = true
			if err := h.places(b.body, idat); err != nil {
				return err
			}
		}
	}
	if !located {
		return corruptf("it does not say where its pictures lie (no box \"iloc\")")
	}
	if h.primary != 0 && !h.located && h.items[h.primary] != itemIdentity {
		return corruptf("it does not say where its picture, item %d, lies", h.primary)
	}
	return nil
}

// heifSize takes the largest of the sizes that are listed (ispe in ipco, ISO
// 23008-12 section 6.5.3): a picture made of tiles lists theirs as well.
func (c *check) heifSize(p []byte) error {
	list, err := children(p)
	if err != nil {
		return err
	}
	for b := range list {
		if b.name != "ipco" {
			continue
		}
		props, err := children(b.body)
		if err != nil {
			return err
		}
		for p := range props {
			if p.name != "ispe" || len(p.body) < 12 {
				continue
			}
			width, height := int64(binary.BigEndian.Uint32(p.body[4:])), int64(binary.BigEndian.Uint32(p.body[8:]))
			if err := c.pixels(width, height); err != nil {
				return err
			}
			if width*height > int64(c.found.Width)*int64(c.found.Height) {
				c.found.Width, c.found.Height = int(width), int(height)
			}
		}
	}
	return nil
}

// list learns what the items are (iinf and infe, ISO 14496-12 section 8.11.6).
func (h *heifIndex) list(p []byte) error {
	r := cursor{p: p}
	version := r.uint(4) >> 24
	r.uint(countBytes(version, 0))
	list, err := children(r.p)
	if err != nil {
		return err
	}
	for b := range list {
		r := cursor{p: b.body}
		version := r.uint(4) >> 24
		if b.name != "infe" || version < 2 || len(h.items) == maxItems {
			continue
		}
		id := r.uint(countBytes(version, 2))
		r.uint(2)
		switch r.uint(4) {
		case 0x45786966: // "Exif"
			h.items[id] = itemExif
		case 0x6A706567: // "jpeg"
			h.items[id] = itemJPEG
		case 0x6964656E: // "iden"
			h.items[id] = itemIdentity
		case 0x6D696D65: // "mime": a name and a type follow
			if strings.Contains(string(r.p[:min(len(r.p), 300)]), "application/rdf+xml") {
				h.items[id] = itemXMP
			}
		}
	}
	return nil
}

// countBytes is how wide the counts and item numbers of a box are, by its version.
func countBytes(version, narrow uint64) int {
	if version > narrow {
		return 4
	}
	return 2
}

// places checks the place of each item (iloc, ISO 14496-12 section 8.11.3).
func (h *heifIndex) places(p []byte, idatBytes int64) error {
	c := h.c
	r := cursor{p: p}
	version := r.uint(4) >> 24
	if version > 2 {
		c.note("the version %d of its list of items is not known: the places were not checked", version)
		h.located = true
		return nil
	}
	sizes := r.uint(2)
	offsetBytes, lengthBytes, baseBytes, indexBytes := int(sizes>>12), int(sizes>>8&15), int(sizes>>4&15), int(sizes&15)
	if version == 0 {
		indexBytes = 0
	}
	for _, n := range []int{offsetBytes, lengthBytes, baseBytes, indexBytes} {
		if n != 0 && n != 4 && n != 8 {
			return corruptf("its list of items has fields of %d bytes", n)
		}
	}
	items := r.uint(countBytes(version, 1))
	for ; items > 0 && !r.short; items-- {
		id := r.uint(countBytes(version, 1))
		method := uint64(0)
		if version > 0 {
			method = r.uint(2) & 15
		}
		r.uint(2) // data_reference_index: other files are not followed
		base := r.uint(baseBytes)
		extents := r.uint(2)
		h.located = h.located || id == h.primary && extents > 0
		whole := extents == 1                        // what lies in pieces is not put together here
		if indexBytes+offsetBytes+lengthBytes == 0 { // they all say the same, in no bytes
			extents = min(extents, 1)
		}
		for ; extents > 0 && !r.short; extents-- {
			r.uint(indexBytes)
			at, n := base+r.uint(offsetBytes), r.uint(lengthBytes)
			limit := uint64(c.size)
			if method == 1 {
				limit = uint64(idatBytes)
			}
			if r.short || method > 1 {
				continue
			}
			if at < base || at > limit || n > limit-at {
				if method == 0 && at >= base && at < 1<<62 && n < 1<<62 {
					return truncatedf("the file ends after %s bytes; item %d of it lies at bytes %s to %s", figures.Of(c.size),
						id, figures.Of(at), figures.Of(at+n))
				}
				return corruptf("item %d of it is said to lie outside of its box", id)
			}
			if method == 0 && whole {
				if err := h.read(id, int64(at), int64(n)); err != nil {
					return err
				}
			}
		}
	}
	if r.short {
		return corruptf("its list of items is cut short")
	}
	return nil
}

// read keeps what is wanted of an item.
func (h *heifIndex) read(id uint64, at, n int64) error {
	c := h.c
	switch kind := h.items[id]; {
	case kind == itemExif && c.exif == nil && n > 4 && n <= maxExifBytes && h.exifs < maxExifBlocks:
		h.exifs++
		p := make([]byte, n)
		if _, err := c.ranged.ReadAt(p, at); err != nil {
			return err
		}
		// The offset of the TIFF header in what follows (ISO 23008-12 annex A.2.1).
		if skip := int64(binary.BigEndian.Uint32(p)); skip < n-4 {
			c.exif = append(c.exif, p[4+skip:])
		}
	case kind == itemXMP && c.xmp == nil && n > 0 && n <= maxXMPBytes:
		p := make([]byte, n)
		if _, err := c.ranged.ReadAt(p, at); err != nil {
			return err
		}
		c.xmp = append(c.xmp, p)
	case kind == itemJPEG && len(h.previews) < maxPreviews:
		h.previews = append(h.previews, c.lying(at, n)...)
	}
	return nil
}
