package jpeg

import (
	"encoding/binary"
	mathbits "math/bits"
)

// dcScan decodes the DC of the MCUs of a progressive picture (T.81 G.1.2.1).
func (d *decoder) dcScan(s scanHeader, from, end int64) (int64, status) {
	b, maxDC, dcBits := &d.bits, d.maxDC(), d.dcBits()
	col := d.dcs.col
	for at := from; at < end; at++ {
		if b.pos >= b.limit && !b.more() {
			return at, bad
		}
		if s.ah > 0 {
			b.take(uint(len(d.plan))) // a bit for each of 10 blocks at most
			continue
		}
		for i := range d.plan {
			u := &d.plan[i]
			sym, ok := b.symbol(u.dc)
			if !ok || sym > maxDC {
				return at, bad
			}
			p := &d.pred[u.comp&3]
			*p += extend(b.take(uint(sym)), uint(sym))
			if wild(*p<<s.al, dcBits) || wild(*p, dcBits) {
				return at, bad
			}
			if col < len(u.row) {
				u.row[col] = int16(*p << s.al)
			}
		}
		if b.over() {
			return at, bad
		}
		d.dcs.next(d)
		col = d.dcs.col
	}
	if b.over() {
		return end - 1, bad
	}
	return end, good
}

// acFirst decodes the first scan of a band of AC coefficients (T.81 G.1.2.2). A
// run of ended bands may not pass the end of its interval.
func (d *decoder) acFirst(s scanHeader, from, end int64) (int64, status) {
	f, maxAC, last := &d.bits, uint(d.maxAC()), uint(s.se)
	table, mask := s.comps[0].ac, s.comps[0].c.mask
	acc, n, pos := f.acc, f.n, f.pos
	buf := &f.buf
	for at := from; at < end; {
		if pos >= f.limit {
			f.acc, f.n, f.pos = acc, n, pos
			if !f.more() {
				return at, bad
			}
			pos = f.pos
		}
		m := mask[at]
		next := at + 1
		for k := uint(s.ss); k <= last; {
			acc |= binary.BigEndian.Uint64(buf[pos&(feedBytes-1):]) >> (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
			var length uint
			var sym byte
			if e := table.lut[acc>>(64-codeBits)]; e != 0 {
				length, sym = uint(e>>8), byte(e)
			} else if length, sym = table.code(acc); length == 0 {
				f.acc, f.n, f.pos = acc, n, pos
				return at, bad
			}
			run, size := uint(sym>>4), uint(sym&15)
			acc <<= length & 63
			n -= length
			if size == 0 && run < 15 { // the band ends, in so many blocks
				next = at + 1<<run + int64(acc>>1>>(63-run))
				acc <<= run
				n -= run
				break
			}
			k += run
			if k > last || size > maxAC {
				f.acc, f.n, f.pos = acc, n, pos
				return at, bad
			}
			if size > 0 {
				m |= 1 << (k & 63)
			}
			k++
			acc <<= size
			n -= size
		}
		mask[at] = m
		if next > end {
			f.acc, f.n, f.pos = acc, n, pos
			return at, bad
		}
		at = next
	}
	f.acc, f.n, f.pos = acc, n, pos
	if f.over() {
		return end - 1, bad
	}
	return end, good
}

// acRefine decodes a scan that brings one more bit of a band (T.81 G.1.2.3): a
// bit for each coefficient that is non-zero already, and new ones among the zeros.
func (d *decoder) acRefine(s scanHeader, from, end int64) (int64, status) {
	f := &d.bits
	table, mask := s.comps[0].ac, s.comps[0].c.mask
	band := ^uint64(0) >> (63 - s.se) &^ (1<<s.ss - 1)
	run := int64(0)
	acc, n, pos := f.acc, f.n, f.pos
	buf := &f.buf
	for at := from; at < end; at++ {
		if pos >= f.limit {
			f.acc, f.n, f.pos = acc, n, pos
			if !f.more() {
				return at, bad
			}
			pos = f.pos
		}
		m := mask[at]
		rest := band // of the block
		for run == 0 && rest != 0 {
			acc |= binary.BigEndian.Uint64(buf[pos&(feedBytes-1):]) >> (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
			var length uint
			var sym byte
			if e := table.lut[acc>>(64-codeBits)]; e != 0 {
				length, sym = uint(e>>8), byte(e)
			} else if length, sym = table.code(acc); length == 0 {
				f.acc, f.n, f.pos = acc, n, pos
				return at, bad
			}
			r, size := uint(sym>>4), uint(sym&15)
			acc <<= length & 63
			n -= length
			if size == 0 && r < 15 { // the band ends, in so many blocks
				run = 1<<r + int64(acc>>1>>(63-r))
				acc <<= r
				n -= r
				break
			}
			// The code means the zero behind r others. The non-zero ones on the way
			// have a bit each.
			zeros := rest &^ m
			for ; r > 0; r-- {
				zeros &= zeros - 1
			}
			if zeros == 0 || size > 1 {
				f.acc, f.n, f.pos = acc, n, pos
				return at, bad
			}
			acc <<= size // a sign
			n -= size
			zero := zeros & -zeros
			passed := uint(mathbits.OnesCount64(rest & m & (zero - 1)))
			rest &^= zero | (zero - 1)
			if size == 1 {
				mask[at] |= zero
			}
			if passed > n {
				passed -= n
				pos += int(passed >> 3)
				acc = binary.BigEndian.Uint64(buf[pos&(feedBytes-1):])
				pos += 7
				n = 56
				passed &= 7
			}
			acc <<= passed
			n -= passed
		}
		if run > 0 {
			if k := uint(mathbits.OnesCount64(rest & m)); k > 0 {
				if k > n {
					k -= n
					pos += int(k >> 3)
					acc = binary.BigEndian.Uint64(buf[pos&(feedBytes-1):])
					pos += 7
					n = 56
					k &= 7
				}
				acc <<= k
				n -= k
			}
			run--
		}
	}
	f.acc, f.n, f.pos = acc, n, pos
	if run > 0 || f.over() {
		return end - 1, bad
	}
	return end, good
}
