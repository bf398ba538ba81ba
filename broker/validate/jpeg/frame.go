package jpeg

import (
	"encoding/binary"

	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

const (
	maxComps = 4     // of a frame, for this package; of a scan: T.81 B.2.3
	maxLines = 65535 // T.81 table B.2
)

// component is one colour channel of the frame (T.81 B.2.2 and A.1.1).
type component struct {
	id     byte
	index  int // in the frame
	h, v   int // sampling factors
	tq     byte
	blocks [2]int   // columns and rows of blocks that hold the picture
	seen   bool     // a scan brought it (progressive: its DC)
	bits   [64]int8 // progressive: how many low bits of each coefficient are missing; -1: all
	mask   masks    // of a progressive picture
}

// frame is the frame header and what follows from it.
type frame struct {
	comps       []component
	progressive bool
	hMax, vMax  int
	mcuCols     int // of an interleaved scan
	mcuRows     int
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// parseFrame reads a SOF segment.
func (d *decoder) parseFrame(marker byte, p []byte) error {
	if d.frame != nil {
		return d.corrupt("it has a second frame header at byte %s", figures.Of(d.src.offset()))
	}
	if len(p) < 6 {
		return d.corrupt("its frame header holds %d bytes", len(p))
	}
	in := &d.info
	in.Precision = int(p[0])
	in.Height, in.Width = int(binary.BigEndian.Uint16(p[1:])), int(binary.BigEndian.Uint16(p[3:]))
	in.Components = int(p[5])
	n := in.Components
	switch marker {
	case 0xC0:
		in.Process = "baseline"
	case 0xC1:
		in.Process = "extended sequential"
	case 0xC2:
		in.Process = "progressive"
	case 0xC3:
		return d.unsupported("a lossless JPEG (T.81 annex H) is not taken")
	case 0xC5, 0xC6, 0xC7:
		return d.unsupported("a hierarchical JPEG (T.81 annex J) is not taken")
	default:
		return d.unsupported("a JPEG with arithmetic coding is not taken; save it with Huffman coding")
	}
	if in.Precision != 8 && (in.Precision != 12 || marker == 0xC0) {
		return d.unsupported("a %s JPEG of %d bits a sample is not taken", in.Process, in.Precision)
	}
	if in.Width == 0 {
		return d.corrupt("its frame header says that it is 0 pixels wide")
	}
	if err := d.fits(in.Height); err != nil {
		return err
	}
	if n == 0 || len(p) != 6+3*n {
		return d.corrupt("its frame header of %d bytes does not fit %d components", len(p), n)
	}
	if n > maxComps {
		return d.unsupported("a JPEG of %d components is not taken", n)
	}
	f := &frame{comps: make([]component, n), progressive: marker == 0xC2, hMax: 1, vMax: 1}
	for i := range f.comps {
		c := &f.comps[i]
		q := p[6+3*i:]
		c.id, c.index, c.h, c.v, c.tq = q[0], i, int(q[1]>>4), int(q[1]&15), q[2]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return d.corrupt("its frame header gives component %d the sampling %dx%d and the quantization table %d",
				c.id, c.h, c.v, c.tq)
		}
		for j := range i {
			if f.comps[j].id == c.id {
				return d.corrupt("its frame header names component %d twice", c.id)
			}
		}
		for k := range c.bits {
			c.bits[k] = -1
		}
		f.hMax, f.vMax = max(f.hMax, c.h), max(f.vMax, c.v)
		in.Comps = append(in.Comps, Component{H: c.h, V: c.v, ID: c.id})
	}
	f.layOut(in.Width, in.Height)
	d.frame = f
	return nil
}

// fits holds a height to the limit of pixels.
func (d *decoder) fits(height int) error {
	width := d.info.Width
	if limit := d.opts.MaxPixels; limit > 0 && int64(width)*int64(height) > limit {
		return d.problem(TooManyPixels, "the picture is %s x %s, %s pixels; %s are the limit", figures.Of(width),
			figures.Of(height), figures.Of(int64(width)*int64(height)), figures.Of(limit))
	}
	return nil
}

// layOut finds how many MCUs and blocks there are (T.81 A.1.1 and A.2.4). Height
// 0: as many as there can be, until DNL gives it.
func (f *frame) layOut(width, height int) {
	if height == 0 {
		height = maxLines
	}
	f.mcuCols, f.mcuRows = ceilDiv(width, 8*f.hMax), ceilDiv(height, 8*f.vMax)
	for i := range f.comps {
		c := &f.comps[i]
		c.blocks = [2]int{
			ceilDiv(ceilDiv(width*c.h, f.hMax), 8),
			ceilDiv(ceilDiv(height*c.v, f.vMax), 8),
		}
	}
}

// tell gives Options.Frame what is known when the first scan begins.
func (d *decoder) tell() {
	for i := range d.info.Comps {
		d.info.Comps[i].DCQuant = d.dcQuant[d.frame.comps[i].tq]
	}
	if d.opts.Frame != nil {
		d.opts.Frame(d.info)
	}
}

// numberOfLines reads the DNL segment that stands behind the first scan, and
// holds it against the rows of MCUs that the scan had (T.81 B.2.5). It gives the
// marker that follows.
func (d *decoder) numberOfLines(s scanHeader, rows int) (byte, error) {
	var p [4]byte
	if !d.src.full(p[:]) {
		return 0, d.ended()
	}
	height := int(binary.BigEndian.Uint16(p[2:]))
	if binary.BigEndian.Uint16(p[:]) != 4 || height == 0 {
		return 0, d.corrupt("the segment with its height (DNL) is malformed")
	}
	if err := d.fits(height); err != nil {
		return 0, err
	}
	d.frame.layOut(d.info.Width, height)
	if _, want := d.frame.mcus(s); want != rows {
		return 0, d.corrupt("it says that it is %s pixels high (DNL), which its first scan is not: that has %s rows of MCUs",
			figures.Of(height), figures.Of(rows))
	}
	d.info.Height = height
	d.rowsSeen = height
	return d.nextMarker()
}

// reserveMasks asks for the most memory that a progressive picture can take: 8 bytes
// for each block of 64 coefficients, an eighth of a byte a pixel and component.
func (d *decoder) reserveMasks() error {
	if d.frame.comps[0].mask.pieces != nil || !d.info.Decoded {
		return nil
	}
	total := int64(0)
	for _, c := range d.frame.comps {
		total += 8 * int64(c.blocks[0]) * int64(c.blocks[1])
	}
	if d.opts.Reserve != nil {
		ok, err := d.opts.Reserve(total)
		if err != nil {
			return err
		}
		if !ok {
			d.info.Decoded = false
			return nil
		}
	}
	zeros := new(maskPiece)
	for i := range d.frame.comps {
		c := &d.frame.comps[i]
		c.mask = newMasks(c.blocks[0]*c.blocks[1], zeros)
	}
	return nil
}

// unrefined reports whether coefficients of a progressive picture have not got
// all of their bits: T.81 allows it, and it is a picture of less quality.
func (f *frame) unrefined() bool {
	for i := range f.comps {
		for _, missing := range f.comps[i].bits {
			if f.progressive && missing != 0 {
				return true
			}
		}
	}
	return false
}
