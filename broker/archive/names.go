package archive

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxSegmentBytes is what the file systems in use take between two slashes.
const maxSegmentBytes = 255

// numberBytes is kept free for " (4294967295)".
const numberBytes = 13

// treeNames makes users' names safe for every file system and tells equal ones
// apart. All names are shown to see first, since a file must not be called as the
// folder of another that comes later.
type treeNames struct {
	teller
	lastDir string // whose folders are known
}

func newTreeNames() *treeNames { return &treeNames{teller: newTeller()} }

// see notes the folders of a name.
func (t *treeNames) see(name string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 || name[:i] == t.lastDir {
		return
	}
	t.lastDir = name[:i]
	h := newHash()
	for segment := range strings.SplitSeq(t.lastDir, "/") {
		h = h.add(fold(safeSegment(segment)))
		t.folders[h] = struct{}{}
		h = h.add("/")
	}
}

// name gives the name in the zip. Equal arguments in an equal order give equal
// names.
func (t *treeNames) name(name string) string {
	dir, base := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	var path strings.Builder
	h := newHash()
	if dir != "" {
		for segment := range strings.SplitSeq(dir, "/") {
			segment = safeSegment(segment)
			path.WriteString(segment)
			path.WriteByte('/')
			h = h.add(fold(segment)).add("/")
		}
	}
	base = safeSegment(base)
	stem, ext := splitExt(base)
	path.WriteString(t.tell(h, stem, ext, maxSegmentBytes, func(n uint32) string {
		return " (" + strconv.FormatUint(uint64(n), 10) + ")"
	}))
	return path.String()
}

// teller tells names apart that a file system may take for the same one. It keeps
// 64 bits of each name: two names that are equal in these only get a number that
// they did not need.
type teller struct {
	taken   map[nameHash]struct{}
	folders map[nameHash]struct{}
	last    map[nameHash]uint32 // the last number given, of those that needed one
}

func newTeller() teller {
	return teller{taken: map[nameHash]struct{}{}, folders: map[nameHash]struct{}{}, last: map[nameHash]uint32{}}
}

// tell gives stem+ext, with a number between them when that is taken in the folder
// of h. Neither has more bytes than max.
func (t *teller) tell(h nameHash, stem, ext string, maxBytes int, number func(uint32) string) string {
	base := stem + ext
	if t.take(h.add(fold(base))) {
		return base
	}
	stem = cutBytes(stem, maxBytes-len(ext)-numberBytes)
	// A slash is in no name: this counts for the stem, it is no name itself.
	counter := h.add(fold(stem)).add("/").add(fold(ext))
	for n := max(t.last[counter], 1) + 1; ; n++ {
		base = stem + number(n) + ext
		if t.take(h.add(fold(base))) {
			t.last[counter] = n
			return base
		}
	}
}

func (t *teller) take(h nameHash) bool {
	if _, taken := t.taken[h]; taken {
		return false
	}
	if _, folder := t.folders[h]; folder {
		return false
	}
	t.taken[h] = struct{}{}
	return true
}

// safeSegment makes of a segment one that Windows, macOS and Linux take as it is.
// The rules are Microsoft's "Naming Files, Paths, and Namespaces".
func safeSegment(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`<>:"|?*\/`, r), unicode.IsControl(r), r == utf8.RuneError:
			return '_'
		}
		return r
	}, s)
	if kept := strings.TrimRight(s, ". "); len(kept) < len(s) || s == "" {
		s = kept + strings.Repeat("_", max(len(s)-len(kept), 1))
	}
	if reserved(s) {
		s = "_" + s
	}
	if len(s) <= maxSegmentBytes {
		return s
	}
	stem, ext := splitExt(s)
	s = cutBytes(stem, maxSegmentBytes-len(ext)) + ext
	if kept := strings.TrimRight(s, ". "); len(kept) < len(s) { // the cut may end in one
		s = kept + "_"
	}
	return s
}

// reserved reports whether Windows takes a name for a device, whatever follows its
// first point.
func reserved(s string) bool {
	if i := strings.IndexByte(s, '.'); i >= 0 {
		s = s[:i]
	}
	s = strings.ToUpper(strings.TrimRight(s, " "))
	switch s {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	if digit, ok := strings.CutPrefix(s, "COM"); ok {
		return oneDigit(digit)
	}
	digit, ok := strings.CutPrefix(s, "LPT")
	return ok && oneDigit(digit)
}

// oneDigit takes superscripts, too, as Windows does.
func oneDigit(s string) bool {
	return len(s) == 1 && s[0] >= '0' && s[0] <= '9' || s == "¹" || s == "²" || s == "³"
}

// maxExtBytes is the longest of endings; what is longer is no ending.
const maxExtBytes = 17

// splitExt parts a name before its last point. A name that begins with its only
// point has no ending.
func splitExt(s string) (stem, ext string) {
	i := strings.LastIndexByte(s, '.')
	if i <= 0 || len(s)-i > maxExtBytes {
		return s, ""
	}
	return s[:i], s[i:]
}

// cutBytes cuts s to at most n bytes, between two characters.
func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// fold gives the same text for names that some file system takes for the same: by
// any case, composed or not, with or without what is not to be seen. It may give
// the same for others, too.
func fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	// Upper case first: characters that have one in common, such as s and the long
	// s, are the same to Windows.
	s = norm.NFD.String(strings.ToUpper(norm.NFD.String(s)))
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) {
			return -1
		}
		return r
	}, cases.Fold().String(s))
	return norm.NFC.String(s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// nameHash is FNV-1a of 64 bits, which is the same in every process.
type nameHash uint64

func newHash() nameHash { return 14695981039346656037 }

func (h nameHash) add(s string) nameHash {
	for i := range len(s) {
		h = (h ^ nameHash(s[i])) * 1099511628211
	}
	return h
}
