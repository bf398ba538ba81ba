package validate

import (
	"encoding/binary"

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
	err := c.boxes("meta", func(b box) error {
		if len(b.body) < 4 {
			return corruptf("its box \"meta\" is empty")
		}
		return c.heifMeta(b.body[4:])
	})
	if err == nil {
		c.found.Proof = broker.ProofStructure
	}
	return err
}

// heifMeta reads the meta box (ISO 14496-12 section 8.11).
func (c *check) heifMeta(p []byte) error {
	list, err := children(p)
	if err != nil {
		return err
	}
	exifID, located, idat := uint64(0), false, int64(0)
	for _, b := range list {
		switch b.name {
		case "iinf":
			exifID, err = heifExif(b.body)
		case "iprp":
			err = c.heifSize(b.body)
		case "idat":
			idat = int64(len(b.body))
		}
		if err != nil {
			return err
		}
	}
	for _, b := range list {
		if b.name == "iloc" {
			located = true
			if err := c.heifItems(b.body, exifID, idat); err != nil {
				return err
			}
		}
	}
	if !located {
		return corruptf("it does not say where its pictures lie (no box \"iloc\")")
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
	for _, b := range list {
		if b.name != "ipco" {
			continue
		}
		props, err := children(b.body)
		if err != nil {
			return err
		}
		for _, p := range props {
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

// heifExif finds the item that holds EXIF (iinf and infe, ISO 14496-12 section
// 8.11.6); 0: none.
func heifExif(p []byte) (uint64, error) {
	r := cursor{p: p}
	version := r.uint(4) >> 24
	r.uint(countBytes(version, 0))
	list, err := children(r.p)
	if err != nil {
		return 0, err
	}
	for _, b := range list {
		r := cursor{p: b.body}
		version := r.uint(4) >> 24
		if b.name != "infe" || version < 2 {
			continue
		}
		id := r.uint(countBytes(version, 2))
		r.uint(2)
		if r.uint(4) == 0x45786966 { // "Exif"
			return id, nil
		}
	}
	return 0, nil
}

// countBytes is how wide the counts and item numbers of a box are, by its version.
func countBytes(version, narrow uint64) int {
	if version > narrow {
		return 4
	}
	return 2
}

// heifItems checks the place of each item (iloc, ISO 14496-12 section 8.11.3).
func (c *check) heifItems(p []byte, exifID uint64, idatBytes int64) error {
	r := cursor{p: p}
	version := r.uint(4) >> 24
	if version > 2 {
		c.note("the version %d of its list of items is not known: the places were not checked", version)
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
		for extents := r.uint(2); extents > 0 && !r.short; extents-- {
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
			if id == exifID && id != 0 && method == 0 && c.exif == nil && n > 4 && n <= maxExifBytes {
				if err := c.heifReadExif(int64(at), int64(n)); err != nil {
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

// heifReadExif reads an EXIF item: the offset of the TIFF header in what follows,
// then that (ISO 23008-12 annex A.2.1).
func (c *check) heifReadExif(at, n int64) error {
	p := make([]byte, n)
	if _, err := c.ranged.ReadAt(p, at); err != nil {
		return err
	}
	if skip := int64(binary.BigEndian.Uint32(p)); skip < n-4 {
		c.exif = append(c.exif, p[4+skip:])
	}
	return nil
}
