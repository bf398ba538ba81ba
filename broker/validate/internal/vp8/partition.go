package vp8

import (
	"encoding/binary"
	"io"
	"math/bits"
)

// window is the boolean decoder (section 7): how much of the present interval is
// below the coded number, and how wide the interval is. It is passed by value, so
// that it stays in registers.
type window struct {
	value uint64 // its upper 8 bits are of span's scale
	span  uint32 // 128 to 255
	spare int32  // valid bits of value beyond those 8, which a decision needs; below 0: fill it
}

// cut divides the interval: a value from there on is a 1. prob, in 256, is how
// likely a 0 is.
func (w window) cut(prob uint8) uint64 {
	return uint64(1+(w.span-1)*uint32(prob)>>8) << 56
}

// zero goes on in the lower part.
func (w window) zero(cut uint64) window {
	span := uint8(cut >> 56)
	shift := shifts[span]
	return window{value: w.value << (shift & 63), span: uint32(span) << (shift & 31), spare: w.spare - int32(shift)}
}

// one goes on in the upper one.
func (w window) one(cut uint64) window {
	span := uint8(w.span - uint32(cut>>56))
	shift := shifts[span]
	return window{value: (w.value - cut) << (shift & 63), span: uint32(span) << (shift & 31), spare: w.spare - int32(shift)}
}

// sign decides a bit of even chances: 0, or -1 for a 1. It is done without a branch,
// as nothing foretells it.
func (w window) sign() (window, int32) {
	cut := uint64(w.span+1) >> 1 << 56
	_, zero := bits.Sub64(w.value, cut, 0)
	w.value -= cut & (zero - 1)
	w.span = w.span>>1 + w.span&uint32(zero)
	shift := shifts[uint8(w.span)]
	w.value <<= shift & 63
	w.span <<= shift & 31
	w.spare -= int32(shift)
	return w, int32(zero) - 1
}

// bit is sign for any chances.
func (w window) bit(prob uint8) (window, int32) {
	cut := w.cut(prob)
	_, zero := bits.Sub64(w.value, cut, 0)
	span := uint32(cut >> 56)
	span += (w.span - 2*span) & (uint32(zero) - 1)
	shift := shifts[uint8(span)]
	w.value = (w.value - cut&(zero-1)) << (shift & 63)
	w.span = span << (shift & 31)
	w.spare -= int32(shift)
	return w, int32(zero) - 1
}

// partition is a part of the data with a boolean decoder of its own.
type partition struct {
	window
	buf  []byte // what is not in the window yet
	r    io.Reader
	next []byte // r's buffer; nil: buf is all there is
	err  error  // of r, sticky, other than io.EOF
	// over: a decision needed a byte behind the end. RFC 6386 reads zeros there;
	// libwebp, by whose word it is, refuses the picture.
	over bool
}

// streamed is how many bytes of a partition that streams by are held.
const streamed = 32 << 10

func newPartition(p partition) partition {
	p.window = window{span: 255, spare: -8}
	return p
}

// hold reads a partition of so many bytes.
func hold(r io.Reader, size int64) (partition, error) {
	buf := make([]byte, size)
	if _, err := io.ReadFull(r, buf); err != nil {
		return partition{}, ended(err)
	}
	return newPartition(partition{buf: buf, over: size == 0}), nil
}

// follow is the partition of all that r has, which must be something.
func follow(r io.Reader) (partition, error) {
	p := newPartition(partition{r: r, next: make([]byte, streamed)})
	if !p.more() && p.err == nil {
		return p, io.ErrUnexpectedEOF
	}
	return p, p.err
}

// ended is the error of data that ends too early.
func ended(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fill makes w ready for a decision at least.
func (p *partition) fill(w window) window {
	if len(p.buf) >= 8 {
		// Some bits are added which count only when they come again.
		w.value |= binary.BigEndian.Uint64(p.buf) >> uint(w.spare+8)
		n := (56 - w.spare) >> 3
		p.buf = p.buf[n:]
		w.spare += 8 * n
		return w
	}
	for w.spare <= 48 && p.more() {
		w.value |= uint64(p.buf[0]) << uint(48-w.spare)
		p.buf = p.buf[1:]
		w.spare += 8
	}
	if w.spare < 0 {
		p.over = true
		w.spare += 56
	}
	return w
}

// more says whether there is a byte in buf.
func (p *partition) more() bool {
	for tries := 0; len(p.buf) == 0; tries++ {
		if p.next == nil {
			return false
		}
		n, err := p.r.Read(p.next)
		p.buf = p.next[:n]
		if err == nil && tries == 100 {
			err = io.ErrNoProgress
		}
		if err != nil {
			p.next = nil
			if err != io.EOF {
				p.err = err
			}
		}
	}
	return true
}

// decide takes one bit out of w, which is the partition's.
func (p *partition) decide(w window, prob uint8) (window, bool) {
	if w.spare < 0 {
		w = p.fill(w)
	}
	cut := w.cut(prob)
	if w.value < cut {
		return w.zero(cut), false
	}
	return w.one(cut), true
}

// bit is one decision.
func (p *partition) bit(prob uint8) (one bool) {
	p.window, one = p.decide(p.window, prob)
	return one
}

// flag is a bit of even chances.
func (p *partition) flag() bool { return p.bit(128) }

// number is one of k bits, the highest first.
func (p *partition) number(k int) (n int) {
	for range k {
		n <<= 1
		if p.flag() {
			n |= 1
		}
	}
	return n
}

// change is a number of k bits and its sign, which may be left out.
func (p *partition) change(k int) int {
	if !p.flag() {
		return 0
	}
	n := p.number(k)
	if p.flag() {
		return -n
	}
	return n
}
