package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"path/filepath"
	"strings"
	"testing"
)

func encoded(t *testing.T, kind string) string {
	t.Helper()
	im := image.NewRGBA(image.Rect(0, 0, 64, 48))
	for i := range im.Pix {
		im.Pix[i] = byte(i * 7)
	}
	var b bytes.Buffer
	var err error
	if kind == "png" {
		err = png.Encode(&b, im)
	} else {
		err = jpeg.Encode(&b, im, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func runCheck(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"check"}, args...), stdio{Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func TestCheckCommand(t *testing.T) {
	dir := t.TempDir()
	good := encoded(t, "jpeg")
	writeFile(t, filepath.Join(dir, "a.jpg"), good)
	writeFile(t, filepath.Join(dir, "b.png"), encoded(t, "png"))
	if code, out, errs := runCheck(t, dir); code != 0 || !strings.Contains(out, "2 Ready, 0 Invalid") || !strings.Contains(out, "64 × 48") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	writeFile(t, filepath.Join(dir, "c.jpg"), good[:len(good)/2])
	writeFile(t, filepath.Join(dir, "d.jpg"), "")
	writeFile(t, filepath.Join(dir, "notes.txt"), "hello")
	if code, out, _ := runCheck(t, dir); code != 1 || !strings.Contains(out, "2 Ready, 2 Invalid; 1 other file left out") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out, _ := runCheck(t, filepath.Join(dir, "notes.txt")); code != 1 || !strings.Contains(out, "unsupported_format") {
		t.Errorf("a file that was named: exit code %d\n%s", code, out)
	}
	if code, out, _ := runCheck(t, dir, filepath.Join(dir, "none.jpg")); code != 2 || !strings.Contains(out, "1 could not be read") {
		t.Errorf("one that is not there: exit code %d\n%s", code, out)
	}
}

func TestCheckJSON(t *testing.T) {
	dir := t.TempDir()
	good := encoded(t, "jpeg")
	var want []string
	for i := range 40 {
		path := filepath.Join(dir, fmt.Sprintf("%02d.jpg", i))
		content := good
		if i%4 == 3 {
			content = good[:100+i]
		}
		writeFile(t, path, content)
		want = append(want, path)
	}
	missing := filepath.Join(dir, "none.jpg")
	code, out, _ := runCheck(t, "--json", dir, missing)
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
	want = append(want, missing)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d", len(lines), len(want))
	}
	for i, line := range lines {
		var got struct {
			Path, State, SHA1, Type, Proof, Error string
			Reasons                               []string
			Size                                  int64
			Width, Height                         int
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		switch {
		case got.Path != want[i] || got.Reasons == nil:
			t.Errorf("line %d: %s", i, line)
		case i == 40:
			if got.Error == "" || got.State != "" {
				t.Errorf("line %d: %s", i, line)
			}
		case i%4 == 3:
			if got.State != "Invalid" || len(got.Reasons) == 0 {
				t.Errorf("line %d: %s", i, line)
			}
		case got.State != "Ready" || got.Width != 64 || got.Height != 48 || got.Type != "image/jpeg" || got.Proof != "full" || len(got.SHA1) != 40 || got.Size != int64(len(good)):
			t.Errorf("line %d: %s", i, line)
		}
	}
}
