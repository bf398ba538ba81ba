package vp8

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"
)

// TestCut cuts pictures at every byte. The table is what libwebp's decoder says, and
// where it is there, it is asked again.
func TestCut(t *testing.T) {
	for name, enough := range map[string]int{ // bytes
		"one.webp": 39, "more-partitions-than-rows.webp": 326, "plain.webp": 979, "partitions.webp": 1481, "wide.webp": 507,
	} {
		p := pictures(t)[name]
		for n := range len(p) + 1 {
			o := optionsOf(p)
			o.Bytes = int64(n)
			err := Check(bytes.NewReader(p[:n]), o)
			if (err == nil) != (n >= enough) || err != nil && err != io.ErrUnexpectedEOF {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, n, len(p), err)
			}
			// A promise of bytes that do not come changes nothing.
			if o.Bytes = int64(len(p)); Check(bytes.NewReader(p[:n]), o) != err {
				t.Fatalf("%s, %d bytes of which come: another error than %v", name, n, err)
			}
		}
	}
}

func TestCutAsLibwebp(t *testing.T) {
	for _, name := range []string{"one.webp", "more-partitions-than-rows.webp", "plain.webp", "partitions.webp", "wide.webp"} {
		p := pictures(t)[name]
		for n := 10; n <= len(p); n++ {
			if n > 60 && n < len(p)-12 && n%17 != 0 {
				continue
			}
			o := optionsOf(p)
			o.Bytes = int64(n)
			err := Check(bytes.NewReader(p[:n]), o)
			if _, ok := dwebp(t, container(p[:n])); ok != (err == nil) {
				t.Errorf("%s cut to %d of %d bytes: %v, libwebp decodes it: %v", name, n, len(p), err, ok)
			}
		}
	}
}

// TestFirstCut shortens the first partition alone.
func TestFirstCut(t *testing.T) {
	p := pictures(t)["plain.webp"]
	first := int(p[0])>>5 | int(p[1])<<3 | int(p[2])<<11
	o := optionsOf(p)
	for n := range first + 1 {
		short := slices.Concat(head(o.Width, o.Height, n), p[10:10+n], p[10+first:])
		o.Bytes = int64(len(short))
		err := Check(bytes.NewReader(short), o)
		if n == first && err != nil || n < first-2 && err != io.ErrUnexpectedEOF {
			t.Errorf("%d of %d bytes: %v", n, first, err)
		}
	}
}

// TestEmptyPartition: macroblocks without tokens need their partition all the same;
// libwebp wants a byte of it.
func TestEmptyPartition(t *testing.T) {
	for sizes, want := range map[[2]int]error{{1, 1}: nil, {0, 1}: io.ErrUnexpectedEOF, {1, 0}: io.ErrUnexpectedEOF} {
		c := &coder{span: 255}
		c.number(0, 14)
		c.number(1, 2) // partitions: 2
		c.number(0, 7+5+1)
		for _, a := range changeProbs {
			for _, b := range a {
				for _, probs := range b {
					for _, prob := range probs {
						c.put(prob, false)
					}
				}
			}
		}
		c.flag(true)
		c.number(1, 8)
		for range 2 { // macroblocks
			c.put(1, true) // no tokens
			c.put(145, true)
			c.put(156, false)
			c.put(163, false)
			c.put(142, false)
		}
		first := append(c.flush(), 0)
		p := slices.Concat(head(16, 32, len(first)), first, []byte{byte(sizes[0]), 0, 0}, make([]byte, sizes[0]+sizes[1]))
		if err := Check(bytes.NewReader(p), optionsOf(p)); err != want {
			t.Errorf("of %v bytes: %v", sizes, err)
		}
	}
}

