package jpeg

import "github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"

// scanHeader is one SOS segment (T.81 B.2.3).
type scanHeader struct {
	comps          []scanComp
	ss, se, ah, al int
}

type scanComp struct {
	c      *component
	dc, ac *table
}

// mcus are the columns and rows of a scan's MCUs. A scan of one component is not
// interleaved: its MCU is one block, and only the blocks that hold the picture are
// there (T.81 A.2.2).
func (f *frame) mcus(s scanHeader) (cols, rows int) {
	if len(s.comps) == 1 {
		c := s.comps[0].c
		return c.blocks[0], c.blocks[1]
	}
	return f.mcuCols, f.mcuRows
}

// lines is how many lines of the picture a row of the scan's MCUs has.
func (f *frame) lines(s scanHeader) int {
	if len(s.comps) == 1 {
		return 8 * f.vMax / s.comps[0].c.v
	}
	return 8 * f.vMax
}

// scan reads a scan header and its data, and gives the marker behind it.
func (d *decoder) scan() (byte, error) {
	s, err := d.scanHeader()
	if err != nil {
		return 0, err
	}
	if d.scans == 0 {
		if err := d.colours(); err != nil {
			return 0, err
		}
		d.tell()
	}
	if d.scans++; d.scans > maxScans {
		return 0, d.corrupt("it has more than %s scans", figures.Of(maxScans))
	}
	d.rowsSeen = 0
	d.bits.begin()
	if s.ss > 0 {
		if err := d.reserveMasks(); err != nil {
			return 0, err
		}
		if !d.info.Decoded {
			return d.skipScan()
		}
	}
	if err := d.intervals(s); err != nil {
		return 0, err
	}
	total, foreign := d.bits.drain()
	if d.bits.marker == 0 {
		return 0, d.ended()
	}
	if foreign > 0 {
		return 0, d.corrupt("%s bytes of picture data are left over after the last of %s rows", figures.Of(total), figures.Of(d.info.Height))
	}
	d.info.PaddingBytes += total
	if d.bits.marker == 0xDC && d.scans == 1 { // of a height that was known already
		_, rows := d.frame.mcus(s)
		return d.numberOfLines(s, rows)
	}
	return d.bits.marker, nil
}

// skipScan looks for the end of a scan without decoding it.
func (d *decoder) skipScan() (byte, error) {
	for {
		d.bits.drain()
		switch m := d.bits.marker; {
		case m == 0:
			return 0, d.ended()
		case m < 0xD0 || m > 0xD7:
			d.rowsSeen = d.info.Height
			return m, nil
		}
		d.bits.begin()
	}
}

func (d *decoder) scanHeader() (scanHeader, error) {
	var s scanHeader
	var l [2]byte
	if !d.src.full(l[:]) {
		return s, d.ended()
	}
	n := int(l[0])<<8 | int(l[1])
	if n < 2 {
		return s, d.corrupt("a scan header of it has the length %d", n)
	}
	p := d.segment[:n-2]
	if !d.src.full(p) {
		return s, d.ended()
	}
	if d.frame == nil {
		return s, d.corrupt("a scan comes before the frame header")
	}
	if len(p) < 1 || int(p[0]) < 1 || int(p[0]) > len(d.frame.comps) || len(p) != 4+2*int(p[0]) {
		return s, d.corrupt("a scan header of it is malformed")
	}
	count := int(p[0])
	s.ss, s.se = int(p[1+2*count]), int(p[2+2*count])
	s.ah, s.al = int(p[3+2*count]>>4), int(p[3+2*count]&15)
	if d.frame.progressive {
		// T.81 G.1.1.1.1 and G.1.1.1.2.
		if s.ss > s.se || s.se > 63 || s.ss == 0 && s.se != 0 || s.ss > 0 && count != 1 ||
			s.al > 13 || s.ah != 0 && s.ah != s.al+1 {
			return s, d.corrupt("scan %d can't have coefficients %d to %d with the bits %d, %d", d.scans+1, s.ss, s.se, s.ah, s.al)
		}
	} else if s.ss != 0 || s.se != 63 || s.ah != 0 || s.al != 0 { // T.81 table B.3
		return s, d.corrupt("scan %d of a sequential picture says that it has coefficients %d to %d with the bits %d, %d",
			d.scans+1, s.ss, s.se, s.ah, s.al)
	}
	for i := range count {
		sc, err := d.scanComponent(&s, p[1+2*i], p[2+2*i]>>4, p[2+2*i]&15)
		if err != nil {
			return s, err
		}
		s.comps = append(s.comps, sc)
	}
	for _, sc := range s.comps {
		if s.ss == 0 {
			sc.c.seen = true
		}
		if d.frame.progressive {
			for k := s.ss; k <= s.se; k++ {
				sc.c.bits[k] = int8(s.al)
			}
		}
	}
	return s, nil
}

