package thumb

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"testing"
)

// centre is the colour in the middle of a thumbnail.
func centre(t *testing.T, c *Canvas) color.RGBA {
	t.Helper()
	made, ok := c.Finish(1, nil)
	if !ok {
		t.Fatal("not complete")
	}
	m, err := jpeg.Decode(bytes.NewReader(made.JPEG))
	if err != nil {
		t.Fatal(err)
	}
	b := m.Bounds()
	return color.RGBAModel.Convert(m.At(b.Dx()/2, b.Dy()/2)).(color.RGBA)
}

func near(a, b color.RGBA) bool {
	for _, d := range []int{int(a.R) - int(b.R), int(a.G) - int(b.G), int(a.B) - int(b.B)} {
		if d < -5 || d > 5 {
			return false
		}
	}
	return true
}

// TestPixels: rows of pixels in every layout, at their size and averaged.
func TestPixels(t *testing.T) {
	for name, c := range map[string]struct {
		model  Model
		layout Layout
		pixel  []byte
		want   color.RGBA
	}{
		"grey":              {Grey, Layout{Colours: 1}, []byte{77}, color.RGBA{77, 77, 77, 255}},
		"grey of 16 bits":   {Grey, Layout{Colours: 1, Bytes: 2}, []byte{77, 250}, color.RGBA{77, 77, 77, 255}},
		"grey, half opaque": {Grey, Layout{Colours: 1, Alpha: true}, []byte{55, 128}, color.RGBA{155, 155, 155, 255}},
		"colours":           {RGB, Layout{Colours: 3}, []byte{200, 100, 50}, color.RGBA{200, 100, 50, 255}},
		"16 bits":           {RGB, Layout{Colours: 3, Bytes: 2}, []byte{200, 1, 100, 2, 50, 3}, color.RGBA{200, 100, 50, 255}},
		"opaque":            {RGB, Layout{Colours: 3, Alpha: true}, []byte{200, 100, 50, 255}, color.RGBA{200, 100, 50, 255}},
		"half opaque":       {RGB, Layout{Colours: 3, Alpha: true}, []byte{200, 100, 50, 128}, color.RGBA{227, 177, 152, 255}},
		"premultiplied":     {RGB, Layout{Colours: 3, Alpha: true, Premult: true}, []byte{100, 50, 25, 128}, color.RGBA{227, 177, 152, 255}},
		"see-through":       {RGB, Layout{Colours: 3, Alpha: true}, []byte{200, 100, 50, 0}, color.RGBA{255, 255, 255, 255}},
		"16 bits, opacity":  {RGB, Layout{Colours: 3, Alpha: true, Bytes: 2}, []byte{200, 9, 100, 9, 50, 9, 128, 0}, color.RGBA{227, 177, 152, 255}},
		"more than is told": {RGB, Layout{Colours: 3, Alpha: true, Premult: true}, []byte{255, 255, 255, 0}, color.RGBA{255, 255, 255, 255}},
		"ink":               {CMYK, Layout{Colours: 4}, []byte{0, 128, 255, 51}, color.RGBA{204, 102, 0, 255}},
		"ink, as Adobe":     {InkIn, Layout{Colours: 4}, []byte{255, 127, 0, 204}, color.RGBA{204, 102, 0, 255}},
	} {
		for _, size := range []image.Point{{1, 1}, {33, 17}, {900, 3}, {2, 1300}} {
			canvas, err := NewPixels(size.X, size.Y, c.model)
			if err != nil {
				t.Fatal(err)
			}
			for y := range size.Y {
				canvas.Pixels(y, bytes.Repeat(c.pixel, size.X), c.layout)
			}
			if got := centre(t, canvas); !near(got, c.want) {
				t.Errorf("%s, %v: %v, not %v", name, size, got, c.want)
			}
		}
	}
	canvas, err := NewPixels(3, 1, RGB)
	if err != nil {
		t.Fatal(err)
	}
	canvas.Pixels(0, []byte{1, 2, 3}, Layout{Colours: 1})
	if canvas.Complete() {
		t.Error("a grey row was taken for one of colours")
	}
	canvas.Pixels(0, []byte{1}, Layout{Colours: 3}) // too short, which is no harm
	if _, ok := canvas.Finish(1, nil); !ok {
		t.Error("a short row was not taken")
	}
}

// TestModels: one colour by its samples in each model.
func TestModels(t *testing.T) {
	want := color.RGBA{200, 100, 50, 255}
	y, cb, cr := color.RGBToYCbCr(want.R, want.G, want.B)
	ink := color.RGBA{160, 80, 40, 255} // with a fifth of black
	for name, c := range map[string]struct {
		model   Model
		samples []uint8
		want    color.RGBA
	}{
		"YCbCr": {YCbCr, []uint8{y, cb, cr}, want},
		"video": {Video, []uint8{
			uint8(16 + int(y)*219/255), uint8(128 + (int(cb)-128)*224/255), uint8(128 + (int(cr)-128)*224/255),
		}, want},
		"video, black": {Video, []uint8{16, 128, 128}, color.RGBA{0, 0, 0, 255}},
		"video, below": {Video, []uint8{3, 128, 128}, color.RGBA{0, 0, 0, 255}},
		"video, white": {Video, []uint8{235, 128, 128}, color.RGBA{255, 255, 255, 255}},
		"RGB":          {RGB, []uint8{200, 100, 50}, want},
		"CMYK":         {CMYK, []uint8{55, 155, 205, 51}, ink},
		"Adobe's CMYK": {InkIn, []uint8{200, 100, 50, 204}, ink},
	} {
		canvas, err := NewPixels(9, 5, c.model)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range c.samples {
			for row := range 5 {
				canvas.Samples(i, row, bytes.Repeat([]byte{v}, 9))
			}
		}
		if got := centre(t, canvas); !near(got, c.want) {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
}
