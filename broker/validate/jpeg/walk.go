package jpeg

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// A file of more scans than this, or whose scans pass more blocks, is made to keep
// a decoder busy: progressive pictures have about ten scans, at most some hundred.
// So many blocks take seconds, though the runs that pass them may take a few bytes.
const (
	maxScans = 1000
	maxWork  = 1 << 31
)

type decoder struct {
	src      reader
	bits     feed
	pred     [maxComps]int32 // the last DC of each component of the scan
	plan     []unit          // the blocks of an MCU
	dcs      dcRows
	places   *[256]uint64 // see zeroPlaces; nil until a scan refines
	opts     Options
	info     Info
	icc      iccParts
	frame    *frame
	dc, ac   [4]table
	dcOK     [4]bool
	acOK     [4]bool
	dcQuant  [4]int // the DC step of each quantization table; 0: not defined
	interval int    // MCUs between restart markers; 0: none
	scans    int
	work     int64 // MCUs of all scans
	rowsSeen int   // of the picture, in the present scan
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

// seen says how far the present scan came.
func (d *decoder) seen() string {
	if d.info.Height == 0 { // to be given behind the scan
		return figures.Of(d.rowsSeen) + " rows"
	}
	return figures.Of(d.rowsSeen) + " of " + figures.Of(d.info.Height) + " rows"
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
	case d.rowsSeen < d.info.Height && d.frame.progressive:
		return d.problem(Truncated, "the file ends after %s bytes, after %s in scan %d", at, d.seen(), d.scans)
	case d.rowsSeen < d.info.Height || d.info.Height == 0:
		return d.problem(Truncated, "the file ends after %s bytes, after %s", at, d.seen())
	case d.frame.progressive:
		return d.problem(Truncated, "the file ends after %s bytes, without an end marker; %d scans are there, more may be missing",
			at, d.scans)
	}
	return d.problem(Truncated, "the file ends after %s bytes, without the picture's end marker; its %s rows are there",
		at, figures.Of(d.info.Height))
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
	at := d.src.offset()
	for {
		c, ok := d.src.byte()
		if !ok {
			return 0, d.ended()
		}
		if c == 0 { // some writers count a segment's length wrong by a few zero bytes
			d.info.PaddingBytes++
			continue
		}
		if c != 0xFF {
			return 0, d.corrupt("it has bytes that belong to no segment, at byte %s", figures.Of(at))
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

// readSegment handles one marker segment with a length (T.81 B.1.1.4 and table B.1).
func (d *decoder) readSegment(marker byte) error {
	at := d.src.offset() - 2
	switch {
	case marker < 0xC0: // RES
		return d.corrupt("it has the reserved marker 0x%02X at byte %s", marker, figures.Of(at))
	case marker == 0xDC:
		return d.corrupt("its height stands at byte %s (DNL), not behind the first scan", figures.Of(at))
	case marker == 0xDE || marker == 0xDF:
		return d.unsupported("a hierarchical JPEG (T.81 annex J) is not taken")
	case marker == 0xC8 || marker >= 0xF0 && marker <= 0xFD:
		return d.unsupported("it has the marker 0x%02X of an extension of JPEG at byte %s", marker, figures.Of(at))
	}
	var l [2]byte
	if !d.src.full(l[:]) {
		return d.ended()
	}
	n := int(binary.BigEndian.Uint16(l[:])) - 2
	if n < 0 {
		return d.corrupt("its segment 0x%02X at byte %s has the length %d", marker, figures.Of(at), n+2)
	}
	if marker == 0xFE || marker > 0xE2 && marker != 0xEE { // of no interest here
		if !d.src.skip(n) {
			return d.ended()
		}
		return nil
	}
	p := d.segment[:n]
	if !d.src.full(p) {
		return d.ended()
	}
	switch {
	case marker == 0xC4:
		return d.defineHuffman(p)
	case marker == 0xCC:
		return d.defineConditioning(p)
	case marker == 0xDB:
		return d.defineQuantization(p)
	case marker == 0xDD:
		return d.defineInterval(p)
	case marker >= 0xE0:
		return d.application(marker, p)
	}
	return d.parseFrame(marker, p)
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
	d.info.Unrefined = d.frame.unrefined()
	return nil
}