// scanComponent reads what a scan header says of one component: its name and the
// tables that it uses.
func (d *decoder) scanComponent(s *scanHeader, id, td, ta byte) (scanComp, error) {
	var sc scanComp
	scan := d.scans + 1
	for j := range d.frame.comps {
		if d.frame.comps[j].id == id {
			sc.c = &d.frame.comps[j]
		}
	}
	for _, other := range s.comps {
		if other.c == sc.c {
			sc.c = nil
			break
		}
	}
	if sc.c == nil {
		return sc, d.corrupt("the header of scan %d names component %d, which the frame does not have or the scan has already", scan, id)
	}
	needDC, needAC := s.ss == 0 && s.ah == 0, s.se > 0
	sc.dc, sc.ac = &d.dc[td&3], &d.ac[ta&3] // writers leave figures without meaning where there is no need
	if needDC && (td > 3 || !d.dcOK[td]) || needAC && (ta > 3 || !d.acOK[ta]) {
		return sc, d.corrupt("scan %d uses a Huffman table that is not defined", scan)
	}
	if needDC && sc.dc.largest > 15 { // T.81 B.2.4.2
		return sc, d.corrupt("scan %d uses a Huffman table that is none of DC coefficients", scan)
	}
	if d.dcQuant[sc.c.tq] == 0 {
		return sc, d.corrupt("its quantization table %d is not defined", sc.c.tq)
	}
	if !d.frame.progressive {
		if sc.c.seen {
			return sc, d.corrupt("component %d comes in two scans", id)
		}
		return sc, nil
	}
	if s.ss > 0 && !sc.c.seen {
		return sc, d.corrupt("scan %d has AC coefficients of component %d before its DC", scan, id)
	}
	// T.81 G.1.1.1.2: every coefficient gets its high bits first and once, then
	// the others one by one.
	for k := s.ss; k <= s.se; k++ {
		switch has := int(sc.c.bits[k]); {
		case s.ah == 0 && has >= 0:
			return sc, d.corrupt("scan %d brings coefficient %d of component %d a second time", scan, k, id)
		case s.ah > 0 && has != s.ah:
			return sc, d.corrupt("scan %d refines bit %d of coefficient %d of component %d out of order", scan, s.al, k, id)
		}
	}
	return sc, nil
}

