package validate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/vp8"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/vp8l"
)

// webpWalk is the walk over a WebP file (RFC 9649): the RIFF container, chunk by
// chunk, and each picture by decoding it. VP8's arithmetic coding takes nearly any
// bits for a picture: damage inside it that leaves the length alone is seen by the
// sha1 only.
type webpWalk struct {
	c             *check
	end           int64 // of what the RIFF header or the frame covers
	canvas        bool  // VP8X was there
	width, height int   // of the present picture; 0: not known yet
	alpha, done   bool  // the present picture's parts were there
	frames        int   // of an animation
	pixels        int64 // decoded in all
}

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
	c.found.Proof = broker.ProofFull
	w := &webpWalk{c: c, end: end}
	if err := w.chunks(w.chunk); err != nil {
		return err
	}
	if !w.done && w.frames == 0 {
		return corruptf("it ends without a picture")
	}
	c.found.TrailingB = c.size - end
	return nil
}

// chunks hands each chunk up to w.end to use, which may read of it, or not.
func (w *webpWalk) chunks(use func(name string, n int64) error) error {
	c := w.c
	end := w.end
	for c.in.off+8 <= end {
		var h [8]byte
		start := c.in.off
		if err := c.in.full(h[:]); err != nil {
			return c.webpEnded(err)
		}
		name, n := string(h[:4]), int64(binary.LittleEndian.Uint32(h[4:]))
		next := c.in.off + n + n&1
		if next > end+1 { // some writers forget the last padding byte
			return corruptf("its chunk %q at byte %s passes the picture's end", name, figures.Of(start))
		}
		if err := use(name, n); err != nil {
			return err
		}
		if err := c.in.skip(min(next, c.size) - c.in.off); err != nil {
			return c.webpEnded(err)
		}
	}
	return nil
}

// chunk reads one of the file's chunks.
func (w *webpWalk) chunk(name string, n int64) error {
	c := w.c
	switch name {
	case "VP8X":
		w.canvas = true
		return w.readCanvas(n)
	case "VP8 ", "VP8L", "ALPH":
		return w.part(name, n)
	case "ANMF":
		return w.frame(n)
	case "EXIF":
		if n <= maxExifBytes && c.exif == nil {
			block := make([]byte, n)
			if err := c.in.full(block); err != nil {
				return c.webpEnded(err)
			}
			// Some writers put JPEG's own introduction before it.
			c.exif = append(c.exif, bytes.TrimPrefix(block, []byte("Exif\x00\x00")))
		}
	case "XMP ", "ICCP":
		if n > maxXMPBytes || name == "XMP " && c.xmp != nil || name == "ICCP" && (c.thumb.icc != nil || !c.want.Thumb) {
			return nil
		}
		block := make([]byte, n)
		if err := c.in.full(block); err != nil {
			return c.webpEnded(err)
		}
		if name == "XMP " {
			c.xmp = append(c.xmp, block)
		} else {
			c.thumb.icc = block
		}
	}
	return nil
}

// part reads a chunk of a still picture, or of a frame. Only the first of each
// kind counts.
func (w *webpWalk) part(name string, n int64) error {
	switch {
	case name == "ALPH" && !w.alpha && !w.done:
		w.alpha = true
		return w.readAlpha(n)
	case (name == "VP8 " || name == "VP8L") && !w.done:
		w.done = true
		return w.picture(name, n)
	}
	return nil
}

