package validate

import (
	"errors"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
	"github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
)

// jpeg proves a JPEG file up to its picture's own end. What follows is common
// (previews, MPF, a video) and only counted.
func (c *check) jpeg() error {
	options := jpeg.Options{MaxPixels: c.want.MaxPixels, Reserve: c.reserve}
	if c.want.Thumb {
		c.thumb.follow(&options)
	}
	info, err := jpeg.Check(c.in, options)
	c.found.Width, c.found.Height = info.Width, info.Height
	if info.Exif != nil {
		c.exif = append(c.exif, info.Exif)
	}
	if info.XMP != nil {
		c.xmp = append(c.xmp, info.XMP)
	}
	if err != nil {
		return jpegFault(err)
	}
	c.found.Proof = broker.ProofFull
	if !info.Decoded {
		c.structureOnly("the picture is too large for worker.memory: only its markers were checked")
	}
	if info.PaddingBytes > 0 {
		c.note("%s needless bytes inside the picture", figures.Of(info.PaddingBytes))
	}
	c.found.TrailingB = c.size - info.End
	return nil
}

// jpegFault turns what package jpeg found into a reason; other errors stay.
func jpegFault(err error) error {
	var p *jpeg.Problem
	if !errors.As(err, &p) {
		return err
	}
	code := broker.ReasonCorrupt
	switch p.Kind {
	case jpeg.Truncated:
		code = broker.ReasonTruncated
	case jpeg.Unsupported:
		code = broker.ReasonUnsupportedFormat
	case jpeg.TooManyPixels:
		code = broker.ReasonTooManyPixels
	}
	return faultf(code, "%s", p.Detail)
}
