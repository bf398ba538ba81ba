package jpeg

import "encoding/binary"

// sequential decodes the MCUs from up to end (T.81 F.2.2): of each block a DC
// difference, then AC coefficients by run and size. The DC values go to d.plan.
//
// It is where the time of a check goes. What the bits are read by is kept in
// registers; the buffer holds an MCU's bits, or zeros, so that only after an MCU
// it is asked whether there were that many; and an AC code's length and run are
// all that is needed of it, so that one look-up may pass several.
func (d *decoder) sequential(s scanHeader, from, end int64) (int64, status) {
	f, maxDC, dcBits := &d.bits, d.maxDC(), d.dcBits()
	units := d.plan
	pred, col := d.pred, d.dcs.col
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
		outlier := uint32(0)
		for i := range units {
			u := &units[i]
			acc |= binary.BigEndian.Uint64(buf[pos&(feedBytes-1):]) >> (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
			var length, size uint
			if e := u.dc.lut[acc>>(64-codeBits)]; e != 0 {
				length, size = uint(e>>8), uint(e&255)
			} else {
				l, sym := u.dc.code(acc)
				if length, size = l, uint(sym); l == 0 {
					f.acc, f.n, f.pos = acc, n, pos
					return at, bad
				}
			}
			if size > uint(maxDC) {
				f.acc, f.n, f.pos = acc, n, pos
				return at, bad
			}
			acc <<= length & 63
			v := int32(acc >> 1 >> (63 - size&63))
			acc <<= size & 63
			n -= length + size
			// EXTEND (T.81 F.2.2.1), without a branch: a leading 0 says negative.
			v += (int32(-1)<<(size&31) + 1) & ((v - int32(1)<<(size&31)>>1) >> 31)
			v += pred[u.comp&3]
			pred[u.comp&3] = v
			outlier |= uint32(v + int32(1)<<((dcBits-1)&31)) // as wild does
			if col < len(u.row) {
				u.row[col] = int16(v)
			}

			paths := u.ac
			k := uint(1)
			for {
				acc |= binary.BigEndian.Uint64(buf[pos&(feedBytes-1):]) >> (n & 63)
				pos += int((63 - n) >> 3)
				n |= 56
				before := acc
				p := paths[acc>>(64-pathBits)]
				acc <<= p & 63
				n -= p.bits()
				k += p.skip()
				if k < 64 {
					before = acc
					p = paths[acc>>(64-pathBits)]
					acc <<= p & 63
					n -= p.bits()
					k += p.skip()
					if k < 64 {
						continue
					}
				}
				if k == 64 || k >= pathEOB && k < pathEOB+64 {
					break // the last coefficient, or an end of block before it
				}
				// The path leads out of the block: only its first codes are of it.
				acc = before
				n += p.bits()
				k -= p.skip()
				acc |= binary.BigEndian.Uint64(buf[pos&(feedBytes-1):]) >> (n & 63)
				pos += int((63 - n) >> 3)
				n |= 56
				if p = p.first(); p == 0 {
					if i := acc>>48 - u.all.longFrom; i < uint64(len(u.all.long)) {
						p = u.all.long[i]
					}
				}
				acc <<= p & 63
				n -= p.bits()
				k += p.skip()
				if k == 64 || k >= pathEOB && k < pathEOB+64 {
					break
				}
				if k > 64 || p.bits() == 0 {
					f.acc, f.n, f.pos = acc, n, pos
					return at, bad
				}
			}
		}
		if outlier>>(dcBits&31) != 0 {
			f.acc, f.n, f.pos = acc, n, pos
			return at, bad
		}
		if d.dcs.comps != nil {
			d.dcs.next(d)
			col = d.dcs.col
		}
	}
	f.acc, f.n, f.pos = acc, n, pos
	d.pred = pred
	if f.over() {
		return end - 1, bad
	}
	return end, good
}

// longPath is the path of one code, 0 when it can't stand in a sequential block.
func longPath(length uint, symbol, maxSize byte) path {
	run, size := symbol>>4, symbol&15
	switch {
	case size > maxSize || size == 0 && run != 0 && run != 15:
		return 0
	case symbol == 0:
		return path(length) | pathEOB<<8
	}
	return path(length+uint(size)) | path(run+1)<<8
}
