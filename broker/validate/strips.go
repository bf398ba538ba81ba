package validate

import (
	"bytes"
	"compress/zlib"
	"io"

	"golang.org/x/image/tiff/lzw"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
	"github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
)

// pictures proves the pictures of directories.
func (t *tiffFile) pictures(list []directory) error {
	for _, d := range list {
		if !t.raw { // cameras' own tags are not always meant for others
			if err := t.inside(d); err != nil {
				return err
			}
		}
		if err := t.preview(d); err != nil {
			return err
		}
		g, err := t.raster(d)
		if err != nil {
			return err
		}
		if g == nil {
			continue
		}
		t.found++
		if t.raw {
			if f := &t.c.found; g.width*g.height > int64(f.Width)*int64(f.Height) {
				f.Width, f.Height = int(g.width), int(g.height)
			}
		} else if t.found == 1 {
			t.c.found.Width, t.c.found.Height = int(g.width), int(g.height)
		}
		if err := t.allPieces(g); err != nil {
			return err
		}
	}
	return nil
}

// preview checks that a JPEG that is named by offset and length lies in the file.
func (t *tiffFile) preview(d directory) error {
	if _, ok := d[tagJPEG]; !ok {
		return nil
	}
	at, err := t.number(d, tagJPEG, 0)
	if err != nil {
		return err
	}
	n, err := t.number(d, tagJPEGBytes, 0)
	if err != nil {
		return err
	}
	if at > t.c.size || n > t.c.size-at {
		return t.outside("a preview", at, n)
	}
	t.found++
	return nil
}

// allPieces proves each strip or tile: it lies in the file and unpacks to the bytes
// that the picture needs.
func (t *tiffFile) allPieces(g *raster) error {
	planes := int64(1)
	if g.planar {
		planes = g.samples
	}
	total := g.across * g.down * planes
	if t.raw {
		total = min(g.offsets.count, g.counts.count)
	} else if g.offsets.count < total {
		return corruptf("its picture of %s x %s pixels needs %s pieces, %s are listed", figures.Of(g.width), figures.Of(g.height),
			figures.Of(total), figures.Of(g.offsets.count))
	}
	if g.counts.count == 0 { // old writers leave the lengths out
		t.c.structureOnly("the lengths of its pieces are not given")
		at, err := t.value(g.offsets, 0, "the picture")
		if err == nil && at >= t.c.size {
			err = t.outside("the picture", at, 1)
		}
		return err
	}
	sparse := int64(0)
	for i := range total {
		at, err := t.value(g.offsets, i, "the place of a piece")
		if err != nil {
			return err
		}
		n, err := t.value(g.counts, i, "the length of a piece")
		if err != nil {
			return err
		}
		if at == 0xFFFFFFFF && t.raw || n == 0 && at == 0 {
			sparse++ // Panasonic: elsewhere; GDAL: a tile without data
			continue
		}
		if at > t.c.size || n > t.c.size-at {
			return truncatedf("the file ends after %s bytes; piece %s of %s lies at bytes %s to %s", figures.Of(t.c.size),
				figures.Of(i+1), figures.Of(total), figures.Of(at), figures.Of(at+n))
		}
		if t.raw || t.c.found.Proof != broker.ProofFull {
			continue
		}
		rows := g.pieceRows
		if !g.tiles {
			rows = min(rows, g.height-i%g.down*g.pieceRows)
		}
		if err := t.piece(g, at, n, rows, i/(g.across*g.down)); err != nil {
			return t.pieceFault(err, i, total, at)
		}
	}
	switch {
	case sparse == 0:
	case t.raw, g.tiles && sparse < total: // maps leave tiles out on purpose
		t.c.note("%s of %s pieces have no data", figures.Of(sparse), figures.Of(total))
	default: // a writer that was interrupted leaves strips out
		return truncatedf("%s of the picture's %s pieces have no data", figures.Of(sparse), figures.Of(total))
	}
	return nil
}

