package thumb

// Layout says how a pixel's samples follow each other in a row of pixels.
type Layout struct {
	Colours int  // 1: grey; 3: red, green, blue; 4: ink as Model says
	Alpha   bool // a sample of opacity follows: the picture is put on white
	Premult bool // the colours are multiplied with it already
	Bytes   int  // a sample, of which the first is taken: 1; 2 for big-endian ones
}

// NewPixels makes a Canvas for rows of pixels.
func NewPixels(cols, rows int, model Model) (*Canvas, error) {
	s := Spec{Cols: cols, Rows: rows, Model: model}
	for range model.components() {
		s.Components = append(s.Components, Component{Cols: cols, Rows: rows})
	}
	return New(s)
}

// Pixels takes one row of pixels, all components at once. The colours of the
// layout must be those of the Canvas's model; a row too short is filled up with
// what was there before.
func (c *Canvas) Pixels(row int, pixels []byte, l Layout) {
	size := max(l.Bytes, 1)
	stride := l.Colours * size
	if l.Alpha {
		stride += size
	}
	if l.Colours != len(c.planes) || c.model == YCbCr || c.model == Video {
		return
	}
	for k := range c.planes {
		p := c.next(k, row)
		if p == nil {
			return
		}
		n := min(len(pixels)/stride, p.across.in)
		to := c.samples[:n]
		at := k * size
		switch {
		case !l.Alpha:
			for i := range to {
				to[i] = uint16(pixels[at]) << sampleShift
				at += stride
			}
		case l.Premult:
			for i := range to {
				clear := 255 - uint16(pixels[i*stride+l.Colours*size])
				to[i] = min(uint16(pixels[at])+clear, 255) << sampleShift
				at += stride
			}
		default:
			for i := range to {
				alpha := uint32(pixels[i*stride+l.Colours*size])
				v := uint32(pixels[at])*alpha + 255*(255-alpha)
				to[i] = uint16((v<<sampleShift + 127) / 255)
				at += stride
			}
		}
		c.add(p)
	}
}
