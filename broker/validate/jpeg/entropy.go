package jpeg

import mathbits "math/bits"

// status is how decoding went.
type status int

const (
	good status = iota
	bad         // no such code, one that can't stand here, or the bits ended (bits.n < 0)
)

// maxDC and maxAC are the largest magnitude categories (T.81 tables F.1, F.2 and
// F.6, F.7: 4 more for 12 bits a sample).
func (d *decoder) maxDC() byte { return byte(11 + d.info.Precision - 8) }
func (d *decoder) maxAC() byte { return byte(10 + d.info.Precision - 8) }

// blocksPerMCU is how many blocks of a component one MCU of the scan holds.
func (s *scanHeader) blocksPerMCU(c *component) int {
	if len(s.comps) == 1 {
		return 1
	}
	return c.h * c.v
}

// sequential decodes the MCUs from up to end (T.81 F.2.2).
func (d *decoder) sequential(s scanHeader, from, end int64) (int64, status) {
	maxDC, maxAC := d.maxDC(), d.maxAC()
	for at := from; at < end; at++ {
		for i := range s.comps {
			sc := &s.comps[i]
			for n := s.blocksPerMCU(sc.c); n > 0; n-- {
				if d.bits.block(sc.dc, sc.ac, maxDC, maxAC) != good {
					return at, bad
				}
			}
		}
	}
	return end, good
}

// block decodes one block of a sequential scan: a DC difference, then AC
// coefficients by run and size. A magnitude's own bits are dropped together with
// the code before them: 32 valid bits always hold both.
func (b *bits) block(dc, ac *table, maxDC, maxAC byte) status {
	sym, ok := b.symbol(dc)
	if !ok || sym > maxDC {
		return bad
	}
	// The bits are kept in registers through the loop.
	acc, n := b.acc<<sym, b.n-int(sym)
	for k := 1; k < 64; {
		if n < 32 {
			b.acc, b.n = acc, n
			b.fill()
			acc, n = b.acc, b.n
		}
		var length uint
		if e := ac.lut[acc>>(64-lutBits)]; e != 0 {
			length, sym = uint(e>>8), byte(e)
		} else if length, sym = ac.long(acc); length == 0 {
			b.acc, b.n = acc, n
			return bad
		}
		size := sym & 15
		length += uint(size)
		acc <<= length & 63
		n -= int(length)
		k += int(sym>>4) + 1
		if size != 0 && k <= 64 && size <= maxAC {
			continue
		}
		if sym == 0 { // EOB
			break
		}
		// Sixteen zeros. Some writers let them run up to the block's very end.
		if sym != 0xF0 || k > 64 {
			b.acc, b.n = acc, n
			return bad
		}
	}
	b.acc, b.n = acc, n
	if n < 0 {
		return bad
	}
	return good
}

// dcScan decodes the DC of the MCUs of a progressive picture (T.81 G.1.2.1).
func (d *decoder) dcScan(s scanHeader, from, end int64) (int64, status) {
	b, maxDC := &d.bits, d.maxDC()
	for at := from; at < end; at++ {
		for i := range s.comps {
			sc := &s.comps[i]
			n := s.blocksPerMCU(sc.c)
			if s.ah > 0 {
				b.take(uint(n)) // a bit for each of 16 blocks at most
				continue
			}
			for ; n > 0; n-- {
				sym, ok := b.symbol(sc.dc)
				if !ok || sym > maxDC {
					return at, bad
				}
				b.take(uint(sym))
			}
		}
		if b.n < 0 {
			return at, bad
		}
	}
	return end, good
}

// eobRun reads how many blocks an end-of-band code of class r ends, the present
// one among them (T.81 G.1.2.2).
func (b *bits) eobRun(r byte) int64 { return 1<<r + int64(b.take(uint(r))) }

// acFirst decodes the first scan of a band of AC coefficients (T.81 G.1.2.2).
func (d *decoder) acFirst(s scanHeader, from, end int64) (int64, status) {
	b, maxAC := &d.bits, d.maxAC()
	table, mask := s.comps[0].ac, s.comps[0].c.mask
	for at := from; at < end; {
		next := at + 1
		for k := s.ss; k <= s.se; {
			sym, ok := b.symbol(table)
			if !ok {
				return at, bad
			}
			r, size := sym>>4, sym&15
			switch {
			case size > 0:
				if k += int(r); k > s.se || size > maxAC {
					return at, bad
				}
				b.take(uint(size))
				mask[at] |= 1 << k
				k++
			case r == 15:
				if k += 16; k > s.se+1 {
					return at, bad
				}
			default:
				next = at + b.eobRun(r)
				k = s.se + 1
			}
		}
		if b.n < 0 {
			return at, bad
		}
		if next > end { // a run may not pass the end of its interval
			return at, bad
		}
		at = next
	}
	return end, good
}

// acRefine decodes a scan that brings one more bit of a band (T.81 G.1.2.3):
// a bit for each coefficient that is non-zero already, and new ones among the zeros.
func (d *decoder) acRefine(s scanHeader, from, end int64) (int64, status) {
	b := &d.bits
	table, mask := s.comps[0].ac, s.comps[0].c.mask
	band := (^uint64(0) >> (63 - s.se)) &^ (1<<s.ss - 1)
	run := int64(0)
	for at := from; at < end; at++ {
		m := mask[at]
		k := s.ss
		for run == 0 && k <= s.se {
			sym, ok := b.symbol(table)
			if !ok {
				return at, bad
			}
			r, size := int(sym>>4), sym&15
			switch {
			case size == 1:
				b.take(1) // its sign
			case size > 1:
				return at, bad
			case r < 15:
				run = b.eobRun(byte(r))
			}
			if run > 0 {
				break
			}
			for ; k <= s.se; k++ {
				if m>>k&1 != 0 {
					b.take(1)
				} else if r--; r < 0 {
					break
				}
			}
			if size == 1 {
				if k > s.se {
					return at, bad
				}
				mask[at] |= 1 << k
			}
			k++
		}
		if run > 0 {
			if k <= s.se {
				left := mathbits.OnesCount64(m & band &^ (1<<k - 1))
				for ; left > 32; left -= 32 {
					b.take(32)
				}
				b.take(uint(left))
			}
			run--
		}
		if b.n < 0 {
			return at, bad
		}
	}
	if run > 0 {
		return end - 1, bad
	}
	return end, good
}
