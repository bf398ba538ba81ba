package jpeg

// A decoder of one interval of a sequential scan, written after the flow charts of
// T.81 and with no thought of speed, to hold the fast one against.

// plainBits reads bits one by one (T.81 figure F.18, NEXTBIT), from bytes whose
// stuffing was taken out already.
type plainBits struct {
	bytes []byte
	at    int // the next bit
}

func (b *plainBits) bit() int {
	v := 0 // behind the end are zeros
	if b.at < 8*len(b.bytes) {
		v = int(b.bytes[b.at/8]>>(7-b.at%8)) & 1
	}
	b.at++
	return v
}

// receive is RECEIVE of T.81 figure F.17.
func (b *plainBits) receive(n int) int {
	v := 0
	for range n {
		v = 2*v + b.bit()
	}
	return v
}

// plainTable has the codes of T.81 annex C, each by its length and value.
type plainTable map[[2]int]byte

// newPlainTable is Generate_size_table and Generate_code_table of T.81 figures C.1
// and C.2. False: a code does not fit into its length, or is all ones.
func newPlainTable(counts [16]byte, symbols []byte) (plainTable, bool) {
	t := plainTable{}
	code, k := 0, 0
	for length := 1; length <= 16; length++ {
		for range counts[length-1] {
			if code >= 1<<length-1 {
				return nil, false
			}
			t[[2]int{length, code}] = symbols[k]
			code++
			k++
		}
		code *= 2
	}
	return t, true
}

// decode is DECODE of T.81 figure F.16. False: 16 bits are no code.
func (b *plainBits) decode(t plainTable) (int, bool) {
	code := 0
	for length := 1; length <= 16; length++ {
		code = 2*code + b.bit()
		if symbol, ok := t[[2]int{length, code}]; ok {
			return int(symbol), true
		}
	}
	return 0, false
}

// plainScan decodes blocks, the tables and the component of each by its place in
// the MCU (T.81 F.2.2). It gives the DC of each block, and whether all went well.
func plainScan(bits *plainBits, mcus int, order []int, dc, ac []plainTable, precision int) ([]int, bool) {
	var dcs []int
	pred := map[int]int{}
	for range mcus {
		for _, comp := range order {
			// F.2.2.1: the DC difference.
			size, ok := bits.decode(dc[comp])
			if !ok || size > precision+3 { // table F.1 or F.6
				return dcs, false
			}
			diff := bits.receive(size)
			if size > 0 && diff < 1<<(size-1) { // EXTEND, figure F.12
				diff += -1<<size + 1
			}
			pred[comp] += diff
			if limit := 1 << (precision + 3); pred[comp] < -limit || pred[comp] >= limit {
				return dcs, false
			}
			// F.2.2.2, figure F.13: the AC coefficients.
			for k := 1; k <= 63; k++ {
				rs, ok := bits.decode(ac[comp])
				if !ok {
					return dcs, false
				}
				r, s := rs/16, rs%16
				if s == 0 {
					if r == 0 {
						break
					}
					if r != 15 {
						return dcs, false
					}
					if k += 15; k > 63 {
						return dcs, false
					}
					continue
				}
				if k += r; k > 63 || s > precision+2 { // table F.2 or F.7
					return dcs, false
				}
				bits.receive(s)
			}
			dcs = append(dcs, pred[comp])
		}
		if bits.at > 8*len(bits.bytes) {
			return dcs, false
		}
	}
	return dcs, true
}

// plainState is where a plain progressive decoder stands behind a block.
type plainState struct {
	bit    int    // the next
	eobRun int    // blocks whose band has ended already
	nz     uint64 // which coefficients of the block are not zero
}

// plainBand decodes a scan of a band of AC coefficients, block by block, until
// something is wrong (T.81 G.1.2.2, figure G.3 for the first scan of a band, and
// G.1.2.3, figures G.7 to G.9 for the others). before is what is not zero in each block.
func plainBand(bits *plainBits, t plainTable, ss, se int, refine bool, before []uint64, precision int) (done []plainState) {
	eobRun := 0
	for _, was := range before {
		now := was
		k := ss
		for eobRun == 0 && k <= se {
			rs, ok := bits.decode(t)
			if !ok {
				return done
			}
			r, s := rs/16, rs%16
			if s == 0 && r < 15 {
				eobRun = 1<<r + bits.receive(r)
				break
			}
			if refine && s > 1 || s > precision+2 {
				return done
			}
			if refine {
				bits.receive(s) // the sign of a new coefficient
			}
			for ; k <= se; k++ { // pass r zeros
				if refine && was>>k&1 == 1 {
					bits.receive(1)
					continue
				}
				if r == 0 {
					break
				}
				r--
			}
			if k > se {
				return done
			}
			if !refine {
				bits.receive(s)
			}
			if s > 0 {
				now |= 1 << k
			}
			k++
		}
		if eobRun > 0 {
			for ; refine && k <= se; k++ {
				if was>>k&1 == 1 {
					bits.receive(1)
				}
			}
			eobRun--
		}
		if bits.at > 8*len(bits.bytes) {
			return done
		}
		done = append(done, plainState{bits.at, eobRun, now})
	}
	return done
}
