package validate

import (
	"bytes"
	"compress/zlib"
	"io"
	"math/bits"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
	"github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
)

// maxFaxWidth is the most pixels in a row that golang.org/x/image/ccitt takes.
const maxFaxWidth = 1 << 20

// piece unpacks the strip or tile i and counts its bytes; what this program can't
// unpack is left at the structure.
func (t *tiffFile) piece(g *raster, i, at, n, rows int64) error {
	plane := i / (g.across * g.down)
	want := g.pieceBytes(rows, plane)
	// The last strip may hold the rows of a whole one. It is read to its end, so
	// that a checksum there is looked at.
	most := max(want, g.pieceBytes(g.pieceRows, plane))
	if t.looked += n; t.looked > 4*t.c.size {
		t.c.structureOnly("its pieces overlap")
		return nil
	}
	section := io.NewSectionReader(t.r, at, n)
	var raw io.Reader = section
	if g.fillOrder == 2 {
		raw = reversedBits{section}
	}
	var r io.Reader
	switch g.compression {
	case 1:
		if n < want {
			return corruptf("it has %s bytes where %s are needed", figures.Of(n), figures.Of(want))
		}
		if t.paint == nil {
			return nil
		}
		r = io.LimitReader(raw, want)
	case 4:
		if g.samples != 1 || g.bits[0] != 1 || g.pieceWidth > maxFaxWidth {
			t.c.structureOnly("its fax compression was not unpacked")
			return nil
		}
		// As libtiff has it, white is 0 whatever the picture's own white is.
		r = ccitt.NewReader(raw, ccitt.MSB, ccitt.Group4, int(g.pieceWidth), int(rows), &ccitt.Options{Invert: true})
	case 5:
		var head [2]byte
		if n >= 2 {
			if err := t.get(head[:], at, "a piece"); err != nil {
				return err
			}
		}
		if head[0] == 0 && (head[1]&1 == 1 && g.fillOrder != 2 || head[1]&0x80 != 0 && g.fillOrder == 2) { // the order of bits before TIFF 5.0
			t.c.structureOnly("its old form of LZW was not unpacked")
			return nil
		}
		r = lzw.NewReader(raw, lzw.MSB, 8)
	case 7:
		return t.jpegPiece(g, i, section)
	case 8, 32946:
		if err := t.inflater(raw); err != nil {
			return t.unpackFault(err, 0, want)
		}
		r = t.inflate
	case 32773:
		r = &packBits{r: raw}
	case 50000:
		var err error
		if r, err = t.unzstd(raw, most); err != nil {
			return t.unpackFault(err, 0, want)
		}
		if r == nil {
			return nil
		}
	default:
		t.c.structureOnly("its compression (%d) was not unpacked", g.compression)
		return nil
	}
	if t.buf == nil {
		t.buf = make([]byte, 16<<10)
	}
	buf := t.buf
	for have := int64(0); ; {
		if err := t.c.ctx.Err(); err != nil {
			return err
		}
		k, err := r.Read(buf)
		t.paint.bytes(i, have, buf[:k])
		have += int64(k)
		switch {
		case have > most:
			return corruptf("it unpacks to more than its %s bytes", figures.Of(most))
		case err == nil:
		case have >= want && (err == io.EOF || g.compression == 4 || g.compression == 5): // LZW's and fax's end code may be missing
			return nil
		default:
			return t.unpackFault(err, have, want)
		}
	}
}

// reversedBits is data whose bytes have their lowest bit first (TIFF 6.0 section 8,
// FillOrder).
type reversedBits struct{ r io.Reader }

func (b reversedBits) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	for i, v := range p[:n] {
		p[i] = bits.Reverse8(v)
	}
	return n, err
}

// inflater gets ready to inflate a piece (TIFF Technical Note 2 of Adobe's
// "PageMaker 6.0 TIFF Technical Notes").
func (t *tiffFile) inflater(raw io.Reader) (err error) {
	if t.inflate == nil {
		t.inflate, err = zlib.NewReader(raw)
		return err
	}
	return t.inflate.(zlib.Resetter).Reset(raw, nil)
}

func (t *tiffFile) unpackFault(err error, have, want int64) error {
	if _, ok := err.(*fault); ok {
		return err
	}
	if t.c.ranged.err != nil {
		return t.c.ranged.err
	}
	if err == errScattered {
		return err
	}
	return corruptf("it unpacks to %s of %s bytes", figures.Of(have), figures.Of(want))
}

