package validate

import (
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// raster is a picture of a TIFF: where its pieces (strips or tiles) lie and what
// they must hold.
type raster struct {
	width, height          int64 // pixels
	pieceWidth, pieceRows  int64 // of a whole piece
	compression            int64
	samples                int64
	bits                   []int64 // of each sample
	planar                 bool    // a piece holds one sample, not all
	chroma                 [2]int64
	offsets, counts        entry
	tiles                  bool
	across, down           int64 // pieces in a plane
	fillOrder, photometric int64
	predictor              int64
	interchange            int64  // where an old JPEG stream begins; 0: none
	interchangeBytes       int64  // 0: not said
	tables                 []byte // JPEG tables that the pieces share
}

// raster reads what a directory says of its picture; nil when it has none.
func (t *tiffFile) raster(d directory) (*raster, error) {
	g := &raster{}
	_, g.tiles = d.tags[tagTiles]
	_, strips := d.tags[tagStrips]
	if !g.tiles && !strips {
		return nil, nil
	}
	g.offsets, g.counts = d.tags[tagStrips], d.tags[tagStripBytes]
	if g.tiles {
		g.offsets, g.counts = d.tags[tagTiles], d.tags[tagTileBytes]
	}
	var planar int64
	for _, f := range []struct {
		to     *int64
		tag    uint16
		absent int64
	}{
		{&g.width, tagWidth, 0}, {&g.height, tagHeight, 0}, {&g.compression, tagCompression, 1},
		{&g.samples, tagSamples, 1}, {&g.pieceRows, tagRows, 1<<32 - 1}, {&planar, tagPlanar, 1},
		{&g.fillOrder, tagFillOrder, 1}, {&g.photometric, tagPhotometric, 0}, {&g.predictor, tagPredictor, 1},
		{&g.interchange, tagJPEG, 0}, {&g.interchangeBytes, tagJPEGBytes, 0},
	} {
		v, err := t.number(d, f.tag, f.absent)
		if err != nil {
			return nil, err
		}
		*f.to = v
	}
	if g.width == 0 && t.c.kind.mime == "image/x-panasonic-rw2" {
		if err := t.panasonicSize(d, g); err != nil {
			return nil, err
		}
	}
	// Some raw photos name the size of their picture inside of it only.
	if g.width > 0 || !t.raw {
		if err := t.c.pixels(g.width, g.height); err != nil {
			return nil, err
		}
	}
	if t.raw {
		return g, nil // its pieces are not unpacked
	}
	if g.samples < 1 || g.samples > 1<<12 {
		return nil, corruptf("its picture is said to have %s samples a pixel", figures.Of(g.samples))
	}
	g.planar = planar == 2 && g.samples > 1
	g.pieceWidth = g.width
	if g.tiles {
		for _, f := range []struct {
			to  *int64
			tag uint16
		}{{&g.pieceWidth, tagTileWidth}, {&g.pieceRows, tagTileHeight}} {
			v, err := t.number(d, f.tag, 0)
			if err != nil {
				return nil, err
			}
			*f.to = v
		}
	} else {
		g.pieceRows = min(g.pieceRows, g.height)
	}
	if g.pieceWidth < 1 || g.pieceRows < 1 || g.pieceWidth > 1<<31-1 || g.pieceRows > 1<<31-1 {
		return nil, corruptf("its pieces are said to be %s x %s pixels", figures.Of(g.pieceWidth), figures.Of(g.pieceRows))
	}
	// Beyond these the arithmetic would overflow, and a sum of nothing be proven.
	if g.pieceWidth*g.pieceRows > 1<<40 {
		return nil, corruptf("its pieces are said to be %s x %s pixels", figures.Of(g.pieceWidth), figures.Of(g.pieceRows))
	}
	g.across, g.down = (g.width+g.pieceWidth-1)/g.pieceWidth, (g.height+g.pieceRows-1)/g.pieceRows
	if g.across*g.down > 1<<40 {
		return nil, corruptf("its picture is said to have %s x %s pieces", figures.Of(g.across), figures.Of(g.down))
	}
	return g, t.samples(d, g)
}

// panasonicSize reads the sensor's size from RW2's own tags.
func (t *tiffFile) panasonicSize(d directory, g *raster) (err error) {
	if g.width, err = t.number(d, 2, 0); err != nil {
		return err
	}
	g.height, err = t.number(d, 3, 0)
	return err
}

// samples reads the depth of each sample, and what YCbCr and JPEG add.
func (t *tiffFile) samples(d directory, g *raster) error {
	e, ok := d.tags[tagBits]
	for i := range g.samples {
		depth := int64(1)
		if ok {
			v, err := t.value(e, min(i, e.count-1), "the bits of a sample")
			if err != nil {
				return err
			}
			depth = v
		}
		if depth < 1 || depth > 1024 {
			return corruptf("its picture is said to have %s bits a sample", figures.Of(depth))
		}
		g.bits = append(g.bits, depth)
	}
	g.chroma = [2]int64{1, 1}
	if g.photometric == 6 && g.compression != 7 {
		g.chroma = [2]int64{2, 2}
		if e, ok := d.tags[tagSubsampling]; ok {
			for i := range g.chroma {
				v, err := t.value(e, int64(i), "the chroma subsampling")
				if err != nil {
					return err
				}
				if v != 1 && v != 2 && v != 4 {
					return corruptf("its chroma is said to be sampled at every %s pixels", figures.Of(v))
				}
				g.chroma[i] = v
			}
		}
	}
	if e, ok := d.tags[tagJPEGTables]; ok && g.compression == 7 && e.count >= 4 && e.count <= 1<<16 {
		g.tables = make([]byte, e.count)
		return t.get(g.tables, e.at, "its JPEG tables")
	}
	return nil
}

// pieceBytes is what a piece of so many rows holds when it is unpacked.
func (g *raster) pieceBytes(rows int64, plane int64) int64 {
	if g.planar {
		return (g.pieceWidth*g.bits[plane] + 7) / 8 * rows
	}
	if g.chroma != [2]int64{1, 1} && g.samples == 3 { // TIFF 6.0 section 21
		h, v := g.chroma[0], g.chroma[1]
		units := (g.pieceWidth + h - 1) / h * ((rows + v - 1) / v)
		return units * (h*v + 2) * g.bits[0] / 8
	}
	sum := int64(0)
	for _, b := range g.bits {
		sum += b
	}
	return (g.pieceWidth*sum + 7) / 8 * rows
}
