package validate

import (
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// pictures proves the pictures of directories.
func (t *tiffFile) pictures(list []directory) error {
	for _, d := range list {
		if !t.raw { // cameras' own tags are not always meant for others
			if d.outside != nil {
				return d.outside
			}
		}
		if err := t.preview(d); err != nil {
			return err
		}
		t.metadata(d)
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
		if !t.raw && t.found == 1 && t.c.want.Thumb {
			t.paint = t.painter(d, g)
		}
		if err := t.allPieces(g); err != nil {
			return err
		}
		if t.zstd != nil {
			t.zstd = nil
			t.c.release()
		}
		if t.paint != nil {
			t.paint.done()
			t.paint = nil
		}
		if t.raw && g.offsets.count == 1 && (g.compression == 6 || g.compression == 7) {
			at, errAt := t.value(g.offsets, 0, "a preview")
			n, errN := t.value(g.counts, 0, "a preview")
			if errAt == nil && errN == nil {
				t.offer(at, n)
			}
		}
	}
	return nil
}

// metadata keeps what the facts and the thumbnail want of a directory.
func (t *tiffFile) metadata(d directory) {
	if e, ok := d.tags[tagXMP]; ok && typeBytes(e.kind) == 1 && e.count <= maxXMPBytes && len(t.c.xmp) == 0 {
		p := make([]byte, e.count)
		if t.get(p, e.at, "its XMP") == nil {
			t.c.xmp = append(t.c.xmp, p)
		}
	}
}

// offer adds a preview that lies in the file.
func (t *tiffFile) offer(at, n int64) {
	if at >= 0 && n > 0 && at <= t.c.size && n <= t.c.size-at && len(t.previews) < maxPreviews {
		t.previews = append(t.previews, preview{from: t.r, at: at, bytes: n})
	}
}

// preview checks that a JPEG that is named by offset and length lies in the file.
func (t *tiffFile) preview(d directory) error {
	if e, ok := d.tags[tagRawJPEG]; ok && t.c.kind.mime == "image/x-panasonic-rw2" {
		if e.at < 0 || e.count > t.c.size-e.at {
			return t.outside("a preview", e.at, e.count)
		}
		t.offer(e.at, e.count)
	}
	if _, ok := d.tags[tagJPEG]; !ok {
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
	t.hasPreview = true
	if t.raw {
		t.offer(at, n)
	}
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
	if t.listed += min(2*total, 1<<40); t.listed > 4*t.c.size { // a piece is listed in 2 bytes at least
		t.c.structureOnly("its lists of pieces overlap")
		return nil
	}
	if g.compression == 6 && !t.raw {
		return t.oldJPEG(g, total)
	}
	if n := g.zstdBytes(); n > 0 && (t.paint == nil || t.paint.band.sums == nil) { // a band reserves for both
		if ok, err := t.c.reserve(n); err != nil {
			return err
		} else if !ok {
			t.c.structureOnly("its pieces are too large for worker.memory")
		}
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
			t.paint.endPiece(i)
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
		if err := t.piece(g, i, at, n, rows); err != nil {
			return t.pieceFault(err, i, total, at)
		}
		t.paint.endPiece(i)
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
