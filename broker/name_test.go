package broker

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckName(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	deep := strings.TrimSuffix(strings.Repeat(long(127)+"/", 8), "/") // 1,023 bytes
	for _, c := range []struct {
		name string
		ok   bool
	}{
		{"DJI_0001.JPG", true},
		{"100MEDIA/DJI_0001.JPG", true},
		{"a", true},
		{"...", true}, // only "." and ".." mean another folder
		{".hidden", true},
		{"..a/b..", true},
		{" leading and trailing ", true},
		{"照片/山.jpg", true},
		{"e\u0301.jpg", true}, // not normalised: kept as given
		{"a\u00a0b", true},    // the first after C1
		{"a\u2028b", true},    // a separator, not a control character
		{"a:b*c?d\"e<f>g|h", true},
		{"%2e%2e/%00", true}, // nothing decodes it
		{long(255), true},
		{strings.Repeat("é", 127) + "x", true}, // 255 bytes
		{deep + "y", true},                     // 1,024 bytes

		{"", false},
		{"/", false},
		{"/a", false},
		{"a/", false},
		{"a//b", false},
		{".", false},
		{"..", false},
		{"./a", false},
		{"a/.", false},
		{"a/../b", false},
		{"../a", false},
		{`a\b`, false},
		{`..\a`, false},
		{"a\x00b", false},
		{"a\nb", false},
		{"a\tb", false},
		{"a\x1fb", false},
		{"a\x7fb", false},
		{"a\u0080b", false}, // C1 begins
		{"a\u0085b", false}, // NEL
		{"a\u009fb", false}, // C1 ends
		{"a\xffb", false},
		{"a\xc3", false},          // cut within a rune
		{"\xed\xa0\x80", false},   // a surrogate
		{"a\xc0\xafb", false},     // an overlong slash
		{"a\xc1\x9cb", false},     // an overlong backslash
		{"\xe0\x80\xaf..", false}, // overlong again
		{long(256), false},
		{"a/" + long(256), false},
		{long(256) + "/a", false},
		{strings.Repeat("é", 128), false}, // 256 bytes, 128 characters
		{deep + "yz", false},              // 1,025 bytes in short segments
	} {
		err := CheckName(c.name)
		if ok := err == nil; ok != c.ok {
			t.Errorf("CheckName(%q) = %v", c.name, err)
		}
		if err != nil && CodeOf(err) != CodeInvalidName {
			t.Errorf("CheckName(%q) has the code %s", c.name, CodeOf(err))
		}
	}
}

// soundName is the rule of names written a second time, byte by byte.
func soundName(s string) bool {
	if len(s) < 1 || len(s) > 1024 || !utf8.ValidString(s) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c == 0x7f || c == '\\' || c == 0xc2 && s[i+1] <= 0x9f {
			return false
		}
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '/' {
			segment := s[start:i]
			if segment == "" || segment == "." || segment == ".." || len(segment) > 255 {
				return false
			}
			start = i + 1
		}
	}
	return true
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"a/b.jpg", "..", "a/../b", "a//b", "\u0085", "\xc2", "\\", strings.Repeat("x", 256), strings.Repeat("ab/", 400)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := CheckName(s) == nil, soundName(s); got != want {
			t.Errorf("CheckName(%q) accepts: %t, want %t", s, got, want)
		}
	})
}

func TestExtOf(t *testing.T) {
	for _, c := range []struct{ name, typ, want string }{
		{"a.jpg", "image/png", "jpg"}, // the user's own wins
		{"a.JPG", "", "jpg"},
		{"a.JpEg", "", "jpeg"},
		{"a.tar.gz", "", "gz"},
		{".jpg", "", "jpg"},
		{"a.12345678", "", "12345678"},
		{"a.123456789", "image/jpeg", "jpg"}, // nine: the type's
		{"a.123456789", "", ""},
		{"a.", "image/jpeg", "jpg"},
		{"a", "image/jpeg", "jpg"},
		{"a", "image/tiff", "tif"},
		{"a", "IMAGE/JPEG", "jpg"}, // MIME types have no case (RFC 9110, 8.3.1)
		{"a", "image/jpeg; q=1", "jpg"},
		{"a", "application/octet-stream", ""},
		{"a", "", ""},
		{"a.jp g", "", ""},
		{"a.jp-g", "image/png", "png"},
		{"a.jpég", "", ""},
		{"a.\u017f", "", ""},  // the long s lower-cases to itself
		{"a.\u212a", "", "k"}, // U+212A, the sign of kelvin, lower-cases to an ASCII k
		{"a.b/c", "", ""},     // a folder's dot is no extension
		{"a.jpg/c", "image/png", "png"},
		{"100.MEDIA/DJI", "", ""},
	} {
		if got := extOf(c.name, c.typ); got != c.want {
			t.Errorf("extOf(%q, %q) = %q, want %q", c.name, c.typ, got, c.want)
		}
	}
}

