package jpeg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// A file of more scans than this is made to keep a decoder busy: progressive
// pictures have about ten, at most some hundred.
const maxScans = 1000

type decoder struct {
	src      reader
	bits     bits
	opts     Options
	info     Info
	frame    *frame
	dc, ac   [4]table
	dcOK     [4]bool
	acOK     [4]bool
	quantOK  [4]bool
	interval int // MCUs between restart markers; 0: none
	scans    int
	rowsSeen int // of the picture, in the scan that came furthest
	segment  [1 << 16]byte
}

func (d *decoder) problem(k Kind, format string, args ...any) error {
	return &Problem{Kind: k, Detail: fmt.Sprintf(format, args...)}
}

func (d *decoder) corrupt(format string, args ...any) error {
	return d.problem(Corrupt, format, args...)
}

func (d *decoder) unsupported(format string, args ...any) error {
	return d.problem(Unsupported, format, args...)
}

// ended is the problem of a stream that stops inside the picture.
func (d *decoder) ended() error {
	if d.src.err != nil && d.src.err != io.EOF {
		return d.src.err
	}
	at := figures.Of(d.src.offset())
	switch {
	case d.frame == nil:
		return d.problem(Truncated, "the file ends after %s bytes, before its picture begins", at)
	case d.scans == 0:
		return d.problem(Truncated, "the file ends after %s bytes, before the first of %s rows", at, figures.Of(d.info.Height))
	case d.rowsSeen >= d.info.Height && d.frame.progressive:
		return d.problem(Truncated, "the file ends after %s bytes, without an end marker; %d scans are there, more may be missing",
			at, d.scans)
	case d.rowsSeen >= d.info.Height:
		return d.problem(Truncated, "the file ends after %s bytes, without the picture's end marker; its %s rows are there",
			at, figures.Of(d.info.Height))
	case d.frame.progressive:
		return d.problem(Truncated, "the file ends after %s bytes, after %s of %s rows in scan %d", at,
			figures.Of(d.rowsSeen), figures.Of(d.info.Height), d.scans)
	}
	return d.problem(Truncated, "the file ends after %s bytes, after %s of %s rows", at,
		figures.Of(d.rowsSeen), figures.Of(d.info.Height))
}

// walk goes from marker to marker (T.81 B.1.1.2 and B.2).
func (d *decoder) walk() error {
	var start [2]byte
	if !d.src.full(start[:]) {
		return d.ended()
	}
	if start != [2]byte{0xFF, 0xD8} {
		return d.corrupt("it does not begin with a start marker")
	}
	for {
		marker, err := d.nextMarker()
		for err == nil && marker == 0xDA {
			marker, err = d.scan() // which ends on the marker behind it
		}
		if err != nil {
			return err
		}
		switch {
		case marker == 0xD9: // EOI
			d.info.End = d.src.offset()
			return d.complete()
		case marker == 0xD8:
			return d.corrupt("a second picture starts inside the picture, at byte %s", figures.Of(d.src.offset()-2))
		case marker == 0x01 || marker >= 0xD0 && marker <= 0xD7:
			continue // TEM and stray restart markers stand alone
		}
		if err := d.readSegment(marker); err != nil {
			return err
		}
	}
}

// nextMarker finds the marker that must follow a segment.
func (d *decoder) nextMarker() (byte, error) {
	foreign := int64(0)
	at := d.src.offset()
	for {
		c, ok := d.src.byte()
		if !ok {
			return 0, d.ended()
		}
		if c != 0xFF {
			// Some writers count a segment's length wrong by a few zero bytes.
			if c != 0 {
				foreign++
			}
			d.info.PaddingBytes++
			if foreign > 0 {
				return 0, d.corrupt("it has bytes that belong to no segment, at byte %s", figures.Of(at))
			}
			continue
		}
		for c == 0xFF {
			if c, ok = d.src.byte(); !ok {
				return 0, d.ended()
			}
		}
		if c != 0 {
			return c, nil
		}
		return 0, d.corrupt("it has picture data outside a scan, at byte %s", figures.Of(at))
	}
}

// readSegment handles one marker segment with a length (T.81 B.2.4).
func (d *decoder) readSegment(marker byte) error {
	at := d.src.offset() - 2
	var l [2]byte
	if !d.src.full(l[:]) {
		return d.ended()
	}
	n := int(binary.BigEndian.Uint16(l[:])) - 2
	if n < 0 {
		return d.corrupt("its segment 0x%02X at byte %s has the length %d", marker, figures.Of(at), n+2)
	}
	wanted := marker == 0xC4 || marker == 0xDB || marker == 0xDD || marker >= 0xC0 && marker <= 0xCF && marker != 0xC8 ||
		marker == 0xE1 && d.info.Exif == nil
	if !wanted {
		if !d.src.skip(n) {
			return d.ended()
		}
		return nil
	}
	p := d.segment[:n]
	if !d.src.full(p) {
		return d.ended()
	}
	switch marker {
	case 0xC4:
		return d.defineHuffman(p)
	case 0xCC: // DAC, of no use without arithmetic coding
		return nil
	case 0xDB:
		return d.defineQuantization(p)
	case 0xDD:
		if n != 2 {
			return d.corrupt("its restart interval segment holds %d bytes", n)
		}
		d.interval = int(binary.BigEndian.Uint16(p))
		return nil
	case 0xE1: // EXIF: CIPA DC-008 section 4.7.2
		if exif, ok := bytes.CutPrefix(p, []byte("Exif\x00")); ok && len(exif) > 1 {
			d.info.Exif = bytes.Clone(exif[1:])
		}
		return nil
	}
	return d.parseFrame(marker, p)
}

func (d *decoder) defineHuffman(p []byte) error {
	for len(p) > 0 {
		if len(p) < 17 {
			return d.corrupt("a Huffman table of it is cut short")
		}
		class, id := p[0]>>4, p[0]&15
		counts := p[1:17]
		total := 0
		for _, c := range counts {
			total += int(c)
		}
		if class > 1 || id > 3 || total > 256 || 17+total > len(p) {
			return d.corrupt("a Huffman table of it is malformed")
		}
		t, ok := &d.dc[id], &d.dcOK[id]
		if class == 1 {
			t, ok = &d.ac[id], &d.acOK[id]
		}
		if err := t.define(counts, p[17:17+total]); err != nil {
			return d.corrupt("a Huffman table of it is malformed: %v", err)
		}
		*ok = true
		p = p[17+total:]
	}
	return nil
}

func (d *decoder) defineQuantization(p []byte) error {
	for len(p) > 0 {
		size, id := 64, p[0]&15
		if p[0]>>4 == 1 {
			size = 128
		}
		if p[0]>>4 > 1 || id > 3 || len(p) < 1+size {
			return d.corrupt("a quantization table of it is malformed")
		}
		d.quantOK[id] = true
		p = p[1+size:]
	}
	return nil
}

// complete says whether the picture was all there when its end marker came.
func (d *decoder) complete() error {
	if d.frame == nil {
		return d.corrupt("it ends without a picture")
	}
	for _, c := range d.frame.comps {
		if !c.seen {
			return d.problem(Truncated, "the picture ends without the scan of its component %d", c.id)
		}
	}
	return nil
}
