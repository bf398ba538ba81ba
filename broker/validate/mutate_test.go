package validate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os/exec"
	"testing"
)

type named struct {
	name string
	file []byte
}

// soundPictures are the pictures of the committed files and of cjpeg, small ones of
// every kind that is proven, among them padded and trailed ones.
func soundPictures(t *testing.T) []named {
	var list []named
	for _, name := range []string{"grey", "cmyk", "progressive", "progressive-restart", "restart", "sampling-3x1",
		"sampling-411", "three-scans"} {
		list = append(list, named{name, testdata(t, name+".jpg")})
	}
	large := noise(150, 110)
	var std bytes.Buffer
	if err := jpeg.Encode(&std, large, &jpeg.Options{Quality: 92}); err != nil {
		t.Fatal(err)
	}
	list = append(list, named{"of Go", std.Bytes()})
	for _, args := range [][]string{
		{"-quality", "95", "-sample", "1x1"},
		{"-quality", "90", "-restart", "1"},
		{"-quality", "75", "-restart", "5B", "-optimize", "-sample", "2x1"},
		{"-quality", "85", "-progressive", "-sample", "2x2"},
		{"-quality", "30", "-progressive", "-restart", "2", "-grayscale"},
		{"-quality", "60", "-optimize", "-sample", "4x1"},
		{"-rgb", "-quality", "50"},
	} {
		list = append(list, named{fmt.Sprint("cjpeg ", args), cjpeg(t, large, args...)})
	}
	for _, p := range []named{list[0], list[2], list[9]} {
		end := len(p.file) - 2
		list = append(list,
			named{p.name + ", padded", append(append(bytes.Clone(p.file[:end]), make([]byte, 700)...), 0xFF, 0xD9)},
			named{p.name + ", filled", append(append(bytes.Clone(p.file[:end]), bytes.Repeat([]byte{0xFF}, 9)...), 0xFF, 0xD9)},
			named{p.name + ", trailed", append(bytes.Clone(p.file), p.file...)})
	}
	return list
}

func cjpeg(t *testing.T, m *image.RGBA, args ...string) []byte {
	b := m.Bounds()
	ppm := fmt.Appendf(nil, "P6 %d %d 255\n", b.Dx(), b.Dy())
	for i := 0; i < len(m.Pix); i += 4 {
		ppm = append(ppm, m.Pix[i:i+3]...)
	}
	cmd := exec.Command(tool(t, "cjpeg"), args...)
	cmd.Stdin = bytes.NewReader(ppm)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cjpeg %v: %v", args, err)
	}
	return out
}

// segmentsOf finds where the marker segments begin, up to the first scan's header.
func segmentsOf(b []byte) (at []int) {
	for i := 2; i+4 <= len(b) && b[i] == 0xFF; i += 2 + int(binary.BigEndian.Uint16(b[i+2:])) {
		at = append(at, i)
		if b[i+1] == 0xDA {
			break
		}
	}
	return at
}

