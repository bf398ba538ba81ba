package vp8

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// FuzzAsReference: what is taken and refused, and the samples, are as of the peer.
func FuzzAsReference(f *testing.F) {
	for _, p := range pictures(f) {
		if o := optionsOf(p); o.Width*o.Height < 1<<14 {
			f.Add(p)
		}
	}
	r := rand.New(rand.NewPCG(2, 2))
	for range 8 {
		f.Add(randomPicture(r, 1+r.IntN(40), 1+r.IntN(40)))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < 10 {
			return
		}
		if o := optionsOf(p); o.Width*o.Height > 1<<14 {
			return
		}
		got, err := decode(p)
		want, bad := decodeReference(p)
		switch {
		case strange(p):
		case err == nil && bad != nil:
			t.Fatalf("it is sound, but %v", bad)
		case err == nil && filter(p) == 0 && !bytes.Equal(got, want):
			t.Fatal("it differs")
		case err != nil && bad == nil && !stricter(p):
			t.Fatalf("%v, but it decodes", err)
		}
	})
}

// strange pictures have a partition that begins with 255: its number is outside of
// the first interval, no encoder writes it, and decoders go different ways from
// there (libwebp's depends on the machine's words).
func strange(p []byte) bool {
	if len(p) > 10 && p[10] == 255 {
		return true
	}
	_, starts := places(p)
	for _, at := range starts {
		if at < len(p) && p[at] == 255 {
			return true
		}
	}
	return false
}

// stricter says whether p has what libwebp refuses and x/image does not: a version
// to come, a frame that is not shown, no size, or an empty partition.
func stricter(p []byte) bool {
	o := optionsOf(p)
	sizes, _ := places(p)
	for _, n := range sizes {
		if n <= 0 {
			return true
		}
	}
	return p[0]>>1&7 > 3 || p[0]>>4&1 == 0 || o.Width == 0 || o.Height == 0
}

// places are those of the partitions of coefficients.
func places(p []byte) (sizes, starts []int) {
	table := 10 + (int(p[0])>>5 | int(p[1])<<3 | int(p[2])<<11)
	if table > len(p) {
		return nil, nil
	}
	d := decoder{modes: newPartition(partition{buf: p[10:table]})}
	d.modes.number(2)
	d.readSegments()
	passFilter(&d.modes)
	count := 1 << d.modes.number(2)
	at := table + 3*(count-1)
	for i := range count {
		n := len(p) - at
		if i < count-1 && table+3*i+3 <= len(p) {
			n = int(p[table+3*i]) | int(p[table+3*i+1])<<8 | int(p[table+3*i+2])<<16
		}
		sizes, starts = append(sizes, n), append(starts, at)
		at += n
	}
	return sizes, starts
}
