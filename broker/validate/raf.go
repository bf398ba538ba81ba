package validate

import (
	"encoding/binary"
	"io"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
	"github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
)

const rafMagic = "FUJIFILMCCD-RAW "

// raf checks Fujifilm's raw format by its head, which says where the preview, the
// tags and the picture lie (as dcraw and libraw read it). The preview, which has
// the EXIF, is proven; the picture is not read.
func (c *check) raf() error {
	h := c.in.peek(108)
	if len(h) < 108 {
		return truncatedf("the file ends after %s bytes, inside its head", figures.Of(c.size))
	}
	at := func(i int) (int64, int64) {
		return int64(binary.BigEndian.Uint32(h[i:])), int64(binary.BigEndian.Uint32(h[i+4:]))
	}
	previewAt, previewBytes := at(84)
	tagsAt, tagsBytes := at(92)
	rawAt, rawBytes := at(100)
	for _, part := range []struct {
		what  string
		at, n int64
	}{{"its preview", previewAt, previewBytes}, {"its list of tags", tagsAt, tagsBytes}, {"its picture", rawAt, rawBytes}} {
		if part.at > c.size || part.n > c.size-part.at {
			return truncatedf("the file ends after %s bytes; %s lies at bytes %s to %s", figures.Of(c.size), part.what,
				figures.Of(part.at), figures.Of(part.at+part.n))
		}
	}
	if rawAt == 0 || rawBytes == 0 {
		return corruptf("its head does not say where its picture lies")
	}
	if err := c.rafSize(tagsAt, tagsBytes); err != nil {
		return err
	}
	if previewBytes > 0 {
		options := jpeg.Options{MaxPixels: c.want.MaxPixels, Reserve: c.reserve}
		if c.want.Thumb {
			c.thumb.follow(&options)
		}
		c.ranged.main = c.in
		info, err := jpeg.Check(io.NewSectionReader(c.ranged, previewAt, previewBytes), options)
		c.ranged.main = nil
		c.release()
		if info.Exif != nil {
			c.exif = append(c.exif, info.Exif)
		}
		if info.XMP != nil {
			c.xmp = append(c.xmp, info.XMP)
		}
		if err != nil {
			c.thumb.canvas, c.thumb.icc = nil, nil
			f, ok := jpegFault(err).(*fault)
			if !ok {
				return err
			}
			c.note("its preview is damaged: %s", f.Detail)
		}
	}
	c.found.Proof = broker.ProofStructure
	return nil
}

// rafSize reads the sensor's size from the list of tags: a count, then a tag, a
// length and so many bytes each.
func (c *check) rafSize(at, n int64) error {
	if n < 4 || n > 1<<20 {
		return nil
	}
	p := make([]byte, n)
	if _, err := c.ranged.ReadAt(p, at); err != nil {
		return err
	}
	r := cursor{p: p}
	for count := r.uint(4); count > 0 && !r.short; count-- {
		tag, size := r.uint(2), int(r.uint(2))
		if size > len(r.p) {
			return nil
		}
		if tag == 0x100 && size >= 4 {
			height, width := int64(binary.BigEndian.Uint16(r.p)), int64(binary.BigEndian.Uint16(r.p[2:]))
			if err := c.pixels(width, height); err != nil {
				return err
			}
			c.found.Width, c.found.Height = int(width), int(height)
		}
		r.p = r.p[size:]
	}
	return nil
}
