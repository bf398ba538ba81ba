package jpeg

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

// randomCounts makes the counts of a Huffman table: any that are possible, often
// with all the short codes taken or with long ones only.
func randomCounts(r *rand.Rand, most int) (counts [16]byte, total int) {
	free := 2 // codes of this length, less those that are taken
	for i := range counts {
		n := 0
		switch r.IntN(4) {
		case 0:
			n = r.IntN(free + 1)
		case 1:
			n = r.IntN(min(free, 4) + 1)
		case 2:
			n = free - 1 // all but the one of ones
		}
		if i > 3 && free-1+total <= most && r.IntN(3) == 0 {
			n = free - 1
		}
		n = min(n, free-1, most-total, 255)
		n = max(n, 0)
		counts[i] = byte(n)
		total += n
		free = min((free-n)*2, 1<<16)
	}
	return counts, total
}

// randomTable makes a table whose symbols are mostly those that may stand there.
func randomTable(r *rand.Rand, dc bool) (counts [16]byte, symbols []byte) {
	most := 162
	if dc {
		most = 12
	}
	counts, total := randomCounts(r, 1+r.IntN(most))
	for range total {
		s := byte(r.IntN(16)<<4 | 1 + r.IntN(10))
		switch {
		case dc:
			s = byte(r.IntN(12))
		case r.IntN(8) == 0:
			s = 0
		case r.IntN(12) == 0:
			s = 0xF0
		case r.IntN(3) > 0:
			s &= 0x3F
		}
		if !dc && s&15 > 0 && r.IntN(3) > 0 {
			s = s&15 | byte(r.IntN(3))<<4
		}
		if r.IntN(400) == 0 {
			s = byte(r.Uint32())
		}
		symbols = append(symbols, s)
	}
	return counts, symbols
}

// stuff writes data as an interval, with T.81's zero byte behind each 0xFF.
func stuff(data []byte) []byte { return bytes.ReplaceAll(data, []byte{0xFF}, []byte{0xFF, 0}) }

// TestAgainstPlain decodes random bits by random tables: the look-up of paths and
// the flow charts of T.81 agree on where the first fault is, on every DC value and
// on how many bits were taken.
func TestAgainstPlain(t *testing.T) {
	rounds := 6000
	if testing.Short() {
		rounds = 2000
	}
	outcome := map[string]int{}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		precision := 8 + 4*r.IntN(2)
		var d decoder
		d.info.Precision = precision
		d.frame = &frame{}
		dc, ac := make([]plainTable, 2), make([]plainTable, 2)
		for i := range 2 {
			counts, symbols := randomTable(r, true)
			dc[i] = same(t, &d.dc[i], counts, symbols)
			counts, symbols = randomTable(r, false)
			ac[i] = same(t, &d.ac[i], counts, symbols)
		}
		if dc[0] == nil || dc[1] == nil || ac[0] == nil || ac[1] == nil {
			outcome["no table"]++
			continue
		}
		size := 1 + r.IntN(40)
		if r.IntN(60) == 0 {
			size = feedBytes - feedSlack + r.IntN(3*feedSlack) - feedSlack
		}
		data := make([]byte, size)
		for i := range data {
			switch data[i] = byte(r.Uint32()); r.IntN(6) {
			case 0:
				data[i] = 0
			case 1:
				data[i] = 0xFF
			}
		}
		s := scanHeader{se: 63}
		order := [][]int{{0}, {0, 1}, {0, 0, 1}, {0, 0, 0, 0, 1, 1}}[r.IntN(4)]
		all, _ := plainScan(&plainBits{bytes: data}, 8*size, order, dc, ac, precision)
		mcus := max(len(all)/len(order), 1) // that there are
		switch r.IntN(4) {
		case 0:
			mcus += 1 + r.IntN(3)
		case 1:
			mcus = 1 + r.IntN(mcus)
		}
		for comp := range 2 {
			n := 0
			for _, o := range order {
				if o == comp {
					n++
				}
			}
			if n > 0 {
				s.comps = append(s.comps, scanComp{c: &component{h: n, v: 1, index: comp, blocks: [2]int{mcus * n, 1}}, dc: &d.dc[comp], ac: &d.ac[comp]})
			}
		}
		var got []int
		rows := map[int][]int16{}
		d.opts.DC = func(comp, _ int, values []int16) { rows[comp] = slices.Clone(values) }
		d.info.Height = 8
		if err := d.prepare(s, mcus); err != nil {
			t.Fatal(err)
		}
		stream := append(stuff(data), 0xFF, 0xD9)
		d.src = reader{r: bytes.NewReader(stream), buf: make([]byte, []int{1, 7, 4096, 1 << 16}[r.IntN(4)])}
		if size < 1000 && r.IntN(3) == 0 {
			d.src.r = iotest.OneByteReader(d.src.r)
		}
		d.bits.src = &d.src
		d.bits.begin()
		at, st := d.sequential(s, 0, int64(mcus))

		plain := &plainBits{bytes: data}
		want, ok := plainScan(plain, mcus, order, dc, ac, precision)
		name := fmt.Sprintf("seed %d, %d bytes, %d MCUs of %v, %d bits", seed, size, mcus, order, precision)
		if ok != (st == good) {
			t.Fatalf("%s: fast %v at %d, plain %v after %d blocks, bit %d", name, st, at, ok, len(want), plain.at)
		}
		if !ok {
			outcome["bad"]++
			// The fast one asks only now and then whether there were so many bits, and
			// never goes on after another fault.
			if plain.at <= 8*len(data) && at != int64(len(want)/len(order)) {
				t.Fatalf("%s: fast stops at MCU %d, plain after %d blocks", name, at, len(want))
			}
			continue
		}
		outcome["good"]++
		for range mcus {
			for _, comp := range order {
				got = append(got, int(rows[comp][0]))
				rows[comp] = rows[comp][1:]
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: DC %v, want %v", name, got, want)
		}
		if left := 8*len(data) - plain.at; d.bits.left() != left && d.bits.stopped {
			t.Fatalf("%s: %d bits are left, want %d", name, d.bits.left(), left)
		}
	}
	t.Log(outcome)
	if outcome["good"] < rounds/50 || outcome["bad"] < rounds/50 {
		t.Errorf("it does not try both: %v", outcome)
	}
}

