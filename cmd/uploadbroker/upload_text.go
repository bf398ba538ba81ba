package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
)

// count writes a number with its thousands separated: 1,204.
func count[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// files writes "1 file", "2 files".
func files(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return count(n) + " " + word + "s"
}

// size writes bytes in decimal units, as cameras and lines are sold: 40.1 MB.
func size(bytes int64) string {
	v, unit := float64(bytes), "bytes"
	for _, u := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if v < 999.5 { // which would be written 1000
			break
		}
		v, unit = v/1000, u
	}
	switch {
	case unit == "bytes" && bytes == 1:
		return "1 byte"
	case unit == "bytes":
		return strconv.FormatInt(bytes, 10) + " bytes"
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64) + " " + unit
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + " " + unit
}

// sizeOf writes "3.3 of 9.8 GB", the unit once where it is the same.
func sizeOf(part, whole int64) string {
	a, b := size(part), size(whole)
	an, au, _ := strings.Cut(a, " ")
	if _, bu, _ := strings.Cut(b, " "); au == bu || part == 0 {
		a = an
	}
	return a + " of " + b
}

// clock writes a time to wait: 0:12, 8:41, 2:03:00.
func clock(d time.Duration) string {
	s := int64((d + time.Second/2) / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// took writes a time that has passed: 3.2 s, or as clock.
func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return clock(d)
}

// clean makes a foreign text safe to print: what a terminal would act on, or
// would hide, is written out. File names are foreign texts.
func clean(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], "\uFFFD"): // no UTF-8
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// columns is how many columns of a terminal s takes.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// cut shortens s to so many columns; what is left out is the middle, since names
// differ at their ends.
func cut(s string, max int) string {
	if columns(s) <= max {
		return s
	}
	if max < 4 {
		return strings.Repeat(".", max)
	}
	head, tail := (max-1)/2, max-1-(max-1)/2
	r := []rune(s)
	i, n := 0, 0
	for ; i < len(r) && n+runeColumns(r[i]) <= head; i++ {
		n += runeColumns(r[i])
	}
	j, n := len(r), 0
	for ; j > i && n+runeColumns(r[j-1]) <= tail; j-- {
		n += runeColumns(r[j-1])
	}
	return string(r[:i]) + "…" + string(r[j:])
}

// pad fills s up to so many columns, on its right, or on its left when negative.
func pad(s string, cols int) string {
	left := cols < 0
	if left {
		cols = -cols
	}
	fill := strings.Repeat(" ", max(cols-columns(s), 0))
	if left {
		return fill + s
	}
	return s + fill
}

// wrap breaks s into lines of at most so many columns, at blanks where it can.
func wrap(s string, cols int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case columns(line)+1+columns(word) <= cols:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
