package thumb

import "math"

// gamma is a table of sRGB's curve: linear values of 0 to curveSteps.
func gamma() *[curveSteps + 1]uint8 {
	// It is filled from its few hundred steps, not computed at each place.
	var t [curveSteps + 1]uint8
	var edges [257]int
	for v := 1; v < 256; v++ {
		x := (float64(v) - 0.5) / 255
		edges[v] = int(linearOf(x)*curveSteps + 1)
	}
	edges[256] = curveSteps + 1
	for v := range 256 {
		for i := edges[v]; i < edges[v+1]; i++ {
			t[i] = uint8(v)
		}
	}
	return &t
}

// linearOf undoes sRGB's curve.
func linearOf(x float64) float64 {
	if x <= 0.04045 {
		return x / 12.92
	}
	return math.Pow((x+0.055)/1.055, 2.4)
}

// convert takes the picture to sRGB. Each chroma sample is converted with the
// mean of its four pixels' Y; a pixel's own Y goes by the curve of greys, and by
// what the mean's differed from that.
func (p *Profile) convert(m *picture) {
	curve := gamma()
	m0, m1, m2, m3, m4, m5, m6, m7, m8 := p.matrix[0], p.matrix[1], p.matrix[2], p.matrix[3], p.matrix[4],
		p.matrix[5], p.matrix[6], p.matrix[7], p.matrix[8]
	pixel := func(r, g, b uint8) (red, green, blue int32) {
		const shift = 16 + 16 - 12 // from one * one to curveSteps
		x, y, z := p.linear[0][r], p.linear[1][g], p.linear[2][b]
		return int32(curve[min(max((m0*x+m1*y+m2*z)>>shift, 0), curveSteps)]),
			int32(curve[min(max((m3*x+m4*y+m5*z)>>shift, 0), curveSteps)]),
			int32(curve[min(max((m6*x+m7*y+m8*z)>>shift, 0), curveSteps)])
	}
	var greys [256]int32
	for i := range greys {
		greys[i] = luma(pixel(uint8(i), uint8(i), uint8(i)))
	}
	if m.cb == nil || p.grey {
		for i, v := range m.y {
			m.y[i] = uint8(greys[v])
		}
		return
	}
	at := 0
	for y := 0; y < m.height; y += 2 {
		top := m.y[y*m.width:][:m.width]
		low := m.y[min(y+1, m.height-1)*m.width:][:m.width]
		for x := 0; x < m.width; x += 2 {
			right := min(x+1, m.width-1)
			a, b, c, d := top[x], top[right], low[x], low[right]
			mean := uint8((int32(a) + int32(b) + int32(c) + int32(d) + 2) >> 2)
			red, green, blue := pixel(toRGB(mean, m.cb[at], m.cr[at]))
			differs := luma(red, green, blue) - greys[mean]
			m.cb[at], m.cr[at] = chroma(4*red, 4*green, 4*blue)
			top[x], top[right] = uint8(clamp(int(greys[a]+differs))), uint8(clamp(int(greys[b]+differs)))
			low[x], low[right] = uint8(clamp(int(greys[c]+differs))), uint8(clamp(int(greys[d]+differs)))
			at++
		}
	}
}
