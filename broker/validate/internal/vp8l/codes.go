package vp8l

// The five codes of a group (section 5.1).
const (
	green = iota
	red
	blue
	alpha
	far
	codesOfGroup
)

const (
	literals  = 256
	lengths   = 24
	distances = 40
)

// code is a canonical prefix code (section 5.2.1): its symbols in the order of
// their codes, and a table of those of up to lookBits bits.
type code struct {
	look    [1 << lookBits]uint16 // symbol<<4 | bits; 0: a longer one, or a code of one symbol
	symbols []uint16
	counts  [maxBits + 1]uint16
}

const (
	lookBits = 7
	maxBits  = 15
)

// build makes a code of its lengths in bits, which must be complete.
func (c *code) build(bits []uint8) error {
	var offsets [maxBits + 2]uint16
	used := 0
	for _, n := range bits {
		if n > 0 {
			c.counts[n]++
			used++
		}
	}
	if used == 0 {
		return ErrInvalid
	}
	sum := 0
	for n := 1; n <= maxBits; n++ {
		offsets[n+1] = offsets[n] + c.counts[n]
		sum += int(c.counts[n]) << (maxBits - n)
	}
	if used > 1 && sum != 1<<maxBits {
		return ErrInvalid
	}
	c.symbols = make([]uint16, used)
	for symbol, n := range bits {
		if n > 0 {
			c.symbols[offsets[n]] = uint16(symbol)
			offsets[n]++
		}
	}
	if used == 1 {
		return nil
	}
	next, at := 0, 0
	for n := 1; n <= lookBits; n++ {
		next <<= 1
		for range c.counts[n] {
			for i := reversed(next, n); i < 1<<lookBits; i += 1 << n {
				c.look[i] = c.symbols[at]<<4 | uint16(n)
			}
			next++
			at++
		}
	}
	return nil
}

func reversed(v, bits int) (r int) {
	for range bits {
		r = r<<1 | v&1
		v >>= 1
	}
	return r
}

// next takes one symbol.
func (c *code) next(d *decoder) uint32 {
	if d.n < maxBits {
		d.fill()
	}
	if e := c.look[d.acc&(1<<lookBits-1)]; e != 0 {
		d.acc >>= e & 15
		d.n -= uint(e & 15)
		return uint32(e >> 4)
	}
	if len(c.symbols) == 1 {
		return uint32(c.symbols[0])
	}
	value, first, at := 0, 0, 0
	for n := 1; n <= maxBits; n++ {
		value = value<<1 | int(d.acc>>(n-1)&1)
		count := int(c.counts[n])
		if value-first < count {
			d.acc >>= n
			d.n -= uint(n)
			return uint32(c.symbols[at+value-first])
		}
		first, at = (first+count)<<1, at+count
	}
	return 0 // not with a complete code
}

// bytes is about what the code holds.
func (c *code) bytes() int { return 2*len(c.symbols) + 2<<lookBits + 80 }

// group is the five codes that a pixel is written in.
type group [codesOfGroup]code

// groups are all of an image's, and which of its squares uses which.
type groups struct {
	list  []group
	bits  uint // log2 of a square's side; 0: there is one group
	mask  int
	tiles int // in a row
	index []uint16
}

func (g *groups) at(x, y int) *group {
	if g.bits == 0 {
		return &g.list[0]
	}
	return &g.list[g.index[y>>g.bits*g.tiles+x>>g.bits]]
}

// groups reads the codes of an image (section 5.2.2).
func (d *decoder) groups(width, height int, top bool, cacheBits uint) (*groups, error) {
	g := &groups{}
	count := 1
	if top && d.read(1) == 1 {
		g.bits = uint(d.read(3)) + 2
		g.mask = 1<<g.bits - 1
		g.tiles = tiles(width, g.bits)
		down := tiles(height, g.bits)
		if g.tiles*down > maxGroupTiles {
			return nil, ErrTooMuch
		}
		g.index = make([]uint16, 0, g.tiles*down)
		err := d.pixels(g.tiles, down, false, func(_ int, row []uint32) {
			for _, v := range row {
				n := uint16(v >> 8)
				count = max(count, int(n)+1)
				g.index = append(g.index, n)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	// A group that no square uses is read, but not kept.
	slots := make([]int, count)
	for i := range slots {
		slots[i] = -1
	}
	used := 0
	if g.bits == 0 {
		slots[0], used = 0, 1
	}
	for i, n := range g.index {
		if slots[n] < 0 {
			slots[n] = used
			used++
		}
		g.index[i] = uint16(slots[n])
	}
	g.list = make([]group, 0, min(used, 16))
	byIndex := make([]int, used) // where the group of a slot came to lie
	held := 0
	for i := range count {
		var one group
		for k := range one {
			alphabet := [codesOfGroup]int{literals + lengths, literals, literals, literals, distances}[k]
			if k == green && cacheBits > 0 {
				alphabet += 1 << cacheBits
			}
			if err := d.code(&one[k], alphabet); err != nil {
				return nil, err
			}
			if slots[i] >= 0 {
				held += one[k].bytes()
			}
		}
		if err := d.ended(); err != nil {
			return nil, err
		}
		if held > maxCodeBytes {
			return nil, ErrTooMuch
		}
		if slots[i] >= 0 {
			byIndex[slots[i]] = len(g.list)
			g.list = append(g.list, one)
		}
	}
	for i, n := range g.index {
		g.index[i] = uint16(byIndex[n])
	}
	return g, nil
}

// code reads one code of so many symbols (section 5.2.1).
func (d *decoder) code(c *code, alphabet int) error {
	bits := make([]uint8, alphabet)
	if d.read(1) == 1 {
		n := d.read(1) + 1
		wide := 1 + 7*uint(d.read(1))
		for range n {
			symbol := d.read(wide)
			if int(symbol) >= alphabet {
				return ErrInvalid
			}
			d.twice = d.twice || bits[symbol] == 1
			bits[symbol] = 1 // twice the same is a code of one symbol, and of no bits
			wide = 8
		}
		return c.build(bits)
	}
	var ofLengths [19]uint8
	count := d.read(4) + 4
	if count > 19 {
		return ErrInvalid
	}
	for _, i := range []int{17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}[:count] {
		ofLengths[i] = uint8(d.read(3))
	}
	var l code
	if err := l.build(ofLengths[:]); err != nil {
		return err
	}
	most := alphabet
	if d.read(1) == 1 {
		most = 2 + int(d.read(2+2*uint(d.read(3))))
		if most > alphabet {
			return ErrInvalid
		}
	}
	last := uint8(8)
	for at := 0; at < alphabet && most > 0; most-- {
		symbol := uint8(l.next(d))
		if symbol < 16 {
			bits[at] = symbol
			if symbol > 0 {
				last = symbol
			}
			at++
			continue
		}
		k := [3]uint{2, 3, 7}[symbol-16]
		run := [3]int{3, 3, 11}[symbol-16] + int(d.read(k))
		if at+run > alphabet {
			return ErrInvalid
		}
		for ; run > 0; run-- {
			if symbol == 16 {
				bits[at] = last
			}
			at++
		}
	}
	return c.build(bits)
}
