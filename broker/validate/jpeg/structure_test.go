package jpeg

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestNumberOfLines gives heights behind the first scan (T.81 B.2.5).
func TestNumberOfLines(t *testing.T) {
	files := testdata(t)
	delete(files, "arithmetic.jpg")
	files["of Go"] = picture(t, 111, 96, 90, 4)
	for name, b := range files {
		whole := rows{t: t}
		in, err := Check(bytes.NewReader(b), whole.options())
		if err != nil {
			t.Fatal(name, err)
		}
		list := pieces(t, b)
		frame := slices.IndexFunc(list, func(p piece) bool { return p.marker >= 0xC0 && p.marker <= 0xC2 })
		scan := scansOf(list)[0]
		build := func(height int, dnl ...piece) []byte {
			l := slices.Clone(list)
			l[frame].bytes = bytes.Clone(l[frame].bytes)
			binary.BigEndian.PutUint16(l[frame].bytes[5:], uint16(height))
			return join(slices.Insert(l, scan+1, dnl...))
		}
		dnl := func(height int) piece { return segmentOf(0xDC, byte(height>>8), byte(height)) }

		got := rows{t: t}
		file := build(0, dnl(in.Height))
		late, err := Check(bytes.NewReader(file), got.options())
		if err != nil || late.Height != in.Height || got.info.Height != 0 || got.info.Width != in.Width || late.End != int64(len(file)) {
			t.Errorf("%s: %+v, %v", name, late, err)
		}
		for i := range in.Comps {
			if !slices.EqualFunc(got.got[i], whole.got[i], slices.Equal) {
				t.Errorf("%s: component %d has %d rows, with the height in the frame %d", name, i, len(got.got[i]), len(whole.got[i]))
			}
		}
		for n := 0; n < len(file); n += 11 {
			if _, err := Check(bytes.NewReader(file[:n]), Options{}); kindOf(err) != Truncated {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, n, len(file), err)
			}
		}
		other := in.Height + 64
		for what, c := range map[string]struct {
			file []byte
			o    Options
			want Kind
		}{
			"twice the same":     {build(in.Height, dnl(in.Height)), Options{}, 0},
			"none":               {build(0), Options{}, Corrupt},
			"another":            {build(0, dnl(other)), Options{}, Corrupt},
			"less":               {build(0, dnl(in.Height/2)), Options{}, Corrupt},
			"0":                  {build(0, dnl(0)), Options{}, Corrupt},
			"behind a zero":      {build(0, piece{0, []byte{0}}, dnl(in.Height)), Options{}, Corrupt},
			"of 3 bytes":         {build(0, segmentOf(0xDC, 0, 1, 2)), Options{}, Corrupt},
			"against the frame":  {build(in.Height, dnl(other)), Options{}, Corrupt},
			"not right behind":   {build(0, segmentOf(0xFE, 1), dnl(in.Height)), Options{}, Corrupt},
			"too many pixels":    {build(0, dnl(in.Height)), Options{MaxPixels: int64(in.Width * in.Height / 2)}, TooManyPixels},
			"more than its rows": {build(0, dnl(in.Height)), Options{MaxPixels: int64(in.Width*in.Height - 1)}, TooManyPixels},
			"before the scan":    {join(slices.Insert(slices.Clone(list), scan, dnl(in.Height))), Options{}, Corrupt},
		} {
			if _, err := Check(bytes.NewReader(c.file), c.o); kindOf(err) != c.want || err != nil && c.want == 0 {
				t.Errorf("%s, height %s: %v", name, what, err)
			}
		}
	}
}

