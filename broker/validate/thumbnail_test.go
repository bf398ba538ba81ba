package validate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate/thumb"
)

// turbo runs a program of libjpeg-turbo over bytes.
func turbo(t testing.TB, name string, in []byte, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if strings.Contains(os.Getenv("REQUIRE"), "djpeg") {
			t.Fatal(err)
		}
		t.Skipf("no %s (libjpeg-turbo-progs)", name)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(in)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil || words.Len() > 0 {
		t.Fatalf("%s %v: %v %s", name, args, err, words.String())
	}
	return out.Bytes()
}

// colours is a smooth picture without any symmetry, with a little texture.
func colours(width, height int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	r := rand.New(rand.NewPCG(2, 2))
	for y := range height {
		for x := range width {
			fx, fy := float64(x)/float64(width), float64(y)/float64(height)
			n := r.IntN(12)
			m.SetRGBA(x, y, color.RGBA{
				uint8(20 + 200*fx + float64(n)), uint8(20 + 200*fy*fy + float64(n)),
				uint8(120 + 90*math.Sin(7*fx+3*fy) + float64(n)), 255,
			})
		}
	}
	return m
}

func ppm(m *image.RGBA) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "P6 %d %d 255\n", m.Rect.Dx(), m.Rect.Dy())
	for i := 0; i < len(m.Pix); i += 4 {
		b.Write(m.Pix[i : i+3])
	}
	return b.Bytes()
}

// fromPNM reads what djpeg writes.
func fromPNM(t testing.TB, b []byte) *image.RGBA {
	var kind string
	var width, height, most int
	r := bytes.NewReader(b)
	if _, err := fmt.Fscan(r, &kind, &width, &height, &most); err != nil {
		t.Fatal(err)
	}
	r.ReadByte()
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := 0; i < len(m.Pix); i += 4 {
		v, _ := r.ReadByte()
		m.Pix[i], m.Pix[i+1], m.Pix[i+2], m.Pix[i+3] = v, v, v, 255
		if kind == "P6" {
			m.Pix[i+1], _ = r.ReadByte()
			m.Pix[i+2], _ = r.ReadByte()
		}
	}
	return m
}

// shrunk averages each 8 x 8 pixels, those of the last ones that there are.
func shrunk(m image.Image, side int) *image.RGBA {
	b := m.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, (b.Dx()+side-1)/side, (b.Dy()+side-1)/side))
	for y := range out.Rect.Dy() {
		for x := range out.Rect.Dx() {
			var sum [3]uint32
			n := uint32(0)
			for j := y * side; j < min(y*side+side, b.Dy()); j++ {
				for i := x * side; i < min(x*side+side, b.Dx()); i++ {
					r, g, bl, _ := m.At(b.Min.X+i, b.Min.Y+j).RGBA()
					sum[0], sum[1], sum[2] = sum[0]+r>>8, sum[1]+g>>8, sum[2]+bl>>8
					n++
				}
			}
			out.SetRGBA(x, y, color.RGBA{uint8(sum[0] / n), uint8(sum[1] / n), uint8(sum[2] / n), 255})
		}
	}
	return out
}

// planes gives a picture's Y, and its Cb and Cr averaged to half the size: finer
// chroma a thumbnail does not have.
func planes(m image.Image) (list [3][]float64) {
	b := m.Bounds()
	for y := 0; y < b.Dy(); y += 2 {
		for x := 0; x < b.Dx(); x += 2 {
			cb, cr, n := 0.0, 0.0, 0.0
			for j := y; j < min(y+2, b.Dy()); j++ {
				for i := x; i < min(x+2, b.Dx()); i++ {
					c := color.YCbCrModel.Convert(m.At(b.Min.X+i, b.Min.Y+j)).(color.YCbCr)
					list[0] = append(list[0], float64(c.Y))
					cb, cr, n = cb+float64(c.Cb), cr+float64(c.Cr), n+1
				}
			}
			list[1], list[2] = append(list[1], cb/n), append(list[2], cr/n)
		}
	}
	return list
}

