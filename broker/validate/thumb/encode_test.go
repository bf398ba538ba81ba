package thumb

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	scanner "github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
)

// natural is a picture with the spectrum of a photo (amplitude by 1/frequency),
// some edges and a little of a sensor's noise.
func natural(width, height int, seed uint64) *image.YCbCr {
	r := rand.New(rand.NewPCG(seed, 9))
	m := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	fill := func(pix []uint8, w, h int, strength, noise float64) {
		field := make([]float64, w*h)
		for size := 128; size >= 2; size /= 2 { // value noise, octave by octave
			gw := w/size + 2
			grid := make([]float64, gw*(h/size+2))
			for i := range grid {
				grid[i] = r.NormFloat64() * strength * math.Pow(float64(size)/128, 0.9)
			}
			for y := range h {
				fy := float64(y%size) / float64(size)
				for x := range w {
					fx := float64(x%size) / float64(size)
					g := grid[y/size*gw+x/size:]
					field[y*w+x] += (g[0]*(1-fx)+g[1]*fx)*(1-fy) + (g[gw]*(1-fx)+g[gw+1]*fx)*fy
				}
			}
		}
		for i, v := range field {
			if x, y := i%w, i/w; (x/37+y/53)%5 == 0 {
				v += strength
			}
			pix[i] = uint8(clamp(int(128 + v + r.NormFloat64()*noise)))
		}
	}
	fill(m.Y, width, height, 45, 3)
	fill(m.Cb, (width+1)/2, (height+1)/2, 15, 1)
	fill(m.Cr, (width+1)/2, (height+1)/2, 15, 1)
	return m
}

func pictureOf(m *image.YCbCr) picture {
	return picture{y: m.Y, cb: m.Cb, cr: m.Cr, width: m.Rect.Dx(), height: m.Rect.Dy()}
}

// psnr compares luma, in decibels.
func psnr(a, b []uint8) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a))/max(sum, 1e-9))
}

func luminance(m image.Image) []uint8 {
	var pix []uint8
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			switch m := m.(type) {
			case *image.YCbCr:
				pix = append(pix, m.Y[m.YOffset(x, y)])
			default:
				pix = append(pix, color.GrayModel.Convert(m.At(x, y)).(color.Gray).Y)
			}
		}
	}
	return pix
}

// whole demands of a file that every decoder takes it without a word.
func whole(t *testing.T, file []byte, width, height int) image.Image {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(file))
	if err != nil || m.Bounds() != image.Rect(0, 0, width, height) {
		t.Fatalf("%d x %d: %v", width, height, err)
	}
	info, err := scanner.Check(bytes.NewReader(file), scanner.Options{})
	if err != nil || info.End != int64(len(file)) || info.PaddingBytes != 0 || info.Width != width || info.Height != height {
		t.Fatalf("%d x %d: %+v, %v", width, height, info, err)
	}
	return m
}

// djpeg decodes a file with libjpeg; warnings fail the test.
func djpeg(t *testing.T, file []byte, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("djpeg"); err != nil {
		if strings.Contains(os.Getenv("REQUIRE"), "djpeg") {
			t.Fatal(err)
		}
		t.Skip("no djpeg (libjpeg-turbo-progs)")
	}
	cmd := exec.Command("djpeg", args...)
	cmd.Stdin = bytes.NewReader(file)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil || words.Len() > 0 {
		t.Fatalf("djpeg: %v %s", err, words.String())
	}
	return out.Bytes()
}

// TestQuality holds the encoder against the standard library's, of the same
// quality, over the same samples.
func TestQuality(t *testing.T) {
	pictures := map[string]*image.YCbCr{
		"natural": natural(500, 375, 1), "odd": natural(331, 247, 2), "small": natural(17, 9, 3), "tiny": natural(3, 2, 4),
	}
	flat := image.NewYCbCr(image.Rect(0, 0, 40, 40), image.YCbCrSubsampleRatio420)
	hard := image.NewYCbCr(image.Rect(0, 0, 160, 160), image.YCbCrSubsampleRatio420)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range hard.Y {
		flat.Y[i%len(flat.Y)] = 200
		hard.Y[i] = uint8(r.IntN(2) * 255)
	}
	pictures["flat"], pictures["black and white"] = flat, hard
	for name, m := range pictures {
		width, height := m.Rect.Dx(), m.Rect.Dy()
		file := encode(pictureOf(m), 1)
		got := whole(t, file, width, height)
		djpeg(t, file)
		var std bytes.Buffer
		if err := jpeg.Encode(&std, m, &jpeg.Options{Quality: quality}); err != nil {
			t.Fatal(err)
		}
		want, err := jpeg.Decode(&std)
		if err != nil {
			t.Fatal(err)
		}
		plain := luminance(m)
		ours, theirs := psnr(luminance(got), plain), psnr(luminance(want), plain)
		t.Logf("%s: %.2f dB in %d bytes, the standard library %.2f dB", name, ours, len(file), theirs)
		if ours < theirs-1 {
			t.Errorf("%s: %.2f dB, the standard library's is %.2f dB", name, ours, theirs)
		}
		c := got.(*image.YCbCr)
		cb, plainCb := []uint8{}, []uint8{}
		for y := range (height + 1) / 2 {
			for x := range (width + 1) / 2 {
				cb = append(cb, c.Cb[y*c.CStride+x])
				plainCb = append(plainCb, m.Cb[y*m.CStride+x])
			}
		}
		if d := psnr(cb, plainCb); d < 30 {
			t.Errorf("%s: %.2f dB of chroma", name, d)
		}
	}
}

