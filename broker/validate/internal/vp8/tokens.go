package vp8

// The types of blocks (section 13.3).
const (
	lumaRest = iota // their DC is in the second order
	secondOrder
	chroma
	lumaAll
	types
)

const (
	bands    = 8
	contexts = 3
	nodes    = 11 // of the tree of tokens
	second   = 24 // the block of luma's second order
)

// tokenProbs are the probabilities of the tree's nodes, for each type of block, for
// each coefficient's place (the last: behind the block's end, never used), and for
// what the one before it was: 0, 1, or more.
type tokenProbs [types][17][contexts][nodes]uint8

// read reads what the picture changes of the probabilities (section 13.4).
func (t *tokenProbs) read(p *partition) {
	bandOf := [16]uint8{0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7}
	probs := firstTokenProbs
	for i := range types {
		for band := range bands {
			for context := range contexts {
				for node := range nodes {
					if p.bit(changeProbs[i][band][context][node]) {
						probs[i][band][context][node] = uint8(p.number(8))
					}
				}
			}
		}
		for at, band := range bandOf {
			t[i][at] = probs[i][band]
		}
	}
}

// readTokens reads all blocks of a macroblock.
func (d *decoder) readTokens(m *macroblock, above *edge, p *partition) {
	left := &d.left
	if m.skip {
		m.ends = [25]uint8{}
		last := [2]uint8{above.nonzero[8], left.nonzero[8]}
		above.nonzero, left.nonzero = [9]uint8{}, [9]uint8{}
		if !m.whole { // it has no second order
			above.nonzero[8], left.nonzero[8] = last[0], last[1]
		}
		return
	}
	s := &d.steps[m.segment&(segments-1)]
	kind, first := &d.probs[lumaAll], 0
	m.ends[second] = 0
	if m.whole {
		a, l := &above.nonzero[8], &left.nonzero[8]
		end := p.block(&d.probs[secondOrder], *a+*l, 0, &s.second, &m.coeffs[second])
		m.ends[second] = uint8(end)
		*a = nonzero(end > 0)
		*l = *a
		kind, first = &d.probs[lumaRest], 1
	}
	for i := range 16 {
		a, l := &above.nonzero[i&3], &left.nonzero[i>>2]
		end := p.block(kind, *a+*l, first, &s.luma, &m.coeffs[i])
		m.ends[i] = uint8(end)
		*a = nonzero(end > first)
		*l = *a
	}
	kind = &d.probs[chroma]
	for i := range 8 {
		of := 4 + i&4>>1
		a, l := &above.nonzero[of+i&1], &left.nonzero[of+i>>1&1]
		end := p.block(kind, *a+*l, 0, &s.chroma, &m.coeffs[16+i])
		m.ends[16+i] = uint8(end)
		*a = nonzero(end > 0)
		*l = *a
	}
}

func nonzero(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// zigzag is the order of a block's coefficients.
var zigzag = [16]uint8{0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15}

// block reads the tokens of one block (section 13.2) and says where they end. to
// gets the coefficients, multiplied; those that are 0 stay as they were. 16 bits
// hold what an encoder writes; more is cut, as others do.
func (p *partition) block(probs *[17][contexts][nodes]uint8, context uint8, first int, steps *[2]int32, to *[16]int16) int {
	w := p.window
	at := first
	node := &probs[at][context]
	for at < 16 {
		if w.spare < 0 {
			w = p.fill(w)
		}
		cut := w.cut(node[0])
		if w.value < cut {
			w = w.zero(cut)
			break
		}
		w = w.one(cut)
		for {
			if w.spare < 0 {
				w = p.fill(w)
			}
			cut = w.cut(node[1])
			if w.value >= cut {
				break
			}
			w = w.zero(cut)
			at++
			node = &probs[at][0]
			if at == 16 {
				p.window = w
				return 16
			}
		}
		w = w.one(cut)
		if w.spare < 0 {
			w = p.fill(w)
		}
		v, follows := int32(1), 1
		cut = w.cut(node[2])
		if w.value < cut {
			w = w.zero(cut)
		} else {
			w, v = p.large(w.one(cut), node)
			follows = 2
		}
		if w.spare < 0 {
			w = p.fill(w)
		}
		var sign int32
		w, sign = w.sign()
		v = (v ^ sign) - sign
		to[zigzag[at]] = int16(v * steps[min(at, 1)])
		at++
		node = &probs[at][follows]
	}
	p.window = w
	return at
}

// The categories of values above 4: the lowest of each, and the probabilities of the
// bits that are added to it, the highest first.
var categories = [6]struct {
	lowest int32
	probs  []uint8
}{
	{5, []uint8{159}},
	{7, []uint8{165, 145}},
	{11, []uint8{173, 148, 140}},
	{19, []uint8{176, 155, 140, 135}},
	{35, []uint8{180, 157, 141, 134, 130}},
	{67, []uint8{254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129}},
}

// large reads a value above 1.
func (p *partition) large(w window, node *[nodes]uint8) (window, int32) {
	var one bool
	if w, one = p.decide(w, node[3]); !one {
		if w, one = p.decide(w, node[4]); !one {
			return w, 2
		}
		if w, one = p.decide(w, node[5]); !one {
			return w, 3
		}
		return w, 4
	}
	of := 0
	if w, one = p.decide(w, node[6]); !one {
		if w, one = p.decide(w, node[7]); one {
			of = 1
		}
	} else if w, one = p.decide(w, node[8]); !one {
		of = 2
		if w, one = p.decide(w, node[9]); one {
			of = 3
		}
	} else {
		of = 4
		if w, one = p.decide(w, node[10]); one {
			of = 5
		}
	}
	c := &categories[of]
	v := int32(0)
	for _, prob := range c.probs {
		if w.spare < 0 {
			w = p.fill(w)
		}
		var bit int32
		w, bit = w.bit(prob)
		v = v<<1 - bit
	}
	return w, c.lowest + v
}