// differs is the largest of the mean absolute differences of two pictures' planes.
func differs(t testing.TB, a, b image.Image) (most float64) {
	t.Helper()
	if a.Bounds().Size() != b.Bounds().Size() {
		t.Fatalf("%v and %v", a.Bounds(), b.Bounds())
	}
	p, q := planes(a), planes(b)
	for k := range p {
		sum := 0.0
		for i := range p[k] {
			sum += math.Abs(p[k][i] - q[k][i])
		}
		most = max(most, sum/float64(len(p[k])))
	}
	return most
}

// closeTo demands that a thumbnail differs from a picture no more than the standard
// library's JPEG of that picture does; coarse: where an eighth of the picture holds
// less chroma than the thumbnail, not much more.
func closeTo(t testing.TB, got image.Image, want *image.RGBA, coarse bool) {
	t.Helper()
	var plain image.Image = want
	if _, ok := got.(*image.Gray); ok {
		grey := image.NewGray(want.Rect)
		for i := range grey.Pix {
			grey.Pix[i] = want.Pix[4*i]
		}
		plain = grey
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, plain, &jpeg.Options{Quality: 80}); err != nil {
		t.Fatal(err)
	}
	coded, err := jpeg.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	most := differs(t, coded, want) + 0.5
	if coarse {
		most += 5
	}
	if d := differs(t, got, want); d > most {
		t.Errorf("it differs by %.2f, at most %.2f were to be", d, most)
	}
}

// thumbOf is the thumbnail in the verdict of a file that is sound.
func thumbOf(t testing.TB, file []byte) image.Image {
	t.Helper()
	want := recon()
	want.Thumb = true
	v := judge(t, file, want)
	if !v.Sound() || v.Thumb == nil || v.Facts.Thumb == nil {
		t.Fatalf("%v, %d bytes, %+v", v.Reasons, len(v.Thumb), v.Facts)
	}
	m, err := jpeg.Decode(bytes.NewReader(v.Thumb))
	if err != nil {
		t.Fatal(err)
	}
	if m.Bounds().Dx() != v.Facts.Thumb.Width || m.Bounds().Dy() != v.Facts.Thumb.Height {
		t.Fatalf("the thumbnail is %v, the facts say %+v", m.Bounds(), v.Facts.Thumb)
	}
	return m
}

// deepened makes of a JPEG of 8 bits a sample one of 12 that shows the same: its
// quantization steps are 16 times as large.
func deepened(t *testing.T, file []byte) []byte {
	out := bytes.Clone(file[:2])
	for at := 2; ; {
		n := 2 + int(binary.BigEndian.Uint16(file[at+2:]))
		p := file[at+4 : at+n]
		switch file[at+1] {
		case 0xDB:
			var q []byte
			for ; len(p) >= 65; p = p[65:] {
				q = append(q, 0x10|p[0])
				for _, v := range p[1:65] {
					q = binary.BigEndian.AppendUint16(q, uint16(v)*16)
				}
			}
			out = binary.BigEndian.AppendUint16(append(out, 0xFF, 0xDB), uint16(len(q)+2))
			out = append(out, q...)
		case 0xC0:
			out = append(out, 0xFF, 0xC1, file[at+2], file[at+3], 12)
			out = append(out, p[1:]...)
		case 0xDA:
			return append(out, file[at:]...)
		default:
			out = append(out, file[at:at+n]...)
		}
		at += n
		if at+4 > len(file) {
			t.Fatal("no scan")
		}
	}
}

// eighth is libjpeg's picture at an eighth of the size; coarse: averaged here, as
// libjpeg gives chroma that is coarser than every second sample in steps.
func eighth(t testing.TB, file []byte, coarse bool) *image.RGBA {
	t.Helper()
	if coarse {
		return shrunk(fromPNM(t, turbo(t, "djpeg", file, "-pnm")), 8)
	}
	return fromPNM(t, turbo(t, "djpeg", file, "-scale", "1/8", "-pnm"))
}

