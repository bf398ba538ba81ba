// Package thumb makes thumbnails while a picture streams by: a Canvas takes rows
// of samples, averages them to the goal's size as they come, and writes a small
// upright sRGB JPEG.
//
// A JPEG's DC coefficients are its picture at an eighth of the size (T.81 A.3.3:
// the DC of a block is eight times its mean), so a check of its codes gives a
// thumbnail nearly for nothing; decoded rows of other formats go the same way.
//
// Memory is flat: under 2 MB for a JPEG, whatever size it claims, and under 4 MB
// for rows of 65,536 pixels; none to speak of is held before the first row. The
// package holds no permissions, starts no goroutine
// and has no side effects.
package thumb

import (
	"errors"
	"math"
)

// MaxSide is the most pixels that the longer side of a thumbnail has.
const MaxSide = 640

const (
	maxCols = 1 << 16 // bounds the rows that are held
	maxRows = 1 << 30 // bounds the arithmetic
)

// Model says what the components of a picture mean.
type Model int

// The models.
const (
	Grey  Model = iota // the first component, whatever else there is
	YCbCr              // as in JFIF: all 256 values
	Video              // YCbCr of 16 to 235, chroma 16 to 240 (BT.601), as VP8 has it
	RGB
	CMYK  // how much ink
	InkIn // CMYK as Adobe stores it: 255 is no ink
	YCCK  // the same, with its first three components as YCbCr (Adobe's transform 2)
)

func (m Model) components() int {
	switch m {
	case Grey:
		return 1
	case YCbCr, Video, RGB:
		return 3
	}
	return 4
}

// Component is one component's grid of samples.
type Component struct {
	Cols, Rows int
	H, V       int // sampling factors, relative to the others (T.81 A.1.1); zero: 1
}

// Spec describes the samples that will come.
type Spec struct {
	Cols, Rows int // of a component of the finest sampling
	Model      Model
	Components []Component // at least as many as the model has
}

// errSpec is a picture of which no thumbnail is made.
var errSpec = errors.New("thumb: no thumbnail is made of a picture of that form")

// Canvas averages rows of samples into a thumbnail.
type Canvas struct {
	model         Model
	width, height int // the goal's
	planes        []plane
	samples       []uint16        // of the row that comes in, and two more
	mean          []uint16        // of those of the rows that one of the goal covers
	levels        *[2][256]uint16 // of Video: luma and chroma
}

// plane is a component at the goal's size; chroma at half of it.
type plane struct {
	across line
	down   axis
	row    int   // of the input, that comes next
	at     int   // of the goal, that is being summed up
	begin  int64 // of its span
	end    int64
	sum    []uint32 // of the samples above, by their weights
	pix    []uint8
	width  int
	height int
}

// New makes a Canvas. An error says that no thumbnail can be made: the spec
// contradicts itself, or its rows are longer than 65,536 samples.
func New(s Spec) (*Canvas, error) {
	n := s.Model.components()
	if s.Cols < 1 || s.Rows < 1 || s.Cols > maxCols || s.Rows > maxRows || len(s.Components) < n {
		return nil, errSpec
	}
	c := &Canvas{model: s.Model}
	c.width, c.height = goal(s.Cols, s.Rows)
	if s.Model == Video {
		c.levels = videoLevels()
	}
	list := make([]Component, n)
	copy(list, s.Components)
	most := Component{H: 1, V: 1}
	for i := range list {
		k := &list[i]
		k.H, k.V = max(k.H, 1), max(k.V, 1)
		if k.H > 16 || k.V > 16 || k.Cols < 1 || k.Rows < 1 || k.Cols > maxCols || k.Rows > maxRows {
			return nil, errSpec
		}
		most.H, most.V = max(most.H, k.H), max(most.V, k.V)
	}
	for i, k := range list {
		step := 1
		if i > 0 && (s.Model == YCbCr || s.Model == Video) {
			step = 2
		}
		p := plane{}
		p.across = newLine(newAxis(k.Cols, s.Cols, c.width, step, k.H, most.H))
		p.down = newAxis(k.Rows, s.Rows, c.height, step, k.V, most.V)
		p.width, p.height = p.across.out, p.down.out
		p.begin, p.end = p.down.span(0)
		c.planes = append(c.planes, p)
	}
	return c, nil
}

// goal is the thumbnail's size: in proportion, and never larger than the picture.
func goal(cols, rows int) (width, height int) {
	longer := max(cols, rows)
	if longer <= MaxSide {
		return cols, rows
	}
	scale := func(n int) int {
		return max(1, int((int64(n)*MaxSide+int64(longer)/2)/int64(longer)))
	}
	return scale(cols), scale(rows)
}

