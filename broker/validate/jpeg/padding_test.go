package jpeg

import (
	"bytes"
	"testing"
)

// TestPadding: what some cameras put between a whole scan and the end marker is a
// fact; what could be a part of the picture is not taken for it.
func TestPadding(t *testing.T) {
	whole := picture(t, 200, 150, 90, 3)
	body, end := whole[:len(whole)-2], whole[len(whole)-2:]
	for name, c := range map[string]struct {
		padding []byte
		sound   bool
	}{
		"zeros":                  {make([]byte, 4000), true},
		"one zero":               {[]byte{0}, true},
		"fill bytes":             {bytes.Repeat([]byte{0xFF}, 4000), true},
		"another byte":           {bytes.Repeat([]byte{0xAA}, 4000), true},
		"another, among zeros":   {bytes.Repeat([]byte{0, 0x20}, 200_000), true},
		"another, a few times":   {bytes.Repeat([]byte{0xAA}, minFill-1), false},
		"two others":             {bytes.Repeat([]byte{0xAA, 0x55}, 2000), false},
		"a part of the picture":  {whole[len(whole)-300 : len(whole)-2], false},
		"zeros and one that not": {append(make([]byte, 4000), 7), false},
	} {
		in, err := Check(bytes.NewReader(append(append(bytes.Clone(body), c.padding...), end...)), Options{})
		if (err == nil) != c.sound {
			t.Errorf("%s: %v", name, err)
		}
		if fill := name != "fill bytes"; c.sound && fill && in.PaddingBytes != int64(len(c.padding)) {
			t.Errorf("%s: %d bytes are told of %d", name, in.PaddingBytes, len(c.padding))
		}
	}
}