// TestProgression moves the scans of a progressive picture about (T.81 G.1.1.1).
func TestProgression(t *testing.T) {
	list := pieces(t, testdata(t)["progressive.jpg"])
	at := scansOf(list)
	head := func(i int) []byte { // ss, se, ah and al of a scan
		b := list[at[i]].bytes
		return b[4+1+2*int(b[4]):][:3]
	}
	first, refined, dcAgain := -1, -1, -1 // a band of AC that is refined later
	for i := range at {
		switch h := head(i); {
		case h[0] > 0 && h[2]>>4 > 0 && refined < 0:
			refined = i
		case h[0] == 0 && h[2]>>4 > 0:
			dcAgain = i
		}
	}
	for i := range at[:refined] {
		if head(i)[0] == 1 && list[at[i]].bytes[5] == list[at[refined]].bytes[5] {
			first = i
			break
		}
	}
	if first < 0 || refined < 0 || dcAgain < 0 {
		t.Fatal("the picture has no such scans")
	}
	without := func(i int) []byte { return join(slices.Delete(slices.Clone(list), at[i], at[i]+1)) }
	twice := func(i int) []byte { return join(slices.Insert(slices.Clone(list), at[i], list[at[i]])) }
	last := len(at) - 1
	header := func(i, field int, v byte) []byte {
		l := slices.Clone(list)
		b := bytes.Clone(l[at[i]].bytes)
		b[4+1+2*int(b[4])+field] = v
		l[at[i]].bytes = b
		return join(l)
	}
	for name, c := range map[string]struct {
		file      []byte
		want      string // in the problem; "" when it is sound
		unrefined bool
	}{
		"as it is":                 {join(list), "", false},
		"last refinement missing":  {without(last), "", true},
		"DC refinement missing":    {without(dcAgain), "", true},
		"DC missing":               {without(0), "before its DC", false},
		"DC twice":                 {twice(0), "a second time", false},
		"AC twice":                 {twice(first), "a second time", false},
		"first AC missing":         {without(first), "out of order", false},
		"refined twice":            {twice(refined), "out of order", false},
		"DC refined twice":         {twice(dcAgain), "out of order", false},
		"band of DC and AC":        {header(0, 1, 5), "can't have coefficients", false},
		"band beyond the block":    {header(first, 1, 64), "can't have coefficients", false},
		"band upside down":         {header(first, 0, 63), "can't have coefficients", false},
		"shift of 14":              {header(first, 2, 14), "can't have coefficients", false},
		"refinement of two bits":   {header(refined, 2, 0x31), "can't have coefficients", false},
		"refinement of other bits": {header(refined, 2, 0x43), "out of order", false},
		"only DC":                  {join(append(slices.Clone(list[:at[0]+1]), list[len(list)-1])), "", true},
	} {
		in, err := Check(bytes.NewReader(c.file), Options{})
		if c.want == "" && (err != nil || in.Unrefined != c.unrefined) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, %v", name, in.Unrefined, err)
		}
	}
}

