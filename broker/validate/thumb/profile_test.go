package thumb

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
)

// profileOf puts a profile's tags together.
func profileOf(space string, tags map[string][]byte) []byte {
	be := binary.BigEndian
	head := make([]byte, 128)
	copy(head[12:], "mntr"+space+"XYZ ")
	copy(head[36:], "acsp")
	table, data := be.AppendUint32(nil, uint32(len(tags))), []byte{}
	names := []string{}
	for name := range tags {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		table = append(table, name...)
		table = be.AppendUint32(table, uint32(132+12*len(tags)+len(data)))
		table = be.AppendUint32(table, uint32(len(tags[name])))
		data = append(data, tags[name]...)
	}
	return append(append(head, table...), data...)
}

func xyz(v ...float64) []byte {
	b := []byte("XYZ \x00\x00\x00\x00")
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, uint32(int32(math.Round(x*65536))))
	}
	return b
}

func para(kind uint16, v ...float64) []byte {
	b := binary.BigEndian.AppendUint16([]byte("para\x00\x00\x00\x00"), kind)
	b = append(b, 0, 0)
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, uint32(int32(math.Round(x*65536))))
	}
	return b
}

func curv(v ...uint16) []byte {
	b := binary.BigEndian.AppendUint32([]byte("curv\x00\x00\x00\x00"), uint32(len(v)))
	for _, x := range v {
		b = binary.BigEndian.AppendUint16(b, x)
	}
	return b
}

// TestCurves: each form of a curve that says the same as sRGB's makes, with its
// primaries, a profile that needs no conversion; others do not.
func TestCurves(t *testing.T) {
	long := make([]uint16, 1024)
	for i := range long {
		long[i] = uint16(math.Round(linearOf(float64(i)/1023) * 65535))
	}
	for name, c := range map[string]struct {
		curve []byte
		plain bool
	}{
		"parametric 3":  {para(3, 2.4, 1/1.055, 0.055/1.055, 1/12.92, 0.04045), true},
		"parametric 4":  {para(4, 2.4, 1/1.055, 0.055/1.055, 1/12.92, 0.04045, 0, 0), true},
		"table":         {curv(long...), true},
		"gamma 1.8":     {curv(461), false},
		"linear":        {curv(), false},
		"parametric 0":  {para(0, 1.8), false},
		"parametric 1":  {para(1, 3, 1, 0), false},
		"parametric 2":  {para(2, 1, 0.9, 0, 0.1), false},
		"two points":    {curv(0, 65535), false},
		"upside down":   {curv(65535, 0), false},
		"off the scale": {para(3, 20000, 30000, 30000, -30000, 0), false},
	} {
		p := ICC(profileOf("RGB ", map[string][]byte{
			"rXYZ": xyz(0.43607, 0.22249, 0.01392), "gXYZ": xyz(0.38515, 0.71687, 0.09708), "bXYZ": xyz(0.14307, 0.06061, 0.71410),
			"rTRC": c.curve, "gTRC": c.curve, "bTRC": c.curve,
		}))
		if (p == nil) != c.plain {
			t.Errorf("%s: %v", name, p == nil)
		}
		m := picture{y: []uint8{0, 128, 255, 77}, cb: []uint8{128}, cr: []uint8{128}, width: 2, height: 2}
		if p != nil {
			p.convert(&m)
		}
	}
	var to [256]float64
	for _, c := range []struct {
		curve []byte
		at    int
		want  float64
	}{
		{para(0, 2), 128, 0.25197}, {para(1, 2, 2, -1), 64, 0}, {para(1, 2, 2, -1), 255, 1},
		{para(2, 2, 1, -0.5, 0.25), 51, 0.25}, {para(2, 2, 1, -0.5, 0.25), 255, 0.5},
		{para(4, 1, 1, 0, 0.5, 0.5, 0.125, 0.25), 51, 0.35}, {para(4, 1, 1, 0, 0.5, 0.5, 0.125, 0.25), 204, 0.925},
		{curv(512), 128, 0.25197}, {curv(0, 0, 65535), 255, 1}, {curv(0, 0, 65535), 100, 0}, {curv(), 51, 0.2},
	} {
		if !curve(&to, c.curve) || math.Abs(to[c.at]-c.want) > 1e-4 {
			t.Errorf("%q at %d is %f, not %f", c.curve, c.at, to[c.at], c.want)
		}
	}
}

// TestGreyProfile: a grey picture stays grey, by its curve.
func TestGreyProfile(t *testing.T) {
	p := ICC(profileOf("GRAY", map[string][]byte{"kTRC": curv(256)}))
	if p == nil {
		t.Fatal("not taken")
	}
	m := picture{y: []uint8{0, 55, 255}, width: 3, height: 1}
	p.convert(&m)
	if m.y[0] != 0 || m.y[1] < 127 || m.y[1] > 129 || m.y[2] != 255 {
		t.Errorf("%v", m.y)
	}
}

// FuzzProfile: no profile and no EXIF block does harm.
func FuzzProfile(f *testing.F) {
	f.Add(profileOf("RGB ", map[string][]byte{
		"rXYZ": xyz(0.4, 0.2, 0.01), "gXYZ": xyz(0.3, 0.7, 0.1), "bXYZ": xyz(0.1, 0.1, 0.7),
		"rTRC": curv(500), "gTRC": curv(0, 9, 65535), "bTRC": para(4, 2, 1, 0, 1, 0.1, 0, 0),
	}))
	f.Add(profileOf("GRAY", map[string][]byte{"kTRC": para(1, 2, 2, -1)}))
	f.Add([]byte("MM\x00*\x00\x00\x00\x08\x00\x01\x87\x69\x00\x04\x00\x00\x00\x01\x00\x00\x00\x1a\x00\x00\x00\x00" +
		"\x00\x01\xa0\x05\x00\x04\x00\x00\x00\x01\x00\x00\x00\x2c\x00\x00\x00\x00\x00\x01\x00\x01\x00\x02\x00\x00\x00\x04R03\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		SaysAdobeRGB(b)
		p := ICC(b)
		if p == nil {
			return
		}
		m := picture{y: []uint8{0, 128, 255, 77, 3, 200}, cb: []uint8{128, 0}, cr: []uint8{255, 3}, width: 3, height: 2}
		p.convert(&m)
	})
}
