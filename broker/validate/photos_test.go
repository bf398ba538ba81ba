package validate

import (
	"context"
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
		if f.Make != "DJI" || f.Model == "" || f.Taken == nil || f.GPS == nil || f.GPS.Alt == nil || f.GPS.Lat == 0 || f.FocalMM == 0 ||
			f.Gimbal == nil || f.Gimbal.Pitch > 0 || f.Gimbal.Pitch < -90 || f.RelAltM == nil || *f.RelAltM < 5 {
			t.Errorf("%s: %+v", path, f)
		}
	}
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
