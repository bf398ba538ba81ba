package main

import (
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	validateRounds = 3 // of each tool over each corpus, in turns; the median counts
	validatePhotos = 3 // of each kind
	validateTimes  = 4 // that each photo is named in one call
	validateGoal   = 1.5
)

// judge is a program that looks at photos.
type judge struct {
	name string
	run  func(b *testing.B, files []string) []*exec.Cmd // one after the other
}

func judges(b *testing.B, dir string) []judge {
	program := filepath.Join(dir, "uploadbroker")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build the program: %v:\n%s", err, out)
	}
	tool := func(name string, args ...string) func(*testing.B, []string) []*exec.Cmd {
		return func(_ *testing.B, files []string) []*exec.Cmd {
			return []*exec.Cmd{exec.Command(name, append(slices.Clone(args), files...)...)}
		}
	}
	for _, name := range []string{"jpeginfo", "djpeg", "cjpeg"} {
		if _, err := exec.LookPath(name); err != nil {
			b.Fatalf("%s is missing: run deploy/setup.sh bench", name)
		}
	}
	return []judge{
		{"uploadbroker check", tool(program, "check")},
		{"jpeginfo -c", tool("jpeginfo", "-c")},
		{"djpeg", func(_ *testing.B, files []string) []*exec.Cmd {
			var all []*exec.Cmd
			for _, f := range files { // it takes one at a time
				all = append(all, exec.Command("djpeg", "-outfile", os.DevNull, f))
			}
			return all
		}},
		{"Go image/jpeg", func(b *testing.B, files []string) []*exec.Cmd {
			cmd := command(b, []string{beGoJPEG + "=1"}, files...)
			cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, beProgram) })
			return []*exec.Cmd{cmd}
		}},
	}
}

// goJPEGMain decodes each file that it was called with.
func goJPEGMain(string) error {
	for _, path := range os.Args[1:] {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = jpeg.Decode(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// usage is what a program took.
type usage struct {
	cpu, wall time.Duration
	peakBytes int64
}

// take runs a judge over files, which must all be sound.
func (j judge) take(b *testing.B, files []string, env ...string) (u usage) {
	b.Helper()
	began := time.Now()
	for _, cmd := range j.run(b, files) {
		if len(env) > 0 {
			cmd.Env = append(os.Environ(), env...)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v:\n%s", j.name, err, out)
		}
		u.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			u.peakBytes = max(u.peakBytes, int64(r.Maxrss)<<10) // Linux counts in KiB
		}
	}
	u.wall = time.Since(began)
	return u
}

// BenchmarkValidate compares what judging photos costs: `uploadbroker check`, which
// does all that a worker does (sha1, CRC-32, the proof, facts, a thumbnail), with
// libjpeg-turbo's checker and decoder and with Go's decoder, in MB per CPU-second
// over the same files, which lie in the page cache.
//
// It takes its files from ../shared/photos, beside the checkout, too, where that is.
func BenchmarkValidate(b *testing.B) {
	dir := b.TempDir()
	corpora := makePhotos(b, dir, validatePhotos)
	names := make([]string, 0, len(corpora)+1)
	var made []string
	for _, kind := range photoKinds() {
		names = append(names, kind.name)
		made = append(made, corpora[kind.name]...)
	}
	if real, _ := filepath.Glob("../../../shared/photos/*.JPG"); len(real) > 0 {
		names = append(names, realPhotos)
		corpora[realPhotos] = real
	}
	for name, files := range corpora { // so that a program's start does not count for much
		corpora[name] = slices.Repeat(files, validateTimes)
	}
	all := judges(b, dir)
	for range b.N {
		fmt.Printf("\nMB per CPU-second, median of %d rounds in turns (and times jpeginfo -c):\n\n", validateRounds)
		fmt.Printf("  %-20s %5s %7s", "files", "n", "MB")
		for _, j := range all {
			fmt.Printf("  %20s", j.name)
		}
		fmt.Println()
		var total float64 // of the made ones
		sum := make([]float64, len(all))
		for _, name := range names {
			files := corpora[name]
			mb, took := float64(photoBytes(b, files))/1e6, measure(b, all, files)
			report(name, len(files), mb, took)
			if name == realPhotos {
				goal(b, "x-jpeginfo-real", took)
				continue
			}
			total += mb
			for i := range sum {
				sum[i] += took[i]
			}
		}
		report("all but real ones", len(made)*validateTimes, total, sum)
		goal(b, "x-jpeginfo-made", sum)
		growth(b, all[0], dir, made)
	}
	b.ReportMetric(0, "ns/op")
}

// realPhotos names the corpus that lies beside the checkout.
const realPhotos = "../shared/photos"

// report prints a line of the table.
func report(name string, files int, mb float64, took []float64) {
	fmt.Printf("  %-20s %5d %7.1f", name, files, mb)
	for _, seconds := range took {
		fmt.Printf("  %12.1f (%.2f x)", mb/seconds, took[1]/seconds)
	}
	fmt.Println()
}

// goal tells whether check is as fast as it should be.
func goal(b *testing.B, metric string, took []float64) {
	ratio := took[1] / took[0]
	b.ReportMetric(ratio, metric)
	word := "reached"
	if ratio < validateGoal {
		word = "BELOW"
	}
	fmt.Printf("  %-20s the goal of %.1f x jpeginfo -c: %s\n", "", validateGoal, word)
}

// measure gives each judge's CPU seconds over files: the median of some rounds.
func measure(b *testing.B, all []judge, files []string) []float64 {
	b.Helper()
	rounds := make([][]float64, len(all))
	for range validateRounds {
		for i, j := range all {
			rounds[i] = append(rounds[i], j.take(b, files).cpu.Seconds())
		}
	}
	took := make([]float64, len(all))
	for i := range rounds {
		slices.Sort(rounds[i])
		took[i] = rounds[i][len(rounds[i])/2]
	}
	return took
}

// growth tells check's memory over a hundred files, and its speed by cores.
func growth(b *testing.B, check judge, dir string, files []string) {
	b.Helper()
	hundred := make([]string, 100)
	for i := range hundred {
		hundred[i] = filepath.Join(dir, fmt.Sprintf("link-%03d.jpg", i))
		if err := os.Link(files[i%len(files)], hundred[i]); err != nil && !os.IsExist(err) {
			b.Fatal(err)
		}
	}
	bytes := float64(photoBytes(b, hundred))
	fmt.Printf("\nuploadbroker check over %d files, %.0f MB:\n\n", len(hundred), bytes/1e6)
	fmt.Printf("  %5s  %10s  %12s  %14s\n", "cores", "MB/s", "MB/CPU-s", "peak of memory")
	var first float64
	for cores := 1; cores <= runtime.NumCPU(); cores *= 2 {
		u := check.take(b, hundred, "GOMAXPROCS="+strconv.Itoa(cores))
		speed := bytes / 1e6 / u.wall.Seconds()
		if first == 0 {
			first = speed
		}
		fmt.Printf("  %5d  %6.0f %.1fx  %12.0f  %10.1f MiB\n", cores, speed, speed/first, bytes/1e6/u.cpu.Seconds(), float64(u.peakBytes)/(1<<20))
		b.ReportMetric(float64(u.peakBytes)/(1<<20), fmt.Sprintf("peak-MiB-%d", cores))
	}
	fmt.Println()
}
