package validate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
	"github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
)

const (
	maxPreviews     = 16 // of which one is chosen
	maxPreviewTries = 4
	maxPreviewBytes = 64 << 20
	goodPreviewSide = 2048    // pixels: more than this is needless for a thumbnail
	maxICCBytes     = 1 << 20 // of a colour profile
)

// preview is a JPEG that is embedded in a picture.
type preview struct {
	from      io.ReaderAt
	at, bytes int64
	side      int64 // pixels of the longer one
}

// paintPreview makes the thumbnail of the best of the previews that is sound: the
// largest up to 2,048 pixels, else the smallest above. What is wrong with one is
// noted, but counts for nothing: the picture is elsewhere.
func (c *check) paintPreview(list []preview) {
	if !c.want.Thumb {
		return
	}
	list = slices.DeleteFunc(slices.Clone(list), func(p preview) bool { return p.bytes > maxPreviewBytes })
	for i := range list {
		list[i].side = jpegSide(list[i])
	}
	slices.SortStableFunc(list, func(a, b preview) int {
		small, other := a.side <= goodPreviewSide, b.side <= goodPreviewSide
		switch {
		case small && other:
			return int(b.side - a.side)
		case small:
			return -1
		case other:
			return 1
		}
		return int(a.side - b.side)
	})
	tries := 0
	for _, p := range list {
		if p.side == 0 || tries == maxPreviewTries {
			continue
		}
		tries++
		options := jpeg.Options{MaxPixels: c.want.MaxPixels, Reserve: c.reserve}
		c.thumb.follow(&options)
		_, err := jpeg.Check(io.NewSectionReader(p.from, p.at, p.bytes), options)
		c.release()
		if err == nil && c.thumb.canvas != nil {
			return
		}
		c.thumb.canvas, c.thumb.icc = nil, nil
		var problem *jpeg.Problem
		if errors.As(err, &problem) {
			c.note("its preview at byte %s is damaged: %s", figures.Of(p.at), problem.Detail)
		}
		if c.ranged.err != nil {
			return
		}
	}
}

// jpegSide reads the longer side of a JPEG from its frame header, hopping from
// marker to marker (T.81 B.2.2). 0: it is not one that can be painted, as is the
// lossless kind that raw photos keep their picture in.
func jpegSide(p preview) int64 {
	var h [9]byte
	at := p.at + 2
	if _, err := p.from.ReadAt(h[:2], p.at); err != nil || h[0] != 0xFF || h[1] != 0xD8 {
		return 0
	}
	for range 100 {
		if at+9 > p.at+p.bytes {
			return 0
		}
		if _, err := p.from.ReadAt(h[:], at); err != nil || h[0] != 0xFF {
			return 0
		}
		switch marker := h[1]; {
		case marker == 0xFF: // a fill byte
			at++
		case marker >= 0xC0 && marker <= 0xC2:
			return int64(max(binary.BigEndian.Uint16(h[5:]), binary.BigEndian.Uint16(h[7:])))
		case marker == 0xDA || marker == 0xD9 || marker == 0xD8 || marker > 0xC4 && marker < 0xCC && marker != 0xC8 || marker == 0xC3:
			return 0
		default:
			at += 2 + int64(binary.BigEndian.Uint16(h[2:]))
		}
	}
	return 0
}

// exifPreviews gives the thumbnail in the second directory of an EXIF block (CIPA
// DC-008 section 4.6.2).
func exifPreviews(exif []byte) []preview {
	if len(exif) < 8 {
		return nil
	}
	inner := &check{size: int64(len(exif))}
	t := &tiffFile{c: inner, r: bytes.NewReader(exif), order: binary.LittleEndian}
	if exif[0] == 'M' {
		t.order = binary.BigEndian
	}
	_, second, err := t.directory(int64(t.order.Uint32(exif[4:])))
	if err != nil || second == 0 {
		return nil
	}
	d, _, err := t.directory(second)
	if err != nil {
		return nil
	}
	at, errAt := t.number(d, tagJPEG, 0)
	n, errN := t.number(d, tagJPEGBytes, 0)
	if errAt != nil || errN != nil || at <= 0 || n <= 0 || at > inner.size || n > inner.size-at {
		return nil
	}
	return []preview{{from: t.r, at: at, bytes: n}}
}
