package jpeg

import "encoding/binary"

// sequential decodes the MCUs from up to end (T.81 F.2.2): of each block a DC
// difference, then AC coefficients by run and size. The DC values go to d.plan.
//
// It is where the time of a check goes, and most of that is waiting for one
// look-up's answer to begin the next:
//
//   - What the bits are read by is kept in registers.
//   - An AC code's length and run are all that is needed of it, so that one look-up
//     may pass several. Both figures of a path are taken from state at once: its low
//     byte is f.n, and above it is how many coefficients are still to come after the
//     next one; it is negative when the block is over.
//   - The buffer holds an MCU's bits, or zeros, so that only after an MCU it is asked
//     whether there were that many.
//   - A look-up is begun before the refill that its bits need not wait for: a refill
//     makes all 64 bits of acc good, and 3*maxPath of them are taken until the next.
func (d *decoder) sequential(s scanHeader, from, end int64) (int64, status) {
	f, maxDC, dcBits := &d.bits, d.maxDC(), d.dcBits()
	units := d.plan
	pred, col := d.pred, d.dcs.col
	f.refill()
	acc, state, pos := f.acc, int(f.n), f.pos
	buf := &f.buf
	half := int32(1) << (dcBits - 1)
	for at := from; at < end; at++ {
		if pos >= f.limit {
			f.acc, f.n, f.pos = acc, uint(state&63), pos
			if !f.more() {
				return at, bad
			}
			pos = f.pos
		}
		outlier := uint32(0)
		for i := range units {
			u := &units[i]
			e := u.dcs[acc>>(64-codeBits)]
			acc |= binary.BigEndian.Uint64(buf[pos&(feedBytes-1):]) >> (state & 63)
			pos += state>>3&7 ^ 7
			state |= 56
			if e == 0 {
				if e = u.dc.longDC(acc, maxDC); e == 0 {
					f.acc, f.n, f.pos = acc, uint(state&63), pos
					return at, bad
				}
			}
			// EXTEND (T.81 F.2.2.1), without a branch: where the magnitude's first bit is 0,
			// its complement is what to subtract.
			value := acc << (e >> 6 & 31)
			minus := ^int64(value) >> 63
			v := (int32((value^uint64(minus))>>1>>((63-e>>11)&63)) ^ int32(minus)) - int32(minus)
			acc <<= e & 63
			state -= int(e & 63)
			v += pred[u.comp&3]
			pred[u.comp&3] = v
			outlier |= uint32(v + half) // as wild does
			if x := col * u.step; uint(x) < uint(len(u.row)) {
				u.row[x] = int16(v)
			}

			paths := u.ac
			p := paths[acc>>(64-pathBits)]
			acc <<= p & 63
			state += 62<<pathSkip - int(p)
			for {
				for state >= 0 {
					p = paths[acc>>(64-pathBits)]
					acc |= binary.BigEndian.Uint64(buf[pos&(feedBytes-1):]) >> (state & 63)
					pos += state>>3&7 ^ 7
					state |= 56
					acc <<= p & 63
					state -= int(p)
					if state < 0 {
						break
					}
					p = paths[acc>>(64-pathBits)]
					acc <<= p & 63
					state -= int(p)
					if state < 0 {
						break
					}
					p = paths[acc>>(64-pathBits)]
					acc <<= p & 63
					state -= int(p)
				}
				if complete(state) {
					break
				}
				// The path leads out of the block: only its first code is of it.
				state += int(p)
				var n uint
				acc, n, pos = f.from(pos*8 - state&63)
				state = state&^63 | int(n)
				if p = u.all.firsts[acc>>(64-pathBits)]; p == 0 {
					if i := acc>>48 - u.all.longFrom; i < uint64(len(u.all.long)) {
						p = u.all.long[i]
					}
				}
				acc <<= p & 63
				state -= int(p)
				if complete(state) {
					break
				}
				if state < 0 || p.bits() == 0 {
					f.acc, f.n, f.pos = acc, uint(state&63), pos
					return at, bad
				}
			}
			state &= 63 // f.n alone
		}
		if outlier>>(dcBits&31) != 0 {
			f.acc, f.n, f.pos = acc, uint(state&63), pos
			return at, bad
		}
		if d.dcs.comps != nil {
			d.dcs.next(d)
			col = d.dcs.col
		}
	}
	f.acc, f.n, f.pos = acc, uint(state&63), pos
	d.pred = pred
	if f.over() {
		return end - 1, bad
	}
	return end, good
}

// complete tells whether the block ended with its last
// coefficient, or with an end of block before that. Otherwise a path led out of it.
func complete(state int) bool {
	left := state >> pathSkip
	return left == -1 || uint(left+pathEOB) <= 62
}

// longDC is the path of a code of any length, 0 when there is none.
func (t *table) longDC(acc uint64, maxSize byte) dcPath {
	length, size := t.code(acc)
	if length == 0 || size > maxSize {
		return 0
	}
	return dcPath(length+uint(size)) | dcPath(length)<<6 | dcPath(size)<<11
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