// same defines a table both ways, which must agree on whether it is one.
func same(t *testing.T, fast *table, counts [16]byte, symbols []byte) plainTable {
	t.Helper()
	err := fast.define(counts[:], symbols)
	plain, ok := newPlainTable(counts, symbols)
	if ok != (err == nil) {
		t.Fatalf("%v: %v, plain %v", counts, err, ok)
	}
	return plain
}

// TestTables: any counts at all are a table for both or for neither.
func TestTables(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	valid := 0
	for range 20000 {
		var counts [16]byte
		total := 0
		for range 1 + r.IntN(6) {
			i := r.IntN(16)
			n := r.IntN(1 << min(i+1, 6))
			total += n - int(counts[i])
			counts[i] = byte(n)
		}
		if total > 256 {
			continue
		}
		var fast table
		if plain := same(t, &fast, counts, make([]byte, total)); plain != nil {
			valid++
			for key := range plain {
				if length, _ := fast.code(uint64(key[1]) << (64 - key[0])); int(length) != key[0] {
					t.Fatalf("%v: code %b of %d bits is found with %d", counts, key[1], key[0], length)
				}
			}
		}
	}
	if valid < 1000 {
		t.Errorf("only %d tables were valid", valid)
	}
}

// TestBandsAgainstPlain does the same for the AC scans of progressive pictures.
func TestBandsAgainstPlain(t *testing.T) {
	rounds := 5000
	if testing.Short() {
		rounds = 2000
	}
	outcome := map[string]int{}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 4))
		d := newDecoder(nil, Options{})
		d.info.Precision, d.info.Height = 8, 8
		refine := r.IntN(3) > 0
		counts, symbols := randomTable(r, false)
		for i := range symbols {
			switch {
			case r.IntN(5) == 0:
				symbols[i] = byte(r.IntN([]int{3, 15}[r.IntN(2)])) << 4 // ended bands
			case !refine && r.IntN(20) == 0:
				symbols[i] = byte(r.IntN(2))<<4 | byte(9+r.IntN(4)) // about the largest
			case refine && r.IntN(100) > 0 && symbols[i]&15 > 0:
				symbols[i] = symbols[i]&0xF0 | 1
			}
		}
		table := same(t, &d.ac[0], counts, symbols)
		if table == nil {
			continue
		}
		ss := 1 + r.IntN(10)
		se := ss + r.IntN(64-ss)
		if r.IntN(3) == 0 {
			ss, se = 1, 63
		}
		data := make([]byte, 1+r.IntN(300))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		before := make([]uint64, 1+r.IntN(400))
		density := r.IntN(4)
		for i := range before {
			if refine {
				before[i] = r.Uint64()
				for range density {
					before[i] |= r.Uint64()
				}
				if density == 0 {
					before[i] &= r.Uint64() & r.Uint64()
				}
				before[i] &^= 1
			}
		}
		all := plainBand(&plainBits{bytes: data}, table, ss, se, refine, before, 8)
		// So many blocks as there are, where that does not split a run; or more.
		count := len(all)
		for count > 0 && all[count-1].eobRun > 0 {
			count--
		}
		sound := count > 0 && r.IntN(4) > 0
		if !sound {
			count = min(len(all)+1+r.IntN(3), len(before))
			sound = count <= len(all) && all[count-1].eobRun == 0
		}
		from := int64(r.IntN(2) * (maskBlocks - 3)) // the second piece is reached, too
		mask := masksOf(from, before[:count])
		s := scanHeader{ss: ss, se: se, comps: []scanComp{{c: &component{mask: mask}, ac: &d.ac[0]}}}
		d.src.r = bytes.NewReader(append(stuff(data), 0xFF, 0xD9))
		d.bits.begin()
		scan := d.acFirst
		if refine {
			scan = d.acRefine
		}
		_, st := scan(s, from, from+int64(count))
		name := fmt.Sprintf("seed %d, refine %v, %d to %d, %d of %d blocks", seed, refine, ss, se, count, len(all))
		if sound != (st == good) {
			t.Fatalf("%s: fast %v, plain %v", name, st == good, sound)
		}
		if !sound {
			outcome["bad"]++
			continue
		}
		outcome["good"]++
		if left := 8*len(data) - all[count-1].bit; d.bits.left() != left {
			t.Fatalf("%s: %d bits are left, want %d", name, d.bits.left(), left)
		}
		for i := range count {
			if got := mask.of(from + int64(i)); got != all[i].nz {
				t.Fatalf("%s: block %d is %b, want %b", name, i, got, all[i].nz)
			}
		}
		if *mask.zeros != (maskPiece{}) {
			t.Fatalf("%s: the piece of zeros was written to", name)
		}
	}
	t.Log(outcome)
	if outcome["good"] < rounds/10 || outcome["bad"] < rounds/10 {
		t.Errorf("it does not try both: %v", outcome)
	}
}