// TestSegments tries what may stand in segments.
func TestSegments(t *testing.T) {
	list := pieces(t, picture(t, 64, 48, 80, 1))
	with := func(more ...piece) []byte { return join(slices.Insert(slices.Clone(list), 1, more...)) }
	change := func(marker byte, f func(b []byte) []byte) []byte {
		l := slices.Clone(list)
		i := find(l, marker)
		l[i].bytes = f(bytes.Clone(l[i].bytes))
		return join(l)
	}
	text := func(s string, more ...byte) []byte { return append([]byte(s), more...) }
	jfif := func(major byte) piece { return segmentOf(0xE0, text("JFIF\x00", major, 1, 0, 0, 1, 0, 1, 0, 0)...) }
	adobe := func(transform byte) piece { return segmentOf(0xEE, text("Adobe\x00", 100, 0, 0, 0, 0, transform)...) }
	icc := func(n, of byte, s string) piece {
		return segmentOf(0xE2, append(text("ICC_PROFILE\x00", n, of), s...)...)
	}
	var large []piece
	for i := range byte(17) {
		large = append(large, icc(i+1, 17, strings.Repeat("x", 65000)))
	}
	for name, c := range map[string]struct {
		file  []byte
		kind  Kind
		holds func(in Info) bool
	}{
		"nothing": {with(), 0, func(in Info) bool {
			return in.Adobe == -1 && !in.JFIF && in.ICC == nil && in.XMP == nil && in.Exif == nil && len(in.Comps) == 3 &&
				in.Comps[0].H == 2 && in.Comps[0].V == 2 && in.Comps[1].H == 1 && in.Comps[2].ID == 3
		}},
		"JFIF":              {with(jfif(1)), 0, func(in Info) bool { return in.JFIF }},
		"JFIF 7":            {with(jfif(7)), Corrupt, nil},
		"JFIF thumbnail":    {with(segmentOf(0xE0, text("JFXX\x00", 0x10)...)), 0, func(in Info) bool { return !in.JFIF }},
		"Adobe":             {with(adobe(1)), 0, func(in Info) bool { return in.Adobe == 1 }},
		"Adobe RGB":         {with(adobe(0)), 0, func(in Info) bool { return in.Adobe == 0 }},
		"Adobe 9":           {with(adobe(9)), Corrupt, nil},
		"Adobe 9 with JFIF": {with(jfif(1), adobe(9)), 0, func(in Info) bool { return in.Adobe == 9 }},
		"short Adobe":       {with(segmentOf(0xEE, text("Adobe")...)), 0, func(in Info) bool { return in.Adobe == -1 }},
		"EXIF and XMP": {with(segmentOf(0xE1, text("Exif\x00\x00II*")...), segmentOf(0xE1, text("http://ns.adobe.com/xap/1.0/\x00<x/>")...),
			segmentOf(0xE1, text("Exif\x00\x00second")...)), 0,
			func(in Info) bool { return string(in.Exif) == "II*" && string(in.XMP) == "<x/>" }},
		"ICC":                {with(icc(2, 2, "world"), icc(1, 2, "hello ")), 0, func(in Info) bool { return string(in.ICC) == "hello world" }},
		"ICC not whole":      {with(icc(1, 2, "hello ")), 0, func(in Info) bool { return in.ICC == nil }},
		"ICC number twice":   {with(icc(1, 2, "a"), icc(1, 2, "b")), 0, func(in Info) bool { return in.ICC == nil }},
		"ICC number 0":       {with(icc(0, 1, "a")), 0, func(in Info) bool { return in.ICC == nil }},
		"ICC counts differ":  {with(icc(1, 2, "a"), icc(2, 3, "b")), 0, func(in Info) bool { return in.ICC == nil }},
		"ICC without a part": {with(segmentOf(0xE2, text("ICC_PROFILE\x00")...)), 0, func(in Info) bool { return in.ICC == nil }},
		"ICC too large":      {with(large...), 0, func(in Info) bool { return in.ICC == nil }},
		"reserved marker":    {with(segmentOf(0x30, 1)), Corrupt, nil},
		"TEM":                {with(piece{1, []byte{0xFF, 1}}), 0, nil},
		"extension":          {with(segmentOf(0xF7, 1)), Unsupported, nil},
		"hierarchical":       {with(segmentOf(0xDE, 1)), Unsupported, nil},
		"length 1":           {with(piece{0xE5, []byte{0xFF, 0xE5, 0, 1}}), Corrupt, nil},
		"fill bytes":         {with(piece{0, []byte{0xFF, 0xFF, 0xFF}}), 0, nil},
		"zeros":              {with(piece{0, []byte{0, 0, 0}}), 0, func(in Info) bool { return in.PaddingBytes == 3 }},
		"other bytes":        {with(piece{0, []byte{0, 7}}), Corrupt, nil},
		"interval of 3":      {with(segmentOf(0xDD, 0, 0, 1)), Corrupt, nil},
		"conditioning":       {with(segmentOf(0xCC, 0, 0x10)), 0, nil},
		"bad conditioning":   {with(segmentOf(0xCC, 0x10, 0)), Corrupt, nil},
		"zero step":          {change(0xDB, func(b []byte) []byte { b[5+7] = 0; return b }), Corrupt, nil},
		"16-bit steps": {change(0xDB, func(b []byte) []byte {
			p := []byte{}
			for i := range 2 {
				p = append(p, 0x10|byte(i))
				for _, v := range b[5+65*i:][:64] {
					p = append(p, 0, v)
				}
			}
			return segmentOf(0xDB, p...).bytes
		}), 0, nil},
		"12 bits": {change(0xC0, func(b []byte) []byte { b[1], b[4] = 0xC1, 12; return b }), 0,
			func(in Info) bool { return in.Precision == 12 && in.Process == "extended sequential" }},
		"code of ones":                {with(segmentOf(0xC4, append(append([]byte{3, 2}, make([]byte, 15)...), 1, 2)...)), Corrupt, nil},
		"empty table":                 {with(segmentOf(0xC4, append([]byte{3}, make([]byte, 16)...)...)), 0, nil},
		"sequential scan with a band": {change(0xDA, func(b []byte) []byte { b[12] = 5; return b }), Corrupt, nil},
		"component twice":             {change(0xDA, func(b []byte) []byte { b[7] = b[5]; return b }), Corrupt, nil},
		"table 7":                     {change(0xDA, func(b []byte) []byte { b[6] = 0x70; return b }), Corrupt, nil},
		"11 blocks an MCU":            {change(0xC0, func(b []byte) []byte { b[11] = 0x33; return b }), Corrupt, nil},
	} {
		in, err := Check(bytes.NewReader(c.file), Options{})
		if kindOf(err) != c.kind || err != nil && c.kind == 0 || c.holds != nil && !c.holds(in) {
			t.Errorf("%s: %+v, %v", name, in, err)
		}
	}
}