// TestThumbs holds thumbnails of JPEGs of all kinds against libjpeg's own
// eighth-size pictures.
func TestThumbs(t *testing.T) {
	photo, odd := ppm(colours(640, 424)), ppm(colours(203, 117))
	for name, v := range map[string]struct {
		in   []byte
		args string
	}{
		"4:2:0":              {photo, "-sample 2x2"},
		"4:2:0 odd":          {odd, "-sample 2x2"},
		"4:2:2":              {photo, "-sample 2x1"},
		"4:2:2 odd":          {odd, "-sample 2x1"},
		"4:4:4":              {photo, "-sample 1x1"},
		"4:4:4 odd":          {odd, "-sample 1x1"},
		"4:1:1":              {odd, "-sample 4x1"},
		"4:1:0":              {photo, "-sample 4x2"},
		"4:4:0":              {odd, "-sample 1x2"},
		"chroma finer":       {odd, "-sample 1x1,2x2,2x1"},
		"grey":               {photo, "-grayscale"},
		"RGB":                {odd, "-rgb"},
		"coarse":             {photo, "-quality 25"},
		"restarts":           {odd, "-restart 1B"},
		"restarts by rows":   {odd, "-restart 1"},
		"progressive":        {photo, "-progressive"},
		"progressive odd":    {odd, "-progressive -sample 2x1 -restart 3B"},
		"progressive, grey":  {odd, "-progressive -grayscale"},
		"larger than a goal": {ppm(colours(5600, 168)), "-sample 2x2"},
	} {
		t.Run(name, func(t *testing.T) {
			file := turbo(t, "cjpeg", v.in, append([]string{"-quality", "90"}, strings.Fields(v.args)...)...)
			coarse := strings.Contains(v.args, "4x")
			want := eighth(t, file, coarse)
			got := thumbOf(t, file)
			if want.Rect.Dx() > thumb.MaxSide {
				if b := got.Bounds(); b.Dx() != thumb.MaxSide || b.Dy() != 19 {
					t.Errorf("it is %v", b)
				}
				return
			}
			closeTo(t, got, want, coarse)
			if _, grey := got.(*image.Gray); grey != strings.Contains(v.args, "gray") {
				t.Errorf("it is %T", got)
			}
			if !strings.Contains(v.args, "prog") && !strings.Contains(v.args, "rgb") {
				closeTo(t, thumbOf(t, deepened(t, file)), want, coarse)
			}
		})
	}
}

// TestThumbsOfTestdata: the committed files, against their pictures averaged.
func TestThumbsOfTestdata(t *testing.T) {
	for _, name := range []string{
		"progressive.jpg", "progressive-restart.jpg", "restart.jpg", "grey.jpg", "sampling-411.jpg", "cmyk.jpg", "three-scans.jpg",
	} {
		file := testdata(t, name)
		var want *image.RGBA
		coarse := name == "sampling-411.jpg"
		if name == "cmyk.jpg" { // which djpeg gives as CMYK only
			m, err := jpeg.Decode(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			want = shrunk(m, 8)
		} else {
			want = eighth(t, file, coarse)
		}
		t.Run(name, func(t *testing.T) { closeTo(t, thumbOf(t, file), want, coarse) })
	}
}

// TestThumbsTurned: the EXIF orientation is applied.
func TestThumbsTurned(t *testing.T) {
	m := colours(400, 240)
	stored := jpegFile(t, m)
	upright := shrunk(m, 8)
	for orient := 1; orient <= 8; orient++ {
		exif := exifBlock()
		binary.LittleEndian.PutUint16(exif[8+2+2*12+8:], uint16(orient)) // its third tag
		want := image.NewRGBA(image.Rect(0, 0, 50, 30))
		if orient > 4 {
			want = image.NewRGBA(image.Rect(0, 0, 30, 50))
		}
		for y := range 30 {
			for x := range 50 {
				// Where the stored row and column stand (CIPA DC-008 4.6.4 A).
				to := [...]image.Point{
					1: {x, y}, 2: {49 - x, y}, 3: {49 - x, 29 - y}, 4: {x, 29 - y},
					5: {y, x}, 6: {29 - y, x}, 7: {29 - y, 49 - x}, 8: {y, 49 - x},
				}[orient]
				want.Set(to.X, to.Y, upright.At(x, y))
			}
		}
		t.Run(fmt.Sprint(orient), func(t *testing.T) { closeTo(t, thumbOf(t, withExif(stored, exif)), want, false) })
	}
}

// TestThumbsTiny: every size down to a pixel.
func TestThumbsTiny(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {1, 9}, {8, 8}, {9, 8}, {17, 1}, {16, 33}} {
		m := image.NewRGBA(image.Rect(0, 0, size[0], size[1]))
		for i := range m.Pix {
			m.Pix[i] = [4]uint8{200, 100, 50, 255}[i%4]
		}
		t.Run(fmt.Sprint(size), func(t *testing.T) { closeTo(t, thumbOf(t, jpegFile(t, m)), shrunk(m, 8), false) })
	}
}

