// Package jpeg proves that a JPEG picture is whole, without making a bitmap of
// it: it walks the markers of ITU-T T.81 and decodes every entropy-coded bit of
// every scan, but neither dequantizes nor transforms. What such a pass can't see
// is a changed bit that yields other valid codes of the same total length.
//
// It knows the Huffman processes: baseline, extended sequential (8 and 12 bits)
// and progressive; of 1 to 4 components, interleaved or in several scans. What it
// holds a file to, by the clauses of T.81:
//
//	B.1.1, B.2.1   markers, fill bytes, and which segments may stand where
//	B.2.2, A.1.1   the frame: figures, sampling, components; one frame only
//	B.2.3, A.2     scans: what they name, blocks of an MCU, and how many MCUs
//	B.2.4          tables: quantization (no zeros), Huffman (annex C: no code of
//	               all ones), restart interval, arithmetic conditioning
//	B.2.5          a height behind the first scan (DNL), against its rows of MCUs
//	E.1.4, E.2.4   restart markers: all, in order, and nothing before them
//	F.1.2, F.2.2   each code of a sequential scan; runs within the block, the
//	               magnitudes of tables F.1, F.2, F.6 and F.7; a DC within twice
//	               the range that A.3.3 gives
//	G.1.1.1        the order of progressive scans: the DC of a component first, each
//	               bit of each coefficient once and from the top
//	G.1.2          each code of a progressive scan; end-of-band runs within their
//	               interval, and what a refinement adds to what is there
//
// Refused as unsupported are lossless (annex H), hierarchical (annex J) and
// arithmetic (annex D) pictures, and other than 8 or 12 bits a sample. Zeros
// between a complete scan or a segment and the next marker are counted, and no
// fault: some drones write them. Nothing behind the end marker is looked at.
// Beyond T.81, a version of JFIF (T.871) or a colour transform of Adobe (T.872)
// that decoders warn of is a fault too.
//
// Memory is flat (about 300 KB, and the metadata that Info holds) but for
// progressive pictures, whose refinement scans depend on which coefficients are
// already non-zero: one bit a coefficient, taken through Options.Reserve before it
// is allocated.
//
// It reads from an io.Reader, holds no permissions and starts no goroutine.
package jpeg

import "io"

// Kind says what is wrong with a picture.
type Kind int

// The kinds.
const (
	Truncated     Kind = iota + 1 // the data ends before the picture does
	Corrupt                       // the data contradicts T.81
	Unsupported                   // a process of T.81 that is not taken
	TooManyPixels                 // over Options.MaxPixels
)

// Problem is what Check found. Any other error of Check is one of reading.
type Problem struct {
	Kind   Kind
	Detail string // a sentence for a person, with the figures
}

func (p *Problem) Error() string { return p.Detail }

// Options are the limits of a Check.
type Options struct {
	MaxPixels int64 // width times height; 0: no limit

	// Reserve is asked, at most once, before memory in proportion to the picture
	// is allocated. When it says false the scans are skipped, not decoded; an
	// error ends the check. Nil: always granted. What it reserved may be given
	// back when Check has returned.
	Reserve func(bytes int64) (bool, error)

	// Frame is told what is known when the first scan begins, once and before the
	// first DC row. Height is still 0 where the file gives it behind the first scan
	// (DNL). Nil: nobody wants it.
	Frame func(Info)

	// DC gets the DC coefficients, quantized, of one row of a component's blocks
	// at a time, from its first scan: from the top down, each row once. Those of a
	// progressive picture are shifted to their place already. values is only good
	// during the call. Nil: nobody wants them.
	DC func(component, row int, values []int16)
}

// Info is what was learnt of a picture; with a Problem, as far as it was read.
type Info struct {
	Width, Height int         // pixels, of the frame header
	Precision     int         // bits a sample
	Components    int         //
	Process       string      // "baseline", "extended sequential" or "progressive"
	Comps         []Component // in the order of the frame header
	Adobe         int         // the colour transform of Adobe's APP14: 0, 1 or 2; -1: no APP14
	JFIF          bool        // a JFIF APP0 is there: 3 components are YCbCr
	Exif          []byte      // the first EXIF block, from its TIFF header on; nil when none
	XMP           []byte      // the first XMP packet; nil when none
	ICC           []byte      // the colour profile, joined; nil when none, or not whole, or over 1 MB
	End           int64       // bytes up to and with the end marker (EOI)
	PaddingBytes  int64       // needless bytes between scans and segments: zeros or 0xFF
	Decoded       bool        // false: Reserve refused, the AC scans were not decoded
	Unrefined     bool        // progressive: coefficients ended without all of their bits, or any
}

// Component is one colour channel of the frame (T.81 B.2.2).
type Component struct {
	H, V    int  // sampling factors
	DCQuant int  // the DC step of its quantization table; 0: the table is not defined yet
	ID      byte // its name in the file
}

// Check reads one picture from r, from its start marker to its end marker, and
// no further than its own buffer. An error is a *Problem, or one of r.
func Check(r io.Reader, o Options) (Info, error) {
	return newDecoder(r, o).check()
}

func newDecoder(r io.Reader, o Options) *decoder {
	d := &decoder{src: reader{r: r, buf: make([]byte, 64<<10)}, opts: o}
	d.bits.src = &d.src
	d.info.Decoded, d.info.Adobe = true, -1
	return d
}

func (d *decoder) check() (Info, error) {
	err := d.walk()
	if d.src.err != nil && d.src.err != io.EOF {
		err = d.src.err
	}
	return d.info, err
}

// reader is a buffer over the stream that knows its offset.
type reader struct {
	r        io.Reader
	buf      []byte
	pos, end int
	base     int64 // offset of buf[0] in the stream
	err      error // sticky
}

// more loads the buffer, which must be used up. False: the stream ended.
func (r *reader) more() bool {
	if r.err != nil {
		return false
	}
	r.base += int64(r.end)
	r.pos, r.end = 0, 0
	for tries := 0; r.end == 0 && r.err == nil; tries++ {
		if tries == 100 {
			r.err = io.ErrNoProgress
			break
		}
		r.end, r.err = r.r.Read(r.buf)
	}
	return r.end > 0
}

func (r *reader) offset() int64 { return r.base + int64(r.pos) }

func (r *reader) byte() (byte, bool) {
	if r.pos == r.end && !r.more() {
		return 0, false
	}
	c := r.buf[r.pos]
	r.pos++
	return c, true
}

// full reads len(p) bytes.
func (r *reader) full(p []byte) bool {
	for len(p) > 0 {
		if r.pos == r.end && !r.more() {
			return false
		}
		n := copy(p, r.buf[r.pos:r.end])
		r.pos += n
		p = p[n:]
	}
	return true
}

func (r *reader) skip(n int) bool {
	for n > 0 {
		if r.pos == r.end && !r.more() {
			return false
		}
		k := min(n, r.end-r.pos)
		r.pos += k
		n -= k
	}
	return true
}
