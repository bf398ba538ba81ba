package validate

import "github.com/uploadbroker/uploadbroker/broker/validate/thumb"

// webpPaint hands the rows of a WebP on to a thumbnail while they are decoded for
// the proof. A lossy picture is shown with what its alpha hides, and without the loop
// filter, which a small one does not miss.
type webpPaint struct{ canvas *thumb.Canvas }

// painter prepares the thumbnail of the present picture: a still one, or the first
// frame of an animation if it covers the canvas. Nil: none is made.
func (w *webpWalk) painter(width, height int, lossless bool) *webpPaint {
	c := w.c
	if !c.want.Thumb || w.frames > 1 || width != c.found.Width || height != c.found.Height {
		return nil
	}
	p := &webpPaint{}
	var err error
	if lossless {
		p.canvas, err = thumb.NewPixels(width, height, thumb.RGB)
	} else {
		chroma := thumb.Component{Cols: (width + 1) / 2, Rows: (height + 1) / 2, H: 1, V: 1}
		p.canvas, err = thumb.New(thumb.Spec{Cols: width, Rows: height, Model: thumb.Video,
			Components: []thumb.Component{{Cols: width, Rows: height, H: 2, V: 2}, chroma, chroma}})
	}
	if err != nil {
		return nil
	}
	return p
}

// pixels takes a row of a lossless picture.
func (p *webpPaint) pixels(y int, rgba []byte) {
	p.canvas.Pixels(y, rgba, thumb.Layout{Colours: 3, Alpha: true, Bytes: 1})
}

// done hands the picture to the check.
func (p *webpPaint) done(c *check) {
	if p != nil && p.canvas.Complete() {
		c.thumb.canvas = p.canvas
	}
}