// TestThumbsOnlyOfSound: what is not sound has none, what only its declaration
// contradicts has one where only the bytes count.
func TestThumbsOnlyOfSound(t *testing.T) {
	file := jpegFile(t, noise(160, 160))
	cut := file[:len(file)/2]
	for name, c := range map[string]struct {
		file []byte
		kind broker.ProjectKind
		size int64
		asks bool
		want bool
	}{
		"sound":                  {file, broker.KindRecon, -1, true, true},
		"not asked for":          {file, broker.KindRecon, -1, false, false},
		"wrong size":             {file, broker.KindRecon, 7, true, false},
		"cut":                    {cut, broker.KindRecon, -1, true, false},
		"files":                  {file, broker.KindFiles, -1, true, true},
		"files, wrong size":      {file, broker.KindFiles, 7, true, true},
		"files, cut":             {cut, broker.KindFiles, -1, true, false},
		"without its end":        {file[:len(file)-2], broker.KindRecon, -1, true, false},
		"files, without its end": {file[:len(file)-2], broker.KindFiles, -1, true, false},
		"files, not a picture":   {[]byte("plain text"), broker.KindFiles, -1, true, false},
		"with what follows":      {append(bytes.Clone(file), jpegFile(t, noise(32, 32))...), broker.KindRecon, -1, true, true},
	} {
		v := judge(t, c.file, Want{Kind: c.kind, Size: c.size, Thumb: c.asks})
		if (v.Thumb != nil) != c.want || (v.Facts.Thumb != nil) != c.want {
			t.Errorf("%s: %d bytes, %+v", name, len(v.Thumb), v.Facts.Thumb)
		}
		if c.want && (v.Facts.Thumb.Width != 20 || v.Facts.Thumb.Height != 20) {
			t.Errorf("%s: %+v", name, v.Facts.Thumb)
		}
	}
}

// TestThumbClaims: a huge frame without its data holds no memory.
func TestThumbClaims(t *testing.T) {
	file := jpegFile(t, noise(64, 64))
	sof := bytes.Index(file, []byte{0xFF, 0xC0})
	binary.BigEndian.PutUint32(file[sof+5:], 65500<<16|65500)
	for _, length := range []int{len(file), bytes.Index(file, []byte{0xFF, 0xDA}) + 14} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v := judge(t, file[:length], Want{Kind: broker.KindRecon, Size: -1, Thumb: true})
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 || v.Sound() || v.Thumb != nil {
			t.Errorf("%d bytes were taken, %v", n, v.Reasons)
		}
	}
}

// TestThumbsOfPhotos: real photos, against libjpeg's.
func TestThumbsOfPhotos(t *testing.T) {
	for i, path := range photos(t) {
		if i%4 != 0 {
			continue
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := fromPNM(t, turbo(t, "djpeg", file, "-scale", "1/8", "-pnm"))
		if want.Rect.Dx() > thumb.MaxSide {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) { closeTo(t, thumbOf(t, file), want, false) })
	}
}

// FuzzThumb: whatever is found sound has a thumbnail that can be decoded, or none.
func FuzzThumb(f *testing.F) {
	seeds(f, "*.jpg")
	f.Fuzz(func(t *testing.T, b []byte) {
		v := judge(t, b, Want{Kind: broker.KindRecon, Size: -1, MaxPixels: 1 << 22, Thumb: true})
		if v.Thumb == nil {
			return
		}
		m, err := jpeg.Decode(bytes.NewReader(v.Thumb))
		if err != nil {
			t.Fatal(err)
		}
		size := m.Bounds().Size()
		if !v.Sound() || max(size.X, size.Y) > thumb.MaxSide || v.Facts.Thumb.Width != size.X || v.Facts.Thumb.Height != size.Y {
			t.Fatalf("%v, %+v", size, v.Facts)
		}
	})
}
