package validate

import (
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
	"github.com/uploadbroker/uploadbroker/broker/validate/thumb"
)

// thumbnail is what a checker hands on of its picture, for a small one.
type thumbnail struct {
	canvas *thumb.Canvas // nil: none is made
	icc    []byte        // the picture's colour profile; nil: none
	orient int           // its EXIF orientation; 0: that of the facts
}

// follow lets a check of a JPEG paint its DC coefficients: the picture at an
// eighth of its size. It replaces what was painted before.
func (t *thumbnail) follow(o *jpeg.Options) {
	t.canvas, t.icc = nil, nil
	var in jpeg.Info
	o.Frame = func(info jpeg.Info) {
		in = info
		t.canvas, t.icc = jpegCanvas(info), info.ICC
	}
	o.DC = func(component, row int, values []int16) {
		if t.canvas != nil {
			t.canvas.DC(component, row, values, in.Comps[component].DCQuant, in.Precision)
		}
	}
}

// jpegCanvas is for the DC coefficients of a JPEG. Nil: no thumbnail is made of
// it, as its height comes behind its data (DNL) or a quantization table does.
func jpegCanvas(in jpeg.Info) *thumb.Canvas {
	if in.Height == 0 || in.Width == 0 {
		return nil
	}
	blocks := func(size, share, most int) int { // of a component (T.81 A.1.1 and A.2.4)
		return ((size*share+most-1)/most + 7) / 8
	}
	most := jpeg.Component{H: 1, V: 1}
	for _, c := range in.Comps {
		most.H, most.V = max(most.H, c.H), max(most.V, c.V)
	}
	s := thumb.Spec{Cols: (in.Width + 7) / 8, Rows: (in.Height + 7) / 8, Model: jpegModel(in)}
	for _, c := range in.Comps {
		if c.DCQuant == 0 {
			return nil
		}
		s.Components = append(s.Components, thumb.Component{
			Cols: blocks(in.Width, c.H, most.H), Rows: blocks(in.Height, c.V, most.V), H: c.H, V: c.V,
		})
	}
	canvas, err := thumb.New(s)
	if err != nil {
		return nil
	}
	return canvas
}

// jpegModel tells the colours as libjpeg does: by JFIF's mark, Adobe's, and the
// components' names.
func jpegModel(in jpeg.Info) thumb.Model {
	switch {
	case len(in.Comps) < 3:
		return thumb.Grey
	case len(in.Comps) > 3 && in.Adobe == 2:
		return thumb.YCCK
	case len(in.Comps) > 3 && in.Adobe >= 0:
		return thumb.InkIn
	case len(in.Comps) > 3:
		return thumb.CMYK
	case in.JFIF || in.Adobe > 0:
		return thumb.YCbCr
	case in.Adobe == 0:
		return thumb.RGB
	}
	if in.Comps[0].ID == 'R' && in.Comps[1].ID == 'G' && in.Comps[2].ID == 'B' {
		return thumb.RGB
	}
	return thumb.YCbCr
}

// finishThumb adds the thumbnail to the verdict of a sound picture. There being
// none is never a fault.
func (c *check) finishThumb(v *broker.Verdict, f *fault) {
	if c.thumb.canvas == nil || f != nil || !v.Sound() && c.want.Kind != broker.KindFiles {
		return
	}
	defer func() { // as for metadata: what is wrong here says nothing about the picture
		if r := recover(); r != nil {
			v.Thumb, v.Facts.Thumb = nil, nil
		}
	}()
	profile := thumb.ICC(c.thumb.icc)
	if c.thumb.icc == nil {
		for _, exif := range c.exif {
			if profile == nil && thumb.SaysAdobeRGB(exif) {
				profile = thumb.AdobeRGB()
			}
		}
	}
	orient := c.thumb.orient
	if orient == 0 {
		orient = v.Facts.Orient
	}
	if made, ok := c.thumb.canvas.Finish(orient, profile); ok {
		v.Thumb = made.JPEG
		v.Facts.Thumb = &broker.ThumbFacts{Width: made.Width, Height: made.Height}
	}
}
