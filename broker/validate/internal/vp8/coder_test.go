package vp8

import "math/rand/v2"

// coder is the boolean encoder (section 7): the number that is coded, bit by bit.
type coder struct {
	bits []byte // each 0 or 1
	low  uint32 // what follows them: 8 bits
	span uint32
}

func (c *coder) put(prob uint8, one bool) {
	split := 1 + (c.span-1)*uint32(prob)>>8
	if one {
		c.low += split
		c.span -= split
	} else {
		c.span = split
	}
	if c.low > 255 {
		c.low -= 256
		at := len(c.bits) - 1
		for ; c.bits[at] == 1; at-- {
			c.bits[at] = 0
		}
		c.bits[at] = 1
	}
	for ; c.span < 128; c.span <<= 1 {
		c.bits = append(c.bits, byte(c.low>>7))
		c.low = c.low << 1 & 255
	}
}

func (c *coder) flag(one bool) { c.put(128, one) }

func (c *coder) number(v, k int) {
	for k--; k >= 0; k-- {
		c.flag(v>>k&1 == 1)
	}
}

// change writes what partition.change reads.
func (c *coder) change(v, k int) {
	c.flag(v != 0)
	if v != 0 {
		c.number(max(v, -v), k)
		c.flag(v < 0)
	}
}

// flush gives the bytes. Any may follow.
func (c *coder) flush() (out []byte) {
	for k := 7; k >= 0; k-- {
		c.bits = append(c.bits, byte(c.low>>k&1))
	}
	for len(c.bits)%8 != 0 {
		c.bits = append(c.bits, 0)
	}
	for i := 0; i < len(c.bits); i += 8 {
		v := byte(0)
		for _, bit := range c.bits[i : i+8] {
			v = v<<1 | bit
		}
		out = append(out, v)
	}
	return out
}

// head begins a key frame.
func head(width, height, first int) []byte {
	return []byte{byte(first<<5 | 0x10), byte(first >> 3), byte(first >> 11), 0x9D, 0x01, 0x2A,
		byte(width), byte(width >> 8), byte(height), byte(height >> 8)}
}

// randomPicture has any head, but no loop filter, and any data behind it, enough for
// whatever is read.
func randomPicture(r *rand.Rand, width, height int) []byte {
	often := func(n int) bool { return r.IntN(n) > 0 }
	seldom := func(n int) bool { return r.IntN(n) == 0 }
	change := func(k int) int { return r.IntN(2<<k-1) - (1<<k - 1) }
	c := &coder{span: 255}
	c.number(r.IntN(4), 2)
	segmented := often(3)
	c.flag(segmented)
	if segmented {
		mapped, changed := often(4), often(4)
		c.flag(mapped)
		c.flag(changed)
		if changed {
			c.flag(seldom(2)) // absolute
			for range segments {
				c.change(change(7), 7)
			}
			for range segments {
				c.change(change(6), 6)
			}
		}
		for range segments - 1 {
			if mapped {
				given := often(3)
				c.flag(given)
				if given {
					c.number(r.IntN(256), 8)
				}
			}
		}
	}
	c.flag(seldom(2)) // the simple filter
	c.number(0, 6)
	c.number(r.IntN(8), 3)
	deltas := often(2)
	c.flag(deltas)
	if deltas {
		given := often(2)
		c.flag(given)
		for range 8 {
			if given {
				c.change(change(6), 6)
			}
		}
	}
	logParts := r.IntN(4)
	c.number(logParts, 2)
	c.number(r.IntN(128), 7)
	for range 5 {
		c.change(change(4), 4)
	}
	c.flag(seldom(2))
	changes := seldom(2)
	for _, a := range changeProbs {
		for _, b := range a {
			for _, probs := range b {
				for _, prob := range probs {
					one := changes && seldom(9)
					c.put(prob, one)
					if one {
						c.number(r.IntN(256), 8)
					}
				}
			}
		}
	}
	skips := often(3)
	c.flag(skips)
	if skips {
		c.number(r.IntN(256), 8)
	}
	blocks := ((width + 15) / 16) * ((height + 15) / 16)
	data := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		p[0] &= 127
		return p
	}
	first := append(c.flush(), data(60*blocks)...)
	p := append(head(width, height, len(first)), first...)
	each := 1000 + 1200*blocks
	for range 1<<logParts - 1 {
		p = append(p, byte(each), byte(each>>8), byte(each>>16))
	}
	for range 1 << logParts {
		p = append(p, data(each)...)
	}
	return p
}
