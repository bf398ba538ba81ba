package jpeg

import (
	"bytes"

	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// maxICC is the largest colour profile that is kept, in bytes. Those of cameras
// have some KB, those of printing presses half a million.
const maxICC = 1 << 20

// iccParts gathers the parts of a colour profile (ICC.1:2022 annex B.4).
type iccParts struct {
	parts [256][]byte // by their number, from 1 on
	count int         // how many there must be
	bytes int
	bad   bool
}

// add takes the payload of an APP2 segment that is a part of a profile.
func (c *iccParts) add(p []byte) {
	if len(p) < 2 || c.bad {
		return
	}
	number, count := int(p[0]), int(p[1])
	if c.count == 0 {
		c.count = count
	}
	c.bytes += len(p) - 2
	if number == 0 || number > count || count != c.count || c.parts[number] != nil || c.bytes > maxICC {
		*c = iccParts{bad: true}
		return
	}
	c.parts[number] = append([]byte{}, p[2:]...)
}

// joined is the whole profile. Nil: there is none, or not all of it.
func (c *iccParts) joined() []byte {
	if c.count == 0 {
		return nil
	}
	profile := make([]byte, 0, c.bytes)
	for _, part := range c.parts[1 : c.count+1] {
		if part == nil {
			return nil
		}
		profile = append(profile, part...)
	}
	return profile
}

// application reads an APPn segment (T.81 B.2.4.6). What is wrong in one is a
// matter of its own format, and only here a reason where decoders mistrust the
// picture for it.
func (d *decoder) application(marker byte, p []byte) error {
	in := &d.info
	switch marker {
	case 0xE0: // JFIF: T.871 clause 10.1
		if len(p) >= 14 && bytes.HasPrefix(p, []byte("JFIF\x00")) {
			if p[5] != 1 {
				return d.corrupt("its JFIF header says version %d.%02d, there is only version 1", p[5], p[6])
			}
			in.JFIF = true
		}
	case 0xE1:
		// EXIF: CIPA DC-008 section 4.7.2. XMP: ISO 16684-3, XMP Specification part 3.
		if exif, ok := bytes.CutPrefix(p, []byte("Exif\x00")); ok && len(exif) > 1 && in.Exif == nil {
			in.Exif = bytes.Clone(exif[1:])
		}
		if xmp, ok := bytes.CutPrefix(p, []byte("http://ns.adobe.com/xap/1.0/\x00")); ok && len(xmp) > 0 && in.XMP == nil {
			in.XMP = bytes.Clone(xmp)
		}
	case 0xE2:
		if part, ok := bytes.CutPrefix(p, []byte("ICC_PROFILE\x00")); ok && d.scans == 0 {
			d.icc.add(part)
		}
	case 0xEE: // T.872 clause 6.5.3
		if len(p) >= 12 && bytes.HasPrefix(p, []byte("Adobe")) && d.scans == 0 {
			in.Adobe = int(p[11])
		}
	}
	return nil
}

// colours holds what Adobe's segment says against the number of components
// (T.872 clause 6.5.3), as decoders do when the first scan begins.
func (d *decoder) colours() error {
	in := &d.info
	in.ICC = d.icc.joined()
	d.icc = iccParts{}
	if in.Adobe > 0 && (in.Components == 3 && in.Adobe != 1 && !in.JFIF || in.Components == 4 && in.Adobe != 2) {
		return d.corrupt("its Adobe segment gives %s components the colour transform %d", figures.Of(in.Components), in.Adobe)
	}
	return nil
}
