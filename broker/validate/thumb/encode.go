package thumb

import (
	"encoding/binary"
	mathbits "math/bits"
)

// encoder writes a baseline JPEG (T.81 annex F.1).
type encoder struct {
	out  []byte
	at   int // of out
	acc  uint64
	n    uint // bits of acc that are not written yet; the lowest ones
	quot [2]*quantizer
	code [2]*codes
	last [3]int32  // DC of each component
	coef [64]int32 // quantized, in zigzag order; of zeros only the first is set
}

// mcuBytes is more than an MCU takes: 6 blocks of 64 coefficients of 26 bits, each
// byte of which may be stuffed with another.
const mcuBytes = 6 * 64 * 26 / 8 * 2

// encode gives the picture as a JPEG file, turned as the orientation says.
func encode(m picture, orient int) []byte {
	v := newView(m.width, m.height, orient)
	e := &encoder{out: make([]byte, 4096+m.width*m.height/4+mcuBytes)}
	grey := m.cb == nil
	e.code[0] = newCodes(&dcLuma, &acLuma)
	e.quot[0] = newQuantizer(quantTable(&quantLuma))
	if !grey {
		e.code[1] = newCodes(&dcChroma, &acChroma)
		e.quot[1] = newQuantizer(quantTable(&quantChroma))
	}
	e.at = len(appendHeader(e.out[:0], v.width, v.height, grey))
	if grey {
		for y := 0; y < v.height; y += 8 {
			for x := 0; x < v.width; x += 8 {
				e.room()
				e.block(m.y, &v, x, y, 0)
			}
		}
	} else {
		c := newView(m.chromaWidth(), m.chromaHeight(), orient)
		for y := 0; y < v.height; y += 16 {
			for x := 0; x < v.width; x += 16 {
				e.room()
				e.block(m.y, &v, x, y, 0)
				e.block(m.y, &v, x+8, y, 0)
				e.block(m.y, &v, x, y+8, 0)
				e.block(m.y, &v, x+8, y+8, 0)
				e.block(m.cb, &c, x/2, y/2, 1)
				e.block(m.cr, &c, x/2, y/2, 2)
			}
		}
	}
	e.room()
	e.end()
	return e.out[:e.at]
}

// room makes sure of the room for an MCU.
func (e *encoder) room() {
	if len(e.out)-e.at < mcuBytes {
		e.out = append(e.out, make([]byte, len(e.out)/2+mcuBytes)...)
	}
}

// end writes the bits that are left, filled up with ones (T.81 F.1.2.3), and EOI.
func (e *encoder) end() {
	for ; e.n&7 != 0; e.n++ {
		e.acc = e.acc<<1 | 1
	}
	for e.n > 0 {
		e.n -= 8
		e.byte(byte(e.acc >> e.n))
	}
	e.at += copy(e.out[e.at:], "\xFF\xD9")
}

// byte writes one, stuffed with a zero where it could be taken for a marker.
func (e *encoder) byte(b byte) {
	e.out[e.at] = b
	e.at++
	if b == 0xFF {
		e.out[e.at] = 0
		e.at++
	}
}

// word writes 32 bits.
func (e *encoder) word(w uint32) {
	if w&^(w+0x01010101)&0x80808080 == 0 { // no byte of it is 0xFF
		binary.BigEndian.PutUint32(e.out[e.at:], w)
		e.at += 4
		return
	}
	for s := 24; s >= 0; s -= 8 {
		e.byte(byte(w >> s))
	}
}

// block codes the 8 x 8 samples at x, y of a component's plane.
func (e *encoder) block(plane []uint8, v *view, x, y, component int) {
	var lines [8]uint64
	v.load(&lines, plane, x, y)
	table := min(component, 1)
	e.coef[0] = 0
	found := e.quot[table].transform(&lines, &e.coef)
	diff := e.coef[0] - e.last[component]
	e.last[component] = e.coef[0]

	c := e.code[table]
	acc, n := e.acc, e.n
	size := uint(mathbits.Len32(uint32(max(diff, -diff))))
	k := c.dc[size&15]
	acc = acc<<(k.length+size) | k.bits<<size | uint64(diff+diff>>31)&(1<<size-1)
	n += k.length + size
	before := 0
	for found &^= 1; found != 0; found &= found - 1 {
		if n >= 32 {
			n -= 32
			e.word(uint32(acc >> n))
		}
		at := mathbits.TrailingZeros64(found)
		run := at - before - 1
		before = at
		for ; run > 15; run -= 16 { // 48 bits at most
			acc = acc<<c.run16.length | c.run16.bits
			if n += c.run16.length; n >= 32 {
				n -= 32
				e.word(uint32(acc >> n))
			}
		}
		q := e.coef[at&63]
		if uint32(q+16) < 32 {
			s := c.small[run<<5&0x1E0|int(q+16)&31]
			acc = acc<<(s&31) | uint64(s>>5)
			n += uint(s & 31)
			continue
		}
		size := uint(mathbits.Len32(uint32(max(q, -q))))
		k := &c.ac[run<<4&0xF0|int(size)&15]
		acc = acc<<(k.length+size) | k.bits<<size | uint64(q+q>>31)&(1<<size-1)
		n += k.length + size
	}
	if before < 63 {
		acc = acc<<c.stop.length | c.stop.bits
		n += c.stop.length
	}
	if n >= 32 {
		n -= 32
		e.word(uint32(acc >> n))
	}
	if n >= 32 {
		n -= 32
		e.word(uint32(acc >> n))
	}
	e.acc, e.n = acc, n
}
