package validate

import "io"

// packBits unpacks TIFF 6.0 section 9.
type packBits struct {
	r       io.Reader
	buf     [4096]byte
	data    []byte
	literal int
	repeat  int
	value   byte
}

func (p *packBits) byte() (byte, error) {
	if len(p.data) == 0 {
		n, err := p.r.Read(p.buf[:])
		if n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, err
		}
		p.data = p.buf[:n]
	}
	c := p.data[0]
	p.data = p.data[1:]
	return c, nil
}

func (p *packBits) Read(to []byte) (int, error) {
	for n := range to {
		for p.literal == 0 && p.repeat == 0 {
			c, err := p.byte()
			if err != nil {
				return n, err
			}
			switch k := int8(c); {
			case k >= 0:
				p.literal = int(k) + 1
			case k > -128:
				p.repeat = 1 - int(k)
				if p.value, err = p.byte(); err != nil {
					return n, err
				}
			}
		}
		if p.repeat > 0 {
			p.repeat--
			to[n] = p.value
			continue
		}
		p.literal--
		c, err := p.byte()
		if err != nil {
			return n, err
		}
		to[n] = c
	}
	return len(to), nil
}
