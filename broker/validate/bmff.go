package validate

import (
	"bytes"
	"encoding/binary"
	"io"
	"iter"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/internal/figures"
)

// maxIndexBytes bounds the boxes that are read as a whole (meta, moov); real ones
// have some 100 KB at most.
const maxIndexBytes = 8 << 20

// maxExifBlocks bounds the EXIF blocks that are looked at; Canon's files have three.
const maxExifBlocks = 8

// sniffBrand tells the files of the ISO base media format apart (ISO 14496-12
// section 4.3, the ftyp box): pictures by their brands, all else is video.
func sniffBrand(head []byte) format {
	n := min(int(binary.BigEndian.Uint32(head)), len(head))
	brands := ""
	if n >= 16 {
		brands = string(head[8:12]) + " " + string(head[16:n])
	}
	heif := func(mime, words string) format { return format{mime: mime, words: words, check: (*check).heif} }
	switch {
	case strings.HasPrefix(brands, "crx "):
		return format{mime: "image/x-canon-cr3", words: "CR3", check: (*check).cr3}
	case strings.Contains(brands, "avif"), strings.Contains(brands, "avis"):
		return heif("image/avif", "AVIF")
	case strings.Contains(brands, "heic"), strings.Contains(brands, "heix"), strings.Contains(brands, "heim"),
		strings.Contains(brands, "heis"):
		return heif("image/heic", "HEIC")
	case strings.HasPrefix(brands, "hevc"), strings.HasPrefix(brands, "hevx"), strings.HasPrefix(brands, "mif1"),
		strings.HasPrefix(brands, "mif2"), strings.HasPrefix(brands, "msf1"):
		return heif("image/heif", "HEIF")
	case strings.HasPrefix(brands, "qt  "):
		return format{mime: "video/quicktime", words: "a video"}
	}
	return format{mime: "video/mp4", words: "a video"}
}

// box is one box: its type and its body in a buffer.
type box struct {
	name string
	body []byte
}

// boxes walks the top level of the file (ISO 14496-12 section 4.2) and hands the
// boxes that are named in keep, read as a whole, to use: the first of each, as there
// may be no more. Of a box "uuid" it hands the first bytes.
func (c *check) boxes(keep string, use func(b box) error) error {
	seen := map[string]bool{}
	for c.in.off < c.size {
		start := c.in.off
		var h [16]byte
		if c.size-start < 8 {
			break
		}
		if err := c.in.full(h[:8]); err != nil {
			return err
		}
		n, head := int64(binary.BigEndian.Uint32(h[:])), int64(8)
		name := string(h[4:8])
		switch {
		case n == 0 && name != "\x00\x00\x00\x00":
			n = c.size - start // the last box, up to the file's end
		case n == 1:
			if err := c.in.full(h[8:]); err != nil {
				return c.boxEnded(err, name, start)
			}
			n, head = int64(binary.BigEndian.Uint64(h[8:])), 16
		}
		if n < head || !printable(name) {
			if seen["meta"] || seen["moov"] {
				c.found.TrailingB = c.size - start // something else was put behind the boxes
				return nil
			}
			return corruptf("no box starts at byte %s, where one must", figures.Of(start))
		}
		if n > c.size-start {
			return truncatedf("the file ends after %s bytes; its box %q, at byte %s, has %s", figures.Of(c.size), name,
				figures.Of(start), figures.Of(n))
		}
		n -= head
		again := seen[name]
		if name == "meta" || name == "moov" {
			seen[name] = true
		}
		if !again && strings.Contains(keep, name) {
			if n > maxIndexBytes {
				c.structureOnly("its index is larger than any that is known: only its boxes were checked")
				if err := c.in.skip(n); err != nil {
					return c.boxEnded(err, name, start)
				}
				continue
			}
			if n > 1<<20 {
				ok, err := c.reserve(n)
				if err != nil {
					return err
				}
				if !ok {
					c.structureOnly("its index is too large for worker.memory: only its boxes were checked")
					if err := c.in.skip(n); err != nil {
						return c.boxEnded(err, name, start)
					}
					continue
				}
			}
			body := make([]byte, n)
			if err := c.in.full(body); err != nil {
				return c.boxEnded(err, name, start)
			}
			if err := use(box{name, body}); err != nil {
				return err
			}
			continue
		}
		if name == "uuid" {
			if err := use(box{name, c.in.peek(int(min(n, 64)))}); err != nil {
				return err
			}
		}
		if err := c.in.skip(start + head + n - c.in.off); err != nil {
			return c.boxEnded(err, name, start)
		}
	}
	for _, need := range strings.Fields(keep) {
		if !seen[need] && !seen["moov"] { // a sequence has its list in moov alone
			return truncatedf("the file ends after %s bytes, without the box %q, which lists its pictures", figures.Of(c.size), need)
		}
	}
	return nil
}

