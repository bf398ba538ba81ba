package jpeg

import (
	"bytes"
	"encoding/binary"
)

// Sizes of a feed. The longest MCU has 10 blocks (T.81 B.2.3) of at most 31 bits
// of DC and 63 times 30 bits of AC: under 2.5 KB. So much is there, or zeros after
// the end, before an MCU is begun, and no check is needed inside of it.
const (
	feedBytes = 1 << 16 // a power of two, so that an index is proven by a mask
	feedSlack = 4 << 10
)

// feed gives the entropy-coded bits of one interval, without the stuffed zero
// bytes (T.81 B.1.1.5), up to the next marker.
//
// Reading past the end gives zeros; over tells that it happened. At most
// feedSlack bytes may be read without a call of more.
type feed struct {
	src     *reader
	acc     uint64 // the next bits, from the top; below the valid ones the bits that follow
	n       uint   // how many are valid
	pos     int    // of the next byte to load into acc
	end     int    // of what is in buf; zeros follow
	limit   int    // from this pos on more has to be asked
	stopped bool   // a marker or the end of the stream was met
	marker  byte   // that marker's code; 0: the end of the stream
	buf     [feedBytes + 8]byte
}

// begin starts an interval behind a marker.
func (f *feed) begin() {
	f.acc, f.n, f.pos, f.end, f.stopped, f.marker = 0, 0, 0, 0, false, 0
	f.load()
}

// load fills the buffer, and ends at a marker.
func (f *feed) load() {
	// acc goes on to hold what it holds, pos is the byte behind it. The bytes before
	// it stay for those who take some of acc back.
	from := max(f.pos-8, 0)
	f.end = copy(f.buf[:], f.buf[from:max(f.end, from)])
	f.pos -= from
	src := f.src
	for !f.stopped && f.end < feedBytes-feedSlack {
		if src.pos == src.end && !src.more() {
			f.stopped = true
			break
		}
		room := src.buf[src.pos:src.end]
		room = room[:min(len(room), feedBytes-feedSlack-f.end)]
		if i := bytes.IndexByte(room, 0xFF); i != 0 {
			if i > 0 {
				room = room[:i]
			}
			f.end += copy(f.buf[f.end:], room)
			src.pos += len(room)
			continue
		}
		f.escape()
	}
	f.limit = f.end - feedSlack
	if f.stopped {
		f.limit = f.end
		clear(f.buf[f.end:min(f.end+feedSlack, len(f.buf))])
	}
}

// escape reads what begins with 0xFF: a stuffed byte of data, or a marker, before
// which fill bytes may stand (T.81 B.1.1.2).
func (f *feed) escape() {
	c, ok := byte(0xFF), true
	for ok && c == 0xFF {
		c, ok = f.src.byte()
	}
	switch {
	case !ok:
		f.stopped = true
	case c != 0:
		f.stopped, f.marker = true, c
	default:
		f.buf[f.end] = 0xFF
		f.end++
	}
}

// more is to be called when pos has come to limit. False: more bits were taken
// than there are.
func (f *feed) more() bool {
	if !f.stopped {
		f.load()
		return true
	}
	return !f.over()
}

// over reports whether more bits were taken than the interval has.
func (f *feed) over() bool { return f.left() < 0 }

// left is how many bits of the interval are not taken yet, as far as they are in
// the buffer: all of them once it has stopped. Negative: more were taken.
func (f *feed) left() int { return (f.end-f.pos)*8 + int(f.n) }

// refill makes at least 56 bits valid.
func (f *feed) refill() {
	f.acc |= binary.BigEndian.Uint64(f.buf[f.pos&(feedBytes-1):]) >> f.n
	f.pos += int((63 - f.n) >> 3)
	f.n |= 56
}

// from gives acc, n and pos for reading on at a bit of buf, which may lie up to 64
// before what is loaded.
func (f *feed) from(bit int) (acc uint64, n uint, pos int) {
	pos = bit >> 3
	acc = binary.BigEndian.Uint64(f.buf[pos&(feedBytes-1):]) << (bit & 7)
	return acc, uint(56 - bit&7), pos + 7
}

// take consumes k bits, 32 at most, and gives them.
func (f *feed) take(k uint) uint32 {
	if f.n < 32 {
		f.refill()
	}
	v := uint32(f.acc >> 1 >> (63 - k))
	f.acc <<= k
	f.n -= k
	return v
}

// symbol decodes one code of t. False: no such code.
func (f *feed) symbol(t *table) (byte, bool) {
	if f.n < 32 {
		f.refill()
	}
	length, sym := t.code(f.acc)
	f.acc <<= length
	f.n -= length
	return sym, length > 0
}

// near is about where in the stream the next bit stands.
func (f *feed) near() int64 {
	if f.stopped && f.pos >= f.end {
		return f.src.offset()
	}
	return f.src.offset() - int64(f.end-f.pos)
}

// drain drops everything up to the next marker, and says how many whole bytes
// that was and how many of them are not padding.
func (f *feed) drain() (total, foreign int64) {
	var rest padding
	// Of acc, what lies past the end is no data, and a byte that was begun is padding.
	left := int(f.n)
	if f.stopped && f.pos > f.end {
		left -= (f.pos - f.end) * 8
	}
	if left > 0 {
		f.acc <<= uint(left & 7)
		for ; left >= 8; left -= 8 {
			rest.add(byte(f.acc >> 56))
			f.acc <<= 8
		}
	}
	for {
		for _, c := range f.buf[min(f.pos, f.end):f.end] {
			rest.add(c)
		}
		f.acc, f.n, f.pos = 0, 0, f.end
		if f.stopped {
			return rest.total, rest.foreign()
		}
		f.load()
	}
}

// padding counts bytes that some cameras write behind a scan: zeros, 0xFF, or one
// other byte again and again. Data of a picture are none of these.
type padding struct {
	total  int64
	other  byte  // the first that is neither 0 nor 0xFF
	others int64 // how often it came
	mixed  int64 // all else
}

// minFill is how often a byte has to come to be taken for a filling.
const minFill = 16

func (p *padding) add(c byte) {
	p.total++
	switch {
	case c == 0 || c == 0xFF:
	case p.others == 0:
		p.other, p.others = c, 1
	case c == p.other:
		p.others++
	default:
		p.mixed++
	}
}

func (p *padding) foreign() int64 {
	if p.mixed == 0 && p.others >= minFill {
		return 0
	}
	return p.mixed + p.others
}
