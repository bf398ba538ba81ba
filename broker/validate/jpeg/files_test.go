package jpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	stdjpeg "image/jpeg"
	"slices"
	"testing"
)

// piece is a part of a JPEG file: a segment, or a scan's header with its data.
type piece struct {
	marker byte
	bytes  []byte
}

// pieces takes a sound file apart.
func pieces(t testing.TB, b []byte) (list []piece) {
	t.Helper()
	for i := 0; i+1 < len(b); {
		end := i + 2
		m := b[i+1]
		if m != 0xD8 && m != 0xD9 {
			end += int(binary.BigEndian.Uint16(b[i+2:]))
		}
		for m == 0xDA && (b[end] != 0xFF || b[end+1] == 0 || b[end+1] >= 0xD0 && b[end+1] <= 0xD7) {
			end++
		}
		list = append(list, piece{m, b[i:end]})
		i = end
	}
	return list
}

func join(list []piece) (b []byte) {
	for _, p := range list {
		b = append(b, p.bytes...)
	}
	return b
}

func segmentOf(marker byte, payload ...byte) piece {
	b := binary.BigEndian.AppendUint16([]byte{0xFF, marker}, uint16(len(payload)+2))
	return piece{marker, append(b, payload...)}
}

func find(list []piece, marker byte) int {
	return slices.IndexFunc(list, func(p piece) bool { return p.marker == marker })
}

func scansOf(list []piece) (at []int) {
	for i, p := range list {
		if p.marker == 0xDA {
			at = append(at, i)
		}
	}
	return at
}

// rows collects what Options.DC gives, and holds it to the contract.
type rows struct {
	t    testing.TB
	info Info
	told int
	got  [maxComps][][]int16
}

func (r *rows) options() Options {
	return Options{
		Frame: func(in Info) { r.info = in; r.told++ },
		DC: func(comp, row int, values []int16) {
			if r.told != 1 || row != len(r.got[comp]) {
				r.t.Errorf("row %d of component %d after %d rows; the frame was told %d times", row, comp, len(r.got[comp]), r.told)
			}
			r.got[comp] = append(r.got[comp], slices.Clone(values))
		},
	}
}

// TestDC holds the rows of DC values against the pictures that the standard
// library makes: a DC is the mean of its block.
func TestDC(t *testing.T) {
	files := testdata(t)
	files["of Go"] = picture(t, 111, 99, 90, 4)
	for name, b := range files {
		r := rows{t: t}
		in, err := Check(bytes.NewReader(b), r.options())
		if name == "arithmetic.jpg" {
			continue
		}
		if err != nil {
			t.Fatal(name, err)
		}
		hMax, vMax := 1, 1
		for _, c := range in.Comps {
			hMax, vMax = max(hMax, c.H), max(vMax, c.V)
		}
		for i, c := range in.Comps {
			w, h := ceilDiv(ceilDiv(in.Width*c.H, hMax), 8), ceilDiv(ceilDiv(in.Height*c.V, vMax), 8)
			if len(r.got[i]) != h || len(r.got[i][0]) != w || len(r.got[i][h-1]) != w || c.DCQuant < 1 || r.info.Comps[i] != c {
				t.Fatalf("%s: component %d %+v has %d rows of %d, want %d of %d", name, i, c, len(r.got[i]), len(r.got[i][0]), h, w)
			}
		}
		m, err := stdjpeg.Decode(bytes.NewReader(b))
		if err != nil {
			t.Logf("%s: the standard library does not know it: %v", name, err)
			continue
		}
		var plane func(x, y int) int
		switch m := m.(type) {
		case *image.YCbCr:
			plane = func(x, y int) int { return int(m.Y[y*m.YStride+x]) }
		case *image.Gray:
			plane = func(x, y int) int { return int(m.Pix[y*m.Stride+x]) }
		default:
			continue
		}
		if in.Comps[0].H != hMax || in.Comps[0].V != vMax {
			t.Fatalf("%s: luma is sampled down", name)
		}
		for y := range in.Height / 8 {
			for x := range in.Width / 8 {
				sum, clipped := 0, false
				for i := range 64 {
					v := plane(8*x+i%8, 8*y+i/8)
					sum += v
					clipped = clipped || v == 0 || v == 255
				}
				slack := 1.0
				if in.Process == "progressive" { // its first scan leaves the lowest bit out
					slack += float64(in.Comps[0].DCQuant) / 8
				}
				mean := 128 + float64(int(r.got[0][y][x])*in.Comps[0].DCQuant)/8
				if d := mean - float64(sum)/64; !clipped && (d > slack || d < -slack) {
					t.Fatalf("%s: block %d,%d is %.1f, its mean is %.1f", name, x, y, mean, float64(sum)/64)
				}
			}
		}
	}
}

// TestLargePlain holds a picture of several buffers against the plain decoder.
func TestLargePlain(t *testing.T) {
	b := picture(t, 720, 512, 97, 11)
	list := pieces(t, b)
	tables := map[byte]plainTable{}
	for p := list[find(list, 0xC4)].bytes[4:]; len(p) > 0; {
		counts := [16]byte(p[1:17])
		n := 0
		for _, c := range counts {
			n += int(c)
		}
		tables[p[0]], _ = newPlainTable(counts, p[17:17+n])
		p = p[17+n:]
	}
	scan := list[find(list, 0xDA)].bytes
	data := bytes.ReplaceAll(scan[2+12:], []byte{0xFF, 0}, []byte{0xFF})
	if len(data) < 3*feedBytes {
		t.Fatalf("only %d bytes", len(data))
	}
	bits := &plainBits{bytes: data}
	order := []int{0, 0, 0, 0, 1, 2}
	want, ok := plainScan(bits, 45*32, order, []plainTable{tables[0], tables[1], tables[1]},
		[]plainTable{tables[0x10], tables[0x11], tables[0x11]}, 8)
	if !ok || bits.at <= 8*len(data)-8 {
		t.Fatal("the plain decoder fails", ok, bits.at)
	}
	r := rows{t: t}
	if _, err := Check(bytes.NewReader(b), r.options()); err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		mcu, block := i/6, i%6
		x, y := mcu%45, mcu/45
		got := int16(0)
		if block < 4 {
			got = r.got[0][2*y+block/2][2*x+block%2]
		} else {
			got = r.got[block-3][y][x]
		}
		if int(got) != w {
			t.Fatalf("block %d of MCU %d is %d, want %d", block, mcu, got, w)
		}
	}
}

// TestRefusedMasks: a picture whose masks are refused still gives its DC rows.
func TestRefusedMasks(t *testing.T) {
	b := testdata(t)["progressive.jpg"]
	var list [2]rows
	for i := range list {
		list[i].t = t
		o := list[i].options()
		o.Reserve = func(int64) (bool, error) { return i == 0, nil }
		if _, err := Check(bytes.NewReader(b), o); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(list[0].got) != fmt.Sprint(list[1].got) || len(list[0].got[0]) == 0 {
		t.Error("other rows without masks")
	}
	if _, err := Check(bytes.NewReader(b[:len(b)/2]), Options{Reserve: func(int64) (bool, error) { return false, nil }}); kindOf(err) != Truncated {
		t.Error(err)
	}
	var p *Problem
	if _, err := Check(bytes.NewReader(b[:9]), Options{}); !errors.As(err, &p) || p.Detail == "" {
		t.Error(err)
	}
}
