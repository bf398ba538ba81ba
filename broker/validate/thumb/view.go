package thumb

import "encoding/binary"

// view is a plane as it stands upright: where its samples lie.
type view struct {
	width, height int // upright
	origin        int // of the sample at 0, 0
	right, down   int // to the next sample that way
}

// newView is of a plane of width x height whose first row and column are where
// the EXIF orientation says (CIPA DC-008 4.6.4 A).
func newView(width, height, orient int) view {
	v := view{width: width, height: height, right: 1, down: width}
	if orient < 2 || orient > 8 {
		return v
	}
	type turn struct{ mirror, flip, swap bool }
	t := [...]turn{
		2: {mirror: true}, 3: {mirror: true, flip: true}, 4: {flip: true}, 5: {swap: true},
		6: {flip: true, swap: true}, 7: {mirror: true, flip: true, swap: true}, 8: {mirror: true, swap: true},
	}[orient]
	if t.mirror {
		v.origin += width - 1
		v.right = -v.right
	}
	if t.flip {
		v.origin += (height - 1) * width
		v.down = -v.down
	}
	if t.swap {
		v.width, v.height = height, width
		v.right, v.down = v.down, v.right
	}
	return v
}

// load takes 8 x 8 samples; past an edge, those at it again.
func (v *view) load(lines *[8]uint64, plane []uint8, x, y int) {
	if v.right == 1 && x+8 <= v.width && y+8 <= v.height {
		at := v.origin + y*v.down + x
		for i := range lines {
			lines[i] = binary.LittleEndian.Uint64(plane[at:])
			at += v.down
		}
		return
	}
	for i := range lines {
		at := v.origin + min(y+i, v.height-1)*v.down
		line := uint64(0)
		for j := range 8 {
			line |= uint64(plane[at+min(x+j, v.width-1)*v.right]) << (8 * j)
		}
		lines[i] = line
	}
}