func (c *check) boxEnded(err error, name string, start int64) error {
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	return truncatedf("the file ends after %s bytes, inside its box %q at byte %s", figures.Of(c.size), name, figures.Of(start))
}

func printable(name string) bool {
	for i := range len(name) {
		if name[i] < 0x20 || name[i] > 0x7E && name[i] != 0xA9 {
			return false
		}
	}
	return true
}

// children goes through the boxes in a box's body, all of which it has tried: a file
// may have more of them than should be held.
func children(p []byte) (iter.Seq[box], error) {
	n := 0
	for rest := p; len(rest) >= 8; n++ {
		var err error
		if _, rest, err = child(rest); err != nil {
			return nil, err
		}
		if n == 1<<16 {
			return nil, corruptf("it has too many boxes in one")
		}
	}
	return func(yield func(box) bool) {
		for rest := p; len(rest) >= 8; {
			var b box
			if b, rest, _ = child(rest); !yield(b) {
				return
			}
		}
	}, nil
}

// child cuts the first box off p, which has 8 bytes or more.
func child(p []byte) (b box, rest []byte, err error) {
	n, head := uint64(binary.BigEndian.Uint32(p)), uint64(8)
	name := string(p[4:8])
	switch {
	case n == 0:
		n = uint64(len(p))
	case n == 1 && len(p) >= 16:
		n, head = binary.BigEndian.Uint64(p[8:]), 16
	}
	if n < head || n > uint64(len(p)) {
		return b, nil, corruptf("its box %q is said to have %s bytes, where %s are left", name, figures.Of(n), figures.Of(len(p)))
	}
	return box{name, p[head:n]}, p[n:], nil
}

// The boxes of a CR3 that hold EXIF, each as a TIFF of its own, lie in moov in a
// uuid box of Canon's.
const canonUUID = "\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48"

// The preview of a CR3 lies in a uuid box beside moov.
const canonPreviewUUID = "\xea\xf4\x2b\x5e\x1c\x98\x4b\x88\xb9\xfb\xb7\xdc\x40\x6e\x4d\x16"

// cr3 checks Canon's raw format by its boxes; the coded picture is not read.
func (c *check) cr3() error {
	var previews []preview
	err := c.boxes("moov", func(b box) error {
		if b.name == "uuid" {
			// A PRVW box follows 8 bytes; in it stand 12 bytes and the JPEG's length.
			if p := b.body; len(p) >= 48 && len(previews) < maxPreviews && string(p[:16]) == canonPreviewUUID && string(p[28:32]) == "PRVW" {
				previews = append(previews, c.lying(c.in.off+48, int64(binary.BigEndian.Uint32(p[44:])))...)
			}
			return nil
		}
		list, err := children(b.body)
		if err != nil {
			return err
		}
		tracks := 0
		for b := range list {
			switch {
			case b.name == "trak":
				tracks++
			case b.name == "uuid" && strings.HasPrefix(string(b.body), canonUUID):
				parts, err := children(b.body[16:])
				if err != nil {
					return err
				}
				for p := range parts {
					if len(c.exif) == maxExifBlocks {
						break
					}
					switch p.name {
					case "CMT1": // the main directory
						if err := c.cr3Size(p.body); err != nil {
							return err
						}
						c.exif = append(c.exif, p.body)
					case "CMT2", "CMT4": // the exposure, the position
						c.exif = append(c.exif, p.body)
					}
				}
			}
		}
		if tracks == 0 {
			return corruptf("its box \"moov\" lists no picture")
		}
		return nil
	})
	if err == nil {
		c.found.Proof = broker.ProofStructure
		c.paintPreview(previews)
	}
	return err
}

// lying gives a preview that lies in the file, or none.
func (c *check) lying(at, n int64) []preview {
	if at < 0 || n <= 0 || at > c.size || n > c.size-at {
		return nil
	}
	return []preview{{from: c.ranged, at: at, bytes: n}}
}

// cr3Size reads the picture's size from the TIFF directory in CMT1, where it can be
// read.
func (c *check) cr3Size(p []byte) error {
	t := &tiffFile{c: &check{size: int64(len(p))}, r: bytes.NewReader(p), order: binary.LittleEndian}
	d, _, err := t.directory(8)
	if err != nil {
		return nil
	}
	width, errW := t.number(d, tagWidth, 0)
	height, errH := t.number(d, tagHeight, 0)
	if errW != nil || errH != nil || width == 0 && height == 0 {
		return nil
	}
	if err := c.pixels(int64(width), int64(height)); err != nil {
		return err
	}
	c.found.Width, c.found.Height = int(width), int(height)
	return nil
}
