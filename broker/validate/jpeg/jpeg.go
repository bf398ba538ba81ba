// Package jpeg proves that a JPEG picture is whole, without making a bitmap of
// it: it walks the markers of ITU-T T.81 and decodes every entropy-coded bit of
// every scan, but neither dequantizes nor transforms. What such a pass can't see
// is a changed bit that yields other valid codes of the same total length.
//
// It knows the Huffman processes: baseline, extended sequential (8 and 12 bits)
// and progressive. Memory is flat (about 150 KB) but for progressive pictures,
// whose refinement scans depend on which coefficients are already non-zero: one
// bit a coefficient, taken through Options.Reserve before it is allocated.
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
}

// Info is what was learnt of a picture; with a Problem, as far as it was read.
type Info struct {
	Width, Height int    // pixels, of the frame header
	Precision     int    // bits a sample
	Components    int    //
	Process       string // "baseline", "extended sequential" or "progressive"
	Exif          []byte // the first EXIF block, from its TIFF header on; nil when none
	End           int64  // bytes up to and with the end marker (EOI)
	PaddingBytes  int64  // needless bytes inside the picture: zeros or 0xFF
	Decoded       bool   // false: Reserve refused, only the markers were walked
}

// Check reads one picture from r, from its start marker to its end marker, and
// no further than its own buffer. An error is a *Problem, or one of r.
func Check(r io.Reader, o Options) (Info, error) {
	d := &decoder{src: reader{r: r, buf: make([]byte, 64<<10)}, opts: o}
	d.bits.src = &d.src
	d.info.Decoded = true
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
