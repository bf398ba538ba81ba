// Package vp8 proves the lossy pictures of WebP, which are key frames of VP8 (RFC
// 6386): it decodes every coded bit and holds no bitmap.
//
// Macroblocks need only what is above them and on their left, so one row of them is
// kept. Of the data, the first partition is held (512 KB at most) and the last one
// streams by; partitions between them, which take turns with it, are held too, up to
// maxHeld. Memory so stays under 2 MB for a picture of one token partition, and
// under 14 MB for any. It reads from an io.Reader, holds no permissions and has no
// side effects.
//
// It is as strict as libwebp: VP8's arithmetic coding takes nearly any bits for a
// picture, so what is found is a wrong head, and partitions that end too early.
package vp8

import (
	"errors"
	"io"
)

// maxHeld bounds the partitions that are held.
const maxHeld = 12 << 20

var (
	// ErrTooMuch says that the picture can't be proven in bounded memory.
	ErrTooMuch = errors.New("vp8: the picture needs more memory than is granted")
	// ErrInvalid says that the data contradicts the format.
	ErrInvalid = errors.New("vp8: invalid data")
)

// Options say what a Check reads.
type Options struct {
	Width, Height int   // pixels, as the caller read them in the head
	Bytes         int64 // of the data, that r gives
	// Row gets each plane's rows of samples from the top down: luma is plane 0, chroma
	// 1 and 2, half as wide and high, rounded up. They are those that the loop filter
	// would get. A row is only good during the call. Nil: nobody wants it, and nothing
	// but the codes is decoded.
	Row func(plane, y int, samples []byte)
	// Hold is asked before so many bytes of data are held beside the first partition.
	// Its error ends the check. Nil: it is granted.
	Hold func(bytes int64) error
}

// Check decodes one key frame. An error is one of the two above, of r, of Hold, or
// io.ErrUnexpectedEOF. What r has behind the last bit that is coded is not read.
func Check(r io.Reader, o Options) error {
	d := &decoder{cols: (o.Width + 15) / 16, rows: (o.Height + 15) / 16}
	if err := d.head(r, o); err != nil {
		return err
	}
	var p *painter
	if o.Row != nil {
		p = newPainter(o)
	}
	d.above = make([]edge, d.cols)
	var m macroblock
	for y := range d.rows {
		tokens := &d.tokens[y%len(d.tokens)]
		d.left = edge{}
		for x := range d.cols {
			d.readModes(&m, &d.above[x])
			d.readTokens(&m, &d.above[x], tokens)
			if p != nil {
				p.paint(x, y, &m)
			}
		}
		if tokens.err != nil {
			return tokens.err
		}
		if d.modes.over || tokens.over {
			return io.ErrUnexpectedEOF
		}
		if p != nil {
			p.rows(y)
		}
	}
	return nil
}

// decoder is the state of one Check.
type decoder struct {
	cols, rows int         // macroblocks
	modes      partition   // the first one
	tokens     []partition // the others; a row of macroblocks lies in one
	probs      tokenProbs
	steps      [segments]steps
	mapped     bool // each macroblock names its segment
	mapProbs   [segments - 1]uint8
	skips      bool // each macroblock says whether it has tokens
	skipProb   uint8
	above      []edge // of the macroblocks above
	left       edge
}

// edge is what a macroblock leaves to those below it and to the one on its right.
type edge struct {
	modes [4]uint8 // of its luma blocks there
	// Whether its blocks there have coefficients: four of luma, two of each chroma,
	// and the last macroblock's before it that had any, of luma's second order.
	nonzero [9]uint8
}

// macroblock is the present one.
type macroblock struct {
	segment uint8
	skip    bool // it has no tokens
	whole   bool // its luma is predicted at once, with luma[0]
	luma    [16]uint8
	chroma  uint8
	// Its blocks: 16 of luma, 4 of each chroma, and luma's second order (Y2).
	ends   [25]uint8 // where the tokens end; 0: there are none
	coeffs [25][16]int16
}

const segments = 4

// steps are a segment's quantizers, for the DC coefficient and the others.
type steps struct{ luma, second, chroma [2]int32 }

