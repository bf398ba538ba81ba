package vp8l

// The kinds of transforms (section 4).
const (
	predictor = iota
	crossColour
	subtractGreen
	colourIndex
)

// transform is one that has to be undone, row by row.
type transform struct {
	kind  int
	bits  uint
	width int // of a row when it is undone
	table []uint32
	last  []uint32 // the row above, undone
	out   []uint32
}

// undo gives the row as it was before the transform; it may change row.
func (t *transform) undo(y int, row []uint32) []uint32 {
	switch t.kind {
	case predictor:
		t.predict(y, row)
		t.last = append(t.last[:0], row...)
	case crossColour:
		table := t.table[y>>t.bits*tiles(t.width, t.bits):]
		for x, v := range row {
			m := table[x>>t.bits]
			g, r, b := int32(int8(v>>8)), v>>16, v
			r += uint32(int32(int8(m)) * g >> 5)
			b += uint32(int32(int8(m>>8)) * g >> 5)
			b += uint32(int32(int8(m>>16)) * int32(int8(r)) >> 5)
			row[x] = v&0xFF00FF00 | r&0xFF<<16 | b&0xFF
		}
	case subtractGreen:
		for x, v := range row {
			g := v >> 8 & 0xFF
			row[x] = v&0xFF00FF00 | (v&0xFF00FF+g<<16+g)&0xFF00FF
		}
	case colourIndex:
		return t.colours(row)
	}
	return row
}

// colours replaces indices, of which a pixel may hold several.
func (t *transform) colours(row []uint32) []uint32 {
	t.out = t.out[:0]
	each := 8 >> t.bits
	mask := uint32(1)<<each - 1
	for x := range t.width {
		v := row[x>>t.bits] >> 8 & 0xFF
		v >>= uint(x & (1<<t.bits - 1) * each)
		t.out = append(t.out, t.table[v&mask])
	}
	return t.out
}

// predict adds to each pixel what its neighbours foretell (section 4.1).
func (t *transform) predict(y int, row []uint32) {
	const black = 0xFF000000
	if y == 0 {
		row[0] = add(row[0], black)
		for x := 1; x < len(row); x++ {
			row[x] = add(row[x], row[x-1])
		}
		return
	}
	above := t.last
	row[0] = add(row[0], above[0])
	table := t.table[y>>t.bits*tiles(t.width, t.bits):]
	for x := 1; x < len(row); x++ {
		left, up, corner := row[x-1], above[x], above[x-1]
		next := row[0] // right of the last pixel above is the first of this row
		if x+1 < len(row) {
			next = above[x+1]
		}
		p := uint32(black)
		switch table[x>>t.bits] >> 8 & 15 {
		case 1:
			p = left
		case 2:
			p = up
		case 3:
			p = next
		case 4:
			p = corner
		case 5:
			p = mean(mean(left, next), up)
		case 6:
			p = mean(left, corner)
		case 7:
			p = mean(left, up)
		case 8:
			p = mean(corner, up)
		case 9:
			p = mean(up, next)
		case 10:
			p = mean(mean(left, corner), mean(up, next))
		case 11:
			p = choose(left, up, corner)
		case 12:
			p = each(left, up, corner, func(a, b, c int32) int32 { return a + b - c })
		case 13:
			p = each(mean(left, up), corner, 0, func(a, b, _ int32) int32 { return a + (a-b)/2 })
		}
		row[x] = add(row[x], p)
	}
}

// add adds each of the four channels.
func add(a, b uint32) uint32 {
	return (a&0xFF00FF00+b&0xFF00FF00)&0xFF00FF00 | (a&0xFF00FF+b&0xFF00FF)&0xFF00FF
}

// mean is that of each channel, rounded down.
func mean(a, b uint32) uint32 { return (a^b)&0xFEFEFEFE>>1 + a&b }

// choose is the one of left and up that is nearer to left + up - corner.
func choose(left, up, corner uint32) uint32 {
	l, u := int32(0), int32(0)
	for k := 0; k < 32; k += 8 {
		c := int32(corner >> k & 0xFF)
		a, b := c-int32(up>>k&0xFF), c-int32(left>>k&0xFF)
		l, u = l+max(a, -a), u+max(b, -b)
	}
	if l < u {
		return left
	}
	return up
}

// each computes each channel, held to 0 to 255.
func each(a, b, c uint32, f func(a, b, c int32) int32) (p uint32) {
	for k := 0; k < 32; k += 8 {
		v := f(int32(a>>k&0xFF), int32(b>>k&0xFF), int32(c>>k&0xFF))
		p |= uint32(min(max(v, 0), 255)) << k
	}
	return p
}
