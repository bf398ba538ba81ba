package validate

import (
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

// lossyWebP is a sound lossy picture of zeros: with bytesEach above 0, eight
// partitions of so many bytes, else one of 1 MB. rest are chunks behind it.
func lossyWebP(width, height, bytesEach int, rest ...[]byte) []byte {
	const first = 1<<19 - 1
	p := []byte{first << 5 & 0xFF, first >> 3 & 0xFF, first >> 11, 0x9D, 0x01, 0x2A,
		byte(width), byte(width >> 8), byte(height), byte(height >> 8)}
	p[0] |= 0x10 // shown
	p = append(p, make([]byte, first)...)
	if bytesEach == 0 {
		p = append(p, make([]byte, 1<<20)...)
	} else {
		p[11] = 3 // the fifteenth and the sixteenth bit, at even chances, are how many there are
		for range 7 {
			p = append(p, byte(bytesEach), byte(bytesEach>>8), byte(bytesEach>>16))
		}
		p = append(p, make([]byte, 8*bytesEach)...)
	}
	return webpOf(append([][]byte{webpChunk("VP8 ", p)}, rest...)...)
}

func webpChunk(name string, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body)))
	b = append(b, body...)
	return append(b, make([]byte, len(body)&1)...)
}

func webpOf(chunks ...[]byte) []byte {
	body := slices.Concat(chunks...)
	return slices.Concat(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(4+len(body))), []byte("WEBP"), body)
}

// TestLossyMemory: what a lossy picture claims does not matter, with a thumbnail and
// without; of partitions that take turns, all but the last are held.
func TestLossyMemory(t *testing.T) {
	for _, c := range []struct {
		width, height, bytesEach int
		thumb                    bool
		mostMB                   uint64
		proof                    broker.Proof
	}{
		{16383, 3000, 0, false, 3, broker.ProofFull},
		{16383, 1500, 0, true, 8, broker.ProofFull},
		{16383, 1500, 1 << 20, true, 16, broker.ProofFull},
		{16383, 1500, 2 << 20, true, 8, broker.ProofStructure},
	} {
		b := lossyWebP(c.width, c.height, c.bytesEach)
		want := recon()
		want.Thumb = c.thumb
		var v broker.Verdict
		mb := grownMB(func() { v = judge(t, b, want) })
		if mb > c.mostMB || !v.Sound() || v.Facts.Proof != c.proof || (v.Thumb != nil) != (c.thumb && c.proof == broker.ProofFull) {
			t.Errorf("%+v: %d MB, %v, %+v", c, mb, v.Reasons, v.Facts)
		}
	}
}

// TestLossyBudget: partitions that are held are taken from the budget, and given back.
func TestLossyBudget(t *testing.T) {
	b := lossyWebP(160, 160, 100_000)
	for total, proof := range map[int64]broker.Proof{100_000: broker.ProofStructure, 700_000: broker.ProofFull} {
		want := recon()
		want.Budget = NewBudget(total)
		v := judge(t, b, want)
		notes := strings.Join(v.Facts.Notes, " ")
		if !v.Sound() || v.Facts.Proof != proof || strings.Contains(notes, "worker.memory") != (proof == broker.ProofStructure) {
			t.Errorf("%d bytes: %v %+v", total, v.Reasons, v.Facts)
		}
		if !want.Budget.sem.TryAcquire(total) {
			t.Errorf("%d bytes: not all was given back", total)
		}
	}
}

// TestLossyEnds: a lossy picture whose codes pass its chunk is refused; what it does
// not use of the chunk is passed, and the byte that pads it is no fault.
func TestLossyEnds(t *testing.T) {
	whole := testdata(t, "lossy.webp")
	picture := whole[20:]
	picture = picture[:binary.LittleEndian.Uint32(whole[16:])]
	xmp := webpChunk("XMP ", []byte(djiXMP))
	for name, c := range map[string]struct {
		body  []byte
		sound bool
	}{
		"whole":       {picture, true},
		"half":        {picture[:len(picture)/2], false},
		"10 bytes":    {picture[:10], false},
		"not shown":   {append([]byte{picture[0] &^ 0x10}, picture[1:]...), false},
		"bytes after": {slices.Concat(picture, make([]byte, 100_001)), true},
	} {
		v := judge(t, webpOf(webpChunk("VP8 ", c.body), xmp), recon())
		if v.Sound() != c.sound || c.sound && (v.Facts.Proof != broker.ProofFull || v.Facts.Gimbal == nil) {
			t.Errorf("%s: %v %+v", name, v.Reasons, v.Facts)
		}
		if !c.sound && !slices.Equal(codes(v), []broker.ReasonCode{broker.ReasonCorrupt}) {
			t.Errorf("%s: %v", name, v.Reasons)
		}
	}
	file, err := os.ReadFile("internal/vp8/testdata/more-partitions-than-rows.webp")
	if err != nil {
		t.Fatal(err)
	}
	const enough = 326 // bytes of it, libwebp says
	for n, sound := range map[int]bool{enough: true, enough - 1: true, enough - 2: false} {
		padded := webpOf(webpChunk("VP8 ", file[20:][:n]))
		if v := judge(t, padded, recon()); v.Sound() != sound {
			t.Errorf("%d bytes, padded: %v", n, v.Reasons)
		}
		if n&1 == 1 {
			bare := webpOf(padded[12 : len(padded)-1])
			if v := judge(t, bare, recon()); v.Sound() {
				t.Errorf("%d bytes, not padded: %+v", n, v.Facts)
			}
		}
	}
}
