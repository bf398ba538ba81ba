package vp8

import "encoding/binary"

// painter makes the samples of one row of macroblocks after another.
type painter struct {
	o      Options
	cols   int // macroblocks
	planes [3]band
}

// band holds a row of macroblocks of one plane, below the last row of samples of
// the one above it.
type band struct {
	pix    []byte
	stride int
	side   int // of a macroblock
}

// margin is how many samples are on either side of a band: the last on the left are
// neighbours of the first macroblock, four on the right of the last one.
const margin = 8

// What is predicted from outside of the picture (section 12.2).
const (
	outsideAbove = 127
	outsideLeft  = 129
)

func newPainter(o Options) *painter {
	p := &painter{o: o, cols: (o.Width + 15) / 16}
	for i := range p.planes {
		b := &p.planes[i]
		b.side = 8
		if i == 0 {
			b.side = 16
		}
		b.stride = p.cols*b.side + 2*margin
		b.pix = make([]byte, (b.side+1)*b.stride)
		for x := range b.stride {
			b.pix[x] = outsideAbove
		}
		for y := 1; y <= b.side; y++ {
			b.pix[y*b.stride+margin-1] = outsideLeft
		}
	}
	return p
}

// rows hands on the rows of the macroblocks' row y, and makes its last ones those
// above the next.
func (p *painter) rows(y int) {
	width, height := p.o.Width, p.o.Height
	for i := range p.planes {
		b := &p.planes[i]
		if i == 1 {
			width, height = (width+1)/2, (height+1)/2
		}
		for k := range min(b.side, height-y*b.side) {
			p.o.Row(i, y*b.side+k, b.pix[(k+1)*b.stride+margin:][:width])
		}
		last := b.pix[b.side*b.stride:]
		for k := range margin { // what is on the right of the last macroblock: its last sample
			last[b.stride-margin+k] = last[b.stride-margin-1]
		}
		copy(b.pix, last)
	}
}

// paint makes the samples of the macroblock at x, y. It leaves the coefficients 0.
func (p *painter) paint(x, y int, m *macroblock) {
	luma := &p.planes[0]
	at := luma.stride + margin + 16*x
	if m.whole {
		if m.ends[second] > 0 {
			m.spread()
		}
		luma.predict(at, m.luma[0], x > 0, y > 0)
		for i := range 16 {
			luma.add(at+i>>2*4*luma.stride+i&3*4, m, i)
		}
	} else {
		// The blocks at the right edge all look at the row above the macroblock.
		beyond := uint64(binary.LittleEndian.Uint32(luma.pix[at-luma.stride+16:])) << 32
		for i := range 16 {
			to := at + i>>2*4*luma.stride + i&3*4
			above := binary.LittleEndian.Uint64(luma.pix[to-luma.stride:])
			if i&3 == 3 {
				above = above&0xFFFFFFFF | beyond
			}
			luma.predictBlock(to, m.luma[i], above)
			luma.add(to, m, i)
		}
	}
	for i := range 2 {
		b := &p.planes[1+i]
		at := b.stride + margin + 8*x
		b.predict(at, m.chroma, x > 0, y > 0)
		for k := range 4 {
			b.add(at+k>>1*4*b.stride+k&1*4, m, 16+4*i+k)
		}
	}
}

// add adds what block i of m differs by from its prediction.
func (b *band) add(at int, m *macroblock, i int) {
	c := &m.coeffs[i]
	to := b.pix[at:][:3*b.stride+4]
	if m.ends[i] > 1 {
		addBlock(to, b.stride, c)
		*c = [16]int16{}
	} else if c[0] != 0 {
		addLevel(to, b.stride, c[0])
		c[0] = 0
	}
}
