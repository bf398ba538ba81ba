package thumb

// fine is the unit of places on an axis: a 65536th of a sample.
const fine = 1 << 16

// axis says which samples of a line each of the goal's samples averages.
type axis struct {
	in, out int // samples
	same    bool
	// The span of each of the goal's samples is place(i) to place(i+1), in fine
	// units of the input: i times num over den.
	num, den int64
}

// newAxis spreads out samples, each step times as wide as one of the goal, of
// which goal cover full samples of the finest component. The input has in samples,
// of which share/most go on one of the finest (the sampling factors of T.81 A.1.1).
func newAxis(in, full, goal, step, share, most int) axis {
	a := axis{
		in: in, out: (goal + step - 1) / step,
		num: int64(full) * int64(step) * int64(share), den: int64(goal) * int64(most),
	}
	a.same = a.num == a.den && a.out <= a.in
	return a
}

// span is where sample i of the goal begins and ends, in fine units, never empty.
func (a *axis) span(i int) (start, end int64) {
	last := int64(a.in) * fine
	start, end = min(a.place(i), last), min(a.place(i+1), last)
	if end <= start { // the finest component's last samples may lie past this one's
		start, end = last-fine, last
	}
	return start, end
}

func (a *axis) place(i int) int64 {
	// Not a product of the three: full may have 31 bits.
	n := int64(i) * a.num
	return n/a.den*fine + n%a.den*fine/a.den
}

// Scales of the arithmetic: samples have 8 bits of fraction, and weights' sums are
// powers of two.
const (
	sampleShift = 8
	maxSample   = 255 << sampleShift
	tapBits     = 15
	spanBits    = 32
	rowBits     = 16 // 255<<8<<16 and its rounding are below 1<<32
)

// tap averages up to three neighbours.
type tap struct {
	at         int32
	w0, w1, w2 uint32 // their sum is 1<<tapBits
}

// span averages any number of neighbours, those in the middle alike.
type span struct {
	at, n             int32  // n samples from at on, two at least
	first, mid, after uint64 // weights; with those between, their sum is 1<<spanBits
}

// line averages along a line.
type line struct {
	axis
	taps  []tap  // where no more than three neighbours are averaged
	spans []span // where more are
}

func newLine(a axis) line {
	l := line{axis: a}
	if a.same {
		return l
	}
	few := true
	for i := range a.out {
		start, end := a.span(i)
		few = few && (end-1)/fine-start/fine < 3
	}
	if few {
		l.taps = make([]tap, a.out)
	} else {
		l.spans = make([]span, a.out)
	}
	for i := range a.out {
		start, end := a.span(i)
		at, n := start/fine, (end-1)/fine-start/fine+1
		if a.num < a.den { // coarser than the goal: between the two nearest middles
			from := min(max((start+end-fine)/2, 0), int64(a.in-1)*fine)
			share := uint32(from % fine << tapBits / fine)
			l.taps[i] = tap{at: int32(from / fine), w0: 1<<tapBits - share, w1: share}
			continue
		}
		if few {
			share := func(k int64) uint32 { // up to the end of sample at+k
				return uint32((min((at+k+1)*fine, end) - start) << tapBits / (end - start))
			}
			t := tap{at: int32(at), w0: share(0)}
			t.w1 = share(1) - t.w0
			t.w2 = 1<<tapBits - t.w0 - t.w1
			l.taps[i] = t
			continue
		}
		s := span{at: int32(at), n: int32(max(n, 2)), mid: uint64(fine << spanBits / (end - start))}
		if n == 1 {
			s.first = 1 << spanBits
			if at+1 == int64(a.in) { // the second must be there
				s.at, s.first, s.after = int32(at-1), 0, 1<<spanBits
			}
		} else {
			s.first = uint64((at+1)*fine-start) * s.mid / fine
			s.after = 1<<spanBits - s.first - uint64(n-2)*s.mid
		}
		l.spans[i] = s
	}
	return l
}

// average fills to. from has two samples more than the axis, of any value.
func (l *line) average(to []uint8, from []uint16) {
	to = to[:l.out]
	switch {
	case l.same:
		const half = 1 << (sampleShift - 1)
		for i, v := range from[:len(to)] {
			to[i] = uint8((uint32(v) + half) >> sampleShift)
		}
	case l.taps != nil:
		const shift = tapBits + sampleShift
		taps := l.taps[:len(to)]
		for i := range taps {
			t := &taps[i]
			s := from[t.at:][:3:3]
			v := uint32(s[0])*t.w0 + uint32(s[1])*t.w1 + uint32(s[2])*t.w2
			to[i] = uint8((v + 1<<(shift-1)) >> shift)
		}
	default:
		const shift = spanBits + sampleShift
		spans := l.spans[:len(to)]
		for i := range spans {
			p := &spans[i]
			s := from[p.at:][:p.n]
			sum := uint64(0)
			for _, v := range s[1 : len(s)-1] {
				sum += uint64(v)
			}
			sum = sum*p.mid + uint64(s[0])*p.first + uint64(s[len(s)-1])*p.after
			to[i] = uint8((sum + 1<<(shift-1)) >> shift)
		}
	}
}
