package archive

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// tree names a list as a zip does.
func tree(names ...string) []string {
	n := newTreeNames()
	for _, name := range names {
		n.see(name)
	}
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = n.name(name)
	}
	return out
}

func TestTreeNames(t *testing.T) {
	long := strings.Repeat("ä", 125) // 250 bytes
	for _, c := range []struct {
		name     string
		in, want []string
	}{
		{"as they are", []string{"a.jpg", "100MEDIA/DJI_0001.JPG", "Grüße/照片.jpg"}, []string{"a.jpg", "100MEDIA/DJI_0001.JPG", "Grüße/照片.jpg"}},
		{"equal", []string{"a.jpg", "a.jpg", "b/a.jpg", "a.jpg"}, []string{"a.jpg", "a (2).jpg", "b/a.jpg", "a (3).jpg"}},
		{"equal but for case", []string{"A.jpg", "a.JPG"}, []string{"A.jpg", "a (2).JPG"}},
		{"in folders that are equal but for case", []string{"D/a.jpg", "d/A.jpg"}, []string{"D/a.jpg", "d/A (2).jpg"}},
		{"composed and not", []string{"\u00e9.jpg", "e\u0301.jpg"}, []string{"\u00e9.jpg", "e\u0301 (2).jpg"}},
		{"sharp s", []string{"straße.jpg", "STRASSE.jpg"}, []string{"straße.jpg", "STRASSE (2).jpg"}},
		{"the number is taken", []string{"a (2).jpg", "a.jpg", "a.jpg"}, []string{"a (2).jpg", "a.jpg", "a (3).jpg"}},
		{"the number is taken later", []string{"a.jpg", "a.jpg", "a (2).jpg"}, []string{"a.jpg", "a (2).jpg", "a (2) (2).jpg"}},
		{"without an ending", []string{"README", "readme", ".hidden", ".HIDDEN"}, []string{"README", "readme (2)", ".hidden", ".HIDDEN (2)"}},
		{"several endings", []string{"a.tar.gz", "a.tar.gz"}, []string{"a.tar.gz", "a.tar (2).gz"}},
		{"a file called as a folder", []string{"a", "A/b.jpg"}, []string{"a (2)", "A/b.jpg"}},
		{"a file called as a folder's folder", []string{"x/y.jpg/z/w.jpg", "x/Y.JPG"}, []string{"x/y.jpg/z/w.jpg", "x/Y (2).JPG"}},
		{"and the number is a folder, too", []string{"a", "a/b", "a (2)/c"}, []string{"a (3)", "a/b", "a (2)/c"}},
		{"what Windows does not take", []string{`a<b>c:d"e|f?g*h.jpg`, "a\u0085b"}, []string{"a_b_c_d_e_f_g_h.jpg", "a_b"}},
		{"points and spaces at the end", []string{"a. ", "dir./b.jpg", "...", " a.jpg"}, []string{"a__", "dir_/b.jpg", "___", " a.jpg"}},
		{"devices", []string{"CON", "nul.jpg", "com1.tar.gz", "LPT²", "aux .x", "Prn/lpt1.jpg", "COM10", "console.jpg"},
			[]string{"_CON", "_nul.jpg", "_com1.tar.gz", "_LPT²", "_aux .x", "_Prn/_lpt1.jpg", "COM10", "console.jpg"}},
		{"no climbing", []string{"../x", "./x", "/x", "a//b", `a\b`}, []string{"__/x", "_/x", "x", "a/_/b", "a_b"}},
		{"long", []string{long + ".jpeg", long + ".jpeg", strings.Repeat("x", 255)}, []string{
			long + ".jpeg", strings.Repeat("ä", 118) + " (2).jpeg", strings.Repeat("x", 255),
		}},
		{"too long", []string{strings.Repeat("y", 400) + ".jpg"}, []string{strings.Repeat("y", 251) + ".jpg"}},
		{"a device as long as can be", []string{"CON." + strings.Repeat("z", 251)}, []string{"_CON." + strings.Repeat("z", 250)}},
	} {
		if got := tree(c.in...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestEqualNamesAreQuick: thousands of phones call every photo image.jpg, and all
// numbers before are not tried again for each.
func TestEqualNamesAreQuick(t *testing.T) {
	names := newTreeNames()
	for i := range 100_000 {
		got := names.name("Image.JPG")
		if want := fmt.Sprintf("Image (%d).JPG", i+1); i > 0 && got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	if len(names.last) != 1 {
		t.Errorf("%d numbers are remembered", len(names.last))
	}
}

func TestFlatNames(t *testing.T) {
	f := NewFlatNames()
	for _, c := range []struct{ name, contentType, want string }{
		{"100MEDIA/DJI_0001.JPG", "image/jpeg", "DJI_0001.JPG"},
		{"101MEDIA/DJI_0001.JPG", "image/jpeg", "DJI_0001_2.JPG"},
		{"dji_0001.jpg", "image/jpeg", "dji_0001_3.jpg"},
		{"a.jpeg", "image/jpeg", "a.jpeg"},
		{"a.png", "image/jpeg", "a.jpg"},
		{"gcp_list.txt", "image/jpeg", "gcp_list.jpg"},
		{"notes.TXT", "text/plain", "notes.bin"},
		{"notes.txt", "", "notes_2.bin"},
		{"IMG.0001", "image/jpeg", "IMG.0001.jpg"},
		{"photo", "image/tiff", "photo.tif"},
		{"photo", "", "photo.bin"},
		{"photo.weird!", "", "photo.weird_.bin"},
		{"photo.xyz", "application/x-unknown", "photo.xyz"},
		{"Grüße aus Köln.jpg", "image/jpeg", "Gru_e_aus_Koln.jpg"}, // ß is no accent
		{"照片.jpg", "image/jpeg", "__.jpg"},
		{".jpg", "image/jpeg", "_jpg.jpg"},
		{"-rf.jpg", "image/jpeg", "_rf.jpg"},
		{"", "image/jpeg", "_.jpg"},
		{"con.jpg", "image/jpeg", "_con.jpg"},
		{strings.Repeat("a", 300) + ".jpg", "image/jpeg", strings.Repeat("a", 96) + ".jpg"},
	} {
		if got := f.Name(c.name, c.contentType); got != c.want {
			t.Errorf("%q of %s is called %q, want %q", c.name, c.contentType, got, c.want)
		}
	}
}

var flatName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*\.[A-Za-z0-9]{1,8}$`)

// FuzzNames: whatever users call their files, every file system takes the names,
// and no two for the same.
func FuzzNames(f *testing.F) {
	f.Add("a.jpg\nA.jpg\na/b\na\na (2)")
	f.Add("CON\n../x\n...\n \nä\na\u0308\nx./y")
	f.Add(strings.Repeat("ß", 200) + "\n" + strings.Repeat("ß", 200) + "\n\xff\xfe/\x00")
	f.Fuzz(func(t *testing.T, list string) {
		names := strings.Split(list, "\n")
		if len(names) > 500 {
			names = names[:500]
		}
		named := tree(names...)
		if !slices.Equal(named, tree(names...)) {
			t.Fatal("the second time the names are others")
		}
		taken, folders := map[string]bool{}, map[string]bool{}
		for i, name := range named {
			if !utf8.ValidString(name) || strings.ContainsAny(name, `<>:"|?*\`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
				t.Errorf("%q of %q", name, names[i])
			}
			segments := strings.Split(name, "/")
			for j, s := range segments {
				if s == "" || len(s) > 255 || strings.HasSuffix(s, ".") || strings.HasSuffix(s, " ") || reserved(s) {
					t.Errorf("%q of %q has the segment %q", name, names[i], s)
				}
				if j < len(segments)-1 {
					folders[fold(strings.Join(segments[:j+1], "/"))] = true
				}
			}
			if key := fold(name); taken[key] {
				t.Errorf("%q twice, of %q", name, names)
			} else {
				taken[key] = true
			}
		}
		for name := range taken {
			if folders[name] {
				t.Errorf("%q is a file and a folder, of %q", name, names)
			}
		}
		flat, given := NewFlatNames(), map[string]bool{}
		for _, name := range names {
			got := flat.Name(name, []string{"image/jpeg", "", "text/plain"}[len(name)%3])
			if key := strings.ToLower(got); !flatName.MatchString(got) || len(got) > maxFlatBytes || given[key] || strings.HasSuffix(key, ".txt") || reserved(got) {
				t.Errorf("%q of %q", got, name)
			} else {
				given[key] = true
			}
		}
	})
}

// FuzzRanges: every part of a zip is the same part of the whole.
func FuzzRanges(f *testing.F) {
	b, entries := some(260, 200, 11)
	b.objects["p/0.jpg"] = make([]byte, 100<<10)
	entries[0] = entryOf("big.jpg", "p/0.jpg", b.objects["p/0.jpg"])
	z := open(f, b, each(entries))
	whole := make([]byte, z.SizeBytes())
	if _, err := readFull(z, 0, whole); err != nil {
		f.Fatal(err)
	}
	f.Add(int64(0), uint16(10))
	f.Add(z.SizeBytes()-22, uint16(22))
	f.Fuzz(func(t *testing.T, from int64, n uint16) {
		if from < 0 || from > z.SizeBytes() {
			return
		}
		want := whole[from:min(from+int64(n), int64(len(whole)))]
		got := make([]byte, len(want))
		if _, err := readFull(z, from, got); err != nil || string(got) != string(want) {
			t.Fatalf("%d bytes from %d differ: %v", n, from, err)
		}
	})
}
