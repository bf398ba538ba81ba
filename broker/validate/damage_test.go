package validate

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // as the product does
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// sample is a sound file whose damage must be seen.
type sample struct {
	named
	end int // of the picture: previews may follow
}

// samples are generated pictures of the kinds that cameras write, and some photos
// where there are any. Those of cjpeg are left out without it.
func samples(t *testing.T) []sample {
	m := noise(640, 480)
	list := []named{{"baseline", jpegFile(t, m)}}
	t.Run("cjpeg", func(t *testing.T) {
		list = append(list,
			named{"restart", cjpeg(t, m, "-quality", "90", "-restart", "1")},
			named{"restart 4:4:4", cjpeg(t, m, "-quality", "85", "-sample", "1x1", "-restart", "7B", "-optimize")},
			named{"progressive", cjpeg(t, m, "-quality", "85", "-progressive")},
			named{"grey", cjpeg(t, m, "-quality", "85", "-grayscale")})
	})
	if !testing.Short() {
		t.Run("photos", func(t *testing.T) {
			for i, path := range photos(t) {
				if i%5 == 0 {
					file, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					list = append(list, named{filepath.Base(path), file})
				}
			}
		})
	}
	// One with previews behind its end, as half of all photos have them.
	list = append(list, named{"trailed", slices.Concat(list[0].file, list[0].file[:9000], jpegFile(t, noise(32, 32)))})
	var all []sample
	for _, n := range list {
		v := judge(t, n.file, recon())
		if !v.Sound() {
			t.Fatalf("%s: %v", n.name, v.Reasons)
		}
		all = append(all, sample{n, len(n.file) - int(v.Facts.TrailingB)})
	}
	return all
}

// scanFrom is where the data of the first scan begins.
func (s sample) scanFrom() int { return headers(s.file) }

// restarts are the places of the restart markers of the picture.
func (s sample) restarts() []int {
	from := s.scanFrom()
	at := markers(s.file[from:s.end], 0xD0, 0xD7)
	for i := range at {
		at[i] += from
	}
	return at
}

// dimension changes a figure of the picture's own frame header, which in photos is
// not the first in the file: a preview may stand in the EXIF block.
func dimension(b []byte, field int, change func(v uint16) uint16) []byte {
	for _, i := range segmentsOf(b) {
		if b[i+1] >= 0xC0 && b[i+1] <= 0xC2 {
			binary.BigEndian.PutUint16(b[i+field:], change(binary.BigEndian.Uint16(b[i+field:])))
		}
	}
	return b
}

// tables lets f change each Huffman table: its class and number, and its symbols.
func tables(b []byte, f func(id *byte, counts, symbols []byte)) []byte {
	for _, i := range segmentsOf(b) {
		if b[i+1] != 0xC4 {
			continue
		}
		for p := b[i+4 : i+2+int(binary.BigEndian.Uint16(b[i+2:]))]; len(p) > 17; {
			n := 17
			for _, c := range p[1:17] {
				n += int(c)
			}
			f(&p[0], p[1:17], p[17:n])
			p = p[n:]
		}
	}
	return b
}

const (
	truncated = broker.ReasonTruncated
	corrupt   = broker.ReasonCorrupt
)

