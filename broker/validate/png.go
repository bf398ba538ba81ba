package validate

import (
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// maxExifBytes bounds the EXIF block that is kept of a PNG, WebP or HEIF file.
const maxExifBytes = 1 << 20

// pngWalk is the walk over a PNG's chunks (PNG specification, third edition,
// section 5). It makes no bitmap: each chunk's CRC is checked, and the picture is
// inflated and counted, row by row.
type pngWalk struct {
	c          *check
	name       string // of the present chunk
	start      int64  // of its length field
	left       int64  // of its data
	crc        uint32
	head       bool // IHDR was there
	colour     byte
	interlaced bool
	bits       int64 // a pixel
	depth      int   // bits a sample
	palette    bool
	paletteRGB []byte
	picture    bool // the IDAT chunks were there
	profile    bool // an iCCP chunk was there
	begun      bool // the head of the next chunk is already read
}

func (c *check) png() error {
	w := &pngWalk{c: c}
	if err := c.in.skip(8); err != nil {
		return w.ended(err)
	}
	for {
		if err := w.next(); err != nil {
			return err
		}
		if !w.head && w.name != "IHDR" {
			if w.name == "CgBI" {
				return faultf(broker.ReasonUnsupportedFormat, "the file is a PNG in Apple's own form (CgBI); save it as a plain PNG")
			}
			return corruptf("its first chunk is %q, not IHDR", w.name)
		}
		var err error
		switch w.name {
		case "IHDR":
			err = w.header()
		case "PLTE":
			err = w.plte()
		case "IDAT":
			if w.picture {
				return corruptf("its picture data (IDAT) is not in one piece: more follows at byte %s", figures.Of(w.start))
			}
			w.picture = true
			if err := w.pixels(); err != nil {
				return err
			}
			continue // which ended each of its chunks itself
		case "eXIf":
			if c.exif == nil {
				var block []byte
				if block, err = w.small(maxExifBytes); block != nil {
					c.exif = append(c.exif, block)
				}
			}
		case "iTXt":
			if c.xmp == nil {
				var block []byte
				block, err = w.small(maxXMPBytes)
				if xmp := pngXMP(block); xmp != nil {
					c.xmp = append(c.xmp, xmp)
				}
			}
		case "iCCP":
			if c.want.Thumb && !w.picture && !w.profile { // there may be one (section 11.3.2.3)
				w.profile = true
				var block []byte
				block, err = w.small(maxICCBytes)
				c.thumb.icc = pngProfile(block)
			}
		case "IEND":
			if !w.picture {
				return corruptf("it ends without a picture")
			}
			if err := w.end(); err != nil {
				return err
			}
			c.found.Proof = broker.ProofFull
			c.found.TrailingB = c.size - c.in.off
			return nil
		default:
			if w.name[0]&0x20 == 0 { // an unknown chunk without which the picture can't be understood
				return faultf(broker.ReasonUnsupportedFormat, "the PNG needs the unknown extension %q", w.name)
			}
		}
		if err == nil {
			err = w.end()
		}
		if err != nil {
			return err
		}
	}
}

// ended is the fault of a file that stops inside its picture; errors of reading stay.
func (w *pngWalk) ended(err error) error {
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	if w.picture {
		return truncatedf("the file ends after %s bytes, without the picture's end (IEND)", figures.Of(w.c.size))
	}
	return truncatedf("the file ends after %s bytes, before its picture begins", figures.Of(w.c.size))
}

// next reads a chunk's head (section 5.3).
func (w *pngWalk) next() error {
	if w.begun {
		w.begun = false
		return nil
	}
	w.start = w.c.in.off
	var h [8]byte
	if err := w.c.in.full(h[:]); err != nil {
		return w.ended(err)
	}
	w.left = int64(binary.BigEndian.Uint32(h[:]))
	w.name = string(h[4:])
	for _, b := range h[4:] {
		if b < 'A' || b > 'z' || b > 'Z' && b < 'a' {
			return corruptf("no chunk starts at byte %s, where one must", figures.Of(w.start))
		}
	}
	if w.left > 1<<31-1 {
		return corruptf("its chunk %s at byte %s is said to have %s bytes", w.name, figures.Of(w.start), figures.Of(w.left))
	}
	w.crc = crc32.ChecksumIEEE(h[4:])
	return nil
}

// data reads len(p) bytes of the chunk.
func (w *pngWalk) data(p []byte) error {
	if err := w.c.in.full(p); err != nil {
		return w.ended(err)
	}
	w.left -= int64(len(p))
	w.crc = crc32.Update(w.crc, crc32.IEEETable, p)
	return nil
}

// small reads a whole chunk; nil when it is larger than most, or empty.
func (w *pngWalk) small(most int64) ([]byte, error) {
	if w.left > most || w.left == 0 || w.left > w.c.size-w.c.in.off {
		return nil, nil
	}
	p := make([]byte, w.left)
	if err := w.data(p); err != nil {
		return nil, err
	}
	return p, nil
}

// end passes the rest of the chunk and checks its CRC (section 5.5).
func (w *pngWalk) end() error {
	var buf [4096]byte
	for w.left > 0 {
		if err := w.data(buf[:min(w.left, int64(len(buf)))]); err != nil {
			return err
		}
	}
	var sum [4]byte
	if err := w.c.in.full(sum[:]); err != nil {
		return w.ended(err)
	}
	if binary.BigEndian.Uint32(sum[:]) != w.crc {
		return corruptf("its chunk %s at byte %s fails its checksum (CRC)", w.name, figures.Of(w.start))
	}
	return nil
}

// header reads IHDR (section 11.2.1).
func (w *pngWalk) header() error {
	if w.head {
		return corruptf("it has a second IHDR chunk at byte %s", figures.Of(w.start))
	}
	if w.left != 13 {
		return corruptf("its IHDR chunk has %s bytes, not 13", figures.Of(w.left))
	}
	var p [13]byte
	if err := w.data(p[:]); err != nil {
		return err
	}
	width, height := int64(binary.BigEndian.Uint32(p[:])), int64(binary.BigEndian.Uint32(p[4:]))
	depth, colour := int64(p[8]), p[9]
	if err := w.c.pixels(width, height); err != nil {
		// A damaged IHDR is more likely than such a picture.
		if crcErr := w.end(); crcErr != nil {
			return crcErr
		}
		return err
	}
	w.c.found.Width, w.c.found.Height = int(width), int(height)
	var samples int64
	fits := depth == 8 || depth == 16
	switch colour {
	case 0:
		samples, fits = 1, fits || depth == 1 || depth == 2 || depth == 4
	case 2:
		samples = 3
	case 3:
		samples, fits = 1, depth == 1 || depth == 2 || depth == 4 || depth == 8
	case 4:
		samples = 2
	case 6:
		samples = 4
	}
	if samples == 0 || !fits || p[10] != 0 || p[11] != 0 || p[12] > 1 {
		if err := w.end(); err != nil {
			return err
		}
		return corruptf("its IHDR chunk names the colour type %d with %d bits, compression %d, filter %d, interlace %d",
			colour, depth, p[10], p[11], p[12])
	}
	w.depth = int(depth)
	w.head, w.colour, w.bits, w.interlaced = true, colour, samples*depth, p[12] == 1
	return nil
}

// plte checks the palette (section 11.2.2).
func (w *pngWalk) plte() error {
	if w.palette || w.picture || w.left == 0 || w.left%3 != 0 || w.left > 768 || w.colour == 0 || w.colour == 4 {
		return corruptf("it has a palette (PLTE) of %s bytes where none can be, at byte %s", figures.Of(w.left), figures.Of(w.start))
	}
	w.palette = true
	var err error
	if w.colour == 3 {
		w.paletteRGB, err = w.small(768)
	}
	return err
}

// Read gives the data of consecutive IDAT chunks as one stream (section 10.1).
// At the first other chunk, whose head is then read, it ends.
func (w *pngWalk) Read(p []byte) (int, error) {
	for w.name == "IDAT" && w.left == 0 {
		if err := w.end(); err != nil {
			return 0, err
		}
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	if w.name != "IDAT" {
		return 0, io.EOF
	}
	n, err := w.c.in.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	w.crc = crc32.Update(w.crc, crc32.IEEETable, p[:n])
	if n == 0 && err != nil {
		return 0, w.ended(err)
	}
	return n, nil
}

// passes gives the sizes of the picture's passes: one, or Adam7's seven (section
// 8.2), of which some may be empty.
func (w *pngWalk) passes() [][2]int64 {
	width, height := int64(w.c.found.Width), int64(w.c.found.Height)
	if !w.interlaced {
		return [][2]int64{{width, height}}
	}
	var list [][2]int64
	for _, p := range [7][4]int64{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
		pw, ph := (width-p[0]+p[2]-1)/p[2], (height-p[1]+p[3]-1)/p[3]
		if pw == 0 || ph == 0 {
			pw, ph = 0, 0
		}
		list = append(list, [2]int64{pw, ph})
	}
	return list
}

// pixels inflates the picture and counts its rows; the present chunk is the
// first IDAT, afterwards it is the one behind the last, its head already read.
func (w *pngWalk) pixels() error {
	if w.colour == 3 && !w.palette {
		return corruptf("its picture comes without the palette (PLTE) that it needs")
	}
	var rows, total int64
	passes := w.passes()
	for _, p := range passes {
		total += p[1]
	}
	broken := func(err error) error {
		var f *fault
		switch {
		case errors.As(err, &f) && f.Code == broker.ReasonTruncated:
			return truncatedf("the file ends after %s bytes, after %s of %s rows", figures.Of(w.c.size), figures.Of(rows), figures.Of(total))
		case errors.As(err, &f):
			return err
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return truncatedf("the picture data ends after %s of %s rows", figures.Of(rows), figures.Of(total))
		case errors.Is(err, zlib.ErrChecksum):
			return corruptf("the picture fails its own checksum (Adler-32)")
		}
		return corruptf("the picture data near byte %s contradicts itself, after %s of %s rows", figures.Of(w.c.in.off),
			figures.Of(rows), figures.Of(total))
	}
	z, err := zlib.NewReader(w)
	if err != nil {
		return broken(err)
	}
	defer z.Close()
	buf := make([]byte, 32<<10)
	var have []byte // inflated, not yet looked at
	more := func() error {
		n := 0
		for n == 0 {
			var err error
			if n, err = z.Read(buf); n == 0 && err != nil {
				return err
			}
		}
		have = buf[:n]
		return nil
	}
	paint := w.painter()
	for i, pass := range passes {
		rowBytes := (pass[0]*w.bits + 7) / 8
		paint.begin(i, w.interlaced, rowBytes)
		for range pass[1] {
			if len(have) == 0 {
				if err := more(); err != nil {
					return broken(err)
				}
			}
			if have[0] > 4 { // section 9.2
				return corruptf("row %s of %s has the filter type %d, 4 is the highest", figures.Of(rows+1), figures.Of(total), have[0])
			}
			for left := rowBytes + 1; left > 0; {
				if len(have) == 0 {
					if err := more(); err != nil {
						return broken(err)
					}
				}
				k := min(left, int64(len(have)))
				paint.bytes(have[:k])
				have, left = have[k:], left-k
			}
			paint.endRow()
			rows++
		}
	}
	paint.done(w.c)
	if len(have) > 0 {
		return corruptf("picture data is left over after the last of %s rows", figures.Of(total))
	}
	switch err := more(); {
	case err == nil:
		return corruptf("picture data is left over after the last of %s rows", figures.Of(total))
	case err != io.EOF:
		return broken(err)
	}
	// Bytes behind the end of the zlib stream mean nothing, but for their CRC.
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{w}, buf); err != nil {
		return err
	}
	w.begun = true // Read took the head of the chunk behind the picture
	return nil
}
