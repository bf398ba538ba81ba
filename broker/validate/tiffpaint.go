package validate

import (
	"github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
	"github.com/uploadbroker/uploadbroker/broker/validate/thumb"
)

const (
	maxPaintRow  = 1 << 20  // bytes of an unpacked row of a piece
	maxPaintBand = 8 << 20  // bytes of a row of tiles
	maxPaintHeld = 12 << 20 // bytes of it and of what unpacks the tiles
)

// tiffPaint hands the rows of a TIFF's picture on to a thumbnail while they are
// unpacked for the proof. All its methods do nothing on nil.
type tiffPaint struct {
	t        *tiffFile
	g        *raster
	canvas   *thumb.Canvas
	layout   thumb.Layout
	depth    int64  // bits a sample
	channels int64  // samples that are taken of a pixel: its colours, and its opacity
	invert   bool   // 0 is white
	palette  []byte // red, green, blue of each index
	row      []byte // of the piece, as far as it came
	rowBytes int64  // of a whole one
	line     []byte // the same, as channels of 8 bits
	band     tileBand
	dc       dcBand // of JPEG pieces
}

// painter prepares the thumbnail of a picture. Nil: none is made of such a one.
func (t *tiffFile) painter(d directory, g *raster) *tiffPaint {
	p := &tiffPaint{t: t, g: g}
	if orient, err := t.number(d, tagOrientation, 1); err == nil && orient >= 1 && orient <= 8 {
		t.c.thumb.orient = int(orient)
	}
	if e, ok := d.tags[tagICC]; ok && typeBytes(e.kind) == 1 && e.count <= maxICCBytes {
		icc := make([]byte, e.count)
		if t.get(icc, e.at, "its colour profile") == nil {
			t.c.thumb.icc = icc
		}
	}
	model, ok := p.colours(d)
	switch {
	case !ok || g.width > 1<<30:
		return nil
	case g.compression == 7:
		if g.planar || p.palette != nil || p.invert {
			return nil
		}
		p.dc.model = model
		return p
	}
	form, err := t.number(d, tagSampleForm, 1)
	if err != nil || form != 1 && form != 4 || g.predictor > 2 || g.chroma != [2]int64{1, 1} || g.photometric == 6 {
		return nil
	}
	p.depth = g.bits[0]
	for _, bits := range g.bits {
		if bits != p.depth {
			return nil
		}
	}
	switch p.depth {
	case 8, 16:
	case 1, 2, 4:
		if g.samples > 1 || g.predictor != 1 {
			return nil
		}
	default:
		return nil
	}
	perPixel := g.samples
	if g.planar {
		perPixel = 1
	}
	p.rowBytes = (g.pieceWidth*perPixel*p.depth + 7) / 8
	if p.rowBytes > maxPaintRow {
		return nil
	}
	cols, rows := g.width, g.height
	if g.tiles {
		if !p.bandOf() {
			return nil
		}
		cols, rows = p.band.of(g.width), p.band.of(g.height)
	}
	if p.canvas, err = thumb.NewPixels(int(cols), int(rows), model); err != nil {
		return nil
	}
	return p
}

// colours says what the samples mean (TIFF 6.0 sections 3 to 6, 16, 18).
func (p *tiffPaint) colours(d directory) (model thumb.Model, ok bool) {
	g := p.g
	colours := int64(1)
	switch g.photometric {
	case 0, 1:
		p.invert = g.photometric == 0
	case 2:
		model, colours = thumb.RGB, 3
	case 3:
		e, there := d.tags[tagColorMap]
		if !there || g.samples != 1 || g.bits[0] > 8 || e.kind != 3 || e.count != 3<<g.bits[0] {
			return 0, false
		}
		raw := make([]byte, 2*e.count)
		if p.t.get(raw, e.at, "the palette") != nil {
			return 0, false
		}
		n := int64(1) << g.bits[0]
		p.palette = make([]byte, 3*n)
		for i := range p.palette { // all reds, all greens, all blues, of 16 bits
			at := int64(i%3)*n + int64(i/3)
			p.palette[i] = byte(p.t.order.Uint16(raw[2*at:]) >> 8)
		}
		p.channels, p.layout = 3, thumb.Layout{Colours: 3, Bytes: 1}
		return thumb.RGB, true
	case 5:
		if ink, err := p.t.number(d, tagInkSet, 1); err != nil || ink != 1 {
			return 0, false
		}
		model, colours = thumb.CMYK, 4
	case 6:
		model, colours = thumb.YCbCr, 3
	default:
		return 0, false
	}
	if g.samples < colours {
		return 0, false
	}
	p.channels = colours
	p.layout = thumb.Layout{Colours: int(colours), Bytes: 1}
	if extra, err := p.t.number(d, tagExtra, 0); err == nil && g.samples > colours && (extra == 1 || extra == 2) && !g.planar {
		p.layout.Alpha, p.layout.Premult = true, extra == 1
		p.channels++
	}
	return model, true
}