// TestHead breaks what the head says.
func TestHead(t *testing.T) {
	good := pictures(t)["partitions.webp"]
	first := int(good[0])>>5 | int(good[1])<<3 | int(good[2])<<11
	table := 10 + first
	for name, c := range map[string]struct {
		change func(p []byte, o *Options)
		want   error
	}{
		"nothing":           {func([]byte, *Options) {}, nil},
		"scaling":           {func(p []byte, _ *Options) { p[7] |= 0x40; p[9] |= 0xC0 }, nil},
		"version 3":         {func(p []byte, _ *Options) { p[0] |= 3 << 1 }, nil},
		"version 4":         {func(p []byte, _ *Options) { p[0] |= 4 << 1 }, ErrInvalid},
		"no key frame":      {func(p []byte, _ *Options) { p[0] |= 1 }, ErrInvalid},
		"not shown":         {func(p []byte, _ *Options) { p[0] &^= 0x10 }, ErrInvalid},
		"mark":              {func(p []byte, _ *Options) { p[4]++ }, ErrInvalid},
		"wider":             {func(p []byte, _ *Options) { p[6]++ }, ErrInvalid},
		"lower":             {func(p []byte, _ *Options) { p[8]-- }, ErrInvalid},
		"no width":          {func(p []byte, o *Options) { p[6], o.Width = 0, 0 }, ErrInvalid},
		"no height":         {func(p []byte, o *Options) { p[8], o.Height = 0, 0 }, ErrInvalid},
		"first too long":    {func(p []byte, _ *Options) { p[2] = 0xFF }, io.ErrUnexpectedEOF},
		"first empty":       {func(p []byte, _ *Options) { p[0], p[1], p[2] = p[0]&31, 0, 0 }, io.ErrUnexpectedEOF},
		"one too long":      {func(p []byte, _ *Options) { p[table+2] = 1 }, io.ErrUnexpectedEOF},
		"one empty":         {func(p []byte, _ *Options) { p[table], p[table+1] = 0, 0 }, io.ErrUnexpectedEOF},
		"the last empty":    {func(p []byte, o *Options) { grow(p, table, lastSize(p, table)) }, io.ErrUnexpectedEOF},
		"the last 1 byte":   {func(p []byte, o *Options) { grow(p, table, lastSize(p, table)-1) }, io.ErrUnexpectedEOF},
		"bytes behind it":   {func(_ []byte, o *Options) { o.Bytes += 1000 }, nil},
		"half of the table": {func(_ []byte, o *Options) { o.Bytes = int64(table) + 9 }, io.ErrUnexpectedEOF},
	} {
		p := bytes.Clone(good)
		o := optionsOf(p)
		c.change(p, &o)
		r := io.LimitReader(io.MultiReader(bytes.NewReader(p), bytes.NewReader(make([]byte, 1000))), o.Bytes)
		if err := Check(r, o); err != c.want {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
}

// lastSize is the size of the last of 8 partitions, and grow makes the first of them
// longer at its cost.
func lastSize(p []byte, table int) int {
	left := len(p) - table - 21
	for i := range 7 {
		left -= int(p[table+3*i]) | int(p[table+3*i+1])<<8
	}
	return left
}

func grow(p []byte, table, by int) {
	n := int(p[table]) | int(p[table+1])<<8 + by
	p[table], p[table+1] = byte(n), byte(n>>8)
}

// TestHold: only what lies before the last partition is held, and asked for.
func TestHold(t *testing.T) {
	list := pictures(t)
	for name, most := range map[string]int64{"plain.webp": 0, "partitions.webp": 1100} {
		p, held := list[name], int64(0)
		o := optionsOf(p)
		o.Hold = func(n int64) error { held += n; return nil }
		if err := Check(iotest.OneByteReader(bytes.NewReader(p)), o); err != nil || held > most || most > 0 && held < most/2 {
			t.Errorf("%s: %v, %d bytes are held", name, err, held)
		}
	}
	o := optionsOf(list["partitions.webp"])
	no := errors.New("no")
	o.Hold = func(int64) error { return no }
	if err := Check(bytes.NewReader(list["partitions.webp"]), o); err != no {
		t.Errorf("it goes on: %v", err)
	}
	// What is not there is not asked for.
	p := flat(16, 16, 3, 100_000)
	p = p[:len(p)-100_000]
	o = optionsOf(p)
	o.Hold = func(int64) error { return no }
	if err := Check(bytes.NewReader(p), o); err != io.ErrUnexpectedEOF {
		t.Errorf("partitions that are not there: %v", err)
	}
}

// TestReaderFails: an error of the reader is not taken for the picture's.
func TestReaderFails(t *testing.T) {
	p := pictures(t)["partitions.webp"]
	broken := errors.New("broken")
	for n := 0; n < len(p)-20; n += 13 {
		r := io.MultiReader(bytes.NewReader(p[:n]), iotest.ErrReader(broken))
		if err := Check(r, optionsOf(p)); err != broken {
			t.Fatalf("broken after %d bytes: %v", n, err)
		}
	}
}

// flat is a picture of zeros, which decode: one of the coefficients' partitions at
// least is as long as asked for.
func flat(width, height, logParts, bytesEach int) []byte {
	const first = 1<<19 - 1
	c := &coder{span: 255}
	c.number(0, 14)
	c.number(logParts, 2)
	p := head(width, height, first)
	p = append(p, c.flush()...)
	p = append(p, make([]byte, 10+first-len(p))...)
	for range 1<<logParts - 1 {
		p = append(p, byte(bytesEach), byte(bytesEach>>8), byte(bytesEach>>16))
	}
	return append(p, make([]byte, bytesEach<<logParts)...)
}

// TestMemory counts all that is ever allocated.
func TestMemory(t *testing.T) {
	for name, c := range map[string]struct {
		p      []byte
		rows   bool
		mostMB uint64
		want   error
	}{
		"16,000 x 4,000":           {flat(16000, 4000, 0, 2<<20), false, 1, nil},
		"16,383 x 1,000 with rows": {flat(16383, 1000, 0, 1<<20), true, 2, nil},
		"partitions":               {flat(16383, 1000, 3, 1<<20), true, 9, nil},
		"too long":                 {flat(16383, 1000, 3, 2<<20), false, 1, ErrTooMuch},
	} {
		o := optionsOf(c.p)
		rows := 0
		if c.rows {
			o.Row = func(int, int, []byte) { rows++ }
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := Check(bytes.NewReader(c.p), o)
		runtime.ReadMemStats(&after)
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; err != c.want || mb > c.mostMB || c.rows && rows != 2*o.Height {
			t.Errorf("%s: %v, %d MB, %d rows", name, err, mb, rows)
		}
	}
}
