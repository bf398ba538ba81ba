package thumb

import (
	"encoding/binary"
	"math"
)

// Profile turns colours of another space into sRGB's: each channel's curve makes
// them linear, and a matrix takes them to sRGB's primaries.
type Profile struct {
	grey   bool
	linear [3][256]int // 0 to one
	matrix [9]int      // in units of one
}

// one is the unit of linear light; sRGB's curve is looked up by curveSteps of it.
const (
	one        = 1 << 16
	curveSteps = 1 << 12
)

// newProfile rounds a profile's figures. Those that can't be are left out: no
// display has primaries so far away.
func newProfile(linear [3][256]float64, matrix [9]float64) *Profile {
	p := &Profile{}
	for c := range linear {
		for i, v := range linear[c] {
			if v > 0 { // and a number
				p.linear[c][i] = int(min(v, 1)*one + 0.5)
			}
		}
	}
	for i, v := range matrix {
		p.matrix[i] = int(math.Round(min(max(v, -8), 8) * one))
	}
	return p
}

// fromD50 takes XYZ, as profiles have it (of D50), to linear sRGB: the inverse of
// sRGB's own primaries, adapted by Bradford's method (ICC.1 annex E).
var fromD50 = [9]float64{
	3.1338561, -1.6168667, -0.4906146,
	-0.9787684, 1.9161415, 0.0334540,
	0.0719453, -0.2289914, 1.4052427,
}

// AdobeRGB is the colour space of cameras that say so in EXIF (DCF's R03).
func AdobeRGB() *Profile {
	var linear [3][256]float64
	for i := range 256 {
		v := math.Pow(float64(i)/255, 563.0/256)
		linear[0][i], linear[1][i], linear[2][i] = v, v, v
	}
	return newProfile(linear, [9]float64{1.3983557, -0.3983557, 0, 0, 1, 0, 0, -0.0429290, 1.0429290})
}

// ICC reads a profile (ICC.1:2022). Nil: it is sRGB or as good as that, or not one
// made of curves and a matrix; the colours are then left as they are.
func ICC(b []byte) *Profile {
	if len(b) < 132 || string(b[36:40]) != "acsp" || string(b[20:24]) != "XYZ " {
		return nil
	}
	var linear [3][256]float64
	matrix := [9]float64{1, 0, 0, 0, 1, 0, 0, 0, 1}
	grey := false
	switch string(b[16:20]) {
	case "GRAY":
		grey = true
		if !curve(&linear[0], iccTag(b, "kTRC")) {
			return nil
		}
		linear[1], linear[2] = linear[0], linear[0]
	case "RGB ":
		var primaries [9]float64
		for i, name := range []string{"r", "g", "b"} {
			xyz := iccTag(b, name+"XYZ")
			if len(xyz) < 20 || string(xyz[:4]) != "XYZ " || !curve(&linear[i], iccTag(b, name+"TRC")) {
				return nil
			}
			for k := range 3 {
				primaries[3*k+i] = float64(int32(binary.BigEndian.Uint32(xyz[8+4*k:]))) / 65536
			}
		}
		for i := range 9 {
			matrix[i] = 0
			for k := range 3 {
				matrix[i] += fromD50[i/3*3+k] * primaries[3*k+i%3]
			}
		}
	default:
		return nil
	}
	p := newProfile(linear, matrix)
	p.grey = grey
	if p.plain() {
		return nil
	}
	return p
}

// iccTag gives a tag's element; nil when it is not there, or not within the profile.
func iccTag(b []byte, name string) []byte {
	count := int(min(binary.BigEndian.Uint32(b[128:]), 200))
	for i := range count {
		if len(b) < 132+12*(i+1) {
			return nil
		}
		t := b[132+12*i:]
		if string(t[:4]) != name {
			continue
		}
		at, n := uint64(binary.BigEndian.Uint32(t[4:])), uint64(binary.BigEndian.Uint32(t[8:]))
		if at+n > uint64(len(b)) {
			return nil
		}
		return b[at : at+n]
	}
	return nil
}

// curve fills a table from a curve of one of the two types (ICC.1 10.6 and 10.18).
func curve(to *[256]float64, b []byte) bool {
	if len(b) < 12 {
		return false
	}
	f := func(x float64) float64 { return x }
	switch string(b[:4]) {
	case "curv":
		n := int(min(binary.BigEndian.Uint32(b[8:]), 1<<16))
		if len(b) < 12+2*n {
			return false
		}
		at := func(i int) float64 { return float64(binary.BigEndian.Uint16(b[12+2*i:])) }
		switch n {
		case 0:
		case 1:
			gamma := at(0) / 256
			f = func(x float64) float64 { return math.Pow(x, gamma) }
		default:
			f = func(x float64) float64 {
				x *= float64(n - 1)
				i := min(int(x), n-2)
				x -= float64(i)
				return (at(i)*(1-x) + at(i+1)*x) / 65535
			}
		}
	case "para":
		kind := int(binary.BigEndian.Uint16(b[8:]))
		if kind > 4 {
			return false
		}
		n := [...]int{1, 3, 4, 5, 7}[kind]
		if len(b) < 12+4*n {
			return false
		}
		var p [7]float64 // g, a, b, c, d, e, f
		for i := range n {
			p[i] = float64(int32(binary.BigEndian.Uint32(b[12+4*i:]))) / 65536
		}
		g, a, o, c, d, e, h := p[0], p[1], p[2], p[3], p[4], p[5], p[6]
		switch kind {
		case 0:
			a, c, d = 1, 0, -1
		case 1, 2:
			if a == 0 {
				return false
			}
			e, h = c, c // added to both parts
			c, d = 0, -o/a
			if kind == 1 {
				e, h = 0, 0
			}
		}
		f = func(x float64) float64 {
			if x >= d {
				return math.Pow(max(a*x+o, 0), g) + e
			}
			return c*x + h
		}
	default:
		return false
	}
	for i := range to {
		to[i] = f(float64(i) / 255)
	}
	return true
}

// plain says whether the profile is sRGB's, or differs by less than is seen.
func (p *Profile) plain() bool {
	for i, v := range p.matrix {
		want := 0
		if i%4 == 0 {
			want = one
		}
		if v < want-one/50 || v > want+one/50 {
			return false
		}
	}
	curve := gamma()
	for c := range p.linear {
		for i, v := range p.linear[c] {
			if d := int(curve[v*curveSteps/one]) - i; d > 2 || d < -2 {
				return false
			}
		}
	}
	return true
}
