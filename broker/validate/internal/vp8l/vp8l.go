// Package vp8l proves the lossless pictures of WebP (RFC 9649 section 3): it
// decodes every coded bit and holds no bitmap.
//
// A pixel may repeat one up to 1,048,576 before it (section 4.2.2), so that many
// are kept. With the codes and the tables of the transforms, memory stays under
// 16 MB whatever the picture claims; what would need more is ErrTooMuch. It reads
// from an io.Reader, holds no permissions and has no side effects.
package vp8l

import (
	"errors"
	"io"
	"math/bits"
)

// Limits of what is kept.
const (
	windowPixels   = 1 << 20
	maxTablePixels = 1 << 19 // of a transform, for who wants rows
	maxGroupTiles  = 1 << 20
	maxCodeBytes   = 5 << 20
	maxGroups      = 1 << 16
)

var (
	// ErrTooMuch says that the picture can't be proven in bounded memory.
	ErrTooMuch = errors.New("vp8l: the picture needs more memory than is granted")
	// ErrInvalid says that the data contradicts the format.
	ErrInvalid = errors.New("vp8l: invalid data")
)

// Options say what a Check reads.
type Options struct {
	Width, Height int // pixels, as the caller read them in the head; 1 to 16,384
	// Bare data has no head: an alpha chunk's (section 5.2.3 of the container).
	Bare bool
	// Row gets each row from the top down, 4 bytes a pixel: red, green, blue, alpha.
	// It is only good during the call. It is never called where the transforms'
	// tables are too large. Nil: nobody wants it.
	Row func(y int, rgba []byte)
}

// Check decodes one picture from r, which must end where its data does, and says
// how many bytes of it were left over. An error is one of the two above, of r, or
// io.ErrUnexpectedEOF.
func Check(r io.Reader, o Options) (left int64, err error) {
	d := &decoder{r: r, buf: make([]byte, 4096)}
	err = d.picture(o)
	if err == nil || err == ErrInvalid {
		if cut := d.ended(); cut != nil { // zeros behind the end are often invalid
			err = cut
		}
	}
	if d.err != nil && d.err != io.EOF {
		return 0, d.err
	}
	if err != nil {
		return 0, err
	}
	left = int64(d.end-d.pos) + int64(d.n-d.zeros)/8
	n, err := io.Copy(io.Discard, r)
	return left + n, err
}

// decoder reads bits, the least significant first.
type decoder struct {
	r        io.Reader
	buf      []byte
	pos, end int
	err      error // of r, sticky
	acc      uint64
	n        uint // bits in acc
	zeros    uint // of them, behind the end of the data
	window   []uint32
	twice    bool // a code named one symbol twice
}

// fill makes at least 56 bits valid; behind the end they are zeros.
func (d *decoder) fill() {
	for d.n <= 56 {
		if d.pos == d.end {
			d.pos, d.end = 0, 0
			for tries := 0; d.end == 0 && d.err == nil; tries++ {
				if d.end, d.err = d.r.Read(d.buf); tries == 100 {
					d.err = io.ErrNoProgress
				}
			}
			if d.end == 0 {
				d.zeros += 64 - d.n
				d.n = 64
				return
			}
		}
		d.acc |= uint64(d.buf[d.pos]) << d.n
		d.pos++
		d.n += 8
	}
}

// read takes k bits, 32 at most.
func (d *decoder) read(k uint) uint32 {
	if d.n < k {
		d.fill()
	}
	v := uint32(d.acc & (1<<k - 1))
	d.acc >>= k
	d.n -= k
	return v
}