// mutations are the kinds of damage; each may leave a file as it is.
var mutations = []struct {
	name string
	do   func(r *rand.Rand, b []byte) []byte
}{
	{"cut", func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] }},
	{"cut near the end", func(r *rand.Rand, b []byte) []byte { return b[:len(b)-1-r.IntN(min(40, len(b)-1))] }},
	{"no end marker", func(_ *rand.Rand, b []byte) []byte { return b[:len(b)-2] }},
	{"cut with an end marker", func(r *rand.Rand, b []byte) []byte { return append(b[:r.IntN(len(b))], 0xFF, 0xD9) }},
	{"zeroed", func(r *rand.Rand, b []byte) []byte { return fill(r, b, func() byte { return 0 }) }},
	{"ones", func(r *rand.Rand, b []byte) []byte { return fill(r, b, func() byte { return 0xFF }) }},
	{"random", func(r *rand.Rand, b []byte) []byte { return fill(r, b, func() byte { return byte(r.Uint32()) }) }},
	{"a bit", func(r *rand.Rand, b []byte) []byte { b[r.IntN(len(b))] ^= 1 << r.IntN(8); return b }},
	{"a byte", func(r *rand.Rand, b []byte) []byte { b[r.IntN(len(b))] = byte(r.Uint32()); return b }},
	{"some bytes", func(r *rand.Rand, b []byte) []byte {
		for range 1 + r.IntN(6) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		return b
	}},
	{"a bit of the headers", func(r *rand.Rand, b []byte) []byte { b[2+r.IntN(headers(b)-2)] ^= 1 << r.IntN(8); return b }},
	{"a byte of the headers", func(r *rand.Rand, b []byte) []byte { b[2+r.IntN(headers(b)-2)] = byte(r.Uint32()); return b }},
	{"a segment gone", func(r *rand.Rand, b []byte) []byte {
		at := segmentsOf(b)
		i := r.IntN(len(at) - 1)
		return append(b[:at[i]], b[at[i+1]:]...)
	}},
	{"a segment twice", func(r *rand.Rand, b []byte) []byte {
		at := segmentsOf(b)
		i := r.IntN(len(at) - 1)
		return append(bytes.Clone(b[:at[i+1]]), b[at[i]:]...)
	}},
	{"a table changed", func(r *rand.Rand, b []byte) []byte {
		for _, i := range segmentsOf(b) {
			if n := int(binary.BigEndian.Uint16(b[i+2:])); (b[i+1] == 0xC4 || b[i+1] == 0xDB) && r.IntN(3) == 0 {
				b[i+4+r.IntN(n-2)] = byte(r.IntN(256))
				break
			}
		}
		return b
	}},
	{"the frame changed", func(r *rand.Rand, b []byte) []byte {
		for _, i := range segmentsOf(b) {
			if b[i+1] >= 0xC0 && b[i+1] <= 0xC2 {
				b[i+4+r.IntN(int(binary.BigEndian.Uint16(b[i+2:]))-2)] = byte(r.IntN(24))
			}
		}
		return b
	}},
	{"another height", func(r *rand.Rand, b []byte) []byte {
		steps := []int{-64, -16, -8, 8, 16, 64}
		return resize(b, 5, steps[r.IntN(len(steps))])
	}},
	{"another width", func(r *rand.Rand, b []byte) []byte {
		steps := []int{-64, -16, -8, 8, 16, 64}
		return resize(b, 7, steps[r.IntN(len(steps))])
	}},
	{"a scan header changed", func(r *rand.Rand, b []byte) []byte {
		var at []int
		for i := 0; i+8 < len(b); i++ {
			if b[i] == 0xFF && b[i+1] == 0xDA {
				at = append(at, i)
			}
		}
		i := at[r.IntN(len(at))]
		j := i + 2 + r.IntN(2+int(b[i+3]))
		b[min(j, len(b)-1)] = byte(r.IntN(20))
		return b
	}},
	{"two blocks swapped", func(r *rand.Rand, b []byte) []byte {
		n := min([]int{16, 64, 512}[r.IntN(3)], len(b)/4)
		i, j := r.IntN(len(b)/2-n), len(b)/2+r.IntN(len(b)/2-n)
		old := bytes.Clone(b[i : i+n])
		copy(b[i:i+n], b[j:j+n])
		copy(b[j:], old)
		return b
	}},
	{"bytes lost", func(r *rand.Rand, b []byte) []byte {
		n := 1 + r.IntN(min(64, len(b)/4))
		i := r.IntN(len(b) - n)
		return append(b[:i], b[i+n:]...)
	}},
	{"bytes added", func(r *rand.Rand, b []byte) []byte {
		more := make([]byte, 1+r.IntN(20))
		if r.IntN(2) == 0 {
			for i := range more {
				more[i] = byte(r.Uint32())
			}
		}
		i := r.IntN(len(b))
		return append(append(bytes.Clone(b[:i]), more...), b[i:]...)
	}},
	{"bytes before a marker", func(r *rand.Rand, b []byte) []byte {
		at := markers(b, 0xC0, 0xFE)
		i := at[r.IntN(len(at))]
		return append(append(bytes.Clone(b[:i]), make([]byte, 1+r.IntN(12))...), b[i:]...)
	}},
	{"a part twice", func(r *rand.Rand, b []byte) []byte {
		n := min(1+r.IntN(512), len(b)/2)
		i := r.IntN(len(b) - n)
		return append(bytes.Clone(b[:i+n]), b[i:]...)
	}},
	{"a restart marker lost", func(r *rand.Rand, b []byte) []byte {
		if at := markers(b, 0xD0, 0xD7); len(at) > 0 {
			i := at[r.IntN(len(at))]
			return append(b[:i], b[i+2:]...)
		}
		return b
	}},
	{"a restart marker changed", func(r *rand.Rand, b []byte) []byte {
		if at := markers(b, 0xD0, 0xD7); len(at) > 0 {
			b[at[r.IntN(len(at))]+1] = 0xD0 + byte(r.IntN(8))
		}
		return b
	}},
	{"intervals swapped", func(r *rand.Rand, b []byte) []byte {
		if at := markers(b, 0xD0, 0xD7); len(at) > 3 {
			i := r.IntN(len(at) - 2)
			return append(append(append(bytes.Clone(b[:at[i]]), b[at[i+1]:at[i+2]]...), b[at[i]:at[i+1]]...), b[at[i+2]:]...)
		}
		return b
	}},
	{"an interval lost", func(r *rand.Rand, b []byte) []byte {
		if at := markers(b, 0xD0, 0xD7); len(at) > 1 {
			i := r.IntN(len(at) - 1)
			return append(b[:at[i]], b[at[i+1]:]...)
		}
		return b
	}},
	{"a scan lost", func(r *rand.Rand, b []byte) []byte {
		if at := markers(b, 0xDA, 0xDA); len(at) > 1 {
			i := r.IntN(len(at) - 1)
			return append(b[:at[i]], b[at[i+1]:]...)
		}
		return b
	}},
	{"a marker added", func(r *rand.Rand, b []byte) []byte {
		i := r.IntN(len(b))
		return append(append(bytes.Clone(b[:i]), 0xFF, byte(1+r.IntN(254))), b[i:]...)
	}},
	{"a marker changed", func(r *rand.Rand, b []byte) []byte {
		at := markers(b, 0xC0, 0xFE)
		b[at[r.IntN(len(at))]+1] = byte(1 + r.IntN(254))
		return b
	}},
	{"trailed", func(r *rand.Rand, b []byte) []byte { return append(b, b[r.IntN(len(b)):]...) }},
}

