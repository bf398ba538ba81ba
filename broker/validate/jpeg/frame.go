package jpeg

import (
	"encoding/binary"

	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// component is one colour channel of the frame (T.81 B.2.2 and A.1.1).
type component struct {
	id     byte
	h, v   int // sampling factors
	tq     byte
	blocks [2]int   // columns and rows of blocks that hold the picture
	seen   bool     // a scan brought it (progressive: its DC)
	mask   []uint64 // progressive: for each block, a bit for each non-zero coefficient
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
	if in.Height == 0 {
		return d.unsupported("a JPEG that gives its height only after the picture (DNL) is not taken")
	}
	if limit := d.opts.MaxPixels; limit > 0 && int64(in.Width)*int64(in.Height) > limit {
		return d.problem(TooManyPixels, "the picture is %s x %s, %s pixels; %s are the limit", figures.Of(in.Width),
			figures.Of(in.Height), figures.Of(int64(in.Width)*int64(in.Height)), figures.Of(limit))
	}
	if n == 0 || len(p) != 6+3*n {
		return d.corrupt("its frame header of %d bytes does not fit %d components", len(p), n)
	}
	if n > 4 {
		return d.unsupported("a JPEG of %d components is not taken", n)
	}
	f := &frame{comps: make([]component, n), progressive: marker == 0xC2, hMax: 1, vMax: 1}
	for i := range f.comps {
		c := &f.comps[i]
		q := p[6+3*i:]
		c.id, c.h, c.v, c.tq = q[0], int(q[1]>>4), int(q[1]&15), q[2]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return d.corrupt("its frame header gives component %d the sampling %dx%d and the quantization table %d",
				c.id, c.h, c.v, c.tq)
		}
		for j := range i {
			if f.comps[j].id == c.id {
				return d.corrupt("its frame header names component %d twice", c.id)
			}
		}
		f.hMax, f.vMax = max(f.hMax, c.h), max(f.vMax, c.v)
	}
	f.mcuCols, f.mcuRows = ceilDiv(in.Width, 8*f.hMax), ceilDiv(in.Height, 8*f.vMax)
	for i := range f.comps {
		c := &f.comps[i]
		c.blocks = [2]int{
			ceilDiv(ceilDiv(in.Width*c.h, f.hMax), 8),
			ceilDiv(ceilDiv(in.Height*c.v, f.vMax), 8),
		}
	}
	d.frame = f
	return nil
}

// reserveMasks takes the memory of a progressive picture: 8 bytes for each block
// of 64 coefficients, an eighth of a byte a pixel and component.
func (d *decoder) reserveMasks() error {
	if d.frame.comps[0].mask != nil || !d.info.Decoded {
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
	for i := range d.frame.comps {
		c := &d.frame.comps[i]
		c.mask = make([]uint64, c.blocks[0]*c.blocks[1])
	}
	return nil
}
