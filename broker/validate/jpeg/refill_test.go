package jpeg

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// bitWriter writes bits, the first into the highest of a byte.
type bitWriter struct {
	bytes []byte
	count int
}

func (w *bitWriter) write(value uint32, length int) {
	for ; length > 0; length-- {
		if w.count%8 == 0 {
			w.bytes = append(w.bytes, 0)
		}
		w.bytes[w.count/8] |= byte(value>>(length-1)&1) << (7 - w.count%8)
		w.count++
	}
}

// TestLongCodesAtRefills: codes that no path has, which make the decoder take bits
// back, also where it has just loaded its buffer and moved what was in there.
func TestLongCodesAtRefills(t *testing.T) {
	const blocks = 10_000
	r := rand.New(rand.NewPCG(1, 11))
	d := newDecoder(nil, Options{})
	d.info.Precision, d.info.Height, d.frame = 8, 8, &frame{}
	dc := same(t, &d.dc[0], [16]byte{0: 1, 1: 1}, []byte{0, 3})     // 0 is of no bits, 10 of three
	ac := same(t, &d.ac[0], [16]byte{0: 1, 12: 1}, []byte{0, 0x01}) // 0 ends the block
	var w bitWriter
	for range blocks {
		if r.IntN(2) == 0 {
			w.write(0, 1)
		} else {
			w.write(0b10<<3|r.Uint32N(8), 2+3)
		}
		count := r.IntN(64)
		for range count {
			w.write(1<<12<<1|r.Uint32N(2), 13+1)
		}
		if count < 63 {
			w.write(0, 1)
		}
	}
	want, ok := plainScan(&plainBits{bytes: w.bytes}, blocks, []int{0}, []plainTable{dc}, []plainTable{ac}, 8)
	if !ok {
		t.Fatalf("a plain decoder refuses them, after %d blocks", len(want))
	}
	var got []int
	d.opts.DC = func(_, _ int, values []int16) {
		for _, v := range values {
			got = append(got, int(v))
		}
	}
	s := scanHeader{se: 63, comps: []scanComp{{c: &component{h: 1, v: 1, blocks: [2]int{blocks, 1}}, dc: &d.dc[0], ac: &d.ac[0]}}}
	if err := d.prepare(s, blocks); err != nil {
		t.Fatal(err)
	}
	d.src.r = bytes.NewReader(append(stuff(w.bytes), 0xFF, 0xD9))
	d.bits.begin()
	at, st := d.sequential(s, 0, blocks)
	if left := 8*len(w.bytes) - w.count; st != good || d.bits.left() != left {
		t.Errorf("it stops at block %d of %d, with %d bits left, want %d", at, blocks, d.bits.left(), left)
	}
	if !slices.Equal(got, want) {
		t.Error("other DC values than a plain decoder's")
	}
}

// TestLongEndedBands: one run of ended bands that has more bits than the buffer.
func TestLongEndedBands(t *testing.T) {
	const blocks = 20_000
	r := rand.New(rand.NewPCG(1, 12))
	d := newDecoder(nil, Options{})
	d.info.Precision, d.info.Height = 8, 8
	same(t, &d.ac[0], [16]byte{0: 1}, []byte{14 << 4})
	var w bitWriter
	w.write(0, 1)
	w.write(blocks-1<<14, 14)
	mask := make([]uint64, blocks)
	for i := range mask {
		mask[i] = r.Uint64() | r.Uint64() | r.Uint64()
		for k := 1; k < 64; k++ {
			if mask[i]>>k&1 == 1 {
				w.write(r.Uint32N(2), 1)
			}
		}
	}
	if len(w.bytes) < 2*feedBytes {
		t.Fatalf("%d bytes are too few", len(w.bytes))
	}
	s := scanHeader{ss: 1, se: 63, comps: []scanComp{{c: &component{mask: masksOf(0, mask)}, ac: &d.ac[0]}}}
	for _, missing := range []int{0, 1, 100_000} {
		d := newDecoder(bytes.NewReader(append(stuff(w.bytes[:len(w.bytes)-missing]), 0xFF, 0xD9)), Options{})
		d.info.Precision, d.info.Height = 8, 8
		d.bits.begin()
		at, st := d.acRefine(s, 0, blocks)
		if (st == good) != (missing == 0) {
			t.Errorf("%d bytes are missing: it stops at block %d of %d", missing, at, blocks)
		}
		if left := 8*len(w.bytes) - w.count; missing == 0 && d.bits.left() != left {
			t.Errorf("%d bits are left, want %d", d.bits.left(), left)
		}
	}
}
