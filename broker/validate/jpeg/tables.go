package jpeg

import "encoding/binary"

// defineHuffman reads a DHT segment (T.81 B.2.4.2).
func (d *decoder) defineHuffman(p []byte) error {
	for len(p) > 0 {
		if len(p) < 17 {
			return d.corrupt("a Huffman table of it is cut short")
		}
		class, id := p[0]>>4, p[0]&15
		counts := p[1:17]
		total := 0
		for _, c := range counts {
			total += int(c)
		}
		if class > 1 || id > 3 || total > 256 || 17+total > len(p) {
			return d.corrupt("a Huffman table of it is malformed")
		}
		t, ok := &d.dc[id], &d.dcOK[id]
		if class == 1 {
			t, ok = &d.ac[id], &d.acOK[id]
		}
		if err := t.define(counts, p[17:17+total]); err != nil {
			return d.corrupt("a Huffman table of it is malformed: %v", err)
		}
		*ok = true
		p = p[17+total:]
	}
	return nil
}

// defineQuantization reads a DQT segment (T.81 B.2.4.1). Its values are 1 or more.
func (d *decoder) defineQuantization(p []byte) error {
	for len(p) > 0 {
		width, id := 1+int(p[0]>>4), p[0]&15
		if width > 2 || id > 3 || len(p) < 1+64*width {
			return d.corrupt("a quantization table of it is malformed")
		}
		values := p[1 : 1+64*width]
		for i := range 64 {
			v := int(values[i*width])
			if width == 2 {
				v = int(binary.BigEndian.Uint16(values[2*i:]))
			}
			if v == 0 {
				return d.corrupt("its quantization table %d has a zero", id)
			}
			if i == 0 {
				d.dcQuant[id] = v
			}
		}
		p = p[1+64*width:]
	}
	return nil
}

// defineInterval reads a DRI segment (T.81 B.2.4.4).
func (d *decoder) defineInterval(p []byte) error {
	if len(p) != 2 {
		return d.corrupt("its restart interval segment holds %d bytes", len(p))
	}
	d.interval = int(binary.BigEndian.Uint16(p))
	return nil
}

// defineConditioning reads a DAC segment (T.81 B.2.4.3), of no use without
// arithmetic coding.
func (d *decoder) defineConditioning(p []byte) error {
	if len(p)%2 != 0 {
		return d.corrupt("its arithmetic conditioning segment holds %d bytes", len(p))
	}
	for ; len(p) > 0; p = p[2:] {
		class, id, value := p[0]>>4, p[0]&15, p[1]
		if class > 1 || id > 3 || class == 0 && value&15 > value>>4 || class == 1 && (value < 1 || value > 63) {
			return d.corrupt("its arithmetic conditioning segment is malformed")
		}
	}
	return nil
}
