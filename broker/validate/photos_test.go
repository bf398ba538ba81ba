package validate

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// photos gives real photos: those of UPLOADBROKER_PHOTOS, or of a folder beside
// the checkout.
func photos(t testing.TB) []string {
	dir := os.Getenv("UPLOADBROKER_PHOTOS")
	if dir == "" {
		dir = "../../../shared/photos"
	}
	var list []string
	for _, pattern := range []string{"*.JPG", "*.jpg"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		list = append(list, found...)
	}
	if len(list) == 0 {
		t.Skip("no photos: set UPLOADBROKER_PHOTOS to a folder of them")
	}
	return list
}

func TestPhotos(t *testing.T) {
	for _, path := range photos(t) {
		src, err := FromFile(path)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Image(context.Background(), src, recon())
		if err != nil {
			t.Fatal(err)
		}
		f := v.Facts
		if !v.Sound() {
			t.Errorf("%s: %v", path, v.Reasons)
		}
		if !strings.HasPrefix(filepath.Base(path), "DJI_") {
			continue
		}
		if f.Make != "DJI" || f.Model == "" || f.Taken == nil || f.GPS == nil || f.GPS.Alt == nil || f.GPS.Lat == 0 || f.FocalMM == 0 {
			t.Errorf("%s: %+v", path, f)
		}
	}
}

func TestDamagedPhotos(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads photos many times over")
	}
	r := rand.New(rand.NewPCG(5, 6))
	tried, missed := 0, 0
	for i, path := range photos(t) {
		if i%4 != 0 {
			continue
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole := judge(t, file, recon())
		end := len(file) - int(whole.Facts.TrailingB)
		noise := make([]byte, 4096)
		for i := range noise {
			noise[i] = byte(r.Uint32())
		}
		at := func() int { return end/10 + r.IntN(end*8/10) }
		for name, damage := range map[string]func(b []byte) []byte{
			"cut":           func(b []byte) []byte { return b[:at()] },
			"cut at end":    func(b []byte) []byte { return b[:end-100] },
			"no end marker": func(b []byte) []byte { return b[:end-2] },
			"zeroed":        func(b []byte) []byte { i := at(); clear(b[i : i+4096]); return b },
			"random":        func(b []byte) []byte { copy(b[at():], noise); return b },
			"cut 4 KB":      func(b []byte) []byte { i := at(); return append(b[:i], b[i+4096:]...) },
			"less rows": func(b []byte) []byte {
				i := bytes.LastIndex(b[:end], []byte{0xFF, 0xC0, 0, 17, 8})
				b[i+6] -= 64
				return b
			},
		} {
			tried++
			if v := judge(t, damage(bytes.Clone(file)), recon()); v.Sound() {
				missed++
				t.Errorf("%s, %s: not noticed", path, name)
			}
		}
	}
	t.Logf("%d damages, %d not noticed", tried, missed)
}

func BenchmarkPhotos(b *testing.B) {
	var files []Bytes
	total := int64(0)
	for _, path := range photos(b) {
		p, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		files = append(files, FromBytes(p))
		total += int64(len(p))
	}
	b.SetBytes(total)
	for b.Loop() {
		for _, f := range files {
			if _, err := Image(context.Background(), f, recon()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
