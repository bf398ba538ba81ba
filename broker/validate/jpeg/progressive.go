package jpeg

import "encoding/binary"

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
			if x := col * u.step; x < len(u.row) {
				u.row[x] = int16(*p << s.al)
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
	table, mask := s.comps[0].ac, &s.comps[0].c.mask
	f.refill()
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
		m := uint64(0)
		next := at + 1
		for k := uint(s.ss); k <= last; k++ {
			e := uint(table.lut[acc>>(64-codeBits)])
			acc |= binary.BigEndian.Uint64(buf[pos&(feedBytes-1):]) >> (n & 63)
			pos += int(n>>3 ^ 7)
			n |= 56
			if e == 0 {
				length, symbol := table.code(acc)
				if length == 0 {
					f.acc, f.n, f.pos = acc, n, pos
					return at, bad
				}
				e = length<<8 | uint(symbol)
			}
			take, run, size := e>>8, e>>4&15, e&15
			if size == 0 && run < 15 { // the band ends, in so many blocks
				next = at + 1<<(run&15) + int64(acc<<(take&31)>>1>>((63-run)&63))
				take += run
				acc <<= take & 63
				n -= take
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
			take += size
			acc <<= take & 63
			n -= take
		}
		if m != 0 {
			mask.add(at, m)
		}
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