// TestRestarts tries what may stand at restart markers (T.81 E.1.4 and E.2.4).
func TestRestarts(t *testing.T) {
	b := testdata(t)["restart.jpg"]
	var at []int
	for i := bytes.Index(b, []byte{0xFF, 0xDA}); i+1 < len(b); i++ {
		if b[i] == 0xFF && b[i+1] >= 0xD0 && b[i+1] <= 0xD7 {
			at = append(at, i)
		}
	}
	if len(at) < 9 {
		t.Fatalf("%d restart markers", len(at))
	}
	put := func(i int, more ...byte) []byte { return slices.Insert(bytes.Clone(b), i, more...) }
	for name, c := range map[string]struct {
		file []byte
		want Kind
	}{
		"fill bytes":       {put(at[4], 0xFF, 0xFF), 0},
		"zeros":            {put(at[4], 0), Corrupt},
		"stuffed":          {put(at[4], 0xFF, 0), Corrupt},
		"data":             {put(at[4], 1, 2, 3), Corrupt},
		"marker lost":      {slices.Delete(bytes.Clone(b), at[4], at[4]+2), Corrupt},
		"marker twice":     {put(at[4], b[at[4]:at[4]+2]...), Corrupt},
		"interval lost":    {slices.Delete(bytes.Clone(b), at[4], at[5]), Corrupt},
		"interval twice":   {put(at[4], b[at[4]:at[5]]...), Corrupt},
		"8 intervals lost": {slices.Delete(bytes.Clone(b), at[0], at[8]), Truncated},
		"ends at a marker": {append(bytes.Clone(b[:at[4]]), 0xFF, 0xD9), Truncated},
		"one too many":     {put(len(b)-2, 0xFF, 0xD0+byte(len(at)&7)), 0}, // libjpeg passes it too
		"other marker":     {put(at[4], 0xFF, 0xC4), Corrupt},
	} {
		if _, err := Check(bytes.NewReader(c.file), Options{}); kindOf(err) != c.want || err != nil && c.want == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManyScans: runs over empty blocks cost a file nearly nothing and a decoder
// much.
func TestManyScans(t *testing.T) {
	const side, run = 2048, 32767
	const blocks = side / 8 * side / 8
	// The DC code 0 is a difference of 0. The AC code 0 ends the bands of 32,767
	// blocks with 14 ones, the code 10 that of one block.
	dc := segmentOf(0xC4, append(append([]byte{0x00, 1}, make([]byte, 15)...), 0)...)
	ac := segmentOf(0xC4, append(append([]byte{0x10, 1, 1}, make([]byte, 14)...), 0xE0, 0)...)
	bits := strings.Repeat("0"+strings.Repeat("1", 14), blocks/run) + strings.Repeat("10", blocks%run)
	var data []byte
	for ; len(bits) > 0; bits = bits[8:] {
		bits += strings.Repeat("1", max(8-len(bits), 0))
		v, err := strconv.ParseUint(bits[:8], 2, 8)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, byte(v))
	}
	scan := func(band, bits byte, data []byte) []byte {
		return append(segmentOf(0xDA, 1, 1, 0, band, band, bits).bytes, stuff(data)...)
	}
	file := join([]piece{{0xD8, []byte{0xFF, 0xD8}}, segmentOf(0xC2, 8, side>>8, side&255, side>>8, side&255, 1, 1, 0x11, 0),
		segmentOf(0xDB, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...), dc, ac})
	file = append(file, scan(0, 0, make([]byte, blocks/8))...)
	for band := byte(1); band < 64; band++ {
		file = append(file, scan(band, 1, data)...)
		file = append(file, scan(band, 0x10, data)...)
	}
	file = append(file, 0xFF, 0xD9)
	d := newDecoder(bytes.NewReader(file), Options{})
	if in, err := d.check(); err != nil || in.Unrefined || d.work != 127*blocks {
		t.Fatal(in.Unrefined, d.work, err)
	}
	d = newDecoder(bytes.NewReader(file), Options{})
	d.work = maxWork - 126*blocks
	if _, err := d.check(); kindOf(err) != Corrupt || !strings.Contains(err.Error(), "too many for its size") {
		t.Error(err)
	}
	// A run too long by one block, and one too short.
	for _, wrong := range []string{"1", "0"} {
		b := bytes.Clone(data)
		if wrong == "1" {
			b = append(b, data...)
		} else {
			b = b[:len(b)-1]
		}
		bad := append(append(bytes.Clone(file[:bytes.Index(file, scan(1, 1, data))]), scan(1, 1, b)...), 0xFF, 0xD9)
		if _, err := Check(bytes.NewReader(bad), Options{}); kindOf(err) == 0 {
			t.Errorf("run %s: %v", wrong, err)
		}
	}
}