// jpegPiece proves a piece that is a JPEG picture, with the tables that all share
// (TIFF Technical Note 2).
func (t *tiffFile) jpegPiece(g *raster, i int64, raw *io.SectionReader) error {
	var r io.Reader = raw
	if len(g.tables) >= 4 {
		if _, err := raw.Seek(2, io.SeekStart); err != nil { // its own start marker
			return err
		}
		r = io.MultiReader(bytes.NewReader(g.tables[:len(g.tables)-2]), raw)
	}
	options := jpeg.Options{MaxPixels: t.c.want.MaxPixels, Reserve: t.c.reserve}
	t.paint.follow(i, &options)
	info, err := jpeg.Check(r, options)
	t.c.release()
	if f, err := t.jpegResult(info, err); f != nil || err != nil || t.c.found.Proof != broker.ProofFull {
		if err == nil && f != nil {
			err = f
		}
		return err
	}
	// A picture that is smaller than its piece leaves a part of the whole undefined.
	// A plane of chroma may be.
	if g.planar || g.tiles {
		return nil
	}
	rows := min(g.pieceRows, g.height-i%g.down*g.pieceRows)
	if int64(info.Width) < g.pieceWidth || int64(info.Height) < rows {
		return corruptf("it is a JPEG of %s x %s pixels where %s x %s are needed", figures.Of(info.Width), figures.Of(info.Height),
			figures.Of(g.pieceWidth), figures.Of(rows))
	}
	return nil
}

// jpegResult turns what became of a JPEG inside into a fault of its piece, or
// leaves the proof at the structure.
func (t *tiffFile) jpegResult(info jpeg.Info, err error) (*fault, error) {
	if t.c.ranged.err != nil {
		return nil, t.c.ranged.err
	}
	if err == nil {
		if !info.Decoded {
			t.c.structureOnly("its pieces are too large for worker.memory")
		}
		return nil, nil
	}
	f, ok := jpegFault(err).(*fault)
	switch {
	case !ok:
		return nil, err
	case f.Code == broker.ReasonUnsupportedFormat:
		t.c.structureOnly("its JPEG pieces are of a kind that is not decoded")
		return nil, nil
	case f.Code == broker.ReasonTruncated: // the piece is cut, the file is not
		f.Code = broker.ReasonCorrupt
	}
	return f, nil
}

// oldJPEG checks pieces of TIFF 6.0's own JPEG compression (section 22), which
// writers understood in many ways. Where one JPEG stream holds them all, it is
// proven like any; else the places alone are.
func (t *tiffFile) oldJPEG(g *raster, total int64) error {
	at, n := g.interchange, g.interchangeBytes
	if n == 0 {
		n = t.c.size - at
	}
	whole := at > 0 && n > 0 && n <= t.c.size-at
	for i := range total {
		from, err := t.value(g.offsets, i, "the place of a piece")
		if err != nil {
			return err
		}
		bytes, err := t.value(g.counts, i, "the length of a piece")
		if err != nil {
			return err
		}
		if from > t.c.size || bytes > t.c.size-from {
			return t.outside("a piece of the picture", from, bytes)
		}
		whole = whole && from >= at && from+bytes <= at+n
	}
	var start [2]byte
	if whole {
		if err := t.get(start[:], at, "the picture"); err != nil {
			return err
		}
	}
	if start != [2]byte{0xFF, 0xD8} || t.c.found.Proof != broker.ProofFull {
		t.c.structureOnly("its old form of JPEG was not decoded")
		return nil
	}
	if t.looked += n; t.looked > 4*t.c.size {
		t.c.structureOnly("its pieces overlap")
		return nil
	}
	options := jpeg.Options{MaxPixels: t.c.want.MaxPixels, Reserve: t.c.reserve}
	if t.c.want.Thumb && t.found == 1 {
		t.c.thumb.follow(&options)
	}
	info, err := jpeg.Check(io.NewSectionReader(t.r, at, n), options)
	t.c.release()
	f, err := t.jpegResult(info, err)
	if err != nil {
		return err
	}
	if f != nil {
		return f
	}
	if t.c.found.Proof == broker.ProofFull && (int64(info.Width) < g.width || int64(info.Height) < g.height) {
		t.c.structureOnly("its old form of JPEG has another size than the directory says")
	}
	return nil
}
