package thumb

// The arithmetic of JFIF's YCbCr (T.871 clause 7) in 65536ths.
const half = 1 << 15

func luma(r, g, b int32) int32 { return (19595*r + 38470*g + 7471*b + half) >> 16 }

// chroma is of the sums of four pixels.
func chroma(r, g, b int32) (cb, cr uint8) {
	const middle = 128<<18 + 1<<17
	return uint8(clamp(int(-11059*r-21709*g+32768*b+middle) >> 18)), uint8(clamp(int(32768*r-27439*g-5329*b+middle) >> 18))
}

func clamp(v int) int { return min(max(v, 0), 255) }

func toRGB(y, cb, cr uint8) (r, g, b uint8) {
	yy, u, v := int32(y)<<16+half, int32(cb)-128, int32(cr)-128
	return uint8(clamp(int((yy + 91881*v) >> 16))), uint8(clamp(int((yy - 22554*u - 46802*v) >> 16))),
		uint8(clamp(int((yy + 116130*u) >> 16)))
}

// picture is what the encoder takes: Y, and chroma at half its size; nil: grey.
type picture struct {
	y, cb, cr     []uint8
	width, height int
}

func (m *picture) chromaWidth() int  { return (m.width + 1) / 2 }
func (m *picture) chromaHeight() int { return (m.height + 1) / 2 }

// picture turns the planes into YCbCr, in their place.
func (c *Canvas) picture() picture {
	m := picture{width: c.width, height: c.height}
	p := c.planes
	m.y = p[0].pix
	switch c.model {
	case Grey:
		return m
	case YCCK:
		// It codes the ink as if it were light, and so does Adobe: twice is not at all.
		for i := range m.y {
			p[0].pix[i], p[1].pix[i], p[2].pix[i] = toRGB(p[0].pix[i], p[1].pix[i], p[2].pix[i])
		}
		fallthrough
	case InkIn, CMYK:
		flip := [2]uint8{} // to light let through, of the colours and of black
		switch c.model {
		case CMYK:
			flip = [2]uint8{255, 255}
		case YCCK:
			flip[0] = 255
		}
		for _, plane := range p[:3] {
			for i, v := range plane.pix {
				plane.pix[i] = uint8((uint32(v^flip[0])*uint32(p[3].pix[i]^flip[1]) + 127) / 255)
			}
		}
		p[3].pix = nil
		fallthrough
	case RGB:
		inYCbCr(p[0].pix, p[1].pix, p[2].pix, m.width, m.height)
	}
	n := m.chromaWidth() * m.chromaHeight()
	m.cb, m.cr = p[1].pix[:n], p[2].pix[:n]
	return m
}

// inYCbCr leaves Y where R was, and Cb and Cr at half the size where G and B
// were: what is written is never ahead of what is read.
func inYCbCr(r, g, b []uint8, width, height int) {
	at := 0
	for y := 0; y < height; y += 2 {
		top, low := y*width, min(y+1, height-1)*width // the last row may count twice
		for x := 0; x < width; x += 2 {
			right := min(x+1, width-1)
			var red, green, blue [4]int32
			for k, i := range [4]int{top + x, top + right, low + x, low + right} {
				red[k], green[k], blue[k] = int32(r[i]), int32(g[i]), int32(b[i])
			}
			for k, i := range [4]int{top + x, top + right, low + x, low + right} {
				r[i] = uint8(luma(red[k], green[k], blue[k]))
			}
			g[at], b[at] = chroma(red[0]+red[1]+red[2]+red[3], green[0]+green[1]+green[2]+green[3], blue[0]+blue[1]+blue[2]+blue[3])
			at++
		}
	}
}
