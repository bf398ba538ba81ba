package validate

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"

	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

const (
	minZstdWindow  = 128 << 10 // bytes; below it a frame's blocks must be smaller (RFC 8878 section 3.1.1.2.4)
	maxZstdWindow  = 8 << 20   // bytes; every decoder should take as much (section 3.1.1.1.2)
	flatZstdWindow = 256 << 10 // bytes; up to this it is not counted in the Budget
)

var errZstdFrame = errors.New("it is no Zstandard frame")

// unzstd unpacks pieces of Zstandard, one after another.
type unzstd struct {
	frame   zstdFrame
	decoder *zstd.Decoder
}

// zstdBytes is what unpacking Zstandard holds at most for this picture, as far as
// it counts in the Budget.
func (g *raster) zstdBytes() int64 {
	if g.compression != 50000 || len(g.bits) == 0 { // a raw photo's pieces are not unpacked
		return 0
	}
	window := min(zstdWindow(g.pieceBytes(g.pieceRows, 0)), maxZstdWindow)
	if window <= flatZstdWindow {
		return 0
	}
	return window + min(window, 1<<20) // the decoder's room to write on
}

// zstdWindow is the smallest window that holds all of n bytes.
func zstdWindow(n int64) int64 {
	return 1 << bits.Len64(uint64(max(n, minZstdWindow)-1))
}

// unzstd gets ready to unpack a piece of most bytes. Nil without an error: it is
// left at the structure.
func (t *tiffFile) unzstd(raw io.Reader, most int64) (io.Reader, error) {
	if t.zstd == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderMaxMemory(maxZstdWindow))
		if err != nil {
			return nil, err
		}
		t.zstd = &unzstd{decoder: d}
	}
	f := &t.zstd.frame
	window, err := f.begin(raw, most)
	if err != nil {
		return nil, err
	}
	if window > maxZstdWindow {
		t.c.structureOnly("unpacking its Zstandard data would take %s MB", figures.Of(window>>20))
		return nil, nil
	}
	return t.zstd.decoder, t.zstd.decoder.Reset(f)
}

// zstdFrame is a reader of the one frame that a piece is (RFC 8878 section
// 3.1.1), and ends with it, as what a writer leaves behind is none of a decoder's
// business.
//
// A window that is larger than all that the piece unpacks to is said to be as
// small as that: libtiff names the window of its level, 4 MB and more, for pieces
// of a few KB, and decoders hold as much as is said.
type zstdFrame struct {
	r    *bufio.Reader
	room [18]byte // of the longest header
	head []byte   // of the frame or a block, which goes out next
	left int64    // bytes of the block that are to follow it
	last bool     // it is the last block
	sum  bool     // behind which there is a checksum
}

// begin reads the header of the frame of a piece that unpacks to most bytes, and
// gives the size of the window, in bytes.
func (f *zstdFrame) begin(raw io.Reader, most int64) (int64, error) {
	if f.r == nil {
		f.r = bufio.NewReader(raw)
	} else {
		f.r.Reset(raw)
	}
	f.left, f.last = 0, false
	p := f.room[:]
	if _, err := io.ReadFull(f.r, p[:5]); err != nil {
		return 0, err
	}
	if binary.LittleEndian.Uint32(p) != 0xFD2FB528 {
		return 0, errZstdFrame
	}
	single := p[4]&0x20 != 0 // there is no window but the content
	f.sum = p[4]&4 != 0
	at := 5 + [4]int{0, 1, 2, 4}[p[4]&3] // a dictionary's name
	content := [4]int{0, 2, 4, 8}[p[4]>>6]
	switch {
	case !single:
		at++
	case content == 0:
		content = 1
	}
	f.head = p[:at+content]
	if _, err := io.ReadFull(f.r, f.head[5:]); err != nil {
		return 0, err
	}
	if single {
		var q [8]byte
		copy(q[:], f.head[at:])
		n := binary.LittleEndian.Uint64(q[:])
		if content == 2 {
			n += 256
		}
		if n > uint64(most) {
			return 0, corruptf("it unpacks to more than its %s bytes", figures.Of(most))
		}
		return int64(n), nil
	}
	window := int64(8+p[5]&7) << (7 + p[5]>>3)
	if enough := zstdWindow(most); enough < window {
		window = enough
		p[5] = byte(bits.Len64(uint64(window))-11) << 3
	}
	return window, nil
}

// Read is io.Reader's.
func (f *zstdFrame) Read(p []byte) (int, error) {
	for len(f.head) == 0 && f.left == 0 {
		switch {
		case !f.last:
			if err := f.block(); err != nil {
				return 0, err
			}
		case f.sum:
			f.sum, f.left = false, 4
		default:
			return 0, io.EOF
		}
	}
	if len(f.head) > 0 {
		n := copy(p, f.head)
		f.head = f.head[n:]
		return n, nil
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	if err == io.EOF && f.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// block reads the next block's header (section 3.1.1.2).
func (f *zstdFrame) block() error {
	f.head = f.room[:3]
	if _, err := io.ReadFull(f.r, f.head); err != nil {
		f.head = nil
		return err
	}
	h := uint32(f.head[0]) | uint32(f.head[1])<<8 | uint32(f.head[2])<<16
	f.last = h&1 != 0
	f.left = int64(h >> 3)
	if h>>1&3 == 1 { // one byte, so many times
		f.left = 1
	}
	return nil
}