// damages are the ways in which uploads go wrong. do gets a copy, and gives nil
// when the sample can't be damaged so.
var damages = []struct {
	name  string
	times int // 0: once
	want  []broker.ReasonCode
	do    func(r *rand.Rand, s sample, b []byte) []byte
}{
	{"cut", 6, []broker.ReasonCode{truncated}, func(r *rand.Rand, s sample, b []byte) []byte { return b[:4+r.IntN(s.end-4)] }},
	{"cut in the headers", 3, []broker.ReasonCode{truncated}, func(r *rand.Rand, s sample, b []byte) []byte { return b[:4+r.IntN(s.scanFrom()-4)] }},
	{"cut near the end", 3, []broker.ReasonCode{truncated}, func(r *rand.Rand, s sample, b []byte) []byte { return b[:s.end-1-r.IntN(64)] }},
	{"no end marker", 1, []broker.ReasonCode{truncated}, func(_ *rand.Rand, s sample, b []byte) []byte { return b[:s.end-2] }},
	{"half, with an end marker", 1, []broker.ReasonCode{truncated, corrupt}, func(_ *rand.Rand, s sample, b []byte) []byte {
		return append(b[:s.scanFrom()+(s.end-s.scanFrom())/2], 0xFF, 0xD9)
	}},
	{"512 zeros", 3, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte { clear(block(r, s, b, 512)); return b }},
	{"4 KB of zeros", 3, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte { clear(block(r, s, b, 4096)); return b }},
	{"zeros to the end", 1, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte {
		clear(b[s.scanFrom()+r.IntN(s.end-s.scanFrom()-512):])
		return b
	}},
	{"4 KB of ones", 1, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte {
		p := block(r, s, b, 4096)
		for i := range p {
			p[i] = 0xFF
		}
		return b
	}},
	{"4 KB at random", 3, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte {
		p := block(r, s, b, 4096)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return b
	}},
	{"4 KB lost", 3, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte {
		i := s.scanFrom() + r.IntN(s.end-s.scanFrom()-4200)
		return append(b[:i], b[i+4096:]...)
	}},
	{"4 KB twice", 3, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte {
		i := s.scanFrom() + r.IntN(s.end-s.scanFrom()-4200)
		return append(bytes.Clone(b[:i+4096]), b[i:]...)
	}},
	{"blocks swapped", 3, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte {
		n := min(64<<10, (s.end-s.scanFrom())/5)
		half := (s.end - s.scanFrom()) / 2
		i := s.scanFrom() + r.IntN(half-n)
		j := i + half
		old := bytes.Clone(b[i : i+n])
		copy(b[i:i+n], b[j:j+n])
		copy(b[j:], old)
		return b
	}},
	{"64 rows less", 1, []broker.ReasonCode{corrupt}, func(_ *rand.Rand, _ sample, b []byte) []byte {
		return dimension(b, 5, func(v uint16) uint16 { return v - 64 })
	}},
	{"64 rows more", 1, []broker.ReasonCode{truncated, corrupt}, func(_ *rand.Rand, _ sample, b []byte) []byte {
		return dimension(b, 5, func(v uint16) uint16 { return v + 64 })
	}},
	{"64 columns less", 1, []broker.ReasonCode{corrupt, truncated}, func(_ *rand.Rand, _ sample, b []byte) []byte {
		return dimension(b, 7, func(v uint16) uint16 { return v - 64 })
	}},
	{"AC tables exchanged", 1, []broker.ReasonCode{corrupt, truncated}, func(_ *rand.Rand, s sample, b []byte) []byte {
		n := 0
		tables(b, func(id *byte, _, _ []byte) {
			if *id>>4 == 1 {
				*id ^= 1
				n++
			}
		})
		if n < 2 { // a grey picture has one, a progressive one has them before later scans
			return nil
		}
		return b
	}},
	{"tables reversed", 1, []broker.ReasonCode{corrupt, truncated}, func(_ *rand.Rand, _ sample, b []byte) []byte {
		return tables(b, func(_ *byte, _, symbols []byte) { slices.Reverse(symbols) })
	}},
	{"tables of zeros", 1, []broker.ReasonCode{corrupt, truncated}, func(_ *rand.Rand, _ sample, b []byte) []byte {
		return tables(b, func(_ *byte, _, symbols []byte) { clear(symbols) })
	}},
	{"tables lost", 1, []broker.ReasonCode{corrupt}, func(_ *rand.Rand, _ sample, b []byte) []byte {
		for _, i := range slices.Backward(segmentsOf(b)) {
			if b[i+1] == 0xC4 {
				b = append(b[:i], b[i+2+int(binary.BigEndian.Uint16(b[i+2:])):]...)
			}
		}
		return b
	}},
	{"restart marker lost", 2, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte {
		return restart(r, s, func(at []int, i int) []byte { return append(b[:at[i]], b[at[i]+2:]...) })
	}},
	{"restart interval lost", 2, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte {
		return restart(r, s, func(at []int, i int) []byte { return append(b[:at[i]], b[at[i+1]:]...) })
	}},
	{"restart markers exchanged", 2, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte {
		return restart(r, s, func(at []int, i int) []byte { b[at[i]+1], b[at[i+1]+1] = b[at[i+1]+1], b[at[i]+1]; return b })
	}},
	{"8 restart intervals lost", 1, []broker.ReasonCode{corrupt, truncated}, func(r *rand.Rand, s sample, b []byte) []byte {
		at := s.restarts()
		if len(at) < 10 {
			return nil
		}
		i := r.IntN(len(at) - 8)
		return append(b[:at[i]], b[at[i+8]:]...)
	}},
	{"a second picture inside", 1, []broker.ReasonCode{corrupt}, func(r *rand.Rand, s sample, b []byte) []byte {
		return append(bytes.Clone(b[:s.scanFrom()+r.IntN(s.end-s.scanFrom())]), b...)
	}},
	{"a bomb", 1, []broker.ReasonCode{broker.ReasonTooManyPixels}, func(_ *rand.Rand, _ sample, b []byte) []byte {
		for _, field := range []int{5, 7} {
			dimension(b, field, func(uint16) uint16 { return 65500 })
		}
		return b
	}},
	{"text", 1, []broker.ReasonCode{broker.ReasonUnsupportedFormat}, func(*rand.Rand, sample, []byte) []byte {
		return []byte("<html>502 Bad Gateway</html>\n")
	}},
	{"nothing", 1, []broker.ReasonCode{broker.ReasonEmpty}, func(*rand.Rand, sample, []byte) []byte { return []byte{} }},
	{"all zeros", 1, []broker.ReasonCode{broker.ReasonUnsupportedFormat}, func(_ *rand.Rand, _ sample, b []byte) []byte { clear(b); return b }},
}

