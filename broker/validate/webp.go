package validate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// webp proves a WebP file (RFC 9649): the RIFF container, chunk by chunk, and the
// picture by decoding it. VP8's arithmetic coding takes nearly any bits for a
// picture: damage inside it that leaves the length alone is seen by the sha1 only.
// Of animations the container is proven.
func (c *check) webp() error {
	var h [12]byte
	if err := c.in.full(h[:]); err != nil {
		return c.webpEnded(err)
	}
	end := 8 + int64(binary.LittleEndian.Uint32(h[4:]))
	if end > c.size {
		c.webpSize()
		return truncatedf("the file ends after %s of %s bytes", figures.Of(c.size), figures.Of(end))
	}
	seen := map[string]bool{}
	c.found.Proof = broker.ProofFull
	for c.in.off+8 <= end {
		start := c.in.off
		if err := c.in.full(h[:8]); err != nil {
			return c.webpEnded(err)
		}
		name, n := string(h[:4]), int64(binary.LittleEndian.Uint32(h[4:]))
		next := c.in.off + n + n&1
		if next > end+1 { // some writers forget the last padding byte
			return corruptf("its chunk %q at byte %s passes the picture's end", name, figures.Of(start))
		}
		var err error
		first := !seen[name]
		seen[name] = true
		switch name {
		case "VP8X":
			err = c.webpCanvas(n)
		case "VP8 ", "VP8L":
			if first {
				err = c.webpPicture(name, n, seen)
			}
		case "ALPH":
			if first {
				err = c.webpAlpha(n)
			}
		case "ANMF":
			c.structureOnly("an animation: only its container was checked")
		case "EXIF":
			if n <= maxExifBytes && c.exif == nil {
				block := make([]byte, n)
				err = c.in.full(block)
				// Some writers put JPEG's own introduction before it.
				c.exif = append(c.exif, bytes.TrimPrefix(block, []byte("Exif\x00\x00")))
			}
		}
		if err != nil {
			return err
		}
		if err := c.in.skip(min(next, c.size) - c.in.off); err != nil {
			return c.webpEnded(err)
		}
	}
	if !seen["VP8 "] && !seen["VP8L"] && !seen["ANMF"] {
		return corruptf("it ends without a picture")
	}
	c.found.TrailingB = c.size - end
	return nil
}

// webpEnded is for a file that is shorter than its headers; errors of reading stay.
func (c *check) webpEnded(err error) error {
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	return truncatedf("the file ends after %s bytes, inside a chunk", figures.Of(c.size))
}

// webpSize learns the size of a picture that is cut short, where its head is there.
func (c *check) webpSize() {
	p := c.in.peek(18)
	if len(p) < 18 {
		return
	}
	switch string(p[:4]) {
	case "VP8X":
		c.found.Width, c.found.Height = 1+le24(p[12:]), 1+le24(p[15:])
	case "VP8 ":
		c.found.Width, c.found.Height = vp8Size(p[8:])
	case "VP8L":
		c.found.Width, c.found.Height = vp8lSize(p[8:])
	}
}

func le24(p []byte) int { return int(p[0]) | int(p[1])<<8 | int(p[2])<<16 }

// vp8Size reads a key frame's head (RFC 6386 section 9.1).
func vp8Size(p []byte) (width, height int) {
	return int(binary.LittleEndian.Uint16(p[6:]) & 0x3FFF), int(binary.LittleEndian.Uint16(p[8:]) & 0x3FFF)
}

// vp8lSize reads the head of a lossless picture (RFC 9649 section 3.4).
func vp8lSize(p []byte) (width, height int) {
	bits := binary.LittleEndian.Uint32(p[1:])
	return int(bits&0x3FFF) + 1, int(bits>>14&0x3FFF) + 1
}

func (c *check) webpCanvas(n int64) error {
	p := c.in.peek(10)
	if n < 10 || len(p) < 10 {
		return corruptf("its VP8X chunk has %s bytes, not 10", figures.Of(n))
	}
	c.found.Width, c.found.Height = 1+le24(p[4:]), 1+le24(p[7:])
	return c.pixels(int64(c.found.Width), int64(c.found.Height))
}