// TestTransform holds the DCT against its definition (T.81 A.3.3).
func TestTransform(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var ones [64]byte
	for i := range ones {
		ones[i] = 1
	}
	q := newQuantizer(&ones)
	for round := range 300 {
		var s [8][8]float64
		var lines [8]uint64
		for y := range 8 {
			for x := range 8 {
				v := r.IntN(256)
				if round%3 == 0 {
					v = r.IntN(2) * 255
				}
				s[y][x] = float64(v) - 128
				lines[y] |= uint64(v) << (8 * x)
			}
		}
		var coef [64]int32
		found := q.transform(&lines, &coef)
		for k, at := range zigzag {
			u, v := float64(at&7), float64(at>>3)
			sum := 0.0
			for y := range 8 {
				for x := range 8 {
					sum += s[y][x] * math.Cos((2*float64(x)+1)*u*math.Pi/16) * math.Cos((2*float64(y)+1)*v*math.Pi/16)
				}
			}
			if u == 0 {
				sum /= math.Sqrt2
			}
			if v == 0 {
				sum /= math.Sqrt2
			}
			if d := math.Abs(sum/4 - float64(coef[k])); d > 3.5 {
				t.Fatalf("coefficient %d is %d, not %.1f", k, coef[k], sum/4)
			}
			if found>>k&1 != 0 != (coef[k] != 0) {
				t.Fatalf("coefficient %d is %d, and found says else", k, coef[k])
			}
		}
	}
}

// TestEachCoefficient encodes blocks that have but one: every run of zeros there is.
func TestEachCoefficient(t *testing.T) {
	const width = 63 * 8
	m := image.NewGray(image.Rect(0, 0, width, 8))
	for k := 1; k < 64; k++ {
		u, v := float64(zigzag[k]&7), float64(zigzag[k]>>3)
		for i := range 64 {
			x, y := float64(i&7), float64(i>>3)
			wave := math.Cos((2*x+1)*u*math.Pi/16) * math.Cos((2*y+1)*v*math.Pi/16)
			m.Pix[i>>3*width+(k-1)*8+i&7] = uint8(128.5 + 100*wave)
		}
	}
	got := whole(t, encode(picture{y: m.Pix, width: width, height: 8}, 1), width, 8).(*image.Gray)
	for i, v := range m.Pix {
		x, y := i%width, i/width
		if d := int(got.GrayAt(x, y).Y) - int(v); d < -25 || d > 25 {
			t.Fatalf("coefficient %d: %d, %d is %d off", x/8+1, x&7, y, d)
		}
	}
}

// TestOrientations encodes a picture that has no symmetry in each orientation.
func TestOrientations(t *testing.T) {
	const width, height = 45, 27
	m := image.NewGray(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.Pix[y*width+x] = uint8(2*x + 5*y)
		}
	}
	stored := map[int]func(x, y int) (int, int){ // of an upright pixel (CIPA DC-008 4.6.4 A)
		0: func(x, y int) (int, int) { return x, y },
		1: func(x, y int) (int, int) { return x, y },
		2: func(x, y int) (int, int) { return width - 1 - x, y },
		3: func(x, y int) (int, int) { return width - 1 - x, height - 1 - y },
		4: func(x, y int) (int, int) { return x, height - 1 - y },
		5: func(x, y int) (int, int) { return y, x },
		6: func(x, y int) (int, int) { return y, height - 1 - x },
		7: func(x, y int) (int, int) { return width - 1 - y, height - 1 - x },
		8: func(x, y int) (int, int) { return width - 1 - y, x },
		9: func(x, y int) (int, int) { return x, y },
	}
	for orient, f := range stored {
		w, h := width, height
		if orient >= 5 && orient <= 8 {
			w, h = height, width
		}
		got := whole(t, encode(picture{y: m.Pix, width: width, height: height}, orient), w, h).(*image.Gray)
		for y := range h {
			for x := range w {
				sx, sy := f(x, y)
				if d := int(got.GrayAt(x, y).Y) - int(m.GrayAt(sx, sy).Y); d > 12 || d < -12 {
					t.Fatalf("orientation %d: %d, %d is %d off", orient, x, y, d)
				}
			}
		}
	}
}
