package jpeg

import "github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"

// maxMCUBlocks is the most blocks that an interleaved MCU may have (T.81 B.2.3).
const maxMCUBlocks = 10

// unit is one block of an MCU.
type unit struct {
	dc   *table
	ac   *[1 << pathBits]path // of a sequential scan
	all  *table               // of ac
	comp int                  // index in the scan
	row  []int16              // for the DC values of a row of MCUs; empty when nobody wants them
}

// dcRows collects the DC values of one row of MCUs, and hands them on as rows of
// blocks: a picture at an eighth of its size.
type dcRows struct {
	comps []dcComp
	col   int // MCUs of the row that are done
	cols  int
	row   int  // of MCUs
	hold  bool // flush is called by who finds out whether the row was the last
	line  []int16
}

// dcComp is one component of the scan.
type dcComp struct {
	c    *component
	h, v int    // blocks of an MCU
	rows []unit // those blocks
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
		for y := range c.v {
			row := r.row*c.v + y
			if row >= c.c.blocks[1] {
				break
			}
			line := r.line[:r.cols*c.h]
			for x, u := range c.rows[y*c.h : (y+1)*c.h] {
				for m, v := range u.row {
					line[m*c.h+x] = v
				}
			}
			d.opts.DC(c.c.index, row, line[:min(len(line), c.c.blocks[0])])
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
		u := unit{dc: sc.dc, comp: i}
		if !d.frame.progressive {
			sc.ac.build(d.maxAC())
			u.ac, u.all = sc.ac.paths, sc.ac
		}
		h, v := s.blocksPerMCU(sc.c)
		for range h * v {
			if wanted {
				u.row = make([]int16, cols)
			}
			d.plan = append(d.plan, u)
		}
		if wanted {
			d.dcs.comps = append(d.dcs.comps, dcComp{c: sc.c, h: h, v: v, rows: d.plan[len(d.plan)-h*v:]})
		}
	}
	if n := len(d.plan); n > maxMCUBlocks {
		return d.corrupt("an MCU of scan %d has %s blocks, %d are the most", d.scans, figures.Of(n), maxMCUBlocks)
	}
	if wanted {
		d.dcs.cols, d.dcs.hold = cols, d.info.Height == 0
		d.dcs.line = make([]int16, maxComps*cols)
	}
	return nil
}
