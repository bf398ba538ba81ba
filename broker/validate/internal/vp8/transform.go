package vp8

// spread undoes the transform of the second order, into the luma blocks' DC
// (section 14.3).
func (m *macroblock) spread() {
	c := &m.coeffs[second]
	var v [16]int32
	for i := range 4 {
		a, b := int32(c[i])+int32(c[12+i]), int32(c[4+i])+int32(c[8+i])
		d, e := int32(c[i])-int32(c[12+i]), int32(c[4+i])-int32(c[8+i])
		v[i], v[4+i], v[8+i], v[12+i] = a+b, d+e, a-b, d-e
	}
	for i := 0; i < 16; i += 4 {
		a, b := v[i]+v[i+3]+3, v[i+1]+v[i+2]
		d, e := v[i]-v[i+3]+3, v[i+1]-v[i+2]
		m.coeffs[i][0], m.coeffs[i+1][0] = int16((a+b)>>3), int16((d+e)>>3)
		m.coeffs[i+2][0], m.coeffs[i+3][0] = int16((a-b)>>3), int16((d-e)>>3)
	}
	*c = [16]int16{}
}

// The cosine transform's factors, in 65536ths (section 14.4). A product passes 31
// bits only with coefficients that no encoder writes: such samples are arbitrary.
const (
	sine   = 35468 // sin(pi/8) * sqrt(2)
	cosine = 85627 // cos(pi/8) * sqrt(2)
)

// addBlock undoes the transform of c and adds it to 4 x 4 samples.
func addBlock(to []byte, stride int, c *[16]int16) {
	var v [16]int32
	for i := range 4 {
		a, b := int32(c[i])+int32(c[8+i]), int32(c[i])-int32(c[8+i])
		p, q := int32(c[4+i]), int32(c[12+i])
		d, e := p*sine>>16-q*cosine>>16, p*cosine>>16+q*sine>>16
		v[i], v[4+i], v[8+i], v[12+i] = a+e, b+d, b-d, a-e
	}
	for i := 0; i < 16; i += 4 {
		a, b := v[i]+v[i+2]+4, v[i]-v[i+2]+4
		p, q := v[i+1], v[i+3]
		d, e := p*sine>>16-q*cosine>>16, p*cosine>>16+q*sine>>16
		row := to[:4]
		row[0] = clamp(int32(row[0]) + (a+e)>>3)
		row[1] = clamp(int32(row[1]) + (b+d)>>3)
		row[2] = clamp(int32(row[2]) + (b-d)>>3)
		row[3] = clamp(int32(row[3]) + (a-e)>>3)
		if i < 12 {
			to = to[stride:]
		}
	}
}

// addLevel is addBlock where there is only a DC coefficient.
func addLevel(to []byte, stride int, dc int16) {
	level := (int32(dc) + 4) >> 3
	for y := range 4 {
		row := to[y*stride:][:4]
		row[0] = clamp(int32(row[0]) + level)
		row[1] = clamp(int32(row[1]) + level)
		row[2] = clamp(int32(row[2]) + level)
		row[3] = clamp(int32(row[3]) + level)
	}
}

func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		v = ^v >> 31
	}
	return uint8(v)
}