// block is a part of the picture's data.
func block(r *rand.Rand, s sample, b []byte, n int) []byte {
	i := s.scanFrom() + r.IntN(s.end-2-s.scanFrom()-n)
	return b[i : i+n]
}

func restart(r *rand.Rand, s sample, do func(at []int, i int) []byte) []byte {
	at := s.restarts()
	if len(at) < 3 {
		return nil
	}
	return do(at, r.IntN(len(at)-1))
}

// TestJPEGDamage: nothing slips. The file's own checksum, where it is declared, tells
// every damage; the picture alone tells each of these.
func TestJPEGDamage(t *testing.T) {
	tried := map[string]int{}
	for _, s := range samples(t) {
		seed := uint64(len(s.file))
		want := recon()
		want.Name = s.name + ".jpg"
		for _, d := range damages {
			r := rand.New(rand.NewPCG(seed, uint64(len(d.name))))
			for range max(d.times, 1) {
				file := d.do(r, s, bytes.Clone(s.file))
				if file == nil {
					continue
				}
				tried[d.name]++
				v := judge(t, file, want)
				if v.Sound() || !slices.Contains(d.want, v.Reasons[0].Code) {
					t.Errorf("%s, %s: %v, want one of %v", s.name, d.name, v.Reasons, d.want)
				}
				if v.SHA1 != broker.SHA1(sha1.Sum(file)) || v.Size != int64(len(file)) { //nolint:gosec // see above
					t.Errorf("%s, %s: the checksum is not of the whole file", s.name, d.name)
				}
			}
		}
	}
	for _, d := range damages {
		t.Logf("%4d x %s", tried[d.name], d.name)
	}
}
