package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// photoKind is how a camera writes its photos.
type photoKind struct {
	name          string
	width, height int
	args          []string // of cjpeg
}

// photoKinds are those of drones and phones of 12 to 20 megapixels, whose encoders
// use T.81's own Huffman tables; progressive is what editors save.
func photoKinds() []photoKind {
	return []photoKind{
		{"baseline 4:2:0", 4000, 3000, []string{"-quality", "95", "-sample", "2x2"}},
		{"baseline 4:2:2", 5472, 3648, []string{"-quality", "92", "-sample", "2x1"}},
		{"restart 4:2:0", 5280, 3956, []string{"-quality", "93", "-sample", "2x2", "-restart", "1"}},
		{"optimized 4:4:4", 4608, 3456, []string{"-quality", "91", "-sample", "1x1", "-optimize"}},
		{"progressive 4:2:0", 4000, 3000, []string{"-quality", "95", "-sample", "2x2", "-progressive"}},
	}
}

// makePhotos writes n photos of each kind and returns their paths by kind. They are
// drawn by processes of their own: a process hands the peak of its memory on to its
// children, whose own is measured later.
func makePhotos(b *testing.B, dir string, n int) map[string][]string {
	b.Helper()
	files := map[string][]string{}
	for k, kind := range photoKinds() {
		for i := range n {
			path := filepath.Join(dir, fmt.Sprintf("%d-%d.jpg", k, i))
			draw := exec.Command(os.Args[0])
			draw.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %d", bePainter, kind.width, kind.height, 100*k+i))
			encode := exec.Command("cjpeg", append(kind.args, "-outfile", path)...)
			var err error
			if encode.Stdin, err = draw.StdoutPipe(); err != nil {
				b.Fatal(err)
			}
			if err := draw.Start(); err != nil {
				b.Fatal(err)
			}
			out, err := encode.CombinedOutput()
			if err := errors.Join(err, draw.Wait()); err != nil {
				b.Fatalf("make a photo: %v: %s", err, out)
			}
			files[kind.name] = append(files[kind.name], path)
		}
	}
	return files
}

// bePainter makes a process of the test binary draw a picture: "width height seed".
const bePainter = "UPLOADBROKER_TEST_BE_PAINTER"

func painterMain(spec string) error {
	var width, height int
	var seed uint64
	if _, err := fmt.Sscan(spec, &width, &height, &seed); err != nil {
		return err
	}
	_, err := os.Stdout.Write(naturalPPM(width, height, seed))
	return err
}

// naturalPPM draws what a photo's numbers are like, not what it shows: detail whose
// strength falls with its frequency (as 1/f), sharp edges, slow colours, and a
// sensor's noise.
func naturalPPM(width, height int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	light := make([]float32, width*height)
	for cell, strength := 512, float32(52); cell >= 2; cell, strength = cell/2, strength*0.62 {
		addNoise(light, width, height, cell, strength, r)
	}
	for range 60 { // edges: half-planes that end in the picture
		x, y, dx, dy := r.IntN(width), r.IntN(height), r.NormFloat64(), r.NormFloat64()
		step, long := float32(r.NormFloat64()*18), 200+r.IntN(900)
		for j := max(0, y-long); j < min(height, y+long); j++ {
			for i := max(0, x-long); i < min(width, x+long); i++ {
				if float64(i-x)*dx+float64(j-y)*dy > 0 {
					light[j*width+i] += step
				}
			}
		}
	}
	warm, green := make([]float32, width*height), make([]float32, width*height)
	for cell, strength := 512, float32(16); cell >= 32; cell, strength = cell/2, strength*0.6 {
		addNoise(warm, width, height, cell, strength, r)
		addNoise(green, width, height, cell, strength, r)
	}
	// Noise of a sensor, from a table: a normal deviate a sample would take a minute.
	var grain [1 << 16]float32
	for i := range grain {
		grain[i] = float32(r.NormFloat64() * 6)
	}
	out := fmt.Appendf(make([]byte, 0, 3*width*height+32), "P6 %d %d 255\n", width, height)
	for i, l := range light {
		for _, tint := range [3]float32{warm[i], green[i], -warm[i]} {
			v := 118 + l + tint + grain[r.Uint32()>>16]
			out = append(out, byte(min(max(v, 0), 255)))
		}
	}
	return out
}

// addNoise adds smooth noise whose waves are about cell pixels long.
func addNoise(to []float32, width, height, cell int, strength float32, r *rand.Rand) {
	cols, rows := width/cell+2, height/cell+2
	grid := make([]float32, cols*rows)
	for i := range grid {
		grid[i] = float32(r.NormFloat64()) * strength
	}
	ease := make([]float32, cell)
	for i := range ease {
		ease[i] = float32(0.5 - 0.5*math.Cos(math.Pi*float64(i)/float64(cell)))
	}
	for y := range height {
		above, below := grid[y/cell*cols:], grid[(y/cell+1)*cols:]
		down := ease[y%cell]
		line := to[y*width : (y+1)*width]
		for c := 0; c*cell < width; c++ {
			left := above[c] + (below[c]-above[c])*down
			right := above[c+1] + (below[c+1]-above[c+1])*down
			part := line[c*cell : min((c+1)*cell, width)]
			for i := range part {
				part[i] += left + (right-left)*ease[i]
			}
		}
	}
}

// beGoJPEG makes a process of the test binary decode files by image/jpeg.
const beGoJPEG = "UPLOADBROKER_TEST_BE_GO_JPEG"

// photoBytes is the bytes of files.
func photoBytes(b *testing.B, files []string) (n int64) {
	b.Helper()
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			b.Fatal(err)
		}
		n += info.Size()
	}
	return n
}