// frame reads one of an animation (section 2.7.1.1).
func (w *webpWalk) frame(n int64) error {
	c := w.c
	var h [16]byte
	if n < 16 || !w.canvas {
		return corruptf("its frame at byte %s has only %s bytes, or comes before the canvas", figures.Of(c.in.off), figures.Of(n))
	}
	if err := c.in.full(h[:]); err != nil {
		return c.webpEnded(err)
	}
	x, y := 2*le24(h[:]), 2*le24(h[3:])
	f := &webpWalk{c: c, end: c.in.off + n - 16, canvas: true, width: 1 + le24(h[6:]), height: 1 + le24(h[9:]),
		frames: 1 + w.frames, pixels: w.pixels}
	if x+f.width > c.found.Width || y+f.height > c.found.Height {
		return corruptf("its frame %d, %s x %s pixels, does not fit its canvas", f.frames, figures.Of(f.width), figures.Of(f.height))
	}
	if err := f.chunks(f.part); err != nil {
		return err
	}
	if !f.done {
		return corruptf("its frame %d has no picture", f.frames)
	}
	w.frames, w.pixels = f.frames, f.pixels
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

// readCanvas reads VP8X.
func (w *webpWalk) readCanvas(n int64) error {
	c := w.c
	p := c.in.peek(10)
	if n < 10 || len(p) < 10 {
		return corruptf("its VP8X chunk has %s bytes, not 10", figures.Of(n))
	}
	w.width, w.height = 1+le24(p[4:]), 1+le24(p[7:])
	c.found.Width, c.found.Height = w.width, w.height
	return c.pixels(int64(w.width), int64(w.height))
}

// picture proves the picture in a chunk of n bytes.
func (w *webpWalk) picture(name string, n int64) error {
	c := w.c
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
	if w.canvas && (width != w.width || height != w.height) {
		return corruptf("its picture is %s x %s, its canvas %s x %s", figures.Of(width), figures.Of(height),
			figures.Of(w.width), figures.Of(w.height))
	}
	if w.frames == 0 {
		c.found.Width, c.found.Height = width, height
	}
	if err := c.pixels(int64(width), int64(height)); err != nil {
		return err
	}
	paint := w.painter(width, height, lossless)
	prove := w.lossy
	if lossless {
		prove = w.lossless
	}
	defer c.release()
	proven, err := prove(width, height, n, paint)
	if err != nil || !proven {
		return err
	}
	paint.done(c)
	return nil
}

// lossy proves a lossy picture in a chunk of n bytes. False: it could not, and a note
// says why.
func (w *webpWalk) lossy(width, height int, n int64, paint *webpPaint) (bool, error) {
	c := w.c
	if !w.mayGoOn(width, height) {
		return false, nil
	}
	// libwebp reads on behind the chunk, so the byte that pads it counts, too.
	o := vp8.Options{Width: width, Height: height, Bytes: min(n+n&1, c.size-c.in.off)}
	if paint != nil {
		o.Row = paint.canvas.Samples
	}
	granted, failed := true, error(nil)
	o.Hold = func(bytes int64) error {
		const free = 64 << 10
		if bytes <= free {
			return nil
		}
		if granted, failed = c.reserve(bytes); !granted {
			return vp8.ErrTooMuch
		}
		return nil
	}
	err := vp8.Check(&chunkReader{s: c.in, left: o.Bytes}, o)
	switch {
	case failed != nil:
		return false, failed
	case !granted:
		c.structureOnly("the picture is too large for worker.memory: only its container was checked")
		return false, nil
	case errors.Is(err, vp8.ErrTooMuch):
		c.structureOnly("the picture has more data than is held at once: only its container was checked")
		return false, nil
	case err != nil:
		return false, w.contradicts(width, height)
	}
	return true, nil
}

// lossless is lossy's twin.
func (w *webpWalk) lossless(width, height int, n int64, paint *webpPaint) (bool, error) {
	c := w.c
	if ok, err := w.granted(width, height); !ok {
		return false, err
	}
	o := vp8l.Options{Width: width, Height: height}
	if paint != nil {
		o.Row = paint.pixels
	}
	err := losslessFault(vp8l.Check(&chunkReader{s: c.in, left: n}, o))
	switch {
	case errors.Is(err, vp8l.ErrTooMuch):
		c.structureOnly("its coding needs too much memory: only its container was checked")
		return false, nil
	case err != nil:
		return false, w.contradicts(width, height)
	}
	return true, nil
}

func (w *webpWalk) contradicts(width, height int) error {
	return corruptf("its picture data contradicts itself near byte %s (%s x %s pixels)", figures.Of(w.c.in.off),
		figures.Of(width), figures.Of(height))
}

// chunkReader reads so many bytes of the stream.
type chunkReader struct {
	s    *stream
	left int64
}

func (r *chunkReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.s.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}

var errLeftOver = errors.New("bytes are left over")

// losslessFault also says whether a lossless picture took its chunk: damaged data
// often ends early. A few bytes are an encoder's rounding.
func losslessFault(left int64, err error) error {
	if err == nil && left > 8 {
		return errLeftOver
	}
	return err
}

// mayGoOn says whether a picture may be decoded: no animation keeps the program busy
// for ever.
func (w *webpWalk) mayGoOn(width, height int) bool {
	c := w.c
	w.pixels += rounded(width, height)
	if most := c.want.MaxPixels; w.frames > 1 && most > 0 && w.pixels > most {
		c.structureOnly("an animation of more than %s pixels: the frames from number %d on were not decoded", figures.Of(most), w.frames)
		return false
	}
	return true
}

// rounded is the pixels of a picture's macroblocks, or more.
func rounded(width, height int) int64 { return int64(width+15) * int64(height+15) }

// granted says whether a lossless picture may be decoded: its memory is there, too.
func (w *webpWalk) granted(width, height int) (bool, error) {
	c := w.c
	if !w.mayGoOn(width, height) {
		return false, nil
	}
	ok, err := c.reserve(min(9*rounded(width, height), 15<<20))
	if !ok && err == nil {
		c.structureOnly("the picture is too large for worker.memory: only its container was checked")
	}
	return ok, err
}

// readAlpha proves an ALPH chunk (RFC 9649 section 2.7.1.2): raw, or coded as a
// lossless picture without its head.
func (w *webpWalk) readAlpha(n int64) error {
	c := w.c
	p := c.in.peek(1)
	if n < 1 || len(p) < 1 || w.width == 0 {
		return corruptf("its alpha chunk has only %s bytes, or comes before the canvas", figures.Of(n))
	}
	compression := p[0] & 3
	if err := c.in.skip(1); err != nil {
		return c.webpEnded(err)
	}
	switch compression {
	case 0:
		if n-1 < int64(w.width)*int64(w.height) {
			return corruptf("its alpha chunk has %s bytes for %s pixels", figures.Of(n-1), figures.Of(w.width*w.height))
		}
		return nil
	case 1:
		if w.width > 1<<14 || w.height > 1<<14 {
			return corruptf("its alpha chunk can't hold %s x %s pixels", figures.Of(w.width), figures.Of(w.height))
		}
	default:
		return corruptf("its alpha chunk names the compression %d", compression)
	}
	ok, err := w.granted(w.width, w.height)
	if !ok {
		return err
	}
	defer c.release()
	err = losslessFault(vp8l.Check(&chunkReader{s: c.in, left: n - 1}, vp8l.Options{Width: w.width, Height: w.height, Bare: true}))
	if errors.Is(err, vp8l.ErrTooMuch) {
		c.structureOnly("the coding of its alpha needs too much memory: it was not decoded")
		return nil
	}
	if err != nil {
		return corruptf("its alpha data contradicts itself near byte %s", figures.Of(c.in.off))
	}
	return nil
}
