package thumb

// quality is that of the Independent JPEG Group's scale.
const quality = 80

// zigzag gives the place in a block of the k-th coefficient (T.81 figure A.6).
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// quantLuma and quantChroma are T.81's tables K.1 and K.2.
var (
	quantLuma = [64]uint8{
		16, 11, 10, 16, 24, 40, 51, 61,
		12, 12, 14, 19, 26, 58, 60, 55,
		14, 13, 16, 24, 40, 57, 69, 56,
		14, 17, 22, 29, 51, 87, 80, 62,
		18, 22, 37, 56, 68, 109, 103, 77,
		24, 35, 55, 64, 81, 104, 113, 92,
		49, 64, 78, 87, 103, 121, 120, 101,
		72, 92, 95, 98, 112, 100, 103, 99,
	}
	quantChroma = [64]uint8{
		17, 18, 24, 47, 99, 99, 99, 99,
		18, 21, 26, 66, 99, 99, 99, 99,
		24, 26, 56, 99, 99, 99, 99, 99,
		47, 66, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
	}
)

// quantTable is a table at the encoder's quality, in zigzag order.
func quantTable(base *[64]uint8) *[64]uint8 {
	const scale = 200 - 2*quality // percent
	var t [64]uint8
	for k, at := range zigzag {
		t[k] = uint8(min(max((int(base[at])*scale+50)/100, 1), 255))
	}
	return &t
}

// huffman is a table as DHT has it: how many codes there are of each length, and
// their symbols.
type huffman struct {
	counts  [16]uint8
	symbols string
}

// The tables K.3 to K.6 of T.81.
var (
	dcLuma   = huffman{[16]uint8{0, 1, 5, 1, 1, 1, 1, 1, 1}, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"}
	dcChroma = huffman{[16]uint8{0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"}
	acLuma   = huffman{
		[16]uint8{0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125},
		"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07" +
			"\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0" +
			"\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28" +
			"\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49" +
			"\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69" +
			"\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89" +
			"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7" +
			"\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5" +
			"\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2" +
			"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
			"\xf9\xfa",
	}
	acChroma = huffman{
		[16]uint8{0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119},
		"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71" +
			"\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0" +
			"\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26" +
			"\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48" +
			"\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68" +
			"\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87" +
			"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5" +
			"\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3" +
			"\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda" +
			"\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
			"\xf9\xfa",
	}
)

// code is one Huffman code.
type code struct {
	bits   uint64
	length uint
}

// codes are the tables of a component, made for writing (T.81 annex C).
type codes struct {
	dc          [16]code  // by size
	ac          [256]code // by run and size
	stop, run16 code      // EOB and ZRL (T.81 F.1.2.2)
	// A code with the bits of its coefficient, from -16 to 15, by run and
	// coefficient: bits<<5 | length.
	small [512]uint32
}

func newCodes(dc, ac *huffman) *codes {
	c := &codes{}
	dc.each(func(symbol byte, k code) { c.dc[symbol&15] = k })
	ac.each(func(symbol byte, k code) { c.ac[symbol] = k })
	c.stop, c.run16 = c.ac[0], c.ac[0xF0]
	for run := range 16 {
		for q := -16; q < 16; q++ {
			size := uint(0)
			for max(q, -q)>>size > 0 {
				size++
			}
			if size == 0 {
				continue
			}
			k := c.ac[run<<4|int(size)]
			value := uint64(q)
			if q < 0 {
				value--
			}
			bits := k.bits<<size | value&(1<<size-1)
			c.small[run<<5|(q+16)] = uint32(bits)<<5 | uint32(k.length+size)
		}
	}
	return c
}

func (h *huffman) each(f func(symbol byte, k code)) {
	next, at := uint64(0), 0
	for i, n := range h.counts {
		for range n {
			f(h.symbols[at], code{next, uint(i + 1)})
			next++
			at++
		}
		next <<= 1
	}
}

// appendHeader writes everything up to the coded data: JFIF (T.871), tables, the
// frame and the scan (T.81 B.2). There is no metadata: what was upright and in
// sRGB needs none.
func appendHeader(b []byte, width, height int, grey bool) []byte {
	b = append(b, "\xFF\xD8\xFF\xE0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"...)
	segment := func(marker byte, n int) { b = append(b, 0xFF, marker, byte((n+2)>>8), byte(n+2)) }
	quant := func(id byte, base *[64]uint8) {
		segment(0xDB, 65)
		b = append(b, id)
		b = append(b, quantTable(base)[:]...)
	}
	tables := func(class byte, h *huffman) {
		segment(0xC4, 17+len(h.symbols))
		b = append(b, class)
		b = append(b, h.counts[:]...)
		b = append(b, h.symbols...)
	}
	frame := func(components ...byte) {
		segment(0xC0, 6+len(components))
		b = append(b, 8, byte(height>>8), byte(height), byte(width>>8), byte(width), byte(len(components)/3))
		b = append(b, components...)
	}
	scan := func(components ...byte) {
		segment(0xDA, 4+len(components))
		b = append(b, byte(len(components)/2))
		b = append(b, components...)
		b = append(b, 0, 63, 0)
	}
	quant(0, &quantLuma)
	if grey {
		frame(1, 0x11, 0)
		tables(0x00, &dcLuma)
		tables(0x10, &acLuma)
		scan(1, 0x00)
		return b
	}
	quant(1, &quantChroma)
	frame(1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1)
	tables(0x00, &dcLuma)
	tables(0x10, &acLuma)
	tables(0x01, &dcChroma)
	tables(0x11, &acChroma)
	scan(1, 0x00, 2, 0x11, 3, 0x11)
	return b
}