// pieceFault says which piece failed.
func (t *tiffFile) pieceFault(err error, i, total, at int64) error {
	if f, ok := err.(*fault); ok {
		f.Detail = "piece " + figures.Of(i+1) + " of " + figures.Of(total) + " at byte " + figures.Of(at) + ": " + f.Detail
	}
	return err
}

// piece unpacks one strip or tile and counts its bytes; what this program can't
// unpack is left at the structure.
func (t *tiffFile) piece(g *raster, at, n, rows, plane int64) error {
	want := g.pieceBytes(rows, plane)
	if t.looked += n; t.looked > 4*t.c.size {
		t.c.structureOnly("its pieces overlap")
		return nil
	}
	raw := io.NewSectionReader(t.r, at, n)
	var r io.Reader
	switch g.compression {
	case 1:
		if n < want {
			return corruptf("it has %s bytes where %s are needed", figures.Of(n), figures.Of(want))
		}
		return nil
	case 5:
		var head [2]byte
		if n >= 2 {
			if err := t.get(head[:], at, "a piece"); err != nil {
				return err
			}
		}
		if head[0] == 0 && head[1]&1 == 1 { // the order of bits before TIFF 5.0
			t.c.structureOnly("its old form of LZW was not unpacked")
			return nil
		}
		r = lzw.NewReader(raw, lzw.MSB, 8)
	case 7:
		return t.jpegPiece(g, raw)
	case 8, 32946:
		z, err := zlib.NewReader(raw)
		if err != nil {
			return t.unpackFault(err, 0, want)
		}
		r = z
	case 32773:
		r = &packBits{r: raw}
	default:
		t.c.structureOnly("its compression (%d) was not unpacked", g.compression)
		return nil
	}
	if g.fillOrder == 2 {
		t.c.structureOnly("its reversed order of bits was not unpacked")
		return nil
	}
	// The last strip may hold the rows of a whole one. It is read to its end, so
	// that a checksum there is looked at.
	most := max(want, g.pieceBytes(g.pieceRows, plane))
	buf := make([]byte, 16<<10)
	for have := int64(0); ; {
		if err := t.c.ctx.Err(); err != nil {
			return err
		}
		k, err := r.Read(buf)
		have += int64(k)
		switch {
		case have > most:
			return corruptf("it unpacks to more than its %s bytes", figures.Of(most))
		case err == nil:
		case have >= want && (err == io.EOF || g.compression == 5): // LZW data may lack its end code
			return nil
		default:
			return t.unpackFault(err, have, want)
		}
	}
}

func (t *tiffFile) unpackFault(err error, have, want int64) error {
	if t.r.err != nil {
		return t.r.err
	}
	if err == errScattered {
		return err
	}
	return corruptf("it unpacks to %s of %s bytes", figures.Of(have), figures.Of(want))
}

// jpegPiece proves a piece that is a JPEG picture, with the tables that all share
// (TIFF Technical Note 2).
func (t *tiffFile) jpegPiece(g *raster, raw *io.SectionReader) error {
	var r io.Reader = raw
	if len(g.tables) >= 4 {
		if _, err := raw.Seek(2, io.SeekStart); err != nil { // its own start marker
			return err
		}
		r = io.MultiReader(bytes.NewReader(g.tables[:len(g.tables)-2]), raw)
	}
	defer t.c.release()
	info, err := jpeg.Check(r, jpeg.Options{MaxPixels: t.c.want.MaxPixels, Reserve: t.c.reserve})
	if t.r.err != nil {
		return t.r.err
	}
	if err != nil {
		f, ok := jpegFault(err).(*fault)
		if ok && f.Code == broker.ReasonUnsupportedFormat {
			t.c.structureOnly("its JPEG pieces are of a kind that is not decoded")
			return nil
		}
		if ok && f.Code == broker.ReasonTruncated { // the piece is cut, the file is not
			f.Code = broker.ReasonCorrupt
		}
		if ok {
			return f
		}
		return err
	}
	if !info.Decoded {
		t.c.structureOnly("its pieces are too large for worker.memory")
	}
	return nil
}