// next gives the component that a row is for, nil when none is wanted, with room
// for the row's samples.
func (c *Canvas) next(component, row int) *plane {
	if component < 0 || component >= len(c.planes) {
		return nil
	}
	p := &c.planes[component]
	if row != p.row || row >= p.down.in || p.at == p.down.out {
		return nil
	}
	p.row++
	if p.pix == nil { // not before: a claim alone holds no memory
		p.pix = make([]uint8, p.width*p.height)
		if !p.down.same {
			p.sum = make([]uint32, p.across.in)
		}
	}
	if n := p.across.in + 2; len(c.samples) < n {
		c.samples, c.mean = make([]uint16, n), make([]uint16, n)
	}
	return p
}

// DC takes one row of a component's quantized DC coefficients, the rows of each
// component from the top down. quant is the DC's quantization step; precision the
// bits of a sample. Rows that come out of turn are passed over.
func (c *Canvas) DC(component, row int, values []int16, quant, precision int) {
	p := c.next(component, row)
	if p == nil {
		return
	}
	q := int32(min(max(quant, 0), math.MaxUint16))
	deep := uint(0)
	if precision > 8 {
		deep = uint(min(precision, 16)-8) & 31
	}
	values = values[:min(len(values), p.across.in)]
	if p.across.same && p.down.same { // the picture is small enough: nothing is averaged
		values = values[:min(len(values), p.width)]
		to := p.pix[p.at*p.width:][:len(values)]
		for i, v := range values {
			// An eighth of a sample is the unit of DC. Few lie outside of the range.
			s := int32(v)*q>>deep + 128<<3 + 4
			if uint32(s) > 255<<3 {
				s = min(max(s, 0), 255<<3)
			}
			to[i] = uint8(s >> 3)
		}
		p.at++
		return
	}
	to := c.samples[:len(values)]
	for i, v := range values {
		s := int32(v)*q>>deep + 128<<3
		if uint32(s) > 255<<3 {
			s = min(max(s, 0), 255<<3)
		}
		to[i] = uint16(s << (sampleShift - 3))
	}
	c.add(p)
}

// Samples takes one row of a component's samples, as DC does.
func (c *Canvas) Samples(component, row int, values []uint8) {
	p := c.next(component, row)
	if p == nil {
		return
	}
	values = values[:min(len(values), p.across.in)]
	to := c.samples[:len(values)]
	if c.model != Video {
		for i, v := range values {
			to[i] = uint16(v) << sampleShift
		}
	} else {
		levels := &c.levels[min(component, 1)]
		for i, v := range values {
			to[i] = levels[v]
		}
	}
	c.add(p)
}

// videoLevels spreads BT.601's levels to all 256.
func videoLevels() *[2][256]uint16 {
	var levels [2][256]uint16
	for v := range 256 {
		luma, chroma := (v-16)*maxSample/219, (v-128)*maxSample/224+128<<sampleShift
		levels[0][v] = uint16(min(max(luma, 0), maxSample))
		levels[1][v] = uint16(min(max(chroma, 0), maxSample))
	}
	return &levels
}

// add takes in the row that is in c.samples: first downwards, then, for each row
// of the goal that is complete, along it.
func (c *Canvas) add(p *plane) {
	row := c.samples[:p.across.in+2]
	if p.down.same {
		p.across.average(p.pix[p.at*p.width:][:p.width], row)
		p.at++
		return
	}
	const half = 1 << (rowBits - 1)
	top, bottom := int64(p.row-1)*fine, int64(p.row)*fine
	sum, mean := p.sum[:len(row)-2], c.mean[:len(row)]
	for p.at < p.down.out && p.begin < bottom {
		weight := p.share(bottom) - p.share(top)
		if p.end > bottom {
			for i, v := range row[:len(sum)] {
				sum[i] += uint32(v) * weight
			}
			return
		}
		to := p.pix[p.at*p.width:][:p.width]
		p.at++
		p.begin, p.end = p.down.span(p.at)
		rest := uint32(0) // for the next row of the goal
		if p.begin < bottom && p.end > bottom {
			rest = p.share(bottom)
		}
		for i, v := range row[:len(sum)] {
			mean[i] = uint16((sum[i] + uint32(v)*weight + half) >> rowBits)
			sum[i] = uint32(v) * rest
		}
		p.across.average(to, mean)
		if rest > 0 {
			return
		}
	}
}

// share is how much of the present row of the goal lies above a place. Weights are
// differences of it, so that their sum is exact.
func (p *plane) share(at int64) uint32 {
	return uint32((min(max(at, p.begin), p.end) - p.begin) << rowBits / (p.end - p.begin))
}

// Complete says whether every row came that the thumbnail needs.
func (c *Canvas) Complete() bool {
	for i := range c.planes {
		if c.planes[i].at < c.planes[i].down.out {
			return false
		}
	}
	return true
}
