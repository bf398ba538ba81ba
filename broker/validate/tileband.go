package validate

import (
	"github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
	"github.com/uploadbroker/uploadbroker/broker/validate/thumb"
)

// tileBand holds one row of tiles until it is whole, as tiles come one after
// another but a thumbnail takes rows. Of a wide picture it holds the means of
// squares of pixels.
type tileBand struct {
	square int64 // pixels on a side, a power of two, 16 at most
	width  int64 // of the picture, in pixels
	cols   int64 // of the band
	tile   int64 // width of one, in pixels
	sums   []uint16
}

// bandOf makes the band of a picture's tiles. False: it would be too large.
func (p *tiffPaint) bandOf() bool {
	g := p.g
	unpack := g.zstdBytes() // a check holds one demand at most
	for square := int64(1); square <= 16; square *= 2 {
		if square > 1 && (g.pieceWidth%square != 0 || g.pieceRows%square != 0) {
			return false
		}
		b := tileBand{square: square, width: g.width, tile: g.pieceWidth}
		b.cols = b.of(g.width)
		need := 2 * b.cols * b.of(min(g.pieceRows, g.height)) * p.perLine()
		if b.cols > 1<<17 || b.of(g.pieceRows) > 1<<17 || need > min(maxPaintBand, maxPaintHeld-unpack) {
			continue
		}
		if ok, err := p.t.c.reserve(need + unpack); !ok || err != nil {
			return false
		}
		b.sums = make([]uint16, need/2)
		p.band = b
		return true
	}
	return false
}

// of is so many pixels in squares.
func (b *tileBand) of(pixels int64) int64 { return (pixels + b.square - 1) / b.square }

// add takes row at of a tile, with channels values a pixel.
func (b *tileBand) add(line []byte, tile, at, channels int64) {
	x := tile * b.tile
	n := min(b.tile, b.width-x, int64(len(line))/channels)
	row := b.sums[at/b.square*b.cols*channels:]
	for i := range n {
		to := (x + i) / b.square * channels
		for k := range channels {
			row[to+k] += uint16(line[i*channels+k])
		}
	}
}

// flush paints the rows of the tiles of row down.
func (p *tiffPaint) flush(plane int, down int64) {
	p.lines(down, func(y int, line []byte) {
		if p.g.planar {
			p.canvas.Samples(plane, y, line)
		} else {
			p.canvas.Pixels(y, line, p.layout)
		}
	})
}

// lines gives the means that the band holds, of the tiles of row down, and clears
// it for the next. line is only good during the call.
func (p *tiffPaint) lines(down int64, use func(y int, line []byte)) {
	b, g, channels := &p.band, p.g, p.perLine()
	first := down * g.pieceRows
	line := make([]byte, b.cols*channels)
	for y := first; y < min(first+g.pieceRows, g.height); y += b.square {
		sums := b.sums[(y-first)/b.square*b.cols*channels:][:len(line)]
		high := min(b.square, g.height-y)
		for x := range b.cols {
			n := high * min(b.square, g.width-x*b.square)
			for k := x * channels; k < (x+1)*channels; k++ {
				line[k] = byte(int64(sums[k]) / n)
			}
		}
		use(int(y/b.square), line)
	}
	clear(b.sums)
}

// dcBand puts the DC coefficients of JPEG pieces together, which all must be made
// alike.
type dcBand struct {
	model     thumb.Model
	comps     []jpeg.Component
	precision int
	failed    bool
	x, y      []int64   // of the present piece, in blocks of each component
	cols      []int64   // of the whole picture
	rows      []int64   // of a piece
	next      []int64   // the picture's first row of the present band
	band      [][]int16 // of each component: one row of tiles
}

