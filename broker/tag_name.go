package broker

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSafeSegment leaves room for the number by which equal names are told apart.
const maxSafeSegment = maxSegmentBytes - 16

// SafeName makes of any name one that CheckName takes, as like it as can be: phones
// and old programs send what they have, and nobody is there to choose another. Folders
// stay; a path of Windows' disks is its last part.
func SafeName(raw string) string {
	s := strings.ReplaceAll(strings.ToValidUTF8(raw, "_"), `\`, "/")
	if len(s) > 2 && s[1] == ':' && s[2] == '/' && unicode.IsLetter(rune(s[0])) {
		s = s[strings.LastIndexByte(s, '/')+1:]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == 0xfffe, r == 0xffff:
			return '_'
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
			return '_' // they turn the direction of what follows: gpj.exe would read exe.jpg
		case r == 0x200b:
			return '_' // nobody sees it, and two names look alike
		}
		return r
	}, s)
	var kept []string
	for segment := range strings.SplitSeq(s, "/") {
		if segment = strings.TrimSpace(segment); segment != "" && segment != "." && segment != ".." {
			kept = append(kept, shorten(segment, maxSafeSegment))
		}
	}
	for len(kept) > 1 && len(strings.Join(kept, "/")) > maxNameBytes-16 {
		kept = kept[1:]
	}
	if len(kept) == 0 {
		return "file"
	}
	return strings.Join(kept, "/")
}

// shorten cuts a segment to so many bytes, before its extension.
func shorten(segment string, most int) string {
	if len(segment) <= most {
		return segment
	}
	stem, ext := cutExt(segment)
	if len(ext) > 16 {
		stem, ext = segment, ""
	}
	end := most - len(ext)
	for end > 0 && !utf8.RuneStart(stem[end]) {
		end--
	}
	return stem[:end] + ext
}

// cutExt parts a name before the dot of its extension, "" where it has none.
func cutExt(name string) (stem, ext string) {
	dot := strings.LastIndexByte(name, '.')
	if dot <= strings.LastIndexByte(name, '/')+1 { // none, or of a name such as .profile
		return name, ""
	}
	return name[:dot], name[dot:]
}

// NumberedName tells the nth file of a name apart: a.jpg, a (2).jpg. Of a name that is
// as long as can be, the end makes room for the number.
func NumberedName(name string, n int) string {
	if n < 2 {
		return name
	}
	stem, ext := cutExt(name)
	if len(ext) > 16 {
		stem, ext = name, ""
	}
	number := fmt.Sprintf(" (%d)", n)
	segment := name[strings.LastIndexByte(name, '/')+1:]
	if over := len(number) + max(len(segment)-maxSegmentBytes, len(name)-maxNameBytes); over > 0 {
		end := max(len(stem)-over, 0)
		for end > 0 && !utf8.RuneStart(stem[end]) {
			end--
		}
		stem = stem[:end]
	}
	return stem + number + ext
}