// webpPicture decodes the picture chunk of n bytes.
func (c *check) webpPicture(name string, n int64, seen map[string]bool) error {
	p := c.in.peek(10)
	if n < 10 || len(p) < 10 {
		return corruptf("its picture chunk has only %s bytes", figures.Of(n))
	}
	width, height := vp8lSize(p)
	lossless := name == "VP8L"
	if !lossless {
		width, height = vp8Size(p)
		if p[0]&1 != 0 || p[3] != 0x9D || p[4] != 1 || p[5] != 0x2A {
			return corruptf("its picture does not begin with a key frame")
		}
	} else if p[0] != 0x2F {
		return corruptf("its picture does not begin with the mark of a lossless one")
	}
	if seen["VP8X"] && (width != c.found.Width || height != c.found.Height) {
		return corruptf("its picture is %s x %s, its canvas %s x %s", figures.Of(width), figures.Of(height),
			figures.Of(c.found.Width), figures.Of(c.found.Height))
	}
	c.found.Width, c.found.Height = width, height
	if err := c.pixels(int64(width), int64(height)); err != nil {
		return err
	}
	if !lossless && n >= 1<<24 {
		c.structureOnly("the picture's data is larger than the decoder takes: only its container was checked")
		return nil
	}
	if ok, err := c.webpReserve(width, height, n, lossless); !ok {
		return err
	}
	defer c.release()
	r := &chunk{s: c.in, left: n}
	var err error
	if lossless {
		if _, err = vp8l.Decode(r); err == nil {
			err = r.used()
		}
	} else {
		d := vp8.NewDecoder()
		d.Init(r, int(n))
		if _, err = d.DecodeFrameHeader(); err == nil {
			_, err = d.DecodeFrame()
		}
	}
	if err != nil {
		return corruptf("its picture data contradicts itself near byte %s (%s x %s pixels)", figures.Of(c.in.off),
			figures.Of(width), figures.Of(height))
	}
	return nil
}

// chunk reads a chunk byte by byte, so that a decoder takes no more than it needs,
// and what it left over can be counted.
type chunk struct {
	s    *stream
	left int64
	head []byte // comes before it
}

func (r *chunk) ReadByte() (byte, error) {
	if len(r.head) > 0 {
		b := r.head[0]
		r.head = r.head[1:]
		return b, nil
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	r.left--
	return r.s.ReadByte()
}

func (r *chunk) Read(p []byte) (int, error) {
	if len(r.head) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		n, err := r.s.Read(p[:min(int64(len(p)), r.left)])
		r.left -= int64(n)
		return n, err
	}
	n := copy(p, r.head)
	r.head = r.head[n:]
	return n, nil
}

var errLeftOver = errors.New("bytes are left over")

// used says whether a lossless picture took its chunk: damaged data often ends
// early. A few bytes are an encoder's rounding.
func (r *chunk) used() error {
	if r.left > 8 {
		return errLeftOver
	}
	return nil
}

// webpReserve takes what the decoders hold: 4:2:0 samples and some figures a
// macroblock, or two bitmaps of 4 bytes a pixel; the coded data comes on top.
func (c *check) webpReserve(width, height int, n int64, lossless bool) (bool, error) {
	pixels := int64(width+15) * int64(height+15)
	need := 2*pixels + n
	if lossless {
		need = 9*pixels + n
	}
	ok, err := c.reserve(need)
	if !ok && err == nil {
		c.structureOnly("the picture is too large for worker.memory: only its container was checked")
	}
	return ok, err
}

// webpAlpha proves an ALPH chunk (RFC 9649 section 2.7.1.2): raw, or coded as a
// lossless picture without its head.
func (c *check) webpAlpha(n int64) error {
	width, height := c.found.Width, c.found.Height
	p := c.in.peek(1)
	if n < 1 || len(p) < 1 || width == 0 {
		return corruptf("its alpha chunk has only %s bytes, or comes before the canvas", figures.Of(n))
	}
	compression := p[0] & 3
	if err := c.in.skip(1); err != nil {
		return c.webpEnded(err)
	}
	switch compression {
	case 0:
		if n-1 < int64(width)*int64(height) {
			return corruptf("its alpha chunk has %s bytes for %s pixels", figures.Of(n-1), figures.Of(width*height))
		}
		return nil
	case 1:
		if width > 1<<14 || height > 1<<14 {
			return corruptf("its alpha chunk can't hold %s x %s pixels", figures.Of(width), figures.Of(height))
		}
	default:
		return corruptf("its alpha chunk names the compression %d", compression)
	}
	if ok, err := c.webpReserve(width, height, n, true); !ok {
		return err
	}
	defer c.release()
	var head [5]byte
	head[0] = 0x2F
	binary.LittleEndian.PutUint32(head[1:], uint32(width-1)|uint32(height-1)<<14|1<<28)
	r := &chunk{s: c.in, left: n - 1, head: head[:]}
	_, err := vp8l.Decode(r)
	if err == nil {
		err = r.used()
	}
	if err != nil {
		return corruptf("its alpha data contradicts itself near byte %s", figures.Of(c.in.off))
	}
	return nil
}
