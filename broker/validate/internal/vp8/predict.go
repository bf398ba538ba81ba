package vp8

import "encoding/binary"

// predict foretells a macroblock's samples of the plane at once (sections 12.2 and
// 12.3).
func (b *band) predict(at int, mode uint8, onLeft, above bool) {
	side, stride := b.side, b.stride
	top := b.pix[at-stride:][:side]
	switch mode {
	case average:
		sum, n := 0, 0
		if above {
			for _, v := range top {
				sum += int(v)
			}
			n += side
		}
		if onLeft {
			for y := range side {
				sum += int(b.pix[at+y*stride-1])
			}
			n += side
		}
		mean := 128
		if n > 0 {
			mean = (sum + n/2) / n
		}
		for y := range side {
			level(b.pix[at+y*stride:][:side], uint8(mean))
		}
	case down:
		for y := range side {
			copy(b.pix[at+y*stride:], top)
		}
	case across:
		for y := range side {
			level(b.pix[at+y*stride:][:side], b.pix[at+y*stride-1])
		}
	case plane:
		corner := int32(b.pix[at-stride-1])
		for y := range side {
			more := int32(b.pix[at+y*stride-1]) - corner
			row := b.pix[at+y*stride:][:side]
			for x, v := range top[:len(row)] {
				row[x] = clamp(int32(v) + more)
			}
		}
	}
}

// level fills row, of 8 or 16 samples.
func level(row []byte, v uint8) {
	all := uint64(v) * 0x0101010101010101
	for ; len(row) >= 8; row = row[8:] {
		binary.LittleEndian.PutUint64(row, all)
	}
}

// mean is that of each of eight samples, rounded up.
func mean(a, b uint64) uint64 { return (a | b) - (a^b)>>1&0x7F7F7F7F7F7F7F7F }

// smooth is the mean of each of eight samples, taken twice, and its neighbours. To
// round the neighbours' mean down makes the result that of all, rounded once.
func smooth(a, b, c uint64) uint64 { return mean(a&c+(a^c)>>1&0x7F7F7F7F7F7F7F7F, b) }

// predictBlock foretells a luma block (section 12.3). above are the eight samples
// above it, the first in the lowest byte, as in all such numbers here.
func (b *band) predictBlock(at int, mode uint8, above uint64) {
	stride := b.stride
	to := b.pix[at-stride-1:][:4*stride+5]
	corner := uint64(to[0])
	l0, l1, l2, l3 := uint64(to[stride]), uint64(to[2*stride]), uint64(to[3*stride]), uint64(to[4*stride])
	left := l0 | l1<<8 | l2<<16 | l3<<24
	var rows [4]uint32
	switch mode {
	case average:
		sum := l0 + l1 + l2 + l3 + above&0xFF + above>>8&0xFF + above>>16&0xFF + above>>24&0xFF
		rows[0] = uint32((sum+4)>>3) * 0x01010101
		rows[1], rows[2], rows[3] = rows[0], rows[0], rows[0]
	case plane:
		for y := range rows {
			more := int32(left>>(8*y)&0xFF) - int32(corner)
			for x := range 4 {
				rows[y] |= uint32(clamp(int32(above>>(8*x)&0xFF)+more)) << (8 * x)
			}
		}
	case down:
		rows[0] = uint32(smooth(corner|above<<8, above, above>>8))
		rows[1], rows[2], rows[3] = rows[0], rows[0], rows[0]
	case across:
		v := smooth(corner|left<<8, left, left>>8|l3<<24)
		for y := range rows {
			rows[y] = uint32(v>>(8*y)&0xFF) * 0x01010101
		}
	case leftDown:
		v := smooth(above, above>>8, above>>16|above>>56<<48)
		rows = [4]uint32{uint32(v), uint32(v >> 8), uint32(v >> 16), uint32(v >> 24)}
	case downLeft:
		two, three := mean(above, above>>8), smooth(above, above>>8, above>>16)
		rows[0], rows[1] = uint32(two), uint32(three)
		rows[2] = uint32(two>>8)&0xFFFFFF | uint32(three>>32)<<24
		rows[3] = uint32(three>>8)&0xFFFFFF | uint32(three>>40)<<24
	case acrossUp:
		next := left>>8 | l3<<24
		two, three := mean(left, next), smooth(left, next, next>>8|l3<<24)
		v := weave(two, three)&0xFFFFFFFFFFFF | l3<<48 | l3<<56
		rows = [4]uint32{uint32(v), uint32(v >> 16), uint32(v >> 32), uint32(l3) * 0x01010101}
	default:
		// Along the edge: up on the left, over the corner, to the right.
		edge := l3 | l2<<8 | l1<<16 | l0<<24 | corner<<32 | above<<40
		next := edge>>8 | above>>24<<56
		two, three := mean(edge, next), smooth(edge, next, next>>8)
		switch mode {
		case rightDown:
			rows = [4]uint32{uint32(three >> 24), uint32(three >> 16), uint32(three >> 8), uint32(three)}
		case downRight:
			rows[0], rows[1] = uint32(two>>32), uint32(three>>24)
			rows[2] = rows[0]<<8 | uint32(three>>16&0xFF)
			rows[3] = rows[1]<<8 | uint32(three>>8&0xFF)
		case acrossDown:
			v := weave(two, three)
			rows = [4]uint32{uint32(v>>48) | uint32(three>>32)<<16, uint32(v >> 32), uint32(v >> 16), uint32(v)}
		}
	}
	for y, v := range rows {
		binary.LittleEndian.PutUint32(to[(y+1)*stride+1:], v)
	}
}

// weave takes four samples of each in turn.
func weave(a, b uint64) (v uint64) {
	for k := 0; k < 32; k += 8 {
		v |= (a>>k&0xFF | b>>k&0xFF<<8) << (2 * k)
	}
	return v
}
