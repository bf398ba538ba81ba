package jpeg

import (
	"encoding/binary"
	"errors"
)

const lutBits = 10 // codes up to this length take one look-up

// table is one Huffman table (T.81 annex C and F.2.2.3).
type table struct {
	lut     [1 << lutBits]uint16 // length<<8 | symbol; 0: longer than lutBits, or no code
	maxCode [18]int32            // largest code of each length, -1 when there is none
	valPtr  [17]int32            // symbol index of a code of that length, less the code
	symbols [256]byte
	count   int
}

var errTable = errors.New("its code lengths contradict each other")

// define builds the table from the 16 counts and the symbols of a DHT segment.
func (t *table) define(counts []byte, symbols []byte) error {
	*t = table{count: len(symbols)}
	copy(t.symbols[:], symbols)
	code, index := int32(0), int32(0)
	for length := 1; length <= 16; length++ {
		t.maxCode[length] = -1
		n := int32(counts[length-1])
		t.valPtr[length] = index - code
		if code+n > 1<<length {
			return errTable
		}
		for ; n > 0; n-- {
			if length <= lutBits {
				entry := uint16(length)<<8 | uint16(symbols[index])
				first := code << (lutBits - length)
				for i := range int32(1) << (lutBits - length) {
					t.lut[first+i] = entry
				}
			}
			t.maxCode[length] = code
			code++
			index++
		}
		code <<= 1
	}
	return nil
}

// long finds the code at the top of acc that is longer than lutBits.
// Length 0: no such code.
func (t *table) long(acc uint64) (length uint, symbol byte) {
	for n := uint(lutBits + 1); n <= 16; n++ {
		code := int32(acc >> (64 - n))
		if code <= t.maxCode[n] {
			i := t.valPtr[n] + code
			if i < 0 || int(i) >= t.count {
				return 0, 0
			}
			return n, t.symbols[i]
		}
	}
	return 0, 0
}

// bits gives the entropy-coded bits of one interval, without the stuffed zero
// bytes (T.81 B.1.1.5), up to the next marker.
type bits struct {
	src     *reader
	acc     uint64 // the next bits, from the top; below them zeros or the bits that follow
	n       int    // how many are valid; below 0: more were taken than there are
	stopped bool   // a marker or the end of the stream was met
	marker  byte   // that marker's code; 0: the end of the stream
}

func (b *bits) reset() { b.acc, b.n, b.stopped, b.marker = 0, 0, false, 0 }

// fill loads as many whole bytes as fit. It loads nothing behind a marker: what
// is then taken too much makes n negative.
func (b *bits) fill() {
	src := b.src
	if b.stopped {
		return
	}
	if src.end-src.pos >= 8 {
		v := binary.BigEndian.Uint64(src.buf[src.pos:])
		// No byte of v is 0xFF: none of ^v is zero.
		if (^v-0x0101010101010101)&v&0x8080808080808080 == 0 {
			k := (64 - b.n) >> 3
			b.acc |= v >> uint(b.n)
			b.n += k << 3
			src.pos += k
			return
		}
	}
	// Bits below n may hold part of the byte that follows; make room for exact ones.
	b.acc &= ^(^uint64(0) >> uint(b.n))
	for b.n <= 56 {
		c, ok := src.byte()
		if !ok {
			b.stopped = true
			return
		}
		if c == 0xFF {
			for c == 0xFF { // fill bytes may come before a marker (B.1.1.2)
				if c, ok = src.byte(); !ok {
					b.stopped = true
					return
				}
			}
			if c != 0 {
				b.stopped, b.marker = true, c
				return
			}
			c = 0xFF
		}
		b.acc |= uint64(c) << uint(56-b.n)
		b.n += 8
	}
}

// take consumes k bits, 32 at most, and gives them.
func (b *bits) take(k uint) uint32 {
	if b.n < 32 {
		b.fill()
	}
	v := uint32(b.acc >> 1 >> (63 - k))
	b.acc <<= k
	b.n -= int(k)
	return v
}

// symbol decodes one code of t. False: no such code, or the bits ended.
func (b *bits) symbol(t *table) (byte, bool) {
	if b.n < 32 {
		b.fill()
	}
	var length uint
	var sym byte
	if e := t.lut[b.acc>>(64-lutBits)]; e != 0 {
		length, sym = uint(e>>8), byte(e)
	} else if length, sym = t.long(b.acc); length == 0 {
		return 0, false
	}
	b.acc <<= length
	b.n -= int(length)
	return sym, b.n >= 0
}

// drain drops everything up to the next marker, and says how many whole bytes
// that was and how many of them are not padding (zeros or 0xFF).
func (b *bits) drain() (total, foreign int64) {
	if b.n < 0 {
		b.n = 0
	}
	partial := uint(b.n & 7)
	b.acc <<= partial
	b.n -= int(partial)
	for {
		for ; b.n >= 8; b.n -= 8 {
			if c := byte(b.acc >> 56); c != 0 && c != 0xFF {
				foreign++
			}
			total++
			b.acc <<= 8
		}
		if b.stopped {
			return total, foreign
		}
		b.n = 0
		b.fill()
	}
}
