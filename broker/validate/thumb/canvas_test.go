package thumb

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// area is the reference: the mean of what each of the goal's samples covers.
func area(pix []float64, cols, rows int, spanOf func(x, y int) (x0, x1, y0, y1 float64), width, height int) []float64 {
	var out []float64
	for y := range height {
		for x := range width {
			x0, x1, y0, y1 := spanOf(x, y)
			sum, weight := 0.0, 0.0
			for j := int(y0); j < rows && float64(j) < y1; j++ {
				wy := min(float64(j+1), y1) - max(float64(j), y0)
				for i := int(x0); i < cols && float64(i) < x1; i++ {
					w := wy * (min(float64(i+1), x1) - max(float64(i), x0))
					sum += w * pix[j*cols+i]
					weight += w
				}
			}
			if weight == 0 {
				sum, weight = pix[min(int(y0), rows-1)*cols+min(int(x0), cols-1)], 1
			}
			out = append(out, sum/weight)
		}
	}
	return out
}

// TestCanvas holds the averages against plain floating-point ones, over sizes and
// samplings of all kinds, by both ways in.
func TestCanvas(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	for _, c := range []struct {
		cols, rows int
		h, v       [3]int
	}{
		{1, 1, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
		{100, 75, [3]int{2, 1, 1}, [3]int{2, 1, 1}},
		{101, 75, [3]int{2, 1, 1}, [3]int{1, 1, 1}},
		{64, 37, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
		{65, 37, [3]int{4, 1, 1}, [3]int{1, 1, 1}},
		{65, 37, [3]int{1, 1, 1}, [3]int{2, 1, 1}},
		{65, 37, [3]int{4, 1, 2}, [3]int{1, 2, 1}},
		{66, 39, [3]int{1, 2, 2}, [3]int{1, 2, 2}},
		{33, 39, [3]int{3, 1, 1}, [3]int{3, 1, 2}},
		{684, 56, [3]int{2, 1, 1}, [3]int{2, 1, 1}},
		{100, 684, [3]int{1, 1, 1}, [3]int{1, 1, 1}},
		{1281, 3, [3]int{2, 1, 1}, [3]int{2, 1, 1}},
		{3, 1281, [3]int{2, 1, 1}, [3]int{2, 1, 1}},
		{1500, 110, [3]int{2, 1, 1}, [3]int{1, 1, 1}},
		{1, 5000, [3]int{2, 1, 1}, [3]int{2, 1, 1}},
		{8192, 9, [3]int{2, 1, 1}, [3]int{1, 1, 1}},
	} {
		name := fmt.Sprintf("%dx%d %v %v", c.cols, c.rows, c.h, c.v)
		maxH, maxV := slices.Max(c.h[:]), slices.Max(c.v[:])
		s := Spec{Cols: c.cols, Rows: c.rows, Model: YCbCr}
		for i := range 3 {
			s.Components = append(s.Components, Component{
				Cols: (c.cols*c.h[i] + maxH - 1) / maxH, Rows: (c.rows*c.v[i] + maxV - 1) / maxV, H: c.h[i], V: c.v[i],
			})
		}
		coded, err := New(s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plain, _ := New(s)
		const quant = 5
		for i, k := range s.Components {
			pix, want8 := make([]float64, k.Cols*k.Rows), make([]float64, k.Cols*k.Rows)
			for y := range k.Rows {
				dc, row := make([]int16, k.Cols), make([]uint8, k.Cols)
				for x := range dc {
					dc[x] = int16(r.IntN(500) - 250) // some out of range
					row[x] = uint8(r.Uint32())
					pix[y*k.Cols+x] = min(max(float64(dc[x])*quant/8+128, 0), 255)
					want8[y*k.Cols+x] = float64(row[x])
				}
				coded.DC(i, y, dc, quant, 8)
				plain.Samples(i, y, row)
			}
			width, height, step := coded.width, coded.height, 1.0
			if i > 0 {
				width, height, step = (width+1)/2, (height+1)/2, 2
			}
			fx := float64(c.cols) / float64(coded.width) * step * float64(c.h[i]) / float64(maxH)
			fy := float64(c.rows) / float64(coded.height) * step * float64(c.v[i]) / float64(maxV)
			spanOf := func(x, y int) (float64, float64, float64, float64) {
				return float64(x) * fx, float64(x+1) * fx, float64(y) * fy, float64(y+1) * fy
			}
			for _, got := range []struct {
				canvas *Canvas
				pix    []float64
			}{{coded, pix}, {plain, want8}} {
				if fx < 1 {
					continue // it is interpolated, see TestCoarse
				}
				want := area(got.pix, k.Cols, k.Rows, spanOf, width, height)
				p := got.canvas.planes[i]
				if p.width != width || p.height != height || len(p.pix) != len(want) {
					t.Fatalf("%s: component %d is %d x %d, not %d x %d", name, i, p.width, p.height, width, height)
				}
				for at := range want {
					if d := math.Abs(want[at] - float64(p.pix[at])); d > 1.02 {
						t.Fatalf("%s: component %d is %d at %d, not %.2f", name, i, p.pix[at], at, want[at])
					}
				}
			}
		}
		width, height := coded.width, coded.height
		if max(width, height) > MaxSide || width > c.cols || height > c.rows ||
			math.Abs(float64(width)*float64(c.rows)/float64(c.cols)-float64(height)) > max(1, float64(c.rows)/float64(c.cols)) {
			t.Errorf("%s: the goal is %d x %d", name, width, height)
		}
		made, ok := coded.Finish(1, nil)
		if !ok {
			t.Fatalf("%s: not complete", name)
		}
		whole(t, made.JPEG, width, height)
	}
}

// TestCoarse: chroma that is coarser than the goal's does not come out in steps.
func TestCoarse(t *testing.T) {
	s := Spec{Cols: 80, Rows: 1, Model: YCbCr, Components: []Component{
		{Cols: 80, Rows: 1, H: 4}, {Cols: 20, Rows: 1, H: 1}, {Cols: 20, Rows: 1, H: 1},
	}}
	c, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]uint8, 20)
	for i := range row {
		row[i] = uint8(10 * i)
	}
	c.Samples(1, 0, row)
	pix := c.planes[1].pix
	for i := 1; i+1 < len(pix); i++ {
		if want := 5*i - 2; int(pix[i]) < want-1 || int(pix[i]) > want+1 {
			t.Fatalf("%v", pix)
		}
	}
	if pix[0] != 0 || pix[39] != 190 {
		t.Errorf("%v", pix)
	}
}

// TestDepths: 12 bits a sample come out as the same picture of 8 bits.
func TestDepths(t *testing.T) {
	for _, cols := range []int{20, 900} {
		s := Spec{Cols: cols, Rows: 1, Components: []Component{{Cols: cols, Rows: 1}}}
		a, _ := New(s)
		b, _ := New(s)
		row := make([]int16, cols)
		for i := range row {
			row[i] = int16(i%80 - 40)
		}
		a.DC(0, 0, row, 16, 8)
		b.DC(0, 0, row, 256, 12)
		if !slices.Equal(a.planes[0].pix, b.planes[0].pix) || a.planes[0].pix[0] == a.planes[0].pix[9] {
			t.Errorf("%v and %v", a.planes[0].pix, b.planes[0].pix)
		}
	}
}

// TestTurns: rows that are missing, doubled or out of turn make no thumbnail, and
// do no harm.
func TestTurns(t *testing.T) {
	s := Spec{Cols: 4, Rows: 4, Components: []Component{{Cols: 4, Rows: 4}}}
	row := []int16{1, 2, 3, 4}
	for _, c := range []struct {
		rows []int
		ok   bool
	}{
		{[]int{0, 1, 2, 3}, true},
		{[]int{0, 1, 2, 3, 4, 9}, true},
		{[]int{0, 0, 1, 2, 2, 3}, true},
		{[]int{0, 1, 2}, false},
		{[]int{1, 2, 3}, false},
		{[]int{1, 2, 3, 3, 3}, false},
		{[]int{-1, 0, 2, 3}, false},
		{nil, false},
	} {
		canvas, err := New(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, y := range c.rows {
			canvas.DC(0, y, row, 8, 8)
			canvas.DC(7, y, row, 8, 8)
		}
		if _, ok := canvas.Finish(1, nil); ok != c.ok {
			t.Errorf("%v: %v", c.rows, ok)
		}
	}
}

// TestSpecs: what can't be painted is refused, not met later.
func TestSpecs(t *testing.T) {
	one := []Component{{Cols: 1, Rows: 1}}
	for i, s := range []Spec{
		{}, {Cols: 1, Rows: 1}, {Cols: -1, Rows: 1, Components: one}, {Cols: 1, Rows: 1, Model: RGB, Components: one},
		{Cols: 1 << 30, Rows: 1, Components: []Component{{Cols: 1 << 30, Rows: 1}}},
		{Cols: 1, Rows: 1, Components: []Component{{Cols: 0, Rows: 1}}},
		{Cols: 1, Rows: 1, Components: []Component{{Cols: 1, Rows: 1, H: 99}}},
	} {
		if _, err := New(s); err == nil {
			t.Errorf("%d: taken", i)
		}
	}
}

// TestMemory: a claim holds nothing, and the largest thumbnail stays below 2 MB.
func TestMemory(t *testing.T) {
	measure := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	const blocks = 1000
	s := Spec{Cols: blocks, Rows: blocks, Model: InkIn}
	for range 4 {
		s.Components = append(s.Components, Component{Cols: blocks, Rows: blocks})
	}
	var c *Canvas
	if n := measure(func() { c, _ = New(s) }); n > 200<<10 {
		t.Errorf("a claim takes %d bytes", n)
	}
	r := rand.New(rand.NewPCG(1, 1))
	row := make([]int16, blocks)
	for i := range row {
		row[i] = int16(r.IntN(2048) - 1024)
	}
	if n := measure(func() {
		for y := range blocks {
			for k := range 4 {
				c.DC(k, y, row[y%100:], 8, 8)
			}
		}
	}); n > 1800<<10 {
		t.Errorf("painting takes %d bytes", n)
	}
	if n := measure(func() {
		if _, ok := c.Finish(6, nil); !ok {
			t.Error("not complete")
		}
	}); n > 900<<10 {
		t.Errorf("the encoder takes %d bytes", n)
	}
}

// FuzzCanvas: whatever is painted, the thumbnail is a picture of the right size
// that our own check and the standard library take.
func FuzzCanvas(f *testing.F) {
	f.Add(uint16(11), uint16(8), byte(1), uint64(0x2211_1111), byte(6), uint16(16), []byte("some values"))
	f.Add(uint16(1), uint16(1), byte(0), uint64(0), byte(1), uint16(1), []byte{})
	f.Add(uint16(700), uint16(2), byte(3), uint64(0x1111_1111), byte(8), uint16(300), []byte{255, 0, 127, 128, 3})
	f.Add(uint16(2), uint16(900), byte(6), uint64(0x4111_2214), byte(3), uint16(65535), []byte{1})
	f.Fuzz(func(t *testing.T, cols, rows uint16, model byte, factors uint64, orient byte, quant uint16, values []byte) {
		const area = 1 << 12 // samples, so that it is quick
		if cols > area {
			cols %= area
		}
		if int(cols)*int(rows) > area {
			rows = area / cols
		}
		s := Spec{Cols: int(cols), Rows: int(rows), Model: Model(model % 7)}
		most := Component{H: 1, V: 1}
		for i := range 4 {
			k := Component{H: int(factors >> (8 * i) & 15), V: int(factors >> (8*i + 4) & 15)}
			most.H, most.V = max(most.H, k.H), max(most.V, k.V)
			s.Components = append(s.Components, k)
		}
		for i := range s.Components {
			k := &s.Components[i]
			k.Cols, k.Rows = (int(cols)*max(k.H, 1)+most.H-1)/most.H, (int(rows)*max(k.V, 1)+most.V-1)/most.V
		}
		c, err := New(s)
		if err != nil {
			return
		}
		for i, k := range s.Components {
			row, pix := make([]int16, k.Cols), make([]uint8, k.Cols)
			for y := range k.Rows {
				for x := range row {
					if len(values) > 0 {
						v := values[(x*31+y*17+i)%len(values)]
						row[x], pix[x] = int16(uint16(v)<<8|uint16(values[x%len(values)])), v
					}
				}
				if factors>>60&1 == 0 {
					c.DC(i, y, row, int(quant), 8+int(orient>>4&4))
				} else {
					c.Samples(i, y, pix)
				}
			}
		}
		var p *Profile
		if factors>>61&1 != 0 {
			p = AdobeRGB()
		}
		width, height := c.width, c.height
		if o := orient & 15; o >= 5 && o <= 8 {
			width, height = height, width
		}
		made, ok := c.Finish(int(orient&15), p)
		if !ok || made.Width != width || made.Height != height || max(width, height) > MaxSide {
			t.Fatalf("%v: %d x %d of %d x %d", ok, made.Width, made.Height, cols, rows)
		}
		whole(t, made.JPEG, width, height)
	})
}
