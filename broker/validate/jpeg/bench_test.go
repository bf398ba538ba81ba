package jpeg

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// BenchmarkPhotos checks the photos of UPLOADBROKER_PHOTOS (or of a folder beside
// the checkout), in MB per CPU-second.
func BenchmarkPhotos(b *testing.B) {
	dir := os.Getenv("UPLOADBROKER_PHOTOS")
	if dir == "" {
		dir = "../../../../shared/photos"
	}
	var total int64
	var files [][]byte
	for _, pattern := range []string{"*.JPG", "*.jpg"} {
		names, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, n := range names {
			raw, err := os.ReadFile(n)
			if err != nil {
				b.Fatal(err)
			}
			total += int64(len(raw))
			files = append(files, raw)
		}
	}
	if total == 0 {
		b.Skip("no photos: set UPLOADBROKER_PHOTOS to a folder of them")
	}
	for _, dc := range []bool{false, true} {
		b.Run(map[bool]string{true: "dc", false: "plain"}[dc], func(b *testing.B) {
			var o Options
			if dc {
				o.DC = func(int, int, []int16) {}
			}
			b.SetBytes(total)
			before := cpuSeconds(b)
			rounds := 0
			for b.Loop() {
				rounds++
				for _, f := range files {
					if _, err := Check(bytes.NewReader(f), o); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(total)*float64(rounds)/1e6/(cpuSeconds(b)-before), "MB/cpu-s")
		})
	}
}

// cpuSeconds is what this process has used of the processors.
func cpuSeconds(b *testing.B) float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}
