package jpeg

import "github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"

// maxMCUBlocks is the most blocks that an interleaved MCU may have (T.81 B.2.3).
const maxMCUBlocks = 10

// unit is one block of an MCU.
type unit struct {
	dc   *table
	dcs  *[1 << codeBits]dcPath // of dc, for a sequential scan
	ac   *[1 << pathBits]path   // likewise
	all  *table                 // of ac
	comp int                    // index in the scan
	step int                    // blocks of the component in a row of the MCU
	row  []int16                // of the DC values, from the MCU's column on every step-th; empty when nobody wants them
}

// dcRows collects the DC values of one row of MCUs, and hands them on as rows of
// blocks: a picture at an eighth of its size.
type dcRows struct {
	comps []dcComp
	col   int // MCUs of the row that are done
	cols  int
	row   int  // of MCUs
	hold  bool // flush is called by who finds out whether the row was the last
}

// dcComp is one component of the scan.
type dcComp struct {
	c    *component
	rows [][]int16 // of the blocks of a row of MCUs
}

// next ends an MCU.
func (r *dcRows) next(d *decoder) {
	if r.comps == nil {
		return
	}
	if r.col++; r.col == r.cols && !r.hold {
		r.flush(d)
	}
}

// flush hands a row of MCUs on.
func (r *dcRows) flush(d *decoder) {
	for i := range r.comps {
		c := &r.comps[i]
		for y, values := range c.rows {
			row := r.row*len(c.rows) + y
			if row >= c.c.blocks[1] {
				break
			}
			d.opts.DC(c.c.index, row, values[:min(len(values), c.c.blocks[0])])
		}
	}
	r.col = 0
	r.row++
}

// blocksPerMCU is how many blocks of a component one MCU of the scan holds.
func (s *scanHeader) blocksPerMCU(c *component) (h, v int) {
	if len(s.comps) == 1 {
		return 1, 1
	}
	return c.h, c.v
}

// prepare lists the blocks of the scan's MCU in their order (T.81 A.2.3), with
// what their decoding needs.
func (d *decoder) prepare(s scanHeader, cols int) error {
	d.plan = make([]unit, 0, maxMCUBlocks)
	d.dcs = dcRows{}
	wanted := d.opts.DC != nil && s.ss == 0 && s.ah == 0
	for i := range s.comps {
		sc := &s.comps[i]
		h, v := s.blocksPerMCU(sc.c)
		u := unit{dc: sc.dc, comp: i, step: h}
		if !d.frame.progressive {
			sc.ac.build(d.maxAC())
			sc.dc.buildDC(d.maxDC())
			u.ac, u.all, u.dcs = sc.ac.paths, sc.ac, sc.dc.dcPaths
		}
		c := dcComp{c: sc.c}
		for range v {
			var row []int16
			if wanted {
				row = make([]int16, cols*h)
				c.rows = append(c.rows, row)
			}
			for x := range h {
				u.row = row[min(x, len(row)):]
				d.plan = append(d.plan, u)
			}
		}
		if wanted {
			d.dcs.comps = append(d.dcs.comps, c)
		}
	}
	if n := len(d.plan); n > maxMCUBlocks {
		return d.corrupt("an MCU of scan %d has %s blocks, %d are the most", d.scans, figures.Of(n), maxMCUBlocks)
	}
	if wanted {
		d.dcs.cols, d.dcs.hold = cols, d.info.Height == 0
	}
	return nil
}
