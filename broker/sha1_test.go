package broker

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"testing"
)

func TestParseSHA1(t *testing.T) {
	const abc = "a9993e364706816aba3e25717850c26c9cd0d89d" // FIPS 180, of "abc"
	d, err := ParseSHA1(abc)
	if err != nil || d != sha1.Sum([]byte("abc")) || d.String() != abc {
		t.Fatalf("ParseSHA1 = %s, %v", d, err)
	}
	if got := d.Base64(); got != "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=" {
		t.Errorf("Base64 = %s", got)
	}
	for _, upper := range []string{strings.ToUpper(abc), "A9993e364706816ABA3e25717850c26c9cd0d89D"} {
		if got, err := ParseSHA1(upper); err != nil || got != d {
			t.Errorf("ParseSHA1(%q) = %s, %v", upper, got, err)
		}
	}
	for _, bad := range []string{
		"", abc[1:], abc + "0", abc[:39] + "g", abc[:39] + " ", " " + abc[1:], "0x" + abc[2:], abc[:38] + "é",
		strings.Repeat("0", 40), "sha1:" + abc[5:], abc + "\n",
	} {
		got, err := ParseSHA1(bad)
		if CodeOf(err) != CodeInvalidSHA1 || !got.IsZero() {
			t.Errorf("ParseSHA1(%q) = %s, %v", bad, got, err)
		}
	}
	if zero := (SHA1{}); zero.String() != "" || !zero.IsZero() {
		t.Errorf("the zero value is %q", zero)
	}
}

func FuzzParseSHA1(f *testing.F) {
	f.Add("a9993e364706816aba3e25717850c26c9cd0d89d")
	f.Add("A9993E364706816ABA3E25717850C26C9CD0D89D")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseSHA1(s)
		raw, hexErr := hex.DecodeString(s)
		sound := hexErr == nil && len(raw) == 20 && strings.Trim(s, "0") != ""
		if (err == nil) != sound {
			t.Fatalf("ParseSHA1(%q) = %s, %v", s, d, err)
		}
		if err == nil && d.String() != strings.ToLower(s) {
			t.Fatalf("ParseSHA1(%q) tells %s", s, d)
		}
	})
}