// begin is called when the frame of piece i is known.
func (b *dcBand) begin(p *tiffPaint, i int64, in jpeg.Info) {
	g := p.g
	if !b.alike(p, in) {
		b.failed, p.canvas = true, nil
		return
	}
	most := most(b.comps)
	b.x, b.y = b.x[:0], b.y[:0]
	for _, c := range b.comps {
		b.x = append(b.x, i%g.across*g.pieceWidth/8*int64(c.H)/int64(most.H))
		b.y = append(b.y, i/g.across*g.pieceRows/8*int64(c.V)/int64(most.V))
	}
}

func most(comps []jpeg.Component) jpeg.Component {
	m := jpeg.Component{H: 1, V: 1}
	for _, c := range comps {
		m.H, m.V = max(m.H, c.H), max(m.V, c.V)
	}
	return m
}

// alike reports whether a piece is made like those before it. Of the first it
// learns how.
func (b *dcBand) alike(p *tiffPaint, in jpeg.Info) bool {
	if b.comps != nil {
		if len(in.Comps) != len(b.comps) || in.Precision != b.precision {
			return false
		}
		for i, c := range in.Comps {
			if c.H != b.comps[i].H || c.V != b.comps[i].V || c.DCQuant != b.comps[i].DCQuant {
				return false
			}
		}
		return true
	}
	g := p.g
	m := most(in.Comps)
	if len(in.Comps) == 0 || g.down > 1 && g.pieceRows%int64(8*m.V) != 0 || g.across > 1 && g.pieceWidth%int64(8*m.H) != 0 ||
		g.tiles && (g.pieceRows%int64(8*m.V) != 0 || g.pieceWidth%int64(8*m.H) != 0) {
		return false
	}
	b.comps, b.precision = append([]jpeg.Component{}, in.Comps...), in.Precision
	width, height := g.width, g.height
	if g.tiles { // which go on behind the picture's edge, mostly in black
		width, height = max(width-width%8, min(width, 8)), max(height-height%8, min(height, 8))
	}
	s := thumb.Spec{Cols: int((width + 7) / 8), Rows: int((height + 7) / 8), Model: b.model}
	total := int64(0)
	for _, c := range b.comps {
		if c.DCQuant == 0 {
			return false
		}
		blocks := func(size int64, share, most int) int64 {
			return ((size*int64(share)+int64(most)-1)/int64(most) + 7) / 8
		}
		cols, rows := blocks(width, c.H, m.H), blocks(height, c.V, m.V)
		s.Components = append(s.Components, thumb.Component{Cols: int(cols), Rows: int(rows), H: c.H, V: c.V})
		b.cols = append(b.cols, cols)
		b.rows = append(b.rows, g.pieceRows/8*int64(c.V)/int64(m.V))
		total += 2 * cols * b.rows[len(b.rows)-1]
	}
	if g.tiles {
		if total > maxPaintBand/2 {
			return false
		}
		for i := range b.comps {
			b.band = append(b.band, make([]int16, b.cols[i]*b.rows[i]))
		}
		b.next = make([]int64, len(b.comps))
	}
	var err error
	p.canvas, err = thumb.New(s)
	return err == nil
}

// row takes a row of DC coefficients of the present piece.
func (b *dcBand) row(canvas *thumb.Canvas, component, row int, values []int16) {
	if b.failed || component >= len(b.comps) {
		return
	}
	if b.band == nil {
		canvas.DC(component, int(b.y[component])+row, values, b.comps[component].DCQuant, b.precision)
		return
	}
	if cols := b.cols[component]; int64(row) < b.rows[component] && b.x[component] < cols {
		copy(b.band[component][int64(row)*cols+b.x[component]:(int64(row)+1)*cols], values)
	}
}

// flush paints a row of tiles.
func (b *dcBand) flush(canvas *thumb.Canvas) {
	if b.failed || b.band == nil {
		return
	}
	for i, c := range b.comps {
		for y := range b.rows[i] {
			canvas.DC(i, int(b.next[i]+y), b.band[i][y*b.cols[i]:(y+1)*b.cols[i]], c.DCQuant, b.precision)
		}
		b.next[i] += b.rows[i]
		clear(b.band[i])
	}
}
