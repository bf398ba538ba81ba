package validate

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bep/imagemeta"

	"github.com/uploadbroker/uploadbroker/broker"
)

const (
	maxTags      = 2000
	maxTagBytes  = 4096
	maxMetaBytes = 4 << 20 // that metadata may make us read of the file itself
	maxTextBytes = 128
)

// facts completes what was learnt. Nothing in a file's metadata can make the
// check fail: what can't be read is left out.
func (c *check) facts(f *fault) {
	c.found.Declared = c.declared()
	if c.size == 0 {
		c.found.Type, c.found.Declared = "", ""
	}
	if c.kind.check != nil {
		c.metadata()
	}
	if c.want.Kind != broker.KindFiles {
		if f != nil {
			c.found.Proof = ""
		}
		return
	}
	// In a project of kind files the picture's faults are told, but don't count.
	if f != nil && c.kind.check != nil {
		c.note("%s", f.String())
	}
	if f != nil || c.kind.check == nil {
		c.found.Proof = broker.ProofBytes
	}
}

// metadata reads EXIF with a library that is only trusted with a bounded reader:
// it can neither read on for ever nor make the program fail.
func (c *check) metadata() {
	defer func() {
		if r := recover(); r != nil {
			c.note("its metadata could not be read")
		}
	}()
	tags := map[string]any{}
	failed := false
	for _, w := range c.metadataWindows() {
		_, err := imagemeta.Decode(imagemeta.Options{
			R: w, ImageFormat: imagemeta.TIFF, Sources: imagemeta.EXIF,
			LimitNumTags: maxTags, LimitTagSize: maxTagBytes,
			ShouldHandleTag: wanted,
			HandleTag: func(t imagemeta.TagInfo) error {
				if _, ok := tags[t.Tag]; !ok {
					tags[t.Tag] = t.Value
				}
				return nil
			},
		})
		failed = failed || err != nil
	}
	if failed && len(tags) == 0 {
		c.note("its metadata could not be read")
	}
	exifTags(tags).fill(&c.found)
	for _, p := range c.xmp {
		readXMP(p).fill(&c.found)
	}
	if c.kind.raw { // the size that the directories name may be a preview's
		width, _ := exifTags(tags).number("ExifImageWidth")
		height, _ := exifTags(tags).number("ExifImageHeight")
		limit := float64(c.want.MaxPixels)
		if width < 1<<20 && height < 1<<20 && width*height > float64(c.found.Width)*float64(c.found.Height) &&
			(limit == 0 || width*height <= limit) {
			c.found.Width, c.found.Height = int(width), int(height)
		}
	}
}

// metadataWindows gives the TIFF structures that hold the picture's EXIF: the
// blocks that the walk met, or the file itself when it is made like one.
func (c *check) metadataWindows() []*window {
	var list []*window
	for _, p := range c.exif {
		if len(p) > 8 {
			list = append(list, &window{r: bytes.NewReader(p), size: int64(len(p)), left: maxMetaBytes})
		}
	}
	if (c.kind.raw || c.kind.mime == "image/tiff") && !c.kind.big {
		w := &window{r: c.ranged, size: c.size, left: maxMetaBytes}
		switch c.kind.mime { // which have numbers of their own where TIFF has 42
		case "image/x-panasonic-rw2", "image/x-olympus-orf":
			w.head = []byte("II*\x00")
		}
		list = append(list, w)
	}
	return list
}

// wanted tells the tags that become facts; the rest is not even decoded.
func wanted(t imagemeta.TagInfo) bool {
	// The interoperability directory numbers its tags like GPS's first ones.
	if !strings.HasPrefix(t.Namespace, "IFD0") || strings.Contains(t.Namespace, "Interoperability") {
		return false
	}
	switch t.Tag {
	case "ExifImageWidth", "ExifImageHeight", "Make", "Model", "LensModel", "FocalLength", "Orientation",
		"DateTimeOriginal", "OffsetTimeOriginal",
		"GPSLatitude", "GPSLatitudeRef", "GPSLongitude", "GPSLongitudeRef", "GPSAltitude", "GPSAltitudeRef":
		return true
	}
	return false
}

// exifTags are decoded EXIF values by name (CIPA DC-008).
type exifTags map[string]any

func (t exifTags) fill(f *broker.Facts) {
	f.Make, f.Model, f.Lens = t.text("Make"), t.text("Model"), t.text("LensModel")
	if v, ok := t.number("FocalLength"); ok && v > 0 && v < 1e5 {
		f.FocalMM = v
	}
	if v, ok := t.number("Orientation"); ok && v >= 1 && v <= 8 {
		f.Orient = int(v)
	}
	f.Taken, f.TakenZone = t.taken()
	f.GPS = t.position()
}

// text gives a value that is fit to be shown: printable, of bounded length.
func (t exifTags) text(name string) string {
	s, ok := t[name].(string)
	if !ok {
		return ""
	}
	s, _, _ = strings.Cut(s, "\x00")
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7F || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	for len(s) > maxTextBytes {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimSpace(s)
}

func (t exifTags) number(name string) (float64, bool) {
	var v float64
	switch n := t[name].(type) {
	case float64:
		v = n
	case float32:
		v = float64(n)
	case interface{ Float64() float64 }:
		v = n.Float64()
	case string:
		var err error
		if v, err = strconv.ParseFloat(strings.TrimSpace(n), 64); err != nil {
			return 0, false
		}
	case nil:
		return 0, false
	default:
		var err error
		if v, err = strconv.ParseFloat(fmt.Sprint(n), 64); err != nil {
			return 0, false
		}
	}
	return v, !math.IsNaN(v) && !math.IsInf(v, 0)
}

// taken is the moment of the exposure, in whole seconds; UTC where the file names
// no zone.
func (t exifTags) taken() (*time.Time, bool) {
	s := t.text("DateTimeOriginal")
	at, err := time.Parse("2006:01:02 15:04:05", s)
	if err != nil || at.Year() < 1826 {
		return nil, false
	}
	zone := false
	if z, err := time.Parse("-07:00", t.text("OffsetTimeOriginal")); err == nil {
		_, seconds := z.Zone()
		at, zone = at.Add(-time.Duration(seconds)*time.Second), true
	}
	return &at, zone
}

// position is where the camera was. 0, 0 is what receivers without a fix write.
func (t exifTags) position() *broker.GPS {
	lat, okLat := t.number("GPSLatitude")
	lon, okLon := t.number("GPSLongitude")
	if !okLat || !okLon {
		return nil
	}
	lat, lon = signed(lat, t.text("GPSLatitudeRef"), "S"), signed(lon, t.text("GPSLongitudeRef"), "W")
	if math.Abs(lat) > 90 || math.Abs(lon) > 180 || lat == 0 && lon == 0 {
		return nil
	}
	p := &broker.GPS{Lat: lat, Lon: lon}
	if alt, ok := t.number("GPSAltitude"); ok && math.Abs(alt) < 1e6 {
		if ref, ok := t.number("GPSAltitudeRef"); ok && (ref == 1 || ref == 3) { // below the sea
			alt = -math.Abs(alt)
		}
		p.Alt = &alt
	}
	return p
}

func signed(v float64, ref, negative string) float64 {
	if strings.HasPrefix(strings.ToUpper(ref), negative) {
		return -math.Abs(v)
	}
	return v
}
