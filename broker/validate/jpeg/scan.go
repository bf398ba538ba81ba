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

// scan reads a scan header and its data, and gives the marker behind it.
func (d *decoder) scan() (byte, error) {
	s, err := d.scanHeader()
	if err != nil {
		return 0, err
	}
	if d.scans++; d.scans > maxScans {
		return 0, d.corrupt("it has more than %s scans", figures.Of(maxScans))
	}
	if d.frame.progressive && s.ss > 0 {
		if err := d.reserveMasks(); err != nil {
			return 0, err
		}
	}
	d.bits.reset()
	if !d.info.Decoded {
		return d.skipScan()
	}
	if err := d.intervals(s); err != nil {
		return 0, err
	}
	total, foreign := d.bits.drain()
	if d.bits.marker == 0 && d.src.err != nil {
		return 0, d.ended()
	}
	if foreign > 0 {
		return 0, d.corrupt("%s bytes of picture data are left over after the last of %s rows", figures.Of(total), figures.Of(d.info.Height))
	}
	d.info.PaddingBytes += total
	return d.bits.marker, nil
}

// skipScan looks for the end of a scan without decoding it.
func (d *decoder) skipScan() (byte, error) {
	for {
		d.bits.reset()
		d.bits.drain()
		switch m := d.bits.marker; {
		case m == 0:
			return 0, d.ended()
		case m < 0xD0 || m > 0xD7:
			d.rowsSeen = d.info.Height
			return m, nil
		}
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
	if !d.frame.progressive { // wrong figures here are common and without meaning
		s.ss, s.se, s.ah, s.al = 0, 63, 0, 0
	} else if s.ss > s.se || s.se > 63 || s.ss == 0 && s.se != 0 || s.ss > 0 && count != 1 ||
		s.al > 13 || s.ah != 0 && s.ah != s.al+1 { // T.81 G.1.1.1
		return s, d.corrupt("scan %d can't have coefficients %d to %d with the bits %d, %d", d.scans+1, s.ss, s.se, s.ah, s.al)
	}
	for i := range count {
		id, td, ta := p[1+2*i], p[2+2*i]>>4, p[2+2*i]&15
		var c *component
		for j := range d.frame.comps {
			if d.frame.comps[j].id == id {
				c = &d.frame.comps[j]
			}
		}
		for _, other := range s.comps {
			if other.c == c {
				c = nil
				break
			}
		}
		if c == nil || td > 3 || ta > 3 {
			return s, d.corrupt("a scan header of it is malformed")
		}
		needDC, needAC := s.ss == 0 && s.ah == 0, s.se > 0
		if needDC && !d.dcOK[td] || needAC && !d.acOK[ta] {
			return s, d.corrupt("scan %d uses a Huffman table that is not defined", d.scans+1)
		}
		if !d.quantOK[c.tq] {
			return s, d.corrupt("its quantization table %d is not defined", c.tq)
		}
		if d.frame.progressive && s.ss > 0 && !c.seen || d.frame.progressive && s.ah > 0 && !c.seen {
			return s, d.corrupt("scan %d refines component %d before its first scan", d.scans+1, c.id)
		}
		if !d.frame.progressive && c.seen {
			return s, d.corrupt("component %d comes in two scans", c.id)
		}
		s.comps = append(s.comps, scanComp{c: c, dc: &d.dc[td], ac: &d.ac[ta]})
	}
	for _, sc := range s.comps {
		if s.ss == 0 {
			sc.c.seen = true
		}
	}
	return s, nil
}

// intervals decodes a scan's MCUs, with the restart markers between them.
func (d *decoder) intervals(s scanHeader) error {
	// A scan of one component is not interleaved: its MCU is one block, and only
	// the blocks that hold the picture are there (T.81 A.2.2).
	cols, rows := d.frame.mcuCols, d.frame.mcuRows
	if len(s.comps) == 1 {
		cols, rows = s.comps[0].c.blocks[0], s.comps[0].c.blocks[1]
	}
	total := int64(cols) * int64(rows)
	step := int64(d.interval)
	if step == 0 {
		step = total
	}
	restart := byte(0)
	d.rowsSeen = 0
	for done := int64(0); done < total; {
		if done > 0 {
			if err := d.restart(restart, done, cols, rows); err != nil {
				return err
			}
			restart = (restart + 1) & 7
		}
		end := min(done+step, total)
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
		d.seeRows(at, cols, rows)
		if st != good {
			return d.broken(at, cols, rows)
		}
		done = end
	}
	return nil
}

// seeRows notes how many rows of the picture are there when at MCUs are.
func (d *decoder) seeRows(at int64, cols, rows int) {
	d.rowsSeen = int(at / int64(cols) * int64(d.info.Height) / int64(rows))
}

// broken is the problem of an interval that could not be decoded at MCU at.
func (d *decoder) broken(at int64, cols, rows int) error {
	b := &d.bits
	seen, height := figures.Of(d.rowsSeen), figures.Of(d.info.Height)
	switch {
	case b.n >= 0:
		return d.corrupt("the picture data near byte %s contradicts itself, after %s of %s rows", figures.Of(d.src.offset()), seen, height)
	case b.marker == 0:
		return d.ended()
	case b.marker == 0xD9:
		return d.early(at, cols, rows)
	}
	return d.corrupt("the picture data is cut by the marker 0x%02X near byte %s, after %s of %s rows", b.marker,
		figures.Of(d.src.offset()), seen, height)
}

// early is the problem of an end marker before the last row. Damage inside the
// data also makes a scan end some blocks early; a missing part is larger.
func (d *decoder) early(at int64, cols, rows int) error {
	total := int64(cols) * int64(rows)
	k := Corrupt
	if total-at > total/32 {
		k = Truncated
	}
	return d.problem(k, "the scan ends after %s of %s rows, at byte %s", figures.Of(d.rowsSeen), figures.Of(d.info.Height),
		figures.Of(d.src.offset()))
}

// restart reads the restart marker that is due (T.81 B.2.1 and E.2.4).
func (d *decoder) restart(want byte, at int64, cols, rows int) error {
	b := &d.bits
	total, foreign := b.drain()
	switch {
	case b.marker == 0:
		return d.ended()
	case foreign > 0:
		return d.corrupt("%s bytes of picture data are left over before the marker at byte %s, after %s of %s rows",
			figures.Of(total), figures.Of(d.src.offset()-2), figures.Of(d.rowsSeen), figures.Of(d.info.Height))
	case b.marker == 0xD9:
		return d.early(at, cols, rows)
	case b.marker != 0xD0+want:
		return d.corrupt("the marker 0x%02X stands near byte %s where restart marker %d is due, after %s of %s rows",
			b.marker, figures.Of(d.src.offset()-2), want, figures.Of(d.rowsSeen), figures.Of(d.info.Height))
	}
	d.info.PaddingBytes += total
	b.reset()
	return nil
}
