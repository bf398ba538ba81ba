package jpeg

// status is how decoding went.
type status int

const (
	good status = iota
	bad         // no such code, one that can't stand here, or the bits ended
)

// maxDC and maxAC are the largest magnitude categories (T.81 tables F.1, F.2 and
// F.6, F.7: 4 more for 12 bits a sample).
func (d *decoder) maxDC() byte { return byte(11 + d.info.Precision - 8) }
func (d *decoder) maxAC() byte { return byte(10 + d.info.Precision - 8) }

// dcBits is how many bits a DC coefficient may have, its sign among them. The
// transform of T.81 A.3.3 gives one less; one is left for what encoders add to
// samples that are not in range.
func (d *decoder) dcBits() uint { return uint(d.info.Precision + 4) }

// wild reports whether a DC coefficient has more bits than that.
func wild(v int32, bits uint) bool { return uint32(v+1<<(bits-1))>>bits != 0 }

// extend is EXTEND of T.81 F.2.2.1: a leading 0 says negative.
func extend(v uint32, size uint) int32 {
	x := int32(v)
	if size > 0 && x < 1<<(size-1) {
		x += -1<<size + 1
	}
	return x
}