// head reads the frame's head (sections 9.1 to 9.11, and 19.2) and finds the
// partitions.
func (d *decoder) head(r io.Reader, o Options) error {
	var h [10]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return ended(err)
	}
	tag := int64(h[0]) | int64(h[1])<<8 | int64(h[2])<<16
	width, height := (int(h[6])|int(h[7])<<8)&0x3FFF, (int(h[8])|int(h[9])<<8)&0x3FFF
	if tag&1 != 0 || tag>>1&7 > 3 || tag>>4&1 == 0 || // no key frame, a version to come, not shown
		h[3] != 0x9D || h[4] != 0x01 || h[5] != 0x2A ||
		width != o.Width || height != o.Height || width == 0 || height == 0 {
		return ErrInvalid
	}
	first, left := tag>>5, o.Bytes-10
	if first > left {
		return io.ErrUnexpectedEOF
	}
	var err error
	if d.modes, err = hold(r, first); err != nil {
		return err
	}
	p := &d.modes
	p.flag() // the colours' kind, of which there is one
	p.flag() // whether samples need no clamping: where it is true, clamping does nothing
	base := d.readSegments()
	passFilter(p)
	count := 1 << p.number(2)
	if p.over { // before it is believed
		return io.ErrUnexpectedEOF
	}
	if err := d.partitions(r, count, left-first, o); err != nil {
		return err
	}
	d.readSteps(base)
	p.flag() // whether the probabilities last for frames to come
	d.probs.read(p)
	if d.skips = p.flag(); d.skips {
		d.skipProb = uint8(p.number(8))
	}
	return nil
}

// partitions finds those of the tokens in left bytes (section 9.5). The last one has
// what the others leave, and must not be empty.
func (d *decoder) partitions(r io.Reader, count int, left int64, o Options) error {
	var sizes [3 * 7]byte
	table := sizes[:3*(count-1)]
	left -= int64(len(table))
	if left < 0 {
		return io.ErrUnexpectedEOF
	}
	if _, err := io.ReadFull(r, table); err != nil {
		return ended(err)
	}
	held := int64(0)
	for i := range table {
		held += int64(table[i]) << (i % 3 * 8)
	}
	if held >= left {
		return io.ErrUnexpectedEOF
	}
	if held > maxHeld {
		return ErrTooMuch
	}
	if held > 0 && o.Hold != nil {
		if err := o.Hold(held); err != nil {
			return err
		}
	}
	d.tokens = make([]partition, count)
	for i := range d.tokens[:count-1] {
		var err error
		size := int64(table[3*i]) | int64(table[3*i+1])<<8 | int64(table[3*i+2])<<16
		if d.tokens[i], err = hold(r, size); err != nil {
			return err
		}
	}
	var err error
	d.tokens[count-1], err = follow(r)
	return err
}

// quantizers is how the segments change the quantizer's index.
type quantizers struct {
	used, relative bool
	index          [segments]int
}

// readSegments reads section 9.3.
func (d *decoder) readSegments() (q quantizers) {
	p := &d.modes
	if q.used = p.flag(); !q.used {
		return q
	}
	d.mapped = p.flag()
	if p.flag() {
		q.relative = !p.flag()
		for i := range q.index {
			q.index[i] = p.change(7)
		}
		for range segments {
			p.change(6) // the filter's strength
		}
	}
	if d.mapped {
		for i := range d.mapProbs {
			d.mapProbs[i] = 255
			if p.flag() {
				d.mapProbs[i] = uint8(p.number(8))
			}
		}
	}
	return q
}

// passFilter passes the loop filter's head (section 9.6): no code depends on it.
func passFilter(p *partition) {
	p.number(1 + 6 + 3)
	adjusted := p.flag()
	if changed := adjusted && p.flag(); changed {
		for range 4 + 4 {
			p.change(6)
		}
	}
}

// readSteps reads the quantizers' indices (section 9.6) and looks up their steps
// (section 14.1).
func (d *decoder) readSteps(q quantizers) {
	p := &d.modes
	base := p.number(7)
	var more [5]int // luma's DC; the second order's DC and AC; chroma's DC and AC
	for i := range more {
		more[i] = p.change(4)
	}
	at := func(table *[128]int16, index, most int) int32 { return int32(table[min(max(index, 0), most)]) }
	for i := range d.steps {
		index := base
		switch {
		case q.used && q.relative:
			index += q.index[i]
		case q.used:
			index = q.index[i]
		}
		s := &d.steps[i]
		s.luma = [2]int32{at(&dcSteps, index+more[0], 127), at(&acSteps, index, 127)}
		s.second = [2]int32{2 * at(&dcSteps, index+more[1], 127), max(8, at(&acSteps, index+more[2], 127)*155/100)}
		// 117: chroma's DC step is 132 at most.
		s.chroma = [2]int32{at(&dcSteps, index+more[3], 117), at(&acSteps, index+more[4], 127)}
	}
}
