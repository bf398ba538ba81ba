package validate

import (
	"bytes"
	"compress/zlib"
	"io"

	"github.com/uploadbroker/uploadbroker/broker/validate/thumb"
)

// pngPaint hands the rows of a PNG on to a thumbnail while they are inflated for
// the proof. Of an interlaced picture it takes the sixth pass alone, which is the
// picture at half of its size. All its methods do nothing on nil.
type pngPaint struct {
	canvas    *thumb.Canvas
	layout    thumb.Layout
	depth     int
	palette   []byte
	pixel     int // bytes of one, at least 1 (section 9.2)
	y         int
	on        bool   // the present pass is painted
	row, last []byte // with the filter type at their front
	line      []byte
}

const adam7Half = 5 // the pass that is painted, counted from 0

// painter prepares the thumbnail of a picture. Nil: none is made.
func (w *pngWalk) painter() *pngPaint {
	if !w.c.want.Thumb {
		return nil
	}
	p := &pngPaint{depth: w.depth, pixel: int(w.bits+7) / 8, palette: w.paletteRGB}
	model, colours := thumb.Grey, 1
	if w.colour&2 != 0 { // section 6.1: 1 is a palette, 2 colour, 4 opacity
		model, colours = thumb.RGB, 3
	}
	p.layout = thumb.Layout{Colours: colours, Alpha: w.colour&4 != 0, Bytes: max(1, w.depth/8)}
	width, height := w.c.found.Width, w.c.found.Height
	if w.interlaced {
		width, height = width/2, (height+1)/2
	}
	var err error
	if p.canvas, err = thumb.NewPixels(width, height, model); err != nil {
		return nil
	}
	return p
}

// begin starts a pass.
func (p *pngPaint) begin(pass int, interlaced bool, rowBytes int64) {
	if p == nil {
		return
	}
	p.on = !interlaced || pass == adam7Half
	if p.on {
		p.row, p.last = make([]byte, 0, rowBytes+1), make([]byte, rowBytes+1)
	}
}

// bytes takes a part of a row as it is coded, its filter type first.
func (p *pngPaint) bytes(b []byte) {
	if p != nil && p.on {
		p.row = append(p.row, b...)
	}
}

// endRow paints the row, which is complete.
func (p *pngPaint) endRow() {
	if p == nil || !p.on {
		return
	}
	p.unfilter()
	line := p.row[1:]
	if p.depth < 8 || p.palette != nil {
		line = p.spread(line)
	}
	p.canvas.Pixels(p.y, line, p.layout)
	p.y++
	p.row, p.last = p.last[:0], p.row
}

// unfilter undoes the row's filter (section 9.2).
func (p *pngPaint) unfilter() {
	row, last, n := p.row[1:], p.last[1:], p.pixel
	last = last[:len(row)]
	switch p.row[0] {
	case 1:
		for i := n; i < len(row); i++ {
			row[i] += row[i-n]
		}
	case 2:
		for i := range row {
			row[i] += last[i]
		}
	case 3:
		for i := range row {
			left := 0
			if i >= n {
				left = int(row[i-n])
			}
			row[i] += byte((left + int(last[i])) / 2)
		}
	case 4:
		for i := range min(n, len(row)) {
			row[i] += last[i]
		}
		for i := n; i < len(row); i++ {
			row[i] += paeth(int(row[i-n]), int(last[i]), int(last[i-n]))
		}
	}
}

// paeth is the neighbour that is nearest to left + up - corner (section 9.4).
func paeth(left, up, corner int) byte {
	a, b := up-corner, left-corner
	c := max(a+b, -a-b)
	a, b = max(a, -a), max(b, -b)
	switch {
	case a <= b && a <= c:
		return byte(left)
	case b <= c:
		return byte(up)
	}
	return byte(corner)
}

// spread gives samples of less than a byte a byte each, and indices their colours.
func (p *pngPaint) spread(row []byte) []byte {
	p.line = p.line[:0]
	mask := byte(1<<p.depth - 1)
	for _, b := range row {
		for shift := 8 - p.depth; shift >= 0; shift -= p.depth {
			v := b >> shift & mask
			switch {
			case p.palette == nil:
				p.line = append(p.line, byte(int(v)*255/int(mask)))
			case 3*int(v)+3 <= len(p.palette):
				p.line = append(p.line, p.palette[3*int(v):3*int(v)+3]...)
			default:
				p.line = append(p.line, 0, 0, 0)
			}
		}
	}
	return p.line
}

// done hands the picture to the check.
func (p *pngPaint) done(c *check) {
	if p != nil && p.canvas.Complete() {
		c.thumb.canvas = p.canvas
	}
}

// pngXMP takes the XMP packet of an iTXt chunk (XMP Specification part 3, section
// 1.1.5; PNG section 11.3.3.4). Compressed ones are not read.
func pngXMP(p []byte) []byte {
	p, ok := bytes.CutPrefix(p, []byte("XML:com.adobe.xmp\x00\x00\x00"))
	if !ok {
		return nil
	}
	_, p, _ = bytes.Cut(p, []byte{0}) // the language
	_, p, _ = bytes.Cut(p, []byte{0}) // the keyword in it
	return p
}

// pngProfile inflates the colour profile of an iCCP chunk (section 11.3.2.3). Nil:
// it can't be read, or is too large.
func pngProfile(p []byte) []byte {
	name, p, _ := bytes.Cut(p, []byte{0})
	if len(name) > 79 || len(p) < 1 || p[0] != 0 {
		return nil
	}
	z, err := zlib.NewReader(bytes.NewReader(p[1:]))
	if err != nil {
		return nil
	}
	profile, err := io.ReadAll(io.LimitReader(z, maxICCBytes+1))
	if err != nil || len(profile) > maxICCBytes {
		return nil
	}
	return profile
}