// intervals decodes a scan's MCUs, with the restart markers between them.
func (d *decoder) intervals(s scanHeader) error {
	cols, rows := d.frame.mcus(s)
	total := int64(cols) * int64(rows)
	if d.work += total; d.work > maxWork {
		return d.corrupt("its %s scans are too many for its size", figures.Of(d.scans))
	}
	if err := d.prepare(s, cols); err != nil {
		return err
	}
	step := int64(d.interval)
	if step == 0 {
		step = total
	}
	d.pred = [maxComps]int32{}
	for done := int64(0); done < total; {
		if done > 0 && done%step == 0 {
			if err := d.restart(byte(done/step-1)&7, total-done, total); err != nil {
				return err
			}
		}
		end := min(done-done%step+step, total)
		if d.info.Height == 0 { // row by row, until it is known
			end = min(end, (done/int64(cols)+1)*int64(cols))
		}
		at, st := done, good
		switch {
		case s.ss > 0 && s.ah == 0:
			at, st = d.acFirst(s, done, end)
		case s.ss > 0:
			at, st = d.acRefine(s, done, end)
		case d.frame.progressive:
			at, st = d.dcScan(s, done, end)
		default:
			at, st = d.sequential(s, done, end)
		}
		d.rowsSeen = int(at/int64(cols)) * d.frame.lines(s)
		if d.info.Height > 0 {
			d.rowsSeen = min(d.rowsSeen, d.info.Height)
			if at == total {
				d.rowsSeen = d.info.Height
			}
		}
		if st != good {
			return d.broken(total-at, total)
		}
		if done = end; d.info.Height > 0 || done%int64(cols) > 0 {
			continue
		}
		over, err := d.rowEnds(s, int(done)/cols)
		if err != nil || over {
			return err
		}
	}
	if d.info.Height == 0 {
		return d.noHeight()
	}
	return nil
}

func (d *decoder) noHeight() error {
	return d.corrupt("it does not say how high it is: the first scan ends after %s, and no height (DNL) follows", d.seen())
}

// rowEnds is called after each row of MCUs of a scan whose height is not known
// yet, and says whether it was the last. It was when the segment with the height
// follows: the bits that are left are then fewer than a byte and all 1, which no
// code is (T.81 annex C and F.1.2.3).
func (d *decoder) rowEnds(s scanHeader, rows int) (bool, error) {
	if err := d.fits((rows-1)*d.frame.lines(s) + 1); err != nil {
		return false, err
	}
	over := d.bits.marker == 0xDC && d.bits.left() < 8
	if over {
		d.bits.drain()
		marker, err := d.numberOfLines(s, rows)
		if err != nil {
			return true, err
		}
		d.bits.marker = marker
	}
	d.dcs.flush(d)
	return over, nil
}

// broken is the problem of an interval that could not be decoded, with so many
// MCUs of the scan missing.
func (d *decoder) broken(missing, total int64) error {
	b := &d.bits
	// What is left may be the beginning of a code, which are of 16 bits at most.
	left, last := b.left(), b.marker == 0 || b.marker == 0xD9
	switch {
	case left >= 16 || left >= 0 && !last:
		return d.corrupt("the picture data near byte %s contradicts itself, after %s", figures.Of(b.near()), d.seen())
	case b.marker == 0:
		return d.ended()
	case b.marker == 0xD9:
		return d.early(missing, total)
	}
	return d.corrupt("the picture data is cut by the marker 0x%02X near byte %s, after %s", b.marker,
		figures.Of(d.src.offset()), d.seen())
}

// early is the problem of an end marker before the last row. Damage inside the
// data also makes a scan end some blocks early; a missing part is larger.
func (d *decoder) early(missing, total int64) error {
	if d.info.Height == 0 {
		return d.noHeight()
	}
	k := Corrupt
	if missing > total/32 {
		k = Truncated
	}
	return d.problem(k, "the scan ends after %s, at byte %s", d.seen(), figures.Of(d.src.offset()))
}

// restart reads the restart marker that is due (T.81 B.2.1 and E.2.4). Nothing
// but fill bytes may stand before it.
func (d *decoder) restart(want byte, missing, total int64) error {
	b := &d.bits
	surplus, foreign := b.drain()
	switch {
	case b.marker == 0:
		return d.ended()
	case b.marker == 0xD9 && foreign == 0:
		return d.early(missing, total)
	case surplus > 0:
		return d.corrupt("%s bytes are left over before the marker at byte %s, after %s",
			figures.Of(surplus), figures.Of(d.src.offset()-2), d.seen())
	case b.marker != 0xD0+want:
		return d.corrupt("the marker 0x%02X stands near byte %s where restart marker %d is due, after %s",
			b.marker, figures.Of(d.src.offset()-2), want, d.seen())
	}
	d.pred = [maxComps]int32{}
	b.begin()
	return nil
}
