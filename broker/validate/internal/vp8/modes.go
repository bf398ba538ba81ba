package vp8

// The modes of prediction (section 8.1). Whole macroblocks know the first four only.
const (
	average = iota // B_DC_PRED
	plane          // B_TM_PRED
	down           // B_VE_PRED: from above
	across         // B_HE_PRED: from the left
	rightDown
	downRight // B_VR_PRED
	leftDown
	downLeft // B_VL_PRED
	acrossDown
	acrossUp
	blockModes
)

// readModes reads a macroblock's head (sections 10, 11.1 to 11.4).
func (d *decoder) readModes(m *macroblock, above *edge) {
	p, left := &d.modes, &d.left
	if d.mapped {
		switch {
		case !p.bit(d.mapProbs[0]):
			m.segment = 0
			if p.bit(d.mapProbs[1]) {
				m.segment = 1
			}
		default:
			m.segment = 2
			if p.bit(d.mapProbs[2]) {
				m.segment = 3
			}
		}
	}
	m.skip = d.skips && p.bit(d.skipProb)
	if m.whole = p.bit(145); m.whole {
		mode := uint8(average)
		if p.bit(156) {
			mode = across
			if p.bit(128) {
				mode = plane
			}
		} else if p.bit(163) {
			mode = down
		}
		m.luma[0] = mode
		all := [4]uint8{mode, mode, mode, mode}
		above.modes, left.modes = all, all
	} else {
		for i := range m.luma {
			a, l := &above.modes[i&3], &left.modes[i>>2]
			mode := p.blockMode(&blockModeProbs[*a][*l])
			m.luma[i], *a, *l = mode, mode, mode
		}
	}
	m.chroma = average
	if p.bit(142) {
		m.chroma = down
		if p.bit(114) {
			m.chroma = across
			if p.bit(183) {
				m.chroma = plane
			}
		}
	}
}

// blockMode reads the mode of a luma block.
func (p *partition) blockMode(probs *[blockModes - 1]uint8) uint8 {
	switch {
	case !p.bit(probs[0]):
		return average
	case !p.bit(probs[1]):
		return plane
	case !p.bit(probs[2]):
		return down
	case !p.bit(probs[3]):
		switch {
		case !p.bit(probs[4]):
			return across
		case !p.bit(probs[5]):
			return rightDown
		}
		return downRight
	case !p.bit(probs[6]):
		return leftDown
	case !p.bit(probs[7]):
		return downLeft
	case !p.bit(probs[8]):
		return acrossDown
	}
	return acrossUp
}
