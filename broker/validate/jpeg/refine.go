package jpeg

import (
	"encoding/binary"
	mathbits "math/bits"
)

// zeroList has the places of a block's zero coefficients, in their order. It has
// room for what a code may ask for behind the last of them.
type zeroList [128]uint8

// zeroPlaces gives for each byte the places of its bits that are 1, from the lowest
// on and one in each byte.
func zeroPlaces() *[256]uint64 {
	all := new([256]uint64)
	for b := range all {
		n := 0
		for place := range uint64(8) {
			if b>>place&1 == 1 {
				all[b] |= place << n
				n += 8
			}
		}
	}
	return all
}

// fill lists the bits of zeros and says how many they are.
func (l *zeroList) fill(zeros uint64, places *[256]uint64) (count uint) {
	for first := uint64(0); first != 0x4040404040404040; first += 0x0808080808080808 {
		// What is written behind the byte's last place is written over by the next byte.
		binary.LittleEndian.PutUint64(l[count&63:], places[zeros&255]+first)
		count += uint(mathbits.OnesCount8(uint8(zeros)))
		zeros >>= 8
	}
	return count
}

const (
	// refineTake is how many of acc's bits may be taken so that enough for a look-up
	// are left: all of them are good after a refill.
	refineTake = 64 - codeBits

	// refineRun is how many ended bands are passed at once: each has 63 bits at most,
	// and they must be in the buffer.
	refineRun = feedSlack / 16
)

// acRefine decodes a scan that brings one more bit of a band (T.81 G.1.2.3): a
// bit for each coefficient that is non-zero already, and new ones among the zeros.
//
// Where the zeros of a block are is listed first. Then each code, which means a
// zero by its number, tells all that there is to take at once: its own bits, a
// sign, and a bit for each non-zero coefficient before that zero.
func (d *decoder) acRefine(s scanHeader, from, end int64) (int64, status) {
	if d.places == nil {
		d.places = zeroPlaces()
	}
	f, places := &d.bits, d.places
	table, mask := s.comps[0].ac, &s.comps[0].c.mask
	band := ^uint64(0) >> (63 - s.se) &^ (1<<s.ss - 1)
	first, behind := uint(s.ss), uint(s.se)+1
	var zeros zeroList
	run := int64(0) // of blocks whose bands have no more codes
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
		if run > 0 {
			ended := mask.next(at, min(run, refineRun, end-at))
			bit := pos*8 - int(n)
			for _, m := range ended {
				bit += mathbits.OnesCount64(m & band)
			}
			at += int64(len(ended))
			run -= int64(len(ended))
			acc, n, pos = f.from(bit)
			continue
		}
		count := zeros.fill(band&^mask.of(at), places)
		k, zero := first, uint(0) // the coefficient that is next, and the zero
		fresh := uint64(0)        // the zeros that are none any more
		for k < behind {
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
			take, r, size := e>>8, e>>4&15, e&15
			if size == 0 && r < 15 { // the band ends, in so many blocks
				run = 1<<(r&15) + int64(acc<<(take&31)>>1>>((63-r)&63))
				take += r + behind - k - (count - zero)
				k = behind
			} else {
				zero += r
				if zero >= count || size > 1 {
					f.acc, f.n, f.pos = acc, n, pos
					return at, bad
				}
				place := uint(zeros[zero&127])
				take += size + place - k - r
				fresh |= uint64(size) << (place & 63)
				k = place + 1
				zero++
			}
			if take <= refineTake {
				acc <<= take & 63
				n -= take
				continue
			}
			acc, n, pos = f.from(pos*8 - int(n) + int(take))
		}
		if fresh != 0 {
			mask.add(at, fresh)
		}
		if run > 0 {
			run--
		}
		at++
	}
	f.acc, f.n, f.pos = acc, n, pos
	if run > 0 || f.over() {
		return end - 1, bad
	}
	return end, good
}