// masksOf are the masks of these blocks, which begin at block from.
func masksOf(from int64, blocks []uint64) masks {
	m := newMasks(int(from)+len(blocks), new(maskPiece))
	for i, b := range blocks {
		if b != 0 {
			m.add(from+int64(i), b)
		}
	}
	return m
}

// TestFirstDCAgainstPlain does the same for the first DC scan of progressive
// pictures (T.81 G.1.2.1).
func TestFirstDCAgainstPlain(t *testing.T) {
	outcome := map[string]int{}
	for seed := range 2000 {
		r := rand.New(rand.NewPCG(uint64(seed), 5))
		d := newDecoder(nil, Options{})
		d.info.Precision, d.info.Height = 8+4*r.IntN(2), 8
		d.frame = &frame{progressive: true}
		counts, symbols := randomTable(r, true)
		table := same(t, &d.dc[0], counts, symbols)
		if table == nil {
			continue
		}
		data := make([]byte, 1+r.IntN(200))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		var want []int
		bits, pred, al, ok := &plainBits{bytes: data}, 0, r.IntN(4), true
		blocks := 1 + r.IntN(60)
		for len(want) < blocks && ok {
			var size int
			if size, ok = bits.decode(table); !ok || size > d.info.Precision+3 {
				ok = false
				break
			}
			diff := bits.receive(size)
			if size > 0 && diff < 1<<(size-1) {
				diff += -1<<size + 1
			}
			pred += diff
			limit := 1 << (d.info.Precision + 3)
			ok = pred<<al >= -limit && pred<<al < limit && bits.at <= 8*len(data)
			want = append(want, pred<<al)
		}
		var got []int
		d.opts.DC = func(_, _ int, values []int16) {
			for _, v := range values {
				got = append(got, int(v))
			}
		}
		s := scanHeader{al: al, comps: []scanComp{{c: &component{h: 1, v: 1, blocks: [2]int{blocks, 1}}, dc: &d.dc[0]}}}
		if err := d.prepare(s, blocks); err != nil {
			t.Fatal(err)
		}
		d.src.r = bytes.NewReader(append(stuff(data), 0xFF, 0xD9))
		d.bits.begin()
		_, st := d.dcScan(s, 0, int64(blocks))
		if ok != (st == good) || ok && !slices.Equal(got, want) {
			t.Fatalf("seed %d: fast %v %v, plain %v %v", seed, st == good, got, ok, want)
		}
		outcome[fmt.Sprint(ok)]++
	}
	t.Log(outcome)
	if outcome["true"] < 100 || outcome["false"] < 100 {
		t.Errorf("it does not try both: %v", outcome)
	}
}
