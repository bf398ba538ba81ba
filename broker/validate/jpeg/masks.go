package jpeg

// maskBlocks is how many blocks one piece of a masks tells of: 32 KB.
const (
	maskShift  = 12
	maskBlocks = 1 << maskShift
)

// masks tells which coefficients of a component's blocks are non-zero, by a bit
// each. Pieces that are all zeros are one and the same, so that a picture takes
// memory for what its data brings and not for what its header says.
type masks struct {
	pieces []*maskPiece
	zeros  *maskPiece // never written to
}

type maskPiece [maskBlocks]uint64

func newMasks(blocks int, zeros *maskPiece) masks {
	m := masks{pieces: make([]*maskPiece, (blocks+maskBlocks-1)>>maskShift), zeros: zeros}
	for i := range m.pieces {
		m.pieces[i] = zeros
	}
	return m
}

// of gives the coefficients of a block that are non-zero.
func (m *masks) of(block int64) uint64 { return m.pieces[block>>maskShift][block&(maskBlocks-1)] }

// next gives those of up to max blocks from this one on; there may be more.
func (m *masks) next(block, max int64) []uint64 {
	rest := m.pieces[block>>maskShift][block&(maskBlocks-1):]
	return rest[:min(max, int64(len(rest)))]
}

// add says that coefficients of a block are non-zero.
func (m *masks) add(block int64, coefficients uint64) {
	piece := m.pieces[block>>maskShift]
	if piece == m.zeros {
		piece = m.own(block)
	}
	piece[block&(maskBlocks-1)] |= coefficients
}

//go:noinline
func (m *masks) own(block int64) *maskPiece {
	piece := new(maskPiece)
	m.pieces[block>>maskShift] = piece
	return piece
}
