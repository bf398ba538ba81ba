package thumb

// Thumbnail is a finished one.
type Thumbnail struct {
	JPEG          []byte // baseline, sRGB (or grey), without metadata
	Width, Height int    // pixels, upright
}

// Finish makes the thumbnail. orient is the picture's EXIF orientation, of which
// 1 and what is not known mean upright; profile turns its colours into sRGB's, nil
// when they are. False: rows are missing. The Canvas is used up.
func (c *Canvas) Finish(orient int, profile *Profile) (Thumbnail, bool) {
	if !c.Complete() {
		return Thumbnail{}, false
	}
	m := c.picture()
	if profile != nil && c.model != CMYK && c.model != InkIn && c.model != YCCK {
		profile.convert(&m)
	}
	c.planes = nil
	v := newView(m.width, m.height, orient)
	return Thumbnail{JPEG: encode(m, orient), Width: v.width, Height: v.height}, true
}
