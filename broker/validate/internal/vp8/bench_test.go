package vp8

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// BenchmarkCheck is beside golang.org/x/image/vp8. UPLOADBROKER_PHOTOS may name a
// folder with larger pictures (*.webp).
func BenchmarkCheck(b *testing.B) {
	list := map[string][]byte{}
	all := pictures(b)
	for _, name := range []string{"fine.webp", "filtered.webp", "lossy-large.webp"} {
		list[name] = all[name]
	}
	names, _ := filepath.Glob(filepath.Join(os.Getenv("UPLOADBROKER_PHOTOS"), "*.webp"))
	for _, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		lossy(file[12:], func(p []byte) { list[filepath.Base(name)] = p })
	}
	for name, p := range list {
		b.Run(name+"/proof", func(b *testing.B) { cpu(b, func() error { return Check(bytes.NewReader(p), optionsOf(p)) }) })
		o := optionsOf(p)
		o.Row = func(int, int, []byte) {}
		b.Run(name+"/rows", func(b *testing.B) { cpu(b, func() error { return Check(bytes.NewReader(p), o) }) })
		b.Run(name+"/reference", func(b *testing.B) {
			cpu(b, func() error {
				_, err := frameOfReference(p)
				return err
			})
		})
	}
}

// cpu reports the CPU time of a round, which others' load disturbs less.
func cpu(b *testing.B, f func() error) {
	seconds := func() float64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	before, rounds := seconds(), 0
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
		rounds++
	}
	b.ReportMetric((seconds()-before)/float64(rounds)*1e6, "cpu-us/op")
}