// FuzzExtOf proves that nothing but [a-z0-9]{0,8} gets into a key.
func FuzzExtOf(f *testing.F) {
	f.Add("a.JPG", "image/jpeg")
	f.Add("a.\u212a", "")
	f.Add("a./../..", "image/x-adobe-dng")
	f.Fuzz(func(t *testing.T, name, typ string) {
		ext := extOf(name, typ)
		if len(ext) > 8 || strings.Trim(ext, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("extOf(%q, %q) = %q", name, typ, ext)
		}
	})
}

func TestTypeOf(t *testing.T) {
	for name, want := range map[string]string{
		"a.jpg": "image/jpeg", "a.JPG": "image/jpeg", "a.jpeg": "image/jpeg", "a/b.png": "image/png", "a.TIF": "image/tiff",
		"a.heic": "image/heic", "a.dng": "image/x-adobe-dng",
		"a": "application/octet-stream", "": "application/octet-stream", "a.": "application/octet-stream",
		"a.unknown": "application/octet-stream", "a.jpg/b": "application/octet-stream", "jpg": "application/octet-stream",
	} {
		if got := TypeOf(name); got != want {
			t.Errorf("TypeOf(%q) = %q, want %q", name, got, want)
		}
	}
	for _, kt := range knownTypes() {
		if got := TypeOf("x." + kt[0]); got != kt[1] {
			t.Errorf("TypeOf of .%s = %q, want %q", kt[0], got, kt[1])
		}
		if err := checkType(kt[1]); err != nil {
			t.Errorf("%s: %v", kt[1], err)
		}
		if !isExt(kt[0]) {
			t.Errorf("the extension %q does not fit into a key", kt[0])
		}
	}
}

func TestCheckType(t *testing.T) {
	for _, c := range []struct {
		typ string
		ok  bool
	}{
		{"image/jpeg", true},
		{"IMAGE/JPEG", true},
		{"text/plain; charset=utf-8", true},
		{"application/vnd.a+b-c.d", true},
		{"a/" + strings.Repeat("b", 125), true},
		{"a/" + strings.Repeat("b", 126), false},
		{"", false},
		{"jpeg", false},
		{"/jpeg", false},
		{"image/", false},
		{"image/jpeg/x", false},
		{"image /jpeg", false},
		{"image/jpeg\r\nx-amz-acl: public-read", false},
		{"image/jpeg;\x00", false},
		{"image/jpég", false},
		{"text/plain; charset=\"é\"", false},
		{"text/plain; a", false},
		// A header's value has no spaces around it: what was signed would not be
		// what a client sends.
		{" image/jpeg", false},
		{"image/jpeg ", false},
		{"text/plain;  a=b", false},
	} {
		err := checkType(c.typ)
		if ok := err == nil; ok != c.ok {
			t.Errorf("checkType(%q) = %v", c.typ, err)
		}
		if err != nil && CodeOf(err) != CodeInvalidType {
			t.Errorf("checkType(%q) has the code %s", c.typ, CodeOf(err))
		}
	}
}

func TestCheckTitle(t *testing.T) {
	for s, ok := range map[string]bool{
		"a": true, "My project / 2": true, `back\slash`: true, "山": true, strings.Repeat("x", 255): true,
		"": false, " ": false, "\u00a0": false, "a\nb": false, "a\u009bb": false, "a\xff": false, strings.Repeat("x", 256): false,
	} {
		if err := checkTitle("project", s); (err == nil) != ok {
			t.Errorf("checkTitle(%q) = %v", s, err)
		}
	}
}
