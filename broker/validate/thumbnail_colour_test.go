package validate

import (
	"encoding/binary"
	"image"
	"math"
	"testing"

	scanner "github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
	"github.com/uploadbroker/uploadbroker/broker/validate/thumb"
)

// TestJPEGModels: the colours by the marks that a file has.
func TestJPEGModels(t *testing.T) {
	for _, c := range []struct {
		ids   string
		jfif  bool
		adobe int
		want  thumb.Model
	}{
		{"\x01", true, -1, thumb.Grey},
		{"\x01\x02", false, -1, thumb.Grey},
		{"\x01\x02\x03", true, -1, thumb.YCbCr},
		{"\x01\x02\x03", false, -1, thumb.YCbCr},
		{"\x01\x02\x03", true, 0, thumb.YCbCr},
		{"\x01\x02\x03", false, 0, thumb.RGB},
		{"RGB", false, 1, thumb.YCbCr},
		{"RGB", true, -1, thumb.YCbCr},
		{"RGB", false, -1, thumb.RGB},
		{"\x01\x02\x03\x04", false, -1, thumb.CMYK},
		{"\x01\x02\x03\x04", false, 0, thumb.InkIn},
		{"\x01\x02\x03\x04", true, 2, thumb.YCCK},
	} {
		in := scanner.Info{JFIF: c.jfif, Adobe: c.adobe}
		for _, id := range []byte(c.ids) {
			in.Comps = append(in.Comps, scanner.Component{H: 1, V: 1, ID: id})
		}
		if got := jpegModel(in); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// segment puts one into a JPEG file, behind its start marker.
func segment(file []byte, marker byte, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xFF, 0xD8, 0xFF, marker}, uint16(len(payload)+2))
	return append(append(b, payload...), file[2:]...)
}

// iccProfile makes a display's profile of primaries (XYZ, to D50) and a gamma.
func iccProfile(rXYZ, gXYZ, bXYZ [3]float64, gamma float64) []byte {
	be := binary.BigEndian
	head := make([]byte, 128)
	copy(head[12:], "mntrRGB XYZ ")
	copy(head[36:], "acsp")
	tags := []string{"rXYZ", "gXYZ", "bXYZ", "rTRC", "gTRC", "bTRC"}
	table, data := be.AppendUint32(nil, uint32(len(tags))), []byte{}
	for i, name := range tags {
		var e []byte
		if i < 3 {
			e = append(e, "XYZ \x00\x00\x00\x00"...)
			for _, v := range [][3]float64{rXYZ, gXYZ, bXYZ}[i] {
				e = be.AppendUint32(e, uint32(int32(math.Round(v*65536))))
			}
		} else {
			e = append(e, "curv\x00\x00\x00\x00\x00\x00\x00\x01"...)
			e = be.AppendUint16(e, uint16(math.Round(gamma*256)))
			e = append(e, 0, 0)
		}
		table = append(table, name...)
		table = be.AppendUint32(table, uint32(128+4+12*len(tags)+len(data)))
		table = be.AppendUint32(table, uint32(len(e)))
		data = append(data, e...)
	}
	return append(append(head, table...), data...)
}

// TestThumbsInOtherColours: profiles, and the mark of Adobe RGB in EXIF.
func TestThumbsInOtherColours(t *testing.T) {
	flat := func(r, g, b uint8) []byte {
		m := image.NewRGBA(image.Rect(0, 0, 64, 64))
		for i := range m.Pix {
			m.Pix[i] = [4]uint8{r, g, b, 255}[i%4]
		}
		return jpegFile(t, m)
	}
	profile := func(file, icc []byte) []byte {
		return segment(file, 0xE2, append([]byte("ICC_PROFILE\x00\x01\x01"), icc...))
	}
	// Primaries as their owners publish them, adapted to D50.
	adobe := iccProfile([3]float64{0.60974, 0.31111, 0.01947}, [3]float64{0.20528, 0.62567, 0.06087}, [3]float64{0.14919, 0.06322, 0.74457}, 2.2)
	p3 := iccProfile([3]float64{0.51512, 0.24120, -0.00105}, [3]float64{0.29198, 0.69225, 0.04189}, [3]float64{0.15710, 0.06657, 0.78407}, 2.2)
	srgb := iccProfile([3]float64{0.43607, 0.22249, 0.01392}, [3]float64{0.38515, 0.71687, 0.09708}, [3]float64{0.14307, 0.06061, 0.71410}, 2.2)
	dark := iccProfile([3]float64{0.43607, 0.22249, 0.01392}, [3]float64{0.38515, 0.71687, 0.09708}, [3]float64{0.14307, 0.06061, 0.71410}, 1)
	r03 := []byte("MM\x00*\x00\x00\x00\x08" + "\x00\x01\x87\x69\x00\x04\x00\x00\x00\x01\x00\x00\x00\x1a\x00\x00\x00\x00" +
		"\x00\x01\xa0\x05\x00\x04\x00\x00\x00\x01\x00\x00\x00\x2c\x00\x00\x00\x00" + "\x00\x01\x00\x01\x00\x02\x00\x00\x00\x04R03\x00\x00\x00\x00\x00")
	for name, c := range map[string]struct {
		file []byte
		want [3]int // computed by hand: decoded, through XYZ, encoded
	}{
		"none":                {flat(120, 160, 90), [3]int{120, 160, 90}},
		"sRGB, nearly":        {profile(flat(120, 160, 90), srgb), [3]int{120, 160, 90}},
		"Adobe RGB":           {profile(flat(120, 160, 90), adobe), [3]int{99, 161, 85}},
		"Adobe RGB, grey":     {profile(flat(128, 128, 128), adobe), [3]int{128, 128, 128}},
		"Adobe RGB by EXIF":   {withExif(flat(120, 160, 90), r03), [3]int{99, 161, 85}},
		"Display P3":          {profile(flat(120, 160, 90), p3), [3]int{109, 163, 79}},
		"linear":              {profile(flat(55, 55, 55), dark), [3]int{128, 128, 128}},
		"not a profile":       {profile(flat(120, 160, 90), []byte("rubbish")), [3]int{120, 160, 90}},
		"a profile cut short": {profile(flat(120, 160, 90), adobe[:200]), [3]int{120, 160, 90}},
	} {
		m := thumbOf(t, c.file)
		r, g, b, _ := m.At(4, 4).RGBA()
		for i, v := range []uint32{r, g, b} {
			if d := int(v>>8) - c.want[i]; d > 4 || d < -4 {
				t.Errorf("%s: %d %d %d, not %v", name, r>>8, g>>8, b>>8, c.want)
				break
			}
		}
	}
}