// ended is the error of more bits taken than there are.
func (d *decoder) ended() error {
	if d.zeros > d.n {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (d *decoder) picture(o Options) error {
	if o.Width < 1 || o.Height < 1 || o.Width > 1<<14 || o.Height > 1<<14 {
		return ErrInvalid
	}
	if !o.Bare {
		if d.read(8) != 0x2F || int(d.read(14))+1 != o.Width || int(d.read(14))+1 != o.Height {
			return ErrInvalid
		}
		d.read(1)           // whether there is alpha: a hint
		if d.read(3) != 0 { // the version
			return ErrInvalid
		}
	}
	keep := o.Row != nil
	var list []*transform
	width, seen := o.Width, 0
	for d.read(1) == 1 {
		t := &transform{kind: int(d.read(2)), width: width}
		if seen>>t.kind&1 == 1 {
			return ErrInvalid
		}
		seen |= 1 << t.kind
		if err := d.transform(t, o.Height, &keep); err != nil {
			return err
		}
		if t.kind == colourIndex {
			width = tiles(width, t.bits)
		}
		list = append(list, t)
	}
	var rows func(y int, row []uint32)
	if keep {
		out := make([]byte, 4*o.Width)
		rows = func(y int, row []uint32) {
			for i := len(list) - 1; i >= 0; i-- {
				row = list[i].undo(y, row)
			}
			for x, v := range row {
				out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = byte(v>>16), byte(v>>8), byte(v), byte(v>>24)
			}
			o.Row(y, out)
		}
	}
	return d.pixels(width, o.Height, true, rows)
}

// tiles is how many squares of 1<<bits pixels cover a size.
func tiles(size int, bits uint) int { return (size + 1<<bits - 1) >> bits }

// transform reads one (section 4.1). keep turns false when its table is too large.
func (d *decoder) transform(t *transform, height int, keep *bool) error {
	switch t.kind {
	case predictor, crossColour:
		t.bits = uint(d.read(3)) + 2
		w, h := tiles(t.width, t.bits), tiles(height, t.bits)
		if w*h > maxTablePixels {
			*keep = false
		}
		return d.table(t, w, h, *keep)
	case colourIndex:
		n := int(d.read(8)) + 1
		switch {
		case n <= 2:
			t.bits = 3
		case n <= 4:
			t.bits = 2
		case n <= 16:
			t.bits = 1
		}
		if err := d.table(t, n, 1, true); err != nil {
			return err
		}
		for i := 1; i < n; i++ {
			t.table[i] = add(t.table[i], t.table[i-1])
		}
		t.table = append(t.table, make([]uint32, 256-n)...) // an index beyond is transparent black
	}
	return nil
}

func (d *decoder) table(t *transform, w, h int, keep bool) error {
	var rows func(int, []uint32)
	if keep {
		t.table = make([]uint32, 0, w*h)
		rows = func(_ int, row []uint32) { t.table = append(t.table, row...) }
	}
	return d.pixels(w, h, false, rows)
}

// pixels reads an image: the picture itself, or one that holds figures (section
// 5.2). rows gets each row; nil: nobody wants it.
func (d *decoder) pixels(width, height int, top bool, rows func(y int, row []uint32)) error {
	var cache []uint32
	cacheBits := uint(0)
	if d.read(1) == 1 {
		if cacheBits = uint(d.read(4)); cacheBits < 1 || cacheBits > 11 {
			return ErrInvalid
		}
		cache = make([]uint32, 1<<cacheBits)
	}
	groups, err := d.groups(width, height, top, cacheBits)
	if err != nil {
		return err
	}
	total := width * height
	size := 1 << bits.Len(uint(min(total, windowPixels)-1))
	if len(d.window) < size {
		d.window = make([]uint32, size)
	}
	window := d.window[:size]
	mask := size - 1
	var line []uint32
	if rows != nil {
		line = make([]uint32, width)
	}
	at, x, y := 0, 0, 0
	g := groups.at(0, 0)
	for at < total {
		if groups.bits > 0 && x&groups.mask == 0 {
			g = groups.at(x, y)
		}
		run := 1
		var pixel uint32
		back := 0
		symbol := g[green].next(d)
		switch {
		case symbol < literals:
			red := g[red].next(d)
			blue := g[blue].next(d)
			alpha := g[alpha].next(d)
			pixel = alpha<<24 | red<<16 | symbol<<8 | blue
		case symbol < literals+lengths:
			run = int(d.extra(symbol - literals))
			back = distance(width, int(d.extra(g[far].next(d))))
			if back > at || run > total-at {
				if err := d.ended(); err != nil {
					return err
				}
				return ErrInvalid
			}
		default:
			pixel = cache[symbol-literals-lengths] // the code has no more symbols than that
		}
		for ; run > 0; run-- {
			if back > 0 {
				pixel = window[(at-back)&mask]
			}
			window[at&mask] = pixel
			if cache != nil {
				cache[pixel*0x1E35A7BD>>(32-cacheBits)] = pixel
			}
			at++
			if x++; x < width {
				continue
			}
			if err := d.ended(); err != nil {
				return err
			}
			if rows != nil {
				start := (at - width) & mask
				n := copy(line, window[start:])
				copy(line[n:], window)
				rows(y, line)
			}
			x, y = 0, y+1
		}
		if back > 0 && groups.bits > 0 && at < total {
			g = groups.at(x, y)
		}
	}
	return d.ended()
}

// extra reads a length or a distance, of which symbol is the prefix (section 4.2.2).
func (d *decoder) extra(symbol uint32) uint32 {
	if symbol < 4 {
		return symbol + 1
	}
	k := (symbol - 2) >> 1
	return (2+symbol&1)<<k + d.read(uint(k)) + 1
}

// nearby maps the 120 shortest codes to places nearby: dy in the high half, 8 less
// dx in the low one (section 4.2.2).
var nearby = [120]uint8{
	0x18, 0x07, 0x17, 0x19, 0x28, 0x06, 0x27, 0x29, 0x16, 0x1a,
	0x26, 0x2a, 0x38, 0x05, 0x37, 0x39, 0x15, 0x1b, 0x36, 0x3a,
	0x25, 0x2b, 0x48, 0x04, 0x47, 0x49, 0x14, 0x1c, 0x35, 0x3b,
	0x46, 0x4a, 0x24, 0x2c, 0x58, 0x45, 0x4b, 0x34, 0x3c, 0x03,
	0x57, 0x59, 0x13, 0x1d, 0x56, 0x5a, 0x23, 0x2d, 0x44, 0x4c,
	0x55, 0x5b, 0x33, 0x3d, 0x68, 0x02, 0x67, 0x69, 0x12, 0x1e,
	0x66, 0x6a, 0x22, 0x2e, 0x54, 0x5c, 0x43, 0x4d, 0x65, 0x6b,
	0x32, 0x3e, 0x78, 0x01, 0x77, 0x79, 0x53, 0x5d, 0x11, 0x1f,
	0x64, 0x6c, 0x42, 0x4e, 0x76, 0x7a, 0x21, 0x2f, 0x75, 0x7b,
	0x31, 0x3f, 0x63, 0x6d, 0x52, 0x5e, 0x00, 0x74, 0x7c, 0x41,
	0x4f, 0x10, 0x20, 0x62, 0x6e, 0x30, 0x73, 0x7d, 0x51, 0x5f,
	0x40, 0x72, 0x7e, 0x61, 0x6f, 0x50, 0x71, 0x7f, 0x60, 0x70,
}

// distance is how many pixels back a code means.
func distance(width, code int) int {
	if code > len(nearby) {
		return code - len(nearby)
	}
	n := nearby[code-1]
	return max(1, int(n>>4)*width+8-int(n&15))
}
