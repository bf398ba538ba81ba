package thumb

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	scanner "github.com/uploadbroker/uploadbroker/broker/validate/jpeg"
)

// photos gives those of UPLOADBROKER_PHOTOS.
func photos(b testing.TB) (files [][]byte) {
	names, _ := filepath.Glob(filepath.Join(os.Getenv("UPLOADBROKER_PHOTOS"), "*.JPG"))
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		files = append(files, raw)
	}
	return files
}

// cpu reports the CPU time of a round, which others' load disturbs less.
func cpu(b *testing.B, f func()) {
	seconds := func() float64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	before, rounds := seconds(), 0
	for b.Loop() {
		f()
		rounds++
	}
	b.ReportMetric((seconds()-before)/float64(rounds)*1e6, "cpu-us/op")
}

func BenchmarkEncode(b *testing.B) {
	m := natural(500, 375, 1)
	p := pictureOf(m)
	b.Run("ours", func(b *testing.B) { cpu(b, func() { encode(p, 1) }) })
	b.Run("turned", func(b *testing.B) { cpu(b, func() { encode(p, 6) }) })
	b.Run("standard library", func(b *testing.B) {
		var out bytes.Buffer
		cpu(b, func() {
			out.Reset()
			if err := jpeg.Encode(&out, m, &jpeg.Options{Quality: quality}); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkPhotos is what thumbnails add to the check of real photos: beside it
// the same with rows that nobody uses.
func BenchmarkPhotos(b *testing.B) {
	files := photos(b)
	if len(files) == 0 {
		b.Skip("no photos: set UPLOADBROKER_PHOTOS to a folder of them")
	}
	for name, paint := range map[string]bool{"rows only": false, "thumbnails": true} {
		b.Run(name, func(b *testing.B) {
			at := 0
			cpu(b, func() {
				var c *Canvas
				var info scanner.Info
				_, err := scanner.Check(bytes.NewReader(files[at%len(files)]), scanner.Options{
					Frame: func(in scanner.Info) {
						info = in
						s := Spec{Cols: (in.Width + 7) / 8, Rows: (in.Height + 7) / 8, Model: YCbCr}
						for _, k := range in.Comps {
							s.Components = append(s.Components, Component{
								Cols: (in.Width*k.H/in.Comps[0].H + 7) / 8, Rows: (in.Height*k.V/in.Comps[0].V + 7) / 8, H: k.H, V: k.V,
							})
						}
						c, _ = New(s)
					},
					DC: func(component, row int, values []int16) {
						if paint {
							c.DC(component, row, values, info.Comps[component].DCQuant, info.Precision)
						}
					},
				})
				if err != nil {
					b.Fatal(err)
				}
				if _, ok := c.Finish(1, nil); ok != paint {
					b.Fatal("not complete")
				}
				at++
			})
		})
	}
}

// BenchmarkCanvas paints pictures of 12, 20 and 50 megapixels, without encoding.
func BenchmarkCanvas(b *testing.B) {
	for _, size := range [][2]int{{500, 375}, {684, 456}, {1024, 768}} {
		s := Spec{Cols: size[0], Rows: size[1], Model: YCbCr}
		for i := range 3 {
			k := Component{Cols: size[0], Rows: size[1], H: 2, V: 2}
			if i > 0 {
				k = Component{Cols: size[0] / 2, Rows: (size[1] + 1) / 2, H: 1, V: 1}
			}
			s.Components = append(s.Components, k)
		}
		row := make([]int16, size[0])
		r := rand.New(rand.NewPCG(1, 1))
		for i := range row {
			row[i] = int16(r.IntN(256) - 128)
		}
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			cpu(b, func() {
				c, err := New(s)
				if err != nil {
					b.Fatal(err)
				}
				for i, k := range s.Components {
					for y := range k.Rows {
						c.DC(i, y, row[:k.Cols], 8, 8)
					}
				}
			})
		})
	}
}

// BenchmarkProfile converts a picture of 500 x 375.
func BenchmarkProfile(b *testing.B) {
	m := natural(500, 375, 1)
	p := AdobeRGB()
	cpu(b, func() {
		copyOf := picture{y: slices.Clone(m.Y), cb: slices.Clone(m.Cb), cr: slices.Clone(m.Cr), width: 500, height: 375}
		p.convert(&copyOf)
	})
}
