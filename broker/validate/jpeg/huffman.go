package jpeg

import "errors"

// Widths of the look-up tables. A wider one decodes more codes at once and is
// found in a slower cache; these were the fastest on machines of 32 and 48 KB of L1.
const (
	codeBits = 10 // codes up to this length take one look-up
	pathBits = 12
)

// table is one Huffman table (T.81 annex C and F.2.2.3).
type table struct {
	lut     [1 << codeBits]uint16 // length<<8 | symbol; 0: longer than codeBits, or no code
	maxCode [18]int32             // largest code of each length, -1 when there is none
	valPtr  [17]int32             // symbol index of a code of that length, less the code
	symbols [256]byte
	count   int
	largest byte // symbol

	paths  *[1 << pathBits]path // of an AC table, once it is needed
	firsts *[1 << pathBits]path // of the first code of each path alone; 0: it is longer, or none
	pathOf byte                 // for which largest size

	dcPaths *[1 << codeBits]dcPath // of a DC table, once it is needed

	// The codes that are longer than pathBits are the last of their order, so that
	// they stand close together: long is by a code's 16 bits, less longFrom.
	long     []path
	longFrom uint64
}

var errTable = errors.New("its code lengths contradict each other")

// define builds the table from the 16 counts and the symbols of a DHT segment
// (T.81 annex C). No code is all ones, so the last of a length must leave one over.
func (t *table) define(counts []byte, symbols []byte) error {
	*t = table{count: len(symbols), paths: t.paths, firsts: t.firsts, dcPaths: t.dcPaths, long: t.long[:0]}
	copy(t.symbols[:], symbols)
	for _, s := range symbols {
		t.largest = max(t.largest, s)
	}
	code, index := int32(0), int32(0)
	for length := 1; length <= 16; length++ {
		t.maxCode[length] = -1
		n := int32(counts[length-1])
		t.valPtr[length] = index - code
		if n > 0 && code+n >= 1<<length {
			return errTable
		}
		for ; n > 0; n-- {
			if length <= codeBits {
				entry := uint16(length)<<8 | uint16(symbols[index])
				first := code << (codeBits - length)
				for i := range int32(1) << (codeBits - length) {
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

// code finds the code at the top of acc. Length 0: there is none.
func (t *table) code(acc uint64) (length uint, symbol byte) {
	if e := t.lut[acc>>(64-codeBits)]; e != 0 {
		return uint(e >> 8), byte(e)
	}
	for n := uint(codeBits + 1); n <= 16; n++ {
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

// path is what the next pathBits bits of a sequential block lead to: all codes
// that lie whole within them, each with the bits of its magnitude, which may reach
// beyond. Nothing of a magnitude is kept, so its bits need not be seen.
//
//	bits 0 to  7  how many bits that takes, of table.paths maxPath at most; 0: none
//	bits 8 to 15  by how many coefficients it goes on; pathEOB more at an end of block
//
// It is as short as that for the sake of the cache.
type path uint16

const (
	pathSkip = 8 // bits below the second figure
	pathEOB  = 128
	pathNone = path(64 << 8) // leaves the loop of sequential, as an end does

	// maxPath is so that of 64 bits, behind 3 paths, or a DC of 31 and one path,
	// enough are left for the next look-up.
	maxPath = 17
)

func (p path) bits() uint { return uint(p & 63) }
func (p path) skip() uint { return uint(p) >> 8 }

// build makes the paths of an AC table whose magnitudes have at most maxSize bits.
func (t *table) build(maxSize byte) {
	if t.paths != nil && t.pathOf == maxSize {
		return
	}
	if t.paths == nil {
		t.paths, t.firsts = new([1 << pathBits]path), new([1 << pathBits]path)
	}
	t.pathOf = maxSize
	var length [1 << pathBits]uint8 // of the first code
	single := t.firsts              // of the first code and its magnitude
	clear(single[:])
	code, index := 0, 0
	for l := 1; l <= pathBits; l++ {
		for ; int32(code) <= t.maxCode[l]; code++ {
			symbol := t.symbols[index]
			index++
			run, size := symbol>>4, symbol&15
			skip := path(run) + 1
			switch {
			case symbol == 0:
				skip = pathEOB
			case size == 0 && run != 15 || size > maxSize:
				continue // block says so
			}
			p := path(l+int(size)) | skip<<8
			from := code << (pathBits - l)
			for i := from; i < from+1<<(pathBits-l); i++ {
				length[i], single[i] = uint8(l), p
			}
		}
		code <<= 1
	}
	t.long, t.longFrom = t.long[:0], uint64(code)<<(16-pathBits-1)
	for l := pathBits + 1; l <= 16; l++ {
		for ; int32(code) <= t.maxCode[l]; code++ {
			p := longPath(uint(l), t.symbols[index], maxSize)
			index++
			for range 1 << (16 - l) {
				t.long = append(t.long, p)
			}
		}
		code <<= 1
	}
	for i, p := range single {
		bits, skip := p.bits(), p.skip()
		if p == 0 || bits > maxPath {
			t.paths[i] = pathNone
			continue
		}
		for skip < pathEOB && bits < pathBits {
			j := i << bits & (1<<pathBits - 1)
			next := single[j]
			if next == 0 || bits+uint(length[j]) > pathBits || bits+next.bits() > maxPath ||
				skip+next.skip()%pathEOB > 63 {
				break
			}
			bits += next.bits()
			skip += next.skip()
		}
		t.paths[i] = path(bits) | path(skip)<<8
	}
}

// dcPath is one code of a DC table with its magnitude.
//
//	bits  0 to  5  how many bits they take; 0: the code is longer than codeBits, or none
//	bits  6 to 10  of these, the code's
//	bits 11 to 15  the magnitude's
type dcPath uint16

// buildDC makes the paths of a DC table whose magnitudes have at most maxSize bits.
func (t *table) buildDC(maxSize byte) {
	if t.dcPaths == nil {
		t.dcPaths = new([1 << codeBits]dcPath)
	}
	for i, e := range &t.lut {
		length, size := e>>8, e&255
		t.dcPaths[i] = 0
		if e != 0 && size <= uint16(maxSize) {
			t.dcPaths[i] = dcPath(length + size | length<<6 | size<<11)
		}
	}
}
