package thumb

import "math"

// dctBits is the fraction of the DCT's constants; its results have twice as much.
const dctBits = 8

// transform is the forward DCT of a block of 8 x 8 samples, one line an integer,
// its first sample in the lowest byte (T.81 A.3.3), and the quantization (A.3.4).
// The coefficients go to coef in zigzag order, but zeros only where they are cheap
// to tell: found says which are not.
//
// It is the DCT of Arai, Agui and Nakajima (1988): five multiplications a line,
// with results whose scale the quantization sets right. Two lines are worked on at
// once, as the lower and the upper half of one integer: sums, differences and
// multiples by constants of a + b<<32 are those of a and b, as long as a's stay
// within 32 bits. They do: 255 * 64 has 14 bits, and each of the two directions
// adds dctBits. Nothing is shifted back in between.
func (q *quantizer) transform(in *[8]uint64, coef *[64]int32) (found uint64) {
	const (
		lanes = 0x000000FF_000000FF
		upper = -1 << 32
		c2m6  = 139 // cos(2 pi/16) - cos(6 pi/16)
		c2p6  = 334 // cos(2 pi/16) + cos(6 pi/16)
		c4    = 181
		c6    = 98
	)
	var mid [8][4]int64 // by vertical frequency; columns k and k+4
	for k := range 4 {
		s := uint(8 * k)
		d0, d1, d2, d3 := int64(in[0]>>s&lanes), int64(in[1]>>s&lanes), int64(in[2]>>s&lanes), int64(in[3]>>s&lanes)
		d4, d5, d6, d7 := int64(in[4]>>s&lanes), int64(in[5]>>s&lanes), int64(in[6]>>s&lanes), int64(in[7]>>s&lanes)

		t0, t7 := d0+d7, d0-d7
		t1, t6 := d1+d6, d1-d6
		t2, t5 := d2+d5, d2-d5
		t3, t4 := d3+d4, d3-d4

		e0, e3 := t0+t3, t0-t3
		e1, e2 := t1+t2, t1-t2
		mid[0][k] = (e0 + e1) << dctBits
		mid[4][k] = (e0 - e1) << dctBits
		z1 := (e2 + e3) * c4
		e3 <<= dctBits
		mid[2][k], mid[6][k] = e3+z1, e3-z1

		e0, e1, e2 = t4+t5, t5+t6, t6+t7
		z5 := (e0 - e2) * c6
		z2, z4 := e0*c2m6+z5, e2*c2p6+z5
		z3 := e1 * c4
		t7 <<= dctBits
		z11, z13 := t7+z3, t7-z3
		mid[5][k], mid[3][k] = z13+z2, z13-z2
		mid[1][k], mid[7][k] = z11+z4, z11-z4
	}
	for v := 0; v < 8; v += 2 {
		a, b := &mid[v], &mid[v+1]
		// The upper half of a is one too small where its lower one is negative: a
		// 256th of a sample.
		d0, d4 := int64(int32(a[0]))+b[0]<<32, a[0]>>32+b[0]&upper
		d1, d5 := int64(int32(a[1]))+b[1]<<32, a[1]>>32+b[1]&upper
		d2, d6 := int64(int32(a[2]))+b[2]<<32, a[2]>>32+b[2]&upper
		d3, d7 := int64(int32(a[3]))+b[3]<<32, a[3]>>32+b[3]&upper

		t0, t7 := d0+d7, d0-d7
		t1, t6 := d1+d6, d1-d6
		t2, t5 := d2+d5, d2-d5
		t3, t4 := d3+d4, d3-d4

		e0, e3 := t0+t3, t0-t3
		e1, e2 := t1+t2, t1-t2
		o0, o4 := (e0+e1)<<dctBits, (e0-e1)<<dctBits
		z1 := (e2 + e3) * c4
		e3 <<= dctBits
		o2, o6 := e3+z1, e3-z1

		e0, e1, e2 = t4+t5, t5+t6, t6+t7
		z5 := (e0 - e2) * c6
		z2, z4 := e0*c2m6+z5, e2*c2p6+z5
		z3 := e1 * c4
		t7 <<= dctBits
		z11, z13 := t7+z3, t7-z3
		o5, o3 := z13+z2, z13-z2
		o1, o7 := z11+z4, z11-z4

		if v == 0 {
			o0 -= 128 * 64 << (2 * dctBits) // the level shift (T.81 A.3.1)
		}
		left, right := &q.groups[v&6], &q.groups[v|1]
		if a, m := left.add, left.mask; ((o0+a)|(o1+a)|(o2+a)|(o3+a))&m != 0 {
			found |= left.quantize(o0, o1, o2, o3, coef)
		}
		if a, m := right.add, right.mask; ((o4+a)|(o5+a)|(o6+a)|(o7+a))&m != 0 {
			found |= right.quantize(o4, o5, o6, o7, coef)
		}
	}
	return found
}

// quantizer divides the results of transform, as a multiplication by reciprocals.
type quantizer struct{ groups [8]group } // two lines by the left or right four columns

// group quantizes eight coefficients: of two lines, in the halves of four integers.
type group struct {
	quot      [4][2]int64
	place     [4][2]uint8 // in zigzag order
	add, mask int64       // for both halves: v+add has bits of mask unless v is surely small enough to be a zero
}

const quantBits = 44 // the fraction of a reciprocal

func (g *group) quantize(a, b, c, d int64, coef *[64]int32) (found uint64) {
	q, p := &g.quot, &g.place
	return put(int64(int32(a)), q[0][0], p[0][0], coef) | put(a>>32, q[0][1], p[0][1], coef) |
		put(int64(int32(b)), q[1][0], p[1][0], coef) | put(b>>32, q[1][1], p[1][1], coef) |
		put(int64(int32(c)), q[2][0], p[2][0], coef) | put(c>>32, q[2][1], p[2][1], coef) |
		put(int64(int32(d)), q[3][0], p[3][0], coef) | put(d>>32, q[3][1], p[3][1], coef)
}

// put sets a coefficient, and gives its bit unless it is zero.
func put(v, quot int64, place uint8, coef *[64]int32) uint64 {
	q := int32((v*quot + 1<<(quantBits-1)) >> quantBits)
	coef[place&63] = q
	return uint64(uint32(q|-q)>>31) << (place & 63)
}

// newQuantizer is for a table in zigzag order.
func newQuantizer(table *[64]uint8) *quantizer {
	q := &quantizer{}
	scale := func(k int) float64 { // of the k-th frequency of a line (AAN)
		if k == 0 {
			return 1
		}
		return math.Sqrt2 * math.Cos(float64(k)*math.Pi/16)
	}
	for k, at := range zigzag {
		u, v := int(at&7), int(at>>3)
		g := &q.groups[v&6|u>>2]
		g.place[u&3][v&1] = uint8(k)
		g.quot[u&3][v&1] = int64(math.Round(math.Ldexp(1, quantBits-2*dctBits) / (8 * scale(u) * scale(v) * float64(table[k]))))
	}
	for i := range q.groups {
		g := &q.groups[i]
		most := int64(0)
		for _, pair := range g.quot {
			most = max(most, pair[0], pair[1])
		}
		small := int64(1)
		for 2*small*most < 1<<(quantBits-1) {
			small *= 2
		}
		g.add, g.mask = small<<32+small, int64(^uint64(2*small-1)<<32)|(^(2*small-1)&(1<<32-1))
	}
	return q
}