// mutate damages a copy of a file, mostly in one way.
func mutate(r *rand.Rand, file []byte) (damaged []byte, how string) {
	b := bytes.Clone(file)
	for {
		m := mutations[r.IntN(len(mutations))]
		how += m.name
		b = m.do(r, b)
		if r.IntN(8) > 0 || len(b) < 400 || len(segmentsOf(b)) < 4 || len(markers(b, 0xDA, 0xDA)) == 0 {
			return b, how
		}
		how += ", "
	}
}

// headers is where the first scan's data begins.
func headers(b []byte) int {
	at := segmentsOf(b)
	i := at[len(at)-1]
	return min(i+2+int(b[i+2])<<8+int(b[i+3]), len(b))
}

func fill(r *rand.Rand, b []byte, with func() byte) []byte {
	n := min([]int{4, 32, 512, 4096}[r.IntN(4)], len(b)/2)
	i := r.IntN(len(b) - n)
	for j := range n {
		b[i+j] = with()
	}
	return b
}

// resize adds to a figure of the frame header.
func resize(b []byte, at, step int) []byte {
	for _, i := range segmentsOf(b) {
		if b[i+1] >= 0xC0 && b[i+1] <= 0xC2 {
			v := int(binary.BigEndian.Uint16(b[i+at:])) + step
			binary.BigEndian.PutUint16(b[i+at:], uint16(max(v, 1)))
		}
	}
	return b
}

// markers finds those from one code to another, wherever they stand.
func markers(b []byte, from, to byte) (at []int) {
	for i := 0; i+1 < len(b); i++ {
		if b[i] == 0xFF && b[i+1] >= from && b[i+1] <= to {
			at = append(at, i)
		}
	}
	return at
}