// bytes takes what was unpacked of piece i, of which have bytes came before.
func (p *tiffPaint) bytes(i, have int64, b []byte) {
	if p == nil {
		return
	}
	if have == 0 {
		p.row = p.row[:0]
	}
	for len(b) > 0 {
		at := have / p.rowBytes
		n := min(int64(len(b)), p.rowBytes-int64(len(p.row)))
		p.row = append(p.row, b[:n]...)
		b, have = b[n:], have+n
		if int64(len(p.row)) == p.rowBytes {
			p.whole(i, at)
			p.row = p.row[:0]
		}
	}
}

// whole takes the complete row at of piece i.
func (p *tiffPaint) whole(i, at int64) {
	g := p.g
	plane, i := i/(g.across*g.down), i%(g.across*g.down)
	y := i/g.across*g.pieceRows + at
	if y >= g.height || at >= g.pieceRows {
		return
	}
	perPixel := g.samples
	if g.planar {
		perPixel = 1
		if plane >= int64(p.layout.Colours) {
			return
		}
	}
	if g.predictor == 2 {
		p.undo(perPixel)
	}
	line := p.samples(perPixel)
	switch {
	case g.tiles:
		p.band.add(line, i%g.across, at, p.perLine())
	case g.planar:
		p.canvas.Samples(int(plane), int(y), line)
	default:
		p.canvas.Pixels(int(y), line, p.layout)
	}
}

// perLine is how many values a pixel has in a line.
func (p *tiffPaint) perLine() int64 {
	if p.g.planar {
		return 1
	}
	return p.channels
}

// undo sums up the differences of a row (TIFF 6.0 section 14).
func (p *tiffPaint) undo(perPixel int64) {
	row := p.row
	if p.depth == 8 {
		for i := int(perPixel); i < len(row); i++ {
			row[i] += row[i-int(perPixel)]
		}
		return
	}
	order := p.t.order
	for i := 2 * int(perPixel); i+1 < len(row); i += 2 {
		order.PutUint16(row[i:], order.Uint16(row[i:])+order.Uint16(row[i-2*int(perPixel):]))
	}
}

// samples gives the row as channels of 8 bits.
func (p *tiffPaint) samples(perPixel int64) []byte {
	keep := p.perLine()
	if p.depth == 8 && keep == perPixel && !p.invert && p.palette == nil {
		return p.row
	}
	p.line = p.line[:0]
	if p.depth < 8 || p.palette != nil {
		mask := byte(1<<p.depth - 1)
		for x := range p.g.pieceWidth {
			bit := x * p.depth
			v := p.row[bit/8] >> (8 - p.depth - bit%8) & mask
			if p.palette != nil {
				p.line = append(p.line, p.palette[3*int(v):3*int(v)+3]...)
				continue
			}
			v = byte(int(v) * 255 / int(mask))
			if p.invert {
				v = ^v
			}
			p.line = append(p.line, v)
		}
		return p.line
	}
	size := int(p.depth / 8)
	high := 0 // the byte of a sample that is taken
	if size == 2 && p.t.order.Uint16([]byte{1, 0}) == 1 {
		high = 1
	}
	for at := 0; at+int(perPixel)*size <= len(p.row); at += int(perPixel) * size {
		for k := range int(keep) {
			v := p.row[at+k*size+high]
			if p.invert && k == 0 {
				v = ^v
			}
			p.line = append(p.line, v)
		}
	}
	return p.line
}

// endPiece is told that a piece is done, or left out.
func (p *tiffPaint) endPiece(i int64) {
	if p == nil || !p.g.tiles {
		return
	}
	g := p.g
	plane, i := i/(g.across*g.down), i%(g.across*g.down)
	if i%g.across != g.across-1 {
		return
	}
	if g.compression == 7 {
		p.dc.flush(p.canvas)
		return
	}
	if g.planar && plane >= int64(p.layout.Colours) {
		return
	}
	p.flush(int(plane), i/g.across)
}

// done hands the picture to the check, if all of it came.
func (p *tiffPaint) done() {
	if p.band.sums != nil {
		p.t.c.release()
	}
	if p.canvas != nil && p.canvas.Complete() {
		p.t.c.thumb.canvas = p.canvas
	}
}

// follow paints the DC coefficients of piece i, a JPEG.
func (p *tiffPaint) follow(i int64, o *jpeg.Options) {
	if p == nil || p.dc.failed {
		return
	}
	o.Frame = func(info jpeg.Info) { p.dc.begin(p, i, info) }
	o.DC = func(component, row int, values []int16) { p.dc.row(p.canvas, component, row, values) }
}
