package ossemu

import "hash/crc64"

// crcTable is that of x-oss-hash-crc64ecma: CRC-64/XZ, by the reversed ECMA-182
// polynomial, as Go's package has it.
func crcTable() *crc64.Table { return crc64.MakeTable(crc64.ECMA) }

// combineCRC is the CRC-64 of a text of which the CRC-64s of its two halves are
// known, and the length of the second half in bytes.
//
// To append a zero bit to a text multiplies its CRC, as a polynomial over GF(2),
// by x. That is linear, so a matrix; squaring it gives the matrices for 2, 4, 8 …
// bits. It's zlib's crc32_combine, with 64 bits.
func combineCRC(first, second uint64, secondBytes int64) uint64 {
	var m matrix // appends one zero bit
	m[0] = crc64.ECMA
	for i := 1; i < 64; i++ {
		m[i] = 1 << (i - 1)
	}
	m = m.squared().squared().squared() // eight
	for n := secondBytes; n > 0; n >>= 1 {
		if n&1 == 1 {
			first = m.times(first)
		}
		m = m.squared()
	}
	return first ^ second
}

// matrix is one of 64 by 64 bits, by columns.
type matrix [64]uint64

func (m *matrix) times(v uint64) uint64 {
	var sum uint64
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 == 1 {
			sum ^= m[i]
		}
	}
	return sum
}

func (m matrix) squared() (sq matrix) {
	for i := range m {
		sq[i] = m.times(m[i])
	}
	return sq
}
