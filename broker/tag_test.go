package broker_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestSafeName(t *testing.T) {
	long := strings.Repeat("長", 200) + ".jpg"
	for raw, want := range map[string]string{
		"IMG_0001.JPG":                   "IMG_0001.JPG",
		"100MEDIA/DJI_0001.JPG":          "100MEDIA/DJI_0001.JPG",
		"照片 2.jpg":                       "照片 2.jpg",
		"../../etc/passwd":               "etc/passwd",
		"/a//b/./c":                      "a/b/c",
		`C:\Users\ada\x.jpg`:             "x.jpg",
		`C:x.jpg`:                        "C:x.jpg",
		`folder\x.jpg`:                   "folder/x.jpg",
		"a\x00b\nc":                      "a_b_c",
		"a\xffb":                         "a_b",
		"photo\u202egpj.exe":             "photo_gpj.exe",
		"a\u200eb\u200fc\u061cd\u200be":  "a_b_c_d_e",
		"\U0001f468\u200d\U0001f33e.jpg": "\U0001f468\u200d\U0001f33e.jpg", // a farmer
		"":                               "file",
		"  ":                             "file",
		"..":                             "file",
		" a .jpg ":                       "a .jpg",
		long:                             strings.Repeat("長", 78) + ".jpg",
		strings.Repeat("a", 300):         strings.Repeat("a", 239),
		"x." + strings.Repeat("b", 300):  "x." + strings.Repeat("b", 237),
	} {
		if got := broker.SafeName(raw); got != want {
			t.Errorf("%.60q becomes %q, want %q", raw, got, want)
		}
	}
}

// Names that were registered leave no room for a number.
func TestNumberedName(t *testing.T) {
	folders := strings.Repeat(strings.Repeat("d", 203)+"/", 5) // 1020 bytes
	for name, want := range map[string]string{
		"a.jpg":                          "a (2).jpg",
		"b/.a":                           "b/.a (2)",
		strings.Repeat("a", 255):         strings.Repeat("a", 251) + " (2)",
		strings.Repeat("長", 83) + ".jpg": strings.Repeat("長", 82) + " (2).jpg",
		"a." + strings.Repeat("b", 253):  "a." + strings.Repeat("b", 249) + " (2)",
		folders + "abcd":                 folders + " (2)",
	} {
		got := broker.NumberedName(name, 2)
		if got != want || broker.CheckName(name) != nil || broker.CheckName(got) != nil {
			t.Errorf("%.40q becomes %q, want %q; %v, %v", name, got, want, broker.CheckName(name), broker.CheckName(got))
		}
	}
}

// Whatever is sent, the name can be kept, also with the highest number, and made safe
// again it stays.
func FuzzSafeName(f *testing.F) {
	for _, seed := range []string{"a.jpg", `C:\a`, "../..", "a/b/c", "\xff", strings.Repeat("長/", 400), strings.Repeat(".", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		name := broker.SafeName(raw)
		if err := broker.CheckName(name); err != nil {
			t.Errorf("%q becomes %q: %v", raw, name, err)
		}
		if err := broker.CheckName(broker.NumberedName(name, 1<<31-1)); err != nil {
			t.Errorf("%q with a number: %v", name, err)
		}
		if !utf8.ValidString(name) {
			t.Errorf("%q is no UTF-8", name)
		}
	})
}

func TestCheckTagName(t *testing.T) {
	for name, good := range map[string]bool{
		"digital": true, "a": true, "2026-11_x.y": true, "照片": true, "été": true, strings.Repeat("a", 100): true,
		"": false, ".a": false, "-a": false, "a b": false, "a/b": false, "a\\b": false, "a%": false, "a\x00": false, "a\xff": false,
		"x.zip": false, "x.Zip": false, strings.Repeat("a", 101): false, "a?b": false, "..": false,
	} {
		if err := broker.CheckTagName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
